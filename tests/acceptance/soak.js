// The second part of `make acceptance`: runs a gateway in workerd for an hour of real time, with two isolates, one rollout
// object and steady traffic. About every minute and a half the canary gets a fault. It measures how long the canary still
// answers, counts failed calls and missing events at the end, and writes docs/soak.md.
// Run it in the background. Usage: node tests/acceptance/soak.js [--minutes 60]

import { execFileSync } from "node:child_process";
import { cpSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { startCollector } from "../support/collector.js";
import { SECRETS, startGateway, until } from "../support/gateway.js";
import { TEXT } from "../support/gateway-calls.js";
import { jeffrey, planOf, validation } from "../support/rollout.js";
import { startTraffic } from "../support/traffic.js";

const { values } = parseArgs({ options: { minutes: { type: "string", default: "60" } } });
const MINUTES = Number(values.minutes);
if (!(MINUTES >= 1)) throw new Error(`--minutes of ${values.minutes} is not a number of at least 1`);
const RATE = 20;
/** Time without a fault at the start of each round, in milliseconds. */
const HEALTHY_MS = 30_000;
/** Time from the end of a minute until it is closed, in milliseconds. */
const GRACE_MS = 5_000;
const LIMIT_MS = 20_000;
const FAULTS = [["fault:regex", "gate"], ["fault:mismatch", "hard failure"], ["fault:refuse:422", "gate"], ["fault:trap", "hard failure"]];

const git = (/** @type {string[]} */ ...args) => execFileSync("git", args, { encoding: "utf8" }).trim();
const commit = git("rev-parse", "--short=12", "HEAD") + (git("status", "--porcelain", "--", "src", "tests/acceptance", "wrangler.toml") ? " with changes" : "");

// A copy, because wrangler reloads the workers in the middle of calls when a build changes their files.
const BUILD = mkdtempSync(join(tmpdir(), "jeffrey-soak-"));
for (const part of ["gate", "model", "pages", "www"]) cpSync(join("build", part), join(BUILD, part), { recursive: true });
const onCall = await startCollector([{ status: 200 }]);
const gate = await startGateway(
  { LOG_EVENTS: "off", INITIAL_SHARE: "0%", SUBJECT_COOKIE: "off", MODEL_TIMEOUT_MS: "5000", ALERT_WEBHOOKS: JSON.stringify([{ name: "on-call", url: onCall.url }]) },
  { model: "faulty", two: true, build: BUILD },
);
const { traffic, stop } = startTraffic(gate.origin, {
  rate: RATE,
  headers: (call) => /** @type {Record<string, string>} */ (call % 2 ? { "x-gate": "two" } : {}),
});
/** @type {{ of: string, cause: string, ms: number }[]} */
const taken = [];
try {
  await run();
} finally {
  await stop();
  await gate.stop();
  await onCall.stop();
  rmSync(BUILD, { recursive: true });
}

async function run() {
  const own = async (/** @type {string} */ path, /** @type {object} */ init = {}) => {
    const ask = () => gate.own(path, { token: SECRETS.JEFFREY_ADMIN_TOKEN, ...init });
    // A kept connection may close while it is reused, so a failed request is sent once more. Traffic is not repeated.
    const response = await ask().catch(ask);
    return /** @type {any} */ (await response.json());
  };
  const wish = async (/** @type {object} */ body) => {
    const found = await own("/v1/admin/rollout", { method: "POST", body: JSON.stringify({ actor: "soak", ...body }) });
    if (found.error) throw new Error(found.error.message);
    return found;
  };
  const report = JSON.stringify(validation());
  const began = Date.now();
  const ends = began + 60_000 * MINUTES;
  const plan = planOf({ stages: ["50%", "100%"], minutes: 6_000, slow: "90%" });
  for (let round = 0; Date.now() < ends; round += 1) {
    // A release check is valid for 24 hours; each round posts the report again.
    await own("/v1/admin/validation", { method: "POST", body: report });
    await wish(round === 0 ? { command: "start", plan } : { command: "resume", reason: "next round" });
    traffic.round = round;
    const before = traffic.canary;
    await until(() => traffic.canary > before);
    await pause(HEALTHY_MS);
    const [text, cause] = FAULTS[round % FAULTS.length];
    traffic.text = text;
    const view = await until(async () => {
      const found = await own("/v1/rollout");
      return found.rollout.phase === "rolled back" && found;
    });
    traffic.text = TEXT;
    // Longer than an isolate may use an old snapshot (5 s) and a call may wait for the model (5 s).
    await pause(15_000);
    const crossed = cause === "hard failure" ? view.last_hard_failure.at_ms : 60_000 * (view.rollout.state.phase.cause.gate.failed_at_minute + 1) + GRACE_MS;
    taken.push({ of: text, cause, ms: Math.max(0, traffic.last_canary - crossed) });
    console.log(`${Math.round((Date.now() - began) / 60_000)} of ${MINUTES} min: ${text} rolled back, last canary answer ${taken.at(-1)?.ms} ms after`);
    // An isolate's circuit breaker cools down for 30 s.
    await pause(cause === "hard failure" ? 20_000 : 0);
  }
  await stop();
  // Waits up to a minute for events in flight; later ones count as missing.
  let status = await own("/v1/sinks");
  for (let waited = 0; status.events < traffic.calls && waited < 60; waited += 1) {
    await pause(1_000);
    status = await own("/v1/sinks");
  }
  for (const fault of traffic.faults) console.log(fault);
  console.log(`${traffic.calls} calls, ${traffic.failed} failed, ${JSON.stringify({ ...status, shards: undefined })}`);
  const history = await jeffrey(["rollout", "history", "--json", "--gateway", `${gate.origin}/_jeffrey`], "", { JEFFREY_VIEWER_TOKEN: SECRETS.JEFFREY_VIEWER_TOKEN });
  const again = await jeffrey(["rollout", "replay", "-"], history.stdout, {});
  const told = onCall.asked.map(({ body }) => JSON.parse(body)).filter(({ key, resolved }) => key === "rolled_back" && !resolved).length;
  const times = taken.map(({ ms }) => ms).sort((a, b) => a - b);
  const highest = times.at(-1) ?? 0;
  const rows = FAULTS.map(([text, cause]) => {
    const mine = taken.filter(({ of }) => of === text).map(({ ms }) => ms).sort((a, b) => a - b);
    return mine.length ? `| ${text} | ${cause} | ${mine.length} | ${mine[Math.floor(mine.length / 2)]} | ${mine.at(-1)} |` : `| ${text} | ${cause} | 0 | – | – |`;
  });
  const checks = /** @type {[string, string, boolean][]} */ ([
    ["hard failure or failed gate to the last canary answer, the longest", `${highest} ms of at most ${LIMIT_MS}`, highest <= LIMIT_MS],
    ["calls without a response with status 200", `${traffic.failed} of ${traffic.calls}`, traffic.failed === 0],
    ["events in the event store", `${status.events} of ${traffic.calls}, lost ${status.lost}`, status.events === traffic.calls && status.lost === 0],
    ["alerts of a rollback to on-call, one for each rollback", `${told} of ${taken.length}`, told === taken.length],
    ["a replay of the history decides the same", again.stdout.trim() || again.stderr.trim(), again.code === 0],
  ]);
  const date = new Date().toISOString().slice(0, 10);
  const lines = [
    "# Soak of the gateway",
    "",
    `\`node tests/acceptance/soak.js --minutes ${MINUTES}\` measured these figures on ${date} at commit ${commit}, in workerd on two cores. Two isolates`,
    `share one rollout object and get ${RATE} calls a second at a share of 50 %. Each round has new users: the canary is healthy for`,
    "half a minute, then it gets a fault until the gateway rolls the release back by itself. A round takes about a minute and a half.",
    "",
    "The time is measured to the last answer of the canary. It starts when the minute in which a gate failed is closed, or when an",
    "isolate reports a hard failure. With so few rounds the longest time takes the place of the 99th percentile. A missed bar is",
    'stated with its cause or with "cause not proven".',
    "",
    "| check | found | |",
    "|---|---|---|",
    ...checks.map(([what, found, holds]) => `| ${what} | ${found} | ${holds ? "holds" : "**missed**"} |`),
    "",
    "| fault | found by | rounds | median ms | longest ms |",
    "|---|---|---|---|---|",
    ...rows,
    "",
  ];
  writeFileSync("docs/soak.md", lines.join("\n"));
  console.log(lines.join("\n"));
  if (checks.some(([, , holds]) => !holds)) process.exitCode = 1;
}

/** @param {number} ms */
function pause(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
