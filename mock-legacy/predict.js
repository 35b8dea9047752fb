// The mock legacy system's `/predict`. Keywords and a hash of text and seed replace the model.
//
// The same text, seed and latency give the same bytes. Only errors and wrong labels depend on earlier
// requests: each accepted request draws three numbers, whatever the rates, so a changed rate changes no
// later draw. Texts and ids are neither stored nor printed.

import { setTimeout as sleep } from "node:timers/promises";
import { gzipSync } from "node:zlib";
import { sendHalf, sendInvalidHttp, parseJson, readBody, resetConnection, send, sendError, checkMethod } from "./answer.js";
import { createRandom, hashText } from "./random.js";
import { SettingError, DELAY_LIMIT, parseNumber } from "./settings.js";

/** @typedef {import("./answer.js").RequestContext} RequestContext */

export const VERSION = "2.4.2";
export const ENCODER = "multilingual-e5-large";
export const LABELS = ["joy", "sadness", "anger", "fear", "surprise", "disgust", "neutral", "frustration"];
export const BODY_BYTES_MAX = 64 * 1024;

/** CORS headers of `/predict` and `/cors`. */
export const CORS_HEADERS = {
  "access-control-allow-origin": "https://old.example",
  "access-control-allow-credentials": "true",
  "access-control-expose-headers": "x-old-system",
  vary: "Origin",
};

/** Headers of the response to a CORS preflight. */
export const PREFLIGHT_HEADERS = {
  ...CORS_HEADERS,
  "access-control-allow-methods": "GET, POST",
  "access-control-allow-headers": "content-type, x-old-system",
  "access-control-max-age": "600",
};

/** Above 256 KiB, the largest response that the gateway reads. */
const HUGE_BYTES = 300 * 1024;

/** Beginnings of words, and whole expressions, in lower case with straight apostrophes. */
const KEYWORDS = {
  joy: "happy|glad|delight|joy|wonderful|love|great|thrilled|excited|yay|heureu|content|ravi|joie|génial|super|adore|merveill|hourra",
  sadness: "sad|cry|cried|tears|grief|lonely|alone|heartbroken|miss you|mourn|triste|pleur|deuil|chagrin|seul|malheureu|cœur brisé|me manque",
  anger: "angry|anger|furious|livid|enraged|rage|hate|outrag|furieu|furax|colère|en rage|hors de moi|hors d'elle|déteste|inadmissible|scandale",
  fear: "afraid|scared|fear|terrif|panic|worried|anxious|nightmare|peur|terrifi|effray|angoiss|inquiet|panique|au secours",
  surprise: "surpris|wow|unexpected|unbeliev|astonish|amaz|can't believe|incroyable|inattendu|étonn|stupéf|je n'en reviens pas",
  disgust: "disgust|gross|revolting|yuck|nause|filthy|vile|dégoût|écœur|répugn|beurk|immonde|vomi",
  neutral: "meeting|schedule|monday|report|réunion|lundi|rapport|ordre du jour",
  frustration: "frustrat|annoy|fed up|stuck|again and again|keeps|irritat|agac|énerv|marre|bug|ras le bol|ras-le-bol|encore une fois|bloqu|pénible",
};
const KEYWORD_PATTERNS = LABELS.map((label) => wordStartPattern(KEYWORDS[/** @type {keyof typeof KEYWORDS} */ (label)]));

/** Explicit words of anger, which the tie-break rule needs. */
const EXPLICIT_ANGER = wordStartPattern("furious|livid|enraged|furieu|furax|en rage|hors de moi");

/** Settings of the tie-break: largest gaps between anger and frustration, and how far anger is lifted above both. */
const TIE_BREAK = { gap: 0.05, extended_gap: 0.15, lift: 0.02 };

const LOW_CONFIDENCE = 0.4;

/**
 * Makes the handler of `/predict`.
 *
 * @param {() => import("./settings.js").Settings} currentSettings
 * @param {number} seed
 * @returns {(context: RequestContext) => Promise<void>}
 */
export function createPredictHandler(currentSettings, seed) {
  const random = createRandom(seed);
  return async (context) => {
    const faultHeader = String(context.request.headers["x-mock-legacy"] ?? "");
    if (faultHeader === "cors" && context.request.method === "OPTIONS") return send(context, { status: 204, headers: PREFLIGHT_HEADERS });
    if (!checkMethod(context, ["POST"])) return;
    const bytes = await readBody(context, BODY_BYTES_MAX);
    if (bytes === null) return;
    const parsed = parseText(bytes);
    if (parsed.error !== undefined) return sendError(context, 400, parsed.error);
    const [fault, extra_delay_ms] = parseFault(faultHeader);
    const { latency_ms, error_rate, wrong_label_rate } = currentSettings();
    const returnsError = random() < error_rate;
    const isWrongLabel = random() < wrong_label_rate;
    const wrongLabelIndex = Math.floor(random() * (LABELS.length - 1));
    const responseBody = predict(parsed.text, { seed, latency_ms, wrongLabelIndex: isWrongLabel ? wrongLabelIndex : null });
    await sleep(responseBody.latency_ms + extra_delay_ms, undefined, { ref: false });
    if (fault === "reset") return resetConnection(context);
    if (fault === "half") return sendHalf(context, { "content-type": "application/json" });
    if (fault === "garbled") return sendInvalidHttp(context);
    if (fault === "error" || returnsError) return sendError(context, 500, "internal error");
    return send(context, buildResponse(responseBody, fault));
  };
}

/**
 * The mock's response to a text.
 *
 * @param {string} text
 * @param {{ seed: number, latency_ms: number, wrongLabelIndex?: number | null }} options `latency_ms`:
 *   mean; `wrongLabelIndex`: index, 0 to 6, of the other label that swaps scores with the first; null keeps the first.
 */
export function predict(text, { seed, latency_ms, wrongLabelIndex = null }) {
  const random = createRandom(hashText(text, seed));
  const duration_ms = latency_ms * (0.9 + 0.2 * random());
  const route = pickRoute(random());
  const outcome = text.trim() === "" ? { scores: oneHot("neutral"), rule: null } : tieBreak(text, scoreText(text, random));
  const scores = wrongLabelIndex === null ? outcome.scores : swapScores(outcome.scores, wrongLabelIndex);
  const ranked = LABELS.map((label, index) => ({ label, score: scores[index] })).sort((left, right) => right.score - left.score);
  const top5 = ranked.slice(0, 5).map(({ label, score }) => /** @type {[string, number]} */ ([label, round(score, 3)]));
  const [primary, confidence] = top5[0];
  return {
    version: VERSION,
    route,
    encoder: ENCODER,
    prediction: {
      primary,
      confidence,
      top2: top5.slice(0, 2),
      low_confidence: confidence < LOW_CONFIDENCE,
      // A label that is wrong on purpose does not come from the rule.
      rule_applied: wrongLabelIndex === null ? outcome.rule : null,
    },
    latency_ms: round(duration_ms, 2),
    all_scores_top5: top5,
  };
}

/** Scores in the order of `LABELS`; they sum to 1. @param {string} text @param {() => number} random */
function scoreText(text, random) {
  const matchCounts = KEYWORD_PATTERNS.map((pattern) => foldText(text).match(pattern)?.length ?? 0);
  const noKeyword = matchCounts.every((count) => count === 0);
  // Over the load test's texts (tests/data/rehearsal.jsonl) these weights give figures near the published ones:
  // a mean confidence of 0.52, and low confidence for a quarter of the texts.
  const logits = matchCounts.map((count, index) => {
    const boost = count > 0 ? 2 + 0.5 * count : noKeyword && LABELS[index] === "neutral" ? 2 : 0;
    return boost + 2 * random();
  });
  return normalise(logits.map(Math.exp));
}

/** Puts anger above frustration if both scores are close and the text states anger. @param {string} text @param {number[]} scores */
function tieBreak(text, scores) {
  const [anger, frustration] = ["anger", "frustration"].map((label) => LABELS.indexOf(label));
  const gap = Math.abs(scores[anger] - scores[frustration]);
  const higher = Math.max(scores[anger], scores[frustration]);
  const inTop2 = scores.filter((score) => score > higher).length < 2;
  const isStandard = gap < TIE_BREAK.gap;
  if (!(isStandard || (gap < TIE_BREAK.extended_gap && inTop2)) || !foldText(text).match(EXPLICIT_ANGER)) return { scores, rule: null };
  const lifted = normalise(scores.with(anger, higher + TIE_BREAK.lift));
  return { scores: lifted, rule: `tiebreak_anger_keyword_${isStandard ? "standard" : "extended"}` };
}

/** Swaps the highest score with that of another label. @param {number[]} scores @param {number} indexAmongOthers */
function swapScores(scores, indexAmongOthers) {
  const topIndex = scores.indexOf(Math.max(...scores));
  const otherIndex = indexAmongOthers < topIndex ? indexAmongOthers : indexAmongOthers + 1;
  return scores.with(topIndex, scores[otherIndex]).with(otherIndex, scores[topIndex]);
}

/** Picks a route. The later routes get few requests, as in a healthy release. @param {number} randomNumber */
function pickRoute(randomNumber) {
  return randomNumber < 0.94 ? "linear_head" : randomNumber < 0.995 ? "prototypes" : "regex";
}

/** @param {Buffer} bytes @returns {{ text: string, error?: undefined } | { error: string }} */
function parseText(bytes) {
  const body = parseJson(bytes);
  if (body === undefined) return { error: "body is not JSON" };
  if (typeof body !== "object" || body === null || Array.isArray(body)) return { error: "body is not a JSON object" };
  if (!Object.hasOwn(body, "text")) return { error: "text is missing" };
  return typeof body.text === "string" ? { text: body.text } : { error: "text is not a string" };
}

/** Parses `x-mock-legacy` into a fault to simulate, empty for none, and an extra delay in ms. @param {string} header @returns {[string, number]} */
function parseFault(header) {
  if (header.startsWith("slow:")) return ["", parseNumber("x-mock-legacy: slow", header.slice(5), DELAY_LIMIT)];
  if (["", "cors", "error", "garbled", "gzip", "half", "huge", "not-json", "reset"].includes(header)) return [header, 0];
  throw new SettingError("x-mock-legacy is not one of gzip, error, reset, garbled, half, slow:MS, not-json, huge, cors");
}

/** The response, with the requested fault. @param {ReturnType<typeof predict>} responseBody @param {string} fault @returns {import("./answer.js").HttpResponse} */
function buildResponse(responseBody, fault) {
  if (fault === "not-json") return { status: 200, headers: { "content-type": "text/html" }, body: "<p>Bad day.</p>\n" };
  const json = JSON.stringify(fault === "huge" ? { ...responseBody, padding: "x".repeat(HUGE_BYTES) } : responseBody);
  const headers = { "content-type": "application/json", ...(fault === "cors" ? CORS_HEADERS : {}) };
  if (fault !== "gzip") return { status: 200, headers, body: json };
  return { status: 200, headers: { ...headers, "content-encoding": "gzip" }, body: gzipSync(json) };
}

/** A pattern that matches these beginnings at the start of a word. @param {string} beginnings */
function wordStartPattern(beginnings) {
  return new RegExp(`(?<!\\p{L})(?:${beginnings})`, "gu");
}

/** @param {string} text */
function foldText(text) {
  return text.normalize("NFC").toLowerCase().replaceAll("’", "'");
}

/** @param {string} label */
function oneHot(label) {
  return LABELS.map((candidate) => Number(candidate === label));
}

/** @param {number[]} weights */
function normalise(weights) {
  const sum = weights.reduce((left, right) => left + right, 0);
  return weights.map((weight) => weight / sum);
}

/** @param {number} value @param {number} digits */
function round(value, digits) {
  return Number(value.toFixed(digits));
}
