// Runs the simulation on faulty copies of the gateway, one after the other, and prints which promise catches each.
//
//   node crates/simulation/mutants/run.js [--days 200] [--only 07,12] [--json FILE] [--target FOLDER]
//
// A mutant is a patch beside this file; its first line says which promise of the documentation it breaks. The runner copies
// the tracked files to a temporary folder, applies one patch at a time, builds the simulation there and runs one day of
// each seed until a promise is broken. With `--json` it adds each result to a file, and the next start goes on after the
// last one. It exits with 1 if a mutant survives, or if a patch does not apply or compile.

import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join, resolve } from "node:path";
import { parseArgs } from "node:util";

const { values } = parseArgs({
  options: {
    days: { type: "string", default: "200" },
    only: { type: "string", default: "" },
    json: { type: "string" },
    target: { type: "string" },
  },
});
const root = resolve(import.meta.dirname, "../../..");
const days = Number(values.days);
if (!Number.isInteger(days) || days < 1) throw new Error(`--days ${values.days}: a whole number of days is needed`);
const only = values.only.split(",").filter(Boolean);

/**
 * `caught`, with the promise, the seed and the gateway-days until then; `survived`; or `failed`, with the output of the
 * step that failed.
 * @typedef {{ name: string, outcome: "caught" | "survived" | "failed", days: number, seed?: number, invariant?: string, output?: string }} Result
 */

/** @type {Result[]} */
const results = values.json && existsSync(values.json) ? JSON.parse(readFileSync(values.json, "utf8")) : [];
const names = readdirSync(import.meta.dirname)
  .filter((name) => name.endsWith(".patch"))
  .map((name) => basename(name, ".patch"))
  .filter((name) => !only.length || only.includes(name.slice(0, 2)))
  .sort();

// Outside the copy, so that each build reuses what the last one compiled.
const target = values.target ?? join(root, "target/mutants");
const folder = mkdtempSync(join(tmpdir(), "mutants-"));
process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
process.on("SIGINT", () => process.exit(130));
copyFiles();

for (const [place, name] of names.entries()) {
  const known = results.find((result) => result.name === name && result.outcome !== "failed" && isLongEnough(result));
  const result = known ?? (await runMutant(name, `${place + 1} of ${names.length}`));
  if (!known) {
    results.splice(0, results.length, ...results.filter((other) => other.name !== name), result);
    results.sort((a, b) => a.name.localeCompare(b.name));
    if (values.json) writeFileSync(values.json, `${JSON.stringify(results, null, 2)}\n`);
  }
  printResult(result);
}
const ofRun = results.filter((result) => names.includes(result.name));
const count = (/** @type {string} */ outcome) => ofRun.filter((result) => result.outcome === outcome).length;
console.log(`${ofRun.length} mutants: ${count("caught")} caught, ${count("survived")} survived, ${count("failed")} failed`);
process.exit(count("caught") === names.length ? 0 : 1);

/** Returns whether a result holds for this number of days. @param {Result} result */
function isLongEnough(result) {
  return result.outcome === "caught" || result.days >= days;
}

/** Copies the tracked files, as they are in the working tree. */
function copyFiles() {
  const files = spawnSync("git", ["ls-files", "-z"], { cwd: root, encoding: "buffer" });
  const archive = spawnSync("tar", ["--create", "--null", "--files-from=-"], {
    cwd: root,
    input: files.stdout,
    maxBuffer: 2 ** 30,
  });
  const extracted = spawnSync("tar", ["--extract", "--directory", folder], { input: archive.stdout });
  if (extracted.status !== 0) throw new Error(`the files were not copied: ${archive.stderr}${extracted.stderr}`);
}

/** Applies a patch, runs the campaign, and takes the patch back. @param {string} name @param {string} place @returns {Promise<Result>} */
async function runMutant(name, place) {
  const patch = join(import.meta.dirname, `${name}.patch`);
  showProgress(`${place}: ${name}: build`);
  const applied = apply(patch);
  if (applied.status !== 0) return { name, outcome: "failed", days: 0, output: String(applied.stderr) };
  try {
    const build = await run("cargo", ["build", "--release", "--package", "jeffrey-simulation", "--jobs", "2"], () => {});
    if (build.status !== 0) return { name, outcome: "failed", days: 0, output: build.output };
    const campaign = ["campaign", "--seeds", `1..${days}`, "--days", "1", "--threads", "2", "--until-error"];
    const { status, output } = await run(join(target, "release/jeffrey-sim"), campaign, (text) => {
      const seeds = /(\d+) of \d+ seeds/.exec(text)?.[1] ?? "0";
      showProgress(`${place}: ${name}: ${seeds} of ${days} days`);
    });
    return toResult(name, status, output);
  } finally {
    apply("--reverse", patch);
  }
}

/** Applies a patch to the copy. The copy is no repository: without a ceiling, git would look for one above it. @param {string[]} options */
function apply(...options) {
  return spawnSync("git", ["apply", ...options], {
    cwd: folder,
    encoding: "utf8",
    env: { ...process.env, GIT_CEILING_DIRECTORIES: resolve(folder, "..") },
  });
}

/** Reads the output of a campaign. @param {string} name @param {number | null} status @param {string} output @returns {Result} */
function toResult(name, status, output) {
  if (status === 0) return { name, outcome: "survived", days };
  // The seeds of a campaign are run in order, each for a day, but two at a time.
  const seed = Number(/^seed (\d+):/m.exec(output)?.[1]);
  const invariant = /^  (\w+) at \d+: /m.exec(output)?.[1];
  // A panic is no promise: the mutant broke the simulation.
  if (!seed || !invariant) return { name, outcome: "failed", days: 0, output };
  return { name, outcome: "caught", days: seed, seed, invariant };
}

/** Runs a program in the copy. @param {string} command @param {string[]} options @param {(text: string) => void} onOutput @returns {Promise<{ status: number | null, output: string }>} */
function run(command, options, onOutput) {
  return new Promise((done, fail) => {
    const env = { ...process.env, CARGO_TARGET_DIR: target, CARGO_INCREMENTAL: "1", CARGO_TERM_COLOR: "never" };
    const child = spawn(command, options, { cwd: folder, env });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding("utf8").on("data", (text) => {
        output += text;
        onOutput(text);
      });
    }
    child.on("error", fail);
    child.on("close", (status) => done({ status, output }));
  });
}

/** Shows one line that the next one replaces. @param {string} line */
function showProgress(line) {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${line}`);
}

/** Prints the line of a mutant. @param {Result} result */
function printResult({ name, outcome, days, seed, invariant, output }) {
  showProgress("");
  const number = name.slice(0, 2);
  const title = name.slice(3).padEnd(38);
  if (outcome === "caught") console.log(`${number}  ${title}  ${invariant}, ${days} days, seed ${seed}`);
  else if (outcome === "survived") console.log(`${number}  ${title}  survived ${days} days`);
  else console.log(`${number}  ${title}  failed: ${(output ?? "").trim().slice(-2_000)}`);
}
