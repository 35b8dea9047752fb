// The conditions that hold a rollout, and the failures that it survives, in workerd with TIME_SCALE 60.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { startCollector } from "../support/collector.js";
import { TEST_TIMEOUT_MS, signal, startGateways, waitFor } from "../support/gateway.js";
import { SAMPLE_TEXT } from "../support/gateway-calls.js";
import { createPlan, runReleaseCheck, startRolloutTraffic, rolloutSpec } from "../support/rollout.js";

const OPTIONS = { timeout: 3 * TEST_TIMEOUT_MS };
/** The limit of 90 % keeps the speed of this machine from deciding these tests. */
const slow = "90%";
const FREEZE = '[[freeze]]\ndays = "mon-sun"\nfrom = "00:00"\nto = "24:00"\n';

/** @typedef {Awaited<ReturnType<typeof startCollector>>} Collector */

/** Response of the webhook target `change-board`. @type {{ status: number, body: object }[]} */
const webhookResponses = [{ status: 200, body: { verdict: "approve" } }];
/** @type {Collector} */
let changeBoard;
/** @type {Collector} */
let chat;
/** Accepts connections and never responds. @type {Collector} */
let silent;
const storageFolder = mkdtempSync(join(tmpdir(), "jeffrey-holds-"));
const startSession = () => startGateways({
  holding: rolloutSpec({
    CONFIRM_TRAFFIC_INCREASE_WEBHOOKS: JSON.stringify([{ name: "change-board", url: changeBoard.url, authorization: "Bearer of the board" }]),
    ALERT_WEBHOOKS: JSON.stringify([{ name: "chat", shape: "slack", url: chat.url }]),
  }),
  surviving: rolloutSpec({ ALERT_WEBHOOKS: JSON.stringify([{ name: "silent", url: silent.url }]) }),
}, { state: storageFolder });
/** @type {Awaited<ReturnType<typeof startSession>>} */
let session;
before(async () => {
  changeBoard = await startCollector(webhookResponses);
  chat = await startCollector([{ status: 200 }]);
  silent = await startCollector([{ status: 0 }]);
  session = await startSession();
});
after(async () => {
  await session?.stop();
  await Promise.all([changeBoard, chat, silent].map((collector) => collector?.stop()));
  rmSync(storageFolder, { recursive: true, force: true });
});

describe("a rollout holds", OPTIONS, () => {
  /** @type {ReturnType<typeof startRolloutTraffic>} */
  let gateway;
  const report = runReleaseCheck();

  before(async () => {
    gateway = startRolloutTraffic(session.gateways.holding);
    await gateway.postReleaseCheck(report);
  });
  after(() => gateway?.stop());

  /** Starts or resumes the release at the first stage of a plan. @param {object} [options] */
  async function startOrResume(options = {}) {
    webhookResponses[0] = { status: 200, body: { verdict: "approve" } };
    gateway.traffic.text = SAMPLE_TEXT;
    const plan = createPlan({ stages: ["50%", "60%", "100%"], slow, ...options });
    const { rollout } = await gateway.fetchStatus();
    const command = rollout === null ? { command: "start", plan } : { command: "resume", reason: "next test", plan };
    if (rollout !== null && rollout.share_basis_points > 0) await gateway.sendCommand({ command: "abort", reason: "next test" });
    const { status, json } = await gateway.sendCommand(command);
    assert.equal(status, 200, JSON.stringify(json));
  }
  /** Waits until the printed status has this phase and this reason. @param {RegExp} pattern @param {string} [phase] */
  const waitForStatus = (pattern, phase = "holding") => waitFor(async () => {
    const { stdout } = await gateway.runRolloutCommand(["status"]);
    return stdout.includes(`, ${phase}`) && pattern.test(stdout) && stdout;
  }, () => String(pattern));

  test("until there is a release check of the deployed model", async () => {
    await startOrResume();
    await gateway.postReleaseCheck({ ...report, model: { ...report.model, sha256: "1".repeat(64) } });
    await waitForStatus(/the release check was of model 111111111111/);
    assert.equal((await gateway.fetchStatus()).share_basis_points, 5_000);
    await waitFor(() => chat.requests.some(({ body }) => body.includes("`jeffrey validate --post URL`")));
    await gateway.postReleaseCheck(report);
    await waitFor(async () => (await gateway.fetchStatus()).share_basis_points === 6_000);
  });

  test("while a webhook target fails; a halt pauses it until an operator resumes it", async () => {
    await startOrResume();
    webhookResponses[0] = { status: 500, body: {} };
    await waitForStatus(/`change-board` answered retry, or not at all/);
    const { body } = changeBoard.requests[changeBoard.requests.length - 1];
    assert.deepEqual(JSON.parse(body), { release: "e1-small", from_basis_points: 5_000, to_basis_points: 6_000, stage: 1 });
    webhookResponses[0] = { status: 200, body: { verdict: "halt" } };
    await waitForStatus(/`change-board` answered halt/, "paused");
    assert.equal((await gateway.fetchStatus()).share_basis_points, 5_000);
    webhookResponses[0] = { status: 200, body: { verdict: "approve" } };
    const resumed = await gateway.runRolloutCommand(["resume", "--reason", "the board agrees now"]);
    assert.equal(resumed.code, 0, resumed.stderr);
    await waitFor(async () => (await gateway.fetchStatus()).share_basis_points === 6_000);
  });

  test("until an operator approves, if the stage requires approval", async () => {
    await startOrResume({ stageToml: "approval = true\n" });
    await waitForStatus(/waits for approval: the gates pass and the plan requires an approval/, "awaiting approval");
    const status = await gateway.runRolloutCommand(["status"]);
    assert.equal(status.code, 1);
    const approved = await gateway.runRolloutCommand(["approve"]);
    assert.deepEqual([approved.code, approved.stderr], [0, ""]);
    assert.equal((await gateway.fetchStatus()).share_basis_points, 6_000);
    const entry = (await gateway.fetchHistory()).findLast(({ input }) => input.command === "approve");
    assert.equal(entry.input.actor, "somebody");
  });

  test("in a freeze, which a changed plan adds and removes", async () => {
    const planOptions = { stages: ["50%", "60%", "100%"], slow };
    await startOrResume();
    const frozen = await gateway.sendCommand({ command: "apply_plan", plan: createPlan({ ...planOptions, extraToml: FREEZE }) });
    assert.equal(frozen.status, 200, JSON.stringify(frozen.json));
    await gateway.waitForPhase("frozen", 5_000);
    assert.equal((await gateway.sendCommand({ command: "advance", reason: "hurry" })).status, 409);
    assert.equal((await gateway.sendCommand({ command: "apply_plan", plan: createPlan(planOptions) })).status, 200);
    await waitFor(async () => (await gateway.fetchStatus()).share_basis_points === 6_000);
  });

  test("while the legacy system is outside the plan's limits, and while no canary request is counted", async () => {
    await startOrResume();
    gateway.legacy.settings.error_rate = 1;
    await waitForStatus(/the legacy system is outside the plan's limits/);
    gateway.legacy.settings.error_rate = 0;
    assert.equal((await gateway.fetchStatus()).share_basis_points, 5_000);
    gateway.traffic.rate = 0;
    await startOrResume();
    await waitForStatus(/no canary request for five minutes/);
    // The calls that failed were the legacy system's own failures.
    gateway.traffic.failedRequests = 0;
    const refused = await gateway.runRolloutCommand(["advance", "--reason", "hurry"]);
    assert.match(refused.stderr, /the stage.s own answers are NOT READY/, "no canary request was counted");
    gateway.traffic.rate = 25;
    await waitFor(async () => (await gateway.fetchStatus()).share_basis_points === 6_000);
  });

  test("and an operator can advance, pause, resume, roll back and abort it", async () => {
    await startOrResume({ minutes: 600 });
    await waitFor(async () => (await gateway.fetchStatus()).rollout.canary.requests > 20);
    for (const [args, share, phase] of /** @type {[string[], number, string][]} */ ([
      [["advance", "--reason", "seen enough"], 6_000, "ramping"],
      [["pause", "--reason", "lunch"], 6_000, "paused"],
      [["resume", "--reason", "after lunch"], 6_000, "ramping"],
      [["rollback", "--reason", "support says so"], 0, "rolled back"],
      [["resume", "--reason", "mended"], 5_000, "ramping"],
      [["abort", "--reason", "not this one"], 0, "aborted"],
    ])) {
      const { code, stderr } = await gateway.runRolloutCommand(args);
      assert.deepEqual([code, stderr], [0, ""], args.join(" "));
      const status = await gateway.fetchStatus();
      assert.deepEqual([status.share_basis_points, status.rollout.phase], [share, phase], args.join(" "));
    }
    const manualChange = await gateway.fetchAdmin("/v1/admin/share", { method: "PUT", token: "an admin of the tests", body: JSON.stringify({ version: (await gateway.fetchStatus()).version, share: "5%" }) });
    assert.equal(manualChange.status, 200, "no plan is active");
  });

  test("and a replay of its history makes the same decisions", async () => {
    const history = await gateway.runRolloutCommand(["history", "--json"]);
    const replayed = await gateway.runRolloutCommand(["replay", "-"], { input: history.stdout });
    assert.equal(replayed.code, 0, replayed.stderr);
    assert.equal(gateway.traffic.failedRequests, 0);
  });
});

test("a rollout survives a silent webhook target, a killed session, an invalid plan and a late approval", OPTIONS, async () => {
  let gateway = startRolloutTraffic(session.gateways.surviving);
  try {
    await gateway.postReleaseCheck(runReleaseCheck());
    const plan = createPlan({ stages: ["50%", "100%"], minutes: 600, slow });
    assert.equal((await gateway.sendCommand({ command: "start", plan })).status, 200);
    await waitFor(async () => (await gateway.fetchStatus()).rollout.canary.requests > 20);

    // An invalid plan is refused with the lines of all its faults, and the running plan stays.
    const invalid = await gateway.sendCommand({ command: "apply_plan", plan: plan.replace('metric = "slow"', 'metric = "speed"').replace('holdout = "1%"', 'holdout = "101%"') });
    assert.equal(invalid.status, 409);
    assert.match(invalid.json.error.message, /line \d+: .*; line \d+: /);
    const limitChange = await gateway.sendCommand({ command: "apply_plan", plan: plan.replace("+50%", "+500%") });
    assert.match(limitChange.json.error.message, /canary traffic flows/);
    const manualChange = await gateway.fetchAdmin("/v1/admin/share", { method: "PUT", token: "an admin of the tests", body: '{"version":1,"share":"100%"}' });
    assert.deepEqual([manualChange.status, /** @type {any} */ (await manualChange.json()).error.code], [409, "plan_active"]);
    const statusBefore = await gateway.fetchStatus();
    assert.deepEqual([statusBefore.rollout.phase, statusBefore.share_basis_points], ["ramping", 5_000]);

    // Ends the isolates, the objects and their alarms at once, with calls in progress.
    signal(gateway.group, "SIGKILL");
    await gateway.stop();
    await session.stop();
    session = await startSession();
    gateway = startRolloutTraffic(session.gateways.surviving);
    const statusAfter = await gateway.fetchStatus();
    assert.deepEqual([statusAfter.share_basis_points, statusAfter.rollout.state.stage, statusAfter.version], [5_000, 0, statusBefore.version]);
    await waitFor(async () => (await gateway.fetchStatus()).rollout.canary.requests > statusBefore.rollout.canary.requests + 20);

    gateway.traffic.text = "fault:regex";
    await gateway.waitForPhase("rolled back", 0);
    const approved = await gateway.sendCommand({ command: "approve" });
    assert.match(approved.json.error.message, /`approve` is not possible while the release is rolled back/);
    // Waits for the last canary response: an isolate's share is at most 5 s old, and calls in progress may end.
    const entry = (await gateway.fetchHistory()).findLast(({ actions }) => actions.some((/** @type {any} */ { set_share }) => set_share === 0));
    assert.ok(entry.seq > 0);
    await waitFor(() => Date.now() > gateway.traffic.last_canary_ms + 6_000);
    await waitFor(() => silent.requests.length > 0);
    const history = await gateway.runRolloutCommand(["history", "--json"]);
    const replayed = await gateway.runRolloutCommand(["replay", "-"], { input: history.stdout });
    assert.equal(replayed.code, 0, replayed.stderr);
    const sequence = history.stdout.split("\n").filter(Boolean).map((line) => JSON.parse(line).seq);
    assert.deepEqual(sequence, sequence.map((_, index) => index + 1), "no history entry is missing");
    assert.equal(gateway.traffic.failedRequests, 0);
  } finally {
    await gateway.stop();
  }
});
