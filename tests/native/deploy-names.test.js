// Tests the names of deployed Workers: readable, valid, and different for each release, environment and suffix.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { isModelWorker, modelWorkerName, nameSuffix } from "../../deploy/names.js";

const SUFFIXES = [nameSuffix("production", ""), nameSuffix("staging", ""), nameSuffix("production", "e1"), nameSuffix("staging", "e1"), nameSuffix("staging", "a".repeat(20))];

test("a release that is a valid name is readable as it is; any other gets a hash", () => {
  for (const [release, suffix, expected] of /** @type {[string, string, RegExp][]} */ ([
    ["e1-small", "", /^jeffrey-model-e1-small$/],
    ["e1-small", "-staging", /^jeffrey-model-e1-small--staging$/],
    ["e1-small", "-staging-e2", /^jeffrey-model-e1-small--staging-e2$/],
    ["2026-12-01", "", /^jeffrey-model-2026-12-01$/],
    ["e1-20240607", "", /^jeffrey-model-e1-20240607$/],
    ["E1", "", /^jeffrey-model-e1-[0-9a-f]{10}$/],
    ["v1.2.3", "", /^jeffrey-model-v1-2-3-[0-9a-f]{10}$/],
    ["a--b", "", /^jeffrey-model-a-b-[0-9a-f]{10}$/],
    ["-", "-staging", /^jeffrey-model-[0-9a-f]{10}--staging$/],
    ["__..", "", /^jeffrey-model-[0-9a-f]{10}$/],
    ["x".repeat(49), "", /^jeffrey-model-x{49}$/],
    ["x".repeat(50), "", /^jeffrey-model-x{38}-[0-9a-f]{10}$/],
  ])) assert.match(modelWorkerName(release, suffix), expected, release);
  assert.match(readFileSync("docs/operate.md", "utf8").replaceAll("\n", " "), new RegExp(`\`V1\\.2\` is \`${modelWorkerName("V1.2", "")}\``));
});

test("no two releases, environments or suffixes share a model worker, and each name is valid", () => {
  const alphabet = ["a", "A", "0", "-", ".", "_"];
  const short = alphabet.flatMap((x) => [x, ...alphabet.flatMap((y) => [x + y, ...alphabet.map((z) => x + y + z)])]);
  const long = ["x", "X", "x-", "x."].flatMap((unit) => [40, 49, 50, 63, 64].map((length) => unit.repeat(64).slice(0, length)));
  const suffixLike = ["a-staging", "a--staging", "staging", "a-e1", "a-staging-e1", "gateway", "e1", "e1-staging"];
  const releases = [...short, ...long, ...suffixLike];
  // A release that is named like the hashed name of another.
  const hashed = releases.map((release) => modelWorkerName(release, "").replace("jeffrey-model-", ""));
  const all = [...new Set([...releases, ...hashed.filter((name) => name.length <= 64)])];
  const names = new Map();
  for (const release of all) {
    for (const suffix of SUFFIXES) {
      const name = modelWorkerName(release, suffix);
      assert.match(name, /^[a-z0-9]+(--?[a-z0-9]+)*$/);
      assert.ok(name.length <= 63, name);
      assert.equal(names.get(name), undefined, `${name} of ${release}${suffix} and of ${names.get(name)}`);
      names.set(name, release + suffix);
      for (const other of SUFFIXES) assert.equal(isModelWorker(name, other), suffix === other, `${name} ${other}`);
    }
  }
  assert.equal(names.size, all.length * SUFFIXES.length);
});

test("a suffix never gives the names of another environment or of the dead-letter queue", () => {
  for (const suffix of ["staging", "production", "dead", "E1", "a-b", "a".repeat(21)]) assert.throws(() => nameSuffix("production", suffix), /--suffix of/, suffix);
  assert.equal(isModelWorker("jeffrey-gateway", ""), false);
  assert.equal(isModelWorker("jeffrey-model", ""), false);
});
