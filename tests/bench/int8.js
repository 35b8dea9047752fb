// Times the int8 forms that `int8.py` wrote, in onnxruntime-web with one thread, and keeps the fastest.
//
// A form must keep the golden label on at least AGREEMENT_MIN of the rows. If no form does, the result is null.

import { copyFileSync, readFileSync, writeFileSync } from "node:fs";

import { INT8, WORK, golden } from "./files.js";
import { peerSession } from "./peers.js";
import { median } from "./stats.js";

/** Least share of golden labels that a form must keep, 0 to 1; below it the form is a different model. */
const AGREEMENT_MIN = 0.98;
const ROUNDS = 30;
const TOKENS = [16, 64];

const folder = `${WORK}/int8`;
/** @type {{ candidates: { file: string, agreement: number }[] }} */
const { candidates } = JSON.parse(readFileSync(`${folder}/candidates.json`, "utf8"));
const valid = candidates.filter(({ agreement }) => agreement >= AGREEMENT_MIN);

const longest = golden().reduce((a, b) => (b.ids.length > a.ids.length ? b : a)).ids;
const entries = await Promise.all(
  valid.map(async (candidate) => ({
    ...candidate,
    session: await peerSession(readFileSync(`${folder}/${candidate.file}`), "int8"),
    times: TOKENS.map(() => /** @type {number[]} */ ([])),
  })),
);
// In turns, so that other work of the machine affects all of them equally.
for (let round = 0; round < ROUNDS; round += 1) {
  for (const [index, tokens] of TOKENS.entries()) {
    for (const { session, times } of entries) {
      const began = performance.now();
      await session.embed(longest.slice(0, tokens));
      times[index].push(performance.now() - began);
    }
  }
}
/** Fastest median of each length. Ranks are relative to it, so that both lengths have equal weight. */
const fastest = TOKENS.map((_, index) => Math.min(...entries.map(({ times }) => median(times[index]))));
const ranked = entries
  .map(({ file, agreement, times }) => {
    const medians = times.map(median);
    return { file, agreement, medians_ms: medians, relative: medians.reduce((sum, ms, index) => sum + ms / fastest[index], 0) };
  })
  .sort((a, b) => a.relative - b.relative);
if (ranked[0]) copyFileSync(`${folder}/${ranked[0].file}`, INT8);
writeFileSync(`${WORK}/int8.json`, `${JSON.stringify(ranked, null, 2)}\n`);
console.log(JSON.stringify(ranked[0] ?? null));
