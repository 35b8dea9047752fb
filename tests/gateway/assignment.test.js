// The cohort that a running gateway assigns, its reason, and the system that answers, compared with `jeffrey bucket`.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createHmac, randomBytes } from "node:crypto";
import { once } from "node:events";
import { after, before, beforeEach, describe, test } from "node:test";
import { PATIENCE_MS, SECRETS, startGateways, until } from "../support/gateway.js";
import { JEFFREY, TEXT, buckets, call, each, idBytes, token } from "../support/gateway-calls.js";
import { ask } from "../support/raw-http.js";

const FORCED = { COHORT_OVERRIDES: "forced-canary = canary, forced-stable=stable" };
const COOKIE = "jeffrey_subject=";
const [OLD_KEY, NEXT_KEY] = ["the old key of the tests", "the next key of the tests"];

const begin = () => startGateways({
  half: [{ INITIAL_SHARE: "50%", ...FORCED }],
  anonymous: [{ SUBJECT_COOKIE: "off", SUBJECT_HEADER: "X-Account", HOLDOUT: "0%" }],
  open: [{ CORS_ORIGINS: "https://open.example, http://localhost:3000" }],
  holdout: [{ SUBJECT_COOKIE: "all", SUBJECT_COOKIE_DAYS: "7", HOLDOUT: "100%" }],
  fronted: [{ INITIAL_SHARE: "0%" }, { model: "none", two: true }],
  rotating: [{ INITIAL_SHARE: "0%", JEFFREY_KEY: `${NEXT_KEY}, ${OLD_KEY}`, JEFFREY_OVERRIDE_KEY: `${NEXT_KEY},${OLD_KEY}` }, { model: "none" }],
  killed: [{ KILL_SWITCH: "on", ...FORCED }, { model: "none" }],
  refused: [{ HOLDOUT: "lots", ...FORCED }, { model: "none" }],
});
/** @type {Awaited<ReturnType<typeof begin>>} */
let session;
before(async () => {
  session = await begin();
});
after(() => session?.stop());

/** @typedef {import("../support/gateway-calls.js").Gate} Gate */

/** User ids in several scripts and lengths, the same in every run. @param {number} count */
function people(count) {
  const long = "é".repeat(126);
  const forms = ["user-", "Élodie ", "山田", "🙂", "o'neil+tag@example.org/", `${long}-`, "عمر", "00"];
  return Array.from({ length: count }, (_, number) => `${forms[number % forms.length]}${number}`.slice(0, 128));
}

/** The `Set-Cookie` header with the subject's cookie, or null. @param {{ headers: Headers }} answer */
function given({ headers }) {
  const cookies = headers.getSetCookie().filter((cookie) => cookie.startsWith(COOKIE));
  assert.ok(cookies.length <= 1, `${cookies.length} cookies`);
  return cookies[0] ?? null;
}

describe("at a share of 50 %", { timeout: PATIENCE_MS }, () => {
  /** @type {Gate} */
  let gate;
  before(() => {
    gate = session.gates.half;
  });
  beforeEach(() => gate.change({ share: "50%", killed: false }));

  const cohortOf = async (/** @type {string} */ user_id) => (await gate.classify({ text: TEXT, user_id })).cohort;

  test("200 users get the cohort that `jeffrey bucket` computes, and the response of that cohort's system", async () => {
    const ids = people(200);
    const answers = await each(ids, (user_id) => gate.classify({ text: TEXT, user_id }));
    const expected = buckets(ids, "50%");
    for (const [at, { status, cohort, json }] of answers.entries()) {
      assert.deepEqual([status, cohort], [200, expected[at]], ids[at]);
      assert.equal(json.encoder, cohort === "canary" ? "e1-small" : "multilingual-e5-large", ids[at]);
      assert.equal(given(answers[at]), null, "a cookie for somebody who is known");
    }
    const canary = expected.filter((cohort) => cohort === "canary").length;
    assert.ok(canary > 70 && canary < 130, `${canary} of 200`);
  });

  test("a numeric user id is the same subject as its digits", async () => {
    const ids = Array.from({ length: 20 }, (_, number) => 4_711 + number);
    const cohorts = await each(ids, async (user_id) => (await gate.classify({ text: TEXT, user_id })).cohort);
    assert.deepEqual(cohorts, buckets(ids.map(String), "50%"));
  });

  test("an id in a UTF-8 header gets the same cohort as in the user field", async () => {
    const ids = people(40).filter((id) => id.length < 100);
    for (const id of ids) {
      const headers = { "content-type": "application/json", "x-user-id": Buffer.from(id).toString("latin1") };
      // Bytes: with a string as body, Node would encode the header as UTF-8 a second time.
      const body = Buffer.from(JSON.stringify({ text: TEXT }));
      const { headers: found } = await ask(gate.origin, "/predict", { method: "POST", headers, body });
      assert.equal(new Headers(found).get("x-jeffrey-cohort"), buckets([id], "50%")[0], id);
    }
  });

  test("the header precedes the user field, and the user field precedes the cookie", async () => {
    const hash = async (/** @type {object} */ body, /** @type {Record<string, string>} */ headers = {}) =>
      (await call(gate, { text: TEXT, ...body }, headers)).event.subject;
    const cookie = { cookie: `a=b; ${COOKIE}AAAAAAAAAAAAAAAAAAAAAA` };
    const [a, b, c] = [await hash({ user_id: "a" }), await hash({ user_id: "b" }), await hash({}, cookie)];
    assert.equal(new Set([a, b, c]).size, 3);
    for (const one of [a, b, c]) assert.match(one, /^[0-9a-f]{32}$/);
    assert.equal(await hash({ user_id: "a" }, { "x-user-id": "b", ...cookie }), b);
    assert.equal(await hash({ user_id: "a" }, cookie), a);
    assert.equal(await hash({ user_id: "a" }, { "x-user-id": "x".repeat(257), ...cookie }), a, "too long a header is none");
    assert.equal(await hash({ user_id: "" }, cookie), c, "an empty user is none");
    assert.equal(await hash({ user_id: null }, cookie), c, "null is nobody");
  });

  test("an unknown caller gets a cookie once, and keeps its cohort with it", async () => {
    const first = await call(gate, { text: TEXT });
    const set = given(first);
    assert.match(String(set), /^jeffrey_subject=[\w-]{22}; Path=\/; Max-Age=2592000; HttpOnly; SameSite=Lax$/);
    assert.deepEqual([first.event.reason, first.event.is_evidence], ["bucket", false], "nobody knows whether it comes back");
    const cookie = String(set).split(";")[0];
    for (let round = 0; round < 5; round += 1) {
      const next = await call(gate, { text: TEXT }, { cookie });
      assert.equal(given(next), null);
      assert.equal(next.cohort, first.cohort);
      assert.deepEqual([next.event.subject, next.event.is_evidence], [first.event.subject, true]);
    }
    assert.equal(first.cohort, buckets([cookie.slice(COOKIE.length)], "50%")[0]);
    const other = String(given(await gate.classify({ text: TEXT }))).split(";")[0];
    assert.notEqual(other, cookie);
    const made = await gate.classify({ text: TEXT }, { cookie: `${COOKIE}chosen-by-hand` });
    assert.ok(given(made), "a cookie that is none of ours is replaced");
    const page = await fetch(`${gate.origin}/private`);
    assert.equal(given(page), null, "a page");
  });

  test("a growing share never moves a subject back, and the same share selects the same subjects", async () => {
    const ids = people(40);
    /** @type {Map<string, string[]>} */
    const canaries = new Map();
    /** @type {string[]} */
    let last = [];
    for (const share of ["0%", "10%", "20%", "50%", "75%", "100%"]) {
      await gate.change({ share });
      const cohorts = await each(ids, cohortOf);
      assert.deepEqual(cohorts, buckets(ids, share), share);
      const canary = ids.filter((_, at) => cohorts[at] === "canary");
      assert.deepEqual(last.filter((id) => !canary.includes(id)), [], `moved back at ${share}`);
      canaries.set(share, canary);
      last = canary;
    }
    assert.deepEqual([canaries.get("0%")?.length, canaries.get("100%")?.length], [0, ids.length]);
    for (const share of ["10%", "50%", "20%", "75%"]) {
      await gate.change({ share });
      const cohorts = await each(ids, cohortOf);
      assert.deepEqual(ids.filter((_, at) => cohorts[at] === "canary"), canaries.get(share), `again at ${share}`);
    }
  });

  test("`jeffrey loadtest` finds no moved user and no error, and fails while the legacy system fails", async () => {
    const rehearse = async (/** @type {number} */ error_rate) => {
      await fetch(`${gate.legacy.origin}/_mock-legacy/settings`, { method: "PUT", body: JSON.stringify({ error_rate }) });
      // Asynchronous, because this process also serves the mock legacy system.
      const args = ["loadtest", `${gate.origin}/predict`, "--rate", "20", "--count", "80", "--users", "40", "--seed", "4", "--require-sticky", "--json"];
      const child = spawn(JEFFREY, args, { stdio: ["ignore", "pipe", "inherit"] });
      let out = "";
      child.stdout.on("data", (chunk) => (out += chunk));
      const [code] = await once(child, "close");
      return { code, ...JSON.parse(out) };
    };
    const fine = await rehearse(0);
    assert.deepEqual([fine.code, fine.passed, fine.errors, fine.moved, fine.unanswered], [0, true, 0, 0, 0]);
    const { canary, stable, unknown } = fine.cohorts;
    assert.deepEqual([canary.requests + stable.requests, unknown.requests], [80, 0]);
    assert.ok(canary.requests > 0 && stable.requests > 0, JSON.stringify(fine.cohorts));
    const failing = await rehearse(1);
    assert.deepEqual([failing.code, failing.passed, failing.cohorts.stable.status_5xx], [1, false, failing.cohorts.stable.requests]);
    assert.equal(failing.cohorts.canary.status_5xx, 0, "the model answers where the old system does not");
    await fetch(`${gate.legacy.origin}/_mock-legacy/settings`, { method: "PUT", body: '{"error_rate":0}' });
  });

  test("a cohort override holds at every share, and its requests are not evidence", async () => {
    for (const share of ["0%", "100%"]) {
      await gate.change({ share });
      for (const cohort of ["canary", "stable"]) {
        const { event, ...answer } = await call(gate, { text: TEXT, user_id: `forced-${cohort}` });
        assert.deepEqual([answer.cohort, event.cohort, event.reason, event.is_evidence], [cohort, cohort, "cohort_override", false], share);
      }
    }
  });

  test("an override token chooses the cohort, and its requests are not evidence", async () => {
    const { token: shown } = token();
    for (const share of ["0%", "100%"]) {
      await gate.change({ share });
      for (const cohort of ["canary", "stable"]) {
        const headers = { "x-jeffrey-cohort": cohort, "x-jeffrey-token": shown };
        for (const user_id of ["anyone", "forced-canary", "forced-stable"]) {
          const { event, ...answer } = await call(gate, { text: TEXT, user_id }, headers);
          assert.deepEqual([answer.cohort, event.reason, event.is_evidence], [cohort, "override_token", false], `${share} ${user_id}`);
          assert.equal(answer.headers.get("x-jeffrey-override"), null);
        }
      }
    }
    const seen = gate.legacy.requests.flatMap(({ headers }) => headers.map(([name]) => name.toLowerCase()));
    assert.ok(seen.includes("x-forwarded-host"), "the old system was asked");
    assert.deepEqual(seen.filter((name) => name.startsWith("x-jeffrey-")), [], "a token is a secret");
  });

  test("a rejected token changes nothing, and the response says why", async () => {
    const good = token().token;
    const short = token({ valid: "1s" });
    await until(() => Date.now() > short.expires_ms);
    const claims = (/** @type {object} */ changes) => {
      const [version, body, tag] = good.split(".");
      const changed = { ...JSON.parse(Buffer.from(body, "base64url").toString()), ...changes };
      return [version, Buffer.from(JSON.stringify(changed)).toString("base64url"), tag].join(".");
    };
    /** @type {[string, string, RegExp][]} */
    const table = [
      ["expired", short.token, /^token expired at \d+ ms, now is \d+ ms$/],
      ["another key's", token({ key: "another key of the tests" }).token, /^token is not signed with a key in use$/],
      ["more than was signed", claims({ allow_rolled_back: true }), /^token is not signed with a key in use$/],
      ["another release's", token({ release: "e2" }).token, /^token is for another release$/],
      ["none", "canary, please", /^token is not of the form v1\.CLAIMS\.TAG$/],
    ];
    const ids = people(8);
    const expected = buckets(ids, "50%");
    assert.equal(new Set(expected).size, 2, "both cohorts are asked");
    for (const [name, shown, reason] of table) {
      for (const [at, user_id] of ids.entries()) {
        const wanted = expected[at] === "canary" ? "stable" : "canary";
        const answer = await gate.classify({ text: TEXT, user_id }, { "x-jeffrey-cohort": wanted, "x-jeffrey-token": shown });
        assert.equal(answer.cohort, expected[at], name);
        assert.match(answer.headers.get("x-jeffrey-override") ?? "", reason, name);
      }
      const { event } = await call(gate, { text: TEXT, user_id: ids[0] }, { "x-jeffrey-cohort": "canary", "x-jeffrey-token": shown });
      assert.deepEqual([event.reason, event.is_evidence], ["bucket", true], name);
    }
    /** @type {Record<string, string>[]} */
    const incomplete = [
      { "x-jeffrey-cohort": "canary" },
      { "x-jeffrey-cohort": "stable" },
      { "x-jeffrey-token": good },
      { "x-jeffrey-token": good, "x-jeffrey-cohort": "both" },
    ];
    for (const headers of incomplete) {
      const cohorts = await each(ids, async (user_id) => (await gate.classify({ text: TEXT, user_id }, headers)).cohort);
      assert.deepEqual(cohorts, expected, JSON.stringify(headers));
    }
  });

  test("the kill flag makes every request stable, except with a token made with --allow-rolled-back", async () => {
    await gate.change({ share: "100%", killed: true });
    const headers = { "x-jeffrey-cohort": "canary", "x-jeffrey-token": token().token };
    for (const [user_id, more] of /** @type {[string, Record<string, string>][]} */ ([["anyone", {}], ["forced-canary", {}], ["anyone", headers]])) {
      const { event, cohort } = await call(gate, { text: TEXT, user_id }, more);
      assert.deepEqual([cohort, event.reason, event.is_evidence, event.destination], ["stable", "disabled", false, "stable"], user_id);
    }
    const reopening = { ...headers, "x-jeffrey-token": token({ reopens: true }).token };
    const { event, cohort } = await call(gate, { text: TEXT, user_id: "anyone" }, reopening);
    assert.deepEqual([cohort, event.reason, event.is_evidence, event.destination], ["canary", "override_token", false, "canary"]);
    const health = await (await gate.own("/health")).json();
    assert.deepEqual([health.status, health.disabled], ["ok", true]);
    await gate.change({ killed: false });
    assert.equal((await gate.classify({ text: TEXT, user_id: "anyone" })).cohort, "canary");
  });

  test("a streamed request is never canary and never evidence", async () => {
    await gate.change({ share: "100%" });
    const headers = { "x-jeffrey-cohort": "canary", "x-jeffrey-token": token().token };
    /** @type {[string, unknown, Record<string, string>][]} */
    const table = [
      ["no JSON by its type", { text: TEXT }, { "content-type": "text/plain", "x-user-id": "anyone" }],
      ["too large", { text: "a ".repeat(33_000) }, { "x-user-id": "anyone" }],
      ["with an override", { text: TEXT }, { "content-type": "text/plain", ...headers }],
    ];
    for (const [name, body, more] of table) {
      const { event, cohort } = await call(gate, body, more);
      assert.deepEqual([cohort, event.reason, event.is_evidence], ["stable", "streamed", false], name);
    }
    const chunks = new ReadableStream({
      start(controller) {
        controller.enqueue(new TextEncoder().encode(JSON.stringify({ text: TEXT, user_id: "anyone" })));
        controller.close();
      },
    });
    const options = { method: "POST", headers: { "content-type": "application/json" }, body: chunks, duplex: "half" };
    const response = await fetch(`${gate.origin}/predict`, /** @type {any} */ (options));
    assert.deepEqual([response.status, response.headers.get("x-jeffrey-cohort")], [200, "stable"]);
    assert.equal((await response.json()).version, "2.4.2");
  });
});

test("with SUBJECT_COOKIE=off an unknown caller is stable, and SUBJECT_HEADER names the header", { timeout: PATIENCE_MS }, async () => {
  const { anonymous: gate } = session.gates;
  for (const headers of /** @type {Record<string, string>[]} */ ([{}, { "x-user-id": "anyone" }, { "x-account": " " }])) {
    const { event, ...answer } = await call(gate, { text: TEXT }, headers);
    assert.deepEqual([answer.status, answer.cohort, answer.json.version], [200, "stable", "2.4.2"]);
    assert.deepEqual([event.reason, event.is_evidence, event.subject], ["no_subject", false, null]);
    assert.equal(given(answer), null);
  }
  const known = await call(gate, { text: TEXT }, { "X-ACCOUNT": "anyone" });
  const user = await call(gate, { text: TEXT, user_id: "anyone" });
  assert.deepEqual([known.cohort, known.event.reason, known.event.is_evidence], ["canary", "bucket", true]);
  assert.equal(known.event.subject, user.event.subject);
  const wanted = { "x-jeffrey-cohort": "canary", "x-jeffrey-token": token().token };
  assert.equal((await call(gate, { text: TEXT }, wanted)).event.reason, "override_token", "a token needs no subject");
});

test("a request from another origin is canary only if CORS_ORIGINS has that origin", { timeout: PATIENCE_MS }, async () => {
  const { open: gate } = session.gates;
  /** @type {[string | null, string, string][]} */
  const table = [
    [null, "canary", "bucket"],
    [gate.origin, "canary", "bucket"],
    ["https://open.example", "canary", "bucket"],
    ["http://localhost:3000", "canary", "bucket"],
    ["https://open.example.org", "stable", "foreign_origin"],
    ["http://open.example", "stable", "foreign_origin"],
    ["https://old.example", "stable", "foreign_origin"],
    ["null", "stable", "foreign_origin"],
  ];
  for (const [origin, cohort, by] of table) {
    const { event, ...answer } = await call(gate, { text: TEXT, user_id: "anyone" }, { ...(origin ? { origin } : {}), "x-mock-legacy": "cors" });
    assert.deepEqual([answer.cohort, event.reason, event.is_evidence], [cohort, by, by === "bucket"], `${origin}`);
    // The legacy system's own CORS header stays; a canary response allows the request's origin.
    const foreign = origin !== null && origin !== gate.origin;
    const opened = cohort === "stable" ? "https://old.example" : foreign ? origin : null;
    assert.equal(answer.headers.get("access-control-allow-origin"), opened, `${origin}`);
  }
});

test("with SUBJECT_COOKIE=all only a response that no shared cache may store has a cookie, and a holdout stays stable", { timeout: PATIENCE_MS }, async () => {
  const { holdout: gate } = session.gates;
  /** @type {[string, boolean][]} */
  const pages = [["/private", true], ["/public", false], ["/", false], ["/robots.txt", false], ["/favicon.ico", false]];
  for (const [path, expected] of pages) {
    const response = await fetch(gate.origin + path);
    await response.arrayBuffer();
    assert.equal(given(response) !== null, expected, path);
  }
  const cookie = String(given(await fetch(`${gate.origin}/private`)));
  assert.match(cookie, /^jeffrey_subject=[\w-]{22}; Path=\/; Max-Age=604800; HttpOnly; SameSite=Lax$/);
  const brought = { cookie: cookie.split(";")[0] };
  assert.equal(given(await fetch(`${gate.origin}/private`, { headers: brought })), null);
  const own = await fetch(`${gate.origin}/cookies`);
  assert.equal(own.headers.getSetCookie().length, 3, "the old system's own, and none on a GET without a word on caching");

  const { event, cohort } = await call(gate, { text: TEXT }, brought);
  assert.deepEqual([cohort, event.reason, event.is_evidence], ["stable", "holdout", true]);
  await each(people(20), async (user_id) => {
    const answer = await gate.classify({ text: TEXT, user_id });
    assert.deepEqual([answer.cohort, answer.json.version], ["stable", "2.4.2"], user_id);
  });
});

test("a cookie is Secure except on http://localhost", { timeout: PATIENCE_MS }, async () => {
  const { fronted: gate } = session.gates;
  /** @type {[string, boolean][]} */
  const table = [
    ["https://gate.example", true],
    ["https://localhost:8787", true],
    ["http://gate.example", true],
    ["http://localhost.example", true],
    ["http://localhost:8787", false],
  ];
  for (const [origin, secure] of table) {
    const answer = await gate.classify({ text: TEXT }, { "x-front-origin": origin });
    const attributes = String(given(answer)).split("; ");
    assert.deepEqual([answer.status, attributes.includes("Secure"), attributes.includes("HttpOnly")], [200, secure, true], origin);
  }
});

test("during a key rotation, tokens and ids of both keys are valid", { timeout: PATIENCE_MS }, async () => {
  const [old, next] = [OLD_KEY, NEXT_KEY];
  const { rotating: gate } = session.gates;
  for (const [key, by] of [[old, "override_token"], [next, "override_token"], [SECRETS.JEFFREY_OVERRIDE_KEY, "bucket"]]) {
    const headers = { "x-jeffrey-cohort": "canary", "x-jeffrey-token": token({ key }).token };
    assert.equal((await call(gate, { text: TEXT, user_id: "anyone" }, headers)).event.reason, by, key);
  }
  const judged = async (/** @type {string} */ id) => {
    const response = await gate.own("/v1/feedback", { method: "POST", body: JSON.stringify({ id, ok: true }) });
    return [response.status, (await response.json()).error?.code];
  };
  const day = 24 * 60 * 60 * 1_000;
  // The event store has no such id. The gateway asks it only after it accepted the signature, so 404 means a valid id.
  const taken = [404, "id_unknown"];
  /** @type {[string, number, unknown[]][]} */
  const table = [
    [old, 0, taken],
    [next, 0, taken],
    [next, 7 * day - 60_000, taken],
    [next, 7 * day + 60_000, [410, "id_expired"]],
    [next, -60 * 60_000, [400, "id_invalid"]],
    [SECRETS.JEFFREY_KEY, 0, [403, "id_forged"]],
  ];
  for (const [key, age, expected] of table) assert.deepEqual(await judged(idOf(key, Date.now() - age)), expected, `${key} ${age}`);
  const given = idBytes(await gate.classify({ text: TEXT, user_id: "anyone" }));
  assert.deepEqual(given, signed(next, given.subarray(0, 16)), "the first key signs");
});

/** A signed id made at `made_ms`, in the form of `x-jeffrey-id`. @param {string} key @param {number} made_ms */
function idOf(key, made_ms) {
  const id = randomBytes(16);
  id.writeUIntBE(made_ms, 0, 6);
  id[6] = 0x70 | (id[6] & 0x0f);
  id[8] = 0x80 | (id[8] & 0x3f);
  return signed(key, id).toString("base64url");
}

/** The 16 bytes of an id and the 16 bytes of its tag. @param {string} key @param {Buffer} id */
function signed(key, id) {
  const tag = (/** @type {string | Buffer} */ key, /** @type {string | Buffer} */ of) => createHmac("sha256", key).update(of).digest();
  return Buffer.concat([id, tag(tag(key, "answer id"), id).subarray(0, 16)]);
}

test("KILL_SWITCH makes requests stable while the release state is at 100 %", { timeout: PATIENCE_MS }, async () => {
  const { killed: gate } = session.gates;
  await gate.change({ share: "100%", killed: false });
  const headers = { "x-jeffrey-cohort": "canary", "x-jeffrey-token": token().token };
  for (const [user_id, more] of /** @type {[string, Record<string, string>][]} */ ([["anyone", {}], ["forced-canary", {}], ["anyone", headers]])) {
    const { event, ...answer } = await call(gate, { text: TEXT, user_id }, more);
    assert.deepEqual([answer.cohort, answer.json.version, event.reason], ["stable", "2.4.2", "disabled"], user_id);
  }
  const health = await gate.own("/health");
  assert.deepEqual([health.status, (await health.json()).disabled], [200, true]);
});

test("an invalid variable makes every request stable, is named by /health, and stops no traffic", { timeout: PATIENCE_MS }, async () => {
  const { refused: gate } = session.gates;
  const response = await gate.own("/health");
  const health = await response.json();
  assert.deepEqual([response.status, health.status, health.disabled], [503, "failed", true]);
  assert.equal(health.faults.length, 1);
  assert.match(health.faults[0], /^HOLDOUT: share `lots` is not a percentage/);
  for (const user_id of [...people(10), "forced-canary"]) {
    const answer = await gate.classify({ text: TEXT, user_id });
    assert.deepEqual([answer.status, answer.cohort, answer.json.version], [200, "stable", "2.4.2"], user_id);
  }
  const page = await fetch(`${gate.origin}/private`);
  assert.equal(await page.text(), "nobody may keep this\n");
  const standing = await gate.own("/v1/rollout", { token: SECRETS.JEFFREY_VIEWER_TOKEN });
  assert.equal(standing.status, 200);
});
