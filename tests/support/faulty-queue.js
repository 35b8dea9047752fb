// Stands before the gate's own worker, and makes its consumer throw after it has handled a batch, as often as it was
// told: the queue brings such a batch again. Copied beside a build of the gate, so its import is there.

// @ts-nocheck: the build has no types.
import Worker from "./index.js";

export * from "./index.js";

/** `wrangler dev` runs fetch and queue of a worker in one isolate. */
let throws = 0;
let thrown = 0;

export default class extends Worker {
  async fetch(request) {
    const { pathname, searchParams } = new URL(request.url);
    if (pathname !== "/throws") return super.fetch(request);
    if (searchParams.has("next")) throws = Number(searchParams.get("next"));
    return Response.json({ thrown, left: throws });
  }

  async queue(batch) {
    // Nothing is said of single messages, so that throwing brings all of them again.
    const silent = { queue: batch.queue, messages: batch.messages.map((message) => ({ id: message.id, timestamp: message.timestamp, attempts: message.attempts, body: message.body, ack() {}, retry() {} })), ackAll() {}, retryAll() {} };
    if (throws === 0) return super.queue(batch);
    await super.queue(silent);
    throws -= 1;
    thrown += batch.messages.length;
    throw new Error("away");
  }
}
