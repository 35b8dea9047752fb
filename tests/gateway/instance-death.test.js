// Tests, in workerd, that a panic of the gateway costs no caller an answer: a planted panic ends the instance with fifty calls in flight.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { after, before, test } from "node:test";
import { SECRETS, TEST_TIMEOUT_MS, startGateways, waitFor } from "../support/gateway.js";

const options = { timeout: TEST_TIMEOUT_MS };

/** Places of `panic_if_planted`, in the order in which a call comes to them. */
const PLACES = ["start", "body", "random", "limit", "object", "model", "model_response", "legacy", "legacy_sent", "legacy_response", "response", "background", "queue"];

/** Time that the legacy system takes, so that all calls are in flight when one panics. */
const LATENCY_MS = 400;

/** @typedef {import("../support/gateway.js").Gateway} Gateway */

/** @type {Awaited<ReturnType<typeof startSession>>} */
let session;
const startSession = () => startGateways({
  gateway: [{ INITIAL_SHARE: "50%", JEFFREY_FAULT_INJECTION: "on", RATE_LIMITING: "on" }, {
    latency_ms: LATENCY_MS,
    // The calls of this test are no flood.
    configure: (toml) => toml.replaceAll(/limit = \d+/g, "limit = 1000000"),
  }],
});
before(async () => {
  session = await startSession();
});
after(() => session?.stop());

/**
 * One call of each kind by number: canary or stable, streamed, proxied with and without a body.
 *
 * @param {Gateway} gateway @param {string} id @param {number} number @param {Record<string, string>} [headers]
 */
async function callByNumber({ origin }, id, number, headers = {}) {
  const json = JSON.stringify({ text: `Call ${id}: it is Monday.`, user_id: id });
  /** @type {[string, RequestInit][]} */
  const kinds = [
    [`/predict?id=${id}`, { method: "POST", body: json, headers: { "content-type": "application/json" } }],
    [`/predict?id=${id}`, { method: "POST", body: json, headers: { "content-type": "application/json; charset=utf-8", "x-user-id": `${id}-b` } }],
    [`/slow?ms=${LATENCY_MS}&id=${id}`, {}],
    [`/echo?id=${id}`, { method: "POST", body: id.repeat(100) }],
    [`/upload?id=${id}`, { method: "PUT", body: id.repeat(20_000) }],
  ];
  const [path, init] = kinds[number % kinds.length];
  const response = await fetch(origin + path, { ...init, headers: { .../** @type {Record<string, string>} */ (init.headers), ...headers }, signal: AbortSignal.timeout(30_000) });
  return { id, path, status: response.status, text: await response.text(), body: init.body };
}

/** Asserts that each call got the legacy system's or the model's answer, and that none went to the legacy system twice. @param {Gateway} gateway @param {Awaited<ReturnType<typeof callByNumber>>[]} calls */
function assertAnswered(gateway, calls) {
  const counts = new Map();
  for (const { url } of gateway.legacy.requests) {
    const id = new URL(url, "http://legacy").searchParams.get("id");
    counts.set(id, (counts.get(id) ?? 0) + 1);
  }
  for (const { id, path, status, text, body } of calls) {
    assert.equal(status, 200, `${path}: ${text}`);
    assert.ok((counts.get(id) ?? 0) <= 1, `${path} went to the legacy system ${counts.get(id)} times`);
    if (path.startsWith("/predict")) assert.ok(JSON.parse(text).prediction.primary, text);
    else assert.equal(counts.get(id), 1, path);
    if (path.startsWith("/upload") || path.startsWith("/echo")) {
      assert.equal(JSON.parse(text).body_sha256, createHash("sha256").update(String(body)).digest("hex"), path);
    }
  }
}

/** The number of instances that died, by the log. @param {Gateway} gateway */
const countDeaths = async (gateway) => (await gateway.log()).split("the wasm instance died: RuntimeError").length - 1;

test("a panic at any place costs none of fifty calls in flight its answer", options, async (t) => {
  const { gateway } = session.gateways;
  for (const place of PLACES) {
    await t.test(place, async () => {
      gateway.legacy.requests.length = 0;
      const deaths = await countDeaths(gateway);
      const calls = Array.from({ length: 50 }, (_, number) => callByNumber(gateway, `${place}-${number}`, number));
      await new Promise((resolve) => setTimeout(resolve, LATENCY_MS / 4));
      // A new instance asks an object for the share.
      if (place === "object") await callByNumber(gateway, "object-first", 0, { "x-jeffrey-panic": "start" });
      // Eight callers, so that some are canary and some are stable.
      const panicking = Array.from({ length: 8 }, (_, number) => callByNumber(gateway, `${place}-panic-${number}`, 0, { "x-jeffrey-panic": place }));
      assertAnswered(gateway, await Promise.all([...calls, ...panicking]));
      await waitFor(async () => (await countDeaths(gateway)) > deaths, () => `no instance died at ${place}`);
    });
  }
});

test("one call of a hundred panics and no caller of ten thousand sees it", { timeout: 2 * TEST_TIMEOUT_MS }, async () => {
  const { gateway } = session.gateways;
  gateway.legacy.settings.latency_ms = 0;
  const deaths = await countDeaths(gateway);
  let next = 0;
  /** @type {Record<number, number>} */
  const statuses = {};
  await Promise.all(Array.from({ length: 20 }, async () => {
    while (next < 10_000) {
      const number = next++;
      const panics = number % 100 === 0;
      const headers = panics ? { "x-jeffrey-panic": PLACES[(number / 100) % PLACES.length] } : undefined;
      const { status, text } = await callByNumber(gateway, `many-${number}`, panics ? 0 : number % 2, headers);
      if (status !== 200) console.log(number, status, text.slice(0,300));
      statuses[status] = (statuses[status] ?? 0) + 1;
    }
  }));
  assert.deepEqual(statuses, { 200: 10_000 });
  assert.ok((await countDeaths(gateway)) >= deaths + 50, "fewer instances died than calls panicked");
});

test("the event of a call that was answered without wasm says gateway_fault, and it is counted", options, async () => {
  const { gateway } = session.gateways;
  await callByNumber(gateway, "told", 0, { "x-jeffrey-panic": "body" });
  const event = await waitFor(() => gateway.events().findLast(({ reason }) => reason === "gateway_fault"));
  assert.deepEqual(
    [event.cohort, event.destination, event.status, event.is_evidence, event.unreadable_response_reason],
    ["stable", "stable", 200, false, "gateway_fault"],
  );
  const metrics = await waitFor(async () => {
    const text = await (await gateway.fetchAdmin("/metrics", { token: SECRETS.JEFFREY_VIEWER_TOKEN })).text();
    return text.includes("jeffrey_gateway_faults_total ") && text;
  });
  assert.match(metrics, /^jeffrey_gateway_faults_total [1-9]/m);
});

test("a panic in an endpoint of the gateway is a 500 that is not forwarded", options, async () => {
  const { gateway } = session.gateways;
  gateway.legacy.requests.length = 0;
  const response = await gateway.fetchAdmin("/health", { headers: { "x-jeffrey-panic": "start" } });
  assert.deepEqual([response.status, (await response.json()).error.code], [500, "gateway_fault"]);
  assert.equal(gateway.legacy.requests.length, 0);
  assert.equal((await gateway.fetchAdmin("/health")).status, 200);
});

test("the log of a panic shows no text", options, async () => {
  const { gateway } = session.gateways;
  const log = await gateway.log();
  assert.match(log, /panic at crates\/gateway-worker\/src\/host\.rs:\d+/);
  assert.doesNotMatch(log, /it is Monday/);
});
