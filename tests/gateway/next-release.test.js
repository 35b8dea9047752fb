// Two releases in one session of workerd: the first is promoted and is the legacy system of the second, which starts, rolls
// back, and has the same canary users again after it resumes.

import assert from "node:assert/strict";
import { test } from "node:test";
import { TEST_TIMEOUT_MS, SECRETS } from "../support/gateway.js";
import { SAMPLE_TEXT, expectedCohorts, mapInBatches } from "../support/gateway-calls.js";
import { runJeffrey, createPlan, startRollout, runReleaseCheck } from "../support/rollout.js";

const USERS = Array.from({ length: 60 }, (_, index) => `user-${index}`);
/** Share of the users for whom the mock legacy system answers during both releases. */
const HOLDOUT = "20%";
/** The limit of 90 % keeps the speed of this machine from deciding the test. */
const PLAN_OPTIONS = { stages: ["50%", "100%"], minutes: 4, slow: "90%" };

test("a promoted release is the legacy system of the next one, and a rollback of the next one returns to it", { timeout: 4 * TEST_TIMEOUT_MS }, async () => {
  const gateway = await startRollout({ SUBJECT_COOKIE: "off" }, { model: "real", previous: "e0-small" });
  const adminEnv = { JEFFREY_ADMIN_TOKEN: SECRETS.JEFFREY_ADMIN_TOKEN };
  /** Fetches the name of the encoder in each user's response. */
  const fetchEncoders = () => mapInBatches(USERS, async (user_id) => {
    const { status, text, json } = await gateway.classify({ text: SAMPLE_TEXT, user_id });
    assert.equal(status, 200, text);
    return json.encoder;
  });
  const previousEnv = { JEFFREY_GATEWAY_URL: `${gateway.origin}/_previous` };
  try {
    // The first release completes its plan behind the gateway of the second, which has not started.
    const report = JSON.stringify(runReleaseCheck());
    const posted = await fetch(`${gateway.origin}/_previous/v1/admin/validation`, { method: "POST", headers: { authorization: `Bearer ${SECRETS.JEFFREY_ADMIN_TOKEN}` }, body: report });
    assert.equal(posted.status, 200);
    const secondPlan = createPlan(PLAN_OPTIONS).replace('holdout = "1%"', `holdout = "${HOLDOUT}"`);
    const firstPlan = secondPlan.replaceAll("e1-small", "e0-small");
    const firstStart = await fetch(`${gateway.origin}/_previous/v1/admin/rollout`, { method: "POST", headers: { authorization: `Bearer ${SECRETS.JEFFREY_ADMIN_TOKEN}` }, body: JSON.stringify({ command: "start", actor: "test", plan: firstPlan }) });
    assert.equal(firstStart.status, 200, await firstStart.text());
    const watched = await gateway.runRolloutCommand(["watch", "--interval", "1", "--timeout", "4m"], { env: previousEnv });
    assert.deepEqual([watched.code, watched.stderr], [0, ""], watched.stdout);
    assert.match(watched.stdout, /^e0-small at 100\.00%, stage 2 of 2, promoted$/m);

    // The first release answers all users outside the holdout, as `jeffrey bucket` computes, and the mock
    // legacy system answers the holdout.
    const original = expectedCohorts(USERS, "100%", { release: "e0-small", holdout: HOLDOUT }).map((cohort) => (cohort === "canary" ? "e0-small" : "multilingual-e5-large"));
    assert.equal(new Set(original).size, 2);
    assert.deepEqual(await waitForEncoders(fetchEncoders, original), original);

    // The second release starts: it answers the half that `jeffrey bucket` computes; the other users are answered as before.
    const validated = await runJeffrey(["validate", "--post", `${gateway.origin}/_jeffrey`], "", adminEnv);
    assert.equal(validated.code, 0, validated.stderr);
    const secondStart = await gateway.sendCommand({ command: "start", plan: secondPlan.replaceAll("4m", "6000m") });
    assert.equal(secondStart.status, 200, JSON.stringify(secondStart.json));
    const expected = expectedCohorts(USERS, "50%", { holdout: HOLDOUT }).map((cohort, index) => (cohort === "canary" ? "e1-small" : original[index]));
    assert.deepEqual(await waitForEncoders(fetchEncoders, expected), expected);

    // After the rollback all users are answered as before the second release; after it resumes, its users are the same.
    assert.equal((await gateway.runRolloutCommand(["rollback", "--reason", "as a test"])).code, 0);
    assert.deepEqual(await waitForEncoders(fetchEncoders, original), original);
    assert.equal((await gateway.runRolloutCommand(["status"])).code, 2);
    assert.equal((await gateway.runRolloutCommand(["status"], { env: previousEnv })).code, 0, "the first release is still promoted");
    assert.equal((await gateway.runRolloutCommand(["resume", "--reason", "tried again"])).code, 0);
    assert.deepEqual(await waitForEncoders(fetchEncoders, expected), expected);
    assert.deepEqual(gateway.traffic.failureReasons, []);
  } finally {
    await gateway.stop();
  }
});

/** Repeats the requests until the result is as expected, because isolates cache the release state. Returns the last result after two minutes. @param {() => Promise<string[]>} fetchEncoders @param {string[]} expected */
async function waitForEncoders(fetchEncoders, expected) {
  const deadline = Date.now() + 120_000;
  for (;;) {
    const encoders = await fetchEncoders();
    if (Date.now() > deadline || encoders.every((name, index) => name === expected[index])) return encoders;
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
}
