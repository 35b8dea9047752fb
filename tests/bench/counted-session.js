// A gateway in workerd whose billed operations are counted (`tests/support/counting-gateway.js`), and the calls that it gets.

import assert from "node:assert/strict";
import { createRandom } from "../../mock-legacy/random.js";
import { startCollector } from "../support/collector.js";
import { SAMPLE_TEXT } from "../support/gateway-calls.js";
import { SECRETS, startGateway } from "../support/gateway.js";
import { BUILD_FOLDER } from "./files.js";

/** @typedef {Awaited<ReturnType<typeof startGateway>>} Gateway */
/** @typedef {{ objects: number, requests: number, alarms: number, alarm_sets: number, statements: number, rows_read: number, rows_written: number, changed_rows: number, database_bytes: number }} ObjectCounts */
/** @typedef {{ messages: number, bytes: number, writes: number, reads: number, deletes: number, retries: number, batches: number }} QueueCounts */
/** @typedef {{ queue: QueueCounts, held: number, event_store: ObjectCounts, rollout: ObjectCounts, uncounted: string[] }} RawCounts */
/** @typedef {{ user: string, fault?: "error" | "slow:250" }} ClassifyCall */
/** @typedef {Omit<import("./cost-model.js").Measurement, "per_event">} MeasuredLoad */
/** Counts of a second. @typedef {{ store: ObjectCounts, rollout: ObjectCounts }} BackgroundCounts */
/** Rows that an alarm of every shard reads, and the events that are stored then. @typedef {{ rows: number, events: number }} AlarmScan */

/** Share of subjects that are canary. */
export const CANARY_SHARE = "10%";
/** Most calls a second that this tool sends, and most at once. */
const CALLS_PER_S_MAX = 60;
const IN_FLIGHT_MAX = 100;
/** Events of one page of the admin API. */
const PAGE_EVENTS = 5_000;
/** Second of a minute after which a session does not begin its calls. */
const LAST_START_S = 8;
/** Calls to each shard before the first count, so that every object exists. */
const WARM_UP_CALLS = 12;
/** The counts are final once they did not change for this long: an alarm comes half a second after an event. */
const SETTLED_MS = 2_000;
const SETTLE_MS_MAX = 120_000;
const BACKGROUND_S = 12;
/** Days by which the clock moves so that everything expires: the retention of 7 days and more. */
const EXPIRY_DAYS = 10;
const RELEASES_PER_S = 20;
/** Seed of the times of calls. */
const SEED = 1;

/** A gateway with counts, and its simulated isolates. */
export class Session {
  warmUpEvents = 0;

  /** @param {Gateway} gateway @param {MeasuredLoad} load @param {number} isolates */
  constructor(gateway, load, isolates) {
    this.gateway = gateway;
    this.load = load;
    this.isolates = isolates;
    /** Calls a second of all simulated isolates. */
    this.calls_per_s = Math.min(isolates * load.isolate_events_per_s, load.events_per_s);
    this.random = createRandom(SEED);
  }

  /** @param {string} action @returns {Promise<Response>} */
  async control(action, method = "POST") {
    const response = await fetch(`${this.gateway.origin}/event-cost/${action}`, { method });
    if (!response.ok) throw new Error(`${action}: ${response.status} ${await response.text()}`);
    return response;
  }

  /** @returns {Promise<RawCounts>} */
  async readCounts() {
    return /** @type {any} */ (await (await this.control("counts", "GET")).json());
  }

  /** Waits until the counts no longer change; `at_ms`: since when. @returns {Promise<RawCounts & { at_ms: number }>} */
  async settle() {
    const startedAt = Date.now();
    for (let last = "", changedAt = startedAt; ; ) {
      const counts = await this.readCounts();
      const text = JSON.stringify(counts);
      if (text !== last) [last, changedAt] = [text, Date.now()];
      if (Date.now() - changedAt >= SETTLED_MS && counts.held === 0 && counts.queue.deletes === counts.queue.writes) return { ...counts, at_ms: changedAt };
      // An object with an alarm of its own never settles; the messages of the queue do.
      if (Date.now() - startedAt > SETTLE_MS_MAX) throw new Error(`the counts did not settle: ${text}`);
      await sleep(250);
    }
  }

  /**
   * Waits for the next minute if this one is nearly over. Once the gateway knows stable's p95 of a closed minute, each call above it affects a
   * subject, and on a busy machine that is any part of the calls.
   */
  async waitForMinute() {
    const second = (Date.now() / 1_000) % 60;
    if (second > LAST_START_S) await sleep((60.5 - second) * 1_000);
  }

  async warmUp() {
    const count = WARM_UP_CALLS * this.load.stores + this.isolates;
    for (let offset = 0; offset < count; offset += 10) {
      await Promise.all(Array.from({ length: Math.min(10, count - offset) }, (_, index) => this.call({ user: `warm-up-${offset + index}` }, (offset + index) % this.isolates)));
    }
    this.warmUpEvents = count;
    const { event_store } = await this.settle();
    assert.equal(event_store.objects, this.load.stores, "some shards got no event");
  }

  /** @param {ClassifyCall} call @param {number} isolate */
  async call({ user, fault }, isolate) {
    const { status, text } = await this.gateway.classify({ text: SAMPLE_TEXT, user_id: user }, { "x-test-isolate": String(isolate), ...(fault ? { "x-mock-legacy": fault } : {}) });
    if (status !== 200 && !(status === 500 && fault === "error")) throw new Error(`a call got status ${status}: ${text}`);
  }

  /** Sends calls at random times at the isolates' rate, and their messages at the rate in all. Returns the calls a second. @param {ClassifyCall[]} calls */
  async record(calls) {
    const isHeld = this.load.events_per_s > this.calls_per_s;
    if (isHeld) await this.control("hold");
    const startedAt = performance.now();
    let dueAt = startedAt;
    /** @type {Set<Promise<void>>} */
    const inFlight = new Set();
    /** @type {unknown} */
    let failure = null;
    for (const call of calls) {
      dueAt += (-Math.log(1 - this.random()) / this.calls_per_s) * 1_000;
      await sleep(Math.max(0, dueAt - performance.now()));
      while (inFlight.size >= IN_FLIGHT_MAX) await Promise.race(inFlight);
      const pending = this.call(call, Math.floor(this.random() * this.isolates)).catch((error) => (failure = error)).finally(() => inFlight.delete(pending));
      inFlight.add(pending);
    }
    await Promise.all(inFlight);
    if (failure) throw failure;
    const calls_per_s = calls.length / ((performance.now() - startedAt) / 1_000);
    if (isHeld) await this.release(calls.length);
    return calls_per_s;
  }

  /** Sends the held messages as fast as the load in all makes them. @param {number} events */
  async release(events) {
    // The gateway may send its last messages a while after the last call.
    await sleep(SETTLED_MS);
    const { held } = await this.readCounts();
    const seconds = events / this.load.events_per_s;
    const steps = Math.max(1, Math.round(seconds * RELEASES_PER_S));
    const startedAt = performance.now();
    for (let step = 0, sent = 0; step < steps; step += 1) {
      const due = Math.round(((step + 1) * held) / steps);
      await this.control(`release?messages=${due - sent}`);
      sent = due;
      await sleep(Math.max(0, startedAt + ((step + 1) * 1_000) / RELEASES_PER_S - performance.now()));
    }
  }

  /** Counts of a second without calls. @returns {Promise<BackgroundCounts>} */
  async measureBackground() {
    const before = await this.settle();
    const startedAt = Date.now();
    await sleep(BACKGROUND_S * 1_000);
    const after = await this.readCounts();
    const seconds = (Date.now() - startedAt) / 1_000;
    const perSecond = (/** @type {ObjectCounts} */ counts) => /** @type {ObjectCounts} */ (Object.fromEntries(Object.entries(counts).map(([name, number]) => [name, number / seconds])));
    return { store: perSecond(difference(after.event_store, before.event_store)), rollout: perSecond(difference(after.rollout, before.rollout)) };
  }

  /** Calls the alarm of every shard once. @returns {Promise<AlarmScan>} */
  async countAlarms() {
    const events = await this.countEvents();
    const before = await this.settle();
    await this.control("alarms?days=0");
    const after = await this.readCounts();
    return { rows: after.event_store.rows_read - before.event_store.rows_read, events };
  }

  /** Moves the clock, calls the alarms until they delete nothing more, and moves the clock back. */
  async expire() {
    for (let last = -1; ; ) {
      await this.control(`alarms?days=${EXPIRY_DAYS}`);
      const { database_bytes } = (await this.readCounts()).event_store;
      if (database_bytes === last) break;
      last = database_bytes;
    }
    await this.control("alarms?days=0");
  }

  /** The number of stored events, from the admin API; its own reads are not part of a measurement. @returns {Promise<number>} */
  async countEvents() {
    const response = await this.gateway.fetchAdmin("/v1/sinks", { token: SECRETS.JEFFREY_VIEWER_TOKEN });
    const { events, lost_events } = /** @type {any} */ (await response.json());
    assert.equal(lost_events, 0, "events were lost");
    return events;
  }

  /** All stored events, oldest first in each shard, from the admin API (docs/telemetry.md has their fields). @returns {Promise<{ lines: string[], events: any[] }>} */
  async readEvents() {
    /** @type {string[]} */
    const lines = [];
    for (let shard = 0; shard < this.load.stores; shard += 1) {
      for (let since = 0; ; ) {
        const path = `/v1/admin/events?shard=${shard}&since=${since}&limit=${PAGE_EVENTS}`;
        const response = await this.gateway.fetchAdmin(path, { token: SECRETS.JEFFREY_ADMIN_TOKEN });
        assert.equal(response.status, 200, path);
        const page = (await response.text()).split("\n").filter((line) => line !== "");
        if (page.length === 0) break;
        lines.push(...page);
        since = JSON.parse(page[page.length - 1]).seq;
      }
    }
    return { lines, events: lines.map((line) => JSON.parse(line)) };
  }

  /** Fails if a write bypassed the counts. */
  async checkCounts() {
    const { event_store, rollout, uncounted } = await this.readCounts();
    assert.deepEqual(uncounted, [], "the gateway calls methods of the storage that are billed and not counted");
    for (const counts of [event_store, rollout]) {
      assert.ok(counts.statements > 0, "no statement was counted");
      // The platform keeps the alarm in the same database; setting one and its run change a row each.
      const expectedRows = counts.rows_written + counts.alarm_sets + counts.alarms;
      assert.ok(counts.changed_rows <= expectedRows, `SQLite changed ${counts.changed_rows} rows, but only ${expectedRows} were counted`);
    }
    assert.ok(event_store.changed_rows > 0, "SQLite changed no row");
  }
}

/** Runs `use` with a gateway at a load, and checks its counts. @template T @param {MeasuredLoad} load @param {(session: Session) => Promise<T>} use @returns {Promise<T>} */
export async function withSession(load, use) {
  const collector = load.sinks > 0 ? await startCollector([{ status: 200 }]) : null;
  const isolates = Math.max(1, Math.round(Math.min(load.events_per_s, CALLS_PER_S_MAX) / load.isolate_events_per_s));
  const sinks = collector ? JSON.stringify([{ name: "logs", kind: "otlp-logs", url: collector.url }]) : "";
  const variables = { LOG_EVENTS: "off", DEBUG_HEADERS: "off", INITIAL_SHARE: CANARY_SHARE, EVENT_STORE_SHARDS: String(load.stores), SINKS: sinks };
  const gateway = await startGateway(variables, { model: "scripted", build: BUILD_FOLDER, isolates });
  try {
    const session = new Session(gateway, load, isolates);
    await session.waitForMinute();
    await session.warmUp();
    const result = await use(session);
    await session.checkCounts();
    return result;
  } finally {
    await gateway.stop();
    await collector?.stop();
  }
}

/** Subtracts each count. @template {Record<string, number>} T @param {T} after @param {T} before @returns {T} */
export function difference(after, before) {
  return /** @type {T} */ (Object.fromEntries(Object.entries(after).map(([name, number]) => [name, number - before[name]])));
}

/** @param {number} ms */
function sleep(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
