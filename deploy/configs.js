// The wrangler configurations of one deployment, made from those in the root folder.

import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { QUEUES } from "./names.js";
import { SERVICE } from "./variables.js";

/** The only `RELEASE` of wrangler.toml. */
const RELEASE_LINE = /^RELEASE = "(.*)"\n/m;

/** Returns the release of the gateway: that of its variables, else of wrangler.toml. @param {string} root @param {Map<string, string>} variables */
export function readRelease(root, variables) {
  const [, release] = RELEASE_LINE.exec(readFileSync(join(root, "wrangler.toml"), "utf8")) ?? [];
  return variables.get("RELEASE") ?? release ?? "";
}

/**
 * Writes the configurations into a folder of the environment and returns their paths.
 * @param {{ root: string, suffix: string, build: string, modelWorker: string, variables: Map<string, string> }} deployment `build` is absolute
 */
export function writeConfigs({ root, suffix, build, modelWorker, variables }) {
  const folder = join(root, "build/deploy", `jeffrey${suffix}`);
  mkdirSync(folder, { recursive: true });
  const names = [["jeffrey-model", modelWorker], ...["jeffrey-gateway", "jeffrey-public-api", ...QUEUES].map((name) => [name, name + suffix])];
  const rename = (/** @type {string} */ toml) => names.reduce((text, [name, deployed]) => text.replaceAll(`= "${name}"`, `= "${deployed}"`), toml);
  // Rate limits of one namespace share their counts, throughout the account.
  const giveNamespaces = (/** @type {string} */ toml) => toml.replaceAll(/^namespace_id = "(\d+)"$/gm, (_, id) => `namespace_id = "${namespaceId(id, suffix)}"`);
  const readConfig = (/** @type {string} */ name) => giveNamespaces(rename(readFileSync(join(root, name), "utf8")));
  const writeConfig = (/** @type {string} */ name, /** @type {string} */ toml) => {
    writeFileSync(join(folder, name), toml);
    return join(folder, name);
  };
  const [model, publicApi] = ["wrangler.model.toml", "wrangler.public-api.toml"].map((name) => applyReplacements(readConfig(name), [
    ['"build/model/index.js"', JSON.stringify(join(build, "model/index.js"))],
    ['"build/www"', JSON.stringify(join(build, "www"))],
  ]));
  const varsToml = [...variables].filter(([name]) => name !== SERVICE).map(([name, value]) => `${name} = ${JSON.stringify(value)}\n`).join("");
  const legacyService = variables.get(SERVICE);
  const bindingToml = legacyService ? `\n[[services]]\nbinding = "LEGACY"\nservice = ${JSON.stringify(legacyService)}\n` : "";
  const gateway = applyReplacements(readConfig("wrangler.toml"), [
    ['"build/gateway/index.js"', JSON.stringify(join(build, "gateway/index.js"))],
    ['"build/pages"', JSON.stringify(join(build, "pages"))],
    [RELEASE_LINE, `${variables.has("RELEASE") ? "" : "$&"}${varsToml.replaceAll("$", "$$$$")}`],
  ]);
  return {
    modelConfig: writeConfig("wrangler.model.toml", model),
    gatewayConfig: writeConfig("wrangler.toml", gateway + bindingToml),
    publicConfig: writeConfig("wrangler.public-api.toml", publicApi),
  };
}

/** Returns the namespace of a rate limit: a whole number above zero, one for each suffix. @param {string} id @param {string} suffix */
function namespaceId(id, suffix) {
  if (suffix === "") return id;
  return String(1 + createHash("sha256").update(id + suffix).digest().readUIntBE(0, 4));
}

/** @param {string} text @param {[string | RegExp, string][]} replacements */
function applyReplacements(text, replacements) {
  return replacements.reduce((result, [from, to]) => {
    if (result.search(from) < 0) throw new Error(`the configuration has no ${from}`);
    return result.replace(from, to);
  }, text);
}
