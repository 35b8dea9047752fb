// Tests the page that the real model worker serves, and calls of its API from pages of other origins.

import assert from "node:assert/strict";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { createServer } from "node:http";
import { after, before, test } from "node:test";
import { startModelWorker } from "../support/model-worker.js";
import { TEST_TIMEOUT_MS, closeBrowser, closeBrowsers, loadInNode, openPage, waitForState, waitForScores, skip } from "./host.js";

const built = existsSync(new URL("../../build/model/index.js", import.meta.url));
const missing = built || process.env.CI === "true" ? false : "the model worker is not built";
if (missing) console.log("skipped: model worker");
const options = { skip: skip || missing, timeout: TEST_TIMEOUT_MS };
/** Two other origins with an empty page each: one allowed, one refused. */
/** @type {{ allowed: string, refused: string, close: () => void }} */
let origins;
/** @type {Awaited<ReturnType<typeof startModelWorker>>} */
let worker;
before(async () => {
  if (options.skip) return;
  const [allowed, refused] = await Promise.all([serveEmptyPage(), serveEmptyPage()]);
  origins = {
    allowed: allowed.origin,
    refused: refused.origin,
    close: () => [allowed, refused].forEach((server) => server.close()),
  };
  worker = await startModelWorker({ ALLOWED_ORIGINS: origins.allowed });
});
after(async () => {
  await closeBrowsers();
  await worker?.stop();
  origins?.close();
});

async function serveEmptyPage() {
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
  const { classifier } = await loadInNode();
  const { page, context, faults } = await openPage();
  /** @type {string[]} */
  const urls = [];
  context.on("request", (request) => urls.push(request.url()));
  const response = await page.goto(`${worker.origin}/`);
  const policy = (await response?.headerValue("content-security-policy")) ?? "";
  assert.match(policy, /default-src 'none'/);
  assert.match(policy, /script-src 'self' 'wasm-unsafe-eval';/);
  assert.match(policy, /connect-src 'self';/);
  assert.doesNotMatch(policy, /unsafe-inline|'unsafe-eval'|https?:|\*/);

  await waitForState(page, "ready");
  assert.deepEqual(urls.filter((url) => !url.startsWith(`${worker.origin}/`)), []);
  await context.setOffline(true);
  urls.length = 0;
  const text = "They lost my luggage again";
  await page.fill("#text", text);
  await waitForScores(page, JSON.parse(classifier.classify(text)));
  assert.deepEqual(urls, []);
  assert.deepEqual(faults, []);
  await closeBrowser(context);
});

test("the page and the API give the same prediction", options, async () => {
  const { classifier } = await loadInNode();
  for (const text of ["They lost my luggage again", "Quelle belle surprise !", " "]) {
    const response = await fetch(`${worker.origin}/v1/classify`, {
      method: "POST",
      body: JSON.stringify({ text }),
    });
    assert.equal(response.status, 200);
    const { id, ...prediction } = /** @type {any} */ (await response.json());
    assert.ok(id);
    const expected = JSON.parse(classifier.classify(text));
    assert.equal(prediction.primary, expected.primary);
    for (const [label, score] of Object.entries(expected.scores)) {
      assert.ok(Math.abs(prediction.scores[label] - score) <= 1e-3, label);
    }
  }
});

/**
 * Calls the API from a page of an origin. A form cannot send JSON, so the browser sends a preflight first.
 * It sends plain text at once and then decides whether the page may read the response.
 * @param {string} origin @param {"application/json" | "text/plain"} type
 */
async function postFromPage(origin, type) {
  const { page, context } = await openPage();
  /** @type {{ method: string, status: number }[]} */
  const exchanges = [];
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
    if (method) exchanges.push({ method, status: response.status });
  });
  await page.goto(origin);
  const result = await page.evaluate(
    async ({ url, type }) => {
      try {
        const response = await fetch(url, {
          method: "POST",
          headers: { "Content-Type": type },
          body: JSON.stringify({ text: "I am so happy for you" }),
        });
        return { status: response.status, prediction: await response.json() };
      } catch (error) {
        return { thrown: /** @type {Error} */ (error).name };
      }
    },
    { url: `${worker.origin}/v1/classify`, type },
  );
  await closeBrowser(context);
  return { result, exchanges };
}

test("a page of an allowed origin sends a preflight and reads the response", options, async () => {
  const { result, exchanges } = await postFromPage(origins.allowed, "application/json");
  assert.equal(result.status, 200);
  assert.ok(result.prediction.primary in result.prediction.scores);
  const methods = exchanges.map(({ method }) => method).sort();
  assert.deepEqual(methods, ["OPTIONS", "POST"]);
});

test("a page of any other origin is refused before its text is sent", options, async () => {
  const { result, exchanges } = await postFromPage(origins.refused, "application/json");
  assert.deepEqual(result, { thrown: "TypeError" });
  assert.deepEqual(exchanges.filter(({ method }) => method === "POST"), []);
});

test("without a preflight only the allowed origin reads the response", options, async () => {
  const allowed = await postFromPage(origins.allowed, "text/plain");
  assert.equal(allowed.result.status, 200);
  assert.deepEqual(allowed.exchanges.map(({ method }) => method), ["POST"]);
  const refused = await postFromPage(origins.refused, "text/plain");
  assert.deepEqual(refused.result, { thrown: "TypeError" });
});
