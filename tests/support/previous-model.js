// Wraps the real model worker and names an earlier release in its responses, so that a test can tell the two releases
// apart. The tests copy this file into the folder of a build, which has the imported module.

// @ts-nocheck: the build has no types.
import Worker from "./index.js";

export * from "./index.js";

export default class extends Worker {
  async fetch(request) {
    const response = await super.fetch(request);
    if (request.method !== "POST" || response.status !== 200) return response;
    const headers = { "x-model-sha256": response.headers.get("x-model-sha256") };
    return Response.json({ ...(await response.json()), model: "NAME" }, { headers });
  }
}
