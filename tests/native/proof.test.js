// Runs the rows of `make acceptance` with fewer runs, the same arguments and the same seed.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { TABLES } from "../acceptance/rows.js";
import { simulate } from "../acceptance/simulate.js";

const PROGRAM = "target/debug/jeffrey";

for (const [title, rows] of TABLES) {
  describe(title, () => {
    for (const row of rows.filter(({ short }) => short > 0)) {
      test(row.name, () => {
        const report = simulate(PROGRAM, row, { runs: row.short });
        assert.equal(report.runs, row.short);
        assert.ok(row.holds(report, false), `${row.found(report)}; the bar is ${row.bar}`);
      });
    }
  });
}

test("a gate without an error bound misses its row", () => {
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
  const report = simulate(PROGRAM, { ...row, plan }, { runs: row.short });
  assert.ok(!row.holds(report, false), row.found(report));
});
