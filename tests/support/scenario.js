// Takes the steps of a scenario of tests/data/scenarios.json at a gateway in workerd, and builds the outcome that
// `jeffrey-sim scripted` builds for the same scenario (crates/simulation/src/scripted).

import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, statSync } from "node:fs";
import { request } from "node:http";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";
import { startCollector } from "./collector.js";
import { SECRETS, waitFor } from "./gateway.js";
import { createToken } from "./gateway-calls.js";
import { ROOT } from "./wrangler.js";

/** @typedef {import("./gateway.js").Gateway} Gateway */
/** @typedef {{ do: string, [field: string]: any }} Step */
/** @typedef {{ name: string, variables?: Record<string, string>, gateways?: number, counts?: boolean, steps: Step[] }} Scenario */
/** @typedef {{ variables: Record<string, string>, plans: Record<string, string[]>, scenarios: Scenario[] }} ScenarioFile */
/** @typedef {Awaited<ReturnType<typeof startWebhooks>>} Webhooks */
/** @typedef {{ status: number, headers: import("node:http").IncomingHttpHeaders, body: string, isComplete: boolean }} CallResponse */

const PATH = join(ROOT, "tests/data/scenarios.json");

/** Time between two looks at a state that is waited for. */
const LOOK_MS = 500;

/** Time in which an event that comes twice would arrive. */
const QUIET_MS = 3_000;

/** Users of the traffic in which a state is waited for. */
const TRAFFIC_USERS = 40;

/** Fields of an event that are part of the outcome, in the order of the group's name. */
const EVENT_FIELDS = ["event", "cohort", "destination", "status", "reason", "fallback_reason", "unreadable_response_reason", "is_evidence", "new_cookie", "model_sha256", "shadow", "share_basis_points", "stage", "good"];

/** Matches the counters that are part of the outcome. */
const COUNTER = /^(jeffrey_(?:events_erased|events_lost|events_malformed|fallbacks|feedback|requests)_total(?:\{.*\})?) (\d+)$/gm;

/** Values of `x-mock-legacy` by what the legacy system does with a call. @type {Record<string, string>} */
const LEGACY_FAULTS = { closed: "reset", cut: "half", error: "error", garbled: "garbled", late: "slow:20000", not_json: "not-json" };

/** @returns {ScenarioFile} */
export const readScenarios = () => JSON.parse(readFileSync(PATH, "utf8"));

/** Runs all scenarios in the simulation, with the newest build of it. @returns {Record<string, { outcome: any, unexpected: string[] }>} by name */
export function runSimulation() {
  const paths = ["debug", "release"].map((profile) => join(ROOT, "target", profile, "jeffrey-sim")).filter(existsSync);
  const [built] = paths.sort((left, right) => statSync(right).mtimeMs - statSync(left).mtimeMs);
  const [program, args] = built ? [built, []] : ["cargo", ["run", "--quiet", "--release", "--package", "jeffrey-simulation", "--"]];
  const { stdout, stderr, status } = spawnSync(program, [...args, "scripted", PATH, "--json"], { cwd: ROOT, encoding: "utf8", maxBuffer: 64 * 1024 * 1024 });
  // Status 1 says that an outcome is not as expected; the test of its scenario shows it.
  if (status !== 0 && status !== 1) throw new Error(`${program} ended with ${status}: ${stderr}`);
  return JSON.parse(stdout);
}

/** The webhooks of one scenario; a step changes their answers. */
export async function startWebhooks() {
  /** @type {import("./collector.js").StubResponse[]} */
  const alertStubs = [{ status: 200 }];
  /** @type {import("./collector.js").StubResponse[]} */
  const confirmStubs = [{ status: 200, body: { verdict: "approve" } }];
  const [alerts, confirm] = [await startCollector(alertStubs), await startCollector(confirmStubs)];
  return { alertStubs, confirmStubs, alerts, confirm, stop: () => Promise.all([alerts.stop(), confirm.stop()]) };
}

/** Variables and options of a scenario's gateway. @param {ScenarioFile} file @param {Scenario} scenario @param {Webhooks} webhooks @returns {import("./gateway.js").GatewaySpec} */
export function gatewaySpec(file, scenario, { alerts, confirm }) {
  const addWebhooks = (/** @type {string} */ value) => value.replace("ALERTS_URL", alerts.url).replace("CONFIRM_URL", confirm.url);
  const variables = Object.entries({ ...file.variables, ...scenario.variables }).map(([name, value]) => [name, addWebhooks(value)]);
  return [Object.fromEntries(variables), { model: "scripted", replica: scenario.gateways === 2 }];
}

/** Takes the steps of a scenario and returns its outcome. @param {Gateway} gateway @param {ScenarioFile} file @param {Scenario} scenario @param {Webhooks} webhooks */
export function takeSteps(gateway, file, scenario, webhooks) {
  return new Driver(gateway, file, scenario, webhooks).run();
}

/** The places at which two outcomes differ, each as one sentence. @param {any} live @param {any} simulated @param {string} [place] @returns {string[]} */
export function listDifferences(live, simulated, place = "") {
  if (isDeepStrictEqual(live, simulated)) return [];
  const areObjects = [live, simulated].every((value) => typeof value === "object" && value !== null);
  const names = areObjects ? [...new Set([...Object.keys(live), ...Object.keys(simulated)])] : [];
  if (names.length === 0) return [`${place}: ${JSON.stringify(live)} in workerd, ${JSON.stringify(simulated)} in the simulation`];
  return names.flatMap((name) => listDifferences(live[name], simulated[name], `${place}/${name}`));
}

class Driver {
  /** Ids of the responses so far, in their order. @type {string[]} */
  ids = [];
  /** The last new cookie. @type {string | null} */
  cookie = null;
  /** Events that the event store will have when all have arrived. */
  events = 0;
  trafficCalls = 0;

  /** @param {Gateway} gateway @param {ScenarioFile} file @param {Scenario} scenario @param {Webhooks} webhooks */
  constructor(gateway, file, scenario, webhooks) {
    this.gateway = gateway;
    this.file = file;
    this.scenario = scenario;
    this.webhooks = webhooks;
  }

  async run() {
    const steps = [];
    for (const step of this.scenario.steps) steps.push(await this.act(step));
    return { steps, end: await this.end() };
  }

  /** @param {Step} step @returns {Promise<any>} */
  async act(step) {
    switch (step.do) {
      case "alerts":
        this.webhooks.alertStubs[0] = { status: step.status };
        return null;
      case "call":
        return this.callAll(step);
      case "command":
        return statusOutcome(await this.send("POST", "/v1/admin/rollout", this.commandBody(step)));
      case "confirm":
        this.webhooks.confirmStubs[0] = { status: 200, body: { verdict: step.verdict } };
        return null;
      case "erase":
        return this.erase(step.user);
      case "feedback":
        return this.sendFeedback(step);
      case "health":
        return healthOutcome(await this.send("GET", "/health", undefined, step.gateway));
      case "settle":
        await this.settle();
        return null;
      case "share":
        return this.changeShare(step);
      case "status":
        return this.fetchStatus();
      case "validate": {
        const { status } = await this.send("POST", "/v1/admin/validation", { passed: step.passed, model: { sha256: step.sha256.repeat(32) } });
        return { status };
      }
      case "wait":
        await sleep(step.seconds * 1_000);
        return null;
      case "wait_alerts":
        await waitFor(() => this.acceptedAlerts().length >= step.accepted, () => `${step.accepted} alerts`);
        return null;
      case "wait_until":
        return this.waitUntil(step);
      default:
        throw new Error(`no step is called ${step.do}`);
    }
  }

  /** Sends a request to an endpoint of the gateway, with the operator's token. @param {string} method @param {string} path @param {object} [body] @param {number} [number] of the gateway */
  async send(method, path, body, number = 1) {
    const init = { method, token: SECRETS.JEFFREY_ADMIN_TOKEN, headers: selectGateway(number), ...(body && { body: JSON.stringify(body) }) };
    const response = await this.gateway.fetchAdmin(path, init);
    const text = await response.text();
    return { status: response.status, text, json: parseJson(text) };
  }

  async fetchStatus() {
    return statusOutcome(await this.send("GET", "/v1/rollout"));
  }

  /** @param {Step} step */
  commandBody({ command, reason = "", plan }) {
    return { command, reason, actor: "operator", plan: plan ? this.file.plans[plan].join("\n") : null };
  }

  /** @param {Step} step */
  async changeShare({ share, killed, version }) {
    const status = await this.send("GET", "/v1/rollout");
    return statusOutcome(await this.send("PUT", "/v1/admin/share", { version: version ?? status.json.version, share, killed }));
  }

  /** @param {string} user */
  async erase(user) {
    const { status, json } = await this.send("DELETE", "/v1/admin/subjects", { subject: user });
    this.events -= json?.erased ?? 0;
    return { status, erased: json?.erased ?? null };
  }

  /** @param {Step} step */
  async sendFeedback({ of, id, ok }) {
    const { status, json } = await this.send("POST", "/v1/feedback", { id: of === undefined ? id : this.ids[of], ok });
    if (status === 200) this.events += 1;
    return { status, error: json?.error?.code ?? null };
  }

  /** @param {Step} step */
  async callAll(step) {
    const calls = [];
    for (const user of step.users ?? [step.user]) calls.push(await this.call(step, user));
    return { calls };
  }

  /** Makes one call and returns what its client and the legacy system saw of it. @param {Step} step @param {string | undefined} user */
  async call(step, user) {
    const { method = "POST", path = "/predict", gateway = 1 } = step;
    const body = callBody(step);
    const { requests } = this.gateway.legacy;
    const requestsBefore = requests.length;
    const headers = {
      "content-type": "application/json",
      ...(step.streamed ? { "transfer-encoding": "chunked" } : { "content-length": String(Buffer.byteLength(body)) }),
      ...(user && { "x-user-id": user }),
      ...(step.cookie && this.cookie && { cookie: this.cookie }),
      ...(step.cohort && { "x-jeffrey-cohort": step.cohort }),
      ...(step.token && { "x-jeffrey-token": overrideToken(step.token) }),
      ...(step.legacy && { "x-mock-legacy": LEGACY_FAULTS[step.legacy] }),
      ...selectGateway(gateway),
      ...step.headers,
    };
    const response = await sendCall(this.gateway.origin + path, method, headers, body);
    const header = (/** @type {string} */ name) => /** @type {string | undefined} */ (response.headers[name]) ?? null;
    const newCookie = response.headers["set-cookie"]?.find((cookie) => cookie.startsWith("jeffrey_subject="));
    const id = header("x-jeffrey-id");
    if (id !== null) this.ids.push(id);
    this.cookie = newCookie?.split(";")[0] ?? this.cookie;
    if (method === "POST" && path === "/predict") this.events += 1;
    return {
      status: response.status,
      cohort: header("x-jeffrey-cohort"),
      upstream: /^(model|legacy);/.exec(header("server-timing") ?? "")?.[1] ?? null,
      error: parseJson(response.body)?.error?.code ?? null,
      override: header("x-jeffrey-override"),
      allow_origin: header("access-control-allow-origin"),
      new_cookie: newCookie !== undefined,
      complete: response.isComplete,
      legacy_requests: requests.length - requestsBefore,
    };
  }

  /** Looks at the release until it has the wanted values, with a call at each look if there is traffic. @param {Step} step */
  async waitUntil({ do: _, traffic, expect: __, ...wanted }) {
    return waitFor(async () => {
      const status = /** @type {Record<string, any>} */ (await this.fetchStatus());
      if (Object.entries(wanted).every(([name, value]) => status[name] === value)) return status;
      if (traffic) {
        this.trafficCalls += 1;
        await this.call({ do: "call", text: "The parcel is here." }, `traffic-${this.trafficCalls % TRAFFIC_USERS}`);
      }
      await sleep(LOOK_MS);
      return null;
    }, () => JSON.stringify(wanted));
  }

  /** Waits until the event store has all events, and returns them. @returns {Promise<any[]>} */
  settle() {
    return waitFor(async () => {
      const { text } = await this.send("GET", "/v1/admin/events?since=0&limit=10000");
      const events = text.split("\n").filter(Boolean).map((line) => JSON.parse(line));
      return events.length >= this.events && events;
    }, () => `${this.events} events`);
  }

  /** The alerts that the webhook accepted. @returns {any[]} */
  acceptedAlerts() {
    return this.webhooks.alerts.requests.filter(({ status }) => status === 200).map(({ body }) => JSON.parse(body));
  }

  /** The outcome at the end. */
  async end() {
    const release = await this.fetchStatus();
    await this.settle();
    await sleep(QUIET_MS);
    const events = countBy(await this.settle(), groupOf);
    const { text } = await this.send("GET", "/metrics");
    const counters = Object.fromEntries([...text.matchAll(COUNTER)].map(([, name, value]) => [name, Number(value)]));
    const keep = (/** @type {Record<string, number>} */ counts) => (this.scenario.counts === false ? Object.fromEntries(Object.keys(counts).map((name) => [name, 1])) : counts);
    return { release, events: keep(events), counters: keep(counters), alerts: countBy(this.acceptedAlerts(), ({ code, resolved }) => `${code} resolved=${resolved}`) };
  }
}

/** @param {number} number of the gateway @returns {Record<string, string>} */
const selectGateway = (number) => (number === 2 ? { "x-test-gateway": "two" } : {});

/** The body of a call; the model worker finds its fault in the text. @param {Step} step @returns {string} */
function callBody({ body, text, text_bytes, user_in_body, model }) {
  if (body !== undefined) return body;
  if (text_bytes !== undefined) return JSON.stringify({ text: "a".repeat(text_bytes) });
  if (text === undefined) return "";
  return JSON.stringify({ text: model ? `fault:${model} ${text}` : text, user_id: user_in_body });
}

/** @param {string} kind */
function overrideToken(kind) {
  switch (kind) {
    case "valid":
      return createToken().token;
    case "valid_when_rolled_back":
      return createToken({ allowRolledBack: true }).token;
    case "forged":
      return createToken({ key: "another key of the scenarios" }).token;
    case "other_release":
      return createToken({ release: "e0" }).token;
    default:
      return "v1.not-a-token";
  }
}

/** Sends a call on its own connection. Status 0 stands for no response. @param {string} url @param {string} method @param {Record<string, string>} headers @param {string} body @returns {Promise<CallResponse>} */
function sendCall(url, method, headers, body) {
  return new Promise((resolve) => {
    const outgoing = request(url, { method, headers, agent: false }, (response) => {
      const { statusCode: status = 0, headers: received } = response;
      /** @type {Buffer[]} */
      const chunks = [];
      const finish = () => resolve({ status, headers: received, body: Buffer.concat(chunks).toString(), isComplete: response.complete });
      // `close` follows `end` and `error` alike.
      response.on("data", (chunk) => chunks.push(chunk)).on("error", () => {}).on("close", finish);
    });
    outgoing.on("error", () => resolve({ status: 0, headers: {}, body: "", isComplete: false }));
    outgoing.end(body);
  });
}

/** @param {{ status: number, json: any }} response */
function statusOutcome({ status, json }) {
  return {
    status,
    error: json?.error?.code ?? null,
    phase: json?.rollout?.phase ?? null,
    share_basis_points: json?.share_basis_points ?? null,
    killed: json?.killed ?? null,
    hard_failures: json?.hard_failures ?? null,
    last_hard_failure: json?.last_hard_failure?.kind ?? null,
  };
}

/** @param {{ status: number, json: any }} response */
function healthOutcome({ status, json }) {
  return { status, health: json?.status ?? null, breaker: json?.breaker ?? null, disabled: json?.disabled ?? null, share_basis_points: json?.share_basis_points ?? null };
}

/** The name of an event's group: its fields that are not null. @param {any} event */
function groupOf(event) {
  const fields = EVENT_FIELDS.map((name) => {
    const value = name === "shadow" ? event.shadow && (event.shadow.fallback_reason ?? "answered") : (event[name] ?? event.thresholds?.[name]);
    return value === undefined || value === null ? null : `${name}=${name === "model_sha256" ? value.slice(0, 4) : value}`;
  });
  return fields.filter(Boolean).join(" ");
}

/** @template T @param {T[]} items @param {(item: T) => string} nameOf @returns {Record<string, number>} */
function countBy(items, nameOf) {
  /** @type {Record<string, number>} */
  const counts = {};
  for (const item of items) counts[nameOf(item)] = (counts[nameOf(item)] ?? 0) + 1;
  return counts;
}

/** JSON of a text; null if it is none. @param {string} text @returns {any} */
function parseJson(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
