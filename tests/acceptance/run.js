// The first part of `make acceptance`: runs every row in full and writes docs/proof.md. It keeps each row's result for the
// commit, so it can be stopped and resumed. Run it in the background; it uses all cores for half an hour.

import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { SEED, TABLES } from "./rows.js";
import { planText, simulate } from "./simulate.js";

const PEERS = ["trailing_15m", "consecutive_15m", "flagger_1m_5", "argo_5m_3", "kayenta_1h"];

const git = (/** @type {string[]} */ ...args) => execFileSync("git", args, { encoding: "utf8" }).trim();
// Files that decide the figures. The report names the last commit that changed one of them.
const SOURCES = ["src/rollout", "crates/anytime/src", "crates/cli/src/simulate", "rollout.toml", "tests/acceptance/rows.js", "crates/terms/src"];
const commit = git("log", "-1", "--format=%h", "--abbrev=12", "--", ...SOURCES);
const hasChanges = git("status", "--porcelain", "--", ...SOURCES) !== "";
if (hasChanges) console.log("acceptance: the sources differ from the commit; docs/proof.md will say so, and no result is cached");
const program = process.argv[2] ?? "target/release/jeffrey";
const cacheFolder = join("build/acceptance", commit);
mkdirSync(cacheFolder, { recursive: true });

const rows = TABLES.flatMap(([, rows]) => rows);
let missedCount = 0;
/** @type {Map<string, import("./rows.js").SimulationReport>} */
const reports = new Map();
for (const [index, row] of rows.entries()) {
  const file = join(cacheFolder, `${row.name.replace(/[^a-z0-9]+/gi, "-")}.json`);
  const plot = row.plot && join("docs", row.plot);
  const startedAt = Date.now();
  const isCached = !hasChanges && existsSync(file) && (!plot || existsSync(plot));
  const report = isCached ? JSON.parse(readFileSync(file, "utf8")) : simulate(program, row, { runs: row.runs, plot });
  if (!hasChanges) writeFileSync(file, JSON.stringify(report));
  reports.set(row.name, report);
  const holds = row.holds(report, true);
  missedCount += holds ? 0 : 1;
  const duration = isCached ? "cached" : `${Math.round((Date.now() - startedAt) / 1000)} s`;
  console.log(`${index + 1}/${rows.length} ${holds ? "holds " : "MISSED"} ${row.name}: ${row.formatResult(report)} [${row.bar}] (${duration})`);
}

const planFileName = (/** @type {string} */ plan) => `only-${/^metric = "(\w+)"/m.exec(plan)?.[1]}.toml`;
const date = new Date().toISOString().slice(0, 10);
const formatMinutes = (/** @type {number | null} */ value) => value ?? "–";
const lines = [
  "# Proof of the gates",
  "",
  `\`make acceptance\` measured these figures on ${date} at commit ${commit}${hasChanges ? " with changes" : ""}, with seed ${SEED}. It simulates the`,
  "shipped plan (`rollout.toml`) with all gates, minute by minute, with the decision code of the gateway Worker. The rows under",
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
    const report = /** @type {import("./rows.js").SimulationReport} */ (reports.get(row.name));
    lines.push(`| ${row.name} | ${report.runs} | ${row.bar} | ${row.formatResult(report)} | ${row.holds(report, true) ? "holds" : "**missed**"} |`);
  }
  lines.push("");
}
lines.push(
  "## The same minutes with the rules of other tools",
  "",
  "The rules were re-implemented from their published descriptions; the tools themselves were not run. Each rule reads one",
  "metric with a limit of 2 % (5 % for slow responses). A cell has the share of runs with a false rollback, then the median",
  "detection delay of the other runs in minutes.",
  "",
  `| scenario | jeffrey | ${PEERS.join(" | ")} |`,
  `|---|---|${PEERS.map(() => "---|").join("")}`,
);
for (const row of rows.filter(({ plan, arguments: simulateArguments }) => !plan && simulateArguments.includes("--share"))) {
  const report = /** @type {import("./rows.js").SimulationReport} */ (reports.get(row.name));
  const formatCell = (/** @type {import("./rows.js").RollbackStats} */ { false_rollbacks, delay_min: { p50 } }) =>
    `${((100 * false_rollbacks) / report.runs).toFixed(1)} %; ${formatMinutes(p50)}`;
  lines.push(`| ${row.name} | ${formatCell(report)} | ${PEERS.map((peer) => formatCell(report.peers[peer])).join(" | ")} |`);
}
lines.push("", "Flagger is meant for runs of half an hour. It never resets its counter of failed checks, so a longer run can reach the limit without a regression.", "");
for (const row of rows.filter(({ plot }) => plot)) lines.push(`![When each rule rolled back: ${row.name}](${row.plot})`, "");
lines.push("## Commands", "", "```");
for (const row of rows) lines.push(`jeffrey simulate ${row.arguments} --runs ${row.runs} --seed ${SEED}${row.plan ? ` --plan ${planFileName(row.plan)}` : ""}`);
lines.push("```", "");
for (const plan of new Set(rows.flatMap(({ plan }) => plan ?? []))) lines.push(`The file \`${planFileName(plan)}\`:`, "", "```toml", planText(plan).trim(), "```", "");
writeFileSync("docs/proof.md", lines.join("\n"));
console.log(`docs/proof.md written; ${missedCount} of ${rows.length} rows missed their bar`);
process.exit(missedCount ? 1 : 0);
