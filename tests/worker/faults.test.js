// Tests the model worker's faults: a panic, a damaged model, and a start that calls the host.

import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { TEST_TIMEOUT_MS, copyWorker, postJson, rewrite, startModelWorkers, waitFor } from "../support/model-worker.js";

const options = { timeout: TEST_TIMEOUT_MS };

const modelId = (await readFile(new URL("../../models/shipped", import.meta.url), "utf8")).trim();
const model = await readFile(new URL(`../../models/${modelId}/onnx/model_quantized.onnx`, import.meta.url));

/** Copies the worker and changes one byte of its model. */
const copyDamagedWorker = () => copyWorker(async (folder) => {
  const file = join(folder, "build/model/index_bg.wasm");
  const module = await readFile(file);
  const middle = model.length >> 1;
  const offset = module.indexOf(model.subarray(middle, middle + 64));
  assert.ok(offset > 0, "the module does not contain the model in models/: run make workers");
  module[offset] ^= 1;
  await writeFile(file, module);
});

// Runs before the worker's module. At global scope a deployed Worker refuses these calls or freezes their
// values; a local workerd refuses some of them. The guard records each call and refuses it.
const guardModule = `
  const calls = [];
  const undoSteps = [];
  const refuse = (owner, name, original) => {
    const before = Object.getOwnPropertyDescriptor(owner, name);
    undoSteps.push(() => (before ? Object.defineProperty(owner, name, before) : delete owner[name]));
    const value = new Proxy(original, {
      apply() { calls.push(name); throw new Error(name + " at global scope"); },
      construct() { calls.push(name); throw new Error(name + " at global scope"); },
    });
    Object.defineProperty(owner, name, { value, configurable: true, writable: true });
  };
  refuse(Date, "now", Date.now);
  refuse(Math, "random", Math.random);
  refuse(performance, "now", performance.now);
  refuse(crypto, "getRandomValues", crypto.getRandomValues);
  refuse(crypto, "randomUUID", crypto.randomUUID);
  for (const name of ["Date", "fetch", "setTimeout", "setInterval"]) refuse(globalThis, name, globalThis[name]);
  export function restore() {
    undoSteps.reverse().forEach((undo) => undo());
    console.log("calls at global scope: " + JSON.stringify(calls));
  }
`;
const entryModule = `
  import { restore } from "./guard.js";
  export * from "./index.js";
  export { default } from "./index.js";
  restore();
`;
const copyGuardedWorker = () => copyWorker(async (folder) => {
  await writeFile(join(folder, "build/model/guard.js"), guardModule);
  await writeFile(join(folder, "build/model/entry.js"), entryModule);
  const config = join(folder, "wrangler.model.toml");
  await rewrite(config, (text) => text.replace("build/model/index.js", "build/model/entry.js"));
});

const startWorkers = (/** @type {{ folder: string }} */ damaged, /** @type {{ folder: string }} */ guarded) => startModelWorkers({
  panicking: { variables: { JEFFREY_FAULT_INJECTION: "on", ALLOWED_ORIGINS: "*" } },
  damaged,
  guarded,
});
/** @type {Awaited<ReturnType<typeof copyWorker>>[]} */
const copies = [];
/** @type {Awaited<ReturnType<typeof startWorkers>>} */
let session;
before(async () => {
  copies.push(await copyDamagedWorker(), await copyGuardedWorker());
  session = await startWorkers(copies[0], copies[1]);
});
after(async () => {
  await session?.stop();
  for (const { remove } of copies) await remove();
});

test("a panic returns 500, reveals no input, and a new instance answers the next request", options, async () => {
  const secret = "Zanzibar-7731";
  const worker = session.workers.panicking;
  const before = await postJson(`${worker.origin}/v1/classify`, { text: "They lost my luggage" });
  for (const round of [1, 2]) {
    const panic = await postJson(`${worker.origin}/v1/fault/panic`, `${secret} in round ${round}`);
    assert.equal(panic.status, 500);
    assert.doesNotMatch(panic.text, /Zanzibar/);
    const next = await postJson(`${worker.origin}/v1/classify`, { text: "They lost my luggage" });
    assert.equal(next.status, 200);
    assert.deepEqual(next.json.scores, before.json.scores);
    assert.equal(next.json.route, "linear_head");
  }
  // Another process writes the log, so the test waits for it.
  const log = await waitFor(async () => {
    const log = await worker.log();
    const panics = log.match(/panic at crates\/http-api\/src\/service\.rs:\d+/g) ?? [];
    return (panics.length >= 2 || log.includes("planted")) && log;
  });
  assert.doesNotMatch(log, /Zanzibar|planted|luggage/);
  const metrics = await (await fetch(`${worker.origin}/metrics`)).text();
  assert.match(metrics, /^jeffrey_predictions_total\{route="linear_head"\} 1$/m, "not a new instance");
});

test("with a damaged model the worker classifies by keyword patterns and reports the fault", options, async () => {
  const worker = session.workers.damaged;
  const response = await fetch(`${worker.origin}/health`);
  const health = await response.json();
  assert.deepEqual([response.status, health.status, health.model], [200, "degraded", null]);
  assert.equal(health.faults[0].code, "model_refused");
  assert.match(health.faults[0].message, /onnx\/model_quantized\.onnx: sha256 [0-9a-f]{64} is not the manifest's/);
  assert.match(await worker.log(), /the model is refused, answering by keyword patterns: onnx/);

  const { json } = await postJson(`${worker.origin}/v1/classify`, { text: "Je suis furieux !" });
  assert.equal(json.route, "regex");
  assert.equal(json.primary, "anger");
  assert.equal(json.model, null);
  assert.deepEqual(json.skipped, [
    { route: "linear_head", reason: "no_model" },
    { route: "prototypes", reason: "no_model" },
  ]);
  assert.equal((await postJson(`${worker.origin}/models/${modelId}`, { inputs: "a" })).status, 200);
  assert.match(await (await fetch(`${worker.origin}/metrics`)).text(), /^jeffrey_model_loaded 0$/m);
});

test("the start uses no randomness, clock, timer or network", options, async () => {
  const worker = session.workers.guarded;
  assert.equal((await (await fetch(`${worker.origin}/health`)).json()).status, "ok");
  const { status, json } = await postJson(`${worker.origin}/v1/classify`, { text: "It is Monday" });
  assert.deepEqual([status, json.route], [200, "linear_head"]);
  const log = await waitFor(async () => {
    const log = await worker.log();
    return log.includes("calls at global scope") && log;
  });
  assert.match(log, /calls at global scope: \[\]/);
});
