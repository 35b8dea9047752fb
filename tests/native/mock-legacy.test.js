// Tests that the mock legacy system keeps the contract of docs/legacy.md; the gateway's tests compare with it.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { request } from "node:http";
import { connect } from "node:net";
import { after, before, describe, test } from "node:test";
import { brotliDecompressSync, gunzipSync } from "node:zlib";
import { WebSocket } from "ws";
import { PATHS } from "../../mock-legacy/paths.js";
import { LABELS, predict } from "../../mock-legacy/predict.js";
import { startMockLegacy } from "../../mock-legacy/server.js";

/** Time limit of each group, in milliseconds; far above the need of a loaded machine. */
const TIMEOUT_MS = 60_000;

describe("the mock legacy system", { timeout: TIMEOUT_MS }, () => {
  /** @type {Awaited<ReturnType<typeof startMockLegacy>>} */
  let mock;
  before(async () => {
    mock = await startMockLegacy({ latency_ms: 0 });
  });
  after(() => mock?.stop());

  /** @param {string} path @param {{ method?: string, headers?: Record<string, string>, body?: string | Buffer }} [options] */
  const sendToMock = (path, options) => sendRequest(mock.origin, path, options);
  /** @param {unknown} body @param {Record<string, string>} [headers] */
  const sendPredict = async (body, headers = {}) => {
    const bytes = typeof body === "string" || Buffer.isBuffer(body) ? body : JSON.stringify(body);
    const response = await sendToMock("/predict", { method: "POST", body: bytes, headers: { "content-type": "application/json", ...headers } });
    return { ...response, json: parseJson(response.body) };
  };

  test("responds in the format of v2.4.2", async () => {
    const { status, json, headers } = await sendPredict({ text: "Je suis furieux", user_id: "u-1" });
    assert.equal(status, 200);
    assert.equal(headers["content-type"], "application/json");
    assert.deepEqual(Object.keys(json), ["version", "route", "encoder", "prediction", "latency_ms", "all_scores_top5"]);
    assert.deepEqual([json.version, json.encoder, json.latency_ms], ["2.4.2", "multilingual-e5-large", 0]);
    const { primary, confidence, top2, low_confidence, rule_applied } = json.prediction;
    assert.deepEqual([primary, low_confidence, rule_applied], ["anger", confidence < 0.4, null]);
    assert.deepEqual(top2, json.all_scores_top5.slice(0, 2));
    assert.deepEqual(top2[0], [primary, confidence]);
    assert.equal(json.all_scores_top5.length, 5);
  });

  test("labels plain sentences correctly", () => {
    const table = {
      joy: ["I am so happy", "Quelle merveille, je suis ravie"],
      sadness: ["I cried all night", "Il me manque tellement"],
      anger: ["Je suis furieux", "This makes me furious", "Vous me mettez hors de moi"],
      fear: ["I am scared", "J’ai peur du noir"],
      surprise: ["Wow, that was unexpected", "Je n’en reviens pas"],
      disgust: ["That is disgusting", "Beurk, c'est immonde"],
      neutral: ["The train leaves at noon", "", " \n\t"],
      frustration: ["ce bug m'agace", "I am fed up, it keeps crashing"],
    };
    for (const [label, texts] of Object.entries(table)) {
      for (const text of texts) assert.equal(predictText(text).prediction.primary, label, text);
    }
    assert.equal(predictText(" \n").prediction.confidence, 1);
  });

  test("gives plausible scores, and uses each rule and route", () => {
    const counts = { low: 0, standard: 0, extended: 0, linear_head: 0, prototypes: 0, regex: 0 };
    const words = ["furious", "fed up", "happy", "the", "delivery", "livid", "agacé", "encore", "peur", "stuck"];
    for (let index = 0; index < 4000; index += 1) {
      const text = [index % 10, (index * 7 + 3) % 10].map((wordIndex) => words[wordIndex]).concat(`${index}`).join(" ");
      const { route, prediction, all_scores_top5: top5 } = predictText(text);
      const scores = top5.map(([, score]) => score);
      assert.deepEqual(scores, [...scores].sort((left, right) => right - left), text);
      assert.ok(scores[0] > 0.125 && scores[0] <= 1 && scores[4] >= 0, text);
      const sum = scores.reduce((left, right) => left + right, 0);
      assert.ok(sum <= 1.003 && sum + 3 * scores[4] >= 0.997, `${text}: ${scores}`);
      assert.ok(top5.every(([label]) => LABELS.includes(label)), text);
      counts[/** @type {"regex"} */ (route)] += 1;
      counts.low += Number(prediction.low_confidence);
      const rule = prediction.rule_applied?.replace("tiebreak_anger_keyword_", "");
      if (rule) counts[/** @type {"standard"} */ (rule)] += 1;
      const [anger, frustration] = ["anger", "frustration"].map((name) => top5.findIndex(([label]) => label === name));
      if (rule) assert.ok(anger >= 0 && (frustration < 0 || anger < frustration), text);
    }
    assert.ok(counts.linear_head > 3600 && counts.regex < 40, JSON.stringify(counts));
    assert.ok(Object.values(counts).every((count) => count > 0), JSON.stringify(counts));
    assert.ok(counts.low < 1200, JSON.stringify(counts));
  });

  test("returns the same bytes for the same text", async () => {
    const [first, second] = [await sendPredict({ text: "Bonjour" }), await sendPredict({ text: "Bonjour", user_id: "other" })];
    assert.deepEqual(first.body, second.body);
    assert.notDeepEqual(predict("Bonjour", { seed: 2, latency_ms: 0 }), predictText("Bonjour"));
  });

  test("refuses a body that it cannot read, and never quotes it", async () => {
    const long = Buffer.from(JSON.stringify({ text: "z".repeat(70_000) }));
    /** @type {[string, string | Buffer, number, string | null][]} */
    const table = [
      ["an empty body", "", 400, "body is not JSON"],
      ["not JSON", "Zanzibar", 400, "body is not JSON"],
      ["latin-1", Buffer.from('{"text":"Zanzib\xe9r"}', "latin1"), 400, "body is not JSON"],
      ["a list", '["Zanzibar"]', 400, "body is not a JSON object"],
      ["no text", '{"inputs":"Zanzibar"}', 400, "text is missing"],
      ["a text that is a list", '{"text":["Zanzibar"]}', 400, "text is not a string"],
      ["64 KiB", bodyOfSize(65_536), 200, null],
      ["64 KiB and one byte", bodyOfSize(65_537), 413, "body is above the limit of 65536 bytes"],
      ["70 kB", long, 413, "body is above the limit of 65536 bytes"],
    ];
    for (const [name, body, status, error] of table) {
      const response = await sendPredict(body);
      assert.equal(response.status, status, name);
      if (error) assert.deepEqual(response.json, { error }, name);
      assert.doesNotMatch(response.body.toString(), /Zanzib/, name);
    }
    for (const method of ["GET", "PUT", "DELETE", "OPTIONS"]) {
      const response = await sendToMock("/predict", { method });
      assert.deepEqual([response.status, response.headers.allow], [405, "POST"], method);
    }
    const streamed = await new Promise((resolve, reject) => {
      const outgoing = request(`${mock.origin}/predict`, { method: "POST" }, (response) => resolve(response.statusCode));
      outgoing.on("error", reject);
      outgoing.write(long);
      outgoing.end();
    });
    assert.equal(streamed, 413, "without a length");
  });

  test("simulates the fault that `x-mock-legacy` requests", async () => {
    const body = { text: "I am so happy" };
    const plain = await sendPredict(body);
    const sendWithFault = (/** @type {string} */ fault) => sendPredict(body, { "x-mock-legacy": fault });
    const error = await sendWithFault("error");
    assert.deepEqual([error.status, error.json], [500, { error: "internal error" }]);
    const gzip = await sendWithFault("gzip");
    assert.equal(gzip.headers["content-encoding"], "gzip");
    assert.deepEqual(gunzipSync(gzip.body), plain.body);
    const notJson = await sendWithFault("not-json");
    assert.deepEqual([notJson.status, notJson.headers["content-type"], notJson.json], [200, "text/html", null]);
    const huge = await sendWithFault("huge");
    assert.ok(huge.body.length > 256 * 1024);
    assert.equal(huge.json.prediction.primary, "joy");
    const cors = await sendWithFault("cors");
    assert.equal(cors.headers["access-control-allow-origin"], "https://old.example");
    const start_ms = performance.now();
    assert.equal((await sendWithFault("slow:150")).status, 200);
    assert.ok(performance.now() - start_ms >= 149);
    await assert.rejects(sendWithFault("reset"), { code: "ECONNRESET" });
    await assert.rejects(sendWithFault("garbled"), { code: /^HPE_/ });
    await assert.rejects(sendWithFault("half"), { code: "ECONNRESET" });
    for (const fault of ["slow:60001", "slow:", "nonsense"]) {
      const refused = await sendWithFault(fault);
      assert.equal(refused.status, 400, fault);
      assert.match(refused.json.error, /^x-mock-legacy/, fault);
    }
  });

  test("changes its settings while it runs", async () => {
    const put = async (/** @type {unknown} */ settings) => {
      const { status, body } = await sendToMock("/_mock-legacy/settings", { method: "PUT", body: JSON.stringify(settings) });
      return [status, parseJson(body)];
    };
    const initial = { latency_ms: 0, error_rate: 0, wrong_label_rate: 0 };
    assert.deepEqual(parseJson((await sendToMock("/_mock-legacy/settings")).body), initial);
    assert.deepEqual(await put({ error_rate: 1 }), [200, { ...initial, error_rate: 1 }]);
    assert.equal((await sendPredict({ text: "I am so happy" })).status, 500);
    assert.equal((await sendToMock("/health")).status, 200);
    assert.deepEqual(await put({ error_rate: 0, wrong_label_rate: 1 }), [200, { ...initial, wrong_label_rate: 1 }]);
    for (let count = 0; count < 20; count += 1) {
      assert.notEqual((await sendPredict({ text: "I am so happy" })).json.prediction.primary, "joy");
    }
    assert.equal((await put({ wrong_label_rate: 0, latency_ms: 100 }))[0], 200);
    const start_ms = performance.now();
    const { json } = await sendPredict({ text: "I am so happy" });
    assert.ok(json.latency_ms >= 90 && json.latency_ms <= 110, json.latency_ms);
    assert.ok(performance.now() - start_ms >= 89);
    mock.settings.latency_ms = 0;
    /** @type {[unknown, string][]} */
    const refused = [
      [{ error_rate: 1.5 }, "error_rate is 1.5: the limit is 0 to 1"],
      [{ latency_ms: -1 }, "latency_ms is -1: the limit is 0 to 60000 ms"],
      [{ latency_ms: "40" }, 'latency_ms is "40": the limit is 0 to 60000 ms'],
      [{ wrong_label_rate: null }, "wrong_label_rate is null: the limit is 0 to 1"],
      [{ error_rate: 0.5, seed: 1 }, 'unknown field "seed": the fields are latency_ms, error_rate, wrong_label_rate'],
      [[], "the settings are not a JSON object"],
    ];
    for (const [settings, error] of refused) assert.deepEqual(await put(settings), [400, { error }]);
    assert.deepEqual(mock.settings, initial);
  });

  test("gives errors and wrong labels at the set rates, the same ones for a seed", async () => {
    const run = async (/** @type {number} */ seed) => {
      const seededMock = await startMockLegacy({ latency_ms: 0, error_rate: 0.2, wrong_label_rate: 0.3, seed });
      const labels = [];
      for (let count = 0; count < 300; count += 1) {
        const { status, body } = await sendRequest(seededMock.origin, "/predict", { method: "POST", body: '{"text":"I am so happy"}' });
        labels.push(status === 200 ? parseJson(body).prediction.primary : "error");
      }
      await seededMock.stop();
      return labels;
    };
    const [first, again, other] = [await run(7), await run(7), await run(8)];
    assert.deepEqual(first, again);
    assert.notDeepEqual(first, other);
    const errors = first.filter((label) => label === "error").length;
    const wrong = first.filter((label) => label !== "error" && label !== "joy").length;
    // Of 300 draws, 60 errors and 72 wrong labels are expected; four standard deviations are 28 and 30.
    assert.ok(errors > 32 && errors < 88, `${errors} errors`);
    assert.ok(wrong > 42 && wrong < 102, `${wrong} wrong`);
  });

  test("returns the same bytes twice for each listed path", async () => {
    assert.ok(PATHS.length >= 50, `${PATHS.length} paths`);
    assert.equal(new Set(PATHS).size, PATHS.length);
    const bodies = new Set();
    for (const path of PATHS) {
      const url = `${mock.origin}${path}`;
      assert.equal(new URL(url).href, url, "fetch would request another path");
      const [first, second] = [await sendToMock(path), await sendToMock(path)];
      for (const response of [first, second]) {
        response.rawHeaders = response.rawHeaders.filter((_, index, all) => !/^date$/i.test(all[index - (index % 2)]));
        delete response.headers.date;
      }
      assert.deepEqual(first, second, path);
      bodies.add(first.body.toString("latin1"));
    }
    assert.ok(bodies.size > 50, `${bodies.size} different bodies`);
  });

  test("reads paths and queries as they were sent", async () => {
    for (const path of ["/files/a%2Fb.txt", "/files/a//b//", "/files/%E9-not-utf8?", "/files/100%", "/files/x?y?z=/?"]) {
      assert.equal((await sendToMock(path)).body.toString(), `file ${path}\n`);
    }
    const query = "q=a%20b&q=c+d&empty=&%C3%A9=1";
    const pairs = [["q", "a b"], ["q", "c d"], ["empty", ""], ["é", "1"]];
    assert.deepEqual(parseJson((await sendToMock(`/search?${query}`)).body), { query, pairs });
    assert.notDeepEqual((await sendToMock("//")).body, (await sendToMock("/")).body);
  });

  test("handles redirects, ranges, ETags and encodings as a web app does", async () => {
    /** @type {[string, Record<string, string>, number, Record<string, string | undefined>][]} */
    const table = [
      ["/redirect", {}, 302, { location: "docs/?from=redirect" }],
      ["/redirect-away", {}, 301, { location: "https://away.example/elsewhere?a=1&b=%20" }],
      ["/no-content", {}, 204, { "content-length": undefined }],
      ["/teapot", {}, 418, {}],
      ["/etag", {}, 200, { etag: '"mock-legacy-1"' }],
      ["/etag", { "if-none-match": '"x", W/"mock-legacy-1"' }, 304, { etag: '"mock-legacy-1"' }],
      ["/etag", { "if-none-match": '"x"' }, 200, {}],
      ["/range", {}, 200, { "accept-ranges": "bytes", "content-length": "1040" }],
      ["/range", { range: "bytes=2-5" }, 206, { "content-range": "bytes 2-5/1040", "content-length": "4" }],
      ["/range", { range: "bytes=-4" }, 206, { "content-range": "bytes 1036-1039/1040" }],
      ["/range", { range: "bytes=2000-" }, 416, { "content-range": "bytes */1040" }],
      ["/gzip", {}, 200, { "content-encoding": undefined, vary: "Accept-Encoding" }],
      ["/gzip", { "accept-encoding": "br, gzip;q=0.5" }, 200, { "content-encoding": "gzip" }],
      ["/gzip", { "accept-encoding": "gzip;q=0, *" }, 200, { "content-encoding": undefined }],
      ["/br", { "accept-encoding": "br" }, 200, { "content-encoding": "br" }],
      ["/chunked", {}, 200, { "content-length": undefined, "transfer-encoding": "chunked" }],
      ["/public", {}, 200, { "cache-control": "public, max-age=3600" }],
      ["/v1/classify", {}, 404, {}],
      ["/toString", {}, 404, {}],
      ["/no/such/page", {}, 404, { "content-type": "text/html; charset=utf-8" }],
    ];
    for (const [path, requestHeaders, status, expected] of table) {
      const { status: actualStatus, headers } = await sendToMock(path, { headers: requestHeaders });
      const name = `${path} ${JSON.stringify(requestHeaders)}`;
      assert.equal(actualStatus, status, name);
      for (const [header, value] of Object.entries(expected)) assert.equal(headers[header], value, `${name}: ${header}`);
    }
    assert.equal((await sendToMock("/cookies")).headers["set-cookie"]?.length, 3);
    const plain = (await sendToMock("/gzip")).body;
    assert.deepEqual(gunzipSync((await sendToMock("/gzip", { headers: { "accept-encoding": "gzip" } })).body), plain);
    assert.deepEqual(brotliDecompressSync((await sendToMock("/br", { headers: { "accept-encoding": "br" } })).body), plain);
    assert.equal((await sendToMock("/range", { headers: { range: "bytes=2-5" } })).body.toString(), "cdef");
    assert.equal((await sendToMock("/", { method: "POST", body: "a" })).headers.allow, "GET, HEAD");
    const head = await sendToMock("/head", { method: "HEAD" });
    assert.deepEqual([head.headers["content-length"], head.body.length], ["17", 0]);
  });

  test("echoes a request as it arrived, with duplicate headers in order", async () => {
    const lines = ["PATCH /echo?a=%2F&&b HTTP/1.1", "Host: x", "X-Two: 1", "x-one: é", "x-two: 2", "Content-Length: 3", "Connection: close"];
    const text = await sendBytes(mock.origin, `${lines.join("\r\n")}\r\n\r\nabc`);
    const echoed = JSON.parse(text.slice(text.indexOf("\r\n\r\n")));
    assert.deepEqual([echoed.method, echoed.url, echoed.body_bytes], ["PATCH", "/echo?a=%2F&&b", 3]);
    assert.equal(echoed.body_sha256, createHash("sha256").update("abc").digest("hex"));
    assert.deepEqual(echoed.headers.slice(1, 4).map((/** @type {string[]} */ [name]) => name), ["X-Two", "x-one", "x-two"]);
    const { method, url, headers, body_bytes } = mock.requests[mock.requests.length - 1];
    assert.deepEqual([method, url, headers, body_bytes], [echoed.method, echoed.url, echoed.headers, 3]);
  });

  test("keeps the last 1000 requests, without bodies", async () => {
    const freshMock = await startMockLegacy({ latency_ms: 0 });
    await sendRequest(freshMock.origin, "/predict", { method: "POST", body: '{"text":"Zanzibar"}' });
    assert.deepEqual([freshMock.requests[0].url, freshMock.requests[0].body_bytes], ["/predict", 19]);
    assert.doesNotMatch(JSON.stringify(freshMock.requests), /Zanzibar/);
    for (let count = 0; count < 1005; count += 1) await sendRequest(freshMock.origin, `/files/${count}`);
    assert.equal(freshMock.requests.length, 1000);
    assert.deepEqual([freshMock.requests[0].url, freshMock.requests[999].url], ["/files/5", "/files/1004"]);
    await freshMock.stop();
  });

  test("resets, garbles, truncates and delays responses on its fault paths", async () => {
    await assert.rejects(sendToMock("/reset"), { code: "ECONNRESET" });
    await assert.rejects(sendToMock("/garbled"), { code: /^HPE_/ });
    await assert.rejects(sendToMock("/half"), { code: "ECONNRESET" });
    const half = await sendBytes(mock.origin, "GET /half HTTP/1.1\r\nHost: x\r\n\r\n");
    assert.match(half, /content-length: 100\r\n[^]*\r\n\r\nonly these$/);
    const start_ms = performance.now();
    const response = await new Promise((resolve, reject) => request(`${mock.origin}/slow-body?ms=300`, resolve).on("error", reject).end());
    const headers_ms = performance.now() - start_ms;
    for await (const _ of response);
    const body_ms = performance.now() - start_ms;
    assert.ok(headers_ms < body_ms && body_ms >= 299, `${headers_ms} ms, ${body_ms} ms`);
    assert.equal((await sendToMock("/slow?ms=1")).body.toString(), "at last\n");
    const bad = await sendToMock("/slow?ms=60001");
    assert.deepEqual([bad.status, parseJson(bad.body).error], [400, "ms is 60001: the limit is 0 to 60000 ms"]);
  });

  test("returns its own CORS headers to cross-origin requests", async () => {
    const origin = "https://old.example";
    const response = await sendToMock("/cors", { headers: { origin } });
    assert.deepEqual([response.status, response.headers["access-control-allow-origin"], response.headers.vary], [200, origin, "Origin"]);
    const preflight = await sendToMock("/cors", { method: "OPTIONS", headers: { origin, "access-control-request-method": "POST" } });
    assert.deepEqual([preflight.status, preflight.headers["access-control-allow-methods"]], [204, "GET, POST"]);
  });

  test("echoes a WebSocket's text, bytes and subprotocol", async () => {
    const client = new WebSocket(`${mock.origin.replace("http", "ws")}/ws?close=4001`, ["other", "jeffrey-test"]);
    await once(client, "open");
    assert.equal(client.protocol, "jeffrey-test");
    client.send("bonjour é");
    const [[data, isBinary], [code]] = await Promise.all([once(client, "message"), once(client, "close")]);
    assert.deepEqual([String(data), isBinary, code], ["bonjour é", false, 4001]);
    const secondClient = new WebSocket(`${mock.origin.replace("http", "ws")}/ws`);
    await once(secondClient, "open");
    assert.equal(secondClient.protocol, "");
    secondClient.send(Buffer.from([0, 255, 1]));
    const [bytes, binary] = await once(secondClient, "message");
    assert.deepEqual([[...bytes], binary], [[0, 255, 1], true]);
    secondClient.close(1000);
    assert.equal((await once(secondClient, "close"))[0], 1000);
    assert.equal((await sendToMock("/ws")).status, 426);
  });

  test("ignores an unknown upgrade", async () => {
    const text = await sendBytes(mock.origin, "GET /robots.txt HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n");
    assert.match(text, /^HTTP\/1.1 200 OK\r\n[^]*Disallow: /);
  });
});

describe("the command of the mock legacy system", { timeout: TIMEOUT_MS }, () => {
  test("sends and receives 100 MB with less than 60 MiB of additional memory", async (context) => {
    if (!existsSync("/proc/self/status")) return context.skip("the peak of memory is read from /proc");
    const { child, origin } = await startCommand("--latency-ms", "0");
    const peakMemoryMib = () => Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${child.pid}/status`, "utf8"))?.[1]) / 1024;
    const bytes = 100_000_000;
    await sendRequest(origin, "/download?bytes=1000000");
    const memoryBefore = peakMemoryMib();
    const response = await new Promise((resolve, reject) => request(`${origin}/download?bytes=${bytes}`, resolve).on("error", reject).end());
    const sha256 = createHash("sha256");
    let received = 0;
    for await (const chunk of response) {
      // Reads slowly at first, so that a server that does not wait for its reader would buffer the rest.
      if (received < 1_000_000) await new Promise((resolve) => setTimeout(resolve, 20));
      for (const offset of [0, chunk.length - 1]) assert.equal(chunk[offset], (received + offset) % 251);
      received += chunk.length;
      sha256.update(chunk);
    }
    assert.equal(received, bytes);
    const uploaded = await new Promise((resolve, reject) => {
      const outgoing = request(`${origin}/upload`, { method: "POST" }, async (response) => {
        let text = "";
        for await (const chunk of response) text += chunk;
        resolve(JSON.parse(text));
      });
      outgoing.on("error", reject);
      const block = Buffer.from(Array.from({ length: 251 * 400 }, (_, index) => index % 251));
      let remaining = bytes;
      const fill = () => {
        while (remaining > 0) {
          const slice = block.subarray(0, remaining);
          remaining -= slice.length;
          if (!outgoing.write(slice)) return outgoing.once("drain", fill);
        }
        outgoing.end();
      };
      fill();
    });
    assert.deepEqual(uploaded, { body_bytes: bytes, body_sha256: sha256.digest("hex") });
    const growthMib = peakMemoryMib() - memoryBefore;
    // A buffered body would take 100 MB; the heap of a new process grows by 20 to 30 MB.
    assert.ok(growthMib < 60, `${growthMib} MiB more`);
    await stopCommand(child);
  });

  test("prints its address and nothing about requests, and exits with 0 on SIGINT and SIGTERM", async () => {
    for (const signal of /** @type {const} */ (["SIGINT", "SIGTERM"])) {
      const { child, origin, output } = await startCommand("--error-rate", "0.5", "--seed", "3");
      for (const text of ["Zanzibar", "Zanzibar again"]) {
        await sendRequest(origin, "/predict", { method: "POST", body: JSON.stringify({ text, user_id: "u-7731" }) });
      }
      await sendRequest(origin, "/predict", { method: "POST", body: "Zanzibar" });
      const pending = sendRequest(origin, "/slow?ms=30000").catch(() => "broken");
      await new Promise((resolve) => setTimeout(resolve, 50));
      assert.equal(await stopCommand(child, signal), 0, signal);
      assert.equal(await pending, "broken");
      assert.equal(output(), `mock legacy system on ${origin}\n`);
    }
  });

  test("refuses a value outside its range, and names the value and the range", async () => {
    const runningMock = await startMockLegacy();
    const port = new URL(runningMock.origin).port;
    /** @type {[string[], RegExp][]} */
    const table = [
      [["--port", "70000"], /^error: --port is 70000: the limit is 0 to 65535, a whole number$/m],
      [["--port", port], new RegExp(`^error: port ${port} is in use$`, "m")],
      [["--latency-ms", "60001"], /^error: --latency-ms is 60001: the limit is 0 to 60000 ms$/m],
      [["--error-rate", "2"], /^error: --error-rate is 2: the limit is 0 to 1$/m],
      [["--wrong-label-rate", ""], /^error: --wrong-label-rate is "": the limit is 0 to 1$/m],
      [["--seed", "one"], /^error: --seed is "one": the limit is 0 to 4294967295, a whole number$/m],
      [["--latency", "5"], /^error: Unknown option '--latency'/m],
    ];
    for (const [args, message] of table) {
      const child = spawn(process.execPath, ["mock-legacy/server.js", ...args]);
      let text = "";
      child.stderr.on("data", (chunk) => (text += chunk));
      const [code] = await once(child, "close");
      assert.equal(code, 2, args.join(" "));
      assert.match(text, message);
    }
    await runningMock.stop();
  });
});

/** @param {string} text */
function predictText(text) {
  return predict(text, { seed: 1, latency_ms: 0 });
}

/** Returns a request body of `bytes` bytes. @param {number} bytes */
function bodyOfSize(bytes) {
  return JSON.stringify({ text: "z".repeat(bytes - '{"text":""}'.length) });
}

/** @param {Buffer} body @returns {any} */
function parseJson(body) {
  try {
    return JSON.parse(body.toString());
  } catch {
    return null;
  }
}

/**
 * Sends one request unchanged and returns the raw response: `fetch` would decompress, follow redirects and fold headers.
 *
 * @param {string} origin
 * @param {string} path
 * @param {{ method?: string, headers?: Record<string, string>, body?: string | Buffer }} [options]
 * @returns {Promise<{ status: number | undefined, headers: import("node:http").IncomingHttpHeaders, rawHeaders: string[], body: Buffer }>}
 */
function sendRequest(origin, path, { method = "GET", headers = {}, body } = {}) {
  const { hostname, port } = new URL(origin);
  return new Promise((resolve, reject) => {
    const outgoing = request({ hostname, port, path, method, headers }, async (response) => {
      /** @type {Buffer[]} */
      const chunks = [];
      try {
        for await (const chunk of response) chunks.push(chunk);
      } catch (error) {
        return reject(error);
      }
      const { statusCode: status, headers, rawHeaders } = response;
      resolve({ status, headers, rawHeaders, body: Buffer.concat(chunks) });
    });
    outgoing.on("error", reject);
    outgoing.end(body);
  });
}

/** Sends bytes on a connection and returns all bytes of the response. @param {string} origin @param {string} bytes @returns {Promise<string>} */
async function sendBytes(origin, bytes) {
  const socket = connect(Number(new URL(origin).port), "127.0.0.1");
  socket.write(bytes);
  let text = "";
  for await (const chunk of socket) text += chunk;
  return text;
}

/** @param {string[]} args */
async function startCommand(...args) {
  const child = spawn(process.execPath, ["mock-legacy/server.js", "--port", "0", ...args]);
  let text = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => (text += chunk));
  while (!text.includes("\n")) await Promise.race([once(child.stdout, "data"), once(child, "exit")]);
  const origin = /^mock legacy system on (http:\/\/127\.0\.0\.1:\d+)\n$/.exec(text)?.[1];
  assert.ok(origin, text);
  return { child, origin, output: () => text };
}

/** @param {import("node:child_process").ChildProcess} child @param {NodeJS.Signals} [signal] */
async function stopCommand(child, signal = "SIGTERM") {
  const closed = once(child, "close");
  child.kill(signal);
  return (await closed)[0];
}
