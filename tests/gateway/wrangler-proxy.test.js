// The proxy of `wrangler dev` with the changes of scripts/wrangler-proxy.js: it repeats a request after a lost connection.

import assert from "node:assert/strict";
import { once } from "node:events";
import fs from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { Miniflare } from "miniflare";
import { ROOT } from "../support/wrangler.js";
import "../../scripts/wrangler-proxy.js";

const SECRET = "the test";

/** @type {Miniflare} */
let proxy;
/** @type {URL} */
let origin;
/** @type {import("node:http").Server[]} */
const servers = [];

before(async () => {
  const path = join(ROOT, "node_modules/wrangler/wrangler-dist/ProxyWorker.js");
  proxy = new Miniflare({
    modules: [{ type: "ESModule", path: "ProxyWorker.js", contents: fs.readFileSync(path, "utf8") }],
    compatibilityDate: "2023-12-18",
    compatibilityFlags: ["nodejs_compat"],
    durableObjects: { DURABLE_OBJECT: "ProxyWorker" },
    serviceBindings: { PROXY_CONTROLLER: () => new Response(null, { status: 204 }) },
    bindings: { PROXY_CONTROLLER_AUTH_SECRET: SECRET },
  });
  origin = await proxy.ready;
});
after(async () => {
  await proxy?.dispose();
  for (const server of servers) server.closeAllConnections();
  for (const server of servers) server.close();
});

/** Starts a server behind the proxy that closes the connection of its first `lostCount` requests. @param {number} lostCount @param {Promise<unknown>} [wait] before it closes or responds */
async function startWorker(lostCount, wait = Promise.resolve()) {
  /** @type {string[]} */
  const requests = [];
  const server = createServer(async (request, response) => {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const body = Buffer.concat(chunks).toString();
    requests.push(`${request.method} ${request.url} ${body.length > 100 ? body.length : body}`);
    await wait;
    if (requests.length <= lostCount) return request.socket.destroy();
    response.end(`answered: ${body}`);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = /** @type {import("node:net").AddressInfo} */ (server.address());
  servers.push(server);
  await setUserWorker(port);
  return requests;
}

/** Sets the Worker behind the proxy, as wrangler does. @param {number} port */
async function setUserWorker(port) {
  const userWorkerUrl = { protocol: "http:", hostname: "127.0.0.1", port: String(port) };
  const cf = { hostMetadata: { type: "play", proxyData: { userWorkerUrl, headers: {} } } };
  await proxy.dispatchFetch("http://dummy/cdn-cgi/ProxyWorker/play", { headers: { Authorization: SECRET }, cf: /** @type {any} */ (cf) });
}

/** @param {string} path @param {RequestInit} [init] */
async function send(path, init) {
  const response = await fetch(new URL(path, origin), init);
  return [response.status, (await response.text()).slice(0, 40)];
}

test("a lost request is sent again without waiting for another request", { timeout: 60_000 }, async () => {
  const requests = await startWorker(1);
  assert.deepEqual(await send("/path"), [200, "answered: "]);
  assert.deepEqual(requests, ["GET /path ", "GET /path "]);
});

test("a short body is sent again whole after each of three lost connections", { timeout: 60_000 }, async () => {
  const requests = await startWorker(3);
  assert.deepEqual(await send("/", { method: "POST", body: "a short body" }), [200, "answered: a short body"]);
  assert.deepEqual(requests, Array(4).fill("POST / a short body"));
});

test("a long body, a request lost eleven times and a POST to a replaced Worker get 503", { timeout: 60_000 }, async () => {
  const restarted = "Your worker restarted mid-request. Pleas";
  const body = "x".repeat(65_537);
  const longRequests = await startWorker(1);
  assert.deepEqual(await send("/path", { method: "POST", body }), [503, restarted]);
  assert.deepEqual(longRequests, ["POST /path 65537"]);

  const lostRequests = await startWorker(1_000);
  assert.deepEqual(await send("/path", { method: "POST", body: "short" }), [503, restarted]);
  assert.equal(lostRequests.length, 11);

  /** @type {(value?: unknown) => void} */
  let loseConnections = () => {};
  const firstRequests = await startWorker(2, new Promise((resolve) => (loseConnections = resolve)));
  const responses = [send("/path", { method: "POST", body: "short" }), send("/path")];
  while (firstRequests.length < 2) await new Promise((resolve) => setTimeout(resolve, 10));
  const secondRequests = await startWorker(0);
  loseConnections();
  assert.deepEqual(await Promise.all(responses), [[503, restarted], [200, "answered: "]]);
  assert.deepEqual(secondRequests, ["GET /path "], "only the GET request is sent again to the new Worker");
});
