// onnxruntime-web in one thread, set up in the ways that it is compared in.

import { readFileSync } from "node:fs";

import { ENCODER, INT8 } from "./files.js";

/** Filled when onnxruntime-web makes its memory: its module is handed one. @type {WebAssembly.Memory[]} */
const memories = [];
WebAssembly.Memory = class extends WebAssembly.Memory {
  /** @param {WebAssembly.MemoryDescriptor} descriptor */
  constructor(descriptor) {
    super(descriptor);
    memories.push(this);
  }
};

/** Bytes of the largest memory made, at its largest: it never shrinks. */
export const peerMemory = () => Math.max(0, ...memories.map(({ buffer }) => buffer.byteLength));

const ort = await import("onnxruntime-web");
ort.env.wasm.numThreads = 1;
// Read here, so that reading is no part of the start, as for our own module.
ort.env.wasm.wasmBinary = readFileSync("node_modules/onnxruntime-web/dist/ort-wasm-simd-threaded.wasm");

/**
 * `same`: the shipped file with its weights widened to float32 once at load, as we do. `default`: the
 * shipped file as onnxruntime takes it by itself, weights kept in 8 bits, which is slower in wasm.
 * `int8`: its best form.
 * @typedef {"same" | "default" | "int8"} Peer
 */

/** @param {Peer} peer */
export function peerFile(peer) {
  return peer === "int8" ? INT8 : ENCODER;
}

/** @param {Uint8Array} bytes @param {Peer} peer */
export async function peerSession(bytes, peer) {
  const extra = { session: { disable_quant_qdq: "1" } };
  const session = await ort.InferenceSession.create(bytes, {
    executionProviders: ["wasm"],
    graphOptimizationLevel: "all",
    ...(peer === "same" && { extra }),
  });
  const [input] = session.inputNames;
  const [output] = session.outputNames;
  return {
    /** Ids of one text to its embedding. @param {ArrayLike<number>} ids @returns {Promise<Float32Array>} */
    async embed(ids) {
      const whole = BigInt64Array.from(Array.from(ids, BigInt));
      const found = await session.run({ [input]: new ort.Tensor("int64", whole, [1, whole.length]) });
      return /** @type {Float32Array} */ (found[output].data);
    },
  };
}
