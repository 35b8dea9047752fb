// Repeated calls of a fixed set of users, with counts of their results.

import { TEXT } from "./gateway-calls.js";
import { ask } from "./raw-http.js";

const USERS = 600;
/** Most calls in progress at once. */
const FLYING = 50;
/** Most reasons of failures that are kept. */
const FAULTS = 10;

/**
 * Sends calls until stopped. Each call has its own connection: a reused one may be closed just as the call is sent, and then
 * it is unknown whether the gateway received the call.
 *
 * @param {string} origin @param {{ rate: number, headers?: (call: number) => Record<string, string> }} options `rate`: calls per second; `headers`: by the call's number
 */
export function startTraffic(origin, { rate, headers = () => ({}) }) {
  const traffic = {
    /** Text of the next calls. */
    text: TEXT,
    /** Calls per second; 0 pauses. */
    rate,
    /** Part of the user ids: a new number brings new users, because an affected subject counts only once an hour. */
    round: 0,
    /** Calls with a response. */
    calls: 0,
    /** Responses with status 200 by the model. */
    canary: 0,
    /** Time of the model's last response, in Unix milliseconds; 0 before the first. */
    last_canary: 0,
    /** Calls without a response, or with a status other than 200. */
    failed: 0,
    /** Reasons of the first failures. @type {string[]} */
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
    /** Stops sending, and waits for the calls in progress. */
    async stop() {
      running = false;
      await sent;
    },
  };
}
