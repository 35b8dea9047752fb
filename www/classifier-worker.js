// Runs the classifier beside the page, so that typing never waits for it.
//
// It fetches the module and the model's files from its own origin, once, and then only computes.
// The files' hashes are checked by the module itself; whatever is wrong is posted as a reason.

/**
 * What the page sends. A batch takes the place of the one before, and `stop` ends it.
 * @typedef {{ kind: "classify", id: number, text: string }
 *   | { kind: "batch", batch: number, file: File }
 *   | { kind: "stop" }} Request
 */

/**
 * What the page receives.
 * @typedef {{ kind: "progress", loaded: number, total: number }
 *   | { kind: "preparing" }
 *   | { kind: "ready", model: string, sha256: string }
 *   | { kind: "failed", reason: string }
 *   | { kind: "answer", id: number, answer: Answer, reading: Reading, milliseconds: number }
 *   | { kind: "refused", id: number, reason: string }
 *   | BatchReply} Reply
 */

/**
 * What it receives of a batch: rows as they are answered, then the whole as CSV; or why there is none.
 * @typedef {{ kind: "rows", batch: number, rows: Row[], total: number }
 *   | { kind: "table", batch: number, csv: Blob, stopped: boolean }
 *   | { kind: "unread", batch: number, reason: string }} BatchReply
 */

/**
 * `Browser.read`: how a text is read.
 * @typedef {{ tokens: string[] | null, rule_words: string | null, preview: string, masked: string[] }} Reading
 */

/**
 * A row of a batch, as far as the page shows it; a longer text is cut.
 * @typedef {{ line: number, text: string, primary: string | null, confidence: number | null, error: string | null }} Row
 */

/**
 * `wire::Answer`.
 * @typedef {{ primary: string, confidence: number, scores: Record<string, number>,
 *   top2: [string, number][], low_confidence: boolean, route: string,
 *   skipped?: { route: string, reason: string }[], rule_applied: string | null,
 *   truncated: boolean, model: string | null }} Answer
 */

/** @typedef {import("./wasm/jeffrey_edge.js").Browser} Browser */

// In the order of the constructor's arguments, after the manifest.
const FILES = [
  "config.json",
  "tokenizer.json",
  "onnx/model_quantized.onnx",
  "head.json",
  "prototypes.json",
];

/** Largest file of a batch, in bytes. */
const BATCH_BYTES_MAX = 16 * 1024 * 1024;

/** How long rows of a batch are answered before a typed text has its turn. */
const TURN_MS = 30;

// After a failure nothing is taken from the browser's cache: it may be what failed.
const afresh = new URL(self.location.href).searchParams.has("afresh");

let loaded = 0;
/** Unknown until the index and the manifest are read. */
let total = 0;

/** @type {(reply: Reply) => void} */
const post = (reply) => self.postMessage(reply);

/** @param {unknown} error */
const message = (error) => (error instanceof Error ? error.message : String(error));

/**
 * A file's response, each of its bytes counted; refuses what is not there. One whose hash is known is asked for once:
 * the hash is part of its address, so that what the browser has kept of it is right however old.
 * @param {string} path
 * @param {string} [sha256]
 */
async function open(path, sha256) {
  const url = new URL(path, import.meta.url);
  if (sha256) url.search = sha256.slice(0, 16);
  /** @type {RequestCache} */
  const cache = afresh ? "reload" : sha256 ? "force-cache" : "default";
  const response = await fetch(url, { cache }).catch(() => {
    throw new Error(`${path}: no connection`);
  });
  if (!response.ok || !response.body) throw new Error(`${path}: HTTP ${response.status}`);
  const count = new TransformStream({
    transform(/** @type {Uint8Array} */ chunk, controller) {
      loaded += chunk.byteLength;
      if (total > 0) post({ kind: "progress", loaded: Math.min(loaded, total), total });
      controller.enqueue(chunk);
    },
  });
  // Its type is set here, so that compiling while it streams does not depend on the server's table.
  const headers = { "Content-Type": path.endsWith(".wasm") ? "application/wasm" : "text/plain" };
  return new Response(response.body.pipeThrough(count), { headers });
}

/**
 * @param {string} path
 * @param {string} [sha256]
 */
async function bytes(path, sha256) {
  const response = await open(path, sha256);
  const buffer = await response.arrayBuffer().catch((error) => {
    throw new Error(`${path}: ${message(error)}`);
  });
  return new Uint8Array(buffer);
}

/**
 * @param {string} path
 * @param {Uint8Array} content
 */
function json(path, content) {
  try {
    return JSON.parse(new TextDecoder().decode(content));
  } catch {
    throw new Error(`${path}: not JSON`);
  }
}

/** @typedef {{ id: string, wasm_bytes: number, wasm_sha256: string }} Index what the page is served with */

/**
 * The wasm module's class, instantiated while it streams in.
 * @param {Promise<Index>} index
 */
async function module(index) {
  const [glue, response] = await Promise.all([
    import("./wasm/jeffrey_edge.js").catch(() => {
      throw new Error("wasm/jeffrey_edge.js: could not be loaded");
    }),
    index.then(({ wasm_sha256 }) => open("wasm/jeffrey_edge_bg.wasm", wasm_sha256)),
  ]);
  await glue.default({ module_or_path: response }).catch((error) => {
    throw new Error(`wasm/jeffrey_edge_bg.wasm: ${message(error)}`);
  });
  return glue.Browser;
}

/**
 * The six files of the model that the index names, manifest first.
 * @param {Promise<Index>} index
 */
async function model(index) {
  const { id, wasm_bytes } = await index;
  const folder = `models/${id}`;
  const manifestBytes = await bytes(`${folder}/manifest.json`);
  const manifest = json(`${folder}/manifest.json`, manifestBytes);
  const sizes = FILES.map((file) => Number(manifest.files?.[file]?.bytes) || 0);
  const before = Number(wasm_bytes) + manifestBytes.byteLength;
  total = sizes.reduce((sum, size) => sum + size, before);
  const rest = FILES.map((file) => bytes(`${folder}/${file}`, manifest.files?.[file]?.sha256));
  return [manifestBytes, ...(await Promise.all(rest))];
}

async function load() {
  const path = "models/index.json";
  /** @type {Promise<Index>} */
  const index = bytes(path).then((content) => json(path, content));
  const [Browser, files] = await Promise.all([module(index), model(index)]);
  post({ kind: "preparing" });
  const [manifest, config, tokenizer, encoder, head, prototypes] = files;
  const browser = new Browser(manifest, config, tokenizer, encoder, head, prototypes);
  post({ kind: "ready", model: browser.model ?? "", sha256: browser.sha256 ?? "" });
  return browser;
}

/**
 * A trap ends the instance; everything else is the classifier's own word on what it was given.
 * @param {unknown} error
 * @param {(reason: string) => Reply} refused
 */
const complain = (error, refused) =>
  post(
    error instanceof WebAssembly.RuntimeError
      ? { kind: "failed", reason: "the classifier stopped" }
      : refused(message(error)),
  );

/**
 * @param {Browser} browser
 * @param {number} id
 * @param {string} text
 */
function classify(browser, id, text) {
  try {
    const start = performance.now();
    const answer = browser.classify(text);
    const milliseconds = performance.now() - start;
    const reading = JSON.parse(browser.read(text));
    post({ kind: "answer", id, answer: JSON.parse(answer), reading, milliseconds });
  } catch (error) {
    complain(error, (reason) => ({ kind: "refused", id, reason }));
  }
}

/**
 * A file's content: UTF-8, UTF-16 where it begins so, or what spreadsheets of western Europe write.
 * @param {File} file
 */
async function content(file) {
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

/** Of a long text so much is shown, in characters; the file to download has all of it. */
const SHOWN_CHARS = 300;

/**
 * Of a row what the page shows: ten thousand whole answers would keep it busy.
 * @param {{ line: number, text: string | null, answer: Answer | null, error: string | null }} row
 * @returns {Row}
 */
function shown({ line, text, answer, error }) {
  const words = text ?? "";
  const cut = words.length > SHOWN_CHARS ? `${words.slice(0, SHOWN_CHARS)}…` : words;
  return { line, text: cut, primary: answer?.primary ?? null, confidence: answer?.confidence ?? null, error };
}

/** The batch that is wanted. */
let wanted = 0;
/** Whether the one under way is to be ended where it is. */
let stopped = false;

/**
 * Answers the rows of a file, with a typed text between them where there is one.
 * @param {Browser} browser
 * @param {number} number of the batch
 * @param {File} file
 */
async function batch(browser, number, file) {
  wanted = number;
  stopped = false;
  try {
    const table = browser.batch(file.name, await content(file));
    const total = table.rows;
    let done = 0;
    while (done < total && !stopped) {
      const rows = [];
      for (const end = performance.now() + TURN_MS; done < total && performance.now() < end; done += 1) {
        rows.push(shown(JSON.parse(browser.answer(table, done))));
      }
      post({ kind: "rows", batch: number, rows, total });
      await new Promise((resolve) => setTimeout(resolve));
      if (number !== wanted) return table.free();
    }
    const csv = new Blob([table.csv() ?? ""], { type: "text/csv;charset=utf-8" });
    table.free();
    post({ kind: "table", batch: number, csv, stopped });
  } catch (error) {
    complain(error, (reason) => ({ kind: "unread", batch: number, reason }));
  }
}

const loading = load();
loading.catch((error) => post({ kind: "failed", reason: message(error) }));

self.addEventListener("message", async (/** @type {MessageEvent<Request>} */ { data }) => {
  const browser = await loading.catch(() => null);
  if (!browser) return;
  switch (data.kind) {
    case "classify":
      return classify(browser, data.id, data.text);
    case "batch":
      return batch(browser, data.batch, data.file);
    case "stop":
      stopped = true;
  }
});
