// Runs the classifier in a Web Worker, so that typing never waits for it.
//
// The worker fetches the wasm module and the model's files once, from its own origin, and then only
// computes. The module checks the hashes of the model's files. Each error goes to the page as a reason.

/**
 * A message from the page. A batch replaces the previous one, and `stop` ends it.
 * @typedef {{ kind: "classify", id: number, text: string }
 *   | { kind: "batch", batch: number, file: File }
 *   | { kind: "stop" }} WorkerRequest
 */

/**
 * A message to the page. After `failed`, only a new worker can classify.
 * @typedef {{ kind: "progress", loaded: number, total: number }
 *   | { kind: "preparing" }
 *   | { kind: "ready", model: string, sha256: string }
 *   | { kind: "failed", reason: string }
 *   | { kind: "answer", id: number, prediction: Prediction, analysis: TextAnalysis, milliseconds: number }
 *   | { kind: "refused", id: number, reason: string }
 *   | BatchReply} Reply
 */

/**
 * A message about a batch: `rows` as they are classified, then all rows as CSV, or the reason why there is no CSV.
 * @typedef {{ kind: "rows", batch: number, rows: Row[], total: number }
 *   | { kind: "table", batch: number, csv: Blob, stopped: boolean }
 *   | { kind: "unread", batch: number, reason: string }} BatchReply
 */

/**
 * The JSON of `Browser.read` (crates/browser).
 * @typedef {{ tokens: string[] | null, rule_words: string | null, preview: string, masked: string[] }} TextAnalysis
 */

/**
 * The parts of a batch row that the page shows; `text` is cut to `ROW_TEXT_CHARS_MAX`.
 * @typedef {{ line: number, text: string, primary: string | null, confidence: number | null, error: string | null }} Row
 */

/**
 * The JSON of `Browser.classify`: `ClassifyResponse` of crates/http-api, without an id.
 * @typedef {{ primary: string, confidence: number, scores: Record<string, number>,
 *   top2: [string, number][], low_confidence: boolean, route: string,
 *   skipped?: { route: string, reason: string }[], rule_applied: string | null,
 *   truncated: boolean, model: string | null }} Prediction
 */

/** @typedef {import("./wasm/jeffrey_edge.js").Browser} Browser */

// In the order of the arguments of `Browser`'s constructor, after the manifest.
const FILES = [
  "config.json",
  "tokenizer.json",
  "onnx/model_quantized.onnx",
  "head.json",
  "prototypes.json",
];

/** Largest file of a batch, in bytes. */
const BATCH_BYTES_MAX = 16 * 1024 * 1024;

/** Milliseconds of batch work before a typed text can be classified. */
const BATCH_SLICE_MS = 30;

// After a failure `fetchFile` bypasses the browser's cache, because a cached file can be the cause.
const bypassCache = new URL(self.location.href).searchParams.has("afresh");

let loadedBytes = 0;
/** Bytes to load in total; 0 until the index and the manifest are read. */
let totalBytes = 0;

/** @type {(reply: Reply) => void} */
const post = (reply) => self.postMessage(reply);

/** @param {unknown} error */
const formatError = (error) => (error instanceof Error ? error.message : String(error));

/**
 * Fetches a file and counts its bytes; throws if it cannot be fetched. A file with a known hash has the hash in its URL,
 * so the browser's cached copy is correct at any age and is used without a request.
 * @param {string} path
 * @param {string} [sha256]
 */
async function fetchFile(path, sha256) {
  const url = new URL(path, import.meta.url);
  if (sha256) url.search = sha256.slice(0, 16);
  /** @type {RequestCache} */
  const cache = bypassCache ? "reload" : sha256 ? "force-cache" : "default";
  const response = await fetch(url, { cache }).catch(() => {
    throw new Error(`${path}: no connection`);
  });
  if (!response.ok || !response.body) throw new Error(`${path}: HTTP ${response.status}`);
  const counter = new TransformStream({
    transform(/** @type {Uint8Array} */ chunk, controller) {
      loadedBytes += chunk.byteLength;
      if (totalBytes > 0) post({ kind: "progress", loaded: Math.min(loadedBytes, totalBytes), total: totalBytes });
      controller.enqueue(chunk);
    },
  });
  // Streaming compilation needs the type `application/wasm`, whatever type the server sends.
  const headers = { "Content-Type": path.endsWith(".wasm") ? "application/wasm" : "text/plain" };
  return new Response(response.body.pipeThrough(counter), { headers });
}

/**
 * @param {string} path
 * @param {string} [sha256]
 */
async function fetchBytes(path, sha256) {
  const response = await fetchFile(path, sha256);
  const buffer = await response.arrayBuffer().catch((error) => {
    throw new Error(`${path}: ${formatError(error)}`);
  });
  return new Uint8Array(buffer);
}

/**
 * @param {string} path
 * @param {Uint8Array} content
 */
function parseJson(path, content) {
  try {
    return JSON.parse(new TextDecoder().decode(content));
  } catch {
    throw new Error(`${path}: not JSON`);
  }
}

/** @typedef {{ id: string, wasm_bytes: number, wasm_sha256: string }} Index the JSON of models/index.json */

/**
 * Compiles the wasm module while it is downloaded and returns its class `Browser`.
 * @param {Promise<Index>} index
 */
async function loadModule(index) {
  const [glue, response] = await Promise.all([
    import("./wasm/jeffrey_edge.js").catch(() => {
      throw new Error("wasm/jeffrey_edge.js: could not be loaded");
    }),
    index.then(({ wasm_sha256 }) => fetchFile("wasm/jeffrey_edge_bg.wasm", wasm_sha256)),
  ]);
  await glue.default({ module_or_path: response }).catch((error) => {
    throw new Error(`wasm/jeffrey_edge_bg.wasm: ${formatError(error)}`);
  });
  return glue.Browser;
}

/**
 * Fetches the six files of the model that the index names; the manifest comes first.
 * @param {Promise<Index>} index
 */
async function fetchModelFiles(index) {
  const { id, wasm_bytes } = await index;
  const folder = `models/${id}`;
  const manifestBytes = await fetchBytes(`${folder}/manifest.json`);
  const manifest = parseJson(`${folder}/manifest.json`, manifestBytes);
  const sizes = FILES.map((file) => Number(manifest.files?.[file]?.bytes) || 0);
  const bytesBefore = Number(wasm_bytes) + manifestBytes.byteLength;
  totalBytes = sizes.reduce((sum, size) => sum + size, bytesBefore);
  const rest = FILES.map((file) => fetchBytes(`${folder}/${file}`, manifest.files?.[file]?.sha256));
  return [manifestBytes, ...(await Promise.all(rest))];
}

async function loadClassifier() {
  const path = "models/index.json";
  /** @type {Promise<Index>} */
  const index = fetchBytes(path).then((content) => parseJson(path, content));
  const [Browser, files] = await Promise.all([loadModule(index), fetchModelFiles(index)]);
  post({ kind: "preparing" });
  const [manifest, config, tokenizer, encoder, head, prototypes] = files;
  const browser = new Browser(manifest, config, tokenizer, encoder, head, prototypes);
  post({ kind: "ready", model: browser.model ?? "", sha256: browser.sha256 ?? "" });
  return browser;
}

/**
 * Posts an error. A trap ends the wasm instance; any other error is the classifier's message about its input.
 * @param {unknown} error
 * @param {(reason: string) => Reply} makeReply
 */
const postError = (error, makeReply) =>
  post(
    error instanceof WebAssembly.RuntimeError
      ? { kind: "failed", reason: "the classifier stopped" }
      : makeReply(formatError(error)),
  );

/**
 * @param {Browser} browser
 * @param {number} id
 * @param {string} text
 */
function classifyText(browser, id, text) {
  try {
    const start = performance.now();
    const predictionJson = browser.classify(text);
    const milliseconds = performance.now() - start;
    const analysis = JSON.parse(browser.read(text));
    post({ kind: "answer", id, prediction: JSON.parse(predictionJson), analysis, milliseconds });
  } catch (error) {
    postError(error, (reason) => ({ kind: "refused", id, reason }));
  }
}

/**
 * Decodes a file: UTF-16 little-endian if it begins with that byte order mark, else UTF-8, else Windows-1252, which
 * spreadsheets in Western Europe write.
 * @param {File} file
 */
async function decodeFile(file) {
  if (file.size > BATCH_BYTES_MAX) {
    throw new Error(`file of ${file.size} bytes is above the limit of ${BATCH_BYTES_MAX} bytes`);
  }
  const bytes = new Uint8Array(await file.arrayBuffer());
  if (bytes[0] === 0xff && bytes[1] === 0xfe) return new TextDecoder("utf-16le").decode(bytes);
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return new TextDecoder("windows-1252").decode(bytes);
  }
}

/** Maximum length of a row's text on the page, in UTF-16 code units; the CSV has the whole text. */
const ROW_TEXT_CHARS_MAX = 300;

/**
 * The parts of a row that the page shows. Ten thousand complete rows would keep the page busy.
 * @param {{ line: number, text: string | null, answer: Prediction | null, error: string | null }} row
 * @returns {Row}
 */
function toRow({ line, text, answer: prediction, error }) {
  const fullText = text ?? "";
  const shownText = fullText.length > ROW_TEXT_CHARS_MAX ? `${fullText.slice(0, ROW_TEXT_CHARS_MAX)}…` : fullText;
  return { line, text: shownText, primary: prediction?.primary ?? null, confidence: prediction?.confidence ?? null, error };
}

/** Number of the newest batch; an older batch ends when it sees a newer number. */
let newestBatch = 0;
/** Whether the user stopped the newest batch. */
let stopped = false;

/**
 * Classifies the rows of a file. It yields every `BATCH_SLICE_MS`, so that a typed text is classified in between.
 * @param {Browser} browser
 * @param {number} batchId number of the batch
 * @param {File} file
 */
async function classifyBatch(browser, batchId, file) {
  newestBatch = batchId;
  stopped = false;
  try {
    const table = browser.batch(file.name, await decodeFile(file));
    const total = table.rows;
    let done = 0;
    while (done < total && !stopped) {
      const rows = [];
      for (const deadline = performance.now() + BATCH_SLICE_MS; done < total && performance.now() < deadline; done += 1) {
        rows.push(toRow(JSON.parse(browser.answer(table, done))));
      }
      post({ kind: "rows", batch: batchId, rows, total });
      await new Promise((resolve) => setTimeout(resolve));
      if (batchId !== newestBatch) return table.free();
    }
    const csv = new Blob([table.csv() ?? ""], { type: "text/csv;charset=utf-8" });
    table.free();
    post({ kind: "table", batch: batchId, csv, stopped });
  } catch (error) {
    postError(error, (reason) => ({ kind: "unread", batch: batchId, reason }));
  }
}

const classifierPromise = loadClassifier();
classifierPromise.catch((error) => post({ kind: "failed", reason: formatError(error) }));

self.addEventListener("message", async (/** @type {MessageEvent<WorkerRequest>} */ { data }) => {
  const browser = await classifierPromise.catch(() => null);
  if (!browser) return;
  switch (data.kind) {
    case "classify":
      return classifyText(browser, data.id, data.text);
    case "batch":
      return classifyBatch(browser, data.batch, data.file);
    case "stop":
      stopped = true;
  }
});
