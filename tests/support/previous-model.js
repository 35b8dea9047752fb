// The real model worker under the name of an earlier release, so that its answers can be told from those of the next.
// Copied beside a build of that worker, so its import is there.

// @ts-nocheck: the build has no types.
import Worker from "./index.js";

export * from "./index.js";

export default class extends Worker {
  async fetch(request) {
    const response = await super.fetch(request);
    if (request.method !== "POST" || response.status !== 200) return response;
    return Response.json({ ...(await response.json()), model: "NAME" });
  }
}
