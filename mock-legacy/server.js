// The mock legacy system with the interface of v2.4.2 (docs/legacy.md): a classifier and the ordinary web
// app around it. It is for `make dev` and tests, and has no access control.
//
// It prints the address on which it listens, and nothing about the requests.

import { createServer, ServerResponse } from "node:http";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { WebSocketServer } from "ws";
import { parseJson, readBody, send, sendFault, sendJson, takes } from "./answer.js";
import { BODY_BYTES_MAX, predictDoor } from "./predict.js";
import { PROBES, pairs } from "./probes.js";
import { DEFAULTS, LIMITS, PORT, SEED, SettingFault, checkNumber, checkSettings, parseNumber } from "./settings.js";
import { notFound, pageFor } from "./site.js";

/** @typedef {import("node:http").IncomingMessage} IncomingMessage */
/** @typedef {import("./answer.js").Call} Call */
/** @typedef {import("./settings.js").Settings} Settings */

/**
 * The record of a request. `body_bytes` counts the bytes of the body that its endpoint has read so far.
 * An endpoint that needs no body reads none, except the pages, which read all of it.
 *
 * @typedef {{ method: string, url: string, headers: [string, string][], body_bytes: number }} Seen
 */

/** Number of requests that are kept, the latest ones. */
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
export async function startMockLegacy({ port = 0, seed = 1, ...given } = {}) {
  checkNumber("port", port, PORT);
  checkNumber("seed", seed, SEED);
  const settings = { ...DEFAULTS, ...checkSettings(given) };
  /** @type {Seen[]} */
  const requests = [];
  const doors = {
    ...PROBES,
    "/predict": predictDoor(() => settings, seed),
    "/_mock-legacy/settings": (/** @type {Call} */ call) => settingsDoor(call, settings),
  };

  /** @param {IncomingMessage} request */
  function note({ method = "", url = "", rawHeaders }) {
    const seen = { method, url, headers: pairs(rawHeaders), body_bytes: 0 };
    if (requests.push(seen) > REQUESTS_MAX) requests.shift();
    return seen;
  }

  /** @param {IncomingMessage} request @param {ServerResponse} response @param {Seen} [seen] */
  async function answer(request, response, seen = note(request)) {
    const call = { request, response, ...parted(seen.url), body: counted(request, seen) };
    const door = Object.hasOwn(doors, call.path) ? doors[/** @type {keyof typeof doors} */ (call.path)] : site;
    try {
      await door(call);
    } catch (error) {
      failed(call, error);
    }
  }

  const server = createServer({ keepAliveTimeout: KEEP_ALIVE_MS }, answer);
  const sockets = new WebSocketServer({
    noServer: true,
    handleProtocols: (offered) => (offered.has(SUBPROTOCOL) ? SUBPROTOCOL : false),
  });
  server.on("upgrade", (request, socket, head) => {
    const seen = note(request);
    socket.on("error", () => {});
    if (parted(seen.url).path === "/ws" && request.headers.upgrade?.toLowerCase() === "websocket") {
      return sockets.handleUpgrade(request, socket, head, (peer) => echo(peer, request));
    }
    // Any other upgrade is ignored (RFC 9110, section 7.8): the request gets its normal response.
    const response = new ServerResponse(request);
    response.shouldKeepAlive = false;
    response.assignSocket(/** @type {import("node:net").Socket} */ (socket));
    response.once("finish", () => socket.end());
    void answer(request, response, seen);
  });

  await new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, "127.0.0.1", () => resolve(undefined));
  });
  const address = /** @type {import("node:net").AddressInfo} */ (server.address());

  /** Stops the server and ends every connection. A second call does nothing. */
  async function stop() {
    for (const peer of sockets.clients) peer.terminate();
    const closed = new Promise((resolve) => server.close(resolve));
    server.closeAllConnections();
    await closed;
  }

  return { origin: `http://127.0.0.1:${address.port}`, settings, requests, stop };
}

/** Handles every other path: pages, for GET and HEAD. @param {Call} call */
async function site(call) {
  // A page needs no body, but reading it counts its bytes and keeps the connection usable.
  for await (const _ of call.body);
  const found = pageFor({ headers: call.request.headers, path: call.path, query: call.query });
  if (!found || found.status === 404) return send(call, found ?? notFound());
  if (takes(call, ["GET", "HEAD"])) send(call, found);
}

/** @param {Call} call @param {Settings} settings */
async function settingsDoor(call, settings) {
  if (!takes(call, ["GET", "HEAD", "PUT"])) return;
  if (call.request.method === "PUT") {
    const bytes = await readBody(call, BODY_BYTES_MAX);
    if (bytes === null) return;
    Object.assign(settings, checkSettings(parseJson(bytes)));
  }
  sendJson(call, 200, settings, { "cache-control": "no-store" });
}

/**
 * Sends every message back unchanged. `/ws?close=4001` closes with that code after the first message.
 *
 * @param {import("ws").WebSocket} peer
 * @param {IncomingMessage} request
 */
function echo(peer, request) {
  const code = Number(new URLSearchParams(parted(request.url ?? "").query ?? "").get("close"));
  peer.on("error", () => {});
  peer.on("message", (data, isBinary) => {
    peer.send(data, { binary: isBinary });
    if (code >= 3000 && code < 5000) peer.close(code, "as asked");
  });
}

/** Path and query of a request target, unchanged; the query is null without a `?`. @param {string} url */
function parted(url) {
  const at = url.indexOf("?");
  return at < 0 ? { path: url, query: null } : { path: url.slice(0, at), query: url.slice(at + 1) };
}

/**
 * The body's chunks; adds their sizes to `body_bytes`.
 *
 * @param {IncomingMessage} request
 * @param {Seen} seen
 * @returns {AsyncIterable<Buffer>}
 */
async function* counted(request, seen) {
  for await (const chunk of request) {
    seen.body_bytes += chunk.length;
    yield chunk;
  }
}

/** @param {Call} call @param {unknown} error */
function failed(call, error) {
  // The caller closed the connection, so no response is possible.
  if (call.request.socket.destroyed) return;
  if (error instanceof SettingFault && !call.response.headersSent) return sendFault(call, 400, error.message);
  // An error's message can quote a text, so print only its place in the source.
  const place = error instanceof Error ? /\n\s+(at .*)/.exec(error.stack ?? "")?.[1] : undefined;
  console.error(`error: internal error ${place ?? "at an unknown place"}`);
  if (call.response.headersSent) call.request.socket.destroy();
  else sendFault(call, 500, "internal error");
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
  const text = /** @type {const} */ ({ type: "string" });
  const names = { port: text, seed: text, "latency-ms": text, "error-rate": text, "wrong-label-rate": text };
  const { values } = parseArgs({ options: { ...names, help: { type: "boolean" } } });
  if (values.help) return void process.stdout.write(HELP);
  const { help: _, ...given } = values;
  /** @type {Record<string, number>} */
  const options = { port: 8789 };
  for (const [name, value] of Object.entries(given)) {
    const key = name.replaceAll("-", "_");
    const limit = { port: PORT, seed: SEED }[key] ?? LIMITS[/** @type {keyof Settings} */ (key)];
    options[key] = parseNumber(`--${name}`, value, limit);
  }
  const { origin, stop } = await startMockLegacy(options);
  console.log(`mock legacy system on ${origin}`);
  for (const name of /** @type {const} */ (["SIGINT", "SIGTERM"])) process.once(name, stop);
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  main().catch((error) => {
    const taken = error.code === "EADDRINUSE" ? `port ${error.port} is in use` : error.message;
    console.error(`error: ${taken}\nSee node mock-legacy/server.js --help`);
    process.exit(2);
  });
}
