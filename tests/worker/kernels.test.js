// Tests that the encoder's arithmetic has the same bits in Node and in workerd as natively (`tests/wasm/src/lib.rs`).

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { Miniflare } from "miniflare";

const wasm = await readFile("build/wasm-tests.wasm");
const expected = (await readFile("tests/wasm/src/kernels.txt", "utf8")).trim();

test("every kernel gives the recorded bits in Node", async () => {
  const { instance } = await WebAssembly.instantiate(wasm, {});
  const { kernels_digest } = /** @type {{ kernels_digest: () => bigint }} */ (/** @type {unknown} */ (instance.exports));
  assert.equal(toHex(kernels_digest()), expected);
});

test("every kernel gives the recorded bits in workerd", { timeout: 60_000 }, async () => {
  const script = `
    import module from "./kernels.wasm";
    export default {
      fetch: () => new Response(String(new WebAssembly.Instance(module, {}).exports.kernels_digest())),
    };`;
  const workerd = new Miniflare({
    host: "127.0.0.1",
    modules: [
      { type: "ESModule", path: "index.js", contents: script },
      { type: "CompiledWasm", path: "kernels.wasm", contents: wasm },
    ],
  });
  try {
    const response = await workerd.dispatchFetch("http://localhost/");
    assert.equal(toHex(BigInt(await response.text())), expected);
  } finally {
    await workerd.dispose();
  }
});

/** @param {bigint} bits 64 of them, signed */
function toHex(bits) {
  return BigInt.asUintN(64, bits).toString(16).padStart(16, "0");
}
