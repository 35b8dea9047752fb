// Types of the modules that the workers' entries import and no package declares.

/** The part of the runtime's own module that is used here. */
declare module "cloudflare:workers" {
  export class WorkerEntrypoint {
    env: unknown;
    ctx: unknown;
  }
}

/** The output of `crates/bindgen`; the build sets this alias. */
declare module "wasm" {
  type Handler = (event: unknown, env: unknown, context: unknown) => unknown;
  type ObjectClass = new (state: unknown, env: unknown) => Record<"fetch" | "alarm", (...args: any[]) => unknown>;
  export const fetch: Handler;
  export const respond: import("../gateway-worker/guard.js").WasmCalls["respond"];
  export const record_gateway_fault: import("../gateway-worker/guard.js").WasmCalls["record_gateway_fault"];
  export const queue: Handler;
  export const scheduled: Handler;
  export const EventStoreObject: ObjectClass;
  export const RolloutObject: ObjectClass;
  export function __worker_init_state(): { instanceId: number };
  export function __wbg_reset_state(): void;
  export function __watch_instance(watch: import("./recovery.js").Watch): void;
  export function __watch_open_entries(): number;
}
