// Tests the raw HTTP client of the integration tests against a server that resets the connection.

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:net";
import { test } from "node:test";
import { sendBytes } from "../support/raw-http.js";

test("a connection that the server resets returns an empty text and `reset: true`", async () => {
  const server = createServer((socket) => {
    socket.on("error", () => {});
    socket.once("data", () => socket.resetAndDestroy());
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  const { port } = /** @type {import("node:net").AddressInfo} */ (server.address());
  try {
    const bytes = `GET / HTTP/1.1\r\nX-A: ${"a".repeat(200_000)}\r\n\r\n`;
    assert.deepEqual(await sendBytes(`http://127.0.0.1:${port}`, bytes), { text: "", reset: true });
  } finally {
    server.close();
  }
});
