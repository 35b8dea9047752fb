// The cohort that a running gateway assigns, its reason, and the system that answers, compared with `jeffrey bucket`.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createHmac, hkdfSync, randomBytes } from "node:crypto";
import { once } from "node:events";
import { after, before, beforeEach, describe, test } from "node:test";
import { TEST_TIMEOUT_MS, SECRETS, startGateways, waitFor } from "../support/gateway.js";
import { JEFFREY, SAMPLE_TEXT, expectedCohorts, classifyWithEvent, mapInBatches, signedIdBytes, createToken } from "../support/gateway-calls.js";
import { fetchRaw } from "../support/raw-http.js";

const OVERRIDES = { COHORT_OVERRIDES: "forced-canary = canary, forced-stable=stable" };
const COOKIE_PREFIX = "jeffrey_subject=";
const [OLD_KEY, NEXT_KEY] = ["the old key of the tests", "the next key of the tests"];

const startSession = () => startGateways({
  half: [{ INITIAL_SHARE: "50%", ...OVERRIDES }],
  anonymous: [{ SUBJECT_COOKIE: "off", SUBJECT_HEADER: "X-Account", HOLDOUT: "0%" }],
  open: [{ CORS_ORIGINS: "https://open.example, http://localhost:3000" }],
  holdout: [{ SUBJECT_COOKIE: "all", SUBJECT_COOKIE_DAYS: "7", HOLDOUT: "100%" }],
  proxied: [{ INITIAL_SHARE: "0%" }, { model: "none", replica: true }],
  rotating: [{ INITIAL_SHARE: "0%", JEFFREY_SIGNING_KEY: `${NEXT_KEY}, ${OLD_KEY}`, JEFFREY_OVERRIDE_SIGNING_KEY: `${NEXT_KEY},${OLD_KEY}` }, { model: "none" }],
  killed: [{ KILL_SWITCH: "on", ...OVERRIDES }, { model: "none" }],
  invalid: [{ HOLDOUT: "lots", ...OVERRIDES }, { model: "none" }],
});
/** @type {Awaited<ReturnType<typeof startSession>>} */
let session;
before(async () => {
  session = await startSession();
});
after(() => session?.stop());

/** @typedef {import("../support/gateway-calls.js").Gateway} Gateway */

/** User ids in several scripts and lengths, the same in every run. @param {number} count */
function userIds(count) {
  const long = "é".repeat(126);
  const forms = ["user-", "Élodie ", "山田", "🙂", "o'neil+tag@example.org/", `${long}-`, "عمر", "00"];
  return Array.from({ length: count }, (_, number) => `${forms[number % forms.length]}${number}`.slice(0, 128));
}

/** Hours since 1970: a cookie says in which of them it was given. */
const currentHour = () => Math.floor(Date.now() / 3_600_000);

/** The `Set-Cookie` header with the subject's cookie, or null. @param {{ headers: Headers }} response */
function subjectCookie({ headers }) {
  const cookies = headers.getSetCookie().filter((cookie) => cookie.startsWith(COOKIE_PREFIX));
  assert.ok(cookies.length <= 1, `${cookies.length} cookies`);
  return cookies[0] ?? null;
}

describe("at a share of 50 %", { timeout: TEST_TIMEOUT_MS }, () => {
  /** @type {Gateway} */
  let gateway;
  before(() => {
    gateway = session.gateways.half;
  });
  beforeEach(() => gateway.setShare({ share: "50%", killed: false }));

  const fetchCohort = async (/** @type {string} */ user_id) => (await gateway.classify({ text: SAMPLE_TEXT, user_id })).cohort;

  test("200 users get the cohort that `jeffrey bucket` computes, and the response of that cohort's system", async () => {
    const ids = userIds(200);
    const responses = await mapInBatches(ids, (user_id) => gateway.classify({ text: SAMPLE_TEXT, user_id }));
    const expected = expectedCohorts(ids, "50%");
    for (const [index, { status, cohort, json }] of responses.entries()) {
      assert.deepEqual([status, cohort], [200, expected[index]], ids[index]);
      assert.equal(json.encoder, cohort === "canary" ? "e1-small" : "multilingual-e5-large", ids[index]);
      assert.equal(subjectCookie(responses[index]), null, "a subject with an id got a cookie");
    }
    const canary = expected.filter((cohort) => cohort === "canary").length;
    assert.ok(canary > 70 && canary < 130, `${canary} of 200`);
  });

  test("a numeric user id is the same subject as its digits", async () => {
    const ids = Array.from({ length: 20 }, (_, number) => 4_711 + number);
    const cohorts = await mapInBatches(ids, async (user_id) => (await gateway.classify({ text: SAMPLE_TEXT, user_id })).cohort);
    assert.deepEqual(cohorts, expectedCohorts(ids.map(String), "50%"));
  });

  test("an id in a UTF-8 header gets the same cohort as in the user field", async () => {
    const ids = userIds(40).filter((id) => id.length < 100);
    for (const id of ids) {
      const headers = { "content-type": "application/json", "x-user-id": Buffer.from(id).toString("latin1") };
      // Bytes: with a string as body, Node would encode the header as UTF-8 a second time.
      const body = Buffer.from(JSON.stringify({ text: SAMPLE_TEXT }));
      const { headers: rawHeaders } = await fetchRaw(gateway.origin, "/predict", { method: "POST", headers, body });
      assert.equal(new Headers(rawHeaders).get("x-jeffrey-cohort"), expectedCohorts([id], "50%")[0], id);
    }
  });

  test("the header precedes the user field, and the user field precedes the cookie", async () => {
    const fetchSubjectHash = async (/** @type {object} */ body, /** @type {Record<string, string>} */ headers = {}) =>
      (await classifyWithEvent(gateway, { text: SAMPLE_TEXT, ...body }, headers)).event.subject;
    const cookie = { cookie: `a=b; ${COOKIE_PREFIX}AAAAAAAAAAAAAAAAAAAAAA.${currentHour()}` };
    const [a, b, c] = [await fetchSubjectHash({ user_id: "a" }), await fetchSubjectHash({ user_id: "b" }), await fetchSubjectHash({}, cookie)];
    assert.equal(new Set([a, b, c]).size, 3);
    for (const hash of [a, b, c]) assert.match(hash, /^[0-9a-f]{32}$/);
    assert.equal(await fetchSubjectHash({ user_id: "a" }, { "x-user-id": "b", ...cookie }), b);
    assert.equal(await fetchSubjectHash({ user_id: "a" }, cookie), a);
    assert.equal(await fetchSubjectHash({ user_id: "a" }, { "x-user-id": "x".repeat(257), ...cookie }), a, "a header that is too long is ignored");
    assert.equal(await fetchSubjectHash({ user_id: "" }, cookie), c, "an empty user id is ignored");
    assert.equal(await fetchSubjectHash({ user_id: null }, cookie), c, "a null user id is ignored");
  });

  test("an unknown caller gets a cookie once, and keeps its cohort with it", async () => {
    const firstResponse = await classifyWithEvent(gateway, { text: SAMPLE_TEXT });
    const setCookie = subjectCookie(firstResponse);
    assert.match(String(setCookie), /^jeffrey_subject=[\w-]{22}\.\d+; Path=\/; Max-Age=2592000; HttpOnly; SameSite=Lax$/);
    assert.deepEqual([firstResponse.event.reason, firstResponse.event.is_evidence], ["bucket", false], "a subject without its cookie yet is not evidence");
    const cookie = String(setCookie).split(";")[0];
    for (let round = 0; round < 5; round += 1) {
      const response = await classifyWithEvent(gateway, { text: SAMPLE_TEXT }, { cookie });
      assert.equal(subjectCookie(response), null);
      assert.equal(response.cohort, firstResponse.cohort);
      assert.deepEqual([response.event.subject, response.event.is_evidence], [firstResponse.event.subject, true]);
    }
    assert.equal(firstResponse.cohort, expectedCohorts([cookie.slice(COOKIE_PREFIX.length).split(".")[0]], "50%")[0]);
    const otherCookie = String(subjectCookie(await gateway.classify({ text: SAMPLE_TEXT }))).split(";")[0];
    assert.notEqual(otherCookie, cookie);
    const invalidCookieResponse = await gateway.classify({ text: SAMPLE_TEXT }, { cookie: `${COOKIE_PREFIX}chosen-by-hand` });
    assert.ok(subjectCookie(invalidCookieResponse), "an invalid cookie is replaced");
    const page = await fetch(`${gateway.origin}/private`);
    assert.equal(subjectCookie(page), null, "a page sets no cookie");
  });

  test("a growing share never moves a subject back, and the same share selects the same subjects", async () => {
    const ids = userIds(40);
    /** @type {Map<string, string[]>} */
    const canariesByShare = new Map();
    /** @type {string[]} */
    let previousCanaries = [];
    for (const share of ["0%", "10%", "20%", "50%", "75%", "100%"]) {
      await gateway.setShare({ share });
      const cohorts = await mapInBatches(ids, fetchCohort);
      assert.deepEqual(cohorts, expectedCohorts(ids, share), share);
      const canaries = ids.filter((_, index) => cohorts[index] === "canary");
      assert.deepEqual(previousCanaries.filter((id) => !canaries.includes(id)), [], `moved back at ${share}`);
      canariesByShare.set(share, canaries);
      previousCanaries = canaries;
    }
    assert.deepEqual([canariesByShare.get("0%")?.length, canariesByShare.get("100%")?.length], [0, ids.length]);
    for (const share of ["10%", "50%", "20%", "75%"]) {
      await gateway.setShare({ share });
      const cohorts = await mapInBatches(ids, fetchCohort);
      assert.deepEqual(ids.filter((_, index) => cohorts[index] === "canary"), canariesByShare.get(share), `again at ${share}`);
    }
  });

  test("`jeffrey loadtest` finds no moved user and no error, and fails while the legacy system fails", async () => {
    const runLoadtest = async (/** @type {number} */ error_rate) => {
      await fetch(`${gateway.legacy.origin}/_mock-legacy/settings`, { method: "PUT", body: JSON.stringify({ error_rate }) });
      // Asynchronous, because this process also serves the mock legacy system.
      const args = ["loadtest", `${gateway.origin}/predict`, "--rate", "20", "--count", "80", "--users", "40", "--seed", "4", "--require-sticky", "--json"];
      const child = spawn(JEFFREY, args, { stdio: ["ignore", "pipe", "inherit"] });
      let stdout = "";
      child.stdout.on("data", (chunk) => (stdout += chunk));
      const [code] = await once(child, "close");
      return { code, ...JSON.parse(stdout) };
    };
    const healthy = await runLoadtest(0);
    assert.deepEqual([healthy.code, healthy.passed, healthy.errors, healthy.moved, healthy.unanswered], [0, true, 0, 0, 0]);
    const { canary, stable, unknown } = healthy.cohorts;
    assert.deepEqual([canary.requests + stable.requests, unknown.requests], [80, 0]);
    assert.ok(canary.requests > 0 && stable.requests > 0, JSON.stringify(healthy.cohorts));
    const failing = await runLoadtest(1);
    assert.deepEqual([failing.code, failing.passed, failing.cohorts.stable.status_5xx], [1, false, failing.cohorts.stable.requests]);
    assert.equal(failing.cohorts.canary.status_5xx, 0, "the model answers while the legacy system fails");
    await fetch(`${gateway.legacy.origin}/_mock-legacy/settings`, { method: "PUT", body: '{"error_rate":0}' });
  });

  test("a cohort override holds at every share, and its requests are not evidence", async () => {
    for (const share of ["0%", "100%"]) {
      await gateway.setShare({ share });
      for (const cohort of ["canary", "stable"]) {
        const { event, ...response } = await classifyWithEvent(gateway, { text: SAMPLE_TEXT, user_id: `forced-${cohort}` });
        assert.deepEqual([response.cohort, event.cohort, event.reason, event.is_evidence], [cohort, cohort, "cohort_override", false], share);
      }
    }
  });

  test("an override token chooses the cohort, and its requests are not evidence", async () => {
    const { token: overrideToken } = createToken();
    for (const share of ["0%", "100%"]) {
      await gateway.setShare({ share });
      for (const cohort of ["canary", "stable"]) {
        const headers = { "x-jeffrey-cohort": cohort, "x-jeffrey-token": overrideToken };
        for (const user_id of ["anyone", "forced-canary", "forced-stable"]) {
          const { event, ...response } = await classifyWithEvent(gateway, { text: SAMPLE_TEXT, user_id }, headers);
          assert.deepEqual([response.cohort, event.reason, event.is_evidence], [cohort, "override_token", false], `${share} ${user_id}`);
          assert.equal(response.headers.get("x-jeffrey-override"), null);
        }
      }
    }
    const headerNames = gateway.legacy.requests.flatMap(({ headers }) => headers.map(([name]) => name.toLowerCase()));
    assert.ok(headerNames.includes("x-forwarded-host"), "the legacy system got requests");
    assert.deepEqual(headerNames.filter((name) => name.startsWith("x-jeffrey-")), [], "a token is a secret");
  });

  test("a token can be made without our tools, as docs/auth.md shows", async () => {
    const encode = (/** @type {object} */ part) => Buffer.from(JSON.stringify(part)).toString("base64url");
    const signToken = (/** @type {object} */ header, /** @type {object} */ claims, algorithm = "sha256") => {
      const signed = `${encode(header)}.${encode(claims)}`;
      return `${signed}.${createHmac(algorithm, SECRETS.JEFFREY_OVERRIDE_SIGNING_KEY).update(signed).digest("base64url")}`;
    };
    const claims = { aud: "e1-small", exp: Math.floor(Date.now() / 1_000) + 600 };
    const user_id = userIds(20).find((id) => expectedCohorts([id], "50%")[0] === "stable");
    const ask = async (/** @type {string} */ token) => {
      const { cohort, headers } = await gateway.classify({ text: SAMPLE_TEXT, user_id }, { "x-jeffrey-cohort": "canary", "x-jeffrey-token": token });
      return [cohort, headers.get("x-jeffrey-override")];
    };
    assert.deepEqual(await ask(signToken({ alg: "HS256", typ: "JWT" }, claims)), ["canary", null]);
    const refused = [
      signToken({ alg: "none" }, claims),
      `${encode({ alg: "none" })}.${encode(claims)}.`,
      signToken({ alg: "HS512" }, claims, "sha512"),
      signToken({ alg: "HS256", kid: "another" }, claims),
      signToken({ alg: "HS256" }, { ...claims, exp: claims.exp + 90_000 }),
    ];
    for (const token of refused) {
      const [cohort, reason] = await ask(token);
      assert.equal(cohort, "stable", token);
      assert.match(String(reason), /^token/, token);
    }
  });

  test("a rejected token changes nothing, and the response says why", async () => {
    const validToken = createToken().token;
    const expiredToken = createToken({ expiresIn: "1s" });
    await waitFor(() => Date.now() > expiredToken.expires_ms);
    const changeClaims = (/** @type {object} */ changes) => {
      const [header, body, tag] = validToken.split(".");
      const changed = { ...JSON.parse(Buffer.from(body, "base64url").toString()), ...changes };
      return [header, Buffer.from(JSON.stringify(changed)).toString("base64url"), tag].join(".");
    };
    /** @type {[string, string, RegExp][]} */
    const table = [
      ["expired", expiredToken.token, /^token expired at \d+ ms, now is \d+ ms$/],
      ["another key's", createToken({ key: "another key of the tests" }).token, /^token is not signed by HS256 with a key in use$/],
      ["changed claims", changeClaims({ allow_rolled_back: true }), /^token is not signed by HS256 with a key in use$/],
      ["another release's", createToken({ release: "e2" }).token, /^token is for another release$/],
      ["malformed", "canary, please", /^token is not a JSON Web Token with `aud` and `exp`$/],
    ];
    const ids = userIds(8);
    const expected = expectedCohorts(ids, "50%");
    assert.equal(new Set(expected).size, 2, "the ids cover both cohorts");
    for (const [name, sentToken, reason] of table) {
      for (const [index, user_id] of ids.entries()) {
        const otherCohort = expected[index] === "canary" ? "stable" : "canary";
        const response = await gateway.classify({ text: SAMPLE_TEXT, user_id }, { "x-jeffrey-cohort": otherCohort, "x-jeffrey-token": sentToken });
        assert.equal(response.cohort, expected[index], name);
        assert.match(response.headers.get("x-jeffrey-override") ?? "", reason, name);
      }
      const { event } = await classifyWithEvent(gateway, { text: SAMPLE_TEXT, user_id: ids[0] }, { "x-jeffrey-cohort": "canary", "x-jeffrey-token": sentToken });
      assert.deepEqual([event.reason, event.is_evidence], ["bucket", true], name);
    }
    /** @type {Record<string, string>[]} */
    const incomplete = [
      { "x-jeffrey-cohort": "canary" },
      { "x-jeffrey-cohort": "stable" },
      { "x-jeffrey-token": validToken },
      { "x-jeffrey-token": validToken, "x-jeffrey-cohort": "both" },
    ];
    for (const headers of incomplete) {
      const cohorts = await mapInBatches(ids, async (user_id) => (await gateway.classify({ text: SAMPLE_TEXT, user_id }, headers)).cohort);
      assert.deepEqual(cohorts, expected, JSON.stringify(headers));
    }
  });

  test("the kill flag makes every request stable, except with a token made with --allow-rolled-back", async () => {
    await gateway.setShare({ share: "100%", killed: true });
    const headers = { "x-jeffrey-cohort": "canary", "x-jeffrey-token": createToken().token };
    for (const [user_id, extraHeaders] of /** @type {[string, Record<string, string>][]} */ ([["anyone", {}], ["forced-canary", {}], ["anyone", headers]])) {
      const { event, cohort } = await classifyWithEvent(gateway, { text: SAMPLE_TEXT, user_id }, extraHeaders);
      assert.deepEqual([cohort, event.reason, event.is_evidence, event.destination], ["stable", "disabled", false, "stable"], user_id);
    }
    const rolledBackHeaders = { ...headers, "x-jeffrey-token": createToken({ allowRolledBack: true }).token };
    const { event, cohort } = await classifyWithEvent(gateway, { text: SAMPLE_TEXT, user_id: "anyone" }, rolledBackHeaders);
    assert.deepEqual([cohort, event.reason, event.is_evidence, event.destination], ["canary", "override_token", false, "canary"]);
    const health = await (await gateway.fetchAdmin("/health")).json();
    assert.deepEqual([health.status, health.disabled], ["ok", true]);
    await gateway.setShare({ killed: false });
    assert.equal((await gateway.classify({ text: SAMPLE_TEXT, user_id: "anyone" })).cohort, "canary");
  });

  test("a streamed request is never canary and never evidence", async () => {
    await gateway.setShare({ share: "100%" });
    const headers = { "x-jeffrey-cohort": "canary", "x-jeffrey-token": createToken().token };
    /** @type {[string, unknown, Record<string, string>][]} */
    const table = [
      ["content type is not JSON", { text: SAMPLE_TEXT }, { "content-type": "text/plain", "x-user-id": "anyone" }],
      ["too large", { text: "a ".repeat(33_000) }, { "x-user-id": "anyone" }],
      ["with an override", { text: SAMPLE_TEXT }, { "content-type": "text/plain", ...headers }],
    ];
    for (const [name, body, extraHeaders] of table) {
      const { event, cohort } = await classifyWithEvent(gateway, body, extraHeaders);
      assert.deepEqual([cohort, event.reason, event.is_evidence], ["stable", "streamed", false], name);
    }
    const bodyStream = new ReadableStream({
      start(controller) {
        controller.enqueue(new TextEncoder().encode(JSON.stringify({ text: SAMPLE_TEXT, user_id: "anyone" })));
        controller.close();
      },
    });
    const options = { method: "POST", headers: { "content-type": "application/json" }, body: bodyStream, duplex: "half" };
    const response = await fetch(`${gateway.origin}/predict`, /** @type {any} */ (options));
    assert.deepEqual([response.status, response.headers.get("x-jeffrey-cohort")], [200, "stable"]);
    assert.equal((await response.json()).version, "2.4.2");
  });
});

test("with SUBJECT_COOKIE=off an unknown caller is stable, and SUBJECT_HEADER names the header", { timeout: TEST_TIMEOUT_MS }, async () => {
  const { anonymous: gateway } = session.gateways;
  for (const headers of /** @type {Record<string, string>[]} */ ([{}, { "x-user-id": "anyone" }, { "x-account": " " }])) {
    const { event, ...response } = await classifyWithEvent(gateway, { text: SAMPLE_TEXT }, headers);
    assert.deepEqual([response.status, response.cohort, response.json.version], [200, "stable", "2.4.2"]);
    assert.deepEqual([event.reason, event.is_evidence, event.subject], ["no_subject", false, null]);
    assert.equal(subjectCookie(response), null);
  }
  const headerResponse = await classifyWithEvent(gateway, { text: SAMPLE_TEXT }, { "X-ACCOUNT": "anyone" });
  const userFieldResponse = await classifyWithEvent(gateway, { text: SAMPLE_TEXT, user_id: "anyone" });
  assert.deepEqual([headerResponse.cohort, headerResponse.event.reason, headerResponse.event.is_evidence], ["canary", "bucket", true]);
  assert.equal(headerResponse.event.subject, userFieldResponse.event.subject);
  const overrideHeaders = { "x-jeffrey-cohort": "canary", "x-jeffrey-token": createToken().token };
  assert.equal((await classifyWithEvent(gateway, { text: SAMPLE_TEXT }, overrideHeaders)).event.reason, "override_token", "a token needs no subject");
});

test("a request from another origin is canary only if CORS_ORIGINS has that origin", { timeout: TEST_TIMEOUT_MS }, async () => {
  const { open: gateway } = session.gateways;
  /** @type {[string | null, string, string][]} */
  const table = [
    [null, "canary", "bucket"],
    [gateway.origin, "canary", "bucket"],
    ["https://open.example", "canary", "bucket"],
    ["http://localhost:3000", "canary", "bucket"],
    ["https://open.example.org", "stable", "foreign_origin"],
    ["http://open.example", "stable", "foreign_origin"],
    ["https://old.example", "stable", "foreign_origin"],
    ["null", "stable", "foreign_origin"],
  ];
  for (const [origin, cohort, reason] of table) {
    const { event, ...response } = await classifyWithEvent(gateway, { text: SAMPLE_TEXT, user_id: "anyone" }, { ...(origin ? { origin } : {}), "x-mock-legacy": "cors" });
    assert.deepEqual([response.cohort, event.reason, event.is_evidence], [cohort, reason, reason === "bucket"], `${origin}`);
    // The legacy system's own CORS header stays; a canary response allows the request's origin.
    const isForeign = origin !== null && origin !== gateway.origin;
    const allowedOrigin = cohort === "stable" ? "https://old.example" : isForeign ? origin : null;
    assert.equal(response.headers.get("access-control-allow-origin"), allowedOrigin, `${origin}`);
  }
});

test("with SUBJECT_COOKIE=all only a response that no shared cache may store has a cookie, and a holdout stays stable", { timeout: TEST_TIMEOUT_MS }, async () => {
  const { holdout: gateway } = session.gateways;
  /** @type {[string, boolean][]} */
  const pages = [["/private", true], ["/public", false], ["/", false], ["/robots.txt", false], ["/favicon.ico", false]];
  for (const [path, expected] of pages) {
    const response = await fetch(gateway.origin + path);
    await response.arrayBuffer();
    assert.equal(subjectCookie(response) !== null, expected, path);
  }
  const cookie = String(subjectCookie(await fetch(`${gateway.origin}/private`)));
  assert.match(cookie, /^jeffrey_subject=[\w-]{22}\.\d+; Path=\/; Max-Age=604800; HttpOnly; SameSite=Lax$/);
  const cookieHeader = { cookie: cookie.split(";")[0] };
  assert.equal(subjectCookie(await fetch(`${gateway.origin}/private`, { headers: cookieHeader })), null);
  const cookiesPage = await fetch(`${gateway.origin}/cookies`);
  assert.equal(cookiesPage.headers.getSetCookie().length, 3, "only the legacy system's cookies: a GET response without Cache-Control gets none from the gateway");

  const { event, cohort } = await classifyWithEvent(gateway, { text: SAMPLE_TEXT }, cookieHeader);
  assert.deepEqual([cohort, event.reason, event.is_evidence], ["stable", "holdout", true]);
  await mapInBatches(userIds(20), async (user_id) => {
    const response = await gateway.classify({ text: SAMPLE_TEXT, user_id });
    assert.deepEqual([response.cohort, response.json.version], ["stable", "2.4.2"], user_id);
  });
});

test("a cookie is Secure except on http://localhost", { timeout: TEST_TIMEOUT_MS }, async () => {
  const { proxied: gateway } = session.gateways;
  /** @type {[string, boolean][]} */
  const table = [
    ["https://gateway.example", true],
    ["https://localhost:8787", true],
    ["http://gateway.example", true],
    ["http://localhost.example", true],
    ["http://localhost:8787", false],
  ];
  for (const [origin, secure] of table) {
    const response = await gateway.classify({ text: SAMPLE_TEXT }, { "x-test-origin": origin });
    const attributes = String(subjectCookie(response)).split("; ");
    assert.deepEqual([response.status, attributes.includes("Secure"), attributes.includes("HttpOnly")], [200, secure, true], origin);
  }
});

test("during a key rotation, tokens and ids of both keys are valid", { timeout: TEST_TIMEOUT_MS }, async () => {
  const [old, next] = [OLD_KEY, NEXT_KEY];
  const { rotating: gateway } = session.gateways;
  for (const [key, reason] of [[old, "override_token"], [next, "override_token"], [SECRETS.JEFFREY_OVERRIDE_SIGNING_KEY, "bucket"]]) {
    const headers = { "x-jeffrey-cohort": "canary", "x-jeffrey-token": createToken({ key }).token };
    assert.equal((await classifyWithEvent(gateway, { text: SAMPLE_TEXT, user_id: "anyone" }, headers)).event.reason, reason, key);
  }
  const postFeedback = async (/** @type {string} */ id) => {
    const response = await gateway.fetchAdmin("/v1/feedback", { method: "POST", body: JSON.stringify({ id, ok: true }) });
    return [response.status, (await response.json()).error?.code];
  };
  const day = 24 * 60 * 60 * 1_000;
  // The event store has no such id. The gateway asks it only after it accepted the signature, so 404 means a valid id.
  const accepted = [404, "id_unknown"];
  /** @type {[string, number, unknown[]][]} */
  const table = [
    [old, 0, accepted],
    [next, 0, accepted],
    [next, 7 * day - 60_000, accepted],
    [next, 7 * day + 60_000, [410, "id_expired"]],
    [next, -60 * 60_000, [400, "id_invalid"]],
    [SECRETS.JEFFREY_SIGNING_KEY, 0, [403, "id_forged"]],
  ];
  for (const [key, age, expected] of table) assert.deepEqual(await postFeedback(createSignedId(key, Date.now() - age)), expected, `${key} ${age}`);
  const idAndTag = signedIdBytes(await gateway.classify({ text: SAMPLE_TEXT, user_id: "anyone" }));
  assert.deepEqual(idAndTag, signId(next, idAndTag.subarray(0, 16)), "the first key signs");
});

/** A signed id made at `made_ms`, in the form of `x-jeffrey-id`. @param {string} key @param {number} made_ms */
function createSignedId(key, made_ms) {
  const id = randomBytes(16);
  id.writeUIntBE(made_ms, 0, 6);
  id[6] = 0x70 | (id[6] & 0x0f);
  id[8] = 0x80 | (id[8] & 0x3f);
  return signId(key, id).toString("base64url");
}

/** The 16 bytes of an id and the 16 bytes of its tag. @param {string} key @param {Buffer} id */
function signId(key, id) {
  const derived = Buffer.from(hkdfSync("sha256", key, "", "jeffrey-edge answer id", 32));
  return Buffer.concat([id, createHmac("sha256", derived).update(id).digest().subarray(0, 16)]);
}

test("KILL_SWITCH makes requests stable while the release state is at 100 %", { timeout: TEST_TIMEOUT_MS }, async () => {
  const { killed: gateway } = session.gateways;
  await gateway.setShare({ share: "100%", killed: false });
  const headers = { "x-jeffrey-cohort": "canary", "x-jeffrey-token": createToken().token };
  for (const [user_id, extraHeaders] of /** @type {[string, Record<string, string>][]} */ ([["anyone", {}], ["forced-canary", {}], ["anyone", headers]])) {
    const { event, ...response } = await classifyWithEvent(gateway, { text: SAMPLE_TEXT, user_id }, extraHeaders);
    assert.deepEqual([response.cohort, response.json.version, event.reason], ["stable", "2.4.2", "disabled"], user_id);
  }
  const health = await gateway.fetchAdmin("/health");
  assert.deepEqual([health.status, (await health.json()).disabled], [200, true]);
});

test("an invalid variable makes every request stable, is named by /health, and stops no traffic", { timeout: TEST_TIMEOUT_MS }, async () => {
  const { invalid: gateway } = session.gateways;
  const response = await gateway.fetchAdmin("/health", { token: SECRETS.JEFFREY_VIEWER_TOKEN });
  const health = await response.json();
  assert.deepEqual([response.status, health.status, health.disabled], [503, "failed", true]);
  assert.equal(health.faults.length, 1);
  assert.match(health.faults[0], /^HOLDOUT: share `lots` is not a percentage/);
  const { faults } = await (await gateway.fetchAdmin("/health")).json();
  assert.deepEqual(faults, ["HOLDOUT: its value is refused; a viewer's token shows why"], "a stranger sees no part of a value");
  for (const user_id of [...userIds(10), "forced-canary"]) {
    const response = await gateway.classify({ text: SAMPLE_TEXT, user_id });
    assert.deepEqual([response.status, response.cohort, response.json.version], [200, "stable", "2.4.2"], user_id);
  }
  const page = await fetch(`${gateway.origin}/private`);
  assert.equal(await page.text(), "do not store this\n");
  const rolloutResponse = await gateway.fetchAdmin("/v1/rollout", { token: SECRETS.JEFFREY_VIEWER_TOKEN });
  assert.equal(rolloutResponse.status, 200);
});
