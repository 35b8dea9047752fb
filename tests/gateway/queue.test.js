// Events in the queue, in workerd: each event counts once, even if the queue delivers it twice or late.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { TEST_TIMEOUT_MS, SECRETS, signal, startGateways, waitFor } from "../support/gateway.js";
import { SAMPLE_TEXT, mapInBatches } from "../support/gateway-calls.js";

const VIEWER = { token: SECRETS.JEFFREY_VIEWER_TOKEN };
const ADMIN = { token: SECRETS.JEFFREY_ADMIN_TOKEN };

/** @typedef {import("../support/gateway.js").Gateway} Gateway */

const storageFolder = mkdtempSync(join(tmpdir(), "jeffrey-queue-"));
const startSession = () => startGateways({
  queued: [{ INITIAL_SHARE: "50%" }, { model: "none", feeder: "jeffrey-events" }],
  unqueued: [{}, { model: "none", configure: (toml) => toml.replace(/^\[\[queues\.(producers|consumers)\]\]\n(?:\w+ = .*\n)*/gm, "") }],
  dead: [{}, { model: "none", feeder: "jeffrey-events-dead" }],
  killed: [{}, { model: "none" }],
}, { state: storageFolder });
/** @type {Awaited<ReturnType<typeof startSession>>} */
let session;
before(async () => {
  session = await startSession();
});
after(async () => {
  await session?.stop();
  rmSync(storageFolder, { recursive: true, force: true });
});

/** @param {Gateway} gateway */
const fetchSinkStatus = async (gateway) => /** @type {any} */ (await (await gateway.fetchAdmin("/v1/sinks", VIEWER)).json());

/** The value of a series of the metrics, 0 if it is absent. @param {Gateway} gateway @param {string} name */
async function fetchMetric(gateway, name) {
  const text = await (await gateway.fetchAdmin("/metrics", VIEWER)).text();
  return Number(new RegExp(`^${name} (\\S+)$`, "m").exec(text)?.[1] ?? 0);
}

describe("the queue", { timeout: TEST_TIMEOUT_MS }, () => {
  /** @type {Gateway} */
  let gateway;
  before(() => {
    gateway = session.gateways.queued;
  });

  test("delivers every event to the event store once, and its lag is a metric", async () => {
    const bodies = Array.from({ length: 150 }, (_, index) => ({ text: SAMPLE_TEXT, user_id: `user-${index}` }));
    await mapInBatches(bodies, (body) => gateway.classify(body));
    await waitFor(async () => (await fetchSinkStatus(gateway)).events === bodies.length);
    assert.equal(await fetchMetric(gateway, "jeffrey_queue_send_failures_total"), 0);
    assert.ok(await fetchMetric(gateway, "jeffrey_queue_lag_seconds") > 0);
  });

  test("may deliver an event twice or late: it counts once, and malformed messages are counted separately", async () => {
    const countBefore = (await fetchSinkStatus(gateway)).events;
    const page = await (await gateway.fetchAdmin("/admin/events?limit=3", ADMIN)).text();
    const storedEvents = page.trimEnd().split("\n").map((line) => {
      const { seq, ...event } = JSON.parse(line);
      return JSON.stringify(event);
    });
    const lateEvent = JSON.stringify({ ...JSON.parse(storedEvents[0]), id: randomUUID(), time_ms: Date.now() - 600_000 });
    await gateway.feed([...storedEvents, ...storedEvents, lateEvent, lateEvent, "no event", "{}", `{"event":"classify","id":"${randomUUID()}"`, "a\nb"]);
    await gateway.feed([{ event: "classify" }, 7, null]);
    await waitFor(async () => (await fetchMetric(gateway, "jeffrey_events_malformed_total")) === 7);
    assert.equal((await fetchSinkStatus(gateway)).events, countBefore + 1);
    const metrics = await (await gateway.fetchAdmin("/metrics", VIEWER)).text();
    const requestCount = [...metrics.matchAll(/^jeffrey_requests_total\{.*\} (\d+)$/gm)].reduce((sum, [, number]) => sum + Number(number), 0);
    assert.equal(requestCount, countBefore + 1);
    // Later events still arrive.
    await gateway.classify({ text: SAMPLE_TEXT, user_id: "afterwards" });
    await waitFor(async () => (await fetchSinkStatus(gateway)).events === countBefore + 2);
  });
});

test("without a queue each event goes directly to the event store", { timeout: TEST_TIMEOUT_MS }, async () => {
  const { unqueued: gateway } = session.gateways;
  await gateway.classify({ text: SAMPLE_TEXT, user_id: "somebody" });
  await waitFor(async () => (await fetchSinkStatus(gateway)).events === 1);
  assert.equal(await fetchMetric(gateway, "jeffrey_queue_send_failures_total"), 0);
  assert.equal(await fetchMetric(gateway, "jeffrey_queue_lag_seconds"), 0);
});

test("events of the dead-letter queue reach the event store and are counted", { timeout: TEST_TIMEOUT_MS }, async () => {
  const { dead: gateway } = session.gateways;
  await gateway.classify({ text: SAMPLE_TEXT, user_id: "somebody" });
  const [event] = await gateway.waitForEvents(1);
  await gateway.feed([JSON.stringify({ ...event, id: randomUUID() }), JSON.stringify(event)]);
  await waitFor(async () => (await fetchMetric(gateway, "jeffrey_events_dead_lettered_total")) === 2);
  await waitFor(async () => (await fetchSinkStatus(gateway)).events === 2);
});

test("a killed session loses only events in the local queue's memory, and no event of the event store", { timeout: TEST_TIMEOUT_MS }, async (context) => {
  const [STORED, QUEUED] = [30, 10];
  let gateway = session.gateways.killed;
  const makeBodies = (/** @type {number} */ count, /** @type {string} */ name) => Array.from({ length: count }, (_, i) => ({ text: SAMPLE_TEXT, user_id: `${name}-${i}` }));
  await mapInBatches(makeBodies(STORED, "stored"), (body) => gateway.classify(body));
  await waitFor(async () => (await fetchSinkStatus(gateway)).events === STORED);
  await mapInBatches(makeBodies(QUEUED, "queued"), (body) => gateway.classify(body));
  const ids = (await gateway.waitForEvents(STORED + QUEUED)).map(({ id }) => id);
  signal(gateway.group, "SIGKILL");
  await session.stop();
  session = await startSession();
  gateway = session.gateways.killed;
  const page = await (await gateway.fetchAdmin("/admin/events?limit=1000", ADMIN)).text();
  const storedIds = page.trimEnd().split("\n").map((line) => JSON.parse(line).id);
  const lostIds = ids.filter((id) => !storedIds.includes(id));
  context.diagnostic(`${lostIds.length} of ${QUEUED} events were in the queue's memory`);
  assert.deepEqual(ids.slice(0, STORED).filter((id) => lostIds.includes(id)), [], "no event of the event store is lost");
  assert.equal(storedIds.length, STORED + QUEUED - lostIds.length, "each event is stored once");
  assert.equal(new Set(storedIds).size, storedIds.length);
  // The event store continues with its stored events.
  await gateway.classify({ text: SAMPLE_TEXT, user_id: "afterwards" });
  await waitFor(async () => (await fetchSinkStatus(gateway)).events === storedIds.length + 1);
});
