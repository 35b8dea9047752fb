// `make timings`: measures how long a newcomer waits. It runs each build from nothing in a fresh clone, one after the
// other, and counts the units that cargo compiles for wasm.
//
// The clone lies in a temporary folder with an empty cache for the tools. Crates that cargo has already downloaded are
// not downloaded again. Run it on an idle machine.

import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";

const WELCOME = "Ctrl-C ends all of them";
const folder = mkdtempSync(join(tmpdir(), "jeffrey-timings-"));
const clone = join(folder, "jeffrey-edge");
const env = { ...process.env, XDG_CACHE_HOME: join(folder, "cache") };
process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
for (const name of /** @type {const} */ (["SIGINT", "SIGTERM"])) process.on(name, () => process.exit(1));

execFileSync("git", ["clone", "--quiet", ".", clone]);
const commit = execFileSync("git", ["rev-parse", "--short=12", "HEAD"], { encoding: "utf8" }).trim();
console.log(`commit ${commit}, ${cpus().length} × ${cpus()[0]?.model}\n`);

await timeStep("make dev, cold, to the welcome", () => runDevUntilWelcome());
await timeStep("make dev, warm, to the welcome", () => runDevUntilWelcome());
await timeStep("make build, after make dev", () => runMake("build"));
await timeStep("make PROFILE=edge workers, after make dev", () => runMake("PROFILE=edge", "workers"));
console.log(`the wasm build compiles: ${countCompiledUnits()}`);

/** @param {string} title @param {() => Promise<void>} step */
async function timeStep(title, step) {
  const startedAt = Date.now();
  await step();
  const seconds = Math.round((Date.now() - startedAt) / 1000);
  console.log(`${title}: ${Math.floor(seconds / 60)} min ${seconds % 60} s`);
}

/** @param {string[]} args */
function runMake(...args) {
  return /** @type {Promise<void>} */ (new Promise((resolve, reject) => {
    const child = spawn("make", args, { cwd: clone, env, stdio: ["ignore", "ignore", "inherit"] });
    child.on("close", (code) => (code === 0 ? resolve() : reject(new Error(`make ${args.join(" ")} ended with ${code}`))));
  }));
}

/** Runs `make dev` until it prints its welcome, and ends it. */
function runDevUntilWelcome() {
  return /** @type {Promise<void>} */ (new Promise((resolve, reject) => {
    const child = spawn("make", ["dev"], { cwd: clone, env, stdio: ["ignore", "pipe", "inherit"], detached: true });
    let output = "";
    let hasWelcome = false;
    child.stdout.on("data", (chunk) => {
      output += chunk;
      if (hasWelcome || !output.includes(WELCOME)) return;
      hasWelcome = true;
      resolve(interrupt(child));
    });
    child.on("close", (code) => hasWelcome || reject(new Error(`make dev ended with ${code} before its welcome`)));
  }));
}

/** @param {import("node:child_process").ChildProcess} child */
function interrupt(child) {
  process.kill(-(/** @type {number} */ (child.pid)), "SIGINT");
  return /** @type {Promise<void>} */ (new Promise((resolve) => child.once("exit", () => resolve())));
}

/** Returns the numbers of packages and units that cargo compiled for wasm. A build script is two more units. */
function countCompiledUnits() {
  const args = execFileSync("make", ["--silent", "wasm-build-command"], { cwd: clone, env, encoding: "utf8" }).trim().split(" ");
  const output = execFileSync("cargo", [...args, "--message-format", "json"], {
    cwd: clone,
    env: { ...env, WASM_BINDGEN_USE_JS_SYS: "1" },
    encoding: "utf8",
    maxBuffer: 1 << 28,
    stdio: ["ignore", "pipe", "ignore"],
  });
  const units = output.trim().split("\n").map((line) => JSON.parse(line)).filter(({ package_id }) => package_id);
  return `${new Set(units.map(({ package_id }) => package_id)).size} packages, ${units.length} units`;
}
