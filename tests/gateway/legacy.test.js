// The legacy system behind a gateway: another Worker through a service binding, another gateway, or no system at all.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { PATIENCE_MS, startGateways } from "../support/gateway.js";

const options = { timeout: PATIENCE_MS };

const begin = () => startGateways({
  // The first gateway's second one has the name `jeffrey-gateway-two`.
  over: [
    { INITIAL_SHARE: "0%", SUBJECT_COOKIE: "all" },
    { model: "none", two: true, configure: (toml) => `${toml}\n[[services]]\nbinding = "LEGACY"\nservice = "jeffrey-gateway-two"\n` },
  ],
  beside: [
    {
      LEGACY_ORIGIN: "",
      LEGACY_CLASSIFY_ROUTES: "POST /v1/classify",
      LEGACY_LABEL: "/primary",
      LEGACY_CONFIDENCE: "/confidence",
      LEGACY_LOW_CONFIDENCE: "/low_confidence",
      LEGACY_RULE: "/rule_applied",
      RESPONSE_FORMAT: "native",
      INITIAL_SHARE: "50%",
    },
    { configure: (toml) => `${toml}\n[[services]]\nbinding = "LEGACY"\nservice = "jeffrey-model"\n` },
  ],
  nothing: [{ LEGACY_ORIGIN: "" }],
});
/** @type {Awaited<ReturnType<typeof begin>>} */
let session;
before(async () => {
  session = await begin();
});
after(() => session?.stop());

test("another Worker can be the legacy system, with its own path and fields", options, async () => {
  const { beside: gate } = session.gates;
  const cohorts = new Set();
  for (let number = 0; number < 20; number += 1) {
    const headers = { "content-type": "application/json", "x-user-id": `user-${number}` };
    const init = { method: "POST", headers, body: '{"text":"I am so happy"}' };
    const response = await fetch(`${gate.origin}/v1/classify`, init);
    const answer = /** @type {any} */ (await response.json());
    assert.deepEqual([response.status, answer.primary, answer.model], [200, "joy", "e1-small"]);
    cohorts.add(response.headers.get("x-jeffrey-cohort"));
  }
  assert.deepEqual([...cohorts].sort(), ["canary", "stable"]);
  const events = await gate.eventsOf(20);
  for (const { label, route, unread_reason } of events) assert.deepEqual([label, route, unread_reason], ["joy", "linear_head", null]);
  // The other Worker answers all other paths as well.
  assert.equal((await fetch(`${gate.origin}/health`)).status, 200);
  assert.equal((await fetch(`${gate.origin}/no/such`)).status, 404);
});

test("another gateway can be the legacy system, and a caller keeps one cookie", options, async () => {
  const { over: gate } = session.gates;
  const headers = { "content-type": "application/json" };
  const init = { method: "POST", headers, body: '{"text":"I am so happy"}' };
  const first = await fetch(`${gate.origin}/predict`, init);
  assert.deepEqual([first.status, (await first.json()).version], [200, "2.4.2"]);
  const given = first.headers.getSetCookie();
  assert.equal(given.length, 1, given.join("\n"));
  const cookie = given[0].split(";")[0];
  // Neither gateway forwards its cookie, so the gateway behind the first one cannot identify the caller.
  for (const path of ["/predict", "/private"]) {
    const next = await fetch(gate.origin + path, path === "/predict" ? { ...init, headers: { ...headers, cookie } } : { headers: { cookie } });
    await next.arrayBuffer();
    assert.deepEqual([next.status, next.headers.getSetCookie()], [200, []], path);
  }
  const theirs = await fetch(`${gate.origin}/cookies`);
  assert.equal(theirs.headers.getSetCookie().length, 3);
});

test("a gateway without a legacy system answers 503 on every path, and /health names the setting", options, async () => {
  const { nothing: gate } = session.gates;
  const health = await gate.own("/health");
  const { faults } = /** @type {any} */ (await health.json());
  assert.equal(health.status, 503);
  assert.deepEqual(faults, ["LEGACY_ORIGIN: it is not set and there is no service binding LEGACY"]);
  for (const path of ["/", "/predict"]) {
    const response = await fetch(gate.origin + path, { method: "POST", body: "{}" });
    const { error } = /** @type {any} */ (await response.json());
    assert.deepEqual([response.status, error.code], [503, "legacy_not_configured"], path);
  }
});
