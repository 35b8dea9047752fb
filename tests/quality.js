// Checks the bars on quality with rows that no training step reads: `jeffrey eval` on the development rows and
// the written evaluation sets, `jeffrey classify` on the load-test texts (tests/data/rehearsal.jsonl).
// Usage: node tests/quality.js DATA_FOLDER
//
// A release must reach every bar. The bars leave a margin to the figures of the model card, so that a worse model
// fails and another seed does not. Those of GoEmotions are low: readers agree with half of its labels, and the model
// follows the readers (docs/benchmarks.md, training/README.md).

import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";

/** @param {string[]} args @param {string} [input] */
const jeffrey = (args, input) =>
  execFileSync("target/debug/jeffrey", args, { encoding: "utf8", maxBuffer: 1 << 26, input });
/** @param {string[]} args */
const evaluate = (...args) => JSON.parse(jeffrey(["eval", "--json", "--bootstrap", "200", ...args]));

const english = evaluate(join(process.argv[2], "goemotions_dev.jsonl.gz"), "--balanced", "50", "--draws", "200");
const writtenEnglish = evaluate("tests/data/written/eval.en.jsonl");
const writtenFrench = evaluate("tests/data/written/eval.fr.jsonl");

const loadTestLines = readFileSync("tests/data/rehearsal.jsonl", "utf8").trim().split("\n");
const texts = loadTestLines.map((line) => JSON.parse(line).text.replace(/\s+/g, " "));
const predictions = jeffrey(["classify", "--json", "-"], `${texts.join("\n")}\n`).trim().split("\n");
const lowConfidenceShare = predictions.filter((line) => JSON.parse(line).low_confidence).length / texts.length;

const bars = [
  { name: "English, balanced, macro-F1", value: english.balanced_metrics.macro_f1, min: 0.47 },
  { name: "English, natural mix, macro-F1", value: english.macro_f1, min: 0.44 },
  { name: "English, natural mix, calibration error", value: english.ece, max: 0.05 },
  { name: "English, balanced, calibration error", value: english.balanced_metrics.ece, max: 0.1 },
  { name: "written English, accuracy", value: writtenEnglish.accuracy, min: 0.78 },
  { name: "written French, accuracy", value: writtenFrench.accuracy, min: 0.8 },
  { name: "load-test texts, share of low confidence", value: lowConfidenceShare, max: 0.15 },
];
if (predictions.length !== texts.length) throw new Error(`${predictions.length} predictions for ${texts.length} texts`);
for (const { name: label, value: result, min: lower, max: upper } of bars) {
  const isReached = result >= (lower ?? -Infinity) && result <= (upper ?? Infinity);
  const bar = lower === undefined ? `at most ${upper}` : `at least ${lower}`;
  console.log(`${isReached ? "ok" : "NOT REACHED"}  ${label} ${result.toFixed(3)}, ${bar}`);
  if (!isReached) process.exitCode = 1;
}
