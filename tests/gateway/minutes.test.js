// The closed minutes that gates read, as the event store counts them, compared with counts of the events themselves.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { TEST_TIMEOUT_MS, SECRETS, startGateway, waitFor } from "../support/gateway.js";
import { SAMPLE_TEXT, mapInBatches, signedIdBytes } from "../support/gateway-calls.js";

const VIEWER = { token: SECRETS.JEFFREY_VIEWER_TOKEN };

/** @param {Awaited<ReturnType<typeof startGateway>>} gateway @param {number} [since] @returns {Promise<any[]>} */
const fetchMinutes = async (gateway, since = 0) => (await gateway.fetchAdmin(`/v1/minutes?since=${since}`, VIEWER)).json().then((json) => /** @type {any} */ (json));

/** The sum of one value over minutes. @param {any[]} minutes @param {(minute: any) => number} getValue */
const sum = (minutes, getValue) => minutes.reduce((total, minute) => total + getValue(minute), 0);

/** Replaces the tables of an event store by those of an earlier version, and prints the number of events. */
const DOWNGRADE_SCRIPT = `
import json, sqlite3, sys, zlib
db = sqlite3.connect(sys.argv[1])
version = int(sys.argv[2])
events = []
for first, lines in db.execute("SELECT first_seq, lines FROM batch ORDER BY first_seq"):
    numbered = enumerate(zlib.decompress(lines, -15).decode().split("\\n")[:-1], first)
    events += [(seq, line) for seq, line in numbered if line]
for table in ["batch", "checkpoint", "minute", "minute_ids", "subject_run", "subject_hits", "feedback", "erased_subject", "schema", "counters_start"]:
    db.execute("DROP TABLE " + table)
db.execute("CREATE TABLE event (seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, time_ms INTEGER NOT NULL, release TEXT NOT NULL, subject TEXT, json TEXT NOT NULL)")
db.execute("CREATE TABLE feedback (classify_id TEXT PRIMARY KEY, time_ms INTEGER NOT NULL)")
db.execute("CREATE TABLE counter (name TEXT PRIMARY KEY, number INTEGER NOT NULL)")
for seq, line in events:
    event = json.loads(line)
    db.execute("INSERT INTO event VALUES (?, ?, ?, ?, ?, ?)", (seq, event["id"], event["time_ms"], event["release"], event.get("subject"), line))
if version > 1:
    db.execute("CREATE TABLE schema (version INTEGER NOT NULL)")
    db.execute("INSERT INTO schema VALUES (3)")
    db.execute("CREATE TABLE cohort_stats (release TEXT NOT NULL, minute INTEGER NOT NULL, cohort TEXT NOT NULL, share INTEGER NOT NULL, json TEXT NOT NULL, PRIMARY KEY (release, minute, cohort, share))")
    db.execute("CREATE TABLE first_seen (release TEXT NOT NULL, subject TEXT NOT NULL, minute INTEGER NOT NULL, cohort TEXT NOT NULL, PRIMARY KEY (release, subject))")
    db.execute("CREATE TABLE last_hit (release TEXT NOT NULL, metric TEXT NOT NULL, subject TEXT NOT NULL, next_minute INTEGER NOT NULL, PRIMARY KEY (release, metric, subject))")
    db.execute("CREATE TABLE newly_affected (release TEXT NOT NULL, minute INTEGER NOT NULL, metric TEXT NOT NULL, hour INTEGER NOT NULL, cohort TEXT NOT NULL, number INTEGER NOT NULL, PRIMARY KEY (release, minute, metric, hour, cohort))")
    db.execute("CREATE TABLE subject_errors (release TEXT NOT NULL, minute INTEGER NOT NULL, subject TEXT NOT NULL, number INTEGER NOT NULL, PRIMARY KEY (release, minute, subject))")
    db.execute("CREATE TABLE erased_subject (subject TEXT PRIMARY KEY, time_ms INTEGER NOT NULL)")
    db.execute("CREATE TABLE counters_start (time_ms INTEGER NOT NULL)")
    for _, line in events:
        event = json.loads(line)
        db.execute("INSERT OR IGNORE INTO cohort_stats VALUES (?, ?, ?, 0, '{}')", (event["release"], event["time_ms"] // 60000, event["cohort"]))
db.commit()
print(len(events))
`;

describe("closed minutes", { timeout: TEST_TIMEOUT_MS }, () => {
  /** @type {Awaited<ReturnType<typeof startGateway>>} */
  let gateway;
  /** @type {any[]} */
  let events;
  /** @type {any[]} */
  let minutes;
  const storageFolder = mkdtempSync(join(tmpdir(), "jeffrey-minutes-"));
  const variables = { INITIAL_SHARE: "50%", HOLDOUT: "10%", SHADOW_SHARE: "100%", COHORT_OVERRIDES: "chosen=canary", MODEL_TIMEOUT_MS: "30000" };

  before(async () => {
    gateway = await startGateway(variables, { model: "faulty", state: storageFolder });
    const users = Array.from({ length: 60 }, (_, index) => `user-${index}`);
    const texts = [SAMPLE_TEXT, "I am so happy", "fault:refuse:422", "Je suis furieux"];
    const bodies = users.flatMap((user_id, index) => [{ text: texts[index % 4], user_id }, { text: SAMPLE_TEXT, user_id }]);
    bodies.push({ text: SAMPLE_TEXT, user_id: "chosen" });
    const responses = await mapInBatches(bodies, (body) => gateway.classify(body));
    gateway.legacy.settings.error_rate = 1;
    responses.push(...(await mapInBatches(users.slice(0, 20), (user_id) => gateway.classify({ text: SAMPLE_TEXT, user_id }))));
    gateway.legacy.settings.error_rate = 0;
    // A caller without a subject gets a cookie, and is not evidence until it returns with it.
    responses.push(await gateway.classify({ text: SAMPLE_TEXT }));
    events = await gateway.waitForEvents(responses.length);
    assert.equal(events.length, responses.length);
    const feedback = await gateway.fetchAdmin("/v1/feedback", { method: "POST", body: JSON.stringify({ id: signedIdBytes(responses[0]).toString("base64url"), ok: false }) });
    assert.equal(feedback.status, 200);
    // A minute closes 5 s after its end.
    const lastMinute = Math.floor(Date.now() / 60_000);
    minutes = await waitFor(async () => Date.now() > (lastMinute + 1) * 60_000 + 6_000 && fetchMinutes(gateway));
  });
  after(async () => {
    await gateway?.stop();
    rmSync(storageFolder, { recursive: true, force: true });
  });

  test("count each request that is evidence once, for its cohort", () => {
    for (const cohort of ["canary", "stable"]) {
      const evidence = events.filter((event) => event.cohort === cohort && event.is_evidence);
      const failedOpen = evidence.filter(({ fallback_reason }) => cohort === "canary" && fallback_reason !== null);
      const errors = evidence.filter(({ status }) => status >= 500);
      const predictions = evidence.filter(({ destination, route }) => destination === cohort && route !== null);
      const countOf = (/** @type {string} */ name) => sum(minutes, (minute) => minute[cohort][name]);
      assert.equal(countOf("requests"), evidence.length, cohort);
      assert.equal(countOf("fallbacks"), failedOpen.length, cohort);
      assert.equal(countOf("errors_5xx"), errors.filter((event) => !failedOpen.includes(event)).length, cohort);
      assert.equal(countOf("scored_responses"), predictions.length, cohort);
      assert.equal(countOf("low_confidence"), predictions.filter(({ low_confidence }) => low_confidence).length, cohort);
      assert.equal(sum(minutes, (minute) => minute[cohort].labels.reduce((/** @type {number} */ a, /** @type {number} */ b) => a + b)), predictions.length);
    }
    assert.ok(sum(minutes, ({ canary }) => canary.fallbacks) > 0 && sum(minutes, ({ stable }) => stable.errors_5xx) > 0);
    const excluded = events.filter(({ is_evidence }) => !is_evidence);
    // The new cookie is random, so one such caller in ten is in the holdout.
    const reasons = excluded.map(({ reason, new_cookie }) => [reason === "holdout" ? "bucket" : reason, new_cookie]);
    assert.deepEqual(reasons.sort(), [["bucket", true], ["cohort_override", false]].sort());
    for (const { share_basis_points } of minutes) assert.equal(share_basis_points, 5_000);
  });

  test("count each subject once when it is first seen, and once when it is first affected", () => {
    const bucketed = events.filter(({ is_evidence, reason }) => is_evidence && reason === "bucket");
    for (const cohort of ["canary", "stable"]) {
      const subjects = new Set(bucketed.filter((event) => event.cohort === cohort).map(({ subject }) => subject));
      assert.equal(sum(minutes, ({ new_subjects }) => new_subjects[cohort]), subjects.size, cohort);
      const failed = events.filter((event) => event.is_evidence && event.cohort === cohort && (event.status >= 500 || (cohort === "canary" && event.fallback_reason !== null)));
      // Since an hour before all events, each affected subject counts once.
      const hour = Math.floor(minutes[0].minute / 60) - 1;
      const affectedSubjects = sum(minutes, ({ newly_affected }) =>
        sum(newly_affected.filter((/** @type {any} */ entry) => entry.metric === "errors" && entry.since_hour === hour), ({ subjects }) => subjects[cohort]));
      assert.equal(affectedSubjects, new Set(failed.map(({ subject }) => subject)).size, cohort);
      assert.ok(affectedSubjects > 0, cohort);
    }
    const { top_subjects } = minutes.at(-1);
    assert.equal(top_subjects.canary_requests, sum(minutes, ({ canary }) => canary.requests));
    assert.equal(top_subjects.canary_errors, sum(minutes, ({ canary }) => canary.errors_5xx + canary.fallbacks));
    assert.ok(top_subjects.two_worst_subjects_errors >= 2 && top_subjects.two_worst_subjects_errors <= top_subjects.canary_errors);
  });

  test("count shadow pairs with low confidence on one side only, and negative feedback", () => {
    const pairs = events.filter(({ shadow, low_confidence }) => shadow?.low_confidence != null && low_confidence !== null);
    assert.ok(pairs.length > 0);
    const countDiscordant = (/** @type {boolean} */ canary) => pairs.filter(({ is_evidence, shadow, low_confidence }) => is_evidence && shadow.low_confidence === canary && low_confidence === !canary).length;
    assert.equal(sum(minutes, ({ discordant_pairs }) => discordant_pairs.canary), countDiscordant(true));
    assert.equal(sum(minutes, ({ discordant_pairs }) => discordant_pairs.stable), countDiscordant(false));
    assert.equal(sum(minutes, ({ canary, stable }) => canary.feedback_bad + stable.feedback_bad), 1);
  });

  test("are read after a given minute, with a token", async () => {
    assert.equal((await gateway.fetchAdmin("/v1/minutes")).status, 401);
    const lastMinute = minutes.at(-1).minute;
    assert.deepEqual(await fetchMinutes(gateway, lastMinute), []);
    assert.deepEqual((await fetchMinutes(gateway, lastMinute - 1)).map(({ minute }) => minute), [lastMinute]);
  });

  test("events have the thresholds and the model of their request", async () => {
    const canary = events.find(({ destination }) => destination === "canary");
    assert.deepEqual([canary.schema_version, canary.thresholds.slow_ms, canary.thresholds.share_basis_points], [3, 200, 5_000]);
    assert.match(canary.model_sha256, /^[0-9a-f]{64}$/);
    assert.equal(canary.model, "e1-small");
    assert.deepEqual(canary.top2[0], [canary.label, canary.confidence]);
    // After a minute has closed, storing the next event sends its P95, and later events have it as a threshold.
    await gateway.classify({ text: SAMPLE_TEXT, user_id: "user-1" });
    const laterEvent = await waitFor(async () => {
      await gateway.classify({ text: SAMPLE_TEXT, user_id: "user-1" });
      return gateway.events().findLast(({ thresholds }) => thresholds.stable_p95_ms !== null);
    });
    const { stable_p95_ms, canary_slow_ms } = laterEvent.thresholds;
    assert.ok(stable_p95_ms >= 1 && Math.abs(canary_slow_ms - 1.2 * stable_p95_ms) < 1e-9, JSON.stringify(laterEvent.thresholds));
  });

  test("an event store of each earlier schema version is migrated and keeps its events", async () => {
    const minuteCount = (await fetchMinutes(gateway)).length;
    // Version 1 has no minutes.
    for (const { version, minutes } of [{ version: 3, minutes: minuteCount }, { version: 1, minutes: 0 }]) {
      await gateway.stop();
      const folder = join(storageFolder, "v3/do");
      const file = readdirSync(folder, { recursive: true }).map(String).find((name) => name.includes("EventStoreObject") && name.endsWith(".sqlite") && !name.includes("metadata"));
      assert.ok(file, "the event store's file");
      const eventCount = Number(execFileSync("python3", ["-c", DOWNGRADE_SCRIPT, join(folder, file), String(version)], { encoding: "utf8" }));
      gateway = await startGateway(variables, { model: "none", state: storageFolder });
      const fetchSinkStatus = async () => /** @type {any} */ (await (await gateway.fetchAdmin("/v1/sinks", VIEWER)).json());
      assert.equal((await fetchSinkStatus()).events, eventCount);
      assert.ok((await fetchMinutes(gateway)).length >= minutes);
      if (minutes === 0) assert.deepEqual(await fetchMinutes(gateway), []);
      await gateway.classify({ text: SAMPLE_TEXT, user_id: "user-1" });
      await waitFor(async () => (await fetchSinkStatus()).events === eventCount + 1);
    }
  });
});
