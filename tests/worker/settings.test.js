// Tests the model worker's variables: their effect, and the refusal of invalid values.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { TEST_TIMEOUT_MS, postJson, startModelWorkers } from "../support/model-worker.js";

const options = { timeout: TEST_TIMEOUT_MS };

const startWorkers = () => startModelWorkers({
  off: { variables: { JEFFREY_TIEBREAK_ENABLED: "false" } },
  wide: { variables: { JEFFREY_TIEBREAK_DELTA: "1" } },
  narrow: { variables: { JEFFREY_TIEBREAK_DELTA: "0", JEFFREY_TIEBREAK_EXTENDED_DELTA: "0" } },
  refused: { variables: { JEFFREY_TIEBREAK_DELTA: "1.5" } },
  several: { variables: { ALLOWED_ORIGINS: "https://a.example/", JEFFREY_TIEBREAK_EXTENDED_DELTA: "0.01", JEFFREY_FAULT_INJECTION: "yes" } },
  every: { variables: { ALLOWED_ORIGINS: "*" } },
  none: {},
});
/** @type {Awaited<ReturnType<typeof startWorkers>>} */
let session;
before(async () => {
  session = await startWorkers();
});
after(() => session?.stop());

/** Texts that state anger; the test assumes nothing else about their scores. */
const ANGRY_TEXTS = [
  "I am furious about the delay",
  "Je suis furieux contre ce service",
  "I am furious, again the same mistake",
  "Elle est furieuse, encore une erreur",
];

/** @param {string} origin */
async function classifyAll(origin) {
  const responses = [];
  for (const text of ANGRY_TEXTS) responses.push((await postJson(`${origin}/v1/classify`, { text })).json);
  return responses;
}

test("the tie-break's variables change the predictions without a new build", options, async () => {
  const { workers } = session;
  const off = await classifyAll(workers.off.origin);
  assert.deepEqual(off.map(({ rule_applied }) => rule_applied), ANGRY_TEXTS.map(() => null));

  // A delta of 1 covers every gap between the scores, unless the model is certain.
  const isClose = off.map(({ scores }) => Math.abs(scores.anger - scores.frustration) < 0.999);
  assert.ok(isClose.includes(true), "the model is certain of every sentence: choose others");
  const wide = await classifyAll(workers.wide.origin);
  wide.forEach(({ rule_applied, scores }, index) => {
    if (!isClose[index]) return;
    assert.equal(rule_applied, "tiebreak_anger_keyword_standard");
    assert.ok(scores.anger > scores.frustration);
  });

  const narrow = await classifyAll(workers.narrow.origin);
  assert.deepEqual(narrow.map(({ rule_applied }) => rule_applied), ANGRY_TEXTS.map(() => null));

  const refused = await classifyAll(workers.refused.origin);
  for (const { error } of refused) {
    assert.equal(error.code, "invalid_setting");
    assert.equal(error.message, "JEFFREY_TIEBREAK_DELTA of `1.5` is not a number from 0 to 1");
  }
});

test("every refused variable is named at once, and no text is classified until all are corrected", options, async () => {
  const worker = session.workers.several;
  const response = await fetch(`${worker.origin}/health`);
  const health = await response.json();
  assert.deepEqual([response.status, health.status], [503, "failed"]);
  const messages = health.faults.map((/** @type {any} */ fault) => `${fault.code} ${fault.message}`).join("\n");
  assert.match(messages, /^invalid_setting JEFFREY_TIEBREAK_EXTENDED_DELTA of `0\.01` is not a number from 0\.05 to 1$/m);
  assert.match(messages, /^invalid_setting ALLOWED_ORIGINS: `https:\/\/a\.example\/` is not an origin/m);
  assert.match(messages, /^invalid_setting JEFFREY_FAULT_INJECTION of `yes` is neither `on` nor `off`$/m);

  const classifyResponse = await postJson(`${worker.origin}/v1/classify`, { text: "a" });
  assert.deepEqual([classifyResponse.status, classifyResponse.json.error.code], [500, "invalid_setting"]);
  const hfResponse = await postJson(worker.origin, { inputs: "a" });
  assert.deepEqual([hfResponse.status, hfResponse.json.error_type], [500, "Unhealthy"]);
  assert.equal((await postJson(`${worker.origin}/v1/fault/panic`, "a")).status, 404);
  assert.equal((await fetch(`${worker.origin}/openapi.json`)).status, 200);
});

test("every origin may read the response if ALLOWED_ORIGINS is *, and no origin if it is not set", options, async () => {
  const { every, none } = session.workers;
  for (const [worker, expected] of /** @type {const} */ ([[every, "*"], [none, null]])) {
    const { headers } = await postJson(`${worker.origin}/v1/classify`, { text: "a" }, { origin: "https://a.example" });
    assert.equal(headers.get("access-control-allow-origin"), expected);
    assert.equal(headers.get("vary"), null);
  }
});
