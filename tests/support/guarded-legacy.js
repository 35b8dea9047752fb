// A legacy system with authentication: sessions, API keys, signed bodies, one-time tokens and quotas. CANARY_AUTH_CHECK sends
// `GET /session`.

import { createHmac, randomUUID } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";

/** Key with which clients sign bodies. */
const SIGNATURE_KEY = "a signature key of the tests";
/** Calls that the API key `limited` may make. */
export const QUOTA = 5;
const BEARERS = new Map([["alice-token", "alice"], ["bob-token", "bob"]]);
const API_KEYS = new Set(["key-1", "limited"]);

/** Signs a body as a client does. @param {string} body */
export const signBody = (body) => createHmac("sha256", SIGNATURE_KEY).update(body).digest("hex");

/** Starts the server on a free port. */
export async function startGuardedLegacy() {
  const sessions = new Set(["session-1"]);
  const oneTimeTokens = new Set(["once-1", "once-2", "once-3"]);
  let limitedCalls = 0;
  /** @type {{ method: string, path: string }[]} */
  const requests = [];

  /**
   * Returns the refusal of a request; null if it is allowed.
   *
   * @param {import("node:http").IncomingMessage} request @param {URL} url @param {string} body @returns {[number, Record<string, string>, string] | null}
   */
  function refuse(request, url, body) {
    const { authorization, cookie = "", "x-api-key": apiKey, "x-signature": signature, "x-one-time": oneTime, "x-user-id": user, accept = "" } = /** @type {Record<string, string | undefined>} */ (request.headers);
    const refusal = (/** @type {string} */ why) => /** @type {[number, Record<string, string>, string]} */ ([401, { "www-authenticate": 'Bearer realm="legacy"' }, `{ "error":  "${why}" }\n`]);
    if (signature !== undefined) return signature === signBody(body) ? null : refusal("signature");
    if (oneTime !== undefined) {
      if (!oneTimeTokens.has(oneTime)) return refusal("used");
      if (url.pathname === "/predict") oneTimeTokens.delete(oneTime);
      return null;
    }
    const key = apiKey ?? (url.pathname === "/predict" ? url.searchParams.get("api_key") : null);
    if (key !== null && key !== undefined) {
      if (!API_KEYS.has(key)) return refusal("key");
      if (key === "limited" && (limitedCalls += 1) > QUOTA) return [429, { "retry-after": "60" }, "slow down"];
      return null;
    }
    if (authorization !== undefined) {
      const subject = BEARERS.get(/^Bearer (\S+)$/.exec(authorization)?.[1] ?? "");
      if (subject === undefined) return refusal("token");
      return user === undefined || user === subject ? null : [403, {}, "not yours"];
    }
    const session = /(?:^|; )session=([^;]*)/.exec(cookie)?.[1];
    if (session !== undefined && sessions.has(session)) return null;
    return accept.includes("text/html") ? [302, { location: "/login" }, ""] : refusal("who");
  }

  const server = createServer(async (request, response) => {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const body = Buffer.concat(chunks).toString();
    const url = new URL(request.url ?? "/", "http://legacy");
    requests.push({ method: request.method ?? "", path: url.pathname });
    if (url.pathname === "/login") return void response.end("<form>");
    const refusal = refuse(request, url, body);
    if (refusal) return void response.writeHead(refusal[0], refusal[1]).end(refusal[2]);
    // A session slides: each response gives it anew.
    const slides = (request.headers.cookie ?? "").includes("session=") ? { "set-cookie": "session=session-1; Path=/; Max-Age=600" } : {};
    if (url.pathname === "/session") return void response.writeHead(204, slides).end();
    response.writeHead(200, { "content-type": "application/json", ...slides });
    response.end(JSON.stringify({ id: randomUUID(), encoder: "legacy", prediction: { primary: "joy", confidence: 0.9, low_confidence: false, rule_applied: null } }));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    origin: `http://127.0.0.1:${/** @type {import("node:net").AddressInfo} */ (server.address()).port}`,
    requests,
    sessions,
    stop: () => new Promise((resolve) => {
      server.close(resolve);
      server.closeAllConnections();
    }),
  };
}
