// Wraps the gateway and counts what Cloudflare bills: rows, object requests, alarms and queue operations. The tests
// copy this file into the folder of a build, with `isolates.js`, which imports one copy of the build for each simulated
// isolate. A copy has its own wasm instance and so its own state, as an isolate has. The objects and the queue consumer
// belong to the first copy.
//
// `GET /event-cost/counts` returns the counts. `POST /event-cost/hold` keeps the messages of the queue back;
// `POST /event-cost/release?messages=N` then sends the oldest N of them. `POST /event-cost/alarms?days=N` calls the alarm of
// each event store with the clock N days ahead. Every other request goes to the isolate of the header `x-test-isolate`.

// @ts-nocheck: the build has no types, and this file runs in workerd.
import Worker, * as gateway from "./index.js";
import { ISOLATES } from "./isolates.js";

/** The unit of Cloudflare's queue operations, and a message's own data, in bytes (docs/prices.json). */
const OPERATION_BYTES = 64_000;
const MESSAGE_OVERHEAD_BYTES = 100;

/**
 * Cursors of an object whose counts are still read again. A cursor counts while its rows are read, and the gateway reads
 * a cursor's rows before it runs many more statements.
 */
const CURSORS_MAX = 1_000;

/** Beginning of the names of miniflare's own tables. It writes to them each time it constructs an object; Cloudflare has no such tables. */
const MINIFLARE_TABLES = "__miniflare_";

/** Methods of an object's storage that the counts cover, or that are not billed. */
const COUNTED_METHODS = new Set(["constructor", "setAlarm", "getAlarm", "deleteAlarm", "transaction", "transactionSync", "sync"]);

/** `wrangler dev` runs a Worker and its objects in one isolate, so they share these counts. */
const queue = { messages: 0, bytes: 0, writes: 0, reads: 0, deletes: 0, retries: 0, batches: 0 };
/** Counts of each object, by class and id. */
const objects = { EventStoreObject: new Map(), RolloutObject: new Map() };
/** Storage methods that were called and are billed, but not counted. */
const uncounted = new Set();
/** Messages that are kept back; `null` if messages pass. */
let held = null;
let queueBinding = null;
let clockShift_ms = 0;

const RealDate = Date;
globalThis.Date = class extends RealDate {
  constructor(...args) {
    if (args.length === 0) super(RealDate.now() + clockShift_ms);
    else super(...args);
  }

  static now() {
    return RealDate.now() + clockShift_ms;
  }
};

/** Counts the statements and alarms of an object. `workerd` returns the same storage each time, so own methods stay. */
class StorageCounter {
  constructor(storage) {
    this.counts = { requests: 0, alarms: 0, alarm_sets: 0, statements: 0, rows_read: 0, rows_written: 0, changed_rows: 0, database_bytes: 0 };
    this.cursors = [];
    this.attach(storage);
  }

  attach(storage) {
    this.sql = storage.sql;
    this.runUncounted = storage.sql.exec.bind(storage.sql);
    this.changedRowsBefore = this.readChangedRows();
    replaceMethod(this.sql, "exec", (exec) => (...args) => {
      if (String(args[0]).includes(MINIFLARE_TABLES)) return this.runUnbilled(() => exec(...args));
      const cursor = exec(...args);
      this.counts.statements += 1;
      this.cursors.push({ cursor, read: 0, written: 0 });
      if (this.cursors.length > CURSORS_MAX) this.addRows(this.cursors.shift());
      return cursor;
    });
    replaceMethod(storage, "setAlarm", (setAlarm) => (...args) => {
      this.counts.alarm_sets += 1;
      return setAlarm(...args);
    });
    for (const name of Object.getOwnPropertyNames(Object.getPrototypeOf(storage))) {
      const isMethod = typeof Object.getOwnPropertyDescriptor(Object.getPrototypeOf(storage), name).value === "function";
      if (!isMethod || COUNTED_METHODS.has(name)) continue;
      replaceMethod(storage, name, (method) => (...args) => {
        uncounted.add(name);
        return method(...args);
      });
    }
  }

  /** Runs a statement that no count shows. */
  runUnbilled(run) {
    const before = this.readChangedRows();
    const cursor = run();
    this.changedRowsBefore += this.readChangedRows() - before;
    return cursor;
  }

  /** Adds what a cursor counted since the last call. */
  addRows(entry) {
    const { rowsRead, rowsWritten } = entry.cursor;
    this.counts.rows_read += rowsRead - entry.read;
    this.counts.rows_written += rowsWritten - entry.written;
    [entry.read, entry.written] = [rowsRead, rowsWritten];
  }

  /** Rows that this connection has changed, by SQLite's own count, without those of indexes. */
  readChangedRows() {
    return this.runUncounted("SELECT total_changes() AS number").one().number;
  }

  /** Brings the counts up to date. Must run within the object, as every use of its storage. */
  update() {
    for (const entry of this.cursors) this.addRows(entry);
    this.counts.database_bytes = this.sql.databaseSize;
    const changedRows = this.readChangedRows();
    this.counts.changed_rows += changedRows - this.changedRowsBefore;
    this.changedRowsBefore = changedRows;
  }
}

function replaceMethod(object, name, wrap) {
  Object.defineProperty(object, name, { value: wrap(object[name].bind(object)), configurable: true });
}

/** The object class of the gateway, with counts. */
function countClass(name) {
  return class extends gateway[name] {
    constructor(state, env) {
      const id = state.id.toString();
      const counter = objects[name].get(id) ?? new StorageCounter(state.storage);
      // The platform may construct an object again, with other storage; its counts go on.
      if (objects[name].has(id)) counter.attach(state.storage);
      objects[name].set(id, counter);
      super(state, env);
      this.counter = counter;
    }

    async fetch(request) {
      const { hostname, pathname } = new URL(request.url);
      const isOfTest = hostname === "event-cost";
      if (!isOfTest) this.counter.counts.requests += 1;
      try {
        if (!isOfTest) return await super.fetch(request);
        if (pathname === "/alarm") await super.alarm();
        return new Response(null, { status: 204 });
      } finally {
        this.counter.update();
      }
    }

    async alarm(...args) {
      this.counter.counts.alarms += 1;
      try {
        return await super.alarm(...args);
      } finally {
        this.counter.update();
      }
    }
  };
}

export const EventStoreObject = countClass("EventStoreObject");
export const RolloutObject = countClass("RolloutObject");

/** Bytes of a message as the queue bills them. */
function messageBytes(body, contentType) {
  const isBinary = body instanceof ArrayBuffer || ArrayBuffer.isView(body);
  const bytes = isBinary ? body.byteLength : new TextEncoder().encode(contentType === "text" ? body : JSON.stringify(body)).length;
  return bytes + MESSAGE_OVERHEAD_BYTES;
}

const operations = (bytes) => Math.ceil(bytes / OPERATION_BYTES);

function countQueue(binding) {
  if (queueBinding !== null) return;
  queueBinding = { sendBatch: binding.sendBatch.bind(binding) };
  const write = async (messages, options) => {
    for (const { body, contentType } of messages) {
      const bytes = messageBytes(body, contentType);
      queue.messages += 1;
      queue.bytes += bytes;
      queue.writes += operations(bytes);
    }
    if (held === null) await queueBinding.sendBatch(messages, options);
    else held.push(...messages);
  };
  replaceMethod(binding, "send", () => (body, options = {}) => write([{ ...options, body }]));
  replaceMethod(binding, "sendBatch", () => (messages, options) => write([...messages], options));
}

export default class extends Worker {
  async fetch(request) {
    countQueue(this.env.EVENTS);
    const url = new URL(request.url);
    if (url.pathname.startsWith("/event-cost/")) return this.control(url.pathname.slice("/event-cost/".length), url.searchParams);
    const isolate = Number(request.headers.get("x-test-isolate") ?? 0);
    const headers = new Headers(request.headers);
    headers.delete("x-test-isolate");
    const Isolate = ISOLATES[isolate];
    return new Isolate(this.ctx, this.env).fetch(new Request(request, { headers }));
  }

  async control(action, parameters) {
    if (action === "hold") held ??= [];
    else if (action === "release") await this.release(Number(parameters.get("messages")));
    else if (action === "alarms") await this.callAlarms(Number(parameters.get("days")));
    else if (action === "counts") return Response.json(await this.readCounts());
    else return new Response(null, { status: 404 });
    return new Response(null, { status: 204 });
  }

  /** Sends held messages, oldest first. */
  async release(count) {
    const messages = held?.splice(0, count) ?? [];
    // One at a time would be slow, and all at once too much for one batch.
    for (let start = 0; start < messages.length; start += 100) await queueBinding.sendBatch(messages.slice(start, start + 100));
  }

  /** Calls a path of the wrapper in each object of a class. */
  async visit(binding, ids, path) {
    for (const id of ids) await binding.get(binding.idFromString(id)).fetch(`http://event-cost${path}`);
  }

  async callAlarms(days) {
    clockShift_ms = days * 86_400_000;
    await this.visit(this.env.EVENT_STORE, objects.EventStoreObject.keys(), "/alarm");
  }

  async readCounts() {
    await this.visit(this.env.EVENT_STORE, objects.EventStoreObject.keys(), "/");
    await this.visit(this.env.ROLLOUT, objects.RolloutObject.keys(), "/");
    const sum = (counters) => {
      const total = { objects: counters.size };
      for (const { counts } of counters.values()) for (const [name, number] of Object.entries(counts)) total[name] = (total[name] ?? 0) + number;
      return total;
    };
    return { queue, held: held?.length ?? 0, event_store: sum(objects.EventStoreObject), rollout: sum(objects.RolloutObject), uncounted: [...uncounted] };
  }

  async queue(batch) {
    const sizes = new Map(batch.messages.map((message) => [message, operations(messageBytes(message.body, typeof message.body === "string" ? "json" : undefined))]));
    queue.batches += 1;
    const retried = new Set();
    for (const [message, size] of sizes) {
      queue.reads += size;
      replaceMethod(message, "retry", (retry) => (...args) => {
        retried.add(message);
        return retry(...args);
      });
    }
    replaceMethod(batch, "retryAll", (retryAll) => (...args) => {
      for (const message of batch.messages) retried.add(message);
      return retryAll(...args);
    });
    try {
      return await super.queue(batch);
    } catch (error) {
      for (const message of batch.messages) retried.add(message);
      throw error;
    } finally {
      queue.retries += retried.size;
      for (const [message, size] of sizes) queue.deletes += retried.has(message) ? 0 : size;
    }
  }
}
