// Faults between the gateway, the event store and a sink, in workerd: no event is lost or counted twice.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { startCollector } from "../support/collector.js";
import { TEST_TIMEOUT_MS, SECRETS, signal, startGateways, waitFor } from "../support/gateway.js";
import { SAMPLE_TEXT, mapInBatches } from "../support/gateway-calls.js";

const VIEWER = { token: SECRETS.JEFFREY_VIEWER_TOKEN };
const ADMIN = { token: SECRETS.JEFFREY_ADMIN_TOKEN };
const CALLS = 40;

/** @typedef {import("../support/gateway.js").Gateway} Gateway */

const state = mkdtempSync(join(tmpdir(), "jeffrey-faults-"));
/** Receives the first batch and never responds. @type {Awaited<ReturnType<typeof startCollector>>} */
let sink;
const startSession = () => startGateways({
  throwing: [{ INITIAL_SHARE: "50%" }, { model: "none", queue: "faulty" }],
  restarted: [{ SINKS: JSON.stringify([{ name: "lines", kind: "ndjson", url: sink.url }]) }, { model: "none" }],
  trapping: [{ MODEL_TIMEOUT_MS: "30000" }, { model: "faulty" }],
}, { state });
/** @type {Awaited<ReturnType<typeof startSession>>} */
let session;
before(async () => {
  sink = await startCollector([{ status: 0 }, { status: 200 }]);
  session = await startSession();
});
after(async () => {
  await session?.stop();
  await sink?.stop();
  rmSync(state, { recursive: true, force: true });
});

/** @param {string} name */
const classifyBodies = (name) => Array.from({ length: CALLS }, (_, index) => ({ text: SAMPLE_TEXT, user_id: `${name}-${index}` }));

/** @param {Gateway} gateway */
const fetchSinkStatus = async (gateway) => /** @type {any} */ (await (await gateway.fetchAdmin("/v1/sinks", VIEWER)).json());

/** Asserts that the event store has exactly the printed events and counted each once. @param {Gateway} gateway @param {number} count */
async function assertStoredOnce(gateway, count) {
  const printedIds = (await gateway.waitForEvents(count)).map(({ id }) => id).sort();
  await waitFor(async () => (await fetchSinkStatus(gateway)).events >= count);
  const storedLines = (await (await gateway.fetchAdmin("/admin/events?limit=1000", ADMIN)).text()).trimEnd().split("\n");
  assert.deepEqual(storedLines.map((line) => JSON.parse(line).id).sort(), printedIds);
  const text = await (await gateway.fetchAdmin("/metrics", VIEWER)).text();
  const countedRequests = [...text.matchAll(/^jeffrey_requests_total\{.*\} (\d+)$/gm)].reduce((sum, [, number]) => sum + Number(number), 0);
  assert.equal(countedRequests, count);
  const { lost_events, sinks } = await fetchSinkStatus(gateway);
  assert.equal(lost_events, 0);
  for (const { name, dropped } of sinks) assert.equal(dropped, 0, name);
}

test("a consumer that throws after its work gets the batch again, and no event counts twice", { timeout: TEST_TIMEOUT_MS }, async () => {
  const { throwing: gateway } = session.gateways;
  const callThrows = async (/** @type {string} */ query) => /** @type {any} */ (await (await fetch(`${gateway.origin}/throws${query}`)).json());
  await callThrows("?next=2");
  await mapInBatches(classifyBodies("thrown"), (body) => gateway.classify(body));
  const { thrown } = await waitFor(async () => {
    const queueState = await callThrows("");
    return queueState.left === 0 && queueState;
  });
  assert.ok(thrown > 0);
  await mapInBatches(classifyBodies("after"), (body) => gateway.classify(body));
  await assertStoredOnce(gateway, 2 * CALLS);
  // Duplicates have arrived by now or arrive later, and change nothing.
  await waitFor(async () => (await callThrows("")).left === 0);
  await assertStoredOnce(gateway, 2 * CALLS);
});

test("an event store killed while a sink is silent continues from its file, and the sink gets all events", { timeout: TEST_TIMEOUT_MS }, async () => {
  let gateway = session.gateways.restarted;
  await mapInBatches(classifyBodies("before"), (body) => gateway.classify(body));
  const printedIds = (await gateway.waitForEvents(CALLS)).map(({ id }) => id).sort();
  await waitFor(async () => (await fetchSinkStatus(gateway)).events === CALLS && sink.requests.length > 0);
  signal(gateway.group, "SIGKILL");
  await session.stop();
  session = await startSession();
  gateway = session.gateways.restarted;
  const [sinkStatus] = await waitFor(async () => {
    const { events, sinks } = await fetchSinkStatus(gateway);
    return events === CALLS && sinks[0].pending_events === 0 && sinks;
  });
  assert.deepEqual([sinkStatus.delivered, sinkStatus.dropped], [CALLS, 0]);
  const deliveredIds = sink.requests.filter(({ status }) => status === 200).flatMap(({ body }) => body.trimEnd().split("\n")).map((line) => JSON.parse(line).id);
  assert.deepEqual(deliveredIds.sort(), printedIds);
});

test("a model that traps and restarts under load loses no event", { timeout: TEST_TIMEOUT_MS }, async () => {
  const { trapping: gateway } = session.gateways;
  const calls = classifyBodies("renewed");
  for (const index of [9, 19]) calls[index].text = "fault:trap";
  const responses = await mapInBatches(calls, (body) => gateway.classify(body));
  assert.deepEqual(responses.filter(({ status }) => status !== 200), []);
  await assertStoredOnce(gateway, CALLS);
  const fallbacks = new Set(gateway.events().map(({ fallback_reason }) => fallback_reason));
  assert.ok(fallbacks.has("trap"), [...fallbacks].join(" "));
});
