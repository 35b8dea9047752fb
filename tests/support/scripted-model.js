// A model worker without a model: it always answers the same, and fails if a text begins with `fault:`. The faults are
// those of the scenarios in tests/data/scenarios.json. The tests copy this file beside the configurations of a session.

// @ts-nocheck: it runs in workerd.

const SHA256 = "ab".repeat(32);
const OTHER_SHA256 = "cd".repeat(32);
const LABELS = ["joy", "sadness", "anger", "fear", "surprise", "disgust", "neutral", "frustration"];

/** Time of an answer that comes too late, above each limit of the scenarios. */
const LATE_MS = 20_000;

export default {
  async fetch(request) {
    if (new URL(request.url).pathname === "/health") return Response.json({ model: { sha256: SHA256 } });
    const { text } = await request.json();
    const [, fault] = /^fault:(\w+)/.exec(text) ?? [];
    const headers = { "x-model-sha256": fault === "other_model" ? OTHER_SHA256 : SHA256 };
    if (fault === "trap") return new Response(null, { status: 500, headers: { ...headers, "x-model-fault": "trap" } });
    if (fault === "refused") return new Response(null, { status: 429, headers });
    if (fault === "garbage") return new Response("<html>", { headers });
    if (fault === "closed") throw new Error("the model worker breaks off");
    if (fault === "late") await new Promise((resolve) => setTimeout(resolve, LATE_MS));
    const score = (label) => (fault === "non_finite" ? null : label === "joy" ? 0.65 : 0.05);
    const skipped = fault === "dimension_mismatch" ? [{ route: "linear_head", reason: "dimension_mismatch" }] : [];
    const scores = Object.fromEntries(LABELS.map((label) => [label, score(label)]));
    const prediction = { primary: "joy", confidence: score("joy"), scores, low_confidence: false, route: "linear_head" };
    return Response.json({ ...prediction, rule_applied: null, truncated: false, model: "e1-small", skipped }, { headers });
  },
};
