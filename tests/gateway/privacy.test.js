// Texts, subjects, keys and tokens do not appear in a log, an error, an id, a status, an event, a sink, a metric, or a
// file of the objects' storage.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, readdirSync, rmSync, statSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { PATIENCE_MS, SECRETS, startGateways, until } from "../support/gateway.js";
import { call, each, eventOf, idBytes, token } from "../support/gateway-calls.js";

/** @typedef {import("../support/gateway-calls.js").Gate} Gate */

const TEXT = "Zanzibar-7731 broke my heart";
const KEYS = {
  JEFFREY_KEY: "key-Quagga-5507-of-answers",
  JEFFREY_OVERRIDE_KEY: "key-Okapi-6618-of-overrides",
  JEFFREY_VIEWER_TOKEN: "token-Bongo-7729-of-a-viewer",
  JEFFREY_ADMIN_TOKEN: "token-Kudu-8830-of-an-admin",
};
const PEOPLE = {
  header: "Marguerite-1141@example.org",
  user: "Anatole-2252 Élie",
  cookie: Buffer.from("Celestine-333333").toString("base64url"),
  canary: "Philomene-4474",
  stable: "Hyacinthe-5585",
  evaluated: "Barnabe-6696",
};
/** Credentials that callers send to the legacy system; the gateway only forwards them. */
const THEIRS = { authorization: "Basic Pangolin9912", cookie: "session=Aardvark1123" };
const WRONG_TOKEN = "token-Civet-4456-of-nobody";

/** Folder of the storage of all gateways' objects. */
const state = mkdtempSync(join(tmpdir(), "jeffrey-privacy-"));

/** @type {Map<string, string>} */
const marks = new Map();
/** Makes a unique string and records in `marks` the place that it is sent to. @param {string} door */
const mark = (door) => {
  const made = `zq${marks.size.toString(36).padStart(3, "0")}x${createHash("sha256").update(`${door}${marks.size}`).digest("hex").slice(0, 10)}`;
  marks.set(made, door);
  return made;
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

const SHADOWED = { INITIAL_SHARE: "50%", SHADOW_SHARE: "100%", MODEL_TIMEOUT_MS: "1000", LEGACY_TIMEOUT_MS: "1000" };

function begin() {
  const url = `${sinks.marked.url}?key=${mark("a sink's address")}`;
  const authorization = `Bearer ${mark("a sink's authorization")}`;
  return startGateways({
    kinds: [{
      SINKS: JSON.stringify(["ndjson", "ndjson-legacy", "otlp-logs"].map((kind) => ({ name: kind, kind, url: sinks.kinds.url }))),
      ...KEYS,
      ...SHADOWED,
      COHORT_OVERRIDES: `${PEOPLE.canary}=canary, ${PEOPLE.stable}=stable`,
    }, { model: "faulty" }],
    marked: [{
      SINKS: JSON.stringify(["ndjson", "ndjson-legacy", "otlp-logs", "otlp-metrics"].map((kind) => ({ name: kind, kind, url, authorization }))),
      ...SHADOWED,
      COHORT_OVERRIDES: `${mark("a forced subject")}=canary`,
    }, { model: "faulty" }],
    ids: [{ COHORT_OVERRIDES: "stays=stable" }],
    refused: [{
      JEFFREY_KEY: "Hunter2-9",
      COHORT_OVERRIDES: "Philomene-4474=nobody, Hyacinthe-5585",
      JEFFREY_OVERRIDE_KEY: "Civet-4456-of-overrides, Genet-5567-of-overrides, Serval-6678-of-overrides",
    }, { model: "none" }],
    credentials: [{ LEGACY_ORIGIN: "https://caracal:Hunter2-9@old.example" }, { model: "none" }],
  }, { state });
}

/** @type {Awaited<ReturnType<typeof begin>>} */
let session;
before(async () => {
  sinks = { kinds: await startSink(), marked: await startSink() };
  session = await begin();
});
after(async () => {
  await session?.stop();
  Object.values(sinks ?? {}).forEach(({ close }) => close());
  rmSync(state, { recursive: true, force: true });
});

/** A secret in the encodings that a log could contain. @param {string} secret */
function forms(secret) {
  const bytes = Buffer.from(secret);
  return [secret, JSON.stringify(secret).slice(1, -1), encodeURIComponent(secret), bytes.toString("base64"), bytes.toString("base64url"), bytes.toString("hex")];
}

/** The secrets that a text contains, in any encoding and in upper or lower case. @param {string} text @param {string[]} secrets */
function shown(text, secrets) {
  const lower = text.toLowerCase();
  return secrets.filter((secret) => forms(secret).some((form) => lower.includes(form.toLowerCase())));
}

/**
 * The log without wrangler's list of variables at its start: wrangler hides secrets there, but the tests
 * pass theirs as variables.
 *
 * @param {Gate} gate
 */
async function logOf(gate) {
  const lines = (await gate.log()).split("\n");
  return lines.filter((line) => !/^env\.[A-Z_]+ \(".*\bEnvironment Variable\b/.test(line)).join("\n");
}

describe("after calls of every kind", { timeout: PATIENCE_MS }, () => {
  const tokens = [token({ key: KEYS.JEFFREY_OVERRIDE_KEY }), token({ key: "key-Jackal-2234-of-somebody" }), token({ key: KEYS.JEFFREY_OVERRIDE_KEY, release: "e2" })];
  const overrides = tokens.map((made) => made.token);
  const parts = overrides.flatMap((whole) => whole.split(".").slice(1));
  const secrets = [
    ...["Zanzibar-7731", "Zanzibar", ...Object.values(KEYS), ...Object.values(PEOPLE), WRONG_TOKEN, "Pangolin9912", "Aardvark1123"],
    ...[...overrides, ...parts, "Marguerite", "Anatole", "Celestine", "Philomene", "Hyacinthe", "Barnabe"],
  ];
  /** All responses of the gateway, by name. @type {[string, string][]} */
  const seen = [];
  let events = 0;
  /** @type {Gate} */
  let gate;

  /** @param {string} name @param {unknown} body @param {Record<string, string>} [headers] */
  async function classify(name, body, headers = {}) {
    const answer = await gate.classify(body, { ...THEIRS, ...headers });
    seen.push([name, `${[...answer.headers].join("\n")}\n${answer.text}`]);
    if (answer.headers.has("x-jeffrey-id")) {
      seen.push([`${name}, its id`, idBytes(answer).toString("latin1")]);
      events += 1;
      await eventOf(gate, answer);
    }
    return answer;
  }

  /** @param {string} path @param {RequestInit & { token?: string }} [init] */
  async function own(path, init) {
    const response = await gate.own(path, init);
    seen.push([path, `${[...response.headers].join("\n")}\n${await response.text()}`]);
    return response.status;
  }

  before(async () => {
    gate = session.gates.kinds;
    const canary = { text: TEXT, user_id: PEOPLE.canary };
    const stable = { text: TEXT, user_id: PEOPLE.stable };

    for (const body of [canary, stable]) {
      const { status } = await classify(body.user_id, body);
      assert.equal(status, 200);
    }
    await classify("header", { text: TEXT }, { "x-user-id": PEOPLE.header });
    await classify("user", { text: TEXT, user_id: PEOPLE.user });
    await classify("cookie", { text: TEXT }, { cookie: `${THEIRS.cookie}; jeffrey_subject=${PEOPLE.cookie}` });
    for (const [at, shown] of [...overrides, WRONG_TOKEN].entries()) {
      for (const cohort of ["canary", "stable"]) {
        await classify(`token ${at}`, { text: TEXT, user_id: PEOPLE.user }, { "x-jeffrey-token": shown, "x-jeffrey-cohort": cohort });
      }
    }
    // Hard failures come last, because an open circuit breaker stops all calls to the model.
    for (const fault of ["refuse:422", "garble", "slow:3000", "nan", "mismatch", "throw", "trap"]) {
      const text = `fault:${fault} ${TEXT}`;
      await classify(`shadow of ${fault}`, { text, user_id: PEOPLE.stable });
    }
    for (const fault of ["refuse:422", "garble", "slow:3000", "trap", "nan"]) {
      const text = `fault:${fault} ${TEXT}`;
      const { status } = await classify(`canary, ${fault}`, { text, user_id: PEOPLE.canary });
      assert.equal(status, 200, fault);
    }
    for (const order of ["error", "reset", "garbled", "slow:3000", "not-json", "huge", "gzip", "cors", TEXT]) {
      await classify(`old system, ${order}`, stable, { "x-mock-legacy": order });
    }
    const broken = [`{"text":"${TEXT}`, TEXT, `{"text":["${TEXT}"]}`, `{"nothing":"${TEXT}","user_id":"${PEOPLE.user}"}`, `{"text":"${TEXT}\\ud83d"}`];
    for (const body of broken) await classify("no text", body, { "x-user-id": PEOPLE.header });
    await classify("streamed", canary, { "content-type": "text/plain" });
    await classify("too large", { text: `${TEXT} `.repeat(4_000), user_id: PEOPLE.user });

    assert.equal(await own("/health"), 200);
    assert.equal(await own("/v1/rollout", { token: KEYS.JEFFREY_VIEWER_TOKEN }), 200);
    assert.equal(await own("/v1/rollout", { token: WRONG_TOKEN }), 403);
    assert.equal(await own("/v1/admin/share", { token: KEYS.JEFFREY_VIEWER_TOKEN, method: "PUT", body: TEXT }), 403);
    const admin = { token: KEYS.JEFFREY_ADMIN_TOKEN, method: "PUT" };
    for (const body of [TEXT, `{"${TEXT}":1}`, `{"version":0,"share":["${TEXT}"]}`]) assert.equal(await own("/v1/admin/share", { ...admin, body }), 400);
    assert.equal(await own("/v1/admin/share", { ...admin, body: '{"version":0,"share":"60%"}' }), 200);
    const viewer = { token: KEYS.JEFFREY_VIEWER_TOKEN, method: "POST" };
    const flag = "/ofrep/v1/evaluate/flags/e1-small";
    assert.equal(await own(flag, { ...viewer, body: JSON.stringify({ context: { targetingKey: PEOPLE.evaluated, note: TEXT } }) }), 200);
    assert.equal(await own(flag, { ...viewer, body: JSON.stringify({ context: { targetingKey: PEOPLE.evaluated.repeat(30) } }) }), 400);
    assert.equal(await own(flag, { ...viewer, body: `{"context":${TEXT}` }), 400);

    for (const body of [TEXT, JSON.stringify({ id: TEXT, ok: true }), JSON.stringify({ id: "x", ok: true, correct_label: TEXT })]) {
      assert.equal(await own("/v1/feedback", { method: "POST", body, headers: { "x-user-id": PEOPLE.header } }), 400);
    }
    // `wrangler dev` prints each request's path, without its query.
    assert.equal(await own(`/v1/nothing?q=${encodeURIComponent(PEOPLE.user)}&text=${encodeURIComponent(TEXT)}`), 404);

    await gate.legacy.stop();
    for (const user_id of [PEOPLE.canary, PEOPLE.user]) {
      const away = await classify("old system away", { text: TEXT, user_id });
      assert.equal(away.status, 502);
    }
    const page = await fetch(`${gate.origin}/private`, { headers: { ...THEIRS, "x-user-id": PEOPLE.header } });
    seen.push(["a page, old system away", await page.text()]);
    assert.equal(page.status, 502);
    // A response with 502 has no id, so these two events are only counted.
    const all = (await gate.eventsOf(events + 2)).length;
    const viewer_of = { token: KEYS.JEFFREY_VIEWER_TOKEN };
    const sinks = async () => /** @type {any} */ (await (await gate.own("/v1/sinks", viewer_of)).json());
    await until(async () => {
      const { events: kept, sinks: each } = await sinks();
      return kept === all && each.every((/** @type {any} */ { waiting }) => waiting === 0);
    });
    for (const path of ["/v1/sinks", "/metrics", "/v1/minutes"]) assert.equal(await own(path, viewer_of), 200);
    assert.equal(await own("/v1/admin/events?limit=10000", { token: KEYS.JEFFREY_ADMIN_TOKEN }), 200);
    const erase = { token: KEYS.JEFFREY_ADMIN_TOKEN, method: "DELETE" };
    assert.equal(await own("/v1/admin/subjects", { ...erase, body: JSON.stringify({ subject: PEOPLE.evaluated }) }), 200);
    assert.equal(await own("/v1/admin/subjects", { ...erase, body: JSON.stringify({ subject: PEOPLE.header, note: TEXT }) }), 400);
  });

  test("the search finds a secret in every encoding", async () => {
    const log = await logOf(gate);
    assert.deepEqual(shown(log, ['{"event":"classify"', "POST /predict"]), ['{"event":"classify"', "POST /predict"], "the log is the log");
    assert.deepEqual([...new Set(gate.events().map(({ fallback }) => fallback))].sort(), ["breaker_open", "invalid_response", "null", "refused", "timeout", "trap"].map((name) => (name === "null" ? null : name)).sort());
    for (const secret of secrets) {
      for (const form of forms(secret)) assert.ok(shown(`${log}\n…${form}…`, secrets).includes(secret), form);
    }
    const forwarded = JSON.stringify(gate.legacy.requests);
    const handed = ["Pangolin9912", "Aardvark1123", PEOPLE.header];
    assert.deepEqual(shown(forwarded, handed), handed, "the old system has what it is sent");
    assert.deepEqual(shown(forwarded, [...overrides, PEOPLE.cookie, ...Object.values(KEYS)]), [], "and not what is ours");
  });

  test("no log contains a text, subject or secret", async () => {
    const log = await logOf(gate);
    const lines = log.split("\n").filter((line) => shown(line, secrets).length > 0);
    assert.deepEqual(lines.map((line) => line.slice(0, 300)), []);
  });

  test("no response, error, id, health or status contains a text, subject or secret", () => {
    assert.ok(seen.length > 60, `${seen.length} answers`);
    for (const [name, text] of seen) assert.deepEqual(shown(text, secrets), [], `${name}: ${text.slice(0, 400)}`);
  });

  test("no sink and no file of the objects contains a text, subject or secret", () => {
    const { received } = sinks.kinds;
    assert.ok(received.includes('"event":"classify"') && received.includes("resourceLogs") && received.includes('"schema_version":2'));
    assert.deepEqual(shown(received, secrets), []);
    const files = readdirSync(state, { recursive: true }).map((name) => join(state, String(name))).filter((path) => statSync(path).isFile());
    const texts = files.map((path) => readFileSync(path, "latin1"));
    // The search finds a string of the gateway in the files, so it would also find a secret.
    assert.ok(texts.some((text) => text.includes("breaker_open")), `${files.length} files`);
    for (const [at, text] of texts.entries()) assert.deepEqual(shown(text, secrets), [], files[at]);
  });

  test("an event's subject is not a plain hash", () => {
    const hash = (/** @type {string} */ algorithm, /** @type {string} */ text) => createHash(algorithm).update(text).digest("hex").slice(0, 32);
    const plain = Object.values(PEOPLE).flatMap((subject) =>
      ["md5", "sha1", "sha256"].flatMap((algorithm) => ["", "e1-small"].flatMap((before) => hash(algorithm, before + subject))));
    const hashes = new Set(gate.events().map(({ subject }) => subject).filter(Boolean));
    assert.ok(hashes.size >= 5, `${hashes.size} subjects`);
    for (const subject of hashes) {
      assert.match(subject, /^[0-9a-f]{32}$/);
      assert.ok(!plain.includes(subject));
    }
  });
});

describe("two hundred marked strings", { timeout: PATIENCE_MS }, () => {
  /** Responses by place: only the head for a classify request, because the legacy system's body may repeat the request. @type {[string, string][]} */
  const answers = [];
  /** @type {Gate} */
  let gate;
  const admin = { token: SECRETS.JEFFREY_ADMIN_TOKEN };
  const viewer = { token: SECRETS.JEFFREY_VIEWER_TOKEN };

  before(async () => {
    gate = session.gates.marked;
    const headers = (/** @type {string} */ door) => ({
      authorization: `Basic ${mark(`${door}, authorization`)}`,
      cookie: `session=${mark(`${door}, cookie`)}; jeffrey_subject=${mark(`${door}, our cookie`).padEnd(22, "A").slice(0, 22)}`,
      "user-agent": mark(`${door}, user agent`),
      referer: `http://example.org/${mark(`${door}, referer`)}`,
      "x-forwarded-for": mark(`${door}, forwarded`),
      "x-request-id": mark(`${door}, request id`),
      "x-jeffrey-token": mark(`${door}, token`),
      "x-jeffrey-cohort": mark(`${door}, cohort`),
    });
    const ask = async (/** @type {string} */ door, /** @type {unknown} */ body, /** @type {Record<string, string>} */ more = {}) => {
      const { status, headers: got } = await gate.classify(body, { ...headers(door), ...more });
      answers.push([door, [...got].join("\n")]);
      return status;
    };
    const said = (/** @type {string} */ door) => ({ text: `${mark(`${door}, text`)} is what I said`, user_id: mark(`${door}, user`), note: mark(`${door}, another field`) });
    assert.equal(await ask("a call", said("a call")), 200);
    assert.equal(await ask("a subject's header", said("a subject's header"), { "x-user-id": mark("header") }), 200);
    assert.equal(await ask("a streamed call", said("a streamed call"), { "content-type": "text/plain" }), 200);
    for (const fault of ["refuse:422", "garble", "slow:1500", "throw", "nan", "mismatch", "trap"]) {
      const body = said(`a model's ${fault}`);
      await ask(`a model's ${fault}`, { ...body, text: `fault:${fault} ${body.text}` });
    }
    for (const order of ["error", "reset", "garbled", "slow:1500", "not-json", "huge"]) {
      await ask(`the old system's ${order}`, said(`the old system's ${order}`), { "x-mock-legacy": order });
    }
    for (const form of ['{"text":"%', '{"text":["%"]}', '{"%":1}', "%", '{"text":"%\\ud83d"}']) {
      await ask(`a broken body ${form}`, form.replace("%", mark(`a broken body ${form}`)));
    }
    for (const path of ["/%", "/private/%?q=%", "/a.html?token=%", "/health?%"]) {
      const at = path.replaceAll("%", () => mark(`a path ${path}`));
      // The response is not searched: it is the legacy system's, and may contain the path.
      await (await fetch(`${gate.origin}${at}`, { headers: { referer: mark("a path's referer") } })).arrayBuffer();
    }
    const own = async (/** @type {string} */ door, /** @type {string} */ path, /** @type {RequestInit & { token?: string }} */ init = {}) => {
      const response = await gate.own(path, init);
      answers.push([door, `${[...response.headers].join("\n")}\n${await response.text()}`]);
    };
    for (const [door, path, init] of /** @type {[string, string, object][]} */ ([
      ["feedback's id", "/v1/feedback", { method: "POST", body: JSON.stringify({ id: mark("feedback's id"), ok: true }) }],
      ["feedback's label", "/v1/feedback", { method: "POST", body: JSON.stringify({ id: "x", correct_label: mark("feedback's label") }) }],
      ["feedback's body", "/v1/feedback", { method: "POST", body: mark("feedback's body"), headers: { "x-user-id": mark("feedback's subject") } }],
      ["a change", "/v1/admin/share", { ...admin, method: "PUT", body: JSON.stringify({ version: 0, share: mark("a change") }) }],
      ["a wrong token", "/v1/rollout", { token: mark("a wrong token") }],
      ["an erasure", "/v1/admin/subjects", { ...admin, method: "DELETE", body: JSON.stringify({ subject: mark("an erasure") }) }],
      ["an erasure's body", "/v1/admin/subjects", { ...admin, method: "DELETE", body: mark("an erasure's body") }],
      ["a page's query", `/admin/events?since=${mark("a page's since")}&limit=${mark("a page's limit")}`, admin],
      ["a flag", "/ofrep/v1/evaluate/flags/e1-small", { ...viewer, method: "POST", body: JSON.stringify({ context: { targetingKey: mark("a flag's key"), more: mark("a flag's context") } }) }],
      ["another query", `/v1/minutes?since=0&x=${mark("another query")}`, viewer],
    ])) await own(door, path, init);
    while (marks.size < 200) {
      const door = `call ${marks.size}`;
      assert.equal(await ask(door, said(door)), 200);
    }
    await until(async () => {
      const { sinks } = /** @type {any} */ (await (await gate.own("/v1/sinks", viewer)).json());
      return sinks.every((/** @type {any} */ { waiting }) => waiting === 0);
    });
    for (const path of ["/v1/sinks", "/metrics", "/v1/minutes", "/v1/rollout"]) await own(path, path, viewer);
    await own("events", "/admin/events?limit=10000", admin);
  });

  /** Places whose mark a text contains. @param {string} text */
  const found = (text) => shown(text, [...marks.keys()]).map((one) => marks.get(one));

  test("reach only the legacy system", async () => {
    assert.ok(marks.size >= 200, `${marks.size} strings`);
    const forwarded = JSON.stringify(gate.legacy.requests);
    assert.ok(found(forwarded).length > 20, "the old system has what it is sent");
    const bodies = sinks.marked.received.split("\n").filter((line) => !/bearer|\/in\?/i.test(line)).join("\n");
    assert.ok(bodies.includes("resourceMetrics") && bodies.includes("resourceLogs"));
    assert.deepEqual(found(bodies), []);
    // The error for an invalid share names the value to the admin.
    for (const [door, text] of answers) assert.deepEqual(found(text).filter((one) => one !== "a change" || door !== one), [], door);
    const files = readdirSync(state, { recursive: true }).map((name) => join(state, String(name))).filter((path) => statSync(path).isFile());
    for (const path of files) assert.deepEqual(found(readFileSync(path, "latin1")), [], path);
    // `wrangler dev` itself prints the path of each request, without its query; a deployed gateway's invocation logs are off.
    const log = (await logOf(gate)).split("\n").filter((line) => !/\[wrangler:info\]/.test(line) || !/ (GET|POST|PUT|DELETE) \//.test(line)).join("\n");
    assert.deepEqual(found(log), []);
  });
});

test("an id reveals neither the cohort nor the subject", { timeout: PATIENCE_MS }, async () => {
  const { ids: gate } = session.gates;
  const answers = await each(Array.from({ length: 120 }, (_, at) => at), async (at) => {
    const answer = await call(gate, { text: TEXT, user_id: at % 2 ? "stays" : "goes" });
    return { canary: answer.cohort === "canary", id: idBytes(answer), subject: answer.event.subject };
  });
  const [canary, stable] = [true, false].map((side) => answers.filter((answer) => answer.canary === side));
  assert.deepEqual([canary.length, stable.length], [60, 60]);
  for (const { id, subject } of answers) assert.ok(!id.toString("hex").includes(subject.slice(0, 8)), "a part of the subject's hash");
  // The UUID's time, version and variant are not random; every other bit takes both values in both cohorts.
  const bit = (/** @type {Buffer} */ id, /** @type {number} */ at) => (id[at >> 3] >> (7 - (at & 7))) & 1;
  const fixed = (/** @type {number} */ at) => at < 52 || at === 64 || at === 65;
  for (let at = 0; at < 256; at += 1) {
    if (fixed(at)) continue;
    for (const [name, side] of /** @type {const} */ ([["canary", canary], ["stable", stable]])) {
      const ones = side.filter(({ id }) => bit(id, at)).length;
      // Of 60 fair bits, fewer than 9 or more than 51 are one with a probability below 10^-8.
      assert.ok(ones >= 9 && ones <= 51, `bit ${at}: ${ones} of 60 ${name} ids`);
    }
  }
  const tails = answers.flatMap(({ id }) => Array.from({ length: 7 }, (_, at) => id.subarray(9 + at * 3, 12 + at * 3).toString("hex")));
  assert.ok(new Set(tails).size > tails.length - 5, "tails have parts in common");
});

test("an invalid secret is named, but its value is not shown", { timeout: PATIENCE_MS }, async () => {
  const secrets = ["Hunter2-9", "Philomene-4474", "Hyacinthe-5585", "Civet-4456", "Genet-5567", "Serval-6678"];
  const { refused: gate } = session.gates;
  const response = await gate.own("/health");
  const body = await response.text();
  assert.equal(response.status, 503);
  const { faults } = JSON.parse(body);
  assert.deepEqual(faults.map((/** @type {string} */ fault) => fault.split(":")[0]), ["COHORT_OVERRIDES", "JEFFREY_KEY", "JEFFREY_OVERRIDE_KEY"]);
  const answer = await gate.classify({ text: TEXT, user_id: "Philomene-4474" });
  assert.deepEqual([answer.status, answer.cohort], [200, "stable"]);
  await gate.eventsOf(1);
  const log = await logOf(gate);
  assert.match(log, /setting refused, no request is canary until it is corrected: JEFFREY_KEY/);
  for (const text of [body, log, answer.text, [...answer.headers].join("\n")]) assert.deepEqual(shown(text, secrets), []);
});

test("a LEGACY_ORIGIN with credentials is refused, and the credentials are not shown", { timeout: PATIENCE_MS }, async () => {
  const { credentials: gate } = session.gates;
  const response = await gate.own("/health");
  const body = await response.text();
  assert.equal(response.status, 503);
  assert.match(body, /LEGACY_ORIGIN: /);
  const answer = await gate.classify({ text: TEXT });
  assert.ok(answer.status >= 500, `${answer.status}`);
  for (const text of [body, answer.text, await logOf(gate)]) assert.deepEqual(shown(text, ["Hunter2-9"]), [], text.slice(0, 400));
});
