// Keeps the fastest of the int8 forms that `int8.py` wrote, in onnxruntime-web, one thread.
//
// Only those count that keep the golden label on at least AGREEMENT_MIN of the rows; there may be none.

import { copyFileSync, readFileSync, writeFileSync } from "node:fs";

import { INT8, WORK, golden } from "./files.js";
import { peerSession } from "./peers.js";
import { median } from "./stats.js";

/** Below this a form is another model, not a faster one. */
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
// In turns, so that what else the machine does meets all of them alike.
for (let round = 0; round < ROUNDS; round += 1) {
  for (const [index, tokens] of TOKENS.entries()) {
    for (const { session, times } of entries) {
      const began = performance.now();
      await session.embed(longest.slice(0, tokens));
      times[index].push(performance.now() - began);
    }
  }
}
/** Relative to the fastest at each length, so that no length outweighs the other. */
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
