// Measures speed, start, memory and size of our module and of onnxruntime-web. The first part of `make bench`,
// about three minutes.
// Usage: node tests/bench/run.js [--json FILE] [--markdown]
//
// The bench asserts no time and prints each figure with its bar. It asserts the predictions: our labels equal the
// golden ones in Node and in workerd, the model worker's labels equal ours, and onnxruntime's embedding equals
// ours within a tolerance.
// BENCH_BUILD=build measures the test build instead of the shipped one.

import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { cpus, loadavg } from "node:os";
import { parseArgs } from "node:util";

import { BUILD_FOLDER, ENCODER, INT8_ENCODER, MODEL_FOLDER, MODEL_FILES, MODEL_WORKER, TOKEN_COUNTS, WORK_FOLDER, loadPageModule, measureSizes } from "./files.js";
import { runInNode, startProcess } from "./processes.js";
import { formatMarkdown, formatTables } from "./report.js";
import { makeTextsByTokens } from "./texts.js";
import { measureColdStart, measureInWorkerd, measureOverHttp, copyBenchWorker } from "./workerd.js";

/** Number of cold starts in Node, each in a new process. */
const STARTS = 7;
const STARTS_WORKERD = 5;
const PYTHON = "tests/bench/.venv/bin/python";

const { values: flags } = parseArgs({ options: { json: { type: "string" }, markdown: { type: "boolean" } } });
const logProgress = (/** @type {string} */ line) => console.error(`bench: ${line}`);

try {
  requireFiles();
  const report = await measure();
  if (flags.json) writeFileSync(flags.json, `${JSON.stringify(report, null, 2)}\n`);
  if (!flags.markdown) console.log(`${formatTables(report)}\n`);
  console.log(formatMarkdown(report));
} catch (error) {
  console.error(`bench: ${error instanceof Error ? error.message : error}`);
  process.exitCode = 1;
}

/** Throws an error that names the first missing file and the command that makes it. */
function requireFiles() {
  for (const [file, makeCommand] of [
    [MODEL_WORKER, "make PROFILE=edge workers"],
    [`${BUILD_FOLDER}/browser/jeffrey_edge.js`, "make PROFILE=edge workers"],
    ["node_modules/onnxruntime-web", "make node_modules/.stamp"],
    [PYTHON, "make tests/bench/.venv/stamp"],
    [ENCODER, "make train"],
  ]) {
    if (!existsSync(file)) throw new Error(`${file} is missing: ${makeCommand}`);
  }
}

async function measure() {
  mkdirSync(WORK_FOLDER, { recursive: true });
  const about = describeMachine();
  const texts = await prepareTexts();
  const int8 = await chooseInt8Form();
  logProgress("sizes");
  const size = measureSizes();

  /** @type {Record<string, any[]>} */
  const starts = { ours: [], same: [], default: [], ...(int8 && { int8: [] }) };
  for (let turn = 1; turn <= STARTS; turn += 1) {
    for (const [name, samples] of Object.entries(starts)) samples.push(await runInNode("start.js", name));
    logProgress(`cold starts in Node, ${turn} of ${STARTS}`);
  }
  const node = await runInNode("node.js");
  logProgress("Node, ours compared with onnxruntime-web");

  copyBenchWorker();
  const startsWorkerd = [];
  for (let turn = 1; turn <= STARTS_WORKERD; turn += 1) {
    startsWorkerd.push(await measureColdStart(texts[1].text));
    logProgress(`cold starts in workerd, ${turn} of ${STARTS_WORKERD}`);
  }
  const workerd = await measureInWorkerd(texts, logProgress);
  startsWorkerd.push(workerd.start);
  const http = await measureOverHttp(texts, logProgress);
  return { about, texts: texts.map(({ tokens, text }) => ({ tokens, text })), size, int8, starts, node, startsWorkerd, workerd, http };
}

/** Returns texts of exact token counts with our predictions, and writes them for the other processes. */
async function prepareTexts() {
  const { glue, bytes } = await loadPageModule();
  glue.initSync({ module: new WebAssembly.Module(bytes) });
  const classifier = new glue.Browser(...MODEL_FILES.map((file) => readFileSync(file)));
  const maxTokens = TOKEN_COUNTS[TOKEN_COUNTS.length - 1];
  const countTokens = (/** @type {string} */ text) => {
    const tokenCount = classifier.tokens(text)?.length ?? 0;
    // A truncated text has the greatest count too.
    return tokenCount === maxTokens && JSON.parse(classifier.classify(text)).truncated ? Infinity : tokenCount;
  };
  const texts = makeTextsByTokens(countTokens).map(({ tokens, text }) => ({
    tokens,
    text,
    ids: Array.from(classifier.tokens(text)),
    primary: JSON.parse(classifier.classify(text)).primary,
  }));
  classifier.free();
  writeFileSync(`${WORK_FOLDER}/texts.json`, JSON.stringify(texts));
  return texts;
}

/** Returns onnxruntime-web's fastest int8 form, made again if a source is newer; null if no form is good enough. */
async function chooseInt8Form() {
  const sources = [ENCODER, `${MODEL_FOLDER}/head.json`, "tests/data/golden.jsonl", "tests/bench/int8.py", "tests/bench/int8.js"];
  const newest_source_ms = Math.max(...sources.map((file) => statSync(file).mtimeMs));
  const resultFile = `${WORK_FOLDER}/int8.json`;
  if (!existsSync(resultFile) || statSync(resultFile).mtimeMs < newest_source_ms) {
    logProgress("int8 forms of the encoder for onnxruntime-web (once for each model)");
    rmSync(INT8_ENCODER, { force: true });
    await startProcess(PYTHON, ["tests/bench/int8.py", MODEL_FOLDER, "tests/data/golden.jsonl", `${WORK_FOLDER}/int8`]).waitForStdout();
    await runInNode("int8.js");
  }
  return JSON.parse(readFileSync(resultFile, "utf8"))[0] ?? null;
}

function describeMachine() {
  const git = (/** @type {string[]} */ ...args) => execFileSync("git", ["--no-optional-locks", ...args], { encoding: "utf8" }).trim();
  const require = createRequire(import.meta.url);
  const packageVersion = (/** @type {string} */ name, requireFrom = require) => requireFrom(`${name}/package.json`).version;
  const requireFromWrangler = createRequire(require.resolve("wrangler/package.json"));
  const processors = cpus();
  return {
    date: new Date().toISOString().slice(0, 10),
    commit: git("rev-parse", "--short=12", "HEAD") + (git("status", "--porcelain") ? " with changes" : ""),
    build: BUILD_FOLDER,
    model: MODEL_FOLDER,
    node: process.versions.node,
    workerd: packageVersion("workerd", requireFromWrangler),
    wrangler: packageVersion("wrangler"),
    onnxruntime_web: JSON.parse(readFileSync("node_modules/onnxruntime-web/package.json", "utf8")).version,
    cpu: `${processors.length} × ${processors[0]?.model.trim()}`,
    load_average: loadavg().map((value) => Number(value.toFixed(2))),
  };
}
