// The model worker's entry: it forwards the platform's calls to wasm.

import { WorkerEntrypoint } from "cloudflare:workers";
import { createRecovery } from "../wasm-host/recovery.js";
import * as wasm from "wasm";

const { runWasm } = createRecovery(wasm);

export default class extends WorkerEntrypoint {
  /** @param {Request} request */
  fetch(request) {
    return runWasm(() => wasm.fetch.call(this, request, this.env, this.ctx));
  }
}
