// What the workers' entries import that no package declares.

/** The runtime's own module, as far as it is used here. */
declare module "cloudflare:workers" {
  export class WorkerEntrypoint {
    env: unknown;
    ctx: unknown;
  }
}

/** What `crates/bindgen` wrote of the worker's wasm; the build names it so. */
declare module "wasm" {
  type Handler = (event: unknown, env: unknown, context: unknown) => unknown;
  type ObjectClass = new (state: unknown, env: unknown) => Record<"fetch" | "alarm", (...args: any[]) => unknown>;
  export const fetch: Handler;
  export const queue: Handler;
  export const scheduled: Handler;
  export const LedgerObject: ObjectClass;
  export const RolloutObject: ObjectClass;
  export function __worker_init_state(): import("./recovery.js").State;
  export function __wbg_reset_state(): void;
}
