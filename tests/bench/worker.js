// The page's module timed inside workerd. Each path is one measurement; it is served locally only.
//
// The clock of a local workerd advances in steps of 1 ms during work (deployed, it stands still): a
// median comes from batches long enough for that, a single run is a whole number of milliseconds.

// @ts-ignore: `workerd.js` puts these eight beside this file's copy.
import { Browser, initSync } from "./jeffrey_edge.js";
// @ts-ignore
import module from "./jeffrey_edge_bg.wasm";
// @ts-ignore
import manifest from "./manifest.bin";
// @ts-ignore
import config from "./config.bin";
// @ts-ignore
import tokenizer from "./tokenizer.bin";
// @ts-ignore
import encoder from "./model_quantized.bin";
// @ts-ignore
import head from "./head.bin";
// @ts-ignore
import prototypes from "./prototypes.bin";

const files = [manifest, config, tokenizer, encoder, head, prototypes].map((file) => new Uint8Array(file));

/** @type {any} */
let browser;
/** @type {WebAssembly.Memory} */
let memory;

/** @type {Record<string, (body: any) => any>} */
const measurements = {
  /** The module comes compiled: workerd does that before any script runs. */
  "/start"({ text }) {
    const began = Date.now();
    memory = initSync({ module }).memory;
    const instantiated = Date.now();
    browser = new Browser(...files);
    const loaded = Date.now();
    browser.classify(text);
    return {
      instantiate_ms: instantiated - began,
      load_ms: loaded - instantiated,
      first_ms: Date.now() - loaded,
    };
  },
  "/memory": () => ({ memory_bytes: memory.buffer.byteLength }),
  /** Labels of texts, before any tie-break. */
  "/labels": ({ texts }) => texts.map((/** @type {string} */ text) => JSON.parse(browser.classify(text, false)).primary),
  /** Milliseconds a run, one number a batch. */
  "/batches"({ text, batches, batch_ms_min }) {
    let runs = 1;
    while (batch(text, runs) < batch_ms_min) runs *= 2;
    return Array.from({ length: batches }, () => batch(text, runs) / runs);
  },
  /** Milliseconds of single runs, in whole steps of the clock. */
  "/singles": ({ text, runs }) => Array.from({ length: runs }, () => batch(text, 1)),
  /** The slowest texts: the tie-break reads every one of them to its end. */
  "/slowest"({ text, runs }) {
    browser.setTieBreak(undefined, "1", "1");
    const found = Array.from({ length: runs }, () => batch(text, 1));
    browser.setTieBreak();
    return found;
  },
};

/** @param {string} text @param {number} runs */
function batch(text, runs) {
  const began = Date.now();
  for (let run = 0; run < runs; run += 1) browser.classify(text);
  return Date.now() - began;
}

export default {
  /** @param {Request} request */
  async fetch(request) {
    const measure = measurements[new URL(request.url).pathname];
    if (!measure) return new Response("no such measurement", { status: 404 });
    return Response.json(measure(await request.json()));
  },
};
