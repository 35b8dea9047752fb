// The model worker in a real `wrangler dev`.

import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { existsSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { front, startDoor } from "./host-router.js";
import { ROOT, replaced, startWrangler } from "./wrangler.js";

export { PATIENCE_MS, post, signal, until } from "./wrangler.js";

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
 * @param {Record<Name, { variables?: Record<string, string>, folder?: string }>} wanted by name, in lower case; `folder`: a
 *   copy by `copyWorker`
 */
export async function startModelWorkers(wanted) {
  const files = await mkdtemp(join(tmpdir(), "jeffrey-models-"));
  /** Clean-up at the end of the session. @type {(() => Promise<unknown>)[]} */
  const ends = [() => rm(files, { recursive: true, force: true })];
  const clean = () => Promise.all(ends.map((end) => end()));
  try {
    // Other tests cover the page.
    await mkdir(join(files, "www"));
    const all = /** @type {[Name, { variables?: Record<string, string>, folder?: string }][]} */ (Object.entries(wanted));
    /** @type {import("./host-router.js").Routes} */
    const routes = {};
    const mains = [];
    const configs = [];
    /** @type {(Awaited<ReturnType<typeof startDoor>> | null)[]} */
    const doors = [];
    for (const [at, [name, { variables = {}, folder = ROOT }]] of all.entries()) {
      const toml = await readFile(join(folder, CONFIG), "utf8");
      const main = join(folder, /^main = "(.+)"$/m.exec(toml)?.[1] ?? "");
      const vars = Object.entries(variables).map(([name, value]) => `${name} = ${JSON.stringify(value)}\n`);
      const config = join(files, `${name}.toml`);
      await writeFile(config, replaced(toml, [
        ['name = "jeffrey-model"', `name = "jeffrey-model-${name}"`],
        [/^main = .*$/m, `main = ${JSON.stringify(main)}`],
        ['directory = "build/www"', 'directory = "www"'],
      ]) + `\n[vars]\n${vars.join("")}`);
      const door = at === 0 ? null : await startDoor();
      if (door) ends.push(door.stop);
      routes[door?.host ?? ""] = { one: `jeffrey-model-${name}` };
      mains.push(main);
      configs.push(config);
      doors.push(door);
    }
    await front(configs[0], mains[0], routes);
    const { origin, log, group, stop } = await startWrangler(configs, { path: "/health", cwd: files });
    doors.forEach((door) => door?.open(Number(new URL(origin).port)));
    const workers = all.map(([name], at) => [name, { origin: at === 0 ? origin : `http://${doors[at]?.host}`, log }]);
    return { workers: /** @type {Record<Name, { origin: string, log: typeof log }>} */ (Object.fromEntries(workers)), log, group, stop: () => stop().finally(clean) };
  } catch (error) {
    await clean();
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
