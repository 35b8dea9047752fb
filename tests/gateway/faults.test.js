// Faults between the gateway, the event store and a sink, in workerd: no event is lost or counted twice.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { startCollector } from "../support/collector.js";
import { PATIENCE_MS, SECRETS, signal, startGateways, until } from "../support/gateway.js";
import { TEXT, each } from "../support/gateway-calls.js";

const VIEWER = { token: SECRETS.JEFFREY_VIEWER_TOKEN };
const ADMIN = { token: SECRETS.JEFFREY_ADMIN_TOKEN };
const CALLS = 40;

/** @typedef {import("../support/gateway.js").Gate} Gate */

const state = mkdtempSync(join(tmpdir(), "jeffrey-faults-"));
/** Receives the first batch and never responds. @type {Awaited<ReturnType<typeof startCollector>>} */
let sink;
const begin = () => startGateways({
  thrown: [{ INITIAL_SHARE: "50%" }, { model: "none", queue: "faulty" }],
  ended: [{ SINKS: JSON.stringify([{ name: "lines", kind: "ndjson", url: sink.url }]) }, { model: "none" }],
  renewed: [{ MODEL_TIMEOUT_MS: "30000" }, { model: "faulty" }],
}, { state });
/** @type {Awaited<ReturnType<typeof begin>>} */
let session;
before(async () => {
  sink = await startCollector([{ status: 0 }, { status: 200 }]);
  session = await begin();
});
after(async () => {
  await session?.stop();
  await sink?.stop();
  rmSync(state, { recursive: true, force: true });
});

/** @param {string} name */
const people = (name) => Array.from({ length: CALLS }, (_, at) => ({ text: TEXT, user_id: `${name}-${at}` }));

/** @param {Gate} gate */
const status = async (gate) => /** @type {any} */ (await (await gate.own("/v1/sinks", VIEWER)).json());

/** Asserts that the event store has exactly the printed events and counted each once. @param {Gate} gate @param {number} count */
async function keptOnce(gate, count) {
  const printed = (await gate.eventsOf(count)).map(({ id }) => id).sort();
  await until(async () => (await status(gate)).events >= count);
  const page = (await (await gate.own("/admin/events?limit=1000", ADMIN)).text()).trimEnd().split("\n");
  assert.deepEqual(page.map((line) => JSON.parse(line).id).sort(), printed);
  const text = await (await gate.own("/metrics", VIEWER)).text();
  const counted = [...text.matchAll(/^jeffrey_requests_total\{.*\} (\d+)$/gm)].reduce((sum, [, number]) => sum + Number(number), 0);
  assert.equal(counted, count);
  const { lost, sinks } = await status(gate);
  assert.equal(lost, 0);
  for (const { name, dropped } of sinks) assert.equal(dropped, 0, name);
}

test("a consumer that throws after its work gets the batch again, and no event counts twice", { timeout: PATIENCE_MS }, async () => {
  const { thrown: gate } = session.gates;
  const order = async (/** @type {string} */ query) => /** @type {any} */ (await (await fetch(`${gate.origin}/throws${query}`)).json());
  await order("?next=2");
  await each(people("thrown"), (body) => gate.classify(body));
  const { thrown } = await until(async () => {
    const found = await order("");
    return found.left === 0 && found;
  });
  assert.ok(thrown > 0);
  await each(people("after"), (body) => gate.classify(body));
  await keptOnce(gate, 2 * CALLS);
  // Duplicates have arrived by now or arrive later, and change nothing.
  await until(async () => (await order("")).left === 0);
  await keptOnce(gate, 2 * CALLS);
});

test("an event store killed while a sink is silent continues from its file, and the sink gets all events", { timeout: PATIENCE_MS }, async () => {
  let gate = session.gates.ended;
  await each(people("before"), (body) => gate.classify(body));
  const ids = (await gate.eventsOf(CALLS)).map(({ id }) => id).sort();
  await until(async () => (await status(gate)).events === CALLS && sink.asked.length > 0);
  signal(gate.group, "SIGKILL");
  await session.stop();
  session = await begin();
  gate = session.gates.ended;
  const [found] = await until(async () => {
    const { events, sinks } = await status(gate);
    return events === CALLS && sinks[0].waiting === 0 && sinks;
  });
  assert.deepEqual([found.delivered, found.dropped], [CALLS, 0]);
  const taken = sink.asked.filter(({ status }) => status === 200).flatMap(({ body }) => body.trimEnd().split("\n")).map((line) => JSON.parse(line).id);
  assert.deepEqual(taken.sort(), ids);
});

test("a model that traps and restarts under load loses no event", { timeout: PATIENCE_MS }, async () => {
  const { renewed: gate } = session.gates;
  const calls = people("renewed");
  for (const at of [9, 19]) calls[at].text = "fault:trap";
  const answers = await each(calls, (body) => gate.classify(body));
  assert.deepEqual(answers.filter(({ status }) => status !== 200), []);
  await keptOnce(gate, CALLS);
  const fallbacks = new Set(gate.events().map(({ fallback }) => fallback));
  assert.ok(fallbacks.has("trap"), [...fallbacks].join(" "));
});
