// The model worker behind the gateway: the formats of its responses, and the responses to callers when it fails.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { InferenceClient } from "@huggingface/inference";
import { LABELS, predict } from "../../mock-legacy/predict.js";
import { TEST_TIMEOUT_MS, SECRETS, startGateways, waitFor } from "../support/gateway.js";
import { SAMPLE_TEXT, classifyWithEvent, mapInBatches, waitForEvent, signedIdBytes } from "../support/gateway-calls.js";

/** @typedef {import("../support/gateway-calls.js").Gateway} Gateway */
/** @typedef {import("../support/gateway-calls.js").ClassifyResponse} ClassifyResponse */

const LEGACY_VERSION = "2.4.2";
const user_id = "somebody";

/** @type {[Record<string, string>, import("../support/gateway.js").GatewayOptions]} */
const FAULTY_MODEL = [{ MODEL_TIMEOUT_MS: "30000" }, { model: "faulty" }];
const startSession = () => startGateways({
  failing: [{ MODEL_TIMEOUT_MS: "1000", COHORT_OVERRIDES: "stays=stable" }, { model: "faulty" }],
  // A circuit breaker stays open for 30 s, so each hard failure has its own gateway.
  ...{ trapping: FAULTY_MODEL, infinite: FAULTY_MODEL, mismatching: FAULTY_MODEL, trapped: FAULTY_MODEL },
  missing: [{ LEGACY_TIMEOUT_MS: "3000" }, { model: "none" }],
  native: [{ RESPONSE_FORMAT: "native", DEBUG_HEADERS: "off", JEFFREY_SIGNING_KEY: "", COHORT_OVERRIDES: "stays=stable" }],
  huggingface: [{ RESPONSE_FORMAT: "huggingface", LEGACY_TEXT: "/inputs" }],
  shadow: [{ INITIAL_SHARE: "0%", SHADOW_SHARE: "100%", COHORT_OVERRIDES: "chosen=canary", MODEL_TIMEOUT_MS: "30000" }, { model: "faulty" }],
});
/** @type {Awaited<ReturnType<typeof startSession>>} */
let session;
before(async () => {
  session = await startSession();
});
after(() => session?.stop());

/** The legacy system's response to a text. @param {string} text */
const legacyResponse = (text) => predict(text, { seed: 1, latency_ms: 0 });

/** Sends classify requests until the model has answered once: its first call includes its start, and may time out. @param {Gateway} gateway */
const warmUp = (gateway) => waitFor(async () => (await gateway.classify({ text: SAMPLE_TEXT, user_id })).json?.encoder === "e1-small");

/** Names and types of a value, recursively. @param {any} value @returns {unknown} */
function typesOf(value) {
  if (Array.isArray(value)) return value.map(typesOf);
  if (value === null || typeof value !== "object") return typeof value;
  return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, typesOf(inner)]));
}

/** @param {Gateway} gateway */
async function fetchHealth(gateway) {
  const response = await gateway.fetchAdmin("/health");
  const { status, breaker } = await response.json();
  return [response.status, status, breaker];
}

/** @param {Gateway} gateway */
async function fetchStatus(gateway) {
  return (await gateway.fetchAdmin("/v1/rollout", { token: SECRETS.JEFFREY_VIEWER_TOKEN })).json();
}

describe("a model behind the gateway, with failures that are not hard", { timeout: TEST_TIMEOUT_MS }, () => {
  /** @type {Gateway} */
  let gateway;
  before(async () => {
    gateway = session.gateways.failing;
    await warmUp(gateway);
  });

  test("has no playground while SERVE_PLAYGROUND is off", async () => {
    for (const path of ["/playground", "/playground/", "/playground/app.js", "/playground/models/index.json"]) {
      assert.equal((await gateway.fetchAdmin(path)).status, 404, path);
    }
  });

  test("answers in the legacy system's format", async () => {
    for (const text of [SAMPLE_TEXT, "Je suis furieux, c’est inadmissible !", "I am so happy 🙂"]) {
      const canary = await classifyWithEvent(gateway, { text, user_id });
      const stable = await classifyWithEvent(gateway, { text, user_id: "stays" });
      assert.deepEqual([canary.status, canary.event.destination, stable.event.destination], [200, "canary", "stable"]);
      assert.deepEqual(Object.keys(canary.json), Object.keys(stable.json), "the order of the fields");
      const withoutRule = (/** @type {any} */ json) => ({ ...json, prediction: { ...json.prediction, rule_applied: null } });
      assert.deepEqual(typesOf(withoutRule(canary.json)), typesOf(withoutRule(stable.json)), text);
      assert.equal(canary.headers.get("content-type"), "application/json");
      assert.equal(canary.headers.get("cache-control"), "no-store");
      const { prediction, all_scores_top5 } = canary.json;
      assert.deepEqual(all_scores_top5[0], [prediction.primary, prediction.confidence]);
      assert.deepEqual(prediction.top2, all_scores_top5.slice(0, 2));
      for (const [label, score] of all_scores_top5) {
        assert.ok(LABELS.includes(label) && score >= 0 && score <= 1 && Number(score.toFixed(3)) === score, `${label} ${score}`);
      }
      assert.equal(canary.event.label, prediction.primary);
      assert.ok(Math.abs(canary.event.confidence - prediction.confidence) <= 0.0005 + 1e-9);
    }
  });

  test("answers an empty text and white space", async () => {
    for (const text of ["", " \n\t "]) {
      const { json, event } = await classifyWithEvent(gateway, { text, user_id });
      assert.deepEqual([event.fallback_reason, event.destination, event.label], [null, "canary", "neutral"], JSON.stringify(text));
      assert.deepEqual([json.prediction.primary, json.prediction.confidence], ["neutral", 1]);
      assert.ok(["linear_head", "prototypes", "regex"].includes(json.route), `${json.route} is not a known route`);
    }
  });

  test("is replaced by the legacy system for a failed call, and for that call only", async () => {
    for (const [text, fallback] of [
      ["fault:refuse:422", "refused"],
      ["fault:refuse:404", "refused"],
      ["fault:refuse:429", "refused"],
      ["fault:garble", "invalid_response"],
      ["fault:throw", "unavailable"],
      ["fault:refuse:503", "unavailable"],
      ["fault:slow:5000", "timeout"],
      // The head and the body each arrive in time, but not both together.
      ["fault:stall:1600", "timeout"],
    ]) {
      const { status, json, cohort, event } = await classifyWithEvent(gateway, { text, user_id });
      assert.deepEqual([status, json], [200, legacyResponse(text)], text);
      assert.deepEqual([cohort, event.cohort, event.reason, event.is_evidence], ["canary", "canary", "bucket", true], text);
      assert.deepEqual([event.destination, event.fallback_reason, event.status], ["stable", fallback, 200], text);
      assert.equal(event.label, json.prediction.primary, text);
      if (fallback === "timeout") assert.ok(event.latency_ms >= 1000, `the failed attempt is part of ${event.latency_ms} ms`);
      assert.deepEqual(await fetchHealth(gateway), [200, "ok", null], text);
      const next = await classifyWithEvent(gateway, { text: SAMPLE_TEXT, user_id });
      assert.deepEqual([next.json.encoder, next.event.fallback_reason], ["e1-small", null], `after ${text}`);
    }
    assert.equal((await fetchStatus(gateway)).hard_failures, 0);
  });

  test("reports the same latency in the body, the event and server-timing", async () => {
    const { json, event, headers } = await classifyWithEvent(gateway, { text: "fault:slow:300", user_id });
    assert.deepEqual([json.encoder, event.destination, event.fallback_reason], ["e1-small", "canary", null]);
    assert.ok(event.latency_ms >= 300, `${event.latency_ms} ms`);
    assert.equal(json.latency_ms, event.latency_ms);
    assert.equal(headers.get("server-timing"), `model;dur=${event.latency_ms}`);
  });

  test("is not called for a body without a text, which the legacy system refuses", async () => {
    const table = ["", "{", '{"text":"half of', "hello", "null", "[]", "{}", '{"text":7}', '{"text":null}', '{"text":["a"]}', '{"TEXT":"a"}'];
    for (const body of table) {
      const { status, json, cohort, event } = await classifyWithEvent(gateway, body, { "x-user-id": user_id });
      assert.deepEqual([status, Object.keys(json)], [400, ["error"]], body);
      assert.deepEqual([cohort, event.reason, event.is_evidence, event.destination], ["stable", "no_text", false, "stable"], body);
      assert.deepEqual([event.status, event.unreadable_response_reason, event.label], [400, "error_status", null], body);
    }
  });

  test("only responses to classify requests have an id, in the same form for both cohorts", async () => {
    const userIds = Array.from({ length: 40 }, (_, number) => (number % 2 ? user_id : "stays"));
    const responses = await mapInBatches(userIds, (user_id) => gateway.classify({ text: SAMPLE_TEXT, user_id }));
    assert.deepEqual(responses.map(({ cohort }) => cohort), userIds.map((id) => (id === "stays" ? "stable" : "canary")));
    const ids = responses.map((response) => signedIdBytes(response));
    assert.equal(new Set(ids.map((id) => id.toString("hex"))).size, ids.length);
    for (const id of ids) {
      assert.equal(id.length, 32);
      assert.deepEqual([id[6] >> 4, id[8] >> 6], [7, 2], "a UUID of version 7");
      const createdMs = id.readUIntBE(0, 6);
      assert.ok(Math.abs(createdMs - Date.now()) < TEST_TIMEOUT_MS, new Date(createdMs).toISOString());
    }
    const refused = await gateway.classify("{", { "x-user-id": user_id });
    assert.equal(signedIdBytes(refused).length, 32, "a request that the legacy system refused");
    for (const path of ["/private", "/predict", "/health", "/_jeffrey/health", "/_jeffrey/none"]) {
      const response = await fetch(gateway.origin + path);
      await response.arrayBuffer();
      const addedHeaders = [...response.headers.keys()].filter((name) => name.startsWith("x-jeffrey-"));
      assert.deepEqual(addedHeaders, [], path);
    }
  });
});

for (const [fault, kind, name] of /** @type {const} */ ([
  ["nan", "non_finite", "infinite"],
  ["mismatch", "dimension_mismatch", "mismatching"],
])) {
  test(`a hard failure opens the circuit breaker and is reported once: ${fault}`, { timeout: TEST_TIMEOUT_MS }, async () => {
    const gateway = session.gateways[name];
    await warmUp(gateway);
    assert.deepEqual(await fetchHealth(gateway), [200, "ok", null]);
    const text = `fault:${fault}`;
    const responses = await Promise.all(Array.from({ length: 5 }, () => classifyWithEvent(gateway, { text, user_id })));
    for (const { status, json, event } of responses) {
      assert.deepEqual([status, json], [200, legacyResponse(text)]);
      assert.deepEqual([event.cohort, event.destination, event.is_evidence], ["canary", "stable", true]);
      assert.ok([kind, "breaker_open"].includes(event.fallback_reason), event.fallback_reason);
    }
    assert.ok(responses.some(({ event }) => event.fallback_reason === kind));
    for (const text of [SAMPLE_TEXT, `fault:${fault}`, SAMPLE_TEXT]) {
      const { status, json, event } = await classifyWithEvent(gateway, { text, user_id });
      assert.deepEqual([status, json], [200, legacyResponse(text)]);
      assert.deepEqual([event.cohort, event.destination, event.fallback_reason], ["canary", "stable", "breaker_open"]);
    }
    assert.deepEqual(await fetchHealth(gateway), [200, "degraded", kind]);
    const status = await waitFor(async () => {
      const status = await fetchStatus(gateway);
      return status.hard_failures > 0 && status;
    });
    assert.deepEqual([status.hard_failures, status.last_hard_failure.kind, status.version], [1, kind, 0]);
    assert.equal(status.share_basis_points, 10_000, "one isolate's hard failure does not change the share");
  });
}

test("if one of 50 concurrent calls traps the model, all are answered, and the model goes on", { timeout: TEST_TIMEOUT_MS }, async () => {
  const { trapped: gateway } = session.gateways;
  await warmUp(gateway);
  const texts = [SAMPLE_TEXT, "Je suis furieux", "I am so happy", "J’ai peur", "Yuck, how disgusting", "Quelle surprise !", "I miss you"];
  /** @type {Map<string, string>} */
  const labelByText = new Map();
  for (const text of texts) {
    const { json } = await gateway.classify({ text, user_id });
    assert.equal(json.encoder, "e1-small");
    labelByText.set(text, json.prediction.primary);
  }
  const sentTexts = Array.from({ length: 50 }, (_, number) => (number === 20 ? "fault:trap" : texts[number % texts.length]));
  const responses = await Promise.all(sentTexts.map((text, number) => gateway.classify({ text, user_id: `${user_id}-${number}` })));
  for (const [index, { status, json }] of responses.entries()) {
    assert.equal(status, 200, `${index}`);
    const label = json.version === LEGACY_VERSION ? legacyResponse(sentTexts[index]).prediction.primary : labelByText.get(sentTexts[index]);
    assert.equal(json.prediction.primary, label, `${index}`);
  }
  const trapped = await waitForEvent(gateway, responses[20]);
  assert.deepEqual([trapped.fallback_reason, trapped.destination], ["trap", "stable"]);
  assert.deepEqual(await fetchHealth(gateway), [200, "ok", null], "a trap at a text opens no circuit breaker");
  const next = await classifyWithEvent(gateway, { text: SAMPLE_TEXT, user_id });
  assert.deepEqual([next.json.encoder, next.event.fallback_reason], ["e1-small", null]);
  assert.equal((await fetchStatus(gateway)).hard_failures, 0, "one subject is no verdict");
});

test("a trap counts when a third subject meets one; its text goes to the model twice", { timeout: TEST_TIMEOUT_MS }, async () => {
  const { trapping: gateway } = session.gateways;
  await warmUp(gateway);
  const send = async (/** @type {string} */ text, /** @type {string} */ id) => {
    const { status, json, event } = await classifyWithEvent(gateway, { text, user_id: id });
    assert.deepEqual([status, json], [200, legacyResponse(text)]);
    return event.fallback_reason;
  };
  const reasons = [];
  for (let call = 0; call < 4; call += 1) reasons.push(await send("fault:trap", "mallory"));
  assert.deepEqual(reasons, ["trap", "trap", "quarantined", "quarantined"]);
  assert.equal((await fetchStatus(gateway)).hard_failures, 0, "one client is no verdict");
  assert.equal(await send("fault:trap", "bob"), "quarantined");
  assert.equal(await send("fault:trap:2", "carol"), "trap");
  const status = await waitFor(async () => {
    const status = await fetchStatus(gateway);
    return status.hard_failures > 0 && status;
  });
  assert.deepEqual([status.hard_failures, status.last_hard_failure.kind, status.version], [1, "trap", 0]);
  assert.deepEqual(await fetchHealth(gateway), [200, "ok", null]);
});

test("without a model worker every caller gets the legacy system's response", { timeout: TEST_TIMEOUT_MS }, async () => {
  const { missing: gateway } = session.gateways;
  for (let round = 0; round < 5; round += 1) {
    const { status, json, event } = await classifyWithEvent(gateway, { text: SAMPLE_TEXT, user_id: `${user_id}-${round}` });
    assert.deepEqual([status, json], [200, legacyResponse(SAMPLE_TEXT)]);
    assert.deepEqual([event.cohort, event.destination, event.fallback_reason], ["canary", "stable", "unavailable"]);
  }
  assert.deepEqual(await fetchHealth(gateway), [200, "ok", null]);
  assert.equal((await fetchStatus(gateway)).hard_failures, 0);
  // If the legacy system fails as well, the failure counts for the assigned cohort.
  for (const [fault, status, code] of /** @type {[string, number, string][]} */ ([
    ["reset", 502, "legacy_unreachable"],
    ["garbled", 502, "legacy_unreachable"],
    ["slow:60000", 504, "legacy_timeout"],
  ])) {
    const eventCount = gateway.events().length;
    const response = await gateway.classify({ text: SAMPLE_TEXT, user_id }, { "x-mock-legacy": fault });
    assert.deepEqual([response.status, response.json.error.code], [status, code], fault);
    const event = (await gateway.waitForEvents(eventCount + 1))[eventCount];
    assert.deepEqual([event.cohort, event.reason, event.is_evidence], ["canary", "bucket", true], fault);
    assert.deepEqual([event.destination, event.fallback_reason, event.status, event.unreadable_response_reason], ["stable", "unavailable", status, "error_status"], fault);
  }
});

test("with RESPONSE_FORMAT=native, no key and no debug headers, no header is added", { timeout: TEST_TIMEOUT_MS }, async () => {
  const { native: gateway } = session.gateways;
  const canary = await waitFor(async () => {
    const response = await gateway.classify({ text: SAMPLE_TEXT, user_id });
    return response.json.version !== LEGACY_VERSION && response;
  });
  const { primary, confidence, scores, model, route } = canary.json;
  assert.deepEqual([model, route, Object.keys(scores)], ["e1-small", "linear_head", LABELS]);
  assert.equal(scores[primary], confidence);
  const sum = LABELS.reduce((sum, label) => sum + scores[label], 0);
  assert.ok(Math.abs(sum - 1) < 1e-5, `scores sum to ${sum}`);
  const stable = await gateway.classify({ text: SAMPLE_TEXT, user_id: "stays" });
  assert.deepEqual(stable.json, legacyResponse(SAMPLE_TEXT));
  for (const { headers } of [canary, stable]) {
    const addedHeaders = [...headers.keys()].filter((name) => name.startsWith("x-jeffrey-") || name === "server-timing");
    assert.deepEqual(addedHeaders, []);
  }
  const events = await gateway.waitForEvents(2);
  assert.deepEqual(events.map(({ subject }) => subject), events.map(() => null));
  assert.equal(events.at(-1).reason, "cohort_override");
});

test("@huggingface/inference reads the canary's response with RESPONSE_FORMAT=huggingface", { timeout: TEST_TIMEOUT_MS }, async () => {
  const { huggingface: gateway } = session.gateways;
  const client = new InferenceClient().endpoint(`${gateway.origin}/predict`);
  const predictions = await waitFor(() => client.textClassification({ inputs: SAMPLE_TEXT }).catch(() => null));
  assert.deepEqual(predictions.map(({ label }) => label).sort(), [...LABELS].sort());
  const scores = predictions.map(({ score }) => score);
  assert.deepEqual(scores, [...scores].sort((left, right) => right - left));
  const event = (await gateway.waitForEvents(1)).findLast(({ destination }) => destination === "canary");
  assert.deepEqual([event.label, event.confidence], [predictions[0].label, predictions[0].score]);
});

describe("a shadow", { timeout: TEST_TIMEOUT_MS }, () => {
  /** @type {Gateway} */
  let gateway;
  before(() => {
    gateway = session.gateways.shadow;
  });

  test("records the model's label for a request that the legacy system answers", async () => {
    const agreements = new Set();
    for (const text of [SAMPLE_TEXT, "Je suis furieux", "I am so happy", "J’ai peur", "They moved the table again, whatever."]) {
      const { json, event, cohort } = await classifyWithEvent(gateway, { text, user_id });
      assert.deepEqual([json, cohort, event.destination, event.reason], [legacyResponse(text), "stable", "stable", "bucket"], text);
      const { json: canaryBody, event: canaryEvent } = await classifyWithEvent(gateway, { text, user_id: "chosen" });
      assert.equal(event.shadow.label, canaryBody.prediction.primary, text);
      assert.equal(event.shadow.agrees, event.label === event.shadow.label, text);
      assert.equal(event.shadow.fallback_reason, null);
      assert.deepEqual([canaryEvent.destination, canaryEvent.shadow], ["canary", null], "a canary request has no shadow");
      agreements.add(event.shadow.agrees);
    }
    assert.ok(agreements.has(true), "the model and the legacy system agree on at least one text");
  });

  test("does not delay the response", async () => {
    const text = "fault:slow:1500";
    const response = await gateway.classify({ text, user_id });
    const printedIds = gateway.events().map(({ id }) => id);
    assert.deepEqual(response.json, legacyResponse(text));
    const event = await waitForEvent(gateway, response);
    assert.ok(!printedIds.includes(event.id), "the response did not wait for the shadow");
    assert.ok(event.shadow.latency_ms >= 1500 && event.latency_ms < 1500, `${event.shadow.latency_ms}, ${event.latency_ms} ms`);
  });

  test("that fails changes only the event", async () => {
    for (const [text, fallback] of [
      ["fault:refuse:422", "refused"],
      ["fault:garble", "invalid_response"],
      ["fault:nan", "non_finite"],
      ["fault:mismatch", "dimension_mismatch"],
      ["fault:throw", "unavailable"],
      ["fault:trap", "trap"],
    ]) {
      const { status, json, event } = await classifyWithEvent(gateway, { text, user_id });
      assert.deepEqual([status, json, event.fallback_reason], [200, legacyResponse(text), null], text);
      const { label, agrees, fallback_reason: shadowFallback } = event.shadow;
      assert.deepEqual([label, agrees, shadowFallback], [null, null, fallback], text);
    }
    const unread = await classifyWithEvent(gateway, { text: SAMPLE_TEXT, user_id }, { "x-mock-legacy": "not-json" });
    assert.deepEqual([unread.event.unreadable_response_reason, unread.event.shadow.agrees], ["not_json", null]);
    assert.ok(LABELS.includes(unread.event.shadow.label));
    const refused = await classifyWithEvent(gateway, "{", { "x-user-id": user_id });
    assert.deepEqual([refused.status, refused.event.shadow], [400, null], "a request without a text has no shadow");
  });
});
