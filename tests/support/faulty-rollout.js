// Wraps the gateway and makes its rollout object unreachable from `/rollout-away` until `/rollout-back`. The tests copy
// this file into the folder of a build, which has the imported module.

// @ts-nocheck: the build has no types.
import Worker, { RolloutObject as RealRolloutObject } from "./index.js";

export * from "./index.js";

/** Whether the object is unreachable. `wrangler dev` runs a Worker and its objects in one isolate. */
let isUnreachable = false;

export class RolloutObject {
  constructor(state, env) {
    this.real = new RealRolloutObject(state, env);
  }

  fetch(request) {
    if (isUnreachable) throw new Error("rollout object unreachable");
    return this.real.fetch(request);
  }
}

export default class extends Worker {
  async fetch(request) {
    const pathname = new URL(request.url).pathname;
    if (pathname !== "/rollout-away" && pathname !== "/rollout-back") return super.fetch(request);
    isUnreachable = pathname === "/rollout-away";
    return new Response(null, { status: 204 });
  }
}
