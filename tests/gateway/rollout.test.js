// The status of a release: its access rules, the time that a change takes, evaluation by OpenFeature; and rate limits.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { OFREPProvider } from "@openfeature/ofrep-provider";
import { ErrorCode, OpenFeature } from "@openfeature/server-sdk";
import { PATIENCE_MS, SECRETS, startGateway, startGateways, until } from "../support/gateway.js";
import { TEXT, buckets, call, each } from "../support/gateway-calls.js";

/** @typedef {import("../support/gateway-calls.js").Gate} Gate */

const VIEWER = SECRETS.JEFFREY_VIEWER_TOKEN;
const ADMIN = SECRETS.JEFFREY_ADMIN_TOKEN;
const [NEXT_VIEWER, NEXT_ADMIN] = ["the next viewer of the tests", "the next admin of the tests"];

/** Changes a rate limit to 3 calls in ten seconds. @param {number} limit in `wrangler.toml` */
const limited = (limit) => (/** @type {string} */ toml) => {
  assert.ok(toml.includes(`limit = ${limit},`), "wrangler.toml has another limit");
  return toml.replace(`limit = ${limit},`, "limit = 3,");
};

// Only a session's first gateway has rate limits, so the tests of rate limits start two more sessions.
const begin = () => startGateways({
  limited: [{ RATE_LIMITS: "on" }, { configure: limited(100), model: "none" }],
  standing: [{ INITIAL_SHARE: "50%", JEFFREY_VIEWER_TOKEN: `${VIEWER}, ${NEXT_VIEWER}`, JEFFREY_ADMIN_TOKEN: `${ADMIN},${NEXT_ADMIN}` }],
  elsewhere: [{ JEFFREY_VIEWER_TOKEN: "", JEFFREY_ADMIN_TOKEN: "", ADMIN_PREFIX: "/gate/of-ours" }, { model: "none" }],
  paired: [{}, { two: true }],
  unreachable: [{}, { rollout: "faulty", model: "none" }],
});
/** @type {Awaited<ReturnType<typeof begin>>} */
let session;
before(async () => {
  session = await begin();
});
after(() => session?.stop());

/** Status, code and message of the gateway's own error, after a check of its format. @param {Response} response */
async function refused(response) {
  const body = await response.json();
  assert.deepEqual([Object.keys(body), Object.keys(body.error)], [["error"], ["code", "message"]]);
  assert.equal(response.headers.get("content-type"), "application/json");
  assert.equal(response.headers.get("cache-control"), "no-store");
  return { status: response.status, ...body.error };
}

describe("the status of a release", { timeout: PATIENCE_MS }, () => {
  /** @type {Gate} */
  let gate;
  before(() => {
    gate = session.gates.standing;
  });

  const read = (/** @type {string | undefined} */ token) => gate.own("/v1/rollout", { token });
  const write = (/** @type {string | undefined} */ token, /** @type {unknown} */ body) =>
    gate.own("/v1/admin/share", { token, method: "PUT", body: typeof body === "string" ? body : JSON.stringify(body) });
  const standing = async () => (await read(VIEWER)).json();

  test("is read by viewers and admins and changed only by admins, with either token of a rotation", async () => {
    const untouched = { share_basis_points: 5_000, killed: false, changed_ms: 0, hard_failures: 0, last_hard_failure: null, message: "e1-small at 50.00%: no active plan", message_fr: "e1-small à 50,00 % : aucun plan actif", allowed_commands: ["start"], rollout: null, figures: null };
    assert.deepEqual(await standing(), { release: "e1-small", version: 0, ...untouched });
    for (const token of [VIEWER, NEXT_VIEWER, ADMIN, NEXT_ADMIN]) assert.equal((await read(token)).status, 200, token);
    for (const token of [ADMIN, NEXT_ADMIN]) {
      const { version } = await standing();
      const response = await write(token, { version, share: "12.5%" });
      const { changed_ms, ...changed } = await response.json();
      assert.deepEqual([response.status, changed.version, changed.share_basis_points, changed.killed], [200, version + 1, 1_250, false]);
      assert.ok(Math.abs(changed_ms - Date.now()) < PATIENCE_MS);
      assert.deepEqual(await standing(), { changed_ms, ...changed });
    }
    for (const token of [VIEWER, NEXT_VIEWER]) {
      const { status, code } = await refused(await write(token, { version: 2, share: "100%" }));
      assert.deepEqual([status, code], [403, "token_invalid"]);
    }
    assert.equal((await standing()).version, 2, "a viewer changed nothing");
  });

  test("is not shown without a valid token", async () => {
    const bare = await read(undefined);
    assert.equal(bare.headers.get("www-authenticate"), "Bearer");
    assert.deepEqual((await refused(bare)).code, "token_missing");
    assert.equal(bare.status, 401);
    const basic = await gate.own("/v1/rollout", { headers: { authorization: `Basic ${btoa(`x:${VIEWER}`)}` } });
    assert.deepEqual([basic.status, (await refused(basic)).code], [401, "token_missing"]);
    for (const token of ["", "x", VIEWER.slice(1), `${VIEWER}s`, VIEWER.toUpperCase(), `${VIEWER}, ${NEXT_VIEWER}`, SECRETS.JEFFREY_KEY]) {
      const response = await read(token);
      // `Bearer ` loses its space on the way, and then does not count as a bearer token.
      const expected = token === "" ? [401, "token_missing"] : [403, "token_invalid"];
      assert.deepEqual([response.status, (await refused(response)).code], expected, token);
    }
    const before = await standing();
    assert.deepEqual((await refused(await write(undefined, { version: before.version, share: "1%" }))).code, "token_missing");
    assert.deepEqual(await standing(), before);
  });

  test("accepts one change per version", async () => {
    const { version } = await standing();
    const answers = await Promise.all(["1%", "2%", "3%", "4%"].map((share) => write(ADMIN, { version, share })));
    assert.deepEqual(answers.map(({ status }) => status).sort(), [200, 409, 409, 409]);
    for (const answer of answers.filter(({ status }) => status === 409)) {
      const { code, message } = await refused(answer);
      assert.equal(code, "version_conflict");
      assert.equal(message, `the change is for version ${version}, the release is at version ${version + 1}`);
    }
    const late = await refused(await write(ADMIN, { version: version + 7, share: "1%" }));
    assert.deepEqual([late.status, late.code], [409, "version_conflict"]);
    assert.equal((await standing()).version, version + 1);
  });

  test("is not changed by an invalid body, and the error names the value and the limit", async () => {
    const before = await standing();
    const { version } = before;
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
      const found = await refused(await write(ADMIN, body));
      assert.deepEqual([found.status, found.code], [400, code], JSON.stringify(body));
      assert.match(found.message, message);
    }
    const large = await refused(await write(ADMIN, JSON.stringify({ version, share: "1%" }) + " ".repeat(17_000)));
    assert.deepEqual([large.status, large.code], [413, "body_too_large"]);
    assert.deepEqual(await standing(), before);
  });

  test("other paths and methods below the prefix are refused and do not reach the legacy system", async () => {
    const asked = gate.legacy.requests.length;
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
      const response = await gate.own(path, { method, token: ADMIN });
      assert.deepEqual([response.status, response.headers.get("allow")], [status, allow], `${method} ${path}`);
      const { code } = await refused(response);
      assert.equal(code, status === 404 ? "not_found" : "method_not_allowed", `${method} ${path}`);
    }
    const head = await gate.own("/health", { method: "HEAD" });
    assert.deepEqual([head.status, await head.text()], [200, ""]);
    assert.equal(gate.legacy.requests.length, asked);
  });

  describe("for OpenFeature's client", () => {
    const context = (/** @type {string} */ targetingKey) => ({ targetingKey });
    before(async () => {
      await gate.change({ share: "50%", killed: false });
      const headers = { authorization: `Bearer ${VIEWER}` };
      await OpenFeature.setProviderAndWait("gate", new OFREPProvider({ baseUrl: `${gate.origin}/_jeffrey`, headers }));
      await OpenFeature.setProviderAndWait("stranger", new OFREPProvider({ baseUrl: `${gate.origin}/_jeffrey` }));
    });
    after(() => OpenFeature.close());

    test("gives the cohort of a classify request", async () => {
      const client = OpenFeature.getClient("gate");
      const ids = Array.from({ length: 50 }, (_, number) => `${["user-", "Élodie ", "山田", "🙂"][number % 4]}${number}`);
      const cohorts = await each(ids, async (user_id) => (await gate.classify({ text: TEXT, user_id })).cohort);
      assert.deepEqual(cohorts, buckets(ids, "50%"));
      const details = await each(ids, (id) => client.getBooleanDetails("e1-small", false, context(id)));
      for (const [at, { value, variant, reason, flagMetadata, errorCode }] of details.entries()) {
        assert.deepEqual([value, variant, reason, errorCode], [cohorts[at] === "canary", cohorts[at], "SPLIT", undefined], ids[at]);
        assert.equal(flagMetadata.assignment_reason, "bucket");
        assert.equal(Number(flagMetadata.bucket) < 5_000, value, ids[at]);
      }
      assert.equal(await client.getBooleanValue("e1-small", false, context(ids[0])), cohorts[0] === "canary");
    });

    test("is DISABLED while the release is killed", async () => {
      await gate.change({ killed: true });
      const { value, reason } = await OpenFeature.getClient("gate").getBooleanDetails("e1-small", true, context("anyone"));
      assert.deepEqual([value, reason], [false, "DISABLED"]);
      await gate.change({ killed: false });
    });

    test("is an OFREP error for an invalid evaluation, and the client uses its default", async () => {
      const client = OpenFeature.getClient("gate");
      const long = context("x".repeat(257));
      for (const fallback of [true, false]) {
        const unknown = await client.getBooleanDetails("e2", fallback, context("anyone"));
        assert.deepEqual([unknown.value, unknown.reason, unknown.errorCode], [fallback, "ERROR", ErrorCode.FLAG_NOT_FOUND]);
        for (const nobody of [{}, context("")]) {
          const missing = await client.getBooleanDetails("e1-small", fallback, nobody);
          assert.deepEqual([missing.value, missing.errorCode], [fallback, ErrorCode.TARGETING_KEY_MISSING]);
        }
        assert.equal((await client.getBooleanDetails("e1-small", fallback, long)).errorCode, ErrorCode.INVALID_CONTEXT);
        const stranger = await OpenFeature.getClient("stranger").getBooleanDetails("e1-small", fallback, context("anyone"));
        assert.deepEqual([stranger.value, stranger.reason], [fallback, "ERROR"]);
      }
      assert.equal((await client.getStringDetails("e1-small", "x", context("anyone"))).errorCode, ErrorCode.TYPE_MISMATCH);
      const ask = (/** @type {string} */ body) => gate.own("/ofrep/v1/evaluate/flags/e1-small", { method: "POST", token: VIEWER, body });
      const garbled = await ask("{");
      const { key, errorCode } = await garbled.json();
      assert.deepEqual([garbled.status, key, errorCode], [400, "e1-small", "PARSE_ERROR"]);
      const bare = await gate.own("/ofrep/v1/evaluate/flags/e1-small", { method: "POST", body: "{}" });
      assert.deepEqual([bare.status, (await refused(bare)).code], [401, "token_missing"]);
    });
  });
});

test("without tokens the status and admin endpoints are off, and with another ADMIN_PREFIX the default paths are the legacy system's", { timeout: PATIENCE_MS }, async () => {
  const { elsewhere: gate } = session.gates;
  const health = await gate.own("/health");
  assert.deepEqual([health.status, (await health.json()).status], [200, "ok"]);
  /** @type {[string, string, string][]} */
  const table = [
    ["GET", "/v1/rollout", "JEFFREY_VIEWER_TOKEN"],
    ["PUT", "/v1/admin/share", "JEFFREY_ADMIN_TOKEN"],
    ["POST", "/ofrep/v1/evaluate/flags/e1-small", "JEFFREY_VIEWER_TOKEN"],
  ];
  for (const [method, path, variable] of table) {
    for (const token of [undefined, "x", ADMIN]) {
      const { status, code, message } = await refused(await gate.own(path, { method, token }));
      assert.deepEqual([status, code], [403, "switched_off"], path);
      assert.ok(message.includes(variable), message);
    }
  }
  for (const path of ["/_jeffrey/health", "/gate/of-ours-not", "/gate"]) {
    const response = await fetch(gate.origin + path);
    assert.deepEqual([response.status, /Rien ici/.test(await response.text())], [404, true], path);
  }
});

describe("two gateways with one release state", { timeout: PATIENCE_MS }, () => {
  /** Limit from a change to a gateway's last canary response: 5 s of the cached share, and one response. */
  const HEARD_MS = 6_000;
  const TWO = { "x-gate": "two" };
  const user_id = "anyone";
  /** @type {Gate} */
  let gate;
  before(() => {
    gate = session.gates.paired;
  });

  /** Asks both gateways until each answers with this cohort. @param {string} cohort */
  async function both(cohort) {
    for (const headers of /** @type {Record<string, string>[]} */ ([{}, TWO])) {
      const end = Date.now() + 60_000;
      while ((await gate.classify({ text: TEXT, user_id }, headers)).cohort !== cohort) assert.ok(Date.now() < end, `never ${cohort}`);
    }
  }

  // These tests assert a time because the gateway promises it: from a change to the last canary response.
  for (const [name, share, through] of /** @type {[string, object, Record<string, string>][]} */ ([
    ["a share of 0 %", { share: "0%" }, {}],
    ["a kill through the second gateway", { killed: true }, TWO],
  ])) {
    test(`after ${name}, both gateways send their last canary response within ${HEARD_MS / 1_000} s`, async () => {
      await gate.change({ share: "100%", killed: false });
      await both("canary");
      await gate.change(share, through);
      const changed = Date.now();
      const last = await Promise.all(/** @type {Record<string, string>[]} */ ([{}, TWO]).map(async (headers) => {
        const seen = { canary: 0, stable: 0 };
        while (Date.now() < changed + 10_000) {
          const { status, cohort } = await gate.classify({ text: TEXT, user_id }, headers);
          assert.equal(status, 200);
          if (cohort === "canary") seen.canary = Date.now() - changed;
          else seen.stable += 1;
          // Interval between two requests; the test does not wait for anything.
          await new Promise((resolve) => setTimeout(resolve, 100));
        }
        return seen;
      }));
      const [here, there] = last.map(({ canary }) => canary);
      console.log(`last canary response after ${name}: ${here} ms and ${there} ms`);
      for (const { canary, stable } of last) {
        assert.ok(canary <= HEARD_MS, `a canary answer ${canary} ms after the change`);
        assert.ok(stable > 0);
      }
    });
  }

  test("an idle gateway also applies the change within the limit", async () => {
    await gate.change({ share: "100%", killed: false });
    await both("canary");
    await gate.change({ share: "0%" });
    const changed = Date.now();
    // The second gateway gets no request until the limit is over.
    await new Promise((resolve) => setTimeout(resolve, HEARD_MS + 500));
    const { cohort } = await gate.classify({ text: TEXT, user_id }, TWO);
    assert.equal(cohort, "stable", `answered by the model ${Date.now() - changed} ms after the change`);
  });
});

test("without its rollout object a gateway keeps the last share for 30 s, then is stable until the object is back", { timeout: PATIENCE_MS }, async () => {
  const KEPT_MS = 30_000;
  const { unreachable: gate } = session.gates;
  const by = async () => (await call(gate, { text: TEXT, user_id: "anyone" })).event;
  await gate.change({ share: "50%" });
  await gate.change({ share: "100%" });
  const heard = await by();
  assert.deepEqual([heard.cohort, heard.reason], ["canary", "bucket"]);
  await fetch(`${gate.origin}/rollout-away`);
  const away = Date.now();
  const read = await refused(await gate.own("/v1/rollout", { token: VIEWER }));
  assert.deepEqual([read.status, read.code], [503, "rollout_unavailable"]);
  const change = await refused(await gate.own("/v1/admin/share", { token: ADMIN, method: "PUT", body: '{"version":2,"share":"1%"}' }));
  assert.deepEqual([change.status, change.code], [503, "rollout_unavailable"]);
  const kept = [heard];
  const closed = await until(async () => {
    const event = await by();
    if (event.reason === "disabled") return event;
    assert.deepEqual([event.cohort, event.reason, event.is_evidence, event.status], ["canary", "bucket", true, 200]);
    kept.push(event);
  });
  // The cached share is at least as old as the loss of the object, and at most 5 s older than the last
  // response before it. The speed of the machine does not move these bounds.
  const last = kept[kept.length - 1].time_ms;
  assert.ok(last < away + KEPT_MS, `canary ${last - away} ms after the object was lost`);
  assert.ok(closed.time_ms >= heard.time_ms + KEPT_MS - 7_000, `closed ${closed.time_ms - heard.time_ms} ms after the last word`);
  assert.deepEqual([closed.cohort, closed.is_evidence, closed.destination, closed.status], ["stable", false, "stable", 200]);
  assert.equal((await (await gate.own("/health")).json()).disabled, true);
  await fetch(`${gate.origin}/rollout-back`);
  const back = await until(async () => {
    const event = await by();
    return event.cohort === "canary" && event;
  });
  assert.deepEqual([back.reason, back.is_evidence], ["bucket", true]);
});

test("a subject above its rate limit gets 429 with Retry-After, and another subject does not", { timeout: PATIENCE_MS }, async () => {
  const { limited: gate } = session.gates;
  const statuses = async (/** @type {string} */ user_id, /** @type {number} */ count) => {
    const answers = [];
    for (let number = 0; number < count; number += 1) answers.push(await gate.classify({ text: TEXT, user_id }));
    return answers;
  };
  // Ten calls take less than ten seconds, so they fall into at most two periods, and more than three into one.
  const many = await statuses("eager", 10);
  const refused = many.filter(({ status }) => status === 429);
  assert.ok(refused.length > 0, many.map(({ status }) => status).join());
  assert.deepEqual(many.slice(0, 3).map(({ status }) => status), [200, 200, 200]);
  for (const { headers, json } of refused) {
    assert.equal(headers.get("retry-after"), "10");
    assert.equal(headers.get("content-type"), "application/json");
    assert.equal(json.error.code, "too_many_requests");
    assert.match(json.error.message, /10 seconds/);
    assert.equal(headers.get("x-jeffrey-id"), null, "nothing was answered");
  }
  assert.deepEqual((await statuses("calm", 2)).map(({ status }) => status), [200, 200]);
  assert.equal((await fetch(`${gate.origin}/private`)).status, 200, "a page");
  const asked = gate.legacy.requests.filter(({ url }) => url === "/predict").length;
  assert.equal(asked, many.length - refused.length + 2, "what is refused goes nowhere");
  const unlimited = await startGateway({ RATE_LIMITS: "off" }, { configure: limited(100), model: "none" });
  try {
    const answers = await each(Array.from({ length: 20 }), () => unlimited.classify({ text: TEXT, user_id: "eager" }));
    assert.deepEqual([...new Set(answers.map(({ status }) => status))], [200]);
  } finally {
    await unlimited.stop();
  }
});

test("one address is limited across its user ids, and another address is not", { timeout: PATIENCE_MS }, async () => {
  const gate = await startGateway({ RATE_LIMITS: "on" }, { configure: limited(2000), model: "none" });
  try {
    // `wrangler dev` accepts the address that a client sends; Cloudflare does not.
    const from = (/** @type {string} */ address) => ({ "cf-connecting-ip": address });
    let user = 0;
    const classify = async (/** @type {string} */ address) => {
      const { status, headers } = await gate.classify({ text: TEXT, user_id: `user-${(user += 1)}` }, from(address));
      return { status, headers };
    };
    const judge = async (/** @type {string} */ address) => {
      const headers = { "x-user-id": `user-${(user += 1)}`, ...from(address) };
      const response = await gate.own("/v1/feedback", { method: "POST", headers, body: '{"id":"AAAA","ok":true}' });
      await response.body?.cancel();
      return response;
    };
    /** @type {[(address: string) => Promise<{ status: number, headers: Headers }>, number, string, string, string][]} */
    const table = [
      [classify, 200, "192.0.2.1", "192.0.2.1", "192.0.2.2"],
      // Two addresses with the same first 64 bits.
      [classify, 200, "2001:db8:0:1::1", "2001:db8:0:1:a:b:c:d", "2001:db8:0:2::1"],
      [judge, 400, "192.0.2.3", "192.0.2.3", "192.0.2.4"],
    ];
    for (const [ask, well, first, same, other] of table) {
      // Ten calls fall into at most two periods of ten seconds, and more than three into one.
      const answers = [];
      for (let number = 0; number < 10; number += 1) answers.push(await ask(number % 2 ? same : first));
      const refused = answers.filter(({ status }) => status === 429);
      assert.ok(refused.length > 0, answers.map(({ status }) => status).join());
      for (const { headers } of refused) assert.equal(headers.get("retry-after"), "10");
      assert.deepEqual(answers.slice(0, 3).map(({ status }) => status), [well, well, well]);
      assert.equal((await ask(other)).status, well, other);
    }
  } finally {
    await gate.stop();
  }
});
