// Runs one row of the proof with a `jeffrey` binary.

import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SEED } from "./rows.js";

/** Returns the plan of a row with gates of its own. @param {string} gates @returns {string} */
export const planText = (gates) => `[[stage]]\nshare = "10%"\n${gates}`;

/**
 * @param {string} program
 * @param {import("./rows.js").ProofRow} row
 * @param {{ runs: number, plot?: string }} options
 * @returns {import("./rows.js").SimulationReport}
 */
export function simulate(program, row, { runs, plot }) {
  const folder = mkdtempSync(join(tmpdir(), "jeffrey-acceptance-"));
  try {
    const args = ["simulate", ...row.arguments.split(" "), "--runs", `${runs}`, "--seed", `${SEED}`, "--json"];
    if (row.plan) {
      const planFile = join(folder, "plan.toml");
      writeFileSync(planFile, planText(row.plan));
      args.push("--plan", planFile);
    }
    if (plot) args.push("--plot", plot);
    const { status, stdout, stderr, error } = spawnSync(program, args, { encoding: "utf8", maxBuffer: 1 << 26, stdio: ["ignore", "pipe", "pipe"] });
    if (error || status !== 0) throw new Error(`${args.join(" ")}: ${error ?? `${status}\n${stderr}`}`);
    return JSON.parse(stdout);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
