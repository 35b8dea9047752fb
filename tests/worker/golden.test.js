// Compares the golden rows that training wrote with the predictions in workerd; other tests do so on other hosts.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { TEST_TIMEOUT_MS, postJson, startModelWorker } from "../support/model-worker.js";

/** Limit of the difference of a score. Python computes in 64 bits, the model in 32. */
const TOLERANCE = 1e-3;

const file = new URL("../data/golden.jsonl", import.meta.url);
const rows = (await readFile(file, "utf8")).trim().split("\n").map((line) => JSON.parse(line));

test("every golden row has Python's label and scores in workerd", { timeout: TEST_TIMEOUT_MS }, async () => {
  assert.ok(rows.length >= 500, `${rows.length} rows`);
  // The rows contain the linear head's scores, before the tie-break rule.
  const worker = await startModelWorker({ JEFFREY_TIEBREAK_ENABLED: "false" });
  try {
    /** @type {string[]} */
    const mismatches = [];
    for (const { id, text, label, scores, truncated } of rows) {
      const { status, json } = await postJson(`${worker.origin}/v1/classify`, { text });
      if (status !== 200) {
        mismatches.push(`${id}: status ${status}`);
        continue;
      }
      const route = scores ? "linear_head" : "empty";
      const differs = Object.values(json.scores).some((score, index) => scores && Math.abs(score - scores[index]) > TOLERANCE);
      if (json.primary !== label) mismatches.push(`${id}: ${json.primary}, not ${label}`);
      if (json.route !== route) mismatches.push(`${id}: by ${json.route}, not ${route}`);
      if (json.truncated !== truncated) mismatches.push(`${id}: truncated ${json.truncated}, not ${truncated}`);
      if (differs) mismatches.push(`${id}: ${JSON.stringify(json.scores)}, not ${scores}`);
    }
    assert.deepEqual(mismatches, []);
  } finally {
    await worker.stop();
  }
});
