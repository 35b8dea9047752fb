// The worker's variables: what they change, what is refused and how it says so.

import assert from "node:assert/strict";
import { test } from "node:test";
import { PATIENCE_MS, post, startModelWorker } from "../support/model-worker.js";

const options = { timeout: PATIENCE_MS };

/** Texts that say anger in so many words; what else they say is the model's matter. */
const ANGRY = [
  "I am furious about the delay",
  "Je suis furieux contre ce service",
  "I am furious, again the same mistake",
  "Elle est furieuse, encore une erreur",
];

/** @param {string} origin */
async function ask(origin) {
  const answers = [];
  for (const text of ANGRY) answers.push((await post(`${origin}/v1/classify`, { text })).json);
  return answers;
}

test("the tie-break's variables change the answers without a new build", options, async () => {
  /** Answers of a worker with these variables. @param {Record<string, string>} variables */
  async function answers(variables) {
    const worker = await startModelWorker(variables);
    try {
      return await ask(worker.origin);
    } finally {
      await worker.stop();
    }
  }
  const off = await answers({ JEFFREY_TIEBREAK_ENABLED: "false" });
  assert.deepEqual(off.map(({ rule_applied }) => rule_applied), ANGRY.map(() => null));

  // A gap below 1 is every gap, short of a model that is certain.
  const near = off.map(({ scores }) => Math.abs(scores.anger - scores.frustration) < 0.999);
  assert.ok(near.includes(true), "the model is certain of every sentence: choose others");
  const wide = await answers({ JEFFREY_TIEBREAK_DELTA: "1" });
  wide.forEach(({ rule_applied, scores }, index) => {
    if (!near[index]) return;
    assert.equal(rule_applied, "tiebreak_anger_keyword_standard");
    assert.ok(scores.anger > scores.frustration);
  });

  const narrow = await answers({ JEFFREY_TIEBREAK_DELTA: "0", JEFFREY_TIEBREAK_EXTENDED_DELTA: "0" });
  assert.deepEqual(narrow.map(({ rule_applied }) => rule_applied), ANGRY.map(() => null));

  const refused = await answers({ JEFFREY_TIEBREAK_DELTA: "1.5" });
  for (const { error } of refused) {
    assert.equal(error.code, "bad_setting");
    assert.equal(error.message, "JEFFREY_TIEBREAK_DELTA of `1.5` is not a number from 0 to 1");
  }
});

test("every refused variable is named at once, and nothing is classified until it is corrected", options, async () => {
  const worker = await startModelWorker({
    ALLOWED_ORIGINS: "https://a.example/",
    JEFFREY_TIEBREAK_EXTENDED_DELTA: "0.01",
    JEFFREY_FAULT_INJECTION: "yes",
  });
  try {
    const response = await fetch(`${worker.origin}/health`);
    const health = await response.json();
    assert.deepEqual([response.status, health.status], [503, "failed"]);
    const messages = health.faults.map((/** @type {any} */ fault) => `${fault.code} ${fault.message}`).join("\n");
    assert.match(messages, /^bad_setting JEFFREY_TIEBREAK_EXTENDED_DELTA of `0\.01` is not a number from 0\.05 to 1$/m);
    assert.match(messages, /^bad_setting ALLOWED_ORIGINS: `https:\/\/a\.example\/` is not an origin/m);
    assert.match(messages, /^bad_setting JEFFREY_FAULT_INJECTION of `yes` is neither `on` nor `off`$/m);

    const own = await post(`${worker.origin}/v1/classify`, { text: "a" });
    assert.deepEqual([own.status, own.json.error.code], [500, "bad_setting"]);
    const hub = await post(worker.origin, { inputs: "a" });
    assert.deepEqual([hub.status, hub.json.error_type], [500, "Unhealthy"]);
    assert.equal((await post(`${worker.origin}/v1/fault/panic`, "a")).status, 404);
    assert.equal((await fetch(`${worker.origin}/openapi.json`)).status, 200);
  } finally {
    await worker.stop();
  }
});

test("every origin may read when ALLOWED_ORIGINS is *, none when it is not set", options, async () => {
  for (const [variables, expected] of /** @type {const} */ ([[{ ALLOWED_ORIGINS: "*" }, "*"], [{}, null]])) {
    const worker = await startModelWorker(variables);
    try {
      const { headers } = await post(`${worker.origin}/v1/classify`, { text: "a" }, { origin: "https://a.example" });
      assert.equal(headers.get("access-control-allow-origin"), expected);
      assert.equal(headers.get("vary"), null);
    } finally {
      await worker.stop();
    }
  }
});
