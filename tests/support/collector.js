// An HTTP server that records batches and sends the given responses in turn; the last response repeats.

import { createServer } from "node:http";

/** One response; with `status` 0 the server does not respond. @typedef {{ status: number, headers?: Record<string, string>, body?: object }} StubResponse */

/** @param {StubResponse[]} stubs */
export async function startCollector(stubs) {
  /** @type {{ status: number, body: string, type: string | undefined }[]} */
  const requests = [];
  const server = createServer((request, response) => {
    let body = "";
    request.setEncoding("utf8").on("data", (chunk) => (body += chunk));
    request.on("end", () => {
      const stub = stubs.length > 1 ? stubs.splice(0, 1)[0] : stubs[0];
      requests.push({ status: stub.status, body, type: request.headers["content-type"] });
      if (stub.status) response.writeHead(stub.status, stub.headers).end(JSON.stringify(stub.body ?? {}));
    });
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(null)));
  const { port } = /** @type {import("node:net").AddressInfo} */ (server.address());
  const stop = () => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  };
  return { url: `http://127.0.0.1:${port}/v1/logs`, requests, stop };
}
