// The worker's variables: what they change, what is refused and how it says so.

import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { PATIENCE_MS, copyWorker, post, rewrite, startModelWorker, until } from "../support/model-worker.js";

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
  const vars = (/** @type {string} */ lines) => (/** @type {string} */ config) =>
    `${config.split("\n[vars]")[0]}\n[vars]\n${lines}\n`;
  const copy = await copyWorker((folder) =>
    rewrite(join(folder, "wrangler.model.toml"), vars('JEFFREY_TIEBREAK_ENABLED = "false"')),
  );
  const config = join(copy.folder, "wrangler.model.toml");
  const worker = await startModelWorker({}, copy);

  /**
   * Sets variables and asks until the answers are as said. wrangler loads a changed configuration
   * by itself, unless its watcher was not there yet: then it is saved again.
   * @param {string} lines @param {(answers: any[]) => boolean} expected
   */
  async function set(lines, expected) {
    let asked = 0;
    return until(async () => {
      if (asked % 50 === 0) await rewrite(config, vars(`${lines}\n# saved ${asked}`));
      asked += 1;
      const answers = await ask(worker.origin).catch(() => []);
      return answers.length > 0 && expected(answers) && answers;
    });
  }

  try {
    const off = await ask(worker.origin);
    assert.deepEqual(off.map(({ rule_applied }) => rule_applied), ANGRY.map(() => null));

    // A gap below 1 is every gap, short of a model that is certain.
    const near = off.map(({ scores }) => Math.abs(scores.anger - scores.frustration) < 0.999);
    assert.ok(near.includes(true), "the model is certain of every sentence: choose others");
    const applied = (/** @type {any} */ { rule_applied, scores }) =>
      rule_applied === "tiebreak_anger_keyword_standard" && scores.anger > scores.frustration;
    await set('JEFFREY_TIEBREAK_DELTA = "1"', (answers) =>
      answers.every((answer, index) => applied(answer) || !near[index]),
    );
    await set('JEFFREY_TIEBREAK_DELTA = "0"\nJEFFREY_TIEBREAK_EXTENDED_DELTA = "0"', (answers) =>
      answers.every(({ rule_applied }) => rule_applied === null),
    );
    const message = "JEFFREY_TIEBREAK_DELTA of `1.5` is not a number from 0 to 1";
    await set('JEFFREY_TIEBREAK_DELTA = "1.5"', (answers) =>
      answers.every(({ error }) => error?.code === "bad_setting" && error.message === message),
    );
  } finally {
    await worker.stop();
    await copy.remove();
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
