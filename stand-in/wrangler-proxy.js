// Loaded into every `wrangler dev` here, before wrangler: puts right how its front sends on what a lost connection took.

import fs from "node:fs";

/**
 * wrangler answers on its port by a worker of its own, which hands each request on to the process with ours, over
 * connections that it keeps. Both ends close one that has been idle for five seconds, and a request of that moment is lost
 * before anybody reads it. wrangler 4.86 takes that for a restart: a GET waits for the next request to be sent again with,
 * for ever where none comes, and anything else is answered "503 Your worker restarted mid-request". Here each is sent
 * again at once, at most ten times, and what may change something only to the same process; a long body stays as it was.
 * https://github.com/cloudflare/workers-sdk/issues/14641
 *
 * @type {[string, string][]}
 */
const CHANGES = [
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

const read = fs.readFileSync;

/** @param {Parameters<typeof read>} args @returns {any} */
function readFileSync(...args) {
  const content = read(...args);
  if (!/[\\/]wrangler-dist[\\/]ProxyWorker\.js$/.test(String(args[0]))) return content;
  return CHANGES.reduce((text, [from, to]) => {
    if (!text.includes(from)) throw new Error(`stand-in/wrangler-proxy.js: another wrangler, without: ${from}`);
    return text.replace(from, () => to);
  }, content.toString());
}

fs.readFileSync = /** @type {any} */ (readFileSync);
