// Starts child processes that cannot outlive the bench. Each child leads its own process group, which is
// ended by its id after use, when the bench fails, and on Ctrl-C.

import { spawn } from "node:child_process";
import { basename } from "node:path";

/** Time between SIGTERM and SIGKILL for a group, in milliseconds. */
const KILL_DELAY_MS = 5_000;
/** Limit of the wait for output, in milliseconds; above the need of any program on a busy machine. */
const READY_MS_MAX = 120_000;

/** @type {Set<{ signal: (name: NodeJS.Signals) => void, stop: () => Promise<void> }>} */
const runningProcesses = new Set();

// An exit handler cannot wait, so it kills every group that still runs.
process.on("exit", () => runningProcesses.forEach(({ signal }) => signal("SIGKILL")));
for (const [name, code] of /** @type {const} */ ([["SIGINT", 130], ["SIGTERM", 143], ["SIGHUP", 129]])) {
  process.on(name, async () => {
    await Promise.all([...runningProcesses].map(({ stop }) => stop()));
    process.exit(code);
  });
}

/**
 * @param {string} program @param {string[]} args @param {Record<string, string>} [env]
 */
export function startProcess(program, args, env = {}) {
  const child = spawn(program, args, {
    detached: true,
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const output = { stdout: "", stderr: "" };
  /** @type {() => void} */
  let onOutput = () => {};
  for (const name of /** @type {const} */ (["stdout", "stderr"])) {
    child[name].setEncoding("utf8").on("data", (chunk) => {
      output[name] += chunk;
      onOutput();
    });
  }
  /** @type {Promise<{ code: number, reason: string }>} */
  const exit = new Promise((resolve) => {
    child.on("error", (error) => resolve({ code: 1, reason: error.message }));
    child.on("close", (code, signal) => resolve({ code: code ?? 1, reason: `ended with ${code ?? signal}` }));
  });
  const exited = exit.finally(() => runningProcesses.delete(handle));

  /** Signals the whole group, which includes wrangler's workerd and esbuild. @param {NodeJS.Signals} name */
  const signal = (name) => {
    try {
      if (child.pid) process.kill(-child.pid, name);
    } catch (error) {
      if (/** @type {NodeJS.ErrnoException} */ (error).code !== "ESRCH") throw error;
    }
  };
  const createError = (/** @type {string} */ reason) =>
    new Error([`${[basename(program), ...args].join(" ")} ${reason}`, output.stdout.trim(), output.stderr.trim()].join("\n"));
  const handle = {
    signal,
    stderr: child.stderr,
    /** Waits for the end and returns stdout; throws if the exit code is not 0. */
    async waitForStdout() {
      const { code, reason: exitReason } = await exited;
      if (code !== 0) throw createError(exitReason);
      return output.stdout;
    },
    /** Waits until stdout matches; throws if the process ends or the time is over. @param {RegExp} pattern @returns {Promise<RegExpMatchArray>} */
    waitForOutput(pattern) {
      return new Promise((resolve, reject) => {
        const timer = setTimeout(() => reject(createError("was not ready in time")), READY_MS_MAX);
        onOutput = () => {
          const match = output.stdout.match(pattern);
          if (!match) return;
          clearTimeout(timer);
          resolve(match);
        };
        onOutput();
        exited.then(({ reason: exitReason }) => {
          clearTimeout(timer);
          reject(createError(exitReason));
        });
      });
    },
    async stop() {
      signal("SIGTERM");
      const timer = setTimeout(() => signal("SIGKILL"), KILL_DELAY_MS);
      await exited;
      clearTimeout(timer);
      // Ends children that are left after the leader of the group has ended.
      signal("SIGKILL");
    },
  };
  runningProcesses.add(handle);
  return handle;
}

/**
 * Runs a script of the bench in a new Node process and returns the JSON it prints. It forwards the stderr.
 * @param {string} script @param {string[]} args
 */
export async function runInNode(script, ...args) {
  const child = startProcess(process.execPath, [`tests/bench/${script}`, ...args]);
  child.stderr.pipe(process.stderr, { end: false });
  return JSON.parse(await child.waitForStdout());
}
