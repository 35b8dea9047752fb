// Starts `wrangler dev` on a free port and measures through it.

import assert from "node:assert/strict";
import { copyFileSync, mkdirSync, rmSync } from "node:fs";
import { Agent, request } from "node:http";
import { basename } from "node:path";

import { WRANGLER_ENV } from "../../scripts/wrangler-env.js";
import { BUILD_FOLDER, MODEL_FILES, MODEL_WORKER, WORK_FOLDER, readGoldenRows } from "./files.js";
import { startProcess } from "./processes.js";
import { quantile, summarizeLatency } from "./stats.js";
import { slowTexts } from "./texts.js";

const FOLDER = `${WORK_FOLDER}/worker`;
/** Shortest batch, in milliseconds: at least 20 steps of the clock, so a batch is exact to a twentieth. */
const BATCH_MS_MIN = 20;
const BATCHES = 30;
const SINGLES = 300;
const REQUESTS = { untimed: 20, timed: 300 };

/** @typedef {{ tokens: number, text: string }} TimedText */

/** Copies the bench's worker and its files out of tests/, because wrangler writes files beside it. */
export function copyBenchWorker() {
  rmSync(FOLDER, { recursive: true, force: true });
  mkdirSync(FOLDER, { recursive: true });
  for (const file of ["tests/bench/worker.js", "tests/bench/wrangler.toml"]) copyFileSync(file, `${FOLDER}/${basename(file)}`);
  for (const name of ["jeffrey_edge.js", "jeffrey_edge_bg.wasm"]) copyFileSync(`${BUILD_FOLDER}/browser/${name}`, `${FOLDER}/${name}`);
  // wrangler would import .json as JavaScript values; it imports .bin as bytes.
  for (const file of MODEL_FILES) copyFileSync(file, `${FOLDER}/${basename(file).replace(/\.\w+$/, ".bin")}`);
}

/** Times one cold start of the page's module in a new workerd. @param {string} text */
export async function measureColdStart(text) {
  return withWrangler(["-c", `${FOLDER}/wrangler.toml`], (post) => post("/start", { text }));
}

/**
 * Checks the golden labels and takes all measurements inside workerd.
 * @param {TimedText[]} texts @param {(line: string) => void} logProgress
 */
export async function measureInWorkerd(texts, logProgress) {
  return withWrangler(["-c", `${FOLDER}/wrangler.toml`], async (post) => {
    const goldenRows = readGoldenRows();
    const start = await post("/start", { text: texts[1].text });
    const labels = await post("/labels", { texts: goldenRows.map(({ text }) => text) });
    goldenRows.forEach((row, index) => assert.equal(labels[index], row.label, `golden row ${row.id} in workerd`));
    const speed = [];
    for (const { tokens, text } of texts) {
      const batches = await post("/batches", { text, batches: BATCHES, batch_ms_min: BATCH_MS_MIN });
      const singles = await post("/singles", { text, runs: SINGLES });
      speed.push({ tokens, median_ms: quantile(batches, 0.5), p99_ms: quantile(singles, 0.99) });
      logProgress(`workerd, ${tokens} tokens`);
    }
    const { memory_bytes } = await post("/memory", {});
    const slowest = [];
    for (const { kind, text } of slowTexts()) slowest.push({ kind, ...summarizeLatency(await post("/slowest", { text, runs: 3 })) });
    slowest.sort((a, b) => b.median_ms - a.median_ms);
    logProgress("workerd, the slowest texts");
    const memoryAfter = await post("/memory", {});
    return { start, speed, slowest, memory_bytes, memory_after_slowest_bytes: memoryAfter.memory_bytes };
  });
}

/**
 * Times the model worker over HTTP on loopback, one request at a time on one connection.
 * @param {(TimedText & { primary: string })[]} texts @param {(line: string) => void} logProgress
 */
export async function measureOverHttp(texts, logProgress) {
  const stateOptions = ["--persist-to", `${WORK_FOLDER}/state`];
  return withWrangler([MODEL_WORKER, "-c", "wrangler.model.toml", "--assets", `${BUILD_FOLDER}/www`, ...stateOptions], async (post, get) => {
    const speed = [];
    for (const { tokens, text, primary } of texts) {
      const prediction = await post("/v1/classify", { text });
      assert.equal(prediction.primary, primary, `the model worker's label at ${tokens} tokens`);
      speed.push({ tokens, ...(await timeRequests(() => post("/v1/classify", { text }))) });
      logProgress(`model worker over HTTP, ${tokens} tokens`);
    }
    // The same path without a classification: the time of HTTP, wrangler's proxy and workerd.
    return { speed, health: await timeRequests(() => get("/health")) };
  });
}

/** @param {() => Promise<unknown>} send */
async function timeRequests(send) {
  for (let untimed = 0; untimed < REQUESTS.untimed; untimed += 1) await send();
  const times = [];
  for (let timed = 0; timed < REQUESTS.timed; timed += 1) {
    const startedAt = performance.now();
    await send();
    times.push(performance.now() - startedAt);
  }
  return summarizeLatency(times);
}

/**
 * @template T
 * @param {string[]} args
 * @param {(post: (path: string, body: unknown) => Promise<any>, get: (path: string) => Promise<any>) => Promise<T>} measure
 */
async function withWrangler(args, measure) {
  const options = ["--ip", "127.0.0.1", "--port", "0", "--inspector-port", "0", "--show-interactive-dev-session=false"];
  const wrangler = startProcess("node_modules/.bin/wrangler", ["dev", ...args, ...options], {
    ...WRANGLER_ENV,
    CI: "1",
    NO_COLOR: "1",
    WRANGLER_SEND_METRICS: "false",
  });
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  try {
    const [, port] = await wrangler.waitForOutput(/Ready on http:\/\/[^:]+:(\d+)/);
    const send = (/** @type {string} */ method, /** @type {string} */ path, /** @type {string} */ body = "") =>
      sendRequest({ agent, port, method, path, host: "127.0.0.1" }, body);
    return await measure((path, body) => send("POST", path, JSON.stringify(body)), (path) => send("GET", path));
  } finally {
    agent.destroy();
    await wrangler.stop();
  }
}

/**
 * Sends one request and returns the JSON of its response; rejects a status other than 200.
 * @param {import("node:http").RequestOptions} options @param {string} body @returns {Promise<any>}
 */
function sendRequest(options, body) {
  return new Promise((resolve, reject) => {
    const headers = body ? { "content-type": "application/json", "content-length": Buffer.byteLength(body) } : {};
    const clientRequest = request({ ...options, headers }, (response) => {
      let text = "";
      response.setEncoding("utf8");
      response.on("data", (chunk) => (text += chunk));
      response.on("error", reject);
      response.on("end", () => {
        if (response.statusCode === 200) resolve(JSON.parse(text));
        else reject(new Error(`${options.method} ${options.path} returned ${response.statusCode}: ${text.slice(0, 300)}`));
      });
    });
    clientRequest.on("error", reject);
    clientRequest.end(body);
  });
}
