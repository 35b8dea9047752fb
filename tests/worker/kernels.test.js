// The encoder's arithmetic has the same bits natively (`kernels/tests/digest.rs`), in Node and in workerd.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { Miniflare } from "miniflare";

const wasm = await readFile("build/kernels.wasm");
const expected = (await readFile("kernels/tests/digest.txt", "utf8")).trim();

test("every kernel gives the bits on record in Node", async () => {
  const { instance } = await WebAssembly.instantiate(wasm, {});
  const { digest } = /** @type {{ digest: () => bigint }} */ (/** @type {unknown} */ (instance.exports));
  assert.equal(hex(digest()), expected);
});

test("every kernel gives the bits on record in workerd", { timeout: 60_000 }, async () => {
  const script = `
    import module from "./kernels.wasm";
    export default {
      fetch: () => new Response(String(new WebAssembly.Instance(module, {}).exports.digest())),
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
    assert.equal(hex(BigInt(await response.text())), expected);
  } finally {
    await workerd.dispose();
  }
});

/** @param {bigint} bits 64 of them, signed */
function hex(bits) {
  return BigInt.asUintN(64, bits).toString(16).padStart(16, "0");
}
