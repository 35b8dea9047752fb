// `make test`: runs every check and test and counts the results. A failed step does not stop the next.
//
// The steps run in two lanes. Servers and browsers wait more than they compute, so the compiler's checks run beside
// them at the lowest priority. The counts come from the output of cargo's and node's test runners; a step without a
// runner counts as one test. Under CI=true a skipped test counts as failed, except a step that needs the shared data,
// which CI may not have.

import { spawn } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { constants, setPriority } from "node:os";
import { join } from "node:path";

const dataFolder = process.env.DATA ?? "../shared/data";
const clippyCommand = (/** @type {string[]} */ ...args) => ["cargo", "clippy", "--quiet", ...args, "--", "-D", "warnings"];
/** Crates that are built for wasm only. */
const wasmCrates = ["gateway-worker", "model-worker", "browser", "jeffrey-worker-http"];
const nativePackages = ["--workspace", ...wasmCrates.flatMap((name) => ["--exclude", name])];
const testFiles = (/** @type {string} */ folder) =>
  readdirSync(`tests/${folder}`).filter((name) => name.endsWith(".test.js")).map((name) => `tests/${folder}/${name}`);

/** @typedef {{ name: string, command: string[], env?: Record<string, string>, requiredFile?: string }} Step */

/** Checks, one after the other, because cargo locks its build folder. @type {Step[]} */
const checks = [
  { name: "format", command: ["cargo", "fmt", "--all", "--check"] },
  { name: "clippy, native", command: clippyCommand(...nativePackages, "--all-targets") },
  { name: "clippy, wasm", command: clippyCommand(...wasmCrates.flatMap((name) => ["--package", name]), "--target", "wasm32-unknown-unknown") },
  { name: "licences", command: ["make", "licences"] },
  {
    name: "documentation",
    command: ["cargo", "doc", "--quiet", ...nativePackages, "--no-deps", "--lib"],
    env: { RUSTDOCFLAGS: "-D warnings" },
  },
  { name: "types of the JavaScript", command: ["node_modules/.bin/tsc", "--project", "jsconfig.json"] },
  { name: "terms in pages, help texts and comments", command: ["node", "tests/prose.js"] },
];

/** Tests that run the built programs, one after the other. @type {Step[]} */
const programTests = [
  { name: "node tests of the command line, the scripts and the documentation", command: ["node", "--test", "--test-concurrency=1", ...testFiles("native")] },
  { name: "sizes", command: ["node", "tests/size.js"] },
  { name: "model worker in workerd", command: ["node", "--test", "--test-concurrency=2", ...testFiles("worker")] },
  // Two files at once: each waits more than it computes, and has its own ports, state and registry.
  { name: "gateway in workerd", command: ["node", "--test", "--test-concurrency=2", ...testFiles("gateway")] },
  { name: "page in Chromium", command: ["node", "--test", "--test-concurrency=1", ...testFiles("browser")] },
  { name: "release checks of the model", command: ["target/debug/jeffrey", "validate"] },
  {
    name: "quality on the development rows",
    command: ["node", "tests/quality.js", dataFolder],
    requiredFile: join(dataFolder, "goemotions_dev.jsonl.gz"),
  },
  { name: "real", command: ["node", "tests/real.js", dataFolder], requiredFile: join(dataFolder, "xed_fr.jsonl.gz") },
  // Last, when cargo's folder is usually free. Some of these tests depend on time, so they have normal priority.
  { name: "native tests", command: ["cargo", "test"] },
];

const total = { passed: 0, failed: 0, skipped: 0 };
/** @type {string[]} */
const failedSteps = [];
await Promise.all([runSteps(programTests, false), runSteps(checks, true)]);
if (failedSteps.length) console.log(`\nfailed:\n${failedSteps.join("\n")}`);
console.log(`\n${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
process.exit(failedSteps.length ? 1 : 0);

/** Runs one step after the other. @param {Step[]} steps @param {boolean} isBackground runs at the lowest priority and prints the output of each step at its end */
async function runSteps(steps, isBackground) {
  for (const step of steps) {
    const startedAt = Date.now();
    const title = `\n=== ${step.name}: ${step.command.join(" ")}\n`;
    if (step.requiredFile && !existsSync(step.requiredFile)) {
      console.log(`${title}skipped: ${step.name} (${step.requiredFile} is missing)`);
      total.skipped += 1;
      continue;
    }
    if (!isBackground) process.stdout.write(title);
    const { code, output } = await runStep(step, isBackground);
    if (isBackground) process.stdout.write(title + output);
    const counts = sumCounts(output);
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
    if (counts.failed > 0) failedSteps.push([step.name, ...failedTestNames(output)].join("\n  "));
    console.log(`--- ${step.name}: ${counts.failed ? "FAILED" : "ok"} in ${Math.round((Date.now() - startedAt) / 1000)} s`);
  }
}

/** @param {Step} step @param {boolean} isBackground @returns {Promise<{ code: number | null, output: string }>} */
function runStep({ command: [program, ...args], env = {} }, isBackground) {
  return new Promise((resolve) => {
    let output = "";
    const child = spawn(program, args, { env: { ...process.env, ...env }, stdio: ["ignore", "pipe", "pipe"] });
    if (isBackground && child.pid !== undefined) setPriority(child.pid, constants.priority.PRIORITY_LOW);
    for (const [source, target] of /** @type {const} */ ([[child.stdout, process.stdout], [child.stderr, process.stderr]])) {
      source.setEncoding("utf8").on("data", (chunk) => {
        output += chunk;
        if (!isBackground) target.write(chunk);
      });
    }
    child.on("error", (error) => resolve({ code: 1, output: String(error) }));
    child.on("close", (code) => resolve({ code, output }));
  });
}

/** Sums the counts of all runners in an output. @param {string} output */
function sumCounts(output) {
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

/** Returns the names of failed tests, which the end of a long output repeats. @param {string} output */
function failedTestNames(output) {
  // cargo: "test name ... FAILED"; node: "✖ name (12.3ms)" (spec reporter) or "not ok 3 - name" (TAP)
  const names = output.matchAll(/^(?:test (\S+) \.\.\. FAILED|\s*✖ (.+) \([\d.]+ms\)|\s*not ok \d+ - (.+))$/gm);
  return new Set([...names].map(([, cargo, spec, tap]) => cargo ?? spec ?? tap));
}
