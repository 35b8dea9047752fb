// Routes requests to the Workers of one session by their host.

import { readFile, writeFile } from "node:fs/promises";
import { connect, createServer } from "node:net";
import { dirname, join } from "node:path";
import { applyReplacements } from "./wrangler.js";

/**
 * Names of Workers. `replica` gets requests with the header `x-test-gateway: two`, `feeder` gets the path `/feed`, and `primary` gets all
 * others. A route with `replica` also applies `x-test-headers`, more headers as JSON, and `x-test-origin`, another origin.
 *
 * @typedef {{ primary: string, replica?: string, feeder?: string }} Route
 */

/** Workers by host; the host "" is the session's first Worker, which gets all other hosts. @typedef {Record<string, Route>} Routes */

/** Starts a TCP proxy on a free port that forwards each connection to the session, byte for byte. */
export async function startTcpProxy() {
  let port = 0;
  /** @type {Set<import("node:net").Socket>} */
  const sockets = new Set();
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
    const upstream = connect({ port, host: "127.0.0.1", allowHalfOpen: true, noDelay: true });
    for (const [from, to] of [[client, upstream], [upstream, client]]) {
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
    /** @param {number} sessionPort the session's port */
    forwardTo: (sessionPort) => void (port = sessionPort),
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
export async function addHostRouter(config, main, routes) {
  const otherWorkers = Object.values(routes).flatMap(({ primary, replica, feeder }) => [primary, replica, feeder].filter((name) => name !== undefined)).slice(1);
  if (otherWorkers.length === 0) return;
  await writeFile(join(dirname(config), "router.js"), ROUTER_MODULE.replaceAll("MAIN", JSON.stringify(main)).replace("ROUTES", JSON.stringify(routes)));
  const services = otherWorkers.map((name) => `\n[[services]]\nbinding = "${name}"\nservice = "${name}"\n`);
  const toml = applyReplacements(await readFile(config, "utf8"), [[`main = ${JSON.stringify(main)}`, 'main = "router.js"']]);
  await writeFile(config, toml + services.join(""));
}

/** Module that wraps the first Worker: it routes by host, applies `x-test-headers`, and leaves any other request unchanged. */
const ROUTER_MODULE = `
import Worker from MAIN;
export * from MAIN;

const routes = ROUTES;

export default class extends Worker {
  fetch(request) {
    const { host, pathname, search, origin: ownOrigin } = new URL(request.url);
    const route = routes[host] ?? routes[""];
    const { primary, replica, feeder } = route;
    const gateway = route === routes[""] ? { fetch: (request) => super.fetch(request) } : this.env[primary];
    if (feeder && pathname === "/feed") return this.env[feeder].fetch(request);
    if (!replica) return gateway.fetch(request);
    const selected = request.headers.get("x-test-gateway") === "two" ? this.env[replica] : gateway;
    const headers = new Headers(request.headers);
    const extraHeaders = headers.get("x-test-headers");
    const origin = headers.get("x-test-origin");
    if (extraHeaders === null && origin === null) return selected.fetch(request);
    headers.delete("x-test-headers");
    headers.delete("x-test-origin");
    for (const [name, value] of JSON.parse(extraHeaders ?? "[]")) headers.set(name, value);
    return selected.fetch(new Request((origin ?? ownOrigin) + pathname + search, new Request(request, { headers })));
  }
}
`;
