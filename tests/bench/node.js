// Times our module and onnxruntime-web in this process, in turns. Prints one line of JSON.
//
// It checks the predictions first: our labels equal the golden ones, and onnxruntime's embedding of the same
// file equals ours within a tolerance. Our module runs from text to JSON (tokenizer, encoder, head, rule),
// onnxruntime runs the encoder alone, from ids to embedding.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";

import { INT8_ENCODER, MODEL_FILES, WORK_FOLDER, readGoldenRows, loadPageModule } from "./files.js";
import { peerModelFile, createPeerSession } from "./peers.js";
import { summarizeLatency } from "./stats.js";
import { slowTexts } from "./texts.js";
import { timeInTurns } from "./turns.js";

/**
 * Limit of the distance between onnxruntime's embedding and ours along any of seven directions. Our
 * encoder rounds each layer's inputs to 16 bits. The length of an embedding is about ten.
 */
const EMBEDDING_TOLERANCE = 2e-3;
/** Number of turns: `short` for texts of up to 32 tokens, `long` for longer ones. */
const TURNS = { short: 80, long: 40 };

/** @type {{ tokens: number, text: string, ids: number[] }[]} */
const texts = JSON.parse(readFileSync(`${WORK_FOLDER}/texts.json`, "utf8"));
const goldenRows = readGoldenRows();
const rowsWithTokens = goldenRows.filter(({ ids }) => ids.length > 0);
const modelBuffers = MODEL_FILES.map((file) => readFileSync(file));
const head = JSON.parse(modelBuffers[4].toString());

const { glue, bytes } = await loadPageModule();
const { memory } = glue.initSync({ module: new WebAssembly.Module(bytes) });
const classifier = new glue.Browser(...modelBuffers);
const peers = {
  same: await createPeerSession(readFileSync(peerModelFile("same")), "same"),
  default: await createPeerSession(readFileSync(peerModelFile("default")), "default"),
  ...(existsSync(INT8_ENCODER) && { int8: await createPeerSession(readFileSync(INT8_ENCODER), "int8") }),
};

// Reads the memory before the check loads a second model, because memory never shrinks.
classifier.classify(texts[texts.length - 1].text);
const memory_bytes = memory.buffer.byteLength;
const slowestTexts = timeSlowTexts();
const memory_after_slowest_bytes = memory.buffer.byteLength;
console.error("bench: Node, slowest texts");

const predictionCheck = await checkPredictions();
const speed = [];
for (const entry of texts) {
  speed.push({ tokens: entry.tokens, ...(await timeSideBySide(entry)) });
  console.error(`bench: Node, ${entry.tokens} tokens`);
}
console.log(JSON.stringify({ answers: predictionCheck, speed, slowest: slowestTexts, memory_bytes, memory_after_slowest_bytes }));

async function checkPredictions() {
  for (const row of goldenRows) {
    const prediction = JSON.parse(classifier.classify(row.text, false));
    assert.equal(prediction.primary, row.label, `golden row ${row.id}`);
  }
  const { projectText, projectEmbedding } = createProbe();
  let maxDifference = 0;
  let agreements = 0;
  for (const row of rowsWithTokens) {
    const ourProjections = projectText(row.text);
    const differences = projectEmbedding(await peers.same.embed(row.ids)).map((value, index) => Math.abs(value - ourProjections[index]));
    maxDifference = Math.max(maxDifference, ...differences);
    if (peers.int8 && predictLabel(await peers.int8.embed(row.ids)) === row.label) agreements += 1;
  }
  assert.ok(maxDifference < EMBEDDING_TOLERANCE, `onnxruntime's embedding differs from ours by ${maxDifference}`);
  return {
    golden_rows: goldenRows.length,
    embedding_difference_max: maxDifference,
    int8_agreement: peers.int8 ? agreements / rowsWithTokens.length : null,
  };
}

/**
 * Returns our embedding's projections, read through a special head because the module returns scores only.
 *
 * Row 0 is zero and rows 1 to 7 are unit vectors of random signs, so ln(score k / score 0) is the
 * embedding along vector k. An error of d in one component moves each projection by d / sqrt(dim).
 */
function createProbe() {
  let randomState = 42;
  const randomUnitVector = () =>
    Array.from({ length: head.dim }, () => {
      // Marsaglia's xorshift: its high bits do not repeat from row to row.
      randomState ^= randomState << 13;
      randomState ^= randomState >>> 17;
      randomState ^= randomState << 5;
      return Math.fround((randomState < 0 ? -1 : 1) / Math.sqrt(head.dim));
    });
  const vectors = Array.from({ length: 7 }, randomUnitVector);
  const weights = [Array(head.dim).fill(0), ...vectors];
  const probeHead = Buffer.from(JSON.stringify({ ...head, weights, bias: Array(8).fill(0), temperature: 1 }));
  const manifest = JSON.parse(modelBuffers[0].toString());
  const sha256 = createHash("sha256").update(probeHead).digest("hex");
  manifest.files["head.json"] = { sha256, bytes: probeHead.length };
  const probeClassifier = new glue.Browser(Buffer.from(JSON.stringify(manifest)), ...modelBuffers.slice(1, 4), probeHead, modelBuffers[5]);
  return {
    /** @param {string} text @returns {number[]} */
    projectText(text) {
      const [zeroScore, ...scores] = Object.values(JSON.parse(probeClassifier.classify(text, false)).scores).map(Number);
      return scores.map((score) => Math.log(score / zeroScore));
    },
    /** @param {Float32Array} embedding */
    projectEmbedding: (embedding) => vectors.map((vector) => dotProduct(vector, embedding)),
  };
}

/** Returns the label that `head.json` gives to an embedding. @param {Float32Array} embedding @returns {string} */
function predictLabel(embedding) {
  const logits = head.weights.map((/** @type {number[]} */ weights, /** @type {number} */ index) => dotProduct(weights, embedding) + head.bias[index]);
  return head.labels[logits.indexOf(Math.max(...logits))];
}

/** @param {number[]} vector @param {Float32Array} embedding */
function dotProduct(vector, embedding) {
  return vector.reduce((sum, value, index) => sum + value * embedding[index], 0);
}

/** @param {{ tokens: number, text: string, ids: number[] }} entry */
async function timeSideBySide({ tokens, text, ids }) {
  /** @type {Record<string, () => unknown>} */
  const engines = {
    ours: () => classifier.classify(text),
    tokenizer: () => classifier.tokens(text),
    ...Object.fromEntries(Object.entries(peers).map(([name, session]) => [name, () => session.embed(ids)])),
  };
  const times = await timeInTurns(engines, tokens <= 32 ? TURNS.short : TURNS.long);
  return Object.fromEntries(Object.entries(times).map(([name, samples]) => [name, summarizeLatency(samples)]));
}

/** Times each slow text and returns the slowest first. The tie-break is set to read each text to its end. */
function timeSlowTexts() {
  classifier.setTieBreak(undefined, "1", "1");
  const slowTimes = slowTexts().map(({ kind, text }) => {
    const times = [0, 1, 2].map(() => {
      const startedAt = performance.now();
      classifier.classify(text);
      return performance.now() - startedAt;
    });
    return { kind, ...summarizeLatency(times) };
  });
  return slowTimes.sort((a, b) => b.median_ms - a.median_ms);
}
