// Times each student of `training/frontier.py`, in turns. Usage: node tests/bench/frontier.js FOLDER
// Writes FOLDER/times.json: the median in milliseconds for each student's folder and number of tokens.

import { existsSync, readFileSync, readdirSync, writeFileSync } from "node:fs";

import { modelFiles, loadPageModule } from "./files.js";
import { median } from "./stats.js";
import { makeTextsByTokens } from "./texts.js";
import { timeInTurns } from "./turns.js";

const TURNS = 60;
const TIMED_TOKEN_COUNTS = [16, 64];

const folder = process.argv[2];
const { glue, bytes } = await loadPageModule();
glue.initSync({ module: new WebAssembly.Module(bytes) });
const students = readdirSync(folder)
  .filter((name) => existsSync(`${folder}/${name}/model/manifest.json`))
  .map((name) => ({
    name,
    classifier: new glue.Browser(...modelFiles(`${folder}/${name}/model`).map((file) => readFileSync(file))),
  }));
if (students.length === 0) throw new Error(`${folder} contains no student: run make frontier`);

/** @type {Record<string, Record<number, number>>} */
const medians = Object.fromEntries(students.map(({ name }) => [name, {}]));
// All students have the same tokenizer. It counts at most 128 tokens, so a longer text counts as 128.
const texts = makeTextsByTokens((text) => students[0].classifier.tokens(text)?.length ?? 0);
for (const { tokens, text } of texts.filter(({ tokens }) => TIMED_TOKEN_COUNTS.includes(tokens))) {
  const runs = Object.fromEntries(students.map(({ name, classifier }) => [name, () => classifier.classify(text)]));
  for (const [name, times] of Object.entries(await timeInTurns(runs, TURNS))) {
    medians[name][tokens] = Number(median(times).toFixed(3));
  }
}
writeFileSync(`${folder}/times.json`, `${JSON.stringify(medians, null, 1)}\n`);
