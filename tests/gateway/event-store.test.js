// Events in a real `wrangler dev`: stored once, delivered to real HTTP sinks despite their faults, joined by
// feedback, and erased on request.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, before, describe, test } from "node:test";
import { TEST_TIMEOUT_MS, SECRETS, startGateways, waitFor } from "../support/gateway.js";

const ADMIN = { token: SECRETS.JEFFREY_ADMIN_TOKEN };
const VIEWER = { token: SECRETS.JEFFREY_VIEWER_TOKEN };

/** One response of a sink: `disconnects` closes the connection instead, `hangs` never responds. @typedef {{ status: number, headers?: Record<string, string>, disconnects?: boolean, hangs?: boolean }} StubResponse */

/** An HTTP sink for lines of JSON. @param {StubResponse[]} stubs its responses in turn; the last one repeats */
async function startSink(stubs) {
  /** @type {any[]} */
  const receivedEvents = [];
  /** @type {{ received_ms: number, lines: number, type: string | undefined, authorization: string | undefined }[]} */
  const requests = [];
  const server = createServer((request, response) => {
    let body = "";
    request.setEncoding("utf8").on("data", (chunk) => (body += chunk));
    request.on("end", () => {
      const lines = body.trimEnd().split("\n").map((line) => JSON.parse(line));
      const { authorization, "content-type": type } = request.headers;
      requests.push({ received_ms: Date.now(), lines: lines.length, type, authorization });
      const stub = stubs.length > 1 ? /** @type {StubResponse} */ (stubs.shift()) : stubs[0];
      if (stub.disconnects) return request.socket.destroy();
      // A batch that a sink accepts without a response arrives a second time, and the sink keeps both.
      if (stub.status < 300 || stub.hangs) receivedEvents.push(...lines);
      if (!stub.hangs) response.writeHead(stub.status, stub.headers).end();
    });
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(null)));
  const { port } = /** @type {import("node:net").AddressInfo} */ (server.address());
  const stop = () => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  };
  return { url: `http://127.0.0.1:${port}/in`, receivedEvents, requests, stubs, stop };
}

const OK = { status: 202 };

/** @type {Record<string, Awaited<ReturnType<typeof startSink>>>} */
const sinks = {};
const startSession = () => {
  const sinkConfigs = Object.entries(sinks).map(([name, { url }]) => ({ name, kind: "ndjson", url, authorization: `Bearer of ${name}` }));
  const unreachable = { name: "unreachable", kind: "ndjson", url: "http://127.0.0.1:1/in" };
  return startGateways({
    // First, because only the first gateway of a session has rate limits.
    limited: [{ RATE_LIMITING: "on" }, { configure: (toml) => toml.replace("limit = 100", "limit = 3") }],
    nopreview: [{ LOG_TEXT_PREVIEW: "off", INITIAL_SHARE: "0%" }],
    preview: [{ LOG_TEXT_PREVIEW: "on", INITIAL_SHARE: "0%" }],
    sinks: [{ INITIAL_SHARE: "50%", SINKS: JSON.stringify([...sinkConfigs, unreachable]) }],
  });
};
/** @type {Awaited<ReturnType<typeof startSession>>} */
let session;
before(async () => {
  sinks.healthy = await startSink([OK]);
  sinks.failing = await startSink([{ status: 500 }, { status: 503 }, { status: 200, disconnects: true }, OK]);
  sinks.busy = await startSink([{ status: 429, headers: { "retry-after": "3" } }, OK]);
  sinks.small = await startSink([{ status: 413 }, { status: 413 }, OK]);
  sinks.rejecting = await startSink([{ status: 400 }, OK]);
  session = await startSession();
});
after(async () => {
  await session?.stop();
  await Promise.all(Object.values(sinks).map(({ stop }) => stop()));
});

test("an event has a masked preview of the text only with LOG_TEXT_PREVIEW=on", { timeout: TEST_TIMEOUT_MS }, async () => {
  const text = "Écrivez-moi à zoe.martin@example.org ou au 06 12 34 56 78, je suis furieuse contre vous !";
  const { nopreview, preview } = session.gateways;
  for (const [gateway, expected] of /** @type {const} */ ([[nopreview, null], [preview, "Écrivez-moi à [EMAIL] ou au [PHONE], je suis furie"]])) {
    await gateway.classify({ text, user_id: "u" });
    const [event] = await gateway.waitForEvents(1);
    assert.equal(event.preview, expected);
    const storedEvent = await waitFor(async () => (await (await gateway.fetchAdmin("/admin/events", ADMIN)).text()).trim());
    assert.equal(JSON.parse(storedEvent).preview, expected);
    assert.doesNotMatch(await gateway.log(), /zoe\.martin|06 12 34/);
  }
});

test("too much feedback from one subject gets 429 with Retry-After, and another subject is not limited", { timeout: TEST_TIMEOUT_MS }, async () => {
  const { limited: gateway } = session.gateways;
  const postFeedback = async (/** @type {string} */ user) => {
    const init = { method: "POST", headers: { "x-user-id": user }, body: '{"id":"AAAA","ok":true}' };
    const response = await gateway.fetchAdmin("/v1/feedback", init);
    await response.body?.cancel();
    return response;
  };
  for (let count = 0; count < 3; count += 1) assert.equal((await postFeedback("often")).status, 400);
  const refused = await postFeedback("often");
  assert.deepEqual([refused.status, refused.headers.get("retry-after")], [429, "10"]);
  assert.equal((await postFeedback("seldom")).status, 400);
});

describe("an event store with faulty sinks", { timeout: TEST_TIMEOUT_MS }, () => {
  /** @type {import("../support/gateway.js").Gateway} */
  let gateway;
  /** @type {import("../support/gateway-calls.js").ClassifyResponse[]} */
  const responses = [];
  const CALLS = 60;

  before(async () => {
    gateway = session.gateways.sinks;
    for (let round = 0; round < CALLS / 20; round += 1) {
      const calls = Array.from({ length: 20 }, (_, number) => gateway.classify({ text: "I am so happy", user_id: `user-${round * 20 + number}` }));
      responses.push(...(await Promise.all(calls)));
    }
  });

  const fetchSinkStatus = async () => /** @type {any} */ (await (await gateway.fetchAdmin("/v1/sinks", VIEWER)).json());
  const fetchSink = async (/** @type {string} */ name) => (await fetchSinkStatus()).sinks.find((/** @type {any} */ sink) => sink.name === name);
  const waitForDelivery = (/** @type {string} */ name) => waitFor(async () => (await fetchSink(name)).pending_events === 0 && fetchSink(name));
  const ids = (/** @type {any[]} */ events) => new Set(events.map(({ id }) => id));

  test("every call is one event, and a healthy sink gets each event once", async () => {
    const events = await gateway.waitForEvents(CALLS);
    await waitFor(async () => (await fetchSinkStatus()).events === CALLS);
    const { delivered, dropped } = await waitForDelivery("healthy");
    assert.deepEqual([delivered, dropped], [CALLS, 0]);
    assert.deepEqual(ids(sinks.healthy.receivedEvents), ids(events));
    assert.equal(sinks.healthy.receivedEvents.length, CALLS);
    for (const { type, authorization } of sinks.healthy.requests) assert.deepEqual([type, authorization], ["application/x-ndjson", "Bearer of healthy"]);
    assert.equal((await fetchSinkStatus()).lost_events, 0);
  });

  test("a sink that fails, closes the connection or is busy gets all events in the end", async () => {
    for (const name of ["failing", "busy"]) {
      const { delivered, dropped, failures } = await waitForDelivery(name);
      assert.deepEqual([delivered, dropped, failures], [CALLS, 0, 0], name);
      assert.deepEqual(ids(sinks[name].receivedEvents), ids(sinks.healthy.receivedEvents), name);
    }
    const [first, second] = sinks.busy.requests;
    assert.ok(second.received_ms - first.received_ms >= 3_000, "Retry-After is honoured");
  });

  test("a batch that is too large is split, and refused events are counted exactly", async () => {
    const small = await waitForDelivery("small");
    assert.deepEqual([small.delivered, small.dropped], [CALLS, 0]);
    assert.deepEqual(ids(sinks.small.receivedEvents), ids(sinks.healthy.receivedEvents));
    const rejecting = await waitForDelivery("rejecting");
    assert.equal(rejecting.dropped, sinks.rejecting.requests[0].lines);
    assert.equal(rejecting.delivered, sinks.rejecting.receivedEvents.length);
    assert.equal(rejecting.dropped + rejecting.delivered, CALLS);
  });

  test("an unreachable sink delays no other sink and loses no event", async () => {
    const unreachable = await fetchSink("unreachable");
    assert.deepEqual([unreachable.pending_events, unreachable.delivered, unreachable.dropped], [CALLS, 0, 0]);
    assert.ok(unreachable.failures > 0 && unreachable.next_ms > 0, JSON.stringify(unreachable));
  });

  test("only an admin reads events, page by page in the order of their numbers", async () => {
    const page = async (/** @type {string} */ query) => {
      const response = await gateway.fetchAdmin(`/admin/events${query}`, ADMIN);
      assert.equal(response.headers.get("content-type"), "application/x-ndjson");
      return (await response.text()).trimEnd().split("\n").map((line) => JSON.parse(line));
    };
    const first = await page("?since=0&limit=25");
    assert.deepEqual(first.map(({ seq }) => seq), Array.from({ length: 25 }, (_, number) => number + 1));
    const rest = await page(`?since=${first[24].seq}`);
    assert.deepEqual(ids([...first, ...rest]), ids(sinks.healthy.receivedEvents));
    assert.equal((await gateway.fetchAdmin("/admin/events", VIEWER)).status, 403);
    assert.equal((await gateway.fetchAdmin("/admin/events")).status, 401);
  });

  test("the metrics are the sums of the events, in Prometheus format, and need a token", async () => {
    assert.equal((await gateway.fetchAdmin("/metrics")).status, 401);
    const response = await gateway.fetchAdmin("/metrics", VIEWER);
    assert.equal(response.headers.get("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    const text = await response.text();
    /** @param {string} name @param {(labels: string) => boolean} [matches] */
    const sum = (name, matches = () => true) => {
      const lines = [...text.matchAll(/^(\w+)(\{.*\})? (\S+)$/gm)].filter(([, metric, labels = ""]) => metric === name && matches(labels));
      assert.ok(lines.length > 0, `${name} is not in\n${text}`);
      return lines.reduce((total, [, , , value]) => total + Number(value), 0);
    };
    const canary = responses.filter(({ cohort }) => cohort === "canary").length;
    assert.equal(sum("jeffrey_requests_total"), CALLS);
    assert.equal(sum("jeffrey_requests_total", (labels) => labels.includes('cohort="canary"')), canary);
    assert.equal(sum("jeffrey_request_duration_seconds_count"), CALLS);
    assert.equal(sum("jeffrey_request_duration_seconds_bucket", (labels) => labels.includes('le="+Inf"')), CALLS);
    assert.equal(sum("jeffrey_labels_total", (labels) => labels.includes('label="joy"')), CALLS);
    assert.equal(sum("jeffrey_sink_delivered_total", (labels) => labels.includes('"healthy"')), CALLS);
    assert.equal(sum("jeffrey_sink_pending_events", (labels) => labels.includes('"unreachable"')), CALLS);
    assert.equal(sum("jeffrey_share_ratio"), 0.5);
    for (const line of text.trimEnd().split("\n")) assert.match(line, /^(# (HELP|TYPE) jeffrey_\w+ .+|jeffrey_\w+(\{.+\})? [0-9.]+)$/);
  });

  test("feedback counts once, for the cohort of the response, and is its own event", async () => {
    const postFeedback = async (/** @type {object} */ body) => {
      const response = await gateway.fetchAdmin("/v1/feedback", { method: "POST", body: JSON.stringify(body) });
      const json = /** @type {any} */ (await response.json());
      return [response.status, json.error?.code];
    };
    const signedId = (/** @type {number} */ index) => responses[index].headers.get("x-jeffrey-id");
    assert.deepEqual(await postFeedback({ id: signedId(0), ok: true }), [200, undefined]);
    assert.deepEqual(await postFeedback({ id: signedId(0), ok: false }), [409, "feedback_exists"]);
    assert.deepEqual(await postFeedback({ id: signedId(1), correct_label: "fear" }), [200, undefined]);
    const forged = String(signedId(2)).replace(/^.../, (start) => (start === "AAA" ? "BBB" : "AAA"));
    assert.ok([400, 403].includes(Number((await postFeedback({ id: forged, ok: true }))[0])));
    assert.deepEqual(await postFeedback({ id: signedId(2), ok: true, correct_label: "joy" }), [400, "body_invalid"]);
    assert.deepEqual(await postFeedback({ id: signedId(2) }), [400, "body_invalid"]);
    const feedbackEvents = await waitFor(() => {
      const feedback = sinks.healthy.receivedEvents.filter(({ event }) => event === "feedback");
      return feedback.length >= 2 && feedback;
    });
    const byId = new Map(sinks.healthy.receivedEvents.map((event) => [event.id, event]));
    for (const feedback of feedbackEvents) {
      const { cohort, subject, label } = byId.get(feedback.classify_id);
      assert.deepEqual([feedback.cohort, feedback.subject, feedback.label], [cohort, subject, label]);
    }
    assert.deepEqual(feedbackEvents.map(({ good, correct_label }) => [good, correct_label]), [[true, null], [false, "fear"]]);
  });

  test("a subject's events are erased from the event store and from the events that wait for a sink", async () => {
    const statusBefore = await fetchSinkStatus();
    const erase = (/** @type {unknown} */ body) => gateway.fetchAdmin("/admin/subjects", { method: "DELETE", body: JSON.stringify(body), ...ADMIN });
    assert.deepEqual(await (await erase({ subject: "user-7" })).json(), { erased: 1, pending_events: 0 });
    assert.deepEqual(await (await erase({ subject: "user-7" })).json(), { erased: 0, pending_events: 0 });
    assert.equal((await erase({ subject: "" })).status, 400);
    assert.equal((await erase({ user: "user-7" })).status, 400);
    const statusAfter = await fetchSinkStatus();
    assert.equal(statusAfter.events, statusBefore.events - 1);
    // An erased event counts until the sink passes it.
    assert.equal(statusAfter.sinks.find((/** @type {any} */ sink) => sink.name === "unreachable").pending_events, statusAfter.events + 1);
  });
});
