// The model worker's entry: it forwards the platform's calls to wasm, and says so if a call's text ended it.

import { WorkerEntrypoint } from "cloudflare:workers";
import { errorResponse } from "../wasm-host/error-response.js";
import { InstanceDied, createRecovery } from "../wasm-host/recovery.js";
import * as wasm from "wasm";

const { runWasm } = createRecovery(wasm);

export default class extends WorkerEntrypoint {
  /** @param {Request & { isInWork?: boolean }} request wasm sets `isInWork` while it works on the body */
  async fetch(request) {
    try {
      return await runWasm(() => wasm.fetch.call(this, request, this.env, this.ctx));
    } catch (error) {
      const died = error instanceof InstanceDied || error instanceof WebAssembly.RuntimeError;
      if (!died) throw error;
      // The gateway tells the text that ended the instance from the calls that were open beside it.
      return request.isInWork
        ? errorResponse(500, "trap", "the classifier ended at this request", { "x-model-fault": "trap" })
        : errorResponse(503, "instance_ended", "the classifier ended while this request waited", { "retry-after": "1" });
    }
  }
}
