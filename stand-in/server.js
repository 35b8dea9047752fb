// A stand-in for the old system, v2.4.2, as docs/legacy.md describes it: the classifier that a gate
// stands in front of, and the ordinary web app around it. For `make dev` and tests; it is not secured.
//
// It prints where it listens and nothing of what it is asked.

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
 * What is kept of a request. `body_bytes` is how much of the body its door has read so far: most read
 * all of it, a WebSocket and the doors that break nothing.
 *
 * @typedef {{ method: string, url: string, headers: [string, string][], body_bytes: number }} Seen
 */

/** So many requests are kept, the last ones. */
const REQUESTS_MAX = 1000;

/** A proxy keeps connections for later; were they closed after Node's 5 s, it could meet one closing. */
const KEEP_ALIVE_MS = 120_000;

/** The WebSocket subprotocol that is spoken here. */
const SUBPROTOCOL = "jeffrey-test";

/**
 * Starts it on 127.0.0.1 and waits until it listens.
 *
 * `settings` are those of now: a test may change them, within their limits. `requests` is what reached
 * it, oldest first, at most the last 1000.
 *
 * @param {{ port?: number, seed?: number } & Partial<Settings>} [options] port 0, unless told otherwise: any
 *   free one.
 */
export async function startStandIn({ port = 0, seed = 1, ...given } = {}) {
  checkNumber("port", port, PORT);
  checkNumber("seed", seed, SEED);
  const settings = { ...DEFAULTS, ...checkSettings(given) };
  /** @type {Seen[]} */
  const requests = [];
  const doors = {
    ...PROBES,
    "/predict": predictDoor(() => settings, seed),
    "/_stand-in/settings": (/** @type {Call} */ call) => settingsDoor(call, settings),
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
    // An upgrade that is not wanted is ignored, as RFC 9110 has it: the request is answered as it stands.
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

  /** Ends every connection. A second call does nothing. */
  async function stop() {
    for (const peer of sockets.clients) peer.terminate();
    const closed = new Promise((resolve) => server.close(resolve));
    server.closeAllConnections();
    await closed;
  }

  return { origin: `http://127.0.0.1:${address.port}`, settings, requests, stop };
}

/** Everything that is no door of its own: pages, to GET and HEAD. @param {Call} call */
async function site(call) {
  // A page needs no body, but one that is there is counted, and read so that the connection can go on.
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
 * Sends every message back as it came. `/ws?close=4001` closes with that code after the first one.
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

/** Path and query of a request target, as they are. @param {string} url */
function parted(url) {
  const at = url.indexOf("?");
  return at < 0 ? { path: url, query: null } : { path: url.slice(0, at), query: url.slice(at + 1) };
}

/** @param {IncomingMessage} request @param {Seen} seen @returns {AsyncIterable<Buffer>} */
async function* counted(request, seen) {
  for await (const chunk of request) {
    seen.body_bytes += chunk.length;
    yield chunk;
  }
}

/** @param {Call} call @param {unknown} error */
function failed(call, error) {
  // The caller hung up: nobody is left to answer.
  if (call.request.socket.destroyed) return;
  if (error instanceof SettingFault && !call.response.headersSent) return sendFault(call, 400, error.message);
  // A message could quote a text; the place in the source cannot.
  const place = error instanceof Error ? /\n\s+(at .*)/.exec(error.stack ?? "")?.[1] : undefined;
  console.error(`error: internal error ${place ?? "at an unknown place"}`);
  if (call.response.headersSent) call.request.socket.destroy();
  else sendFault(call, 500, "internal error");
}

const HELP = `Stands in for the old system, v2.4.2 (docs/legacy.md).

Usage: node stand-in/server.js [options]

  --port N              0 to 65535; 0 is any free one [8789]
  --latency-ms MS       mean wait before an answer of /predict, 0 to 60000 [${DEFAULTS.latency_ms}]
  --error-rate R        part of /predict answered 500, 0 to 1 [${DEFAULTS.error_rate}]
  --wrong-label-rate R  part of /predict answered with a wrong label, 0 to 1 [${DEFAULTS.wrong_label_rate}]
  --seed N              of scores, errors and wrong labels, 0 to 4294967295 [1]
  --help

Latency and rates can be changed while it runs: PUT /_stand-in/settings {"latency_ms": 250}
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
  const { origin, stop } = await startStandIn(options);
  console.log(`stand-in on ${origin}`);
  for (const name of /** @type {const} */ (["SIGINT", "SIGTERM"])) process.once(name, stop);
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  main().catch((error) => {
    const taken = error.code === "EADDRINUSE" ? `port ${error.port} is in use` : error.message;
    console.error(`error: ${taken}\nSee node stand-in/server.js --help`);
    process.exit(2);
  });
}
