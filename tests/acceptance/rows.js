// The rows of docs/proof.md: one simulation each, with its bar. `make acceptance` runs each row in full. `make test`
// runs it with fewer runs, the same arguments and the same seed.

/**
 * @typedef {{ p50: number | null, p90: number | null }} DetectionDelay
 * @typedef {{ rollbacks: number, false_rollbacks: number, false_rate_upper_95: number, delay_min: DetectionDelay }} RollbackStats
 * @typedef {RollbackStats & { runs: number, advances: number, runs_advanced: number, runs_undecided: number,
 *   stages: { share_basis_points: number, min_duration_minutes: number, left: number, max_minutes: number }[],
 *   peers: Record<string, RollbackStats> }} SimulationReport
 */

/**
 * @typedef {object} ProofRow
 * @property {string} name
 * @property {string} arguments of `jeffrey simulate`
 * @property {number} runs in full
 * @property {number} testRuns runs in `make test`; 0 leaves the row out
 * @property {string} bar
 * @property {(report: SimulationReport) => string} formatResult
 * @property {(report: SimulationReport, full: boolean) => boolean} holds
 * @property {string} [plan] gates of a plan with one stage of 10 %, which replaces the shipped plan
 * @property {string} [plot] file name of the chart in docs/
 */

export const SEED = 20_261_126;

const formatPercent = (/** @type {number} */ share) => `${(100 * share).toFixed(2).replace(/0$/, "")} %`;
const formatFalseRollbacks = (/** @type {SimulationReport} */ report) =>
  `${report.false_rollbacks} of ${report.runs}, ${formatPercent(report.false_rollbacks / report.runs)} (up to ${formatPercent(report.false_rate_upper_95)})`;
const formatDelay = (/** @type {SimulationReport} */ { delay_min: { p50, p90 } }) => `${p50 ?? "–"} / ${p90 ?? "–"} min`;

/** Returns the most false rollbacks that 1 % a day explains: more have a probability of at most 0.001. @param {number} runs */
function maxFalseRollbacks(runs) {
  let [max, probability] = [0, 0.99 ** runs];
  for (let cumulative = probability; cumulative < 0.999; cumulative += probability) {
    max += 1;
    probability *= ((runs - max + 1) / max) * (0.01 / 0.99);
  }
  return max;
}

const falseRollbackCheck = {
  bar: "≤ 1 %, upper 95 % bound ≤ 1.5 %",
  formatResult: formatFalseRollbacks,
  holds: (/** @type {SimulationReport} */ { runs, false_rollbacks, false_rate_upper_95 }, /** @type {boolean} */ full) =>
    full ? false_rollbacks / runs <= 0.01 && false_rate_upper_95 <= 0.015 : false_rollbacks <= maxFalseRollbacks(runs),
};

const healthyScenarios = [
  ["healthy", "--scenario healthy"],
  ["healthy, Zipf users, 2 % of them failing", "--scenario healthy --users 5000 --zipf-exponent 0.9 --failing-users 2%"],
  ["healthy, a daily curve of ±60 %", "--scenario healthy --daily-traffic-amplitude 60%"],
  [
    "every gate at its limit",
    "--scenario errors:1%:1% --scenario slow:5%:5% --scenario regex:2%:2% --scenario rule_applied:10%:10%",
  ],
];

/** @type {ProofRow[]} */
const falseRollbackRows = healthyScenarios.flatMap(([name, scenario]) =>
  [60, 600, 6000].map((requestsPerMinute) => ({
    name: `${name}, ${requestsPerMinute} a minute`,
    arguments: `${scenario} --requests-per-minute ${requestsPerMinute} --share 10% --hours 24`,
    runs: 5000,
    testRuns: requestsPerMinute === 6000 ? 4 : 20,
    ...falseRollbackCheck,
    ...(name === "healthy" && requestsPerMinute === 600 ? { plot: "proof-healthy.svg" } : {}),
  })));

/** Lost connections to the model, at 10, 100 and 1,000 canary calls a second. @type {ProofRow[]} */
const transportRows = ["0.001%", "0.01%"].flatMap((rate) =>
  [600, 6000, 60_000].map((canaryPerMinute) => ({
    name: `${rate.replace("%", " %")} of the connections to the model fail, ${canaryPerMinute / 60} canary calls a second`,
    arguments: `--scenario model_unavailable:${rate}:${rate} --requests-per-minute ${10 * canaryPerMinute} --share 10% --hours 24`,
    runs: canaryPerMinute === 600 ? 1000 : canaryPerMinute === 6000 ? 300 : 300,
    testRuns: canaryPerMinute === 600 ? 2 : 0,
    ...falseRollbackCheck,
  })));

/** @type {[string, string][]} */
const harmlessScenarios = [
  ["half of the legacy system's requests fail for 30 minutes", "--scenario outage:stable"],
  ["the canary is silent from hour 6 on", "--scenario silence"],
  ["errors of both cohorts rise from 1 to 3 % over the day", "--scenario drift:errors:1%:3%"],
  ["ten times the traffic for 30 minutes, every four hours", "--scenario burst:10"],
  ["every request of the canary's most active user fails from hour 6 on", "--scenario failing_client --users 5000 --zipf-exponent 0.9"],
  ["the canary's clock is 2 minutes late", "--scenario clock_skew:2"],
  ["a tenth of the minutes late, doubled or missing", "--scenario healthy --delivery-faults 10%"],
];

/** @param {string} name @param {string} scenario @param {number} p50 @param {number} [p90] @returns {ProofRow} */
const delayRow = (name, scenario, p50, p90) => ({
  name,
  arguments: `${scenario} --share 10%`,
  runs: 1000,
  testRuns: 30,
  bar: `median ≤ ${p50}${p90 ? `, p90 ≤ ${p90}` : ""} min`,
  formatResult: formatDelay,
  holds: ({ delay_min }) =>
    delay_min.p50 !== null && delay_min.p50 <= p50 && (!p90 || (delay_min.p90 !== null && delay_min.p90 <= p90)),
});

/** @type {ProofRow[]} */
const detectionRows = [
  { ...delayRow("errors 1 → 3 %, 600 a minute, 50,000 users", "--scenario errors:1%:3% --requests-per-minute 600 --hours 12", 22, 35), plot: "proof-errors.svg" },
  delayRow("the same, 5,000 Zipf users", "--scenario errors:1%:3% --requests-per-minute 600 --users 5000 --zipf-exponent 0.9 --hours 14", 45),
  delayRow("errors 1 → 5 %, 600 a minute", "--scenario errors:1%:5% --requests-per-minute 600 --hours 9", 10),
  { ...delayRow("errors 1 → 3 %, 6,000 a minute", "--scenario errors:1%:3% --requests-per-minute 6000 --hours 8", 5), testRuns: 6 },
  { ...delayRow("P95 180 → 240 ms, 600 a minute", "--scenario latency:180:240 --requests-per-minute 600 --hours 10", 12), plot: "proof-latency.svg" },
  delayRow("regex 1 → 3 % against its limit of 2 %, 600 a minute", "--scenario regex:1%:3% --requests-per-minute 600 --hours 12", 90),
  delayRow("errors 1 → 3 %, rising over two hours, 600 a minute", "--scenario errors:1%:3%@360/120 --requests-per-minute 600 --hours 14", 120),
];

/** A plan with one `block_advance` gate: no gate can roll back before a false advance. */
const makeOneGatePlan = (/** @type {string} */ metric, /** @type {string} */ or_below) => `
[[gate]]
name = "${metric} not worse"
metric = "${metric}"
not_worse = "+50%"
or_below = "${or_below}"
effect = "block_advance"
`;

/** @type {ProofRow[]} */
const falseAdvanceRows = [
  ["errors 1 → 1.49 % (odds ratio 1.5)", "errors", "errors:1%:1.493%@0", "0.5%", 600],
  ["errors 1 → 1.49 %, 6,000 a minute", "errors", "errors:1%:1.493%@0", "0.5%", 6000],
  ["slow responses 4 → 5.88 % (odds ratio 1.5)", "slow", "slow:4%:5.882%@0", "5%", 600],
].map(([name, metric, scenario, or_below, requestsPerMinute]) => ({
  name: String(name),
  arguments: `--scenario ${scenario} --requests-per-minute ${requestsPerMinute} --share 10% --hours 24`,
  plan: makeOneGatePlan(String(metric), String(or_below)),
  runs: 2000,
  testRuns: 20,
  bar: "≤ 5 % advance",
  formatResult: (/** @type {SimulationReport} */ { runs, runs_advanced }) => `${runs_advanced} of ${runs}, ${formatPercent(runs_advanced / runs)}`,
  holds: (/** @type {SimulationReport} */ { runs, runs_advanced }, /** @type {boolean} */ full) => runs_advanced / runs <= (full ? 0.05 : 0.2),
}));

/** @type {ProofRow} */
const wholePlanRow = {
  name: "healthy, 0.01 % errors, 600 a minute: the whole shipped plan",
  arguments: "--scenario errors:0.01%:0.01% --requests-per-minute 600 --hours 300",
  runs: 200,
  testRuns: 2,
  bar: "every stage left at most 6 h after its minimum",
  formatResult: ({ runs, stages, rollbacks }) =>
    `${stages.at(-1)?.left ?? 0} of ${runs} promoted, ${rollbacks} rolled back; longest beyond the minimum: ${Math.max(...stages.map((stage) => stage.max_minutes - stage.min_duration_minutes))} min`,
  // Rollbacks within the plan's budget do not count against this row.
  holds: ({ runs, stages, rollbacks }) =>
    stages.length === 5 && (stages.at(-1)?.left ?? 0) + rollbacks === runs && rollbacks <= maxFalseRollbacks(12 * runs)
    && stages.every((stage) => stage.max_minutes - stage.min_duration_minutes <= 360),
};

/** @type {[string, ProofRow[]][]} */
export const TABLES = [
  ["False rollbacks in a day", falseRollbackRows],
  ["False rollbacks without a regression of the canary", harmlessScenarios.map(([name, scenario]) => ({
    name,
    arguments: `${scenario} --requests-per-minute 600 --share 10% --hours 24`,
    runs: 1000,
    testRuns: 10,
    ...falseRollbackCheck,
  }))],
  ["False rollbacks by lost connections to the model, in a day", transportRows],
  ["Time to detect a regression", detectionRows],
  ["False advances", falseAdvanceRows],
  ["Duration of a healthy release", [wholePlanRow]],
];
