// A request to the mock legacy system, and functions that respond to it.

/**
 * @typedef {object} RequestContext
 * @property {import("node:http").IncomingMessage} request
 * @property {import("node:http").ServerResponse} response
 * @property {string} path up to the first `?`, as received, not decoded or normalised
 * @property {string | null} query after the first `?`, as received; null without a `?`
 * @property {AsyncIterable<Buffer>} body the chunks of the body, whose bytes are counted as they are read
 */

/** @typedef {Record<string, string | string[]>} HeaderMap */
/** @typedef {{ status: number, headers: HeaderMap, body?: Buffer | string }} HttpResponse */

/** Sends a response with its content length. @param {RequestContext} context @param {HttpResponse} httpResponse */
export function send({ response }, { status, headers, body }) {
  const length = body === undefined ? {} : { "content-length": String(Buffer.byteLength(body)) };
  response.writeHead(status, { ...headers, ...length });
  response.end(body);
}

/** @param {RequestContext} context @param {number} status @param {unknown} value @param {HeaderMap} [headers] */
export function sendJson(context, status, value, headers = {}) {
  send(context, { status, headers: { "content-type": "application/json", ...headers }, body: JSON.stringify(value) });
}

/** @param {RequestContext} context @param {number} status @param {string} message @param {HeaderMap} [headers] */
export function sendError(context, status, message, headers) {
  sendJson(context, status, { error: message }, headers);
}

/** Whether the method is one of `methods`; if not, sends 405. @param {RequestContext} context @param {string[]} methods */
export function checkMethod(context, methods) {
  if (methods.includes(context.request.method ?? "")) return true;
  sendError(context, 405, "method not allowed", { allow: methods.join(", ") });
  return false;
}

/**
 * Reads the whole body. If it is above the limit, sends 413 at once and returns null. The rest of the
 * body is still read and dropped; otherwise the caller could not read the response.
 *
 * @param {RequestContext} context
 * @param {number} limit in bytes
 */
export async function readBody(context, limit) {
  const refuse = () => sendError(context, 413, `body is above the limit of ${limit} bytes`);
  if (Number(context.request.headers["content-length"]) > limit) refuse();
  /** @type {Buffer[]} */
  const chunks = [];
  let bytes = 0;
  for await (const chunk of context.body) {
    bytes += chunk.length;
    if (context.response.headersSent) continue;
    if (bytes > limit) refuse();
    else chunks.push(chunk);
  }
  return context.response.headersSent ? null : Buffer.concat(chunks);
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

/** Resets a connection without a response, as a crash does. @param {RequestContext} context */
export function resetConnection({ request }) {
  request.socket.resetAndDestroy();
}

/** Sends the head of a response and a part of its body, and closes the connection. @param {RequestContext} context @param {HeaderMap} headers */
export function sendHalf({ request, response }, headers) {
  response.writeHead(200, { ...headers, "content-length": "100" });
  response.write("only these", () => request.socket.destroySoon());
}

/** Writes bytes that are not HTTP, and closes the connection. @param {RequestContext} context */
export function sendInvalidHttp({ request }) {
  request.socket.write(Buffer.from("\x00\x01 this is not HTTP \xff\r\n\r\n", "latin1"));
  request.socket.destroySoon();
}
