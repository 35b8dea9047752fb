// Tests `make deploy` with the real wrangler: the uploads of a dry run, their order, and its changes at an account in memory,
// which the stub wrangler of deploy-steps.test.js repeats. Tests the refusals too.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { SECRETS } from "../../deploy/variables.js";
import { Checkout } from "../support/checkout.js";
import { CloudflareAccountServer } from "../support/cloudflare-account.js";
import { ROOT } from "../support/wrangler.js";

const folder = mkdtempSync(join(tmpdir(), "jeffrey-deploy-"));
after(() => rmSync(folder, { recursive: true, force: true }));

/** Variables that every deployment needs. */
const REQUIRED = "LEGACY_ORIGIN=https://old.example\nCANARY_AUTH=none_required\n";

/** @param {string[]} args @param {string} [vars] @param {Record<string, string>} [environment] */
function deploy(args, vars = `${REQUIRED}LOG_TEXT_PREVIEW=$1 "on"\n`, environment = {}) {
  const file = join(folder, "x.vars");
  writeFileSync(file, vars);
  const env = { ...process.env, CLOUDFLARE_API_TOKEN: "", CLOUDFLARE_ACCOUNT_ID: "", WRANGLER_SEND_METRICS: "false", NO_COLOR: "1", ...environment };
  const result = spawnSync(process.execPath, ["deploy/run.js", "--build", "build", "--vars", file, ...args], { cwd: ROOT, encoding: "utf8", env });
  return { code: result.status, stdout: result.stdout, stderr: result.stderr };
}

test("a dry run builds both workers for their environment, the gateway last, and uploads nothing", { timeout: 120_000 }, () => {
  const staging = deploy(["--env", "staging", "--dry-run"]);
  assert.equal(staging.code, 0, staging.stderr + staging.stdout);
  const steps = [...staging.stdout.matchAll(/^\d\. (.*) \(dry run\)$/gm)].map(([, step]) => step);
  assert.deepEqual(steps, [
    "the release checks of the model",
    "the model of jeffrey-model-e1-small--staging and the secrets of jeffrey-gateway-staging, if they are there",
    "queue jeffrey-events-staging, unless it is there",
    "queue jeffrey-events-dead-staging, unless it is there",
    "model worker jeffrey-model-e1-small--staging",
    "gateway jeffrey-gateway-staging, which switches to jeffrey-model-e1-small--staging",
    "the gateway's secrets",
  ]);
  assert.equal(staging.stdout.match(/--dry-run: exiting now/g)?.length, 2);
  assert.doesNotMatch(staging.stdout, /public-api/);
  for (const binding of [/EVENTS \(jeffrey-events-staging\)/, /MODEL \(jeffrey-model-e1-small--staging\)/, /ROLLOUT \(RolloutObject\)/, /LEGACY_ORIGIN \("https:\/\/old\.example"\)/]) {
    assert.match(staging.stdout, binding);
  }
  const toml = readFileSync(join(ROOT, "build/deploy/jeffrey-staging/wrangler.toml"), "utf8");
  assert.match(toml, /^LOG_TEXT_PREVIEW = "\$1 \\"on\\""$/m);
  assert.match(toml, /^RELEASE = "e1-small"$/m);
  const modelToml = readFileSync(join(ROOT, "build/deploy/jeffrey-staging/wrangler.model.toml"), "utf8");
  assert.match(modelToml, /^workers_dev = false\npreview_urls = false$/m, "the model worker has no public address");
  // No worker and no queue of staging has a production name.
  assert.doesNotMatch(toml, /= "jeffrey-(gateway|model|model-e1-small|events|events-dead)"/);
  const suffixed = deploy(["--env", "staging", "--suffix", "e2", "--dry-run"], "LEGACY_SERVICE=jeffrey-gateway-staging-e1\nCANARY_AUTH=check\nCANARY_AUTH_CHECK=GET /me?short=1\n");
  assert.equal(suffixed.code, 0, suffixed.stderr);
  for (const binding of [/LEGACY \(jeffrey-gateway-staging-e1\)/, /MODEL \(jeffrey-model-e1-small--staging-e2\)/]) assert.match(suffixed.stdout, binding);
  const namespaces = (/** @type {string} */ name) =>
    [...readFileSync(join(ROOT, `build/deploy/${name}/wrangler.toml`), "utf8").matchAll(/^namespace_id = "([1-9]\d*)"$/gm)].map(([, id]) => id);
  const production = deploy(["--env", "production", "--dry-run"], `${REQUIRED}RELEASE=e2\n`);
  assert.equal(production.code, 0, production.stderr);
  assert.match(production.stdout, /^5\. model worker jeffrey-model-e2 \(dry run\)$/m);
  const ids = ["jeffrey-staging", "jeffrey-staging-e2", "jeffrey"].flatMap(namespaces);
  assert.deepEqual([ids.length, new Set(ids).size], [6, 6], `two limits each, none of which shares its count: ${ids}`);
  assert.match(readFileSync(join(ROOT, "build/deploy/jeffrey/wrangler.toml"), "utf8"), /^\[vars\]\nLEGACY_ORIGIN = .*\nCANARY_AUTH = "none_required"\nRELEASE = "e2"$/m);
});

test("the public API is deployed only if asked, with an address, a name and a rate limit of its own", { timeout: 120_000 }, () => {
  const result = deploy(["--env", "staging", "--public-api", "--dry-run"]);
  assert.equal(result.code, 0, result.stderr + result.stdout);
  assert.match(result.stdout, /^6\. public API jeffrey-public-api-staging \(dry run\)\n[^]*^7\. gateway /m);
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

test("the stub wrangler makes the same changes as the real one", { timeout: 240_000 }, async () => {
  /** @param {"real" | "stub"} wrangler */
  const deployTwoReleases = async (wrangler) => {
    const account = await new CloudflareAccountServer().start();
    const checkouts = ["a", "b"].map((model) => new Checkout(account, { model, wrangler }));
    try {
      const first = await checkouts[0].deploy({ RELEASE: "e1" });
      assert.equal(first.code, 1, first.stdout + first.stderr);
      assert.match(first.stderr, /^The gateway is deployed\. These secrets are not set: /m);
      for (const name of SECRETS) account.workers.get("jeffrey-gateway")?.secrets.add(name);
      const next = await checkouts[1].deploy({ RELEASE: "e2" });
      assert.equal(next.code, 0, next.stdout + next.stderr);
      const trusting = await checkouts[1].deploy({ RELEASE: "e2", SUBJECT_TRUST: "secret" });
      assert.equal(trusting.code, 2, trusting.stdout + trusting.stderr);
      assert.match(trusting.stderr, /These secrets are not set: JEFFREY_SUBJECT_SECRET\./);
      const again = await checkouts[1].deploy({ RELEASE: "e1" });
      assert.equal(again.code, 2, again.stdout + again.stderr);
    } finally {
      account.stop();
      for (const checkout of checkouts) checkout.remove();
    }
    assert.deepEqual(account.unknown, []);
    const workers = [...account.workers].map(([name, { crons, isPublic }]) => {
      const { annotations = {}, resources } = account.liveVersion(name) ?? {};
      const bindings = resources?.bindings.filter(({ type }) => ["plain_text", "service", "queue"].includes(type)) ?? [];
      return { name, crons, isPublic, annotations, bindings: bindings.map((binding) => JSON.stringify(Object.entries(binding).sort())).sort() };
    });
    return { changes: account.changes, queues: [...account.queues], workers };
  };
  assert.deepEqual(await deployTwoReleases("stub"), await deployTwoReleases("real"));
});

test("a wrong flag or variable is refused before any step, with a message that names it", () => {
  const dryRun = ["--env", "staging", "--dry-run"];
  for (const [args, vars, expected, environment] of /** @type {[string[], string | undefined, RegExp, Record<string, string>?][]} */ ([
    [["--env", "prod"], undefined, /^--env is prod: staging or production$/m],
    [[], undefined, /^--env is not given: staging or production$/m],
    [["--env", "staging"], undefined, /^CLOUDFLARE_API_TOKEN is not set/m],
    [["--env", "staging"], undefined, /^CLOUDFLARE_ACCOUNT_ID is not set/m, { CLOUDFLARE_API_TOKEN: "token" }],
    [dryRun, "LOG_TEXT_PREVIEW=on\n", /has no LEGACY_ORIGIN/],
    [dryRun, `${REQUIRED}JEFFREY_SIGNING_KEY=abc\n`, /has JEFFREY_SIGNING_KEY: a secret is set with `wrangler secret put`/],
    [dryRun, `${REQUIRED}BUCKET_SALT=abc\n`, /has BUCKET_SALT: a secret is set with/],
    [dryRun, `${REQUIRED}JEFFREY_OTHER_SECRET=abc\n`, /has JEFFREY_OTHER_SECRET: a secret is set with/],
    [dryRun, `${REQUIRED}JEFFREY_FAULT_INJECTION=on\n`, /has JEFFREY_FAULT_INJECTION=on: it lets any caller end the gateway/],
    [dryRun, "# words\nlegacy = x\n", /line 2 is not NAME=value/],
    [[...dryRun, "--build", "build/none"], undefined, /^build\/none\/gateway\/index\.js is missing: make PROFILE=edge workers$/m],
    [["--environment", "staging"], undefined, /--environment/],
    ...["E2!", "staging", "production", "dead"].map((suffix) =>
      /** @type {[string[], undefined, RegExp]} */ ([[...dryRun, "--suffix", suffix], undefined, new RegExp(`^--suffix of ${suffix} is `, "m")])),
    ...["", "a b", "../e1", '"] [vars', "$(reboot)", "é", "a".repeat(65)].map((release) =>
      /** @type {[string[], string, RegExp]} */ ([dryRun, `${REQUIRED}RELEASE=${release}\n`, /^RELEASE of ".*" is not 1 to 64 letters, digits, dashes, dots and underscores$/m])),
    [dryRun, "LEGACY_ORIGIN=https://x.example\n", /has no CANARY_AUTH: .*\n {2}CANARY_AUTH=none_required: .*\n {2}CANARY_AUTH=check: .*\n {2}CANARY_AUTH=credentials_stay_stable: .*$/m],
    [dryRun, "LEGACY_ORIGIN=https://x.example\nCANARY_AUTH=toString\n", /has CANARY_AUTH=toString: set who checks the callers/],
    [dryRun, "LEGACY_ORIGIN=https://x.example\nCANARY_AUTH=check\n", /has CANARY_AUTH=check and no CANARY_AUTH_CHECK: set a method and a path/],
    [dryRun, "LEGACY_ORIGIN=https://x.example\nCANARY_AUTH=check\nCANARY_AUTH_CHECK=GET me\n", /and CANARY_AUTH_CHECK=GET me: set a method and a path/],
    [[...dryRun, "--vars", "deploy/example.vars"], undefined, /^deploy\/example\.vars has no CANARY_AUTH/m],
  ])) {
    const result = deploy(args, vars, environment);
    assert.deepEqual([result.code, result.stdout], [2, ""], `${args.join(" ")}\n${vars}`);
    assert.match(result.stderr, expected);
    assert.ok(!result.stderr.includes("abc"));
  }
});

test("a build or a binary with another model than the checked one is refused", async () => {
  const account = await new CloudflareAccountServer().start();
  after(() => account.stop());
  const checkout = new Checkout(account, { model: "a" });
  after(() => checkout.remove());
  checkout.write("build/edge/model/index_bg.wasm", "\0asm");
  const build = await checkout.deploy({});
  assert.equal(build.code, 2);
  assert.match(build.stderr, /build\/edge\/model has another model than models\/small: make PROFILE=edge workers/);
  const other = new Checkout(account, { model: "b" });
  after(() => other.remove());
  other.write("target/release/jeffrey", "#!/bin/sh\necho sha256 abc\n", 0o755);
  const binary = await other.deploy({});
  assert.deepEqual([binary.code, account.changes], [2, []]);
  assert.match(binary.stderr, /target\/release\/jeffrey has another model than models\/small: make build/);
});
