// Replaces the instance of a Worker's wasm module after it died.
//
// An exception that leaves wasm, such as a trap, and a limit of the platform that ends wasm in the middle may leave the
// memory of an instance in any state. All operations that the instance had open are then rejected, because their futures will
// not go on. A new instance starts when the last frame has returned, and each Durable Object is constructed
// again there, from its first arguments. `wasm` is the output of `crates/bindgen`, which reports both moments
// (`instance_watch.rs`).

/** @typedef {{ died: (error: unknown) => void, returned: () => void }} Watch */
/**
 * @typedef {object} Wasm
 * @property {() => { instanceId: number }} __worker_init_state
 * @property {() => void} __wbg_reset_state starts a new instance
 * @property {(watch: Watch) => void} __watch_instance
 * @property {() => number} __watch_open_entries
 */

/**
 * Times after which an operation looks whether its instance died: twice as long each time, so that a death delays an answer
 * by no more than the time that has passed, and a long operation looks seldom.
 */
const LOOK_MS_MIN = 10;
const LOOK_MS_MAX = 250;

/** The instance died before the operation ended. */
export class InstanceDied extends Error {
  constructor() {
    super("the wasm instance died");
    this.name = "InstanceDied";
  }
}

/** @param {Wasm} wasm */
export function createRecovery(wasm) {
  const state = wasm.__worker_init_state();
  let isDead = false;
  /** Number of instances that died. */
  let deaths = 0;
  /** What ended an instance. @type {WeakSet<object>} */
  const seenErrors = new WeakSet();

  wasm.__watch_instance({ died: end, returned: startInstance });
  // A destructor that the glue calls between two entries may trap as well; only this event shows it. The runtime also
  // reports the exceptions that `end` knows.
  addEventListener("error", ({ error }) => {
    if (error instanceof WebAssembly.RuntimeError && !seenErrors.has(error)) {
      end(error);
      startInstance();
    }
  });

  /**
   * Declares the instance dead. A message of any other error than wasm's own may quote a request.
   *
   * @param {unknown} error
   */
  function end(error) {
    const name = error instanceof Error ? error.name : typeof error;
    const message = error instanceof WebAssembly.RuntimeError ? error.message : "no message is shown";
    console.error(`the wasm instance died: ${name}: ${message}`);
    isDead = true;
    deaths++;
    if (error instanceof Error) seenErrors.add(error);
  }

  /** Starts a new instance. If that fails, the next operation tries again. */
  function startInstance() {
    wasm.__wbg_reset_state();
    state.instanceId++;
    isDead = false;
  }

  /** Makes sure that the next entry meets an instance that is whole. */
  function replaceDeadInstance() {
    // The platform starts each event without a frame of wasm below it.
    if (!isDead && wasm.__watch_open_entries() > 0) end(new Error("an entry did not return"));
    if (isDead) startInstance();
  }

  /**
   * Starts an operation in an instance that is whole. The promise is rejected with `InstanceDied` soon after the
   * instance died. For the platform's events only, not for calls by wasm.
   *
   * @template T
   * @param {() => T | Promise<T>} operation
   * @returns {Promise<T>}
   */
  async function runWasm(operation) {
    replaceDeadInstance();
    const deathsBefore = deaths;
    return untilDeath(operation(), deathsBefore);
  }

  /**
   * Returns a promise that ends as another one of wasm does, or is rejected with `InstanceDied` soon after the instance died.
   *
   * @template T
   * @param {T | Promise<T>} promise
   * @param {number} [deathsBefore] the number of instances that had died when the operation began
   * @returns {Promise<T>}
   */
  async function untilDeath(promise, deathsBefore = deaths) {
    /** @type {ReturnType<typeof setTimeout>} */
    let timer;
    try {
      return await new Promise((resolve, reject) => {
        // Each operation looks for itself, with a timer of its own event: the runtime lets no event wait for another one.
        const look = (/** @type {number} */ delay_ms) => {
          timer = setTimeout(() => {
            if (deaths > deathsBefore) reject(new InstanceDied());
            else look(Math.min(2 * delay_ms, LOOK_MS_MAX));
          }, delay_ms);
        };
        look(LOOK_MS_MIN);
        Promise.resolve(promise).then(resolve, reject);
      });
    } finally {
      // @ts-expect-error TypeScript does not see that `look` sets it.
      clearTimeout(timer);
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
        replaceDeadInstance();
        this.currentObject();
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
          return runWasm(() => this.currentObject()[method](...args));
        },
      });
    }
    return RecoveringObject;
  }

  return { runWasm, untilDeath, createObjectClass };
}
