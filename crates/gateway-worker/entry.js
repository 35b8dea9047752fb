// The gateway worker's entry: it forwards the platform's calls to wasm.

import { WorkerEntrypoint } from "cloudflare:workers";
import { createRecovery } from "../wasm-host/recovery.js";
import { Call, respond } from "./guard.js";
import * as wasm from "wasm";

const recovery = createRecovery(wasm);

export default class extends WorkerEntrypoint {
  /** @param {Request} request */
  fetch(request) {
    return respond(new Call(request, this.env, this.ctx, recovery), wasm);
  }

  /** @param {unknown} batch */
  queue(batch) {
    return recovery.runWasm(() => wasm.queue.call(this, batch, this.env, this.ctx));
  }

  /** @param {unknown} event */
  scheduled(event) {
    return recovery.runWasm(() => wasm.scheduled.call(this, event, this.env, this.ctx));
  }
}

export const EventStoreObject = recovery.createObjectClass(wasm.EventStoreObject, ["fetch", "alarm"]);
export const RolloutObject = recovery.createObjectClass(wasm.RolloutObject, ["fetch", "alarm"]);
