// The simulation of crates/simulation held against workerd: each scenario of tests/data/scenarios.json runs in both, with
// the same outcome. The simulation adds what the file itself expects of an outcome.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { TEST_TIMEOUT_MS, startGateways } from "../support/gateway.js";
import { gatewaySpec, listDifferences, readScenarios, runSimulation, startWebhooks, takeSteps } from "../support/scenario.js";

/** Scenarios that run at once: most of their time is spent waiting. */
const CONCURRENCY = 4;

const file = readScenarios();
const names = file.scenarios.map(({ name }) => name);

/** @type {Awaited<ReturnType<typeof startWebhooks>>[]} */
let webhooks = [];
/** @type {Awaited<ReturnType<typeof startGateways>> | undefined} */
let session;
/** @type {ReturnType<typeof runSimulation>} */
let simulated;

before(async () => {
  simulated = runSimulation();
  webhooks = await Promise.all(names.map(startWebhooks));
  const specs = file.scenarios.map((scenario, index) => [`scenario-${index}`, gatewaySpec(file, scenario, webhooks[index])]);
  session = await startGateways(Object.fromEntries(specs));
  for (const [index, scenario] of file.scenarios.entries()) {
    // The first request starts the isolate, which takes time that a scenario should not see.
    const gateway = session.gateways[`scenario-${index}`];
    for (const number of ["one", "two"].slice(0, scenario.gateways ?? 1)) await gateway.fetchAdmin("/health", { headers: { "x-test-gateway": number } });
  }
});
after(async () => {
  await session?.stop();
  await Promise.all(webhooks.map(({ stop }) => stop()));
});

test("the names of the scenarios are unique, and the simulation ran them all", () => {
  assert.equal(new Set(names).size, names.length);
  assert.deepEqual(Object.keys(simulated).sort(), [...names].sort());
});

test("a difference between two outcomes is found, wherever it is", () => {
  const outcome = { steps: [null, { calls: [{ status: 200, error: null }] }], end: { events: { "event=feedback": 1 } } };
  assert.deepEqual(listDifferences(outcome, structuredClone(outcome)), []);
  assert.deepEqual(listDifferences({ ...outcome, end: { events: {} } }, outcome), ["/end/events/event=feedback: undefined in workerd, 1 in the simulation"]);
  const other = { ...outcome, steps: [null, { calls: [{ status: 502, error: null }, {}] }] };
  assert.deepEqual(listDifferences(outcome, other), [
    "/steps/1/calls/0/status: 200 in workerd, 502 in the simulation",
    "/steps/1/calls/1: undefined in workerd, {} in the simulation",
  ]);
});

describe("a scenario has the same outcome in workerd and in the simulation", { timeout: 3 * TEST_TIMEOUT_MS, concurrency: CONCURRENCY }, () => {
  for (const [index, scenario] of file.scenarios.entries()) {
    test(scenario.name, async () => {
      assert.ok(session);
      const outcome = await takeSteps(session.gateways[`scenario-${index}`], file, scenario, webhooks[index]);
      assert.deepEqual(listDifferences(outcome, simulated[scenario.name].outcome), []);
      assert.deepEqual(simulated[scenario.name].unexpected, []);
    });
  }
});
