// Milliseconds of each student of `training/frontier.py`, in turns: `node tests/bench/frontier.js FOLDER`.
// Writes FOLDER/times.json, from the name of each folder to the median by tokens.

import { existsSync, readFileSync, readdirSync, writeFileSync } from "node:fs";

import { modelFiles, pageModule } from "./files.js";
import { median } from "./stats.js";
import { textsByTokens } from "./texts.js";

const ROUNDS = 60;
const RUNS_PER_TURN = 4;
const TOKENS = [16, 64];

const folder = process.argv[2];
const { glue, bytes } = await pageModule();
glue.initSync({ module: new WebAssembly.Module(bytes) });
const students = readdirSync(folder)
  .filter((name) => existsSync(`${folder}/${name}/model/manifest.json`))
  .map((name) => ({
    name,
    browser: new glue.Browser(...modelFiles(`${folder}/${name}/model`).map((file) => readFileSync(file))),
    times: TOKENS.map(() => /** @type {number[]} */ ([])),
  }));
if (students.length === 0) throw new Error(`${folder} holds no student: run make frontier`);

// All have one tokenizer. 128 is the most that is counted: a longer text counts the same.
const texts = textsByTokens((text) => students[0].browser.tokens(text)?.length ?? 0).filter(({ tokens }) => TOKENS.includes(tokens));
for (let round = 0; round < ROUNDS; round += 1) {
  for (const [index, { text }] of texts.entries()) {
    for (const { browser, times } of students) {
      browser.classify(text);
      for (let run = 0; run < RUNS_PER_TURN; run += 1) {
        const began = performance.now();
        browser.classify(text);
        times[index].push(performance.now() - began);
      }
    }
  }
}
const found = students.map(({ name, times }) => [name, Object.fromEntries(TOKENS.map((tokens, index) => [tokens, Number(median(times[index]).toFixed(3))]))]);
writeFileSync(`${folder}/times.json`, `${JSON.stringify(Object.fromEntries(found), null, 1)}\n`);
