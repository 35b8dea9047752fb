// Times our module and onnxruntime-web in this process, in turns. Prints one line of JSON.
//
// It checks the answers first: our labels equal the golden ones, and onnxruntime's embedding of the same
// file equals ours within a tolerance. Our module runs from text to JSON (tokenizer, encoder, head, rule),
// onnxruntime runs the encoder alone, from ids to embedding.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";

import { INT8, MODEL_FILES, WORK, golden, pageModule } from "./files.js";
import { peerFile, peerSession } from "./peers.js";
import { spread } from "./stats.js";
import { slowTexts } from "./texts.js";
import { inTurns } from "./turns.js";

/**
 * Limit of the distance between onnxruntime's embedding and ours along any of seven directions. Our
 * encoder rounds each layer's inputs to 16 bits. The length of an embedding is about ten.
 */
const EMBEDDING_TOLERANCE = 2e-3;
/** Number of turns: `short` for texts of up to 32 tokens, `long` for longer ones. */
const TURNS = { short: 80, long: 40 };

/** @type {{ tokens: number, text: string, ids: number[] }[]} */
const texts = JSON.parse(readFileSync(`${WORK}/texts.json`, "utf8"));
const rows = golden();
const read = rows.filter(({ ids }) => ids.length > 0);
const files = MODEL_FILES.map((file) => readFileSync(file));
const head = JSON.parse(files[4].toString());

const { glue, bytes } = await pageModule();
const { memory } = glue.initSync({ module: new WebAssembly.Module(bytes) });
const browser = new glue.Browser(...files);
const peers = {
  same: await peerSession(readFileSync(peerFile("same")), "same"),
  default: await peerSession(readFileSync(peerFile("default")), "default"),
  ...(existsSync(INT8) && { int8: await peerSession(readFileSync(INT8), "int8") }),
};

// Reads the memory before the check loads a second model, because memory never shrinks.
browser.classify(texts[texts.length - 1].text);
const memory_bytes = memory.buffer.byteLength;
const slowest = slow();
const memory_after_slowest_bytes = memory.buffer.byteLength;
console.error("bench: Node, slowest texts");

const answers = await checkAnswers();
const speed = [];
for (const entry of texts) {
  speed.push({ tokens: entry.tokens, ...(await sideBySide(entry)) });
  console.error(`bench: Node, ${entry.tokens} tokens`);
}
console.log(JSON.stringify({ answers, speed, slowest, memory_bytes, memory_after_slowest_bytes }));

async function checkAnswers() {
  for (const row of rows) {
    const answer = JSON.parse(browser.classify(row.text, false));
    assert.equal(answer.primary, row.label, `golden row ${row.id}`);
  }
  const { projected, expected } = probe();
  let difference = 0;
  let kept = 0;
  for (const row of read) {
    const ours = projected(row.text);
    const apart = expected(await peers.same.embed(row.ids)).map((value, index) => Math.abs(value - ours[index]));
    difference = Math.max(difference, ...apart);
    if (peers.int8 && label(await peers.int8.embed(row.ids)) === row.label) kept += 1;
  }
  assert.ok(difference < EMBEDDING_TOLERANCE, `onnxruntime's embedding differs from ours by ${difference}`);
  return {
    golden_rows: rows.length,
    embedding_difference_max: difference,
    int8_agreement: peers.int8 ? kept / read.length : null,
  };
}

/**
 * Returns our embedding's projections, read through a special head because the module returns scores only.
 *
 * Row 0 is zero and rows 1 to 7 are unit vectors of random signs, so ln(score k / score 0) is the
 * embedding along vector k. An error of d in one component moves each projection by d / sqrt(dim).
 */
function probe() {
  let random = 42;
  const signs = () =>
    Array.from({ length: head.dim }, () => {
      // Marsaglia's xorshift: its high bits do not repeat from row to row.
      random ^= random << 13;
      random ^= random >>> 17;
      random ^= random << 5;
      return Math.fround((random < 0 ? -1 : 1) / Math.sqrt(head.dim));
    });
  const vectors = Array.from({ length: 7 }, signs);
  const weights = [Array(head.dim).fill(0), ...vectors];
  const probing = Buffer.from(JSON.stringify({ ...head, weights, bias: Array(8).fill(0), temperature: 1 }));
  const manifest = JSON.parse(files[0].toString());
  const sha256 = createHash("sha256").update(probing).digest("hex");
  manifest.files["head.json"] = { sha256, bytes: probing.length };
  const projector = new glue.Browser(Buffer.from(JSON.stringify(manifest)), ...files.slice(1, 4), probing, files[5]);
  return {
    /** @param {string} text @returns {number[]} */
    projected(text) {
      const [zero, ...scores] = Object.values(JSON.parse(projector.classify(text, false)).scores).map(Number);
      return scores.map((score) => Math.log(score / zero));
    },
    /** @param {Float32Array} embedding */
    expected: (embedding) => vectors.map((vector) => dot(vector, embedding)),
  };
}

/** Returns the label that `head.json` gives to an embedding. @param {Float32Array} embedding @returns {string} */
function label(embedding) {
  const logits = head.weights.map((/** @type {number[]} */ row, /** @type {number} */ index) => dot(row, embedding) + head.bias[index]);
  return head.labels[logits.indexOf(Math.max(...logits))];
}

/** @param {number[]} vector @param {Float32Array} embedding */
function dot(vector, embedding) {
  return vector.reduce((sum, value, index) => sum + value * embedding[index], 0);
}

/** @param {{ tokens: number, text: string, ids: number[] }} entry */
async function sideBySide({ tokens, text, ids }) {
  /** @type {Record<string, () => unknown>} */
  const engines = {
    ours: () => browser.classify(text),
    tokenizer: () => browser.tokens(text),
    ...Object.fromEntries(Object.entries(peers).map(([name, session]) => [name, () => session.embed(ids)])),
  };
  const times = await inTurns(engines, tokens <= 32 ? TURNS.short : TURNS.long);
  return Object.fromEntries(Object.entries(times).map(([name, list]) => [name, spread(list)]));
}

/** Times each slow text and returns the slowest first. The tie-break is set to read each text to its end. */
function slow() {
  browser.setTieBreak(undefined, "1", "1");
  const found = slowTexts().map(({ kind, text }) => {
    const times = [0, 1, 2].map(() => {
      const began = performance.now();
      browser.classify(text);
      return performance.now() - began;
    });
    return { kind, ...spread(times) };
  });
  return found.sort((a, b) => b.median_ms - a.median_ms);
}
