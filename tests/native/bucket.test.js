// Compares `jeffrey bucket` with flagd's own evaluator, which hashes UTF-16 code units; so all ids are ASCII.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "node:test";
import { FlagdCore } from "@openfeature/flagd-core";

const COUNT = 100_000;

test("100,000 ASCII ids have flagd's cohort at every stage", () => {
  const ids = Array.from({ length: COUNT }, (_, number) => drawn(number));
  const silent = { error() {}, warn() {}, info() {}, debug() {} };
  for (const percent of [10, 20, 50, 75, 100]) {
    const release = `release-${percent}`;
    const core = new FlagdCore();
    core.setConfigurations(JSON.stringify({ flags: { [release]: flag(percent * 100) } }));
    const args = ["bucket", "--release", release, "--share", `${percent}%`, "--json", "-"];
    const output = execFileSync("target/debug/jeffrey", args, { input: `${ids.join("\n")}\n`, maxBuffer: 1 << 26, encoding: "utf8" });
    const answers = output.trim().split("\n").map((line) => JSON.parse(line));
    assert.equal(answers.length, COUNT);
    let differences = 0;
    let canary = 0;
    for (const [index, { id, cohort }] of answers.entries()) {
      assert.equal(id, ids[index]);
      const { variant } = core.resolveBooleanEvaluation(release, false, { targetingKey: id }, silent);
      differences += Number(variant !== cohort);
      canary += Number(cohort === "canary");
    }
    assert.equal(differences, 0, `${percent} %`);
    assert.ok(Math.abs(canary / COUNT - percent / 100) < 0.005, `${canary} of ${COUNT} at ${percent} %`);
  }
});

/** Returns a flag with flagd's default key: the flag's key, then the targeting key. @param {number} points */
function flag(points) {
  const shares = points === 10_000 ? [["canary", 10_000]] : [["canary", points], ["stable", 10_000 - points]];
  return {
    state: "ENABLED",
    variants: { canary: true, stable: false },
    defaultVariant: "stable",
    targeting: { fractional: [{ cat: [{ var: "$flagd.flagKey" }, { var: "targetingKey" }] }, ...shares] },
  };
}

/** Returns an id, the same in every run; ids have many lengths and characters. @param {number} number */
function drawn(number) {
  const id = (Math.imul(number + 1, 2654435761) >>> 0).toString(36);
  return [`user-${number}`, id, `${id}@example.org`, `${"x".repeat(number % 40)}${id}`][number % 4];
}
