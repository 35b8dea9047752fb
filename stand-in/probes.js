// Doors that show what a proxy does to a request, an answer, a stream or a broken connection.

import { createHash } from "node:crypto";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { garble, reset, send, sendFault, sendJson, takes } from "./answer.js";
import { CORS, PREFLIGHT } from "./predict.js";
import { WAIT, parseNumber } from "./settings.js";

/** @typedef {import("./answer.js").Call} Call */

const TEXT = { "content-type": "text/plain; charset=utf-8" };

const DOWNLOAD = { least: 0, most: 10 * 1024 ** 3, unit: "bytes", whole: true };

/** Byte i is i mod 251: prime, so no power of two repeats with it and a lost or doubled block shows. */
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
      // Written at once, they would travel as one.
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

/** Headers as received, in order, none folded into another. @param {string[]} raw @returns {[string, string][]} */
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

/** Writes no faster than the caller reads. @param {Call} call @param {number} bytes */
async function download({ request, response }, bytes) {
  response.writeHead(200, { "content-type": "application/octet-stream", "content-length": String(bytes) });
  const gone = new AbortController();
  response.once("close", () => gone.abort());
  for (let left = request.method === "HEAD" ? 0 : bytes; left > 0 && !response.destroyed; left -= PATTERN.length) {
    if (response.write(PATTERN.subarray(0, left))) continue;
    // A caller who hangs up never drains.
    await once(response, "drain", { signal: gone.signal }).catch(() => {});
  }
  response.end();
}

/** @param {Call} call @param {string} name @param {import("./settings.js").Limit} limit @param {number} unset */
function numberOf({ query }, name, limit, unset) {
  const given = new URLSearchParams(query ?? "").get(name);
  return given === null ? unset : parseNumber(name, given, limit);
}

/** A pending wait does not keep a stopped server's process alive. @param {number} ms */
function wait(ms) {
  return sleep(ms, undefined, { ref: false });
}
