// The conditions that hold a rollout, and the failures that it survives, in workerd with TIME_SCALE 60.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { startCollector } from "../support/collector.js";
import { PATIENCE_MS, signal, startGateways, until } from "../support/gateway.js";
import { TEXT } from "../support/gateway-calls.js";
import { planOf, validation, walk, walkable } from "../support/rollout.js";

const OPTIONS = { timeout: 3 * PATIENCE_MS };
/** The limit of 90 % keeps the speed of this machine from deciding these tests. */
const slow = "90%";
const FREEZE = '[[freeze]]\ndays = "mon-sun"\nfrom = "00:00"\nto = "24:00"\n';

/** @typedef {Awaited<ReturnType<typeof startCollector>>} Collector */

/** Response of the webhook target `change-board`. @type {{ status: number, body: object }[]} */
const moods = [{ status: 200, body: { verdict: "approve" } }];
/** @type {Collector} */
let change;
/** @type {Collector} */
let chat;
/** Accepts connections and never responds. @type {Collector} */
let mute;
const state = mkdtempSync(join(tmpdir(), "jeffrey-holds-"));
const start = () => startGateways({
  holding: walkable({
    CONFIRM_TRAFFIC_INCREASE_WEBHOOKS: JSON.stringify([{ name: "change-board", url: change.url, authorization: "Bearer of the board" }]),
    ALERT_WEBHOOKS: JSON.stringify([{ name: "chat", shape: "slack", url: chat.url }]),
  }),
  surviving: walkable({ ALERT_WEBHOOKS: JSON.stringify([{ name: "mute", url: mute.url }]) }),
}, { state });
/** @type {Awaited<ReturnType<typeof start>>} */
let session;
before(async () => {
  change = await startCollector(moods);
  chat = await startCollector([{ status: 200 }]);
  mute = await startCollector([{ status: 0 }]);
  session = await start();
});
after(async () => {
  await session?.stop();
  await Promise.all([change, chat, mute].map((collector) => collector?.stop()));
  rmSync(state, { recursive: true, force: true });
});

describe("a rollout holds", OPTIONS, () => {
  /** @type {ReturnType<typeof walk>} */
  let gate;
  const report = validation();

  before(async () => {
    gate = walk(session.gates.holding);
    await gate.validate(report);
  });
  after(() => gate?.stop());

  /** Starts or resumes the release at the first stage of a plan. @param {object} [options] */
  async function begin(options = {}) {
    moods[0] = { status: 200, body: { verdict: "approve" } };
    gate.traffic.text = TEXT;
    const plan = planOf({ stages: ["50%", "60%", "100%"], slow, ...options });
    const { rollout } = await gate.view();
    const wish = rollout === null ? { command: "start", plan } : { command: "resume", reason: "next test", plan };
    if (rollout !== null && rollout.share_basis_points > 0) await gate.wish({ command: "abort", reason: "next test" });
    const { status, json } = await gate.wish(wish);
    assert.equal(status, 200, JSON.stringify(json));
  }
  /** Waits until the printed status has this phase and this reason. @param {RegExp} pattern @param {string} [phase] */
  const says = (pattern, phase = "holding") => until(async () => {
    const { stdout } = await gate.words(["status"]);
    return stdout.includes(`, ${phase}`) && pattern.test(stdout) && stdout;
  }, () => String(pattern));

  test("until there is a release check of the deployed model", async () => {
    await begin();
    await gate.validate({ ...report, model: { ...report.model, sha256: "1".repeat(64) } });
    await says(/the release check was of model 111111111111/);
    assert.equal((await gate.view()).share_basis_points, 5_000);
    await until(() => chat.asked.some(({ body }) => body.includes("`jeffrey validate --post URL`")));
    await gate.validate(report);
    await until(async () => (await gate.view()).share_basis_points === 6_000);
  });

  test("while a webhook target fails; a halt pauses it until an operator resumes it", async () => {
    await begin();
    moods[0] = { status: 500, body: {} };
    await says(/`change-board` answered retry, or not at all/);
    const { body } = change.asked[change.asked.length - 1];
    assert.deepEqual(JSON.parse(body), { release: "e1-small", from_basis_points: 5_000, to_basis_points: 6_000, stage: 1 });
    moods[0] = { status: 200, body: { verdict: "halt" } };
    await says(/`change-board` answered halt/, "paused");
    assert.equal((await gate.view()).share_basis_points, 5_000);
    moods[0] = { status: 200, body: { verdict: "approve" } };
    const resumed = await gate.words(["resume", "--reason", "the board agrees now"]);
    assert.equal(resumed.code, 0, resumed.stderr);
    await until(async () => (await gate.view()).share_basis_points === 6_000);
  });

  test("until an operator approves, if the stage requires approval", async () => {
    await begin({ stage: "approval = true\n" });
    await says(/waits for approval: the gates pass and the plan wants a person's word/, "awaiting approval");
    const status = await gate.words(["status"]);
    assert.equal(status.code, 1);
    const approved = await gate.words(["approve"]);
    assert.deepEqual([approved.code, approved.stderr], [0, ""]);
    assert.equal((await gate.view()).share_basis_points, 6_000);
    const entry = (await gate.history()).findLast(({ input }) => input.command === "approve");
    assert.equal(entry.input.actor, "somebody");
  });

  test("in a freeze, which a changed plan adds and removes", async () => {
    const plain = { stages: ["50%", "60%", "100%"], slow };
    await begin();
    const frozen = await gate.wish({ command: "plan", plan: planOf({ ...plain, more: FREEZE }) });
    assert.equal(frozen.status, 200, JSON.stringify(frozen.json));
    await gate.reaches("frozen", 5_000);
    assert.equal((await gate.wish({ command: "advance", reason: "hurry" })).status, 409);
    assert.equal((await gate.wish({ command: "plan", plan: planOf(plain) })).status, 200);
    await until(async () => (await gate.view()).share_basis_points === 6_000);
  });

  test("while the legacy system is outside the plan's limits, and while no canary request is counted", async () => {
    await begin();
    gate.legacy.settings.error_rate = 1;
    await says(/the legacy system is outside the plan's limits/);
    gate.legacy.settings.error_rate = 0;
    assert.equal((await gate.view()).share_basis_points, 5_000);
    gate.traffic.rate = 0;
    await begin();
    await says(/no canary request was counted for some minutes/);
    // The calls that failed were the legacy system's own failures.
    gate.traffic.failed = 0;
    const refused = await gate.words(["advance", "--reason", "hurry"]);
    assert.match(refused.stderr, /the stage.s own answers are NOT READY/, "there are none");
    gate.traffic.rate = 25;
    await until(async () => (await gate.view()).share_basis_points === 6_000);
  });

  test("and an operator can advance, pause, resume, roll back and abort it", async () => {
    await begin({ minutes: 600 });
    await until(async () => (await gate.view()).rollout.canary.requests > 20);
    for (const [words, share, phase] of /** @type {[string[], number, string][]} */ ([
      [["advance", "--reason", "seen enough"], 6_000, "ramping"],
      [["pause", "--reason", "lunch"], 6_000, "paused"],
      [["resume", "--reason", "after lunch"], 6_000, "ramping"],
      [["rollback", "--reason", "support says so"], 0, "rolled back"],
      [["resume", "--reason", "mended"], 5_000, "ramping"],
      [["abort", "--reason", "not this one"], 0, "aborted"],
    ])) {
      const { code, stderr } = await gate.words(words);
      assert.deepEqual([code, stderr], [0, ""], words.join(" "));
      const view = await gate.view();
      assert.deepEqual([view.share_basis_points, view.rollout.phase], [share, phase], words.join(" "));
    }
    const by_hand = await gate.own("/v1/admin/share", { method: "PUT", token: "an admin of the tests", body: JSON.stringify({ version: (await gate.view()).version, share: "5%" }) });
    assert.equal(by_hand.status, 200, "nothing moves it now");
  });

  test("and a replay of its history makes the same decisions", async () => {
    const history = await gate.words(["history", "--json"]);
    const again = await gate.words(["replay", "-"], { input: history.stdout });
    assert.equal(again.code, 0, again.stderr);
    assert.equal(gate.traffic.failed, 0);
  });
});

test("a rollout survives a silent webhook target, a killed session, an invalid plan and a late approval", OPTIONS, async () => {
  let gate = walk(session.gates.surviving);
  try {
    await gate.validate(validation());
    const plan = planOf({ stages: ["50%", "100%"], minutes: 600, slow });
    assert.equal((await gate.wish({ command: "start", plan })).status, 200);
    await until(async () => (await gate.view()).rollout.canary.requests > 20);

    // An invalid plan is refused with the lines of all its faults, and the running plan stays.
    const faulty = await gate.wish({ command: "plan", plan: plan.replace('metric = "slow"', 'metric = "speed"').replace('holdout = "1%"', 'holdout = "101%"') });
    assert.equal(faulty.status, 409);
    assert.match(faulty.json.error.message, /line \d+: .*; line \d+: /);
    const judged = await gate.wish({ command: "plan", plan: plan.replace("+50%", "+500%") });
    assert.match(judged.json.error.message, /canary traffic flows/);
    const by_hand = await gate.own("/v1/admin/share", { method: "PUT", token: "an admin of the tests", body: '{"version":1,"share":"100%"}' });
    assert.deepEqual([by_hand.status, /** @type {any} */ (await by_hand.json()).error.code], [409, "plan_active"]);
    const before = await gate.view();
    assert.deepEqual([before.rollout.phase, before.share_basis_points], ["ramping", 5_000]);

    // Ends the isolates, the objects and their alarms at once, with calls in progress.
    signal(gate.group, "SIGKILL");
    await gate.stop();
    await session.stop();
    session = await start();
    gate = walk(session.gates.surviving);
    const after = await gate.view();
    assert.deepEqual([after.share_basis_points, after.rollout.state.stage, after.version], [5_000, 0, before.version]);
    await until(async () => (await gate.view()).rollout.canary.requests > before.rollout.canary.requests + 20);

    gate.traffic.text = "fault:regex";
    await gate.reaches("rolled back", 0);
    const approved = await gate.wish({ command: "approve" });
    assert.match(approved.json.error.message, /`approve` is not possible while the release is rolled back/);
    // Waits for the last canary response: an isolate's share is at most 5 s old, and calls in progress may end.
    const entry = (await gate.history()).findLast(({ actions }) => actions.some((/** @type {any} */ { set_share }) => set_share === 0));
    assert.ok(entry.seq > 0);
    await until(() => Date.now() > gate.traffic.last_canary + 6_000);
    await until(() => mute.asked.length > 0);
    const history = await gate.words(["history", "--json"]);
    const again = await gate.words(["replay", "-"], { input: history.stdout });
    assert.equal(again.code, 0, again.stderr);
    const seqs = history.stdout.split("\n").filter(Boolean).map((line) => JSON.parse(line).seq);
    assert.deepEqual(seqs, seqs.map((_, at) => at + 1), "nothing is missing");
    assert.equal(gate.traffic.failed, 0);
  } finally {
    await gate.stop();
  }
});
