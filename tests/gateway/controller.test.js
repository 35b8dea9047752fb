// Whole rollouts in workerd with TIME_SCALE 60: a healthy release goes through all stages, a faulty one rolls back by
// four gates and two hard failures, and a replay of each history makes the same decisions.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { startCollector } from "../support/collector.js";
import { TEST_TIMEOUT_MS, SECRETS, startGateways, waitFor } from "../support/gateway.js";
import { SAMPLE_TEXT } from "../support/gateway-calls.js";
import { runJeffrey, createPlan, runReleaseCheck, startRolloutTraffic, rolloutSpec } from "../support/rollout.js";

const OPTIONS = { timeout: 3 * TEST_TIMEOUT_MS };

/** @type {Awaited<ReturnType<typeof startCollector>>} */
let alertCollector;
const startSession = () => startGateways({
  healthy: rolloutSpec({ LOG_TEXT_PREVIEW: "on", SHADOW_SHARE: "20%" }),
  faulty: rolloutSpec({ ALERT_WEBHOOKS: JSON.stringify([{ name: "on-call", url: alertCollector.url }]) }),
});
/** @type {Awaited<ReturnType<typeof startSession>>} */
let session;
before(async () => {
  alertCollector = await startCollector([{ status: 503 }, { status: 200 }]);
  session = await startSession();
});
after(async () => {
  await session?.stop();
  await alertCollector?.stop();
});

describe("a healthy release", OPTIONS, () => {
  /** @type {ReturnType<typeof startRolloutTraffic>} */
  let gateway;
  before(() => {
    gateway = startRolloutTraffic(session.gateways.healthy);
  });
  after(() => gateway?.stop());

  test("does not start without a passed release check of the deployed model", async () => {
    const startRelease = () => gateway.sendCommand({ command: "start", plan: createPlan({ slow: "90%" }) });
    const refused = await startRelease();
    assert.deepEqual([refused.status, refused.json.error.code], [409, "not_done"]);
    assert.match(refused.json.error.message, /there is no release check: run `jeffrey validate --post URL`/);
    const report = runReleaseCheck();
    const otherModelReport = { ...report, model: { ...report.model, sha256: "0".repeat(64) } };
    assert.equal((await gateway.postReleaseCheck(otherModelReport)).status, 200);
    assert.match((await startRelease()).json.error.message, /was of model 000000000000, deployed is [0-9a-f]{12}/);
    assert.equal((await gateway.postReleaseCheck({ ...report, passed: false })).status, 200);
    assert.match((await startRelease()).json.error.message, /failed/);
    assert.equal((await gateway.postReleaseCheck({ passed: true })).status, 400);
    assert.equal((await gateway.fetchStatus()).share_basis_points, 0);
  });

  test("goes through every stage and is promoted", async () => {
    const posted = await runJeffrey(["validate", "--post", `${gateway.origin}/_jeffrey`], "", { JEFFREY_ADMIN_TOKEN: SECRETS.JEFFREY_ADMIN_TOKEN });
    assert.deepEqual([posted.code, posted.stderr], [0, "report posted to the gateway\n"]);
    // The limit of 90 % keeps the speed of this machine from deciding the test.
    const { status, json } = await gateway.sendCommand({ command: "start", plan: createPlan({ slow: "90%" }) });
    assert.deepEqual([status, json.share_basis_points, json.rollout.phase], [200, 1_000, "ramping"]);
    for (const [index, share] of [1_000, 2_000, 5_000, 7_500].entries()) {
      /** @type {any} */
      let lastRollout;
      const rollout = await waitFor(async () => {
        const { rollout } = await gateway.fetchStatus();
        lastRollout = rollout;
        return rollout.share_basis_points === share && rollout.canary.requests > 0 && rollout;
      }, () => JSON.stringify(lastRollout));
      assert.equal(rollout.state.stage, index);
    }
    const { share_basis_points } = await gateway.waitForPhase("watching", 10_000);
    assert.equal(share_basis_points, 10_000);
    const watched = await gateway.runRolloutCommand(["watch", "--interval", "1"]);
    assert.deepEqual([watched.code, watched.stderr], [0, ""]);
    // On a busy machine the gates may hold for a while before the command first looks.
    assert.match(watched.stdout, /^e1-small at 100\.00%, stage 5 of 5, (watching|holding: )/m);
    assert.match(watched.stdout, /^e1-small at 100\.00%, stage 5 of 5, promoted$/m);
    await gateway.waitForPhase("promoted");
    const page = await (await gateway.fetchAdmin("/admin/events?limit=10000", { token: SECRETS.JEFFREY_ADMIN_TOKEN })).text();
    const stages = new Map(page.trimEnd().split("\n").map((line) => JSON.parse(line).thresholds).map(({ stage, share_basis_points }) => [share_basis_points, stage]));
    assert.deepEqual([...stages].sort(([a], [b]) => a - b), [[0, null], [1_000, 0], [2_000, 1], [5_000, 2], [7_500, 3], [10_000, 4]], "each event has its stage");
    const entries = await gateway.fetchHistory();
    const shares = entries.flatMap(({ actions }) => actions).filter((/** @type {any} */ action) => action.set_share !== undefined).map((/** @type {any} */ action) => action.set_share);
    assert.deepEqual(shares, [1_000, 2_000, 5_000, 7_500, 10_000]);
    assert.deepEqual(gateway.traffic.failureReasons, []);
  });

  test("shows its status, and a replay makes the same decisions unless an entry was changed", async () => {
    const status = await gateway.runRolloutCommand(["status"]);
    assert.equal(status.code, 0, status.stderr);
    assert.match(status.stdout, /✓ 10\.00%  ✓ 20\.00%  ✓ 50\.00%  ✓ 75\.00%  ✓ 100\.00%/);
    assert.match(status.stdout, /^requests +\d+ +\d+$/m);
    assert.match(status.stdout, /^regex above 2 % +roll back +pass /m);
    assert.match(status.stdout, /^latency P95 +\d+ ms +\d+ ms$/m);
    const json = JSON.parse((await gateway.runRolloutCommand(["status", "--json"])).stdout);
    assert.equal(json.rollout.phase, "promoted");
    const history = await gateway.runRolloutCommand(["history", "--json"]);
    const replayed = await gateway.runRolloutCommand(["replay", "-"], { input: history.stdout });
    assert.match(replayed.stdout, /^\d+ entries, \d+ decisions replayed: identical\n$/);
    const tampered = await gateway.runRolloutCommand(["replay", "-"], { input: history.stdout.replace('"share_basis_points":2000', '"share_basis_points":3000') });
    assert.equal(tampered.code, 1);
    assert.match(tampered.stderr, /was recorded otherwise than its inputs decide/);
    const historyText = await gateway.runRolloutCommand(["history"]);
    assert.match(historyText.stdout, /test applied a plan/);
    assert.match(historyText.stdout, /the share is set to 75\.00%/);
    const refused = await gateway.runRolloutCommand(["approve"]);
    assert.deepEqual([refused.code, refused.stderr], [1, "`approve` is not possible while the release is promoted; possible now: `jeffrey rollout rollback`, `jeffrey rollout abort`\n"]);
    const withoutToken = await gateway.runRolloutCommand(["status"], { env: { JEFFREY_ADMIN_TOKEN: "", JEFFREY_VIEWER_TOKEN: "" } });
    assert.deepEqual([withoutToken.code, /neither is set/.test(withoutToken.stderr)], [2, true]);
    const unreachable = await gateway.runRolloutCommand(["status"], { env: { JEFFREY_GATEWAY_URL: "http://127.0.0.1:1/_jeffrey" } });
    assert.deepEqual([unreachable.code, /^error: gateway: /.test(unreachable.stderr)], [2, true]);
  });

  test("has a weekly report with the counts of the event store", async () => {
    gateway.traffic.rate = 0;
    const report = await waitFor(async () => {
      const { code, stdout, stderr } = await gateway.runCommand(["report", "--week", "--json"]);
      assert.deepEqual([code, stderr], [0, ""]);
      const parsed = JSON.parse(stdout);
      return parsed.week.canary.requests + parsed.week.stable.requests === gateway.traffic.responses && parsed;
    });
    const totals = JSON.parse(await (await gateway.fetchAdmin("/v1/totals", { token: SECRETS.JEFFREY_VIEWER_TOKEN })).text());
    assert.equal(report.week.canary.requests, totals.canary.stats.counts.requests);
    assert.deepEqual(report.week.canary.latency_ms, totals.canary.latency_ms);
    assert.equal(report.days.length, 7);
    const sum = (/** @type {string} */ cohort) => report.days.reduce((/** @type {number} */ total, /** @type {any} */ day) => total + day[cohort].requests, 0);
    assert.deepEqual([sum("canary"), sum("stable")], [report.week.canary.requests, report.week.stable.requests]);
    assert.ok(report.week.shadow_count > 0);
    assert.ok(report.decisions.some((/** @type {any} */ { outcome }) => outcome.text.includes("the share is set to 75.00%")));
    const { code, stdout } = await gateway.runCommand(["report", "--week"]);
    assert.equal(code, 0);
    assert.match(stdout, /^# e1-small, \d{4}-\d\d-\d\d \d\d:\d\d to /);
    assert.match(stdout, new RegExp(`^\\| requests \\| ${report.week.canary.requests} \\| ${report.week.stable.requests} \\| 0 \\|$`, "m"));
    const withoutFlag = await gateway.runCommand(["report"]);
    assert.deepEqual([withoutFlag.code, /--week/.test(withoutFlag.stderr)], [2, true]);
  });

  test("exports masked texts for annotation, and fails without text previews", async () => {
    const corrected = await gateway.classify({ text: "Call me on 06 12 34 56 78, \"they\" said, fine", user_id: "user-1" });
    const body = JSON.stringify({ id: corrected.headers.get("x-jeffrey-id"), correct_label: "fear" });
    const url = `${gateway.origin}/_jeffrey/v1/admin/events`;
    await waitFor(async () => (await gateway.fetchAdmin("/v1/feedback", { method: "POST", body })).status === 200);
    const { code, stdout, stderr } = await gateway.runCommand(["export", "--for-annotation", url]);
    assert.deepEqual([code, stderr], [0, ""]);
    const [header, firstRow] = stdout.split("\n");
    assert.equal(header, "text,label,lang,why,guess,confidence,second,time_ms");
    assert.match(firstRow, /^"Call me on \[PHONE\], ""they"" said, fine",fear,,corrected,/);
    assert.ok(!stdout.includes("12 34"));
    const withoutPreviews = await gateway.runCommand(["export", "--for-annotation", "-"], { input: '{"event":"classify","id":"a","time_ms":1,"destination":"canary","preview":null}\n' });
    assert.deepEqual([withoutPreviews.code, withoutPreviews.stderr], [1, "no event has a text preview: LOG_TEXT_PREVIEW is off at the gateway\n"]);
  });
});

describe("a faulty release", OPTIONS, () => {
  /** @type {ReturnType<typeof startRolloutTraffic>} */
  let gateway;
  before(async () => {
    gateway = startRolloutTraffic(session.gateways.faulty);
    await gateway.postReleaseCheck(runReleaseCheck());
  });
  after(() => gateway?.stop());

  /** The alerts that the webhook target accepted. */
  const deliveredAlerts = () => alertCollector.requests.filter(({ status }) => status === 200).map(({ body }) => JSON.parse(body));

  for (const [text, cause, detail] of [
    ["fault:regex", "gate", "regex above 2 %"],
    ["fault:rule", "gate", "rule applied above 10 %"],
    ["fault:slow:250", "gate", "P95 above 200 ms"],
    ["fault:refuse:422", "gate", "errors against stable"],
    ["fault:mismatch", "hard_failure", "dimension_mismatch"],
    ["fault:trap", "hard_failure", "trap"],
  ]) {
    test(`rolls back automatically: ${detail}`, async () => {
      gateway.traffic.text = SAMPLE_TEXT;
      const alertsBefore = deliveredAlerts().filter(({ dedup_key, resolved }) => dedup_key === "rolled_back" && !resolved).length;
      const startCommand = (await gateway.fetchStatus()).rollout === null ? { command: "start", plan: createPlan({ stages: ["50%", "100%"], minutes: 600 }) } : { command: "resume", reason: "tried again" };
      // After a hard failure the isolate's circuit breaker stays open for 30 s of the clock, which are 30 scaled minutes. A
      // release that is resumed earlier fails open, and rolls back because of that.
      const { last_hard_failure } = await gateway.fetchStatus();
      await waitFor(() => last_hard_failure === null || Date.now() > last_hard_failure.at_ms + 31_000);
      const started = await gateway.sendCommand(startCommand);
      assert.equal(started.status, 200, JSON.stringify(started.json));
      const canaryBefore = gateway.traffic.canaryResponses;
      await waitFor(() => gateway.traffic.canaryResponses > canaryBefore + 20);
      gateway.traffic.text = text;
      const rollout = await gateway.waitForPhase("rolled back");
      assert.equal(rollout.share_basis_points, 0);
      const statusCause = rollout.state.phase.cause ?? rollout.state.cause;
      const entry = (await gateway.fetchHistory()).findLast(({ actions }) => actions.some((/** @type {any} */ { set_share }) => set_share === 0));
      assert.equal(entry.state.phase.phase ?? entry.state.phase, "rolled_back");
      const entryCause = entry.state.phase.cause ?? statusCause;
      if (cause === "gate") {
        assert.equal(entryCause.gate.gate, detail);
        assert.ok(entryCause.gate.hits > 0 && entryCause.gate.failed_at_minute > 0, JSON.stringify(entryCause));
      } else {
        assert.equal(entryCause.hard_failure, detail);
      }
      assert.ok(entry.counts[0].requests > 0 || cause === "hard_failure");
      // The release stays rolled back, and the webhook target gets one alert.
      await waitFor(() => deliveredAlerts().filter(({ dedup_key, resolved }) => dedup_key === "rolled_back" && !resolved).length === alertsBefore + 1);
      assert.equal((await gateway.sendCommand({ command: "resume", reason: " " })).status, 409);
      const response = await gateway.classify({ text: SAMPLE_TEXT, user_id: "user-1" });
      assert.equal(response.status, 200);
    });
  }

  test("explains its decisions, and a replay of its history makes the same ones", async () => {
    const status = await gateway.runRolloutCommand(["status"]);
    assert.equal(status.code, 2);
    assert.match(status.stdout, /rolled back: hard failure of the canary: trap/);
    const entries = await gateway.fetchHistory();
    const gateEntry = entries.find(({ state }) => state.phase.cause?.gate?.gate === "regex above 2 %");
    const explained = await gateway.runRolloutCommand(["explain", String(gateEntry.seq)]);
    assert.match(explained.stdout, /^Entry \d+ at .*: the gates were evaluated\. Release is now rolled back in stage 1, traffic share 0\.00%: .*gate `regex above 2 %` fails: /);
    assert.match(explained.stdout, /^Since the stage began: \d+ canary requests with \d+ errors, \d+ stable requests with \d+\.$/m);
    assert.match(explained.stdout, /^regex above 2 % +fail /m);
    const lastExplained = await gateway.runRolloutCommand(["explain"]);
    assert.match(lastExplained.stdout, /an isolate reported a hard failure: trap/);
    const history = await gateway.runRolloutCommand(["history", "--json"]);
    const replayed = await gateway.runRolloutCommand(["replay", "-"], { input: history.stdout });
    assert.equal(replayed.code, 0, replayed.stderr);
    const testAlert = await gateway.runRolloutCommand(["test-alert"]);
    assert.deepEqual([testAlert.code, testAlert.stdout], [0, "on-call: delivered (200)\n"]);
  });

  test("resolves its alert after each resume, and no caller sees an error", () => {
    const resolvedAlerts = deliveredAlerts().filter(({ dedup_key, resolved }) => dedup_key === "rolled_back" && resolved);
    assert.equal(resolvedAlerts.length, 5);
    assert.deepEqual(gateway.traffic.failureReasons, []);
    const firstAlert = deliveredAlerts().find(({ dedup_key }) => dedup_key === "rolled_back");
    assert.deepEqual([firstAlert.severity, firstAlert.release], ["critical", "e1-small"]);
    assert.ok(firstAlert.commands.includes("jeffrey rollout explain"));
  });
});
