// Events in the queue, in workerd: each event counts once, even if the queue delivers it twice or late.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { PATIENCE_MS, SECRETS, signal, startGateways, until } from "../support/gateway.js";
import { TEXT, each } from "../support/gateway-calls.js";

const VIEWER = { token: SECRETS.JEFFREY_VIEWER_TOKEN };
const ADMIN = { token: SECRETS.JEFFREY_ADMIN_TOKEN };

/** @typedef {import("../support/gateway.js").Gate} Gate */

const state = mkdtempSync(join(tmpdir(), "jeffrey-queue-"));
const begin = () => startGateways({
  queued: [{ INITIAL_SHARE: "50%" }, { model: "none", feeder: "jeffrey-events" }],
  unqueued: [{}, { model: "none", configure: (toml) => toml.replace(/^\[\[queues\.(producers|consumers)\]\]\n(?:\w+ = .*\n)*/gm, "") }],
  dead: [{}, { model: "none", feeder: "jeffrey-events-dead" }],
  killed: [{}, { model: "none" }],
}, { state });
/** @type {Awaited<ReturnType<typeof begin>>} */
let session;
before(async () => {
  session = await begin();
});
after(async () => {
  await session?.stop();
  rmSync(state, { recursive: true, force: true });
});

/** @param {Gate} gate */
const standing = async (gate) => /** @type {any} */ (await (await gate.own("/v1/sinks", VIEWER)).json());

/** The value of a series of the metrics, 0 if it is absent. @param {Gate} gate @param {string} name */
async function metric(gate, name) {
  const text = await (await gate.own("/metrics", VIEWER)).text();
  return Number(new RegExp(`^${name} (\\S+)$`, "m").exec(text)?.[1] ?? 0);
}

describe("the queue", { timeout: PATIENCE_MS }, () => {
  /** @type {Gate} */
  let gate;
  before(() => {
    gate = session.gates.queued;
  });

  test("delivers every event to the event store once, and its lag is a metric", async () => {
    const calls = Array.from({ length: 150 }, (_, at) => ({ text: TEXT, user_id: `user-${at}` }));
    await each(calls, (body) => gate.classify(body));
    await until(async () => (await standing(gate)).events === calls.length);
    assert.equal(await metric(gate, "jeffrey_queue_send_failures_total"), 0);
    assert.ok(await metric(gate, "jeffrey_queue_lag_seconds") > 0);
  });

  test("may deliver an event twice or late: it counts once, and malformed messages are counted separately", async () => {
    const before = (await standing(gate)).events;
    const page = await (await gate.own("/admin/events?limit=3", ADMIN)).text();
    const known = page.trimEnd().split("\n").map((line) => {
      const { seq, ...event } = JSON.parse(line);
      return JSON.stringify(event);
    });
    const fresh = JSON.stringify({ ...JSON.parse(known[0]), id: randomUUID(), time_ms: Date.now() - 600_000 });
    await gate.feed([...known, ...known, fresh, fresh, "no event", "{}", `{"event":"classify","id":"${randomUUID()}"`, "a\nb"]);
    await gate.feed([{ event: "classify" }, 7, null]);
    await until(async () => (await metric(gate, "jeffrey_events_malformed_total")) === 7);
    assert.equal((await standing(gate)).events, before + 1);
    const requests = await (await gate.own("/metrics", VIEWER)).text();
    const counted = [...requests.matchAll(/^jeffrey_requests_total\{.*\} (\d+)$/gm)].reduce((sum, [, number]) => sum + Number(number), 0);
    assert.equal(counted, before + 1);
    // Later events still arrive.
    await gate.classify({ text: TEXT, user_id: "afterwards" });
    await until(async () => (await standing(gate)).events === before + 2);
  });
});

test("without a queue each event goes directly to the event store", { timeout: PATIENCE_MS }, async () => {
  const { unqueued: gate } = session.gates;
  await gate.classify({ text: TEXT, user_id: "somebody" });
  await until(async () => (await standing(gate)).events === 1);
  assert.equal(await metric(gate, "jeffrey_queue_send_failures_total"), 0);
  assert.equal(await metric(gate, "jeffrey_queue_lag_seconds"), 0);
});

test("events of the dead-letter queue reach the event store and are counted", { timeout: PATIENCE_MS }, async () => {
  const { dead: gate } = session.gates;
  await gate.classify({ text: TEXT, user_id: "somebody" });
  const [event] = await gate.eventsOf(1);
  await gate.feed([JSON.stringify({ ...event, id: randomUUID() }), JSON.stringify(event)]);
  await until(async () => (await metric(gate, "jeffrey_events_dead_lettered_total")) === 2);
  await until(async () => (await standing(gate)).events === 2);
});

test("a killed session loses only events in the local queue's memory, and no event of the event store", { timeout: PATIENCE_MS }, async (context) => {
  const [KEPT, LATE] = [30, 10];
  let gate = session.gates.killed;
  const people = (/** @type {number} */ count, /** @type {string} */ name) => Array.from({ length: count }, (_, at) => ({ text: TEXT, user_id: `${name}-${at}` }));
  await each(people(KEPT, "kept"), (body) => gate.classify(body));
  await until(async () => (await standing(gate)).events === KEPT);
  await each(people(LATE, "late"), (body) => gate.classify(body));
  const ids = (await gate.eventsOf(KEPT + LATE)).map(({ id }) => id);
  signal(gate.group, "SIGKILL");
  await session.stop();
  session = await begin();
  gate = session.gates.killed;
  const page = await (await gate.own("/admin/events?limit=1000", ADMIN)).text();
  const found = page.trimEnd().split("\n").map((line) => JSON.parse(line).id);
  const lost = ids.filter((id) => !found.includes(id));
  context.diagnostic(`${lost.length} of ${LATE} events were in the queue's memory`);
  assert.deepEqual(ids.slice(0, KEPT).filter((id) => lost.includes(id)), [], "what the ledger had");
  assert.equal(found.length, KEPT + LATE - lost.length, "and each once");
  assert.equal(new Set(found).size, found.length);
  // The event store continues with its stored events.
  await gate.classify({ text: TEXT, user_id: "afterwards" });
  await until(async () => (await standing(gate)).events === found.length + 1);
});
