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
let front;
/** @type {URL} */
let origin;
/** @type {import("node:http").Server[]} */
const servers = [];

before(async () => {
  const path = join(ROOT, "node_modules/wrangler/wrangler-dist/ProxyWorker.js");
  front = new Miniflare({
    modules: [{ type: "ESModule", path: "ProxyWorker.js", contents: fs.readFileSync(path, "utf8") }],
    compatibilityDate: "2023-12-18",
    compatibilityFlags: ["nodejs_compat"],
    durableObjects: { DURABLE_OBJECT: "ProxyWorker" },
    serviceBindings: { PROXY_CONTROLLER: () => new Response(null, { status: 204 }) },
    bindings: { PROXY_CONTROLLER_AUTH_SECRET: SECRET },
  });
  origin = await front.ready;
});
after(async () => {
  await front?.dispose();
  for (const server of servers) server.closeAllConnections();
  for (const server of servers) server.close();
});

/** Starts a server behind the proxy that closes the connection of its first `losses` requests. @param {number} losses @param {Promise<unknown>} [wait] before it closes or responds */
async function worker(losses, wait = Promise.resolve()) {
  /** @type {string[]} */
  const asked = [];
  const server = createServer(async (request, response) => {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const body = Buffer.concat(chunks).toString();
    asked.push(`${request.method} ${request.url} ${body.length > 100 ? body.length : body}`);
    await wait;
    if (asked.length <= losses) return request.socket.destroy();
    response.end(`answered: ${body}`);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = /** @type {import("node:net").AddressInfo} */ (server.address());
  servers.push(server);
  await play(port);
  return asked;
}

/** Sets the Worker behind the proxy, as wrangler does. @param {number} port */
async function play(port) {
  const userWorkerUrl = { protocol: "http:", hostname: "127.0.0.1", port: String(port) };
  const cf = { hostMetadata: { type: "play", proxyData: { userWorkerUrl, headers: {} } } };
  await front.dispatchFetch("http://dummy/cdn-cgi/ProxyWorker/play", { headers: { Authorization: SECRET }, cf: /** @type {any} */ (cf) });
}

/** @param {string} path @param {RequestInit} [init] */
async function ask(path, init) {
  const response = await fetch(new URL(path, origin), init);
  return [response.status, (await response.text()).slice(0, 40)];
}

test("a lost request is sent again without waiting for another request", { timeout: 60_000 }, async () => {
  const asked = await worker(1);
  assert.deepEqual(await ask("/path"), [200, "answered: "]);
  assert.deepEqual(asked, ["GET /path ", "GET /path "]);
});

test("a short body is sent again whole after each of three lost connections", { timeout: 60_000 }, async () => {
  const asked = await worker(3);
  assert.deepEqual(await ask("/", { method: "POST", body: "a short body" }), [200, "answered: a short body"]);
  assert.deepEqual(asked, Array(4).fill("POST / a short body"));
});

test("a long body, a request lost eleven times and a POST to a replaced Worker get 503", { timeout: 60_000 }, async () => {
  const restarted = "Your worker restarted mid-request. Pleas";
  const body = "x".repeat(65_537);
  const long = await worker(1);
  assert.deepEqual(await ask("/path", { method: "POST", body }), [503, restarted]);
  assert.deepEqual(long, ["POST /path 65537"]);

  const gone = await worker(1_000);
  assert.deepEqual(await ask("/path", { method: "POST", body: "short" }), [503, restarted]);
  assert.equal(gone.length, 11);

  /** @type {(value?: unknown) => void} */
  let lose = () => {};
  const first = await worker(2, new Promise((resolve) => (lose = resolve)));
  const answers = [ask("/path", { method: "POST", body: "short" }), ask("/path")];
  while (first.length < 2) await new Promise((resolve) => setTimeout(resolve, 10));
  const second = await worker(0);
  lose();
  assert.deepEqual(await Promise.all(answers), [[503, restarted], [200, "answered: "]]);
  assert.deepEqual(second, ["GET /path "], "what changes nothing is asked of the new one");
});
