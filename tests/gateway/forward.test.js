// Requests and responses through the gateway, compared byte for byte and header by header with those of
// the legacy system, in a real `wrangler dev`.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { after, before, describe, test } from "node:test";
import { PATHS } from "../../mock-legacy/paths.js";
import { eventOf } from "../support/gateway-calls.js";
import { PATIENCE_MS, startGateways, until } from "../support/gateway.js";
import { freePorts } from "../support/ports.js";
import { ask, values } from "../support/raw-http.js";

/** @typedef {import("../support/gateway.js").Gate} Gate */
/** @typedef {import("../support/raw-http.js").Reply} Reply */
/** @typedef {Parameters<typeof ask>[2]} Options */

const JSON_TYPE = "application/json";
const BODY = JSON.stringify({ text: "Je suis furieux", user_id: "u-1" });

/** Headers of a single connection (RFC 9110, section 7.6.1), and the date. */
const OF_A_CONNECTION = ["connection", "keep-alive", "upgrade", "date"];

/** Headers that the gateway adds to the response to a classify request. */
const OURS = ["x-jeffrey-id", "x-jeffrey-cohort", "x-jeffrey-release", "server-timing"];

/** The parts of a response that a client can see. @param {Reply} reply @param {string[]} [without] */
function seen({ status, message, headers, body }, without = []) {
  // The proxy of `wrangler dev` rewrites pages for its live reload: it drops the length and sends
  // chunks. The bytes stay the same, and so does the length in a response to HEAD.
  const html = headers.some(([name, value]) => name === "content-type" && value.startsWith("text/html"));
  const dropped = [...OF_A_CONNECTION, ...without, ...(html ? ["content-length", "transfer-encoding"] : [])];
  const kept = headers.filter(([name]) => !dropped.includes(name)).map(([name, value]) => `${name}: ${value}`);
  return { status, message, headers: kept.sort(), body: body.toString("latin1") };
}

/** Sends a request to the legacy system and to the gateway, asserts equal responses, and returns the gateway's. @param {Gate} gate @param {string} path @param {Options} [options] @param {string[]} [without] */
async function same(gate, path, options, without = []) {
  const direct = await ask(gate.legacy.origin, path, options);
  const through = await ask(gate.origin, path, options);
  assert.deepEqual(seen(through, without), seen(direct, without), `${options?.method ?? "GET"} ${path} ${JSON.stringify(options?.headers ?? {})}`);
  return through;
}

/** The last request that reached the legacy system, with header names in lower case. @param {Gate} gate */
function last(gate) {
  const { method, url, headers, body_bytes } = gate.legacy.requests.at(-1) ?? assert.fail("nothing reached the old system");
  return { method, url, body_bytes, headers: headers.map(([name, value]) => `${name.toLowerCase()}: ${value}`).sort() };
}

/** Headers that every forwarded request gets; the platform adds `CF-Worker`. @param {Gate} gate */
const addedBy = (gate) => ({
  "cf-worker": `${gate.worker}.example.com`,
  host: new URL(gate.legacy.origin).host,
  via: "1.1 jeffrey-edge",
  "x-forwarded-for": "127.0.0.1",
  "x-forwarded-host": new URL(gate.origin).host,
  "x-forwarded-proto": "http",
});

/** @param {Record<string, string>} headers */
const lines = (headers) => Object.entries(headers).map(([name, value]) => `${name}: ${value}`).sort();

/** @param {Gate} gate @param {Options} options */
const classify = (gate, options = {}) =>
  ask(gate.origin, "/predict", { method: "POST", body: BODY, ...options, headers: { "content-type": JSON_TYPE, ...options.headers } });

/** @param {Gate} gate @param {Reply} reply */
const event = (gate, reply) => eventOf(gate, { headers: new Headers(reply.headers) });

/** Status and code of the gateway's own error. @param {Reply} reply */
function refusal(reply) {
  assert.deepEqual(values(reply, "content-type"), [JSON_TYPE]);
  const { error } = JSON.parse(reply.body.toString());
  assert.deepEqual([Object.keys(error), typeof error.message], [["code", "message"], "string"]);
  return [reply.status, error.code];
}

const begin = async () => startGateways({
  // Only `wrangler dev` is in front of this one.
  plain: [{ INITIAL_SHARE: "0%" }, { model: "none" }],
  fronted: [{ INITIAL_SHARE: "0%" }, { model: "none", two: true }],
  away: [{ INITIAL_SHARE: "0%", LEGACY_ORIGIN: `http://127.0.0.1:${await freePorts(1)}` }, { model: "none" }],
  slow: [{ INITIAL_SHARE: "0%", LEGACY_TIMEOUT_MS: "300" }, { model: "none" }],
});
/** @type {Awaited<ReturnType<typeof begin>>} */
let session;
before(async () => {
  session = await begin();
});
after(() => session?.stop());

describe("a request and its response", { timeout: PATIENCE_MS }, () => {
  /** @type {Gate} */
  let gate;
  before(() => {
    gate = session.gates.plain;
  });

  // `wrangler dev` compresses a response if the client accepts it; deployed, Cloudflare does so.
  for (const headers of /** @type {Record<string, string>[]} */ ([{}, { "accept-encoding": "identity" }])) {
    test(`every page of the legacy system arrives byte for byte, ${JSON.stringify(headers)}`, async () => {
      for (const path of PATHS) {
        const reply = await same(gate, path, { headers });
        const ours = reply.headers.filter(([name, value]) => name.startsWith("x-jeffrey-") || name === "server-timing" || value.includes("jeffrey_subject"));
        assert.deepEqual(ours, [], path);
      }
      const seen = gate.legacy.requests.map(({ url }) => url);
      assert.deepEqual(seen.slice(-2 * PATHS.length), PATHS.flatMap((path) => [path, path]), "paths as asked for, each once");
    });
  }

  test("method, path, query and body arrive as they were sent", async () => {
    const body = Buffer.from(Array.from({ length: 70_000 }, (_, at) => (at * 31) % 256));
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
      const { body: echoed } = await ask(gate.origin, path, { method, body: bytes, headers });
      const { headers: _, ...found } = JSON.parse(echoed.toString());
      const sent = bytes ?? Buffer.of();
      assert.deepEqual(found, { method, url: path, body_bytes: sent.length, body_sha256: sha256(sent) }, `${method} ${path}`);
    }
    for (const path of ["/files/a%2Fb//c", "/files//", "/files/%2e%2eb/%41/.c./...", "/files/;,:@&=+$!*'()", "//files//x", "/files/?", "/?/"]) {
      await ask(gate.origin, path, { method: "HEAD" });
      assert.deepEqual([last(gate).method, last(gate).url], ["HEAD", path]);
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
      await ask(gate.origin, sent);
      assert.equal(last(gate).url, received, sent);
    }
  });

  test("headers arrive as they were sent, without the gateway's own", async () => {
    const added = addedBy(gate);
    const kept = {
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
      ["everything else", kept, kept],
      [
        "written before",
        { "x-forwarded-for": "10.0.0.1, 10.0.0.2", "x-forwarded-host": "evil.example", "x-forwarded-proto": "https", via: "1.0 fred, 1.1 p.example" },
        { "x-forwarded-for": "10.0.0.1, 10.0.0.2, 127.0.0.1", via: "1.0 fred, 1.1 p.example, 1.1 jeffrey-edge" },
      ],
      ["ours", { "x-jeffrey-token": "v1.a.b", "x-jeffrey-cohort": "canary", cookie: "jeffrey_subject=AAAAAAAAAAAAAAAAAAAAAA" }, {}],
      ["ours among theirs", { cookie: "a=1; jeffrey_subject=AAAAAAAAAAAAAAAAAAAAAA; b=\"2\"; a=3" }, { cookie: 'a=1; b="2"; a=3' }],
      ["nearly ours", { cookie: "jeffrey_subjects=1;  x=jeffrey_subject=2" }, { cookie: "jeffrey_subjects=1;  x=jeffrey_subject=2" }],
    ];
    for (const [name, sent, received] of table) {
      await ask(gate.origin, "/echo", { headers: sent });
      assert.deepEqual(last(gate).headers, lines({ ...added, ...received }), name);
    }
  });

  test("a classify request arrives with the same headers and bytes", async () => {
    const cookie = "a=1; jeffrey_subject=AAAAAAAAAAAAAAAAAAAAAA";
    await classify(gate, { headers: { cookie, authorization: "Bearer theirs", "x-jeffrey-token": "t", "x-jeffrey-cohort": "canary", "x-any": "1" } });
    const { headers, ...rest } = last(gate);
    assert.deepEqual(rest, { method: "POST", url: "/predict", body_bytes: Buffer.byteLength(BODY) });
    const kept = { authorization: "Bearer theirs", cookie: "a=1", "x-any": "1" };
    const body = { "content-type": JSON_TYPE, "content-length": String(Buffer.byteLength(BODY)) };
    assert.deepEqual(headers, lines({ ...addedBy(gate), ...kept, ...body }));
  });

  test("accept-encoding arrives as the client sent it, and is absent if the client did not send it", async () => {
    for (const encodings of [undefined, "identity", "gzip", "br;q=1, zstd;q=0.5, *;q=0", "deflate, gzip;q=0"]) {
      for (const [method, path] of [["GET", "/echo"], ["POST", "/predict"]]) {
        /** @type {Record<string, string>} */
        const headers = { "content-type": JSON_TYPE, ...(encodings === undefined ? {} : { "accept-encoding": encodings }) };
        await ask(gate.origin, path, { method, headers, body: method === "POST" ? BODY : undefined });
        const found = last(gate).headers.filter((line) => line.startsWith("accept-encoding:"));
        assert.deepEqual(found, encodings === undefined ? [] : [`accept-encoding: ${encodings}`], `${method} ${path}`);
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
      ["/predict/", { method: "POST", body: BODY, headers: { "content-type": JSON_TYPE } }, 404],
      ["/upload", { method: "POST", body: "x".repeat(100_000) }, 200],
      ["/upload", { method: "GET" }, 405],
    ];
    for (const [path, options, status] of table) {
      const reply = await same(gate, path, options);
      assert.equal(reply.status, status, `${options?.method ?? "GET"} ${path}`);
    }
    for (const coding of ["gzip", "br"]) {
      const packed = await ask(gate.origin, `/${coding}`, { headers: { "accept-encoding": coding } });
      assert.deepEqual(values(packed, "content-encoding"), [coding]);
    }
    const length = values(await ask(gate.origin, "/", { method: "HEAD" }), "content-length");
    assert.deepEqual(length, [String((await ask(gate.legacy.origin, "/")).body.length)], "a page keeps its length at the gate");
  });

  test("redirects are forwarded, not followed", async () => {
    for (const [path, status, location] of [["/redirect", 302, "docs/?from=redirect"], ["/redirect-away", 301, "https://away.example/elsewhere?a=1&b=%20"]]) {
      const before = gate.legacy.requests.length;
      const reply = await ask(gate.origin, String(path));
      assert.deepEqual([reply.status, values(reply, "location"), reply.body.toString()], [status, [location], "moved\n"]);
      assert.equal(gate.legacy.requests.length, before + 1);
    }
  });

  test("three Set-Cookie headers stay three", async () => {
    const cookies = values(await ask(gate.origin, "/cookies"), "set-cookie");
    assert.deepEqual(cookies, ["session=1; Path=/; HttpOnly", "language=fr; Path=/docs; SameSite=Lax", "empty=; Max-Age=0"]);
  });

  test("only paths below the admin prefix do not reach the legacy system", async () => {
    for (const path of ["/_jeffrey", "/_jeffrey/", "/_jeffrey/health", "/_jeffrey/health?x", "/_jeffrey/no/such", "/_jeffrey/v1/rollout", "/x/../_jeffrey/health"]) {
      for (const method of ["GET", "POST", "OPTIONS", "HEAD"]) {
        const before = gate.legacy.requests.length;
        const reply = await ask(gate.origin, path, { method });
        assert.equal(gate.legacy.requests.length, before, `${method} ${path}`);
        assert.deepEqual(values(reply, "x-content-type-options"), ["nosniff"], `${method} ${path}`);
      }
    }
    for (const path of ["/_jeffreyx", "/_jeffre", "/_jeffrey%2Fhealth", "/%5Fjeffrey/health", "/_Jeffrey/health", "//_jeffrey/health", "/a/_jeffrey/health", "/?/_jeffrey/health", "/_mock-legacy/no"]) {
      await same(gate, path);
      assert.equal(last(gate).url, path);
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
      for (const [order, headers, status, unobserved] of table) {
        const all = { "content-type": JSON_TYPE, ...headers, ...(order === "" ? {} : { "x-mock-legacy": order }) };
        const reply = await same(gate, "/predict?a=%2F", { method: "POST", body: BODY, headers: all }, OURS);
        assert.equal(reply.status, status, order);
        assert.deepEqual(values(reply, "set-cookie"), [], order);
        const found = await event(gate, reply);
        assert.deepEqual([found.destination, found.status, found.unread_reason], ["stable", status, unobserved], order);
        assert.equal(found.label !== null, unobserved === null, order);
      }
    });

    test("is the legacy system's error if the body has no valid text", async () => {
      for (const body of ["", "not JSON", "[]", "{}", '{"text":7}', '{"text":"a"', Buffer.from([0x7b, 0xff, 0x7d])]) {
        const reply = await same(gate, "/predict", { method: "POST", body, headers: { "content-type": JSON_TYPE } }, [...OURS, "set-cookie"]);
        assert.equal(reply.status, 400, String(body));
      }
    });

    test("is 502 in JSON if the legacy system resets the connection or does not send HTTP", async () => {
      for (const order of ["reset", "garbled"]) {
        const failed = () => gate.events().filter(({ status }) => status === 502);
        const before = failed().length;
        const reply = await classify(gate, { headers: { "x-mock-legacy": order } });
        assert.deepEqual(refusal(reply), [502, "legacy_unreachable"], order);
        const [found] = await until(() => failed().length > before && failed().slice(before));
        assert.deepEqual([found.destination, found.unread_reason, found.label], ["stable", "error_status", null], order);
      }
      assert.equal((await classify(gate)).status, 200, "the next one");
    });
  });

  test("a missing response becomes 502, and a truncated one stays truncated", async () => {
    for (const path of ["/reset", "/garbled"]) assert.deepEqual(refusal(await ask(gate.origin, path)), [502, "legacy_unreachable"], path);
    // The client sees the truncation only by the length. workerd turns a truncated chunked response into
    // a complete one, even in a Worker that only forwards.
    await assert.rejects(ask(gate.legacy.origin, "/half"));
    await assert.rejects(ask(gate.origin, "/half"));
    assert.equal((await ask(gate.origin, "/health")).status, 200);
  });
});

test("hop-by-hop headers are not forwarded", { timeout: PATIENCE_MS }, async () => {
  // The proxy of `wrangler dev` consumes these headers, so `x-front` adds them behind it.
  const { fronted: gate } = session.gates;
  const between = {
    connection: "keep-alive, X-Hop, X-Other , accept-language, Via, X-Forwarded-For, content-length, authorization, cookie",
    ...{ "keep-alive": "timeout=5", te: "trailers", trailer: "x-t", upgrade: "h2c", "x-hop": "1", "x-other": "2" },
    ...{ "proxy-authorization": "Basic eA==", "proxy-connection": "keep-alive", expect: "100-continue" },
  };
  const kept = { authorization: "Bearer theirs", cookie: "a=1", "x-any": "1" };
  const headers = { ...kept, "accept-language": "fr", "x-forwarded-for": "10.0.0.1", "x-front": JSON.stringify(Object.entries(between)) };
  await ask(gate.origin, "/echo", { method: "POST", headers, body: "hello" });
  const { body_bytes, headers: received } = last(gate);
  const expected = { ...addedBy(gate), ...kept, "x-forwarded-for": "10.0.0.1, 127.0.0.1", "content-length": "5" };
  assert.deepEqual([body_bytes, received], [5, lines(expected)]);
});

test("an unreachable legacy system gives 502 on every path", { timeout: PATIENCE_MS }, async () => {
  const { away: gate } = session.gates;
  const before = gate.events().length;
  for (const reply of [await classify(gate), await ask(gate.origin, "/"), await ask(gate.origin, "/upload", { method: "POST", body: "x" })]) {
    assert.deepEqual(refusal(reply), [502, "legacy_unreachable"]);
    assert.doesNotMatch(reply.body.toString(), /127\.0\.0\.1|furieux/);
  }
  const [found] = (await gate.eventsOf(before + 1)).slice(before);
  assert.deepEqual([found.status, found.unread_reason], [502, "error_status"]);
  assert.equal((await gate.own("/health")).status, 200, "the gate itself is there");
});

test("LEGACY_TIMEOUT_MS ends a classify request with 504, and does not apply to other paths", { timeout: PATIENCE_MS }, async () => {
  const { slow: gate } = session.gates;
  const before = gate.events().length;
  const reply = await classify(gate, { headers: { "x-mock-legacy": "slow:60000" } });
  assert.deepEqual(refusal(reply), [504, "legacy_timeout"]);
  assert.match(JSON.parse(reply.body.toString()).error.message, /300 ms/);
  const found = (await gate.eventsOf(before + 1)).at(-1);
  assert.deepEqual([found.destination, found.status, found.unread_reason], ["stable", 504, "error_status"]);
  const slow = await ask(gate.origin, "/slow?ms=500");
  assert.deepEqual([slow.status, slow.body.toString()], [200, "at last\n"]);
});
