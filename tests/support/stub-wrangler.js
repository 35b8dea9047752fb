// A wrangler for tests of deploy/run.js, in milliseconds: it makes the changes of `wrangler deploy` and `wrangler queues create`
// at the API, in the same order, without a bundle. tests/native/deploy.test.js compares its changes with the real wrangler's.

import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { config: { type: "string", default: "" }, tag: { type: "string" }, message: { type: "string" } },
});
const { CLOUDFLARE_API_BASE_URL: url, CLOUDFLARE_ACCOUNT_ID: account, CLOUDFLARE_API_TOKEN: token } = process.env;

try {
  if (positionals[0] === "deploy") await deploy();
  else await request("POST", "/queues", { queue_name: positionals[2] });
} catch (error) {
  console.error(/** @type {Error} */ (error).message);
  process.exitCode = 1;
}

async function deploy() {
  const { top: [top], vars: [vars = {}], services, "queues.producers": producers, "queues.consumers": consumers, triggers } = readToml(values.config);
  const script = `/workers/scripts/${top.name}`;
  const bindings = [
    ...Object.entries(vars).map(([name, text]) => ({ type: "plain_text", name, text })),
    ...services.map(({ binding: name, service }) => ({ type: "service", name, service })),
    ...producers.map(({ binding: name, queue }) => ({ type: "queue", name, queue_name: queue })),
  ];
  const metadata = new FormData();
  metadata.set("metadata", JSON.stringify({ bindings, annotations: { "workers/tag": values.tag, "workers/message": values.message } }));

  const isFirst = (await request("GET", `/workers/services/${top.name}`)) === undefined;
  await request("POST", `${script}/assets-upload-session`, {});
  if (isFirst) {
    await request("PUT", script, metadata);
  } else {
    const { id } = await request("POST", `${script}/versions`, metadata);
    await request("POST", `${script}/deployments`, { versions: [{ version_id: id, percentage: 100 }] });
    await request("PATCH", `${script}/script-settings`, {});
  }
  await request("POST", `${script}/subdomain`, { enabled: top.workers_dev ?? true });
  for (const { crons } of triggers) await request("PUT", `${script}/schedules`, crons.map((/** @type {string} */ cron) => ({ cron })));
  for (const { queue } of consumers) {
    const [{ consumers: existing }] = await request("GET", `/queues?name=${queue}`);
    const own = existing.find((/** @type {{ script: string }} */ consumer) => consumer.script === top.name);
    await request(own ? "PUT" : "POST", `/queues/${queue}/consumers${own ? `/${own.consumer_id}` : ""}`, { script_name: top.name });
  }
}

/** Returns `undefined` if the Worker does not exist. @param {string} method @param {string} path @param {FormData | object} [body] @returns {Promise<any>} */
async function request(method, path, body) {
  const response = await fetch(`${url}/accounts/${account}${path}`, {
    method, headers: { authorization: `Bearer ${token}` }, body: body instanceof FormData || !body ? body : JSON.stringify(body),
  });
  const { success, errors, result } = await response.json();
  if (success) return result;
  if (errors[0].code === 10007) return undefined;
  throw new Error(`${method} ${path}: ${errors[0].message}`);
}

/** Reads the tables of a configuration: strings, numbers, switches and lists on one line. @param {string} file @returns {Record<string, Record<string, any>[]>} */
function readToml(file) {
  /** @type {Record<string, Record<string, any>[]>} */
  const tables = { top: [{}], vars: [], services: [], "queues.producers": [], "queues.consumers": [], triggers: [] };
  let table = tables.top[0];
  for (const line of readFileSync(file, "utf8").split("\n")) {
    const [, header] = /^\[{1,2}([\w.]+)\]{1,2}$/.exec(line) ?? [];
    const [, name, value] = /^(\w+) = (["\[\d].*|true|false)$/.exec(line) ?? [];
    if (header) (tables[header] ??= []).push((table = {}));
    else if (name) table[name] = JSON.parse(value);
  }
  return tables;
}
