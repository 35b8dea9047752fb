// Texts, subjects, keys and tokens do not appear in a log, an error, an id, a status, an event, a sink, a metric, or a
// file of the objects' storage.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, readdirSync, rmSync, statSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { TEST_TIMEOUT_MS, SECRETS, startGateways, waitFor } from "../support/gateway.js";
import { classifyWithEvent, mapInBatches, waitForEvent, signedIdBytes, createToken } from "../support/gateway-calls.js";

/** @typedef {import("../support/gateway-calls.js").Gateway} Gateway */

const TEXT = "Zanzibar-7731 broke my heart";
const KEYS = {
  JEFFREY_SIGNING_KEY: "key-Quagga-5507-of-answers",
  JEFFREY_OVERRIDE_SIGNING_KEY: "key-Okapi-6618-of-overrides",
  JEFFREY_VIEWER_TOKEN: "token-Bongo-7729-of-a-viewer",
  JEFFREY_ADMIN_TOKEN: "token-Kudu-8830-of-an-admin",
};
const SUBJECTS = {
  header: "Marguerite-1141@example.org",
  user: "Anatole-2252 Élie",
  cookie: Buffer.from("Celestine-333333").toString("base64url"),
  canary: "Philomene-4474",
  stable: "Hyacinthe-5585",
  evaluated: "Barnabe-6696",
};
/** Credentials that callers send to the legacy system; the gateway only forwards them. */
const LEGACY_CREDENTIALS = { authorization: "Basic Pangolin9912", cookie: "session=Aardvark1123" };
const WRONG_TOKEN = "token-Civet-4456-of-nobody";

/** Folder of the storage of all gateways' objects. */
const storageFolder = mkdtempSync(join(tmpdir(), "jeffrey-privacy-"));

/** @type {Map<string, string>} */
const markers = new Map();
/** Makes a unique string and records in `markers` the place that it is sent to. @param {string} place */
const makeMarker = (place) => {
  const marker = `zq${markers.size.toString(36).padStart(3, "0")}x${createHash("sha256").update(`${place}${markers.size}`).digest("hex").slice(0, 10)}`;
  markers.set(marker, place);
  return marker;
};

/** A sink that keeps the heads and bodies of its requests. */
async function startSink() {
  const sink = { url: "", received: "", close: () => void server.close() };
  const server = createServer((request, response) => {
    sink.received += `${request.rawHeaders.join("\n")}\n`;
    request.setEncoding("utf8").on("data", (chunk) => (sink.received += chunk)).on("end", () => response.end());
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(null)));
  sink.url = `http://127.0.0.1:${/** @type {import("node:net").AddressInfo} */ (server.address()).port}/in`;
  return sink;
}

/** @type {Record<"kinds" | "marked", Awaited<ReturnType<typeof startSink>>>} */
let sinks;

const SHADOW_VARIABLES = { INITIAL_SHARE: "50%", SHADOW_SHARE: "100%", MODEL_TIMEOUT_MS: "1000", LEGACY_TIMEOUT_MS: "1000" };

function startSession() {
  const url = `${sinks.marked.url}?key=${makeMarker("a sink's address")}`;
  const authorization = `Bearer ${makeMarker("a sink's authorization")}`;
  return startGateways({
    kinds: [{
      SINKS: JSON.stringify(["ndjson", "ndjson-legacy", "otlp-logs"].map((kind) => ({ name: kind, kind, url: sinks.kinds.url }))),
      ...KEYS,
      ...SHADOW_VARIABLES,
      COHORT_OVERRIDES: `${SUBJECTS.canary}=canary, ${SUBJECTS.stable}=stable`,
    }, { model: "faulty" }],
    marked: [{
      SINKS: JSON.stringify(["ndjson", "ndjson-legacy", "otlp-logs", "otlp-metrics"].map((kind) => ({ name: kind, kind, url, authorization }))),
      ...SHADOW_VARIABLES,
      COHORT_OVERRIDES: `${makeMarker("an overridden subject")}=canary`,
    }, { model: "faulty" }],
    ids: [{ COHORT_OVERRIDES: "stays=stable" }],
    refused: [{
      JEFFREY_SIGNING_KEY: "Hunter2-9",
      COHORT_OVERRIDES: "Philomene-4474=nobody, Hyacinthe-5585",
      JEFFREY_OVERRIDE_SIGNING_KEY: "Civet-4456-of-overrides, Genet-5567-of-overrides, Serval-6678-of-overrides",
    }, { model: "none" }],
    credentials: [{ LEGACY_ORIGIN: "https://caracal:Hunter2-9@old.example" }, { model: "none" }],
  }, { state: storageFolder });
}

/** @type {Awaited<ReturnType<typeof startSession>>} */
let session;
before(async () => {
  sinks = { kinds: await startSink(), marked: await startSink() };
  session = await startSession();
});
after(async () => {
  await session?.stop();
  Object.values(sinks ?? {}).forEach(({ close }) => close());
  rmSync(storageFolder, { recursive: true, force: true });
});

/** A secret in the encodings that a log could contain. @param {string} secret */
function encodings(secret) {
  const bytes = Buffer.from(secret);
  return [secret, JSON.stringify(secret).slice(1, -1), encodeURIComponent(secret), bytes.toString("base64"), bytes.toString("base64url"), bytes.toString("hex")];
}

/** The secrets that a text contains, in any encoding and in upper or lower case. @param {string} text @param {string[]} secrets */
function findSecrets(text, secrets) {
  const lower = text.toLowerCase();
  return secrets.filter((secret) => encodings(secret).some((encoded) => lower.includes(encoded.toLowerCase())));
}

/**
 * The log without wrangler's list of variables at its start: wrangler hides secrets there, but the tests
 * pass theirs as variables.
 *
 * @param {Gateway} gateway
 */
async function readLog(gateway) {
  const lines = (await gateway.log()).split("\n");
  return lines.filter((line) => !/^env\.[A-Z_]+ \(".*\bEnvironment Variable\b/.test(line)).join("\n");
}

describe("after calls of every kind", { timeout: TEST_TIMEOUT_MS }, () => {
  const tokens = [createToken({ key: KEYS.JEFFREY_OVERRIDE_SIGNING_KEY }), createToken({ key: "key-Jackal-2234-of-somebody" }), createToken({ key: KEYS.JEFFREY_OVERRIDE_SIGNING_KEY, release: "e2" })];
  const overrides = tokens.map((overrideToken) => overrideToken.token);
  const tokenParts = overrides.flatMap((override) => override.split(".").slice(1));
  const secrets = [
    ...["Zanzibar-7731", "Zanzibar", ...Object.values(KEYS), ...Object.values(SUBJECTS), WRONG_TOKEN, "Pangolin9912", "Aardvark1123"],
    ...[...overrides, ...tokenParts, "Marguerite", "Anatole", "Celestine", "Philomene", "Hyacinthe", "Barnabe"],
  ];
  /** All responses of the gateway, by name. @type {[string, string][]} */
  const responses = [];
  let events = 0;
  /** @type {Gateway} */
  let gateway;

  /** @param {string} name @param {unknown} body @param {Record<string, string>} [headers] */
  async function classify(name, body, headers = {}) {
    const response = await gateway.classify(body, { ...LEGACY_CREDENTIALS, ...headers });
    responses.push([name, `${[...response.headers].join("\n")}\n${response.text}`]);
    if (response.headers.has("x-jeffrey-id")) {
      responses.push([`${name}, its id`, signedIdBytes(response).toString("latin1")]);
      events += 1;
      await waitForEvent(gateway, response);
    }
    return response;
  }

  /** @param {string} path @param {RequestInit & { token?: string }} [init] */
  async function requestAdmin(path, init) {
    const response = await gateway.fetchAdmin(path, init);
    responses.push([path, `${[...response.headers].join("\n")}\n${await response.text()}`]);
    return response.status;
  }

  before(async () => {
    gateway = session.gateways.kinds;
    const canary = { text: TEXT, user_id: SUBJECTS.canary };
    const stable = { text: TEXT, user_id: SUBJECTS.stable };

    for (const body of [canary, stable]) {
      const { status } = await classify(body.user_id, body);
      assert.equal(status, 200);
    }
    await classify("header", { text: TEXT }, { "x-user-id": SUBJECTS.header });
    await classify("user", { text: TEXT, user_id: SUBJECTS.user });
    await classify("cookie", { text: TEXT }, { cookie: `${LEGACY_CREDENTIALS.cookie}; jeffrey_subject=${SUBJECTS.cookie}.${Math.floor(Date.now() / 3_600_000)}` });
    for (const [index, tokenValue] of [...overrides, WRONG_TOKEN].entries()) {
      for (const cohort of ["canary", "stable"]) {
        await classify(`token ${index}`, { text: TEXT, user_id: SUBJECTS.user }, { "x-jeffrey-token": tokenValue, "x-jeffrey-cohort": cohort });
      }
    }
    // Hard failures come last, because an open circuit breaker stops all calls to the model.
    for (const fault of ["refuse:422", "garble", "slow:3000", "nan", "mismatch", "throw", "trap"]) {
      const text = `fault:${fault} ${TEXT}`;
      await classify(`shadow of ${fault}`, { text, user_id: SUBJECTS.stable });
    }
    for (const fault of ["refuse:422", "garble", "slow:3000", "trap", "nan"]) {
      const text = `fault:${fault} ${TEXT}`;
      const { status } = await classify(`canary, ${fault}`, { text, user_id: SUBJECTS.canary });
      assert.equal(status, 200, fault);
    }
    for (const fault of ["error", "reset", "garbled", "slow:3000", "not-json", "huge", "gzip", "cors", TEXT]) {
      await classify(`legacy system, ${fault}`, stable, { "x-mock-legacy": fault });
    }
    const malformedBodies = [`{"text":"${TEXT}`, TEXT, `{"text":["${TEXT}"]}`, `{"nothing":"${TEXT}","user_id":"${SUBJECTS.user}"}`, `{"text":"${TEXT}\\ud83d"}`];
    for (const body of malformedBodies) await classify("no text", body, { "x-user-id": SUBJECTS.header });
    await classify("streamed", canary, { "content-type": "text/plain" });
    await classify("too large", { text: `${TEXT} `.repeat(4_000), user_id: SUBJECTS.user });

    assert.equal(await requestAdmin("/health"), 200);
    assert.equal(await requestAdmin("/v1/rollout", { token: KEYS.JEFFREY_VIEWER_TOKEN }), 200);
    assert.equal(await requestAdmin("/v1/rollout", { token: WRONG_TOKEN }), 403);
    assert.equal(await requestAdmin("/v1/admin/share", { token: KEYS.JEFFREY_VIEWER_TOKEN, method: "PUT", body: TEXT }), 403);
    const adminPut = { token: KEYS.JEFFREY_ADMIN_TOKEN, method: "PUT" };
    for (const body of [TEXT, `{"${TEXT}":1}`, `{"version":0,"share":["${TEXT}"]}`]) assert.equal(await requestAdmin("/v1/admin/share", { ...adminPut, body }), 400);
    assert.equal(await requestAdmin("/v1/admin/share", { ...adminPut, body: '{"version":0,"share":"60%"}' }), 200);
    const viewerPost = { token: KEYS.JEFFREY_VIEWER_TOKEN, method: "POST" };
    const flag = "/ofrep/v1/evaluate/flags/e1-small";
    assert.equal(await requestAdmin(flag, { ...viewerPost, body: JSON.stringify({ context: { targetingKey: SUBJECTS.evaluated, note: TEXT } }) }), 200);
    assert.equal(await requestAdmin(flag, { ...viewerPost, body: JSON.stringify({ context: { targetingKey: SUBJECTS.evaluated.repeat(30) } }) }), 400);
    assert.equal(await requestAdmin(flag, { ...viewerPost, body: `{"context":${TEXT}` }), 400);

    for (const body of [TEXT, JSON.stringify({ id: TEXT, ok: true }), JSON.stringify({ id: "x", ok: true, correct_label: TEXT })]) {
      assert.equal(await requestAdmin("/v1/feedback", { method: "POST", body, headers: { "x-user-id": SUBJECTS.header } }), 400);
    }
    // `wrangler dev` prints each request's path, without its query.
    assert.equal(await requestAdmin(`/v1/nothing?q=${encodeURIComponent(SUBJECTS.user)}&text=${encodeURIComponent(TEXT)}`), 404);

    await gateway.legacy.stop();
    for (const user_id of [SUBJECTS.canary, SUBJECTS.user]) {
      const response = await classify("legacy system stopped", { text: TEXT, user_id });
      assert.equal(response.status, 502);
    }
    const page = await fetch(`${gateway.origin}/private`, { headers: { ...LEGACY_CREDENTIALS, "x-user-id": SUBJECTS.header } });
    responses.push(["a page, legacy system stopped", await page.text()]);
    assert.equal(page.status, 502);
    // A response with 502 has no id, so these two events are only counted.
    const eventCount = (await gateway.waitForEvents(events + 2)).length;
    const viewer = { token: KEYS.JEFFREY_VIEWER_TOKEN };
    const fetchSinkStatus = async () => /** @type {any} */ (await (await gateway.fetchAdmin("/v1/sinks", viewer)).json());
    await waitFor(async () => {
      const { events: storedEvents, sinks: allSinks } = await fetchSinkStatus();
      return storedEvents === eventCount && allSinks.every((/** @type {any} */ { pending_events }) => pending_events === 0);
    });
    for (const path of ["/v1/sinks", "/metrics", "/v1/minutes"]) assert.equal(await requestAdmin(path, viewer), 200);
    assert.equal(await requestAdmin("/v1/admin/events?limit=10000", { token: KEYS.JEFFREY_ADMIN_TOKEN }), 200);
    const adminDelete = { token: KEYS.JEFFREY_ADMIN_TOKEN, method: "DELETE" };
    assert.equal(await requestAdmin("/v1/admin/subjects", { ...adminDelete, body: JSON.stringify({ subject: SUBJECTS.evaluated }) }), 200);
    assert.equal(await requestAdmin("/v1/admin/subjects", { ...adminDelete, body: JSON.stringify({ subject: SUBJECTS.header, note: TEXT }) }), 400);
  });

  test("the search finds a secret in every encoding", async () => {
    const log = await readLog(gateway);
    assert.deepEqual(findSecrets(log, ['{"event":"classify"', "POST /predict"]), ['{"event":"classify"', "POST /predict"], "the log is complete");
    assert.deepEqual([...new Set(gateway.events().map(({ fallback_reason }) => fallback_reason))].sort(), ["breaker_open", "invalid_response", "non_finite", "null", "refused", "timeout", "trap"].map((name) => (name === "null" ? null : name)).sort());
    for (const secret of secrets) {
      for (const encoded of encodings(secret)) assert.ok(findSecrets(`${log}\n…${encoded}…`, secrets).includes(secret), encoded);
    }
    const forwarded = JSON.stringify(gateway.legacy.requests);
    const forwardedSecrets = ["Pangolin9912", "Aardvark1123", SUBJECTS.header];
    assert.deepEqual(findSecrets(forwarded, forwardedSecrets), forwardedSecrets, "the legacy system gets what the caller sends");
    assert.deepEqual(findSecrets(forwarded, [...overrides, SUBJECTS.cookie, ...Object.values(KEYS)]), [], "the legacy system gets no secret of the gateway");
  });

  test("no log contains a text, subject or secret", async () => {
    const log = await readLog(gateway);
    const lines = log.split("\n").filter((line) => findSecrets(line, secrets).length > 0);
    assert.deepEqual(lines.map((line) => line.slice(0, 300)), []);
  });

  test("no response, error, id, health or status contains a text, subject or secret", () => {
    assert.ok(responses.length > 60, `${responses.length} responses`);
    for (const [name, text] of responses) assert.deepEqual(findSecrets(text, secrets), [], `${name}: ${text.slice(0, 400)}`);
  });

  test("no sink and no file of the objects contains a text, subject or secret", () => {
    const { received } = sinks.kinds;
    assert.ok(received.includes('"event":"classify"') && received.includes("resourceLogs") && received.includes('"schema_version":2'));
    assert.deepEqual(findSecrets(received, secrets), []);
    const files = readdirSync(storageFolder, { recursive: true }).map((name) => join(storageFolder, String(name))).filter((path) => statSync(path).isFile());
    const texts = files.map((path) => readFileSync(path, "latin1"));
    // The search finds a string of the gateway in the files, so it would also find a secret.
    assert.ok(texts.some((text) => text.includes("breaker_open")), `${files.length} files`);
    for (const [index, text] of texts.entries()) assert.deepEqual(findSecrets(text, secrets), [], files[index]);
  });

  test("an event's subject is not a plain hash", () => {
    const hash = (/** @type {string} */ algorithm, /** @type {string} */ text) => createHash(algorithm).update(text).digest("hex").slice(0, 32);
    const plainHashes = Object.values(SUBJECTS).flatMap((subject) =>
      ["md5", "sha1", "sha256"].flatMap((algorithm) => ["", "e1-small"].flatMap((prefix) => hash(algorithm, prefix + subject))));
    const hashes = new Set(gateway.events().map(({ subject }) => subject).filter(Boolean));
    assert.ok(hashes.size >= 5, `${hashes.size} subjects`);
    for (const subject of hashes) {
      assert.match(subject, /^[0-9a-f]{32}$/);
      assert.ok(!plainHashes.includes(subject));
    }
  });
});

describe("two hundred marked strings", { timeout: TEST_TIMEOUT_MS }, () => {
  /** Responses by place: only the head for a classify request, because the legacy system's body may repeat the request. @type {[string, string][]} */
  const responses = [];
  /** @type {Gateway} */
  let gateway;
  const admin = { token: SECRETS.JEFFREY_ADMIN_TOKEN };
  const viewer = { token: SECRETS.JEFFREY_VIEWER_TOKEN };

  before(async () => {
    gateway = session.gateways.marked;
    const markedHeaders = (/** @type {string} */ place) => ({
      authorization: `Basic ${makeMarker(`${place}, authorization`)}`,
      cookie: `session=${makeMarker(`${place}, cookie`)}; jeffrey_subject=${makeMarker(`${place}, gateway cookie`).padEnd(22, "A").slice(0, 22)}.${Math.floor(Date.now() / 3_600_000)}`,
      "user-agent": makeMarker(`${place}, user agent`),
      referer: `http://example.org/${makeMarker(`${place}, referer`)}`,
      "x-forwarded-for": makeMarker(`${place}, forwarded`),
      "x-request-id": makeMarker(`${place}, request id`),
      "x-jeffrey-token": makeMarker(`${place}, token`),
      "x-jeffrey-cohort": makeMarker(`${place}, cohort`),
    });
    const sendClassify = async (/** @type {string} */ place, /** @type {unknown} */ body, /** @type {Record<string, string>} */ extraHeaders = {}) => {
      const { status, headers: responseHeaders } = await gateway.classify(body, { ...markedHeaders(place), ...extraHeaders });
      responses.push([place, [...responseHeaders].join("\n")]);
      return status;
    };
    const makeBody = (/** @type {string} */ place) => ({ text: `${makeMarker(`${place}, text`)} is what I said`, user_id: makeMarker(`${place}, user`), note: makeMarker(`${place}, another field`) });
    assert.equal(await sendClassify("a call", makeBody("a call")), 200);
    assert.equal(await sendClassify("a subject's header", makeBody("a subject's header"), { "x-user-id": makeMarker("header") }), 200);
    assert.equal(await sendClassify("a streamed call", makeBody("a streamed call"), { "content-type": "text/plain" }), 200);
    for (const fault of ["refuse:422", "garble", "slow:1500", "throw", "nan", "mismatch", "trap"]) {
      const body = makeBody(`a model's ${fault}`);
      await sendClassify(`a model's ${fault}`, { ...body, text: `fault:${fault} ${body.text}` });
    }
    for (const fault of ["error", "reset", "garbled", "slow:1500", "not-json", "huge"]) {
      await sendClassify(`the legacy system's ${fault}`, makeBody(`the legacy system's ${fault}`), { "x-mock-legacy": fault });
    }
    for (const template of ['{"text":"%', '{"text":["%"]}', '{"%":1}', "%", '{"text":"%\\ud83d"}']) {
      await sendClassify(`a broken body ${template}`, template.replace("%", makeMarker(`a broken body ${template}`)));
    }
    for (const path of ["/%", "/private/%?q=%", "/a.html?token=%", "/health?%"]) {
      const markedPath = path.replaceAll("%", () => makeMarker(`a path ${path}`));
      // The response is not searched: it is the legacy system's, and may contain the path.
      await (await fetch(`${gateway.origin}${markedPath}`, { headers: { referer: makeMarker("a path's referer") } })).arrayBuffer();
    }
    const requestAdmin = async (/** @type {string} */ place, /** @type {string} */ path, /** @type {RequestInit & { token?: string }} */ init = {}) => {
      const response = await gateway.fetchAdmin(path, init);
      responses.push([place, `${[...response.headers].join("\n")}\n${await response.text()}`]);
    };
    for (const [place, path, init] of /** @type {[string, string, object][]} */ ([
      ["feedback's id", "/v1/feedback", { method: "POST", body: JSON.stringify({ id: makeMarker("feedback's id"), ok: true }) }],
      ["feedback's label", "/v1/feedback", { method: "POST", body: JSON.stringify({ id: "x", correct_label: makeMarker("feedback's label") }) }],
      ["feedback's body", "/v1/feedback", { method: "POST", body: makeMarker("feedback's body"), headers: { "x-user-id": makeMarker("feedback's subject") } }],
      ["a change", "/v1/admin/share", { ...admin, method: "PUT", body: JSON.stringify({ version: 0, share: makeMarker("a change") }) }],
      ["a wrong token", "/v1/rollout", { token: makeMarker("a wrong token") }],
      ["an erasure", "/v1/admin/subjects", { ...admin, method: "DELETE", body: JSON.stringify({ subject: makeMarker("an erasure") }) }],
      ["an erasure's body", "/v1/admin/subjects", { ...admin, method: "DELETE", body: makeMarker("an erasure's body") }],
      ["a page's query", `/admin/events?since=${makeMarker("a page's since")}&limit=${makeMarker("a page's limit")}`, admin],
      ["a flag", "/ofrep/v1/evaluate/flags/e1-small", { ...viewer, method: "POST", body: JSON.stringify({ context: { targetingKey: makeMarker("a flag's key"), more: makeMarker("a flag's context") } }) }],
      ["another query", `/v1/minutes?since=0&x=${makeMarker("another query")}`, viewer],
    ])) await requestAdmin(place, path, init);
    while (markers.size < 200) {
      const place = `call ${markers.size}`;
      assert.equal(await sendClassify(place, makeBody(place)), 200);
    }
    await waitFor(async () => {
      const { events, sinks } = /** @type {any} */ (await (await gateway.fetchAdmin("/v1/sinks", viewer)).json());
      return events === gateway.events().length && sinks.every((/** @type {any} */ { pending_events }) => pending_events === 0);
    });
    for (const path of ["/v1/sinks", "/metrics", "/v1/minutes", "/v1/rollout"]) await requestAdmin(path, path, viewer);
    await requestAdmin("events", "/admin/events?limit=10000", admin);
  });

  /** Places whose mark a text contains. @param {string} text */
  const placesIn = (text) => findSecrets(text, [...markers.keys()]).map((marker) => markers.get(marker));

  test("reach only the legacy system", async () => {
    assert.ok(markers.size >= 200, `${markers.size} strings`);
    const forwarded = JSON.stringify(gateway.legacy.requests);
    assert.ok(placesIn(forwarded).length > 20, "the legacy system gets what the caller sends");
    const bodies = sinks.marked.received.split("\n").filter((line) => !/bearer|\/in\?/i.test(line)).join("\n");
    assert.ok(bodies.includes("resourceMetrics") && bodies.includes("resourceLogs"));
    assert.deepEqual(placesIn(bodies), []);
    // The error for an invalid share names the value to the admin.
    for (const [place, text] of responses) assert.deepEqual(placesIn(text).filter((foundPlace) => foundPlace !== "a change" || place !== foundPlace), [], place);
    const files = readdirSync(storageFolder, { recursive: true }).map((name) => join(storageFolder, String(name))).filter((path) => statSync(path).isFile());
    for (const path of files) assert.deepEqual(placesIn(readFileSync(path, "latin1")), [], path);
    // `wrangler dev` itself prints the path of each request, without its query; a deployed gateway's invocation logs are off.
    const log = (await readLog(gateway)).split("\n").filter((line) => !/\[wrangler:info\]/.test(line) || !/ (GET|POST|PUT|DELETE) \//.test(line)).join("\n");
    assert.deepEqual(placesIn(log), []);
  });
});

test("an id reveals neither the cohort nor the subject", { timeout: TEST_TIMEOUT_MS }, async () => {
  const { ids: gateway } = session.gateways;
  const responses = await mapInBatches(Array.from({ length: 120 }, (_, index) => index), async (index) => {
    const response = await classifyWithEvent(gateway, { text: TEXT, user_id: index % 2 ? "stays" : "goes" });
    return { canary: response.cohort === "canary", id: signedIdBytes(response), subject: response.event.subject };
  });
  const [canary, stable] = [true, false].map((isCanary) => responses.filter((response) => response.canary === isCanary));
  assert.deepEqual([canary.length, stable.length], [60, 60]);
  for (const { id, subject } of responses) assert.ok(!id.toString("hex").includes(subject.slice(0, 8)), "the id contains part of the subject's hash");
  // The UUID's time, version and variant are not random; every other bit takes both values in both cohorts.
  const bitAt = (/** @type {Buffer} */ id, /** @type {number} */ position) => (id[position >> 3] >> (7 - (position & 7))) & 1;
  const isFixed = (/** @type {number} */ position) => position < 52 || position === 64 || position === 65;
  for (let position = 0; position < 256; position += 1) {
    if (isFixed(position)) continue;
    for (const [name, group] of /** @type {const} */ ([["canary", canary], ["stable", stable]])) {
      const ones = group.filter(({ id }) => bitAt(id, position)).length;
      // With 60 random bits, the chance of fewer than 9 or more than 51 ones is below 10^-8.
      assert.ok(ones >= 9 && ones <= 51, `bit ${position}: ${ones} of 60 ${name} ids`);
    }
  }
  const tails = responses.flatMap(({ id }) => Array.from({ length: 7 }, (_, index) => id.subarray(9 + index * 3, 12 + index * 3).toString("hex")));
  assert.ok(new Set(tails).size > tails.length - 5, "the random parts of the ids repeat");
});

test("an invalid secret is named, but its value is not shown", { timeout: TEST_TIMEOUT_MS }, async () => {
  const secrets = ["Hunter2-9", "Philomene-4474", "Hyacinthe-5585", "Civet-4456", "Genet-5567", "Serval-6678"];
  const { refused: gateway } = session.gateways;
  const response = await gateway.fetchAdmin("/health");
  const body = await response.text();
  assert.equal(response.status, 503);
  const { faults } = JSON.parse(body);
  assert.deepEqual(faults.map((/** @type {string} */ fault) => fault.split(":")[0]), ["COHORT_OVERRIDES", "JEFFREY_SIGNING_KEY", "JEFFREY_OVERRIDE_SIGNING_KEY"]);
  const classified = await gateway.classify({ text: TEXT, user_id: "Philomene-4474" });
  assert.deepEqual([classified.status, classified.cohort], [200, "stable"]);
  await gateway.waitForEvents(1);
  const log = await readLog(gateway);
  assert.match(log, /setting refused, no request is canary until it is corrected: JEFFREY_SIGNING_KEY/);
  for (const text of [body, log, classified.text, [...classified.headers].join("\n")]) assert.deepEqual(findSecrets(text, secrets), []);
});

test("a LEGACY_ORIGIN with credentials is refused, and the credentials are not shown", { timeout: TEST_TIMEOUT_MS }, async () => {
  const { credentials: gateway } = session.gateways;
  const response = await gateway.fetchAdmin("/health");
  const body = await response.text();
  assert.equal(response.status, 503);
  assert.match(body, /LEGACY_ORIGIN: /);
  const classified = await gateway.classify({ text: TEXT });
  assert.ok(classified.status >= 500, `${classified.status}`);
  for (const text of [body, classified.text, await readLog(gateway)]) assert.deepEqual(findSecrets(text, ["Hunter2-9"]), [], text.slice(0, 400));
});
