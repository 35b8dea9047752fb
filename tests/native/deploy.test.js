// Tests `make deploy` without an account: the uploads of a dry run, their order, and the refusals.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { ROOT } from "../support/wrangler.js";

const folder = mkdtempSync(join(tmpdir(), "jeffrey-deploy-"));
after(() => rmSync(folder, { recursive: true, force: true }));

/** @param {string[]} args @param {string} [vars] */
function deploy(args, vars = "LEGACY_ORIGIN=https://old.example\nLOG_TEXT_PREVIEW=$1 \"on\"\n") {
  const file = join(folder, "x.vars");
  writeFileSync(file, vars);
  const env = { ...process.env, CLOUDFLARE_API_TOKEN: "", WRANGLER_SEND_METRICS: "false", NO_COLOR: "1" };
  const result = spawnSync(process.execPath, ["deploy/run.js", "--build", "build", "--vars", file, ...args], { cwd: ROOT, encoding: "utf8", env });
  return { code: result.status, stdout: result.stdout, stderr: result.stderr };
}

test("a dry run builds both workers for their environment, the model worker first, and uploads nothing", { timeout: 120_000 }, () => {
  const staging = deploy(["--env", "staging", "--dry-run"]);
  assert.equal(staging.code, 0, staging.stderr + staging.stdout);
  const steps = [...staging.stdout.matchAll(/^\d\. (.*) \(dry run\)$/gm)].map(([, step]) => step);
  assert.deepEqual(steps, [
    "the release checks of the model",
    "queue jeffrey-events-staging, unless it is there",
    "queue jeffrey-events-dead-staging, unless it is there",
    "model worker jeffrey-model-staging",
    "gateway jeffrey-gateway-staging, with its objects' migrations",
    "the gateway's secrets",
  ]);
  assert.equal(staging.stdout.match(/--dry-run: exiting now/g)?.length, 2);
  assert.doesNotMatch(staging.stdout, /public-api/);
  for (const binding of [/EVENTS \(jeffrey-events-staging\)/, /MODEL \(jeffrey-model-staging\)/, /ROLLOUT \(RolloutObject\)/, /LEGACY_ORIGIN \("https:\/\/old\.example"\)/]) {
    assert.match(staging.stdout, binding);
  }
  const toml = readFileSync(join(ROOT, "build/deploy/jeffrey-staging/wrangler.toml"), "utf8");
  assert.match(toml, /^LOG_TEXT_PREVIEW = "\$1 \\"on\\""$/m);
  assert.match(toml, /^RELEASE = "e1-small"$/m);
  const modelToml = readFileSync(join(ROOT, "build/deploy/jeffrey-staging/wrangler.model.toml"), "utf8");
  assert.match(modelToml, /^workers_dev = false\npreview_urls = false$/m, "the model worker has no public address");
  // No worker and no queue of staging has a production name.
  assert.doesNotMatch(toml, /= "jeffrey-(gateway|model|events|events-dead)"/);
  const suffixed = deploy(["--env", "staging", "--suffix", "e2", "--dry-run"], "LEGACY_SERVICE=jeffrey-gateway-staging-e1\n");
  assert.equal(suffixed.code, 0, suffixed.stderr);
  for (const binding of [/LEGACY \(jeffrey-gateway-staging-e1\)/, /MODEL \(jeffrey-model-staging-e2\)/]) assert.match(suffixed.stdout, binding);
  const namespaces = (/** @type {string} */ name) =>
    [...readFileSync(join(ROOT, `build/deploy/${name}/wrangler.toml`), "utf8").matchAll(/^namespace_id = "([1-9]\d*)"$/gm)].map(([, id]) => id);
  const production = deploy(["--env", "production", "--dry-run"], "LEGACY_ORIGIN=https://old.example\nRELEASE=e2\n");
  assert.equal(production.code, 0, production.stderr);
  assert.match(production.stdout, /^4\. model worker jeffrey-model \(dry run\)$/m);
  const ids = ["jeffrey-staging", "jeffrey-staging-e2", "jeffrey"].flatMap(namespaces);
  assert.deepEqual([ids.length, new Set(ids).size], [6, 6], `two limits each, none of which shares its count: ${ids}`);
  assert.match(readFileSync(join(ROOT, "build/deploy/jeffrey/wrangler.toml"), "utf8"), /^\[vars\]\nLEGACY_ORIGIN = .*\nRELEASE = "e2"$/m);
});

test("the public API is deployed only if asked, with an address, a name and a rate limit of its own", { timeout: 120_000 }, () => {
  const result = deploy(["--env", "staging", "--public-api", "--dry-run"]);
  assert.equal(result.code, 0, result.stderr + result.stdout);
  assert.match(result.stdout, /^6\. public API jeffrey-public-api-staging \(dry run\)$/m);
  for (const binding of [/ADDRESS_LIMIT \(100 requests\/10s\)/, /TOKENS_MAX \("512"\)/]) assert.match(result.stdout, binding);
  assert.equal(result.stdout.match(/--dry-run: exiting now/g)?.length, 3);
  const folder = join(ROOT, "build/deploy/jeffrey-staging");
  const toml = readFileSync(join(folder, "wrangler.public-api.toml"), "utf8");
  assert.match(toml, /^name = "jeffrey-public-api-staging"$/m);
  assert.match(toml, /^workers_dev = true$/m);
  const ids = ["wrangler.toml", "wrangler.public-api.toml"].flatMap((name) => [...readFileSync(join(folder, name), "utf8").matchAll(/^namespace_id = "(\d+)"$/gm)].map(([, id]) => id));
  assert.deepEqual([ids.length, new Set(ids).size], [3, 3], `each limit has its own namespace: ${ids}`);
  assert.ok(!ids.includes("1003"), "production's namespace");
  // The model worker stays private.
  assert.match(readFileSync(join(folder, "wrangler.model.toml"), "utf8"), /^workers_dev = false$/m);
});

test("a wrong flag or variable is refused before any step, with a message that names it", () => {
  for (const [args, vars, expected] of /** @type {[string[], string | undefined, RegExp][]} */ ([
    [["--env", "prod"], undefined, /^--env is prod: staging or production$/m],
    [[], undefined, /^--env is not given: staging or production$/m],
    [["--env", "staging"], undefined, /^CLOUDFLARE_API_TOKEN is not set/m],
    [["--env", "staging", "--dry-run"], "LOG_TEXT_PREVIEW=on\n", /has no LEGACY_ORIGIN/],
    [["--env", "staging", "--dry-run"], "LEGACY_ORIGIN=https://x.example\nJEFFREY_SIGNING_KEY=abc\n", /has JEFFREY_SIGNING_KEY: a secret is set with `wrangler secret put`/],
    [["--env", "staging", "--dry-run"], "LEGACY_ORIGIN=https://x.example\nJEFFREY_FAULT_INJECTION=on\n", /has JEFFREY_FAULT_INJECTION=on: it lets any caller end the gateway/],
    [["--env", "staging", "--dry-run"], "# words\nlegacy = x\n", /line 2 is not NAME=value/],
    [["--env", "staging", "--dry-run", "--build", "build/none"], undefined, /^build\/none\/gateway\/index\.js is missing: make PROFILE=edge workers$/m],
    [["--environment", "staging"], undefined, /--environment/],
    [["--env", "staging", "--dry-run", "--suffix", "E2!"], undefined, /^--suffix of E2! is not up to 20/m],
  ])) {
    const result = deploy(args, vars);
    assert.deepEqual([result.code, result.stdout], [2, ""], args.join(" "));
    assert.match(result.stderr, expected);
    assert.ok(!result.stderr.includes("abc"));
  }
});
