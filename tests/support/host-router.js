// Routes requests to the Workers of one session by their host.

import { readFile, writeFile } from "node:fs/promises";
import { connect, createServer } from "node:net";
import { dirname, join } from "node:path";
import { replaced } from "./wrangler.js";

/**
 * Names of Workers. `two` gets requests with the header `x-gate: two`, `feed` gets the path `/feed`, and `one` gets all
 * others. A route with `two` also applies `x-front`, more headers as JSON, and `x-front-origin`, another origin.
 *
 * @typedef {{ one: string, two?: string, feed?: string }} Route
 */

/** Workers by host; the host "" is the session's first Worker, which gets all other hosts. @typedef {Record<string, Route>} Routes */

/** Starts a TCP proxy on a free port that forwards each connection to the session, byte for byte. */
export async function startDoor() {
  let port = 0;
  /** @type {Set<import("node:net").Socket>} */
  const sockets = new Set();
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (here) => {
    const there = connect({ port, host: "127.0.0.1", allowHalfOpen: true, noDelay: true });
    for (const [from, to] of [[here, there], [there, here]]) {
      sockets.add(from);
      // `pipe` forwards the end of a stream; the handlers below break the other connection if this one breaks.
      from.pipe(to);
      from.on("error", () => to.destroy()).on("close", () => {
        sockets.delete(from);
        if (!from.readableEnded) to.destroy();
      });
    }
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(null)));
  const address = /** @type {import("node:net").AddressInfo} */ (server.address());
  return {
    host: `127.0.0.1:${address.port}`,
    /** @param {number} to the session's port */
    open: (to) => void (port = to),
    stop: () => {
      for (const socket of sockets) socket.destroy();
      return new Promise((resolve) => server.close(resolve));
    },
  };
}

/**
 * Makes the first Worker route requests for other hosts to their Workers.
 *
 * @param {string} config file of the first Worker @param {string} main its module, as in the file @param {Routes} routes
 */
export async function front(config, main, routes) {
  const behind = Object.values(routes).flatMap(({ one, two, feed }) => [one, two, feed].filter((name) => name !== undefined)).slice(1);
  if (behind.length === 0) return;
  await writeFile(join(dirname(config), "front.js"), FRONT.replaceAll("MAIN", JSON.stringify(main)).replace("ROUTES", JSON.stringify(routes)));
  const services = behind.map((name) => `\n[[services]]\nbinding = "${name}"\nservice = "${name}"\n`);
  const toml = replaced(await readFile(config, "utf8"), [[`main = ${JSON.stringify(main)}`, 'main = "front.js"']]);
  await writeFile(config, toml + services.join(""));
}

/** Module that wraps the first Worker: it routes by host, applies `x-front`, and leaves any other request unchanged. */
const FRONT = `
import Worker from MAIN;
export * from MAIN;

const routes = ROUTES;

export default class extends Worker {
  fetch(request) {
    const { host, pathname, search, origin: own } = new URL(request.url);
    const route = routes[host] ?? routes[""];
    const { one, two, feed } = route;
    const gate = route === routes[""] ? { fetch: (request) => super.fetch(request) } : this.env[one];
    if (feed && pathname === "/feed") return this.env[feed].fetch(request);
    if (!two) return gate.fetch(request);
    const chosen = request.headers.get("x-gate") === "two" ? this.env[two] : gate;
    const headers = new Headers(request.headers);
    const more = headers.get("x-front");
    const origin = headers.get("x-front-origin");
    if (more === null && origin === null) return chosen.fetch(request);
    headers.delete("x-front");
    headers.delete("x-front-origin");
    for (const [name, value] of JSON.parse(more ?? "[]")) headers.set(name, value);
    return chosen.fetch(new Request((origin ?? own) + pathname + search, new Request(request, { headers })));
  }
}
`;
