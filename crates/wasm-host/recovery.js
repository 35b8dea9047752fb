// A new instance of a worker's wasm module after a trap.
//
// A trap ends an instance: its memory may be in any state. The next call from outside makes a new one first, and
// objects of the old one are made again with what they were made of. `wasm` is what `crates/bindgen` wrote. Its
// `__worker_init_state` is shared with wasm: the panic hook (`panics.rs`) sets `criticalError` there.

/** @typedef {{ criticalError: boolean, instanceId: number }} State */
/** @typedef {{ __worker_init_state: () => State, __wbg_reset_state: () => void }} Wasm */

/** @param {Wasm} wasm */
export function recovery(wasm) {
  const state = wasm.__worker_init_state();

  // What a callback of the runtime throws reaches no caller.
  addEventListener("error", (event) => note(event.error));

  /** @param {unknown} error */
  function note(error) {
    if (!(error instanceof WebAssembly.RuntimeError)) return;
    console.error("Critical", error);
    state.criticalError = true;
  }

  /**
   * Calls into wasm, into a new instance after a trap.
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
   * A Durable Object whose methods are those of a class in wasm.
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
