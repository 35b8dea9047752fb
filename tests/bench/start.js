// Times one cold start in this process and prints one line of JSON: `node start.js ours|same|default|int8`.
//
// It reads the files before the clock starts, and measures from the bytes to the first answer.

import { readFileSync } from "node:fs";

import { MODEL_FILES, WORK, pageModule } from "./files.js";

/** @type {{ tokens: number, text: string, ids: number[] }[]} */
const texts = JSON.parse(readFileSync(`${WORK}/texts.json`, "utf8"));
const short = texts.find(({ tokens }) => tokens === 16) ?? texts[0];
const long = texts[texts.length - 1];
const name = process.argv[2];

console.log(JSON.stringify(await (name === "ours" ? ours() : peer(/** @type {import("./peers.js").Peer} */ (name)))));

async function ours() {
  const { glue, bytes } = await pageModule();
  const files = MODEL_FILES.map((file) => readFileSync(file));
  const began = performance.now();
  const module = new WebAssembly.Module(bytes);
  const compiled = performance.now();
  const { memory } = glue.initSync({ module });
  const instantiated = performance.now();
  const browser = new glue.Browser(...files);
  const loaded = performance.now();
  browser.classify(short.text);
  const answered = performance.now();
  browser.classify(long.text);
  return {
    compile_ms: compiled - began,
    instantiate_ms: instantiated - compiled,
    load_ms: loaded - instantiated,
    first_ms: answered - loaded,
    start_ms: answered - began,
    memory_bytes: memory.buffer.byteLength,
  };
}

/** onnxruntime-web compiles and instantiates its module while it creates the first session. @param {import("./peers.js").Peer} which */
async function peer(which) {
  const { peerFile, peerMemory, peerSession } = await import("./peers.js");
  const bytes = readFileSync(peerFile(which));
  const began = performance.now();
  const session = await peerSession(bytes, which);
  const loaded = performance.now();
  await session.embed(short.ids);
  const answered = performance.now();
  await session.embed(long.ids);
  return {
    load_ms: loaded - began,
    first_ms: answered - loaded,
    start_ms: answered - began,
    memory_bytes: peerMemory(),
  };
}
