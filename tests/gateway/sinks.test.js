// Sinks of other formats, and one that does not respond to its first batch, in workerd with real HTTP servers.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { PATIENCE_MS, SECRETS, startGateway, until } from "../support/gateway.js";
import { startCollector } from "../support/collector.js";
import { TEXT, each } from "../support/gateway-calls.js";
import { ROOT } from "../support/wrangler.js";

const VIEWER = { token: SECRETS.JEFFREY_VIEWER_TOKEN };

describe("sinks of other formats", { timeout: PATIENCE_MS }, () => {
  /** @type {Awaited<ReturnType<typeof startGateway>>} */
  let gate;
  /** @type {Record<string, Awaited<ReturnType<typeof startCollector>>>} */
  const sinks = {};
  const CALLS = 12;
  /** @type {any[]} */
  let events;

  before(async () => {
    sinks.otel = await startCollector([{ status: 503, headers: { "retry-after": "1" } }, { status: 200, body: { partialSuccess: { rejectedLogRecords: "2", errorMessage: "no" } } }, { status: 200 }]);
    sinks.broken = await startCollector([{ status: 500 }, { status: 200 }]);
    sinks.old = await startCollector([{ status: 200 }]);
    sinks.mute = await startCollector([{ status: 0 }, { status: 200 }]);
    const kinds = { otel: "otlp-logs", broken: "otlp-logs", old: "ndjson-legacy", mute: "ndjson" };
    const configured = Object.entries(kinds).map(([name, kind]) => ({ name, kind, url: sinks[name].url }));
    gate = await startGateway({ SINKS: JSON.stringify(configured), INITIAL_SHARE: "50%" });
    await each(Array.from({ length: CALLS }, (_, at) => at), (at) => gate.classify({ text: TEXT, user_id: `user-${at}` }));
    events = await gate.eventsOf(CALLS);
  });
  after(async () => {
    await gate?.stop();
    await Promise.all(Object.values(sinks).map(({ stop }) => stop()));
  });

  /** @param {string} name */
  const settled = (name) => until(async () => {
    const standing = /** @type {any} */ (await (await gate.own("/v1/sinks", VIEWER)).json());
    const sink = standing.sinks.find((/** @type {any} */ sink) => sink.name === name);
    return standing.events === CALLS && sink.waiting === 0 && sink;
  });

  /** All log records that a collector accepted. @param {string} name */
  const records = (name) => sinks[name].asked.filter(({ status }) => status === 200).flatMap(({ body, type }) => {
    assert.equal(type, "application/json");
    return JSON.parse(body).resourceLogs.flatMap((/** @type {any} */ { scopeLogs }) => scopeLogs.flatMap((/** @type {any} */ { logRecords }) => logRecords));
  });
  /** @param {any} record @param {string} name */
  const attribute = (record, name) => record.attributes.find((/** @type {any} */ { key }) => key === name)?.value;

  test("OpenTelemetry: each event is a log record, and rejected records are counted and not sent again", async () => {
    const { delivered, dropped } = await settled("otel");
    assert.deepEqual([delivered, dropped], [CALLS - 2, 2]);
    const sent = records("otel");
    assert.deepEqual(sent.map((record) => attribute(record, "jeffrey.id").stringValue).sort(), events.map(({ id }) => id).sort());
    const byId = new Map(events.map((event) => [event.id, event]));
    for (const record of sent) {
      const event = byId.get(attribute(record, "jeffrey.id").stringValue);
      assert.equal(record.timeUnixNano, `${event.time_ms}000000`);
      assert.equal(attribute(record, "feature_flag.result.variant").stringValue, event.cohort);
      assert.equal(attribute(record, "http.response.status_code").intValue, String(event.status));
    }
  });

  test("OpenTelemetry: a batch refused with 500 is counted and, as OTLP requires, not sent again", async () => {
    const { delivered, dropped } = await settled("broken");
    assert.equal(delivered + dropped, CALLS);
    const [first] = sinks.broken.asked;
    const refused = JSON.parse(first.body).resourceLogs[0].scopeLogs[0].logRecords.length;
    assert.deepEqual([first.status, dropped], [500, refused]);
    assert.equal(records("broken").length, delivered);
  });

  test("ndjson-legacy: `jeffrey analyze` reads the lines of the sink", async () => {
    await settled("old");
    const lines = sinks.old.asked.map(({ body }) => body).join("");
    const output = execFileSync(join(ROOT, "target/debug/jeffrey"), ["analyze", "-", "--json"], { input: lines, encoding: "utf8" });
    const found = JSON.parse(output);
    assert.deepEqual([found.predictions, found.broken, found.verdict], [CALLS, 0, "READY"], output);
  });

  test("ndjson: a sink that does not respond to a batch gets it again", async () => {
    const { delivered, dropped } = await settled("mute");
    assert.deepEqual([delivered, dropped], [CALLS, 0]);
    const lines = sinks.mute.asked.filter(({ status }) => status === 200).flatMap(({ body }) => body.trimEnd().split("\n"));
    assert.deepEqual(lines.map((line) => JSON.parse(line).id).sort(), events.map(({ id }) => id).sort());
    assert.ok(sinks.mute.asked.length > 1);
  });
});
