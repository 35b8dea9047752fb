// The pages of the mock legacy system: an ordinary, slightly untidy web app with the same bytes at every start.
//
// Paths are compared as received, so the response shows if a proxy normalised, decoded or dropped a part.

import { brotliCompressSync, gzipSync } from "node:zlib";
import { BODY_BYTES_MAX, ENCODER, LABELS, VERSION } from "./predict.js";

/** @typedef {import("./answer.js").Answer} Answer */
/** @typedef {import("./answer.js").Headers} Headers */
/** @typedef {{ headers: import("node:http").IncomingHttpHeaders, path: string, query: string | null }} Asked */

const HTML = { "content-type": "text/html; charset=utf-8" };
const TEXT = { "content-type": "text/plain; charset=utf-8" };
const JSON_TYPE = { "content-type": "application/json" };

const ALPHABET = Buffer.from("abcdefghijklmnopqrstuvwxyz".repeat(40));
const LONG_TEXT = "Une phrase qui se répète, as old pages do.\n".repeat(200);
/** One transparent pixel. */
const PIXEL = Buffer.from(
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==",
  "base64",
);
const ETAG = '"mock-legacy-1"';

/** @type {Record<string, (asked: Asked) => Answer>} */
const PAGES = {
  "/": page("Émotions", '<p>v2.4.2. See the <a href="/docs/">documentation</a>.</p>'),
  "/index.html": page("Émotions", '<p>v2.4.2. See the <a href="/docs/">documentation</a>.</p>'),
  "//": page("Two slashes", "<p>Not the first page.</p>"),
  "/health": fixed(JSON_TYPE, JSON.stringify({ status: "ok", version: VERSION, encoder: ENCODER, model_loaded: true })),
  "/metrics": fixed(
    { "content-type": "text/plain; version=0.0.4; charset=utf-8" },
    `# HELP emotion_build_info The version that runs.\n# TYPE emotion_build_info gauge\nemotion_build_info{version="${VERSION}"} 1\n`,
  ),
  "/openapi.json": fixed(JSON_TYPE, JSON.stringify(openapi())),
  "/favicon.ico": fixed({ "content-type": "image/x-icon", "cache-control": "max-age=86400" }, icon(PIXEL)),
  "/robots.txt": fixed(TEXT, "User-agent: *\nDisallow: /_mock-legacy/\n"),
  "/static/app.css": fixed({ "content-type": "text/css" }, "body { font-family: serif; }\nh1::before { content: \"≈ \"; }\n"),
  "/static/app.js": fixed({ "content-type": "text/javascript" }, "document.title += ' — v2.4.2';\n"),
  "/static/pixel.png": fixed({ "content-type": "image/png" }, PIXEL),
  "/static/data.bin": fixed({ "content-type": "application/octet-stream" }, Buffer.from(Array.from({ length: 65_536 }, (_, at) => (at * 7) % 256))),
  "/static/empty.txt": fixed(TEXT, ""),
  "/static/latin1.txt": fixed({ "content-type": "text/plain; charset=iso-8859-1" }, Buffer.from("déjà vu\r\n", "latin1")),
  "/static/no-type": fixed({}, "nobody says what this is\n"),
  "/docs": moved(301, "/docs/"),
  "/docs/": page("Documentation", '<ul><li><a href="api.html">API</a><li><a href="fr/accueil.html">Accueil</a></ul>'),
  "/docs/index.html": page("Documentation", "<p>The same as <code>/docs/</code>, nearly.</p>"),
  "/docs/api.html": page("API", "<p><code>POST /predict</code></p>"),
  "/docs/api.html/": page("API, with a slash", "<p>Another page.</p>"),
  "/docs/fr/accueil.html": page("Accueil", "<p>Où l’on apprend à s’en servir.</p>"),
  "/redirect": moved(302, "docs/?from=redirect"),
  "/redirect-away": moved(301, "https://away.example/elsewhere?a=1&b=%20"),
  "/cookies": fixed(
    { ...TEXT, "set-cookie": ["session=1; Path=/; HttpOnly", "language=fr; Path=/docs; SameSite=Lax", "empty=; Max-Age=0"] },
    "three cookies\n",
  ),
  "/gzip": packed("gzip", gzipSync(LONG_TEXT)),
  "/br": packed("br", brotliCompressSync(LONG_TEXT)),
  "/no-content": () => ({ status: 204, headers: {} }),
  "/teapot": () => ({ status: 418, headers: TEXT, body: "short and stout\n" }),
  "/etag": ({ headers }) => {
    const known = headers["if-none-match"]?.split(",").map((tag) => tag.trim().replace(/^W\//, ""));
    if (known?.some((tag) => tag === ETAG || tag === "*")) return { status: 304, headers: { etag: ETAG } };
    return { status: 200, headers: { ...TEXT, etag: ETAG }, body: "version 1\n" };
  },
  "/range": ranged,
  "/head": fixed({ ...TEXT, "x-head": "as for GET" }, "not seen by HEAD\n"),
  "/public": fixed({ ...TEXT, "cache-control": "public, max-age=3600" }, "anyone may keep this\n"),
  "/private": fixed({ ...TEXT, "cache-control": "private, no-store" }, "nobody may keep this\n"),
  "/search": ({ query }) => ({
    status: 200,
    headers: JSON_TYPE,
    body: JSON.stringify({ query, pairs: [...new URLSearchParams(query ?? "")] }),
  }),
  // The model worker has this path; v2.4.2 does not.
  "/v1/classify": () => ({ status: 404, headers: TEXT, body: "v2.4.2 has no such door\n" }),
};

/**
 * The response to a GET of a page; null if there is no such page. Any path below `/files/` returns itself.
 *
 * @param {Asked} asked
 * @returns {Answer | null}
 */
export function pageFor(asked) {
  if (Object.hasOwn(PAGES, asked.path)) return PAGES[asked.path](asked);
  const target = asked.query === null ? asked.path : `${asked.path}?${asked.query}`;
  return asked.path.startsWith("/files/") ? { status: 200, headers: TEXT, body: `file ${target}\n` } : null;
}

/** @returns {Answer} */
export function notFound() {
  return { status: 404, headers: HTML, body: html("404", "<p>Nothing here. Rien ici.</p>") };
}

/** @param {Headers} headers @param {Buffer | string} body */
function fixed(headers, body) {
  return () => ({ status: 200, headers, body });
}

/** @param {string} title @param {string} content */
function page(title, content) {
  return fixed(HTML, html(title, content));
}

/** @param {string} title @param {string} content */
function html(title, content) {
  return (
    `<!doctype html>\n<html lang="fr">\n<title>${title}</title>\n` +
    `<link rel="stylesheet" href="/static/app.css">\n<h1>${title}</h1>\n${content}\n` +
    `<script src="/static/app.js"></script>\n</html>\n`
  );
}

/** @param {number} status @param {string} location */
function moved(status, location) {
  return () => ({ status, headers: { ...TEXT, location }, body: "moved\n" });
}

/** `LONG_TEXT`, compressed if the request's `Accept-Encoding` allows it. @param {string} coding @param {Buffer} body */
function packed(coding, body) {
  const headers = { ...TEXT, vary: "Accept-Encoding" };
  return (/** @type {Asked} */ asked) =>
    allows(asked.headers["accept-encoding"], coding)
      ? { status: 200, headers: { ...headers, "content-encoding": coding }, body }
      : { status: 200, headers, body: LONG_TEXT };
}

/** @param {string | string[] | undefined} header @param {string} coding */
function allows(header, coding) {
  const listed = String(header ?? "").split(",").map((each) => each.trim().toLowerCase().split(/\s*;\s*q=/));
  const found = listed.find(([name]) => name === coding) ?? listed.find(([name]) => name === "*");
  return found !== undefined && Number(found[1] ?? 1) > 0;
}

/** Serves one byte range; for several ranges it sends the whole text, as RFC 9110 allows. @param {Asked} asked @returns {Answer} */
function ranged({ headers }) {
  const plain = { ...TEXT, "accept-ranges": "bytes" };
  const size = ALPHABET.length;
  const match = /^bytes=(\d*)-(\d*)$/.exec(headers.range ?? "");
  if (!match || match[0] === "bytes=-") return { status: 200, headers: plain, body: ALPHABET };
  const first = match[1] === "" ? Math.max(0, size - Number(match[2])) : Number(match[1]);
  const last = match[1] === "" || match[2] === "" ? size - 1 : Math.min(Number(match[2]), size - 1);
  if (first > last) return { status: 416, headers: { ...plain, "content-range": `bytes */${size}` }, body: "" };
  const part = ALPHABET.subarray(first, last + 1);
  return { status: 206, headers: { ...plain, "content-range": `bytes ${first}-${last}/${size}` }, body: part };
}

/** An ICO file that holds one PNG image. @param {Buffer} png */
function icon(png) {
  const head = Buffer.alloc(22);
  head.writeUInt16LE(1, 2);
  head.writeUInt16LE(1, 4);
  head.set([1, 1, 0, 0], 6);
  head.writeUInt16LE(1, 10);
  head.writeUInt16LE(32, 12);
  head.writeUInt32LE(png.length, 14);
  head.writeUInt32LE(head.length, 18);
  return Buffer.concat([head, png]);
}

function openapi() {
  const request = { type: "object", required: ["text"], properties: { text: { type: "string" }, user_id: { type: "string" } } };
  const fault = { type: "object", required: ["error"], properties: { error: { type: "string" } } };
  const pair = { type: "array", minItems: 2, maxItems: 2, items: { type: ["string", "number"] } };
  const prediction = {
    type: "object",
    properties: {
      primary: { enum: LABELS },
      confidence: { type: "number", minimum: 0, maximum: 1 },
      top2: { type: "array", items: pair },
      low_confidence: { type: "boolean" },
      rule_applied: { type: ["string", "null"] },
    },
  };
  const answer = {
    type: "object",
    properties: {
      version: { const: VERSION },
      route: { enum: ["linear_head", "prototypes", "regex"] },
      encoder: { const: ENCODER },
      prediction,
      latency_ms: { type: "number", minimum: 0 },
      all_scores_top5: { type: "array", items: pair },
    },
  };
  const json = (/** @type {object} */ schema) => ({ content: { "application/json": { schema } } });
  return {
    openapi: "3.1.0",
    info: { title: "Émotions", version: VERSION, description: `Bodies of at most ${BODY_BYTES_MAX} bytes.` },
    paths: {
      "/predict": {
        post: {
          requestBody: { required: true, ...json(request) },
          responses: {
            200: { description: "the emotion", ...json(answer) },
            ...Object.fromEntries([400, 405, 413, 500].map((status) => [status, { description: "fault", ...json(fault) }])),
          },
        },
      },
    },
  };
}
