// Tests the model worker's endpoints in workerd: formats, limits, methods and origins.
// Native tests (crates/http-api) cover the response to each bad body. These tests cover the parts that need a
// host: bytes on the wire, streams, headers and missing files.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { request } from "node:http";
import { TEST_TIMEOUT_MS, postJson, signal, startModelWorker } from "../support/model-worker.js";

const ORIGIN = "https://allowed.example";
const byteArray = (/** @type {number[]} */ ...values) => Uint8Array.from(values);
const encodeUtf8 = (/** @type {string} */ text) => new TextEncoder().encode(text);
const concatBytes = (/** @type {Uint8Array[]} */ ...parts) => Uint8Array.from(parts.flatMap((part) => [...part]));

describe("a model worker", { timeout: TEST_TIMEOUT_MS }, () => {
  /** @type {Awaited<ReturnType<typeof startModelWorker>>} */
  let worker;
  before(async () => {
    worker = await startModelWorker({ ALLOWED_ORIGINS: `${ORIGIN}, http://localhost:3000` });
  });
  after(async () => {
    await worker?.stop();
    if (worker) assert.equal(signal(worker.group, 0), false, "a process still runs");
  });

  test("runs without wrangler's inspector, which loses responses", async () => {
    assert.doesNotMatch(await worker.log(), /InspectorProxyWorker/);
  });

  test("accepts a body with curl's default content type", async () => {
    const formHeaders = { "content-type": "application/x-www-form-urlencoded" };
    const { status, json, headers } = await postJson(
      `${worker.origin}/v1/classify`,
      '{"text":"Je suis furieux, c’est inadmissible !"}',
      formHeaders,
    );
    assert.equal(status, 200);
    assert.equal(headers.get("content-type"), "application/json");
    assert.equal(headers.get("cache-control"), "no-store");
    const sum = Object.values(json.scores).reduce((left, right) => left + right, 0);
    assert.ok(Math.abs(sum - 1) < 1e-5, `scores sum to ${sum}`);
    assert.equal(json.scores[json.primary], json.confidence);
    assert.deepEqual(json.top2[0], [json.primary, json.confidence]);
    assert.match(json.id, /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  });

  test("gives every response a different id, and the ids sort by time", async () => {
    const ids = [];
    for (let count = 0; count < 5; count += 1) {
      ids.push((await postJson(`${worker.origin}/v1/classify`, { text: "hello" })).json.id);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    assert.deepEqual([...new Set(ids)].sort(), ids);
    const time_ms = Number.parseInt(ids[0].replace("-", "").slice(0, 12), 16);
    assert.ok(Math.abs(time_ms - Date.now()) < 3_600_000, `the id's time is ${new Date(time_ms).toISOString()}`);
  });

  test("rejects each invalid body with its error code", async () => {
    /** @type {[string, Uint8Array | string, number, string | undefined][]} */
    const table = [
      ["an empty body", "", 400, "not_json"],
      ["not JSON", "hello", 400, "not_json"],
      ["cut short", '{"text":"a', 400, "not_json"],
      ["a list", "[]", 400, "wrong_type"],
      ["a number for a text", '{"text":7}', 400, "wrong_type"],
      ["no text", "{}", 400, "missing_text"],
      ["a text twice", '{"text":"a","text":"b"}', 400, "duplicate_field"],
      ["half a surrogate", '{"text":"\\ud83d"}', 400, "lone_surrogate"],
      ["a huge number", `{"text":"a","n":1${"0".repeat(400)}}`, 400, "not_json"],
      ["latin-1", concatBytes(encodeUtf8('{"text":"caf'), byteArray(0xe9), encodeUtf8('"}')), 400, "invalid_utf8"],
      ["UTF-16", byteArray(0xff, 0xfe, 0x7b, 0x00), 400, "invalid_utf8"],
      ["deep", "[".repeat(300_000), 400, "too_deep"],
      ["a text too long", JSON.stringify({ text: "é".repeat(32_769) }), 413, "text_too_long"],
      ["a body too large", JSON.stringify({ text: "a".repeat(600_000) }), 413, "body_too_large"],
      ["the longest text", JSON.stringify({ text: "é".repeat(32_768) }), 200, undefined],
      ["a byte order mark", concatBytes(byteArray(0xef, 0xbb, 0xbf), encodeUtf8('{"text":"a"}')), 200, undefined],
      ["a NUL", '{"text":"a\\u0000b"}', 200, undefined],
      ["an empty text", '{"text":""}', 200, undefined],
    ];
    for (const [name, body, status, code] of table) {
      const response = await postJson(`${worker.origin}/v1/classify`, body);
      assert.deepEqual([response.status, response.json?.error?.code], [status, code], `${name}: ${response.text.slice(0, 200)}`);
    }
  });

  /** Returns a streamed body of at least `limit` bytes, without a declared length. @param {number} limit */
  function streamedRequest(limit) {
    const chunk = new Uint8Array(64 * 1024).fill(0x61);
    const sent = { bytes: 0 };
    const body = new ReadableStream({
      pull(controller) {
        if (sent.bytes >= limit) return controller.close();
        sent.bytes += chunk.length;
        controller.enqueue(chunk);
      },
    });
    return { sent, options: /** @type {any} */ ({ method: "POST", body, duplex: "half" }) };
  }

  test("refuses a body above the limit, with or without a declared length", async () => {
    const declared = await postJson(`${worker.origin}/v1/classify`, new Uint8Array(3_000_000).fill(0x61));
    assert.deepEqual([declared.status, declared.json.error.code], [413, "body_too_large"]);
    // Regression: a refusal before the whole body was read broke every second request after it.
    for (let attempt = 0; attempt < 20; attempt += 1) {
      const response = await fetch(`${worker.origin}/v1/classify`, streamedRequest(600_000).options);
      assert.deepEqual([response.status, (await response.json()).error.code], [413, "body_too_large"]);
    }
  });

  test("stops reading a stream that does not end", async () => {
    const limit = 256 * 1024 * 1024;
    const { sent, options } = streamedRequest(limit);
    // HTTP/1.1 has no good way to respond before the end of a body. The client, or the proxy of wrangler dev
    // in between, sees the 413 or a broken connection.
    const status = await fetch(`${worker.origin}/v1/classify`, options).then(({ status }) => status, () => "broken");
    assert.ok([413, 503, "broken"].includes(status), `${status}`);
    assert.ok(sent.bytes < limit, "the worker read the whole body");
    assert.equal((await postJson(`${worker.origin}/v1/classify`, { text: "a" })).status, 200);
  });

  test("answers the next request after a client disconnects in the middle of a body", async () => {
    await new Promise((resolve) => {
      const outgoing = request(`${worker.origin}/v1/classify`, { method: "POST", headers: { "content-length": 1000 } });
      outgoing.on("error", resolve);
      outgoing.write('{"text":"half of', () => setTimeout(() => outgoing.destroy(new Error("client disconnected")), 200));
    });
    assert.equal((await postJson(`${worker.origin}/v1/classify`, { text: "a" })).status, 200);
  });

  test("answers a wrong method with 405 and the allowed ones, and an unknown path with 404", async () => {
    /** @type {[string, string, number, string | null][]} */
    const table = [
      ["GET", "/v1/classify", 405, "POST, OPTIONS"],
      ["PUT", "/v1/classify", 405, "POST, OPTIONS"],
      ["DELETE", "/", 405, "GET, HEAD, POST, OPTIONS"],
      ["POST", "/health", 405, "GET, HEAD, OPTIONS"],
      ["PATCH", "/predict", 405, "POST, OPTIONS"],
      ["OPTIONS", "/predict", 204, "POST, OPTIONS"],
      ["GET", "/no/such/file", 404, null],
      ["POST", "/no/such/path", 404, null],
      ["POST", "/v1/fault/panic", 404, null],
      ["OPTIONS", "/no/such/path", 404, null],
    ];
    for (const [method, path, status, allow] of table) {
      const response = await fetch(worker.origin + path, { method });
      const text = await response.text();
      assert.deepEqual([response.status, response.headers.get("allow")], [status, allow], `${method} ${path}`);
      const code = { 404: "not_found", 405: "method_not_allowed" }[status];
      if (code) assert.equal(JSON.parse(text).error.code, code, `${method} ${path}`);
    }
  });

  test("answers HEAD like GET, without the body", async () => {
    for (const path of ["/health", "/info", "/openapi.json"]) {
      const response = await fetch(worker.origin + path, { method: "HEAD" });
      assert.equal(response.status, 200, path);
      assert.equal(response.headers.get("content-type"), "application/json", path);
      assert.equal(await response.text(), "", path);
    }
  });

  test("lets only listed origins read the response", async () => {
    const classifyFrom = (/** @type {string} */ origin) => postJson(`${worker.origin}/v1/classify`, { text: "a" }, { origin });
    for (const origin of [ORIGIN, "http://localhost:3000"]) {
      const { headers } = await classifyFrom(origin);
      assert.equal(headers.get("access-control-allow-origin"), origin);
      assert.equal(headers.get("vary"), "Origin");
      assert.equal(headers.get("access-control-allow-credentials"), null);
    }
    for (const origin of ["https://other.example", `${ORIGIN}.other.example`, "http://allowed.example", "null"]) {
      const { status, headers } = await classifyFrom(origin);
      assert.equal(status, 200);
      assert.equal(headers.get("access-control-allow-origin"), null, origin);
      assert.equal(headers.get("vary"), "Origin", origin);
    }
  });

  test("answers a preflight with the methods and headers that the path accepts", async () => {
    const preflightFrom = (/** @type {string} */ origin) =>
      fetch(`${worker.origin}/predict`, {
        method: "OPTIONS",
        headers: { origin, "access-control-request-method": "POST", "access-control-request-headers": "content-type" },
      });
    const allowed = await preflightFrom(ORIGIN);
    assert.equal(allowed.status, 204);
    assert.equal(allowed.headers.get("access-control-allow-origin"), ORIGIN);
    assert.equal(allowed.headers.get("access-control-allow-methods"), "POST, OPTIONS");
    assert.match(allowed.headers.get("access-control-allow-headers") ?? "", /content-type/);
    const refused = await preflightFrom("https://other.example");
    assert.equal(refused.headers.get("access-control-allow-origin"), null);
    assert.equal(refused.headers.get("access-control-allow-methods"), null);
  });

  test("answers /predict in the format of text-embeddings-inference", async () => {
    const predict = (/** @type {unknown} */ body) => postJson(`${worker.origin}/predict`, body);
    const single = await predict({ inputs: "I am so happy" });
    assert.equal(single.json.length, 8);
    const scores = single.json.map((/** @type {{score: number}} */ { score }) => score);
    assert.deepEqual(scores, [...scores].sort((left, right) => right - left));
    const batch = await predict({ inputs: [["I am so happy"], ["It is Monday"]] });
    assert.deepEqual(batch.json[0], single.json);
    assert.equal(batch.json.length, 2);
    const pair = await predict({ inputs: ["a", "b"] });
    assert.deepEqual([pair.status, pair.json.error_type], [422, "Validation"]);
    const long = "word ".repeat(500);
    const refused = await predict({ inputs: long });
    assert.deepEqual([refused.status, refused.json.error_type], [413, "Validation"]);
    assert.equal((await predict({ inputs: long, truncate: true })).status, 200);
    const raw = await predict({ inputs: "I am so happy", raw_scores: true });
    assert.equal(raw.json[0].label, single.json[0].label);
    assert.ok(Math.abs(Math.exp(raw.json[0].score) - single.json[0].score) < 1e-4);
  });

  test("names its model in /health, /info and each response", async () => {
    const info = await (await fetch(`${worker.origin}/info`)).json();
    const health = await (await fetch(`${worker.origin}/health`)).json();
    assert.equal(health.status, "ok");
    assert.deepEqual(health.faults, []);
    assert.equal(info.model_id, health.model.id);
    assert.equal(info.model_sha, health.model.sha256);
    assert.equal(info.max_input_length, 128);
    assert.equal(Object.keys(info.model_type.classifier.id2label).length, 8);
    const path = `${worker.origin}/models/${info.model_id}`;
    const response = await postJson(path, { inputs: ["a", "b"], parameters: { top_k: 2 } });
    assert.deepEqual(response.json.map((/** @type {unknown[]} */ list) => list.length), [2, 2]);
    assert.equal((await postJson(`${worker.origin}/models/another`, { inputs: "a" })).status, 404);
    const classified = await postJson(`${worker.origin}/v1/classify`, { text: "a" });
    assert.equal(classified.json.model, info.model_id);
  });

  test("counts responses and routes, and shows no text in its metrics", async () => {
    const secret = "Zanzibar-7731";
    await postJson(`${worker.origin}/v1/classify`, { text: `I love ${secret}` });
    await postJson(`${worker.origin}/${secret}`, secret);
    const response = await fetch(`${worker.origin}/metrics`);
    assert.match(response.headers.get("content-type") ?? "", /^text\/plain; version=0\.0\.4/);
    const text = await response.text();
    assert.match(text, /^jeffrey_requests_total\{endpoint="classify",code="200"\} [1-9]/m);
    assert.match(text, /^jeffrey_predictions_total\{route="linear_head"\} [1-9]/m);
    assert.match(text, /^jeffrey_model_loaded 1$/m);
    assert.doesNotMatch(text, /Zanzibar/);
  });
});
