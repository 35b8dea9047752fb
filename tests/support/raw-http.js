// HTTP without changes: `fetch` would decompress bodies, follow redirects, fold headers and normalise paths.

import { request } from "node:http";
import { connect } from "node:net";

/** @typedef {{ status: number, message: string, headers: [string, string][], body: Buffer }} RawResponse */

/**
 * Sends one request on its own connection and returns the whole response without decoding. Rejects if
 * the response is truncated.
 *
 * @param {string} origin
 * @param {string} path sent without changes
 * @param {{ method?: string, headers?: Record<string, string | string[]>, body?: string | Uint8Array }} [options]
 * @returns {Promise<RawResponse>}
 */
export function fetchRaw(origin, path, { method = "GET", headers = {}, body } = {}) {
  const { hostname, port } = new URL(origin);
  return new Promise((resolve, reject) => {
    const outgoing = request({ hostname, port, path, method, headers, agent: false }, async (response) => {
      /** @type {Buffer[]} */
      const chunks = [];
      try {
        for await (const chunk of response) chunks.push(chunk);
      } catch (error) {
        return reject(error);
      }
      const { statusCode: status = 0, statusMessage: message = "", rawHeaders: raw } = response;
      const pairs = Array.from({ length: raw.length / 2 }, (_, index) => /** @type {[string, string]} */ ([raw[2 * index].toLowerCase(), raw[2 * index + 1]]));
      resolve({ status, message, headers: pairs, body: Buffer.concat(chunks) });
    });
    outgoing.on("error", reject);
    outgoing.end(body);
  });
}

/** All values of a header; `name` in lower case. @param {RawResponse} response @param {string} name */
export function headerValues({ headers }, name) {
  return headers.filter(([key]) => key === name).map(([, value]) => value);
}

/**
 * Sends bytes, closes this side of the connection, and returns everything received and whether the other
 * side reset the connection. After a reset the last bytes may be missing.
 *
 * @param {string} origin
 * @param {string} bytes one byte per character
 */
export async function sendBytes(origin, bytes) {
  const socket = connect({ port: Number(new URL(origin).port), host: "127.0.0.1", allowHalfOpen: true });
  let text = "";
  let reset = false;
  socket.setEncoding("latin1").on("data", (chunk) => (text += chunk));
  // Not `events.once`, which would reject on an error before the end.
  const closed = new Promise((resolve) => socket.on("error", () => (reset = true)).on("close", resolve));
  socket.end(bytes, "latin1");
  await closed;
  return { text, reset };
}
