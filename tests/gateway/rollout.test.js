// The status of a release: its access rules, the time that a change takes, evaluation by OpenFeature; and rate limits.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { OFREPProvider } from "@openfeature/ofrep-provider";
import { ErrorCode, OpenFeature } from "@openfeature/server-sdk";
import { TEST_TIMEOUT_MS, SECRETS, startGateway, startGateways, waitFor } from "../support/gateway.js";
import { SAMPLE_TEXT, expectedCohorts, classifyWithEvent, mapInBatches } from "../support/gateway-calls.js";

/** @typedef {import("../support/gateway-calls.js").Gateway} Gateway */

const VIEWER = SECRETS.JEFFREY_VIEWER_TOKEN;
const ADMIN = SECRETS.JEFFREY_ADMIN_TOKEN;
const [NEXT_VIEWER, NEXT_ADMIN] = ["the next viewer of the tests", "the next admin of the tests"];

/** Changes a rate limit to 3 calls in ten seconds. @param {number} limit in `wrangler.toml` */
const lowerLimit = (limit) => (/** @type {string} */ toml) => {
  assert.ok(toml.includes(`limit = ${limit},`), "wrangler.toml has another limit");
  return toml.replace(`limit = ${limit},`, "limit = 3,");
};

// Only a session's first gateway has rate limits, so the tests of rate limits start two more sessions.
const startSession = () => startGateways({
  limited: [{ RATE_LIMITING: "on" }, { configure: lowerLimit(100), model: "none" }],
  status: [{ INITIAL_SHARE: "50%", JEFFREY_VIEWER_TOKEN: `${VIEWER}, ${NEXT_VIEWER}`, JEFFREY_ADMIN_TOKEN: `${ADMIN},${NEXT_ADMIN}` }],
  prefixed: [{ JEFFREY_VIEWER_TOKEN: "", JEFFREY_ADMIN_TOKEN: "", ADMIN_PREFIX: "/gateway/admin" }, { model: "none" }],
  paired: [{}, { replica: true }],
  unreachable: [{}, { rollout: "faulty", model: "none" }],
});
/** @type {Awaited<ReturnType<typeof startSession>>} */
let session;
before(async () => {
  session = await startSession();
});
after(() => session?.stop());

/** Status, code and message of an error that the gateway returns, after a check of its format. @param {Response} response */
async function readError(response) {
  const body = await response.json();
  assert.deepEqual([Object.keys(body), Object.keys(body.error)], [["error"], ["code", "message"]]);
  assert.equal(response.headers.get("content-type"), "application/json");
  assert.equal(response.headers.get("cache-control"), "no-store");
  return { status: response.status, ...body.error };
}

describe("the status of a release", { timeout: TEST_TIMEOUT_MS }, () => {
  /** @type {Gateway} */
  let gateway;
  before(() => {
    gateway = session.gateways.status;
  });

  const requestStatus = (/** @type {string | undefined} */ token) => gateway.fetchAdmin("/v1/rollout", { token });
  const changeShare = (/** @type {string | undefined} */ token, /** @type {unknown} */ body) =>
    gateway.fetchAdmin("/v1/admin/share", { token, method: "PUT", body: typeof body === "string" ? body : JSON.stringify(body) });
  const fetchStatus = async () => (await requestStatus(VIEWER)).json();

  test("is read by viewers and admins and changed only by admins, with either token of a rotation", async () => {
    const initial = { share_basis_points: 5_000, killed: false, changed_ms: 0, hard_failures: 0, last_hard_failure: null, message: "e1-small at 50.00%: no active plan", message_code: "status.no_plan", message_args: { release: "e1-small", share_basis_points: 5_000 }, allowed_commands: ["start"], rollout: null, figures: null };
    assert.deepEqual(await fetchStatus(), { release: "e1-small", version: 0, ...initial });
    for (const token of [VIEWER, NEXT_VIEWER, ADMIN, NEXT_ADMIN]) assert.equal((await requestStatus(token)).status, 200, token);
    for (const token of [ADMIN, NEXT_ADMIN]) {
      const { version } = await fetchStatus();
      const response = await changeShare(token, { version, share: "12.5%" });
      const { changed_ms, ...changed } = await response.json();
      assert.deepEqual([response.status, changed.version, changed.share_basis_points, changed.killed], [200, version + 1, 1_250, false]);
      assert.ok(Math.abs(changed_ms - Date.now()) < TEST_TIMEOUT_MS);
      assert.deepEqual(await fetchStatus(), { changed_ms, ...changed });
    }
    for (const token of [VIEWER, NEXT_VIEWER]) {
      const { status, code } = await readError(await changeShare(token, { version: 2, share: "100%" }));
      assert.deepEqual([status, code], [403, "token_invalid"]);
    }
    assert.equal((await fetchStatus()).version, 2, "a viewer changed nothing");
  });

  test("is not shown without a valid token", async () => {
    const withoutToken = await requestStatus(undefined);
    assert.equal(withoutToken.headers.get("www-authenticate"), "Bearer");
    assert.deepEqual((await readError(withoutToken)).code, "token_missing");
    assert.equal(withoutToken.status, 401);
    const basic = await gateway.fetchAdmin("/v1/rollout", { headers: { authorization: `Basic ${btoa(`x:${VIEWER}`)}` } });
    assert.deepEqual([basic.status, (await readError(basic)).code], [401, "token_missing"]);
    for (const token of ["", "x", VIEWER.slice(1), `${VIEWER}s`, VIEWER.toUpperCase(), `${VIEWER}, ${NEXT_VIEWER}`, SECRETS.JEFFREY_SIGNING_KEY]) {
      const response = await requestStatus(token);
      // `Bearer ` loses its space on the way, and then does not count as a bearer token.
      const expected = token === "" ? [401, "token_missing"] : [403, "token_invalid"];
      assert.deepEqual([response.status, (await readError(response)).code], expected, token);
    }
    const statusBefore = await fetchStatus();
    assert.deepEqual((await readError(await changeShare(undefined, { version: statusBefore.version, share: "1%" }))).code, "token_missing");
    assert.deepEqual(await fetchStatus(), statusBefore);
  });

  test("accepts one change per version", async () => {
    const { version } = await fetchStatus();
    const responses = await Promise.all(["1%", "2%", "3%", "4%"].map((share) => changeShare(ADMIN, { version, share })));
    assert.deepEqual(responses.map(({ status }) => status).sort(), [200, 409, 409, 409]);
    for (const response of responses.filter(({ status }) => status === 409)) {
      const { code, message } = await readError(response);
      assert.equal(code, "version_conflict");
      assert.equal(message, `the change is for version ${version}, the release is at version ${version + 1}`);
    }
    const ahead = await readError(await changeShare(ADMIN, { version: version + 7, share: "1%" }));
    assert.deepEqual([ahead.status, ahead.code], [409, "version_conflict"]);
    assert.equal((await fetchStatus()).version, version + 1);
  });

  test("is not changed by an invalid body, and the error names the value and the limit", async () => {
    const statusBefore = await fetchStatus();
    const { version } = statusBefore;
    /** @type {[unknown, string, RegExp][]} */
    const table = [
      [{ version, share: "101%" }, "share_invalid", /^share 101% is above 100%$/],
      [{ version, share: "lots" }, "share_invalid", /^share `lots` is not a percentage such as 10% or 0\.25%$/],
      [{ version, share: "-1%" }, "share_invalid", /`-1%` is not a percentage/],
      [{ version, share: "0.125%" }, "share_invalid", /0\.125%/],
      [{ version, share: "" }, "share_invalid", /is not a percentage/],
      [{ version }, "change_empty", /neither `share` nor `killed`/],
      [{ share: "10%" }, "body_invalid", /version/],
      [{ version, share: 10 }, "body_invalid", /share/],
      [{ version, killed: "yes" }, "body_invalid", /killed/],
      [{ version, share: "10%", unknown: 1 }, "body_invalid", /body is not/],
      ["", "body_invalid", /body is not/],
      ["{", "body_invalid", /body is not/],
      ["[]", "body_invalid", /body is not/],
    ];
    for (const [body, code, message] of table) {
      const error = await readError(await changeShare(ADMIN, body));
      assert.deepEqual([error.status, error.code], [400, code], JSON.stringify(body));
      assert.match(error.message, message);
    }
    const large = await readError(await changeShare(ADMIN, JSON.stringify({ version, share: "1%" }) + " ".repeat(17_000)));
    assert.deepEqual([large.status, large.code], [413, "body_too_large"]);
    assert.deepEqual(await fetchStatus(), statusBefore);
  });

  test("other paths and methods below the prefix are refused and do not reach the legacy system", async () => {
    const requestCount = gateway.legacy.requests.length;
    /** @type {[string, string, number, string | null][]} */
    const table = [
      ["GET", "", 404, null],
      ["GET", "/", 404, null],
      ["GET", "/none", 404, null],
      ["GET", "/health/", 404, null],
      ["POST", "/v1/rollouts", 404, null],
      ["POST", "/ofrep/v1/evaluate/flags", 404, null],
      ["POST", "/health", 405, "GET"],
      ["PUT", "/v1/rollout", 405, "GET"],
      ["GET", "/v1/admin/share", 405, "PUT"],
      ["POST", "/v1/admin/share", 405, "PUT"],
      ["GET", "/ofrep/v1/evaluate/flags/e1-small", 405, "POST"],
    ];
    for (const [method, path, status, allow] of table) {
      const response = await gateway.fetchAdmin(path, { method, token: ADMIN });
      assert.deepEqual([response.status, response.headers.get("allow")], [status, allow], `${method} ${path}`);
      const { code } = await readError(response);
      assert.equal(code, status === 404 ? "not_found" : "method_not_allowed", `${method} ${path}`);
    }
    const head = await gateway.fetchAdmin("/health", { method: "HEAD" });
    assert.deepEqual([head.status, await head.text()], [200, ""]);
    assert.equal(gateway.legacy.requests.length, requestCount);
  });

  describe("for OpenFeature's client", () => {
    const context = (/** @type {string} */ targetingKey) => ({ targetingKey });
    before(async () => {
      await gateway.setShare({ share: "50%", killed: false });
      const headers = { authorization: `Bearer ${VIEWER}` };
      await OpenFeature.setProviderAndWait("gateway", new OFREPProvider({ baseUrl: `${gateway.origin}/_jeffrey`, headers }));
      await OpenFeature.setProviderAndWait("without-token", new OFREPProvider({ baseUrl: `${gateway.origin}/_jeffrey` }));
    });
    after(() => OpenFeature.close());

    test("gives the cohort of a classify request", async () => {
      const client = OpenFeature.getClient("gateway");
      const ids = Array.from({ length: 50 }, (_, number) => `${["user-", "Élodie ", "山田", "🙂"][number % 4]}${number}`);
      const cohorts = await mapInBatches(ids, async (user_id) => (await gateway.classify({ text: SAMPLE_TEXT, user_id })).cohort);
      assert.deepEqual(cohorts, expectedCohorts(ids, "50%"));
      const details = await mapInBatches(ids, (id) => client.getBooleanDetails("e1-small", false, context(id)));
      for (const [index, { value, variant, reason, flagMetadata, errorCode }] of details.entries()) {
        assert.deepEqual([value, variant, reason, errorCode], [cohorts[index] === "canary", cohorts[index], "SPLIT", undefined], ids[index]);
        assert.equal(flagMetadata.assignment_reason, "bucket");
        assert.equal(Number(flagMetadata.bucket) < 5_000, value, ids[index]);
      }
      assert.equal(await client.getBooleanValue("e1-small", false, context(ids[0])), cohorts[0] === "canary");
    });

    test("is DISABLED while the release is killed", async () => {
      await gateway.setShare({ killed: true });
      const { value, reason } = await OpenFeature.getClient("gateway").getBooleanDetails("e1-small", true, context("anyone"));
      assert.deepEqual([value, reason], [false, "DISABLED"]);
      await gateway.setShare({ killed: false });
    });

    test("is an OFREP error for an invalid evaluation, and the client uses its default", async () => {
      const client = OpenFeature.getClient("gateway");
      const long = context("x".repeat(257));
      for (const fallback of [true, false]) {
        const unknown = await client.getBooleanDetails("e2", fallback, context("anyone"));
        assert.deepEqual([unknown.value, unknown.reason, unknown.errorCode], [fallback, "ERROR", ErrorCode.FLAG_NOT_FOUND]);
        for (const withoutKey of [{}, context("")]) {
          const missing = await client.getBooleanDetails("e1-small", fallback, withoutKey);
          assert.deepEqual([missing.value, missing.errorCode], [fallback, ErrorCode.TARGETING_KEY_MISSING]);
        }
        assert.equal((await client.getBooleanDetails("e1-small", fallback, long)).errorCode, ErrorCode.INVALID_CONTEXT);
        const unauthorized = await OpenFeature.getClient("without-token").getBooleanDetails("e1-small", fallback, context("anyone"));
        assert.deepEqual([unauthorized.value, unauthorized.reason], [fallback, "ERROR"]);
      }
      assert.equal((await client.getStringDetails("e1-small", "x", context("anyone"))).errorCode, ErrorCode.TYPE_MISMATCH);
      const evaluate = (/** @type {string} */ body) => gateway.fetchAdmin("/ofrep/v1/evaluate/flags/e1-small", { method: "POST", token: VIEWER, body });
      const malformed = await evaluate("{");
      const { key, errorCode } = await malformed.json();
      assert.deepEqual([malformed.status, key, errorCode], [400, "e1-small", "PARSE_ERROR"]);
      const withoutToken = await gateway.fetchAdmin("/ofrep/v1/evaluate/flags/e1-small", { method: "POST", body: "{}" });
      assert.deepEqual([withoutToken.status, (await readError(withoutToken)).code], [401, "token_missing"]);
    });
  });
});

test("without tokens the status and admin endpoints are off, and with another ADMIN_PREFIX the default paths are the legacy system's", { timeout: TEST_TIMEOUT_MS }, async () => {
  const { prefixed: gateway } = session.gateways;
  const health = await gateway.fetchAdmin("/health");
  assert.deepEqual([health.status, (await health.json()).status], [200, "ok"]);
  /** @type {[string, string, string][]} */
  const table = [
    ["GET", "/v1/rollout", "JEFFREY_VIEWER_TOKEN"],
    ["PUT", "/v1/admin/share", "JEFFREY_ADMIN_TOKEN"],
    ["POST", "/ofrep/v1/evaluate/flags/e1-small", "JEFFREY_VIEWER_TOKEN"],
  ];
  for (const [method, path, variable] of table) {
    for (const token of [undefined, "x", ADMIN]) {
      const { status, code, message } = await readError(await gateway.fetchAdmin(path, { method, token }));
      assert.deepEqual([status, code], [403, "switched_off"], path);
      assert.ok(message.includes(variable), message);
    }
  }
  for (const path of ["/_jeffrey/health", "/gateway/admin-not", "/gateway"]) {
    const response = await fetch(gateway.origin + path);
    assert.deepEqual([response.status, /Page introuvable/.test(await response.text())], [404, true], path);
  }
});

describe("two gateways with one release state", { timeout: TEST_TIMEOUT_MS }, () => {
  /** Limit from a change to a gateway's last canary response: 5 s of the cached share, and one response. */
  const CHANGE_APPLIED_MS_MAX = 6_000;
  const SECOND_GATEWAY = { "x-test-gateway": "two" };
  const user_id = "anyone";
  /** @type {Gateway} */
  let gateway;
  before(() => {
    gateway = session.gateways.paired;
  });

  /** Sends classify requests to both gateways until each responds with this cohort. @param {string} cohort */
  async function waitForBoth(cohort) {
    for (const headers of /** @type {Record<string, string>[]} */ ([{}, SECOND_GATEWAY])) {
      const deadline = Date.now() + 60_000;
      while ((await gateway.classify({ text: SAMPLE_TEXT, user_id }, headers)).cohort !== cohort) assert.ok(Date.now() < deadline, `never ${cohort}`);
    }
  }

  // These tests assert a time because the gateway promises it: from a change to the last canary response.
  for (const [name, change, changeHeaders] of /** @type {[string, object, Record<string, string>][]} */ ([
    ["a share of 0 %", { share: "0%" }, {}],
    ["a kill through the second gateway", { killed: true }, SECOND_GATEWAY],
  ])) {
    test(`after ${name}, both gateways send their last canary response within ${CHANGE_APPLIED_MS_MAX / 1_000} s`, async () => {
      await gateway.setShare({ share: "100%", killed: false });
      await waitForBoth("canary");
      await gateway.setShare(change, changeHeaders);
      const changedAt = Date.now();
      const results = await Promise.all(/** @type {Record<string, string>[]} */ ([{}, SECOND_GATEWAY]).map(async (headers) => {
        const result = { canary: 0, stable: 0 };
        while (Date.now() < changedAt + 10_000) {
          const { status, cohort } = await gateway.classify({ text: SAMPLE_TEXT, user_id }, headers);
          assert.equal(status, 200);
          if (cohort === "canary") result.canary = Date.now() - changedAt;
          else result.stable += 1;
          // Interval between two requests; the test does not wait for anything.
          await new Promise((resolve) => setTimeout(resolve, 100));
        }
        return result;
      }));
      const [firstMs, secondMs] = results.map(({ canary }) => canary);
      console.log(`last canary response after ${name}: ${firstMs} ms and ${secondMs} ms`);
      for (const { canary, stable } of results) {
        assert.ok(canary <= CHANGE_APPLIED_MS_MAX, `a canary response ${canary} ms after the change`);
        assert.ok(stable > 0);
      }
    });
  }

  test("an idle gateway also applies the change within the limit", async () => {
    await gateway.setShare({ share: "100%", killed: false });
    await waitForBoth("canary");
    await gateway.setShare({ share: "0%" });
    const changedAt = Date.now();
    // The second gateway gets no request until the limit is over.
    await new Promise((resolve) => setTimeout(resolve, CHANGE_APPLIED_MS_MAX + 500));
    const { cohort } = await gateway.classify({ text: SAMPLE_TEXT, user_id }, SECOND_GATEWAY);
    assert.equal(cohort, "stable", `answered by the model ${Date.now() - changedAt} ms after the change`);
  });
});

test("without its rollout object a gateway keeps the last share for 30 s, then is stable until the object is back", { timeout: TEST_TIMEOUT_MS }, async () => {
  const CACHED_SHARE_MS = 30_000;
  const { unreachable: gateway } = session.gateways;
  const fetchEvent = async () => (await classifyWithEvent(gateway, { text: SAMPLE_TEXT, user_id: "anyone" })).event;
  await gateway.setShare({ share: "50%" });
  await gateway.setShare({ share: "100%" });
  const eventBefore = await fetchEvent();
  assert.deepEqual([eventBefore.cohort, eventBefore.reason], ["canary", "bucket"]);
  await fetch(`${gateway.origin}/rollout-away`);
  const lostAt = Date.now();
  const statusError = await readError(await gateway.fetchAdmin("/v1/rollout", { token: VIEWER }));
  assert.deepEqual([statusError.status, statusError.code], [503, "rollout_unavailable"]);
  const changeError = await readError(await gateway.fetchAdmin("/v1/admin/share", { token: ADMIN, method: "PUT", body: '{"version":2,"share":"1%"}' }));
  assert.deepEqual([changeError.status, changeError.code], [503, "rollout_unavailable"]);
  const canaryEvents = [eventBefore];
  const disabled = await waitFor(async () => {
    const event = await fetchEvent();
    if (event.reason === "disabled") return event;
    assert.deepEqual([event.cohort, event.reason, event.is_evidence, event.status], ["canary", "bucket", true, 200]);
    canaryEvents.push(event);
  });
  // The cached share is at least as old as the loss of the object, and at most 5 s older than the last
  // response before it. The speed of the machine does not move these bounds.
  const lastMs = canaryEvents[canaryEvents.length - 1].time_ms;
  assert.ok(lastMs < lostAt + CACHED_SHARE_MS, `canary ${lastMs - lostAt} ms after the object was lost`);
  assert.ok(disabled.time_ms >= eventBefore.time_ms + CACHED_SHARE_MS - 7_000, `disabled ${disabled.time_ms - eventBefore.time_ms} ms after the last event`);
  assert.deepEqual([disabled.cohort, disabled.is_evidence, disabled.destination, disabled.status], ["stable", false, "stable", 200]);
  assert.equal((await (await gateway.fetchAdmin("/health")).json()).disabled, true);
  await fetch(`${gateway.origin}/rollout-back`);
  const recovered = await waitFor(async () => {
    const event = await fetchEvent();
    return event.cohort === "canary" && event;
  });
  assert.deepEqual([recovered.reason, recovered.is_evidence], ["bucket", true]);
});

test("the legacy system answers a subject above its rate limit, and the calls are no evidence", { timeout: TEST_TIMEOUT_MS }, async () => {
  const { limited: gateway } = session.gateways;
  const sendRequests = async (/** @type {string} */ user_id, /** @type {number} */ count) => {
    const statuses = [];
    for (let number = 0; number < count; number += 1) statuses.push((await gateway.classify({ text: SAMPLE_TEXT, user_id })).status);
    return statuses;
  };
  const countBefore = gateway.events().length;
  // Ten calls take less than ten seconds, so they fall into at most two periods, and more than three into one.
  assert.deepEqual(new Set(await sendRequests("eager", 10)), new Set([200]));
  const events = (await gateway.waitForEvents(countBefore + 10)).slice(countBefore);
  const limited = events.filter(({ reason }) => reason === "rate_limited");
  assert.ok(limited.length > 0 && limited.length <= 7, events.map(({ reason }) => reason).join());
  for (const event of limited) assert.deepEqual([event.cohort, event.destination, event.is_evidence], ["stable", "stable", false]);
  assert.deepEqual(await sendRequests("calm", 2), [200, 200]);
  const calm = (await gateway.waitForEvents(countBefore + 12)).slice(countBefore + 10);
  assert.deepEqual(calm.map(({ reason }) => reason), ["bucket", "bucket"]);
  assert.equal((await fetch(`${gateway.origin}/private`)).status, 200, "a page is not limited");
  const unlimited = await startGateway({ RATE_LIMITING: "off" }, { configure: lowerLimit(100), model: "none" });
  try {
    await mapInBatches(Array.from({ length: 20 }), () => unlimited.classify({ text: SAMPLE_TEXT, user_id: "eager" }));
    assert.deepEqual([...new Set((await unlimited.waitForEvents(20)).map(({ reason }) => reason))], ["bucket"]);
  } finally {
    await unlimited.stop();
  }
});

test("one address is limited across its user ids, and another address is not", { timeout: TEST_TIMEOUT_MS }, async () => {
  const gateway = await startGateway({ RATE_LIMITING: "on" }, { configure: lowerLimit(2000), model: "none" });
  try {
    // `wrangler dev` accepts the address that a client sends; Cloudflare does not.
    const fromAddress = (/** @type {string} */ address) => ({ "cf-connecting-ip": address });
    let userCount = 0;
    const isLimited = async (/** @type {string} */ address) => {
      const countBefore = gateway.events().length;
      const { status } = await gateway.classify({ text: SAMPLE_TEXT, user_id: `user-${(userCount += 1)}` }, fromAddress(address));
      assert.equal(status, 200, address);
      const event = (await gateway.waitForEvents(countBefore + 1))[countBefore];
      return event.reason === "rate_limited";
    };
    const isFeedbackLimited = async (/** @type {string} */ address) => {
      const headers = { "x-user-id": `user-${(userCount += 1)}`, ...fromAddress(address) };
      const response = await gateway.fetchAdmin("/v1/feedback", { method: "POST", headers, body: '{"id":"AAAA","ok":true}' });
      await response.body?.cancel();
      if (response.status === 429) assert.equal(response.headers.get("retry-after"), "10");
      else assert.equal(response.status, 400);
      return response.status === 429;
    };
    /** @type {[(address: string) => Promise<boolean>, string, string, string][]} */
    const table = [
      [isLimited, "192.0.2.1", "192.0.2.1", "192.0.2.2"],
      // Two addresses with the same first 64 bits.
      [isLimited, "2001:db8:0:1::1", "2001:db8:0:1:a:b:c:d", "2001:db8:0:2::1"],
      [isFeedbackLimited, "192.0.2.3", "192.0.2.3", "192.0.2.4"],
    ];
    for (const [send, first, same, other] of table) {
      // Ten calls fall into at most two periods of ten seconds, and more than three into one.
      const limited = [];
      for (let number = 0; number < 10; number += 1) limited.push(await send(number % 2 ? same : first));
      assert.deepEqual(limited.slice(0, 3), [false, false, false]);
      assert.ok(limited.includes(true), limited.join());
      assert.equal(await send(other), false, other);
    }
  } finally {
    await gateway.stop();
  }
});
