// The page's side of the worker: one text is asked at a time, and of those typed meanwhile only the
// newest is asked next. So fast typing never builds a queue.

/** @typedef {import("./classifier-worker.js").Reply} Reply */

export class Classifier {
  /** @type {Worker | null} */ #worker = null;
  /** @type {string | null} The newest text that was not asked yet. */ #next = null;
  #asked = 0;
  #batch = 0;
  #busy = true;
  #failed = false;
  /** @type {(reply: Reply) => void} */ #receive;

  /** @param {(reply: Reply) => void} receive called with each reply that is still wanted */
  constructor(receive) {
    this.#receive = receive;
  }

  /** Starts, or starts afresh after a failure. */
  start() {
    this.#stop();
    this.#busy = true;
    const url = new URL("./classifier-worker.js", import.meta.url);
    if (this.#failed) url.search = "afresh";
    const worker = new Worker(url, { type: "module" });
    // A replaced worker may have posted more than was read.
    const take = (/** @type {Reply} */ reply) => worker === this.#worker && this.#take(reply);
    worker.addEventListener("message", (event) => take(event.data));
    worker.addEventListener("error", () => {
      take({ kind: "failed", reason: "classifier-worker.js: could not be started" });
    });
    this.#worker = worker;
  }

  /**
   * Asks for a text; the answer to any older one is no longer wanted.
   * @param {string} text
   */
  ask(text) {
    this.#next = text;
    this.#send();
  }

  /** Asks for nothing: what is under way is no longer wanted. */
  forget() {
    this.#next = null;
    this.#asked += 1;
  }

  /**
   * Answers a file's rows, beside the texts that are asked for.
   * @param {File} file
   */
  batch(file) {
    this.#batch += 1;
    this.#worker?.postMessage({ kind: "batch", batch: this.#batch, file });
  }

  /** Ends the batch where it is. */
  stopBatch() {
    this.#worker?.postMessage({ kind: "stop" });
  }

  #stop() {
    this.#worker?.terminate();
    this.#worker = null;
  }

  #send() {
    if (this.#busy || this.#next === null) return;
    this.#busy = true;
    this.#asked += 1;
    this.#worker?.postMessage({ kind: "classify", id: this.#asked, text: this.#next });
    this.#next = null;
  }

  /** @param {Reply} reply */
  #take(reply) {
    if (reply.kind === "rows" || reply.kind === "table" || reply.kind === "unread") {
      // Of the file before, some may still be on their way.
      if (reply.batch === this.#batch) this.#receive(reply);
      return;
    }
    const answered = reply.kind === "answer" || reply.kind === "refused";
    this.#busy = !(answered || reply.kind === "ready");
    if (reply.kind === "failed") {
      this.#failed = true;
      this.#stop();
    }
    if (!answered || reply.id === this.#asked) this.#receive(reply);
    this.#send();
  }
}
