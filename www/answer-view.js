// Draws one prediction. The worker computes every value; this file only formats it in the page's
// language. It writes texts by `textContent` only, so no text becomes markup.

import { names, strings } from "./strings.js";

/** @typedef {import("./strings.js").Language} Language */
/** @typedef {import("./classifier-worker.js").Prediction} Prediction */
/** @typedef {import("./classifier-worker.js").TextAnalysis} TextAnalysis */
/** @typedef {{ prediction: Prediction, analysis: TextAnalysis, milliseconds: number }} ClassifyResult */

// In the order of `jeffrey_terms::Label`, for the rows shown before the first prediction.
export const LABELS = [
  "joy",
  "sadness",
  "anger",
  "fear",
  "surprise",
  "disgust",
  "neutral",
  "frustration",
];

/** @param {string} id */
export function element(id) {
  const node = document.getElementById(id);
  if (!node) throw new Error(`no element ${id}`);
  return node;
}

/**
 * The display name of a label, route, rule or reason; a name without one is returned unchanged.
 * @param {Language} language
 * @param {string} name
 */
export const displayName = (language, name) => names[language][name] ?? name;

/** Cached formats: creating one takes longer than a hundred uses. The key is language, style, decimals. @type {Map<string, Intl.NumberFormat>} */
const formats = new Map();

/**
 * @param {Language} language
 * @param {number} value
 * @param {number} decimals
 * @param {"decimal" | "percent"} [style]
 */
export function formatNumber(language, value, decimals, style = "decimal") {
  const key = `${language} ${style} ${decimals}`;
  const digits = { minimumFractionDigits: decimals, maximumFractionDigits: decimals };
  const format = formats.get(key) ?? new Intl.NumberFormat(language, { style, ...digits });
  formats.set(key, format);
  return format.format(value);
}

/**
 * @param {Language} language
 * @param {number} share 0 to 1
 * @param {number} [decimals]
 */
export const formatPercent = (language, share, decimals = 1) => formatNumber(language, share, decimals, "percent");

/**
 * @param {Language} language
 * @param {number} value
 */
export const formatMilliseconds = (language, value) => `${formatNumber(language, value, 1)} ms`;

/**
 * @param {string} id
 * @param {string} text
 * @param {number} [value] the exact value behind the text
 */
export function write(id, text, value) {
  const target = element(id);
  target.textContent = text;
  if (target instanceof HTMLDataElement) target.value = value === undefined ? "" : String(value);
}

/** Makes a row: the name, then one cell with a bar, hidden from screen readers, and its number, which they read. */
function makeRow() {
  const row = document.createElement("tr");
  const name = document.createElement("th");
  name.scope = "row";
  const cell = document.createElement("td");
  const bar = document.createElement("span");
  bar.className = "bar";
  bar.setAttribute("aria-hidden", "true");
  bar.append(document.createElement("span"));
  cell.append(bar, document.createElement("data"));
  row.append(name, cell);
  return row;
}

/**
 * @param {Language} language
 * @param {string[]} labels
 * @param {Prediction | null} prediction
 */
function drawScores(language, labels, prediction) {
  const body = element("scores");
  while (body.children.length < labels.length) body.append(makeRow());
  labels.forEach((label, index) => {
    const row = /** @type {HTMLTableRowElement} */ (body.children[index]);
    const score = prediction?.scores[label];
    row.dataset.emotion = label;
    row.classList.toggle("first", prediction?.primary === label);
    row.style.setProperty("--score", String(score ?? 0));
    row.cells[0].textContent = displayName(language, label);
    const data = /** @type {HTMLDataElement} */ (row.cells[1].lastElementChild);
    data.value = score === undefined ? "" : String(score);
    data.textContent = score === undefined ? "–" : formatPercent(language, score);
  });
}

/**
 * Shows a prediction, or with `null` an empty table.
 * @param {Language} language
 * @param {ClassifyResult | null} result
 */
export function drawPrediction(language, result) {
  const prediction = result?.prediction ?? null;
  element("idle").hidden = prediction !== null;
  element("headline").hidden = prediction === null;
  drawScores(language, prediction ? Object.keys(prediction.scores) : LABELS, prediction);

  write("primary", prediction ? displayName(language, prediction.primary) : "");
  const confidence = prediction?.confidence;
  write("confidence", confidence === undefined ? "" : formatPercent(language, confidence), confidence);
  element("low-confidence").hidden = !prediction?.low_confidence;
  element("truncated").hidden = !prediction?.truncated;

  const rule = prediction?.rule_applied ?? null;
  write("route", prediction ? displayName(language, prediction.route) : "–");
  element("route").dataset.name = prediction?.route ?? "";
  write("rule", prediction ? (rule ? displayName(language, rule) : strings[language].noRule) : "–");
  element("rule").dataset.name = rule ?? "";
  const ruleWords = (rule && result?.analysis.rule_words) || "";
  element("rule-words").hidden = ruleWords === "";
  write("rule-words", ruleWords);
  const skipped = prediction?.skipped ?? [];
  element("skipped-row").hidden = skipped.length === 0;
  const reasons = skipped.map((entry) => `${displayName(language, entry.route)} (${displayName(language, entry.reason)})`);
  write("skipped", reasons.join(", "));
  drawAnalysis(language, result?.analysis ?? null);
  write("duration", result ? formatMilliseconds(language, result.milliseconds) : "–", result?.milliseconds);
}

/**
 * @param {Language} language
 * @param {TextAnalysis | null} analysis
 */
function drawAnalysis(language, analysis) {
  write("preview", analysis?.preview ?? "");
  const masked = analysis?.masked ?? [];
  write("masked", masked.length > 0 ? `${strings[language].masked} ${masked.join(", ")}` : "");
  const tokens = analysis?.tokens ?? [];
  write("token-count", analysis ? String(tokens.length) : "");
  // A closed list stays empty, so that it costs no time while the user types.
  const open = /** @type {HTMLDetailsElement} */ (element("tokens-view")).open;
  const items = (open ? tokens : []).map((token) => {
    const item = document.createElement("li");
    item.textContent = token;
    return item;
  });
  element("tokens").replaceChildren(...items);
}

/**
 * The prediction in one line, for screen readers.
 * @param {Language} language
 * @param {Prediction} prediction
 */
export function describePrediction(language, prediction) {
  const text = strings[language];
  const parts = [
    `${displayName(language, prediction.primary)}, ${text.confidence} ${formatPercent(language, prediction.confidence)}`,
  ];
  if (prediction.low_confidence) parts.push(text.lowConfidence);
  if (prediction.truncated) parts.push(text.truncated);
  return `${parts.join(". ")}.`;
}
