// Runs the Python tests of the training's parts that need neither data nor a model (training/tests.py).

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";

const PYTHON = process.env.PYTHON ?? "tests/.venv/bin/python";

test("lines that measure stay out of training, and read lines become soft targets", (context) => {
  // Python 3.10, which is enough for the other tests, has no tomllib.
  if (process.env.CI !== "true" && spawnSync(PYTHON, ["-c", "import tomllib, tokenizers, numpy"]).status !== 0) {
    console.log("skipped: training");
    return context.skip(`${PYTHON} is older than 3.11 or lacks tests/requirements.txt: run make test`);
  }
  const { status, stderr } = spawnSync(PYTHON, ["-m", "unittest", "training.tests"], { encoding: "utf8" });
  assert.equal(status, 0, stderr);
  const count = Number(/^Ran (\d+) tests/m.exec(stderr)?.[1] ?? 0);
  assert.ok(count >= 15, `${count} tests`);
});
