// Wraps the gateway and makes its queue consumer throw after it has handled a batch, for as many batches as
// `/throws?next=N` sets; the queue then delivers such a batch again. The tests copy this file into the folder of a build,
// which has the imported module.

// @ts-nocheck: the build has no types.
import Worker from "./index.js";

export * from "./index.js";

/** Batches that will still throw. `wrangler dev` runs `fetch` and `queue` of a Worker in one isolate. */
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
    // `ack` and `retry` do nothing here, so after the error the queue delivers all messages again.
    const silent = { queue: batch.queue, messages: batch.messages.map((message) => ({ id: message.id, timestamp: message.timestamp, attempts: message.attempts, body: message.body, ack() {}, retry() {} })), ackAll() {}, retryAll() {} };
    if (throws === 0) return super.queue(batch);
    await super.queue(silent);
    throws -= 1;
    thrown += batch.messages.length;
    throw new Error("away");
  }
}
