// Measures what an event costs on Cloudflare, from counts that `tests/support/counting-gateway.js` takes in workerd, and writes
// the figures of docs/scale.md. A part of `make bench`.
//
// Calls go to simulated isolates at the rate of one isolate. At rates in all that this machine cannot call, the messages of
// the queue are kept back and then sent at that rate, so each message is as an isolate made it, and the queue consumer and the
// event store run at the rate in all. The tool knows no table and no format of a message: it counts whatever the gateway does.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { createRandom } from "../../mock-legacy/random.js";
import { COUNTS_FILE, LOADS, PAGE, PRICES_FILE, formatMillionEventsTable, formatPerEventTable, writePage } from "./cost-page.js";
import { CANARY_SHARE, difference, withSession } from "./counted-session.js";
import { countFirstHits } from "./first-hits.js";

/** @typedef {import("./cost-model.js").Measurement} Measurement */
/** @typedef {import("./cost-model.js").PerEvent} PerEvent */
/** @typedef {import("./counted-session.js").ObjectCounts} ObjectCounts */
/** @typedef {import("./counted-session.js").BackgroundCounts} BackgroundCounts */
/** @typedef {import("./counted-session.js").ClassifyCall} ClassifyCall */
/** @typedef {import("./counted-session.js").MeasuredLoad} MeasuredLoad */

/** Shares of the calls that fail with status 500, and that take longer than the 200 ms of `slow`. Only stable calls can. */
const ERROR_SHARE = 0.01;
const SLOW_SHARE = 0.02;
/** Number of subjects that calls are drawn from; the probability of a subject is about 1 / its rank. */
const SUBJECTS = 100_000;
/** Largest share of calls that the machine may make slow while the life of events is measured, and most attempts. */
const DISTURBED_SHARE_MAX = 0.03;
const ATTEMPTS_MAX = 4;
/** Fewest calls of a load. */
const EVENTS_MIN = 300;
/** Seed of the drawn subjects and faults. */
const SEED = 1;

const HELP = `Measures what an event costs on Cloudflare: rows, requests, alarms and queue operations, in workerd.

Usage: node tests/bench/event-cost.js [options]

  --rate N       events a second of one isolate; without it, all loads of ${PAGE} are measured
  --total N      events a second in all (default 1000), for --rate
  --shards N     shards of the event store (default 16), for --rate
  --sink         deliver the events to one OTLP sink, for --rate
  --seconds N    seconds of calls for each load (default 15)
  --json FILE    write the counts to FILE
  --write-docs   measure nothing: write ${PAGE} from ${COUNTS_FILE} and ${PRICES_FILE}
  --help         print this text

BENCH_BUILD names the folder of the build (default build/edge).
`;

const logProgress = (/** @type {string} */ line) => console.error(`event-cost: ${line}`);

try {
  await run();
} catch (error) {
  console.error(`event-cost: ${error instanceof Error ? error.stack : error}`);
  process.exitCode = 1;
}

async function run() {
  const { values } = parseArgs({
    options: {
      rate: { type: "string" }, total: { type: "string", default: "1000" }, shards: { type: "string", default: "16" }, sink: { type: "boolean", default: false },
      seconds: { type: "string", default: "15" }, json: { type: "string" }, "write-docs": { type: "boolean", default: false }, help: { type: "boolean", default: false },
    },
  });
  if (values.help) return console.log(HELP.trimEnd());
  if (values["write-docs"]) return writePage();
  const seconds = parseNumber("--seconds", values.seconds);
  const loads = values.rate === undefined ? LOADS : [{
    events_per_s: parseNumber("--total", values.total), isolate_events_per_s: parseNumber("--rate", values.rate),
    stores: parseNumber("--shards", values.shards), sinks: Number(values.sink),
  }];
  const counts = await measure(loads, seconds);
  if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(counts, null, 2)}\n`);
  console.log(formatPerEventTable(counts));
  if (values.rate === undefined) console.log(`\n${formatMillionEventsTable(counts, JSON.parse(readFileSync(PRICES_FILE, "utf8")))}`);
}

/** @param {string} option @param {string} text */
function parseNumber(option, text) {
  const number = Number(text);
  if (!(number > 0)) throw new Error(`${option} is not a positive number: ${text}`);
  return number;
}

/** Measures all loads. The first one also shows what a subject adds, and what happens when events expire. @param {MeasuredLoad[]} loads @param {number} seconds */
async function measure(loads, seconds) {
  const life = await measureLifeUndisturbed(loads[0], seconds);
  const measurements = [];
  /** Background by number of shards and sinks. @type {Map<string, BackgroundCounts>} */
  const backgrounds = new Map();
  for (const load of loads) measurements.push(await measureLoad(load, seconds, life, backgrounds));
  const background = [...backgrounds].map(([key, counts]) => ({ ...JSON.parse(key), ...roundAll(summarizeBackground(counts)) }));
  return {
    about: {
      command: ["node tests/bench/event-cost.js", ...process.argv.slice(2).filter((text, index, args) => text !== "--json" && args[index - 1] !== "--json")].join(" "),
      commit: execFileSync("git", ["rev-parse", "--short=12", "HEAD"], { encoding: "utf8" }).trim(),
      date: new Date().toISOString().slice(0, 10),
      workerd: JSON.parse(readFileSync("node_modules/workerd/package.json", "utf8")).version,
      workload: { canary_share: CANARY_SHARE, error_share: ERROR_SHARE, slow_share: SLOW_SHARE, subjects: SUBJECTS, seconds },
    },
    measurements, background, ...life,
  };
}

/** Measures the life of events again if the machine made many calls slow. @param {MeasuredLoad} load @param {number} seconds */
async function measureLifeUndisturbed(load, seconds) {
  for (let attempt = 1; ; attempt += 1) {
    const { disturbed_share, ...life } = await measureLifeOfEvents(load, seconds);
    if (disturbed_share <= DISTURBED_SHARE_MAX) return life;
    if (attempt === ATTEMPTS_MAX) throw new Error(`${Math.round(disturbed_share * 100)} % of the calls were slow: this machine is too busy`);
    logProgress(`${Math.round(disturbed_share * 100)} % of the calls were slow; again`);
  }
}

/**
 * Runs calls of only new subjects, the same calls again, and lets all events expire. Then runs the same calls once more, with status 500 if
 * they are stable, and lets all expire again. There is one shard, so that the pages of its database are full.
 *
 * @param {MeasuredLoad} load @param {number} seconds
 */
async function measureLifeOfEvents(load, seconds) {
  logProgress("new subjects, known subjects, affected subjects and expiry");
  return withSession({ ...load, stores: 1 }, async (session) => {
    /** @type {ClassifyCall[]} */
    const calls = Array.from({ length: Math.round(session.calls_per_s * seconds) }, (_, index) => ({ user: `user-${index}` }));
    const events = calls.length;
    const firstScan = await session.countAlarms();
    const bytesBefore = (await session.settle()).event_store.database_bytes;
    const ofNew = await measureRun(session, calls);
    const ofKnown = await measureRun(session, calls);
    const secondScan = await session.countAlarms();
    const { lines } = await session.readEvents();
    const ndjson_bytes = Buffer.byteLength(lines.join("\n")) / lines.length;
    const expired = await measureExpiry(session, 2 * events + session.warmUpEvents);
    // The subjects are known again, if they expired as well.
    await measureRun(session, calls);
    const ofAffected = await measureRun(session, calls.map((call) => ({ ...call, fault: "error" })));
    const affectedExpired = await measureExpiry(session, 2 * events);

    const rows_read_by_alarm = Math.max(0, (secondScan.rows - firstScan.rows) / (secondScan.events - firstScan.events));
    const deleted_rows_written = expired.rows_written / expired.events;
    // Each run begins with the events of those before it, and half of its own are stored at its average alarm.
    const rowsRead = (/** @type {Run} */ run, /** @type {number} */ storedBefore) => run.counts.rows_read - run.counts.alarms * rows_read_by_alarm * (storedBefore + events / 2);
    const [newRead, knownRead, affectedRead] = [rowsRead(ofNew, firstScan.events), rowsRead(ofKnown, firstScan.events + events), rowsRead(ofAffected, events)];
    const hits = ofAffected.first_hits - ofKnown.first_hits;
    const insertedByHit = (ofAffected.counts.rows_written - ofKnown.counts.rows_written) / hits;
    const deletedByHit = Math.max(0, affectedExpired.rows_written - affectedExpired.events * deleted_rows_written) / hits;
    const hitsOfNew = ofNew.first_hits - ofKnown.first_hits;
    const perNewSubject = (/** @type {number} */ number) => Math.max(0, number) / events;
    return {
      // No call of these two runs was to hit a metric.
      disturbed_share: (ofNew.first_hits + ofKnown.first_hits) / (2 * events),
      per_new_subject: roundAll({
        rows_written: perNewSubject(ofNew.counts.rows_written - ofKnown.counts.rows_written - hitsOfNew * insertedByHit),
        rows_read: perNewSubject(newRead - knownRead),
        bytes: perNewSubject(ofNew.counts.database_bytes - ofKnown.counts.database_bytes),
        bytes_left: perNewSubject(expired.database_bytes - bytesBefore),
      }),
      per_first_hit: roundAll({ rows_written: insertedByHit, rows_read: Math.max(0, affectedRead - knownRead) / hits, deleted_rows_written: deletedByHit }),
      per_stored_event: roundAll({ bytes: ofKnown.counts.database_bytes / events, ndjson_bytes, deleted_rows_written, rows_read_by_alarm }),
    };
  });
}

/** What a run of calls added to the counts of the event store. @typedef {{ first_hits: number, counts: ObjectCounts }} Run */

/** @param {import("./counted-session.js").Session} session @param {ClassifyCall[]} calls @returns {Promise<Run>} */
async function measureRun(session, calls) {
  const hitsBefore = countFirstHits((await session.readEvents()).events);
  const before = (await session.settle()).event_store;
  await session.record(calls);
  const after = (await session.settle()).event_store;
  return { first_hits: countFirstHits((await session.readEvents()).events) - hitsBefore, counts: difference(after, before) };
}

/** Lets all events expire. @param {import("./counted-session.js").Session} session @param {number} events that are stored */
async function measureExpiry(session, events) {
  assert.equal(await session.countEvents(), events, "events are missing or stored twice");
  const before = (await session.settle()).event_store;
  await session.expire();
  const after = (await session.settle()).event_store;
  assert.equal(await session.countEvents(), 0, "events did not expire");
  return { events, rows_written: after.rows_written - before.rows_written, database_bytes: after.database_bytes };
}

/**
 * Measures the mixed workload at one load.
 *
 * @param {MeasuredLoad} load @param {number} seconds
 * @param {Pick<import("./cost-model.js").Counts, "per_new_subject" | "per_first_hit" | "per_stored_event">} life
 * @param {Map<string, BackgroundCounts>} backgrounds
 */
async function measureLoad(load, seconds, { per_new_subject, per_first_hit, per_stored_event }, backgrounds) {
  const { events_per_s, isolate_events_per_s, stores, sinks } = load;
  logProgress(`${events_per_s} events a second, ${isolate_events_per_s} an isolate, ${stores} shards, ${sinks} sinks`);
  return withSession(load, async (session) => {
    const key = JSON.stringify({ stores, sinks });
    const background = backgrounds.get(key) ?? (await session.measureBackground());
    backgrounds.set(key, background);
    const { calls, newSubjects } = makeMixedCalls(Math.max(EVENTS_MIN, Math.round(session.calls_per_s * seconds)));
    const storedBefore = session.warmUpEvents;
    const hitsBefore = countFirstHits((await session.readEvents()).events);
    const before = await session.settle();
    const calls_per_s = await session.record(calls);
    if (calls_per_s < 0.9 * session.calls_per_s) logProgress(`only ${calls_per_s.toFixed(0)} of ${session.calls_per_s} calls a second: this machine is too slow or too busy`);
    const after = await session.settle();
    const events = calls.length;
    const first_hits = countFirstHits((await session.readEvents()).events) - hitsBefore;
    assert.equal(await session.countEvents(), storedBefore + events, "events are missing or stored twice");
    assert.equal(after.queue.deletes, after.queue.writes, "messages are left in the queue");
    const elapsed_s = (after.at_ms - before.at_ms) / 1_000;
    const store = withoutBackground(difference(after.event_store, before.event_store), background.store, elapsed_s);
    const rollout = withoutBackground(difference(after.rollout, before.rollout), background.rollout, elapsed_s);
    const queue = difference(after.queue, before.queue);
    const scannedRows = (store.alarms * per_stored_event.rows_read_by_alarm * (storedBefore + events / 2)) / stores;
    const perEvent = (/** @type {number} */ number) => Math.max(0, number) / events;
    /** @type {PerEvent} */
    const per_event = {
      queue_operations: perEvent(queue.writes + queue.reads + queue.deletes),
      rows_written: perEvent(store.rows_written - newSubjects * per_new_subject.rows_written - first_hits * per_first_hit.rows_written),
      rows_read: perEvent(store.rows_read - newSubjects * per_new_subject.rows_read - first_hits * per_first_hit.rows_read - scannedRows),
      alarm_sets: perEvent(store.alarm_sets),
      alarms: perEvent(store.alarms),
      object_requests: perEvent(store.requests),
      rollout_requests: perEvent(rollout.requests + rollout.alarms),
      rollout_rows_written: perEvent(rollout.rows_written + rollout.alarm_sets),
      rollout_rows_read: perEvent(rollout.rows_read),
    };
    const details = {
      events, new_subjects: newSubjects, first_hits, isolates: session.isolates, calls_per_s: Math.round(calls_per_s),
      queue_messages_per_event: perEvent(queue.messages), queue_message_bytes: queue.bytes / queue.messages, queue_batches_per_event: perEvent(queue.batches), queue_retries: queue.retries,
    };
    return { events_per_s, isolate_events_per_s, stores, sinks, per_event: roundAll(per_event), details: roundAll(details) };
  });
}

/** What was counted because of the events alone. @param {ObjectCounts} counts @param {ObjectCounts} background of a second @param {number} elapsed_s @returns {ObjectCounts} */
function withoutBackground(counts, background, elapsed_s) {
  return /** @type {ObjectCounts} */ (Object.fromEntries(Object.entries(counts).map(([name, number]) => [name, number - background[/** @type {keyof ObjectCounts} */ (name)] * elapsed_s])));
}

/** @param {BackgroundCounts} background */
function summarizeBackground({ store, rollout }) {
  const sum = (/** @type {(counts: ObjectCounts) => number} */ count) => count(store) + count(rollout);
  return {
    object_requests: sum(({ requests, alarms }) => requests + alarms),
    rows_written: sum(({ rows_written, alarm_sets }) => rows_written + alarm_sets),
    rows_read: sum(({ rows_read }) => rows_read),
  };
}

/** Calls of subjects that are drawn with a probability of about 1 / rank, and the number of different subjects. @param {number} count */
function makeMixedCalls(count) {
  const random = createRandom(SEED);
  /** @type {ClassifyCall[]} */
  const calls = Array.from({ length: count }, () => {
    const rank = Math.floor(Math.exp(random() * Math.log(SUBJECTS)));
    const number = random();
    return { user: `user-${rank}`, fault: number < ERROR_SHARE ? "error" : number < ERROR_SHARE + SLOW_SHARE ? "slow:250" : undefined };
  });
  return { calls, newSubjects: new Set(calls.map(({ user }) => user)).size };
}

/** Rounds to four significant digits, so that a file of counts is short. @template {Record<string, number>} T @param {T} numbers @returns {T} */
function roundAll(numbers) {
  return /** @type {T} */ (Object.fromEntries(Object.entries(numbers).map(([name, number]) => [name, Number(number.toPrecision(4))])));
}
