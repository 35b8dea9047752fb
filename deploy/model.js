// Identity of the model in a build: the SHA-256 of its manifest, which the gateway reads as `x-model-sha256`.

import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { DeployError } from "./error.js";

/** @typedef {{ id: string, sha256: string, tag: string }} ModelIdentity `tag` marks the uploaded versions with this model */

/**
 * Returns the identity of the shipped model. Refuses a build with another one.
 * @param {string} root @param {string} build folder of the built workers @returns {ModelIdentity}
 */
export function readModelIdentity(root, build) {
  const id = readFileSync(join(root, "models/shipped"), "utf8").trim();
  const manifest = readFileSync(join(root, "models", id, "manifest.json"));
  // The crate jeffrey-shipped embeds the manifest byte by byte.
  if (!readFileSync(join(build, "model/index_bg.wasm")).includes(manifest)) {
    throw new DeployError(2, `${build}/model has another model than models/${id}: make PROFILE=edge workers`);
  }
  const sha256 = createHash("sha256").update(manifest).digest("hex");
  // 22 characters: Cloudflare once limited a tag to 25 bytes.
  return { id, sha256, tag: `model-${sha256.slice(0, 16)}` };
}
