// Repeated calls of a fixed set of users, with counts of their results.

import { SAMPLE_TEXT } from "./gateway-calls.js";
import { fetchRaw } from "./raw-http.js";

const USERS = 600;
/** Most calls in progress at once. */
const IN_FLIGHT_MAX = 50;
/** Most reasons of failures that are kept. */
const FAILURE_REASONS_MAX = 10;

/**
 * Sends calls until stopped. Each call has its own connection: a reused one may be closed just as the call is sent, and then
 * it is unknown whether the gateway received the call.
 *
 * @param {string} origin @param {{ rate: number, headers?: (call: number) => Record<string, string> }} options `rate`: calls per second; `headers`: by the call's number
 */
export function startTraffic(origin, { rate, headers = () => ({}) }) {
  const traffic = {
    /** Text of the next calls. */
    text: SAMPLE_TEXT,
    /** Calls per second; 0 pauses. */
    rate,
    /** Part of the user ids: a new number brings new users, because an affected subject counts only once an hour. */
    userRound: 0,
    /** Calls with a response. */
    responses: 0,
    /** Responses with status 200 by the model. */
    canaryResponses: 0,
    /** Time of the model's last response, in Unix milliseconds; 0 before the first. */
    last_canary_ms: 0,
    /** Calls without a response, or with a status other than 200. */
    failedRequests: 0,
    /** Reasons of the first failures. @type {string[]} */
    failureReasons: [],
  };
  let running = true;
  /** @param {number} number */
  const sendRequest = async (number) => {
    const body = JSON.stringify({ text: traffic.text, user_id: `user-${traffic.userRound}-${(number * 7) % USERS}` });
    const requestHeaders = { "content-type": "application/json", "content-length": String(Buffer.byteLength(body)), ...headers(number) };
    const fail = (/** @type {string} */ reason) => {
      traffic.failedRequests += 1;
      if (traffic.failureReasons.length < FAILURE_REASONS_MAX) traffic.failureReasons.push(reason);
    };
    const response = await fetchRaw(origin, "/predict", { method: "POST", headers: requestHeaders, body }).catch((error) => fail(String(error)));
    if (!response) return;
    traffic.responses += 1;
    if (response.status !== 200) fail(`${response.status}: ${response.body.toString().slice(0, 200)}`);
    const cohort = response.headers.find(([name]) => name === "x-jeffrey-cohort")?.[1];
    if (cohort === "canary" && response.status === 200 && JSON.parse(response.body.toString()).encoder === "e1-small") {
      traffic.canaryResponses += 1;
      traffic.last_canary_ms = Date.now();
    }
  };
  const sending = (async () => {
    /** @type {Set<Promise<void>>} */
    const inFlight = new Set();
    for (let number = 1; running; number += 1) {
      if (traffic.rate > 0 && inFlight.size < IN_FLIGHT_MAX) {
        const pending = sendRequest(number);
        inFlight.add(pending);
        pending.finally(() => inFlight.delete(pending));
      }
      await new Promise((resolve) => setTimeout(resolve, 1_000 / Math.max(traffic.rate, 10)));
    }
    await Promise.all(inFlight);
  })();
  return {
    traffic,
    /** Stops sending, and waits for the calls in progress. */
    async stop() {
      running = false;
      await sending;
    },
  };
}
