// Loaded before wrangler in every `wrangler dev` here: corrects how its ProxyWorker handles a lost connection.

import fs from "node:fs";

/**
 * wrangler listens with its own worker, ProxyWorker, which forwards each request over kept connections to the process that
 * runs this project's Workers. Both ends close a connection after five idle seconds. A request sent at that moment is lost
 * before it is read. wrangler 4.86 takes this for a restart: it holds a GET until the next request arrives, possibly for
 * ever, and answers any other method with "503 Your worker restarted mid-request". With these changes ProxyWorker sends a
 * lost request again after 20 ms, at most ten times. It repeats methods other than GET and HEAD only to the same process,
 * and a request with a body only if the body's length is known and at most 64 KiB.
 * https://github.com/cloudflare/workers-sdk/issues/14641
 *
 * @type {[string, string][]}
 */
const REPLACEMENTS = [
  [
    "      void fetch(userWorkerUrl, new Request(request, { headers })).then(async (res) => {\n",
    `      const short = Number(request.headers.get("content-length") ?? Infinity) <= 65536;
      const spare = request.body === null ? request : short ? request.clone() : void 0;
      void fetch(userWorkerUrl, new Request(request, { headers })).then(async (res) => {
        void spare?.body?.cancel();
`,
  ],
  [
    "        if (userWorkerUrl.href === newUserWorkerUrl?.href) {\n",
    `        deferredResponse.lost = (deferredResponse.lost ?? 0) + 1;
        const same = userWorkerUrl.origin === newUserWorkerUrl?.origin;
        const safe = request.method === "GET" || request.method === "HEAD";
        if (spare && deferredResponse.lost <= 10 && newUserWorkerUrl && (same || safe)) {
          this.requestRetryQueue.set(spare, deferredResponse);
          setTimeout(() => this.processQueue(), 20);
        } else if (userWorkerUrl.href === newUserWorkerUrl?.href) {
`,
  ],
];

const originalReadFileSync = fs.readFileSync;

/** @param {Parameters<typeof originalReadFileSync>} args @returns {any} */
function readPatched(...args) {
  const content = originalReadFileSync(...args);
  if (!/[\\/]wrangler-dist[\\/]ProxyWorker\.js$/.test(String(args[0]))) return content;
  return REPLACEMENTS.reduce((text, [from, to]) => {
    if (!text.includes(from)) throw new Error(`scripts/wrangler-proxy.js: another wrangler, without: ${from}`);
    return text.replace(from, () => to);
  }, content.toString());
}

fs.readFileSync = /** @type {any} */ (readPatched);
