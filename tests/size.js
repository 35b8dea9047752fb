// Checks the sizes of the workers and the pages against their limits, and the imports of the page's module.

import { readFileSync, readdirSync } from "node:fs";
import { gzipSync } from "node:zlib";

const MB = 1e6;
let bad = 0;

/** @param {string} folder */
const wasmIn = (folder) => {
  const name = readdirSync(folder, { recursive: true }).map(String).find((file) => file.endsWith(".wasm"));
  if (!name) throw new Error(`no wasm below ${folder}: run make workers`);
  return `${folder}/${name}`;
};

// Cloudflare's limit is 10 MB with gzip on the paid plan; this limit leaves a margin. The test build is larger
// than the shipped one.
check("model worker", wasmIn("build/model"), 8 * MB);
// The gateway must not contain the classifier, which would add about a megabyte.
check("gateway", wasmIn("build/gateway"), 0.8 * MB);
const page = wasmIn("build/browser");
// Without the model, which the page loads separately.
check("page", page, 2.5 * MB);

// All scripts of a page, without wasm and model.
for (const [name, folder] of [["dashboard", "build/pages/dashboard"], ["playground", "build/www"]]) {
  const scripts = readdirSync(folder, { recursive: true }).map(String).filter((file) => file.endsWith(".js"));
  limit(name, Buffer.concat(scripts.map((file) => readFileSync(`${folder}/${file}`))), 0.06 * MB);
}

const imports = WebAssembly.Module.imports(new WebAssembly.Module(readFileSync(page)));
const env = imports.filter(({ module }) => module === "env").map(({ name }) => name);
if (env.length) report(`the page's module imports from "env": ${env.join(", ")}`);

process.exit(bad ? 1 : 0);

/** @param {string} name @param {string} file @param {number} most */
function check(name, file, most) {
  limit(name, readFileSync(file), most);
}

/** @param {string} name @param {Buffer} bytes @param {number} most */
function limit(name, bytes, most) {
  const gzip = gzipSync(bytes, { level: 9 }).length;
  const line = `${name}: ${(bytes.length / MB).toFixed(2)} MB, ${(gzip / MB).toFixed(2)} MB gzip`;
  if (gzip > most) report(`${line} is above ${most / MB} MB`);
  else console.log(`${line}, limit ${most / MB} MB`);
}

/** @param {string} line */
function report(line) {
  console.error(line);
  bad += 1;
}
