// A request to the mock legacy system, and functions that answer it.

/**
 * @typedef {object} Call
 * @property {import("node:http").IncomingMessage} request
 * @property {import("node:http").ServerResponse} response
 * @property {string} path up to the first `?`, as received, not decoded or normalised
 * @property {string | null} query after the first `?`, as received; null without a `?`
 * @property {AsyncIterable<Buffer>} body the chunks of the body, whose bytes are counted as they are read
 */

/** @typedef {Record<string, string | string[]>} Headers */
/** @typedef {{ status: number, headers: Headers, body?: Buffer | string }} Answer */

/** Sends an answer with its content length. @param {Call} call @param {Answer} answer */
export function send({ response }, { status, headers, body }) {
  const length = body === undefined ? {} : { "content-length": String(Buffer.byteLength(body)) };
  response.writeHead(status, { ...headers, ...length });
  response.end(body);
}

/** @param {Call} call @param {number} status @param {unknown} value @param {Headers} [headers] */
export function sendJson(call, status, value, headers = {}) {
  send(call, { status, headers: { "content-type": "application/json", ...headers }, body: JSON.stringify(value) });
}

/** @param {Call} call @param {number} status @param {string} message @param {Headers} [headers] */
export function sendFault(call, status, message, headers) {
  sendJson(call, status, { error: message }, headers);
}

/** Whether the method is one of `methods`; if not, sends 405. @param {Call} call @param {string[]} methods */
export function takes(call, methods) {
  if (methods.includes(call.request.method ?? "")) return true;
  sendFault(call, 405, "method not allowed", { allow: methods.join(", ") });
  return false;
}

/**
 * Reads the whole body. If it is above the limit, sends 413 at once and returns null. The rest of the
 * body is still read and dropped; otherwise the caller could not read the response.
 *
 * @param {Call} call
 * @param {number} limit in bytes
 */
export async function readBody(call, limit) {
  const refuse = () => sendFault(call, 413, `body is above the limit of ${limit} bytes`);
  if (Number(call.request.headers["content-length"]) > limit) refuse();
  /** @type {Buffer[]} */
  const kept = [];
  let bytes = 0;
  for await (const chunk of call.body) {
    bytes += chunk.length;
    if (call.response.headersSent) continue;
    if (bytes > limit) refuse();
    else kept.push(chunk);
  }
  return call.response.headersSent ? null : Buffer.concat(kept);
}

/**
 * Parses JSON in UTF-8; `undefined` if it is not valid. The parser's message is dropped because it can quote the text.
 *
 * @param {Buffer} bytes
 */
export function parseJson(bytes) {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    return undefined;
  }
}

/** Resets a connection without a response, as a crash does. @param {Call} call */
export function reset({ request }) {
  request.socket.resetAndDestroy();
}

/** Writes bytes that are not HTTP, and closes the connection. @param {Call} call */
export function garble({ request }) {
  request.socket.write(Buffer.from("\x00\x01 this is not HTTP \xff\r\n\r\n", "latin1"));
  request.socket.destroySoon();
}
