// Times the page's module inside workerd. Each path is one measurement. The worker runs locally only.
//
// In a local workerd the clock advances in steps of 1 ms during computation; in a deployed Worker it stops.
// So a median comes from long batches, and a single run takes a whole number of milliseconds.

// @ts-ignore: `workerd.js` copies these eight files beside the copy of this file.
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
let classifier;
/** @type {WebAssembly.Memory} */
let memory;

/** @type {Record<string, (body: any) => any>} */
const measurements = {
  /** Excludes compilation: workerd compiles the module before any script runs. */
  "/start"({ text }) {
    const startedAt = Date.now();
    memory = initSync({ module }).memory;
    const instantiatedAt = Date.now();
    classifier = new Browser(...files);
    const loadedAt = Date.now();
    classifier.classify(text);
    return {
      instantiate_ms: instantiatedAt - startedAt,
      load_ms: loadedAt - instantiatedAt,
      first_ms: Date.now() - loadedAt,
    };
  },
  "/memory": () => ({ memory_bytes: memory.buffer.byteLength }),
  /** Labels of texts, without the tie-break. */
  "/labels": ({ texts }) => texts.map((/** @type {string} */ text) => JSON.parse(classifier.classify(text, false)).primary),
  /** Milliseconds for each run, one number for each batch. */
  "/batches"({ text, batches, batch_ms_min }) {
    let runs = 1;
    while (timeBatch(text, runs) < batch_ms_min) runs *= 2;
    return Array.from({ length: batches }, () => timeBatch(text, runs) / runs);
  },
  /** Milliseconds of single runs, whole numbers. */
  "/singles": ({ text, runs }) => Array.from({ length: runs }, () => timeBatch(text, 1)),
  /** Milliseconds of single runs of a slow text, which the tie-break is set to read to its end. */
  "/slowest"({ text, runs }) {
    classifier.setTieBreak(undefined, "1", "1");
    const times_ms = Array.from({ length: runs }, () => timeBatch(text, 1));
    classifier.setTieBreak();
    return times_ms;
  },
};

/** @param {string} text @param {number} runs */
function timeBatch(text, runs) {
  const startedAt = Date.now();
  for (let run = 0; run < runs; run += 1) classifier.classify(text);
  return Date.now() - startedAt;
}

export default {
  /** @param {Request} request */
  async fetch(request) {
    const measure = measurements[new URL(request.url).pathname];
    if (!measure) return new Response("no such measurement", { status: 404 });
    return Response.json(measure(await request.json()));
  },
};
