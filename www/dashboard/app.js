// The dashboard: draws the status of a release and sends commands. Numbers, verdicts, messages and the allowed commands
// come from the gateway; this page only formats them.

import { ApiError, createClient } from "./api.js";
import { catalogue } from "./catalogue.js";
import { createCharts } from "./charts.js";
import { renderMessage } from "./messages.js";
import { strings } from "./strings.js";

/** @typedef {import("./strings.js").Language} Language */
/** @typedef {keyof typeof strings.en} TextKey */

/** After this time without a status, in milliseconds, the page says that it is stale. */
const STALE_MS = 5_000;
const POLL_MS = 2_000;
/** Number of streams that fail in a row before the page polls. */
const STREAM_FAILURES_MAX = 3;
/** Length of the charts, in minutes. */
const CHART_MINUTES = 180;

/** @template {HTMLElement} T @param {string} id @returns {T} */
const element = (id) => /** @type {T} */ (document.getElementById(id));

/** @type {Language} */
let language = navigator.language.startsWith("fr") ? "fr" : "en";
/** @type {ReturnType<typeof createClient> | null} */
let client = null;
/** @type {any} */
let status = null;
let updated_ms = 0;
let polling = false;
/** @type {import("./api.js").Point[]} */
let points = [];
/** @type {import("./api.js").Decision[]} */
let decisions = [];
/** Number of the last history entry that was read; most entries are minutes without a decision. */
let lastEntry = 0;
const drawCharts = createCharts(element("charts"));
/** A past time to show instead of now, in milliseconds since 1970 or in ISO 8601; null shows now. */
const asOf = new URLSearchParams(location.search).get("at");

const t = (/** @type {string} */ name) => strings[language][/** @type {TextKey} */ (name)] ?? name;

function applyLanguage() {
  document.documentElement.lang = language;
  for (const node of document.querySelectorAll("[data-text]")) {
    if (node.id !== "says" || status === null) node.textContent = t(/** @type {HTMLElement} */ (node).dataset.text ?? "");
  }
  for (const node of document.querySelectorAll("[data-label]")) node.setAttribute("aria-label", t(/** @type {HTMLElement} */ (node).dataset.label ?? ""));
  for (const button of document.querySelectorAll("[data-language]")) button.setAttribute("aria-pressed", String(button.getAttribute("data-language") === language));
  if (status) render();
}

for (const button of document.querySelectorAll("[data-language]")) {
  button.addEventListener("click", () => {
    language = /** @type {Language} */ (button.getAttribute("data-language"));
    applyLanguage();
  });
}

element("sign-in").addEventListener("submit", async (event) => {
  event.preventDefault();
  const token = /** @type {HTMLInputElement} */ (element("token")).value;
  const newClient = createClient(token);
  try {
    status = await newClient.fetchStatus();
  } catch (error) {
    const unauthorized = error instanceof ApiError && [401, 403].includes(error.status);
    return showError("sign-in-refusal", unauthorized ? t("notTaken") : error instanceof ApiError ? error.message : t("away"));
  }
  element("token").remove();
  element("sign-in").hidden = true;
  element("board").hidden = false;
  client = newClient;
  updated_ms = Date.now();
  render();
  followStatus();
  pollHistory();
  setInterval(showFreshness, 500);
});

/** Reads the status from a stream, and polls after `STREAM_FAILURES_MAX` failures in a row. */
async function followStatus() {
  let failures = 0;
  for (;;) {
    let received = false;
    polling = failures >= STREAM_FAILURES_MAX;
    try {
      if (polling) {
        updateStatus(await client?.fetchStatus());
        // After about one poll in 20, try a stream again.
        failures = Math.random() < 0.05 ? 0 : failures;
        await pause(POLL_MS);
        continue;
      }
      await client?.followStatus((newStatus) => {
        received = true;
        updateStatus(newStatus);
      }, new AbortController().signal);
    } catch {
      // The status becomes stale, and `showFreshness` shows it.
    }
    failures = received ? 0 : failures + 1;
    await pause(Math.min(500 * 2 ** failures, POLL_MS));
  }
}

/** @param {any} newStatus */
function updateStatus(newStatus) {
  const messageChanged = newStatus.message !== status?.message;
  status = newStatus;
  updated_ms = Date.now();
  render();
  if (messageChanged) element("announcement").textContent = element("says").textContent;
}

/** Fetches new minutes and decisions, every `POLL_MS`. */
async function pollHistory() {
  const firstMinute = Math.floor((status.rollout?.now_ms ?? Date.now()) / 60_000) - CHART_MINUTES;
  for (;;) {
    try {
      for (;;) {
        const more = (await client?.fetchSeries(points.length ? points[points.length - 1].at_ms / 60_000 : firstMinute)) ?? [];
        if (more.length === 0) break;
        points = [...points, ...more].slice(-CHART_MINUTES);
      }
      const more = await client?.fetchDecisions(lastEntry);
      if (more) {
        decisions.push(...more.decisions);
        lastEntry = more.after;
      }
      render();
    } catch {
      // The next round requests the same again.
    }
    await pause(POLL_MS);
  }
}

/** @param {number} ms */
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** @param {string} id @param {string} message */
function showError(id, message) {
  const node = element(id);
  node.textContent = message;
  node.hidden = message === "";
}

function showFreshness() {
  const node = element("freshness");
  const stale = asOf === null && Date.now() - updated_ms > STALE_MS;
  node.classList.toggle("stale", stale);
  node.textContent = stale ? `${t("stale")} ${new Date(updated_ms).toLocaleTimeString(language)}` : t(polling ? "polled" : "live");
}

/** What to show: the current status, or with `asOf` the last decision up to that time. */
function selectStatus() {
  if (asOf === null) {
    const { message_code: code, message_args: args, message: text } = status;
    return { past: null, message: renderMessage(catalogue[language], { code, args, text }), rollout: status.rollout, figures: status.figures };
  }
  const until = /^\d+$/.test(asOf) ? Number(asOf) : Date.parse(asOf);
  const past = decisions.findLast(({ at_ms }) => at_ms <= until) ?? null;
  if (!past) return { past, message: `${status.release}: –`, rollout: null, figures: null };
  const share = `${past.share_basis_points / 100} %`;
  const rollout = status.rollout && { ...status.rollout, phase: past.phase, share_basis_points: past.share_basis_points, gates: past.gates, minutes_left: null };
  return { past, message: `${status.release}, ${share}: ${describeDecision(past)}`, rollout, figures: null };
}

function render() {
  const { past, message, rollout, figures } = selectStatus();
  element("says").textContent = message;
  document.title = message;
  showFreshness();
  const pastNotice = element("past");
  pastNotice.hidden = asOf === null;
  if (asOf !== null) {
    const link = document.createElement("a");
    link.href = "./";
    link.textContent = t("now");
    pastNotice.replaceChildren(`${t("past")} ${past ? formatTime(past.at_ms) : asOf}. `, link);
  }
  drawStages(rollout);
  drawCommands(asOf === null ? (rollout?.allowed_commands ?? status.allowed_commands) : []);
  drawCohorts(figures, past?.counts ?? null);
  drawGates(rollout?.gates?.findings ?? []);
  const shownPoints = past ? points.filter(({ at_ms }) => at_ms <= past.at_ms) : points;
  drawCharts(shownPoints, decisions, strings[language]);
  drawHistory();
}

/** @param {any} rollout */
function drawStages(rollout) {
  const list = (rollout?.stages ?? []).map((/** @type {any} */ stage, /** @type {number} */ index) => {
    const item = document.createElement("li");
    item.textContent = formatPercent(stage.share_basis_points / 10_000, 0);
    if (stage.share_basis_points === rollout.share_basis_points && index === rollout.state.stage) item.setAttribute("aria-current", "step");
    return item;
  });
  element("stages").replaceChildren(...list);
  const info = [];
  if (!rollout) info.push(t("noPlan"));
  else if (rollout.minutes_left !== null) {
    info.push(`${formatMinutes(rollout.minutes_in_stage)} ${t("inStage")}`, rollout.minutes_left > 0 ? `${formatMinutes(rollout.minutes_left)} ${t("toGo")}` : t("timeOver"));
  }
  if (rollout?.time_scale > 1) info.push(`${rollout.time_scale} ${t("rehearsal")}`);
  element("clock").textContent = info.join(", ");
}

/** @param {string[]} names names of the allowed commands */
function drawCommands(names) {
  const container = element("commands");
  if (container.dataset.shown === `${language} ${names}`) return;
  container.dataset.shown = `${language} ${names}`;
  const focused = document.activeElement?.getAttribute("data-command");
  container.replaceChildren(...names.map((/** @type {string} */ name) => {
    const button = document.createElement("button");
    button.type = "button";
    button.dataset.command = name;
    button.textContent = t(name === "rollback" ? "roll_back" : name);
    button.addEventListener("click", () => confirmCommand(name));
    return button;
  }));
  if (focused) /** @type {HTMLElement | null} */ (container.querySelector(`[data-command="${focused}"]`))?.focus();
}

/** Asks the operator for a reason, then sends the command to the gateway. @param {string} name */
function confirmCommand(name) {
  const dialog = /** @type {HTMLDialogElement} */ (element("ask"));
  const title = t(name === "rollback" ? "roll_back" : name);
  const reason = /** @type {HTMLInputElement} */ (element("reason"));
  const { version } = status;
  element("ask-label").textContent = title;
  element("ask-do").textContent = title;
  reason.required = !["start", "approve"].includes(name);
  reason.value = "";
  dialog.returnValue = "";
  dialog.onclose = async () => {
    if (dialog.returnValue !== "do") return;
    showError("refusal", "");
    try {
      updateStatus(await client?.sendCommand(name, reason.value.trim(), /** @type {HTMLInputElement} */ (element("by")).value.trim(), version));
      element("announcement").textContent = t("done");
    } catch (error) {
      showError("refusal", error instanceof ApiError ? error.message : t("away"));
    }
  };
  dialog.showModal();
}

/** @typedef {["requests" | "answers" | "feedback_count" | null, TextKey]} Row */
const COHORT_ROWS = /** @type {[string, "ofRequests" | "ofAnswers" | "ofFeedback" | null, string][]} */ ([
  ["requests", null, ""],
  ["errors", "ofRequests", "requests"],
  ["slow", "ofRequests", "requests"],
  ["p50", "ofRequests", "requests"],
  ["p95", "ofRequests", "requests"],
  ["p99", "ofRequests", "requests"],
  ["regex", "ofAnswers", "answers"],
  ["prototypes", "ofAnswers", "answers"],
  ["low_confidence", "ofAnswers", "answers"],
  ["mean_confidence", "ofAnswers", "answers"],
  ["rule_applied", "ofAnswers", "answers"],
  ["bad_feedback_rate", "ofFeedback", "feedback_count"],
]);
const LABELS = { en: "joy sadness anger fear surprise disgust neutral frustration", fr: "joie tristesse colère peur surprise dégoût neutre frustration" };

/** @param {any} figures @param {any[] | null} counts */
function drawCohorts(figures, counts) {
  /** @type {HTMLTableRowElement[]} */
  const rows = [];
  const add = (/** @type {string} */ name, /** @type {[string, string?][]} */ cells) => {
    const row = document.createElement("tr");
    const head = document.createElement("th");
    head.scope = "row";
    head.textContent = name;
    row.append(head);
    for (const [text, small] of cells) {
      const cell = row.insertCell();
      cell.textContent = text;
      if (small) {
        const note = document.createElement("small");
        note.textContent = small;
        cell.append(note);
      }
    }
    rows.push(row);
  };
  if (figures) {
    const cohorts = [figures.canary, figures.stable];
    for (const [name, sampleLabel, sampleField] of COHORT_ROWS) {
      add(t(name), cohorts.map((cohort) => {
        const note = sampleLabel && cohort[sampleField] ? `${t(sampleLabel)} ${formatNumber(cohort[sampleField])}` : undefined;
        if (name === "requests") return [formatNumber(cohort.requests)];
        if (/^p\d\d$/.test(name)) return [cohort.latency_ms ? `${formatNumber(Math.round(cohort.latency_ms[name]))} ms` : "–", note];
        if (name === "mean_confidence") return [cohort.mean_confidence === null ? "–" : cohort.mean_confidence.toFixed(3), note];
        if (name === "bad_feedback_rate" && cohort.bad_feedback_rate_interval) return [`${formatPercent(cohort.bad_feedback_rate)} [${cohort.bad_feedback_rate_interval.map((/** @type {number} */ share) => formatPercent(share, 1)).join("–")}]`, note];
        return [cohort[name] === null ? "–" : formatPercent(cohort[name]), note];
      }));
    }
    add(t("shadows"), [[figures.shadows_agree === null ? "–" : formatPercent(figures.shadows_agree), figures.shadow_count ? `${t("ofShadows")} ${formatNumber(figures.shadow_count)}` : undefined], ["–"]]);
    for (const [index, label] of LABELS[language].split(" ").entries()) {
      add(label, cohorts.map((cohort) => (cohort.labels ? [formatPercent(cohort.labels[index]), `${t("ofAnswers")} ${formatNumber(cohort.answers)}`] : ["–"])));
    }
  } else if (counts) {
    add(t("requests"), counts.map((cohort) => [formatNumber(cohort.requests)]));
    add(t("errors"), counts.map((cohort) => [formatNumber(cohort.errors_5xx + cohort.fallbacks)]));
  }
  element("cohorts").replaceChildren(...rows);
}

/** @param {any[]} findings */
function drawGates(findings) {
  const rows = findings.map((finding) => {
    const row = document.createElement("tr");
    const head = document.createElement("th");
    head.scope = "row";
    head.textContent = finding.gate;
    row.append(head);
    const effect = finding.effect === "roll_back" ? "roll_back" : finding.effect === "warn" ? "warn" : "block_advance";
    const formatValue = (/** @type {number | null} */ value) => (value === null ? "–" : value.toFixed(4));
    for (const text of [t(effect).toLowerCase(), t(finding.verdict), formatValue(finding.value), formatValue(finding.limit), formatNumber(finding.samples)]) {
      const cell = row.insertCell();
      cell.textContent = text;
    }
    if (finding.verdict === "fail") row.cells[2].className = "fail";
    row.append(createEvidenceCell(finding));
    row.insertCell().textContent = finding.decides_in_minutes === null ? "–" : formatMinutes(finding.decides_in_minutes);
    return row;
  });
  element("gates").replaceChildren(...rows);
}

/** A gate's evidence as a bar that is full at the threshold; a dash if either is missing. @param {any} finding */
function createEvidenceCell(finding) {
  const cell = document.createElement("td");
  if (finding.ln_evidence === null || finding.ln_threshold === null) {
    cell.textContent = "–";
    return cell;
  }
  const progress = Math.min(Math.max(finding.ln_evidence / finding.ln_threshold, 0), 1);
  const bar = document.createElement("meter");
  bar.value = progress;
  bar.setAttribute("aria-label", `${t("evidence")}: ${finding.gate}`);
  cell.append(bar, ` ${formatPercent(progress, 0)}`);
  return cell;
}

/** The cause and the consequence of a decision, in the page's language. @param {import("./api.js").Decision} decision */
function describeDecision({ trigger, outcome }) {
  return [trigger, outcome].map((message) => renderMessage(catalogue[language], message)).join(t("colon"));
}

/** Draws the last 200 decisions, the latest first, each with the gates at that time. */
function drawHistory() {
  const list = element("history");
  const key = `${language} ${decisions.at(-1)?.id}`;
  if (list.dataset.shown === key) return;
  list.dataset.shown = key;
  const open = new Set([...list.querySelectorAll("details[open]")].map((details) => details.getAttribute("data-id")));
  list.replaceChildren(...decisions.slice(-200).reverse().map((decision) => {
    const item = document.createElement("li");
    item.value = decision.id;
    const time = document.createElement("a");
    time.href = `?at=${decision.at_ms}`;
    time.textContent = formatTime(decision.at_ms);
    const text = document.createElement("span");
    text.textContent = ` ${describeDecision(decision)} (${formatPercent(decision.share_basis_points / 10_000, 0)})`;
    item.append(time, text);
    if (decision.gates) {
      const details = document.createElement("details");
      details.dataset.id = String(decision.id);
      details.open = open.has(String(decision.id));
      const summary = document.createElement("summary");
      summary.textContent = t("explain");
      details.append(summary, ...decision.gates.findings.map((/** @type {any} */ finding) => {
        const line = document.createElement("p");
        line.textContent = `${finding.gate}: ${t(finding.verdict)}, ${finding.value?.toFixed(4) ?? "–"} / ${finding.limit?.toFixed(4) ?? "–"}, ${finding.hits} / ${finding.samples}`;
        if (finding.verdict === "fail") line.className = "fail";
        return line;
      }));
      item.append(details);
    }
    return item;
  }));
}

/** @param {number} at_ms */
const formatTime = (at_ms) => `${new Date(at_ms).toISOString().slice(0, 16).replace("T", " ")} UTC`;
/** Cached formats by language and digits: creating one takes longer than a hundred uses. @type {Map<string, Intl.NumberFormat>} */
const formats = new Map();
/** @param {number} value */
const formatNumber = (value) => value.toLocaleString(language);
/** @param {number} share @param {number} [digits] */
function formatPercent(share, digits = 2) {
  const key = `${language} ${digits}`;
  const format = formats.get(key) ?? new Intl.NumberFormat(language, { style: "percent", minimumFractionDigits: digits, maximumFractionDigits: digits });
  formats.set(key, format);
  return format.format(share);
}
/** @param {number} count */
const formatMinutes = (count) => (count < 60 ? `${count} ${t("minutes")}` : `${Math.floor(count / 60)} ${t("hours")} ${count % 60} ${t("minutes")}`);

applyLanguage();
