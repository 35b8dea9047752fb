// Measures how soon the dashboard shows a change, and the longest task on the main thread of the dashboard and the
// playground. It also takes the screenshots of docs/. The last part of `make bench`.

import { existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { chromium } from "playwright-core";

import { SECRETS } from "../support/gateway.js";
import { planOf, startRollout, validation } from "../support/rollout.js";
import { BUILD, WORK } from "./files.js";
import { quantile } from "./stats.js";

const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";
const CHANGES = 20;
const UPDATE_BAR_MS = 2_000;
const TASK_BAR_MS = 50;
const LOADS = 10;
const ROWS = 10_000;
const WATCHED_MS = 20_000;
/** Wait until calls in flight and closed pages no longer use the cores, in milliseconds. */
const SETTLED_MS = 1_500;
/** Wait before the dashboard's screenshot, in milliseconds: another hour of the scaled-time rollout. */
const HISTORY_MS = 60_000;
const VIEW = { width: 1100, height: 900 };

const progress = (/** @type {string} */ line) => console.error(`bench: ${line}`);

if (!existsSync(CHROMIUM)) {
  console.log("skipped: chromium");
  process.exit(process.env.CI === "true" ? 1 : 0);
}
const gate = await startRollout({ PLAYGROUND: "on", SHADOW_SHARE: "20%" }, { build: BUILD, model: "real" });
const browser = await chromium.launch({ executablePath: CHROMIUM, args: ["--headless", "--no-sandbox", "--disable-gpu"] });
try {
  await gate.validate(validation());
  const begun = await gate.wish({ command: "start", plan: planOf({ stages: ["50%", "75%", "100%"], minutes: 6_000, slow: "90%" }) });
  if (begun.status !== 200) throw new Error(JSON.stringify(begun.json));
  const board = await dashboard();
  const sheet = await playground();
  console.log(markdown(board, sheet));
} catch (error) {
  console.error(`bench: ${error instanceof Error ? error.message : error}`);
  process.exitCode = 1;
} finally {
  await browser.close();
  await gate.stop();
}

/** Opens a page that records the longest task of its main thread. @param {string} path @param {import("playwright-core").BrowserContextOptions} [options] */
async function opened(path, options = {}) {
  const context = await browser.newContext({ viewport: VIEW, locale: "en-GB", ...options });
  const page = await context.newPage();
  await page.addInitScript(() => {
    const noted = /** @type {any} */ (window);
    noted.longest = 0;
    new PerformanceObserver((list) => {
      for (const { duration } of list.getEntries()) noted.longest = Math.max(noted.longest, duration);
    }).observe({ type: "longtask" });
  });
  await page.goto(`${gate.origin}/_jeffrey/${path}`);
  return { page, context };
}

/** Returns the milliseconds of the longest task since the last call; 0 if no task exceeded 50 ms, the browser's limit. @param {import("playwright-core").Page} page @returns {Promise<number>} */
function longest(page) {
  return page.evaluate(() => {
    const noted = /** @type {any} */ (window);
    const found = noted.longest;
    noted.longest = 0;
    return found;
  });
}

/** Takes a screenshot of the top `height` pixels of a page. @param {import("playwright-core").Page} page @param {string} path @param {number} height */
async function picture(page, path, height) {
  await page.setViewportSize({ ...VIEW, height });
  await page.evaluate(() => window.scrollTo(0, 0));
  await page.screenshot({ path });
  await page.setViewportSize(VIEW);
}

async function dashboard() {
  progress("the dashboard");
  const { page, context } = await opened("dashboard/");
  await page.fill("#token", SECRETS.JEFFREY_ADMIN_TOKEN);
  await page.press("#token", "Enter");
  await page.waitForSelector("#gates tr");
  await page.waitForFunction(() => document.querySelectorAll("#charts figure:nth-child(4) tbody tr").length >= 30, null, { timeout: 120_000 });
  await page.waitForTimeout(HISTORY_MS);
  await picture(page, "docs/dashboard.png", 1_600);
  await longest(page);
  const updates = [];
  for (let change = 0; change < CHANGES; change += 1) {
    const reason = `change ${change}`;
    const asked = await gate.wish(change % 2 ? { command: "resume", reason } : { command: "pause", reason });
    const at = Date.now();
    if (asked.status !== 200) throw new Error(JSON.stringify(asked.json));
    const pattern = change % 2 ? "ramping|holding" : reason;
    await page.waitForFunction((source) => new RegExp(source).test(document.getElementById("says")?.textContent ?? ""), pattern, { polling: 10 });
    updates.push(Date.now() - at);
  }
  await page.waitForTimeout(WATCHED_MS);
  const task = await longest(page);
  await context.close();
  updates.sort((a, b) => a - b);
  return { median: quantile(updates, 0.5), most: updates[updates.length - 1], task };
}

async function playground() {
  progress(`the playground with ${ROWS} rows`);
  // Stops the traffic, because the figures are about the page and not about busy cores.
  gate.traffic.rate = 0;
  await pause(SETTLED_MS);
  let loading = 0;
  for (let load = 0; load < LOADS; load += 1) {
    const { page, context } = await ready();
    loading = Math.max(loading, await longest(page));
    await context.close();
    await pause(SETTLED_MS);
  }
  const { page, context } = await ready();
  await page.fill("#text", "Three hours on hold, and then the line went dead. Call me on +44 20 7946 0958.");
  await page.waitForSelector("#headline:not([hidden])");
  await page.click("#tokens-view summary");
  await page.fill("#user", "alice");
  await page.click("#ask");
  await page.waitForSelector("#server-answer:not([hidden])");
  await picture(page, "docs/playground.png", 1_750);
  await longest(page);
  mkdirSync(WORK, { recursive: true });
  const path = join(WORK, "rows.txt");
  writeFileSync(path, Array.from({ length: ROWS }, (_, at) => `line ${at}: my parcel is late again, and nobody answers`).join("\n"));
  const began = Date.now();
  await page.setInputFiles("#file", path);
  // Types until all rows are answered.
  for (let typed = 0; !(await page.isVisible("#batch-download")); typed += 1) {
    await page.focus("#text");
    await page.keyboard.type("a b ");
    if (typed % 20 === 19) await page.fill("#text", "");
  }
  const seconds = (Date.now() - began) / 1_000;
  const task = await longest(page);
  rmSync(path);
  await context.close();
  return { loading, task, seconds };
}

/** Loads the playground in a new browser context, without a cache. */
async function ready() {
  const { page, context } = await opened("playground/");
  await page.waitForSelector('html[data-state="ready"]');
  return { page, context };
}

/** @param {{ median: number, most: number, task: number }} board @param {{ loading: number, task: number, seconds: number }} sheet */
function markdown(board, sheet) {
  const verdict = (/** @type {boolean} */ holds) => (holds ? "holds" : "**missed**");
  const task = (/** @type {number} */ ms) => (ms === 0 ? `none above ${TASK_BAR_MS} ms` : `${Math.round(ms)} ms`);
  return [
    "## Pages",
    "",
    `In headless Chromium beside the gateway on the same machine. The dashboard runs under 25 calls a second, the playground without traffic. An update takes from the gateway's response to a command until the page shows it; ${CHANGES} updates were measured.`,
    "",
    "| what | found | bar |",
    "|---|---|---|",
    `| dashboard, update, median | ${Math.round(board.median)} ms | |`,
    `| dashboard, update, longest | ${Math.round(board.most)} ms | ${UPDATE_BAR_MS} ms: ${verdict(board.most <= UPDATE_BAR_MS)} |`,
    `| dashboard, longest task | ${task(board.task)} | ${TASK_BAR_MS} ms: ${verdict(board.task <= TASK_BAR_MS)} |`,
    `| playground, longest task while it loads, ${LOADS} times | ${task(sheet.loading)} | ${TASK_BAR_MS} ms: ${verdict(sheet.loading <= TASK_BAR_MS)} |`,
    `| playground, longest task with ${ROWS} rows being answered while a user types | ${task(sheet.task)} | ${TASK_BAR_MS} ms: ${verdict(sheet.task <= TASK_BAR_MS)} |`,
    `| playground, ${ROWS} rows beside the typing | ${sheet.seconds.toFixed(1)} s | |`,
    "",
  ].join("\n");
}
