// The processes of `make dev`: the mock legacy system, and the gateway in front of it with its private model worker. With
// `--public-api`, also the public API with the playground. Ctrl-C ends all of them. If one ends, the others end too.

import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { cpSync, existsSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { parseArgs } from "node:util";

import { WRANGLER_ENV } from "./wrangler-env.js";

const HELP = `Usage: node scripts/dev.js [options]

Runs the mock legacy system and the gateway in front of it. Only the gateway can call its model worker.

  --public-api       run the public API, a Worker of its own
  --gateway-port N   port of the gateway [8787]
  --public-port N    port of the public API and its playground [8788]
  --legacy-port N    port of the mock legacy system [8789]
  --share S          canary's share of a release before its first change, such as 10% [10%]
  --state DIR        folder for the data of the Workers [.wrangler]
  --help             show this help`;

/** File from which wrangler reads local secrets; Git ignores it. */
const SECRETS_FILE = ".dev.vars";
const SECRET_NAMES = ["JEFFREY_SIGNING_KEY", "JEFFREY_OVERRIDE_SIGNING_KEY", "JEFFREY_VIEWER_TOKEN", "JEFFREY_ADMIN_TOKEN"];

/** @type {{ name: string, child: import("node:child_process").ChildProcess }[]} */
const processes = [];
let isShuttingDown = false;

const options = /** @type {const} */ ({
  "public-api": { type: "boolean", default: false },
  "gateway-port": { type: "string", default: "8787" },
  "public-port": { type: "string", default: "8788" },
  "legacy-port": { type: "string", default: "8789" },
  share: { type: "string", default: "10%" },
  state: { type: "string", default: ".wrangler" },
  help: { type: "boolean", default: false },
});

async function main() {
  const { values } = parseOptions();
  if (values.help) return console.log(HELP);
  const servers = values["public-api"] ? /** @type {const} */ (["gateway", "public", "legacy"]) : /** @type {const} */ (["gateway", "legacy"]);
  const ports = Object.fromEntries(servers.map((name) => [name, parsePort(`${name}-port`, values)]));
  for (const [name, number] of Object.entries(ports)) await requireFreePort(name, number);
  for (const name of /** @type {const} */ (["SIGINT", "SIGTERM", "SIGHUP"])) process.on(name, () => shutDown(0));

  const wrangler = ["node_modules/wrangler/bin/wrangler.js", "dev", "--ip", "127.0.0.1", "--inspector-port", "0"];
  // Each session has its own folder. If two sessions open the same files at once, one can find them locked and exit.
  const stateArg = (/** @type {string} */ name) => ["--persist-to", join(values.state, name)];
  const variables = {
    LEGACY_ORIGIN: `http://127.0.0.1:${ports.legacy}`,
    // The mock legacy system answers anybody.
    CANARY_AUTH: "none_required",
    INITIAL_SHARE: values.share,
    SHADOW_SHARE: "10%",
    DEBUG_HEADERS: "on",
    LOG_EVENTS: "on",
    SERVE_PLAYGROUND: "on",
    LOG_TEXT_PREVIEW: "on",
  };
  createSecretsFile();
  const varArgs = Object.entries(variables).flatMap(([name, value]) => ["--var", `${name}:${value}`]);
  start("mock legacy system", ["mock-legacy/server.js", "--port", String(ports.legacy)]);
  // A session serves the assets of all its workers from the first worker's folder, so this folder has those of both.
  const pages = join(values.state, "pages");
  for (const directory of ["build/www", "build/pages"]) cpSync(directory, pages, { recursive: true });
  // Only the first Worker of a session gets a port, so nothing but the gateway's binding reaches the model worker.
  const gatewayArgs = ["-c", "wrangler.toml", "-c", "wrangler.model.toml", "--assets", pages];
  start("gateway", [...wrangler, ...stateArg("state"), ...gatewayArgs, "--port", String(ports.gateway), ...varArgs], join(values.state, "registry-gateway"));
  // Start one session after the other: when two started at once, about one in forty never became ready.
  await waitForHealth(ports.gateway);
  if (ports.public) {
    const publicArgs = ["-c", "wrangler.public-api.toml", "--port", String(ports.public)];
    start("public API", [...wrangler, ...stateArg("state-public-api"), ...publicArgs], join(values.state, "registry-public-api"));
    await waitForHealth(ports.public);
  }
  await waitForHealth(ports.legacy);
  if (!isShuttingDown) console.log(startMessage(ports));
}

function parseOptions() {
  try {
    return parseArgs({ options });
  } catch (error) {
    fail(`${/** @type {Error} */ (error).message}\n\n${HELP}`);
  }
}

/** @param {"gateway-port" | "public-port" | "legacy-port"} name @param {Record<string, unknown>} values */
function parsePort(name, values) {
  const number = Number(values[name]);
  if (!Number.isInteger(number) || number < 1 || number > 65535) fail(`--${name} of ${values[name]} is not a port from 1 to 65535`);
  return number;
}

/** Creates random secrets if there are none, and keeps existing ones, so that saved commands stay valid. */
function createSecretsFile() {
  if (existsSync(SECRETS_FILE)) return;
  const lines = SECRET_NAMES.map((name) => `${name}=${randomBytes(24).toString("base64url")}\n`);
  writeFileSync(SECRETS_FILE, `# Random secrets of \`make dev\` on this machine. They are valid nowhere else.\n${lines.join("")}`, { mode: 0o600 });
}

/** @param {string} message @returns {never} */
function fail(message) {
  console.error(message);
  process.exit(2);
}

/** Exits if it cannot listen on the port; the message names the flag to change. @param {string} name @param {number} port */
function requireFreePort(name, port) {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => fail(`port ${port} for ${name} is taken: choose another with --${name}-port`));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(null)));
  });
}

/** @param {string} name @param {string[]} args @param {string} [registry] */
function start(name, args, registry) {
  if (isShuttingDown) return;
  // Each session has its own registry; in a shared one they would confuse their model workers of the same name.
  const env = { ...WRANGLER_ENV, ...(registry && { WRANGLER_REGISTRY_PATH: registry }) };
  // The child leads its own process group, so that `kill` also ends the processes that wrangler starts.
  const child = spawn(process.execPath, args, { stdio: ["ignore", "inherit", "inherit"], env, detached: true });
  processes.push({ name, child });
  child.once("exit", (code, signal) => {
    if (isShuttingDown) return;
    const reason = signal ? `by ${signal}` : `with exit code ${code}`;
    console.error(`${name} ended ${reason}; its last lines are above. WRANGLER_LOG=debug shows more. Ending the others.`);
    shutDown(1);
  });
}

/** @param {number} code */
async function shutDown(code) {
  if (isShuttingDown) return;
  isShuttingDown = true;
  process.exitCode = code;
  for (const signal of /** @type {const} */ (["SIGTERM", "SIGKILL"])) {
    const remaining = processes.filter(({ child }) => signalGroup(child, signal));
    if (!remaining.length) break;
    const exits = Promise.all(remaining.map(({ child }) => child.exitCode ?? child.signalCode ?? new Promise((resolve) => child.once("exit", resolve))));
    await Promise.race([exits, new Promise((resolve) => setTimeout(resolve, 5000).unref())]);
  }
  process.exit(code);
}

/** Signals a child's process group; false if no process of it is left. @param {import("node:child_process").ChildProcess} child @param {NodeJS.Signals} signal */
function signalGroup(child, signal) {
  try {
    return process.kill(-(/** @type {number} */ (child.pid)), signal);
  } catch {
    return false;
  }
}

/** Waits until `/health` gets a response on this port; each attempt ends after 5 seconds. @param {number} port */
async function waitForHealth(port) {
  while (!isShuttingDown) {
    if (await fetch(`http://127.0.0.1:${port}/health`, { signal: AbortSignal.timeout(5_000) }).catch(() => null)) return;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

/** @param {Record<string, number>} ports `public`: only with the public API */
function startMessage({ gateway, public: publicApi, legacy }) {
  const publicLine = publicApi
    ? `public API           http://localhost:${publicApi}     with its playground`
    : "public API           off; PUBLIC_API=on starts it";
  return `
  gateway              http://localhost:${gateway}     load test: ${"`jeffrey loadtest http://localhost:" + gateway + "/predict`"}
  playground           http://localhost:${gateway}/_jeffrey/playground/
  ${publicLine}
  mock legacy system   http://localhost:${legacy}     interface of v2.4.2

  curl -si localhost:${gateway}/predict -H 'content-type: application/json' -d '{"text":"Je suis furieux !","user_id":"bob"}'
  set -a; . ./${SECRETS_FILE}; set +a     # load this machine's secrets
  curl -s localhost:${gateway}/_jeffrey/v1/rollout -H "authorization: Bearer $JEFFREY_VIEWER_TOKEN"
  curl -s -X PUT localhost:${gateway}/_jeffrey/v1/admin/share -H "authorization: Bearer $JEFFREY_ADMIN_TOKEN" -d '{"version":0,"share":"50%"}'
  curl -s -X PUT localhost:${legacy}/_mock-legacy/settings -d '{"latency_ms":250,"error_rate":0.05}'

  Each classify event is printed here as one line of JSON. Ctrl-C ends all of them.
`;
}

await main();
