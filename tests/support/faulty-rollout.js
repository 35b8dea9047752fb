// Wraps the gateway and makes its rollout object unreachable from `/rollout-away` until `/rollout-back`. The tests copy
// this file into the folder of a build, which has the imported module.

// @ts-nocheck: the build has no types.
import Worker, { RolloutObject as Real } from "./index.js";

export * from "./index.js";

/** Whether the object is unreachable. `wrangler dev` runs a Worker and its objects in one isolate. */
let away = false;

export class RolloutObject {
  constructor(state, env) {
    this.real = new Real(state, env);
  }

  fetch(request) {
    if (away) throw new Error("away");
    return this.real.fetch(request);
  }
}

export default class extends Worker {
  async fetch(request) {
    const order = new URL(request.url).pathname;
    if (order !== "/rollout-away" && order !== "/rollout-back") return super.fetch(request);
    away = order === "/rollout-away";
    return new Response(null, { status: 204 });
  }
}
