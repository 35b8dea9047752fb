// Draws one prediction. The worker computes every value; this file only formats it in the page's
// language. It writes texts by `textContent` only, so no text becomes markup.

import { names, strings } from "./strings.js";

/** @typedef {import("./strings.js").Language} Language */
/** @typedef {import("./classifier-worker.js").Answer} Answer */
/** @typedef {import("./classifier-worker.js").Reading} Reading */
/** @typedef {{ answer: Answer, reading: Reading, milliseconds: number }} Shown */

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
  const found = document.getElementById(id);
  if (!found) throw new Error(`no element ${id}`);
  return found;
}

/**
 * The display name of a label, route, rule or reason; a name without one is returned unchanged.
 * @param {Language} language
 * @param {string} name
 */
export const word = (language, name) => names[language][name] ?? name;

/** Kept formats: creating one takes longer than a hundred uses. The key is language, style, decimals. @type {Map<string, Intl.NumberFormat>} */
const formats = new Map();

/**
 * @param {Language} language
 * @param {number} value
 * @param {number} decimals
 * @param {"decimal" | "percent"} [style]
 */
export function number(language, value, decimals, style = "decimal") {
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
export const percent = (language, share, decimals = 1) => number(language, share, decimals, "percent");

/**
 * @param {Language} language
 * @param {number} value
 */
export const milliseconds = (language, value) => `${number(language, value, 1)} ms`;

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
 * @param {Answer | null} answer
 */
function drawScores(language, labels, answer) {
  const body = element("scores");
  while (body.children.length < labels.length) body.append(makeRow());
  labels.forEach((label, index) => {
    const row = /** @type {HTMLTableRowElement} */ (body.children[index]);
    const score = answer?.scores[label];
    row.dataset.emotion = label;
    row.classList.toggle("first", answer?.primary === label);
    row.style.setProperty("--score", String(score ?? 0));
    row.cells[0].textContent = word(language, label);
    const data = /** @type {HTMLDataElement} */ (row.cells[1].lastElementChild);
    data.value = score === undefined ? "" : String(score);
    data.textContent = score === undefined ? "–" : percent(language, score);
  });
}

/**
 * Shows a prediction, or with `null` an empty table.
 * @param {Language} language
 * @param {Shown | null} shown
 */
export function draw(language, shown) {
  const answer = shown?.answer ?? null;
  element("idle").hidden = answer !== null;
  element("headline").hidden = answer === null;
  drawScores(language, answer ? Object.keys(answer.scores) : LABELS, answer);

  write("primary", answer ? word(language, answer.primary) : "");
  const confidence = answer?.confidence;
  write("confidence", confidence === undefined ? "" : percent(language, confidence), confidence);
  element("low-confidence").hidden = !answer?.low_confidence;
  element("truncated").hidden = !answer?.truncated;

  const rule = answer?.rule_applied ?? null;
  write("route", answer ? word(language, answer.route) : "–");
  element("route").dataset.name = answer?.route ?? "";
  write("rule", answer ? (rule ? word(language, rule) : strings[language].noRule) : "–");
  element("rule").dataset.name = rule ?? "";
  const ruled = (rule && shown?.reading.rule_words) || "";
  element("rule-words").hidden = ruled === "";
  write("rule-words", ruled);
  const skipped = answer?.skipped ?? [];
  element("skipped-row").hidden = skipped.length === 0;
  const reasons = skipped.map((one) => `${word(language, one.route)} (${word(language, one.reason)})`);
  write("skipped", reasons.join(", "));
  drawReading(language, shown?.reading ?? null);
  write("duration", shown ? milliseconds(language, shown.milliseconds) : "–", shown?.milliseconds);
}

/**
 * @param {Language} language
 * @param {Reading | null} reading
 */
function drawReading(language, reading) {
  write("preview", reading?.preview ?? "");
  const masked = reading?.masked ?? [];
  write("masked", masked.length > 0 ? `${strings[language].masked} ${masked.join(", ")}` : "");
  const tokens = reading?.tokens ?? [];
  write("token-count", reading ? String(tokens.length) : "");
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
 * @param {Answer} answer
 */
export function sentence(language, answer) {
  const text = strings[language];
  const parts = [
    `${word(language, answer.primary)}, ${text.confidence} ${percent(language, answer.confidence)}`,
  ];
  if (answer.low_confidence) parts.push(text.lowConfidence);
  if (answer.truncated) parts.push(text.truncated);
  return `${parts.join(". ")}.`;
}
