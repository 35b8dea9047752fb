// The pages of the mock legacy system: an ordinary, slightly untidy web app with the same bytes at every start.
//
// Paths are compared as received, so the response shows if a proxy normalised, decoded or dropped a part.

import { brotliCompressSync, gzipSync } from "node:zlib";
import { BODY_BYTES_MAX, ENCODER, LABELS, VERSION } from "./predict.js";

/** @typedef {import("./answer.js").HttpResponse} HttpResponse */
/** @typedef {import("./answer.js").HeaderMap} HeaderMap */
/** @typedef {{ headers: import("node:http").IncomingHttpHeaders, path: string, query: string | null }} PageRequest */

const HTML_HEADERS = { "content-type": "text/html; charset=utf-8" };
const TEXT_HEADERS = { "content-type": "text/plain; charset=utf-8" };
const JSON_HEADERS = { "content-type": "application/json" };

const ALPHABET = Buffer.from("abcdefghijklmnopqrstuvwxyz".repeat(40));
const LONG_TEXT = "Une phrase qui se répète, as old pages do.\n".repeat(200);
/** One transparent pixel. */
const PIXEL = Buffer.from(
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==",
  "base64",
);
const ETAG = '"mock-legacy-1"';

/** @type {Record<string, (request: PageRequest) => HttpResponse>} */
const PAGE_HANDLERS = {
  "/": respondWithPage("Émotions", '<p>v2.4.2. See the <a href="/docs/">documentation</a>.</p>'),
  "/index.html": respondWithPage("Émotions", '<p>v2.4.2. See the <a href="/docs/">documentation</a>.</p>'),
  "//": respondWithPage("Two slashes", "<p>Not the first page.</p>"),
  "/health": respondWith(JSON_HEADERS, JSON.stringify({ status: "ok", version: VERSION, encoder: ENCODER, model_loaded: true })),
  "/metrics": respondWith(
    { "content-type": "text/plain; version=0.0.4; charset=utf-8" },
    `# HELP emotion_build_info The version that runs.\n# TYPE emotion_build_info gauge\nemotion_build_info{version="${VERSION}"} 1\n`,
  ),
  "/openapi.json": respondWith(JSON_HEADERS, JSON.stringify(buildOpenApi())),
  "/favicon.ico": respondWith({ "content-type": "image/x-icon", "cache-control": "max-age=86400" }, buildIcon(PIXEL)),
  "/robots.txt": respondWith(TEXT_HEADERS, "User-agent: *\nDisallow: /_mock-legacy/\n"),
  "/static/app.css": respondWith({ "content-type": "text/css" }, "body { font-family: serif; }\nh1::before { content: \"≈ \"; }\n"),
  "/static/app.js": respondWith({ "content-type": "text/javascript" }, "document.title += ' — v2.4.2';\n"),
  "/static/pixel.png": respondWith({ "content-type": "image/png" }, PIXEL),
  "/static/data.bin": respondWith({ "content-type": "application/octet-stream" }, Buffer.from(Array.from({ length: 65_536 }, (_, index) => (index * 7) % 256))),
  "/static/empty.txt": respondWith(TEXT_HEADERS, ""),
  "/static/latin1.txt": respondWith({ "content-type": "text/plain; charset=iso-8859-1" }, Buffer.from("déjà vu\r\n", "latin1")),
  "/static/no-type": respondWith({}, "no content type\n"),
  "/docs": redirectTo(301, "/docs/"),
  "/docs/": respondWithPage("Documentation", '<ul><li><a href="api.html">API</a><li><a href="fr/accueil.html">Accueil</a></ul>'),
  "/docs/index.html": respondWithPage("Documentation", "<p>The same as <code>/docs/</code>, nearly.</p>"),
  "/docs/api.html": respondWithPage("API", "<p><code>POST /predict</code></p>"),
  "/docs/api.html/": respondWithPage("API, with a slash", "<p>Another page.</p>"),
  "/docs/fr/accueil.html": respondWithPage("Accueil", "<p>Où l’on apprend à s’en servir.</p>"),
  "/redirect": redirectTo(302, "docs/?from=redirect"),
  "/redirect-away": redirectTo(301, "https://away.example/elsewhere?a=1&b=%20"),
  "/cookies": respondWith(
    { ...TEXT_HEADERS, "set-cookie": ["session=1; Path=/; HttpOnly", "language=fr; Path=/docs; SameSite=Lax", "empty=; Max-Age=0"] },
    "three cookies\n",
  ),
  "/gzip": respondCompressed("gzip", gzipSync(LONG_TEXT)),
  "/br": respondCompressed("br", brotliCompressSync(LONG_TEXT)),
  "/no-content": () => ({ status: 204, headers: {} }),
  "/teapot": () => ({ status: 418, headers: TEXT_HEADERS, body: "short and stout\n" }),
  "/etag": ({ headers }) => {
    const clientTags = headers["if-none-match"]?.split(",").map((tag) => tag.trim().replace(/^W\//, ""));
    if (clientTags?.some((tag) => tag === ETAG || tag === "*")) return { status: 304, headers: { etag: ETAG } };
    return { status: 200, headers: { ...TEXT_HEADERS, etag: ETAG }, body: "version 1\n" };
  },
  "/range": respondWithRange,
  "/head": respondWith({ ...TEXT_HEADERS, "x-head": "as for GET" }, "not seen by HEAD\n"),
  "/public": respondWith({ ...TEXT_HEADERS, "cache-control": "public, max-age=3600" }, "any cache may store this\n"),
  "/private": respondWith({ ...TEXT_HEADERS, "cache-control": "private, no-store" }, "do not store this\n"),
  "/search": ({ query }) => ({
    status: 200,
    headers: JSON_HEADERS,
    body: JSON.stringify({ query, pairs: [...new URLSearchParams(query ?? "")] }),
  }),
  // The model worker has this path; v2.4.2 does not.
  "/v1/classify": () => ({ status: 404, headers: TEXT_HEADERS, body: "v2.4.2 has no such endpoint\n" }),
};

/**
 * The response to a GET of a page; null if there is no such page. Any path below `/files/` returns itself.
 *
 * @param {PageRequest} request
 * @returns {HttpResponse | null}
 */
export function pageResponse(request) {
  if (Object.hasOwn(PAGE_HANDLERS, request.path)) return PAGE_HANDLERS[request.path](request);
  const target = request.query === null ? request.path : `${request.path}?${request.query}`;
  return request.path.startsWith("/files/") ? { status: 200, headers: TEXT_HEADERS, body: `file ${target}\n` } : null;
}

/** @returns {HttpResponse} */
export function notFoundResponse() {
  return { status: 404, headers: HTML_HEADERS, body: renderHtml("404", "<p>Page not found. Page introuvable.</p>") };
}

/** @param {HeaderMap} headers @param {Buffer | string} body */
function respondWith(headers, body) {
  return () => ({ status: 200, headers, body });
}

/** @param {string} title @param {string} content */
function respondWithPage(title, content) {
  return respondWith(HTML_HEADERS, renderHtml(title, content));
}

/** @param {string} title @param {string} content */
function renderHtml(title, content) {
  return (
    `<!doctype html>\n<html lang="fr">\n<title>${title}</title>\n` +
    `<link rel="stylesheet" href="/static/app.css">\n<h1>${title}</h1>\n${content}\n` +
    `<script src="/static/app.js"></script>\n</html>\n`
  );
}

/** @param {number} status @param {string} location */
function redirectTo(status, location) {
  return () => ({ status, headers: { ...TEXT_HEADERS, location }, body: "moved\n" });
}

/** `LONG_TEXT`, compressed if the request's `Accept-Encoding` allows it. @param {string} coding @param {Buffer} body */
function respondCompressed(coding, body) {
  const headers = { ...TEXT_HEADERS, vary: "Accept-Encoding" };
  return (/** @type {PageRequest} */ request) =>
    acceptsCoding(request.headers["accept-encoding"], coding)
      ? { status: 200, headers: { ...headers, "content-encoding": coding }, body }
      : { status: 200, headers, body: LONG_TEXT };
}

/** @param {string | string[] | undefined} header @param {string} coding */
function acceptsCoding(header, coding) {
  const codings = String(header ?? "").split(",").map((item) => item.trim().toLowerCase().split(/\s*;\s*q=/));
  const match = codings.find(([name]) => name === coding) ?? codings.find(([name]) => name === "*");
  return match !== undefined && Number(match[1] ?? 1) > 0;
}

/** Serves one byte range; for several ranges it sends the whole text, as RFC 9110 allows. @param {PageRequest} request @returns {HttpResponse} */
function respondWithRange({ headers }) {
  const baseHeaders = { ...TEXT_HEADERS, "accept-ranges": "bytes" };
  const size = ALPHABET.length;
  const match = /^bytes=(\d*)-(\d*)$/.exec(headers.range ?? "");
  if (!match || match[0] === "bytes=-") return { status: 200, headers: baseHeaders, body: ALPHABET };
  const first = match[1] === "" ? Math.max(0, size - Number(match[2])) : Number(match[1]);
  const last = match[1] === "" || match[2] === "" ? size - 1 : Math.min(Number(match[2]), size - 1);
  if (first > last) return { status: 416, headers: { ...baseHeaders, "content-range": `bytes */${size}` }, body: "" };
  const bytes = ALPHABET.subarray(first, last + 1);
  return { status: 206, headers: { ...baseHeaders, "content-range": `bytes ${first}-${last}/${size}` }, body: bytes };
}

/** An ICO file that holds one PNG image. @param {Buffer} png */
function buildIcon(png) {
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

function buildOpenApi() {
  const request = { type: "object", required: ["text"], properties: { text: { type: "string" }, user_id: { type: "string" } } };
  const error = { type: "object", required: ["error"], properties: { error: { type: "string" } } };
  const labelScore = { type: "array", minItems: 2, maxItems: 2, items: { type: ["string", "number"] } };
  const prediction = {
    type: "object",
    properties: {
      primary: { enum: LABELS },
      confidence: { type: "number", minimum: 0, maximum: 1 },
      top2: { type: "array", items: labelScore },
      low_confidence: { type: "boolean" },
      rule_applied: { type: ["string", "null"] },
    },
  };
  const response = {
    type: "object",
    properties: {
      version: { const: VERSION },
      route: { enum: ["linear_head", "prototypes", "regex"] },
      encoder: { const: ENCODER },
      prediction,
      latency_ms: { type: "number", minimum: 0 },
      all_scores_top5: { type: "array", items: labelScore },
    },
  };
  const jsonContent = (/** @type {object} */ schema) => ({ content: { "application/json": { schema } } });
  return {
    openapi: "3.1.0",
    info: { title: "Émotions", version: VERSION, description: `Bodies of at most ${BODY_BYTES_MAX} bytes.` },
    paths: {
      "/predict": {
        post: {
          requestBody: { required: true, ...jsonContent(request) },
          responses: {
            200: { description: "the emotion", ...jsonContent(response) },
            ...Object.fromEntries([400, 405, 413, 500].map((status) => [status, { description: "error", ...jsonContent(error) }])),
          },
        },
      },
    },
  };
}
