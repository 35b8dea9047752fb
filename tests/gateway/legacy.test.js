// The legacy system behind a gateway: another Worker through a service binding, another gateway, or no system at all.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { TEST_TIMEOUT_MS, startGateways } from "../support/gateway.js";

const options = { timeout: TEST_TIMEOUT_MS };

const startSession = () => startGateways({
  // The first gateway's second one has the name `jeffrey-gateway-two`.
  chained: [
    { INITIAL_SHARE: "0%", SUBJECT_COOKIE: "all" },
    { model: "none", replica: true, configure: (toml) => `${toml}\n[[services]]\nbinding = "LEGACY"\nservice = "jeffrey-gateway-two"\n` },
  ],
  bound: [
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
  unset: [{ LEGACY_ORIGIN: "" }],
});
/** @type {Awaited<ReturnType<typeof startSession>>} */
let session;
before(async () => {
  session = await startSession();
});
after(() => session?.stop());

test("another Worker can be the legacy system, with its own path and fields", options, async () => {
  const { bound: gateway } = session.gateways;
  const cohorts = new Set();
  for (let number = 0; number < 20; number += 1) {
    const headers = { "content-type": "application/json", "x-user-id": `user-${number}` };
    const init = { method: "POST", headers, body: '{"text":"I am so happy"}' };
    const response = await fetch(`${gateway.origin}/v1/classify`, init);
    const prediction = /** @type {any} */ (await response.json());
    assert.deepEqual([response.status, prediction.primary, prediction.model], [200, "joy", "e1-small"]);
    cohorts.add(response.headers.get("x-jeffrey-cohort"));
  }
  assert.deepEqual([...cohorts].sort(), ["canary", "stable"]);
  const events = await gateway.waitForEvents(20);
  for (const { label, route, unreadable_response_reason } of events) assert.deepEqual([label, route, unreadable_response_reason], ["joy", "linear_head", null]);
  // The other Worker answers all other paths as well.
  assert.equal((await fetch(`${gateway.origin}/health`)).status, 200);
  assert.equal((await fetch(`${gateway.origin}/no/such`)).status, 404);
});

test("another gateway can be the legacy system, and a caller keeps one cookie", options, async () => {
  const { chained: gateway } = session.gateways;
  const headers = { "content-type": "application/json" };
  const init = { method: "POST", headers, body: '{"text":"I am so happy"}' };
  const first = await fetch(`${gateway.origin}/predict`, init);
  assert.deepEqual([first.status, (await first.json()).version], [200, "2.4.2"]);
  const cookies = first.headers.getSetCookie();
  assert.equal(cookies.length, 1, cookies.join("\n"));
  const cookie = cookies[0].split(";")[0];
  // Neither gateway forwards its cookie, so the gateway behind the first one cannot identify the caller.
  for (const path of ["/predict", "/private"]) {
    const next = await fetch(gateway.origin + path, path === "/predict" ? { ...init, headers: { ...headers, cookie } } : { headers: { cookie } });
    await next.arrayBuffer();
    assert.deepEqual([next.status, next.headers.getSetCookie()], [200, []], path);
  }
  const response = await fetch(`${gateway.origin}/cookies`);
  assert.equal(response.headers.getSetCookie().length, 3);
});

test("a gateway without a legacy system answers 503 on every path, and /health names the setting", options, async () => {
  const { unset: gateway } = session.gateways;
  const health = await gateway.fetchAdmin("/health");
  const { faults } = /** @type {any} */ (await health.json());
  assert.equal(health.status, 503);
  assert.deepEqual(faults, ["LEGACY_ORIGIN: it is not set and there is no service binding LEGACY"]);
  for (const path of ["/", "/predict"]) {
    const response = await fetch(gateway.origin + path, { method: "POST", body: "{}" });
    const { error } = /** @type {any} */ (await response.json());
    assert.deepEqual([response.status, error.code], [503, "legacy_not_configured"], path);
  }
});
