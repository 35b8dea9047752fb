// Runs the classifier beside the page, so that typing never waits for it.
//
// It fetches the module and the model's files from its own origin, once, and then only computes.
// The files' hashes are checked by the module itself; whatever is wrong is posted as a reason.

/**
 * What the page sends.
 * @typedef {{ kind: "classify", id: number, text: string }} Request
 */

/**
 * What the page receives.
 * @typedef {{ kind: "progress", loaded: number, total: number }
 *   | { kind: "preparing" }
 *   | { kind: "ready", model: string, sha256: string }
 *   | { kind: "failed", reason: string }
 *   | { kind: "answer", id: number, answer: Answer, milliseconds: number }
 *   | { kind: "refused", id: number, reason: string }} Reply
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

let loaded = 0;
/** Unknown until the index and the manifest are read. */
let total = 0;

/** @type {(reply: Reply) => void} */
const post = (reply) => self.postMessage(reply);

/** @param {unknown} error */
const message = (error) => (error instanceof Error ? error.message : String(error));

/**
 * A file's response, each of its bytes counted; refuses what is not there.
 * @param {string} path
 */
async function open(path) {
  const response = await fetch(new URL(path, import.meta.url)).catch(() => {
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

/** @param {string} path */
async function bytes(path) {
  const response = await open(path);
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

/** The wasm module's class, instantiated while it streams in. */
async function module() {
  const [glue, response] = await Promise.all([
    import("./wasm/jeffrey_edge.js").catch(() => {
      throw new Error("wasm/jeffrey_edge.js: could not be loaded");
    }),
    open("wasm/jeffrey_edge_bg.wasm"),
  ]);
  await glue.default({ module_or_path: response }).catch((error) => {
    throw new Error(`wasm/jeffrey_edge_bg.wasm: ${message(error)}`);
  });
  return glue.Browser;
}

/** The six files of the model that the index names, manifest first. */
async function model() {
  const indexPath = "models/index.json";
  const index = json(indexPath, await bytes(indexPath));
  const folder = `models/${index.id}`;
  const manifestBytes = await bytes(`${folder}/manifest.json`);
  const manifest = json(`${folder}/manifest.json`, manifestBytes);
  const sizes = FILES.map((file) => Number(manifest.files?.[file]?.bytes) || 0);
  const before = Number(index.wasm_bytes) + manifestBytes.byteLength;
  total = sizes.reduce((sum, size) => sum + size, before);
  const rest = FILES.map((file) => bytes(`${folder}/${file}`));
  return [manifestBytes, ...(await Promise.all(rest))];
}

async function load() {
  const [Browser, files] = await Promise.all([module(), model()]);
  post({ kind: "preparing" });
  const [manifest, config, tokenizer, encoder, head, prototypes] = files;
  const browser = new Browser(manifest, config, tokenizer, encoder, head, prototypes);
  post({ kind: "ready", model: browser.model ?? "", sha256: browser.sha256 ?? "" });
  return browser;
}

/**
 * @param {Browser} browser
 * @param {Request} request
 */
function classify(browser, { id, text }) {
  try {
    const start = performance.now();
    const answer = browser.classify(text);
    const milliseconds = performance.now() - start;
    post({ kind: "answer", id, answer: JSON.parse(answer), milliseconds });
  } catch (error) {
    // A trap ends the instance; everything else is the classifier's own word on this text.
    const trapped = error instanceof WebAssembly.RuntimeError;
    post(
      trapped
        ? { kind: "failed", reason: "the classifier stopped" }
        : { kind: "refused", id, reason: message(error) },
    );
  }
}

const loading = load();
loading.catch((error) => post({ kind: "failed", reason: message(error) }));

self.addEventListener("message", async (/** @type {MessageEvent<Request>} */ event) => {
  const browser = await loading.catch(() => null);
  if (browser) classify(browser, event.data);
});
