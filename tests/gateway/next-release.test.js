// Two releases in one session of workerd: the first is promoted and is the legacy system of the second, which starts, rolls
// back, and has the same canary users again after it resumes.

import assert from "node:assert/strict";
import { test } from "node:test";
import { TEST_TIMEOUT_MS, SECRETS } from "../support/gateway.js";
import { SAMPLE_TEXT, expectedCohorts, mapInBatches } from "../support/gateway-calls.js";
import { runJeffrey, createPlan, startRollout, runReleaseCheck } from "../support/rollout.js";

/** Their subjects are the same in every run. */
const MOBILE_CLIENTS = 20;
const SERVERS = 20;
/** The gateway draws their subjects: so many that one run in 600,000 has none in the holdout. */
const BROWSERS = 60;
/** Calls of each client in each of the four phases; CHAIN_ROUNDS=25 makes 10,000 calls in all. */
const ROUNDS = Number(process.env.CHAIN_ROUNDS ?? 3);
/** Share of the users for whom the mock legacy system answers during both releases. */
const HOLDOUT = "20%";
/** The limit of 90 % keeps the speed of this machine from deciding the test. */
const PLAN_OPTIONS = { stages: ["50%", "100%"], minutes: 4, slow: "90%" };
const VARIABLES = {
  CANARY_AUTH: "check",
  CANARY_AUTH_CHECK: "GET /private",
  CANARY_AUTH_CACHE: "60",
  CANARY_AUTH_HEADERS: "authorization, x-api-key, cookie",
  JEFFREY_CHAIN_KEY: "a chain key of the tests",
};

/** @typedef {{ kind: "browser" | "mobile" | "server", subject: string, headers: Record<string, string> }} Client */

/** Browsers with a cookie of the gateway and `Origin`, mobile clients with a bearer token, servers with an API key. @param {import("../support/gateway.js").Gateway} gateway @returns {Promise<Client[]>} */
async function startClients(gateway) {
  /** @type {Client[]} */
  const clients = [];
  for (let number = 0; number < BROWSERS; number += 1) {
    const { headers } = await gateway.classify({ text: SAMPLE_TEXT }, { origin: gateway.origin });
    const cookies = headers.getSetCookie().filter((cookie) => cookie.startsWith("jeffrey_subject="));
    assert.equal(cookies.length, 1, "one gateway gives the cookie");
    const cookie = cookies[0].split(";")[0];
    const subject = cookie.slice("jeffrey_subject=".length).split(".")[0];
    clients.push({ kind: "browser", subject, headers: { cookie: `theme=dark; ${cookie}`, origin: gateway.origin } });
  }
  for (let number = 0; number < MOBILE_CLIENTS; number += 1) {
    clients.push({ kind: "mobile", subject: `mobile-${number}`, headers: { authorization: `Bearer ${number}`, "x-user-id": `mobile-${number}` } });
  }
  for (let number = 0; number < SERVERS; number += 1) {
    clients.push({ kind: "server", subject: `server-${number}`, headers: { "x-api-key": String(number), "x-user-id": `server-${number}` } });
  }
  return clients;
}

test("a promoted release is the legacy system of the next one, and a rollback of the next one returns to it", { timeout: 5 * TEST_TIMEOUT_MS }, async () => {
  const gateway = await startRollout(VARIABLES, { model: "real", previous: "e0-small" });
  const adminEnv = { JEFFREY_ADMIN_TOKEN: SECRETS.JEFFREY_ADMIN_TOKEN };
  const previousEnv = { JEFFREY_GATEWAY_URL: `${gateway.origin}/_previous` };
  try {
    const clients = await startClients(gateway);
    const subjects = clients.map(({ subject }) => subject);
    /** Fetches the name of the encoder in each client's response. */
    const fetchEncoders = () => mapInBatches(clients, async ({ kind, headers: sent }) => {
      const { status, text, json, headers } = await gateway.classify({ text: SAMPLE_TEXT }, sent);
      assert.equal(status, 200, text);
      assert.deepEqual(headers.getSetCookie().filter((cookie) => cookie.startsWith("jeffrey_subject=")), [], `${kind} keeps its subject`);
      return json.encoder;
    });
    /** Checks that every call of the phase is on its side. @param {string} phase @param {string[]} expected */
    const checkPhase = async (phase, expected) => {
      assert.deepEqual(await waitForEncoders(fetchEncoders, expected), expected, phase);
      for (let round = 0; round < ROUNDS; round += 1) assert.deepEqual(await fetchEncoders(), expected, `${phase}, round ${round}`);
      const preflight = await fetch(`${gateway.origin}/predict`, { method: "OPTIONS", headers: { origin: gateway.origin, "access-control-request-method": "POST" } });
      const direct = await fetch(`${gateway.legacy.origin}/predict`, { method: "OPTIONS", headers: { origin: gateway.origin, "access-control-request-method": "POST" } });
      assert.equal(preflight.status, direct.status, phase);
    };

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

    // The first release answers all clients outside the holdout, as `jeffrey bucket` computes, and the mock
    // legacy system answers the holdout.
    const original = expectedCohorts(subjects, "100%", { release: "e0-small", holdout: HOLDOUT }).map((cohort) => (cohort === "canary" ? "e0-small" : "multilingual-e5-large"));
    assert.equal(new Set(original).size, 2);
    await checkPhase("the first promoted", original);

    // The second release starts: it answers the half that `jeffrey bucket` computes; the others are answered as before.
    const validated = await runJeffrey(["validate", "--post", `${gateway.origin}/_jeffrey`], "", adminEnv);
    assert.equal(validated.code, 0, validated.stderr);
    const secondStart = await gateway.sendCommand({ command: "start", plan: secondPlan.replaceAll("4m", "6000m") });
    assert.equal(secondStart.status, 200, JSON.stringify(secondStart.json));
    const expected = expectedCohorts(subjects, "50%", { holdout: HOLDOUT }).map((cohort, index) => (cohort === "canary" ? "e1-small" : original[index]));
    for (const kind of ["browser", "mobile", "server"]) {
      assert.equal(new Set(expected.filter((_, index) => clients[index].kind === kind)).size, 3, `${kind}s are answered by three systems`);
    }
    await checkPhase("the second at 50 %", expected);

    // After the rollback all are answered as before the second release; after it resumes, its clients are the same.
    assert.equal((await gateway.runRolloutCommand(["rollback", "--reason", "as a test"])).code, 0);
    await checkPhase("taken back", original);
    assert.equal((await gateway.runRolloutCommand(["status"])).code, 2);
    assert.equal((await gateway.runRolloutCommand(["status"], { env: previousEnv })).code, 0, "the first release is still promoted");
    assert.equal((await gateway.runRolloutCommand(["resume", "--reason", "tried again"])).code, 0);
    await checkPhase("resumed", expected);
    assert.deepEqual(gateway.traffic.failureReasons, []);
    // The mock legacy system hears of the host that the client called, and of no header between the gateways.
    const request = gateway.legacy.requests.findLast(({ method, url }) => method === "POST" && url === "/predict");
    const headers = new Headers(request?.headers);
    assert.equal(headers.get("x-forwarded-host"), new URL(gateway.origin).host);
    assert.deepEqual([...headers.keys()].filter((name) => name.startsWith("x-jeffrey-")), []);
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
