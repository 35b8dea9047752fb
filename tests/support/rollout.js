// A gateway's rollout with TIME_SCALE 60: its plan, its traffic and its commands.

import { execFileSync, spawn } from "node:child_process";
import { SECRETS, startGateway, until } from "./gateway.js";
import { JEFFREY } from "./gateway-calls.js";
import { startTraffic } from "./traffic.js";

export const PACE = 60;
const ADMIN = { token: SECRETS.JEFFREY_ADMIN_TOKEN };
const VIEWER = { token: SECRETS.JEFFREY_VIEWER_TOKEN };

/** A plan of short stages, with the shipped plan's `roll_back` gates and its sample-ratio gate. @param {{ stages?: string[], minutes?: number, more?: string, stage?: string, slow?: string }} [options] `minutes`: of each stage at least, in scaled time; `slow`: limit on the part of requests above 200 ms */
export function planOf({ stages = ["10%", "20%", "50%", "75%", "100%"], minutes = 8, more = "", stage = "", slow = "5%" } = {}) {
  const rungs = stages.map((share) => `[[stage]]\nshare = "${share}"\nmin_duration = "${minutes}m"\nmin_samples = 20\n${stage}`);
  return `release = "e1-small"
holdout = "1%"
traffic_per_minute = 25
deadline = "3d"
notify = ["log", "all"]
[budget]
roll_back = "1%"
warn = "1%"
block_advance = "5%"
[stable]
errors = "60%"
slow = "99%"
${rungs.join("\n")}
[[gate]]
name = "errors against stable"
metric = "errors"
compared = "+50%"
effect = "roll_back"
level = "subjects"
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
${more}`;
}

/** A release check of the built-in model, from `jeffrey validate --json`. */
export function validation() {
  return JSON.parse(execFileSync(JEFFREY, ["validate", "--json"], { encoding: "utf8" }));
}

/** @typedef {import("./gateway.js").GatewayOptions & import("./gateway.js").SessionOptions} Options */

/**
 * Variables and options for `startGateways`: a gateway with scaled time and a model that fails on demand.
 *
 * @param {Record<string, string>} [variables] @param {Options} [options]
 * @returns {[Record<string, string>, Options]}
 */
export const walkable = (variables = {}, options = {}) =>
  [{ TIME_SCALE: String(PACE), LOG_EVENTS: "off", INITIAL_SHARE: "0%", MODEL_TIMEOUT_MS: "5000", ...variables }, { model: "faulty", ...options }];

/**
 * Starts such a gateway, with traffic, in its own session.
 *
 * @param {Record<string, string>} [variables] @param {Options} [options]
 */
export async function startRollout(variables, options) {
  const gate = await startGateway(...walkable(variables, options));
  const walked = walk(gate);
  return { ...walked, stop: () => walked.stop().finally(gate.stop) };
}

/** Sends traffic to a gateway until it is stopped, and returns the gateway with methods for its rollout. @param {import("./gateway.js").Gate} gate */
export function walk(gate) {
  const { traffic, stop } = startTraffic(gate.origin, { rate: 25 });
  const json = async (/** @type {Response} */ response) => ({ status: response.status, json: /** @type {any} */ (await response.json()) });
  const view = async () => (await json(await gate.own("/v1/rollout", VIEWER))).json;
  /** Runs `jeffrey` against this gateway. @param {string[]} args @param {{ input?: string, env?: Record<string, string> }} [options] */
  const command = (args, { input = "", env = {} } = {}) => jeffrey(args, input, {
    JEFFREY_GATEWAY_URL: `${gate.origin}/_jeffrey`,
    JEFFREY_ADMIN_TOKEN: SECRETS.JEFFREY_ADMIN_TOKEN,
    JEFFREY_VIEWER_TOKEN: SECRETS.JEFFREY_VIEWER_TOKEN,
    USER: "somebody",
    ...env,
  });
  return {
    ...gate,
    traffic,
    command,
    /** Runs `jeffrey rollout …` against this gateway. @param {string[]} args @param {Parameters<typeof command>[1]} [options] */
    words: (args, options) => command(["rollout", ...args], options),
    /** Ends the traffic. */
    stop,
    /** Fetches the rollout status. */
    view,
    /** Sends an operator command. @param {object} body */
    wish: async (body) => json(await gate.own("/v1/admin/rollout", { ...ADMIN, method: "POST", body: JSON.stringify({ actor: "test", ...body }) })),
    /** Posts a release check to the gateway. @param {object} report */
    validate: async (report) => json(await gate.own("/v1/admin/validation", { ...ADMIN, method: "POST", body: JSON.stringify(report) })),
    /** Fetches the history so far; `line` is an entry's JSON. */
    async history() {
      const entries = [];
      for (let since = 0; ; ) {
        const text = await (await gate.own(`/v1/rollout/history?since=${since}&limit=500`, VIEWER)).text();
        const page = text.split("\n").filter(Boolean).map((line) => ({ line, ...JSON.parse(line) }));
        if (page.length === 0) return /** @type {any[]} */ (entries);
        entries.push(...page);
        since = page.at(-1).seq;
      }
    },
    /** Waits until the release is in a phase. @param {string} phase @param {number} [share] in basis points */
    reaches: (phase, share) => until(async () => {
      const { rollout } = await view();
      return rollout?.phase === phase && (share === undefined || rollout.share_basis_points === share) && rollout;
    }),
  };
}

/** Runs `jeffrey` without blocking this process, which sends traffic and serves the mock legacy system. @param {string[]} args @param {string} input @param {Record<string, string>} env @returns {Promise<{ code: number | null, stdout: string, stderr: string }>} */
export function jeffrey(args, input, env) {
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
