// Starts a real `wrangler dev` (workerd) for some configurations on a free port, and stops it afterwards.

import { spawn } from "node:child_process";
import { link, mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { existsSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { WRANGLER_ENV } from "../../scripts/wrangler-env.js";

export const ROOT = fileURLToPath(new URL("../../", import.meta.url));

/** Limit of each wait, far above the need of a loaded machine. It only ends a test that hangs. */
const WAIT_MS = 120_000;

/** Limit of a test that starts a Worker. */
export const TEST_TIMEOUT_MS = 3 * WAIT_MS;

/**
 * Each call of a test gets its own connection. workerd closes a connection after five idle seconds. Node should close it
 * after four, but is late on a busy machine: it then sent the next call on that connection, which failed ("other side closed").
 */
const DISPATCHER = Symbol.for("undici.globalDispatcher.1");
await fetch("data:,"); // The first fetch creates the dispatcher.
const globalScope = /** @type {any} */ (globalThis);
globalScope[DISPATCHER] = new globalScope[DISPATCHER].constructor({ pipelining: 0 });

/** Process groups that still run; they are killed when this process exits. @type {Set<number>} */
const groups = new Set();
process.on("exit", () => groups.forEach((group) => signal(group, "SIGKILL")));
for (const name of /** @type {const} */ (["SIGINT", "SIGTERM", "SIGHUP"])) {
  process.once(name, () => process.exit(1));
}

/** Lock file with the id of the process that is starting wrangler. */
const LOCK_FILE = join(tmpdir(), "jeffrey-wrangler-start");
process.on("exit", () => readLockOwner() === process.pid && rmSync(LOCK_FILE, { force: true }));

/**
 * Runs `start` while no other test process runs its own. If two wranglers start at the same moment, about one in fifty never
 * becomes ready; the cause is unknown. After two minutes without the lock, `start` runs anyway.
 *
 * @template T @param {() => Promise<T>} start
 */
export async function runExclusively(start) {
  const ownFile = `${LOCK_FILE}-${process.pid}-${Math.random().toString(36).slice(2)}`;
  await writeFile(ownFile, String(process.pid));
  const deadline = Date.now() + WAIT_MS;
  let hasLock = false;
  while (!hasLock && Date.now() < deadline) {
    // `link` fails if the lock file exists, and the file is never half written.
    hasLock = await link(ownFile, LOCK_FILE).then(() => true, () => false);
    if (hasLock) break;
    const owner = readLockOwner();
    // The owner died without removing the file. Two processes that see this at once may both start.
    if (owner !== null && !isRunning(owner)) await rm(LOCK_FILE, { force: true });
    else await new Promise((resolve) => setTimeout(resolve, 100));
  }
  await rm(ownFile);
  try {
    return await start();
  } finally {
    if (hasLock) await rm(LOCK_FILE, { force: true });
  }
}

function readLockOwner() {
  try {
    return Number(readFileSync(LOCK_FILE, "utf8"));
  } catch {
    return null;
  }
}

/** @param {number} pid */
function isRunning(pid) {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    // The process exists, but belongs to another user.
    return /** @type {NodeJS.ErrnoException} */ (error).code === "EPERM";
  }
}

/**
 * Starts one session with these configurations and waits until `path` gets a response. The first one
 * listens on the session's port.
 *
 * @param {string[]} configs
 * @param {{ path: string, cwd?: string, variables?: Record<string, string>, state?: string }} options `variables`: of the
 *   first; `state`: folder of the objects' storage, which `stop` does not remove
 */
export function startWrangler(configs, options) {
  return runExclusively(() => spawnWrangler(configs, options));
}

/** @param {Parameters<typeof startWrangler>[0]} configs @param {Parameters<typeof startWrangler>[1]} options */
async function spawnWrangler(configs, { path, cwd = ROOT, variables = {}, state }) {
  const scratch = await mkdtemp(join(tmpdir(), "jeffrey-wrangler-"));
  const variableArgs = Object.entries(variables).flatMap(([name, value]) => ["--var", `${name}:${value}`]);
  const child = spawn(
    process.execPath,
    [
      ...[join(ROOT, "node_modules/wrangler/bin/wrangler.js"), "dev"],
      ...configs.flatMap((config) => ["-c", config]),
      ...["--ip", "127.0.0.1", "--port", "0", "--inspector-port", "0"],
      ...["--persist-to", state ?? join(scratch, "state"), ...variableArgs],
    ],
    {
      cwd,
      // Its own process group: wrangler starts workerd and esbuild, and one signal ends all of them.
      detached: true,
      stdio: ["ignore", "pipe", "pipe"],
      env: {
        ...WRANGLER_ENV,
        CI: "1",
        NO_COLOR: "1",
        // Sessions find each other's Workers through this folder, so each session gets its own.
        WRANGLER_REGISTRY_PATH: join(scratch, "registry"),
        WRANGLER_LOG_PATH: join(scratch, "logs"),
        WRANGLER_SEND_METRICS: "false",
      },
    },
  );
  const group = /** @type {number} */ (child.pid);
  groups.add(group);
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => (output += chunk));
  const exited = new Promise((resolve) => child.once("exit", resolve));

  async function stop() {
    for (const name of /** @type {const} */ (["SIGTERM", "SIGKILL"])) {
      if (!signal(group, name)) break;
      await Promise.race([waitForGroupExit(group), new Promise((resolve) => setTimeout(resolve, 10_000).unref())]);
    }
    await exited;
    groups.delete(group);
    await rm(scratch, { recursive: true, force: true });
  }

  /** Everything that wrangler printed or wrote to its log files. */
  async function log() {
    const folder = join(scratch, "logs");
    const files = existsSync(folder) ? await readdir(folder, { recursive: true }) : [];
    const texts = files.filter((file) => file.endsWith(".log")).map((file) => readFile(join(folder, file), "utf8"));
    return [output, ...(await Promise.all(texts))].join("\n");
  }

  try {
    const origin = await waitFor(() => {
      if (child.exitCode !== null) throw new Error(`wrangler ended with ${child.exitCode}:\n${output}`);
      return /Ready on (http:\/\/127\.0\.0\.1:\d+)/.exec(output)?.[1];
    }, () => output);
    await waitFor(async () => (await fetch(origin + path).catch(() => null)) !== null, () => output);
    return { origin, stop, log, group, output: () => output };
  } catch (error) {
    await stop();
    throw error;
  }
}

/**
 * Repeats `check` until it returns a truthy value. Throws after two minutes.
 *
 * @template T
 * @param {() => T | Promise<T>} check
 * @param {() => string} [details] text for the error
 * @returns {Promise<NonNullable<Exclude<T, false>>>}
 */
export async function waitFor(check, details = () => "") {
  const deadline = Date.now() + WAIT_MS;
  for (;;) {
    const result = await check();
    if (result) return /** @type {any} */ (result);
    if (Date.now() > deadline) throw new Error(`timed out after ${WAIT_MS / 1000} s\n${details()}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

/** Posts JSON; a string or bytes are sent unchanged. @param {string} url @param {unknown} body @param {Record<string, string>} [headers] */
export async function postJson(url, body, headers = {}) {
  const bytes = typeof body === "string" || body instanceof Uint8Array ? body : JSON.stringify(body);
  const response = await fetch(url, { method: "POST", body: /** @type {any} */ (bytes), headers });
  const text = await response.text();
  /** @type {any} */
  let json = null;
  try {
    json = JSON.parse(text);
  } catch {
    // Not every response is JSON; `text` has it.
  }
  return { status: response.status, headers: response.headers, text, json };
}

/** Signals a process group; false if no process of it is left. @param {number} group @param {NodeJS.Signals | 0} name */
export function signal(group, name) {
  try {
    return process.kill(-group, name);
  } catch {
    return false;
  }
}

/** @param {number} group */
async function waitForGroupExit(group) {
  while (signal(group, 0)) await new Promise((resolve) => setTimeout(resolve, 50));
}

/** Applies changes to a text. Throws if one of them changes nothing. @param {string} text @param {[string | RegExp, string][]} replacements */
export function applyReplacements(text, replacements) {
  return replacements.reduce((before, [from, to]) => {
    const after = before.replace(from, () => to);
    if (after === before) throw new Error(`nothing to change: ${from}`);
    return after;
  }, text);
}
