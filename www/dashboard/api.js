// The dashboard's requests to the gateway, with the token that the user entered.

/** @typedef {{ at_ms: number, share_basis_points: number | null, canary: any, stable: any }} Point */
/** @typedef {{ id: number, at_ms: number, what: string, then: string, fr: { what: string, then: string }, phase: string, share_basis_points: number, gates: any, counted: any }} Decision */

/** An error response of the gateway, with its status and message. */
export class Refusal extends Error {
  /** @param {number} status @param {string} message */
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** The page is at `…/dashboard/`, the API at `…/v1/`. */
const BASE = new URL("../v1/", location.href);

/** @param {string} token */
export function gate(token) {
  /** @param {string} path @param {RequestInit} [init] */
  async function ask(path, init = {}) {
    const response = await fetch(new URL(path, BASE), { ...init, headers: { authorization: `Bearer ${token}` }, cache: "no-store" });
    if (response.ok) return response;
    const { error } = await response.json().catch(() => ({ error: null }));
    throw new Refusal(response.status, error?.message ?? `${response.status}`);
  }
  return {
    /** The current rollout status. */
    standing: async () => (await ask("rollout")).json(),
    /**
     * The decisions after history entry `since`, the earliest first, and the number of the last entry that was read.
     *
     * @param {number} since @returns {Promise<{ decisions: Decision[], after: number }>}
     */
    async decisions(since) {
      /** @type {Decision[]} */
      const decisions = [];
      for (let after = since; ; ) {
        const page = await (await ask(`rollout/decisions?since=${after}&limit=1000`)).json();
        if (page.after === after) return { decisions, after };
        decisions.push(...page.decisions);
        after = page.after;
      }
    },
    /** Closed minutes after minute `since`, in minutes since 1970; at most 120. @param {number} since @returns {Promise<Point[]>} */
    series: async (since) => (await ask(`series?since=${since}`)).json(),
    /** Sends a rollout command and returns the new status. @param {string} command @param {string} reason empty for none @param {string} actor */
    wish: async (command, reason, actor) => (await ask("admin/rollout", { method: "POST", body: JSON.stringify({ command, actor, ...(reason && { reason }) }) })).json(),
    /** Calls `each` with every status until the stream ends. @param {(standing: any) => void} each @param {AbortSignal} signal */
    async live(each, signal) {
      const response = await ask("rollout/live", { signal });
      if (!response.body) throw new Error("no stream");
      let rest = "";
      for await (const text of read(response.body.pipeThrough(new TextDecoderStream()))) {
        const lines = (rest + text).split("\n");
        rest = lines.pop() ?? "";
        for (const line of lines) {
          const standing = JSON.parse(line);
          if (standing.error) throw new Refusal(503, standing.error.message);
          each(standing);
        }
      }
    },
  };
}

/** @param {ReadableStream<string>} stream */
async function* read(stream) {
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
