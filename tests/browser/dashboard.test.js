// Tests the dashboard in Chromium with a real gateway in workerd, whose rollout runs at sixty times real time.

import assert from "node:assert/strict";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { TEST_TIMEOUT_MS, SECRETS, startGateway, waitFor } from "../support/gateway.js";
import { createPlan, startRollout, runReleaseCheck } from "../support/rollout.js";
import { strings } from "../../www/dashboard/strings.js";
import { closeBrowser, closeBrowsers, openPage, skip, findViolations } from "./host.js";

const ADMIN = SECRETS.JEFFREY_ADMIN_TOKEN;
const HOSTILE = `<img src=x onerror="document.title='owned'">\u202e${"x".repeat(400)}`;

test("both languages have the same strings, and no string is empty", () => {
  assert.deepEqual(Object.keys(strings.fr), Object.keys(strings.en));
  for (const [key, text] of Object.entries({ ...strings.en, ...strings.fr })) assert.ok(text.trim(), key);
});

/** Starts a TCP proxy to the gateway; its connections can be cut and restored, also to another port. @param {string} origin */
async function startProxy(origin) {
  let port = Number(new URL(origin).port);
  /** @type {Set<import("node:net").Socket>} */
  const sockets = new Set();
  const server = createServer((client) => {
    const upstream = connect(port, "127.0.0.1");
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on("error", () => {});
      socket.on("close", () => {
        client.destroy();
        upstream.destroy();
        sockets.delete(socket);
      });
    }
    client.pipe(upstream).pipe(client);
  });
  const listen = (/** @type {number} */ listenPort) => new Promise((resolve) => server.listen(listenPort, "127.0.0.1", () => resolve(null)));
  await listen(0);
  const proxyPort = /** @type {import("node:net").AddressInfo} */ (server.address()).port;
  return {
    origin: `http://127.0.0.1:${proxyPort}`,
    disconnect: () => new Promise((resolve) => {
      server.close(() => resolve(null));
      for (const socket of sockets) socket.destroy();
    }),
    /** @param {string} [target] */
    reconnect: (target = origin) => {
      port = Number(new URL(target).port);
      return listen(proxyPort);
    },
  };
}

describe("the dashboard", { skip, timeout: 4 * TEST_TIMEOUT_MS }, () => {
  /** @type {Awaited<ReturnType<typeof startRollout>>} */
  let gateway;
  before(async () => {
    gateway = await startRollout({ SHADOW_SHARE: "20%" });
    await gateway.postReleaseCheck(runReleaseCheck());
  });
  after(async () => {
    await closeBrowsers();
    await gateway?.stop();
  });

  /** Opens the dashboard and signs in. @param {{ token?: string, query?: string, origin?: string } & import("playwright-core").BrowserContextOptions} [options] */
  async function signIn({ token = ADMIN, query = "", origin = gateway.origin, ...options } = {}) {
    const opened = await openPage(options);
    await opened.page.goto(`${origin}/_jeffrey/dashboard/${query}`);
    await opened.page.fill("#token", token);
    await opened.page.press("#token", "Enter");
    await opened.page.waitForSelector("#board:not([hidden])");
    return opened;
  }
  /** @param {import("./host.js").Page} page @param {RegExp} regex */
  const waitForText = (page, regex) => page.waitForFunction((source) => new RegExp(source).test(document.getElementById("says")?.textContent ?? ""), regex.source);
  /** Clicks a command's button, enters a reason and confirms. @param {import("./host.js").Page} page @param {string} command @param {string} [reason] */
  async function sendCommand(page, command, reason = "as a test") {
    await page.click(`#commands [data-command="${command}"]`);
    await page.fill("#reason", reason);
    await page.fill("#by", "alice");
    await page.click("#ask-do");
  }

  test("the gateway serves the dashboard below its prefix and shadows no path of the legacy system", async () => {
    const get = (/** @type {string} */ path) => fetch(`${gateway.origin}/_jeffrey${path}`, { redirect: "manual" });
    const redirect = await get("/dashboard");
    assert.deepEqual([redirect.status, redirect.headers.get("location")], [308, "dashboard/"]);
    const page = await get("/dashboard/");
    assert.equal(page.status, 200);
    const policy = page.headers.get("content-security-policy") ?? "";
    assert.match(policy, /default-src 'none'; script-src 'self'; style-src 'self';/);
    assert.doesNotMatch(policy, /unsafe/);
    for (const path of ["/dashboard/no-such.js", "/dashboard/../wrangler.toml", "/dashboardx"]) {
      const response = await get(path);
      assert.equal(response.status, 404, path);
      assert.equal(/** @type {any} */ (await response.json()).error.code, "not_found");
    }
    // No file of the dashboard shadows a path of the legacy system.
    assert.equal((await fetch(`${gateway.origin}/app.js`)).status, 404);
    assert.match(await (await fetch(`${gateway.origin}/index.html`)).text(), /mock legacy|v2\.4\.2/i);
  });

  test("a wrong token is refused, and a viewer's token cannot send a command", async () => {
    const { page, context } = await openPage();
    await page.goto(`${gateway.origin}/_jeffrey/dashboard`);
    assert.deepEqual(await findViolations(page), []);
    await page.fill("#token", "nobody");
    await page.click("#sign-in button");
    await page.waitForSelector("#sign-in-refusal:not([hidden])");
    assert.equal(await page.textContent("#sign-in-refusal"), strings.en.notTaken);
    assert.deepEqual(await findViolations(page), []);
    await closeBrowser(context);

    const viewer = await signIn({ token: SECRETS.JEFFREY_VIEWER_TOKEN });
    await waitForText(viewer.page, /no active plan/);
    assert.equal((await gateway.sendCommand({ command: "start", plan: createPlan({ stages: ["50%", "75%", "100%"], minutes: 6_000, slow: "90%" }) })).status, 200);
    // The page updates by itself, without a reload.
    await waitForText(viewer.page, /e1-small at 50\.00%, stage 1 of 3, ramping/);
    await sendCommand(viewer.page, "pause");
    await viewer.page.waitForSelector("#refusal:not([hidden])");
    assert.match((await viewer.page.textContent("#refusal")) ?? "", /token|right|admin/i);
    assert.equal(await viewer.page.evaluate((token) => JSON.stringify([localStorage, sessionStorage, document.cookie, location.href]).includes(token), SECRETS.JEFFREY_VIEWER_TOKEN), false);
    await closeBrowser(viewer.context);
  });

  test("every command button acts or shows the refusal, and a reason is shown as text", async () => {
    const { page, context, faults } = await signIn();
    const buttons = () => page.$$eval("#commands button", (elements) => elements.map((button) => button.getAttribute("data-command")));
    await waitForText(page, /stage 1 of 3, ramping/);
    assert.deepEqual(await buttons(), ["advance", "pause", "rollback", "abort"]);
    // Without a reason the dialog stays open. Escape closes it.
    await page.click('#commands [data-command="pause"]');
    await page.click("#ask-do");
    assert.equal(await page.$eval("#ask", (dialog) => /** @type {HTMLDialogElement} */ (dialog).open), true);
    await page.keyboard.press("Escape");
    await sendCommand(page, "pause", HOSTILE);
    await waitForText(page, /paused/);
    assert.ok((await page.textContent("#says"))?.includes("<img src=x"));
    assert.equal(await page.$("#says img"), null);
    assert.notEqual(await page.title(), "owned");
    assert.deepEqual(await buttons(), ["resume", "rollback", "abort"]);
    await sendCommand(page, "resume");
    await waitForText(page, /ramping|holding/);
    await sendCommand(page, "advance");
    await waitForText(page, /stage 2 of 3/);
    await waitFor(() => gateway.traffic.canaryResponses > 0);
    await sendCommand(page, "rollback", "support says so");
    await waitForText(page, /rolled back: operator: support says so/);
    // Requests in flight may still get a canary response; later requests do not.
    await waitFor(() => Date.now() > gateway.traffic.last_canary_ms + 8_000);
    const { canaryResponses: canary } = gateway.traffic;
    const { responses: calls } = gateway.traffic;
    await waitFor(() => gateway.traffic.responses > calls + 50);
    assert.equal(gateway.traffic.canaryResponses, canary);
    assert.deepEqual(await buttons(), ["resume", "abort"]);
    // The gateway decides whether it refuses a command, and the page shows the gateway's message.
    await gateway.sendCommand({ command: "resume", reason: "meanwhile" });
    await waitForText(page, /stage 1 of 3/);
    await gateway.postReleaseCheck({ ...runReleaseCheck(), passed: false });
    await sendCommand(page, "advance");
    await page.waitForSelector("#refusal:not([hidden])");
    assert.match((await page.textContent("#refusal")) ?? "", /`advance` is not done now: .*failed/);
    await gateway.postReleaseCheck(runReleaseCheck());
    await sendCommand(page, "abort", "the end");
    await waitForText(page, /aborted: the end/);
    await sendCommand(page, "resume");
    await waitForText(page, /stage 1 of 3/);
    assert.deepEqual(faults.filter((fault) => !/409/.test(fault)), []);
    const items = await page.$$eval("#history > li", (items) => items.map((item) => item.textContent ?? ""));
    assert.ok(items.some((item) => item.includes("alice asked to rollback")), items.join("\n"));
    await closeBrowser(context);
  });

  test("the approve button advances a release whose stage requires approval", async () => {
    const aborted = await gateway.sendCommand({ command: "abort", reason: "next" });
    assert.equal(aborted.status, 200, JSON.stringify(aborted.json));
    const plan = createPlan({ stages: ["50%", "100%"], minutes: 2, slow: "90%", stageToml: "approval = true\n" });
    const resumed = await gateway.sendCommand({ command: "resume", reason: "next", plan });
    assert.equal(resumed.status, 200, JSON.stringify(resumed.json));
    const { page, context } = await signIn();
    await page.waitForSelector('#commands [data-command="approve"]');
    await page.click('#commands [data-command="approve"]');
    await page.click("#ask-do");
    await waitForText(page, /at 100\.00%, stage 2 of 2/);
    await closeBrowser(context);
  });

  test("the status is marked stale while the gateway is unreachable, and live again afterwards", async () => {
    const proxy = await startProxy(gateway.origin);
    const { page, context } = await signIn({ origin: proxy.origin });
    await page.waitForFunction((text) => document.getElementById("freshness")?.textContent === text, strings.en.live);
    await proxy.disconnect();
    await page.waitForSelector("#freshness.stale");
    assert.match((await page.textContent("#freshness")) ?? "", /^Stale since \d/);
    await proxy.reconnect();
    await page.waitForSelector("#freshness:not(.stale)");
    await gateway.sendCommand({ command: "pause", reason: "seen after the cut" });
    await waitForText(page, /seen after the cut/);
    await gateway.sendCommand({ command: "resume", reason: "next" });
    await closeBrowser(context);
    await proxy.disconnect();
  });

  test("a live stream that ends after its last line is opened again, and the page shows no error", async () => {
    const opened = await openPage();
    let streams = 0;
    // Each stream ends after one line, as one of many lines does at the limit of subrequests.
    await opened.page.route("**/v1/rollout/live", async (route) => {
      streams += 1;
      const response = await gateway.fetchAdmin("/v1/rollout", { token: SECRETS.JEFFREY_VIEWER_TOKEN });
      await route.fulfill({ contentType: "application/x-ndjson", body: `${await response.text()}\n` });
    });
    await opened.page.goto(`${gateway.origin}/_jeffrey/dashboard/`);
    await opened.page.fill("#token", SECRETS.JEFFREY_VIEWER_TOKEN);
    await opened.page.press("#token", "Enter");
    await waitFor(() => streams >= 6);
    assert.equal(await opened.page.textContent("#freshness"), strings.en.live);
    assert.equal(await opened.page.isHidden("#refusal"), true);
    assert.deepEqual(opened.faults, []);
    await closeBrowser(opened.context);
  });

  test("after a restart of the gateway the page continues by itself, with the earlier history", async () => {
    const state = await mkdtemp(join(tmpdir(), "jeffrey-dashboard-"));
    const startOther = () => startGateway({ LOG_EVENTS: "off", INITIAL_SHARE: "0%" }, { model: "none", state });
    let otherGateway = await startOther();
    const postCommand = async (/** @type {object} */ body) => {
      const response = await otherGateway.fetchAdmin("/v1/admin/rollout", { token: ADMIN, method: "POST", body: JSON.stringify({ actor: "test", ...body }) });
      assert.ok([200, 409].includes(response.status), await response.text());
    };
    const proxy = await startProxy(otherGateway.origin);
    const { page, context } = await signIn({ origin: proxy.origin });
    try {
      await waitForText(page, /no active plan/);
      // Without a plan the page still offers `start`, and it shows the gateway's refusal.
      await page.click('#commands [data-command="start"]');
      await page.click("#ask-do");
      await page.waitForSelector("#refusal:not([hidden])");
      assert.match((await page.textContent("#refusal")) ?? "", /`start` is not done now: /);
      await waitForText(page, /e1-small at 0\.00%, stage 1 of \d, idle/);
      await otherGateway.stop();
      await proxy.disconnect();
      await page.waitForSelector("#freshness.stale");
      otherGateway = await startOther();
      await postCommand({ command: "abort", reason: "seen after the restart" });
      await proxy.reconnect(otherGateway.origin);
      await page.waitForSelector("#freshness:not(.stale)");
      await waitForText(page, /aborted: seen after the restart/);
      await page.waitForFunction(() => /applied a plan/.test(document.getElementById("history")?.textContent ?? ""));
    } finally {
      await closeBrowser(context);
      await proxy.disconnect();
      await otherGateway.stop();
      await rm(state, { recursive: true, force: true });
    }
  });

  test("a French browser gets French until English is chosen, the gateway's sentences included", async () => {
    const { page, context } = await signIn({ locale: "fr-FR" });
    await waitForText(page, /^e1-small à \d+,\d\d %, palier \d sur \d, /);
    await page.waitForFunction(() => /a demandé : revenir en arrière/.test(document.getElementById("history")?.textContent ?? ""));
    assert.doesNotMatch((await page.textContent("#history")) ?? "", /asked to|rolled back|applied a plan/);
    await page.click('[data-language="en"]');
    await waitForText(page, /^e1-small at \d/);
    await closeBrowser(context);
  });

  test("the keyboard alone signs in, sends a command and enters its reason", async () => {
    const { page, context } = await openPage();
    await page.goto(`${gateway.origin}/_jeffrey/dashboard/`);
    await page.waitForSelector("#sign-in");
    /** Presses Tab until an element has the focus; fails after 40 times. @param {string} selector */
    const tabTo = async (selector) => {
      for (let steps = 0; steps < 40; steps += 1) {
        await page.keyboard.press("Tab");
        if (await page.evaluate((selector) => document.activeElement?.matches(selector) ?? false, selector)) return;
      }
      assert.fail(`no ${selector} within 40 steps`);
    };
    await tabTo("#token");
    await page.keyboard.type(ADMIN);
    await page.keyboard.press("Enter");
    await page.waitForSelector('#commands [data-command="pause"]');
    await tabTo('[data-command="pause"]');
    await page.keyboard.press("Enter");
    assert.ok(await page.evaluate(() => document.activeElement?.matches("#reason") ?? false), "the dialog asks for the reason first");
    await page.keyboard.type("by hand");
    await page.keyboard.press("Enter");
    await waitForText(page, /paused: by hand/);
    await tabTo('[data-command="resume"]');
    await page.keyboard.press("Enter");
    await page.keyboard.press("Escape");
    assert.equal(await page.$eval("#ask", (dialog) => /** @type {HTMLDialogElement} */ (dialog).open), false);
    assert.match((await page.textContent("#says")) ?? "", /paused: by hand/);
    await gateway.sendCommand({ command: "resume", reason: "next" });
    await closeBrowser(context);
  });

  test("a past moment is shown without command buttons", async () => {
    const entry = (await gateway.fetchHistory()).find(({ state }) => state.phase.phase === "rolled_back" || state.phase === "rolled_back");
    const { page, context } = await signIn({ query: `?at=${entry.now_ms}` });
    await waitForText(page, /rolled back/);
    assert.deepEqual(await page.$$("#commands button"), []);
    assert.match((await page.textContent("#past")) ?? "", /^As of \d{4}-/);
    assert.deepEqual(await findViolations(page), []);
    await page.click("#past a");
    await page.waitForSelector("#sign-in:not([hidden])");
    await closeBrowser(context);
  });

  test("each chart is also a table, a CSV and a PNG", async () => {
    const { page, context } = await signIn();
    await page.waitForFunction(() => document.querySelectorAll("#charts figure:nth-child(4) tbody tr").length > 2);
    const rowCounts = await page.$$eval("#charts figure", (elements) => elements.map((figure) => figure.querySelectorAll("details table tbody tr").length));
    assert.equal(rowCounts.length, 4);
    assert.ok(rowCounts.every((rows) => rows > 2), rowCounts.join());
    const download = async (/** @type {string} */ selector) => {
      const [download] = await Promise.all([page.waitForEvent("download"), page.click(selector)]);
      return { name: download.suggestedFilename(), bytes: await readFile(await download.path()) };
    };
    const csv = await download('#charts figure:nth-child(2) button[aria-label$="CSV"]');
    assert.equal(csv.name, "p95.csv");
    assert.match(csv.bytes.toString(), /^minute,Canary,Stable\n\d{4}-\d\d-\d\d \d\d:\d\d,/);
    const png = await download('#charts figure:nth-child(1) button[aria-label$="PNG"]');
    assert.deepEqual([png.name, png.bytes.subarray(1, 4).toString()], ["errors.png", "PNG"]);
    await closeBrowser(context);
  });

  for (const locale of ["en-GB", "fr-FR"]) {
    for (const colorScheme of /** @type {const} */ (["light", "dark"])) {
      test(`axe-core finds no violations, and a phone does not scroll sideways: ${locale}, ${colorScheme}`, async () => {
        const { page, context } = await signIn({ locale, colorScheme, viewport: { width: 360, height: 740 }, reducedMotion: "reduce" });
        await page.waitForSelector("#gates tr");
        await page.waitForSelector("#history details");
        assert.equal(await page.getAttribute("html", "lang"), locale.slice(0, 2));
        assert.deepEqual(await findViolations(page), [], "the board");
        assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), "wider than the phone");
        await page.$eval("#history details", (details) => details.setAttribute("open", ""));
        await page.$eval("#charts details", (details) => details.setAttribute("open", ""));
        assert.deepEqual(await findViolations(page), [], "with the details open");
        await page.click('#commands [data-command="rollback"]');
        assert.deepEqual(await findViolations(page), [], "the dialog");
        await closeBrowser(context);
      });
    }
  }
});
