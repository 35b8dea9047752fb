// The old system's classifier, as a caller sees it: keywords and a hash where it has a model.
//
// The same text and seed give the same bytes. Only errors and wrong labels depend on what came
// before: each accepted request draws three numbers, whatever the rates, so a changed rate moves no
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

/** What `/predict` and `/cors` send to pages of another origin. */
export const CORS = {
  "access-control-allow-origin": "https://old.example",
  "access-control-allow-credentials": "true",
  "access-control-expose-headers": "x-old-system",
  vary: "Origin",
};

/** Sent with CORS to a preflight. */
export const PREFLIGHT = {
  ...CORS,
  "access-control-allow-methods": "GET, POST",
  "access-control-allow-headers": "content-type, x-old-system",
  "access-control-max-age": "600",
};

/** Above what the gate reads of an answer, 256 KiB. */
const HUGE_BYTES = 300 * 1024;

/** Beginnings of words, and whole expressions, in small letters with straight apostrophes. */
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

/** Anger said outright: what the tie-break asks for. */
const OUTRIGHT = starts("furious|livid|enraged|furieu|furax|en rage|hors de moi");

/** Its settings of the tie-break: gaps between the two scores, and how far anger is lifted above. */
const TIE = { gap: 0.05, extended_gap: 0.15, lift: 0.02 };

const LOW_CONFIDENCE = 0.4;

/**
 * The door `/predict`.
 *
 * @param {() => import("./settings.js").Settings} settings
 * @param {number} seed
 * @returns {(call: Call) => Promise<void>}
 */
export function predictDoor(settings, seed) {
  const draw = generator(seed);
  return async (call) => {
    const asked = String(call.request.headers["x-stand-in"] ?? "");
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
 * What the old system says of a text.
 *
 * @param {string} text
 * @param {{ seed: number, latency_ms: number, wrong?: number | null }} options `wrong`: which of the
 *   seven other labels (0 to 6) takes the place of the first.
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
      // An answer made wrong on purpose does not say that a rule made it.
      rule_applied: wrong === null ? tied.rule : null,
    },
    latency_ms: rounded(lasts, 2),
    all_scores_top5: pairs,
  };
}

/** Scores of all labels in order, summing to 1. @param {string} text @param {() => number} draw */
function scoresOf(text, draw) {
  const hits = PATTERNS.map((pattern) => folded(text).match(pattern)?.length ?? 0);
  const plain = hits.every((count) => count === 0);
  // Over the rehearsal texts these weights give the published figures: a mean confidence near 0.51, a
  // quarter of low ones.
  const logits = hits.map((count, at) => {
    const lift = count > 0 ? 2 + 0.5 * count : plain && LABELS[at] === "neutral" ? 2 : 0;
    return lift + 2 * draw();
  });
  return normalised(logits.map(Math.exp));
}

/** Anger before frustration when both are near and anger is said outright. @param {string} text @param {number[]} scores */
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

/** The first score and another change places. @param {number[]} scores @param {number} other */
function swapped(scores, other) {
  const first = scores.indexOf(Math.max(...scores));
  const at = other < first ? other : other + 1;
  return scores.with(first, scores[at]).with(at, scores[first]);
}

/** Few are answered by the later routes, as in a healthy release. @param {number} drawn */
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

/** What the header `x-stand-in` orders, and for how long to wait before, in ms. @param {string} asked @returns {[string, number]} */
function orderOf(asked) {
  if (asked.startsWith("slow:")) return ["", parseNumber("x-stand-in: slow", asked.slice(5), WAIT)];
  if (["", "cors", "error", "garbled", "gzip", "huge", "not-json", "reset"].includes(asked)) return [asked, 0];
  throw new SettingFault("x-stand-in is not one of gzip, error, reset, garbled, slow:MS, not-json, huge, cors");
}

/** An answer as it was ordered. @param {ReturnType<typeof predict>} answer @param {string} order @returns {import("./answer.js").Answer} */
function dressed(answer, order) {
  if (order === "not-json") return { status: 200, headers: { "content-type": "text/html" }, body: "<p>Bad day.</p>\n" };
  const body = JSON.stringify(order === "huge" ? { ...answer, padding: "x".repeat(HUGE_BYTES) } : answer);
  const headers = { "content-type": "application/json", ...(order === "cors" ? CORS : {}) };
  if (order !== "gzip") return { status: 200, headers, body };
  return { status: 200, headers: { ...headers, "content-encoding": "gzip" }, body: gzipSync(body) };
}

/** Matches where a word starts so. @param {string} beginnings */
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
