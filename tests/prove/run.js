// `make prove`: every row in full, then docs/proof.md. A row that was done for this commit is not done
// again, so it may be stopped and started. Run it in the background; it takes both cores for half an hour.

import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { SEED, TABLES } from "./rows.js";
import { simulate } from "./simulate.js";

const PEERS = ["trailing_15m", "consecutive_15m", "flagger_1m_5", "argo_5m_3", "kayenta_1h"];

const git = (/** @type {string[]} */ ...args) => execFileSync("git", args, { encoding: "utf8" }).trim();
// What decides the figures; the commit that last changed any of it.
const SOURCES = ["src/rollout", "crates/anytime/src", "crates/cli/src/simulate", "rollout.toml", "tests/prove/rows.js", "crates/terms/src"];
const commit = git("log", "-1", "--format=%h", "--abbrev=12", "--", ...SOURCES);
const changed = git("status", "--porcelain", "--", ...SOURCES) !== "";
if (changed) console.log("prove: the sources differ from the commit; figures will say so, and are not kept");
const program = process.argv[2] ?? "target/release/jeffrey";
const kept = join("build/prove", commit);
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
  `What \`make prove\` found on ${date} at commit ${commit}${changed ? " with changes" : ""}, seed ${SEED}: the shipped plan (\`rollout.toml\`),`,
  "all gates on, simulated minute by minute by the code that decides in the worker. Bounds are one-sided, 95 %, exact",
  "(Clopper and Pearson). `make test` runs the same rows with the same seed, fewer times. What the scenarios are, and the",
  "peers' rules, says `jeffrey simulate --help`; [statistics.md](statistics.md) explains the method.",
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
  "## The same minutes, by other tools' rules",
  "",
  "Re-implemented from their published descriptions, on one metric, with a limit of 2 % (5 % for slow answers); the tools",
  "themselves were not run. Each cell: rolled back falsely, of all runs; then the median delay of the others, in minutes.",
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
lines.push("", "Flagger is meant for half-hour runs: over a day its counter, which is never set back, must fire.", "");
for (const row of rows.filter(({ plot }) => plot)) lines.push(`![When each rule rolled back: ${row.name}](${row.plot})`, "");
lines.push("## Commands", "", "```");
for (const row of rows) lines.push(`jeffrey simulate ${row.arguments} --runs ${row.runs} --seed ${SEED}${row.plan ? " --plan (only the gate of the rise)" : ""}`);
lines.push("```", "");
writeFileSync("docs/proof.md", lines.join("\n"));
console.log(`docs/proof.md written; ${missed} of ${rows.length} rows missed their bar`);
process.exit(missed ? 1 : 0);
