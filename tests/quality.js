// Checks the bars on quality with rows that no training step reads: `jeffrey eval` on the development rows and
// the written evaluation sets, `jeffrey classify` on the load-test texts (tests/data/rehearsal.jsonl).
// Usage: node tests/quality.js DATA_FOLDER
//
// A release must reach every bar. The bars leave a margin to the figures of the model card, so that a worse model
// fails and another seed does not.

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

const rehearsal = readFileSync("tests/data/rehearsal.jsonl", "utf8").trim().split("\n");
const texts = rehearsal.map((line) => JSON.parse(line).text.replace(/\s+/g, " "));
const answers = jeffrey(["classify", "--json", "-"], `${texts.join("\n")}\n`).trim().split("\n");
const low = answers.filter((line) => JSON.parse(line).low_confidence).length / texts.length;

const bars = [
  { what: "English, balanced, macro-F1", found: english.balanced.macro_f1, least: 0.59 },
  { what: "English, natural mix, macro-F1", found: english.macro_f1, least: 0.55 },
  { what: "English, natural mix, calibration error", found: english.ece, most: 0.05 },
  { what: "English, balanced, calibration error", found: english.balanced.ece, most: 0.05 },
  { what: "written English, accuracy", found: writtenEnglish.accuracy, least: 0.8 },
  { what: "written French, accuracy", found: writtenFrench.accuracy, least: 0.8 },
  { what: "load-test texts, share of low confidence", found: low, most: 0.15 },
];
if (answers.length !== texts.length) throw new Error(`${answers.length} answers to ${texts.length} texts`);
for (const { what, found, least, most } of bars) {
  const reached = found >= (least ?? -Infinity) && found <= (most ?? Infinity);
  const bar = least === undefined ? `at most ${most}` : `at least ${least}`;
  console.log(`${reached ? "ok" : "NOT REACHED"}  ${what} ${found.toFixed(3)}, ${bar}`);
  if (!reached) process.exitCode = 1;
}
