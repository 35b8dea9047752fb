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
import { SECRETS, startGateway, waitFor } from "../support/gateway.js";
import { SAMPLE_TEXT } from "../support/gateway-calls.js";
import { runJeffrey, createPlan, runReleaseCheck } from "../support/rollout.js";
import { startTraffic } from "../support/traffic.js";

const { values } = parseArgs({ options: { minutes: { type: "string", default: "60" } } });
const MINUTES = Number(values.minutes);
if (!(MINUTES >= 1)) throw new Error(`--minutes of ${values.minutes} is not a number of at least 1`);
const REQUESTS_PER_SECOND = 20;
/** Time without a fault at the start of each round, in milliseconds. */
const HEALTHY_MS = 30_000;
/** Time from the end of a minute until it is closed, in milliseconds. */
const GRACE_MS = 5_000;
const ROLLBACK_MS_MAX = 20_000;
const FAULTS = [["fault:regex", "gate"], ["fault:mismatch", "hard failure"], ["fault:refuse:422", "gate"], ["fault:trap", "hard failure"]];

const git = (/** @type {string[]} */ ...args) => execFileSync("git", args, { encoding: "utf8" }).trim();
const commit = git("rev-parse", "--short=12", "HEAD") + (git("status", "--porcelain", "--", "src", "tests/acceptance", "wrangler.toml") ? " with changes" : "");

// A copy, because wrangler reloads the workers in the middle of calls when a build changes their files.
const BUILD_COPY = mkdtempSync(join(tmpdir(), "jeffrey-soak-"));
for (const folder of ["gateway", "model", "pages", "www"]) cpSync(join("build", folder), join(BUILD_COPY, folder), { recursive: true });
const onCall = await startCollector([{ status: 200 }]);
const gateway = await startGateway(
  { LOG_EVENTS: "off", INITIAL_SHARE: "0%", SUBJECT_COOKIE: "off", MODEL_TIMEOUT_MS: "5000", ALERT_WEBHOOKS: JSON.stringify([{ name: "on-call", url: onCall.url }]) },
  { model: "faulty", replica: true, build: BUILD_COPY },
);
const { traffic, stop: stopTraffic } = startTraffic(gateway.origin, {
  rate: REQUESTS_PER_SECOND,
  headers: (requestNumber) => /** @type {Record<string, string>} */ (requestNumber % 2 ? { "x-test-gateway": "two" } : {}),
});
/** @type {{ fault: string, cause: string, delay_ms: number }[]} */
const rollbacks = [];
try {
  await runSoak();
} finally {
  await stopTraffic();
  await gateway.stop();
  await onCall.stop();
  rmSync(BUILD_COPY, { recursive: true });
}

async function runSoak() {
  const fetchAdmin = async (/** @type {string} */ path, /** @type {object} */ init = {}) => {
    const sendRequest = () => gateway.fetchAdmin(path, { token: SECRETS.JEFFREY_ADMIN_TOKEN, ...init });
    // A kept-alive connection may close while it is reused, so a failed request is sent once more. Traffic is not repeated.
    const response = await sendRequest().catch(sendRequest);
    return /** @type {any} */ (await response.json());
  };
  const sendCommand = async (/** @type {object} */ command) => {
    const body = await fetchAdmin("/v1/admin/rollout", { method: "POST", body: JSON.stringify({ actor: "soak", ...command }) });
    if (body.error) throw new Error(body.error.message);
    return body;
  };
  const validationReport = JSON.stringify(runReleaseCheck());
  const startedAt = Date.now();
  const endsAt = startedAt + 60_000 * MINUTES;
  const plan = createPlan({ stages: ["50%", "100%"], minutes: 6_000, slow: "90%" });
  for (let round = 0; Date.now() < endsAt; round += 1) {
    // A release check is valid for 24 hours; each round posts the report again.
    await fetchAdmin("/v1/admin/validation", { method: "POST", body: validationReport });
    await sendCommand(round === 0 ? { command: "start", plan } : { command: "resume", reason: "next round" });
    traffic.userRound = round;
    const canaryBefore = traffic.canaryResponses;
    await waitFor(() => traffic.canaryResponses > canaryBefore);
    await pause(HEALTHY_MS);
    const [fault, expectedCause] = FAULTS[round % FAULTS.length];
    traffic.text = fault;
    const status = await waitFor(async () => {
      const body = await fetchAdmin("/v1/rollout");
      return body.rollout.phase === "rolled back" && body;
    });
    traffic.text = SAMPLE_TEXT;
    // Longer than an isolate may use an old snapshot (5 s) and a call may wait for the model (5 s).
    await pause(15_000);
    // On a busy machine a gate may fail before the third subject meets a trap.
    const cause = status.last_hard_failure ? "hard failure" : "gate";
    if (cause !== expectedCause) console.log(`${fault} rolled back by a ${cause}, not by a ${expectedCause}: ${JSON.stringify(status.rollout.state.phase.cause)}`);
    const detectedAt = cause === "hard failure" ? status.last_hard_failure.at_ms : 60_000 * (status.rollout.state.phase.cause.gate.failed_at_minute + 1) + GRACE_MS;
    rollbacks.push({ fault, cause, delay_ms: Math.max(0, traffic.last_canary_ms - detectedAt) });
    console.log(`${Math.round((Date.now() - startedAt) / 60_000)} of ${MINUTES} min: ${fault} rolled back, canary stopped ${rollbacks.at(-1)?.delay_ms} ms after`);
    // An isolate's circuit breaker cools down for 30 s.
    await pause(cause === "hard failure" ? 20_000 : 0);
  }
  await stopTraffic();
  // Waits up to a minute for events in flight; later ones count as missing.
  let sinkStatus = await fetchAdmin("/v1/sinks");
  for (let waitedSeconds = 0; sinkStatus.events < traffic.responses && waitedSeconds < 60; waitedSeconds += 1) {
    await pause(1_000);
    sinkStatus = await fetchAdmin("/v1/sinks");
  }
  for (const fault of traffic.failureReasons) console.log(fault);
  console.log(`${traffic.responses} calls, ${traffic.failedRequests} failed, ${JSON.stringify({ ...sinkStatus, shards: undefined })}`);
  const history = await runJeffrey(["rollout", "history", "--json", "--gateway", `${gateway.origin}/_jeffrey`], "", { JEFFREY_VIEWER_TOKEN: SECRETS.JEFFREY_VIEWER_TOKEN });
  const replay = await runJeffrey(["rollout", "replay", "-"], history.stdout, {});
  const rollbackAlerts = onCall.requests.map(({ body }) => JSON.parse(body)).filter(({ dedup_key, resolved }) => dedup_key === "rolled_back" && !resolved).length;
  const allDelays = rollbacks.map(({ delay_ms: ms }) => ms).sort((a, b) => a - b);
  const longestDelay = allDelays.at(-1) ?? 0;
  const rows = FAULTS.map(([fault, expectedCause]) => {
    const ofFault = rollbacks.filter(({ fault: rolledBackFault }) => rolledBackFault === fault);
    const delays = ofFault.map(({ delay_ms: ms }) => ms).sort((a, b) => a - b);
    const cause = [...new Set(ofFault.map(({ cause }) => cause))].join(" or ") || expectedCause;
    return delays.length ? `| ${fault} | ${cause} | ${delays.length} | ${delays[Math.floor(delays.length / 2)]} | ${delays.at(-1)} |` : `| ${fault} | ${cause} | 0 | – | – |`;
  });
  const checks = /** @type {[string, string, boolean][]} */ ([
    ["hard failure or failed gate to the last canary response, the longest", `${longestDelay} ms of at most ${ROLLBACK_MS_MAX}`, longestDelay <= ROLLBACK_MS_MAX],
    ["calls without a response with status 200", `${traffic.failedRequests} of ${traffic.responses}`, traffic.failedRequests === 0],
    ["events in the event store", `${sinkStatus.events} of ${traffic.responses}, lost ${sinkStatus.lost_events}`, sinkStatus.events === traffic.responses && sinkStatus.lost_events === 0],
    ["alerts of a rollback to on-call, one for each rollback", `${rollbackAlerts} of ${rollbacks.length}`, rollbackAlerts === rollbacks.length],
    ["a replay of the history makes the same decisions", replay.stdout.trim() || replay.stderr.trim(), replay.code === 0],
  ]);
  const date = new Date().toISOString().slice(0, 10);
  const lines = [
    "# Soak of the gateway",
    "",
    `\`node tests/acceptance/soak.js --minutes ${MINUTES}\` measured these figures on ${date} at commit ${commit}, in workerd on two cores. Two isolates`,
    `share one rollout object and get ${REQUESTS_PER_SECOND} calls a second at a share of 50 %. Each round has new users: the canary is healthy for`,
    "half a minute, then it gets a fault until the gateway rolls the release back by itself. A round takes about a minute and a half.",
    "",
    "The time is measured to the last response of the canary. It starts when the minute in which a gate failed is closed, or when an",
    "isolate reports a hard failure. With so few rounds the longest time takes the place of the 99th percentile. A missed bar is",
    'stated with its cause or with "cause not proven".',
    "",
    "| check | found | |",
    "|---|---|---|",
    ...checks.map(([check, result, holds]) => `| ${check} | ${result} | ${holds ? "holds" : "**missed**"} |`),
    "",
    "| fault | detected by | rounds | median ms | longest ms |",
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
