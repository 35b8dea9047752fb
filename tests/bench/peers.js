// Creates onnxruntime-web sessions with one thread, in each configuration of the comparison.

import { readFileSync } from "node:fs";

import { ENCODER, INT8_ENCODER } from "./files.js";

/** Memories that onnxruntime-web creates and passes to its module. @type {WebAssembly.Memory[]} */
const memories = [];
WebAssembly.Memory = class extends WebAssembly.Memory {
  /** @param {WebAssembly.MemoryDescriptor} descriptor */
  constructor(descriptor) {
    super(descriptor);
    memories.push(this);
  }
};

/** Returns the size of the largest memory in bytes; memory never shrinks, so this is its maximum so far. */
export const peerMemoryBytes = () => Math.max(0, ...memories.map(({ buffer }) => buffer.byteLength));

const ort = await import("onnxruntime-web");
ort.env.wasm.numThreads = 1;
// Read here, so that reading is not part of the start, as for our own module.
ort.env.wasm.wasmBinary = readFileSync("node_modules/onnxruntime-web/dist/ort-wasm-simd-threaded.wasm");

/**
 * `same`: the shipped file with its weights widened to float32 once at load; our module widens them to 16 bits.
 * `default`: the shipped file with onnxruntime's default settings, which keep the weights in 8 bits and are
 * slower in wasm. `int8`: the fastest int8 form.
 * @typedef {"same" | "default" | "int8"} Peer
 */

/** @param {Peer} peer */
export function peerModelFile(peer) {
  return peer === "int8" ? INT8_ENCODER : ENCODER;
}

/** @param {Uint8Array} bytes @param {Peer} peer */
export async function createPeerSession(bytes, peer) {
  const extra = { session: { disable_quant_qdq: "1" } };
  const session = await ort.InferenceSession.create(bytes, {
    executionProviders: ["wasm"],
    graphOptimizationLevel: "all",
    ...(peer === "same" && { extra }),
  });
  const [input] = session.inputNames;
  const [output] = session.outputNames;
  return {
    /** Computes the embedding of one text from its token ids. @param {ArrayLike<number>} ids @returns {Promise<Float32Array>} */
    async embed(ids) {
      const tokenIds = BigInt64Array.from(Array.from(ids, BigInt));
      const outputs = await session.run({ [input]: new ort.Tensor("int64", tokenIds, [1, tokenIds.length]) });
      return /** @type {Float32Array} */ (outputs[output].data);
    },
  };
}
