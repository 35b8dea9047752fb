// Gates in a real `wrangler dev`, each before a stand-in, with the model worker behind them.

import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { existsSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { startStandIn } from "../../stand-in/server.js";
import { front, startDoor } from "./front.js";
import { ROOT, replaced, startWrangler, until } from "./wrangler.js";

export { PATIENCE_MS, post, signal, until } from "./wrangler.js";

/** Secrets that every gate under test has. */
export const SECRETS = {
  JEFFREY_KEY: "a key of the tests",
  JEFFREY_OVERRIDE_KEY: "an override key of the tests",
  JEFFREY_VIEWER_TOKEN: "a viewer of the tests",
  JEFFREY_ADMIN_TOKEN: "an admin of the tests",
};

/** Every share is 100 % unless a test says otherwise, so that each subject is canary. */
const VARIABLES = { INITIAL_SHARE: "100%", LOG_EVENTS: "on", DEBUG_HEADERS: "on", RATE_LIMITS: "off", ...SECRETS };

/**
 * `model`: as it is, behind `faulty-model.js`, or not there; `rollout`: as it is, or behind `faulty-rollout.js`; `queue`: its
 * consumer as it is, or behind `faulty-queue.js`; `two`: a second gate that shares the first one's objects, reached with the
 * header `x-gate: two`, and then headers in `x-front`, as JSON, get past what `wrangler dev` keeps to itself, and
 * `x-front-origin` is where the request seems to have come; `previous`: the name of a release before, a gate and a model
 * worker of its own in the same session, which the gate has for its old system, and whose own paths are below `/_previous`;
 * `feeder`: whether `feed` puts anything into the queue of events, or into the one of those given up, by a worker beside the
 * gate; `configure` rewrites the gate's toml
 *
 * @typedef {object} GateOptions
 * @property {"real" | "faulty" | "none"} [model]
 * @property {"real" | "faulty"} [rollout]
 * @property {"real" | "faulty"} [queue]
 * @property {boolean} [two]
 * @property {string} [previous]
 * @property {number} [latency_ms] of the old system
 * @property {"jeffrey-events" | "jeffrey-events-dead"} [feeder]
 * @property {(toml: string) => string} [configure]
 */

/** A gate's variables, of which an empty one takes a default away, and its options. @typedef {[variables?: Record<string, string>, options?: GateOptions]} Wanted */

/** `build`: the folder of the workers; `state`: where their objects keep what they keep, for another session. @typedef {{ build?: string, state?: string }} SessionOptions */

/** @typedef {ReturnType<typeof gateOf>} Gate */

/**
 * Starts one gate, its old system and its model worker, in a session of their own.
 *
 * @param {Record<string, string>} [variables] @param {GateOptions & SessionOptions} [options]
 */
export async function startGate(variables = {}, { build, state, ...options } = {}) {
  const { gates, stop } = await startGates({ gate: [variables, options] }, { build, state });
  return { ...gates.gate, stop };
}

/**
 * Starts several gates in one session. Each has an old system, objects, queues and an origin of its own; those with a model
 * worker share it. The first one is `jeffrey-gateway` and the session's first worker: nothing stands before it but
 * `wrangler dev` itself, and it alone has rate limits, which wrangler takes away from all other workers. Any other is
 * `jeffrey-gateway-NAME`, and the first one's worker hands on to it what is for its host.
 *
 * @template {string} Name
 * @param {Record<Name, Wanted>} wanted by name, in small letters
 * @param {SessionOptions} [options]
 */
export async function startGates(wanted, { build = "build", state } = {}) {
  for (const file of ["gate/index.js", "model/index.js", "www/index.html", "pages/dashboard/index.html"]) {
    if (!existsSync(resolve(ROOT, build, file))) throw new Error(`${build}/${file} is missing: run make workers`);
  }
  const all = /** @type {[Name, Wanted][]} */ (Object.entries(wanted));
  const folder = await mkdtemp(join(tmpdir(), "jeffrey-gateway-"));
  /** What ends with the session. @type {(() => Promise<unknown>)[]} */
  const ends = [() => rm(folder, { recursive: true, force: true })];
  const clean = () => Promise.all(ends.map((end) => end()));
  try {
    // One folder for the files of all workers: whatever each names, a session reads all files from the first one's.
    const pages = join(folder, "pages");
    for (const part of ["www", "pages"]) await cp(resolve(ROOT, build, part), pages, { recursive: true });
    const world = new World(folder, resolve(ROOT, build), pages);
    const before = [];
    for (const [at, [name, [variables = {}, options = {}]]] of all.entries()) {
      const standIn = await startStandIn({ port: 0, latency_ms: options.latency_ms ?? 0 });
      ends.push(standIn.stop);
      const door = at === 0 ? null : await startDoor();
      if (door) ends.push(door.stop);
      const worker = at === 0 ? "jeffrey-gateway" : `jeffrey-gateway-${name}`;
      await world.gate(name, worker, door?.host, { LEGACY_ORIGIN: standIn.origin, ...VARIABLES, ...variables }, options);
      before.push({ name, worker, standIn, door, prefix: variables.ADMIN_PREFIX ?? "/_jeffrey" });
    }
    await world.models();
    await world.front();
    const { origin, log, printed, group, stop } = await startWrangler(world.configs, { path: `${before[0].prefix}/health`, cwd: folder, state });
    const gates = before.map(({ name, worker, standIn, door, prefix }) => {
      door?.open(Number(new URL(origin).port));
      return [name, gateOf({ worker, origin: door ? `http://${door.host}` : origin, prefix, standIn, log, group, printed, events: () => eventsIn(printed(), worker) })];
    });
    return { gates: /** @type {Record<Name, Gate>} */ (Object.fromEntries(gates)), origin, log, group, stop: () => stop().finally(clean) };
  } catch (error) {
    await clean();
    throw error;
  }
}

/** The workers of one session, written down. */
class World {
  /** Their files, the first one's first. @type {string[]} */
  configs = [];
  /** Who is reached by which host. @type {import("./front.js").Routes} */
  routes = {};
  /** The module of the first gate. */
  main = "";
  /** Model workers that somebody asks. @type {Set<"real" | "faulty">} */
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

  /** @param {string} name @param {string} worker its name @param {string | undefined} host @param {Record<string, string>} given @param {GateOptions} options */
  async gate(name, worker, host, given, { model = "real", rollout = "real", queue = "real", two = false, previous, feeder, configure = (toml) => toml }) {
    const vars = Object.entries(given).filter(([, value]) => value !== "").map(([name, value]) => `${name} = ${JSON.stringify(value)}\n`);
    let main = join(this.build, "gate/index.js");
    const fault = rollout === "faulty" ? "faulty-rollout.js" : queue === "faulty" ? "faulty-queue.js" : null;
    if (fault !== null) {
      const copy = join(this.folder, `gate-${name}`);
      await cp(join(this.build, "gate"), copy, { recursive: true });
      main = join(copy, fault);
      await cp(join(ROOT, "tests/support", fault), main);
    }
    this.main ||= main;
    const toml = replaced(await readFile(join(ROOT, "wrangler.toml"), "utf8"), [
      ['main = "build/gate/index.js"', `main = ${JSON.stringify(main)}`],
      ['directory = "build/pages"', `directory = ${JSON.stringify(this.pages)}`],
      [/^\[vars\]\n(?:\w+ = .*\n)*/m, `[vars]\n${"RELEASE" in given ? "" : 'RELEASE = "e1-small"\n'}${vars.join("")}`],
      ...(worker === "jeffrey-gateway" ? [] : /** @type {[string | RegExp, string][]} */ ([['name = "jeffrey-gateway"', `name = "${worker}"`]])),
      ...(model === "real" ? [] : /** @type {[string | RegExp, string][]} */ ([['service = "jeffrey-model"', `service = "jeffrey-model-${model}"`]])),
    ]);
    // Queues are a session's: each gate has its own.
    const queues = (/** @type {string} */ text) => (worker === "jeffrey-gateway" ? text : text.replace(/"jeffrey-events(-dead)?"/g, (_, dead = "") => `"${worker}-events${dead}"`));
    if (model !== "none") this.asked.add(model);
    await this.config(`${worker}.toml`, queues(configure(previous ? `${toml}\n[[services]]\nbinding = "LEGACY"\nservice = "${worker}-previous"\n` : toml)));
    const route = (this.routes[host ?? ""] = /** @type {import("./front.js").Route} */ ({ one: worker }));
    if (previous) await this.previous(toml, worker, previous);
    if (two) {
      route.two = `${worker}-two`;
      await this.config(`${worker}.two.toml`, queues(replaced(toml, [
        [`name = "${worker}"`, `name = "${route.two}"`],
        ['class_name = "RolloutObject"', `class_name = "RolloutObject"\nscript_name = "${worker}"`],
        ['class_name = "EventStoreObject"', `class_name = "EventStoreObject"\nscript_name = "${worker}"`],
        [/^\[\[migrations\]\]\n(?:\w+ = .*\n)*/m, ""],
        // A queue has one consumer.
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

  /** The release before, in front of the same old system. @param {string} toml @param {string} worker @param {string} release */
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

  /** The model workers that the gates ask. */
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

  /** Lets the first worker hand on what is for others. */
  front() {
    return front(this.configs[0], this.main, this.routes);
  }
}

/**
 * What a test does with a gate.
 *
 * @param {{ worker: string, origin: string, prefix: string, standIn: Awaited<ReturnType<typeof startStandIn>>, log: () => Promise<string>, group: number, printed: () => string, events: () => any[] }} of
 */
function gateOf({ worker, origin, prefix, standIn, log, group, printed, events }) {
  return {
    ...{ worker, origin, log, group, standIn },
    /** The gate's events so far, in the order printed. */
    events,
    /** Waits for the event of this many calls. @param {number} count @returns {Promise<any[]>} */
    eventsOf: (count) => until(() => events().length >= count && events(), printed),
    /** A classify call. @param {unknown} body @param {Record<string, string>} [headers] */
    classify: (body, headers = {}) => classify(origin, body, headers),
    /** Puts messages into the feeder's queue. @param {unknown[]} messages */
    async feed(messages) {
      const response = await fetch(`${origin}/feed`, { method: "POST", body: JSON.stringify(messages) });
      if (response.status !== 204) throw new Error(`${response.status}: ${await response.text()}`);
    },
    /** One of the gate's own, with a token. @param {string} path @param {RequestInit & { token?: string }} [init] */
    own: (path, { token, ...init } = {}) => {
      const headers = new Headers(init.headers);
      if (token !== undefined) headers.set("authorization", `Bearer ${token}`);
      return fetch(`${origin}${prefix}${path}`, { ...init, headers });
    },
    /** Changes the release by hand. @param {{ share?: string, killed?: boolean }} change @param {Record<string, string>} [headers] */
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
    // Not every answer is JSON; `text` has it.
  }
  const cohort = response.headers.get("x-jeffrey-cohort");
  return { status: response.status, headers: response.headers, text: answer, json, cohort };
}

/** `wrangler dev` prints before each line whose it is. @param {string} printed @param {string} worker with its second gate and the release before @returns {any[]} */
function eventsIn(printed, worker) {
  const lines = printed.matchAll(new RegExp(`^(?:.*?\\[${worker}(?:-two|-previous)?\\] )?(\\{"event":"classify".*\\})$`, "gm"));
  return [...lines].map(([, json]) => JSON.parse(json));
}

/** The first consumer of a queue in a toml. */
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
