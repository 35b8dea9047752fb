// Calls of everybody in turn, again and again, and what came of them.

import { TEXT } from "./gate-calls.js";
import { ask } from "./raw.js";

const USERS = 600;
/** So many on their way at once at most. */
const FLYING = 50;
/** So many reasons are kept. */
const FAULTS = 10;

/**
 * Sends until stopped. Each call has a connection of its own: one that is kept may be closed just as it is used again, and
 * then nobody knows whether the gate had the call.
 *
 * @param {string} origin @param {{ rate: number, headers?: (call: number) => Record<string, string> }} options calls a second; headers by the call's number
 */
export function startTraffic(origin, { rate, headers = () => ({}) }) {
  const traffic = {
    /** What the next calls say. */
    text: TEXT,
    /** Calls a second. */
    rate,
    /** Other people in each round: whom something has hit in this hour already is no news to a gate that counts people. */
    round: 0,
    /** Answered calls. */
    calls: 0,
    /** Answers of the model. */
    canary: 0,
    /** When the model last answered. */
    last_canary: 0,
    /** Calls without an answer, or with another one than 200. */
    failed: 0,
    /** What the first of those were told. @type {string[]} */
    faults: [],
  };
  let running = true;
  /** @param {number} number */
  const call = async (number) => {
    const body = JSON.stringify({ text: traffic.text, user_id: `user-${traffic.round}-${(number * 7) % USERS}` });
    const given = { "content-type": "application/json", "content-length": String(Buffer.byteLength(body)), ...headers(number) };
    const fail = (/** @type {string} */ why) => {
      traffic.failed += 1;
      if (traffic.faults.length < FAULTS) traffic.faults.push(why);
    };
    const reply = await ask(origin, "/predict", { method: "POST", headers: given, body }).catch((error) => fail(String(error)));
    if (!reply) return;
    traffic.calls += 1;
    if (reply.status !== 200) fail(`${reply.status}: ${reply.body.toString().slice(0, 200)}`);
    const cohort = reply.headers.find(([name]) => name === "x-jeffrey-cohort")?.[1];
    if (cohort === "canary" && reply.status === 200 && JSON.parse(reply.body.toString()).encoder === "e1-small") {
      traffic.canary += 1;
      traffic.last_canary = Date.now();
    }
  };
  const sent = (async () => {
    /** @type {Set<Promise<void>>} */
    const flying = new Set();
    for (let number = 1; running; number += 1) {
      if (traffic.rate > 0 && flying.size < FLYING) {
        const one = call(number);
        flying.add(one);
        one.finally(() => flying.delete(one));
      }
      await new Promise((resolve) => setTimeout(resolve, 1_000 / Math.max(traffic.rate, 10)));
    }
    await Promise.all(flying);
  })();
  return {
    traffic,
    /** Sends no more, and waits for what is on its way. */
    async stop() {
      running = false;
      await sent;
    },
  };
}
