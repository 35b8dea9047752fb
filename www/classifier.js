// The page's side of the worker: one text is asked at a time, and of those typed meanwhile only the
// newest is asked next. So fast typing never builds a queue. A file that comes before the model waits for it.

/** @typedef {import("./classifier-worker.js").Reply} Reply */

/** How long a load may bring nothing before it counts as failed, in seconds. */
export const SILENCE_S = 30;

export class Classifier {
  /** @type {Worker | null} */ #worker = null;
  /** @type {string | null} The newest text that was not asked yet. */ #next = null;
  /** @type {File | null} The newest file that no ready worker has got. */ #file = null;
  #asked = 0;
  #batch = 0;
  /** Whether the newest batch has its rows still to come. */
  #reading = false;
  #ready = false;
  #busy = true;
  #failed = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #silence;
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
    this.#await();
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
    this.#file = file;
    this.#reading = false;
    this.#sendFile();
  }

  /** Ends the batch where it is. */
  stopBatch() {
    this.#worker?.postMessage({ kind: "stop" });
  }

  #stop() {
    clearTimeout(this.#silence);
    this.#worker?.terminate();
    this.#worker = null;
    this.#ready = false;
  }

  /** Gives the load its time from now on. */
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
      // Of the file before, some may still be on their way.
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
        // From here on it computes, and a slow machine takes the time it takes.
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
