// An event store with four shards, an R2 archive and an Analytics Engine dataset, in workerd: the shards add up to one store.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { after, before, describe, test } from "node:test";
import { PATIENCE_MS, SECRETS, startGateway, until } from "../support/gateway.js";
import { JEFFREY, TEXT, each, eventOf } from "../support/gateway-calls.js";
import { startCollector } from "../support/collector.js";

const VIEWER = { token: SECRETS.JEFFREY_VIEWER_TOKEN };
const ADMIN = { token: SECRETS.JEFFREY_ADMIN_TOKEN };
const SHARDS = 4;
const PEOPLE = 40;
const CALLS = 2 * PEOPLE + 4;

const BOUND = `
[[r2_buckets]]
binding = "ARCHIVE"
bucket_name = "jeffrey-events"

[[analytics_engine_datasets]]
binding = "ANALYTICS"
dataset = "jeffrey"
`;

describe("an event store with four shards", { timeout: PATIENCE_MS }, () => {
  /** @type {Awaited<ReturnType<typeof startGateway>>} */
  let gate;
  /** @type {Awaited<ReturnType<typeof startCollector>>} */
  let lines;
  /** @type {Awaited<ReturnType<typeof startCollector>>} */
  let metrics;
  /** @type {Awaited<ReturnType<Awaited<ReturnType<typeof startGateway>>["classify"]>>[]} */
  let answers;
  /** @type {any[]} */
  let events;
  const state = mkdtempSync(join(tmpdir(), "jeffrey-shards-"));

  before(async () => {
    lines = await startCollector([{ status: 200 }]);
    metrics = await startCollector([{ status: 500 }, { status: 200 }]);
    const sinks = [{ name: "lines", kind: "ndjson", url: lines.url }, { name: "metrics", kind: "otlp-metrics", url: metrics.url }];
    const variables = { EVENT_STORE_SHARDS: String(SHARDS), INITIAL_SHARE: "50%", SUBJECT_COOKIE: "off", TIME_SCALE: "60", SINKS: JSON.stringify(sinks) };
    gate = await startGateway(variables, { model: "none", state, feeder: "jeffrey-events", configure: (toml) => toml + BOUND });
    const people = Array.from({ length: PEOPLE }, (_, at) => ({ text: TEXT, user_id: `user-${at}` }));
    // Each user calls twice, and four calls have no subject.
    answers = await each([...people, ...people, ...Array(4).fill({ text: TEXT })], (body) => gate.classify(body));
    events = await gate.eventsOf(CALLS);
    await until(async () => (await status()).events === CALLS);
  });
  after(async () => {
    await gate?.stop();
    await Promise.all([lines?.stop(), metrics?.stop()]);
    rmSync(state, { recursive: true, force: true });
  });

  const status = async () => /** @type {any} */ (await (await gate.own("/v1/sinks", VIEWER)).json());
  /** @param {number} shard @param {number} [since] */
  async function page(shard, since = 0) {
    const response = await gate.own(`/admin/events?shard=${shard}&since=${since}`, ADMIN);
    assert.equal(response.headers.get("x-jeffrey-shards"), String(SHARDS));
    return (await response.text()).split("\n").filter(Boolean).map((line) => JSON.parse(line));
  }
  const ids = (/** @type {any[]} */ found) => found.map(({ id }) => id).sort();

  test("has each event in one shard, and all events of a subject in the same shard", async () => {
    const parts = await Promise.all(Array.from({ length: SHARDS }, (_, shard) => page(shard)));
    assert.deepEqual(ids(parts.flat()), ids(events));
    assert.ok(parts.every((part) => part.length > 0), parts.map(({ length }) => length).join(" "));
    const home = new Map();
    for (const [shard, part] of parts.entries()) {
      for (const { subject } of part.filter(({ subject }) => subject !== null)) {
        assert.equal(home.get(subject) ?? shard, shard, subject);
        home.set(subject, shard);
      }
    }
    assert.equal(home.size, PEOPLE);
    const refused = await gate.own("/admin/events?shard=4", ADMIN);
    assert.deepEqual([refused.status, /** @type {any} */ (await refused.json()).error], [400, { code: "shard_invalid", message: "shard 4 is not one of the event store's 4, counted from 0" }]);
  });

  test("counts a duplicate once, whichever shard it is in", async () => {
    for (let round = 0; round < 2; round += 1) await gate.feed(events.map((event) => JSON.stringify(event)));
    await gate.feed(["no event"]);
    await until(async () => /^jeffrey_events_malformed_total 1$/m.test(await (await gate.own("/metrics", VIEWER)).text()));
    assert.equal((await status()).events, CALLS);
  });

  test("has sums that are the sums over its shards", async () => {
    const text = await (await gate.own("/metrics", VIEWER)).text();
    const requests = [...text.matchAll(/^jeffrey_requests_total\{.*\} (\d+)$/gm)].reduce((sum, [, number]) => sum + Number(number), 0);
    assert.equal(requests, CALLS);
    const { sinks, shards } = await status();
    const sum = (/** @type {string} */ name) => shards.flatMap((/** @type {any} */ part) => part.sinks).filter((/** @type {any} */ sink) => sink.name === name).reduce((/** @type {number} */ all, /** @type {any} */ { delivered, waiting }) => all + delivered + waiting, 0);
    assert.deepEqual(sinks.map((/** @type {any} */ { name }) => name), ["lines", "metrics", "archive", "analytics"]);
    for (const { name, delivered, waiting } of sinks) assert.equal(delivered + waiting, sum(name), name);
  });

  test("counts each subject once in its closed minutes", async () => {
    const counted = events.filter(({ is_evidence }) => is_evidence).length;
    const minutes = await until(async () => {
      const found = /** @type {any[]} */ (await (await gate.own("/v1/minutes", VIEWER)).json());
      return found.reduce((total, { canary, stable }) => total + canary.requests + stable.requests, 0) === counted && found;
    });
    const sum = (/** @type {(minute: any) => number} */ of) => minutes.reduce((total, minute) => total + of(minute), 0);
    for (const cohort of ["canary", "stable"]) {
      const mine = events.filter((event) => event.cohort === cohort && event.is_evidence);
      assert.equal(sum((minute) => minute[cohort].requests), mine.length, cohort);
      const subjects = new Set(mine.map(({ subject }) => subject).filter((subject) => subject !== null));
      assert.equal(sum(({ first_seen }) => first_seen[cohort]), subjects.size, cohort);
    }
    // Without a model the canary fails open, so every canary subject is affected.
    const affected = new Set(events.filter(({ cohort, is_evidence }) => cohort === "canary" && is_evidence).map(({ subject }) => subject));
    const hour = Math.floor(minutes[0].minute / 60) - 1;
    const first = minutes.flatMap(({ first_affected }) => first_affected).filter(({ metric, since_hour }) => metric === "errors" && since_hour === hour);
    assert.equal(first.reduce((total, { subjects }) => total + subjects.canary, 0), affected.size);
    const { top_subjects } = minutes.at(-1);
    assert.ok(top_subjects.top_two_errors >= 4, "the two with the most erred twice each");
    assert.equal(top_subjects.errors, sum(({ canary }) => canary.failed_open));
    assert.deepEqual(await (await gate.own(`/v1/minutes?since=${minutes.at(-1).minute}`, VIEWER)).json(), []);
  });

  test("accepts feedback on a response once", async () => {
    const say = async (/** @type {number} */ at) => (await gate.own("/v1/feedback", { method: "POST", body: JSON.stringify({ id: answers[at].headers.get("x-jeffrey-id"), ok: true }) })).status;
    for (const at of [0, 1, 2, 3, CALLS - 1]) {
      assert.equal(await say(at), 200);
      assert.equal(await say(at), 409);
    }
    await until(async () => (await status()).events === CALLS + 5);
  });

  test("is read whole by `jeffrey analyze`", async () => {
    const env = { ...process.env, JEFFREY_ADMIN_TOKEN: SECRETS.JEFFREY_ADMIN_TOKEN };
    const run = promisify(execFile)(JEFFREY, ["analyze", `${gate.origin}/_jeffrey/v1/admin/events`, "--cohort", "all", "--json"], { env });
    const { stdout } = await run.catch((error) => error);
    const found = JSON.parse(stdout);
    // Feedback adds lines, but no predictions.
    assert.deepEqual([found.predictions, found.lines, found.broken], [CALLS, CALLS + 5, 0], stdout);
  });

  test("delivers each event to a sink once, from every shard", async () => {
    await until(async () => (await status()).sinks[0].waiting === 0);
    const taken = lines.asked.flatMap(({ body }) => body.trimEnd().split("\n")).map((line) => JSON.parse(line));
    assert.deepEqual(ids(taken.filter(({ event }) => event === "classify")), ids(events));
  });

  test("sends OpenTelemetry metrics whose last sums add up to all calls, even after a refused batch", async () => {
    const sums = await until(() => {
      /** @type {Map<string, any>} */
      const last = new Map();
      for (const { status, body } of metrics.asked.filter(({ status }) => status === 200)) {
        assert.equal(status, 200);
        const [{ resource, scopeMetrics }] = JSON.parse(body).resourceMetrics;
        const [, instance] = resource.attributes;
        assert.equal(instance.key, "service.instance.id");
        last.set(instance.value.stringValue, scopeMetrics[0].metrics);
      }
      const requests = [...last.values()].flat().filter(({ name }) => name === "jeffrey_requests");
      const points = requests.flatMap(({ sum }) => sum.dataPoints);
      const total = points.reduce((all, { asInt }) => all + Number(asInt), 0);
      return last.size === SHARDS && total === CALLS && [...last.values()];
    });
    for (const found of sums) {
      const { sum } = found.find((/** @type {any} */ { name }) => name === "jeffrey_requests");
      assert.deepEqual([sum.aggregationTemporality, sum.isMonotonic], [2, true]);
      const { histogram, unit } = found.find((/** @type {any} */ { name }) => name === "jeffrey_request_duration");
      for (const { count, bucketCounts, explicitBounds } of histogram.dataPoints) {
        assert.deepEqual([unit, bucketCounts.length, explicitBounds[5]], ["s", 12, 0.2]);
        assert.equal(bucketCounts.reduce((/** @type {number} */ all, /** @type {string} */ number) => all + Number(number), 0), Number(count));
      }
    }
  });

  test("writes each event to the archive once, and a point for each to the dataset", async () => {
    await until(async () => (await status()).sinks.every((/** @type {any} */ { waiting }) => waiting === 0));
    const folder = join(state, "v3/r2/jeffrey-events/blobs");
    const texts = readdirSync(folder).map((name) => readFileSync(join(folder, name), "utf8"));
    const kept = texts.flatMap((text) => text.trimEnd().split("\n")).map((line) => JSON.parse(line));
    assert.equal(kept.length, CALLS + 5);
    assert.deepEqual(ids(kept.filter(({ event }) => event === "classify")), ids(events));
    const { sinks } = await status();
    assert.deepEqual(sinks.slice(2).map((/** @type {any} */ { name, delivered, dropped }) => [name, delivered, dropped]), [["archive", CALLS + 5, 0], ["analytics", CALLS + 5, 0]]);
  });

  test("erases a subject in every shard, and an earlier event that arrives later does not return", async () => {
    const erase = async () => (await gate.own("/admin/subjects", { method: "DELETE", body: JSON.stringify({ subject: "user-7" }), ...ADMIN })).json();
    // Events arrive in the order of the queue, so the response identifies the subject's event.
    const { subject } = await eventOf(gate, answers[7]);
    const theirs = events.filter((event) => event.subject === subject);
    assert.equal(theirs.length, 2);
    const before = (await status()).events;
    const { erased } = /** @type {any} */ (await erase());
    assert.ok(erased >= theirs.length, `${erased}`);
    assert.deepEqual(await erase(), { erased: 0 });
    // A late event of the subject from before the erasure, an event of another subject, and one from after the erasure.
    const late = { ...theirs[0], id: "0199aaaa-0000-7000-8000-000000000001" };
    const other = { ...(await eventOf(gate, answers[8])), id: "0199aaaa-0000-7000-8000-000000000002" };
    const later = { ...theirs[0], id: "0199aaaa-0000-7000-8000-000000000003", time_ms: Date.now() + 1_000 };
    await gate.feed([late, other, later].map((event) => JSON.stringify(event)));
    await until(async () => (await status()).events === before - erased + 2);
    const text = await (await gate.own("/metrics", VIEWER)).text();
    assert.match(text, /^jeffrey_events_erased_total 1$/m);
    const all = (await Promise.all(Array.from({ length: SHARDS }, (_, shard) => page(shard)))).flat();
    assert.deepEqual(all.filter((event) => event.subject === subject).map(({ id }) => id), [later.id]);
  });
});
