// An hour of a gate at a clock's pace, in workerd: two isolates before one rollout, calls all the time, and every few
// minutes a canary that goes wrong. How long it goes on answering is measured, and what is left at the end is counted.
// Writes docs/soak.md. Run it in the background: `node tests/prove/soak.js [--minutes 60]`.

import { execFileSync } from "node:child_process";
import { cpSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { startCollector } from "../support/collector.js";
import { SECRETS, startGate, until } from "../support/gate.js";
import { TEXT } from "../support/gate-calls.js";
import { jeffrey, planOf, validation } from "../support/rollout.js";
import { startTraffic } from "../support/traffic.js";

const { values } = parseArgs({ options: { minutes: { type: "string", default: "60" } } });
const MINUTES = Number(values.minutes);
if (!(MINUTES >= 1)) throw new Error(`--minutes of ${values.minutes} is not a number of at least 1`);
const RATE = 20;
/** How long it goes well before it goes wrong, in milliseconds. */
const HEALTHY_MS = 30_000;
/** A minute is closed so long after its end. */
const GRACE_MS = 5_000;
const LIMIT_MS = 20_000;
const FAULTS = [["fault:regex", "gate"], ["fault:mismatch", "breach"], ["fault:refuse:422", "gate"], ["fault:trap", "breach"]];

const git = (/** @type {string[]} */ ...args) => execFileSync("git", args, { encoding: "utf8" }).trim();
const commit = git("rev-parse", "--short=12", "HEAD") + (git("status", "--porcelain", "--", "src", "tests/prove", "wrangler.toml") ? " with changes" : "");

// A copy elsewhere: when something is built here, wrangler loads the workers anew, in the middle of calls.
const BUILD = mkdtempSync(join(tmpdir(), "jeffrey-soak-"));
for (const part of ["gate", "model", "pages", "www"]) cpSync(join("build", part), join(BUILD, part), { recursive: true });
const onCall = await startCollector([{ status: 200 }]);
const gate = await startGate(
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
    // A connection that was kept may be closed as it is used again: once more, on a new one. Calls are not asked again.
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
    // A release check lasts a day; this one is as good as new.
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
    // Longer than an isolate may go on with what it knew.
    await pause(15_000);
    const crossed = cause === "breach" ? view.last_hard_failure.at_ms : 60_000 * (view.rollout.state.phase.cause.gate.failed_at_minute + 1) + GRACE_MS;
    taken.push({ of: text, cause, ms: Math.max(0, traffic.last_canary - crossed) });
    console.log(`${Math.round((Date.now() - began) / 60_000)} of ${MINUTES} min: ${text} taken back, last canary answer ${taken.at(-1)?.ms} ms after`);
    // An isolate's breaker cools down for 30 s.
    await pause(cause === "breach" ? 20_000 : 0);
  }
  await stop();
  // What is on its way comes; what does not come is what is to be found out.
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
    ["breach to last canary answer, the longest", `${highest} ms of at most ${LIMIT_MS}`, highest <= LIMIT_MS],
    ["calls without an answer of 200", `${traffic.failed} of ${traffic.calls}`, traffic.failed === 0],
    ["events in the ledger", `${status.events} of ${traffic.calls}, lost ${status.lost}`, status.events === traffic.calls && status.lost === 0],
    ["rollbacks that on-call was told of, each once", `${told} of ${taken.length}`, told === taken.length],
    ["the history decides the same again", again.stdout.trim() || again.stderr.trim(), again.code === 0],
  ]);
  const date = new Date().toISOString().slice(0, 10);
  const lines = [
    "# Soak of the gate",
    "",
    `What \`node tests/prove/soak.js --minutes ${MINUTES}\` found on ${date} at commit ${commit}: workerd on two cores, two isolates before one`,
    `rollout object, ${RATE} calls a second of other people in each round, a share of 50 %, and a fault about every minute and a half until the gate takes the`,
    "release back by itself. A gate's evidence is stored when its minute is closed, a breach when an isolate reports it; from then on",
    "until the last answer of the canary is what is measured. Under so few runs the longest stands for the 99th percentile.",
    "",
    "| check | found | |",
    "|---|---|---|",
    ...checks.map(([what, found, holds]) => `| ${what} | ${found} | ${holds ? "holds" : "**missed**"} |`),
    "",
    "| fault | by | times | median ms | longest ms |",
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
