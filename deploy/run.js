// `make deploy`: deploys the model worker, then the gateway, which needs it, and if asked the public API to Cloudflare. Every
// step can be repeated.

import { execFileSync, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const WRANGLER = join(ROOT, "node_modules/wrangler/bin/wrangler.js");

const HELP = `Usage: node deploy/run.js --env ENV [options]

Deploys the model worker and the gateway.

  --env ENV      staging or production; staging adds -staging to all names
  --public-api   deploy the public API too, a Worker of its own with a public address
  --dry-run      build the upload and print each step; change nothing at Cloudflare
  --build DIR    folder of the workers that \`make PROFILE=edge workers\` builds [build/edge]
  --vars FILE    variables of the gateway, one NAME=value per line [deploy/ENV.vars]
  --suffix NAME  suffix of all names, such as e1, for a release beside the others
  --help         show this help

Exit codes: 0 success; 1 a step failed, and the steps before it stay done; 2 nothing deployed: an argument, variable,
file or token is missing or invalid.
docs/operate.md describes each step and how to undo it.`;

/** Secrets of the gateway; a variables file must not contain one. */
const SECRETS = ["JEFFREY_SIGNING_KEY", "JEFFREY_OVERRIDE_SIGNING_KEY", "JEFFREY_VIEWER_TOKEN", "JEFFREY_ADMIN_TOKEN"];
/** A service binding, not a variable: the gateway of an earlier release as the legacy system. */
const SERVICE = "LEGACY_SERVICE";
const QUEUES = ["jeffrey-events", "jeffrey-events-dead"];

const options = /** @type {const} */ ({
  env: { type: "string" },
  "public-api": { type: "boolean", default: false },
  "dry-run": { type: "boolean", default: false },
  build: { type: "string", default: "build/edge" },
  vars: { type: "string" },
  suffix: { type: "string", default: "" },
  help: { type: "boolean", default: false },
});

function main() {
  const { values } = parseOptions();
  if (values.help) return console.log(HELP);
  const { env, build, "dry-run": dryRun } = values;
  if (env !== "staging" && env !== "production") fail(2, `--env is ${env ?? "not given"}: staging or production`);
  const file = values.vars ?? `deploy/${env}.vars`;
  const variables = readVariables(file);
  if (!variables.has("LEGACY_ORIGIN") && !variables.has(SERVICE)) fail(2, `${file} has no LEGACY_ORIGIN: set the address of the legacy system, or LEGACY_SERVICE`);
  if (!/^[a-z0-9]{0,20}$/.test(values.suffix)) fail(2, `--suffix of ${values.suffix} is not up to 20 lower-case letters or digits`);
  const secret = SECRETS.find((name) => variables.has(name));
  if (secret) fail(2, `${file} has ${secret}: a secret is set with \`wrangler secret put\`, not in a file`);
  if (variables.get("JEFFREY_FAULT_INJECTION") === "on") fail(2, `${file} has JEFFREY_FAULT_INJECTION=on: it lets any caller end the gateway, so it is for tests only`);
  for (const worker of ["gateway", "model"]) {
    if (!existsSync(join(ROOT, build, worker, "index.js"))) fail(2, `${build}/${worker}/index.js is missing: make PROFILE=edge workers`);
  }
  if (!dryRun && !process.env.CLOUDFLARE_API_TOKEN) fail(2, "CLOUDFLARE_API_TOKEN is not set: docs/operate.md lists the permissions that it needs");

  const suffix = (env === "production" ? "" : `-${env}`) + (values.suffix && `-${values.suffix}`);
  const { modelConfig, gatewayConfig, publicConfig } = writeConfigs(suffix, build, variables);
  const step = createStepRunner(dryRun);
  step("the release checks of the model", () => runCommand("jeffrey validate", [join(ROOT, findBinary()), "validate"]));
  for (const queue of QUEUES.map((name) => name + suffix)) {
    step(`queue ${queue}, unless it is there`, () => dryRun || createQueue(queue));
  }
  step(`model worker jeffrey-model${suffix}`, () => runWrangler("deploy", "--config", modelConfig, ...(dryRun ? ["--dry-run"] : [])));
  step(`gateway jeffrey-gateway${suffix}, with its objects' migrations`, () => runWrangler("deploy", "--config", gatewayConfig, ...(dryRun ? ["--dry-run"] : [])));
  if (values["public-api"]) step(`public API jeffrey-public-api${suffix}`, () => runWrangler("deploy", "--config", publicConfig, ...(dryRun ? ["--dry-run"] : [])));
  step("the gateway's secrets", () => dryRun || requireSecrets(gatewayConfig));
  console.log(dryRun
    ? `\nNothing was changed at Cloudflare. To deploy, set CLOUDFLARE_API_TOKEN and run \`make deploy ENV=${env}\`.`
    : `\nDeployed. The traffic share is unchanged. Next, with the gateway's URL:\n  jeffrey validate --post URL/_jeffrey\n  jeffrey rollout start --plan rollout.toml --gateway URL/_jeffrey`);
}

function parseOptions() {
  try {
    return parseArgs({ options });
  } catch (error) {
    fail(2, `${/** @type {Error} */ (error).message}\n\n${HELP}`);
  }
}

/** @param {number} code @param {string} message @returns {never} */
function fail(code, message) {
  console.error(message);
  process.exit(code);
}

/** Reads one NAME=value per line; skips blank lines and lines that begin with `#`. @param {string} file */
function readVariables(file) {
  let text;
  try {
    text = readFileSync(resolve(ROOT, file), "utf8");
  } catch {
    fail(2, `${file} cannot be read: copy deploy/example.vars to it`);
  }
  /** @type {Map<string, string>} */
  const variables = new Map();
  for (const [index, line] of text.split("\n").entries()) {
    if (/^\s*(#.*)?$/.test(line)) continue;
    const [, name, value] = /^([A-Z][A-Z0-9_]*)=(.*)$/.exec(line) ?? [];
    if (name === undefined) fail(2, `${file} line ${index + 1} is not NAME=value`);
    variables.set(name, value);
  }
  return variables;
}

/** Writes the wrangler configurations and returns their paths. @param {string} suffix @param {string} build @param {Map<string, string>} variables */
function writeConfigs(suffix, build, variables) {
  const folder = join(ROOT, "build/deploy", `jeffrey${suffix}`);
  mkdirSync(folder, { recursive: true });
  const addSuffix = (/** @type {string} */ toml) =>
    ["jeffrey-gateway", "jeffrey-model", "jeffrey-public-api", "jeffrey-events-dead", "jeffrey-events"].reduce((text, name) => text.replaceAll(`= "${name}"`, `= "${name}${suffix}"`), toml);
  const writeConfig = (/** @type {string} */ name, /** @type {string} */ toml) => {
    writeFileSync(join(folder, name), toml);
    return join(folder, name);
  };
  // Rate limits of one namespace share their counts, throughout the account.
  const giveNamespaces = (/** @type {string} */ toml) => toml.replaceAll(/^namespace_id = "(\d+)"$/gm, (_, id) => `namespace_id = "${namespaceId(id, suffix)}"`);
  const readConfig = (/** @type {string} */ name) => giveNamespaces(addSuffix(readFileSync(join(ROOT, name), "utf8")));
  const [model, publicApi] = ["wrangler.model.toml", "wrangler.public-api.toml"].map((name) => applyReplacements(readConfig(name), [
    ['"build/model/index.js"', JSON.stringify(join(ROOT, build, "model/index.js"))],
    ['"build/www"', JSON.stringify(join(ROOT, build, "www"))],
  ]));
  const legacyService = variables.get(SERVICE);
  const bindingToml = legacyService ? `\n[[services]]\nbinding = "LEGACY"\nservice = ${JSON.stringify(legacyService)}\n` : "";
  const varsToml = [...variables].filter(([name]) => name !== SERVICE).map(([name, value]) => `${name} = ${JSON.stringify(value)}\n`).join("");
  const releaseLine = variables.has("RELEASE") ? "" : "$1";
  const gateway = applyReplacements(readConfig("wrangler.toml"), [
    ['"build/gateway/index.js"', JSON.stringify(join(ROOT, build, "gateway/index.js"))],
    ['"build/pages"', JSON.stringify(join(ROOT, build, "pages"))],
    [/^\[vars\]\n(RELEASE = .*\n)/m, `[vars]\n${releaseLine}${varsToml.replaceAll("$", "$$$$")}`],
  ]);
  return {
    modelConfig: writeConfig("wrangler.model.toml", model),
    gatewayConfig: writeConfig("wrangler.toml", gateway + bindingToml),
    publicConfig: writeConfig("wrangler.public-api.toml", publicApi),
  };
}

/** Returns the namespace of a rate limit: a whole number above zero, one for each suffix. @param {string} id @param {string} suffix */
function namespaceId(id, suffix) {
  if (suffix === "") return id;
  return String(1 + createHash("sha256").update(id + suffix).digest().readUIntBE(0, 4));
}

/** @param {string} text @param {[string | RegExp, string][]} replacements */
function applyReplacements(text, replacements) {
  return replacements.reduce((result, [from, to]) => {
    if (result.search(from) < 0) throw new Error(`the configuration has no ${from}`);
    return result.replace(from, to);
  }, text);
}

/** @param {boolean} dryRun */
function createStepRunner(dryRun) {
  let number = 0;
  return (/** @type {string} */ description, /** @type {() => unknown} */ action) => {
    number += 1;
    console.log(`\n${number}. ${description}${dryRun ? " (dry run)" : ""}`);
    action();
  };
}

/** Path of the built binary, the release build first. */
function findBinary() {
  const binary = ["target/release/jeffrey", "target/debug/jeffrey"].find((path) => existsSync(join(ROOT, path)));
  return binary ?? fail(2, "target/release/jeffrey is missing: make build");
}

/** @param {string} name @param {string[]} command */
function runCommand(name, [program, ...args]) {
  const { status, error } = spawnSync(program, args, { cwd: ROOT, stdio: ["ignore", "inherit", "inherit"] });
  if (status !== 0) fail(1, `${name} failed (${error?.message ?? `exit code ${status}`}): stopped before the next step`);
}

/** @param {string[]} args */
function runWrangler(...args) {
  runCommand(`wrangler ${args[0]}`, [process.execPath, WRANGLER, ...args]);
}

/** @param {string[]} args */
function queryWrangler(...args) {
  return execFileSync(process.execPath, [WRANGLER, ...args], { cwd: ROOT, encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] });
}

/** @param {string} queue */
function createQueue(queue) {
  const info = spawnSync(process.execPath, [WRANGLER, "queues", "info", queue], { cwd: ROOT, stdio: "ignore" });
  if (info.status !== 0) runWrangler("queues", "create", queue);
}

/** Exits with code 1 if a secret is not set: the gateway disables each feature whose secret is unset. @param {string} config */
function requireSecrets(config) {
  const names = new Set(JSON.parse(queryWrangler("secret", "list", "--config", config, "--format", "json")).map((/** @type {{ name: string }} */ { name }) => name));
  const missing = SECRETS.filter((name) => !names.has(name));
  if (missing.length === 0) return;
  const commands = missing.map((name) => `  openssl rand -base64 32 | node_modules/.bin/wrangler secret put ${name} --config ${config}`);
  fail(1, `these secrets are not set: ${missing.join(", ")}. Set each to a random value of its own:\n${commands.join("\n")}`);
}

main();
