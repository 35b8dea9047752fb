// Draws a file's classification: its progress, the number of rows of each emotion, and one page of rows.

import { LABELS, element, formatNumber, formatPercent, displayName, write } from "./answer-view.js";
import { strings } from "./strings.js";

/** @typedef {import("./strings.js").Language} Language */
/** @typedef {import("./classifier-worker.js").Row} Row */
/** @typedef {import("./classifier-worker.js").BatchReply} BatchReply */

const PAGE_ROWS = 50;

const progressBar = /** @type {HTMLProgressElement} */ (element("batch-bar"));
const downloadLink = /** @type {HTMLAnchorElement} */ (element("batch-download"));

/** @type {Row[]} */
let rows = [];
/** Number of rows by emotion; the empty name counts rows without a prediction. */
const counts = new Map();
/** Number of files so far, so that the table of rows is drawn again for a new file. */
let fileNumber = 0;
let total = 0;
let pageIndex = 0;
/** Whether the batch is over: complete, stopped or unreadable. */
let ended = false;
let stopped = false;
let refusal = "";

/** Clears the results of the previous file. @param {string} name name of the new file */
export function reset(name) {
  rows = [];
  fileNumber += 1;
  counts.clear();
  [total, pageIndex, ended, stopped, refusal] = [0, 0, false, false, ""];
  URL.revokeObjectURL(downloadLink.href);
  downloadLink.removeAttribute("href");
  downloadLink.download = `${name.replace(/\.[^.]*$/, "")}.answers.csv`;
}

/** @param {BatchReply} reply */
export function handleReply(reply) {
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
      downloadLink.href = URL.createObjectURL(reply.csv);
      [ended, stopped] = [true, reply.stopped];
      break;
    case "unread":
      refusal = reply.reason;
      [ended, stopped] = [true, true];
  }
}

/** Moves by a number of pages, negative for back; stays between the first and the last. @param {number} delta */
export function movePage(delta) {
  pageIndex = Math.max(0, Math.min(pageIndex + delta, countPages() - 1));
}

const countPages = () => Math.max(1, Math.ceil(rows.length / PAGE_ROWS));

/** @param {string[]} cells @param {string} [name] the row's label, as the classifier names it */
function makeRow(cells, name) {
  const row = document.createElement("tr");
  cells.forEach((text, index) => {
    const cell = document.createElement(index === 0 ? "th" : "td");
    if (index === 0) cell.setAttribute("scope", "row");
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
  const formatInteger = (/** @type {number} */ value) => formatNumber(language, value, 0);
  progressBar.value = rows.length / total;
  const progress = `${formatInteger(rows.length)} ${text.of} ${formatInteger(total)}`;
  write("batch-count", stopped ? `${progress}, ${text.stopped}` : progress);
  element("batch-stop").hidden = ended;
  downloadLink.hidden = !downloadLink.hasAttribute("href");

  const labels = [...LABELS, ""].filter((label) => label !== "" || counts.has(""));
  const summaryRows = labels.map((label) => {
    const count = counts.get(label) ?? 0;
    const name = label === "" ? text.refusedRows : displayName(language, label);
    return makeRow([name, formatInteger(count), formatPercent(language, count / rows.length)], label);
  });
  element("batch-counts").replaceChildren(...summaryRows);

  drawPage(language);
  write("batch-page", `${formatInteger(pageIndex + 1)} ${text.of} ${formatInteger(countPages())}`);
  /** @type {HTMLButtonElement} */ (element("batch-back")).disabled = pageIndex === 0;
  /** @type {HTMLButtonElement} */ (element("batch-next")).disabled = pageIndex >= countPages() - 1;
}

/** Identifies the rows in the table, so that it is drawn again only for other rows. */
let drawnKey = "";

/** @param {Language} language */
function drawPage(language) {
  const pageRows = rows.slice(pageIndex * PAGE_ROWS, (pageIndex + 1) * PAGE_ROWS);
  const key = `${fileNumber} ${language} ${pageIndex} ${pageRows.length}`;
  if (key === drawnKey) return;
  drawnKey = key;
  const rowElements = pageRows.map(({ line, text, primary, confidence, error }) => {
    const label = primary === null ? strings[language].refusedRows : displayName(language, primary);
    const confidenceText = confidence === null ? "–" : formatPercent(language, confidence);
    const row = makeRow([formatNumber(language, line, 0), label, confidenceText, error ?? text]);
    row.lastElementChild?.setAttribute("dir", "auto");
    return row;
  });
  element("batch-rows").replaceChildren(...rowElements);
}

/** Whether every row has a prediction or an error. */
export const isDone = () => ended && !stopped;
