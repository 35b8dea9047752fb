// Draws a file's classification: its progress, the number of rows of each emotion, and one page of rows.

import { LABELS, element, number, percent, word, write } from "./answer-view.js";
import { strings } from "./strings.js";

/** @typedef {import("./strings.js").Language} Language */
/** @typedef {import("./classifier-worker.js").Row} Row */
/** @typedef {import("./classifier-worker.js").BatchReply} BatchReply */

const PAGE_ROWS = 50;

const bar = /** @type {HTMLProgressElement} */ (element("batch-bar"));
const link = /** @type {HTMLAnchorElement} */ (element("batch-download"));

/** @type {Row[]} */
let rows = [];
/** Number of rows by emotion; the empty name counts rows without a prediction. */
const counts = new Map();
/** Number of files so far, so that the table of rows is drawn again for a new file. */
let file = 0;
let total = 0;
let page = 0;
/** Whether the batch is over: complete, stopped or unreadable. */
let ended = false;
let stopped = false;
let refusal = "";

/** Clears the results of the previous file. @param {string} name name of the new file */
export function begin(name) {
  rows = [];
  file += 1;
  counts.clear();
  [total, page, ended, stopped, refusal] = [0, 0, false, false, ""];
  URL.revokeObjectURL(link.href);
  link.removeAttribute("href");
  link.download = `${name.replace(/\.[^.]*$/, "")}.answers.csv`;
}

/** @param {BatchReply} reply */
export function take(reply) {
  switch (reply.kind) {
    case "rows":
      rows.push(...reply.rows);
      total = reply.total;
      for (const { primary } of reply.rows) {
        const label = primary ?? "";
        counts.set(label, (counts.get(label) ?? 0) + 1);
      }
      break;
    case "table":
      link.href = URL.createObjectURL(reply.csv);
      [ended, stopped] = [true, reply.stopped];
      break;
    case "unread":
      refusal = reply.reason;
      [ended, stopped] = [true, true];
  }
}

/** Moves by a number of pages, negative for back; stays between the first and the last. @param {number} by */
export function turn(by) {
  page = Math.max(0, Math.min(page + by, pages() - 1));
}

const pages = () => Math.max(1, Math.ceil(rows.length / PAGE_ROWS));

/** @param {string[]} cells @param {string} [name] the row's label, as the classifier names it */
function makeRow(cells, name) {
  const row = document.createElement("tr");
  cells.forEach((text, at) => {
    const cell = document.createElement(at === 0 ? "th" : "td");
    if (at === 0) cell.setAttribute("scope", "row");
    cell.textContent = text;
    row.append(cell);
  });
  if (name !== undefined) row.dataset.emotion = name;
  return row;
}

/** @param {Language} language */
export function draw(language) {
  const text = strings[language];
  element("batch-refusal").hidden = refusal === "";
  write("batch-refusal", refusal && `${text.unread} ${refusal}`);
  element("batch-result").hidden = rows.length === 0;
  if (rows.length === 0) return;
  const whole = (/** @type {number} */ value) => number(language, value, 0);
  bar.value = rows.length / total;
  const far = `${whole(rows.length)} ${text.of} ${whole(total)}`;
  write("batch-count", stopped ? `${far}, ${text.stopped}` : far);
  element("batch-stop").hidden = ended;
  link.hidden = !link.hasAttribute("href");

  const seen = [...LABELS, ""].filter((label) => label !== "" || counts.has(""));
  const summed = seen.map((label) => {
    const count = counts.get(label) ?? 0;
    const name = label === "" ? text.refusedRows : word(language, label);
    return makeRow([name, whole(count), percent(language, count / rows.length)], label);
  });
  element("batch-counts").replaceChildren(...summed);

  drawPage(language);
  write("batch-page", `${whole(page + 1)} ${text.of} ${whole(pages())}`);
  /** @type {HTMLButtonElement} */ (element("batch-back")).disabled = page === 0;
  /** @type {HTMLButtonElement} */ (element("batch-next")).disabled = page >= pages() - 1;
}

/** Identifies the rows in the table, so that it is drawn again only for other rows. */
let drawn = "";

/** @param {Language} language */
function drawPage(language) {
  const seen = rows.slice(page * PAGE_ROWS, (page + 1) * PAGE_ROWS);
  const next = `${file} ${language} ${page} ${seen.length}`;
  if (next === drawn) return;
  drawn = next;
  const shown = seen.map(({ line, text, primary, confidence, error }) => {
    const label = primary === null ? strings[language].refusedRows : word(language, primary);
    const sure = confidence === null ? "–" : percent(language, confidence);
    const row = makeRow([number(language, line, 0), label, sure, error ?? text]);
    row.lastElementChild?.setAttribute("dir", "auto");
    return row;
  });
  element("batch-rows").replaceChildren(...shown);
}

/** Whether every row has a prediction or an error. */
export const isDone = () => ended && !stopped;
