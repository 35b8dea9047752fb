// Writes the generated sections of docs/scale.md from the counts of `event-cost.js` and docs/prices.json.

import { readFileSync, writeFileSync } from "node:fs";
import { archiveOfFirstMonth, chooseMeasurement, costOfMillionEvents, longestDuration, monthlyBill, storedEvents, usageOfMonth } from "./cost-model.js";
import { formatMarkdownTable } from "./markdown.js";

/** @typedef {import("./cost-model.js").Counts} Counts */
/** @typedef {import("./cost-model.js").Prices} Prices */
/** @typedef {import("./cost-model.js").Load} Load */
/** @typedef {import("./cost-model.js").Resource} Resource */
/** @typedef {{ command: string, commit: string, date: string, workerd: string, workload: { canary_share: string, error_share: number, slow_share: number, subjects: number, seconds: number } }} About */
/** @typedef {Counts & { about: About }} CountsFile */

export const PAGE = "docs/scale.md";
export const COUNTS_FILE = "docs/event-cost.json";
export const PRICES_FILE = "docs/prices.json";

const BUSY = { events_per_s: 1_000, stores: 16 };
const QUIET = { events_per_s: 10, stores: 1 };
const SINK = { sinks: 1 };

/** The loads that are measured. At 10 events a second in all, an isolate has at most 10. */
export const LOADS = [
  ...[5, 1, 20, 100].map((isolate_events_per_s) => ({ ...BUSY, ...SINK, isolate_events_per_s })),
  ...[5, 1, 10].map((isolate_events_per_s) => ({ ...QUIET, ...SINK, isolate_events_per_s })),
  { ...BUSY, sinks: 0, isolate_events_per_s: 5 },
  { ...QUIET, sinks: 0, isolate_events_per_s: 5 },
];

/** Defaults of the gateway, and the shares of events that the tables assume. */
const SETTINGS = { days_kept: 7, store_bytes_max: 1e9, new_subject_share: 0.1, first_hit_share: 0.05 };
const GIGABYTE = 1e9;
const DAY_S = 86_400;

/** The loads of the tables' columns: by rate in all, then by rate of an isolate. @type {Load[]} */
const COLUMNS = LOADS.filter(({ sinks }) => sinks === 1)
  .sort((a, b) => b.events_per_s - a.events_per_s || a.isolate_events_per_s - b.isolate_events_per_s)
  .map((load) => ({ ...load, ...SETTINGS }));

/** Rewrites the generated sections of the page. */
export function writePage() {
  writeFileSync(PAGE, renderPage(readFileSync(PAGE, "utf8"), readJson(COUNTS_FILE), readJson(PRICES_FILE)));
}

/** @param {string} path */
const readJson = (path) => JSON.parse(readFileSync(path, "utf8"));

/** Returns the page with its generated sections replaced. @param {string} page @param {CountsFile} counts @param {Prices} prices */
export function renderPage(page, counts, prices) {
  return replaceSection(replaceSection(page, "storage", renderStorage(counts)), "cost", renderCost(counts, prices));
}

/** @param {string} page @param {string} name @param {string} text */
function replaceSection(page, name, text) {
  const pattern = new RegExp(`(<!-- generated: ${name} -->\n)[^]*?(<!-- end -->)`);
  if (!pattern.test(page)) throw new Error(`the page has no section "${name}"`);
  return page.replace(pattern, (_, start, end) => `${start}\n${text}\n\n${end}`);
}

/** @param {CountsFile} counts */
function renderStorage(counts) {
  const { bytes, ndjson_bytes } = counts.per_stored_event;
  const { bytes: subject_bytes, bytes_left } = counts.per_new_subject;
  const rows = [1, 10, 100, 1_000].map((events_per_s) => {
    const bytes_of_week = events_per_s * SETTINGS.days_kept * DAY_S * bytes;
    const kept_s = SETTINGS.store_bytes_max / bytes / events_per_s;
    return [formatNumber(events_per_s), formatLarge(events_per_s * DAY_S), formatBytes(bytes_of_week), kept_s >= SETTINGS.days_kept * DAY_S ? "7 days (the retention applies first)" : formatDuration(kept_s)];
  });
  return [
    wrap(`An event has about ${roundTo(ndjson_bytes, 10)} bytes as NDJSON and takes ${formatBytes(bytes)} in the database, with indexes and minutes, ` +
      "in the batches of many similar events that were measured. An event that arrives alone takes up to 0.5 kB, so the first rows are a lower limit. A new " +
      `subject takes ${subject_bytes < 5 ? "less than 10" : roundTo(subject_bytes, 10)} bytes more. ${roundTo(bytes_left, 10)} bytes of each subject were still stored when all events had expired (${measuredBy(counts)}).`),
    formatTable(["events a second", "events a day", "7 days", "`EVENT_STORE_MAX_MB=1000` keeps"], rows),
  ].join("\n\n");
}

/** @param {CountsFile} counts @param {Prices} prices */
function renderCost(counts, prices) {
  const { workload, workerd } = counts.about;
  return [
    wrap(`These figures are counts of what the gateway does in workerd ${workerd}, times [prices.json](prices.json): ${prices.plan}. They leave out the ` +
      "price of the call itself: requests to Workers and CPU time, that of the queue consumer included. No bill of Cloudflare has confirmed them."),
    wrap(`The counts are in [event-cost.json](event-cost.json), ${measuredBy(counts)}. Of the calls, ${workload.canary_share.replace("%", " %")} were canary, ` +
      `${formatPercent(workload.error_share)} failed with status 500 and ${formatPercent(workload.slow_share)} were slow, one OTLP sink received the events, and ` +
      `there were ${BUSY.stores} shards at 1,000 events a second and ${QUIET.stores} at 10.`),
    "Counts of one event, without what a new or newly affected subject adds:",
    formatPerEventTable(counts),
    wrap(`A new subject adds ${formatCount(counts.per_new_subject.rows_written)} rows written. An event by which a metric hits its subject for the first time in a day adds ` +
      `${formatCount(counts.per_first_hit.rows_written + counts.per_first_hit.deleted_rows_written)}, its deletion included. An event that expires costs ${formatCount(counts.per_stored_event.deleted_rows_written)} rows written, and ` +
      `each alarm of a shard reads ${formatCount(counts.per_stored_event.rows_read_by_alarm)} rows for each event that the shard stores. ${describeSinks(counts)}`),
    wrap(`Dollars for a million events at list prices, included amounts not deducted. ${formatPercent(SETTINGS.new_subject_share)} of the events have a new subject and by ` +
      `${formatPercent(SETTINGS.first_hit_share)} a metric hits a subject for the first time in a day (both assumed), and the event store keeps ${SETTINGS.days_kept} days, at most 1,000 MB a shard. Low confidence is such a ` +
      `metric too. Each further 1 % of such events adds ${formatDollars(0.01 * (counts.per_first_hit.rows_written + counts.per_first_hit.deleted_rows_written) * prices.resources.rows_written.dollars)}.`),
    formatMillionEventsTable(counts, prices),
    wrap("The last row is an upper limit: an object that waits and could hibernate is not billed, and workerd does not tell how long that is."),
    "Dollars a month beyond the included amounts, at 5 events a second of each isolate:",
    formatMonthTable(counts, prices),
  ].join("\n\n");
}

/** What a sink adds to an event, at the loads that were measured with and without one. @param {CountsFile} counts */
function describeSinks(counts) {
  const differences = [BUSY, QUIET].map((load) => {
    const [without, withSink] = [0, 1].map((sinks) => chooseMeasurement(counts, { ...load, ...SETTINGS, sinks, isolate_events_per_s: 5 }).per_event);
    const rows = withSink.rows_written + withSink.alarm_sets - without.rows_written - without.alarm_sets;
    return `${formatCount(rows)} rows written and ${formatCount(withSink.alarms - without.alarms)} alarms an event at ${formatNumber(load.events_per_s)} events a second`;
  });
  return `The sink adds ${differences.join(", and ")}.`;
}

/** @param {Pick<CountsFile, "measurements">} counts */
export function formatPerEventTable({ measurements }) {
  const sorted = [...measurements].sort((a, b) => b.sinks - a.sinks || b.events_per_s - a.events_per_s || a.isolate_events_per_s - b.isolate_events_per_s);
  /** @type {[string, keyof import("./cost-model.js").PerEvent][]} */
  const rows = [
    ["queue operations", "queue_operations"],
    ["rows written", "rows_written"],
    ["rows read, without scans of the stored events", "rows_read"],
    ["alarms set", "alarm_sets"],
    ["alarms", "alarms"],
    ["requests to the event store", "object_requests"],
    ["requests to the rollout object", "rollout_requests"],
  ];
  const head = sorted.map((load) => `${formatRates(load)}${load.sinks === 0 ? ", no sink" : ""}`);
  return formatTable(["events a second, in all / an isolate", ...head], rows.map(([name, key]) => [name, ...sorted.map(({ per_event }) => formatCount(per_event[key]))]));
}

/** @param {Counts} counts @param {Prices} prices */
export function formatMillionEventsTable(counts, prices) {
  const costs = COLUMNS.map((load) => costOfMillionEvents(counts, prices, load));
  const rows = costs[0].items.map(({ item }, index) => [item, ...costs.map(({ items }) => items[index].dollars)]);
  // An item that is free at every load would only take space.
  const shown = rows.filter(([, ...dollars]) => dollars.some((amount) => Number(amount) >= 0.0005));
  return formatTable(
    ["events a second, in all / an isolate", ...COLUMNS.map(formatRates)],
    [
      ...shown.map(([item, ...dollars]) => [String(item), ...dollars.map((amount) => formatDollars(Number(amount)))]),
      ["**in all**", ...costs.map(({ total }) => `**${formatDollars(total)}**`)],
      ["duration, if no object ever rests", ...costs.map(({ duration_max }) => formatDollars(duration_max))],
    ],
  );
}

/** @param {CountsFile} counts @param {Prices} prices */
function formatMonthTable(counts, prices) {
  const loads = [QUIET, BUSY].map((load) => ({ ...load, ...SINK, ...SETTINGS, isolate_events_per_s: 5 }));
  const bills = loads.map((load) => monthlyBill(prices, [...usageOfMonth(counts, load), longestDuration(prices, load)]));
  const archives = loads.map((load) => sum([...monthlyBill(prices, archiveOfFirstMonth(counts, load)).values()]));
  /** @type {Resource[]} */
  const resources = ["queue_operations", "rows_written", "rows_read", "object_requests", "stored_gb", "object_gb_s"];
  const names = { queue_operations: "queue", rows_written: "rows written", rows_read: "rows read", object_requests: "requests and alarms of objects", stored_gb: "stored data", object_gb_s: "duration, if no object ever rests" };
  return formatTable(
    ["a month at", ...loads.map(({ events_per_s, stores }) => `${formatNumber(events_per_s)} events/s, ${stores} ${stores === 1 ? "shard" : "shards"}`)],
    [
      ...resources.map((resource) => [names[/** @type {keyof typeof names} */ (resource)], ...bills.map((bill) => formatDollars(bill.get(resource) ?? 0))]),
      ["**in all**", ...bills.map((bill) => `**${formatDollars(sum([...bill.values()]))}**`)],
      ["archive, first month (computed from its object size)", ...archives.map(formatDollars)],
    ],
  );
}

/** @param {CountsFile} counts */
const measuredBy = ({ about }) => `\`${about.command}\`, ${about.date}, commit ${about.commit}`;

/** @param {{ events_per_s: number, isolate_events_per_s: number }} load */
const formatRates = ({ events_per_s, isolate_events_per_s }) => `${formatNumber(events_per_s)} / ${formatNumber(isolate_events_per_s)}`;

/** @param {number[]} numbers */
const sum = (numbers) => numbers.reduce((total, number) => total + number, 0);

/** @param {number} number */
const formatNumber = (number) => String(number).replace(/\B(?=(\d{3})+$)/g, ",");

/** Two decimals, three below 0.1 and none above 100, without zeros at the end. @param {number} number */
function formatCount(number) {
  const digits = number >= 100 ? 0 : number >= 0.1 ? 2 : 3;
  return formatNumber(Number(number.toFixed(digits)));
}

/** @param {number} dollars */
function formatDollars(dollars) {
  if (dollars === 0) return "$0";
  if (dollars < 0.0005) return "< $0.001";
  return `$${dollars >= 100 ? formatNumber(Math.round(dollars)) : dollars.toFixed(dollars >= 0.1 ? 2 : 3)}`;
}

/** @param {number} share */
const formatPercent = (share) => `${Number((share * 100).toFixed(2))} %`;

/** @param {number} number @param {number} step */
const roundTo = (number, step) => formatNumber(Math.round(number / step) * step);

/** @param {number} bytes */
function formatBytes(bytes) {
  if (bytes < 1_000) return `${Math.round(bytes)} bytes`;
  const [size, unit] = bytes >= 0.1 * GIGABYTE ? [bytes / GIGABYTE, "GB"] : bytes >= 1_000_000 ? [bytes / 1_000_000, "MB"] : [bytes / 1_000, "kB"];
  return `${size >= 100 ? formatNumber(Number(size.toPrecision(2))) : Number(size.toPrecision(2))} ${unit}`;
}

/** @param {number} number */
const formatLarge = (number) => (number >= 1e6 ? `${formatNumber(Number((number / 1e6).toPrecision(2)))} million` : formatNumber(number));

/** @param {number} seconds */
function formatDuration(seconds) {
  if (seconds >= 2 * DAY_S) return `${Math.round(seconds / DAY_S)} days`;
  return seconds >= 7_200 ? `${Math.round(seconds / 3_600)} hours` : `${Math.round(seconds / 60)} minutes`;
}

/** @param {string[]} head @param {string[][]} rows */
const formatTable = (head, rows) => formatMarkdownTable({ head, rows });

/** Breaks a paragraph into lines of at most 118 characters. @param {string} text */
function wrap(text) {
  // A code span and a link stay on one line.
  const words = text.match(/(?:`[^`]*`|\[[^\]]*\]\([^)]*\)|[^ ])+/g) ?? [];
  return words.reduce((/** @type {string[]} */ lines, word) => {
    const last = lines[lines.length - 1];
    return last !== undefined && last.length + 1 + word.length <= 118 ? [...lines.slice(0, -1), `${last} ${word}`] : [...lines, word];
  }, []).join("\n");
}
