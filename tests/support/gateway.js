// Gateways in a real `wrangler dev`, each with its own mock legacy system, and with the model worker behind them.

import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { existsSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { startMockLegacy } from "../../mock-legacy/server.js";
import { front, startDoor } from "./host-router.js";
import { ROOT, replaced, startWrangler, until } from "./wrangler.js";

export { PATIENCE_MS, post, signal, until } from "./wrangler.js";

/** Secrets of every gateway under test. */
export const SECRETS = {
  JEFFREY_KEY: "a key of the tests",
  JEFFREY_OVERRIDE_KEY: "an override key of the tests",
  JEFFREY_VIEWER_TOKEN: "a viewer of the tests",
  JEFFREY_ADMIN_TOKEN: "an admin of the tests",
};

/** Default variables. Every share is 100 % unless a test sets another, so that each subject is canary. */
const VARIABLES = { INITIAL_SHARE: "100%", LOG_EVENTS: "on", DEBUG_HEADERS: "on", RATE_LIMITS: "off", ...SECRETS };

/**
 * With `two`, a request may also have `x-front`, headers as JSON that `wrangler dev` would consume, and `x-front-origin`,
 * the origin that the gateway is to see.
 *
 * @typedef {object} GatewayOptions
 * @property {"real" | "faulty" | "none"} [model] `faulty`: wrapped by `faulty-model.js`; `none`: no model worker
 * @property {"real" | "faulty"} [rollout] `faulty`: wrapped by `faulty-rollout.js`
 * @property {"real" | "faulty"} [queue] `faulty`: the queue's consumer is wrapped by `faulty-queue.js`
 * @property {boolean} [two] adds a second gateway that shares the first one's objects; `x-gate: two` selects it
 * @property {string} [previous] name of an earlier release. It gets a gateway and a model worker in the same session, is the
 *   legacy system of this gateway, and has its own endpoints below `/_previous`
 * @property {number} [latency_ms] of the mock legacy system
 * @property {"jeffrey-events" | "jeffrey-events-dead"} [feeder] queue that `feed` sends to, through a Worker beside the gateway
 * @property {(toml: string) => string} [configure] rewrites the gateway's toml
 */

/** A gateway's variables, where an empty value removes a default, and its options. @typedef {[variables?: Record<string, string>, options?: GatewayOptions]} Wanted */

/** `build`: folder of the built Workers; `state`: folder of the objects' storage, so that another session can continue with it. @typedef {{ build?: string, state?: string }} SessionOptions */

/** @typedef {ReturnType<typeof gatewayOf>} Gate */

/**
 * Starts one gateway with its mock legacy system and its model worker in a session of their own.
 *
 * @param {Record<string, string>} [variables] @param {GatewayOptions & SessionOptions} [options]
 */
export async function startGateway(variables = {}, { build, state, ...options } = {}) {
  const { gates, stop } = await startGateways({ gate: [variables, options] }, { build, state });
  return { ...gates.gate, stop };
}

/**
 * Starts several gateways in one session. Each has its own mock legacy system, objects, queues and origin; gateways with a
 * model worker share it. The first gateway is `jeffrey-gateway`, the session's first Worker: only `wrangler dev` itself is in
 * front of it. Only the first gateway has rate limits, because wrangler removes them from all other Workers. Any other
 * gateway is `jeffrey-gateway-NAME`, and the first Worker forwards requests for its host to it.
 *
 * @template {string} Name
 * @param {Record<Name, Wanted>} wanted by name, in lower case
 * @param {SessionOptions} [options]
 */
export async function startGateways(wanted, { build = "build", state } = {}) {
  for (const file of ["gateway/index.js", "model/index.js", "www/index.html", "pages/dashboard/index.html"]) {
    if (!existsSync(resolve(ROOT, build, file))) throw new Error(`${build}/${file} is missing: run make workers`);
  }
  const all = /** @type {[Name, Wanted][]} */ (Object.entries(wanted));
  const folder = await mkdtemp(join(tmpdir(), "jeffrey-gateway-"));
  /** Clean-up at the end of the session. @type {(() => Promise<unknown>)[]} */
  const ends = [() => rm(folder, { recursive: true, force: true })];
  const clean = () => Promise.all(ends.map((end) => end()));
  try {
    // One folder for the files of all Workers: a session serves the files of every Worker from the first one's folder.
    const pages = join(folder, "pages");
    for (const part of ["www", "pages"]) await cp(resolve(ROOT, build, part), pages, { recursive: true });
    const world = new World(folder, resolve(ROOT, build), pages);
    const before = [];
    for (const [at, [name, [variables = {}, options = {}]]] of all.entries()) {
      const legacy = await startMockLegacy({ port: 0, latency_ms: options.latency_ms ?? 0 });
      ends.push(legacy.stop);
      const door = at === 0 ? null : await startDoor();
      if (door) ends.push(door.stop);
      const worker = at === 0 ? "jeffrey-gateway" : `jeffrey-gateway-${name}`;
      await world.gate(name, worker, door?.host, { LEGACY_ORIGIN: legacy.origin, ...VARIABLES, ...variables }, options);
      before.push({ name, worker, legacy, door, prefix: variables.ADMIN_PREFIX ?? "/_jeffrey" });
    }
    await world.models();
    await world.front();
    const { origin, log, printed, group, stop } = await startWrangler(world.configs, { path: `${before[0].prefix}/health`, cwd: folder, state });
    const gates = before.map(({ name, worker, legacy, door, prefix }) => {
      door?.open(Number(new URL(origin).port));
      return [name, gatewayOf({ worker, origin: door ? `http://${door.host}` : origin, prefix, legacy, log, group, printed, events: () => eventsIn(printed(), worker) })];
    });
    return { gates: /** @type {Record<Name, Gate>} */ (Object.fromEntries(gates)), origin, log, group, stop: () => stop().finally(clean) };
  } catch (error) {
    await clean();
    throw error;
  }
}

/** Writes the configurations of one session's Workers. */
class World {
  /** Their toml files, beginning with the first Worker's. @type {string[]} */
  configs = [];
  /** Workers by host. @type {import("./host-router.js").Routes} */
  routes = {};
  /** The module of the first gateway. */
  main = "";
  /** Model workers that a gateway calls. @type {Set<"real" | "faulty">} */
  asked = new Set();

  /** @param {string} folder @param {string} build @param {string} pages */
  constructor(folder, build, pages) {
    this.folder = folder;
    this.build = build;
    this.pages = pages;
  }

  /** @param {string} name @param {string} toml */
  async config(name, toml) {
    await writeFile(join(this.folder, name), toml);
    this.configs.push(join(this.folder, name));
  }

  /** @param {string} name @param {string} worker the Worker's name @param {string | undefined} host @param {Record<string, string>} given @param {GatewayOptions} options */
  async gate(name, worker, host, given, { model = "real", rollout = "real", queue = "real", two = false, previous, feeder, configure = (toml) => toml }) {
    const vars = Object.entries(given).filter(([, value]) => value !== "").map(([name, value]) => `${name} = ${JSON.stringify(value)}\n`);
    let main = join(this.build, "gateway/index.js");
    const fault = rollout === "faulty" ? "faulty-rollout.js" : queue === "faulty" ? "faulty-queue.js" : null;
    if (fault !== null) {
      const copy = join(this.folder, `gateway-${name}`);
      await cp(join(this.build, "gateway"), copy, { recursive: true });
      main = join(copy, fault);
      await cp(join(ROOT, "tests/support", fault), main);
    }
    this.main ||= main;
    const toml = replaced(await readFile(join(ROOT, "wrangler.toml"), "utf8"), [
      ['main = "build/gateway/index.js"', `main = ${JSON.stringify(main)}`],
      ['directory = "build/pages"', `directory = ${JSON.stringify(this.pages)}`],
      [/^\[vars\]\n(?:\w+ = .*\n)*/m, `[vars]\n${"RELEASE" in given ? "" : 'RELEASE = "e1-small"\n'}${vars.join("")}`],
      ...(worker === "jeffrey-gateway" ? [] : /** @type {[string | RegExp, string][]} */ ([['name = "jeffrey-gateway"', `name = "${worker}"`]])),
      ...(model === "real" ? [] : /** @type {[string | RegExp, string][]} */ ([['service = "jeffrey-model"', `service = "jeffrey-model-${model}"`]])),
    ]);
    // Queue names are shared by a session, so each gateway gets its own.
    const queues = (/** @type {string} */ text) => (worker === "jeffrey-gateway" ? text : text.replace(/"jeffrey-events(-dead)?"/g, (_, dead = "") => `"${worker}-events${dead}"`));
    if (model !== "none") this.asked.add(model);
    await this.config(`${worker}.toml`, queues(configure(previous ? `${toml}\n[[services]]\nbinding = "LEGACY"\nservice = "${worker}-previous"\n` : toml)));
    const route = (this.routes[host ?? ""] = /** @type {import("./host-router.js").Route} */ ({ one: worker }));
    if (previous) await this.previous(toml, worker, previous);
    if (two) {
      route.two = `${worker}-two`;
      await this.config(`${worker}.two.toml`, queues(replaced(toml, [
        [`name = "${worker}"`, `name = "${route.two}"`],
        ['class_name = "RolloutObject"', `class_name = "RolloutObject"\nscript_name = "${worker}"`],
        ['class_name = "EventStoreObject"', `class_name = "EventStoreObject"\nscript_name = "${worker}"`],
        [/^\[\[migrations\]\]\n(?:\w+ = .*\n)*/m, ""],
        // A queue can have only one consumer.
        [CONSUMER, ""],
        [CONSUMER, ""],
      ])));
    }
    if (feeder) {
      route.feed = `${worker}-feeder`;
      await writeFile(join(this.folder, "feeder.js"), FEEDER);
      await this.config(`${worker}.feeder.toml`, queues(FEEDER_TOML.replace("NAME", route.feed).replace("QUEUE", feeder)));
    }
  }

  /** The gateway and the model worker of the earlier release, with the same legacy system. @param {string} toml @param {string} worker @param {string} release */
  async previous(toml, worker, release) {
    await this.config(`${worker}.previous.toml`, replaced(toml, [
      [`name = "${worker}"`, `name = "${worker}-previous"`],
      [/^RELEASE = .*\n/m, `RELEASE = ${JSON.stringify(release)}\nADMIN_PREFIX = "/_previous"\n`],
      [/service = "jeffrey-model.*"/, 'service = "jeffrey-model-previous"'],
      [/^\[\[queues\.producers\]\]\n(?:\w+ = .*\n)*/m, ""],
      [CONSUMER, ""],
      [CONSUMER, ""],
    ]));
    const copy = join(this.folder, "model-previous");
    await cp(join(this.build, "model"), copy, { recursive: true });
    const name = await readFile(join(ROOT, "tests/support/previous-model.js"), "utf8");
    await writeFile(join(copy, "previous-model.js"), name.replace("NAME", release));
    await this.model("jeffrey-model-previous", join(copy, "previous-model.js"));
  }

  /** The model workers that the gateways call. */
  async models() {
    if (this.asked.has("real")) await this.model("jeffrey-model", join(this.build, "model/index.js"));
    if (this.asked.has("faulty")) {
      const copy = join(this.folder, "model");
      await cp(join(this.build, "model"), copy, { recursive: true });
      await cp(join(ROOT, "tests/support/faulty-model.js"), join(copy, "faulty-model.js"));
      await this.model("jeffrey-model-faulty", join(copy, "faulty-model.js"), '\n[vars]\nJEFFREY_FAULT_INJECTION = "on"\n');
    }
  }

  /** @param {string} name @param {string} main @param {string} [more] */
  async model(name, main, more = "") {
    const toml = replaced(await readFile(join(ROOT, "wrangler.model.toml"), "utf8"), [
      ['main = "build/model/index.js"', `main = ${JSON.stringify(main)}`],
      ['directory = "build/www"', `directory = ${JSON.stringify(this.pages)}`],
    ]);
    await this.config(`${name}.toml`, toml.replace('name = "jeffrey-model"', `name = "${name}"`) + more);
  }

  /** Makes the first Worker forward requests for other hosts. */
  front() {
    return front(this.configs[0], this.main, this.routes);
  }
}

/**
 * The methods by which a test uses a gateway.
 *
 * @param {{ worker: string, origin: string, prefix: string, legacy: Awaited<ReturnType<typeof startMockLegacy>>, log: () => Promise<string>, group: number, printed: () => string, events: () => any[] }} of
 */
function gatewayOf({ worker, origin, prefix, legacy, log, group, printed, events }) {
  return {
    ...{ worker, origin, log, group, legacy },
    /** The gateway's classify events so far, in the order printed. */
    events,
    /** Waits until at least this many events are printed, and returns all. @param {number} count @returns {Promise<any[]>} */
    eventsOf: (count) => until(() => events().length >= count && events(), printed),
    /** Sends a classify request. @param {unknown} body @param {Record<string, string>} [headers] */
    classify: (body, headers = {}) => classify(origin, body, headers),
    /** Sends messages to the feeder's queue. @param {unknown[]} messages */
    async feed(messages) {
      const response = await fetch(`${origin}/feed`, { method: "POST", body: JSON.stringify(messages) });
      if (response.status !== 204) throw new Error(`${response.status}: ${await response.text()}`);
    },
    /** Requests one of the gateway's own endpoints, with a token if given. @param {string} path @param {RequestInit & { token?: string }} [init] */
    own: (path, { token, ...init } = {}) => {
      const headers = new Headers(init.headers);
      if (token !== undefined) headers.set("authorization", `Bearer ${token}`);
      return fetch(`${origin}${prefix}${path}`, { ...init, headers });
    },
    /** Changes the release state by a manual change. @param {{ share?: string, killed?: boolean }} change @param {Record<string, string>} [headers] */
    async change(change, headers = {}) {
      const auth = { authorization: `Bearer ${SECRETS.JEFFREY_ADMIN_TOKEN}`, ...headers };
      const url = `${origin}/_jeffrey/v1`;
      const { version } = await (await fetch(`${url}/rollout`, { headers: auth })).json();
      const init = { method: "PUT", headers: auth, body: JSON.stringify({ version, ...change }) };
      const response = await fetch(`${url}/admin/share`, init);
      if (response.status !== 200) throw new Error(`${response.status}: ${await response.text()}`);
      return response.json();
    },
  };
}

/** @param {string} origin @param {unknown} body @param {Record<string, string>} headers */
async function classify(origin, body, headers) {
  const text = typeof body === "string" ? body : JSON.stringify(body);
  const all = { "content-type": "application/json", ...headers };
  const response = await fetch(`${origin}/predict`, { method: "POST", headers: all, body: text });
  const answer = await response.text();
  /** @type {any} */
  let json = null;
  try {
    json = JSON.parse(answer);
  } catch {
    // Not every response is JSON; `text` has it.
  }
  const cohort = response.headers.get("x-jeffrey-cohort");
  return { status: response.status, headers: response.headers, text: answer, json, cohort };
}

/** The printed classify events of a Worker; `wrangler dev` begins each line with the Worker's name. @param {string} printed @param {string} worker including its second gateway and the earlier release @returns {any[]} */
function eventsIn(printed, worker) {
  const lines = printed.matchAll(new RegExp(`^(?:.*?\\[${worker}(?:-two|-previous)?\\] )?(\\{"event":"classify".*\\})$`, "gm"));
  return [...lines].map(([, json]) => JSON.parse(json));
}

/** Matches the first queue consumer in a toml. */
const CONSUMER = /^\[\[queues\.consumers\]\]\n(?:\w+ = .*\n)*/m;

const FEEDER_TOML = `
name = "NAME"
main = "feeder.js"
compatibility_date = "2026-04-26"
queues = { producers = [{ binding = "TO", queue = "QUEUE" }] }
`;

const FEEDER = `
export default {
  async fetch(request, env) {
    await env.TO.sendBatch((await request.json()).map((body) => ({ body })));
    return new Response(null, { status: 204 });
  },
};
`;
