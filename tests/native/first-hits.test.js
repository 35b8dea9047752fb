// Tests which events count as the first hit of a metric.

import assert from "node:assert/strict";
import { test } from "node:test";
import { countFirstHits } from "../bench/first-hits.js";

/** A stable event that no metric hits. @param {Record<string, unknown>} [change] */
const event = (change = {}) => ({
  subject: "a", is_evidence: true, cohort: "stable", destination: "stable", status: 200, latency_ms: 20, low_confidence: false, rule_applied: false,
  thresholds: { slow_ms: 200, stable_p95_ms: null, canary_slow_ms: null }, ...change,
});
const p95 = { slow_ms: 200, stable_p95_ms: 90, canary_slow_ms: 108 };

/** @type {[string, Record<string, unknown>[], number][]} */
const ROWS = [
  ["an event that no metric hits", [event()], 0],
  ["an error", [event({ status: 500 })], 1],
  ["two errors of one subject", [event({ status: 500 }), event({ status: 502 })], 1],
  ["an error of each of two subjects", [event({ status: 500 }), event({ subject: "b", status: 500 })], 2],
  ["a slow error", [event({ status: 500, latency_ms: 201 })], 2],
  ["a call of exactly the limit", [event({ latency_ms: 200 })], 0],
  ["a call slower than stable's p95", [event({ latency_ms: 91, thresholds: p95 })], 1],
  ["a canary call below its own limit", [event({ cohort: "canary", destination: "canary", latency_ms: 91, thresholds: p95 })], 0],
  ["a canary call that the legacy system answered", [event({ cohort: "canary" })], 1],
  ["an answer with low confidence, changed by a rule", [event({ low_confidence: true, rule_applied: true })], 2],
  ["an error that is no evidence", [event({ status: 500, is_evidence: false })], 0],
  ["an error without a subject", [event({ status: 500, subject: null })], 0],
];

for (const [name, events, hits] of ROWS) {
  test(`${name}: ${hits}`, () => assert.equal(countFirstHits(events), hits));
}
