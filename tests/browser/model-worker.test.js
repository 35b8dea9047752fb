// Tests the page that the real model worker serves, and calls of its API from pages of other origins.

import assert from "node:assert/strict";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { createServer } from "node:http";
import { after, before, test } from "node:test";
import { startModelWorker } from "../support/model-worker.js";
import { PATIENCE_MS, close, closeAll, inNode, open, reach, shows, skip } from "./host.js";

const built = existsSync(new URL("../../build/model/index.js", import.meta.url));
const missing = built || process.env.CI === "true" ? false : "the model worker is not built";
if (missing) console.log("skipped: model worker");
const options = { skip: skip || missing, timeout: PATIENCE_MS };
/** Two other origins with an empty page each: one allowed, one refused. */
/** @type {{ allowed: string, refused: string, close: () => void }} */
let origins;
/** @type {Awaited<ReturnType<typeof startModelWorker>>} */
let worker;
before(async () => {
  if (options.skip) return;
  const [allowed, refused] = await Promise.all([emptyPage(), emptyPage()]);
  origins = {
    allowed: allowed.origin,
    refused: refused.origin,
    close: () => [allowed, refused].forEach((server) => server.close()),
  };
  worker = await startModelWorker({ ALLOWED_ORIGINS: origins.allowed });
});
after(async () => {
  await closeAll();
  await worker?.stop();
  origins?.close();
});

async function emptyPage() {
  const server = createServer((_, response) => {
    response.writeHead(200, { "Content-Type": "text/html" });
    response.end("<!doctype html><title>another origin</title>");
  });
  server.unref().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = /** @type {import("node:net").AddressInfo} */ (server.address());
  const close = () => {
    server.closeAllConnections();
    server.close();
  };
  return { origin: `http://127.0.0.1:${port}`, close };
}

test("the model worker serves the page at / with a strict policy, and the page classifies offline", options, async () => {
  const { classifier } = await inNode();
  const { page, context, faults } = await open();
  /** @type {string[]} */
  const urls = [];
  context.on("request", (request) => urls.push(request.url()));
  const response = await page.goto(`${worker.origin}/`);
  const policy = (await response?.headerValue("content-security-policy")) ?? "";
  assert.match(policy, /default-src 'none'/);
  assert.match(policy, /script-src 'self' 'wasm-unsafe-eval';/);
  assert.match(policy, /connect-src 'self';/);
  assert.doesNotMatch(policy, /unsafe-inline|'unsafe-eval'|https?:|\*/);

  await reach(page, "ready");
  assert.deepEqual(urls.filter((url) => !url.startsWith(`${worker.origin}/`)), []);
  await context.setOffline(true);
  urls.length = 0;
  const text = "They lost my luggage again";
  await page.fill("#text", text);
  await shows(page, JSON.parse(classifier.classify(text)));
  assert.deepEqual(urls, []);
  assert.deepEqual(faults, []);
  await close(context);
});

test("the page and the API give the same answer", options, async () => {
  const { classifier } = await inNode();
  for (const text of ["They lost my luggage again", "Quelle belle surprise !", " "]) {
    const response = await fetch(`${worker.origin}/v1/classify`, {
      method: "POST",
      body: JSON.stringify({ text }),
    });
    assert.equal(response.status, 200);
    const { id, ...answer } = /** @type {any} */ (await response.json());
    assert.ok(id);
    const here = JSON.parse(classifier.classify(text));
    assert.equal(answer.primary, here.primary);
    for (const [label, score] of Object.entries(here.scores)) {
      assert.ok(Math.abs(answer.scores[label] - score) <= 1e-3, label);
    }
  }
});

/**
 * Calls the API from a page of an origin. A form cannot send JSON, so the browser sends a preflight first.
 * It sends plain text at once and then decides whether the page may read the response.
 * @param {string} origin @param {"application/json" | "text/plain"} type
 */
async function ask(origin, type) {
  const { page, context } = await open();
  /** @type {{ method: string, status: number }[]} */
  const exchanged = [];
  // Playwright does not report preflights; Chromium's own events include them.
  const session = await context.newCDPSession(page);
  await session.send("Network.enable");
  /** @type {Map<string, string>} */
  const methods = new Map();
  session.on("Network.requestWillBeSent", ({ requestId, request }) => {
    if (request.url.startsWith(worker.origin)) methods.set(requestId, request.method);
  });
  session.on("Network.responseReceived", ({ requestId, response }) => {
    const method = methods.get(requestId);
    if (method) exchanged.push({ method, status: response.status });
  });
  await page.goto(origin);
  const seen = await page.evaluate(
    async ({ url, type }) => {
      try {
        const response = await fetch(url, {
          method: "POST",
          headers: { "Content-Type": type },
          body: JSON.stringify({ text: "I am so happy for you" }),
        });
        return { status: response.status, answer: await response.json() };
      } catch (error) {
        return { thrown: /** @type {Error} */ (error).name };
      }
    },
    { url: `${worker.origin}/v1/classify`, type },
  );
  await close(context);
  return { seen, exchanged };
}

test("a page of an allowed origin sends a preflight and reads the answer", options, async () => {
  const { seen, exchanged } = await ask(origins.allowed, "application/json");
  assert.equal(seen.status, 200);
  assert.ok(seen.answer.primary in seen.answer.scores);
  const methods = exchanged.map(({ method }) => method).sort();
  assert.deepEqual(methods, ["OPTIONS", "POST"]);
});

test("a page of any other origin is refused before its text is sent", options, async () => {
  const { seen, exchanged } = await ask(origins.refused, "application/json");
  assert.deepEqual(seen, { thrown: "TypeError" });
  assert.deepEqual(exchanged.filter(({ method }) => method === "POST"), []);
});

test("without a preflight only the allowed origin reads the answer", options, async () => {
  const allowed = await ask(origins.allowed, "text/plain");
  assert.equal(allowed.seen.status, 200);
  assert.deepEqual(allowed.exchanged.map(({ method }) => method), ["POST"]);
  const refused = await ask(origins.refused, "text/plain");
  assert.deepEqual(refused.seen, { thrown: "TypeError" });
});
