// Tests the order of `make deploy` against an account in memory: the deployment is interrupted at each change, then repeated.

import assert from "node:assert/strict";
import { after, beforeEach, test } from "node:test";
import { SECRETS } from "../../deploy/variables.js";
import { Checkout } from "../support/checkout.js";
import { CloudflareAccountServer } from "../support/cloudflare-account.js";

const GATEWAY = "jeffrey-gateway";
const TIMEOUT_MS = 240_000;

const account = await new CloudflareAccountServer().start();
const checkouts = { e1: new Checkout(account, { model: "a" }), e2: new Checkout(account, { model: "b" }) };
const emptyAccount = account.save();
beforeEach(() => account.restore(emptyAccount));
after(() => {
  account.stop();
  for (const checkout of Object.values(checkouts)) checkout.remove();
});

/** @typedef {keyof typeof checkouts} Release */

/** Deploys a release with the model of its checkout. @param {Release} release @param {string[]} args */
const deploy = (release, ...args) => checkouts[release].deploy({ RELEASE: release }, ...args);

/** Deploys until it succeeds, as an operator does: at most once more, after the secrets are set. @param {Release} release */
async function complete(release) {
  let result = await deploy(release);
  if (result.code !== 0 && /These secrets are not set/.test(result.stderr)) {
    setSecrets(GATEWAY);
    result = await deploy(release);
  }
  assert.equal(result.code, 0, result.stdout + result.stderr);
  assert.equal(requireRightModel(), release);
  assert.deepEqual(account.workers.get(GATEWAY)?.crons, ["* * * * *"]);
  assert.deepEqual([...account.queues], [["jeffrey-events", [GATEWAY]], ["jeffrey-events-dead", [GATEWAY]]]);
  return result;
}

/** @param {string} gateway */
function setSecrets(gateway) {
  const worker = account.workers.get(gateway);
  assert.ok(worker, `${gateway} is not there`);
  worker.secrets = new Set(SECRETS);
}

/** Checks that the live gateway calls the model of its release, and returns the release; `undefined` without a gateway. */
function requireRightModel() {
  assert.deepEqual(account.unknown, []);
  if (!account.workers.has(GATEWAY)) return undefined;
  const release = /** @type {Release} */ (account.liveBinding(GATEWAY, "RELEASE")?.text);
  const modelWorker = account.liveBinding(GATEWAY, "MODEL")?.service ?? "";
  assert.equal(account.liveVersion(modelWorker)?.annotations["workers/tag"], checkouts[release].tag, `the model of ${release}`);
  assert.equal(account.workers.get(modelWorker)?.isPublic, false);
  return release;
}

/** Changes of an upload of a Worker that is there: without effect until the deployment of its version. */
const VERSION_CHANGES = /\/(versions|deployments)$/;

/** @typedef {{ name: string, before: Release[], release: Release, changes: number, interrupted: RegExp, isRefusedToo: boolean }} Scenario `changes`: how many a deployment makes */

for (const { name, before, release, changes, interrupted, isRefusedToo } of /** @type {Scenario[]} */ ([
  { name: "a first deployment", before: [], release: "e1", changes: 11, interrupted: /./, isRefusedToo: false },
  { name: "the next release beside a running one", before: ["e1"], release: "e2", changes: 11, interrupted: /./, isRefusedToo: true },
  { name: "the same release again", before: ["e1"], release: "e1", changes: 13, interrupted: VERSION_CHANGES, isRefusedToo: false },
  { name: "the former release again", before: ["e1", "e2"], release: "e1", changes: 13, interrupted: VERSION_CHANGES, isRefusedToo: false },
])) {
  test(`${name}, interrupted at each change: what is live is right, and a repetition completes`, { timeout: TIMEOUT_MS }, async () => {
    for (const earlier of before) await complete(earlier);
    const saved = account.save();
    account.changes = [];
    await deploy(release);
    assert.equal(account.changes.length, changes, account.changes.join("\n"));
    const cells = account.changes.flatMap((change, at) => {
      if (!interrupted.test(change)) return [];
      // The end right after a change is the end right before the next one, except after the last.
      /** @type {import("../support/cloudflare-account.js").Interruption[]} */
      const ends = [{ at, how: "ended before" }];
      if (at === changes - 1 || !interrupted.test(account.changes[at + 1])) ends.push({ at, how: "ended after" });
      return isRefusedToo ? [...ends, { at, how: /** @type {const} */ ("refused") }] : ends;
    });
    for (const cell of cells) {
      account.restore(saved);
      await interruptDeployment(cell, saved, before, release);
      account.interruption = undefined;
      if (cell.how !== "refused") await complete(release);
    }
  });
}

/**
 * Interrupts a deployment and checks what is live.
 * @param {import("../support/cloudflare-account.js").Interruption} cell
 * @param {ReturnType<typeof account.save>} saved @param {Release[]} before @param {Release} release
 */
async function interruptDeployment(cell, saved, before, release) {
  account.interruption = cell;
  const result = await deploy(release);
  const message = `${cell.how} ${account.changes[cell.at]}\n${result.stdout}${result.stderr}`;
  assert.equal(result.code, cell.how === "refused" ? 1 : null, message);
  assert.equal(account.changes.length, cell.at + 1, message);
  // The gateway's deployment is the switch: of its first version the upload, later the deployment of an uploaded one.
  const switchAt = account.changes.findIndex((line) => [`PUT /workers/scripts/${GATEWAY}`, `POST /workers/scripts/${GATEWAY}/deployments`].includes(line));
  const isSwitched = switchAt >= 0 && (switchAt < cell.at || cell.how === "ended after");
  assert.equal(requireRightModel(), isSwitched ? release : before.at(-1), message);
  for (const other of before.filter((earlier) => earlier !== release)) {
    assert.deepEqual(account.workers.get(`jeffrey-model-${other}`), saved.workers.get(`jeffrey-model-${other}`), message);
  }
}

test("a failed check or an unreadable account changes nothing", { timeout: TIMEOUT_MS }, async () => {
  const failing = new Checkout(account, { model: "a", areChecksPassed: false });
  after(() => failing.remove());
  const unchecked = await failing.deploy({ RELEASE: "e1" });
  assert.deepEqual([unchecked.code, account.changes], [1, []]);
  assert.match(unchecked.stderr, /jeffrey validate failed/);

  await complete("e1");
  account.changes = [];
  for (const path of [/model-e1\/deployments$/, /model-e1\/versions/, /gateway\/secrets$/, /^\/queues$/]) {
    account.failedReads = path;
    const result = await deploy("e1");
    account.failedReads = undefined;
    assert.deepEqual([result.code, account.changes], [1, []], String(path));
    assert.match(result.stderr, /cannot be read: An unknown error has occurred \(code 10013\)/);
  }
});

test("a release keeps its model: another model is refused, unless its replacement is asked for", { timeout: TIMEOUT_MS }, async () => {
  await complete("e1");
  const saved = account.save();
  account.changes = [];
  const refused = await checkouts.e2.deploy({ RELEASE: "e1" });
  assert.deepEqual([refused.code, account.changes], [2, []]);
  assert.match(refused.stderr, new RegExp(`^jeffrey-model-e1 runs ${checkouts.e1.tag}, and this build has ${checkouts.e2.tag}`));
  assert.match(refused.stderr, /RELEASE=….*\n.*--replace-model: the gateway then answers no call by the new model until `jeffrey validate --post`/);
  assert.deepEqual(account.save(), saved);

  const replaced = await checkouts.e2.deploy({ RELEASE: "e1" }, "--replace-model");
  assert.equal(replaced.code, 0, replaced.stderr);
  assert.equal(account.liveVersion("jeffrey-model-e1")?.annotations["workers/tag"], checkouts.e2.tag);
});

test("a version counts if it gets traffic: an upload without deployment does not, a version without a tag is another model", { timeout: TIMEOUT_MS }, async () => {
  await complete("e1");
  const worker = /** @type {import("../support/cloudflare-account.js").DeployedWorker} */ (account.workers.get("jeffrey-model-e1"));
  const uploaded = { id: "11111111-1111-4111-8111-111111111111", annotations: { "workers/tag": checkouts.e2.tag }, resources: { bindings: [] } };
  worker.versions.unshift(uploaded);
  const saved = account.save();
  assert.equal((await deploy("e1")).code, 0);

  for (const [versions, annotations, expected] of /** @type {[number[], Record<string, string>, string][]} */ ([
    [[90, 10], uploaded.annotations, checkouts.e2.tag],
    [[100], uploaded.annotations, checkouts.e2.tag],
    [[100], {}, "an unknown model"],
  ])) {
    account.restore(saved);
    const { versions: known, deployments } = /** @type {typeof worker} */ (account.workers.get("jeffrey-model-e1"));
    known[0].annotations = annotations;
    const ids = versions.length === 1 ? [uploaded.id] : [known[1].id, uploaded.id];
    deployments.unshift({ versions: ids.map((version_id, index) => ({ version_id, percentage: versions[index] })) });
    const result = await deploy("e1");
    assert.deepEqual([result.code, account.changes], [2, []], `${versions} % of ${expected}`);
    assert.match(result.stderr, new RegExp(`^jeffrey-model-e1 runs ${expected},`));
  }
});

test("the gateway does not switch to a model worker that lost the new model to another deployment", { timeout: TIMEOUT_MS }, async () => {
  await complete("e1");
  const rival = new Checkout(account, { model: "c" });
  after(() => rival.remove());
  account.changes = [];
  // A rival deploys the same release right after the upload of the model worker.
  const upload = deploy("e2");
  const timer = setInterval(() => {
    const version = account.liveVersion("jeffrey-model-e2");
    if (version) version.annotations["workers/tag"] = rival.tag;
  }, 1);
  const result = await upload;
  clearInterval(timer);
  assert.equal(result.code, 1, result.stdout);
  assert.match(result.stderr, new RegExp(`^jeffrey-model-e2 runs ${rival.tag} after the upload of ${checkouts.e2.tag}: stopped before the gateway`));
  assert.equal(requireRightModel(), "e1");
});

test("secrets that a running gateway lacks stop the deployment before it changes anything", { timeout: TIMEOUT_MS }, async () => {
  const first = await deploy("e1");
  assert.equal(first.code, 1, first.stderr);
  assert.match(first.stderr, /^The gateway is deployed\. These secrets are not set: JEFFREY_SIGNING_KEY, .*\n  openssl rand -base64 32 \| .* secret put JEFFREY_SIGNING_KEY --config .*\/wrangler\.toml$/m);
  setSecrets(GATEWAY);
  account.workers.get(GATEWAY)?.secrets.delete("JEFFREY_VIEWER_TOKEN");
  account.changes = [];
  const second = await deploy("e2");
  assert.deepEqual([second.code, account.changes], [2, []]);
  assert.match(second.stderr, /^Nothing was deployed\. These secrets are not set: JEFFREY_VIEWER_TOKEN\./);
});

test("the model workers of other releases are named after a deployment, and never deleted", { timeout: TIMEOUT_MS }, async () => {
  const first = await complete("e1");
  assert.doesNotMatch(first.stdout, /other releases/);
  const next = await complete("e2");
  assert.match(next.stdout, /^Model workers of other releases: jeffrey-model-e1\.$/m);
  account.failedReads = /^\/workers\/scripts$/;
  const unlisted = await deploy("e2");
  account.failedReads = undefined;
  assert.equal(unlisted.code, 0);
  assert.match(unlisted.stdout, /^The model workers of other releases are unknown: /m);
  assert.ok(account.workers.has("jeffrey-model-e1"));
});

test("environments and suffixes share no Worker and no queue, and the public API comes before the switch", { timeout: TIMEOUT_MS }, async () => {
  const production = ["--env", "production"];
  const staging = ["--env", "staging"];
  for (const args of [production, staging, [...staging, "--suffix", "e1"], [...production, "--suffix", "e1", "--public-api"]]) {
    const suffix = (args[1] === "staging" ? "-staging" : "") + (args.includes("e1") ? "-e1" : "");
    const known = new Set([...account.workers.keys(), ...account.queues.keys()]);
    const saved = account.save();
    account.changes = [];
    assert.equal((await deploy("e1", ...args)).code, 1, "a first deployment lacks its secrets");
    for (const [name, worker] of saved.workers) assert.deepEqual(account.workers.get(name), worker, `${args} changed ${name}`);
    const added = [...account.workers.keys(), ...account.queues.keys()].filter((name) => !known.has(name));
    const publicApi = args.includes("--public-api") ? [`jeffrey-public-api${suffix}`] : [];
    const queues = [`jeffrey-events${suffix}`, `jeffrey-events-dead${suffix}`];
    assert.deepEqual(added, [`jeffrey-model-e1${suffix && `-${suffix}`}`, ...publicApi, GATEWAY + suffix, ...queues]);
    for (const queue of queues) assert.deepEqual(account.queues.get(queue), [GATEWAY + suffix]);
    assert.equal(account.liveBinding(GATEWAY + suffix, "EVENTS")?.queue_name, queues[0]);
  }
});
