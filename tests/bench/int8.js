// Times the int8 forms that `int8.py` wrote, in onnxruntime-web with one thread, and keeps the fastest.
//
// A form must keep the golden label on at least AGREEMENT_MIN of the rows. If no form does, the result is null.

import { copyFileSync, readFileSync, writeFileSync } from "node:fs";

import { INT8_ENCODER, WORK_FOLDER, readGoldenRows } from "./files.js";
import { createPeerSession } from "./peers.js";
import { median } from "./stats.js";

/** Least share of golden labels that a form must keep, 0 to 1; below it the form is a different model. */
const AGREEMENT_MIN = 0.98;
const ROUNDS = 30;
const TIMED_TOKEN_COUNTS = [16, 64];

const folder = `${WORK_FOLDER}/int8`;
/** @type {{ candidates: { file: string, agreement: number }[] }} */
const { candidates } = JSON.parse(readFileSync(`${folder}/candidates.json`, "utf8"));
const accurateCandidates = candidates.filter(({ agreement }) => agreement >= AGREEMENT_MIN);

const longestIds = readGoldenRows().reduce((a, b) => (b.ids.length > a.ids.length ? b : a)).ids;
const timedCandidates = await Promise.all(
  accurateCandidates.map(async (candidate) => ({
    ...candidate,
    session: await createPeerSession(readFileSync(`${folder}/${candidate.file}`), "int8"),
    times: TIMED_TOKEN_COUNTS.map(() => /** @type {number[]} */ ([])),
  })),
);
// In turns, so that other work of the machine affects all of them equally.
for (let round = 0; round < ROUNDS; round += 1) {
  for (const [index, tokens] of TIMED_TOKEN_COUNTS.entries()) {
    for (const { session, times } of timedCandidates) {
      const startedAt = performance.now();
      await session.embed(longestIds.slice(0, tokens));
      times[index].push(performance.now() - startedAt);
    }
  }
}
/** Fastest median of each length. Ranks are relative to it, so that both lengths have equal weight. */
const fastestMedians = TIMED_TOKEN_COUNTS.map((_, index) => Math.min(...timedCandidates.map(({ times }) => median(times[index]))));
const ranked = timedCandidates
  .map(({ file, agreement, times }) => {
    const medians = times.map(median);
    return { file, agreement, medians_ms: medians, relative: medians.reduce((sum, ms, index) => sum + ms / fastestMedians[index], 0) };
  })
  .sort((a, b) => a.relative - b.relative);
if (ranked[0]) copyFileSync(`${folder}/${ranked[0].file}`, INT8_ENCODER);
writeFileSync(`${WORK_FOLDER}/int8.json`, `${JSON.stringify(ranked, null, 2)}\n`);
console.log(JSON.stringify(ranked[0] ?? null));
