// The dashboard's requests to the gateway, with the token that the user entered.

/** @typedef {import("./messages.js").Message} Message */
/** @typedef {{ at_ms: number, share_basis_points: number | null, canary: any, stable: any }} Point */
/** @typedef {{ id: number, at_ms: number, trigger: Message, outcome: Message, phase: string, share_basis_points: number, gates: any, counts: any }} Decision */

/** An error response of the gateway, with its status and message. */
export class ApiError extends Error {
  /** @param {number} status @param {string} message */
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** Commands that may give the canary traffic. */
const INCREASES = ["start", "approve", "resume", "advance"];

/** The page is at `…/dashboard/`, the API at `…/v1/`. */
const BASE = new URL("../v1/", location.href);

/** @param {string} token */
export function createClient(token) {
  /** @param {string} path @param {RequestInit} [init] */
  async function request(path, init = {}) {
    const response = await fetch(new URL(path, BASE), { ...init, headers: { authorization: `Bearer ${token}` }, cache: "no-store" });
    if (response.ok) return response;
    const { error } = await response.json().catch(() => ({ error: null }));
    throw new ApiError(response.status, error?.message ?? `${response.status}`);
  }
  return {
    /** The current rollout status. */
    fetchStatus: async () => (await request("rollout")).json(),
    /**
     * The decisions after history entry `since`, the earliest first, and the number of the last entry that was read.
     *
     * @param {number} since @returns {Promise<{ decisions: Decision[], after: number }>}
     */
    async fetchDecisions(since) {
      /** @type {Decision[]} */
      const decisions = [];
      for (let after = since; ; ) {
        const page = await (await request(`rollout/decisions?since=${after}&limit=1000`)).json();
        if (page.after === after) return { decisions, after };
        decisions.push(...page.decisions);
        after = page.after;
      }
    },
    /** Closed minutes after minute `since`, in minutes since 1970; at most 120. @param {number} since @returns {Promise<Point[]>} */
    fetchSeries: async (since) => (await request(`series?since=${since}`)).json(),
    /**
     * Sends a rollout command and returns the new status. A command that may give the canary traffic carries the version of
     * the release that the operator saw, so that it is refused if a rollback came first.
     *
     * @param {string} command @param {string} reason empty for none @param {string} actor @param {number} version
     */
    async sendCommand(command, reason, actor, version) {
      const body = { command, actor, ...(reason && { reason }), ...(INCREASES.includes(command) && { version }) };
      return (await request("admin/rollout", { method: "POST", body: JSON.stringify(body) })).json();
    },
    /** Calls `onStatus` with every status until the stream ends. @param {(status: any) => void} onStatus @param {AbortSignal} signal */
    async followStatus(onStatus, signal) {
      const response = await request("rollout/live", { signal });
      if (!response.body) throw new Error("no stream");
      let partialLine = "";
      for await (const text of readChunks(response.body.pipeThrough(new TextDecoderStream()))) {
        const lines = (partialLine + text).split("\n");
        partialLine = lines.pop() ?? "";
        for (const line of lines) {
          const status = JSON.parse(line);
          if (status.error) throw new ApiError(503, status.error.message);
          onStatus(status);
        }
      }
    },
  };
}

/** @param {ReadableStream<string>} stream */
async function* readChunks(stream) {
  const reader = stream.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  } finally {
    reader.releaseLock();
  }
}
