// Replaces the instance of a worker's wasm module after a trap.
//
// A trap may leave the memory of an instance in any state. The next call therefore starts a new instance, and each
// Durable Object is constructed again there, from its first arguments. `wasm` is the output of `crates/bindgen`. It
// shares `__worker_init_state` with Rust: the panic hook (`panics.rs`) sets `criticalError` in it.

/** @typedef {{ criticalError: boolean, instanceId: number }} State */
/** @typedef {{ __worker_init_state: () => State, __wbg_reset_state: () => void }} Wasm */

/** @param {Wasm} wasm */
export function recovery(wasm) {
  const state = wasm.__worker_init_state();

  // The runtime reports here what a callback throws; no caller sees that.
  addEventListener("error", (event) => note(event.error));

  /** @param {unknown} error */
  function note(error) {
    if (!(error instanceof WebAssembly.RuntimeError)) return;
    console.error("Critical", error);
    state.criticalError = true;
  }

  /**
   * Calls into wasm; after a trap, starts a new instance first.
   *
   * @template T
   * @param {() => T} enter
   * @returns {T}
   */
  function call(enter) {
    if (state.criticalError) {
      console.log("Reinitializing Wasm application");
      wasm.__wbg_reset_state();
      state.criticalError = false;
      state.instanceId++;
    }
    try {
      return enter();
    } catch (error) {
      note(error);
      throw error;
    }
  }

  /**
   * A Durable Object class that forwards its methods to a class in wasm.
   *
   * @template {string} Method
   * @param {new (state: unknown, env: unknown) => Record<Method, (...args: any[]) => unknown>} Class
   * @param {Method[]} methods
   */
  function durableObject(Class, methods) {
    class Recovering {
      /** @param {unknown} objectState @param {unknown} env */
      constructor(objectState, env) {
        this.made = { of: [objectState, env], in: -1, object: /** @type {any} */ (null) };
        call(() => this.object());
      }

      /** The object in the present instance. */
      object() {
        const { made } = this;
        if (made.in !== state.instanceId) {
          made.object = new Class(made.of[0], made.of[1]);
          made.in = state.instanceId;
        }
        return made.object;
      }
    }
    for (const method of methods) {
      Object.defineProperty(Recovering.prototype, method, {
        value: /** @this {Recovering} @param {unknown[]} args */ function (...args) {
          return call(() => this.object()[method](...args));
        },
      });
    }
    return Recovering;
  }

  return { call, durableObject };
}
