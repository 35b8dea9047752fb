// The gates' evidence has the same bits natively (`tests/evidence.rs`) and in wasm.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";

const expected = (await readFile("tests/data/evidence.txt", "utf8")).trim();

test("ten thousand evidence values have the bits on record in wasm", async () => {
  const { instance } = await WebAssembly.instantiate(await readFile("build/evidence.wasm"), {});
  const { digest } = /** @type {{ digest: () => bigint }} */ (/** @type {unknown} */ (instance.exports));
  assert.equal(BigInt.asUintN(64, digest()).toString(16).padStart(16, "0"), expected);
});
