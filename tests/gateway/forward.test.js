// Requests and responses through the gateway, compared byte for byte and header by header with those of
// the legacy system, in a real `wrangler dev`.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { after, before, describe, test } from "node:test";
import { PATHS } from "../../mock-legacy/paths.js";
import { waitForEvent } from "../support/gateway-calls.js";
import { TEST_TIMEOUT_MS, startGateways, waitFor } from "../support/gateway.js";
import { freePorts } from "../support/ports.js";
import { fetchRaw, headerValues } from "../support/raw-http.js";

/** @typedef {import("../support/gateway.js").Gateway} Gateway */
/** @typedef {import("../support/raw-http.js").RawResponse} RawResponse */
/** @typedef {Parameters<typeof fetchRaw>[2]} Options */

const JSON_TYPE = "application/json";
const BODY = JSON.stringify({ text: "Je suis furieux", user_id: "u-1" });

/** Headers of a single connection (RFC 9110, section 7.6.1), and the date. */
const CONNECTION_HEADERS = ["connection", "keep-alive", "upgrade", "date"];

/** Headers that the gateway adds to the response to a classify request. */
const GATEWAY_HEADERS = ["x-jeffrey-id", "x-jeffrey-cohort", "x-jeffrey-release", "server-timing"];

/** The parts of a response that a client can see. @param {RawResponse} reply @param {string[]} [ignored] */
function comparable({ status, message, headers, body }, ignored = []) {
  // The proxy of `wrangler dev` rewrites pages for its live reload: it drops the length and sends
  // chunks. The bytes stay the same, and so does the length in a response to HEAD.
  const html = headers.some(([name, value]) => name === "content-type" && value.startsWith("text/html"));
  const dropped = [...CONNECTION_HEADERS, ...ignored, ...(html ? ["content-length", "transfer-encoding"] : [])];
  const visible = headers.filter(([name]) => !dropped.includes(name)).map(([name, value]) => `${name}: ${value}`);
  return { status, message, headers: visible.sort(), body: body.toString("latin1") };
}

/** Sends a request to the legacy system and to the gateway, asserts equal responses, and returns the gateway's. @param {Gateway} gateway @param {string} path @param {Options} [options] @param {string[]} [ignored] */
async function assertSame(gateway, path, options, ignored = []) {
  const direct = await fetchRaw(gateway.legacy.origin, path, options);
  const proxied = await fetchRaw(gateway.origin, path, options);
  assert.deepEqual(comparable(proxied, ignored), comparable(direct, ignored), `${options?.method ?? "GET"} ${path} ${JSON.stringify(options?.headers ?? {})}`);
  return proxied;
}

/** The last request that reached the legacy system, with header names in lower case. @param {Gateway} gateway */
function lastLegacyRequest(gateway) {
  const { method, url, headers, body_bytes } = gateway.legacy.requests.at(-1) ?? assert.fail("no request reached the legacy system");
  return { method, url, body_bytes, headers: headers.map(([name, value]) => `${name.toLowerCase()}: ${value}`).sort() };
}

/** Headers that every forwarded request gets; the platform adds `CF-Worker`. @param {Gateway} gateway */
const addedHeaders = (gateway) => ({
  "cf-worker": `${gateway.worker}.example.com`,
  host: new URL(gateway.legacy.origin).host,
  via: "1.1 jeffrey-edge",
  "x-forwarded-for": "127.0.0.1",
  "x-forwarded-host": new URL(gateway.origin).host,
  "x-forwarded-proto": "http",
});

/** @param {Record<string, string>} headers */
const headerLines = (headers) => Object.entries(headers).map(([name, value]) => `${name}: ${value}`).sort();

/** @param {Gateway} gateway @param {Options} options */
const classify = (gateway, options = {}) =>
  fetchRaw(gateway.origin, "/predict", { method: "POST", body: BODY, ...options, headers: { "content-type": JSON_TYPE, ...options.headers } });

/** @param {Gateway} gateway @param {RawResponse} response */
const waitForResponseEvent = (gateway, response) => waitForEvent(gateway, { headers: new Headers(response.headers) });

/** Status and code of the gateway's own error. @param {RawResponse} response */
function errorOf(response) {
  assert.deepEqual(headerValues(response, "content-type"), [JSON_TYPE]);
  const { error } = JSON.parse(response.body.toString());
  assert.deepEqual([Object.keys(error), typeof error.message], [["code", "message"], "string"]);
  return [response.status, error.code];
}

const startSession = async () => startGateways({
  // Only `wrangler dev` is in front of this one.
  plain: [{ INITIAL_SHARE: "0%" }, { model: "none" }],
  proxied: [{ INITIAL_SHARE: "0%" }, { model: "none", replica: true }],
  unreachable: [{ INITIAL_SHARE: "0%", LEGACY_ORIGIN: `http://127.0.0.1:${await freePorts(1)}` }, { model: "none" }],
  slow: [{ INITIAL_SHARE: "0%", LEGACY_TIMEOUT_MS: "300" }, { model: "none" }],
});
/** @type {Awaited<ReturnType<typeof startSession>>} */
let session;
before(async () => {
  session = await startSession();
});
after(() => session?.stop());

describe("a request and its response", { timeout: TEST_TIMEOUT_MS }, () => {
  /** @type {Gateway} */
  let gateway;
  before(() => {
    gateway = session.gateways.plain;
  });

  // `wrangler dev` compresses a response if the client accepts it; deployed, Cloudflare does so.
  for (const headers of /** @type {Record<string, string>[]} */ ([{}, { "accept-encoding": "identity" }])) {
    test(`every page of the legacy system arrives byte for byte, ${JSON.stringify(headers)}`, async () => {
      for (const path of PATHS) {
        const response = await assertSame(gateway, path, { headers });
        const added = response.headers.filter(([name, value]) => name.startsWith("x-jeffrey-") || name === "server-timing" || value.includes("jeffrey_subject"));
        assert.deepEqual(added, [], path);
      }
      const urls = gateway.legacy.requests.map(({ url }) => url);
      assert.deepEqual(urls.slice(-2 * PATHS.length), PATHS.flatMap((path) => [path, path]), "each path arrives unchanged and once");
    });
  }

  test("method, path, query and body arrive as they were sent", async () => {
    const body = Buffer.from(Array.from({ length: 70_000 }, (_, index) => (index * 31) % 256));
    const sha256 = (/** @type {Uint8Array} */ bytes) => createHash("sha256").update(bytes).digest("hex");
    /** @type {[string, string, Uint8Array?][]} */
    const table = [
      ["GET", "/echo"],
      ["GET", "/echo?"],
      ["GET", "/echo?a=%2F&b=%41%7e&&c=+&d=%20&e=%C3%A9"],
      ["GET", "/echo?next=http://evil.example/?a=b&c=/../x"],
      ["GET", "/echo?c=(d)[e]{f}|g^h`i*!$;,@"],
      ["POST", "/echo", body],
      ["PUT", "/echo", body],
      ["PATCH", "/echo", body],
      ["DELETE", "/echo", body],
      ["DELETE", "/echo"],
      ["OPTIONS", "/echo"],
      ["OPTIONS", "/echo", body],
      ["PROPFIND", "/echo", body],
      ["GET", "/echo", body],
      ["POST", "/echo", Buffer.of()],
      ["POST", "/echo"],
    ];
    for (const [method, path, bytes] of table) {
      /** @type {Record<string, string>} */
      const headers = { "content-type": "text/x-any", ...(bytes && { "content-length": String(bytes.length) }) };
      const { body: echoed } = await fetchRaw(gateway.origin, path, { method, body: bytes, headers });
      const { headers: _, ...received } = JSON.parse(echoed.toString());
      const sent = bytes ?? Buffer.of();
      assert.deepEqual(received, { method, url: path, body_bytes: sent.length, body_sha256: sha256(sent) }, `${method} ${path}`);
    }
    for (const path of ["/files/a%2Fb//c", "/files//", "/files/%2e%2eb/%41/.c./...", "/files/;,:@&=+$!*'()", "//files//x", "/files/?", "/?/"]) {
      await fetchRaw(gateway.origin, path, { method: "HEAD" });
      assert.deepEqual([lastLegacyRequest(gateway).method, lastLegacyRequest(gateway).url], ["HEAD", path]);
    }
  });

  test("a path changes only as the URL standard requires", async () => {
    // https://url.spec.whatwg.org/#path-state and #query-state: browsers and fetch send this form.
    const table = {
      ...{ "/files/a/../b": "/files/b", "/files/%2e%2E/echo": "/echo", "/files/./b": "/files/b" },
      ...{ "/files\\b": "/files/b", "/files/b#c": "/files/b" },
      ...{ "/echo?'a'": "/echo?%27a%27", '/echo?"<a>"': "/echo?%22%3Ca%3E%22", '/files/"<a>`{}': "/files/%22%3Ca%3E%60%7B%7D" },
    };
    for (const [sent, received] of Object.entries(table)) {
      await fetchRaw(gateway.origin, sent);
      assert.equal(lastLegacyRequest(gateway).url, received, sent);
    }
  });

  test("headers arrive as they were sent, without the gateway's own", async () => {
    const added = addedHeaders(gateway);
    const unchanged = {
      accept: "text/html;q=0.9, */*",
      "accept-language": "fr",
      authorization: "Bearer theirs",
      "cache-control": "no-cache",
      "content-type": "text/plain; charset=iso-8859-1",
      "if-none-match": 'W/"x"',
      origin: "https://page.example",
      range: "bytes=0-",
      referer: "https://page.example/a?b",
      "user-agent": "test/1",
      "x-any": "caf\u00e9 \t, \"quoted\"",
      "x-empty": "",
      "x-request-id": "7",
      "x-user-id": "alice",
    };
    /** @type {[string, Record<string, string>, Record<string, string>][]} sent, received in addition to the added headers */
    const table = [
      ["nothing", {}, {}],
      ["everything else", unchanged, unchanged],
      [
        "already set by a proxy",
        { "x-forwarded-for": "10.0.0.1, 10.0.0.2", "x-forwarded-host": "evil.example", "x-forwarded-proto": "https", via: "1.0 fred, 1.1 p.example" },
        { "x-forwarded-for": "10.0.0.1, 10.0.0.2, 127.0.0.1", via: "1.0 fred, 1.1 p.example, 1.1 jeffrey-edge" },
      ],
      ["the gateway's headers and cookie", { "x-jeffrey-token": "v1.a.b", "x-jeffrey-cohort": "canary", cookie: "jeffrey_subject=AAAAAAAAAAAAAAAAAAAAAA" }, {}],
      ["the gateway's cookie among others", { cookie: "a=1; jeffrey_subject=AAAAAAAAAAAAAAAAAAAAAA; b=\"2\"; a=3" }, { cookie: 'a=1; b="2"; a=3' }],
      ["cookies with similar names", { cookie: "jeffrey_subjects=1;  x=jeffrey_subject=2" }, { cookie: "jeffrey_subjects=1;  x=jeffrey_subject=2" }],
    ];
    for (const [name, sent, received] of table) {
      await fetchRaw(gateway.origin, "/echo", { headers: sent });
      assert.deepEqual(lastLegacyRequest(gateway).headers, headerLines({ ...added, ...received }), name);
    }
  });

  test("a classify request arrives with the same headers and bytes", async () => {
    const cookie = "a=1; jeffrey_subject=AAAAAAAAAAAAAAAAAAAAAA";
    await classify(gateway, { headers: { cookie, authorization: "Bearer theirs", "x-jeffrey-token": "t", "x-jeffrey-cohort": "canary", "x-any": "1" } });
    const { headers, ...rest } = lastLegacyRequest(gateway);
    assert.deepEqual(rest, { method: "POST", url: "/predict", body_bytes: Buffer.byteLength(BODY) });
    const unchanged = { authorization: "Bearer theirs", cookie: "a=1", "x-any": "1" };
    const body = { "content-type": JSON_TYPE, "content-length": String(Buffer.byteLength(BODY)) };
    assert.deepEqual(headers, headerLines({ ...addedHeaders(gateway), ...unchanged, ...body }));
  });

  test("accept-encoding arrives as the client sent it, and is absent if the client did not send it", async () => {
    for (const encodings of [undefined, "identity", "gzip", "br;q=1, zstd;q=0.5, *;q=0", "deflate, gzip;q=0"]) {
      for (const [method, path] of [["GET", "/echo"], ["POST", "/predict"]]) {
        /** @type {Record<string, string>} */
        const headers = { "content-type": JSON_TYPE, ...(encodings === undefined ? {} : { "accept-encoding": encodings }) };
        await fetchRaw(gateway.origin, path, { method, headers, body: method === "POST" ? BODY : undefined });
        const encodingLines = lastLegacyRequest(gateway).headers.filter((line) => line.startsWith("accept-encoding:"));
        assert.deepEqual(encodingLines, encodings === undefined ? [] : [`accept-encoding: ${encodings}`], `${method} ${path}`);
      }
    }
  });

  test("responses of every kind are the legacy system's", async () => {
    /** @type {[string, Options, number][]} */
    const table = [
      ["/no-content", {}, 204],
      ["/teapot", {}, 418],
      ["/etag", { headers: { "if-none-match": '"mock-legacy-1"' } }, 304],
      ["/etag", { headers: { "if-none-match": '"another"' } }, 200],
      ["/range", { headers: { range: "bytes=3-6" } }, 206],
      ["/range", { headers: { range: "bytes=-5" } }, 206],
      ["/range", { headers: { range: "bytes=5000-" } }, 416],
      ["/head", { method: "HEAD" }, 200],
      ["/", { method: "HEAD" }, 200],
      ["/static/data.bin", { method: "HEAD" }, 200],
      ["/gzip", { headers: { "accept-encoding": "gzip" } }, 200],
      ["/br", { headers: { "accept-encoding": "br" } }, 200],
      ["/ws", {}, 426],
      ["/", { method: "POST", body: "a=b" }, 405],
      ["/cors", { headers: { origin: "https://old.example" } }, 200],
      ["/cors", { method: "OPTIONS", headers: { origin: "https://old.example", "access-control-request-method": "POST" } }, 204],
      ["/cors", { method: "OPTIONS", headers: { origin: "https://other.example", "access-control-request-method": "POST" } }, 204],
      ["/predict", { method: "OPTIONS", headers: { "x-mock-legacy": "cors", origin: "https://other.example", "access-control-request-method": "POST" } }, 204],
      ["/predict", { method: "OPTIONS" }, 405],
      ["/predict", {}, 405],
      ["/predict", { method: "PUT", body: BODY, headers: { "content-type": JSON_TYPE } }, 405],
      ["/predict/x", { method: "POST", body: BODY, headers: { "content-type": JSON_TYPE } }, 404],
      ["/upload", { method: "POST", body: "x".repeat(100_000) }, 200],
      ["/upload", { method: "GET" }, 405],
    ];
    for (const [path, options, status] of table) {
      const response = await assertSame(gateway, path, options);
      assert.equal(response.status, status, `${options?.method ?? "GET"} ${path}`);
    }
    for (const coding of ["gzip", "br"]) {
      const compressed = await fetchRaw(gateway.origin, `/${coding}`, { headers: { "accept-encoding": coding } });
      assert.deepEqual(headerValues(compressed, "content-encoding"), [coding]);
    }
    const length = headerValues(await fetchRaw(gateway.origin, "/", { method: "HEAD" }), "content-length");
    assert.deepEqual(length, [String((await fetchRaw(gateway.legacy.origin, "/")).body.length)], "a page keeps its length through the gateway");
  });

  test("redirects are forwarded, not followed", async () => {
    for (const [path, status, location] of [["/redirect", 302, "docs/?from=redirect"], ["/redirect-away", 301, "https://away.example/elsewhere?a=1&b=%20"]]) {
      const requestsBefore = gateway.legacy.requests.length;
      const response = await fetchRaw(gateway.origin, String(path));
      assert.deepEqual([response.status, headerValues(response, "location"), response.body.toString()], [status, [location], "moved\n"]);
      assert.equal(gateway.legacy.requests.length, requestsBefore + 1);
    }
  });

  test("three Set-Cookie headers stay three", async () => {
    const cookies = headerValues(await fetchRaw(gateway.origin, "/cookies"), "set-cookie");
    assert.deepEqual(cookies, ["session=1; Path=/; HttpOnly", "language=fr; Path=/docs; SameSite=Lax", "empty=; Max-Age=0"]);
  });

  test("only paths below the admin prefix do not reach the legacy system", async () => {
    for (const path of ["/_jeffrey", "/_jeffrey/", "/_jeffrey/health", "/_jeffrey/health?x", "/_jeffrey/no/such", "/_jeffrey/v1/rollout", "/x/../_jeffrey/health"]) {
      for (const method of ["GET", "POST", "OPTIONS", "HEAD"]) {
        const requestsBefore = gateway.legacy.requests.length;
        const response = await fetchRaw(gateway.origin, path, { method });
        assert.equal(gateway.legacy.requests.length, requestsBefore, `${method} ${path}`);
        assert.deepEqual(headerValues(response, "x-content-type-options"), ["nosniff"], `${method} ${path}`);
      }
    }
    for (const path of ["/_jeffreyx", "/_jeffre", "/_jeffrey%2Fhealth", "/%5Fjeffrey/health", "/_Jeffrey/health", "//_jeffrey/health", "/a/_jeffrey/health", "/?/_jeffrey/health", "/_mock-legacy/no"]) {
      await assertSame(gateway, path);
      assert.equal(lastLegacyRequest(gateway).url, path);
    }
  });

  describe("the response to a classify request", () => {
    test("is the legacy system's, with the gateway's headers added", async () => {
      /** @type {[string, Record<string, string>, number, string | null][]} */
      const table = [
        ["", {}, 200, null],
        ["cors", {}, 200, null],
        ["error", {}, 500, "error_status"],
        ["not-json", {}, 200, "not_json"],
        ["huge", {}, 200, "too_large"],
        // A compressed response is forwarded as it is, and its label is not read.
        ["gzip", { "accept-encoding": "gzip" }, 200, "compressed"],
        ["no-such-order", {}, 400, "error_status"],
      ];
      for (const [mode, headers, status, unreadReason] of table) {
        const requestHeaders = { "content-type": JSON_TYPE, ...headers, ...(mode === "" ? {} : { "x-mock-legacy": mode }) };
        const response = await assertSame(gateway, "/predict?a=%2F", { method: "POST", body: BODY, headers: requestHeaders }, GATEWAY_HEADERS);
        assert.equal(response.status, status, mode);
        assert.deepEqual(headerValues(response, "set-cookie"), [], mode);
        const event = await waitForResponseEvent(gateway, response);
        assert.deepEqual([event.destination, event.status, event.unreadable_response_reason], ["stable", status, unreadReason], mode);
        assert.equal(event.label !== null, unreadReason === null, mode);
      }
    });

    test("is the legacy system's error if the body has no valid text", async () => {
      for (const body of ["", "not JSON", "[]", "{}", '{"text":7}', '{"text":"a"', Buffer.from([0x7b, 0xff, 0x7d])]) {
        const response = await assertSame(gateway, "/predict", { method: "POST", body, headers: { "content-type": JSON_TYPE } }, [...GATEWAY_HEADERS, "set-cookie"]);
        assert.equal(response.status, 400, String(body));
      }
    });

    test("is 502 in JSON if the legacy system resets the connection or does not send HTTP", async () => {
      for (const mode of ["reset", "garbled"]) {
        const badGatewayEvents = () => gateway.events().filter(({ status }) => status === 502);
        const countBefore = badGatewayEvents().length;
        const response = await classify(gateway, { headers: { "x-mock-legacy": mode } });
        assert.deepEqual(errorOf(response), [502, "legacy_unreachable"], mode);
        const [event] = await waitFor(() => badGatewayEvents().length > countBefore && badGatewayEvents().slice(countBefore));
        assert.deepEqual([event.destination, event.unreadable_response_reason, event.label], ["stable", "error_status", null], mode);
      }
      assert.equal((await classify(gateway)).status, 200, "the next request succeeds");
    });
  });

  test("a missing response becomes 502, and a truncated one stays truncated", async () => {
    for (const path of ["/reset", "/garbled"]) assert.deepEqual(errorOf(await fetchRaw(gateway.origin, path)), [502, "legacy_unreachable"], path);
    // The client sees the truncation only by the length. workerd turns a truncated chunked response into
    // a complete one, even in a Worker that only forwards.
    await assert.rejects(fetchRaw(gateway.legacy.origin, "/half"));
    await assert.rejects(fetchRaw(gateway.origin, "/half"));
    assert.equal((await fetchRaw(gateway.origin, "/health")).status, 200);
  });
});

test("hop-by-hop headers are not forwarded", { timeout: TEST_TIMEOUT_MS }, async () => {
  // The proxy of `wrangler dev` consumes these headers, so `x-test-headers` adds them behind it.
  const { proxied: gateway } = session.gateways;
  const hopByHopHeaders = {
    connection: "keep-alive, X-Hop, X-Other , accept-language, Via, X-Forwarded-For, content-length, authorization, cookie",
    ...{ "keep-alive": "timeout=5", te: "trailers", trailer: "x-t", upgrade: "h2c", "x-hop": "1", "x-other": "2" },
    ...{ "proxy-authorization": "Basic eA==", "proxy-connection": "keep-alive", expect: "100-continue" },
  };
  const unchanged = { authorization: "Bearer theirs", cookie: "a=1", "x-any": "1" };
  const headers = { ...unchanged, "accept-language": "fr", "x-forwarded-for": "10.0.0.1", "x-test-headers": JSON.stringify(Object.entries(hopByHopHeaders)) };
  await fetchRaw(gateway.origin, "/echo", { method: "POST", headers, body: "hello" });
  const { body_bytes, headers: received } = lastLegacyRequest(gateway);
  const expected = { ...addedHeaders(gateway), ...unchanged, "x-forwarded-for": "10.0.0.1, 127.0.0.1", "content-length": "5" };
  assert.deepEqual([body_bytes, received], [5, headerLines(expected)]);
});

test("an unreachable legacy system gives 502 on every path", { timeout: TEST_TIMEOUT_MS }, async () => {
  const { unreachable: gateway } = session.gateways;
  const countBefore = gateway.events().length;
  for (const response of [await classify(gateway), await fetchRaw(gateway.origin, "/"), await fetchRaw(gateway.origin, "/upload", { method: "POST", body: "x" })]) {
    assert.deepEqual(errorOf(response), [502, "legacy_unreachable"]);
    assert.doesNotMatch(response.body.toString(), /127\.0\.0\.1|furieux/);
  }
  const [event] = (await gateway.waitForEvents(countBefore + 1)).slice(countBefore);
  assert.deepEqual([event.status, event.unreadable_response_reason], [502, "error_status"]);
  assert.equal((await gateway.fetchAdmin("/health")).status, 200, "the gateway itself responds");
});

test("without LEGACY_TIMEOUT_MS, a classify request waits as long as the legacy system takes", { timeout: TEST_TIMEOUT_MS }, async () => {
  const { plain: gateway } = session.gateways;
  const countBefore = gateway.events().length;
  const response = await classify(gateway, { headers: { "x-mock-legacy": "slow:11000" } });
  assert.equal(response.status, 200);
  const event = (await gateway.waitForEvents(countBefore + 1)).at(-1);
  assert.deepEqual([event.destination, event.status], ["stable", 200]);
});

test("LEGACY_TIMEOUT_MS ends a classify request with 504, and does not apply to other paths", { timeout: TEST_TIMEOUT_MS }, async () => {
  const { slow: gateway } = session.gateways;
  const countBefore = gateway.events().length;
  const response = await classify(gateway, { headers: { "x-mock-legacy": "slow:60000" } });
  assert.deepEqual(errorOf(response), [504, "legacy_timeout"]);
  assert.match(JSON.parse(response.body.toString()).error.message, /300 ms/);
  const event = (await gateway.waitForEvents(countBefore + 1)).at(-1);
  assert.deepEqual([event.destination, event.status, event.unreadable_response_reason], ["stable", 504, "error_status"]);
  const slowResponse = await fetchRaw(gateway.origin, "/slow?ms=500");
  assert.deepEqual([slowResponse.status, slowResponse.body.toString()], [200, "at last\n"]);
});
