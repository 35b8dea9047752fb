// Measures telemetry: lines a second and memory of `jeffrey analyze`, events a second from the queue into the
// event store, and workerd's CPU time for a request with and without events. The third part of `make bench`.
//
// The bench asserts no time. It fails if an event is lost or counted twice.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { readFileSync, readdirSync } from "node:fs";
import { once } from "node:events";
import { SECRETS, startGateway, until } from "../support/gateway.js";
import { BUILD } from "./files.js";
import { quantile } from "./stats.js";

const LINES = 10_000_000;
const EVENTS = 5_000;
const CONSUMER_BAR = 2_000;
/** Largest batch of the queue, in events. */
const BATCH = 100;
const ROUNDS = 8;
const REQUESTS = 500;
const COST_BAR_MS = 1;
/** Ticks of the kernel's clock in a second. */
const TICKS = 100;

const progress = (/** @type {string} */ line) => console.error(`bench: ${line}`);

try {
  progress(`${LINES} lines through jeffrey analyze`);
  const analyze = await analyzed();
  progress(`${EVENTS} events through the queue`);
  const consumer_s = await consumed();
  progress("a request with events and without");
  const cost = await costs();
  console.log([
    "| telemetry | found | bar |",
    "|---|---|---|",
    `| \`jeffrey analyze\`: lines a second, of ${LINES} | ${Math.round(analyze.lines_s)} |  |`,
    `| … its largest memory | ${analyze.mb.toFixed(1)} MB |  |`,
    `| queue, consumer and event store in wrangler dev: events a second, ${EVENTS} at once | ${Math.round(EVENTS / consumer_s)} | at least ${CONSUMER_BAR} |`,
    `| workerd's CPU for a forwarded request, without events / with (queue, consumer and event store included) | ${cost.off_ms.toFixed(2)} / ${cost.on_ms.toFixed(2)} ms |  |`,
    `| … the median of ${ROUNDS} differences | ${cost.more_ms.toFixed(2)} ms | at most ${COST_BAR_MS} ms |`,
  ].join("\n"));
} catch (error) {
  console.error(`bench: ${error instanceof Error ? error.message : error}`);
  process.exitCode = 1;
}

/** @param {number} at */
function event(at) {
  const [label, second] = at % 3 ? ["joy", "neutral"] : ["anger", "frustration"];
  return JSON.stringify({
    event: "classify", schema_version: 3, id: randomUUID(), time_ms: Date.now(), release: "e1-small", cohort: at % 10 ? "stable" : "canary",
    reason: "bucket", is_evidence: true, new_cookie: false, subject: (at % 997).toString(16).padStart(32, "0"), preview: "Hello [EMAIL]", destination: at % 10 ? "stable" : "canary",
    fallback: null, status: 200, latency_ms: at % 250, unread_reason: null, label, confidence: 0.8, low_confidence: false, route: "linear_head",
    rule_applied: false, rule: null, top2: [[label, 0.8], [second, 0.1]], truncated: false, model: "e1-small", model_sha256: null,
    thresholds: { slow_ms: 200, stable_p95_ms: 90.5, canary_slow_ms: 108.6, share_basis_points: 1000, stage: null }, shadow: null,
  });
}

/** Returns the lines a second and the largest memory in MB of one run over a pipe. */
async function analyzed() {
  const some = `${Array.from({ length: 10_000 }, (_, at) => event(at)).join("\n")}\n`;
  const child = spawn("target/release/jeffrey", ["analyze", "-", "--cohort", "all", "--json"], { stdio: ["pipe", "pipe", "inherit"] });
  let output = "";
  child.stdout.setEncoding("utf8").on("data", (chunk) => (output += chunk));
  const ended = once(child, "close");
  let kb = 0;
  const began = performance.now();
  for (let sent = 0; sent < LINES; sent += 10_000) {
    if (!child.stdin.write(some)) await once(child.stdin, "drain");
    const status = readFileSync(`/proc/${child.pid}/status`, "utf8");
    kb = Math.max(kb, Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1] ?? 0));
  }
  child.stdin.end();
  await ended;
  const seconds = (performance.now() - began) / 1_000;
  const found = JSON.parse(output);
  assert.deepEqual([found.predictions, found.broken], [LINES, 0]);
  return { lines_s: LINES / seconds, mb: kb / 1_000 };
}

/** Returns the seconds from the first event in the queue to the last one in the event store. */
async function consumed() {
  const gate = await startGateway({ LOG_EVENTS: "off" }, { model: "none", build: BUILD, feeder: "jeffrey-events" });
  try {
    const standing = async () => /** @type {any} */ (await (await gate.own("/v1/sinks", { token: SECRETS.JEFFREY_VIEWER_TOKEN })).json());
    // A first batch, so that the figure excludes the start.
    await gate.feed(Array.from({ length: BATCH }, (_, at) => event(at)));
    await until(async () => (await standing()).events === BATCH);
    const events = Array.from({ length: EVENTS }, (_, at) => event(at));
    const began = performance.now();
    for (let at = 0; at < EVENTS; at += BATCH) await gate.feed(events.slice(at, at + BATCH));
    await until(async () => (await standing()).events === BATCH + EVENTS);
    const seconds = (performance.now() - began) / 1_000;
    assert.equal((await standing()).lost, 0);
    return seconds;
  } finally {
    await gate.stop();
  }
}

/** Returns workerd's CPU milliseconds for a request, from two sessions that get requests in turns. */
async function costs() {
  const variables = { INITIAL_SHARE: "0%", LOG_EVENTS: "off", DEBUG_HEADERS: "off" };
  const none = (/** @type {string} */ toml) => toml
    .replace(/^\[\[queues\.(producers|consumers)\]\]\n(?:\w+ = .*\n)*/gm, "")
    .replace('[[durable_objects.bindings]]\nname = "EVENT_STORE"\nclass_name = "EventStoreObject"\n', "");
  const gates = {
    on: await startGateway(variables, { model: "none", build: BUILD }),
    off: await startGateway(variables, { model: "none", build: BUILD, configure: none }),
  };
  const events = async () => /** @type {any} */ (await (await gates.on.own("/v1/sinks", { token: SECRETS.JEFFREY_VIEWER_TOKEN })).json()).events;
  try {
    /** @type {Record<"on" | "off", number[]>} */
    const spent = { on: [], off: [] };
    for (let round = 0; round <= ROUNDS; round += 1) {
      for (const name of /** @type {const} */ (["on", "off"])) {
        const gate = gates[name];
        const before = cpuSeconds(gate.group);
        for (let at = 0; at < REQUESTS; at += 10) {
          await Promise.all(Array.from({ length: 10 }, (_, more) => gate.classify({ text: "I am so happy", user_id: `user-${at + more}` })));
        }
        // The cost of a request includes the delivery of its event.
        if (name === "on") await until(async () => (await events()) === (round + 1) * REQUESTS);
        // The first round is a warm-up.
        if (round > 0) spent[name].push(((cpuSeconds(gate.group) - before) * 1_000) / REQUESTS);
      }
    }
    const more = spent.on.map((ms, at) => ms - spent.off[at]);
    return { on_ms: quantile(spent.on, 0.5), off_ms: quantile(spent.off, 0.5), more_ms: quantile(more, 0.5) };
  } finally {
    await Promise.all([gates.on.stop(), gates.off.stop()]);
  }
}

/** Returns the CPU seconds of the workerd processes of a group. @param {number} group */
function cpuSeconds(group) {
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
  return ticks / TICKS;
}
