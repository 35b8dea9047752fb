// The page's client of the classifier worker. It sends one text at a time. While it waits for the answer it keeps
// only the newest text, so fast typing builds no queue. A file chosen before the model is ready waits for the model.

/** @typedef {import("./classifier-worker.js").Reply} Reply */

/** A load without progress for this many seconds counts as failed. */
export const SILENCE_S = 30;

export class Classifier {
  /** @type {Worker | null} */ #worker = null;
  /** @type {string | null} The newest text that is not sent yet. */ #next = null;
  /** @type {File | null} The newest file that is not sent yet. */ #file = null;
  #asked = 0;
  #batch = 0;
  /** Whether the newest batch was sent and its end is still awaited. */
  #reading = false;
  #ready = false;
  #busy = true;
  #failed = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #silence;
  /** @type {(reply: Reply) => void} */ #receive;

  /** @param {(reply: Reply) => void} receive called with each reply, except replies to an older text or file */
  constructor(receive) {
    this.#receive = receive;
  }

  /** Starts a new worker in place of the current one. After a failure it bypasses the browser's cache. */
  start() {
    this.#stop();
    this.#busy = true;
    const url = new URL("./classifier-worker.js", import.meta.url);
    if (this.#failed) url.search = "afresh";
    const worker = new Worker(url, { type: "module" });
    // A replaced worker can have messages that are still undelivered.
    const take = (/** @type {Reply} */ reply) => worker === this.#worker && this.#take(reply);
    worker.addEventListener("message", (event) => take(event.data));
    worker.addEventListener("error", () => {
      take({ kind: "failed", reason: "classifier-worker.js: could not be started" });
    });
    this.#worker = worker;
    this.#await();
  }

  /**
   * Classifies a text; the reply to an older text is dropped.
   * @param {string} text
   */
  ask(text) {
    this.#next = text;
    this.#send();
  }

  /** Drops the text that waits and the reply to the text under way. */
  forget() {
    this.#next = null;
    this.#asked += 1;
  }

  /**
   * Classifies the rows of a file, in place of an earlier file; texts are still classified meanwhile.
   * @param {File} file
   */
  batch(file) {
    this.#batch += 1;
    this.#file = file;
    this.#reading = false;
    this.#sendFile();
  }

  /** Stops the batch; rows not classified yet have no prediction. */
  stopBatch() {
    this.#worker?.postMessage({ kind: "stop" });
  }

  #stop() {
    clearTimeout(this.#silence);
    this.#worker?.terminate();
    this.#worker = null;
    this.#ready = false;
  }

  /** Restarts the timeout of the load. */
  #await() {
    clearTimeout(this.#silence);
    this.#silence = setTimeout(() => {
      this.#take({ kind: "failed", reason: `nothing came for ${SILENCE_S} seconds` });
    }, SILENCE_S * 1_000);
  }

  #sendFile() {
    if (!this.#ready || !this.#file) return;
    this.#worker?.postMessage({ kind: "batch", batch: this.#batch, file: this.#file });
    this.#file = null;
    this.#reading = true;
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
      // Replies about the previous file can still arrive.
      if (reply.batch !== this.#batch) return;
      if (reply.kind !== "rows") this.#reading = false;
      this.#receive(reply);
      return;
    }
    const answered = reply.kind === "answer" || reply.kind === "refused";
    this.#busy = !(answered || reply.kind === "ready");
    switch (reply.kind) {
      case "progress":
        this.#await();
        break;
      case "preparing":
        // The worker now computes without progress messages, for as long as a slow machine needs.
        clearTimeout(this.#silence);
        break;
      case "ready":
        clearTimeout(this.#silence);
        this.#ready = true;
        break;
      case "failed":
        this.#failed = true;
        this.#stop();
    }
    if (!answered || reply.id === this.#asked) this.#receive(reply);
    if (reply.kind === "failed" && this.#reading) {
      this.#reading = false;
      this.#receive({ kind: "unread", batch: this.#batch, reason: reply.reason });
    }
    this.#send();
    this.#sendFile();
  }
}
