// What the browser tests stand on: Chromium, a server of build/www, and the same module in Node.

import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import axe from "axe-core";
import { chromium } from "playwright-core";
import { FILES } from "../support/model-files.js";

/** @typedef {import("playwright-core").Page} Page */
/** @typedef {import("../../build/browser/jeffrey_edge.js").Browser} Classifier */
/** @typedef {(path: string) => { status?: number, body?: string | Uint8Array, type?: string, wait?: Promise<void> } | undefined} Override */

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
export const WWW = join(ROOT, process.env.WWW ?? "build/www");
const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";

/** Bounds every wait on a condition: far above what a loaded machine needs. */
const WAIT_MS = 60_000;

/** Bounds a test. */
export const PATIENCE_MS = 4 * WAIT_MS;

/** Why the tests that need Chromium are skipped here, or false. Under CI=true they run, and fail. */
export const skip = existsSync(CHROMIUM) || process.env.CI === "true" ? false : "chromium is missing";
if (skip) console.log("skipped: chromium");

if (!existsSync(join(WWW, "index.html"))) throw new Error(`${WWW} is missing: run make workers`);

/** Those that run. @type {Set<import("playwright-core").Browser>} */
const browsers = new Set();

async function launch() {
  const browser = await chromium.launch({
    executablePath: CHROMIUM,
    args: [
      "--headless",
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
  browsers.add(browser);
  return browser;
}

const TYPES = /** @type {Record<string, string>} */ ({
  ".css": "text/css; charset=utf-8",
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".json": "application/json",
  ".svg": "image/svg+xml",
  ".wasm": "application/wasm",
});

/** At least as strict as what the model worker sends with the page (`wire::PAGE_HEADERS`). */
const HEADERS = {
  "Content-Security-Policy":
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self'; " +
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  // What the platform says of files: kept, and asked for again each time.
  "Cache-Control": "public, max-age=0, must-revalidate",
  "Referrer-Policy": "no-referrer",
  "X-Content-Type-Options": "nosniff",
};

/**
 * Serves build/www with its strict headers; `override` may answer a path otherwise, or late.
 * @param {Override} [override]
 */
export async function serve(override = () => undefined) {
  /** @type {string[]} */
  const requests = [];
  const server = createServer(async (request, response) => {
    const { pathname } = new URL(request.url ?? "/", "http://localhost");
    requests.push(`${request.method} ${request.url}`);
    const path = pathname === "/" ? "index.html" : normalize(pathname).slice(1);
    const other = override(path);
    await other?.wait;
    const body = other?.body ?? (await readFile(join(WWW, path)).catch(() => null));
    const status = other?.status ?? (body === null ? 404 : 200);
    const type = other?.type ?? TYPES[extname(path)] ?? "application/octet-stream";
    response.writeHead(status, { ...HEADERS, "Content-Type": type });
    response.end(status === 200 ? body : undefined);
  });
  // A test that failed before it closed its server must not keep the process.
  server.unref();
  await new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(null)));
  const address = /** @type {import("node:net").AddressInfo} */ (server.address());
  return {
    origin: `http://127.0.0.1:${address.port}`,
    requests,
    close: () => {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(resolve));
    },
  };
}

/**
 * A page in a browser of its own. `faults` collects what the console or the page complained about.
 *
 * Beside two busy cores, a headless Chromium that has shown some pages can end up without a frame: timers run and
 * the page says it is visible, but `requestAnimationFrame` is never called again, and whatever waits for a still
 * element waits until the test ends.
 * @param {import("playwright-core").BrowserContextOptions} [options]
 */
export async function open(options = {}) {
  const browser = await launch();
  const context = await browser.newContext({ locale: "en-GB", ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(WAIT_MS);
  /** @type {string[]} */
  const faults = [];
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) faults.push(message.text());
  });
  page.on("pageerror", (error) => faults.push(String(error)));
  page.on("dialog", (dialog) => {
    faults.push(`dialog: ${dialog.message()}`);
    dialog.dismiss();
  });
  return { page, context, faults };
}

/** Ends the browser of a page. @param {import("playwright-core").BrowserContext} context */
export async function close(context) {
  const browser = context.browser();
  if (!browser) return;
  browsers.delete(browser);
  await browser.close();
}

/** Ends what tests that failed have left open. */
export async function closeAll() {
  await Promise.all([...browsers].map((browser) => browser.close()));
}

/** @param {Page} page @param {"loading" | "ready" | "failed"} state */
export async function reach(page, state) {
  await page.waitForSelector(`html[data-state="${state}"]`);
}

/** What axe-core complains of, each with where. @param {Page} page */
export async function violations(page) {
  await page.evaluate(axe.source);
  return page.evaluate(async () => (await /** @type {any} */ (window).axe.run()).violations.map((/** @type {any} */ one) => `${one.id}: ${one.nodes.map((/** @type {any} */ node) => node.html).join(" | ")}`));
}

/**
 * Waits until a function is true in the page. It asks from outside, so that it also ends where a
 * test has stopped the page's clock.
 * @template T
 * @param {Page} page
 * @param {(argument: T) => boolean} condition
 * @param {T} argument
 */
export async function until(page, condition, argument) {
  const end = Date.now() + WAIT_MS;
  // Playwright's types know no function over a free type.
  const ask = () => page.evaluate(/** @type {any} */ (condition), argument);
  while (!(await ask())) {
    if (Date.now() > end) throw new Error(`not true after ${WAIT_MS} ms: ${condition}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/**
 * Waits until the page shows the answer that the module gives for a text.
 * @param {Page} page
 * @param {{ primary: string, confidence: number, scores: Record<string, number> }} answer
 */
export async function shows(page, answer) {
  await until(
    page,
    (scores) => {
      const rows = /** @type {HTMLTableRowElement[]} */ ([...document.querySelectorAll("#scores tr")]);
      return rows.every((row) => {
        const score = scores[row.dataset.emotion ?? ""];
        return row.querySelector("data")?.value === String(score);
      });
    },
    answer.scores,
  );
}

/** The module of build/www in Node, on the shipped model's files. */
export async function inNode() {
  const glue = await import(pathToFileURL(join(WWW, "wasm/jeffrey_edge.js")).href);
  glue.initSync({ module: await readFile(join(WWW, "wasm/jeffrey_edge_bg.wasm")) });
  const { id } = JSON.parse(await readFile(join(WWW, "models/index.json"), "utf8"));
  const files = await Promise.all(
    FILES.map(async (file) => new Uint8Array(await readFile(join(WWW, "models", id, file)))),
  );
  /** @type {Classifier} */
  const classifier = new glue.Browser(...files);
  return { Browser: glue.Browser, classifier, files, id };
}

/** Rows that training wrote: every host must give the same. */
export async function golden() {
  const text = await readFile(join(ROOT, "tests/data/golden.jsonl"), "utf8");
  return text.trim().split("\n").map((line) => JSON.parse(line));
}
