// Wraps the gateway and makes its queue consumer throw after it has handled a batch, for as many batches as
// `/throws?next=N` sets; the queue then delivers such a batch again. The tests copy this file into the folder of a build,
// which has the imported module.

// @ts-nocheck: the build has no types.
import Worker from "./index.js";

export * from "./index.js";

/** Batches that will still throw. `wrangler dev` runs `fetch` and `queue` of a Worker in one isolate. */
let batchesToFail = 0;
let failedMessages = 0;

export default class extends Worker {
  async fetch(request) {
    const { pathname, searchParams } = new URL(request.url);
    if (pathname !== "/throws") return super.fetch(request);
    if (searchParams.has("next")) batchesToFail = Number(searchParams.get("next"));
    return Response.json({ thrown: failedMessages, left: batchesToFail });
  }

  async queue(batch) {
    // `ack` and `retry` do nothing here, so after the error the queue delivers all messages again.
    const batchWithoutAck = { queue: batch.queue, messages: batch.messages.map((message) => ({ id: message.id, timestamp: message.timestamp, attempts: message.attempts, body: message.body, ack() {}, retry() {} })), ackAll() {}, retryAll() {} };
    if (batchesToFail === 0) return super.queue(batch);
    await super.queue(batchWithoutAck);
    batchesToFail -= 1;
    failedMessages += batch.messages.length;
    throw new Error("batch failed on purpose");
  }
}
