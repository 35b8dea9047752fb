// Requests that two HTTP parsers could read differently, byte by byte, in workerd.
//
// workerd parses each request before the gateway's code. It refuses most of these requests, and writes
// the others anew for the next hop. So the gateway gets one request with one length and one host, and
// refuses nothing itself; `responder` in the tables names the side that responds. Deployed, Cloudflare's edge
// parses first and may refuse more. With every parser, each request that reaches the legacy system must
// come through the gateway, get its response on its own connection, and be for the configured host.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { TEST_TIMEOUT_MS, startGateway } from "../support/gateway.js";
import { fetchRaw, sendBytes } from "../support/raw-http.js";

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
const getTarget = (target, host = "gate.example") => `GET ${target} HTTP/1.1\r\nHost: ${host}\r\n\r\n`;

/**
 * @typedef {object} Row
 * @property {string} name
 * @property {string} bytes
 * @property {"workerd" | "legacy system"} responder the side that responds
 * @property {string[]} responses the status of each response, and the text if workerd responds with one
 * @property {string[]} [forwarded] requests to the legacy system: method, target, and bytes of the body if known
 * @property {string} [host] host of the request, if it is not `gate.example`
 * @property {Record<string, string>} [headers] names and values that the legacy system gets
 */

const FAULT = "500 Internal Server Error";
const INVALID = "400 ERROR: The headers sent by your client are not valid.";

/** A request that workerd refuses and the gateway does not get. @param {string} name @param {string} bytes @param {string} [response] @returns {Row} */
const refused = (name, bytes, response = FAULT) => ({ name, bytes, responder: "workerd", responses: [response] });

/** A request that reaches the legacy system once. @param {string} name @param {string} bytes @param {string} request @param {Partial<Row>} [more] @returns {Row} */
const passes = (name, bytes, request, more = {}) => ({ name, bytes, responder: "legacy system", responses: ["200"], forwarded: [request], ...more });

/** @type {Record<string, Row[]>} */
const TABLES = {
  "conflicting lengths smuggle no request past the gateway": [
    // RFC 9112, section 6.3: Transfer-Encoding overrides Content-Length.
    passes("both, more in the chunk than the length", echo("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", `32\r\n${HIDDEN}\r\n0\r\n\r\n`), "POST /echo 50"),
    passes("both, in the reverse order", echo("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", `32\r\n${HIDDEN}\r\n0\r\n\r\n`), "POST /echo 50"),
    {
      // For workerd and the gateway the next request begins after the last chunk, and it passes through
      // the gateway like any other. That section says to close the connection, which workerd does not do.
      name: "both, more in the length than the chunk",
      bytes: echo("Content-Length: 55\r\nTransfer-Encoding: chunked\r\n", `0\r\n\r\n${HIDDEN}`),
      responder: "legacy system",
      responses: ["200", "200"],
      forwarded: ["POST /echo 0", "GET /files/hidden 0"],
    },
    refused("two lengths", echo(`Content-Length: 5\r\nContent-Length: ${5 + HIDDEN.length}\r\n`, `hello${HIDDEN}`)),
    refused("the same length twice", echo("Content-Length: 5\r\nContent-Length: 5\r\n", "hello")),
    refused("a list of lengths", echo("Content-Length: 5, 5\r\n", "hello")),
    refused("a length with a plus", echo("Content-Length: +5\r\n", "hello")),
    refused("a length below 0", echo("Content-Length: -1\r\n", "hello")),
    refused("a length in hexadecimal", echo("Content-Length: 0x5\r\n", "hello")),
    refused("two lengths with a space between them", echo("Content-Length: 5 6\r\n", `hello${HIDDEN}`)),
    // Read as the largest number; the bytes of the body that arrive before the end are a matter of chance.
    passes("a length of 2^64 + 5", echo("Content-Length: 18446744073709551621\r\n", `hello${HIDDEN}`), "POST /echo", { responder: "workerd", responses: ["503"] }),
    refused("an unknown coding", echo("Transfer-Encoding: xchunked\r\n", `0\r\n\r\n${HIDDEN}`)),
    refused("chunked and a length, hidden by a vertical tab", echo(`Transfer-Encoding:\x0bchunked\r\nContent-Length: 4\r\n`, `0\r\n\r\n${HIDDEN}`)),
    refused("chunked that is not last", echo("Transfer-Encoding: chunked, identity\r\n", `0\r\n\r\n${HIDDEN}`)),
    refused("two codings", echo("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", `0\r\n\r\n${HIDDEN}`)),
    refused("identity and a length", echo(`Transfer-Encoding: identity\r\nContent-Length: ${HIDDEN.length}\r\n`, HIDDEN)),
    passes("chunked in capitals", echo("Transfer-Encoding: CHUNKED\r\n", "5\r\nhello\r\n0\r\n\r\n"), "POST /echo 5"),
    passes("a length named in Connection", echo(`Connection: content-length\r\nContent-Length: ${HIDDEN.length}\r\n`, HIDDEN), "POST /echo 50"),
    passes("a coding named in Connection", echo("Connection: transfer-encoding\r\nTransfer-Encoding: chunked\r\n", `32\r\n${HIDDEN}\r\n0\r\n\r\n`), "POST /echo 50"),
    passes("a body of DELETE", `DELETE /echo HTTP/1.1\r\n${HOST}Content-Length: ${HIDDEN.length}\r\n\r\n${HIDDEN}`, "DELETE /echo 50"),
    passes("a body of GET", `GET /echo HTTP/1.1\r\n${HOST}Content-Length: ${HIDDEN.length}\r\n\r\n${HIDDEN}`, "GET /echo 50"),
    passes("a body of HEAD", `HEAD /echo HTTP/1.1\r\n${HOST}Content-Length: ${HIDDEN.length}\r\n\r\n${HIDDEN}`, "HEAD /echo 50"),
    passes("a body of OPTIONS", `OPTIONS /echo HTTP/1.1\r\n${HOST}Content-Length: ${HIDDEN.length}\r\n\r\n${HIDDEN}`, "OPTIONS /echo 50"),
  ],
  "malformed chunks smuggle no request past the gateway": [
    passes("lines that end with LF", chunked("5\nhello\r\n0\r\n\r\n"), "POST /echo 5"),
    // workerd supports no chunk extensions and no trailers (RFC 9112, section 7.1). Where it stops
    // reading, the body ends for the legacy system, and the connection ends for the client.
    passes("an extension", chunked(`5;a=b\r\nhello\r\n0\r\n\r\n${HIDDEN}`), "POST /echo 0"),
    passes("an extension with LF inside", chunked(`5;\nhello\r\n0\r\n\r\n${HIDDEN}`), "POST /echo 0"),
    passes("a size with 0x", chunked(`0x5\r\nhello\r\n0\r\n\r\n${HIDDEN}`), "POST /echo 0"),
    passes("a size below 0", chunked(`-1\r\nhello\r\n0\r\n\r\n${HIDDEN}`), "POST /echo 0"),
    passes("a size of 2^64 + 5", chunked(`10000000000000005\r\nhello\r\n0\r\n\r\n${HIDDEN}`), "POST /echo 0"),
    passes("a size with a space", chunked(`5 \r\nhello\r\n0\r\n\r\n${HIDDEN}`), "POST /echo 0"),
    passes("no size", chunked(`\r\nhello\r\n0\r\n\r\n${HIDDEN}`), "POST /echo 0"),
    passes("longer than its size", chunked(`3\r\nhello\r\n0\r\n\r\n${HIDDEN}`), "POST /echo 3"),
    {
      name: "a trailer",
      bytes: chunked("5\r\nhello\r\n0\r\nX-Trailer: 1\r\nHost: evil.example\r\n\r\n"),
      responder: "legacy system",
      responses: ["200", "501 ERROR: Unrecognized request method."],
      forwarded: ["POST /echo 5"],
    },
  ],
  "malformed lines and headers smuggle no request past the gateway": [
    passes("a folded header", get("X-A: one\r\n two\r\n"), "GET /echo 0", { headers: { "x-a": "one   two" } }),
    passes("a length folded away", echo("X-A: one\r\n Content-Length: 50\r\nContent-Length: 5\r\n", "hello"), "POST /echo 5", {
      headers: { "x-a": "one   Content-Length: 50", "content-length": "5" },
    }),
    passes("lines that end with LF", "GET /echo HTTP/1.1\nHost: gate.example\nX-A: 1\n\n", "GET /echo 0", { headers: { "x-a": "1" } }),
    // A bare CR ends a line for workerd; the legacy system gets two headers, each in its own line.
    passes("CR in a value", get("X-A: 1\rX-B: 2\r\n"), "GET /echo 0", { headers: { "x-a": "1", "x-b": "2" } }),
    passes("CR before a header that the gateway sets", get("X-A: 1\rX-Forwarded-For: 10.0.0.1\r\n"), "GET /echo 0", {
      headers: { "x-a": "1", "x-forwarded-for": "10.0.0.1, 127.0.0.1" },
    }),
    {
      name: "LF twice in a value",
      bytes: `GET /echo HTTP/1.1\r\n${HOST}X-A: 1\n\nX-B: 2\r\n\r\n`,
      responder: "legacy system",
      responses: ["200", "501 ERROR: Unrecognized request method."],
      forwarded: ["GET /echo 0"],
    },
    passes("a space before the colon of a length", echo(`Content-Length : ${HIDDEN.length}\r\n`, HIDDEN), "POST /echo 50"),
    passes("a space before the colon of a coding", echo("Content-Length: 4\r\nTransfer-Encoding : chunked\r\n", `32\r\n${HIDDEN}\r\n0\r\n\r\n`), "POST /echo 50"),
    refused("NUL in a value", get("X-A: a\0b\r\n"), INVALID),
    refused("NUL in a name", get("X\0A: b\r\n"), INVALID),
    refused("NUL in the path", getTarget("/echo\0"), INVALID),
    refused("a header without a name", get(": x\r\n"), INVALID),
    refused("a header without a colon", get("junk\r\n"), INVALID),
    passes("line ends in the query, escaped", getTarget("/echo?a=%0d%0aX-B:%202"), "GET /echo?a=%0d%0aX-B:%202 0"),
    passes("a path in a header", get("X-Original-URL: /files/other\r\nX-Rewrite-URL: /files/other\r\n"), "GET /echo 0"),
    passes("an upgrade to HTTP/2", get("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"), "GET /echo 0"),
    refused("the connection preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "501 ERROR: Unrecognized request method."),
    refused("an unknown method", `FOO /echo HTTP/1.1\r\n${HOST}\r\n`, "501 ERROR: Unrecognized request method."),
    refused("a header of 200,000 bytes", get(`X-A: ${"a".repeat(200_000)}\r\n`), "431 ERROR: header too large."),
    { name: "two requests at once", bytes: getTarget("/echo?1") + getTarget("/echo?2"), responder: "legacy system", responses: ["200", "200"], forwarded: ["GET /echo?1 0", "GET /echo?2 0"] },
  ],
  "no target and no header changes the configured host": [
    refused("another host in the target", getTarget("http://evil.example/echo")),
    refused("another scheme and host in the target", getTarget("https://evil.example:1/echo")),
    refused("the gateway's host in the target", getTarget("http://gate.example/echo")),
    refused("a target without a slash", getTarget("echo")),
    refused("a host for a target", getTarget("evil.example:80")),
    refused("a target that begins with @", getTarget("@evil.example/echo")),
    refused("CONNECT", `CONNECT evil.example:443 HTTP/1.1\r\n${HOST}\r\n`),
    refused("OPTIONS for everything", `OPTIONS * HTTP/1.1\r\n${HOST}\r\n`),
    passes("two slashes and a host", getTarget("//evil.example/echo"), "GET //evil.example/echo 0", { responses: ["404"] }),
    passes("a backslash and a host", getTarget("/\\evil.example/echo"), "GET //evil.example/echo 0", { responses: ["404"] }),
    passes("another host", getTarget("/echo", "evil.example"), "GET /echo 0", { host: "evil.example" }),
    passes("another host and port", getTarget("/echo", "evil.example:8443"), "GET /echo 0", { host: "evil.example:8443" }),
    passes("an address for a host", getTarget("/echo", "[::1]:8443"), "GET /echo 0", { host: "[::1]:8443" }),
    refused("no host", "GET /echo HTTP/1.1\r\n\r\n", "400 Bad Request"),
    refused("an empty host", getTarget("/echo", ""), "400 Bad Request"),
    refused("two hosts", get("Host: evil.example\r\n")),
    refused("a list of hosts", getTarget("/echo", "a.example, b.example")),
    refused("a host with a user", getTarget("/echo", "gate.example@evil.example")),
    refused("a host with a path", getTarget("/echo", "evil.example/echo?")),
    refused("a host with an admin path", getTarget("/echo", "evil.example/_jeffrey/health?")),
    refused("a host with a fragment", getTarget("/echo", "evil.example/echo#")),
    refused("a host with a space", getTarget("/echo", "evil example")),
    refused("a host with an invalid port", getTarget("/echo", "evil.example:99999")),
    passes("headers that name a host", get("X-Forwarded-Host: evil.example\r\nX-Forwarded-Proto: https\r\nX-Host: evil.example\r\n"), "GET /echo 0", {
      headers: { "x-forwarded-host": "gate.example", "x-forwarded-proto": "http" },
    }),
    passes("a host named in Connection", get("Connection: close, host, x-forwarded-for, x-forwarded-host, cookie\r\nCookie: a=b\r\n"), "GET /echo 0", {
      headers: { cookie: "a=b", "x-forwarded-for": "127.0.0.1" },
    }),
  ],
};

describe("ambiguous requests", { timeout: TEST_TIMEOUT_MS }, () => {
  /** @type {Awaited<ReturnType<typeof startGateway>>} */
  let gateway;
  before(async () => {
    gateway = await startGateway({ INITIAL_SHARE: "0%" }, { model: "none" });
  });
  after(() => gateway?.stop());

  for (const [table, rows] of Object.entries(TABLES)) {
    test(table, async () => {
      for (const { name, bytes, responder, responses, forwarded = [], host = "gate.example", headers = {} } of rows) {
        const countBefore = gateway.legacy.requests.length;
        const { text, reset } = await sendBytes(gateway.origin, bytes);
        // This request would get any bytes left in a connection between gateway and legacy system.
        const next = await fetchRaw(gateway.origin, "/files/next");
        assert.equal(next.body.toString(), "file /files/next\n", `${name}: the next caller's response`);

        const legacyRequests = gateway.legacy.requests.slice(countBefore);
        const requestLines = legacyRequests.map(({ method, url, body_bytes }, index) => {
          const isLengthKnown = forwarded[index]?.split(" ").length !== 2;
          return `${method} ${url}${isLengthKnown ? ` ${body_bytes}` : ""}`;
        });
        assert.deepEqual(requestLines, [...forwarded, "GET /files/next 0"], `${name}: the requests that reached the legacy system`);
        const received = text.split(/(?=HTTP\/1\.1 \d)/).map((response, index) => {
          const [head, body] = response.split("\r\n\r\n");
          const status = head.split(" ")[1];
          return responses[index]?.includes(" ") ? `${status} ${body}` : status;
        });
        assert.deepEqual(received, reset && responder === "workerd" ? responses.slice(0, received.length) : responses, `${name}: ${text}`);
        if (forwarded.length === 0) assert.equal(responder, "workerd", name);

        for (const { headers: requestHeaders } of legacyRequests.slice(0, -1)) {
          const values = (/** @type {string} */ header) => requestHeaders.filter(([key]) => key.toLowerCase() === header).map(([, value]) => value);
          assert.deepEqual(values("host"), [new URL(gateway.legacy.origin).host], `${name}: host`);
          assert.deepEqual(values("via"), ["1.1 jeffrey-edge"], `${name}: not through the gateway, or through it twice`);
          assert.deepEqual(values("x-forwarded-host"), [host], `${name}: x-forwarded-host`);
          assert.deepEqual(values("x-forwarded-proto"), ["http"], `${name}: x-forwarded-proto`);
          assert.ok(values("content-length").length + values("transfer-encoding").length <= 1, `${name}: two lengths`);
          for (const [key, value] of Object.entries(headers)) assert.deepEqual(values(key), [value], `${name}: ${key}`);
        }
      }
    });
  }
});
