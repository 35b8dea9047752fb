// Compares `jeffrey bucket` with flagd's own evaluator, which hashes UTF-16 code units; so all ids are ASCII.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "node:test";
import { FlagdCore } from "@openfeature/flagd-core";

const ID_COUNT = 100_000;

test("100,000 ASCII ids have flagd's cohort at every stage", () => {
  const ids = Array.from({ length: ID_COUNT }, (_, number) => makeId(number));
  const silentLogger = { error() {}, warn() {}, info() {}, debug() {} };
  for (const percent of [10, 20, 50, 75, 100]) {
    const release = `release-${percent}`;
    const flagd = new FlagdCore();
    flagd.setConfigurations(JSON.stringify({ flags: { [release]: buildFlag(percent * 100) } }));
    const args = ["bucket", "--release", release, "--share", `${percent}%`, "--json", "-"];
    const output = execFileSync("target/debug/jeffrey", args, { input: `${ids.join("\n")}\n`, maxBuffer: 1 << 26, encoding: "utf8" });
    const assignments = output.trim().split("\n").map((line) => JSON.parse(line));
    assert.equal(assignments.length, ID_COUNT);
    let differences = 0;
    let canaryCount = 0;
    for (const [index, { id, cohort }] of assignments.entries()) {
      assert.equal(id, ids[index]);
      const { variant } = flagd.resolveBooleanEvaluation(release, false, { targetingKey: id }, silentLogger);
      differences += Number(variant !== cohort);
      canaryCount += Number(cohort === "canary");
    }
    assert.equal(differences, 0, `${percent} %`);
    assert.ok(Math.abs(canaryCount / ID_COUNT - percent / 100) < 0.005, `${canaryCount} of ${ID_COUNT} at ${percent} %`);
  }
});

/** Returns a flag with flagd's default key: the flag's key, then the targeting key. @param {number} basisPoints */
function buildFlag(basisPoints) {
  const shares = basisPoints === 10_000 ? [["canary", 10_000]] : [["canary", basisPoints], ["stable", 10_000 - basisPoints]];
  return {
    state: "ENABLED",
    variants: { canary: true, stable: false },
    defaultVariant: "stable",
    targeting: { fractional: [{ cat: [{ var: "$flagd.flagKey" }, { var: "targetingKey" }] }, ...shares] },
  };
}

/** Returns an id, the same in every run; ids have many lengths and characters. @param {number} number */
function makeId(number) {
  const id = (Math.imul(number + 1, 2654435761) >>> 0).toString(36);
  return [`user-${number}`, id, `${id}@example.org`, `${"x".repeat(number % 40)}${id}`][number % 4];
}
