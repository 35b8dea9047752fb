// Child processes that cannot outlive the bench: each is the head of its own process group, which is
// ended by its id when it is done with, when the bench fails, and on Ctrl-C.

import { spawn } from "node:child_process";
import { basename } from "node:path";

/** How long a group may take to end by itself before it is killed. */
const PATIENCE_MS = 5_000;
/** Above what anything started here needs on a busy machine. */
const READY_MS_MAX = 120_000;

/** @type {Set<{ signal: (name: NodeJS.Signals) => void, stop: () => Promise<void> }>} */
const running = new Set();

// The last resort, where nothing can be waited for.
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

  /** To the whole group: wrangler's workerd and esbuild too. @param {NodeJS.Signals} name */
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
    /** Its stdout, once it has ended well. */
    async result() {
      const { code, why } = await ended;
      if (code !== 0) throw failure(why);
      return output.stdout;
    },
    /** Waits for what matches in its output. @param {RegExp} pattern @returns {Promise<RegExpMatchArray>} */
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
      // A child of a head that is gone already.
      signal("SIGKILL");
    },
  };
  running.add(self);
  return self;
}

/**
 * Runs a script of the bench in a fresh Node and answers the JSON it prints; its stderr passes through.
 * @param {string} script @param {string[]} args
 */
export async function inNode(script, ...args) {
  const child = start(process.execPath, [`tests/bench/${script}`, ...args]);
  child.stderr.pipe(process.stderr, { end: false });
  return JSON.parse(await child.result());
}
