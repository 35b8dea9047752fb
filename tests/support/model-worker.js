// The model worker in a real `wrangler dev`.

import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { existsSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ROOT, startWrangler } from "./wrangler.js";

export { PATIENCE_MS, post, signal, until } from "./wrangler.js";

const CONFIG = "wrangler.model.toml";

/**
 * Starts it with these worker variables and waits until it answers.
 *
 * @param {Record<string, string>} [variables]
 * @param {{ folder?: string }} [options] `folder`: a copy by `copyWorker` to serve instead.
 */
export async function startModelWorker(variables = {}, { folder = ROOT } = {}) {
  if (!existsSync(join(ROOT, "build/model/index.js"))) throw new Error("build/model is missing: run make workers");
  // The page is another test's matter; without it the worker answers 404 there.
  await mkdir(join(ROOT, "build/www"), { recursive: true });
  return startWrangler([join(folder, CONFIG)], { path: "/health", cwd: folder, variables });
}

/**
 * A copy of what is served, for a test that changes it. `edit` gets the folder with the copied
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

/** Rewrites one file. @param {string} file @param {(text: string) => string} change */
export async function rewrite(file, change) {
  const before = await readFile(file, "utf8");
  const after = change(before);
  if (after === before) throw new Error(`nothing to change in ${file}`);
  await writeFile(file, after);
}
