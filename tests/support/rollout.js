// A gateway's rollout with TIME_SCALE 60: its plan, its traffic and its commands.

import { execFileSync, spawn } from "node:child_process";
import { SECRETS, startGateway, waitFor } from "./gateway.js";
import { JEFFREY } from "./gateway-calls.js";
import { startTraffic } from "./traffic.js";

export const TIME_SCALE = 60;
const ADMIN = { token: SECRETS.JEFFREY_ADMIN_TOKEN };
const VIEWER = { token: SECRETS.JEFFREY_VIEWER_TOKEN };

/** A plan of short stages, with the shipped plan's `roll_back` gates and its sample-ratio gate. @param {{ stages?: string[], minutes?: number, extraToml?: string, stageToml?: string, slow?: string }} [options] `minutes`: of each stage at least, in scaled time; `slow`: limit on the fraction of requests above 200 ms */
export function createPlan({ stages = ["10%", "20%", "50%", "75%", "100%"], minutes = 8, extraToml = "", stageToml = "", slow = "5%" } = {}) {
  const stageTables = stages.map((share) => `[[stage]]\nshare = "${share}"\nmin_duration = "${minutes}m"\nmin_samples = 20\n${stageToml}`);
  return `release = "e1-small"
holdout = "1%"
traffic_per_minute = 25
deadline = "3d"
notify = ["log", "all"]
[false_verdict_budget]
roll_back = "1%"
warn = "1%"
block_advance = "5%"
[stable]
max_error_rate = "60%"
max_slow_rate = "99%"
${stageTables.join("\n")}
[[gate]]
name = "errors against stable"
metric = "errors"
max_increase = "+50%"
effect = "roll_back"
evidence_unit = "subjects"
weight = 4
[[gate]]
name = "P95 above 200 ms"
metric = "slow"
max = "${slow}"
effect = "roll_back"
weight = 6
[[gate]]
name = "regex above 2 %"
metric = "regex"
max = "2%"
effect = "roll_back"
weight = 8
[[gate]]
name = "rule applied above 10 %"
metric = "rule_applied"
max = "10%"
effect = "roll_back"
weight = 2
[[gate]]
name = "dimension mismatch"
metric = "dimension_mismatches"
never = true
effect = "roll_back"
[[gate]]
name = "sample ratio"
metric = "sample_ratio"
sample_ratio = true
effect = "block_advance"
${extraToml}`;
}

/** A release check of the built-in model, from `jeffrey validate --json`. */
export function runReleaseCheck() {
  return JSON.parse(execFileSync(JEFFREY, ["validate", "--json"], { encoding: "utf8" }));
}

/** @typedef {import("./gateway.js").GatewayOptions & import("./gateway.js").SessionOptions} Options */

/**
 * Variables and options for `startGateways`: a gateway with scaled time and a model that fails on demand.
 *
 * @param {Record<string, string>} [variables] @param {Options} [options]
 * @returns {[Record<string, string>, Options]}
 */
export const rolloutSpec = (variables = {}, options = {}) =>
  [{ TIME_SCALE: String(TIME_SCALE), LOG_EVENTS: "off", INITIAL_SHARE: "0%", MODEL_TIMEOUT_MS: "5000", ...variables }, { model: "faulty", ...options }];

/**
 * Starts such a gateway, with traffic, in its own session.
 *
 * @param {Record<string, string>} [variables] @param {Options} [options]
 */
export async function startRollout(variables, options) {
  const gateway = await startGateway(...rolloutSpec(variables, options));
  const rollout = startRolloutTraffic(gateway);
  return { ...rollout, stop: () => rollout.stop().finally(gateway.stop) };
}

/** Sends traffic to a gateway until it is stopped, and returns the gateway with methods for its rollout. @param {import("./gateway.js").Gateway} gateway */
export function startRolloutTraffic(gateway) {
  const { traffic, stop } = startTraffic(gateway.origin, { rate: 25 });
  const read = async (/** @type {Response} */ response) => ({ status: response.status, json: /** @type {any} */ (await response.json()) });
  const fetchStatus = async () => (await read(await gateway.fetchAdmin("/v1/rollout", VIEWER))).json;
  /** Runs `jeffrey` against this gateway. @param {string[]} args @param {{ input?: string, env?: Record<string, string> }} [options] */
  const runCommand = (args, { input = "", env = {} } = {}) => runJeffrey(args, input, {
    JEFFREY_GATEWAY_URL: `${gateway.origin}/_jeffrey`,
    JEFFREY_ADMIN_TOKEN: SECRETS.JEFFREY_ADMIN_TOKEN,
    JEFFREY_VIEWER_TOKEN: SECRETS.JEFFREY_VIEWER_TOKEN,
    USER: "somebody",
    ...env,
  });
  return {
    ...gateway,
    traffic,
    runCommand,
    /** Runs `jeffrey rollout …` against this gateway. @param {string[]} args @param {Parameters<typeof runCommand>[1]} [options] */
    runRolloutCommand: (args, options) => runCommand(["rollout", ...args], options),
    /** Ends the traffic. */
    stop,
    /** Fetches the rollout status. */
    fetchStatus,
    /** Sends an operator command. @param {object} body */
    sendCommand: async (body) => read(await gateway.fetchAdmin("/v1/admin/rollout", { ...ADMIN, method: "POST", body: JSON.stringify({ actor: "test", ...body }) })),
    /** Posts a release check to the gateway. @param {object} report */
    postReleaseCheck: async (report) => read(await gateway.fetchAdmin("/v1/admin/validation", { ...ADMIN, method: "POST", body: JSON.stringify(report) })),
    /** Fetches the history so far; `line` is an entry's JSON. */
    async fetchHistory() {
      const entries = [];
      for (let since = 0; ; ) {
        const text = await (await gateway.fetchAdmin(`/v1/rollout/history?since=${since}&limit=500`, VIEWER)).text();
        const page = text.split("\n").filter(Boolean).map((line) => ({ line, ...JSON.parse(line) }));
        if (page.length === 0) return /** @type {any[]} */ (entries);
        entries.push(...page);
        since = page.at(-1).seq;
      }
    },
    /** Waits until the release is in a phase. @param {string} phase @param {number} [share] in basis points */
    waitForPhase: (phase, share) => waitFor(async () => {
      const { rollout } = await fetchStatus();
      return rollout?.phase === phase && (share === undefined || rollout.share_basis_points === share) && rollout;
    }),
  };
}

/** Runs `jeffrey` without blocking this process, which sends traffic and serves the mock legacy system. @param {string[]} args @param {string} input @param {Record<string, string>} env @returns {Promise<{ code: number | null, stdout: string, stderr: string }>} */
export function runJeffrey(args, input, env) {
  return new Promise((resolve, reject) => {
    const child = spawn(JEFFREY, args, { env: { ...process.env, ...env } });
    let [stdout, stderr] = ["", ""];
    child.stdout.setEncoding("utf8").on("data", (chunk) => (stdout += chunk));
    child.stderr.setEncoding("utf8").on("data", (chunk) => (stderr += chunk));
    child.on("error", reject);
    child.on("close", (code) => resolve({ code, stdout, stderr }));
    // A command that reads no input may end before the write, often on a loaded machine.
    child.stdin.on("error", () => {});
    child.stdin.end(input);
  });
}
