// Measures how soon the dashboard shows a change, and the longest task on the main thread of the dashboard and the
// playground. It also takes the screenshots of docs/. The last part of `make bench`.

import { existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { chromium } from "playwright-core";

import { SECRETS } from "../support/gateway.js";
import { createPlan, startRollout, runReleaseCheck } from "../support/rollout.js";
import { BUILD_FOLDER, WORK_FOLDER } from "./files.js";
import { quantile } from "./stats.js";

const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";
const CHANGES = 20;
const UPDATE_BAR_MS = 2_000;
const TASK_BAR_MS = 50;
const LOADS = 10;
const ROWS = 10_000;
const WATCH_MS = 20_000;
/** Wait until calls in flight and closed pages no longer use the cores, in milliseconds. */
const SETTLE_MS = 1_500;
/** Wait before the dashboard's screenshot, in milliseconds: another hour of the scaled-time rollout. */
const HISTORY_MS = 60_000;
const VIEWPORT = { width: 1100, height: 900 };

const logProgress = (/** @type {string} */ line) => console.error(`bench: ${line}`);

if (!existsSync(CHROMIUM)) {
  console.log("skipped: chromium");
  process.exit(process.env.CI === "true" ? 1 : 0);
}
const gateway = await startRollout({ SERVE_PLAYGROUND: "on", SHADOW_SHARE: "20%" }, { build: BUILD_FOLDER, model: "real" });
const browser = await chromium.launch({ executablePath: CHROMIUM, args: ["--headless", "--no-sandbox", "--disable-gpu"] });
try {
  await gateway.postReleaseCheck(runReleaseCheck());
  const startResponse = await gateway.sendCommand({ command: "start", plan: createPlan({ stages: ["50%", "75%", "100%"], minutes: 6_000, slow: "90%" }) });
  if (startResponse.status !== 200) throw new Error(JSON.stringify(startResponse.json));
  const dashboard = await measureDashboard();
  const playground = await measurePlayground();
  console.log(formatMarkdown(dashboard, playground));
} catch (error) {
  console.error(`bench: ${error instanceof Error ? error.message : error}`);
  process.exitCode = 1;
} finally {
  await browser.close();
  await gateway.stop();
}

/** Opens a page that records the longest task of its main thread. @param {string} path @param {import("playwright-core").BrowserContextOptions} [options] */
async function openPage(path, options = {}) {
  const context = await browser.newContext({ viewport: VIEWPORT, locale: "en-GB", ...options });
  const page = await context.newPage();
  await page.addInitScript(() => {
    const recorder = /** @type {any} */ (window);
    recorder.longest = 0;
    new PerformanceObserver((list) => {
      for (const { duration } of list.getEntries()) recorder.longest = Math.max(recorder.longest, duration);
    }).observe({ type: "longtask" });
  });
  await page.goto(`${gateway.origin}/_jeffrey/${path}`);
  return { page, context };
}

/** Returns the milliseconds of the longest task since the last call; 0 if no task exceeded 50 ms, the browser's limit. @param {import("playwright-core").Page} page @returns {Promise<number>} */
function takeLongestTask(page) {
  return page.evaluate(() => {
    const recorder = /** @type {any} */ (window);
    const longest_task_ms = recorder.longest;
    recorder.longest = 0;
    return longest_task_ms;
  });
}

/** Takes a screenshot of the top `height` pixels of a page. @param {import("playwright-core").Page} page @param {string} path @param {number} height */
async function takeScreenshot(page, path, height) {
  await page.setViewportSize({ ...VIEWPORT, height });
  await page.evaluate(() => window.scrollTo(0, 0));
  await page.screenshot({ path });
  await page.setViewportSize(VIEWPORT);
}

async function measureDashboard() {
  logProgress("the dashboard");
  const { page, context } = await openPage("dashboard/");
  await page.fill("#token", SECRETS.JEFFREY_ADMIN_TOKEN);
  await page.press("#token", "Enter");
  await page.waitForSelector("#gates tr");
  await page.waitForFunction(() => document.querySelectorAll("#charts figure:nth-child(4) tbody tr").length >= 30, null, { timeout: 120_000 });
  await page.waitForTimeout(HISTORY_MS);
  await takeScreenshot(page, "docs/dashboard.png", 1_600);
  await takeLongestTask(page);
  const updates_ms = [];
  for (let change = 0; change < CHANGES; change += 1) {
    const reason = `change ${change}`;
    const commandResponse = await gateway.sendCommand(change % 2 ? { command: "resume", reason } : { command: "pause", reason });
    const respondedAt = Date.now();
    if (commandResponse.status !== 200) throw new Error(JSON.stringify(commandResponse.json));
    const pattern = change % 2 ? "ramping|holding" : reason;
    await page.waitForFunction((source) => new RegExp(source).test(document.getElementById("says")?.textContent ?? ""), pattern, { polling: 10 });
    updates_ms.push(Date.now() - respondedAt);
  }
  await page.waitForTimeout(WATCH_MS);
  const task_ms = await takeLongestTask(page);
  await context.close();
  updates_ms.sort((a, b) => a - b);
  return { median_ms: quantile(updates_ms, 0.5), max_ms: updates_ms[updates_ms.length - 1], task_ms };
}

async function measurePlayground() {
  logProgress(`the playground with ${ROWS} rows`);
  // Stops the traffic, because the figures are about the page and not about busy cores.
  gateway.traffic.rate = 0;
  await pause(SETTLE_MS);
  let load_task_ms = 0;
  for (let load = 0; load < LOADS; load += 1) {
    const { page, context } = await openPlayground();
    load_task_ms = Math.max(load_task_ms, await takeLongestTask(page));
    await context.close();
    await pause(SETTLE_MS);
  }
  const { page, context } = await openPlayground();
  await page.fill("#text", "Three hours on hold, and then the line went dead. Call me on +44 20 7946 0958.");
  await page.waitForSelector("#headline:not([hidden])");
  await page.click("#tokens-view summary");
  await page.fill("#user", "alice");
  await page.click("#ask");
  await page.waitForSelector("#server-answer:not([hidden])");
  await takeScreenshot(page, "docs/playground.png", 1_750);
  await takeLongestTask(page);
  mkdirSync(WORK_FOLDER, { recursive: true });
  const path = join(WORK_FOLDER, "rows.txt");
  writeFileSync(path, Array.from({ length: ROWS }, (_, index) => `line ${index}: my parcel is late again, and nobody answers`).join("\n"));
  const startedAt = Date.now();
  await page.setInputFiles("#file", path);
  // Types until all rows are classified.
  for (let typedCount = 0; !(await page.isVisible("#batch-download")); typedCount += 1) {
    await page.focus("#text");
    await page.keyboard.type("a b ");
    if (typedCount % 20 === 19) await page.fill("#text", "");
  }
  const seconds = (Date.now() - startedAt) / 1_000;
  const task_ms = await takeLongestTask(page);
  rmSync(path);
  await context.close();
  return { load_task_ms, task_ms, seconds };
}

/** Loads the playground in a new browser context, without a cache. */
async function openPlayground() {
  const { page, context } = await openPage("playground/");
  await page.waitForSelector('html[data-state="ready"]');
  return { page, context };
}

/** @param {{ median_ms: number, max_ms: number, task_ms: number }} dashboard @param {{ load_task_ms: number, task_ms: number, seconds: number }} playground */
function formatMarkdown(dashboard, playground) {
  const formatVerdict = (/** @type {boolean} */ holds) => (holds ? "holds" : "**missed**");
  const formatTask = (/** @type {number} */ ms) => (ms === 0 ? `none above ${TASK_BAR_MS} ms` : `${Math.round(ms)} ms`);
  return [
    "## Pages",
    "",
    `Measured in headless Chromium on the gateway's machine. The dashboard runs under 25 calls a second, the playground without traffic. An update takes from the gateway's response to a command until the page shows it; ${CHANGES} updates were measured.`,
    "",
    "| what | found | bar |",
    "|---|---|---|",
    `| dashboard, update, median | ${Math.round(dashboard.median_ms)} ms | |`,
    `| dashboard, update, longest | ${Math.round(dashboard.max_ms)} ms | ${UPDATE_BAR_MS} ms: ${formatVerdict(dashboard.max_ms <= UPDATE_BAR_MS)} |`,
    `| dashboard, longest task | ${formatTask(dashboard.task_ms)} | ${TASK_BAR_MS} ms: ${formatVerdict(dashboard.task_ms <= TASK_BAR_MS)} |`,
    `| playground, longest task while it loads, ${LOADS} times | ${formatTask(playground.load_task_ms)} | ${TASK_BAR_MS} ms: ${formatVerdict(playground.load_task_ms <= TASK_BAR_MS)} |`,
    `| playground, longest task with ${ROWS} rows being classified while a user types | ${formatTask(playground.task_ms)} | ${TASK_BAR_MS} ms: ${formatVerdict(playground.task_ms <= TASK_BAR_MS)} |`,
    `| playground, ${ROWS} rows classified while a user types | ${playground.seconds.toFixed(1)} s | |`,
    "",
  ].join("\n");
}
