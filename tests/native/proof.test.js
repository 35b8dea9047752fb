// Runs the rows of `make acceptance` with fewer runs, the same arguments and the same seed.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { TABLES } from "../acceptance/rows.js";
import { simulate } from "../acceptance/simulate.js";

const BINARY = "target/debug/jeffrey";

for (const [title, rows] of TABLES) {
  describe(title, () => {
    for (const row of rows.filter(({ testRuns: short }) => short > 0)) {
      test(row.name, () => {
        const report = simulate(BINARY, row, { runs: row.testRuns });
        assert.equal(report.runs, row.testRuns);
        assert.ok(row.holds(report, false), `${row.formatResult(report)}; the limit is ${row.bar}`);
      });
    }
  });
}

test("a gate without an error bound exceeds the limit of its row", () => {
  const row = TABLES[0][1].find(({ name }) => name === "every gate at its limit, 600 a minute");
  assert.ok(row);
  const plan = `
[[gate]]
metric = "errors"
max = "2%"
method = "window"
window = "15m"
effect = "roll_back"
`;
  const report = simulate(BINARY, { ...row, plan }, { runs: row.testRuns });
  assert.ok(!row.holds(report, false), row.formatResult(report));
});
