// HTTP as it is written: `fetch` would decompress, follow redirects, fold headers and clean paths.

import { request } from "node:http";
import { connect } from "node:net";

/** @typedef {{ status: number, message: string, headers: [string, string][], body: Buffer }} Reply */

/**
 * One request on a connection of its own, and its whole answer, nothing decoded. Rejects when the
 * answer breaks off.
 *
 * @param {string} origin
 * @param {string} path as it is sent
 * @param {{ method?: string, headers?: Record<string, string | string[]>, body?: string | Uint8Array }} [options]
 * @returns {Promise<Reply>}
 */
export function ask(origin, path, { method = "GET", headers = {}, body } = {}) {
  const { hostname, port } = new URL(origin);
  return new Promise((resolve, reject) => {
    const asking = request({ hostname, port, path, method, headers, agent: false }, async (response) => {
      /** @type {Buffer[]} */
      const chunks = [];
      try {
        for await (const chunk of response) chunks.push(chunk);
      } catch (error) {
        return reject(error);
      }
      const { statusCode: status = 0, statusMessage: message = "", rawHeaders: raw } = response;
      const pairs = Array.from({ length: raw.length / 2 }, (_, at) => /** @type {[string, string]} */ ([raw[2 * at].toLowerCase(), raw[2 * at + 1]]));
      resolve({ status, message, headers: pairs, body: Buffer.concat(chunks) });
    });
    asking.on("error", reject);
    asking.end(body);
  });
}

/** The values of a header. @param {Reply} reply @param {string} name */
export function values({ headers }, name) {
  return headers.filter(([key]) => key === name).map(([, value]) => value);
}

/**
 * Everything that a connection answers to these bytes, after which our side is closed, and whether the
 * other side reset it: then the last of its answer may be lost on the way.
 *
 * @param {string} origin
 * @param {string} bytes one a character
 */
export async function spoken(origin, bytes) {
  const socket = connect({ port: Number(new URL(origin).port), host: "127.0.0.1", allowHalfOpen: true });
  let text = "";
  let reset = false;
  socket.setEncoding("latin1").on("data", (chunk) => (text += chunk));
  // Not `events.once`, which rejects for an error before the end.
  const closed = new Promise((resolve) => socket.on("error", () => (reset = true)).on("close", resolve));
  socket.end(bytes, "latin1");
  await closed;
  return { text, reset };
}
