// Whole rollouts in workerd with TIME_SCALE 60: a healthy release goes through all stages, a faulty one rolls back by
// four gates and two hard failures, and a replay of each history makes the same decisions.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { startCollector } from "../support/collector.js";
import { PATIENCE_MS, SECRETS, startGateways, until } from "../support/gateway.js";
import { TEXT } from "../support/gateway-calls.js";
import { jeffrey, planOf, validation, walk, walkable } from "../support/rollout.js";

const OPTIONS = { timeout: 3 * PATIENCE_MS };

/** @type {Awaited<ReturnType<typeof startCollector>>} */
let onCall;
const begin = () => startGateways({
  healthy: walkable({ LOG_TEXT_PREVIEW: "on", SHADOW_SHARE: "20%" }),
  wrong: walkable({ ALERT_WEBHOOKS: JSON.stringify([{ name: "on-call", url: onCall.url }]) }),
});
/** @type {Awaited<ReturnType<typeof begin>>} */
let session;
before(async () => {
  onCall = await startCollector([{ status: 503 }, { status: 200 }]);
  session = await begin();
});
after(async () => {
  await session?.stop();
  await onCall?.stop();
});

describe("a healthy release", OPTIONS, () => {
  /** @type {ReturnType<typeof walk>} */
  let gate;
  before(() => {
    gate = walk(session.gates.healthy);
  });
  after(() => gate?.stop());

  test("does not start without a passed release check of the deployed model", async () => {
    const start = () => gate.wish({ command: "start", plan: planOf({ slow: "90%" }) });
    const none = await start();
    assert.deepEqual([none.status, none.json.error.code], [409, "not_done"]);
    assert.match(none.json.error.message, /there is no release check: run `jeffrey validate --post URL`/);
    const report = validation();
    const foreign = { ...report, model: { ...report.model, sha256: "0".repeat(64) } };
    assert.equal((await gate.validate(foreign)).status, 200);
    assert.match((await start()).json.error.message, /was of model 000000000000, deployed is [0-9a-f]{12}/);
    assert.equal((await gate.validate({ ...report, passed: false })).status, 200);
    assert.match((await start()).json.error.message, /failed/);
    assert.equal((await gate.validate({ passed: true })).status, 400);
    assert.equal((await gate.view()).share_basis_points, 0);
  });

  test("goes through every stage and is promoted", async () => {
    const posted = await jeffrey(["validate", "--post", `${gate.origin}/_jeffrey`], "", { JEFFREY_ADMIN_TOKEN: SECRETS.JEFFREY_ADMIN_TOKEN });
    assert.deepEqual([posted.code, posted.stderr], [0, "report posted to the gateway\n"]);
    // The limit of 90 % keeps the speed of this machine from deciding the test.
    const { status, json } = await gate.wish({ command: "start", plan: planOf({ slow: "90%" }) });
    assert.deepEqual([status, json.share_basis_points, json.rollout.phase], [200, 1_000, "ramping"]);
    for (const [at, share] of [1_000, 2_000, 5_000, 7_500].entries()) {
      /** @type {any} */
      let seen;
      const view = await until(async () => {
        const { rollout } = await gate.view();
        seen = rollout;
        return rollout.share_basis_points === share && rollout.canary.requests > 0 && rollout;
      }, () => JSON.stringify(seen));
      assert.equal(view.state.stage, at);
    }
    const { share_basis_points } = await gate.reaches("watching", 10_000);
    assert.equal(share_basis_points, 10_000);
    const watched = await gate.words(["watch", "--interval", "1"]);
    assert.deepEqual([watched.code, watched.stderr], [0, ""]);
    assert.match(watched.stdout, /^e1-small at 100\.00%, stage 5 of 5, watching/m);
    assert.match(watched.stdout, /^e1-small at 100\.00%, stage 5 of 5, promoted$/m);
    await gate.reaches("promoted");
    const page = await (await gate.own("/admin/events?limit=10000", { token: SECRETS.JEFFREY_ADMIN_TOKEN })).text();
    const stages = new Map(page.trimEnd().split("\n").map((line) => JSON.parse(line).thresholds).map(({ stage, share_basis_points }) => [share_basis_points, stage]));
    assert.deepEqual([...stages].sort(([a], [b]) => a - b), [[0, null], [1_000, 0], [2_000, 1], [5_000, 2], [7_500, 3], [10_000, 4]], "each event knows its stage");
    const entries = await gate.history();
    const shares = entries.flatMap(({ actions }) => actions).filter((/** @type {any} */ action) => action.set_share !== undefined).map((/** @type {any} */ action) => action.set_share);
    assert.deepEqual(shares, [1_000, 2_000, 5_000, 7_500, 10_000]);
    assert.deepEqual(gate.traffic.faults, []);
  });

  test("shows its status, and a replay makes the same decisions unless an entry was changed", async () => {
    const status = await gate.words(["status"]);
    assert.equal(status.code, 0, status.stderr);
    assert.match(status.stdout, /✓ 10\.00%  ✓ 20\.00%  ✓ 50\.00%  ✓ 75\.00%  ✓ 100\.00%/);
    assert.match(status.stdout, /^requests +\d+ +\d+$/m);
    assert.match(status.stdout, /^regex above 2 % +roll back +pass /m);
    assert.match(status.stdout, /^latency P95 +\d+ ms +\d+ ms$/m);
    const json = JSON.parse((await gate.words(["status", "--json"])).stdout);
    assert.equal(json.rollout.phase, "promoted");
    const history = await gate.words(["history", "--json"]);
    const again = await gate.words(["replay", "-"], { input: history.stdout });
    assert.match(again.stdout, /^\d+ entries, \d+ decisions replayed: identical\n$/);
    const changed = await gate.words(["replay", "-"], { input: history.stdout.replace('"share_basis_points":2000', '"share_basis_points":3000') });
    assert.equal(changed.code, 1);
    assert.match(changed.stderr, /was recorded otherwise than its inputs decide/);
    const shown = await gate.words(["history"]);
    assert.match(shown.stdout, /test brought a plan/);
    assert.match(shown.stdout, /the share is set to 75\.00%/);
    const refused = await gate.words(["approve"]);
    assert.deepEqual([refused.code, refused.stderr], [1, "`approve` is not possible while the release is promoted\n"]);
    const nobody = await gate.words(["status"], { env: { JEFFREY_ADMIN_TOKEN: "", JEFFREY_VIEWER_TOKEN: "" } });
    assert.deepEqual([nobody.code, /neither is set/.test(nobody.stderr)], [2, true]);
    const away = await gate.words(["status"], { env: { JEFFREY_GATEWAY_URL: "http://127.0.0.1:1/_jeffrey" } });
    assert.deepEqual([away.code, /^error: gateway: /.test(away.stderr)], [2, true]);
  });

  test("has a weekly report with the counts of the event store", async () => {
    gate.traffic.rate = 0;
    const report = await until(async () => {
      const { code, stdout, stderr } = await gate.command(["report", "--week", "--json"]);
      assert.deepEqual([code, stderr], [0, ""]);
      const found = JSON.parse(stdout);
      return found.week.canary.requests + found.week.stable.requests === gate.traffic.calls && found;
    });
    const totals = JSON.parse(await (await gate.own("/v1/totals", { token: SECRETS.JEFFREY_VIEWER_TOKEN })).text());
    assert.equal(report.week.canary.requests, totals.canary.tally.counts.requests);
    assert.deepEqual(report.week.canary.latency_ms, totals.canary.latency_ms);
    assert.equal(report.days.length, 7);
    const sum = (/** @type {string} */ of) => report.days.reduce((/** @type {number} */ all, /** @type {any} */ day) => all + day[of].requests, 0);
    assert.deepEqual([sum("canary"), sum("stable")], [report.week.canary.requests, report.week.stable.requests]);
    assert.ok(report.week.shadows > 0);
    assert.ok(report.decisions.some((/** @type {any} */ { then }) => then.includes("the share is set to 75.00%")));
    const { code, stdout } = await gate.command(["report", "--week"]);
    assert.equal(code, 0);
    assert.match(stdout, /^# e1-small, \d{4}-\d\d-\d\d \d\d:\d\d to /);
    assert.match(stdout, new RegExp(`^\\| requests \\| ${report.week.canary.requests} \\| ${report.week.stable.requests} \\| 0 \\|$`, "m"));
    const nothing = await gate.command(["report"]);
    assert.deepEqual([nothing.code, /--week/.test(nothing.stderr)], [2, true]);
  });

  test("exports masked texts for annotation, and fails without text previews", async () => {
    const judged = await gate.classify({ text: "Call me on 06 12 34 56 78, \"they\" said, fine", user_id: "user-1" });
    const body = JSON.stringify({ id: judged.headers.get("x-jeffrey-id"), correct_label: "fear" });
    const url = `${gate.origin}/_jeffrey/v1/admin/events`;
    await until(async () => (await gate.own("/v1/feedback", { method: "POST", body })).status === 200);
    const { code, stdout, stderr } = await gate.command(["export", "--for-annotation", url]);
    assert.deepEqual([code, stderr], [0, ""]);
    const [head, first] = stdout.split("\n");
    assert.equal(head, "text,label,lang,why,guess,confidence,second,time_ms");
    assert.match(first, /^"Call me on \[PHONE\], ""they"" said, fine",fear,,corrected,/);
    assert.ok(!stdout.includes("12 34"));
    const off = await gate.command(["export", "--for-annotation", "-"], { input: '{"event":"classify","id":"a","time_ms":1,"destination":"canary","preview":null}\n' });
    assert.deepEqual([off.code, off.stderr], [1, "no event has a text preview: LOG_TEXT_PREVIEW is off at the gateway\n"]);
  });
});

describe("a faulty release", OPTIONS, () => {
  /** @type {ReturnType<typeof walk>} */
  let gate;
  before(async () => {
    gate = walk(session.gates.wrong);
    await gate.validate(validation());
  });
  after(() => gate?.stop());

  /** The alerts that the webhook target accepted. */
  const notices = () => onCall.asked.filter(({ status }) => status === 200).map(({ body }) => JSON.parse(body));

  for (const [text, cause, of] of [
    ["fault:regex", "gate", "regex above 2 %"],
    ["fault:rule", "gate", "rule applied above 10 %"],
    ["fault:slow:250", "gate", "P95 above 200 ms"],
    ["fault:refuse:422", "gate", "errors against stable"],
    ["fault:mismatch", "hard_failure", "dimension_mismatch"],
    ["fault:trap", "hard_failure", "trap"],
  ]) {
    test(`rolls back on its own: ${of}`, async () => {
      gate.traffic.text = TEXT;
      const told = notices().filter(({ key, resolved }) => key === "rolled_back" && !resolved).length;
      const begin = (await gate.view()).rollout === null ? { command: "start", plan: planOf({ stages: ["50%", "100%"], minutes: 600 }) } : { command: "resume", reason: "tried again" };
      // After a hard failure the isolate's circuit breaker stays open for 30 s of the clock, which are 30 scaled minutes. A
      // release that is resumed earlier fails open, and rolls back because of that.
      const { last_hard_failure } = await gate.view();
      await until(() => last_hard_failure === null || Date.now() > last_hard_failure.at_ms + 31_000);
      const begun = await gate.wish(begin);
      assert.equal(begun.status, 200, JSON.stringify(begun.json));
      const canary = gate.traffic.canary;
      await until(() => gate.traffic.canary > canary + 20);
      gate.traffic.text = text;
      const view = await gate.reaches("rolled back");
      assert.equal(view.share_basis_points, 0);
      const found = view.state.phase.cause ?? view.state.cause;
      const entry = (await gate.history()).findLast(({ actions }) => actions.some((/** @type {any} */ { set_share }) => set_share === 0));
      assert.equal(entry.state.phase.phase ?? entry.state.phase, "rolled_back");
      const decided = entry.state.phase.cause ?? found;
      if (cause === "gate") {
        assert.equal(decided.gate.gate, of);
        assert.ok(decided.gate.hits > 0 && decided.gate.failed_at_minute > 0, JSON.stringify(decided));
      } else {
        assert.equal(decided.hard_failure, of);
      }
      assert.ok(entry.counts[0].requests > 0 || cause === "hard_failure");
      // The release stays rolled back, and the webhook target gets one alert.
      await until(() => notices().filter(({ key, resolved }) => key === "rolled_back" && !resolved).length === told + 1);
      assert.equal((await gate.wish({ command: "resume", reason: " " })).status, 409);
      const answered = await gate.classify({ text: TEXT, user_id: "user-1" });
      assert.equal(answered.status, 200);
    });
  }

  test("explains its decisions, and a replay of its history makes the same ones", async () => {
    const status = await gate.words(["status"]);
    assert.equal(status.code, 2);
    assert.match(status.stdout, /rolled back: the canary did what none may do once: trap/);
    const entries = await gate.history();
    const by_gate = entries.find(({ state }) => state.phase.cause?.gate?.gate === "regex above 2 %");
    const explained = await gate.words(["explain", String(by_gate.seq)]);
    assert.match(explained.stdout, /^Entry \d+ at .*: its minutes were looked at\. Release is now rolled back in stage 1, traffic share 0\.00%: .*gate `regex above 2 %` fails: /);
    assert.match(explained.stdout, /^Since the stage began: \d+ canary requests with \d+ errors, \d+ stable requests with \d+\.$/m);
    assert.match(explained.stdout, /^regex above 2 % +fail /m);
    const last = await gate.words(["explain"]);
    assert.match(last.stdout, /an isolate saw: trap/);
    const history = await gate.words(["history", "--json"]);
    const again = await gate.words(["replay", "-"], { input: history.stdout });
    assert.equal(again.code, 0, again.stderr);
    const told = await gate.words(["test-alert"]);
    assert.deepEqual([told.code, told.stdout], [0, "on-call: delivered (200)\n"]);
  });

  test("resolves its alert after each resume, and no caller sees an error", () => {
    const over = notices().filter(({ key, resolved }) => key === "rolled_back" && resolved);
    assert.equal(over.length, 5);
    assert.deepEqual(gate.traffic.faults, []);
    const first = notices().find(({ key }) => key === "rolled_back");
    assert.deepEqual([first.severity, first.release], ["critical", "e1-small"]);
    assert.ok(first.commands.includes("jeffrey rollout explain"));
  });
});
