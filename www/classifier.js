// The page's client of the classifier worker. It sends one text at a time. While it waits for the answer it keeps
// only the newest text, so fast typing builds no queue. A file chosen before the model is ready waits for the model.

/** @typedef {import("./classifier-worker.js").Reply} Reply */

/** A load without progress for this many seconds counts as failed. */
export const STALL_TIMEOUT_S = 30;

export class Classifier {
  /** @type {Worker | null} */ #worker = null;
  /** @type {string | null} The newest text that is not sent yet. */ #pendingText = null;
  /** @type {File | null} The newest file that is not sent yet. */ #pendingFile = null;
  #requestId = 0;
  #batchId = 0;
  /** Whether the newest batch was sent and has not ended yet. */
  #batchRunning = false;
  #ready = false;
  #busy = true;
  #failed = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #stallTimer;
  /** @type {(reply: Reply) => void} */ #onReply;

  /** @param {(reply: Reply) => void} onReply called with each reply, except replies to an older text or file */
  constructor(onReply) {
    this.#onReply = onReply;
  }

  /** Starts a new worker in place of the current one. After a failure it bypasses the browser's cache. */
  start() {
    this.#stop();
    this.#busy = true;
    const url = new URL("./classifier-worker.js", import.meta.url);
    if (this.#failed) url.search = "afresh";
    const worker = new Worker(url, { type: "module" });
    // A replaced worker can have messages that are still undelivered.
    const handleIfCurrent = (/** @type {Reply} */ reply) => worker === this.#worker && this.#handleReply(reply);
    worker.addEventListener("message", (event) => handleIfCurrent(event.data));
    worker.addEventListener("error", () => {
      handleIfCurrent({ kind: "failed", reason: "classifier-worker.js: could not be started" });
    });
    this.#worker = worker;
    this.#restartStallTimer();
  }

  /**
   * Classifies a text; the reply to an older text is dropped.
   * @param {string} text
   */
  classify(text) {
    this.#pendingText = text;
    this.#sendText();
  }

  /** Drops the waiting text and ignores the reply to the text being classified. */
  cancel() {
    this.#pendingText = null;
    this.#requestId += 1;
  }

  /**
   * Classifies the rows of a file, in place of an earlier file; texts are still classified meanwhile.
   * @param {File} file
   */
  classifyFile(file) {
    this.#batchId += 1;
    this.#pendingFile = file;
    this.#batchRunning = false;
    this.#sendFile();
  }

  /** Stops the batch; rows not classified yet have no prediction. */
  stopBatch() {
    this.#worker?.postMessage({ kind: "stop" });
  }

  #stop() {
    clearTimeout(this.#stallTimer);
    this.#worker?.terminate();
    this.#worker = null;
    this.#ready = false;
  }

  /** Restarts the timeout of the load. */
  #restartStallTimer() {
    clearTimeout(this.#stallTimer);
    this.#stallTimer = setTimeout(() => {
      this.#handleReply({ kind: "failed", reason: `no progress for ${STALL_TIMEOUT_S} seconds` });
    }, STALL_TIMEOUT_S * 1_000);
  }

  #sendFile() {
    if (!this.#ready || !this.#pendingFile) return;
    this.#worker?.postMessage({ kind: "batch", batch: this.#batchId, file: this.#pendingFile });
    this.#pendingFile = null;
    this.#batchRunning = true;
  }

  #sendText() {
    if (this.#busy || this.#pendingText === null) return;
    this.#busy = true;
    this.#requestId += 1;
    this.#worker?.postMessage({ kind: "classify", id: this.#requestId, text: this.#pendingText });
    this.#pendingText = null;
  }

  /** @param {Reply} reply */
  #handleReply(reply) {
    if (reply.kind === "rows" || reply.kind === "table" || reply.kind === "unread") {
      // Replies about the previous file can still arrive.
      if (reply.batch !== this.#batchId) return;
      if (reply.kind !== "rows") this.#batchRunning = false;
      this.#onReply(reply);
      return;
    }
    const textFinished = reply.kind === "answer" || reply.kind === "refused";
    this.#busy = !(textFinished || reply.kind === "ready");
    switch (reply.kind) {
      case "progress":
        this.#restartStallTimer();
        break;
      case "preparing":
        // The worker now computes without progress messages, for as long as a slow machine needs.
        clearTimeout(this.#stallTimer);
        break;
      case "ready":
        clearTimeout(this.#stallTimer);
        this.#ready = true;
        break;
      case "failed":
        this.#failed = true;
        this.#stop();
    }
    if (!textFinished || reply.id === this.#requestId) this.#onReply(reply);
    if (reply.kind === "failed" && this.#batchRunning) {
      this.#batchRunning = false;
      this.#onReply({ kind: "unread", batch: this.#batchId, reason: reply.reason });
    }
    this.#sendText();
    this.#sendFile();
  }
}
