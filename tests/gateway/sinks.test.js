// Sinks of other formats, and one that does not respond to its first batch, in workerd with real HTTP servers.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { TEST_TIMEOUT_MS, SECRETS, startGateway, waitFor } from "../support/gateway.js";
import { startCollector } from "../support/collector.js";
import { SAMPLE_TEXT, mapInBatches } from "../support/gateway-calls.js";
import { ROOT } from "../support/wrangler.js";

const VIEWER = { token: SECRETS.JEFFREY_VIEWER_TOKEN };

describe("sinks of other formats", { timeout: TEST_TIMEOUT_MS }, () => {
  /** @type {Awaited<ReturnType<typeof startGateway>>} */
  let gateway;
  /** @type {Record<string, Awaited<ReturnType<typeof startCollector>>>} */
  const sinks = {};
  const REQUEST_COUNT = 12;
  /** @type {any[]} */
  let events;

  before(async () => {
    sinks.otel = await startCollector([{ status: 503, headers: { "retry-after": "1" } }, { status: 200, body: { partialSuccess: { rejectedLogRecords: "2", errorMessage: "no" } } }, { status: 200 }]);
    sinks.broken = await startCollector([{ status: 500 }, { status: 200 }]);
    sinks.old = await startCollector([{ status: 200 }]);
    sinks.mute = await startCollector([{ status: 0 }, { status: 200 }]);
    const kinds = { otel: "otlp-logs", broken: "otlp-logs", old: "ndjson-legacy", mute: "ndjson" };
    const configured = Object.entries(kinds).map(([name, kind]) => ({ name, kind, url: sinks[name].url }));
    gateway = await startGateway({ SINKS: JSON.stringify(configured), INITIAL_SHARE: "50%" });
    await mapInBatches(Array.from({ length: REQUEST_COUNT }, (_, index) => index), (index) => gateway.classify({ text: SAMPLE_TEXT, user_id: `user-${index}` }));
    events = await gateway.waitForEvents(REQUEST_COUNT);
  });
  after(async () => {
    await gateway?.stop();
    await Promise.all(Object.values(sinks).map(({ stop }) => stop()));
  });

  /** @param {string} name */
  const waitForDelivery = (name) => waitFor(async () => {
    const status = /** @type {any} */ (await (await gateway.fetchAdmin("/v1/sinks", VIEWER)).json());
    const sink = status.sinks.find((/** @type {any} */ sink) => sink.name === name);
    return status.events === REQUEST_COUNT && sink.pending_events === 0 && sink;
  });

  /** All log records that a collector accepted. @param {string} name */
  const acceptedRecords = (name) => sinks[name].requests.filter(({ status }) => status === 200).flatMap(({ body, type }) => {
    assert.equal(type, "application/json");
    return JSON.parse(body).resourceLogs.flatMap((/** @type {any} */ { scopeLogs }) => scopeLogs.flatMap((/** @type {any} */ { logRecords }) => logRecords));
  });
  /** @param {any} record @param {string} name */
  const attributeOf = (record, name) => record.attributes.find((/** @type {any} */ { key }) => key === name)?.value;

  test("OpenTelemetry: each event is a log record, and rejected records are counted and not sent again", async () => {
    const { delivered, dropped } = await waitForDelivery("otel");
    assert.deepEqual([delivered, dropped], [REQUEST_COUNT - 2, 2]);
    const accepted = acceptedRecords("otel");
    assert.deepEqual(accepted.map((record) => attributeOf(record, "jeffrey.id").stringValue).sort(), events.map(({ id }) => id).sort());
    const byId = new Map(events.map((event) => [event.id, event]));
    for (const record of accepted) {
      const event = byId.get(attributeOf(record, "jeffrey.id").stringValue);
      assert.equal(record.timeUnixNano, `${event.time_ms}000000`);
      assert.equal(attributeOf(record, "feature_flag.result.variant").stringValue, event.cohort);
      assert.equal(attributeOf(record, "http.response.status_code").intValue, String(event.status));
    }
  });

  test("OpenTelemetry: a batch refused with 500 is counted and, as OTLP requires, not sent again", async () => {
    const { delivered, dropped } = await waitForDelivery("broken");
    assert.equal(delivered + dropped, REQUEST_COUNT);
    const [first] = sinks.broken.requests;
    const refusedCount = JSON.parse(first.body).resourceLogs[0].scopeLogs[0].logRecords.length;
    assert.deepEqual([first.status, dropped], [500, refusedCount]);
    assert.equal(acceptedRecords("broken").length, delivered);
  });

  test("ndjson-legacy: `jeffrey analyze` reads the lines of the sink", async () => {
    await waitForDelivery("old");
    const lines = sinks.old.requests.map(({ body }) => body).join("");
    const output = execFileSync(join(ROOT, "target/debug/jeffrey"), ["analyze", "-", "--json"], { input: lines, encoding: "utf8" });
    const analysis = JSON.parse(output);
    assert.deepEqual([analysis.predictions, analysis.broken, analysis.verdict], [REQUEST_COUNT, 0, "READY"], output);
  });

  test("ndjson: a sink that does not respond to a batch gets it again", async () => {
    const { delivered, dropped } = await waitForDelivery("mute");
    assert.deepEqual([delivered, dropped], [REQUEST_COUNT, 0]);
    const lines = sinks.mute.requests.filter(({ status }) => status === 200).flatMap(({ body }) => body.trimEnd().split("\n"));
    assert.deepEqual(lines.map((line) => JSON.parse(line).id).sort(), events.map(({ id }) => id).sort());
    assert.ok(sinks.mute.requests.length > 1);
  });
});
