// Bodies of any size are streamed in both directions through the gateway in `wrangler dev`, in constant memory.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, readFile, readdir, readlink, rm, writeFile } from "node:fs/promises";
import { createServer, request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { gzipSync } from "node:zlib";
import { WebSocket, WebSocketServer } from "ws";
import { TEST_TIMEOUT_MS, startGateways, waitFor } from "../support/gateway.js";
import { fetchRaw } from "../support/raw-http.js";
import { startWrangler } from "../support/wrangler.js";

/** @typedef {import("node:http").IncomingMessage} IncomingMessage */

const LARGE = 100 * 1024 * 1024;

/** Limit on the growth of the gateway's workerd while a large body passes, in bytes: far below the body, above the buffers. */
const GROWTH_MAX = 32 * 1024 * 1024;

const JSON_TYPE = "application/json";

/** A body as the mock legacy system makes it: byte i is i mod 251. @param {number} bytes */
const pattern = (bytes) => Buffer.alloc(bytes, Buffer.from(Array.from({ length: 251 }, (_, index) => index)));

/** @param {Uint8Array} bytes */
const sha256 = (bytes) => createHash("sha256").update(bytes).digest("hex");

/**
 * The peak growth, in bytes, of the workerd that runs the Worker during `work`. The workerd in front of it,
 * the proxy of `wrangler dev`, keeps most of what it forwards, whatever the Worker does.
 *
 * @template T
 * @param {{ origin: string, group: number }} session
 * @param {() => Promise<T>} work
 */
async function measureGrowth({ origin, group }, work) {
  const pids = await findWorkerds(group, Number(new URL(origin).port));
  assert.equal(pids.length, 1, "expected one workerd behind the proxy");
  // Linux keeps the peak of each process; this resets it to the current size (proc(5), clear_refs).
  await Promise.all(pids.map((pid) => writeFile(`/proc/${pid}/clear_refs`, "5")));
  const peakBefore = await sumPeakMemory(pids);
  const result = await work();
  return { result, bytes: (await sumPeakMemory(pids)) - peakBefore };
}

/** The group's workerd processes that do not listen on this port. @param {number} group @param {number} port */
async function findWorkerds(group, port) {
  const pids = [];
  for (const pid of (await readdir("/proc")).filter((name) => /^\d+$/.test(name))) {
    // The process may have ended since.
    const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => "");
    const [, name, rest] = /^\d+ \((.*)\) (.*)/s.exec(stat) ?? [];
    if (name === "workerd" && Number(rest.split(" ")[2]) === group && !(await isListening(pid, port))) pids.push(pid);
  }
  return pids;
}

/** @param {string} pid @param {number} port */
async function isListening(pid, port) {
  const [, ...lines] = (await readFile(`/proc/${pid}/net/tcp`, "utf8")).trim().split("\n");
  const columns = lines.map((line) => line.trim().split(/\s+/));
  const LISTEN = "0A";
  const inode = columns.find(([, local, , state]) => state === LISTEN && parseInt(local.split(":")[1], 16) === port)?.[9];
  const links = (await readdir(`/proc/${pid}/fd`)).map((name) => readlink(`/proc/${pid}/fd/${name}`).catch(() => ""));
  return (await Promise.all(links)).includes(`socket:[${inode}]`);
}

/** Size and hash of a response's body, which is not buffered in memory. @param {string} origin @param {string} method @param {string} path */
async function fetchDigest(origin, method, path) {
  const { hostname, port } = new URL(origin);
  const headers = method === "POST" ? { "content-type": JSON_TYPE, "content-length": "2" } : {};
  const clientRequest = request({ hostname, port, method, path, headers, agent: false }).end(method === "POST" ? "{}" : undefined);
  const [response] = await once(clientRequest, "response");
  const hash = createHash("sha256");
  let bytes = 0;
  for await (const chunk of response) {
    hash.update(chunk);
    bytes += chunk.length;
  }
  return { body_bytes: bytes, body_sha256: hash.digest("hex") };
}

/** @param {string[]} pids */
async function sumPeakMemory(pids) {
  const texts = await Promise.all(pids.map((pid) => readFile(`/proc/${pid}/status`, "utf8")));
  return texts.reduce((sum, text) => sum + 1024 * Number(/^VmHWM:\s+(\d+) kB$/m.exec(text)?.[1]), 0);
}

/** Legacy system for a body in chunks: each test decides when a chunk is sent, and sees when a chunk arrives. */
const legacy = createServer((request, response) => handleRequest(request, response));
/** @type {(request: IncomingMessage, response: import("node:http").ServerResponse) => void} */
let handleRequest = () => {};

const startSession = () => startGateways({
  // /upload reports what it received; as a classify route it shows how the gateway handles a body of any size.
  large: [{ INITIAL_SHARE: "0%", LEGACY_CLASSIFY_ROUTES: "POST /predict, POST /upload, POST /download" }, { model: "none" }],
  small: [{ INITIAL_SHARE: "100%", LEGACY_CLASSIFY_ROUTES: "POST /predict, POST /upload" }, { model: "none" }],
  parts: [{ INITIAL_SHARE: "0%", LEGACY_ORIGIN: `http://127.0.0.1:${/** @type {import("node:net").AddressInfo} */ (legacy.address()).port}` }, { model: "none" }],
});
/** @type {Awaited<ReturnType<typeof startSession>>} */
let session;
before(async () => {
  await once(legacy.listen(0, "127.0.0.1"), "listening");
  session = await startSession();
});
after(async () => {
  await session?.stop();
  legacy.closeAllConnections();
  legacy.close();
});

describe("a large body", { timeout: TEST_TIMEOUT_MS }, () => {
  /** @type {import("../support/gateway.js").Gateway} */
  let gateway;
  const large = pattern(LARGE);
  const expected = { body_bytes: LARGE, body_sha256: sha256(large) };
  before(async () => {
    gateway = session.gateways.large;
    // Allocates buffers and compiles code before the measurement.
    await fetchRaw(gateway.origin, "/download?bytes=8000000");
    await fetchRaw(gateway.origin, "/upload", { method: "PUT", body: pattern(8_000_000) });
  });

  /** @param {string} name @param {() => Promise<void>} work */
  const testConstantMemory = (name, work) =>
    test(`${name}, in constant memory`, async (context) => {
      const { bytes } = await measureGrowth(session, work);
      context.diagnostic(`workerd grew by ${(bytes / 2 ** 20).toFixed(1)} MiB`);
      assert.ok(bytes < GROWTH_MAX, `workerd grew by ${bytes} bytes`);
    });

  /** @param {Record<string, string>} headers */
  const classify = async (headers) => {
    const result = JSON.parse((await fetchRaw(gateway.origin, "/upload", { method: "POST", body: large, headers })).body.toString());
    assert.deepEqual(result, expected);
    const { reason, cohort, destination, status } = await nextEvent();
    assert.deepEqual({ reason, cohort, destination, status }, { reason: "streamed", cohort: "stable", destination: "stable", status: 200 });
  };
  let eventCount = 0;
  const nextEvent = async () => (await gateway.waitForEvents((eventCount += 1)))[eventCount - 1];

  testConstantMemory("is downloaded whole", async () => {
    assert.deepEqual(await fetchDigest(gateway.origin, "GET", `/download?bytes=${LARGE}`), expected);
  });

  testConstantMemory("is downloaded whole as the response to a classify request", async () => {
    assert.deepEqual(await fetchDigest(gateway.origin, "POST", `/download?bytes=${LARGE}`), expected);
    const { status, unreadable_response_reason } = await nextEvent();
    assert.deepEqual({ status, unreadable_response_reason }, { status: 200, unreadable_response_reason: "too_large" });
  });

  testConstantMemory("is uploaded whole", async () => {
    const { body } = await fetchRaw(gateway.origin, "/upload", { method: "PUT", body: large });
    assert.deepEqual(JSON.parse(body.toString()), expected);
  });

  testConstantMemory("is uploaded whole in chunks", async () => {
    const { body } = await fetchRaw(gateway.origin, "/upload", { method: "PUT", body: large, headers: { "transfer-encoding": "chunked" } });
    assert.deepEqual(JSON.parse(body.toString()), expected);
  });

  testConstantMemory("is uploaded whole as a classify request", () => classify({ "content-type": JSON_TYPE }));

  testConstantMemory("is uploaded whole as a classify request in chunks", () => classify({ "content-type": JSON_TYPE, "transfer-encoding": "chunked" }));

  testConstantMemory("is refused by the legacy system", async () => {
    const response = await fetchRaw(gateway.origin, "/predict", { method: "POST", body: large, headers: { "content-type": JSON_TYPE } });
    const refused = { error: "body is above the limit of 65536 bytes" };
    assert.deepEqual([response.status, JSON.parse(response.body.toString())], [413, refused]);
    const { reason, status, unreadable_response_reason } = await nextEvent();
    assert.deepEqual({ reason, status, unreadable_response_reason }, { reason: "streamed", status: 413, unreadable_response_reason: "error_status" });
    // The legacy system responded to the first bytes, and continues to read.
    await waitFor(() => gateway.legacy.requests.at(-1)?.body_bytes === LARGE, () => JSON.stringify(gateway.legacy.requests.at(-1)));
  });

  test("makes a Worker that buffers it grow by more than the body", async () => {
    const folder = await mkdtemp(join(tmpdir(), "jeffrey-holds-"));
    await writeFile(join(folder, "wrangler.toml"), 'name = "holds"\nmain = "holds.js"\ncompatibility_date = "2026-04-26"\n');
    const holds = "export default { fetch: async (request) => new Response(String((await request.arrayBuffer()).byteLength)) };\n";
    await writeFile(join(folder, "holds.js"), holds);
    const worker = await startWrangler([join(folder, "wrangler.toml")], { path: "/", cwd: folder });
    try {
      const send = () => fetchRaw(worker.origin, "/", { method: "PUT", body: large });
      const { result, bytes } = await measureGrowth(worker, send);
      assert.equal(result.body.toString(), String(LARGE));
      assert.ok(bytes > LARGE, `workerd grew by ${bytes} bytes`);
    } finally {
      await worker.stop();
      await rm(folder, { recursive: true, force: true });
    }
  });
});

describe("a small body", { timeout: TEST_TIMEOUT_MS }, () => {
  /** @type {import("../support/gateway.js").Gateway} */
  let gateway;
  before(() => {
    gateway = session.gateways.small;
  });

  test("of a classify request is buffered only if it is short, uncompressed JSON of a known length", async () => {
    const text = JSON.stringify({ text: "Je suis furieux", user_id: "u-1" });
    /** A JSON body of this size. @param {number} bytes */
    const sized = (bytes) => JSON.stringify({ user_id: "u-1", text: "z".repeat(bytes - '{"user_id":"u-1","text":""}'.length) });
    /** @type {[string, string | Buffer, Record<string, string>, boolean][]} */
    const table = [
      ["short", text, {}, true],
      ["of JSON with a charset", text, { "content-type": "Application/JSON; charset=utf-8" }, true],
      ["of 64 KiB", sized(65_536), {}, true],
      ["of one byte more", sized(65_537), {}, false],
      ["in chunks", text, { "transfer-encoding": "chunked" }, false],
      ["compressed", gzipSync(text), { "content-encoding": "gzip" }, false],
      ["without a content type", text, { "content-type": "" }, false],
      ["of plain text", text, { "content-type": "text/plain" }, false],
      ["of JSON text sequences", text, { "content-type": "application/json-seq" }, false],
    ];
    for (const [index, [name, body, headers, buffered]] of table.entries()) {
      const allHeaders = { "content-type": JSON_TYPE, ...headers };
      const { body: responseBody } = await fetchRaw(gateway.origin, "/upload", { method: "POST", body, headers: allHeaders });
      const bytes = Buffer.from(body);
      assert.deepEqual(JSON.parse(responseBody.toString()), { body_bytes: bytes.length, body_sha256: sha256(bytes) }, name);
      const legacyHeaders = gateway.legacy.requests.at(-1)?.headers.map(([key, value]) => `${key.toLowerCase()}: ${value}`) ?? [];
      for (const [key, value] of Object.entries(headers)) assert.ok(key === "content-type" || legacyHeaders.includes(`${key}: ${value}`), `${name}: ${key}`);
      const { reason } = (await gateway.waitForEvents(index + 1))[index];
      assert.equal(reason, buffered ? "bucket" : "streamed", name);
    }
  });

  test("of a WebSocket passes in both directions, as text and as bytes", async () => {
    const url = `${gateway.origin.replace("http", "ws")}/ws?close=4001`;
    const socket = new WebSocket(url, ["another", "jeffrey-test"], { headers: { cookie: "a=1; jeffrey_subject=AAAAAAAAAAAAAAAAAAAAAA" } });
    await once(socket, "open");
    assert.equal(socket.protocol, "jeffrey-test");
    const closed = once(socket, "close");
    const echoed = once(socket, "message");
    socket.send("Je suis là ☀");
    const [data, isBinary] = await echoed;
    assert.deepEqual([data.toString(), isBinary], ["Je suis là ☀", false]);
    const [code, reason] = await closed;
    assert.deepEqual([code, reason.toString()], [4001, "close requested"]);
    const legacyRequest = gateway.legacy.requests.at(-1);
    const legacyHeaders = new Map(legacyRequest?.headers.map(([name, value]) => [name.toLowerCase(), value]));
    assert.equal(legacyRequest?.url, "/ws?close=4001");
    assert.deepEqual([legacyHeaders.get("cookie"), legacyHeaders.get("via")], ["a=1", "1.1 jeffrey-edge"]);

    const binary = new WebSocket(`${gateway.origin.replace("http", "ws")}/ws`);
    await once(binary, "open");
    for (const bytes of [Buffer.of(), Buffer.of(0, 255, 10, 13), pattern(300_000)]) {
      const message = once(binary, "message");
      binary.send(bytes);
      const [data, isBinary] = await message;
      assert.deepEqual([isBinary, sha256(data)], [true, sha256(bytes)], `${bytes.length} bytes`);
    }
    const ended = once(binary, "close");
    binary.close(1000);
    assert.equal((await ended)[0], 1000);
  });

  test("a WebSocket that the legacy system refuses gets the legacy system's status", async () => {
    for (const path of ["/health", "/predict", "/no/such"]) {
      const refusedStatus = async (/** @type {string} */ origin) => {
        const socket = new WebSocket(origin.replace("http", "ws") + path);
        socket.on("error", () => {});
        const [, response] = await once(socket, "unexpected-response");
        response.destroy();
        return response.statusCode;
      };
      assert.equal(await refusedStatus(gateway.origin), await refusedStatus(gateway.legacy.origin), path);
    }
  });
});

describe("a body in chunks", { timeout: TEST_TIMEOUT_MS }, () => {
  /** @type {import("../support/gateway.js").Gateway} */
  let gateway;
  before(() => {
    gateway = session.gateways.parts;
  });

  /** Opens a request, with `arrival` for its arrival at the legacy system and `clientResponse` for the response. @param {string} method @param {string} path @param {Record<string, string>} [headers] */
  function openRequest(method, path, headers) {
    const { hostname, port } = new URL(gateway.origin);
    /** @type {Promise<[IncomingMessage, import("node:http").ServerResponse]>} */
    const arrival = new Promise((resolve) => (handleRequest = (...pair) => resolve(pair)));
    const clientRequest = request({ hostname, port, method, path, headers, agent: false });
    return { clientRequest, arrival, clientResponse: once(clientRequest, "response") };
  }

  for (const [method, path] of [["GET", "/forwarded"], ["POST", "/predict"]]) {
    test(`is downloaded chunk by chunk, ${method} ${path}`, async () => {
      const { clientRequest, arrival, clientResponse } = openRequest(method, path, method === "POST" ? { "content-type": JSON_TYPE } : {});
      clientRequest.end(method === "POST" ? '{"text":"a","user_id":"u-1"}' : undefined);
      const [, response] = await arrival;
      // Each step waits for the step before: with a gateway that buffered a chunk, the test would not end.
      response.writeHead(200, { "content-type": "text/event-stream" }).flushHeaders();
      const [received] = await clientResponse;
      assert.deepEqual([received.statusCode, received.headers["content-type"]], [200, "text/event-stream"]);
      for (const chunk of ["data: one\n\n", "data: two\n\n", "data: three\n\n"]) {
        const arrived = once(received, "data");
        response.write(chunk);
        assert.equal(String((await arrived)[0]), chunk);
      }
      const ended = once(received, "end");
      response.end();
      await ended;
    });
  }

  test("of a classify response without a length is read only up to a limit", async (context) => {
    const chunk = pattern(1024 * 1024);
    handleRequest = async (incoming, response) => {
      incoming.resume();
      response.writeHead(200, { "content-type": JSON_TYPE });
      for (let remaining = LARGE; remaining > 0; remaining -= chunk.length) if (!response.write(chunk)) await once(response, "drain");
      response.end();
    };
    const { result, bytes } = await measureGrowth(session, () => fetchDigest(gateway.origin, "POST", "/predict"));
    assert.equal(result.body_bytes, LARGE);
    await waitFor(() => gateway.events().some(({ unreadable_response_reason }) => unreadable_response_reason === "too_large"), () => JSON.stringify(gateway.events()));
    context.diagnostic(`workerd grew by ${(bytes / 2 ** 20).toFixed(1)} MiB`);
    assert.ok(bytes < GROWTH_MAX, `workerd grew by ${bytes} bytes`);
  });

  for (const [method, path] of [["PUT", "/forwarded"], ["POST", "/predict"]]) {
    test(`is uploaded chunk by chunk, ${method} ${path}`, async () => {
      const { clientRequest, arrival, clientResponse } = openRequest(method, path, { "content-type": JSON_TYPE });
      clientRequest.flushHeaders();
      const [incoming, response] = await arrival;
      for (const chunk of ['{"text":', '"in parts"', "}"]) {
        const arrived = once(incoming, "data");
        clientRequest.write(chunk);
        assert.equal(String((await arrived)[0]), chunk);
      }
      clientRequest.end();
      await once(incoming, "end");
      response.end("{}");
      const [received] = await clientResponse;
      received.resume();
      await once(received, "end");
      assert.equal(received.statusCode, 200);
    });
  }

  test("is cancelled at the legacy system after the client has left", async () => {
    const { clientRequest, arrival, clientResponse } = openRequest("GET", "/forwarded");
    clientRequest.on("error", () => {});
    clientRequest.end();
    const [, response] = await arrival;
    let closed = false;
    response.once("close", () => (closed = true));
    response.write("first");
    await clientResponse;
    clientRequest.destroy();
    // The proxy of `wrangler dev` notices that its client has left only when it sends data.
    await waitFor(() => {
      response.write("more");
      return closed;
    });
    assert.equal(response.writableFinished, false);
  });

  test("a WebSocket closed by its client is closed at the legacy system, with the same code and reason", async () => {
    const socketServer = new WebSocketServer({ server: legacy });
    const connection = once(socketServer, "connection");
    const socket = new WebSocket(gateway.origin.replace("http", "ws"));
    const [peer] = await connection;
    await once(socket, "open");
    const ended = once(peer, "close");
    socket.close(4002, "mine");
    const [code, reason] = await ended;
    assert.deepEqual([code, reason.toString()], [4002, "mine"]);
    socketServer.close();
  });
});
