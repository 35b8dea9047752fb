// Tests the arithmetic of the cost of an event, with counts and prices whose result is easy to compute by hand.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { MONTH_S, archiveOfFirstMonth, chooseMeasurement, costOfMillionEvents, longestDuration, monthlyBill, storedEvents, usageOfMonth } from "../bench/cost-model.js";

/** @typedef {import("../bench/cost-model.js").Counts} Counts */

/** @type {import("../bench/cost-model.js").Prices} */
const prices = JSON.parse(readFileSync("docs/prices.json", "utf8"));

const PER_EVENT = { queue_operations: 3, rows_written: 5, rows_read: 2, alarm_sets: 0.5, alarms: 0.5, object_requests: 0.1, rollout_requests: 0.2, rollout_rows_written: 0, rollout_rows_read: 0 };
/** @type {Counts} */
const COUNTS = {
  measurements: [
    { events_per_s: 1_000, isolate_events_per_s: 5, stores: 16, sinks: 1, per_event: PER_EVENT },
    { events_per_s: 1_000, isolate_events_per_s: 100, stores: 16, sinks: 1, per_event: { ...PER_EVENT, queue_operations: 0.1 } },
    { events_per_s: 10, isolate_events_per_s: 100, stores: 16, sinks: 1, per_event: { ...PER_EVENT, rows_written: 7 } },
  ],
  background: [{ stores: 16, sinks: 1, object_requests: 0, rows_written: 0, rows_read: 0 }],
  per_new_subject: { rows_written: 3, rows_read: 0, bytes: 150, bytes_left: 100 },
  per_first_hit: { rows_written: 19, rows_read: 10, deleted_rows_written: 1 },
  per_stored_event: { bytes: 1_000, ndjson_bytes: 750, deleted_rows_written: 4, rows_read_by_alarm: 1 },
};
const LOAD = { events_per_s: 1_000, isolate_events_per_s: 5, stores: 16, sinks: 1, days_kept: 7, store_bytes_max: 1e9, new_subject_share: 0.1, first_hit_share: 0.05 };

/** @param {string} item @param {Partial<typeof LOAD>} [change] @param {Counts} [counts] */
function dollarsOf(item, change = {}, counts = COUNTS) {
  const found = costOfMillionEvents(counts, prices, { ...LOAD, ...change }).items.find((candidate) => candidate.item === item);
  assert.ok(found, item);
  return found.dollars;
}

/** @param {number} actual @param {number} expected */
const assertNear = (actual, expected) => assert.ok(Math.abs(actual - expected) <= 1e-9 * Math.abs(expected), `${actual} is not ${expected}`);

test("a million events cost their counts at list prices", () => {
  /** @type {[string, number][]} */
  const rows = [
    // 3 operations at $0.40 a million.
    ["queue: write, read and delete", 1.2],
    ["rows written to store events", 5],
    // A tenth of the events has a new subject, with 3 rows.
    ["rows written for new subjects", 0.3],
    // A twentieth is the first hit of a metric, with 19 rows, and one when it expires.
    ["rows written for newly affected subjects", 1],
    ["rows written to delete expired events", 4],
    ["alarms set, a row each", 0.5],
    // 2 for each event, and 10 for each twentieth of them.
    ["rows read otherwise", 0.0025],
    ["requests to the event store", 0.015],
    ["alarms of the event store", 0.075],
    ["rollout object: requests and alarms", 0.03],
  ];
  for (const [item, dollars] of rows) assertNear(dollarsOf(item), dollars);
});

test("the total is the sum of the items, without the longest duration", () => {
  const { items, total, duration_max } = costOfMillionEvents(COUNTS, prices, LOAD);
  assertNear(total, items.reduce((sum, { dollars }) => sum + dollars, 0));
  // 17 objects of 0.128 GB for each second, at 1,000 events a second.
  assertNear(duration_max, ((17 * 0.128) / 1_000) * 12.5);
  assert.equal(longestDuration(prices, LOAD).quantity, 17 * MONTH_S * 0.128);
});

test("a full shard holds fewer events than the retention", () => {
  assert.equal(storedEvents(COUNTS, { ...LOAD, store_bytes_max: 1e12 }), 1_000 * 7 * 86_400);
  assert.equal(storedEvents(COUNTS, LOAD), (16 * 1e9) / 1_000);
});

test("an alarm that scans its shard reads the stored events of that shard", () => {
  // Half an alarm for each event, and a million events in each of the 16 shards.
  assertNear(dollarsOf("rows read, by alarms that scan the stored events"), 0.5 * 1e6 * 0.001);
  const withoutScan = { ...COUNTS, per_stored_event: { ...COUNTS.per_stored_event, rows_read_by_alarm: 0 } };
  assert.equal(dollarsOf("rows read, by alarms that scan the stored events", {}, withoutScan), 0);
});

test("stored data is billed for the events kept, and for what subjects leave", () => {
  const month_events = 1_000 * MONTH_S;
  // 16 million events of 1,000 bytes, and 50 bytes for each tenth of them.
  assertNear(dollarsOf("stored events"), (16e6 * (1_000 + 0.1 * 50)) / 1e9 * 0.2 / (month_events / 1e6));
  assertNear(dollarsOf("subjects of a month that stay stored"), (month_events * 0.1 * 100) / 1e9 * 0.2 / (month_events / 1e6));
});

test("what happens without events weighs more on a million events at a lower rate", () => {
  const counts = { ...COUNTS, background: [{ stores: 16, sinks: 1, object_requests: 1, rows_written: 0, rows_read: 0 }] };
  assertNear(dollarsOf("without events: requests and alarms", {}, counts), 0.15 / 1_000);
  assertNear(dollarsOf("without events: requests and alarms", { events_per_s: 10 }, counts), 0.15 / 10);
});

test("the included amounts are deducted once for each resource", () => {
  const bill = monthlyBill(prices, [
    { item: "a", resource: "rows_written", quantity: 40e6 },
    { item: "b", resource: "rows_written", quantity: 30e6 },
    { item: "c", resource: "queue_operations", quantity: 1e6 },
  ]);
  assert.equal(bill.get("rows_written"), 20);
  assert.equal(bill.get("queue_operations"), 0);
});

test("a load has the measurement with its shards and sinks, the nearest rate in all, and then of an isolate", () => {
  const chosen = (/** @type {Partial<typeof LOAD>} */ change) => COUNTS.measurements.indexOf(chooseMeasurement(COUNTS, { ...LOAD, ...change }));
  assert.equal(chosen({}), 0);
  assert.equal(chosen({ isolate_events_per_s: 60 }), 1);
  assert.equal(chosen({ events_per_s: 20 }), 2);
  assert.throws(() => chosen({ stores: 4 }), /4 shards/);
  assert.throws(() => chosen({ sinks: 0 }), /0 sinks/);
});

test("no item of a month is negative or missing", () => {
  for (const { item, quantity } of usageOfMonth(COUNTS, LOAD)) assert.ok(quantity >= 0, `${item}: ${quantity}`);
});

test("the archive writes an object a minute, or one for each 500 events", () => {
  const writes = (/** @type {Partial<typeof LOAD>} */ change) => archiveOfFirstMonth(COUNTS, { ...LOAD, ...change })[0].quantity;
  assert.equal(writes({ events_per_s: 1, stores: 1 }), 43_200);
  assert.equal(writes({ events_per_s: 1_000, stores: 16 }), (60_000 / 500) * 43_200);
  assert.equal(archiveOfFirstMonth(COUNTS, LOAD)[1].quantity, (1_000 * MONTH_S * 750) / 1e9);
});
