// Formats the measured values as tables: plain text for a terminal, Markdown for docs/benchmarks.md.

import { median } from "./stats.js";

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
export function tables(report) {
  const { about } = report;
  const lines = [
    `${about.date}, commit ${about.commit}, ${about.build}, ${about.model}`,
    `Node ${about.node}, workerd ${about.workerd} (wrangler ${about.wrangler}), onnxruntime-web ${about.onnxruntime_web} (wasm, 1 thread)`,
    `${about.cpu}, load average ${about.load_average.join(" ")}`,
    ...notes(report),
  ];
  const all = [speedNode(report), speedWorkerd(report), starts(report), slowest(report), sizes(report)];
  return [lines.join("\n"), ...all.map(plain)].join("\n\n");
}

/** @param {any} report */
export function markdown(report) {
  const { about, node, workerd, http } = report;
  const int8 = report.int8 !== null;
  const head = ["tokens", "Node, ms", "workerd, ms", "worker over HTTP, ms", "onnxruntime-web, same file, ms"];
  if (int8) head.push("its best int8, ms");
  head.push("ours / same file", ...(int8 ? ["ours / int8"] : []));
  const rows = node.speed.map((/** @type {any} */ at, /** @type {number} */ index) => {
    const row = [`${at.tokens}`, both(at.ours), both(workerd.speed[index]), both(http.speed[index]), both(at.same)];
    if (int8) row.push(both(at.int8));
    row.push(ratio(at.ours, at.same), ...(int8 ? [ratio(at.ours, at.int8)] : []));
    return row;
  });
  const facts = { title: "", head: ["", "found", "bar"], rows: bars(report) };
  return [
    `\`make bench\`, ${about.date}, commit ${about.commit}, Node ${about.node}, workerd ${about.workerd}, ` +
      `onnxruntime-web ${about.onnxruntime_web} (wasm, one thread), ${about.cpu}. Median / p99 of one classification. ` +
      "Ours runs from text to JSON; onnxruntime's is the encoder alone.",
    marked({ title: "", head, rows }),
    marked(facts),
  ].join("\n\n");
}

/** @param {any} report @returns {Table} */
function speedNode({ node, int8 }) {
  const peers = PEERS.filter(([name]) => name !== "int8" || int8);
  return {
    title: "Node, ms: median / p99; ours from text to JSON, onnxruntime-web's from ids to embedding",
    head: ["tokens", "ours", "of which tokenizer", ...peers.flatMap(([, title]) => [title, "ours / it"])],
    rows: node.speed.map((/** @type {any} */ at) => [
      `${at.tokens}`,
      against(at.tokens, at.ours),
      fixed(at.tokenizer.median_ms),
      ...peers.flatMap(([name]) => [both(at[name]), ratio(at.ours, at[name])]),
    ]),
  };
}

/** @param {any} report @returns {Table} */
function speedWorkerd({ workerd, http }) {
  return {
    title:
      "workerd, ms: median / p99; inside from batches (p99 from single runs, whole milliseconds), over HTTP whole requests " +
      `on loopback through wrangler's proxy (GET /health alone: ${both(http.health)})`,
    head: ["tokens", "inside", "model worker over HTTP"],
    rows: workerd.speed.map((/** @type {any} */ at, /** @type {number} */ index) => [
      `${at.tokens}`,
      against(at.tokens, at),
      both(http.speed[index]),
    ]),
  };
}

/** @param {any} report @returns {Table} */
function starts(report) {
  const held_ms = (/** @type {number} */ ms) => `${ms.toFixed(0)} (${held(ms, BARS.start_ms, (bar) => `${bar} ms`)})`;
  const { ours } = report.starts;
  const whole = workerdStart(report);
  const rows = [
    ["ours, Node", phase(ours, "compile_ms"), phase(ours, "instantiate_ms"), phase(ours, "load_ms"), phase(ours, "first_ms"),
      held_ms(middle(ours, "start_ms")), megabytes(middle(ours, "memory_bytes"))],
    ["ours, workerd", "before any script", phase(report.startsWorkerd, "instantiate_ms"), phase(report.startsWorkerd, "load_ms"),
      phase(report.startsWorkerd, "first_ms"), held_ms(whole), megabytes(report.workerd.memory_bytes)],
  ];
  for (const [name, title] of PEERS) {
    const list = report.starts[name];
    if (!list) continue;
    rows.push([title, "in load", "in load", phase(list, "load_ms"), phase(list, "first_ms"), middle(list, "start_ms").toFixed(0),
      megabytes(middle(list, "memory_bytes"))]);
  }
  return {
    title: `Cold start in fresh processes, ms, medians of ${ours.length} (workerd ${report.startsWorkerd.length}, steps of 1 ms), and linear memory after 128 tokens`,
    head: ["", "compile", "instantiate", "load", "first answer", "start", "memory"],
    rows,
  };
}

/** @param {any} report @returns {Table} */
function slowest({ node, workerd }) {
  const inWorkerd = new Map(workerd.slowest.map((/** @type {any} */ entry) => [entry.kind, entry]));
  return {
    title:
      "The slowest texts of 64 KiB, ms, medians of 3, each read to its end by the tie-break; linear memory after them: " +
      `Node ${megabytes(node.memory_after_slowest_bytes)}, workerd ${megabytes(workerd.memory_after_slowest_bytes)}`,
    head: ["text", "Node", "workerd"],
    rows: node.slowest.map((/** @type {any} */ { kind, median_ms }) => [
      kind, median_ms.toFixed(0), inWorkerd.get(kind).median_ms.toFixed(0),
    ]),
  };
}

/** @param {any} report @returns {Table} */
function sizes({ size }) {
  const row = (/** @type {string} */ title, /** @type {any} */ { raw_bytes, gzip_bytes }, /** @type {string} */ bar = "") =>
    [title, megabytes(raw_bytes), megabytes(gzip_bytes), bar];
  return {
    title: "Sizes, MB of 10^6 bytes",
    head: ["", "raw", "gzip", "bar"],
    rows: [
      row("model worker's module, with the model", size.model_worker, workerBar(size)),
      row("page's module", size.page_module),
      row("model's six files", size.model_files),
      row("of which the encoder", size.encoder),
      row("onnxruntime-web's module", size.ort_module),
    ],
  };
}

/** Returns the rows of the second Markdown table: figure, value and bar. @param {any} report */
function bars(report) {
  const { node, workerd, size } = report;
  const at = (/** @type {any[]} */ speed, /** @type {number} */ count) => speed.find(({ tokens }) => tokens === count);
  const start = (/** @type {string} */ name) => middle(report.starts[name], "start_ms").toFixed(0);
  const peers = [`onnxruntime-web ${start("same")} ms`, ...(report.starts.int8 ? [`its int8 ${start("int8")} ms`] : [])].join(", ");
  const ms = (/** @type {number} */ bar) => `${bar} ms`;
  const ours = middle(report.starts.ours, "start_ms");
  const [slow] = node.slowest;
  const [slowWorkerd] = workerd.slowest;
  return [
    [`start in Node: compile, instantiate, load, first answer (${peers})`, `${ours.toFixed(0)} ms`, held(ours, BARS.start_ms, ms)],
    ["start in workerd: instantiate, load, first answer", `${workerdStart(report).toFixed(0)} ms`, held(workerdStart(report), BARS.start_ms, ms)],
    ...Object.entries(BARS.median_ms).flatMap(([tokens, bar]) => {
      const [inNode, inWorkerd] = [at(node.speed, Number(tokens)), at(workerd.speed, Number(tokens))];
      const ratio = inNode.ours.median_ms / inNode.same.median_ms;
      return [
        [`median at ${tokens} tokens, Node`, `${fixed(inNode.ours.median_ms)} ms`, held(inNode.ours.median_ms, bar, ms)],
        [`median at ${tokens} tokens, workerd`, `${fixed(inWorkerd.median_ms)} ms`, held(inWorkerd.median_ms, bar, ms)],
        [`against onnxruntime-web on the same file at ${tokens} tokens`, `${ratio.toFixed(2)}×`, held(ratio, BARS.ratio_same, (most) => `${most}×`)],
      ];
    }),
    [`slowest text of 64 KiB (${slow.kind}; in workerd ${slowWorkerd.kind})`, `${slow.median_ms.toFixed(0)} ms, workerd ${slowWorkerd.median_ms.toFixed(0)} ms`, ""],
    [`linear memory (onnxruntime-web ${megabytes(middle(report.starts.same, "memory_bytes"))})`, `${megabytes(node.memory_bytes)}, after the slowest texts ${megabytes(node.memory_after_slowest_bytes)}`, held(node.memory_after_slowest_bytes, BARS.memory_bytes, megabytes)],
    ["model worker's wasm, raw and gzip", `${megabytes(size.model_worker.raw_bytes)}, ${megabytes(size.model_worker.gzip_bytes)}`, workerBar(size)],
    ["page's wasm, raw and gzip", `${megabytes(size.page_module.raw_bytes)}, ${megabytes(size.page_module.gzip_bytes)}`, ""],
    ["model's files, raw and gzip", `${megabytes(size.model_files.raw_bytes)}, ${megabytes(size.model_files.gzip_bytes)}`, ""],
  ];
}

/** @param {any} report */
function notes({ node, int8 }) {
  const { golden_rows, embedding_difference_max, int8_agreement } = node.answers;
  const form = int8
    ? `its int8 form ${int8.file.replace(".onnx", "")} keeps ${(int8_agreement * 100).toFixed(1)} % of the labels`
    : "no int8 form keeps enough of the labels";
  return [
    `answers: ${golden_rows} of ${golden_rows} golden labels in Node and in workerd; onnxruntime-web's embedding differs by at most ` +
      `${embedding_difference_max.toExponential(1)}; ${form}`,
    '"same file" has its weights widened once at load (session.disable_quant_qdq), like ours; by default onnxruntime-web keeps ' +
      "them in 8 bits, which is slower",
  ];
}

/** @param {any} report */
const workerdStart = (report) =>
  median(report.startsWorkerd.map((/** @type {any} */ start) => start.instantiate_ms + start.load_ms + start.first_ms));

/** @param {any} size */
const workerBar = (size) => held(size.model_worker.gzip_bytes, BARS.worker_gzip_bytes, (bytes) => `${megabytes(bytes)} gzip`);

/** Formats median and p99, with the bar if this number of tokens has one. @param {number} tokens @param {any} times */
const against = (tokens, times) => {
  const bar = BARS.median_ms[tokens];
  return both(times) + (bar ? ` (${held(times.median_ms, bar, (ms) => `${ms} ms`)})` : "");
};

/** @param {number} value @param {number} bar @param {(bar: number) => string} shown */
const held = (value, bar, shown) => `${value <= bar ? "within" : "above"} ${shown(bar)}`;

/** @param {any[]} list @param {string} key */
const middle = (list, key) => median(list.map((entry) => entry[key]));

/** @param {any[]} list @param {string} key */
const phase = (list, key) => middle(list, key).toFixed(0);

/** @param {{ median_ms: number, p99_ms: number }} times */
const both = ({ median_ms, p99_ms }) => `${fixed(median_ms)} / ${fixed(p99_ms)}`;

/** @param {{ median_ms: number }} ours @param {{ median_ms: number }} theirs */
const ratio = (ours, theirs) => `${(ours.median_ms / theirs.median_ms).toFixed(2)}×`;

/** @param {number} ms */
const fixed = (ms) => (ms < 10 ? ms.toFixed(2) : ms.toFixed(1));

/** @param {number} bytes */
const megabytes = (bytes) => `${(bytes / 1e6).toFixed(bytes === BARS.worker_gzip_bytes ? 0 : 2)} MB`;

/** Formats a table with each column padded to its widest cell. @param {Table} table */
function plain({ title, head, rows }) {
  const widths = head.map((cell, index) => Math.max(...[cell, ...rows.map((row) => row[index])].map(({ length }) => length)));
  const line = (/** @type {string[]} */ row) => row.map((cell, index) => cell.padEnd(widths[index])).join("  ").trimEnd();
  return [title, line(head), widths.map((width) => "-".repeat(width)).join("  "), ...rows.map(line)].join("\n");
}

/** @param {Table} table */
function marked({ head, rows }) {
  const line = (/** @type {string[]} */ row) => `| ${row.join(" | ")} |`;
  return [line(head), `|${head.map(() => " --- |").join("")}`, ...rows.map(line)].join("\n");
}
