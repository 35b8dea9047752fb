// The mock legacy system with the interface of v2.4.2 (docs/legacy.md): a classifier and the ordinary web
// app around it. It is for `make dev` and tests, and has no access control.
//
// It prints the address on which it listens, and nothing about the requests.

import { createServer, ServerResponse } from "node:http";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { WebSocketServer } from "ws";
import { parseJson, readBody, send, sendError, sendJson, checkMethod } from "./answer.js";
import { BODY_BYTES_MAX, createPredictHandler } from "./predict.js";
import { PROXY_TEST_HANDLERS, toHeaderPairs } from "./probes.js";
import { DEFAULTS, LIMITS, PORT_LIMIT, SEED_LIMIT, SettingError, checkNumber, checkSettings, parseNumber } from "./settings.js";
import { notFoundResponse, pageResponse } from "./site.js";

/** @typedef {import("node:http").IncomingMessage} IncomingMessage */
/** @typedef {import("./answer.js").RequestContext} RequestContext */
/** @typedef {import("./settings.js").Settings} Settings */

/**
 * The record of a request. `body_bytes` counts the bytes of the body that its endpoint has read so far.
 * An endpoint that needs no body reads none, except the pages, which read all of it.
 *
 * @typedef {{ method: string, url: string, headers: [string, string][], body_bytes: number }} RecordedRequest
 */

/** Maximum number of recorded requests; older ones are dropped. */
const REQUESTS_MAX = 1000;

/** Node's 5 s would be too short: a proxy could send a request on a connection that is just closing. */
const KEEP_ALIVE_MS = 120_000;

/** The only WebSocket subprotocol that the mock accepts. */
const SUBPROTOCOL = "jeffrey-test";

/**
 * Starts the mock on 127.0.0.1 and waits until it listens.
 *
 * `settings` are the current settings; a test may change them within their limits. `requests` are the last
 * requests that arrived, oldest first, at most 1000.
 *
 * @param {{ port?: number, seed?: number } & Partial<Settings>} [options] `port`: 0, the
 *   default, is any free one.
 */
export async function startMockLegacy({ port = 0, seed = 1, ...initialSettings } = {}) {
  checkNumber("port", port, PORT_LIMIT);
  checkNumber("seed", seed, SEED_LIMIT);
  const settings = { ...DEFAULTS, ...checkSettings(initialSettings) };
  /** @type {RecordedRequest[]} */
  const requests = [];
  const handlers = {
    ...PROXY_TEST_HANDLERS,
    "/predict": createPredictHandler(() => settings, seed),
    "/_mock-legacy/settings": (/** @type {RequestContext} */ context) => handleSettings(context, settings),
  };

  /** @param {IncomingMessage} request */
  function recordRequest({ method = "", url = "", rawHeaders }) {
    const record = { method, url, headers: toHeaderPairs(rawHeaders), body_bytes: 0 };
    if (requests.push(record) > REQUESTS_MAX) requests.shift();
    return record;
  }

  /** @param {IncomingMessage} request @param {ServerResponse} response @param {RecordedRequest} [record] */
  async function handleRequest(request, response, record = recordRequest(request)) {
    const context = { request, response, ...splitTarget(record.url), body: countBytes(request, record) };
    const handler = Object.hasOwn(handlers, context.path) ? handlers[/** @type {keyof typeof handlers} */ (context.path)] : handlePage;
    try {
      await handler(context);
    } catch (error) {
      handleError(context, error);
    }
  }

  const server = createServer({ keepAliveTimeout: KEEP_ALIVE_MS }, handleRequest);
  const webSockets = new WebSocketServer({
    noServer: true,
    handleProtocols: (offered) => (offered.has(SUBPROTOCOL) ? SUBPROTOCOL : false),
  });
  server.on("upgrade", (request, socket, head) => {
    const record = recordRequest(request);
    socket.on("error", () => {});
    if (splitTarget(record.url).path === "/ws" && request.headers.upgrade?.toLowerCase() === "websocket") {
      return webSockets.handleUpgrade(request, socket, head, (peer) => echoMessages(peer, request));
    }
    // Any other upgrade is ignored (RFC 9110, section 7.8): the request gets its normal response.
    const response = new ServerResponse(request);
    response.shouldKeepAlive = false;
    response.assignSocket(/** @type {import("node:net").Socket} */ (socket));
    response.once("finish", () => socket.end());
    void handleRequest(request, response, record);
  });

  await new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, "127.0.0.1", () => resolve(undefined));
  });
  const address = /** @type {import("node:net").AddressInfo} */ (server.address());

  /** Stops the server and ends every connection. A second call does nothing. */
  async function stop() {
    for (const peer of webSockets.clients) peer.terminate();
    const closed = new Promise((resolve) => server.close(resolve));
    server.closeAllConnections();
    await closed;
  }

  return { origin: `http://127.0.0.1:${address.port}`, settings, requests, stop };
}

/** Handles every other path: pages, for GET and HEAD. @param {RequestContext} context */
async function handlePage(context) {
  // A page needs no body, but reading it counts its bytes and keeps the connection usable.
  for await (const _ of context.body);
  const page = pageResponse({ headers: context.request.headers, path: context.path, query: context.query });
  if (!page || page.status === 404) return send(context, page ?? notFoundResponse());
  if (checkMethod(context, ["GET", "HEAD"])) send(context, page);
}

/** @param {RequestContext} context @param {Settings} settings */
async function handleSettings(context, settings) {
  if (!checkMethod(context, ["GET", "HEAD", "PUT"])) return;
  if (context.request.method === "PUT") {
    const bytes = await readBody(context, BODY_BYTES_MAX);
    if (bytes === null) return;
    Object.assign(settings, checkSettings(parseJson(bytes)));
  }
  sendJson(context, 200, settings, { "cache-control": "no-store" });
}

/**
 * Sends every message back unchanged. `/ws?close=4001` closes with that code after the first message.
 *
 * @param {import("ws").WebSocket} peer
 * @param {IncomingMessage} request
 */
function echoMessages(peer, request) {
  const closeCode = Number(new URLSearchParams(splitTarget(request.url ?? "").query ?? "").get("close"));
  peer.on("error", () => {});
  peer.on("message", (data, isBinary) => {
    peer.send(data, { binary: isBinary });
    if (closeCode >= 3000 && closeCode < 5000) peer.close(closeCode, "close requested");
  });
}

/** Path and query of a request target, unchanged; the query is null without a `?`. @param {string} url */
function splitTarget(url) {
  const queryStart = url.indexOf("?");
  return queryStart < 0 ? { path: url, query: null } : { path: url.slice(0, queryStart), query: url.slice(queryStart + 1) };
}

/**
 * The body's chunks; adds their sizes to `body_bytes`.
 *
 * @param {IncomingMessage} request
 * @param {RecordedRequest} record
 * @returns {AsyncIterable<Buffer>}
 */
async function* countBytes(request, record) {
  for await (const chunk of request) {
    record.body_bytes += chunk.length;
    yield chunk;
  }
}

/** @param {RequestContext} context @param {unknown} error */
function handleError(context, error) {
  // The caller closed the connection, so no response is possible.
  if (context.request.socket.destroyed) return;
  if (error instanceof SettingError && !context.response.headersSent) return sendError(context, 400, error.message);
  // An error's message can quote a text, so print only its place in the source.
  const sourceLine = error instanceof Error ? /\n\s+(at .*)/.exec(error.stack ?? "")?.[1] : undefined;
  console.error(`error: internal error ${sourceLine ?? "at an unknown place"}`);
  if (context.response.headersSent) context.request.socket.destroy();
  else sendError(context, 500, "internal error");
}

const HELP = `Runs the mock legacy system, with the interface of v2.4.2 (docs/legacy.md).

Usage: node mock-legacy/server.js [options]

  --port N              port, 0 to 65535; 0 is any free port [8789]
  --latency-ms MS       mean delay of a /predict response, 0 to 60000 ms [${DEFAULTS.latency_ms}]
  --error-rate R        fraction of /predict requests answered with 500, 0 to 1 [${DEFAULTS.error_rate}]
  --wrong-label-rate R  fraction of /predict requests answered with a wrong label, 0 to 1 [${DEFAULTS.wrong_label_rate}]
  --seed N              seed of scores, errors and wrong labels, 0 to 4294967295 [1]
  --help                show this help

To change latency and rates while it runs: PUT /_mock-legacy/settings {"latency_ms": 250}
`;

async function main() {
  const stringFlag = /** @type {const} */ ({ type: "string" });
  const stringFlags = { port: stringFlag, seed: stringFlag, "latency-ms": stringFlag, "error-rate": stringFlag, "wrong-label-rate": stringFlag };
  const { values } = parseArgs({ options: { ...stringFlags, help: { type: "boolean" } } });
  if (values.help) return void process.stdout.write(HELP);
  const { help: _, ...flags } = values;
  /** @type {Record<string, number>} */
  const options = { port: 8789 };
  for (const [name, value] of Object.entries(flags)) {
    const key = name.replaceAll("-", "_");
    const limit = { port: PORT_LIMIT, seed: SEED_LIMIT }[key] ?? LIMITS[/** @type {keyof Settings} */ (key)];
    options[key] = parseNumber(`--${name}`, value, limit);
  }
  const { origin, stop } = await startMockLegacy(options);
  console.log(`mock legacy system on ${origin}`);
  for (const signal of /** @type {const} */ (["SIGINT", "SIGTERM"])) process.once(signal, stop);
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  main().catch((error) => {
    const message = error.code === "EADDRINUSE" ? `port ${error.port} is in use` : error.message;
    console.error(`error: ${message}\nSee node mock-legacy/server.js --help`);
    process.exit(2);
  });
}
