// Reads what is deployed, by Cloudflare's API. Wrangler makes every change, but its output does not serve to read: a missing
// Worker looks like a failure there, and a failure must never count as "nothing is there".

import { DeployError } from "./error.js";

const API_URL = "https://api.cloudflare.com/client/v4";
const TIMEOUT_MS = 30_000;
/** Codes for a Worker that does not exist: without any environment, and without this one. */
const WORKER_NOT_FOUND = [10007, 10090];

/** @typedef {{ versions: { version_id: string, percentage: number }[] }} Deployment */
/** @typedef {{ annotations?: Record<string, string> }} Version */

/** Reads the Workers and queues of one account. */
export class CloudflareAccount {
  /** @param {string} id @param {string} token @param {string} [url] */
  constructor(id, token, url = API_URL) {
    this.url = `${url}/accounts/${encodeURIComponent(id)}`;
    this.headers = { authorization: `Bearer ${token}` };
  }

  /**
   * Returns the tag of each version that gets traffic, `undefined` for a version without one. A version that was uploaded but
   * not deployed does not count. Returns `undefined` if the Worker does not exist.
   * @param {string} worker
   */
  async readLiveTags(worker) {
    const path = `/workers/scripts/${worker}`;
    const reply = await this.#readWorker(`${path}/deployments`);
    if (reply === undefined) return undefined;
    // The newest deployment comes first.
    const [active] = /** @type {{ deployments: Deployment[] }} */ (reply).deployments;
    const versions = (active?.versions ?? []).map(({ version_id: id }) => this.#read(`${path}/versions/${id}`));
    return (await Promise.all(versions)).map((version) => /** @type {Version} */ (version).annotations?.["workers/tag"]);
  }

  /** Returns the names of a Worker's secrets; `undefined` if the Worker does not exist. @param {string} worker */
  async readSecretNames(worker) {
    const secrets = /** @type {{ name: string }[] | undefined} */ (await this.#readWorker(`/workers/scripts/${worker}/secrets`));
    return secrets?.map(({ name }) => name);
  }

  /** Returns the names of all Workers. */
  async readWorkerNames() {
    return /** @type {{ id: string }[]} */ (await this.#read("/workers/scripts")).map(({ id }) => id);
  }

  /** @param {string} queue */
  async hasQueue(queue) {
    const queues = /** @type {{ queue_name: string }[]} */ (await this.#read(`/queues?name=${queue}`));
    return queues.some(({ queue_name: name }) => name === queue);
  }

  /** @param {string} path */
  async #read(path) {
    const { result, codes, message } = await this.#request(path);
    if (codes) throw new DeployError(1, `${this.url}${path} cannot be read: ${message}`);
    return result;
  }

  /** Returns `undefined` if the Worker does not exist. @param {string} path */
  async #readWorker(path) {
    const { result, codes, message } = await this.#request(path);
    if (codes?.some((code) => WORKER_NOT_FOUND.includes(code))) return undefined;
    if (codes) throw new DeployError(1, `${this.url}${path} cannot be read: ${message}`);
    return result;
  }

  /** Returns the result, or the codes of a refusal; no code for a reply that is not the API's. @param {string} path @returns {Promise<{ result?: unknown, codes?: number[], message?: string }>} */
  async #request(path) {
    try {
      const response = await fetch(this.url + path, { headers: this.headers, signal: AbortSignal.timeout(TIMEOUT_MS) });
      const reply = await response.json();
      if (reply.success === true) return { result: reply.result };
      const errors = /** @type {{ code: number, message: string }[]} */ (reply.errors);
      return { codes: errors.map(({ code }) => code), message: errors.map(({ code, message }) => `${message} (code ${code})`).join(", ") };
    } catch (error) {
      const { message, cause } = /** @type {Error} */ (error);
      return { codes: [], message: cause instanceof Error ? cause.message : message };
    }
  }
}
