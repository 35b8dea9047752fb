// The gateway worker's entry: it hands the platform's calls to wasm.

import { WorkerEntrypoint } from "cloudflare:workers";
import { recovery } from "../wasm-host/recovery.js";
import * as wasm from "wasm";

const { call, durableObject } = recovery(wasm);

export default class extends WorkerEntrypoint {
  /** @param {Request} request */
  fetch(request) {
    return call(() => wasm.fetch.call(this, request, this.env, this.ctx));
  }

  /** @param {unknown} batch */
  queue(batch) {
    return call(() => wasm.queue.call(this, batch, this.env, this.ctx));
  }

  /** @param {unknown} event */
  scheduled(event) {
    return call(() => wasm.scheduled.call(this, event, this.env, this.ctx));
  }
}

export const EventStoreObject = durableObject(wasm.EventStoreObject, ["fetch", "alarm"]);
export const RolloutObject = durableObject(wasm.RolloutObject, ["fetch", "alarm"]);
