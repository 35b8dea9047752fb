// Runs every check and test in turn and counts: `make test`. A failed step does not hide the next.
//
// Each step streams its output; what it printed is read for the counts of cargo's and node's test
// runners and for lines `skipped: NAME`. A step without a runner counts as one test. Under CI=true a
// skipped peer is a failure, except what needs the shared data, which CI may not have beside it.

import { spawn } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";

const data = process.env.DATA ?? "../shared/data";
const cache = join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "jeffrey-edge/tools");
const deny = readdirSync(cache).find((name) => name.startsWith("cargo-deny-"));
const wasm = ["--target", "wasm32-unknown-unknown"];
const clippy = (/** @type {string[]} */ ...args) => ["cargo", "clippy", "--quiet", ...args, "--", "-D", "warnings"];
const tests = (/** @type {string} */ folder) =>
  readdirSync(`tests/${folder}`).filter((name) => name.endsWith(".test.js")).map((name) => `tests/${folder}/${name}`);

/** @type {{name: string, command: string[], env?: Record<string, string>, needs?: string}[]} */
const steps = [
  { name: "format", command: ["cargo", "fmt", "--check"] },
  { name: "clippy, core", command: clippy("--lib") },
  { name: "clippy, native", command: clippy("--workspace", "--features", "cli", "--all-targets") },
  // Both wasm shells at once: they exclude each other only when linked, and tract is checked once.
  { name: "clippy, model worker and browser", command: clippy("--lib", "--features", "model,browser", ...wasm) },
  { name: "clippy, gate", command: clippy("--lib", "--features", "gate", ...wasm) },
  { name: "licences", command: [join(cache, String(deny), "bin/cargo-deny"), "check", "licenses", "bans", "sources"] },
  {
    name: "documentation",
    command: ["cargo", "doc", "--quiet", "--workspace", "--no-deps", "--lib", "--features", "cli"],
    env: { RUSTDOCFLAGS: "-D warnings" },
  },
  { name: "native tests", command: ["cargo", "test", "--workspace", "--features", "cli"] },
  { name: "the binary beside its peers", command: ["node", "--test", "--test-concurrency=1", ...tests("native")] },
  { name: "types of the page and the tests", command: ["node_modules/.bin/tsc", "--project", "jsconfig.json"] },
  { name: "sizes", command: ["node", "tests/size.js"] },
  { name: "model worker in workerd", command: ["node", "--test", "--test-concurrency=1", ...tests("worker")] },
  { name: "gate in workerd", command: ["node", "--test", "--test-concurrency=1", ...tests("gate")] },
  { name: "page in Chromium", command: ["node", "--test", "--test-concurrency=1", ...tests("browser")] },
  { name: "release checks of the model", command: ["target/debug/jeffrey", "validate"] },
  {
    name: "quality on the development rows",
    command: ["node", "tests/quality.js", data],
    needs: join(data, "goemotions_dev.jsonl.gz"),
  },
];

const total = { passed: 0, failed: 0, skipped: 0 };
/** @type {string[]} */
const failures = [];
for (const step of steps) {
  const began = Date.now();
  console.log(`\n=== ${step.name}: ${step.command.join(" ")}`);
  if (step.needs && !existsSync(step.needs)) {
    console.log(`skipped: ${step.name} (${step.needs} is not there)`);
    total.skipped += 1;
    continue;
  }
  const { code, output } = await run(step.command, step.env);
  const counts = count(output);
  if (counts.passed + counts.failed + counts.skipped === 0) counts[code === 0 ? "passed" : "failed"] = 1;
  if (code !== 0 && counts.failed === 0) counts.failed = 1;
  if (process.env.CI === "true" && counts.skipped > 0) {
    console.log(`${counts.skipped} skipped under CI=true: counted as failed`);
    counts.failed += counts.skipped;
    counts.skipped = 0;
  }
  total.passed += counts.passed;
  total.failed += counts.failed;
  total.skipped += counts.skipped;
  if (counts.failed > 0) failures.push(step.name);
  console.log(`--- ${step.name}: ${counts.failed ? "FAILED" : "ok"} in ${Math.round((Date.now() - began) / 1000)} s`);
}
if (failures.length) console.log(`\nfailed: ${failures.join(", ")}`);
console.log(`\n${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
process.exit(failures.length ? 1 : 0);

/** @param {string[]} command @param {Record<string, string>} [env] */
function run([program, ...args], env = {}) {
  return new Promise((resolve) => {
    let output = "";
    const child = spawn(program, args, { env: { ...process.env, ...env }, stdio: ["ignore", "pipe", "pipe"] });
    /** @param {import("node:stream").Readable} from @param {NodeJS.WriteStream} to */
    const pass = (from, to) => from.on("data", (chunk) => {
      output += chunk;
      to.write(chunk);
    });
    pass(child.stdout, process.stdout);
    pass(child.stderr, process.stderr);
    child.on("error", (error) => resolve({ code: 1, output: String(error) }));
    child.on("close", (code) => resolve({ code, output }));
  });
}

/** Counts of all runners in an output. @param {string} output */
function count(output) {
  const counts = { passed: 0, failed: 0, skipped: 0 };
  // cargo: "test result: ok. 12 passed; 0 failed; 1 ignored; …"
  for (const [, passed, failed, ignored] of output.matchAll(/^test result: .*?(\d+) passed; (\d+) failed; (\d+) ignored/gm)) {
    counts.passed += Number(passed);
    counts.failed += Number(failed);
    counts.skipped += Number(ignored);
  }
  // node: "ℹ pass 12" (spec reporter) or "# pass 12" (TAP)
  const keys = /** @type {const} */ ({ pass: "passed", fail: "failed", cancelled: "failed", skipped: "skipped" });
  for (const [, key, number] of output.matchAll(/^(?:ℹ|#) (pass|fail|cancelled|skipped) (\d+)$/gm)) {
    counts[keys[/** @type {keyof typeof keys} */ (key)]] += Number(number);
  }
  return counts;
}
