// The closed minutes that gates read, as the event store counts them, compared with counts of the events themselves.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { PATIENCE_MS, SECRETS, startGateway, until } from "../support/gateway.js";
import { TEXT, each, idBytes } from "../support/gateway-calls.js";

const VIEWER = { token: SECRETS.JEFFREY_VIEWER_TOKEN };

/** @param {Awaited<ReturnType<typeof startGateway>>} gate @param {number} [since] @returns {Promise<any[]>} */
const minutesOf = async (gate, since = 0) => (await gate.own(`/v1/minutes?since=${since}`, VIEWER)).json().then((json) => /** @type {any} */ (json));

/** The sum of one value over minutes. @param {any[]} minutes @param {(minute: any) => number} of */
const sum = (minutes, of) => minutes.reduce((total, minute) => total + of(minute), 0);

describe("closed minutes", { timeout: PATIENCE_MS }, () => {
  /** @type {Awaited<ReturnType<typeof startGateway>>} */
  let gate;
  /** @type {any[]} */
  let events;
  /** @type {any[]} */
  let minutes;
  const state = mkdtempSync(join(tmpdir(), "jeffrey-ledger-"));
  const variables = { INITIAL_SHARE: "50%", HOLDOUT: "10%", SHADOW_SHARE: "100%", COHORT_OVERRIDES: "chosen=canary", MODEL_TIMEOUT_MS: "30000" };

  before(async () => {
    gate = await startGateway(variables, { model: "faulty", state });
    const people = Array.from({ length: 60 }, (_, at) => `user-${at}`);
    const texts = [TEXT, "I am so happy", "fault:refuse:422", "Je suis furieux"];
    const calls = people.flatMap((user_id, at) => [{ text: texts[at % 4], user_id }, { text: TEXT, user_id }]);
    calls.push({ text: TEXT, user_id: "chosen" });
    const answers = await each(calls, (body) => gate.classify(body));
    gate.legacy.settings.error_rate = 1;
    answers.push(...(await each(people.slice(0, 20), (user_id) => gate.classify({ text: TEXT, user_id }))));
    gate.legacy.settings.error_rate = 0;
    // A caller without a subject gets a cookie, and is not evidence until it returns with it.
    answers.push(await gate.classify({ text: TEXT }));
    events = await gate.eventsOf(answers.length);
    assert.equal(events.length, answers.length);
    const said = await gate.own("/v1/feedback", { method: "POST", body: JSON.stringify({ id: idBytes(answers[0]).toString("base64url"), ok: false }) });
    assert.equal(said.status, 200);
    // A minute closes 5 s after its end.
    const last = Math.floor(Date.now() / 60_000);
    minutes = await until(async () => Date.now() > (last + 1) * 60_000 + 6_000 && minutesOf(gate));
  });
  after(async () => {
    await gate?.stop();
    rmSync(state, { recursive: true, force: true });
  });

  test("count each request that is evidence once, for its cohort", () => {
    for (const cohort of ["canary", "stable"]) {
      const mine = events.filter((event) => event.cohort === cohort && event.is_evidence);
      const open = mine.filter(({ fallback }) => cohort === "canary" && fallback !== null);
      const errors = mine.filter(({ status }) => status >= 500);
      const answers = mine.filter(({ destination, route }) => destination === cohort && route !== null);
      const found = (/** @type {string} */ name) => sum(minutes, (minute) => minute[cohort][name]);
      assert.equal(found("requests"), mine.length, cohort);
      assert.equal(found("failed_open"), open.length, cohort);
      assert.equal(found("errors_5xx"), errors.filter((event) => !open.includes(event)).length, cohort);
      assert.equal(found("answers"), answers.length, cohort);
      assert.equal(found("low_confidence"), answers.filter(({ low_confidence }) => low_confidence).length, cohort);
      assert.equal(sum(minutes, (minute) => minute[cohort].labels.reduce((/** @type {number} */ a, /** @type {number} */ b) => a + b)), answers.length);
    }
    assert.ok(sum(minutes, ({ canary }) => canary.failed_open) > 0 && sum(minutes, ({ stable }) => stable.errors_5xx) > 0);
    const aside = events.filter(({ is_evidence }) => !is_evidence);
    // The new cookie is random, so one such caller in ten is in the holdout.
    const drawn = aside.map(({ reason, new_cookie }) => [reason === "holdout" ? "bucket" : reason, new_cookie]);
    assert.deepEqual(drawn.sort(), [["bucket", true], ["cohort_override", false]].sort());
    for (const { share_basis_points } of minutes) assert.equal(share_basis_points, 5_000);
  });

  test("count each subject once when it is first seen, and once when it is first affected", () => {
    const drawn = events.filter(({ is_evidence, reason }) => is_evidence && reason === "bucket");
    for (const cohort of ["canary", "stable"]) {
      const subjects = new Set(drawn.filter((event) => event.cohort === cohort).map(({ subject }) => subject));
      assert.equal(sum(minutes, ({ first_seen }) => first_seen[cohort]), subjects.size, cohort);
      const failed = events.filter((event) => event.is_evidence && event.cohort === cohort && (event.status >= 500 || (cohort === "canary" && event.fallback !== null)));
      // Since an hour before all events, each affected subject counts once.
      const hour = Math.floor(minutes[0].minute / 60) - 1;
      const first = sum(minutes, ({ first_affected }) =>
        sum(first_affected.filter((/** @type {any} */ entry) => entry.metric === "errors" && entry.since_hour === hour), ({ subjects }) => subjects[cohort]));
      assert.equal(first, new Set(failed.map(({ subject }) => subject)).size, cohort);
      assert.ok(first > 0, cohort);
    }
    const { top_subjects } = minutes.at(-1);
    assert.equal(top_subjects.requests, sum(minutes, ({ canary }) => canary.requests));
    assert.equal(top_subjects.errors, sum(minutes, ({ canary }) => canary.errors_5xx + canary.failed_open));
    assert.ok(top_subjects.top_two_errors >= 2 && top_subjects.top_two_errors <= top_subjects.errors);
  });

  test("count shadow pairs with low confidence on one side only, and negative feedback", () => {
    const pairs = events.filter(({ shadow, low_confidence }) => shadow?.low_confidence != null && low_confidence !== null);
    assert.ok(pairs.length > 0);
    const alone = (/** @type {boolean} */ canary) => pairs.filter(({ is_evidence, shadow, low_confidence }) => is_evidence && shadow.low_confidence === canary && low_confidence === !canary).length;
    assert.equal(sum(minutes, ({ discordant }) => discordant.canary), alone(true));
    assert.equal(sum(minutes, ({ discordant }) => discordant.stable), alone(false));
    assert.equal(sum(minutes, ({ canary, stable }) => canary.feedback_bad + stable.feedback_bad), 1);
  });

  test("are read after a given minute, with a token", async () => {
    assert.equal((await gate.own("/v1/minutes")).status, 401);
    const last = minutes.at(-1).minute;
    assert.deepEqual(await minutesOf(gate, last), []);
    assert.deepEqual((await minutesOf(gate, last - 1)).map(({ minute }) => minute), [last]);
  });

  test("events have the thresholds and the model of their request", async () => {
    const canary = events.find(({ destination }) => destination === "canary");
    assert.deepEqual([canary.schema_version, canary.thresholds.slow_ms, canary.thresholds.share_basis_points], [3, 200, 5_000]);
    assert.match(canary.model_sha256, /^[0-9a-f]{64}$/);
    assert.equal(canary.model, "e1-small");
    assert.deepEqual(canary.top2[0], [canary.label, canary.confidence]);
    // After a minute has closed, storing the next event sends its P95, and later events have it as a threshold.
    await gate.classify({ text: TEXT, user_id: "user-1" });
    const later = await until(async () => {
      await gate.classify({ text: TEXT, user_id: "user-1" });
      return gate.events().findLast(({ thresholds }) => thresholds.stable_p95_ms !== null);
    });
    const { stable_p95_ms, canary_slow_ms } = later.thresholds;
    assert.ok(stable_p95_ms >= 1 && Math.abs(canary_slow_ms - 1.2 * stable_p95_ms) < 1e-9, JSON.stringify(later.thresholds));
  });

  test("an event store of each earlier schema version is migrated and keeps its events", async () => {
    const all = (await minutesOf(gate)).length;
    // Version 2 has no table of erased subjects; version 1 has neither minutes nor a version number.
    const versions = [
      { statements: ["DELETE FROM schema WHERE version > 2", "DROP TABLE erased", "DROP TABLE began", "DROP INDEX event_release"], minutes: all },
      { statements: ["schema", "tally", "seen", "hit", "affected", "erring", "erased", "began"].map((table) => `DROP TABLE ${table}`).concat("DROP INDEX event_release"), minutes: 0 },
    ];
    for (const { statements, minutes } of versions) {
      await gate.stop();
      const folder = join(state, "v3/do");
      const file = readdirSync(folder, { recursive: true }).map(String).find((name) => name.includes("EventStoreObject") && name.endsWith(".sqlite") && !name.includes("metadata"));
      assert.ok(file, "the ledger's file");
      const back = `
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
for statement in sys.argv[2:]:
    db.execute(statement)
db.commit()
print(db.execute("SELECT COUNT(*) FROM event").fetchone()[0])
`;
      const kept = Number(execFileSync("python3", ["-c", back, join(folder, file), ...statements], { encoding: "utf8" }));
      gate = await startGateway(variables, { model: "none", state });
      const standing = async () => /** @type {any} */ (await (await gate.own("/v1/sinks", VIEWER)).json());
      assert.equal((await standing()).events, kept);
      assert.ok((await minutesOf(gate)).length >= minutes);
      if (minutes === 0) assert.deepEqual(await minutesOf(gate), []);
      await gate.classify({ text: TEXT, user_id: "user-1" });
      await until(async () => (await standing()).events === kept + 1);
    }
  });
});
