// Starts child processes that cannot outlive the bench. Each child leads its own process group, which is
// ended by its id after use, when the bench fails, and on Ctrl-C.

import { spawn } from "node:child_process";
import { basename } from "node:path";

/** Time between SIGTERM and SIGKILL for a group, in milliseconds. */
const PATIENCE_MS = 5_000;
/** Limit of the wait for output, in milliseconds; above the need of any program on a busy machine. */
const READY_MS_MAX = 120_000;

/** @type {Set<{ signal: (name: NodeJS.Signals) => void, stop: () => Promise<void> }>} */
const running = new Set();

// An exit handler cannot wait, so it kills every group that still runs.
process.on("exit", () => running.forEach(({ signal }) => signal("SIGKILL")));
for (const [name, code] of /** @type {const} */ ([["SIGINT", 130], ["SIGTERM", 143], ["SIGHUP", 129]])) {
  process.on(name, async () => {
    await Promise.all([...running].map(({ stop }) => stop()));
    process.exit(code);
  });
}

/**
 * @param {string} program @param {string[]} args @param {Record<string, string>} [env]
 */
export function start(program, args, env = {}) {
  const child = spawn(program, args, {
    detached: true,
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const output = { stdout: "", stderr: "" };
  /** @type {() => void} */
  let grown = () => {};
  for (const name of /** @type {const} */ (["stdout", "stderr"])) {
    child[name].setEncoding("utf8").on("data", (chunk) => {
      output[name] += chunk;
      grown();
    });
  }
  /** @type {Promise<{ code: number, why: string }>} */
  const end = new Promise((resolve) => {
    child.on("error", (error) => resolve({ code: 1, why: error.message }));
    child.on("close", (code, signal) => resolve({ code: code ?? 1, why: `ended with ${code ?? signal}` }));
  });
  const ended = end.finally(() => running.delete(self));

  /** Signals the whole group, which includes wrangler's workerd and esbuild. @param {NodeJS.Signals} name */
  const signal = (name) => {
    try {
      if (child.pid) process.kill(-child.pid, name);
    } catch (error) {
      if (/** @type {NodeJS.ErrnoException} */ (error).code !== "ESRCH") throw error;
    }
  };
  const failure = (/** @type {string} */ why) =>
    new Error([`${[basename(program), ...args].join(" ")} ${why}`, output.stdout.trim(), output.stderr.trim()].join("\n"));
  const self = {
    signal,
    stderr: child.stderr,
    /** Waits for the end and returns stdout; throws if the exit code is not 0. */
    async result() {
      const { code, why } = await ended;
      if (code !== 0) throw failure(why);
      return output.stdout;
    },
    /** Waits until stdout matches; throws if the process ends or the time is over. @param {RegExp} pattern @returns {Promise<RegExpMatchArray>} */
    printed(pattern) {
      return new Promise((resolve, reject) => {
        const timer = setTimeout(() => reject(failure("was not ready in time")), READY_MS_MAX);
        grown = () => {
          const found = output.stdout.match(pattern);
          if (!found) return;
          clearTimeout(timer);
          resolve(found);
        };
        grown();
        ended.then(({ why }) => {
          clearTimeout(timer);
          reject(failure(why));
        });
      });
    },
    async stop() {
      signal("SIGTERM");
      const timer = setTimeout(() => signal("SIGKILL"), PATIENCE_MS);
      await ended;
      clearTimeout(timer);
      // Ends children that are left after the leader of the group has ended.
      signal("SIGKILL");
    },
  };
  running.add(self);
  return self;
}

/**
 * Runs a script of the bench in a new Node process and returns the JSON it prints. It forwards the stderr.
 * @param {string} script @param {string[]} args
 */
export async function inNode(script, ...args) {
  const child = start(process.execPath, [`tests/bench/${script}`, ...args]);
  child.stderr.pipe(process.stderr, { end: false });
  return JSON.parse(await child.result());
}
