// Two releases in one session of workerd: the first is promoted and is the legacy system of the second, which starts, rolls
// back, and has the same canary users again after it resumes.

import assert from "node:assert/strict";
import { test } from "node:test";
import { PATIENCE_MS, SECRETS } from "../support/gateway.js";
import { TEXT, buckets, each } from "../support/gateway-calls.js";
import { jeffrey, planOf, startRollout, validation } from "../support/rollout.js";

const PEOPLE = Array.from({ length: 60 }, (_, at) => `user-${at}`);
/** Part of the users that the mock legacy system answers during both releases. */
const HOLDOUT = "20%";
/** The limit of 90 % keeps the speed of this machine from deciding the test. */
const STAGES = { stages: ["50%", "100%"], minutes: 4, slow: "90%" };

test("a promoted release is the legacy system of the next one, and a rollback of the next one returns to it", { timeout: 4 * PATIENCE_MS }, async () => {
  const gate = await startRollout({ SUBJECT_COOKIE: "off" }, { model: "real", previous: "e0-small" });
  const admin = { JEFFREY_ADMIN_TOKEN: SECRETS.JEFFREY_ADMIN_TOKEN };
  /** The name of the encoder that answers each user. */
  const answered = () => each(PEOPLE, async (user_id) => {
    const { status, text, json } = await gate.classify({ text: TEXT, user_id });
    assert.equal(status, 200, text);
    return json.encoder;
  });
  const before = { JEFFREY_GATEWAY_URL: `${gate.origin}/_previous` };
  try {
    // The first release completes its plan behind the gateway of the second, which has not started.
    const report = JSON.stringify(validation());
    const posted = await fetch(`${gate.origin}/_previous/v1/admin/validation`, { method: "POST", headers: { authorization: `Bearer ${SECRETS.JEFFREY_ADMIN_TOKEN}` }, body: report });
    assert.equal(posted.status, 200);
    const held = planOf(STAGES).replace('holdout = "1%"', `holdout = "${HOLDOUT}"`);
    const plan = held.replaceAll("e1-small", "e0-small");
    const wish = await fetch(`${gate.origin}/_previous/v1/admin/rollout`, { method: "POST", headers: { authorization: `Bearer ${SECRETS.JEFFREY_ADMIN_TOKEN}` }, body: JSON.stringify({ command: "start", actor: "test", plan }) });
    assert.equal(wish.status, 200, await wish.text());
    const watched = await gate.words(["watch", "--interval", "1", "--timeout", "4m"], { env: before });
    assert.deepEqual([watched.code, watched.stderr], [0, ""], watched.stdout);
    assert.match(watched.stdout, /^e0-small at 100\.00%, stage 2 of 2, promoted$/m);

    // The first release answers all users outside the holdout, as `jeffrey bucket` computes, and the mock
    // legacy system answers the holdout.
    const first = buckets(PEOPLE, "100%", { release: "e0-small", holdout: HOLDOUT }).map((cohort) => (cohort === "canary" ? "e0-small" : "multilingual-e5-large"));
    assert.equal(new Set(first).size, 2);
    assert.deepEqual(await settled(answered, first), first);

    // The second release starts: it answers the half that `jeffrey bucket` computes; the other users are answered as before.
    const valid = await jeffrey(["validate", "--post", `${gate.origin}/_jeffrey`], "", admin);
    assert.equal(valid.code, 0, valid.stderr);
    const begun = await gate.wish({ command: "start", plan: held.replaceAll("4m", "6000m") });
    assert.equal(begun.status, 200, JSON.stringify(begun.json));
    const expected = buckets(PEOPLE, "50%", { holdout: HOLDOUT }).map((cohort, at) => (cohort === "canary" ? "e1-small" : first[at]));
    assert.deepEqual(await settled(answered, expected), expected);

    // After the rollback all users are answered as before the second release; after it resumes, its users are the same.
    assert.equal((await gate.words(["rollback", "--reason", "as a test"])).code, 0);
    assert.deepEqual(await settled(answered, first), first);
    assert.equal((await gate.words(["status"])).code, 2);
    assert.equal((await gate.words(["status"], { env: before })).code, 0, "the first one is promoted still");
    assert.equal((await gate.words(["resume", "--reason", "tried again"])).code, 0);
    assert.deepEqual(await settled(answered, expected), expected);
    assert.deepEqual(gate.traffic.faults, []);
  } finally {
    await gate.stop();
  }
});

/** Asks until the result is as expected, because isolates cache the release state. Returns the last result after two minutes. @param {() => Promise<string[]>} ask @param {string[]} expected */
async function settled(ask, expected) {
  const end = Date.now() + 120_000;
  for (;;) {
    const found = await ask();
    if (Date.now() > end || found.every((name, at) => name === expected[at])) return found;
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
}
