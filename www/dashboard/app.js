// The dashboard: draws the status of a release and sends commands. Numbers, verdicts, sentences and the allowed commands
// come from the gateway; this page only formats them.

import { Refusal, gate } from "./api.js";
import { charts } from "./charts.js";
import { strings } from "./strings.js";

/** @typedef {import("./strings.js").Language} Language */
/** @typedef {keyof typeof strings.en} Word */

/** After this time without a status, in milliseconds, the page says that it is stale. */
const STALE_MS = 5_000;
const POLL_MS = 2_000;
/** Number of streams that fail in a row before the page polls. */
const STREAMS = 3;
/** Length of the charts, in minutes. */
const MINUTES = 180;

/** @template {HTMLElement} T @param {string} id @returns {T} */
const element = (id) => /** @type {T} */ (document.getElementById(id));

/** @type {Language} */
let language = navigator.language.startsWith("fr") ? "fr" : "en";
/** @type {ReturnType<typeof gate> | null} */
let asked = null;
/** @type {any} */
let standing = null;
let heard = 0;
let polls = false;
/** @type {import("./api.js").Point[]} */
let points = [];
/** @type {import("./api.js").Decision[]} */
let decisions = [];
/** Number of the last history entry that was read; most entries are minutes without a decision. */
let read = 0;
const draw = charts(element("charts"));
/** A past time to show instead of now, in milliseconds since 1970 or in ISO 8601; null shows now. */
const at = new URLSearchParams(location.search).get("at");

const word = (/** @type {string} */ name) => strings[language][/** @type {Word} */ (name)] ?? name;

function translate() {
  document.documentElement.lang = language;
  for (const node of document.querySelectorAll("[data-text]")) {
    if (node.id !== "says" || standing === null) node.textContent = word(/** @type {HTMLElement} */ (node).dataset.text ?? "");
  }
  for (const node of document.querySelectorAll("[data-label]")) node.setAttribute("aria-label", word(/** @type {HTMLElement} */ (node).dataset.label ?? ""));
  for (const button of document.querySelectorAll("[data-language]")) button.setAttribute("aria-pressed", String(button.getAttribute("data-language") === language));
  if (standing) show();
}

for (const button of document.querySelectorAll("[data-language]")) {
  button.addEventListener("click", () => {
    language = /** @type {Language} */ (button.getAttribute("data-language"));
    translate();
  });
}

element("sign-in").addEventListener("submit", async (event) => {
  event.preventDefault();
  const token = /** @type {HTMLInputElement} */ (element("token")).value;
  const candidate = gate(token);
  try {
    standing = await candidate.standing();
  } catch (error) {
    const unknown = error instanceof Refusal && [401, 403].includes(error.status);
    return refuse("sign-in-refusal", unknown ? word("notTaken") : error instanceof Refusal ? error.message : word("away"));
  }
  element("token").remove();
  element("sign-in").hidden = true;
  element("board").hidden = false;
  asked = candidate;
  heard = Date.now();
  show();
  follow();
  accompany();
  setInterval(freshness, 500);
});

/** Reads the status from a stream, and polls after `STREAMS` failures in a row. */
async function follow() {
  let failed = 0;
  for (;;) {
    let came = false;
    polls = failed >= STREAMS;
    try {
      if (polls) {
        hear(await asked?.standing());
        // After about one poll in 20, try a stream again.
        failed = Math.random() < 0.05 ? 0 : failed;
        await pause(POLL_MS);
        continue;
      }
      await asked?.live((found) => {
        came = true;
        hear(found);
      }, new AbortController().signal);
    } catch {
      // The status becomes stale, and `freshness` shows it.
    }
    failed = came ? 0 : failed + 1;
    await pause(Math.min(500 * 2 ** failed, POLL_MS));
  }
}

/** @param {any} found */
function hear(found) {
  const news = found.message !== standing?.message;
  standing = found;
  heard = Date.now();
  show();
  if (news) element("announcement").textContent = element("says").textContent;
}

/** Fetches new minutes and decisions, every `POLL_MS`. */
async function accompany() {
  const first = Math.floor((standing.rollout?.now_ms ?? Date.now()) / 60_000) - MINUTES;
  for (;;) {
    try {
      for (;;) {
        const more = (await asked?.series(points.length ? points[points.length - 1].at_ms / 60_000 : first)) ?? [];
        if (more.length === 0) break;
        points = [...points, ...more].slice(-MINUTES);
      }
      const more = await asked?.decisions(read);
      if (more) {
        decisions.push(...more.decisions);
        read = more.after;
      }
      show();
    } catch {
      // The next round requests the same again.
    }
    await pause(POLL_MS);
  }
}

/** @param {number} ms */
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** @param {string} id @param {string} why */
function refuse(id, why) {
  const place = element(id);
  place.textContent = why;
  place.hidden = why === "";
}

function freshness() {
  const place = element("freshness");
  const stale = at === null && Date.now() - heard > STALE_MS;
  place.classList.toggle("stale", stale);
  place.textContent = stale ? `${word("stale")} ${new Date(heard).toLocaleTimeString(language)}` : word(polls ? "polled" : "live");
}

/** What to show: the current status, or with `at` the last decision up to that time. */
function moment() {
  if (at === null) return { past: null, says: language === "fr" ? standing.message_fr : standing.message, rollout: standing.rollout, figures: standing.figures };
  const until = /^\d+$/.test(at) ? Number(at) : Date.parse(at);
  const past = decisions.findLast(({ at_ms }) => at_ms <= until) ?? null;
  if (!past) return { past, says: `${standing.release}: –`, rollout: null, figures: null };
  const share = `${past.share_basis_points / 100} %`;
  const rollout = standing.rollout && { ...standing.rollout, phase: past.phase, share_basis_points: past.share_basis_points, gates: past.gates, minutes_left: null };
  return { past, says: `${standing.release}, ${share}: ${clauses(past)}`, rollout, figures: null };
}

function show() {
  const { past, says, rollout, figures } = moment();
  element("says").textContent = says;
  document.title = says;
  freshness();
  const old = element("past");
  old.hidden = at === null;
  if (at !== null) {
    const link = document.createElement("a");
    link.href = "./";
    link.textContent = word("now");
    old.replaceChildren(`${word("past")} ${past ? when(past.at_ms) : at}. `, link);
  }
  stages(rollout);
  commands(at === null ? (rollout?.allowed_commands ?? standing.allowed_commands) : []);
  cohorts(figures, past?.counted ?? null);
  gates(rollout?.gates?.findings ?? []);
  const shown = past ? points.filter(({ at_ms }) => at_ms <= past.at_ms) : points;
  draw(shown, decisions, strings[language]);
  history();
}

/** @param {any} rollout */
function stages(rollout) {
  const list = (rollout?.stages ?? []).map((/** @type {any} */ stage, /** @type {number} */ number) => {
    const item = document.createElement("li");
    item.textContent = percent(stage.share_basis_points / 10_000, 0);
    if (stage.share_basis_points === rollout.share_basis_points && number === rollout.state.stage) item.setAttribute("aria-current", "step");
    return item;
  });
  element("stages").replaceChildren(...list);
  const parts = [];
  if (!rollout) parts.push(word("noPlan"));
  else if (rollout.minutes_left !== null) {
    parts.push(`${minutes(rollout.minutes)} ${word("inStage")}`, rollout.minutes_left > 0 ? `${minutes(rollout.minutes_left)} ${word("toGo")}` : word("timeOver"));
  }
  if (rollout?.time_scale > 1) parts.push(`${rollout.time_scale} ${word("rehearsal")}`);
  element("clock").textContent = parts.join(", ");
}

/** @param {string[]} names names of the allowed commands */
function commands(names) {
  const place = element("commands");
  if (place.dataset.shown === `${language} ${names}`) return;
  place.dataset.shown = `${language} ${names}`;
  const focused = document.activeElement?.getAttribute("data-command");
  place.replaceChildren(...names.map((/** @type {string} */ name) => {
    const button = document.createElement("button");
    button.type = "button";
    button.dataset.command = name;
    button.textContent = word(name === "rollback" ? "roll_back" : name);
    button.addEventListener("click", () => ask(name));
    return button;
  }));
  if (focused) /** @type {HTMLElement | null} */ (place.querySelector(`[data-command="${focused}"]`))?.focus();
}

/** Asks the operator for a reason, then sends the command to the gateway. @param {string} name */
function ask(name) {
  const dialog = /** @type {HTMLDialogElement} */ (element("ask"));
  const title = word(name === "rollback" ? "roll_back" : name);
  const reason = /** @type {HTMLInputElement} */ (element("reason"));
  element("ask-label").textContent = title;
  element("ask-do").textContent = title;
  reason.required = !["start", "approve"].includes(name);
  reason.value = "";
  dialog.returnValue = "";
  dialog.onclose = async () => {
    if (dialog.returnValue !== "do") return;
    refuse("refusal", "");
    try {
      hear(await asked?.wish(name, reason.value.trim(), /** @type {HTMLInputElement} */ (element("by")).value.trim()));
      element("announcement").textContent = word("done");
    } catch (error) {
      refuse("refusal", error instanceof Refusal ? error.message : word("away"));
    }
  };
  dialog.showModal();
}

/** @typedef {["requests" | "answers" | "verdicts" | null, Word]} Row */
const ROWS = /** @type {[string, "ofRequests" | "ofAnswers" | "ofVerdicts" | null, string][]} */ ([
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
  ["bad", "ofVerdicts", "verdicts"],
]);
const LABELS = { en: "joy sadness anger fear surprise disgust neutral frustration", fr: "joie tristesse colère peur surprise dégoût neutre frustration" };

/** @param {any} figures @param {any[] | null} counted */
function cohorts(figures, counted) {
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
    const both = [figures.canary, figures.stable];
    for (const [name, of, sample] of ROWS) {
      add(word(name), both.map((side) => {
        const note = of && side[sample] ? `${word(of)} ${number(side[sample])}` : undefined;
        if (name === "requests") return [number(side.requests)];
        if (/^p\d\d$/.test(name)) return [side.latency_ms ? `${number(Math.round(side.latency_ms[name]))} ms` : "–", note];
        if (name === "mean_confidence") return [side.mean_confidence === null ? "–" : side.mean_confidence.toFixed(3), note];
        if (name === "bad" && side.bad_interval) return [`${percent(side.bad)} [${side.bad_interval.map((/** @type {number} */ part) => percent(part, 1)).join("–")}]`, note];
        return [side[name] === null ? "–" : percent(side[name]), note];
      }));
    }
    add(word("shadows"), [[figures.shadows_agree === null ? "–" : percent(figures.shadows_agree), figures.shadows ? `${word("ofShadows")} ${number(figures.shadows)}` : undefined], ["–"]]);
    for (const [index, label] of LABELS[language].split(" ").entries()) {
      add(label, both.map((side) => (side.labels ? [percent(side.labels[index]), `${word("ofAnswers")} ${number(side.answers)}`] : ["–"])));
    }
  } else if (counted) {
    add(word("requests"), counted.map((side) => [number(side.requests)]));
    add(word("errors"), counted.map((side) => [number(side.errors_5xx + side.failed_open)]));
  }
  element("cohorts").replaceChildren(...rows);
}

/** @param {any[]} findings */
function gates(findings) {
  const rows = findings.map((found) => {
    const row = document.createElement("tr");
    const head = document.createElement("th");
    head.scope = "row";
    head.textContent = found.gate;
    row.append(head);
    const does = found.effect === "roll_back" ? "roll_back" : found.effect === "warn" ? "warn" : "block_advance";
    const figure = (/** @type {number | null} */ value) => (value === null ? "–" : value.toFixed(4));
    for (const text of [word(does).toLowerCase(), word(found.verdict), figure(found.value), figure(found.limit), number(found.samples)]) {
      const cell = row.insertCell();
      cell.textContent = text;
    }
    if (found.verdict === "fail") row.cells[2].className = "fail";
    row.append(evidence(found));
    row.insertCell().textContent = found.decides_in_minutes === null ? "–" : minutes(found.decides_in_minutes);
    return row;
  });
  element("gates").replaceChildren(...rows);
}

/** A gate's evidence as a bar that is full at the threshold; no bar without either. @param {any} found */
function evidence(found) {
  const cell = document.createElement("td");
  if (found.ln_evidence === null || found.ln_threshold === null) {
    cell.textContent = "–";
    return cell;
  }
  const part = Math.min(Math.max(found.ln_evidence / found.ln_threshold, 0), 1);
  const bar = document.createElement("meter");
  bar.value = part;
  bar.setAttribute("aria-label", `${word("evidence")}: ${found.gate}`);
  cell.append(bar, ` ${percent(part, 0)}`);
  return cell;
}

/** The cause and the consequence of a decision, in the page's language. @param {import("./api.js").Decision} decision */
function clauses({ what, then, fr }) {
  return language === "fr" ? `${fr.what} : ${fr.then}` : `${what}: ${then}`;
}

/** Draws the last 200 decisions, the latest first, each with the gates at that time. */
function history() {
  const list = element("history");
  const shown = `${language} ${decisions.at(-1)?.id}`;
  if (list.dataset.shown === shown) return;
  list.dataset.shown = shown;
  const open = new Set([...list.querySelectorAll("details[open]")].map((details) => details.getAttribute("data-id")));
  list.replaceChildren(...decisions.slice(-200).reverse().map((decision) => {
    const item = document.createElement("li");
    item.value = decision.id;
    const time = document.createElement("a");
    time.href = `?at=${decision.at_ms}`;
    time.textContent = when(decision.at_ms);
    const text = document.createElement("span");
    text.textContent = ` ${clauses(decision)} (${percent(decision.share_basis_points / 10_000, 0)})`;
    item.append(time, text);
    if (decision.gates) {
      const details = document.createElement("details");
      details.dataset.id = String(decision.id);
      details.open = open.has(String(decision.id));
      const summary = document.createElement("summary");
      summary.textContent = word("explain");
      details.append(summary, ...decision.gates.findings.map((/** @type {any} */ found) => {
        const line = document.createElement("p");
        line.textContent = `${found.gate}: ${word(found.verdict)}, ${found.value?.toFixed(4) ?? "–"} / ${found.limit?.toFixed(4) ?? "–"}, ${found.hits} / ${found.samples}`;
        if (found.verdict === "fail") line.className = "fail";
        return line;
      }));
      item.append(details);
    }
    return item;
  }));
}

/** @param {number} at_ms */
const when = (at_ms) => `${new Date(at_ms).toISOString().slice(0, 16).replace("T", " ")} UTC`;
/** Kept formats by language and digits: creating one takes longer than a hundred uses. @type {Map<string, Intl.NumberFormat>} */
const formats = new Map();
/** @param {number} value */
const number = (value) => value.toLocaleString(language);
/** @param {number} part @param {number} [digits] */
function percent(part, digits = 2) {
  const key = `${language} ${digits}`;
  const format = formats.get(key) ?? new Intl.NumberFormat(language, { style: "percent", minimumFractionDigits: digits, maximumFractionDigits: digits });
  formats.set(key, format);
  return format.format(part);
}
/** @param {number} count */
const minutes = (count) => (count < 60 ? `${count} ${word("minutes")}` : `${Math.floor(count / 60)} ${word("hours")} ${count % 60} ${word("minutes")}`);

translate();
