// Turns the counts of `event-cost.js` and the prices of docs/prices.json into dollars, for one load. Pure functions.
//
// The result is the cost of recording events: queue, Durable Objects and, if asked for, the archive. The call itself is not in
// it: requests to Workers, their CPU time and that of the queue consumer.

/** Seconds of a month of 30 days, the unit of Cloudflare's included amounts. */
export const MONTH_S = 30 * 86_400;
const DAY_S = 86_400;
const MINUTE_S = 60;
/** Largest number of events of an archive object; each shard writes at least one object a minute (docs/telemetry.md). */
const ARCHIVE_OBJECT_EVENTS_MAX = 500;

/**
 * What was measured at one load. The counts of one event leave out what a new or newly affected subject adds, what happens
 * without events, and the rows that an alarm reads because events are stored.
 *
 * @typedef {object} Measurement
 * @property {number} events_per_s in all
 * @property {number} isolate_events_per_s of one isolate
 * @property {number} stores shards of the event store
 * @property {number} sinks
 * @property {PerEvent} per_event
 */

/**
 * @typedef {object} PerEvent
 * @property {number} queue_operations
 * @property {number} rows_written
 * @property {number} rows_read
 * @property {number} alarm_sets
 * @property {number} alarms
 * @property {number} object_requests
 * @property {number} rollout_requests requests and alarms of the rollout object
 * @property {number} rollout_rows_written alarm sets included
 * @property {number} rollout_rows_read
 */

/** Counts of a second without events. @typedef {{ stores: number, sinks: number, object_requests: number, rows_written: number, rows_read: number }} Background */

/**
 * @typedef {object} Counts
 * @property {Measurement[]} measurements
 * @property {Background[]} background requests include alarms, and rows written alarm sets
 * @property {{ rows_written: number, rows_read: number, bytes: number, bytes_left: number }} per_new_subject `bytes_left`: what stays stored after the retention
 * @property {{ rows_written: number, rows_read: number, deleted_rows_written: number }} per_first_hit what an event adds by which a metric hits its subject for the first time
 * @property {{ bytes: number, ndjson_bytes: number, deleted_rows_written: number, rows_read_by_alarm: number }} per_stored_event
 *   `deleted_rows_written`: rows written when it expires; `rows_read_by_alarm`: rows that each alarm of its shard reads because it is stored
 */

/** @typedef {{ name: string, dollars: number, per: number, included: number, url: string, object_gb?: number }} Price */
/** @typedef {"queue_operations" | "object_requests" | "object_gb_s" | "rows_read" | "rows_written" | "stored_gb" | "archive_writes" | "archive_gb"} Resource */
/** @typedef {{ plan: string, read: string, resources: Record<Resource, Price> }} Prices */

/**
 * @typedef {object} Load
 * @property {number} events_per_s in all
 * @property {number} isolate_events_per_s of one isolate
 * @property {number} stores shards of the event store
 * @property {number} sinks
 * @property {number} days_kept retention of the event store, in days
 * @property {number} store_bytes_max limit of one shard, in bytes
 * @property {number} new_subject_share share of events whose subject was never seen before, 0 to 1
 * @property {number} first_hit_share share of events by which a metric hits their subject for the first time in a day, 0 to 1
 */

/** One line of a bill. `quantity`: units in a month. @typedef {{ item: string, resource: Resource, quantity: number }} Item */

/**
 * Returns the measurement of a load: that of the same number of shards and sinks, of the nearest rate in all, and of the
 * nearest rate of an isolate. Throws if no measurement has these shards and sinks, because both change what an event costs.
 *
 * @param {Counts} counts @param {Load} load
 */
export function chooseMeasurement(counts, load) {
  const distance = (/** @type {Measurement} */ measured) =>
    1_000 * ratio(measured.events_per_s, load.events_per_s) + ratio(measured.isolate_events_per_s, load.isolate_events_per_s);
  const candidates = counts.measurements.filter(({ stores, sinks }) => stores === load.stores && sinks === load.sinks);
  if (candidates.length === 0) throw new Error(`no measurement with ${load.stores} shards and ${load.sinks} sinks`);
  return candidates.reduce((best, measured) => (distance(measured) < distance(best) ? measured : best));
}

/** Distance of two positive numbers as the logarithm of their ratio. @param {number} a @param {number} b */
const ratio = (a, b) => Math.abs(Math.log(a / b));

/** Events that the event store holds: those of the retention, or fewer if its shards are full. @param {Counts} counts @param {Load} load */
export function storedEvents(counts, load) {
  const ofRetention = load.events_per_s * load.days_kept * DAY_S;
  return Math.min(ofRetention, (load.stores * load.store_bytes_max) / counts.per_stored_event.bytes);
}

/** Returns what a month of a load uses, item by item, once the retention has passed. @param {Counts} counts @param {Load} load @returns {Item[]} */
export function usageOfMonth(counts, load) {
  const { per_event } = chooseMeasurement(counts, load);
  const background = counts.background.find(({ stores, sinks }) => stores === load.stores && sinks === load.sinks);
  if (!background) throw new Error(`no background with ${load.stores} shards and ${load.sinks} sinks`);
  const events = load.events_per_s * MONTH_S;
  const newSubjects = events * load.new_subject_share;
  const firstHits = events * load.first_hit_share;
  const stored = storedEvents(counts, load);
  const alarms = events * per_event.alarms;
  const stored_bytes = stored * (counts.per_stored_event.bytes + load.new_subject_share * (counts.per_new_subject.bytes - counts.per_new_subject.bytes_left));
  /** @type {[string, Resource, number][]} */
  const items = [
    ["queue: write, read and delete", "queue_operations", events * per_event.queue_operations],
    ["rows written to store events", "rows_written", events * per_event.rows_written],
    ["rows written for new subjects", "rows_written", newSubjects * counts.per_new_subject.rows_written],
    ["rows written for newly affected subjects", "rows_written", firstHits * (counts.per_first_hit.rows_written + counts.per_first_hit.deleted_rows_written)],
    ["rows written to delete expired events", "rows_written", events * counts.per_stored_event.deleted_rows_written],
    ["alarms set, a row each", "rows_written", events * per_event.alarm_sets],
    ["rows read, by alarms that scan the stored events", "rows_read", alarms * (stored / load.stores) * counts.per_stored_event.rows_read_by_alarm],
    ["rows read otherwise", "rows_read", events * per_event.rows_read + newSubjects * counts.per_new_subject.rows_read + firstHits * counts.per_first_hit.rows_read],
    ["requests to the event store", "object_requests", events * per_event.object_requests],
    ["alarms of the event store", "object_requests", alarms],
    ["rollout object: requests and alarms", "object_requests", events * per_event.rollout_requests],
    ["rollout object: rows written", "rows_written", events * per_event.rollout_rows_written],
    ["rollout object: rows read", "rows_read", events * per_event.rollout_rows_read],
    ["without events: requests and alarms", "object_requests", MONTH_S * background.object_requests],
    ["without events: rows written", "rows_written", MONTH_S * background.rows_written],
    ["without events: rows read", "rows_read", MONTH_S * background.rows_read],
    ["stored events", "stored_gb", stored_bytes / 1e9],
    ["subjects of a month that stay stored", "stored_gb", (newSubjects * counts.per_new_subject.bytes_left) / 1e9],
  ];
  return items.map(([item, resource, quantity]) => ({ item, resource, quantity }));
}

/**
 * Returns the duration of a month as if the rollout object and each shard ran all the time, which is the most that it can be. An
 * object that waits and may hibernate is not billed; workerd on another machine does not tell how long that is.
 *
 * @param {Prices} prices @param {Load} load @returns {Item}
 */
export function longestDuration(prices, load) {
  return { item: "duration, if no object ever rests", resource: "object_gb_s", quantity: (load.stores + 1) * MONTH_S * (prices.resources.object_gb_s.object_gb ?? 0) };
}

/** Returns what the archive adds in its first month, from its documented object size. It was not measured. @param {Counts} counts @param {Load} load @returns {Item[]} */
export function archiveOfFirstMonth(counts, load) {
  const eventsOfMinute = (load.events_per_s * MINUTE_S) / load.stores;
  const objectsOfMinute = load.stores * Math.max(Math.min(1, eventsOfMinute), eventsOfMinute / ARCHIVE_OBJECT_EVENTS_MAX);
  const gb = (load.events_per_s * MONTH_S * counts.per_stored_event.ndjson_bytes) / 1e9;
  return [
    { item: "archive: objects written", resource: "archive_writes", quantity: objectsOfMinute * (MONTH_S / MINUTE_S) },
    { item: "archive: stored at the end of the first month", resource: "archive_gb", quantity: gb },
  ];
}

/** Dollars of a quantity at the list price, without the included amount. @param {Prices} prices @param {Item} item */
export function listDollars(prices, { resource, quantity }) {
  const { dollars, per } = prices.resources[resource];
  return (quantity / per) * dollars;
}

/** Dollars of a month's items by resource, beyond the included amounts. @param {Prices} prices @param {Item[]} items @returns {Map<Resource, number>} */
export function monthlyBill(prices, items) {
  /** @type {Map<Resource, number>} */
  const quantities = new Map();
  for (const { resource, quantity } of items) quantities.set(resource, (quantities.get(resource) ?? 0) + quantity);
  return new Map([...quantities].map(([resource, quantity]) => {
    const { included } = prices.resources[resource];
    return [resource, listDollars(prices, { item: "", resource, quantity: Math.max(0, quantity - included) })];
  }));
}

/**
 * Returns dollars for a million events at list prices, item by item and in all: everything but the call's own price. The items
 * are those of `usageOfMonth`, and the longest duration.
 *
 * @param {Counts} counts @param {Prices} prices @param {Load} load
 * @returns {{ items: { item: string, resource: Resource, dollars: number }[], total: number, duration_max: number }} `total` is without `duration_max`
 */
export function costOfMillionEvents(counts, prices, load) {
  const millions = (load.events_per_s * MONTH_S) / 1e6;
  const items = usageOfMonth(counts, load).map((item) => ({ item: item.item, resource: item.resource, dollars: listDollars(prices, item) / millions }));
  const duration_max = listDollars(prices, longestDuration(prices, load)) / millions;
  return { items, total: items.reduce((sum, { dollars }) => sum + dollars, 0), duration_max };
}
