// The first part of `make acceptance`: runs every row in full and writes docs/proof.md. It keeps each row's result for the
// commit, so it may be stopped and started again. Run it in the background; it uses all cores for half an hour.

import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { SEED, TABLES } from "./rows.js";
import { simulate } from "./simulate.js";

const PEERS = ["trailing_15m", "consecutive_15m", "flagger_1m_5", "argo_5m_3", "kayenta_1h"];

const git = (/** @type {string[]} */ ...args) => execFileSync("git", args, { encoding: "utf8" }).trim();
// Files that decide the figures. The report names the last commit that changed one of them.
const SOURCES = ["src/rollout", "crates/anytime/src", "crates/cli/src/simulate", "rollout.toml", "tests/acceptance/rows.js", "crates/terms/src"];
const commit = git("log", "-1", "--format=%h", "--abbrev=12", "--", ...SOURCES);
const changed = git("status", "--porcelain", "--", ...SOURCES) !== "";
if (changed) console.log("acceptance: the sources differ from the commit; docs/proof.md will say so, and no result is kept");
const program = process.argv[2] ?? "target/release/jeffrey";
const kept = join("build/acceptance", commit);
mkdirSync(kept, { recursive: true });

const rows = TABLES.flatMap(([, rows]) => rows);
let missed = 0;
/** @type {Map<string, import("./rows.js").Report>} */
const reports = new Map();
for (const [number, row] of rows.entries()) {
  const file = join(kept, `${row.name.replace(/[^a-z0-9]+/gi, "-")}.json`);
  const plot = row.plot && join("docs", row.plot);
  const began = Date.now();
  const there = !changed && existsSync(file) && (!plot || existsSync(plot));
  const report = there ? JSON.parse(readFileSync(file, "utf8")) : simulate(program, row, { runs: row.runs, plot });
  if (!changed) writeFileSync(file, JSON.stringify(report));
  reports.set(row.name, report);
  const holds = row.holds(report, true);
  missed += holds ? 0 : 1;
  const took = there ? "kept" : `${Math.round((Date.now() - began) / 1000)} s`;
  console.log(`${number + 1}/${rows.length} ${holds ? "holds " : "MISSED"} ${row.name}: ${row.found(report)} [${row.bar}] (${took})`);
}

const date = new Date().toISOString().slice(0, 10);
const minutes = (/** @type {number | null} */ value) => value ?? "–";
const lines = [
  "# Proof of the gates",
  "",
  `\`make acceptance\` measured these figures on ${date} at commit ${commit}${changed ? " with changes" : ""}, with seed ${SEED}. It simulates the`,
  "shipped plan (`rollout.toml`) with all gates, minute by minute, with the code that decides in the worker. The rows under",
  '"False advances" use a plan with one gate instead. Bounds are one-sided 95 % bounds, exact (Clopper and Pearson).',
  "`make test` runs the same rows with the same seed and fewer runs.",
  "",
  "`jeffrey simulate --help` lists the scenarios. The peers' rules are described in",
  "`crates/cli/src/simulate/comparison_rules.rs`. [statistics.md](statistics.md) explains the method.",
  "",
];
for (const [title, rows] of TABLES) {
  lines.push(`## ${title}`, "", "| scenario | runs | bar | found | |", "|---|---|---|---|---|");
  for (const row of rows) {
    const report = /** @type {import("./rows.js").Report} */ (reports.get(row.name));
    lines.push(`| ${row.name} | ${report.runs} | ${row.bar} | ${row.found(report)} | ${row.holds(report, true) ? "holds" : "**missed**"} |`);
  }
  lines.push("");
}
lines.push(
  "## The same minutes with the rules of other tools",
  "",
  "The rules were re-implemented from their published descriptions; the tools themselves were not run. Each rule reads one",
  "metric with a limit of 2 % (5 % for slow answers). A cell has the share of runs with a false rollback, then the median",
  "detection delay of the other runs in minutes.",
  "",
  `| scenario | jeffrey | ${PEERS.join(" | ")} |`,
  `|---|---|${PEERS.map(() => "---|").join("")}`,
);
for (const row of rows.filter(({ plan, arguments: given }) => !plan && given.includes("--share"))) {
  const report = /** @type {import("./rows.js").Report} */ (reports.get(row.name));
  const cell = (/** @type {import("./rows.js").Figures} */ { false_rollbacks, delay_min: { p50 } }) =>
    `${((100 * false_rollbacks) / report.runs).toFixed(1)} %; ${minutes(p50)}`;
  lines.push(`| ${row.name} | ${cell(report)} | ${PEERS.map((peer) => cell(report.peers[peer])).join(" | ")} |`);
}
lines.push("", "Flagger is meant for runs of half an hour. It never resets its counter of failed checks, so a longer run can reach the limit without a regression.", "");
for (const row of rows.filter(({ plot }) => plot)) lines.push(`![When each rule rolled back: ${row.name}](${row.plot})`, "");
lines.push("## Commands", "", "```");
for (const row of rows) lines.push(`jeffrey simulate ${row.arguments} --runs ${row.runs} --seed ${SEED}${row.plan ? " --plan (one block_advance gate)" : ""}`);
lines.push("```", "");
writeFileSync("docs/proof.md", lines.join("\n"));
console.log(`docs/proof.md written; ${missed} of ${rows.length} rows missed their bar`);
process.exit(missed ? 1 : 0);
