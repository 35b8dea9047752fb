// Tests how a Worker replaces its wasm instance (crates/wasm-host/recovery.js), with a stand-in for wasm whose entries a test can end.

import assert from "node:assert/strict";
import { test } from "node:test";
import vm from "node:vm";

// The runtime has this function; Node has not.
Object.assign(globalThis, { addEventListener() {} });
const { InstanceDied, createRecovery } = await import("../../crates/wasm-host/recovery.js");

/** Counts entries as the changed glue does: the count of an entry that the engine ends is never taken back. */
function createWasm() {
  const context = vm.createContext({ open: 0 });
  /** @type {import("../../crates/wasm-host/recovery.js").Watch} */
  let watch;
  let starts = 0;
  return {
    __worker_init_state: () => ({ instanceId: 0 }),
    __wbg_reset_state: () => void (starts++, (context.open = 0)),
    __watch_instance: (/** @type {typeof watch} */ functions) => void (watch = functions),
    __watch_open_entries: () => context.open,
    starts: () => starts,
    /** Runs a script as one entry, for at most 50 ms, as a platform limits the time of an event. @param {string} script */
    enter: (script) => vm.runInContext(`open++; try { ${script} } finally { open--; }`, context, { timeout: 50 }),
    trap() {
      watch.died(new WebAssembly.RuntimeError("unreachable"));
      watch.returned();
      return new Promise(() => {});
    },
  };
}

test("an entry that the platform ended means a new instance at the next event, and its open calls are rejected", async () => {
  const wasm = createWasm();
  const { runWasm } = createRecovery(wasm);
  const open = runWasm(() => new Promise(() => {}));
  await assert.rejects(runWasm(() => wasm.enter("for (;;);")), /timed out/);
  assert.deepEqual([wasm.__watch_open_entries(), wasm.starts()], [1, 0]);
  assert.equal(await runWasm(() => wasm.enter("7")), 7);
  assert.equal(wasm.starts(), 1);
  await assert.rejects(open, InstanceDied);
});

test("a trap rejects the calls that are open and no later one", async () => {
  const wasm = createWasm();
  const { runWasm } = createRecovery(wasm);
  const open = [runWasm(() => new Promise(() => {})), runWasm(() => wasm.trap())];
  const later = runWasm(() => new Promise((resolve) => setTimeout(resolve, 100, "whole")));
  for (const call of open) await assert.rejects(call, InstanceDied);
  assert.equal(await later, "whole");
  assert.equal(wasm.starts(), 1);
});

test("an object is constructed again in a new instance, from its first arguments", async () => {
  const wasm = createWasm();
  const { createObjectClass } = createRecovery(wasm);
  /** @type {unknown[][]} */
  const constructed = [];
  class WasmObject {
    /** @param {unknown} state @param {unknown} env */
    constructor(state, env) {
      constructed.push([state, env]);
    }
    /** @param {string} message */
    async fetch(message) {
      return message === "trap" ? wasm.trap() : message;
    }
  }
  const RecoveringObject = createObjectClass(/** @type {any} */ (WasmObject), ["fetch"]);
  const object = /** @type {any} */ (new RecoveringObject("state", "env"));
  assert.equal(await object.fetch("one"), "one");
  await assert.rejects(object.fetch("trap"), InstanceDied);
  assert.equal(await object.fetch("two"), "two");
  assert.deepEqual(constructed, [["state", "env"], ["state", "env"]]);
});
