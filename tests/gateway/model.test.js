// The model worker behind the gateway: the formats of its responses, and the responses to callers when it fails.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { InferenceClient } from "@huggingface/inference";
import { LABELS, predict } from "../../mock-legacy/predict.js";
import { PATIENCE_MS, SECRETS, startGateways, until } from "../support/gateway.js";
import { TEXT, call, each, eventOf, idBytes } from "../support/gateway-calls.js";

/** @typedef {import("../support/gateway-calls.js").Gate} Gate */
/** @typedef {import("../support/gateway-calls.js").Answer} Answer */

const OLD = "2.4.2";
const user_id = "somebody";

/** @type {[Record<string, string>, import("../support/gateway.js").GatewayOptions]} */
const PATIENT = [{ MODEL_TIMEOUT_MS: "30000" }, { model: "faulty" }];
const begin = () => startGateways({
  failing: [{ MODEL_TIMEOUT_MS: "1000", COHORT_OVERRIDES: "stays=stable" }, { model: "faulty" }],
  // A circuit breaker stays open for 30 s, so each hard failure has its own gateway.
  ...{ trapping: PATIENT, throwing: PATIENT, refusing: PATIENT, infinite: PATIENT, mismatching: PATIENT, trapped: PATIENT },
  missing: [{ LEGACY_TIMEOUT_MS: "3000" }, { model: "none" }],
  native: [{ RESPONSE_FORMAT: "native", DEBUG_HEADERS: "off", JEFFREY_KEY: "", COHORT_OVERRIDES: "stays=stable" }],
  huggingface: [{ RESPONSE_FORMAT: "huggingface", LEGACY_TEXT: "/inputs" }],
  shadow: [{ INITIAL_SHARE: "0%", SHADOW_SHARE: "100%", COHORT_OVERRIDES: "chosen=canary", MODEL_TIMEOUT_MS: "30000" }, { model: "faulty" }],
});
/** @type {Awaited<ReturnType<typeof begin>>} */
let session;
before(async () => {
  session = await begin();
});
after(() => session?.stop());

/** The legacy system's response to a text. @param {string} text */
const old = (text) => predict(text, { seed: 1, latency_ms: 0 });

/** Asks until the model has answered once: its first call includes its start, and may time out. @param {Gate} gate */
const warm = (gate) => until(async () => (await gate.classify({ text: TEXT, user_id })).json?.encoder === "e1-small");

/** Names and types of a value, recursively. @param {any} value @returns {unknown} */
function shapeOf(value) {
  if (Array.isArray(value)) return value.map(shapeOf);
  if (value === null || typeof value !== "object") return typeof value;
  return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, shapeOf(inner)]));
}

/** @param {Gate} gate */
async function healthOf(gate) {
  const response = await gate.own("/health");
  const { status, breaker } = await response.json();
  return [response.status, status, breaker];
}

/** @param {Gate} gate */
async function standingOf(gate) {
  return (await gate.own("/v1/rollout", { token: SECRETS.JEFFREY_VIEWER_TOKEN })).json();
}

describe("a model behind the gateway, with failures that are not hard", { timeout: PATIENCE_MS }, () => {
  /** @type {Gate} */
  let gate;
  before(async () => {
    gate = session.gates.failing;
    await warm(gate);
  });

  test("has no playground while PLAYGROUND is off", async () => {
    for (const path of ["/playground", "/playground/", "/playground/app.js", "/playground/models/index.json"]) {
      assert.equal((await gate.own(path)).status, 404, path);
    }
  });

  test("answers in the legacy system's format", async () => {
    for (const text of [TEXT, "Je suis furieux, c’est inadmissible !", "I am so happy 🙂"]) {
      const canary = await call(gate, { text, user_id });
      const stable = await call(gate, { text, user_id: "stays" });
      assert.deepEqual([canary.status, canary.event.destination, stable.event.destination], [200, "canary", "stable"]);
      assert.deepEqual(Object.keys(canary.json), Object.keys(stable.json), "the fields' order");
      const unruled = (/** @type {any} */ json) => ({ ...json, prediction: { ...json.prediction, rule_applied: null } });
      assert.deepEqual(shapeOf(unruled(canary.json)), shapeOf(unruled(stable.json)), text);
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
      const { json, event } = await call(gate, { text, user_id });
      assert.deepEqual([event.fallback, event.destination, event.label], [null, "canary", "neutral"], JSON.stringify(text));
      assert.deepEqual([json.prediction.primary, json.prediction.confidence], ["neutral", 1]);
      assert.ok(["linear_head", "prototypes", "regex"].includes(json.route), `${json.route} is no route of the old system's`);
    }
  });

  test("is replaced by the legacy system for a failed call, and for that call only", async () => {
    for (const [text, fallback] of [
      ["fault:refuse:422", "refused"],
      ["fault:refuse:404", "refused"],
      ["fault:refuse:429", "refused"],
      ["fault:garble", "invalid_response"],
      ["fault:slow:5000", "timeout"],
      // The head and the body each arrive in time, but not both together.
      ["fault:stall:1600", "timeout"],
    ]) {
      const { status, json, cohort, event } = await call(gate, { text, user_id });
      assert.deepEqual([status, json], [200, old(text)], text);
      assert.deepEqual([cohort, event.cohort, event.reason, event.is_evidence], ["canary", "canary", "bucket", true], text);
      assert.deepEqual([event.destination, event.fallback, event.status], ["stable", fallback, 200], text);
      assert.equal(event.label, json.prediction.primary, text);
      if (fallback === "timeout") assert.ok(event.latency_ms >= 1000, `the failed attempt is part of ${event.latency_ms} ms`);
      assert.deepEqual(await healthOf(gate), [200, "ok", null], text);
      const next = await call(gate, { text: TEXT, user_id });
      assert.deepEqual([next.json.encoder, next.event.fallback], ["e1-small", null], `after ${text}`);
    }
    assert.equal((await standingOf(gate)).hard_failures, 0);
  });

  test("reports the same latency in the body, the event and server-timing", async () => {
    const { json, event, headers } = await call(gate, { text: "fault:slow:300", user_id });
    assert.deepEqual([json.encoder, event.destination, event.fallback], ["e1-small", "canary", null]);
    assert.ok(event.latency_ms >= 300, `${event.latency_ms} ms`);
    assert.equal(json.latency_ms, event.latency_ms);
    assert.equal(headers.get("server-timing"), `model;dur=${event.latency_ms}`);
  });

  test("is not called for a body without a text, which the legacy system refuses", async () => {
    const table = ["", "{", '{"text":"half of', "hello", "null", "[]", "{}", '{"text":7}', '{"text":null}', '{"text":["a"]}', '{"TEXT":"a"}'];
    for (const body of table) {
      const { status, json, cohort, event } = await call(gate, body, { "x-user-id": user_id });
      assert.deepEqual([status, Object.keys(json)], [400, ["error"]], body);
      assert.deepEqual([cohort, event.reason, event.is_evidence, event.destination], ["stable", "no_text", false, "stable"], body);
      assert.deepEqual([event.status, event.unread_reason, event.label], [400, "error_status", null], body);
    }
  });

  test("only responses to classify requests have an id, in the same form for both cohorts", async () => {
    const people = Array.from({ length: 40 }, (_, number) => (number % 2 ? user_id : "stays"));
    const answers = await each(people, (user_id) => gate.classify({ text: TEXT, user_id }));
    assert.deepEqual(answers.map(({ cohort }) => cohort), people.map((id) => (id === "stays" ? "stable" : "canary")));
    const ids = answers.map((answer) => idBytes(answer));
    assert.equal(new Set(ids.map((id) => id.toString("hex"))).size, ids.length);
    for (const id of ids) {
      assert.equal(id.length, 32);
      assert.deepEqual([id[6] >> 4, id[8] >> 6], [7, 2], "a UUID of version 7");
      const made = id.readUIntBE(0, 6);
      assert.ok(Math.abs(made - Date.now()) < PATIENCE_MS, new Date(made).toISOString());
    }
    const refused = await gate.classify("{", { "x-user-id": user_id });
    assert.equal(idBytes(refused).length, 32, "an answer that the old system refused");
    for (const path of ["/private", "/predict", "/health", "/_jeffrey/health", "/_jeffrey/none"]) {
      const response = await fetch(gate.origin + path);
      await response.arrayBuffer();
      const added = [...response.headers.keys()].filter((name) => name.startsWith("x-jeffrey-"));
      assert.deepEqual(added, [], path);
    }
  });
});

for (const [fault, kind, name] of /** @type {const} */ ([
  ["trap", "trap", "trapping"],
  ["throw", "trap", "throwing"],
  ["refuse:503", "trap", "refusing"],
  ["nan", "non_finite", "infinite"],
  ["mismatch", "dimension_mismatch", "mismatching"],
])) {
  test(`a hard failure opens the circuit breaker and is reported once: ${fault}`, { timeout: PATIENCE_MS }, async () => {
    const gate = session.gates[name];
    await warm(gate);
    assert.deepEqual(await healthOf(gate), [200, "ok", null]);
    const text = `fault:${fault}`;
    const first = await Promise.all(Array.from({ length: 5 }, () => call(gate, { text, user_id })));
    for (const { status, json, event } of first) {
      assert.deepEqual([status, json], [200, old(text)]);
      assert.deepEqual([event.cohort, event.destination, event.is_evidence], ["canary", "stable", true]);
      assert.ok([kind, "breaker_open"].includes(event.fallback), event.fallback);
    }
    assert.ok(first.some(({ event }) => event.fallback === kind));
    for (const text of [TEXT, `fault:${fault}`, TEXT]) {
      const { status, json, event } = await call(gate, { text, user_id });
      assert.deepEqual([status, json], [200, old(text)]);
      assert.deepEqual([event.cohort, event.destination, event.fallback], ["canary", "stable", "breaker_open"]);
    }
    assert.deepEqual(await healthOf(gate), [200, "degraded", kind]);
    const standing = await until(async () => {
      const standing = await standingOf(gate);
      return standing.hard_failures > 0 && standing;
    });
    assert.deepEqual([standing.hard_failures, standing.last_hard_failure.kind, standing.version], [1, kind, 0]);
    assert.equal(standing.share_basis_points, 10_000, "an isolate speaks for itself");
  });
}

test("if one of 50 concurrent calls traps the model, all are answered, and the model returns after the cool-down", { timeout: PATIENCE_MS }, async () => {
  const { trapped: gate } = session.gates;
  await warm(gate);
  const texts = [TEXT, "Je suis furieux", "I am so happy", "J’ai peur", "Yuck, how disgusting", "Quelle surprise !", "I miss you"];
  /** @type {Map<string, string>} */
  const known = new Map();
  for (const text of texts) {
    const { json } = await gate.classify({ text, user_id });
    assert.equal(json.encoder, "e1-small");
    known.set(text, json.prediction.primary);
  }
  const asked = Array.from({ length: 50 }, (_, number) => (number === 20 ? "fault:trap" : texts[number % texts.length]));
  const answers = await Promise.all(asked.map((text, number) => gate.classify({ text, user_id: `${user_id}-${number}` })));
  for (const [at, { status, json }] of answers.entries()) {
    assert.equal(status, 200, `${at}`);
    const label = json.version === OLD ? old(asked[at]).prediction.primary : known.get(asked[at]);
    assert.equal(json.prediction.primary, label, `${at}`);
  }
  const trapped = await eventOf(gate, answers[20]);
  assert.deepEqual([trapped.fallback, trapped.destination], ["trap", "stable"]);
  assert.deepEqual(await healthOf(gate), [200, "degraded", "trap"]);

  // Waits for the end of the circuit breaker's cool-down of 30 s.
  const back = await until(async () => {
    const answer = await gate.classify({ text: TEXT, user_id });
    assert.equal(answer.status, 200);
    return answer.json.encoder === "e1-small" && answer;
  });
  const { last_hard_failure, hard_failures } = await standingOf(gate);
  assert.equal(hard_failures, 1);
  const event = await eventOf(gate, back);
  assert.ok(event.time_ms - last_hard_failure.at_ms >= 30_000, `${event.time_ms - last_hard_failure.at_ms} ms`);
  assert.deepEqual(await healthOf(gate), [200, "ok", null]);
  assert.equal((await call(gate, { text: TEXT, user_id })).event.fallback, null, "and stays");
});

test("without a model worker every caller gets the legacy system's response", { timeout: PATIENCE_MS }, async () => {
  const { missing: gate } = session.gates;
  for (let round = 0; round < 5; round += 1) {
    const { status, json, event } = await call(gate, { text: TEXT, user_id: `${user_id}-${round}` });
    assert.deepEqual([status, json], [200, old(TEXT)]);
    assert.deepEqual([event.cohort, event.destination, event.fallback], ["canary", "stable", round ? "breaker_open" : "trap"]);
  }
  assert.deepEqual(await healthOf(gate), [200, "degraded", "trap"]);
  // If the legacy system fails as well, the failure counts for the assigned cohort.
  for (const [order, status, code] of /** @type {[string, number, string][]} */ ([
    ["reset", 502, "legacy_unreachable"],
    ["garbled", 502, "legacy_unreachable"],
    ["slow:60000", 504, "legacy_timeout"],
  ])) {
    const before = gate.events().length;
    const answer = await gate.classify({ text: TEXT, user_id }, { "x-mock-legacy": order });
    assert.deepEqual([answer.status, answer.json.error.code], [status, code], order);
    const event = (await gate.eventsOf(before + 1))[before];
    assert.deepEqual([event.cohort, event.reason, event.is_evidence], ["canary", "bucket", true], order);
    assert.deepEqual([event.destination, event.fallback, event.status, event.unread_reason], ["stable", "breaker_open", status, "error_status"], order);
  }
});

test("with RESPONSE_FORMAT=native, no key and no debug headers, no header is added", { timeout: PATIENCE_MS }, async () => {
  const { native: gate } = session.gates;
  const canary = await until(async () => {
    const answer = await gate.classify({ text: TEXT, user_id });
    return answer.json.version !== OLD && answer;
  });
  const { primary, confidence, scores, model, route } = canary.json;
  assert.deepEqual([model, route, Object.keys(scores)], ["e1-small", "linear_head", LABELS]);
  assert.equal(scores[primary], confidence);
  const sum = LABELS.reduce((sum, label) => sum + scores[label], 0);
  assert.ok(Math.abs(sum - 1) < 1e-5, `scores sum to ${sum}`);
  const stable = await gate.classify({ text: TEXT, user_id: "stays" });
  assert.deepEqual(stable.json, old(TEXT));
  for (const { headers } of [canary, stable]) {
    const added = [...headers.keys()].filter((name) => name.startsWith("x-jeffrey-") || name === "server-timing");
    assert.deepEqual(added, []);
  }
  const events = await gate.eventsOf(2);
  assert.deepEqual(events.map(({ subject }) => subject), events.map(() => null));
  assert.equal(events.at(-1).reason, "cohort_override");
});

test("@huggingface/inference reads the canary's response with RESPONSE_FORMAT=huggingface", { timeout: PATIENCE_MS }, async () => {
  const { huggingface: gate } = session.gates;
  const client = new InferenceClient().endpoint(`${gate.origin}/predict`);
  const list = await until(() => client.textClassification({ inputs: TEXT }).catch(() => null));
  assert.deepEqual(list.map(({ label }) => label).sort(), [...LABELS].sort());
  const scores = list.map(({ score }) => score);
  assert.deepEqual(scores, [...scores].sort((left, right) => right - left));
  const event = (await gate.eventsOf(1)).findLast(({ destination }) => destination === "canary");
  assert.deepEqual([event.label, event.confidence], [list[0].label, list[0].score]);
});

describe("a shadow", { timeout: PATIENCE_MS }, () => {
  /** @type {Gate} */
  let gate;
  before(() => {
    gate = session.gates.shadow;
  });

  test("records the model's label for a request that the legacy system answers", async () => {
    const seen = new Set();
    for (const text of [TEXT, "Je suis furieux", "I am so happy", "J’ai peur", "They moved the table again, whatever."]) {
      const { json, event, cohort } = await call(gate, { text, user_id });
      assert.deepEqual([json, cohort, event.destination, event.reason], [old(text), "stable", "stable", "bucket"], text);
      const { json: chosen, event: own } = await call(gate, { text, user_id: "chosen" });
      assert.equal(event.shadow.label, chosen.prediction.primary, text);
      assert.equal(event.shadow.agrees, event.label === event.shadow.label, text);
      assert.equal(event.shadow.fallback, null);
      assert.deepEqual([own.destination, own.shadow], ["canary", null], "never for a canary");
      seen.add(event.shadow.agrees);
    }
    assert.ok(seen.has(true), "they agree on something");
  });

  test("does not delay the response", async () => {
    const text = "fault:slow:1500";
    const answer = await gate.classify({ text, user_id });
    const printed = gate.events().map(({ id }) => id);
    assert.deepEqual(answer.json, old(text));
    const event = await eventOf(gate, answer);
    assert.ok(!printed.includes(event.id), "the answer came before the shadow's end");
    assert.ok(event.shadow.latency_ms >= 1500 && event.latency_ms < 1500, `${event.shadow.latency_ms}, ${event.latency_ms} ms`);
  });

  test("that fails changes only the event", async () => {
    for (const [text, fallback] of [
      ["fault:refuse:422", "refused"],
      ["fault:garble", "invalid_response"],
      ["fault:nan", "non_finite"],
      ["fault:mismatch", "dimension_mismatch"],
      ["fault:throw", "trap"],
      ["fault:trap", "trap"],
    ]) {
      const { status, json, event } = await call(gate, { text, user_id });
      assert.deepEqual([status, json, event.fallback], [200, old(text), null], text);
      const { label, agrees, fallback: shadowed } = event.shadow;
      assert.deepEqual([label, agrees, shadowed], [null, null, fallback], text);
    }
    const unread = await call(gate, { text: TEXT, user_id }, { "x-mock-legacy": "not-json" });
    assert.deepEqual([unread.event.unread_reason, unread.event.shadow.agrees], ["not_json", null]);
    assert.ok(LABELS.includes(unread.event.shadow.label));
    const refused = await call(gate, "{", { "x-user-id": user_id });
    assert.deepEqual([refused.status, refused.event.shadow], [400, null], "no text, no shadow");
  });
});
