// The gate in a real `wrangler dev`, before the stand-in, with the model worker behind it.

import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { existsSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { startStandIn } from "../../stand-in/server.js";
import { ROOT, startWrangler, until } from "./wrangler.js";

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
 * Starts stand-in, gate and model worker.
 *
 * @param {Record<string, string>} [variables] of the gate; an empty value takes one away
 * @param {{ model?: "real" | "faulty" | "none", rollout?: "real" | "faulty", queue?: "real" | "faulty", two?: boolean, previous?: string, latency_ms?: number, build?: string, state?: string, feeder?: string, configure?: (toml: string) => string }} [options]
 *   `model`: as it is, behind `faulty-model.js`, or not there; `rollout`: as it is, or behind `faulty-rollout.js`; `queue`: its consumer as it is, or behind `faulty-queue.js`; `two`: a second gate that shares the first
 *   one's rollout object, reached with the header `x-gate: two`, and then headers in `x-front`, as JSON, get
 *   past what `wrangler dev` keeps to itself, and `x-front-origin` is where the request seems to have come; `previous`: the name of a release before, a gate and a model worker of its own in the same
 *   session, which the gate has for its old system, and whose own paths are below `/_previous`; `build`: the folder of the workers; `state`: where its objects keep
 *   what they keep, for another session; `feeder`: a queue that `feed` puts anything into, by a worker beside the gate; `configure` rewrites the gate's toml
 */
export async function startGate(variables = {}, { model = "real", rollout = "real", queue = "real", two = false, previous, latency_ms = 0, build = "build", state, feeder, configure = (toml) => toml } = {}) {
  for (const file of ["gate/index.js", "model/index.js", "www/index.html", "pages/dashboard/index.html"]) {
    if (!existsSync(resolve(ROOT, build, file))) throw new Error(`${build}/${file} is missing: run make workers`);
  }
  const standIn = await startStandIn({ port: 0, latency_ms });
  const folder = await mkdtemp(join(tmpdir(), "jeffrey-gate-"));
  // One folder for the files of both workers: whatever each names, a session reads all files from the first one's.
  const pages = join(folder, "pages");
  for (const part of ["www", "pages"]) await cp(resolve(ROOT, build, part), pages, { recursive: true });
  /** @type {string[]} */
  const configs = [];
  /** @param {string} name @param {string} toml */
  const config = async (name, toml) => {
    await writeFile(join(folder, name), toml);
    configs.push(join(folder, name));
  };
  const given = { LEGACY_ORIGIN: standIn.origin, ...VARIABLES, ...variables };
  const vars = Object.entries(given).filter(([, value]) => value !== "").map(([name, value]) => `${name} = ${JSON.stringify(value)}\n`);
  let main = resolve(ROOT, build, "gate/index.js");
  const fault = rollout === "faulty" ? "faulty-rollout.js" : queue === "faulty" ? "faulty-queue.js" : null;
  if (fault !== null) {
    await cp(resolve(ROOT, build, "gate"), join(folder, "gate"), { recursive: true });
    main = join(folder, "gate", fault);
    await cp(join(ROOT, "tests/support", fault), main);
  }
  const gate = replaced(await readFile(join(ROOT, "wrangler.toml"), "utf8"), [
    ['main = "build/gate/index.js"', `main = ${JSON.stringify(main)}`],
    ['directory = "build/pages"', `directory = ${JSON.stringify(pages)}`],
    [/^\[vars\]\n(?:\w+ = .*\n)*/m, `[vars]\n${"RELEASE" in given ? "" : 'RELEASE = "e1-small"\n'}${vars.join("")}`],
  ]);
  if (two) {
    await config("wrangler.front.toml", FRONT_TOML);
    await writeFile(join(folder, "front.js"), FRONT);
  }
  await config("wrangler.toml", configure(previous ? `${gate}\n[[services]]\nbinding = "LEGACY"\nservice = "jeffrey-gate-previous"\n` : gate));
  if (previous) {
    const before = replaced(gate, [
      ['name = "jeffrey-gate"', 'name = "jeffrey-gate-previous"'],
      [/^RELEASE = .*\n/m, `RELEASE = ${JSON.stringify(previous)}\nOWN_PREFIX = "/_previous"\n`],
      ['service = "jeffrey-model"', 'service = "jeffrey-model-previous"'],
      [/^\[\[queues\.producers\]\]\n(?:\w+ = .*\n)*/m, ""],
      [/^\[\[queues\.consumers\]\]\n(?:\w+ = .*\n)*/m, ""],
      [/^\[\[queues\.consumers\]\]\n(?:\w+ = .*\n)*/m, ""],
    ]);
    await config("wrangler.previous.toml", before);
    await cp(resolve(ROOT, build, "model"), join(folder, "model-previous"), { recursive: true });
    const name = await readFile(join(ROOT, "tests/support/previous-model.js"), "utf8");
    await writeFile(join(folder, "model-previous/previous-model.js"), name.replace("NAME", previous));
    await config("wrangler.model-previous.toml", replaced(await readFile(join(ROOT, "wrangler.model.toml"), "utf8"), [
      ['name = "jeffrey-model"', 'name = "jeffrey-model-previous"'],
      ['main = "build/model/index.js"', 'main = "model-previous/previous-model.js"'],
      ['directory = "build/www"', `directory = ${JSON.stringify(pages)}`],
    ]));
  }
  if (two) {
    const second = replaced(gate, [
      ['name = "jeffrey-gate"', 'name = "jeffrey-gate-two"'],
      ['class_name = "RolloutObject"', 'class_name = "RolloutObject"\nscript_name = "jeffrey-gate"'],
      ['class_name = "LedgerObject"', 'class_name = "LedgerObject"\nscript_name = "jeffrey-gate"'],
      [/^\[\[migrations\]\]\n(?:\w+ = .*\n)*/m, ""],
      // A queue has one consumer.
      [/^\[\[queues\.consumers\]\]\n(?:\w+ = .*\n)*/m, ""],
      [/^\[\[queues\.consumers\]\]\n(?:\w+ = .*\n)*/m, ""],
    ]);
    await config("wrangler.two.toml", second);
  }
  if (feeder) {
    await writeFile(join(folder, "feeder.js"), FEEDER);
    await config("wrangler.feeder.toml", FEEDER_TOML.replace("QUEUE", feeder));
    // The session's first worker answers on its port: the gate hands this path to the feeder.
    await config("wrangler.front-of-feeder.toml", FEEDER_FRONT_TOML);
    await writeFile(join(folder, "feeder-front.js"), FEEDER_FRONT);
    configs.unshift(/** @type {string} */ (configs.pop()));
  }
  if (model !== "none") {
    let main = resolve(ROOT, build, "model/index.js");
    if (model === "faulty") {
      await cp(resolve(ROOT, build, "model"), join(folder, "model"), { recursive: true });
      await cp(join(ROOT, "tests/support/faulty-model.js"), join(folder, "model/faulty-model.js"));
      main = join(folder, "model/faulty-model.js");
    }
    const toml = replaced(await readFile(join(ROOT, "wrangler.model.toml"), "utf8"), [
      ['main = "build/model/index.js"', `main = ${JSON.stringify(main)}`],
      ['directory = "build/www"', `directory = ${JSON.stringify(pages)}`],
    ]);
    const faults = model === "faulty" ? '\n[vars]\nJEFFREY_FAULT_INJECTION = "on"\n' : "";
    await config("wrangler.model.toml", toml + faults);
  }
  const clean = async () => {
    await standIn.stop();
    await rm(folder, { recursive: true, force: true });
  };
  let session;
  try {
    session = await startWrangler(configs, { path: `${variables.OWN_PREFIX ?? "/_jeffrey"}/health`, cwd: folder, state });
  } catch (error) {
    await clean();
    throw error;
  }
  const { origin, log, printed, group, stop } = session;
  return {
    ...{ origin, log, group, standIn },
    stop: () => stop().finally(clean),
    /** The gate's events so far, in the order printed. */
    events: () => eventsIn(printed()),
    /** Waits for the event of this many calls. @param {number} count */
    eventsOf: (count) => until(() => eventsIn(printed()).length >= count && eventsIn(printed()), printed),
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
      return fetch(`${origin}${variables.OWN_PREFIX ?? "/_jeffrey"}${path}`, { ...init, headers });
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

/** @param {string} printed @returns {any[]} */
function eventsIn(printed) {
  return [...printed.matchAll(/^.*?(\{"event":"classify".*\})$/gm)].map(([, json]) => JSON.parse(json));
}

/** @param {string} text @param {[string | RegExp, string][]} changes */
function replaced(text, changes) {
  return changes.reduce((before, [from, to]) => {
    const after = before.replace(from, () => to);
    if (after === before) throw new Error(`nothing to change: ${from}`);
    return after;
  }, text);
}

const FEEDER_TOML = `
name = "feeder"
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

const FEEDER_FRONT_TOML = `
name = "front"
main = "feeder-front.js"
compatibility_date = "2026-04-26"
services = [{ binding = "GATE", service = "jeffrey-gate" }, { binding = "FEEDER", service = "feeder" }]
`;

const FEEDER_FRONT = `
export default {
  fetch(request, env) {
    return (new URL(request.url).pathname === "/feed" ? env.FEEDER : env.GATE).fetch(request);
  },
};
`;

const FRONT_TOML = `
name = "front"
main = "front.js"
compatibility_date = "2026-04-26"
services = [{ binding = "ONE", service = "jeffrey-gate" }, { binding = "TWO", service = "jeffrey-gate-two" }]
`;

const FRONT = `
export default {
  fetch(request, env) {
    const gate = request.headers.get("x-gate") === "two" ? env.TWO : env.ONE;
    const headers = new Headers(request.headers);
    const more = headers.get("x-front");
    const origin = headers.get("x-front-origin");
    if (more === null && origin === null) return gate.fetch(request);
    headers.delete("x-front");
    headers.delete("x-front-origin");
    for (const [name, value] of JSON.parse(more ?? "[]")) headers.set(name, value);
    const { pathname, search, origin: own } = new URL(request.url);
    return gate.fetch(new Request((origin ?? own) + pathname + search, new Request(request, { headers })));
  },
};
`;
