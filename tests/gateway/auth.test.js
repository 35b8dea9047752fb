// A canary in front of a legacy system with authentication: strangers get the legacy system's own refusal byte for byte, and the
// model answers those whom it admits.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { TEST_TIMEOUT_MS, SECRETS, startGateways } from "../support/gateway.js";
import { SAMPLE_TEXT, createToken } from "../support/gateway-calls.js";
import { QUOTA, signBody, startGuardedLegacy } from "../support/guarded-legacy.js";
import { fetchRaw } from "../support/raw-http.js";

const BODY = JSON.stringify({ text: SAMPLE_TEXT });
// The check has no body and does not use a one-time token up, so calls with either stay stable.
const STABLE = { CANARY_AUTH_STABLE_HEADERS: "x-signature, x-one-time" };
const CHECK = { CANARY_AUTH: "check", CANARY_AUTH_CHECK: "GET /session", COHORT_OVERRIDES: "carl=canary", ...STABLE };
const CREDENTIALS = "authorization, cookie, x-api-key, x-user-id";

/** @type {Awaited<ReturnType<typeof startGuardedLegacy>>} */
let legacy;
const startSession = () => {
  const LEGACY_ORIGIN = legacy.origin;
  return startGateways({
    checked: [{ LEGACY_ORIGIN, ...CHECK }],
    cached: [{ LEGACY_ORIGIN, ...CHECK, CANARY_AUTH_CACHE: "60", CANARY_AUTH_HEADERS: CREDENTIALS }],
    stable: [{ LEGACY_ORIGIN, CANARY_AUTH: "credentials_stay_stable", CANARY_AUTH_STABLE_HEADERS: "x-api-key, x-signature, x-one-time" }],
    undeclared: [{ LEGACY_ORIGIN, CANARY_AUTH: "" }],
  });
};
/** @type {Awaited<ReturnType<typeof startSession>>} */
let session;
before(async () => {
  legacy = await startGuardedLegacy();
  session = await startSession();
});
after(async () => {
  await session?.stop();
  await legacy?.stop();
});

/** Sends a classify call, without following redirects. @param {string} origin @param {Record<string, string>} headers @param {string} [query] */
async function call(origin, headers, query = "") {
  const { status, headers: rawHeaders, body } = await fetchRaw(origin, `/predict${query}`, { method: "POST", headers: { "content-type": "application/json", ...headers }, body: BODY });
  return { status, headers: new Headers(rawHeaders), body: body.toString() };
}

const isByModel = (/** @type {{ status: number, body: string }} */ { status, body }) => status === 200 && JSON.parse(body).encoder === "e1-small";

/**
 * Calls that the legacy system refuses. Each has a subject that is canary at 100 %.
 *
 * @returns {[string, Record<string, string>, string?][]}
 */
function strangers() {
  const token = createToken().token;
  return [
    ["no credentials", {}],
    ["a browser without a session", { accept: "text/html" }],
    ["a canary id", { "x-user-id": "carl" }],
    ["a subject cookie alone", { cookie: "jeffrey_subject=AAAAAAAAAAAAAAAAAAAAAA" }],
    ["another token", { authorization: "Bearer mallory-token" }],
    ["an expired token", { authorization: "Bearer alice-token-of-yesterday" }],
    ["a cut token", { authorization: "Bearer alice-toke" }],
    ["a longer token", { authorization: "Bearer alice-token2" }],
    ["an empty token", { authorization: "Bearer " }],
    ["another scheme", { authorization: "Basic YWxpY2U6eA==" }],
    ["the scheme in lower case", { authorization: "bearer alice-token" }],
    ["two tokens", { authorization: "Bearer alice-token, Bearer bob-token" }],
    ["someone else's token", { authorization: "Bearer alice-token", "x-user-id": "bob" }],
    ["someone else's token for a canary id", { authorization: "Bearer bob-token", "x-user-id": "carl" }],
    ["another API key", { "x-api-key": "key-2" }],
    ["an empty API key", { "x-api-key": "" }],
    ["a wrong key beside a right token", { "x-api-key": "key-2", authorization: "Bearer alice-token" }],
    ["a wrong key in the query", {}, "?api_key=key-2"],
    ["an empty key in the query", {}, "?api_key="],
    ["a token in the query", {}, "?access_token=alice-token"],
    ["an ended session", { cookie: "session=session-0" }],
    ["an empty session", { cookie: "session=" }],
    ["a session in another cookie", { cookie: "xsession=session-1" }],
    ["a session as a header", { "x-session": "session-1" }],
    ["a signature of another body", { "x-signature": signBody('{"text":"another"}') }],
    ["a signature of no body", { "x-signature": signBody("") }],
    ["no hexadecimal signature", { "x-signature": "zz" }],
    ["a one-time token that never was", { "x-one-time": "once-9" }],
    ["an override token without credentials", { "x-jeffrey-cohort": "canary", "x-jeffrey-token": token }],
    ["a header that looks like the gateway's own", { "x-jeffrey-caller": "e30.AAAA", "x-jeffrey-subject-secret": SECRETS.JEFFREY_SIGNING_KEY }],
    ["a right token under another name", { "x-original-authorization": "Bearer alice-token", "proxy-authorization": "Bearer alice-token" }],
  ];
}

for (const name of /** @type {const} */ (["checked", "cached", "stable", "undeclared"])) {
  test(`no stranger is answered by the canary: ${name}`, { timeout: TEST_TIMEOUT_MS }, async () => {
    const { origin } = session.gateways[name];
    // The second time, the verdicts of the first may be cached.
    for (const [description, headers, query] of [...strangers(), ...strangers()]) {
      const direct = await call(legacy.origin, headers, query);
      const response = await call(origin, headers, query);
      assert.ok(![200, 204].includes(direct.status), `${description} is no stranger`);
      // With credentials_stay_stable a call without credentials is the canary's, as if the legacy system answered anybody.
      if (name === "stable" && !hasCredentials(headers)) continue;
      assert.deepEqual([response.status, response.body], [direct.status, direct.body], description);
      for (const header of ["www-authenticate", "location", "set-cookie"]) {
        const given = response.headers.getSetCookie().filter((cookie) => !cookie.startsWith("jeffrey_subject="));
        if (header === "set-cookie") assert.deepEqual(given, direct.headers.getSetCookie(), description);
        else assert.equal(response.headers.get(header), direct.headers.get(header), `${description}: ${header}`);
      }
    }
  });
}

/** @param {Record<string, string>} headers */
const hasCredentials = (headers) => ["authorization", "x-api-key", "x-signature", "x-one-time"].some((name) => name in headers) || /(^|; )(?!jeffrey_subject=)/.test(headers.cookie ?? "jeffrey_subject=");

test("those whom the legacy system admits are answered by the canary", { timeout: TEST_TIMEOUT_MS }, async () => {
  const { origin } = session.gateways.checked;
  /** @type {[string, Record<string, string>][]} */
  const members = [
    ["a token", { authorization: "Bearer alice-token" }],
    ["a token with its own id", { authorization: "Bearer bob-token", "x-user-id": "bob" }],
    ["an API key", { "x-api-key": "key-1" }],
    ["a session", { cookie: "session=session-1" }],
  ];
  for (const [description, headers] of members) {
    legacy.requests.length = 0;
    assert.ok(isByModel(await call(origin, headers)), description);
    assert.deepEqual(legacy.requests, [{ method: "GET", path: "/session" }], description);
  }
  const response = await call(origin, { cookie: "session=session-1" });
  assert.ok(response.headers.getSetCookie().includes("session=session-1; Path=/; Max-Age=600"), "the session slides");
});

test("what the check cannot see is answered by the legacy system", { timeout: TEST_TIMEOUT_MS }, async () => {
  const { origin } = session.gateways.checked;
  /** @type {[string, Record<string, string>, string?][]} */
  const calls = [["a signed body", { "x-signature": signBody(BODY) }], ["a key in the query", {}, "?api_key=key-1"]];
  for (const [description, headers, query] of calls) {
    const response = await call(origin, headers, query);
    assert.deepEqual([response.status, JSON.parse(response.body).encoder], [200, "legacy"], description);
  }
});

test("a quota of the check holds without a cache, and is passed with one", { timeout: TEST_TIMEOUT_MS }, async () => {
  const statuses = async (/** @type {string} */ origin) => {
    const found = [];
    for (let number = 0; number < 2 * QUOTA; number += 1) found.push(isByModel(await call(origin, { "x-api-key": "limited" })));
    return found.filter(Boolean).length;
  };
  assert.equal(await statuses(session.gateways.cached.origin), 2 * QUOTA, "one check for all of them");
  // The cached check has used one call of the quota.
  assert.equal(await statuses(session.gateways.checked.origin), QUOTA - 1);
  const limited = await call(session.gateways.checked.origin, { "x-api-key": "limited" });
  assert.deepEqual([limited.status, limited.body, limited.headers.get("retry-after")], [429, "slow down", "60"]);
});

test("a one-time token is good for one answer, whoever gives it", { timeout: TEST_TIMEOUT_MS }, async () => {
  for (const [index, name] of /** @type {const} */ (["checked", "cached", "stable"]).entries()) {
    const answers = [];
    for (let number = 0; number < 3; number += 1) answers.push((await call(session.gateways[name].origin, { "x-one-time": `once-${index + 1}` })).status);
    assert.deepEqual(answers, [200, 401, 401], name);
  }
});

test("an ended session is refused at once without a cache", { timeout: TEST_TIMEOUT_MS }, async () => {
  const { checked, cached } = session.gateways;
  const headers = { cookie: "session=session-2" };
  legacy.sessions.add("session-2");
  for (const { origin } of [checked, cached]) assert.ok(isByModel(await call(origin, headers)));
  legacy.sessions.delete("session-2");
  assert.equal((await call(checked.origin, headers)).status, 401);
  assert.ok(isByModel(await call(cached.origin, headers)), "for CANARY_AUTH_CACHE seconds");
});

test("undeclared, health is 503 and says what is missing", { timeout: TEST_TIMEOUT_MS }, async () => {
  const { undeclared: gateway } = session.gateways;
  const response = await call(gateway.origin, { authorization: "Bearer alice-token" });
  assert.deepEqual([response.status, JSON.parse(response.body).encoder], [200, "legacy"]);
  const health = await gateway.fetchAdmin("/health");
  const { faults } = /** @type {any} */ (await health.json());
  assert.equal(health.status, 503);
  assert.match(faults[0], /^CANARY_AUTH: it is not set: who may be answered\?/);
});
