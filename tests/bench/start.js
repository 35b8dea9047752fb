// Times one cold start in this process and prints one line of JSON: `node start.js ours|same|default|int8`.
//
// It reads the files before the clock starts, and measures from the bytes to the first prediction.

import { readFileSync } from "node:fs";

import { MODEL_FILES, WORK_FOLDER, loadPageModule } from "./files.js";

/** @type {{ tokens: number, text: string, ids: number[] }[]} */
const texts = JSON.parse(readFileSync(`${WORK_FOLDER}/texts.json`, "utf8"));
const short = texts.find(({ tokens }) => tokens === 16) ?? texts[0];
const long = texts[texts.length - 1];
const engine = process.argv[2];

console.log(JSON.stringify(await (engine === "ours" ? startOurModule() : startPeer(/** @type {import("./peers.js").Peer} */ (engine)))));

async function startOurModule() {
  const { glue, bytes } = await loadPageModule();
  const files = MODEL_FILES.map((file) => readFileSync(file));
  const startedAt = performance.now();
  const module = new WebAssembly.Module(bytes);
  const compiledAt = performance.now();
  const { memory } = glue.initSync({ module });
  const instantiatedAt = performance.now();
  const classifier = new glue.Browser(...files);
  const loadedAt = performance.now();
  classifier.classify(short.text);
  const classifiedAt = performance.now();
  classifier.classify(long.text);
  return {
    compile_ms: compiledAt - startedAt,
    instantiate_ms: instantiatedAt - compiledAt,
    load_ms: loadedAt - instantiatedAt,
    first_ms: classifiedAt - loadedAt,
    start_ms: classifiedAt - startedAt,
    memory_bytes: memory.buffer.byteLength,
  };
}

/** onnxruntime-web compiles and instantiates its module while it creates the first session. @param {import("./peers.js").Peer} engine */
async function startPeer(engine) {
  const { peerModelFile, peerMemoryBytes, createPeerSession } = await import("./peers.js");
  const bytes = readFileSync(peerModelFile(engine));
  const startedAt = performance.now();
  const session = await createPeerSession(bytes, engine);
  const loadedAt = performance.now();
  await session.embed(short.ids);
  const embeddedAt = performance.now();
  await session.embed(long.ids);
  return {
    load_ms: loadedAt - startedAt,
    first_ms: embeddedAt - loadedAt,
    start_ms: embeddedAt - startedAt,
    memory_bytes: peerMemoryBytes(),
  };
}
