// A Cloudflare account in memory, behind the part of the API that `wrangler deploy`, `wrangler queues create` and
// deploy/cloudflare.js call. Like the platform, it refuses a Worker whose bindings name a Worker or a queue that does not exist.
//
// A test can interrupt the n-th change: the account then ends the deployment right before or right after it, or refuses it.

import { randomUUID } from "node:crypto";
import { createServer } from "node:http";

/** @typedef {{ type: string, name: string, service?: string, queue_name?: string, text?: string }} Binding */
/** @typedef {{ id: string, annotations: Record<string, string>, resources: { bindings: Binding[] } }} Version */
/** @typedef {{ versions: Version[], deployments: { versions: { version_id: string, percentage: number }[] }[], secrets: Set<string>, crons: string[], isPublic: boolean }} DeployedWorker */
/** @typedef {{ at: number, how: "ended before" | "ended after" | "refused" }} Interruption `at`: number of the change, from 0 */

export const ACCOUNT_ID = "0123456789abcdef0123456789abcdef";
const PREFIX = `/accounts/${ACCOUNT_ID}`;

/** A refusal with the API's code. */
class Refusal extends Error {
  /** @param {number} status @param {number} code @param {string} message */
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

export class CloudflareAccountServer {
  /** @type {Map<string, DeployedWorker>} */
  workers = new Map();
  /** Queues, each with its consumers. @type {Map<string, string[]>} */
  queues = new Map();
  /** The changes so far, as method and path. @type {string[]} */
  changes = [];
  /** Requests that no route knows; a test expects none. @type {string[]} */
  unknown = [];
  /** @type {Interruption | undefined} */
  interruption;
  /** Ends the running deployment; set by the test that interrupts it. */
  endDeployment = () => {};
  /** Paths whose reads fail with an error that is not "no such Worker". @type {RegExp | undefined} */
  failedReads;
  #server = createServer((request, response) => this.#answer(request, response));

  async start() {
    await new Promise((resolve) => this.#server.listen(0, "127.0.0.1", () => resolve(null)));
    const { port } = /** @type {import("node:net").AddressInfo} */ (this.#server.address());
    this.url = `http://127.0.0.1:${port}`;
    return this;
  }

  stop() {
    this.#server.closeAllConnections();
    this.#server.close();
  }

  /** A copy of the state, to compare and to return to. */
  save() {
    return structuredClone({ workers: this.workers, queues: this.queues });
  }

  /** @param {ReturnType<CloudflareAccountServer["save"]>} saved */
  restore(saved) {
    ({ workers: this.workers, queues: this.queues } = structuredClone(saved));
    this.changes = [];
    this.interruption = undefined;
  }

  /** The version of a Worker that gets all traffic. @param {string} name */
  liveVersion(name) {
    const worker = this.workers.get(name);
    const [active] = worker?.deployments ?? [];
    return worker?.versions.find(({ id }) => id === active?.versions[0].version_id);
  }

  /** The Worker that a binding of a live version names. @param {string} name @param {string} binding */
  liveBinding(name, binding) {
    return this.liveVersion(name)?.resources.bindings.find((candidate) => candidate.name === binding);
  }

  /** @param {import("node:http").IncomingMessage} request @param {import("node:http").ServerResponse} response */
  async #answer(request, response) {
    const body = await new Response(/** @type {any} */ (request), { headers: { "content-type": request.headers["content-type"] ?? "" } });
    const { pathname, searchParams } = new URL(request.url ?? "", "http://host");
    const path = pathname.replace(PREFIX, "");
    const method = request.method ?? "";
    try {
      if (request.headers.authorization !== "Bearer token") throw new Refusal(401, 10000, "Authentication error");
      const form = request.headers["content-type"]?.startsWith("multipart/") ? await body.formData() : undefined;
      const text = form ? "" : await body.text();
      const json = text && JSON.parse(text);
      const result = method === "GET" ? this.#read(path, searchParams) : this.#change(method, path, form ? JSON.parse(String(form.get("metadata"))) : json);
      response.end(JSON.stringify({ success: true, errors: [], messages: [], result, result_info: { page: 1, per_page: 100, total_pages: 1, count: 1 } }));
    } catch (error) {
      const { status = 500, code = 10001, message } = /** @type {Refusal} */ (error);
      response.writeHead(status).end(JSON.stringify({ success: false, errors: [{ code, message }], messages: [], result: null }));
    }
  }

  /** @param {string} path @param {URLSearchParams} query @returns {unknown} */
  #read(path, query) {
    if (this.failedReads?.test(path)) throw new Refusal(503, 10013, "An unknown error has occurred");
    const [, kind, name, rest = ""] = /^\/workers\/(scripts|services)\/([^/]+)(?:\/(.*))?$/.exec(path) ?? [];
    if (kind) {
      const worker = this.#worker(name);
      if (kind === "services") return { default_environment: { environment: "production", script: { tag: name, tags: [], last_deployed_from: "wrangler" } } };
      if (rest === "deployments") return { deployments: worker.deployments };
      if (rest === "versions") return { items: worker.versions };
      if (rest === "secrets") return [...worker.secrets].map((secret) => ({ name: secret, type: "secret_text" }));
      if (rest === "subdomain") return { enabled: worker.isPublic, previews_enabled: worker.isPublic };
      if (rest === "settings") return { bindings: this.liveVersion(name)?.resources.bindings };
      const version = worker.versions.find(({ id }) => rest === `versions/${id}`);
      if (version) return version;
    }
    // The migration tag of each Worker, which wrangler compares with the configuration's.
    if (path === "/workers/scripts") return [...this.workers.keys()].map((id) => ({ id, migration_tag: id.startsWith("jeffrey-gateway") ? "v1" : undefined }));
    if (path === "/workers/subdomain") return { subdomain: "test" };
    if (path === "/queues") {
      const names = query.getAll("name");
      return [...this.queues].filter(([queue]) => names.includes(queue)).map(([queue, consumers]) => ({
        queue_id: queue, queue_name: queue, consumers: consumers.map((script) => ({ consumer_id: script, script, type: "worker" })),
      }));
    }
    this.unknown.push(`GET ${path}`);
    throw new Refusal(404, 7003, `no route for GET ${path}`);
  }

  /** @param {string} method @param {string} path @param {any} body @returns {unknown} */
  #change(method, path, body) {
    const { at, how } = this.interruption ?? {};
    const isInterrupted = at === this.changes.length;
    this.changes.push(`${method} ${path.replace(/[0-9a-f-]{36}/g, "ID")}`);
    if (isInterrupted && how === "refused") throw new Refusal(403, 10000, "refused by the test");
    if (isInterrupted && how === "ended before") {
      this.endDeployment();
      return;
    }
    const result = this.#apply(method, path, body);
    if (isInterrupted) this.endDeployment();
    return result;
  }

  /** @param {string} method @param {string} path @param {any} body @returns {unknown} */
  #apply(method, path, body) {
    if (method === "POST" && path === "/queues") {
      this.queues.set(body.queue_name, this.queues.get(body.queue_name) ?? []);
      return { queue_name: body.queue_name };
    }
    const [, queue, consumer] = /^\/queues\/([^/]+)\/consumers(\/.*)?$/.exec(path) ?? [];
    if (queue) return consumer ?? this.queues.get(queue)?.push(body.script_name);
    const [, name, rest = ""] = /^\/workers\/(?:scripts|services)\/([^/]+)(?:\/(.*))?$/.exec(path) ?? [];
    switch (`${method} ${rest}`) {
      case "PUT ": {
        const version = this.#addVersion(name, body);
        this.workers.get(name)?.deployments.unshift({ versions: [{ version_id: version.id, percentage: 100 }] });
        return { deployment_id: version.id.replaceAll("-", ""), etag: "etag", startup_time_ms: 1 };
      }
      case "POST versions":
        this.#worker(name);
        return { ...this.#addVersion(name, body), startup_time_ms: 1 };
      case "POST deployments":
        this.#worker(name).deployments.unshift({ versions: body.versions });
        return { id: randomUUID() };
      case "POST assets-upload-session":
        return { jwt: "jwt", buckets: [] };
      case "PATCH script-settings":
        return {};
      case "POST subdomain":
        this.#worker(name).isPublic = body.enabled;
        return { enabled: body.enabled, previews_enabled: body.previews_enabled };
      case "PUT schedules":
        this.#worker(name).crons = body.map((/** @type {{ cron: string }} */ { cron }) => cron);
        return { schedules: body };
    }
    this.unknown.push(`${method} ${path}`);
    throw new Refusal(404, 7003, `no route for ${method} ${path}`);
  }

  /** @param {string} name */
  #worker(name) {
    const worker = this.workers.get(name);
    if (!worker) throw new Refusal(404, 10007, "This Worker does not exist on your account.");
    return worker;
  }

  /** @param {string} name @param {{ bindings?: any[], annotations?: Record<string, string> }} metadata */
  #addVersion(name, { bindings = [], annotations = {} }) {
    for (const { type, service, queue_name: queue } of bindings) {
      if (type === "service" && !this.workers.has(service)) throw new Refusal(400, 10143, `no Worker ${service} for a service binding`);
      if (type === "queue" && !this.queues.has(queue)) throw new Refusal(400, 11000, `no queue ${queue}`);
    }
    const worker = this.workers.get(name) ?? { versions: [], deployments: [], secrets: new Set(), crons: [], isPublic: false };
    this.workers.set(name, worker);
    const version = { id: randomUUID(), annotations, resources: { bindings, script: { etag: "etag" } } };
    worker.versions.unshift(version);
    return version;
  }
}
