// Measures the gateway's overhead: its computation for one call, the latency of a forwarded request compared
// with nginx and with no proxy, and a minute at 200 requests a second. The second part of `make bench`.
//
// The bench asserts no time. It fails on a wrong cohort and on a failed call.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { Agent, request } from "node:http";
import { createServer } from "node:net";
import { resolve } from "node:path";
import { FlagdCore } from "@openfeature/flagd-core";

import { startGateway } from "../support/gateway.js";
import { startWrangler } from "../support/wrangler.js";
import { BUILD, WORK } from "./files.js";
import { start } from "./processes.js";
import { quantile, spread } from "./stats.js";
import { inTurns } from "./turns.js";

const RELEASE = "e1-small";
const DECISIONS = 10_000;
const DECISION_BAR_US = 50;
/** Number of patterns in `tests/wasm/src/decision.rs`; the first one is prose. */
const PATTERNS = 6;
const MASKED_BYTES = 1_000_000;
const TURNS = 60;
const RATE = 200;
const SECONDS = 60;
const USERS = 1_000;
const SHARE_PERCENT = 50;
const FOLDER = `${WORK}/gate`;

const progress = (/** @type {string} */ line) => console.error(`bench: ${line}`);
// workerd closes a connection that is idle for 5 s. A longer timeout here could reuse one while it closes.
const agent = new Agent({ keepAlive: true, maxSockets: 256, timeout: 3_000 });

try {
  const decision = decisionTime();
  progress("a decision in wasm");
  const mask = maskTimes();
  progress("the mask in wasm");
  const way = await forwarded();
  progress(`a minute at ${RATE} requests a second`);
  const minute = await minuteOfLoad();
  console.log(markdown(decision, mask, way, minute));
} catch (error) {
  console.error(`bench: ${error instanceof Error ? error.message : error}`);
  process.exitCode = 1;
} finally {
  agent.destroy();
}

/** Returns the microseconds of one decision in the wasm module, the median of 20 batches of 10,000. */
function decisionTime() {
  const module = new WebAssembly.Module(readFileSync(`${BUILD}/wasm-tests.wasm`));
  const { decisions } = /** @type {any} */ (new WebAssembly.Instance(module, {}).exports);
  const canary = decisions(DECISIONS);
  assert.ok(Math.abs(canary / DECISIONS - 0.1) < 0.01, `${canary} of ${DECISIONS} are canary at 10 %`);
  const times = Array.from({ length: 20 }, () => {
    const began = performance.now();
    decisions(DECISIONS);
    return ((performance.now() - began) * 1_000) / DECISIONS;
  });
  return quantile(times, 0.5);
}

/** Returns the mask's largest time ratio for twice the text, and its speed in MB/s on prose and at its slowest. */
function maskTimes() {
  const module = new WebAssembly.Module(readFileSync(`${BUILD}/wasm-tests.wasm`));
  const { masked } = /** @type {any} */ (new WebAssembly.Instance(module, {}).exports);
  const time = (/** @type {number} */ bytes, /** @type {number} */ pattern) => {
    const times = Array.from({ length: 3 }, () => {
      const began = performance.now();
      masked(bytes, pattern);
      return performance.now() - began;
    });
    return Math.min(...times);
  };
  const patterns = Array.from({ length: PATTERNS }, (_, pattern) => {
    const once = time(MASKED_BYTES, pattern);
    return { ratio: time(2 * MASKED_BYTES, pattern) / once, mb_s: MASKED_BYTES / 1e3 / once };
  });
  return { ratio: Math.max(...patterns.map(({ ratio }) => ratio)), prose_mb_s: patterns[0].mb_s, slowest_mb_s: Math.min(...patterns.map(({ mb_s }) => mb_s)) };
}

/** Times a forwarded classify call in milliseconds, in turns: direct, nginx, a bare worker, the gateway. */
async function forwarded() {
  const gate = await startGateway({ INITIAL_SHARE: "0%", DEBUG_HEADERS: "off", LOG_EVENTS: "off" }, { build: BUILD });
  const legacy = gate.legacy.origin;
  const bare = await bareWorker(legacy);
  const nginx = await startNginx(legacy);
  const at = (/** @type {string} */ origin) => () => predict(origin, "alice");
  try {
    const runs = {
      direct: at(legacy),
      ...(nginx && { nginx: at(nginx.origin) }),
      bare: at(bare.origin),
      gate: at(gate.origin),
    };
    const answers = await Promise.all(Object.values(runs).map((run) => run()));
    for (const { status, body } of answers) assert.deepEqual([status, body], [200, answers[0].body]);
    const times = await inTurns(runs, TURNS);
    return Object.fromEntries(Object.entries(times).map(([name, list]) => [name, spread(list)]));
  } finally {
    await Promise.all([gate.stop(), bare.stop(), nginx?.stop()]);
  }
}

/** Sends each call at its own time, an open loop, and compares the cohort of every answer with flagd's. */
async function minuteOfLoad() {
  const gate = await startGateway({ INITIAL_SHARE: `${SHARE_PERCENT}%`, LOG_EVENTS: "off" }, { build: BUILD, latency_ms: 20 });
  const expected = cohorts();
  const times = { canary: /** @type {number[]} */ ([]), stable: /** @type {number[]} */ ([]) };
  let wrong = 0;
  /** @type {string[]} */
  const failed = [];
  try {
    // Warm-up, so that the figures exclude the start and new connections.
    for (let round = 0; round < 20; round += 1) {
      await Promise.all(Array.from({ length: 20 }, (_, number) => predict(gate.origin, `user-${round * 20 + number}`)));
    }
    const calls = [];
    const began = performance.now();
    for (let count = 0; count < RATE * SECONDS; count += 1) {
      const due = began + (count * 1_000) / RATE;
      const early = due - performance.now();
      if (early > 0) await new Promise((resolve) => setTimeout(resolve, early));
      const user = `user-${(count * 7) % USERS}`;
      const call = predict(gate.origin, user).then(({ status, headers }) => {
        const cohort = /** @type {"canary" | "stable"} */ (headers["x-jeffrey-cohort"]);
        if (status !== 200) failed.push(`${status} from ${cohort}`);
        else wrong += Number(cohort !== expected.get(user));
        times[cohort]?.push(performance.now() - due);
      });
      calls.push(call.catch((error) => failed.push(error.code ?? error.message)));
      if (count % (RATE * 10) === 0 && count > 0) progress(`${count / RATE} of ${SECONDS} s`);
    }
    await Promise.all(calls);
  } finally {
    await gate.stop();
  }
  assert.equal(wrong, 0, `${wrong} answers of the wrong cohort`);
  assert.equal(failed.length, 0, `${failed.length} calls failed: ${failed.slice(0, 10).join(", ")}`);
  return { calls: RATE * SECONDS, canary: spread(times.canary), stable: spread(times.stable), share: times.canary.length / (RATE * SECONDS) };
}

/** Returns each user's cohort from flagd's own evaluator. */
function cohorts() {
  const core = new FlagdCore();
  const shares = [["canary", SHARE_PERCENT], ["stable", 100 - SHARE_PERCENT]];
  const targeting = { fractional: [{ cat: [{ var: "$flagd.flagKey" }, { var: "targetingKey" }] }, ...shares] };
  const flag = { state: "ENABLED", variants: { canary: true, stable: false }, defaultVariant: "stable", targeting };
  core.setConfigurations(JSON.stringify({ flags: { [RELEASE]: flag } }));
  const silent = { error() {}, warn() {}, info() {}, debug() {} };
  const users = Array.from({ length: USERS }, (_, number) => `user-${number}`);
  return new Map(users.map((user) => [user, core.resolveBooleanEvaluation(RELEASE, false, { targetingKey: user }, silent).variant]));
}

/** Starts a worker that only forwards, to measure the overhead of `wrangler dev` itself. @param {string} legacy */
async function bareWorker(legacy) {
  rmSync(FOLDER, { recursive: true, force: true });
  mkdirSync(FOLDER, { recursive: true });
  writeFileSync(
    `${FOLDER}/bare.js`,
    `export default { fetch(request) {
       const { pathname, search } = new URL(request.url);
       return fetch(new Request(${JSON.stringify(legacy)} + pathname + search, request));
     } };`,
  );
  writeFileSync(`${FOLDER}/bare.toml`, 'name = "bare"\nmain = "bare.js"\ncompatibility_date = "2026-04-26"\n');
  return startWrangler([resolve(FOLDER, "bare.toml")], { path: "/health" });
}

/** Starts nginx with a split by user, both parts to one server; null if nginx is not installed. @param {string} legacy */
async function startNginx(legacy) {
  if (spawnSync("nginx", ["-v"]).error) {
    console.log("skipped: nginx");
    return null;
  }
  const port = await freePort();
  const host = new URL(legacy).host;
  const folder = resolve(FOLDER, "nginx");
  mkdirSync(folder, { recursive: true });
  writeFileSync(
    `${folder}/nginx.conf`,
    `worker_processes 1; daemon off; pid ${folder}/pid; error_log ${folder}/error.log;
     events { worker_connections 1024; }
     http {
       access_log off; client_body_temp_path ${folder}/body; proxy_temp_path ${folder}/proxy;
       fastcgi_temp_path ${folder}/f; uwsgi_temp_path ${folder}/u; scgi_temp_path ${folder}/s;
       split_clients "${RELEASE}$http_x_user_id" $cohort { 10% canary; * stable; }
       upstream canary { server ${host}; keepalive 64; }
       upstream stable { server ${host}; keepalive 64; }
       server { listen 127.0.0.1:${port}; location / {
         proxy_pass http://$cohort; proxy_http_version 1.1; proxy_set_header Connection "";
       } }
     }`,
  );
  const child = start("nginx", ["-c", `${folder}/nginx.conf`, "-p", folder]);
  const origin = `http://127.0.0.1:${port}`;
  for (;;) {
    if (await fetch(`${origin}/health`).catch(() => null)) return { origin, stop: child.stop };
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** @returns {Promise<number>} */
function freePort() {
  return new Promise((resolve) => {
    const server = createServer();
    server.listen(0, "127.0.0.1", () => {
      const { port } = /** @type {import("node:net").AddressInfo} */ (server.address());
      server.close(() => resolve(port));
    });
  });
}

/**
 * @param {string} origin @param {string} user
 * @returns {Promise<{ status: number | undefined, headers: import("node:http").IncomingHttpHeaders, body: string }>}
 */
function predict(origin, user) {
  const body = '{"text":"Je suis furieux, c’est inadmissible !"}';
  const headers = { "content-type": "application/json", "content-length": Buffer.byteLength(body), "x-user-id": user };
  return new Promise((resolve, reject) => {
    const sent = request(`${origin}/predict`, { method: "POST", agent, headers }, (answer) => {
      let text = "";
      answer.setEncoding("utf8").on("data", (chunk) => (text += chunk));
      answer.on("end", () => resolve({ status: answer.statusCode, headers: answer.headers, body: text }));
      answer.on("error", reject);
    });
    sent.on("error", reject);
    sent.end(body);
  });
}

/** @typedef {{ median_ms: number, p99_ms: number }} Spread */

/** @param {number} decision_us @param {{ ratio: number, prose_mb_s: number, slowest_mb_s: number }} mask @param {Record<string, Spread>} way @param {{ calls: number, share: number, canary: Spread, stable: Spread }} minute */
function markdown(decision_us, mask, way, minute) {
  const both = (/** @type {Spread} */ { median_ms, p99_ms }) => `${median_ms.toFixed(2)} / ${p99_ms.toFixed(2)}`;
  const added = (/** @type {Spread} */ { median_ms }) => (median_ms - way.direct.median_ms).toFixed(2);
  const names = { direct: "no proxy", nginx: "nginx, split_clients", bare: "a worker that only forwards, in wrangler dev", gate: "the gateway, in wrangler dev" };
  const rows = Object.entries(names).filter(([name]) => way[name]);
  return [
    "| a forwarded classify call through | median / p99, ms | added median, ms |",
    "|---|---|---|",
    ...rows.map(([name, title]) => `| ${title} | ${both(way[name])} | ${added(way[name])} |`),
    "",
    "| the gateway | found | bar |",
    "|---|---|---|",
    `| everything it computes for one call, in wasm (median of batches of ${DECISIONS}) | ${decision_us.toFixed(1)} µs | within ${DECISION_BAR_US} µs |`,
    `| the mask: 2 MB against 1 MB, the worst of ${PATTERNS} patterns; speed on prose, on the slowest | ${mask.ratio.toFixed(2)}×; ${mask.prose_mb_s.toFixed(1)}, ${mask.slowest_mb_s.toFixed(1)} MB/s | within 2.5× |`,
    `| added to a worker that only forwards | ${(way.gate.median_ms / way.bare.median_ms).toFixed(2)}× |  |`,
    `| ${RATE} calls a second for ${SECONDS} s, legacy system at 20 ms: wrong cohorts, errors | 0, 0 of ${minute.calls} | 0, 0 |`,
    `| … canary (${(minute.share * 100).toFixed(1)} %), median / p99 | ${both(minute.canary)} ms |  |`,
    `| … stable, median / p99 | ${both(minute.stable)} ms |  |`,
  ].join("\n");
}
