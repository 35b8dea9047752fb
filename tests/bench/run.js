// Measures speed, start, memory and size of our module and of onnxruntime-web. The first part of `make bench`,
// about three minutes.
// Usage: node tests/bench/run.js [--json FILE] [--markdown]
//
// The bench asserts no time and prints each figure with its bar. It asserts the answers: our labels equal the
// golden ones in Node and in workerd, the model worker's labels equal ours, and onnxruntime's embedding equals
// ours within a tolerance.
// BENCH_BUILD=build measures the test build instead of the shipped one.

import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { cpus, loadavg } from "node:os";
import { parseArgs } from "node:util";

import { BUILD, ENCODER, INT8, MODEL, MODEL_FILES, MODEL_WORKER, TOKEN_COUNTS, WORK, pageModule, sizes } from "./files.js";
import { inNode, start } from "./processes.js";
import { markdown, tables } from "./report.js";
import { textsByTokens } from "./texts.js";
import { coldStart, inside, overHttp, stage } from "./workerd.js";

/** Number of cold starts in Node, each in a new process. */
const STARTS = 7;
const STARTS_WORKERD = 5;
const PYTHON = "tests/bench/.venv/bin/python";

const { values: flags } = parseArgs({ options: { json: { type: "string" }, markdown: { type: "boolean" } } });
const progress = (/** @type {string} */ line) => console.error(`bench: ${line}`);

try {
  needed();
  const report = await measure();
  if (flags.json) writeFileSync(flags.json, `${JSON.stringify(report, null, 2)}\n`);
  if (!flags.markdown) console.log(`${tables(report)}\n`);
  console.log(markdown(report));
} catch (error) {
  console.error(`bench: ${error instanceof Error ? error.message : error}`);
  process.exitCode = 1;
}

/** Throws an error that names the first missing file and the command that makes it. */
function needed() {
  for (const [file, what] of [
    [MODEL_WORKER, "make PROFILE=edge workers"],
    [`${BUILD}/browser/jeffrey_edge.js`, "make PROFILE=edge workers"],
    ["node_modules/onnxruntime-web", "make node_modules/.stamp"],
    [PYTHON, "make tests/bench/.venv/stamp"],
    [ENCODER, "make train"],
  ]) {
    if (!existsSync(file)) throw new Error(`${file} is missing: ${what}`);
  }
}

async function measure() {
  mkdirSync(WORK, { recursive: true });
  const about = machine();
  const texts = await prepare();
  const int8 = await int8Form();
  progress("sizes");
  const size = sizes();

  /** @type {Record<string, any[]>} */
  const starts = { ours: [], same: [], default: [], ...(int8 && { int8: [] }) };
  for (let turn = 1; turn <= STARTS; turn += 1) {
    for (const [name, list] of Object.entries(starts)) list.push(await inNode("start.js", name));
    progress(`cold starts in Node, ${turn} of ${STARTS}`);
  }
  const node = await inNode("node.js");
  progress("Node, ours beside onnxruntime-web");

  stage();
  const startsWorkerd = [];
  for (let turn = 1; turn <= STARTS_WORKERD; turn += 1) {
    startsWorkerd.push(await coldStart(texts[1].text));
    progress(`cold starts in workerd, ${turn} of ${STARTS_WORKERD}`);
  }
  const workerd = await inside(texts, progress);
  startsWorkerd.push(workerd.start);
  const http = await overHttp(texts, progress);
  return { about, texts: texts.map(({ tokens, text }) => ({ tokens, text })), size, int8, starts, node, startsWorkerd, workerd, http };
}

/** Returns texts of exact token counts with our answers, and writes them for the other processes. */
async function prepare() {
  const { glue, bytes } = await pageModule();
  glue.initSync({ module: new WebAssembly.Module(bytes) });
  const browser = new glue.Browser(...MODEL_FILES.map((file) => readFileSync(file)));
  const longest = TOKEN_COUNTS[TOKEN_COUNTS.length - 1];
  const count = (/** @type {string} */ text) => {
    const found = browser.tokens(text)?.length ?? 0;
    // A truncated text has the greatest count too.
    return found === longest && JSON.parse(browser.classify(text)).truncated ? Infinity : found;
  };
  const texts = textsByTokens(count).map(({ tokens, text }) => ({
    tokens,
    text,
    ids: Array.from(browser.tokens(text)),
    primary: JSON.parse(browser.classify(text)).primary,
  }));
  browser.free();
  writeFileSync(`${WORK}/texts.json`, JSON.stringify(texts));
  return texts;
}

/** Returns onnxruntime-web's fastest int8 form, made again if a source is newer; null if no form is good enough. */
async function int8Form() {
  const sources = [ENCODER, `${MODEL}/head.json`, "tests/data/golden.jsonl", "tests/bench/int8.py", "tests/bench/int8.js"];
  const newest = Math.max(...sources.map((file) => statSync(file).mtimeMs));
  const chosen = `${WORK}/int8.json`;
  if (!existsSync(chosen) || statSync(chosen).mtimeMs < newest) {
    progress("int8 forms of the encoder for onnxruntime-web (once for each model)");
    rmSync(INT8, { force: true });
    await start(PYTHON, ["tests/bench/int8.py", MODEL, "tests/data/golden.jsonl", `${WORK}/int8`]).result();
    await inNode("int8.js");
  }
  return JSON.parse(readFileSync(chosen, "utf8"))[0] ?? null;
}

function machine() {
  const git = (/** @type {string[]} */ ...args) => execFileSync("git", ["--no-optional-locks", ...args], { encoding: "utf8" }).trim();
  const require = createRequire(import.meta.url);
  const version = (/** @type {string} */ name, from = require) => from(`${name}/package.json`).version;
  const inWrangler = createRequire(require.resolve("wrangler/package.json"));
  const processors = cpus();
  return {
    date: new Date().toISOString().slice(0, 10),
    commit: git("rev-parse", "--short=12", "HEAD") + (git("status", "--porcelain") ? " with changes" : ""),
    build: BUILD,
    model: MODEL,
    node: process.versions.node,
    workerd: version("workerd", inWrangler),
    wrangler: version("wrangler"),
    onnxruntime_web: JSON.parse(readFileSync("node_modules/onnxruntime-web/package.json", "utf8")).version,
    cpu: `${processors.length} × ${processors[0]?.model.trim()}`,
    load_average: loadavg().map((value) => Number(value.toFixed(2))),
  };
}
