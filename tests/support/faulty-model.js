// Wraps the real model worker and makes it fail if a text begins with `fault:`, with faults that a real one can have.
// The tests copy this file into the folder of a build, which has the imported module.

// @ts-nocheck: the build has no types.
import Worker from "./index.js";

export * from "./index.js";

export default class extends Worker {
  async fetch(request) {
    const copy = request.clone();
    const { text = "" } = await copy.json().catch(() => ({}));
    const match = /^fault:(\w+)(?::(\d+))?/.exec(text);
    if (!match) return super.fetch(request);
    const [, fault, number] = match;
    if (fault === "trap") return super.fetch(new Request("http://model/v1/fault/panic", { method: "POST", body: "x" }));
    if (fault === "throw") throw new Error("unreachable");
    if (fault === "refuse") return new Response("{}", { status: Number(number) });
    if (fault === "garble") return new Response("<html>");
    if (fault === "slow") {
      await new Promise((resolve) => setTimeout(resolve, Number(number)));
      return super.fetch(request);
    }
    if (fault === "stall") {
      // Waits half of the time before the head and the other half before the body.
      const pause = () => new Promise((resolve) => setTimeout(resolve, Number(number) / 2));
      await pause();
      const response = await super.fetch(request);
      const { readable, writable } = new TransformStream();
      pause().then(() => response.body.pipeTo(writable)).catch(() => {});
      return new Response(readable, response);
    }
    const response = await super.fetch(request);
    const prediction = await response.json();
    if (fault === "nan") prediction.scores.joy = null;
    if (fault === "regex") prediction.route = "regex";
    if (fault === "rule") prediction.rule_applied = "tiebreak_anger_keyword_standard";
    if (fault === "mismatch") prediction.skipped = [{ route: "linear_head", reason: "dimension_mismatch" }];
    return Response.json(prediction, { headers: { "x-model-sha256": response.headers.get("x-model-sha256") } });
  }
}
