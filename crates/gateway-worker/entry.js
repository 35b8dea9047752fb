// The gateway worker's entry: it forwards the platform's calls to wasm.

import { WorkerEntrypoint } from "cloudflare:workers";
import { createRecovery } from "../wasm-host/recovery.js";
import * as wasm from "wasm";

const { callWasm, createObjectClass } = createRecovery(wasm);

export default class extends WorkerEntrypoint {
  /** @param {Request} request */
  fetch(request) {
    return callWasm(() => wasm.fetch.call(this, request, this.env, this.ctx));
  }

  /** @param {unknown} batch */
  queue(batch) {
    return callWasm(() => wasm.queue.call(this, batch, this.env, this.ctx));
  }

  /** @param {unknown} event */
  scheduled(event) {
    return callWasm(() => wasm.scheduled.call(this, event, this.env, this.ctx));
  }
}

export const EventStoreObject = createObjectClass(wasm.EventStoreObject, ["fetch", "alarm"]);
export const RolloutObject = createObjectClass(wasm.RolloutObject, ["fetch", "alarm"]);
