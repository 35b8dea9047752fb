// The mock legacy system's `/predict`. Keywords and a hash of text and seed replace the model.
//
// The same text, seed and latency give the same bytes. Only errors and wrong labels depend on earlier
// requests: each accepted request draws three numbers, whatever the rates, so a changed rate changes no
// later draw. Texts and ids are neither kept nor printed.

import { setTimeout as sleep } from "node:timers/promises";
import { gzipSync } from "node:zlib";
import { garble, parseJson, readBody, reset, send, sendFault, takes } from "./answer.js";
import { generator, hash } from "./random.js";
import { SettingFault, WAIT, parseNumber } from "./settings.js";

/** @typedef {import("./answer.js").Call} Call */

export const VERSION = "2.4.2";
export const ENCODER = "multilingual-e5-large";
export const LABELS = ["joy", "sadness", "anger", "fear", "surprise", "disgust", "neutral", "frustration"];
export const BODY_BYTES_MAX = 64 * 1024;

/** CORS headers of `/predict` and `/cors`. */
export const CORS = {
  "access-control-allow-origin": "https://old.example",
  "access-control-allow-credentials": "true",
  "access-control-expose-headers": "x-old-system",
  vary: "Origin",
};

/** Headers of the response to a CORS preflight. */
export const PREFLIGHT = {
  ...CORS,
  "access-control-allow-methods": "GET, POST",
  "access-control-allow-headers": "content-type, x-old-system",
  "access-control-max-age": "600",
};

/** Above 256 KiB, the largest response that the gateway reads. */
const HUGE_BYTES = 300 * 1024;

/** Beginnings of words, and whole expressions, in lower case with straight apostrophes. */
const WORDS = {
  joy: "happy|glad|delight|joy|wonderful|love|great|thrilled|excited|yay|heureu|content|ravi|joie|génial|super|adore|merveill|hourra",
  sadness: "sad|cry|cried|tears|grief|lonely|alone|heartbroken|miss you|mourn|triste|pleur|deuil|chagrin|seul|malheureu|cœur brisé|me manque",
  anger: "angry|anger|furious|livid|enraged|rage|hate|outrag|furieu|furax|colère|en rage|hors de moi|hors d'elle|déteste|inadmissible|scandale",
  fear: "afraid|scared|fear|terrif|panic|worried|anxious|nightmare|peur|terrifi|effray|angoiss|inquiet|panique|au secours",
  surprise: "surpris|wow|unexpected|unbeliev|astonish|amaz|can't believe|incroyable|inattendu|étonn|stupéf|je n'en reviens pas",
  disgust: "disgust|gross|revolting|yuck|nause|filthy|vile|dégoût|écœur|répugn|beurk|immonde|vomi",
  neutral: "meeting|schedule|monday|report|réunion|lundi|rapport|ordre du jour",
  frustration: "frustrat|annoy|fed up|stuck|again and again|keeps|irritat|agac|énerv|marre|bug|ras le bol|ras-le-bol|encore une fois|bloqu|pénible",
};
const PATTERNS = LABELS.map((label) => starts(WORDS[/** @type {keyof typeof WORDS} */ (label)]));

/** Explicit words of anger, which the tie-break rule needs. */
const OUTRIGHT = starts("furious|livid|enraged|furieu|furax|en rage|hors de moi");

/** Settings of the tie-break: largest gaps between anger and frustration, and how far anger is lifted above both. */
const TIE = { gap: 0.05, extended_gap: 0.15, lift: 0.02 };

const LOW_CONFIDENCE = 0.4;

/**
 * Makes the handler of `/predict`.
 *
 * @param {() => import("./settings.js").Settings} settings
 * @param {number} seed
 * @returns {(call: Call) => Promise<void>}
 */
export function predictDoor(settings, seed) {
  const draw = generator(seed);
  return async (call) => {
    const asked = String(call.request.headers["x-mock-legacy"] ?? "");
    if (asked === "cors" && call.request.method === "OPTIONS") return send(call, { status: 204, headers: PREFLIGHT });
    if (!takes(call, ["POST"])) return;
    const bytes = await readBody(call, BODY_BYTES_MAX);
    if (bytes === null) return;
    const text = textOf(bytes);
    if (text.fault !== undefined) return sendFault(call, 400, text.fault);
    const [order, wait] = orderOf(asked);
    const { latency_ms, error_rate, wrong_label_rate } = settings();
    const fails = draw() < error_rate;
    const errs = draw() < wrong_label_rate;
    const other = Math.floor(draw() * (LABELS.length - 1));
    const answer = predict(text.text, { seed, latency_ms, wrong: errs ? other : null });
    await sleep(answer.latency_ms + wait, undefined, { ref: false });
    if (order === "reset") return reset(call);
    if (order === "garbled") return garble(call);
    if (order === "error" || fails) return sendFault(call, 500, "internal error");
    return send(call, dressed(answer, order));
  };
}

/**
 * The mock's response to a text.
 *
 * @param {string} text
 * @param {{ seed: number, latency_ms: number, wrong?: number | null }} options `latency_ms`:
 *   mean; `wrong`: index, 0 to 6, of the other label that swaps scores with the first; null keeps the first.
 */
export function predict(text, { seed, latency_ms, wrong = null }) {
  const draw = generator(hash(text, seed));
  const lasts = latency_ms * (0.9 + 0.2 * draw());
  const route = routeOf(draw());
  const tied = text.trim() === "" ? { scores: certain("neutral"), rule: null } : tieBreak(text, scoresOf(text, draw));
  const scores = wrong === null ? tied.scores : swapped(tied.scores, wrong);
  const ranked = LABELS.map((label, at) => ({ label, score: scores[at] })).sort((left, right) => right.score - left.score);
  const pairs = ranked.slice(0, 5).map(({ label, score }) => /** @type {[string, number]} */ ([label, rounded(score, 3)]));
  const [primary, confidence] = pairs[0];
  return {
    version: VERSION,
    route,
    encoder: ENCODER,
    prediction: {
      primary,
      confidence,
      top2: pairs.slice(0, 2),
      low_confidence: confidence < LOW_CONFIDENCE,
      // A label that is wrong on purpose does not come from the rule.
      rule_applied: wrong === null ? tied.rule : null,
    },
    latency_ms: rounded(lasts, 2),
    all_scores_top5: pairs,
  };
}

/** Scores in the order of `LABELS`; they sum to 1. @param {string} text @param {() => number} draw */
function scoresOf(text, draw) {
  const hits = PATTERNS.map((pattern) => folded(text).match(pattern)?.length ?? 0);
  const plain = hits.every((count) => count === 0);
  // Over the load test's texts (tests/data/rehearsal.jsonl) these weights give figures near the published ones:
  // a mean confidence of 0.52, and low confidence for a quarter of the texts.
  const logits = hits.map((count, at) => {
    const lift = count > 0 ? 2 + 0.5 * count : plain && LABELS[at] === "neutral" ? 2 : 0;
    return lift + 2 * draw();
  });
  return normalised(logits.map(Math.exp));
}

/** Puts anger above frustration if both scores are close and the text states anger. @param {string} text @param {number[]} scores */
function tieBreak(text, scores) {
  const [anger, frustration] = ["anger", "frustration"].map((label) => LABELS.indexOf(label));
  const gap = Math.abs(scores[anger] - scores[frustration]);
  const higher = Math.max(scores[anger], scores[frustration]);
  const first2 = scores.filter((score) => score > higher).length < 2;
  const standard = gap < TIE.gap;
  if (!(standard || (gap < TIE.extended_gap && first2)) || !folded(text).match(OUTRIGHT)) return { scores, rule: null };
  const lifted = normalised(scores.with(anger, higher + TIE.lift));
  return { scores: lifted, rule: `tiebreak_anger_keyword_${standard ? "standard" : "extended"}` };
}

/** Swaps the highest score with that of another label. @param {number[]} scores @param {number} other */
function swapped(scores, other) {
  const first = scores.indexOf(Math.max(...scores));
  const at = other < first ? other : other + 1;
  return scores.with(first, scores[at]).with(at, scores[first]);
}

/** The later routes answer few requests, as in a healthy release. @param {number} drawn */
function routeOf(drawn) {
  return drawn < 0.94 ? "linear_head" : drawn < 0.995 ? "prototypes" : "regex";
}

/** @param {Buffer} bytes @returns {{ text: string, fault?: undefined } | { fault: string }} */
function textOf(bytes) {
  const body = parseJson(bytes);
  if (body === undefined) return { fault: "body is not JSON" };
  if (typeof body !== "object" || body === null || Array.isArray(body)) return { fault: "body is not a JSON object" };
  if (!Object.hasOwn(body, "text")) return { fault: "text is missing" };
  return typeof body.text === "string" ? { text: body.text } : { fault: "text is not a string" };
}

/** Parses `x-mock-legacy` into a fault to simulate, empty for none, and an extra delay in ms. @param {string} asked @returns {[string, number]} */
function orderOf(asked) {
  if (asked.startsWith("slow:")) return ["", parseNumber("x-mock-legacy: slow", asked.slice(5), WAIT)];
  if (["", "cors", "error", "garbled", "gzip", "huge", "not-json", "reset"].includes(asked)) return [asked, 0];
  throw new SettingFault("x-mock-legacy is not one of gzip, error, reset, garbled, slow:MS, not-json, huge, cors");
}

/** The response, with the ordered fault. @param {ReturnType<typeof predict>} answer @param {string} order @returns {import("./answer.js").Answer} */
function dressed(answer, order) {
  if (order === "not-json") return { status: 200, headers: { "content-type": "text/html" }, body: "<p>Bad day.</p>\n" };
  const body = JSON.stringify(order === "huge" ? { ...answer, padding: "x".repeat(HUGE_BYTES) } : answer);
  const headers = { "content-type": "application/json", ...(order === "cors" ? CORS : {}) };
  if (order !== "gzip") return { status: 200, headers, body };
  return { status: 200, headers: { ...headers, "content-encoding": "gzip" }, body: gzipSync(body) };
}

/** A pattern that matches these beginnings at the start of a word. @param {string} beginnings */
function starts(beginnings) {
  return new RegExp(`(?<!\\p{L})(?:${beginnings})`, "gu");
}

/** @param {string} text */
function folded(text) {
  return text.normalize("NFC").toLowerCase().replaceAll("’", "'");
}

/** @param {string} label */
function certain(label) {
  return LABELS.map((each) => Number(each === label));
}

/** @param {number[]} weights */
function normalised(weights) {
  const sum = weights.reduce((left, right) => left + right, 0);
  return weights.map((weight) => weight / sum);
}

/** @param {number} value @param {number} digits */
function rounded(value, digits) {
  return Number(value.toFixed(digits));
}
