// Tests the public API beside a gateway in one session: its limits, and that no call of it reaches the instance of the gateway's
// model worker.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { TEST_TIMEOUT_MS, postJson, startGateways, waitFor } from "../support/gateway.js";

const options = { timeout: TEST_TIMEOUT_MS };

/** Calls in one period of the rate limit in `wrangler.public-api.toml`. */
const CALLS_MAX = 100;

const start = () => startGateways({ gateway: [] }, { publicApi: { JEFFREY_FAULT_INJECTION: "on" } });
/** @type {Awaited<ReturnType<typeof start>>} */
let session;
before(async () => {
  session = await start();
});
after(() => session?.stop());

/** The instance that answers a Worker's calls. @param {string} origin */
const fetchInstance = async (origin) => (await (await fetch(`${origin}/health`)).json()).instance;

/** Makes classify calls through the gateway, until `work` ends and at least one; each must be answered by the model. @template T @param {Promise<T>} work */
async function callGatewayDuring(work) {
  let isRunning = true;
  const end = work.finally(() => (isRunning = false));
  // A failure of the calls below is thrown first; `await end` throws one of the work.
  end.catch(() => {});
  do {
    const { status, json } = await session.gateways.gateway.classify({ text: "They lost my luggage", user_id: "alice" });
    assert.deepEqual([status, json.encoder], [200, "e1-small"]);
  } while (isRunning);
  return end;
}

test("a request with more tokens than TOKENS_MAX gets 413 with both numbers, and the encoder reads none of its texts", options, async () => {
  const long = "word ".repeat(200);
  const count = async () => /^jeffrey_predictions_total\{route="linear_head"\} (\d+)$/m.exec(await (await fetch(`${session.origin}/metrics`)).text())?.[1];
  const predictions = await count();
  const refused = await postJson(session.origin, { inputs: Array(5).fill(long) });
  assert.deepEqual([refused.status, refused.json], [413, {
    error: "the texts of the request have at least 640 tokens, above the limit of 512 tokens for one request, begin and end marks included",
    error_type: "Validation",
  }]);
  assert.equal(await count(), predictions);
  assert.equal((await postJson(session.origin, { inputs: Array(4).fill(long) })).status, 200);
  assert.equal((await (await fetch(`${session.origin}/info`)).json()).max_batch_tokens, 512);
});

test("a trap or a flood at the public API leaves the private instance as it was, and the gateway's calls answered", options, async () => {
  // The model worker starts with its first call, so the first responses may be fallbacks.
  await waitFor(async () => (await session.gateways.gateway.classify({ text: "a", user_id: "alice" })).json.encoder === "e1-small");
  const privateInstance = await fetchInstance(session.modelOrigin);
  assert.match(privateInstance.id, /^[0-9a-f]{16}$/);
  assert.equal(privateInstance.starts, 1);
  let publicInstance = await fetchInstance(session.origin);
  assert.notEqual(publicInstance.id, privateInstance.id);

  for (const round of [1, 2, 3]) {
    const panic = await callGatewayDuring(postJson(`${session.origin}/v1/fault/panic`, "a text"));
    assert.equal(panic.status, 500);
    const next = await fetchInstance(session.origin);
    assert.equal(next.starts, publicInstance.starts + 1, `round ${round}`);
    assert.notEqual(next.id, publicInstance.id);
    publicInstance = next;
    assert.deepEqual(await fetchInstance(session.modelOrigin), privateInstance);
  }

  const statuses = await callGatewayDuring(flood());
  assert.deepEqual([...new Set(statuses)].sort(), [200, 429]);
  assert.deepEqual(await fetchInstance(session.modelOrigin), privateInstance);
});

/** Sends classify calls until the rate limit refuses one; returns all statuses. */
async function flood() {
  /** @type {number[]} */
  const statuses = [];
  while (!statuses.includes(429)) {
    const calls = Array.from({ length: CALLS_MAX + 1 }, () => postJson(`${session.origin}/v1/classify`, { text: "Again and again" }));
    for (const { status, headers, json } of await Promise.all(calls)) {
      statuses.push(status);
      if (status !== 429) continue;
      assert.equal(headers.get("retry-after"), "10");
      assert.equal(json.error.code, "rate_limited");
    }
  }
  return statuses;
}

test("the rate limit covers every classify call and nothing else", options, async () => {
  const refused = await waitFor(async () => {
    const response = await postJson(`${session.origin}/predict`, { inputs: "a" });
    return response.status === 429 ? response : (await flood(), null);
  });
  assert.equal(refused.json.error_type, "Overloaded");
  for (const path of ["/health", "/info", "/metrics", "/openapi.json", "/"]) {
    assert.equal((await fetch(session.origin + path)).status, 200, path);
  }
});
