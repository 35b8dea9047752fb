// `make deploy`: deploys the model worker of a release, if asked the public API, and last the gateway, which switches to that
// model worker. Every step can be repeated, and until the last upload the live gateway and its model worker stay as they are.

import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { CloudflareAccount } from "./cloudflare.js";
import { readRelease, writeConfigs } from "./configs.js";
import { DeployError } from "./error.js";
import { readModelIdentity } from "./model.js";
import { QUEUES, isModelWorker, modelWorkerName, nameSuffix } from "./names.js";
import { readVariables, requiredSecrets } from "./variables.js";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const WRANGLER = join(ROOT, "node_modules/wrangler/bin/wrangler.js");

const HELP = `Usage: node deploy/run.js --env ENV [options]

Deploys the model worker of the release, then the gateway, which switches to it.

  --env ENV        staging or production; staging adds -staging to all names
  --public-api     deploy the public API too, a Worker of its own with a public address
  --replace-model  deploy even if a model worker of this release is there with another model; the gateway then answers
                   no call by the new model until \`jeffrey validate --post\`
  --dry-run        build the upload and print each step; read and change nothing at Cloudflare
  --build DIR      folder of the workers that \`make PROFILE=edge workers\` builds [build/edge]
  --vars FILE      variables of the gateway, one NAME=value per line [deploy/ENV.vars]
  --suffix NAME    suffix of all names, such as e1, for a release beside the others
  --help           show this help

Exit codes: 0 success; 1 a step failed, and the steps before it stay done; 2 nothing deployed: an argument, variable,
file, token or secret is missing or invalid, or the release has another model.
docs/operate.md describes each step and how to undo it.`;

const options = /** @type {const} */ ({
  env: { type: "string" },
  "public-api": { type: "boolean", default: false },
  "replace-model": { type: "boolean", default: false },
  "dry-run": { type: "boolean", default: false },
  build: { type: "string", default: "build/edge" },
  vars: { type: "string" },
  suffix: { type: "string", default: "" },
  help: { type: "boolean", default: false },
});

/** @typedef {ReturnType<typeof parseOptions>} Options */
/** @typedef {ReturnType<typeof prepare>} Deployment */
/** @typedef {(description: string, action: () => unknown) => Promise<void>} StepRunner */

async function main() {
  const values = parseOptions();
  if (values.help) return console.log(HELP);
  const deployment = prepare(values);
  const account = values["dry-run"] ? undefined : openAccount();
  await deploy(deployment, account, createStepRunner(values["dry-run"]));
  console.log(account
    ? `\nDeployed. The traffic share is unchanged. Next, with the gateway's URL:\n  jeffrey validate --post URL/_jeffrey\n  jeffrey rollout start --plan rollout.toml --gateway URL/_jeffrey`
    : `\nNothing was changed at Cloudflare. To deploy, set CLOUDFLARE_API_TOKEN and CLOUDFLARE_ACCOUNT_ID and run \`make deploy ENV=${values.env}\`.`);
  if (account) await printOtherModelWorkers(deployment, account);
}

function parseOptions() {
  try {
    return parseArgs({ options }).values;
  } catch (error) {
    throw new DeployError(2, `${/** @type {Error} */ (error).message}\n\n${HELP}`);
  }
}

/** Checks everything that this machine knows, and writes the configurations. @param {Options} values */
function prepare(values) {
  const { env, "public-api": hasPublicApi, "replace-model": mayReplaceModel } = values;
  if (env !== "staging" && env !== "production") throw new DeployError(2, `--env is ${env ?? "not given"}: staging or production`);
  const file = values.vars ?? `deploy/${env}.vars`;
  const variables = readVariables(resolve(ROOT, file), file);
  const suffix = nameSuffix(env, values.suffix);
  const release = readRelease(ROOT, variables);
  const modelWorker = modelWorkerName(release, suffix);
  const build = resolve(ROOT, values.build);
  for (const path of ["gateway/index.js", "model/index.js", "model/index_bg.wasm"]) {
    if (!existsSync(join(build, path))) throw new DeployError(2, `${values.build}/${path} is missing: make PROFILE=edge workers`);
  }
  const model = readModelIdentity(ROOT, build);
  const configs = writeConfigs({ root: ROOT, suffix, build, modelWorker, variables });
  return { release, suffix, modelWorker, gateway: `jeffrey-gateway${suffix}`, model, configs, secrets: requiredSecrets(variables), hasPublicApi, mayReplaceModel };
}

function openAccount() {
  const { CLOUDFLARE_API_TOKEN: token, CLOUDFLARE_ACCOUNT_ID: id, CLOUDFLARE_API_BASE_URL: url } = process.env;
  if (!token) throw new DeployError(2, "CLOUDFLARE_API_TOKEN is not set: docs/operate.md lists the permissions that it needs");
  if (!id) throw new DeployError(2, "CLOUDFLARE_ACCOUNT_ID is not set: a token may be valid for several accounts");
  return new CloudflareAccount(id, token, url);
}

/**
 * Runs the steps in order; the gateway comes last, because it switches.
 * @param {Deployment} deployment @param {CloudflareAccount | undefined} account `undefined` in a dry run @param {StepRunner} step
 */
async function deploy(deployment, account, step) {
  const { release, suffix, modelWorker, gateway, model, configs } = deployment;
  const upload = (/** @type {string} */ config, /** @type {string[]} */ ...args) => runWrangler("deploy", "--config", config, ...args, ...(account ? [] : ["--dry-run"]));
  const marks = ["--tag", model.tag, "--message", `model sha256 ${model.sha256}`];

  await step("the release checks of the model", () => runReleaseChecks(model));
  await step(`the model of ${modelWorker} and the secrets of ${gateway}, if they are there`, async () => {
    if (!account) return;
    await requireSameModel(deployment, account);
    const names = await account.readSecretNames(gateway);
    if (names) requireSecrets(deployment, names, 2, "Nothing was deployed. ");
  });
  for (const queue of QUEUES.map((name) => name + suffix)) {
    await step(`queue ${queue}, unless it is there`, async () => {
      if (account && !(await account.hasQueue(queue))) runWrangler("queues", "create", queue);
    });
  }
  await step(`model worker ${modelWorker}`, async () => {
    upload(configs.modelConfig, ...marks);
    if (account) await confirmModel(deployment, account);
  });
  if (deployment.hasPublicApi) await step(`public API jeffrey-public-api${suffix}`, () => upload(configs.publicConfig, ...marks));
  await step(`gateway ${gateway}, which switches to ${modelWorker}`, () => upload(configs.gatewayConfig, "--message", `release ${release}`));
  await step("the gateway's secrets", async () => {
    if (account) requireSecrets(deployment, (await account.readSecretNames(gateway)) ?? [], 1, "The gateway is deployed. ");
  });
}

/** @param {boolean} dryRun @returns {StepRunner} */
function createStepRunner(dryRun) {
  let number = 0;
  return async (description, action) => {
    number += 1;
    console.log(`\n${number}. ${description}${dryRun ? " (dry run)" : ""}`);
    await action();
  };
}

/** Runs the checks by the binary, which has the same model as the build. @param {import("./model.js").ModelIdentity} model */
function runReleaseChecks({ id, sha256 }) {
  const binary = ["target/release/jeffrey", "target/debug/jeffrey"].find((path) => existsSync(join(ROOT, path)));
  if (!binary) throw new DeployError(2, "target/release/jeffrey is missing: make build");
  const { stdout } = spawnSync(join(ROOT, binary), ["--version"], { encoding: "utf8" });
  if (!stdout?.includes(`sha256 ${sha256}`)) throw new DeployError(2, `${binary} has another model than models/${id}: make build`);
  runProgram("jeffrey validate", [join(ROOT, binary), "validate"]);
}

/** Refuses to replace the model of a release: gates and release checks judged the model that is there. @param {Deployment} deployment @param {CloudflareAccount} account */
async function requireSameModel({ modelWorker, release, model, mayReplaceModel }, account) {
  const tags = await account.readLiveTags(modelWorker);
  const other = tags?.find((tag) => tag !== model.tag) ?? (tags?.includes(undefined) ? "an unknown model" : undefined);
  if (other === undefined || mayReplaceModel) return;
  throw new DeployError(2, [
    `${modelWorker} runs ${other}, and this build has ${model.tag} (models/${model.id}). Nothing was deployed.`,
    `Give this model a release of its own: RELEASE=… in the variables, other than ${release}. The model of ${release} then stays.`,
    `Or pass --replace-model: the gateway then answers no call by the new model until \`jeffrey validate --post\`.`,
  ].join("\n"));
}

/** Keeps the gateway from switching to a model worker that does not run the model of this build. @param {Deployment} deployment @param {CloudflareAccount} account */
async function confirmModel({ modelWorker, model }, account) {
  const tags = (await account.readLiveTags(modelWorker)) ?? [];
  if (tags.length === 1 && tags[0] === model.tag) return;
  throw new DeployError(1, `${modelWorker} runs ${tags.map((tag) => tag ?? "an unknown model").join(" and ") || "nothing"} after the upload of ${model.tag}: stopped before the gateway`);
}

/** Refuses if a secret is not set: the gateway disables each feature whose secret is unset. @param {Deployment} deployment @param {string[]} names @param {1 | 2} code @param {string} outcome */
function requireSecrets({ secrets, configs }, names, code, outcome) {
  const missing = secrets.filter((name) => !names.includes(name));
  if (missing.length === 0) return;
  const commands = missing.map((name) => `  openssl rand -base64 32 | node_modules/.bin/wrangler secret put ${name} --config ${configs.gatewayConfig}`);
  throw new DeployError(code, `${outcome}These secrets are not set: ${missing.join(", ")}. Set each to a random value of its own:\n${commands.join("\n")}`);
}

/** Prints the model workers of other releases; nothing deletes them. @param {Deployment} deployment @param {CloudflareAccount} account */
async function printOtherModelWorkers({ suffix, modelWorker }, account) {
  let names;
  try {
    names = await account.readWorkerNames();
  } catch (error) {
    return console.log(`\nThe model workers of other releases are unknown: ${/** @type {Error} */ (error).message}`);
  }
  const others = names.filter((name) => isModelWorker(name, suffix) && name !== modelWorker).sort();
  if (others.length === 0) return;
  console.log(`\nModel workers of other releases: ${others.join(", ")}.\ndocs/operate.md says when to delete one.`);
}

/** @param {string} name @param {string[]} command */
function runProgram(name, [program, ...args]) {
  const { status, error, signal } = spawnSync(program, args, { cwd: ROOT, stdio: ["ignore", "inherit", "inherit"] });
  if (status !== 0) throw new DeployError(1, `${name} failed (${error?.message ?? signal ?? `exit code ${status}`}): stopped before the next step`);
}

/** @param {string[]} args */
function runWrangler(...args) {
  runProgram(`wrangler ${args[0]}`, [process.execPath, WRANGLER, ...args]);
}

try {
  await main();
} catch (error) {
  if (!(error instanceof DeployError)) throw error;
  console.error(error.message);
  process.exitCode = error.code;
}
