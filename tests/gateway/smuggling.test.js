// Requests that two HTTP parsers could read differently, byte by byte, in workerd.
//
// workerd parses each request before the gateway's code. It refuses most of these requests, and writes
// the others anew for the next hop. So the gateway gets one request with one length and one host, and
// refuses nothing itself; `by` in the tables names the side that answers. Deployed, Cloudflare's edge
// parses first and may refuse more. With every parser, each request that reaches the legacy system must
// come through the gateway, be answered to its own caller, and be for the configured host.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { PATIENCE_MS, startGateway } from "../support/gateway.js";
import { ask, spoken } from "../support/raw-http.js";

const HOST = "Host: gate.example\r\n";

/** A request that must not be read as a separate request while it is the body of another one. */
const HIDDEN = "GET /files/hidden HTTP/1.1\r\nHost: gate.example\r\n\r\n";

/** @param {string} headers each with its line end @param {string} [body] */
const echo = (headers, body = "") => `POST /echo HTTP/1.1\r\n${HOST}${headers}\r\n${body}`;
/** @param {string} body */
const chunked = (body) => echo("Transfer-Encoding: chunked\r\n", body);
/** @param {string} headers */
const get = (headers) => `GET /echo HTTP/1.1\r\n${HOST}${headers}\r\n`;
/** @param {string} target @param {string} [host] */
const line = (target, host = "gate.example") => `GET ${target} HTTP/1.1\r\nHost: ${host}\r\n\r\n`;

/**
 * @typedef {object} Row
 * @property {string} name
 * @property {string} bytes
 * @property {"workerd" | "old system"} by the side that answers
 * @property {string[]} answers the status of each response, and the text if workerd answers with one
 * @property {string[]} [reached] requests to the legacy system: method, target, and bytes of the body if known
 * @property {string} [host] host of the request, if it is not `gate.example`
 * @property {Record<string, string>} [headers] names and values that the legacy system gets
 */

const FAULT = "500 Internal Server Error";
const INVALID = "400 ERROR: The headers sent by your client are not valid.";

/** A request that workerd refuses and the gateway does not get. @param {string} name @param {string} bytes @param {string} [answer] @returns {Row} */
const refused = (name, bytes, answer = FAULT) => ({ name, bytes, by: "workerd", answers: [answer] });

/** A request that reaches the legacy system once. @param {string} name @param {string} bytes @param {string} reached @param {Partial<Row>} [more] @returns {Row} */
const one = (name, bytes, reached, more = {}) => ({ name, bytes, by: "old system", answers: ["200"], reached: [reached], ...more });

/** @type {Record<string, Row[]>} */
const TABLES = {
  "conflicting lengths smuggle no request past the gateway": [
    // RFC 9112, section 6.3: Transfer-Encoding overrides Content-Length.
    one("both, more in the chunk than the length", echo("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", `32\r\n${HIDDEN}\r\n0\r\n\r\n`), "POST /echo 50"),
    one("both, the other way round", echo("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", `32\r\n${HIDDEN}\r\n0\r\n\r\n`), "POST /echo 50"),
    {
      // For workerd and the gateway the next request begins after the last chunk, and it passes through
      // the gateway like any other. That section says to close the connection, which workerd does not do.
      name: "both, more in the length than the chunk",
      bytes: echo("Content-Length: 55\r\nTransfer-Encoding: chunked\r\n", `0\r\n\r\n${HIDDEN}`),
      by: "old system",
      answers: ["200", "200"],
      reached: ["POST /echo 0", "GET /files/hidden 0"],
    },
    refused("two lengths", echo(`Content-Length: 5\r\nContent-Length: ${5 + HIDDEN.length}\r\n`, `hello${HIDDEN}`)),
    refused("the same length twice", echo("Content-Length: 5\r\nContent-Length: 5\r\n", "hello")),
    refused("a list of lengths", echo("Content-Length: 5, 5\r\n", "hello")),
    refused("a length with a plus", echo("Content-Length: +5\r\n", "hello")),
    refused("a length below 0", echo("Content-Length: -1\r\n", "hello")),
    refused("a length in hexadecimal", echo("Content-Length: 0x5\r\n", "hello")),
    refused("a length and a word", echo("Content-Length: 5 6\r\n", `hello${HIDDEN}`)),
    // Read as the largest number; the bytes of the body that arrive before the end are a matter of chance.
    one("a length of 2^64 + 5", echo("Content-Length: 18446744073709551621\r\n", `hello${HIDDEN}`), "POST /echo", { by: "workerd", answers: ["503"] }),
    refused("an unknown coding", echo("Transfer-Encoding: xchunked\r\n", `0\r\n\r\n${HIDDEN}`)),
    refused("chunked and a length, hidden by a tabulator", echo(`Transfer-Encoding:\x0bchunked\r\nContent-Length: 4\r\n`, `0\r\n\r\n${HIDDEN}`)),
    refused("chunked that is not last", echo("Transfer-Encoding: chunked, identity\r\n", `0\r\n\r\n${HIDDEN}`)),
    refused("two codings", echo("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", `0\r\n\r\n${HIDDEN}`)),
    refused("identity and a length", echo(`Transfer-Encoding: identity\r\nContent-Length: ${HIDDEN.length}\r\n`, HIDDEN)),
    one("chunked in capitals", echo("Transfer-Encoding: CHUNKED\r\n", "5\r\nhello\r\n0\r\n\r\n"), "POST /echo 5"),
    one("a length that Connection names", echo(`Connection: content-length\r\nContent-Length: ${HIDDEN.length}\r\n`, HIDDEN), "POST /echo 50"),
    one("a coding that Connection names", echo("Connection: transfer-encoding\r\nTransfer-Encoding: chunked\r\n", `32\r\n${HIDDEN}\r\n0\r\n\r\n`), "POST /echo 50"),
    one("a body of DELETE", `DELETE /echo HTTP/1.1\r\n${HOST}Content-Length: ${HIDDEN.length}\r\n\r\n${HIDDEN}`, "DELETE /echo 50"),
    one("a body of GET", `GET /echo HTTP/1.1\r\n${HOST}Content-Length: ${HIDDEN.length}\r\n\r\n${HIDDEN}`, "GET /echo 50"),
    one("a body of HEAD", `HEAD /echo HTTP/1.1\r\n${HOST}Content-Length: ${HIDDEN.length}\r\n\r\n${HIDDEN}`, "HEAD /echo 50"),
    one("a body of OPTIONS", `OPTIONS /echo HTTP/1.1\r\n${HOST}Content-Length: ${HIDDEN.length}\r\n\r\n${HIDDEN}`, "OPTIONS /echo 50"),
  ],
  "malformed chunks smuggle no request past the gateway": [
    one("lines that end with LF", chunked("5\nhello\r\n0\r\n\r\n"), "POST /echo 5"),
    // workerd supports no chunk extensions and no trailers (RFC 9112, section 7.1). Where it stops
    // reading, the body ends for the legacy system, and the connection ends for the client.
    one("an extension", chunked(`5;a=b\r\nhello\r\n0\r\n\r\n${HIDDEN}`), "POST /echo 0"),
    one("an extension with LF inside", chunked(`5;\nhello\r\n0\r\n\r\n${HIDDEN}`), "POST /echo 0"),
    one("a size with 0x", chunked(`0x5\r\nhello\r\n0\r\n\r\n${HIDDEN}`), "POST /echo 0"),
    one("a size below 0", chunked(`-1\r\nhello\r\n0\r\n\r\n${HIDDEN}`), "POST /echo 0"),
    one("a size of 2^64 + 5", chunked(`10000000000000005\r\nhello\r\n0\r\n\r\n${HIDDEN}`), "POST /echo 0"),
    one("a size with a space", chunked(`5 \r\nhello\r\n0\r\n\r\n${HIDDEN}`), "POST /echo 0"),
    one("no size", chunked(`\r\nhello\r\n0\r\n\r\n${HIDDEN}`), "POST /echo 0"),
    one("longer than its size", chunked(`3\r\nhello\r\n0\r\n\r\n${HIDDEN}`), "POST /echo 3"),
    {
      name: "a trailer",
      bytes: chunked("5\r\nhello\r\n0\r\nX-Trailer: 1\r\nHost: evil.example\r\n\r\n"),
      by: "old system",
      answers: ["200", "501 ERROR: Unrecognized request method."],
      reached: ["POST /echo 5"],
    },
  ],
  "malformed lines and headers smuggle no request past the gateway": [
    one("a folded header", get("X-A: one\r\n two\r\n"), "GET /echo 0", { headers: { "x-a": "one   two" } }),
    one("a length folded away", echo("X-A: one\r\n Content-Length: 50\r\nContent-Length: 5\r\n", "hello"), "POST /echo 5", {
      headers: { "x-a": "one   Content-Length: 50", "content-length": "5" },
    }),
    one("lines that end with LF", "GET /echo HTTP/1.1\nHost: gate.example\nX-A: 1\n\n", "GET /echo 0", { headers: { "x-a": "1" } }),
    // A bare CR ends a line for workerd; the legacy system gets two headers, each in its own line.
    one("CR in a value", get("X-A: 1\rX-B: 2\r\n"), "GET /echo 0", { headers: { "x-a": "1", "x-b": "2" } }),
    one("CR before one of ours", get("X-A: 1\rX-Forwarded-For: 10.0.0.1\r\n"), "GET /echo 0", {
      headers: { "x-a": "1", "x-forwarded-for": "10.0.0.1, 127.0.0.1" },
    }),
    {
      name: "LF twice in a value",
      bytes: `GET /echo HTTP/1.1\r\n${HOST}X-A: 1\n\nX-B: 2\r\n\r\n`,
      by: "old system",
      answers: ["200", "501 ERROR: Unrecognized request method."],
      reached: ["GET /echo 0"],
    },
    one("a space before the colon of a length", echo(`Content-Length : ${HIDDEN.length}\r\n`, HIDDEN), "POST /echo 50"),
    one("a space before the colon of a coding", echo("Content-Length: 4\r\nTransfer-Encoding : chunked\r\n", `32\r\n${HIDDEN}\r\n0\r\n\r\n`), "POST /echo 50"),
    refused("NUL in a value", get("X-A: a\0b\r\n"), INVALID),
    refused("NUL in a name", get("X\0A: b\r\n"), INVALID),
    refused("NUL in the path", line("/echo\0"), INVALID),
    refused("a header without a name", get(": x\r\n"), INVALID),
    refused("a header without a colon", get("junk\r\n"), INVALID),
    one("line ends in the query, escaped", line("/echo?a=%0d%0aX-B:%202"), "GET /echo?a=%0d%0aX-B:%202 0"),
    one("the path of a header", get("X-Original-URL: /files/other\r\nX-Rewrite-URL: /files/other\r\n"), "GET /echo 0"),
    one("a change to HTTP/2", get("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"), "GET /echo 0"),
    refused("the first words of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "501 ERROR: Unrecognized request method."),
    refused("an unknown method", `FOO /echo HTTP/1.1\r\n${HOST}\r\n`, "501 ERROR: Unrecognized request method."),
    refused("a header of 200,000 bytes", get(`X-A: ${"a".repeat(200_000)}\r\n`), "431 ERROR: header too large."),
    { name: "two requests at once", bytes: line("/echo?1") + line("/echo?2"), by: "old system", answers: ["200", "200"], reached: ["GET /echo?1 0", "GET /echo?2 0"] },
  ],
  "no target and no header changes the configured host": [
    refused("another host in the target", line("http://evil.example/echo")),
    refused("another scheme and host in the target", line("https://evil.example:1/echo")),
    refused("our host in the target", line("http://gate.example/echo")),
    refused("a target without a slash", line("echo")),
    refused("a host for a target", line("evil.example:80")),
    refused("a target that begins with @", line("@evil.example/echo")),
    refused("CONNECT", `CONNECT evil.example:443 HTTP/1.1\r\n${HOST}\r\n`),
    refused("OPTIONS for everything", `OPTIONS * HTTP/1.1\r\n${HOST}\r\n`),
    one("two slashes and a host", line("//evil.example/echo"), "GET //evil.example/echo 0", { answers: ["404"] }),
    one("a backslash and a host", line("/\\evil.example/echo"), "GET //evil.example/echo 0", { answers: ["404"] }),
    one("another host", line("/echo", "evil.example"), "GET /echo 0", { host: "evil.example" }),
    one("another host and port", line("/echo", "evil.example:8443"), "GET /echo 0", { host: "evil.example:8443" }),
    one("an address for a host", line("/echo", "[::1]:8443"), "GET /echo 0", { host: "[::1]:8443" }),
    refused("no host", "GET /echo HTTP/1.1\r\n\r\n", "400 Bad Request"),
    refused("an empty host", line("/echo", ""), "400 Bad Request"),
    refused("two hosts", get("Host: evil.example\r\n")),
    refused("a list of hosts", line("/echo", "a.example, b.example")),
    refused("a host with a user", line("/echo", "gate.example@evil.example")),
    refused("a host with a path", line("/echo", "evil.example/echo?")),
    refused("a host with a path of ours", line("/echo", "evil.example/_jeffrey/health?")),
    refused("a host with a fragment", line("/echo", "evil.example/echo#")),
    refused("a host with a space", line("/echo", "evil example")),
    refused("a host with a port that is none", line("/echo", "evil.example:99999")),
    one("headers that name a host", get("X-Forwarded-Host: evil.example\r\nX-Forwarded-Proto: https\r\nX-Host: evil.example\r\n"), "GET /echo 0", {
      headers: { "x-forwarded-host": "gate.example", "x-forwarded-proto": "http" },
    }),
    one("a host that Connection names", get("Connection: close, host, x-forwarded-for, x-forwarded-host, cookie\r\nCookie: a=b\r\n"), "GET /echo 0", {
      headers: { cookie: "a=b", "x-forwarded-for": "127.0.0.1" },
    }),
  ],
};

describe("ambiguous requests", { timeout: PATIENCE_MS }, () => {
  /** @type {Awaited<ReturnType<typeof startGateway>>} */
  let gate;
  before(async () => {
    gate = await startGateway({ INITIAL_SHARE: "0%" }, { model: "none" });
  });
  after(() => gate?.stop());

  for (const [table, rows] of Object.entries(TABLES)) {
    test(table, async () => {
      for (const { name, bytes, by, answers, reached = [], host = "gate.example", headers = {} } of rows) {
        const before = gate.legacy.requests.length;
        const { text, reset } = await spoken(gate.origin, bytes);
        // This request would get any bytes left in a connection between gateway and legacy system.
        const next = await ask(gate.origin, "/files/next");
        assert.equal(next.body.toString(), "file /files/next\n", `${name}: the next caller's answer`);

        const found = gate.legacy.requests.slice(before);
        const asked = found.map(({ method, url, body_bytes }, at) => {
          const known = reached[at]?.split(" ").length !== 2;
          return `${method} ${url}${known ? ` ${body_bytes}` : ""}`;
        });
        assert.deepEqual(asked, [...reached, "GET /files/next 0"], `${name}: what reached the old system`);
        const seen = text.split(/(?=HTTP\/1\.1 \d)/).map((answer, at) => {
          const [head, body] = answer.split("\r\n\r\n");
          const status = head.split(" ")[1];
          return answers[at]?.includes(" ") ? `${status} ${body}` : status;
        });
        assert.deepEqual(seen, reset && by === "workerd" ? answers.slice(0, seen.length) : answers, `${name}: ${text}`);
        if (reached.length === 0) assert.equal(by, "workerd", name);

        for (const { headers: got } of found.slice(0, -1)) {
          const values = (/** @type {string} */ wanted) => got.filter(([key]) => key.toLowerCase() === wanted).map(([, value]) => value);
          assert.deepEqual(values("host"), [new URL(gate.legacy.origin).host], `${name}: host`);
          assert.deepEqual(values("via"), ["1.1 jeffrey-edge"], `${name}: not through the gate, or twice`);
          assert.deepEqual(values("x-forwarded-host"), [host], `${name}: x-forwarded-host`);
          assert.deepEqual(values("x-forwarded-proto"), ["http"], `${name}: x-forwarded-proto`);
          assert.ok(values("content-length").length + values("transfer-encoding").length <= 1, `${name}: two lengths`);
          for (const [key, value] of Object.entries(headers)) assert.deepEqual(values(key), [value], `${name}: ${key}`);
        }
      }
    });
  }
});
