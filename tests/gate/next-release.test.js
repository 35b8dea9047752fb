// From one release to the next, in one session of workerd: the first is promoted and becomes the old system of the second,
// which rises, is taken back, and finds the same people again.

import assert from "node:assert/strict";
import { test } from "node:test";
import { PATIENCE_MS, SECRETS } from "../support/gate.js";
import { TEXT, buckets, each } from "../support/gate-calls.js";
import { jeffrey, planOf, startRollout, validation } from "../support/rollout.js";

const PEOPLE = Array.from({ length: 60 }, (_, at) => `user-${at}`);
/** Stays with the old system through both releases. */
const HOLDOUT = "20%";
/** How fast this machine is, is no matter of a healthy release. */
const STAGES = { stages: ["50%", "100%"], minutes: 4, slow: "90%" };

test("a promoted release is the old system of the next one, and a rollback of that returns to it", { timeout: 4 * PATIENCE_MS }, async () => {
  const gate = await startRollout({ SUBJECT_COOKIE: "off" }, { model: "real", previous: "e0-small" });
  const admin = { JEFFREY_ADMIN_TOKEN: SECRETS.JEFFREY_ADMIN_TOKEN };
  /** Who answers each of the people: the encoder's name. */
  const answered = () => each(PEOPLE, async (user_id) => {
    const { status, text, json } = await gate.classify({ text: TEXT, user_id });
    assert.equal(status, 200, text);
    return json.encoder;
  });
  const before = { JEFFREY_GATEWAY_URL: `${gate.origin}/_previous` };
  try {
    // The first one walks its plan, seen through the gate of the second, which nobody has begun.
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

    // All but the plan's holdout are its own now, as `jeffrey bucket` says; the holdout is the stand-in's.
    const first = buckets(PEOPLE, "100%", { release: "e0-small", holdout: HOLDOUT }).map((cohort) => (cohort === "canary" ? "e0-small" : "multilingual-e5-large"));
    assert.equal(new Set(first).size, 2);
    assert.deepEqual(await settled(answered, first), first);

    // The second one begins: half of the others, as `jeffrey bucket` says beforehand, answered by it, the rest as before.
    const valid = await jeffrey(["validate", "--post", `${gate.origin}/_jeffrey`], "", admin);
    assert.equal(valid.code, 0, valid.stderr);
    const begun = await gate.wish({ command: "start", plan: held.replaceAll("4m", "6000m") });
    assert.equal(begun.status, 200, JSON.stringify(begun.json));
    const expected = buckets(PEOPLE, "50%", { holdout: HOLDOUT }).map((cohort, at) => (cohort === "canary" ? "e1-small" : first[at]));
    assert.deepEqual(await settled(answered, expected), expected);

    // Taken back, everybody is where the first one left them; resumed, it finds the same people.
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

/** Asks until an isolate has heard of the change, or two minutes are over. @param {() => Promise<string[]>} ask @param {string[]} expected */
async function settled(ask, expected) {
  const end = Date.now() + 120_000;
  for (;;) {
    const found = await ask();
    if (Date.now() > end || found.every((name, at) => name === expected[at])) return found;
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
}
