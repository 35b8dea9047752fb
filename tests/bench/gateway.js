// Measures the gateway's overhead: its computation for one call, the latency of a forwarded request compared
// with nginx and with no proxy, and a minute at 200 requests a second. The second part of `make bench`.
//
// The bench asserts no time. It fails on a wrong cohort and on a failed request.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { Agent, request } from "node:http";
import { createServer } from "node:net";
import { resolve } from "node:path";
import { FlagdCore } from "@openfeature/flagd-core";

import { startGateway } from "../support/gateway.js";
import { startWrangler } from "../support/wrangler.js";
import { BUILD_FOLDER, WORK_FOLDER } from "./files.js";
import { startProcess } from "./processes.js";
import { quantile, summarizeLatency } from "./stats.js";
import { timeInTurns } from "./turns.js";

const RELEASE = "e1-small";
const DECISIONS_PER_BATCH = 10_000;
const DECISION_BAR_US = 50;
/** Number of patterns in `tests/wasm/src/decision.rs`; the first one is prose. */
const PATTERNS = 6;
const MASKED_BYTES = 1_000_000;
const TURNS = 60;
const RATE = 200;
const SECONDS = 60;
const USERS = 1_000;
const SHARE_PERCENT = 50;
const FOLDER = `${WORK_FOLDER}/gateway`;

const logProgress = (/** @type {string} */ line) => console.error(`bench: ${line}`);
// workerd closes a connection that is idle for 5 s. A longer timeout here could reuse one while it closes.
const agent = new Agent({ keepAlive: true, maxSockets: 256, timeout: 3_000 });

try {
  const decision_us = measureDecisionTime();
  logProgress("a decision in wasm");
  const maskResult = measureMask();
  logProgress("the mask in wasm");
  const forwardTimes = await measureForwarding();
  logProgress(`a minute at ${RATE} requests a second`);
  const loadResult = await measureMinuteOfLoad();
  console.log(formatMarkdown(decision_us, maskResult, forwardTimes, loadResult));
} catch (error) {
  console.error(`bench: ${error instanceof Error ? error.message : error}`);
  process.exitCode = 1;
} finally {
  agent.destroy();
}

/** Returns the microseconds of one decision in the wasm module, the median of 20 batches of 10,000. */
function measureDecisionTime() {
  const module = new WebAssembly.Module(readFileSync(`${BUILD_FOLDER}/wasm-tests.wasm`));
  const { decisions } = /** @type {any} */ (new WebAssembly.Instance(module, {}).exports);
  const canaryCount = decisions(DECISIONS_PER_BATCH);
  assert.ok(Math.abs(canaryCount / DECISIONS_PER_BATCH - 0.1) < 0.01, `${canaryCount} of ${DECISIONS_PER_BATCH} are canary at 10 %`);
  const times = Array.from({ length: 20 }, () => {
    const startedAt = performance.now();
    decisions(DECISIONS_PER_BATCH);
    return ((performance.now() - startedAt) * 1_000) / DECISIONS_PER_BATCH;
  });
  return quantile(times, 0.5);
}

/** Returns the mask's largest time ratio for twice the text, and its speed in MB/s on prose and at its slowest. */
function measureMask() {
  const module = new WebAssembly.Module(readFileSync(`${BUILD_FOLDER}/wasm-tests.wasm`));
  const { masked } = /** @type {any} */ (new WebAssembly.Instance(module, {}).exports);
  const timeMask = (/** @type {number} */ bytes, /** @type {number} */ pattern) => {
    const times = Array.from({ length: 3 }, () => {
      const startedAt = performance.now();
      masked(bytes, pattern);
      return performance.now() - startedAt;
    });
    return Math.min(...times);
  };
  const patterns = Array.from({ length: PATTERNS }, (_, pattern) => {
    const single_ms = timeMask(MASKED_BYTES, pattern);
    return { ratio: timeMask(2 * MASKED_BYTES, pattern) / single_ms, mb_s: MASKED_BYTES / 1e3 / single_ms };
  });
  return { ratio: Math.max(...patterns.map(({ ratio }) => ratio)), prose_mb_s: patterns[0].mb_s, slowest_mb_s: Math.min(...patterns.map(({ mb_s }) => mb_s)) };
}

/** Times a forwarded classify call in milliseconds, in turns: direct, nginx, a bare worker, the gateway. */
async function measureForwarding() {
  const gateway = await startGateway({ INITIAL_SHARE: "0%", DEBUG_HEADERS: "off", LOG_EVENTS: "off" }, { build: BUILD_FOLDER });
  const legacyOrigin = gateway.legacy.origin;
  const bareWorker = await startBareWorker(legacyOrigin);
  const nginx = await startNginx(legacyOrigin);
  const requestThrough = (/** @type {string} */ origin) => () => sendPredict(origin, "alice");
  try {
    const runs = {
      direct: requestThrough(legacyOrigin),
      ...(nginx && { nginx: requestThrough(nginx.origin) }),
      bare: requestThrough(bareWorker.origin),
      gateway: requestThrough(gateway.origin),
    };
    const responses = await Promise.all(Object.values(runs).map((run) => run()));
    for (const { status, body } of responses) assert.deepEqual([status, body], [200, responses[0].body]);
    const times = await timeInTurns(runs, TURNS);
    return Object.fromEntries(Object.entries(times).map(([name, samples]) => [name, summarizeLatency(samples)]));
  } finally {
    await Promise.all([gateway.stop(), bareWorker.stop(), nginx?.stop()]);
  }
}

/** Sends each request at its scheduled time (open loop) and compares the cohort of every response with flagd's. */
async function measureMinuteOfLoad() {
  const gateway = await startGateway({ INITIAL_SHARE: `${SHARE_PERCENT}%`, LOG_EVENTS: "off" }, { build: BUILD_FOLDER, latency_ms: 20 });
  const expectedCohorts = evaluateCohortsWithFlagd();
  const times = { canary: /** @type {number[]} */ ([]), stable: /** @type {number[]} */ ([]) };
  let wrongCohorts = 0;
  /** @type {string[]} */
  const failures = [];
  try {
    // Warm-up, so that the figures exclude the start and new connections.
    for (let round = 0; round < 20; round += 1) {
      await Promise.all(Array.from({ length: 20 }, (_, number) => sendPredict(gateway.origin, `user-${round * 20 + number}`)));
    }
    const pendingRequests = [];
    const startedAt = performance.now();
    for (let index = 0; index < RATE * SECONDS; index += 1) {
      const dueAt = startedAt + (index * 1_000) / RATE;
      const wait_ms = dueAt - performance.now();
      if (wait_ms > 0) await new Promise((resolve) => setTimeout(resolve, wait_ms));
      const user = `user-${(index * 7) % USERS}`;
      const pendingRequest = sendPredict(gateway.origin, user).then(({ status, headers }) => {
        const cohort = /** @type {"canary" | "stable"} */ (headers["x-jeffrey-cohort"]);
        if (status !== 200) failures.push(`${status} from ${cohort}`);
        else wrongCohorts += Number(cohort !== expectedCohorts.get(user));
        times[cohort]?.push(performance.now() - dueAt);
      });
      pendingRequests.push(pendingRequest.catch((error) => failures.push(error.code ?? error.message)));
      if (index % (RATE * 10) === 0 && index > 0) logProgress(`${index / RATE} of ${SECONDS} s`);
    }
    await Promise.all(pendingRequests);
  } finally {
    await gateway.stop();
  }
  assert.equal(wrongCohorts, 0, `${wrongCohorts} responses from the wrong cohort`);
  assert.equal(failures.length, 0, `${failures.length} requests failed: ${failures.slice(0, 10).join(", ")}`);
  return { requests: RATE * SECONDS, canary: summarizeLatency(times.canary), stable: summarizeLatency(times.stable), share: times.canary.length / (RATE * SECONDS) };
}

/** Returns each user's cohort from flagd's own evaluator. */
function evaluateCohortsWithFlagd() {
  const flagd = new FlagdCore();
  const shares = [["canary", SHARE_PERCENT], ["stable", 100 - SHARE_PERCENT]];
  const targeting = { fractional: [{ cat: [{ var: "$flagd.flagKey" }, { var: "targetingKey" }] }, ...shares] };
  const flag = { state: "ENABLED", variants: { canary: true, stable: false }, defaultVariant: "stable", targeting };
  flagd.setConfigurations(JSON.stringify({ flags: { [RELEASE]: flag } }));
  const silentLogger = { error() {}, warn() {}, info() {}, debug() {} };
  const users = Array.from({ length: USERS }, (_, number) => `user-${number}`);
  return new Map(users.map((user) => [user, flagd.resolveBooleanEvaluation(RELEASE, false, { targetingKey: user }, silentLogger).variant]));
}

/** Starts a worker that only forwards, to measure the overhead of `wrangler dev` itself. @param {string} legacyOrigin */
async function startBareWorker(legacyOrigin) {
  rmSync(FOLDER, { recursive: true, force: true });
  mkdirSync(FOLDER, { recursive: true });
  writeFileSync(
    `${FOLDER}/bare.js`,
    `export default { fetch(request) {
       const { pathname, search } = new URL(request.url);
       return fetch(new Request(${JSON.stringify(legacyOrigin)} + pathname + search, request));
     } };`,
  );
  writeFileSync(`${FOLDER}/bare.toml`, 'name = "bare"\nmain = "bare.js"\ncompatibility_date = "2026-04-26"\n');
  return startWrangler([resolve(FOLDER, "bare.toml")], { path: "/health" });
}

/** Starts nginx with a split by user, both parts to one server; null if nginx is not installed. @param {string} legacyOrigin */
async function startNginx(legacyOrigin) {
  if (spawnSync("nginx", ["-v"]).error) {
    console.log("skipped: nginx");
    return null;
  }
  const port = await findFreePort();
  const host = new URL(legacyOrigin).host;
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
  const child = startProcess("nginx", ["-c", `${folder}/nginx.conf`, "-p", folder]);
  const origin = `http://127.0.0.1:${port}`;
  for (;;) {
    if (await fetch(`${origin}/health`).catch(() => null)) return { origin, stop: child.stop };
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** @returns {Promise<number>} */
function findFreePort() {
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
function sendPredict(origin, user) {
  const body = '{"text":"Je suis furieux, c’est inadmissible !"}';
  const headers = { "content-type": "application/json", "content-length": Buffer.byteLength(body), "x-user-id": user };
  return new Promise((resolve, reject) => {
    const clientRequest = request(`${origin}/predict`, { method: "POST", agent, headers }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (chunk) => (text += chunk));
      response.on("end", () => resolve({ status: response.statusCode, headers: response.headers, body: text }));
      response.on("error", reject);
    });
    clientRequest.on("error", reject);
    clientRequest.end(body);
  });
}

/** @typedef {{ median_ms: number, p99_ms: number }} LatencySummary */

/** @param {number} decision_us @param {{ ratio: number, prose_mb_s: number, slowest_mb_s: number }} maskResult @param {Record<string, LatencySummary>} forwardTimes @param {{ requests: number, share: number, canary: LatencySummary, stable: LatencySummary }} loadResult */
function formatMarkdown(decision_us, maskResult, forwardTimes, loadResult) {
  const formatLatency = (/** @type {LatencySummary} */ { median_ms, p99_ms }) => `${median_ms.toFixed(2)} / ${p99_ms.toFixed(2)}`;
  const formatAddedMedian = (/** @type {LatencySummary} */ { median_ms }) => (median_ms - forwardTimes.direct.median_ms).toFixed(2);
  const names = { direct: "no proxy", nginx: "nginx, split_clients", bare: "a worker that only forwards, in wrangler dev", gateway: "the gateway, in wrangler dev" };
  const rows = Object.entries(names).filter(([name]) => forwardTimes[name]);
  return [
    "| a forwarded classify call through | median / p99, ms | added median, ms |",
    "|---|---|---|",
    ...rows.map(([name, title]) => `| ${title} | ${formatLatency(forwardTimes[name])} | ${formatAddedMedian(forwardTimes[name])} |`),
    "",
    "| the gateway | found | bar |",
    "|---|---|---|",
    `| everything it computes for one call, in wasm (median of batches of ${DECISIONS_PER_BATCH}) | ${decision_us.toFixed(1)} µs | within ${DECISION_BAR_US} µs |`,
    `| the mask: 2 MB against 1 MB, the worst of ${PATTERNS} patterns; speed on prose, on the slowest | ${maskResult.ratio.toFixed(2)}×; ${maskResult.prose_mb_s.toFixed(1)}, ${maskResult.slowest_mb_s.toFixed(1)} MB/s | within 2.5× |`,
    `| added to a worker that only forwards | ${(forwardTimes.gateway.median_ms / forwardTimes.bare.median_ms).toFixed(2)}× |  |`,
    `| ${RATE} calls a second for ${SECONDS} s, legacy system at 20 ms: wrong cohorts, errors | 0, 0 of ${loadResult.requests} | 0, 0 |`,
    `| … canary (${(loadResult.share * 100).toFixed(1)} %), median / p99 | ${formatLatency(loadResult.canary)} ms |  |`,
    `| … stable, median / p99 | ${formatLatency(loadResult.stable)} ms |  |`,
  ].join("\n");
}
