// Formats the measured values as tables: plain text for a terminal, Markdown for docs/benchmarks.md.

import { median } from "./stats.js";
import { formatMarkdownTable } from "./markdown.js";

/** Limits that the report prints beside the figures; the bench never asserts them. */
const BARS = {
  start_ms: 400,
  median_ms: /** @type {Record<number, number>} */ ({ 16: 2, 64: 8 }),
  ratio_same: 1,
  memory_bytes: 64 * 2 ** 20,
  worker_gzip_bytes: 8e6,
};

/** @typedef {{ title: string, head: string[], rows: string[][] }} Table */

const PEERS = /** @type {const} */ ([
  ["same", "onnxruntime-web, same file"],
  ["default", "onnxruntime-web, same file, default settings"],
  ["int8", "onnxruntime-web, its best int8"],
]);

/** @param {any} report */
export function formatTables(report) {
  const { about } = report;
  const lines = [
    `${about.date}, commit ${about.commit}, ${about.build}, ${about.model}`,
    `Node ${about.node}, workerd ${about.workerd} (wrangler ${about.wrangler}), onnxruntime-web ${about.onnxruntime_web} (wasm, 1 thread)`,
    `${about.cpu}, load average ${about.load_average.join(" ")}`,
    ...formatNotes(report),
  ];
  const allTables = [nodeSpeedTable(report), workerdSpeedTable(report), startTable(report), slowTextTable(report), sizeTable(report)];
  return [lines.join("\n"), ...allTables.map(formatPlainTable)].join("\n\n");
}

/** @param {any} report */
export function formatMarkdown(report) {
  const { about, node, workerd, http } = report;
  const int8 = report.int8 !== null;
  const head = ["tokens", "Node, ms", "workerd, ms", "worker over HTTP, ms", "onnxruntime-web, same file, ms"];
  if (int8) head.push("its best int8, ms");
  head.push("ours / same file", ...(int8 ? ["ours / int8"] : []));
  const rows = node.speed.map((/** @type {any} */ result, /** @type {number} */ index) => {
    const row = [`${result.tokens}`, formatLatency(result.ours), formatLatency(workerd.speed[index]), formatLatency(http.speed[index]), formatLatency(result.same)];
    if (int8) row.push(formatLatency(result.int8));
    row.push(formatRatio(result.ours, result.same), ...(int8 ? [formatRatio(result.ours, result.int8)] : []));
    return row;
  });
  const barTable = { title: "", head: ["", "found", "bar"], rows: barRows(report) };
  return [
    `\`make bench\`, ${about.date}, commit ${about.commit}, Node ${about.node}, workerd ${about.workerd}, ` +
      `onnxruntime-web ${about.onnxruntime_web} (wasm, one thread), ${about.cpu}. Median / p99 of one classification. ` +
      "Ours runs from text to JSON; onnxruntime's is the encoder alone.",
    formatMarkdownTable({ head, rows }),
    formatMarkdownTable(barTable),
  ].join("\n\n");
}

/** @param {any} report @returns {Table} */
function nodeSpeedTable({ node, int8 }) {
  const peers = PEERS.filter(([name]) => name !== "int8" || int8);
  return {
    title: "Node, ms: median / p99; ours from text to JSON, onnxruntime-web's from ids to embedding",
    head: ["tokens", "ours", "of which tokenizer", ...peers.flatMap(([, title]) => [title, "ours / it"])],
    rows: node.speed.map((/** @type {any} */ result) => [
      `${result.tokens}`,
      formatWithBar(result.tokens, result.ours),
      formatMs(result.tokenizer.median_ms),
      ...peers.flatMap(([name]) => [formatLatency(result[name]), formatRatio(result.ours, result[name])]),
    ]),
  };
}

/** @param {any} report @returns {Table} */
function workerdSpeedTable({ workerd, http }) {
  return {
    title:
      "workerd, ms: median / p99; inside from batches (p99 from single runs, whole milliseconds), over HTTP whole requests " +
      `on loopback through wrangler's proxy (GET /health alone: ${formatLatency(http.health)})`,
    head: ["tokens", "inside", "model worker over HTTP"],
    rows: workerd.speed.map((/** @type {any} */ result, /** @type {number} */ index) => [
      `${result.tokens}`,
      formatWithBar(result.tokens, result),
      formatLatency(http.speed[index]),
    ]),
  };
}

/** @param {any} report @returns {Table} */
function startTable(report) {
  const formatStart = (/** @type {number} */ ms) => `${ms.toFixed(0)} (${checkBar(ms, BARS.start_ms, (bar) => `${bar} ms`)})`;
  const { ours: starts } = report.starts;
  const workerd_start_ms = workerdStartMs(report);
  const rows = [
    ["ours, Node", formatMedian(starts, "compile_ms"), formatMedian(starts, "instantiate_ms"), formatMedian(starts, "load_ms"), formatMedian(starts, "first_ms"),
      formatStart(medianOf(starts, "start_ms")), formatMb(medianOf(starts, "memory_bytes"))],
    ["ours, workerd", "before any script", formatMedian(report.startsWorkerd, "instantiate_ms"), formatMedian(report.startsWorkerd, "load_ms"),
      formatMedian(report.startsWorkerd, "first_ms"), formatStart(workerd_start_ms), formatMb(report.workerd.memory_bytes)],
  ];
  for (const [name, title] of PEERS) {
    const peerStarts = report.starts[name];
    if (!peerStarts) continue;
    rows.push([title, "in load", "in load", formatMedian(peerStarts, "load_ms"), formatMedian(peerStarts, "first_ms"), medianOf(peerStarts, "start_ms").toFixed(0),
      formatMb(medianOf(peerStarts, "memory_bytes"))]);
  }
  return {
    title: `Cold start in fresh processes, ms, medians of ${starts.length} (workerd ${report.startsWorkerd.length}, steps of 1 ms), and linear memory after 128 tokens`,
    head: ["", "compile", "instantiate", "load", "first prediction", "start", "memory"],
    rows,
  };
}

/** @param {any} report @returns {Table} */
function slowTextTable({ node, workerd }) {
  const workerdByKind = new Map(workerd.slowest.map((/** @type {any} */ entry) => [entry.kind, entry]));
  return {
    title:
      "The slowest texts of 64 KiB, ms, medians of 3, each read to its end by the tie-break; linear memory after them: " +
      `Node ${formatMb(node.memory_after_slowest_bytes)}, workerd ${formatMb(workerd.memory_after_slowest_bytes)}`,
    head: ["text", "Node", "workerd"],
    rows: node.slowest.map((/** @type {any} */ { kind, median_ms }) => [
      kind, median_ms.toFixed(0), workerdByKind.get(kind).median_ms.toFixed(0),
    ]),
  };
}

/** @param {any} report @returns {Table} */
function sizeTable({ size }) {
  const sizeRow = (/** @type {string} */ title, /** @type {any} */ { raw_bytes, gzip_bytes }, /** @type {string} */ bar = "") =>
    [title, formatMb(raw_bytes), formatMb(gzip_bytes), bar];
  return {
    title: "Sizes, MB of 10^6 bytes",
    head: ["", "raw", "gzip", "bar"],
    rows: [
      sizeRow("model worker's module, with the model", size.model_worker, formatWorkerBar(size)),
      sizeRow("page's module", size.page_module),
      sizeRow("model's six files", size.model_files),
      sizeRow("of which the encoder", size.encoder),
      sizeRow("onnxruntime-web's module", size.ort_module),
    ],
  };
}

/** Returns the rows of the second Markdown table: figure, value and bar. @param {any} report */
function barRows(report) {
  const { node, workerd, size } = report;
  const findSpeed = (/** @type {any[]} */ speed, /** @type {number} */ count) => speed.find(({ tokens }) => tokens === count);
  const formatPeerStart = (/** @type {string} */ name) => medianOf(report.starts[name], "start_ms").toFixed(0);
  const peerTimes = [`onnxruntime-web ${formatPeerStart("same")} ms`, ...(report.starts.int8 ? [`its int8 ${formatPeerStart("int8")} ms`] : [])].join(", ");
  const msBar = (/** @type {number} */ bar) => `${bar} ms`;
  const ours_ms = medianOf(report.starts.ours, "start_ms");
  const [slow] = node.slowest;
  const [slowWorkerd] = workerd.slowest;
  return [
    [`start in Node: compile, instantiate, load, first prediction (${peerTimes})`, `${ours_ms.toFixed(0)} ms`, checkBar(ours_ms, BARS.start_ms, msBar)],
    ["start in workerd: instantiate, load, first prediction", `${workerdStartMs(report).toFixed(0)} ms`, checkBar(workerdStartMs(report), BARS.start_ms, msBar)],
    ...Object.entries(BARS.median_ms).flatMap(([tokens, bar]) => {
      const [nodeSpeed, workerdSpeed] = [findSpeed(node.speed, Number(tokens)), findSpeed(workerd.speed, Number(tokens))];
      const ratio = nodeSpeed.ours.median_ms / nodeSpeed.same.median_ms;
      return [
        [`median at ${tokens} tokens, Node`, `${formatMs(nodeSpeed.ours.median_ms)} ms`, checkBar(nodeSpeed.ours.median_ms, bar, msBar)],
        [`median at ${tokens} tokens, workerd`, `${formatMs(workerdSpeed.median_ms)} ms`, checkBar(workerdSpeed.median_ms, bar, msBar)],
        [`against onnxruntime-web on the same file at ${tokens} tokens`, `${ratio.toFixed(2)}×`, checkBar(ratio, BARS.ratio_same, (bar) => `${bar}×`)],
      ];
    }),
    [`slowest text of 64 KiB (${slow.kind}; in workerd ${slowWorkerd.kind})`, `${slow.median_ms.toFixed(0)} ms, workerd ${slowWorkerd.median_ms.toFixed(0)} ms`, ""],
    [`linear memory (onnxruntime-web ${formatMb(medianOf(report.starts.same, "memory_bytes"))})`, `${formatMb(node.memory_bytes)}, after the slowest texts ${formatMb(node.memory_after_slowest_bytes)}`, checkBar(node.memory_after_slowest_bytes, BARS.memory_bytes, formatMb)],
    ["model worker's wasm, raw and gzip", `${formatMb(size.model_worker.raw_bytes)}, ${formatMb(size.model_worker.gzip_bytes)}`, formatWorkerBar(size)],
    ["page's wasm, raw and gzip", `${formatMb(size.page_module.raw_bytes)}, ${formatMb(size.page_module.gzip_bytes)}`, ""],
    ["model's files, raw and gzip", `${formatMb(size.model_files.raw_bytes)}, ${formatMb(size.model_files.gzip_bytes)}`, ""],
  ];
}

/** @param {any} report */
function formatNotes({ node, int8 }) {
  const { golden_rows, embedding_difference_max, int8_agreement } = node.answers;
  const int8Note = int8
    ? `its int8 form ${int8.file.replace(".onnx", "")} keeps ${(int8_agreement * 100).toFixed(1)} % of the labels`
    : "no int8 form keeps enough of the labels";
  return [
    `predictions: ${golden_rows} of ${golden_rows} golden labels in Node and in workerd; onnxruntime-web's embedding differs by at most ` +
      `${embedding_difference_max.toExponential(1)}; ${int8Note}`,
    '"same file" has its weights widened once at load (session.disable_quant_qdq), like ours; by default onnxruntime-web keeps ' +
      "them in 8 bits, which is slower",
  ];
}

/** @param {any} report */
const workerdStartMs = (report) =>
  median(report.startsWorkerd.map((/** @type {any} */ start) => start.instantiate_ms + start.load_ms + start.first_ms));

/** @param {any} size */
const formatWorkerBar = (size) => checkBar(size.model_worker.gzip_bytes, BARS.worker_gzip_bytes, (bytes) => `${formatMb(bytes)} gzip`);

/** Formats median and p99, with the bar if this number of tokens has one. @param {number} tokens @param {any} times */
const formatWithBar = (tokens, times) => {
  const bar = BARS.median_ms[tokens];
  return formatLatency(times) + (bar ? ` (${checkBar(times.median_ms, bar, (ms) => `${ms} ms`)})` : "");
};

/** @param {number} value @param {number} bar @param {(bar: number) => string} formatBar */
const checkBar = (value, bar, formatBar) => `${value <= bar ? "within" : "above"} ${formatBar(bar)}`;

/** @param {any[]} samples @param {string} key */
const medianOf = (samples, key) => median(samples.map((entry) => entry[key]));

/** @param {any[]} samples @param {string} key */
const formatMedian = (samples, key) => medianOf(samples, key).toFixed(0);

/** @param {{ median_ms: number, p99_ms: number }} times */
const formatLatency = ({ median_ms, p99_ms }) => `${formatMs(median_ms)} / ${formatMs(p99_ms)}`;

/** @param {{ median_ms: number }} ours @param {{ median_ms: number }} theirs */
const formatRatio = (ours, theirs) => `${(ours.median_ms / theirs.median_ms).toFixed(2)}×`;

/** @param {number} ms */
const formatMs = (ms) => (ms < 10 ? ms.toFixed(2) : ms.toFixed(1));

/** @param {number} bytes */
const formatMb = (bytes) => `${(bytes / 1e6).toFixed(bytes === BARS.worker_gzip_bytes ? 0 : 2)} MB`;

/** Formats a table with each column padded to its widest cell. @param {Table} table */
function formatPlainTable({ title, head, rows }) {
  const widths = head.map((cell, index) => Math.max(...[cell, ...rows.map((row) => row[index])].map(({ length }) => length)));
  const formatRow = (/** @type {string[]} */ row) => row.map((cell, index) => cell.padEnd(widths[index])).join("  ").trimEnd();
  return [title, formatRow(head), widths.map((width) => "-".repeat(width)).join("  "), ...rows.map(formatRow)].join("\n");
}
