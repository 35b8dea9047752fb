// Endpoints that show what a proxy does to a request, a response, a stream or a broken connection.

import { createHash } from "node:crypto";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { garble, reset, send, sendFault, sendJson, takes } from "./answer.js";
import { CORS, PREFLIGHT } from "./predict.js";
import { WAIT, parseNumber } from "./settings.js";

/** @typedef {import("./answer.js").Call} Call */

const TEXT = { "content-type": "text/plain; charset=utf-8" };

const DOWNLOAD = { least: 0, most: 10 * 1024 ** 3, unit: "bytes", whole: true };

/** Byte i is i mod 251. 251 is prime, so a lost or repeated block of a power of two shows. */
const PATTERN = Buffer.from(Array.from({ length: 251 * 256 }, (_, at) => at % 251));

/** @type {Record<string, (call: Call) => Promise<void> | void>} */
export const PROBES = {
  "/echo": async (call) => {
    const { method, url, rawHeaders } = call.request;
    sendJson(call, 200, { method, url, headers: pairs(rawHeaders), ...(await digest(call.body)) }, { "x-echo": "1" });
  },
  "/upload": async (call) => {
    if (takes(call, ["POST", "PUT"])) sendJson(call, 200, await digest(call.body));
  },
  "/download": (call) => download(call, numberOf(call, "bytes", DOWNLOAD, 1024 * 1024)),
  "/slow": async (call) => {
    await wait(numberOf(call, "ms", WAIT, 1000));
    send(call, { status: 200, headers: TEXT, body: "at last\n" });
  },
  "/slow-body": async (call) => {
    const ms = numberOf(call, "ms", WAIT, 1000);
    call.response.writeHead(200, TEXT).flushHeaders();
    await wait(ms);
    call.response.end("at last\n");
  },
  "/chunked": async ({ response }) => {
    response.writeHead(200, TEXT);
    for (let part = 1; part <= 5; part += 1) {
      response.write(`part ${part} of 5\n`);
      // Without a pause all parts would be sent together.
      await wait(5);
    }
    response.end();
  },
  "/reset": reset,
  "/garbled": garble,
  "/half": ({ request, response }) => {
    response.writeHead(200, { ...TEXT, "content-length": "100" });
    response.write("only these", () => request.socket.destroySoon());
  },
  "/cors": (call) => {
    if (!takes(call, ["GET", "HEAD", "OPTIONS"])) return;
    if (call.request.method === "OPTIONS") return send(call, { status: 204, headers: PREFLIGHT });
    send(call, { status: 200, headers: { ...TEXT, ...CORS, "x-old-system": "read me" }, body: "shared\n" });
  },
  "/ws": (call) => sendFault(call, 426, "a WebSocket is spoken here", { upgrade: "websocket", connection: "upgrade" }),
};

/** Headers as received, in order, with repeated names kept apart. @param {string[]} raw @returns {[string, string][]} */
export function pairs(raw) {
  return Array.from({ length: raw.length / 2 }, (_, at) => [raw[2 * at], raw[2 * at + 1]]);
}

/** @param {AsyncIterable<Buffer>} body */
async function digest(body) {
  const sha256 = createHash("sha256");
  let bytes = 0;
  for await (const chunk of body) {
    bytes += chunk.length;
    sha256.update(chunk);
  }
  return { body_bytes: bytes, body_sha256: sha256.digest("hex") };
}

/** Sends this many bytes, no faster than the caller reads them. @param {Call} call @param {number} bytes */
async function download({ request, response }, bytes) {
  response.writeHead(200, { "content-type": "application/octet-stream", "content-length": String(bytes) });
  const gone = new AbortController();
  response.once("close", () => gone.abort());
  for (let left = request.method === "HEAD" ? 0 : bytes; left > 0 && !response.destroyed; left -= PATTERN.length) {
    if (response.write(PATTERN.subarray(0, left))) continue;
    // If the caller closes the connection, `drain` never comes.
    await once(response, "drain", { signal: gone.signal }).catch(() => {});
  }
  response.end();
}

/** @param {Call} call @param {string} name @param {import("./settings.js").Limit} limit @param {number} unset */
function numberOf({ query }, name, limit, unset) {
  const given = new URLSearchParams(query ?? "").get(name);
  return given === null ? unset : parseNumber(name, given, limit);
}

/** Waits, without keeping the process of a stopped server alive. @param {number} ms */
function wait(ms) {
  return sleep(ms, undefined, { ref: false });
}
