// Endpoints that show what a proxy does to a request, a response, a stream or a broken connection.

import { createHash } from "node:crypto";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { sendHalf, sendInvalidHttp, resetConnection, send, sendError, sendJson, checkMethod } from "./answer.js";
import { CORS_HEADERS, PREFLIGHT_HEADERS } from "./predict.js";
import { DELAY_LIMIT, parseNumber } from "./settings.js";

/** @typedef {import("./answer.js").RequestContext} RequestContext */

const TEXT_HEADERS = { "content-type": "text/plain; charset=utf-8" };

const DOWNLOAD_LIMIT = { min: 0, max: 10 * 1024 ** 3, unit: "bytes", integer: true };

/** Byte i is i mod 251. 251 is prime, so a lost or repeated block of a power of two shows. */
const BYTE_PATTERN = Buffer.from(Array.from({ length: 251 * 256 }, (_, index) => index % 251));

/** @type {Record<string, (context: RequestContext) => Promise<void> | void>} */
export const PROXY_TEST_HANDLERS = {
  "/echo": async (context) => {
    const { method, url, rawHeaders } = context.request;
    sendJson(context, 200, { method, url, headers: toHeaderPairs(rawHeaders), ...(await digestBody(context.body)) }, { "x-echo": "1" });
  },
  "/upload": async (context) => {
    if (checkMethod(context, ["POST", "PUT"])) sendJson(context, 200, await digestBody(context.body));
  },
  "/download": (context) => sendDownload(context, parseQueryNumber(context, "bytes", DOWNLOAD_LIMIT, 1024 * 1024)),
  "/slow": async (context) => {
    await wait(parseQueryNumber(context, "ms", DELAY_LIMIT, 1000));
    send(context, { status: 200, headers: TEXT_HEADERS, body: "at last\n" });
  },
  "/slow-body": async (context) => {
    const ms = parseQueryNumber(context, "ms", DELAY_LIMIT, 1000);
    context.response.writeHead(200, TEXT_HEADERS).flushHeaders();
    await wait(ms);
    context.response.end("at last\n");
  },
  "/chunked": async ({ response }) => {
    response.writeHead(200, TEXT_HEADERS);
    for (let chunkNumber = 1; chunkNumber <= 5; chunkNumber += 1) {
      response.write(`part ${chunkNumber} of 5\n`);
      // Without a pause all chunks would be sent together.
      await wait(5);
    }
    response.end();
  },
  "/reset": resetConnection,
  "/garbled": sendInvalidHttp,
  "/half": (context) => sendHalf(context, TEXT_HEADERS),
  "/cors": (context) => {
    if (!checkMethod(context, ["GET", "HEAD", "OPTIONS"])) return;
    if (context.request.method === "OPTIONS") return send(context, { status: 204, headers: PREFLIGHT_HEADERS });
    send(context, { status: 200, headers: { ...TEXT_HEADERS, ...CORS_HEADERS, "x-old-system": "read me" }, body: "shared\n" });
  },
  "/ws": (context) => sendError(context, 426, "this endpoint requires a WebSocket", { upgrade: "websocket", connection: "upgrade" }),
};

/** Headers as received, in order, with repeated names not merged. @param {string[]} rawHeaders @returns {[string, string][]} */
export function toHeaderPairs(rawHeaders) {
  return Array.from({ length: rawHeaders.length / 2 }, (_, index) => [rawHeaders[2 * index], rawHeaders[2 * index + 1]]);
}

/** @param {AsyncIterable<Buffer>} body */
async function digestBody(body) {
  const sha256 = createHash("sha256");
  let bytes = 0;
  for await (const chunk of body) {
    bytes += chunk.length;
    sha256.update(chunk);
  }
  return { body_bytes: bytes, body_sha256: sha256.digest("hex") };
}

/** Sends this many bytes, no faster than the caller reads them. @param {RequestContext} context @param {number} bytes */
async function sendDownload({ request, response }, bytes) {
  response.writeHead(200, { "content-type": "application/octet-stream", "content-length": String(bytes) });
  const disconnected = new AbortController();
  response.once("close", () => disconnected.abort());
  for (let remaining = request.method === "HEAD" ? 0 : bytes; remaining > 0 && !response.destroyed; remaining -= BYTE_PATTERN.length) {
    if (response.write(BYTE_PATTERN.subarray(0, remaining))) continue;
    // If the caller closes the connection, `drain` never comes.
    await once(response, "drain", { signal: disconnected.signal }).catch(() => {});
  }
  response.end();
}

/** @param {RequestContext} context @param {string} name @param {import("./settings.js").Limit} limit @param {number} defaultValue */
function parseQueryNumber({ query }, name, limit, defaultValue) {
  const text = new URLSearchParams(query ?? "").get(name);
  return text === null ? defaultValue : parseNumber(name, text, limit);
}

/** Waits, without keeping the process of a stopped server alive. @param {number} ms */
function wait(ms) {
  return sleep(ms, undefined, { ref: false });
}
