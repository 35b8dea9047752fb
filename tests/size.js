// Checks the sizes of the workers and the pages against their limits, the imports of the page's module, and the languages
// that the gateway contains.

import { readFileSync, readdirSync } from "node:fs";
import { gzipSync } from "node:zlib";

const MB = 1e6;
let failureCount = 0;

/** @param {string} folder */
const findWasm = (folder) => {
  const name = readdirSync(folder, { recursive: true }).map(String).find((file) => file.endsWith(".wasm"));
  if (!name) throw new Error(`no wasm below ${folder}: run make workers`);
  return `${folder}/${name}`;
};

// Cloudflare's limit is 10 MB with gzip on the paid plan; this limit leaves a margin. The test build is larger
// than the shipped one.
checkFile("model worker", findWasm("build/model"), 8 * MB);
// The gateway must not contain the classifier, which would add about a megabyte.
checkFile("gateway", findWasm("build/gateway"), 0.9 * MB);
checkCatalogues(findWasm("build/gateway"));
const pageWasm = findWasm("build/browser");
// Without the model, which the page loads separately.
checkFile("page", pageWasm, 2.5 * MB);

// All scripts of a page, without wasm and model.
for (const [name, folder] of [["dashboard", "build/pages/dashboard"], ["playground", "build/www"]]) {
  const scripts = readdirSync(folder, { recursive: true }).map(String).filter((file) => file.endsWith(".js"));
  checkSize(name, Buffer.concat(scripts.map((file) => readFileSync(`${folder}/${file}`))), 0.06 * MB);
}

const imports = WebAssembly.Module.imports(new WebAssembly.Module(readFileSync(pageWasm)));
const envImports = imports.filter(({ module }) => module === "env").map(({ name }) => name);
if (envImports.length) reportFailure(`the page's module imports from "env": ${envImports.join(", ")}`);

process.exit(failureCount ? 1 : 0);

/** Checks that the gateway contains the English sentences and none of the French ones. @param {string} file */
function checkCatalogues(file) {
  const module = readFileSync(file);
  const countTemplates = (/** @type {string} */ language) => {
    /** @type {string[]} */
    const templates = Object.values(JSON.parse(readFileSync(`src/catalogue/${language}.json`, "utf8")));
    return templates.filter((template) => template.length > 20 && module.includes(template)).length;
  };
  if (countTemplates("en") === 0) reportFailure("the gateway has no English sentence");
  if (countTemplates("fr") > 0) reportFailure("the gateway has French sentences");
}

/** @param {string} name @param {string} file @param {number} maxGzipBytes */
function checkFile(name, file, maxGzipBytes) {
  checkSize(name, readFileSync(file), maxGzipBytes);
}

/** @param {string} name @param {Buffer} bytes @param {number} maxGzipBytes */
function checkSize(name, bytes, maxGzipBytes) {
  const gzip = gzipSync(bytes, { level: 9 }).length;
  const line = `${name}: ${(bytes.length / MB).toFixed(2)} MB, ${(gzip / MB).toFixed(2)} MB gzip`;
  if (gzip > maxGzipBytes) reportFailure(`${line} is above ${maxGzipBytes / MB} MB`);
  else console.log(`${line}, limit ${maxGzipBytes / MB} MB`);
}

/** @param {string} line */
function reportFailure(line) {
  console.error(line);
  failureCount += 1;
}
