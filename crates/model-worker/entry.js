// The model worker's entry: it hands the platform's calls to wasm.

import { WorkerEntrypoint } from "cloudflare:workers";
import { recovery } from "../wasm-host/recovery.js";
import * as wasm from "wasm";

const { call } = recovery(wasm);

export default class extends WorkerEntrypoint {
  /** @param {Request} request */
  fetch(request) {
    return call(() => wasm.fetch.call(this, request, this.env, this.ctx));
  }
}
