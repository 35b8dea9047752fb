// The model worker in a real `wrangler dev`.

import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { existsSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { addHostRouter, startTcpProxy } from "./host-router.js";
import { ROOT, applyReplacements, startWrangler } from "./wrangler.js";

export { TEST_TIMEOUT_MS, postJson, signal, waitFor } from "./wrangler.js";

const CONFIG = "wrangler.model.toml";

/**
 * Starts the model worker with these variables and waits until it answers.
 *
 * @param {Record<string, string>} [variables]
 * @param {{ folder?: string }} [options] `folder`: a copy by `copyWorker` to serve instead of the build.
 */
export async function startModelWorker(variables = {}, { folder = ROOT } = {}) {
  if (!existsSync(join(ROOT, "build/model/index.js"))) throw new Error("build/model is missing: run make workers");
  // Other tests cover the page; without it the model worker answers 404 on its paths.
  await mkdir(join(ROOT, "build/www"), { recursive: true });
  return startWrangler([join(folder, CONFIG)], { path: "/health", cwd: folder, variables });
}

/**
 * Starts several model workers in one session, each with its own origin; the first one has the session's origin.
 *
 * @template {string} Name
 * @param {Record<Name, { variables?: Record<string, string>, folder?: string }>} specs by name, in lower case; `folder`: a
 *   copy by `copyWorker`
 */
export async function startModelWorkers(specs) {
  const files = await mkdtemp(join(tmpdir(), "jeffrey-models-"));
  /** Clean-up at the end of the session. @type {(() => Promise<unknown>)[]} */
  const cleanups = [() => rm(files, { recursive: true, force: true })];
  const cleanUp = () => Promise.all(cleanups.map((cleanup) => cleanup()));
  try {
    // Other tests cover the page.
    await mkdir(join(files, "www"));
    const entries = /** @type {[Name, { variables?: Record<string, string>, folder?: string }][]} */ (Object.entries(specs));
    /** @type {import("./host-router.js").Routes} */
    const routes = {};
    const mains = [];
    const configs = [];
    /** @type {(Awaited<ReturnType<typeof startTcpProxy>> | null)[]} */
    const proxies = [];
    for (const [index, [name, { variables = {}, folder = ROOT }]] of entries.entries()) {
      const toml = await readFile(join(folder, CONFIG), "utf8");
      const main = join(folder, /^main = "(.+)"$/m.exec(toml)?.[1] ?? "");
      const vars = Object.entries(variables).map(([name, value]) => `${name} = ${JSON.stringify(value)}\n`);
      const config = join(files, `${name}.toml`);
      await writeFile(config, applyReplacements(toml, [
        ['name = "jeffrey-model"', `name = "jeffrey-model-${name}"`],
        [/^main = .*$/m, `main = ${JSON.stringify(main)}`],
        ['directory = "build/www"', 'directory = "www"'],
      ]) + `\n[vars]\n${vars.join("")}`);
      const proxy = index === 0 ? null : await startTcpProxy();
      if (proxy) cleanups.push(proxy.stop);
      routes[proxy?.host ?? ""] = { primary: `jeffrey-model-${name}` };
      mains.push(main);
      configs.push(config);
      proxies.push(proxy);
    }
    await addHostRouter(configs[0], mains[0], routes);
    const { origin, log, group, stop } = await startWrangler(configs, { path: "/health", cwd: files });
    proxies.forEach((proxy) => proxy?.forwardTo(Number(new URL(origin).port)));
    const workers = entries.map(([name], index) => [name, { origin: index === 0 ? origin : `http://${proxies[index]?.host}`, log }]);
    return { workers: /** @type {Record<Name, { origin: string, log: typeof log }>} */ (Object.fromEntries(workers)), log, group, stop: () => stop().finally(cleanUp) };
  } catch (error) {
    await cleanUp();
    throw error;
  }
}

/**
 * Copies the model worker's files for a test that changes them. `edit` gets the folder with the copied
 * `wrangler.model.toml` and `build/model`.
 *
 * @param {(folder: string) => Promise<void>} edit
 */
export async function copyWorker(edit) {
  const folder = await mkdtemp(join(tmpdir(), "jeffrey-copy-"));
  await cp(join(ROOT, CONFIG), join(folder, CONFIG));
  await cp(join(ROOT, "build/model"), join(folder, "build/model"), { recursive: true });
  await mkdir(join(folder, "build/www"), { recursive: true });
  await edit(folder);
  return { folder, remove: () => rm(folder, { recursive: true, force: true }) };
}

/** Rewrites one file. Throws if `change` changes nothing. @param {string} file @param {(text: string) => string} change */
export async function rewrite(file, change) {
  const before = await readFile(file, "utf8");
  const after = change(before);
  if (after === before) throw new Error(`nothing to change in ${file}`);
  await writeFile(file, after);
}
