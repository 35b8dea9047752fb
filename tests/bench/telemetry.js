// Measures telemetry: lines a second and memory of `jeffrey analyze`, events a second from the queue into the
// event store, and workerd's CPU time for a request with and without events. The third part of `make bench`.
//
// The bench asserts no time. It fails if an event is lost or counted twice.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { readFileSync, readdirSync } from "node:fs";
import { once } from "node:events";
import { SECRETS, startGateway, waitFor } from "../support/gateway.js";
import { BUILD_FOLDER } from "./files.js";
import { quantile } from "./stats.js";

const LINES = 10_000_000;
const EVENTS = 5_000;
const CONSUMER_BAR = 2_000;
/** Largest batch of the queue, in events. */
const BATCH_EVENTS = 100;
const ROUNDS = 8;
const REQUESTS = 500;
const COST_BAR_MS = 1;
/** Ticks of the kernel's clock in a second. */
const TICKS_PER_SECOND = 100;

const logProgress = (/** @type {string} */ line) => console.error(`bench: ${line}`);

try {
  logProgress(`${LINES} lines through jeffrey analyze`);
  const analyzeResult = await measureAnalyze();
  logProgress(`${EVENTS} events through the queue`);
  const consumer_s = await measureConsumer();
  logProgress("a request with events and without");
  const cost = await measureRequestCost();
  console.log([
    "| telemetry | found | bar |",
    "|---|---|---|",
    `| \`jeffrey analyze\`: lines a second, of ${LINES} | ${Math.round(analyzeResult.lines_per_second)} |  |`,
    `| … its largest memory | ${analyzeResult.peak_mb.toFixed(1)} MB |  |`,
    `| queue, consumer and event store in wrangler dev: events a second, ${EVENTS} at once | ${Math.round(EVENTS / consumer_s)} | at least ${CONSUMER_BAR} |`,
    `| workerd's CPU for a forwarded request, without events / with (queue, consumer and event store included) | ${cost.off_ms.toFixed(2)} / ${cost.on_ms.toFixed(2)} ms |  |`,
    `| … the median of ${ROUNDS} differences | ${cost.difference_ms.toFixed(2)} ms | at most ${COST_BAR_MS} ms |`,
  ].join("\n"));
} catch (error) {
  console.error(`bench: ${error instanceof Error ? error.message : error}`);
  process.exitCode = 1;
}

/** @param {number} index */
function makeEvent(index) {
  const [label, secondLabel] = index % 3 ? ["joy", "neutral"] : ["anger", "frustration"];
  return JSON.stringify({
    event: "classify", schema_version: 3, id: randomUUID(), time_ms: Date.now(), release: "e1-small", cohort: index % 10 ? "stable" : "canary",
    reason: "bucket", is_evidence: true, new_cookie: false, subject: (index % 997).toString(16).padStart(32, "0"), preview: "Hello [EMAIL]", destination: index % 10 ? "stable" : "canary",
    fallback_reason: null, status: 200, latency_ms: index % 250, unreadable_response_reason: null, label, confidence: 0.8, low_confidence: false, route: "linear_head",
    rule_applied: false, rule: null, top2: [[label, 0.8], [secondLabel, 0.1]], input_truncated: false, model: "e1-small", model_sha256: null,
    thresholds: { slow_ms: 200, stable_p95_ms: 90.5, canary_slow_ms: 108.6, share_basis_points: 1000, stage: null }, shadow: null,
  });
}

/** Returns the lines a second and the largest memory in MB of one run over a pipe. */
async function measureAnalyze() {
  const lines = `${Array.from({ length: 10_000 }, (_, index) => makeEvent(index)).join("\n")}\n`;
  const child = spawn("target/release/jeffrey", ["analyze", "-", "--cohort", "all", "--json"], { stdio: ["pipe", "pipe", "inherit"] });
  let output = "";
  child.stdout.setEncoding("utf8").on("data", (chunk) => (output += chunk));
  const ended = once(child, "close");
  let peak_kb = 0;
  const startedAt = performance.now();
  for (let sentLines = 0; sentLines < LINES; sentLines += 10_000) {
    if (!child.stdin.write(lines)) await once(child.stdin, "drain");
    const status = readFileSync(`/proc/${child.pid}/status`, "utf8");
    peak_kb = Math.max(peak_kb, Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1] ?? 0));
  }
  child.stdin.end();
  await ended;
  const seconds = (performance.now() - startedAt) / 1_000;
  const summary = JSON.parse(output);
  assert.deepEqual([summary.predictions, summary.broken], [LINES, 0]);
  return { lines_per_second: LINES / seconds, peak_mb: peak_kb / 1_000 };
}

/** Returns the seconds from the first event in the queue to the last one in the event store. */
async function measureConsumer() {
  const gateway = await startGateway({ LOG_EVENTS: "off" }, { model: "none", build: BUILD_FOLDER, feeder: "jeffrey-events" });
  try {
    const fetchSinkStatus = async () => /** @type {any} */ (await (await gateway.fetchAdmin("/v1/sinks", { token: SECRETS.JEFFREY_VIEWER_TOKEN })).json());
    // A first batch, so that the figure excludes the start.
    await gateway.feed(Array.from({ length: BATCH_EVENTS }, (_, index) => makeEvent(index)));
    await waitFor(async () => (await fetchSinkStatus()).events === BATCH_EVENTS);
    const events = Array.from({ length: EVENTS }, (_, index) => makeEvent(index));
    const startedAt = performance.now();
    for (let offset = 0; offset < EVENTS; offset += BATCH_EVENTS) await gateway.feed(events.slice(offset, offset + BATCH_EVENTS));
    await waitFor(async () => (await fetchSinkStatus()).events === BATCH_EVENTS + EVENTS);
    const seconds = (performance.now() - startedAt) / 1_000;
    assert.equal((await fetchSinkStatus()).lost_events, 0);
    return seconds;
  } finally {
    await gateway.stop();
  }
}

/** Returns workerd's CPU milliseconds for a request, from two sessions that get requests in turns. */
async function measureRequestCost() {
  const variables = { INITIAL_SHARE: "0%", LOG_EVENTS: "off", DEBUG_HEADERS: "off" };
  const removeEventStore = (/** @type {string} */ toml) => toml
    .replace(/^\[\[queues\.(producers|consumers)\]\]\n(?:\w+ = .*\n)*/gm, "")
    .replace('[[durable_objects.bindings]]\nname = "EVENT_STORE"\nclass_name = "EventStoreObject"\n', "");
  const gateways = {
    on: await startGateway(variables, { model: "none", build: BUILD_FOLDER }),
    off: await startGateway(variables, { model: "none", build: BUILD_FOLDER, configure: removeEventStore }),
  };
  const countStoredEvents = async () => /** @type {any} */ (await (await gateways.on.fetchAdmin("/v1/sinks", { token: SECRETS.JEFFREY_VIEWER_TOKEN })).json()).events;
  try {
    /** @type {Record<"on" | "off", number[]>} */
    const cpu_ms = { on: [], off: [] };
    for (let round = 0; round <= ROUNDS; round += 1) {
      for (const name of /** @type {const} */ (["on", "off"])) {
        const gateway = gateways[name];
        const cpuSecondsBefore = readCpuSeconds(gateway.group);
        for (let offset = 0; offset < REQUESTS; offset += 10) {
          await Promise.all(Array.from({ length: 10 }, (_, index) => gateway.classify({ text: "I am so happy", user_id: `user-${offset + index}` })));
        }
        // The cost of a request includes the delivery of its event.
        if (name === "on") await waitFor(async () => (await countStoredEvents()) === (round + 1) * REQUESTS);
        // The first round is a warm-up.
        if (round > 0) cpu_ms[name].push(((readCpuSeconds(gateway.group) - cpuSecondsBefore) * 1_000) / REQUESTS);
      }
    }
    const differences_ms = cpu_ms.on.map((ms, round) => ms - cpu_ms.off[round]);
    return { on_ms: quantile(cpu_ms.on, 0.5), off_ms: quantile(cpu_ms.off, 0.5), difference_ms: quantile(differences_ms, 0.5) };
  } finally {
    await Promise.all([gateways.on.stop(), gateways.off.stop()]);
  }
}

/** Returns the CPU seconds of the workerd processes of a group. @param {number} group */
function readCpuSeconds(group) {
  let ticks = 0;
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    let stat;
    try {
      stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    } catch {
      // The process has ended.
      continue;
    }
    // The name is in parentheses and may contain any character; state, parent, group and so on follow.
    const name = stat.slice(stat.indexOf("(") + 1, stat.lastIndexOf(")"));
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    if (name === "workerd" && Number(fields[2]) === group) ticks += Number(fields[11]) + Number(fields[12]);
  }
  return ticks / TICKS_PER_SECOND;
}
