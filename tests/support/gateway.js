// Gateways in a real `wrangler dev`, each with its own mock legacy system, and with the model worker behind them.

import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { existsSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { startMockLegacy } from "../../mock-legacy/server.js";
import { addHostRouter, startTcpProxy } from "./host-router.js";
import { ROOT, applyReplacements, startWrangler, waitFor } from "./wrangler.js";

export { TEST_TIMEOUT_MS, postJson, signal, waitFor } from "./wrangler.js";

/** Secrets of every gateway under test. */
export const SECRETS = {
  JEFFREY_SIGNING_KEY: "a key of the tests",
  JEFFREY_OVERRIDE_SIGNING_KEY: "an override key of the tests",
  JEFFREY_VIEWER_TOKEN: "a viewer of the tests",
  JEFFREY_ADMIN_TOKEN: "an admin of the tests",
};

/** Default variables. Every share is 100 % unless a test sets another, so that each subject is canary. */
const DEFAULT_VARIABLES = { CANARY_AUTH: "none_required", INITIAL_SHARE: "100%", LOG_EVENTS: "on", DEBUG_HEADERS: "on", RATE_LIMITING: "off", ...SECRETS };

/**
 * With `replica`, a request may also have `x-test-headers`, headers as JSON that `wrangler dev` would consume, and `x-test-origin`,
 * the origin that the gateway is to see.
 *
 * @typedef {object} GatewayOptions
 * @property {"real" | "faulty" | "scripted" | "none"} [model] `faulty`: wrapped by `faulty-model.js`; `scripted`: `scripted-model.js`, without a model; `none`: no model worker
 * @property {"real" | "faulty"} [rollout] `faulty`: wrapped by `faulty-rollout.js`
 * @property {"real" | "faulty"} [queue] `faulty`: the queue's consumer is wrapped by `faulty-queue.js`
 * @property {number} [isolates] wraps the gateway by `counting-gateway.js`, which counts what Cloudflare bills, and simulates so many isolates
 * @property {boolean} [replica] adds a second gateway that shares the first one's objects; `x-test-gateway: two` selects it
 * @property {string} [previous] name of an earlier release. It gets a gateway and a model worker in the same session, is the
 *   legacy system of this gateway, and has its own endpoints below `/_previous`
 * @property {number} [latency_ms] of the mock legacy system
 * @property {"jeffrey-events" | "jeffrey-events-dead"} [feeder] queue that `feed` sends to, through a Worker beside the gateway
 * @property {(toml: string) => string} [configure] rewrites the gateway's toml
 */

/** A gateway's variables, where an empty value removes a default, and its options. @typedef {[variables?: Record<string, string>, options?: GatewayOptions]} GatewaySpec */

/**
 * `build`: folder of the built Workers; `state`: folder of the objects' storage, so that another session can continue with it;
 * `publicApi`: adds the public API with these variables, as the session's first Worker instead of a gateway. The model worker
 * then gets an origin too, for tests that look at it.
 *
 * @typedef {{ build?: string, state?: string, publicApi?: Record<string, string> }} SessionOptions
 */

/** @typedef {ReturnType<typeof createGateway>} Gateway */

/**
 * Starts one gateway with its mock legacy system and its model worker in a session of their own.
 *
 * @param {Record<string, string>} [variables] @param {GatewayOptions & SessionOptions} [options]
 */
export async function startGateway(variables = {}, { build, state, ...options } = {}) {
  const { gateways, stop } = await startGateways({ gateway: [variables, options] }, { build, state });
  return { ...gateways.gateway, stop };
}

/**
 * Starts several gateways in one session. Each has its own mock legacy system, objects, queues and origin; gateways with a
 * model worker share it. The first gateway is `jeffrey-gateway`, the session's first Worker: only `wrangler dev` itself is in
 * front of it. Only the first gateway has rate limits, because wrangler removes them from all other Workers. Any other
 * gateway is `jeffrey-gateway-NAME`, and the first Worker forwards requests for its host to it.
 *
 * @template {string} Name
 * @param {Record<Name, GatewaySpec>} specs by name, in lower case
 * @param {SessionOptions} [options]
 */
export async function startGateways(specs, { build = "build", state, publicApi } = {}) {
  for (const file of ["gateway/index.js", "model/index.js", "www/index.html", "pages/dashboard/index.html"]) {
    if (!existsSync(resolve(ROOT, build, file))) throw new Error(`${build}/${file} is missing: run make workers`);
  }
  const entries = /** @type {[Name, GatewaySpec][]} */ (Object.entries(specs));
  const folder = await mkdtemp(join(tmpdir(), "jeffrey-gateway-"));
  /** Clean-up at the end of the session. @type {(() => Promise<unknown>)[]} */
  const cleanups = [() => rm(folder, { recursive: true, force: true })];
  const cleanUp = () => Promise.all(cleanups.map((cleanup) => cleanup()));
  try {
    // One folder for the files of all Workers: a session serves the files of every Worker from the first one's folder.
    const pages = join(folder, "pages");
    for (const directory of ["www", "pages"]) await cp(resolve(ROOT, build, directory), pages, { recursive: true });
    const configWriter = new ConfigWriter(folder, resolve(ROOT, build), pages);
    if (publicApi) await configWriter.addPublicApi(publicApi);
    const prepared = [];
    for (const [index, [name, [variables = {}, options = {}]]] of entries.entries()) {
      const legacy = await startMockLegacy({ port: 0, latency_ms: options.latency_ms ?? 0 });
      cleanups.push(legacy.stop);
      const proxy = index === 0 && !publicApi ? null : await startTcpProxy();
      if (proxy) cleanups.push(proxy.stop);
      const worker = index === 0 ? "jeffrey-gateway" : `jeffrey-gateway-${name}`;
      await configWriter.addGateway(name, worker, proxy?.host, { LEGACY_ORIGIN: legacy.origin, ...DEFAULT_VARIABLES, ...variables }, options);
      prepared.push({ name, worker, legacy, proxy, prefix: variables.ADMIN_PREFIX ?? "/_jeffrey" });
    }
    await configWriter.addModelWorkers();
    const modelProxy = publicApi ? await startTcpProxy() : null;
    if (modelProxy) {
      cleanups.push(modelProxy.stop);
      configWriter.routes[modelProxy.host] = { primary: "jeffrey-model" };
    }
    await configWriter.addHostRouter();
    const { origin, log, output, group, stop } = await startWrangler(configWriter.configPaths, { path: `${prepared[0].prefix}/health`, cwd: folder, state });
    modelProxy?.forwardTo(Number(new URL(origin).port));
    const gatewayEntries = prepared.map(({ name, worker, legacy, proxy, prefix }) => {
      proxy?.forwardTo(Number(new URL(origin).port));
      return [name, createGateway({ worker, origin: proxy ? `http://${proxy.host}` : origin, prefix, legacy, log, group, output, events: () => parseEvents(output(), worker) })];
    });
    return { gateways: /** @type {Record<Name, Gateway>} */ (Object.fromEntries(gatewayEntries)), origin, modelOrigin: `http://${modelProxy?.host}`, log, group, stop: () => stop().finally(cleanUp) };
  } catch (error) {
    await cleanUp();
    throw error;
  }
}

/** Writes the configurations of one session's Workers. */
class ConfigWriter {
  /** Their toml files, beginning with the first Worker's. @type {string[]} */
  configPaths = [];
  /** Workers by host. @type {import("./host-router.js").Routes} */
  routes = {};
  /** The module of the first gateway. */
  main = "";
  /** Model workers that a gateway calls. @type {Set<"real" | "faulty" | "scripted">} */
  usedModels = new Set();

  /** @param {string} folder @param {string} build @param {string} pages */
  constructor(folder, build, pages) {
    this.folder = folder;
    this.build = build;
    this.pages = pages;
  }

  /** @param {string} name @param {string} toml */
  async writeToml(name, toml) {
    await writeFile(join(this.folder, name), toml);
    this.configPaths.push(join(this.folder, name));
  }

  /** @param {string} name @param {string} worker the Worker's name @param {string | undefined} host @param {Record<string, string>} env @param {GatewayOptions} options */
  async addGateway(name, worker, host, env, { model = "real", rollout = "real", queue = "real", isolates = 0, replica = false, previous, feeder, configure = (toml) => toml }) {
    const vars = Object.entries(env).filter(([, value]) => value !== "").map(([name, value]) => `${name} = ${JSON.stringify(value)}\n`);
    let main = join(this.build, "gateway/index.js");
    const wrapper = isolates > 0 ? "counting-gateway.js" : rollout === "faulty" ? "faulty-rollout.js" : queue === "faulty" ? "faulty-queue.js" : null;
    if (wrapper !== null) {
      const copyFolder = join(this.folder, `gateway-${name}`);
      await cp(join(this.build, "gateway"), copyFolder, { recursive: true });
      main = join(copyFolder, wrapper);
      await cp(join(ROOT, "tests/support", wrapper), main);
      if (isolates > 0) await writeIsolates(copyFolder, isolates);
    }
    this.main ||= main;
    const toml = applyReplacements(await readFile(join(ROOT, "wrangler.toml"), "utf8"), [
      ['main = "build/gateway/index.js"', `main = ${JSON.stringify(main)}`],
      ['directory = "build/pages"', `directory = ${JSON.stringify(this.pages)}`],
      [/^\[vars\]\n(?:\w+ = .*\n)*/m, `[vars]\n${"RELEASE" in env ? "" : 'RELEASE = "e1-small"\n'}${vars.join("")}`],
      ...(worker === "jeffrey-gateway" ? [] : /** @type {[string | RegExp, string][]} */ ([['name = "jeffrey-gateway"', `name = "${worker}"`]])),
      ...(model === "real" ? [] : /** @type {[string | RegExp, string][]} */ ([['service = "jeffrey-model"', `service = "jeffrey-model-${model}"`]])),
    ]);
    // Queue names are shared by a session, so each gateway gets its own.
    const renameQueues = (/** @type {string} */ text) => (worker === "jeffrey-gateway" ? text : text.replace(/"jeffrey-events(-dead)?"/g, (_, dead = "") => `"${worker}-events${dead}"`));
    if (model !== "none") this.usedModels.add(model);
    await this.writeToml(`${worker}.toml`, renameQueues(configure(previous ? `${toml}\n[[services]]\nbinding = "LEGACY"\nservice = "${worker}-previous"\n` : toml)));
    const route = (this.routes[host ?? ""] = /** @type {import("./host-router.js").Route} */ ({ primary: worker }));
    if (previous) await this.addPreviousRelease(toml, worker, previous);
    if (replica) {
      route.replica = `${worker}-two`;
      await this.writeToml(`${worker}.two.toml`, renameQueues(applyReplacements(toml, [
        [`name = "${worker}"`, `name = "${route.replica}"`],
        ['class_name = "RolloutObject"', `class_name = "RolloutObject"\nscript_name = "${worker}"`],
        ['class_name = "EventStoreObject"', `class_name = "EventStoreObject"\nscript_name = "${worker}"`],
        [/^\[\[migrations\]\]\n(?:\w+ = .*\n)*/m, ""],
        // A queue can have only one consumer.
        [CONSUMER, ""],
        [CONSUMER, ""],
      ])));
    }
    if (feeder) {
      route.feeder = `${worker}-feeder`;
      await writeFile(join(this.folder, "feeder.js"), FEEDER);
      await this.writeToml(`${worker}.feeder.toml`, renameQueues(FEEDER_TOML.replace("NAME", route.feeder).replace("QUEUE", feeder)));
    }
  }

  /** The gateway and the model worker of the earlier release, with the same legacy system. @param {string} toml @param {string} worker @param {string} release */
  async addPreviousRelease(toml, worker, release) {
    await this.writeToml(`${worker}.previous.toml`, applyReplacements(toml, [
      [`name = "${worker}"`, `name = "${worker}-previous"`],
      [/^RELEASE = .*\n/m, `RELEASE = ${JSON.stringify(release)}\nADMIN_PREFIX = "/_previous"\n`],
      [/service = "jeffrey-model.*"/, 'service = "jeffrey-model-previous"'],
      [/^\[\[queues\.producers\]\]\n(?:\w+ = .*\n)*/m, ""],
      [CONSUMER, ""],
      [CONSUMER, ""],
    ]));
    const copyFolder = join(this.folder, "model-previous");
    await cp(join(this.build, "model"), copyFolder, { recursive: true });
    const template = await readFile(join(ROOT, "tests/support/previous-model.js"), "utf8");
    await writeFile(join(copyFolder, "previous-model.js"), template.replace("NAME", release));
    await this.addModelWorker("jeffrey-model-previous", join(copyFolder, "previous-model.js"));
  }

  /** Makes the public API the first Worker. @param {Record<string, string>} variables */
  async addPublicApi(variables) {
    this.main = join(this.build, "model/index.js");
    const vars = Object.entries(variables).map(([name, value]) => `${name} = ${JSON.stringify(value)}\n`);
    const toml = applyReplacements(await readFile(join(ROOT, "wrangler.public-api.toml"), "utf8"), [
      ['main = "build/model/index.js"', `main = ${JSON.stringify(this.main)}`],
      ['directory = "build/www"', `directory = ${JSON.stringify(this.pages)}`],
    ]);
    await this.writeToml("jeffrey-public-api.toml", toml.replace("[vars]\n", `[vars]\n${vars.join("")}`));
    this.routes[""] = { primary: "jeffrey-public-api" };
  }

  /** The model workers that the gateways call. */
  async addModelWorkers() {
    if (this.usedModels.has("scripted")) {
      await cp(join(ROOT, "tests/support/scripted-model.js"), join(this.folder, "scripted-model.js"));
      await this.writeToml("jeffrey-model-scripted.toml", SCRIPTED_MODEL_TOML);
    }
    if (this.usedModels.has("real")) await this.addModelWorker("jeffrey-model", join(this.build, "model/index.js"));
    if (this.usedModels.has("faulty")) {
      const copyFolder = join(this.folder, "model");
      await cp(join(this.build, "model"), copyFolder, { recursive: true });
      await cp(join(ROOT, "tests/support/faulty-model.js"), join(copyFolder, "faulty-model.js"));
      await this.addModelWorker("jeffrey-model-faulty", join(copyFolder, "faulty-model.js"), '\n[vars]\nJEFFREY_FAULT_INJECTION = "on"\n');
    }
  }

  /** @param {string} name @param {string} main @param {string} [extraToml] */
  async addModelWorker(name, main, extraToml = "") {
    const toml = applyReplacements(await readFile(join(ROOT, "wrangler.model.toml"), "utf8"), [
      ['main = "build/model/index.js"', `main = ${JSON.stringify(main)}`],
      ['directory = "build/www"', `directory = ${JSON.stringify(this.pages)}`],
    ]);
    await this.writeToml(`${name}.toml`, toml.replace('name = "jeffrey-model"', `name = "${name}"`) + extraToml);
  }

  /** Makes the first Worker forward requests for other hosts. */
  addHostRouter() {
    return addHostRouter(this.configPaths[0], this.main, this.routes);
  }
}

/**
 * The methods by which a test uses a gateway.
 *
 * @param {{ worker: string, origin: string, prefix: string, legacy: Awaited<ReturnType<typeof startMockLegacy>>, log: () => Promise<string>, group: number, output: () => string, events: () => any[] }} options
 */
function createGateway({ worker, origin, prefix, legacy, log, group, output, events }) {
  return {
    ...{ worker, origin, log, group, legacy },
    /** The gateway's classify events so far, in the order printed. */
    events,
    /** Waits until at least this many events are printed, and returns all. @param {number} count @returns {Promise<any[]>} */
    waitForEvents: (count) => waitFor(() => events().length >= count && events(), output),
    /** Sends a classify request. @param {unknown} body @param {Record<string, string>} [headers] */
    classify: (body, headers = {}) => classify(origin, body, headers),
    /** Sends messages to the feeder's queue. @param {unknown[]} messages */
    async feed(messages) {
      const response = await fetch(`${origin}/feed`, { method: "POST", body: JSON.stringify(messages) });
      if (response.status !== 204) throw new Error(`${response.status}: ${await response.text()}`);
    },
    /** Requests an endpoint of the gateway's admin API, with a token if given. @param {string} path @param {RequestInit & { token?: string }} [init] */
    fetchAdmin: (path, { token, ...init } = {}) => {
      const headers = new Headers(init.headers);
      if (token !== undefined) headers.set("authorization", `Bearer ${token}`);
      return fetch(`${origin}${prefix}${path}`, { ...init, headers });
    },
    /** Sets the traffic share or the kill flag. @param {{ share?: string, killed?: boolean }} settings @param {Record<string, string>} [headers] */
    async setShare(settings, headers = {}) {
      const auth = { authorization: `Bearer ${SECRETS.JEFFREY_ADMIN_TOKEN}`, ...headers };
      const url = `${origin}/_jeffrey/v1`;
      const { version } = await (await fetch(`${url}/rollout`, { headers: auth })).json();
      const init = { method: "PUT", headers: auth, body: JSON.stringify({ version, ...settings }) };
      const response = await fetch(`${url}/admin/share`, init);
      if (response.status !== 200) throw new Error(`${response.status}: ${await response.text()}`);
      return response.json();
    },
  };
}

/** @param {string} origin @param {unknown} body @param {Record<string, string>} headers */
async function classify(origin, body, headers) {
  const requestBody = typeof body === "string" ? body : JSON.stringify(body);
  const allHeaders = { "content-type": "application/json", ...headers };
  const response = await fetch(`${origin}/predict`, { method: "POST", headers: allHeaders, body: requestBody });
  const responseBody = await response.text();
  /** @type {any} */
  let json = null;
  try {
    json = JSON.parse(responseBody);
  } catch {
    // Not every response is JSON; `text` has it.
  }
  const cohort = response.headers.get("x-jeffrey-cohort");
  return { status: response.status, headers: response.headers, text: responseBody, json, cohort };
}

/** Copies the module of a build, so that each simulated isolate has one, and writes the list of them. @param {string} folder @param {number} count */
async function writeIsolates(folder, count) {
  const names = Array.from({ length: count }, (_, index) => (index === 0 ? "index" : `index-${index}`));
  for (const name of names.slice(1)) await cp(join(folder, "index.js"), join(folder, `${name}.js`));
  const imports = names.map((name, index) => `import Isolate${index} from "./${name}.js";\n`);
  await writeFile(join(folder, "isolates.js"), `${imports.join("")}export const ISOLATES = [${names.map((_, index) => `Isolate${index}`).join(", ")}];\n`);
}

/** The printed classify events of a Worker; `wrangler dev` begins each line with the Worker's name. @param {string} output @param {string} worker including its second gateway and the earlier release @returns {any[]} */
function parseEvents(output, worker) {
  const lines = output.matchAll(new RegExp(`^(?:.*?\\[${worker}(?:-two|-previous)?\\] )?(\\{"event":"classify".*\\})$`, "gm"));
  return [...lines].map(([, json]) => JSON.parse(json));
}

/** Matches the first queue consumer in a toml. */
const CONSUMER = /^\[\[queues\.consumers\]\]\n(?:\w+ = .*\n)*/m;

const SCRIPTED_MODEL_TOML = `
name = "jeffrey-model-scripted"
main = "scripted-model.js"
compatibility_date = "2026-04-26"
`;

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
