// The mutants of the simulation: each patch still applies to the code.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync, readdirSync } from "node:fs";
import { test } from "node:test";

const folder = "crates/simulation/mutants";
const patches = readdirSync(folder).filter((name) => name.endsWith(".patch"));

test("each mutant names the promise that it breaks, and applies to the code", () => {
  assert.ok(patches.length >= 40, `${patches.length} mutants`);
  for (const name of patches) {
    const path = `${folder}/${name}`;
    assert.match(readFileSync(path, "utf8"), /^# .+ \((?:.+, )?docs\/\w+\.md.*\)\.\n/, path);
    const { status, stderr } = spawnSync("git", ["apply", "--check", path], { encoding: "utf8" });
    assert.equal(status, 0, `${path}: ${stderr}`);
  }
});
