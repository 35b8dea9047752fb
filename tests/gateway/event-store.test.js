// Events in a real `wrangler dev`: stored once, delivered to real HTTP sinks despite their faults, joined by
// feedback, and erased on request.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, before, describe, test } from "node:test";
import { PATIENCE_MS, SECRETS, startGateways, until } from "../support/gateway.js";

const ADMIN = { token: SECRETS.JEFFREY_ADMIN_TOKEN };
const VIEWER = { token: SECRETS.JEFFREY_VIEWER_TOKEN };

/** One response of a sink: `cut` closes the connection instead, `slow` never responds. @typedef {{ status: number, headers?: Record<string, string>, cut?: boolean, slow?: boolean }} Mood */

/** An HTTP sink for lines of JSON. @param {Mood[]} moods its responses in turn; the last one repeats */
async function startSink(moods) {
  /** @type {any[]} */
  const taken = [];
  /** @type {{ at: number, lines: number, type: string | undefined, authorization: string | undefined }[]} */
  const asked = [];
  const server = createServer((request, response) => {
    let body = "";
    request.setEncoding("utf8").on("data", (chunk) => (body += chunk));
    request.on("end", () => {
      const lines = body.trimEnd().split("\n").map((line) => JSON.parse(line));
      const { authorization, "content-type": type } = request.headers;
      asked.push({ at: Date.now(), lines: lines.length, type, authorization });
      const mood = moods.length > 1 ? /** @type {Mood} */ (moods.shift()) : moods[0];
      if (mood.cut) return request.socket.destroy();
      // A batch that a sink accepts without a response arrives a second time, and the sink keeps both.
      if (mood.status < 300 || mood.slow) taken.push(...lines);
      if (!mood.slow) response.writeHead(mood.status, mood.headers).end();
    });
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(null)));
  const { port } = /** @type {import("node:net").AddressInfo} */ (server.address());
  const stop = () => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  };
  return { url: `http://127.0.0.1:${port}/in`, taken, asked, moods, stop };
}

const OK = { status: 202 };

/** @type {Record<string, Awaited<ReturnType<typeof startSink>>>} */
const sinks = {};
const begin = () => {
  const configured = Object.entries(sinks).map(([name, { url }]) => ({ name, kind: "ndjson", url, authorization: `Bearer of ${name}` }));
  const away = { name: "away", kind: "ndjson", url: "http://127.0.0.1:1/in" };
  return startGateways({
    // First, because only the first gateway of a session has rate limits.
    limited: [{ RATE_LIMITS: "on" }, { configure: (toml) => toml.replace("limit = 100", "limit = 3") }],
    unseen: [{ LOG_TEXT_PREVIEW: "off", INITIAL_SHARE: "0%" }],
    seen: [{ LOG_TEXT_PREVIEW: "on", INITIAL_SHARE: "0%" }],
    moody: [{ INITIAL_SHARE: "50%", SINKS: JSON.stringify([...configured, away]) }],
  });
};
/** @type {Awaited<ReturnType<typeof begin>>} */
let session;
before(async () => {
  sinks.well = await startSink([OK]);
  sinks.failing = await startSink([{ status: 500 }, { status: 503 }, { status: 200, cut: true }, OK]);
  sinks.busy = await startSink([{ status: 429, headers: { "retry-after": "3" } }, OK]);
  sinks.small = await startSink([{ status: 413 }, { status: 413 }, OK]);
  sinks.picky = await startSink([{ status: 400 }, OK]);
  session = await begin();
});
after(async () => {
  await session?.stop();
  await Promise.all(Object.values(sinks).map(({ stop }) => stop()));
});

test("an event has a masked preview of the text only with LOG_TEXT_PREVIEW=on", { timeout: PATIENCE_MS }, async () => {
  const text = "Écrivez-moi à zoe.martin@example.org ou au 06 12 34 56 78, je suis furieuse contre vous !";
  const { unseen, seen } = session.gates;
  for (const [gate, expected] of /** @type {const} */ ([[unseen, null], [seen, "Écrivez-moi à [EMAIL] ou au [PHONE], je suis furie"]])) {
    await gate.classify({ text, user_id: "u" });
    const [event] = await gate.eventsOf(1);
    assert.equal(event.preview, expected);
    const kept = await until(async () => (await (await gate.own("/admin/events", ADMIN)).text()).trim());
    assert.equal(JSON.parse(kept).preview, expected);
    assert.doesNotMatch(await gate.log(), /zoe\.martin|06 12 34/);
  }
});

test("too much feedback from one subject gets 429 with Retry-After, and another subject is not limited", { timeout: PATIENCE_MS }, async () => {
  const { limited: gate } = session.gates;
  const judge = async (/** @type {string} */ user) => {
    const init = { method: "POST", headers: { "x-user-id": user }, body: '{"id":"AAAA","ok":true}' };
    const response = await gate.own("/v1/feedback", init);
    await response.body?.cancel();
    return response;
  };
  for (let count = 0; count < 3; count += 1) assert.equal((await judge("often")).status, 400);
  const refused = await judge("often");
  assert.deepEqual([refused.status, refused.headers.get("retry-after")], [429, "10"]);
  assert.equal((await judge("seldom")).status, 400);
});

describe("an event store with faulty sinks", { timeout: PATIENCE_MS }, () => {
  /** @type {import("../support/gateway.js").Gate} */
  let gate;
  /** @type {import("../support/gateway-calls.js").Answer[]} */
  const answers = [];
  const CALLS = 60;

  before(async () => {
    gate = session.gates.moody;
    for (let round = 0; round < CALLS / 20; round += 1) {
      const calls = Array.from({ length: 20 }, (_, number) => gate.classify({ text: "I am so happy", user_id: `user-${round * 20 + number}` }));
      answers.push(...(await Promise.all(calls)));
    }
  });

  const standing = async () => /** @type {any} */ (await (await gate.own("/v1/sinks", VIEWER)).json());
  const sinkOf = async (/** @type {string} */ name) => (await standing()).sinks.find((/** @type {any} */ sink) => sink.name === name);
  const settled = (/** @type {string} */ name) => until(async () => (await sinkOf(name)).waiting === 0 && sinkOf(name));
  const ids = (/** @type {any[]} */ events) => new Set(events.map(({ id }) => id));

  test("every call is one event, and a healthy sink gets each event once", async () => {
    const events = await gate.eventsOf(CALLS);
    await until(async () => (await standing()).events === CALLS);
    const { delivered, dropped } = await settled("well");
    assert.deepEqual([delivered, dropped], [CALLS, 0]);
    assert.deepEqual(ids(sinks.well.taken), ids(events));
    assert.equal(sinks.well.taken.length, CALLS);
    for (const { type, authorization } of sinks.well.asked) assert.deepEqual([type, authorization], ["application/x-ndjson", "Bearer of well"]);
    assert.equal((await standing()).lost, 0);
  });

  test("a sink that fails, closes the connection or is busy gets all events in the end", async () => {
    for (const name of ["failing", "busy"]) {
      const { delivered, dropped, failures } = await settled(name);
      assert.deepEqual([delivered, dropped, failures], [CALLS, 0, 0], name);
      assert.deepEqual(ids(sinks[name].taken), ids(sinks.well.taken), name);
    }
    const [first, second] = sinks.busy.asked;
    assert.ok(second.at - first.at >= 3_000, "Retry-After is honoured");
  });

  test("a batch that is too large is split, and refused events are counted exactly", async () => {
    const small = await settled("small");
    assert.deepEqual([small.delivered, small.dropped], [CALLS, 0]);
    assert.deepEqual(ids(sinks.small.taken), ids(sinks.well.taken));
    const picky = await settled("picky");
    assert.equal(picky.dropped, sinks.picky.asked[0].lines);
    assert.equal(picky.delivered, sinks.picky.taken.length);
    assert.equal(picky.dropped + picky.delivered, CALLS);
  });

  test("an unreachable sink delays no other sink and loses no event", async () => {
    const away = await sinkOf("away");
    assert.deepEqual([away.waiting, away.delivered, away.dropped], [CALLS, 0, 0]);
    assert.ok(away.failures > 0 && away.next_ms > 0, JSON.stringify(away));
  });

  test("only an admin reads events, page by page in the order of their numbers", async () => {
    const page = async (/** @type {string} */ query) => {
      const response = await gate.own(`/admin/events${query}`, ADMIN);
      assert.equal(response.headers.get("content-type"), "application/x-ndjson");
      return (await response.text()).trimEnd().split("\n").map((line) => JSON.parse(line));
    };
    const first = await page("?since=0&limit=25");
    assert.deepEqual(first.map(({ seq }) => seq), Array.from({ length: 25 }, (_, number) => number + 1));
    const rest = await page(`?since=${first[24].seq}`);
    assert.deepEqual(ids([...first, ...rest]), ids(sinks.well.taken));
    assert.equal((await gate.own("/admin/events", VIEWER)).status, 403);
    assert.equal((await gate.own("/admin/events")).status, 401);
  });

  test("the metrics are the sums of the events, in Prometheus format, and need a token", async () => {
    assert.equal((await gate.own("/metrics")).status, 401);
    const response = await gate.own("/metrics", VIEWER);
    assert.equal(response.headers.get("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    const text = await response.text();
    /** @param {string} name @param {(labels: string) => boolean} [of] */
    const sum = (name, of = () => true) => {
      const lines = [...text.matchAll(/^(\w+)(\{.*\})? (\S+)$/gm)].filter(([, found, labels = ""]) => found === name && of(labels));
      assert.ok(lines.length > 0, `${name} is not in\n${text}`);
      return lines.reduce((total, [, , , number]) => total + Number(number), 0);
    };
    const canary = answers.filter(({ cohort }) => cohort === "canary").length;
    assert.equal(sum("jeffrey_requests_total"), CALLS);
    assert.equal(sum("jeffrey_requests_total", (labels) => labels.includes('cohort="canary"')), canary);
    assert.equal(sum("jeffrey_request_duration_seconds_count"), CALLS);
    assert.equal(sum("jeffrey_request_duration_seconds_bucket", (labels) => labels.includes('le="+Inf"')), CALLS);
    assert.equal(sum("jeffrey_labels_total", (labels) => labels.includes('label="joy"')), CALLS);
    assert.equal(sum("jeffrey_sink_delivered_total", (labels) => labels.includes('"well"')), CALLS);
    assert.equal(sum("jeffrey_sink_pending_events", (labels) => labels.includes('"away"')), CALLS);
    assert.equal(sum("jeffrey_share_ratio"), 0.5);
    for (const line of text.trimEnd().split("\n")) assert.match(line, /^(# (HELP|TYPE) jeffrey_\w+ .+|jeffrey_\w+(\{.+\})? [0-9.]+)$/);
  });

  test("feedback counts once, for the cohort of the response, and is its own event", async () => {
    const say = async (/** @type {object} */ body) => {
      const response = await gate.own("/v1/feedback", { method: "POST", body: JSON.stringify(body) });
      const json = /** @type {any} */ (await response.json());
      return [response.status, json.error?.code];
    };
    const id = (/** @type {number} */ at) => answers[at].headers.get("x-jeffrey-id");
    assert.deepEqual(await say({ id: id(0), ok: true }), [200, undefined]);
    assert.deepEqual(await say({ id: id(0), ok: false }), [409, "feedback_exists"]);
    assert.deepEqual(await say({ id: id(1), correct_label: "fear" }), [200, undefined]);
    const forged = String(id(2)).replace(/^.../, (start) => (start === "AAA" ? "BBB" : "AAA"));
    assert.ok([400, 403].includes(Number((await say({ id: forged, ok: true }))[0])));
    assert.deepEqual(await say({ id: id(2), ok: true, correct_label: "joy" }), [400, "body_invalid"]);
    assert.deepEqual(await say({ id: id(2) }), [400, "body_invalid"]);
    const verdicts = await until(() => {
      const found = sinks.well.taken.filter(({ event }) => event === "feedback");
      return found.length >= 2 && found;
    });
    const byId = new Map(sinks.well.taken.map((event) => [event.id, event]));
    for (const verdict of verdicts) {
      const { cohort, subject, label } = byId.get(verdict.classify_id);
      assert.deepEqual([verdict.cohort, verdict.subject, verdict.label], [cohort, subject, label]);
    }
    assert.deepEqual(verdicts.map(({ good, correct_label }) => [good, correct_label]), [[true, null], [false, "fear"]]);
  });

  test("a subject's events are erased from the event store and from the events that wait for a sink", async () => {
    const before = await standing();
    const erase = (/** @type {unknown} */ body) => gate.own("/admin/subjects", { method: "DELETE", body: JSON.stringify(body), ...ADMIN });
    assert.deepEqual(await (await erase({ subject: "user-7" })).json(), { erased: 1 });
    assert.deepEqual(await (await erase({ subject: "user-7" })).json(), { erased: 0 });
    assert.equal((await erase({ subject: "" })).status, 400);
    assert.equal((await erase({ user: "user-7" })).status, 400);
    const now = await standing();
    assert.equal(now.events, before.events - 1);
    assert.equal(now.sinks.find((/** @type {any} */ sink) => sink.name === "away").waiting, now.events);
  });
});
