// Replaces the instance of a worker's wasm module after a trap.
//
// A trap may leave the memory of an instance in any state. The next call therefore starts a new instance, and each
// Durable Object is constructed again there, from its first arguments. `wasm` is the output of `crates/bindgen`. It
// shares `__worker_init_state` with Rust: the panic hook (`panics.rs`) sets `criticalError` in it.

/** @typedef {{ criticalError: boolean, instanceId: number }} InstanceState */
/** @typedef {{ __worker_init_state: () => InstanceState, __wbg_reset_state: () => void }} Wasm */

/** @param {Wasm} wasm */
export function createRecovery(wasm) {
  const state = wasm.__worker_init_state();

  // The runtime reports here what a callback throws; no caller sees that.
  addEventListener("error", (event) => recordTrap(event.error));

  /** @param {unknown} error */
  function recordTrap(error) {
    if (!(error instanceof WebAssembly.RuntimeError)) return;
    console.error("Critical", error);
    state.criticalError = true;
  }

  /**
   * Calls into wasm; after a trap, starts a new instance first.
   *
   * @template T
   * @param {() => T} operation
   * @returns {T}
   */
  function callWasm(operation) {
    if (state.criticalError) {
      console.log("Reinitializing Wasm application");
      wasm.__wbg_reset_state();
      state.criticalError = false;
      state.instanceId++;
    }
    try {
      return operation();
    } catch (error) {
      recordTrap(error);
      throw error;
    }
  }

  /**
   * A Durable Object class that forwards its methods to a class in wasm.
   *
   * @template {string} Method
   * @param {new (state: unknown, env: unknown) => Record<Method, (...args: any[]) => unknown>} WasmClass
   * @param {Method[]} methods
   */
  function createObjectClass(WasmClass, methods) {
    class RecoveringObject {
      /** @param {unknown} objectState @param {unknown} env */
      constructor(objectState, env) {
        this.instance = { args: [objectState, env], instanceId: -1, object: /** @type {any} */ (null) };
        callWasm(() => this.currentObject());
      }

      /** The object in the current wasm instance. */
      currentObject() {
        const { instance } = this;
        if (instance.instanceId !== state.instanceId) {
          instance.object = new WasmClass(instance.args[0], instance.args[1]);
          instance.instanceId = state.instanceId;
        }
        return instance.object;
      }
    }
    for (const method of methods) {
      Object.defineProperty(RecoveringObject.prototype, method, {
        value: /** @this {RecoveringObject} @param {unknown[]} args */ function (...args) {
          return callWasm(() => this.currentObject()[method](...args));
        },
      });
    }
    return RecoveringObject;
  }

  return { callWasm, createObjectClass };
}
