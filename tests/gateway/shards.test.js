// An event store with four shards, an R2 archive and an Analytics Engine dataset, in workerd: the shards add up to one store.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { after, before, describe, test } from "node:test";
import { TEST_TIMEOUT_MS, SECRETS, startGateway, waitFor } from "../support/gateway.js";
import { JEFFREY, SAMPLE_TEXT, mapInBatches, waitForEvent } from "../support/gateway-calls.js";
import { startCollector } from "../support/collector.js";

const VIEWER = { token: SECRETS.JEFFREY_VIEWER_TOKEN };
const ADMIN = { token: SECRETS.JEFFREY_ADMIN_TOKEN };
const SHARDS = 4;
const USER_COUNT = 40;
const REQUEST_COUNT = 2 * USER_COUNT + 4;

const BINDINGS = `
[[r2_buckets]]
binding = "ARCHIVE"
bucket_name = "jeffrey-events"

[[analytics_engine_datasets]]
binding = "ANALYTICS"
dataset = "jeffrey"
`;

describe("an event store with four shards", { timeout: TEST_TIMEOUT_MS }, () => {
  /** @type {Awaited<ReturnType<typeof startGateway>>} */
  let gateway;
  /** @type {Awaited<ReturnType<typeof startCollector>>} */
  let lineSink;
  /** @type {Awaited<ReturnType<typeof startCollector>>} */
  let metricSink;
  /** @type {Awaited<ReturnType<Awaited<ReturnType<typeof startGateway>>["classify"]>>[]} */
  let responses;
  /** @type {any[]} */
  let events;
  const storageFolder = mkdtempSync(join(tmpdir(), "jeffrey-shards-"));

  before(async () => {
    lineSink = await startCollector([{ status: 200 }]);
    metricSink = await startCollector([{ status: 500 }, { status: 200 }]);
    const sinks = [{ name: "lines", kind: "ndjson", url: lineSink.url }, { name: "metrics", kind: "otlp-metrics", url: metricSink.url }];
    const variables = { EVENT_STORE_SHARDS: String(SHARDS), INITIAL_SHARE: "50%", SUBJECT_COOKIE: "off", TIME_SCALE: "60", SINKS: JSON.stringify(sinks) };
    gateway = await startGateway(variables, { model: "scripted", state: storageFolder, feeder: "jeffrey-events", configure: (toml) => toml + BINDINGS });
    const text = `fault:refused ${SAMPLE_TEXT}`;
    const bodies = Array.from({ length: USER_COUNT }, (_, index) => ({ text, user_id: `user-${index}` }));
    // Each user calls twice, and four calls have no subject.
    responses = await mapInBatches([...bodies, ...bodies, ...Array(4).fill({ text })], (body) => gateway.classify(body));
    events = await gateway.waitForEvents(REQUEST_COUNT);
    await waitFor(async () => (await fetchSinkStatus()).events === REQUEST_COUNT);
  });
  after(async () => {
    await gateway?.stop();
    await Promise.all([lineSink?.stop(), metricSink?.stop()]);
    rmSync(storageFolder, { recursive: true, force: true });
  });

  const fetchSinkStatus = async () => /** @type {any} */ (await (await gateway.fetchAdmin("/v1/sinks", VIEWER)).json());
  /** @param {number} shard @param {number} [since] */
  async function fetchEvents(shard, since = 0) {
    const response = await gateway.fetchAdmin(`/admin/events?shard=${shard}&since=${since}`, ADMIN);
    assert.equal(response.headers.get("x-jeffrey-shards"), String(SHARDS));
    return (await response.text()).split("\n").filter(Boolean).map((line) => JSON.parse(line));
  }
  const sortedIds = (/** @type {any[]} */ list) => list.map(({ id }) => id).sort();

  test("has each event in one shard, and all events of a subject in the same shard", async () => {
    const eventsByShard = await Promise.all(Array.from({ length: SHARDS }, (_, shard) => fetchEvents(shard)));
    assert.deepEqual(sortedIds(eventsByShard.flat()), sortedIds(events));
    assert.ok(eventsByShard.every((shardEvents) => shardEvents.length > 0), eventsByShard.map(({ length }) => length).join(" "));
    const shardBySubject = new Map();
    for (const [shard, shardEvents] of eventsByShard.entries()) {
      for (const { subject } of shardEvents.filter(({ subject }) => subject !== null)) {
        assert.equal(shardBySubject.get(subject) ?? shard, shard, subject);
        shardBySubject.set(subject, shard);
      }
    }
    assert.equal(shardBySubject.size, USER_COUNT);
    const refused = await gateway.fetchAdmin("/admin/events?shard=4", ADMIN);
    assert.deepEqual([refused.status, /** @type {any} */ (await refused.json()).error], [400, { code: "shard_invalid", message: "shard 4 is not one of the event store's 4, counted from 0" }]);
  });

  test("counts a duplicate once, whichever shard it is in", async () => {
    for (let round = 0; round < 2; round += 1) await gateway.feed(events.map((event) => JSON.stringify(event)));
    await gateway.feed(["no event"]);
    await waitFor(async () => /^jeffrey_events_malformed_total 1$/m.test(await (await gateway.fetchAdmin("/metrics", VIEWER)).text()));
    assert.equal((await fetchSinkStatus()).events, REQUEST_COUNT);
  });

  test("has sums that are the sums over its shards", async () => {
    const text = await (await gateway.fetchAdmin("/metrics", VIEWER)).text();
    const requests = [...text.matchAll(/^jeffrey_requests_total\{.*\} (\d+)$/gm)].reduce((sum, [, number]) => sum + Number(number), 0);
    assert.equal(requests, REQUEST_COUNT);
    const { sinks, shards } = await fetchSinkStatus();
    const sumOf = (/** @type {string} */ name) => shards.flatMap((/** @type {any} */ shard) => shard.sinks).filter((/** @type {any} */ sink) => sink.name === name).reduce((/** @type {number} */ total, /** @type {any} */ { delivered, pending_events }) => total + delivered + pending_events, 0);
    assert.deepEqual(sinks.map((/** @type {any} */ { name }) => name), ["lines", "metrics", "archive", "analytics"]);
    for (const { name, delivered, pending_events } of sinks) assert.equal(delivered + pending_events, sumOf(name), name);
  });

  test("counts each subject once in its closed minutes", async () => {
    const evidenceCount = events.filter(({ is_evidence }) => is_evidence).length;
    const minutes = await waitFor(async () => {
      const closedMinutes = /** @type {any[]} */ (await (await gateway.fetchAdmin("/v1/minutes", VIEWER)).json());
      return closedMinutes.reduce((total, { canary, stable }) => total + canary.requests + stable.requests, 0) === evidenceCount && closedMinutes;
    });
    const sum = (/** @type {(minute: any) => number} */ getValue) => minutes.reduce((total, minute) => total + getValue(minute), 0);
    for (const cohort of ["canary", "stable"]) {
      const evidence = events.filter((event) => event.cohort === cohort && event.is_evidence);
      assert.equal(sum((minute) => minute[cohort].requests), evidence.length, cohort);
      const subjects = new Set(evidence.map(({ subject }) => subject).filter((subject) => subject !== null));
      assert.equal(sum(({ new_subjects }) => new_subjects[cohort]), subjects.size, cohort);
    }
    // The model refuses every text, so every canary subject is affected.
    const affected = new Set(events.filter(({ cohort, is_evidence }) => cohort === "canary" && is_evidence).map(({ subject }) => subject));
    const hour = Math.floor(minutes[0].minute / 60) - 1;
    const firstAffected = minutes.flatMap(({ newly_affected }) => newly_affected).filter(({ metric, since_hour }) => metric === "errors" && since_hour === hour);
    assert.equal(firstAffected.reduce((total, { subjects }) => total + subjects.canary, 0), affected.size);
    const { top_subjects } = minutes.at(-1);
    assert.ok(top_subjects.two_worst_subjects_errors >= 4, "each of the two most affected subjects has two errors");
    assert.equal(top_subjects.canary_errors, sum(({ canary }) => canary.fallbacks));
    assert.deepEqual(await (await gateway.fetchAdmin(`/v1/minutes?since=${minutes.at(-1).minute}`, VIEWER)).json(), []);
  });

  test("accepts feedback on a response once", async () => {
    const sendFeedback = async (/** @type {number} */ index) => (await gateway.fetchAdmin("/v1/feedback", { method: "POST", body: JSON.stringify({ id: responses[index].headers.get("x-jeffrey-id"), ok: true }) })).status;
    for (const index of [0, 1, 2, 3, REQUEST_COUNT - 1]) {
      assert.equal(await sendFeedback(index), 200);
      assert.equal(await sendFeedback(index), 409);
    }
    await waitFor(async () => (await fetchSinkStatus()).events === REQUEST_COUNT + 5);
  });

  test("is read whole by `jeffrey analyze`", async () => {
    const env = { ...process.env, JEFFREY_ADMIN_TOKEN: SECRETS.JEFFREY_ADMIN_TOKEN };
    const run = promisify(execFile)(JEFFREY, ["analyze", `${gateway.origin}/_jeffrey/v1/admin/events`, "--cohort", "all", "--json"], { env });
    const { stdout } = await run.catch((error) => error);
    const analysis = JSON.parse(stdout);
    // Feedback adds lines, but no predictions.
    assert.deepEqual([analysis.predictions, analysis.lines, analysis.broken], [REQUEST_COUNT, REQUEST_COUNT + 5, 0], stdout);
  });

  test("delivers each event to a sink once, from every shard", async () => {
    await waitFor(async () => (await fetchSinkStatus()).sinks[0].pending_events === 0);
    const delivered = lineSink.requests.flatMap(({ body }) => body.trimEnd().split("\n")).map((line) => JSON.parse(line));
    assert.deepEqual(sortedIds(delivered.filter(({ event }) => event === "classify")), sortedIds(events));
  });

  test("sends OpenTelemetry metrics whose last sums add up to all calls, even after a refused batch", async () => {
    const sums = await waitFor(() => {
      /** @type {Map<string, any>} */
      const lastByShard = new Map();
      for (const { status, body } of metricSink.requests.filter(({ status }) => status === 200)) {
        assert.equal(status, 200);
        const [{ resource, scopeMetrics }] = JSON.parse(body).resourceMetrics;
        const [, instance] = resource.attributes;
        assert.equal(instance.key, "service.instance.id");
        lastByShard.set(instance.value.stringValue, scopeMetrics[0].metrics);
      }
      const requests = [...lastByShard.values()].flat().filter(({ name }) => name === "jeffrey_requests");
      const points = requests.flatMap(({ sum }) => sum.dataPoints);
      const total = points.reduce((subtotal, { asInt }) => subtotal + Number(asInt), 0);
      return lastByShard.size === SHARDS && total === REQUEST_COUNT && [...lastByShard.values()];
    });
    for (const shardMetrics of sums) {
      const { sum } = shardMetrics.find((/** @type {any} */ { name }) => name === "jeffrey_requests");
      assert.deepEqual([sum.aggregationTemporality, sum.isMonotonic], [2, true]);
      const { histogram, unit } = shardMetrics.find((/** @type {any} */ { name }) => name === "jeffrey_request_duration");
      for (const { count, bucketCounts, explicitBounds } of histogram.dataPoints) {
        assert.deepEqual([unit, bucketCounts.length, explicitBounds[5]], ["s", 12, 0.2]);
        assert.equal(bucketCounts.reduce((/** @type {number} */ total, /** @type {string} */ number) => total + Number(number), 0), Number(count));
      }
    }
  });

  test("writes each event to the archive once, and a point for each to the dataset", async () => {
    await waitFor(async () => (await fetchSinkStatus()).sinks.every((/** @type {any} */ { pending_events }) => pending_events === 0));
    const folder = join(storageFolder, "v3/r2/jeffrey-events/blobs");
    const texts = readdirSync(folder).map((name) => readFileSync(join(folder, name), "utf8"));
    const archived = texts.flatMap((text) => text.trimEnd().split("\n")).map((line) => JSON.parse(line));
    assert.equal(archived.length, REQUEST_COUNT + 5);
    assert.deepEqual(sortedIds(archived.filter(({ event }) => event === "classify")), sortedIds(events));
    const { sinks } = await fetchSinkStatus();
    assert.deepEqual(sinks.slice(2).map((/** @type {any} */ { name, delivered, dropped }) => [name, delivered, dropped]), [["archive", REQUEST_COUNT + 5, 0], ["analytics", REQUEST_COUNT + 5, 0]]);
  });

  test("erases a subject in every shard, and an earlier event that arrives later does not return", async () => {
    const erase = async () => (await gateway.fetchAdmin("/admin/subjects", { method: "DELETE", body: JSON.stringify({ subject: "user-7" }), ...ADMIN })).json();
    // Events arrive in the order of the queue, so the response identifies the subject's event.
    const { subject } = await waitForEvent(gateway, responses[7]);
    const subjectEvents = events.filter((event) => event.subject === subject);
    assert.equal(subjectEvents.length, 2);
    const countBefore = (await fetchSinkStatus()).events;
    const { erased } = /** @type {any} */ (await erase());
    assert.ok(erased >= subjectEvents.length, `${erased}`);
    assert.deepEqual(await erase(), { erased: 0, pending_events: 0 });
    // A late event of the subject from before the erasure, an event of another subject, and one from after the erasure.
    const late = { ...subjectEvents[0], id: "0199aaaa-0000-7000-8000-000000000001" };
    const other = { ...(await waitForEvent(gateway, responses[8])), id: "0199aaaa-0000-7000-8000-000000000002" };
    const later = { ...subjectEvents[0], id: "0199aaaa-0000-7000-8000-000000000003", time_ms: Date.now() + 1_000 };
    await gateway.feed([late, other, later].map((event) => JSON.stringify(event)));
    await waitFor(async () => (await fetchSinkStatus()).events === countBefore - erased + 2);
    const text = await (await gateway.fetchAdmin("/metrics", VIEWER)).text();
    assert.match(text, /^jeffrey_events_erased_total 1$/m);
    const remaining = (await Promise.all(Array.from({ length: SHARDS }, (_, shard) => fetchEvents(shard)))).flat();
    assert.deepEqual(remaining.filter((event) => event.subject === subject).map(({ id }) => id), [later.id]);
  });
});
