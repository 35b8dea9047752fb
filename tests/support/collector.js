// An HTTP server that records batches and sends the given responses in turn; the last response repeats.

import { createServer } from "node:http";

/** One response; with `status` 0 the server does not respond. @typedef {{ status: number, headers?: Record<string, string>, body?: object }} Mood */

/** @param {Mood[]} moods */
export async function startCollector(moods) {
  /** @type {{ status: number, body: string, type: string | undefined }[]} */
  const asked = [];
  const server = createServer((request, response) => {
    let body = "";
    request.setEncoding("utf8").on("data", (chunk) => (body += chunk));
    request.on("end", () => {
      const mood = moods.length > 1 ? moods.splice(0, 1)[0] : moods[0];
      asked.push({ status: mood.status, body, type: request.headers["content-type"] });
      if (mood.status) response.writeHead(mood.status, mood.headers).end(JSON.stringify(mood.body ?? {}));
    });
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(null)));
  const { port } = /** @type {import("node:net").AddressInfo} */ (server.address());
  const stop = () => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  };
  return { url: `http://127.0.0.1:${port}/v1/logs`, asked, stop };
}
