// Tests that the gates' evidence has the same bits in wasm as natively (`tests/wasm/src/lib.rs`).

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";

const expected = (await readFile("tests/wasm/src/evidence.txt", "utf8")).trim();

test("ten thousand evidence values have the recorded bits in wasm", async () => {
  const { instance } = await WebAssembly.instantiate(await readFile("build/wasm-tests.wasm"), {});
  const { evidence_digest } = /** @type {{ evidence_digest: () => bigint }} */ (/** @type {unknown} */ (instance.exports));
  assert.equal(BigInt.asUintN(64, evidence_digest()).toString(16).padStart(16, "0"), expected);
});
