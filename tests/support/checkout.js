// Checkouts of several releases for tests of deploy/run.js, which deploy to one account. Each is a folder with the scripts and
// configurations of the repository, a model of its own, small stand-ins for what `make` builds, and a wrangler.

import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ACCOUNT_ID } from "./cloudflare-account.js";
import { ROOT } from "./wrangler.js";

/** @typedef {import("./cloudflare-account.js").CloudflareAccountServer} CloudflareAccountServer */
/** @typedef {{ code: number | null, stdout: string, stderr: string }} DeploymentResult `code` is null if the deployment was ended */


const GATEWAY_JS = `import { DurableObject } from "cloudflare:workers";
export class RolloutObject extends DurableObject {}
export class EventStoreObject extends DurableObject {}
export default { fetch: () => new Response() };
`;
const MODEL_JS = "export default { fetch: () => new Response() };\n";

/** A checkout of one release. */
export class Checkout {
  /** @param {CloudflareAccountServer} account @param {{ model: string, wrangler?: "real" | "stub", areChecksPassed?: boolean }} options */
  constructor(account, { model, wrangler = "stub", areChecksPassed = true }) {
    this.account = account;
    this.folder = mkdtempSync(join(tmpdir(), "jeffrey-checkout-"));
    for (const name of ["deploy", "package.json", "wrangler.toml", "wrangler.model.toml", "wrangler.public-api.toml"]) cpSync(join(ROOT, name), join(this.folder, name), { recursive: true });
    const manifest = JSON.stringify({ id: "small", model });
    const sha256 = createHash("sha256").update(manifest).digest("hex");
    /** Tag of each version with this model. */
    this.tag = `model-${sha256.slice(0, 16)}`;
    this.write("models/shipped", "small\n");
    this.write("models/small/manifest.json", manifest);
    this.write("build/edge/gateway/index.js", GATEWAY_JS);
    this.write("build/edge/model/index.js", MODEL_JS);
    this.write("build/edge/model/index_bg.wasm", `\0asm${manifest}`);
    for (const page of ["pages", "www"]) this.write(`build/edge/${page}/index.html`, page);
    this.write("target/release/jeffrey", `#!/bin/sh\n[ "$1" = --version ] && echo "sha256 ${sha256}" && exit\nexit ${areChecksPassed ? 0 : 1}\n`, 0o755);
    if (wrangler === "real") {
      symlinkSync(join(ROOT, "node_modules"), join(this.folder, "node_modules"));
    } else {
      this.write("node_modules/wrangler/package.json", '{ "type": "module" }');
      mkdirSync(join(this.folder, "node_modules/wrangler/bin"));
      cpSync(join(ROOT, "tests/support/stub-wrangler.js"), join(this.folder, "node_modules/wrangler/bin/wrangler.js"));
    }
  }

  /** @param {string} path @param {string} text @param {number} [mode] */
  write(path, text, mode) {
    const file = join(this.folder, path);
    mkdirSync(join(file, ".."), { recursive: true });
    writeFileSync(file, text, { mode });
  }

  remove() {
    rmSync(this.folder, { recursive: true, force: true });
  }

  /** Deploys with the given variables beside the required ones. @param {Record<string, string>} variables @param {string[]} args @returns {Promise<DeploymentResult>} */
  deploy(variables, ...args) {
    const all = { LEGACY_ORIGIN: "https://old.example", CANARY_AUTH: "none_required", ...variables };
    this.write("deploy/test.vars", Object.entries(all).map(([name, value]) => `${name}=${value}\n`).join(""));
    const environment = args.includes("--env") ? [] : ["--env", "production"];
    const env = {
      ...process.env, CLOUDFLARE_API_BASE_URL: this.account.url, CLOUDFLARE_ACCOUNT_ID: ACCOUNT_ID, CLOUDFLARE_API_TOKEN: "token",
      WRANGLER_SEND_METRICS: "false", CI: "1", NO_COLOR: "1",
    };
    // A process group of its own, so that an interruption ends wrangler too.
    const child = spawn(process.execPath, ["deploy/run.js", "--vars", "deploy/test.vars", ...environment, ...args], { cwd: this.folder, env, detached: true });
    this.account.endDeployment = () => child.pid && process.kill(-child.pid, "SIGKILL");
    return new Promise((resolve) => {
      const output = { stdout: "", stderr: "" };
      for (const name of /** @type {const} */ (["stdout", "stderr"])) child[name].setEncoding("utf8").on("data", (chunk) => (output[name] += chunk));
      child.on("close", (code) => resolve({ code, ...output }));
    });
  }
}
