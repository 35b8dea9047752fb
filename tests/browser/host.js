// Shared by the browser tests: starts Chromium, serves build/www, and loads the same module in Node.

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

/** Limit of each wait for a condition, in milliseconds; far more than a loaded machine needs. */
const CONDITION_TIMEOUT_MS = 60_000;

/** Time limit of a test, in milliseconds. */
export const TEST_TIMEOUT_MS = 4 * CONDITION_TIMEOUT_MS;

/** Reason to skip the tests that need Chromium, or false. Under CI=true they run and fail without it. */
export const skip = existsSync(CHROMIUM) || process.env.CI === "true" ? false : "chromium is missing";
if (skip) console.log("skipped: chromium");

if (!existsSync(join(WWW, "index.html"))) throw new Error(`${WWW} is missing: run make workers`);

/** Running browsers. @type {Set<import("playwright-core").Browser>} */
const browsers = new Set();

async function launchBrowser() {
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

const CONTENT_TYPES = /** @type {Record<string, string>} */ ({
  ".css": "text/css; charset=utf-8",
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".json": "application/json",
  ".svg": "image/svg+xml",
  ".wasm": "application/wasm",
});

/**
 * The content security policy is at least as strict as the model worker's (`PAGE_HEADERS` in crates/http-api).
 * The model worker also sends `cross-origin-opener-policy`, which is missing here.
 */
const HEADERS = {
  "Content-Security-Policy":
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self'; " +
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  // Cloudflare's default for static assets: the browser keeps a file and revalidates it each time.
  "Cache-Control": "public, max-age=0, must-revalidate",
  "Referrer-Policy": "no-referrer",
  "X-Content-Type-Options": "nosniff",
};

/**
 * Serves build/www with `HEADERS`; `override` may change or delay the response to a path.
 * @param {Override} [override]
 */
export async function serve(override = () => undefined) {
  /** @type {string[]} */
  const requests = [];
  const server = createServer(async (request, response) => {
    const { pathname } = new URL(request.url ?? "/", "http://localhost");
    requests.push(`${request.method} ${request.url}`);
    const path = pathname === "/" ? "index.html" : normalize(pathname).slice(1);
    const replacement = override(path);
    await replacement?.wait;
    const body = replacement?.body ?? (await readFile(join(WWW, path)).catch(() => null));
    const status = replacement?.status ?? (body === null ? 404 : 200);
    const type = replacement?.type ?? CONTENT_TYPES[extname(path)] ?? "application/octet-stream";
    response.writeHead(status, { ...HEADERS, "Content-Type": type });
    response.end(status === 200 ? body : undefined);
  });
  // A test that fails before it closes its server must not keep the process alive.
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
 * Opens a page in a new browser. `faults` collects console errors and warnings, page errors and dialogs.
 *
 * Each page has its own browser: on two busy cores, a headless Chromium that has shown several pages can stop drawing
 * frames. Timers run and the page reports that it is visible, but no `requestAnimationFrame` callback runs again, and
 * Playwright's wait for an element to stop moving lasts until the test ends.
 * @param {import("playwright-core").BrowserContextOptions} [options]
 */
export async function openPage(options = {}) {
  const browser = await launchBrowser();
  const context = await browser.newContext({ locale: "en-GB", ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(CONDITION_TIMEOUT_MS);
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

/** Closes the browser of a page. @param {import("playwright-core").BrowserContext} context */
export async function closeBrowser(context) {
  const browser = context.browser();
  if (!browser) return;
  browsers.delete(browser);
  await browser.close();
}

/** Closes the browsers that failed tests left open. */
export async function closeBrowsers() {
  await Promise.all([...browsers].map((browser) => browser.close()));
}

/** @param {Page} page @param {"loading" | "ready" | "failed"} state */
export async function waitForState(page, state) {
  await page.waitForSelector(`html[data-state="${state}"]`);
}

/** Returns axe-core's violations, each with the HTML of its elements. @param {Page} page */
export async function findViolations(page) {
  await page.evaluate(axe.source);
  return page.evaluate(async () => (await /** @type {any} */ (window).axe.run()).violations.map((/** @type {any} */ violation) => `${violation.id}: ${violation.nodes.map((/** @type {any} */ node) => node.html).join(" | ")}`));
}

/**
 * Waits until a function returns true in the page. It polls from Node, so it also works while a
 * test has stopped the page's clock.
 * @template T
 * @param {Page} page
 * @param {(argument: T) => boolean} condition
 * @param {T} argument
 */
export async function waitUntil(page, condition, argument) {
  const deadline = Date.now() + CONDITION_TIMEOUT_MS;
  // Playwright's types do not accept a function with a type parameter.
  const evaluate = () => page.evaluate(/** @type {any} */ (condition), argument);
  while (!(await evaluate())) {
    if (Date.now() > deadline) throw new Error(`not true after ${CONDITION_TIMEOUT_MS} ms: ${condition}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/**
 * Waits until the page shows the scores of a prediction.
 * @param {Page} page
 * @param {{ primary: string, confidence: number, scores: Record<string, number> }} prediction
 */
export async function waitForScores(page, prediction) {
  await waitUntil(
    page,
    (scores) => {
      const rows = /** @type {HTMLTableRowElement[]} */ ([...document.querySelectorAll("#scores tr")]);
      return rows.every((row) => {
        const score = scores[row.dataset.emotion ?? ""];
        return row.querySelector("data")?.value === String(score);
      });
    },
    prediction.scores,
  );
}

/** Loads the module of build/www in Node, with the model's files of build/www. */
export async function loadInNode() {
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

/** Returns the rows that training wrote; every host must give the same results. */
export async function readGoldenRows() {
  const text = await readFile(join(ROOT, "tests/data/golden.jsonl"), "utf8");
  return text.trim().split("\n").map((line) => JSON.parse(line));
}
