// Tests the dashboard in Chromium with a real gateway in workerd, whose rollout runs at sixty times real time.

import assert from "node:assert/strict";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { PATIENCE_MS, SECRETS, startGateway, until } from "../support/gateway.js";
import { planOf, startRollout, validation } from "../support/rollout.js";
import { strings } from "../../www/dashboard/strings.js";
import { close, closeAll, open, skip, violations } from "./host.js";

const ADMIN = SECRETS.JEFFREY_ADMIN_TOKEN;
const HOSTILE = `<img src=x onerror="document.title='owned'">\u202e${"x".repeat(400)}`;

test("both languages have the same strings, and no string is empty", () => {
  assert.deepEqual(Object.keys(strings.fr), Object.keys(strings.en));
  for (const [word, text] of Object.entries({ ...strings.en, ...strings.fr })) assert.ok(text.trim(), word);
});

/** Starts a TCP proxy to the gateway; its connections can be cut and restored, also to another port. @param {string} origin */
async function relay(origin) {
  let port = Number(new URL(origin).port);
  /** @type {Set<import("node:net").Socket>} */
  const open = new Set();
  const server = createServer((near) => {
    const far = connect(port, "127.0.0.1");
    for (const socket of [near, far]) {
      open.add(socket);
      socket.on("error", () => {});
      socket.on("close", () => {
        near.destroy();
        far.destroy();
        open.delete(socket);
      });
    }
    near.pipe(far).pipe(near);
  });
  const listen = (/** @type {number} */ at) => new Promise((resolve) => server.listen(at, "127.0.0.1", () => resolve(null)));
  await listen(0);
  const own = /** @type {import("node:net").AddressInfo} */ (server.address()).port;
  return {
    origin: `http://127.0.0.1:${own}`,
    cut: () => new Promise((resolve) => {
      server.close(() => resolve(null));
      for (const socket of open) socket.destroy();
    }),
    /** @param {string} [to] */
    mend: (to = origin) => {
      port = Number(new URL(to).port);
      return listen(own);
    },
  };
}

describe("the dashboard", { skip, timeout: 4 * PATIENCE_MS }, () => {
  /** @type {Awaited<ReturnType<typeof startRollout>>} */
  let gate;
  before(async () => {
    gate = await startRollout({ SHADOW_SHARE: "20%" });
    await gate.validate(validation());
  });
  after(async () => {
    await closeAll();
    await gate?.stop();
  });

  /** Opens the dashboard and signs in. @param {{ token?: string, query?: string, origin?: string } & import("playwright-core").BrowserContextOptions} [options] */
  async function signedIn({ token = ADMIN, query = "", origin = gate.origin, ...options } = {}) {
    const opened = await open(options);
    await opened.page.goto(`${origin}/_jeffrey/dashboard/${query}`);
    await opened.page.fill("#token", token);
    await opened.page.press("#token", "Enter");
    await opened.page.waitForSelector("#board:not([hidden])");
    return opened;
  }
  /** @param {import("./host.js").Page} page @param {RegExp} pattern */
  const says = (page, pattern) => page.waitForFunction((source) => new RegExp(source).test(document.getElementById("says")?.textContent ?? ""), pattern.source);
  /** Clicks a command's button, enters a reason and confirms. @param {import("./host.js").Page} page @param {string} command @param {string} [reason] */
  async function command(page, command, reason = "as a test") {
    await page.click(`#commands [data-command="${command}"]`);
    await page.fill("#reason", reason);
    await page.fill("#by", "alice");
    await page.click("#ask-do");
  }

  test("the gateway serves the dashboard below its prefix and shadows no path of the legacy system", async () => {
    const at = (/** @type {string} */ path) => fetch(`${gate.origin}/_jeffrey${path}`, { redirect: "manual" });
    const plain = await at("/dashboard");
    assert.deepEqual([plain.status, plain.headers.get("location")], [308, "dashboard/"]);
    const page = await at("/dashboard/");
    assert.equal(page.status, 200);
    const policy = page.headers.get("content-security-policy") ?? "";
    assert.match(policy, /default-src 'none'; script-src 'self'; style-src 'self';/);
    assert.doesNotMatch(policy, /unsafe/);
    for (const path of ["/dashboard/no-such.js", "/dashboard/../wrangler.toml", "/dashboardx"]) {
      const found = await at(path);
      assert.equal(found.status, 404, path);
      assert.equal(/** @type {any} */ (await found.json()).error.code, "not_found");
    }
    // No file of the dashboard shadows a path of the legacy system.
    assert.equal((await fetch(`${gate.origin}/app.js`)).status, 404);
    assert.match(await (await fetch(`${gate.origin}/index.html`)).text(), /mock legacy|v2\.4\.2/i);
  });

  test("a wrong token is refused, and a viewer's token cannot send a command", async () => {
    const { page, context } = await open();
    await page.goto(`${gate.origin}/_jeffrey/dashboard`);
    assert.deepEqual(await violations(page), []);
    await page.fill("#token", "nobody");
    await page.click("#sign-in button");
    await page.waitForSelector("#sign-in-refusal:not([hidden])");
    assert.equal(await page.textContent("#sign-in-refusal"), strings.en.notTaken);
    assert.deepEqual(await violations(page), []);
    await close(context);

    const viewer = await signedIn({ token: SECRETS.JEFFREY_VIEWER_TOKEN });
    await says(viewer.page, /no active plan/);
    assert.equal((await gate.wish({ command: "start", plan: planOf({ stages: ["50%", "75%", "100%"], minutes: 6_000, slow: "90%" }) })).status, 200);
    // The page updates by itself, without a reload.
    await says(viewer.page, /e1-small at 50\.00%, stage 1 of 3, ramping/);
    await command(viewer.page, "pause");
    await viewer.page.waitForSelector("#refusal:not([hidden])");
    assert.match((await viewer.page.textContent("#refusal")) ?? "", /token|right|admin/i);
    assert.equal(await viewer.page.evaluate((token) => JSON.stringify([localStorage, sessionStorage, document.cookie, location.href]).includes(token), SECRETS.JEFFREY_VIEWER_TOKEN), false);
    await close(viewer.context);
  });

  test("every command button acts or shows the refusal, and a reason is shown as text", async () => {
    const { page, context, faults } = await signedIn();
    const buttons = () => page.$$eval("#commands button", (found) => found.map((button) => button.getAttribute("data-command")));
    await says(page, /stage 1 of 3, ramping/);
    assert.deepEqual(await buttons(), ["advance", "pause", "rollback", "abort"]);
    // Without a reason the dialog stays open. Escape closes it.
    await page.click('#commands [data-command="pause"]');
    await page.click("#ask-do");
    assert.equal(await page.$eval("#ask", (dialog) => /** @type {HTMLDialogElement} */ (dialog).open), true);
    await page.keyboard.press("Escape");
    await command(page, "pause", HOSTILE);
    await says(page, /paused/);
    assert.ok((await page.textContent("#says"))?.includes("<img src=x"));
    assert.equal(await page.$("#says img"), null);
    assert.notEqual(await page.title(), "owned");
    assert.deepEqual(await buttons(), ["resume", "rollback", "abort"]);
    await command(page, "resume");
    await says(page, /ramping|holding/);
    await command(page, "advance");
    await says(page, /stage 2 of 3/);
    await until(() => gate.traffic.canary > 0);
    await command(page, "rollback", "support says so");
    await says(page, /rolled back: a person: support says so/);
    // Calls in flight may still get a canary answer; later calls do not.
    await until(() => Date.now() > gate.traffic.last_canary + 8_000);
    const { canary } = gate.traffic;
    const { calls } = gate.traffic;
    await until(() => gate.traffic.calls > calls + 50);
    assert.equal(gate.traffic.canary, canary);
    assert.deepEqual(await buttons(), ["resume", "abort"]);
    // The gateway decides whether it refuses a command, and the page shows the gateway's message.
    await gate.wish({ command: "resume", reason: "meanwhile" });
    await says(page, /stage 1 of 3/);
    await gate.validate({ ...validation(), passed: false });
    await command(page, "advance");
    await page.waitForSelector("#refusal:not([hidden])");
    assert.match((await page.textContent("#refusal")) ?? "", /`advance` is not done now: .*failed/);
    await gate.validate(validation());
    await command(page, "abort", "the end");
    await says(page, /aborted: the end/);
    await command(page, "resume");
    await says(page, /stage 1 of 3/);
    assert.deepEqual(faults.filter((fault) => !/409/.test(fault)), []);
    const items = await page.$$eval("#history > li", (found) => found.map((item) => item.textContent ?? ""));
    assert.ok(items.some((item) => item.includes("alice asked to rollback")), items.join("\n"));
    await close(context);
  });

  test("the approve button advances a release whose stage requires approval", async () => {
    const ended = await gate.wish({ command: "abort", reason: "next" });
    assert.equal(ended.status, 200, JSON.stringify(ended.json));
    const plan = planOf({ stages: ["50%", "100%"], minutes: 2, slow: "90%", stage: "approval = true\n" });
    const begun = await gate.wish({ command: "resume", reason: "next", plan });
    assert.equal(begun.status, 200, JSON.stringify(begun.json));
    const { page, context } = await signedIn();
    await page.waitForSelector('#commands [data-command="approve"]');
    await page.click('#commands [data-command="approve"]');
    await page.click("#ask-do");
    await says(page, /at 100\.00%, stage 2 of 2/);
    await close(context);
  });

  test("the status is marked stale while the gateway is unreachable, and live again afterwards", async () => {
    const between = await relay(gate.origin);
    const { page, context } = await signedIn({ origin: between.origin });
    await page.waitForFunction((text) => document.getElementById("freshness")?.textContent === text, strings.en.live);
    await between.cut();
    await page.waitForSelector("#freshness.stale");
    assert.match((await page.textContent("#freshness")) ?? "", /^Stale since \d/);
    await between.mend();
    await page.waitForSelector("#freshness:not(.stale)");
    await gate.wish({ command: "pause", reason: "seen after the cut" });
    await says(page, /seen after the cut/);
    await gate.wish({ command: "resume", reason: "next" });
    await close(context);
    await between.cut();
  });

  test("after a restart of the gateway the page continues by itself, with the earlier history", async () => {
    const state = await mkdtemp(join(tmpdir(), "jeffrey-dashboard-"));
    const begin = () => startGateway({ LOG_EVENTS: "off", INITIAL_SHARE: "0%" }, { model: "none", state });
    let other = await begin();
    const wish = async (/** @type {object} */ body) => {
      const response = await other.own("/v1/admin/rollout", { token: ADMIN, method: "POST", body: JSON.stringify({ actor: "test", ...body }) });
      assert.ok([200, 409].includes(response.status), await response.text());
    };
    const between = await relay(other.origin);
    const { page, context } = await signedIn({ origin: between.origin });
    try {
      await says(page, /no active plan/);
      // Without a plan the page still offers `start`, and it shows the gateway's refusal.
      await page.click('#commands [data-command="start"]');
      await page.click("#ask-do");
      await page.waitForSelector("#refusal:not([hidden])");
      assert.match((await page.textContent("#refusal")) ?? "", /`start` is not done now: /);
      await says(page, /e1-small at 0\.00%, stage 1 of \d, idle/);
      await other.stop();
      await between.cut();
      await page.waitForSelector("#freshness.stale");
      other = await begin();
      await wish({ command: "abort", reason: "seen after the restart" });
      await between.mend(other.origin);
      await page.waitForSelector("#freshness:not(.stale)");
      await says(page, /aborted: seen after the restart/);
      await page.waitForFunction(() => /brought a plan/.test(document.getElementById("history")?.textContent ?? ""));
    } finally {
      await close(context);
      await between.cut();
      await other.stop();
      await rm(state, { recursive: true, force: true });
    }
  });

  test("a French browser gets French until English is chosen, the gateway's sentences included", async () => {
    const { page, context } = await signedIn({ locale: "fr-FR" });
    await says(page, /^e1-small à \d+,\d\d %, palier \d sur \d, /);
    await page.waitForFunction(() => /a demandé : revenir en arrière/.test(document.getElementById("history")?.textContent ?? ""));
    assert.doesNotMatch((await page.textContent("#history")) ?? "", /asked to|rolled back|brought a plan/);
    await page.click('[data-language="en"]');
    await says(page, /^e1-small at \d/);
    await close(context);
  });

  test("the keyboard alone signs in, sends a command and enters its reason", async () => {
    const { page, context } = await open();
    await page.goto(`${gate.origin}/_jeffrey/dashboard/`);
    await page.waitForSelector("#sign-in");
    /** Presses Tab until an element has the focus; fails after 40 times. @param {string} selector */
    const reach = async (selector) => {
      for (let steps = 0; steps < 40; steps += 1) {
        await page.keyboard.press("Tab");
        if (await page.evaluate((selector) => document.activeElement?.matches(selector) ?? false, selector)) return;
      }
      assert.fail(`no ${selector} within 40 steps`);
    };
    await reach("#token");
    await page.keyboard.type(ADMIN);
    await page.keyboard.press("Enter");
    await page.waitForSelector('#commands [data-command="pause"]');
    await reach('[data-command="pause"]');
    await page.keyboard.press("Enter");
    assert.ok(await page.evaluate(() => document.activeElement?.matches("#reason") ?? false), "the reason is asked for first");
    await page.keyboard.type("by hand");
    await page.keyboard.press("Enter");
    await says(page, /paused: by hand/);
    await reach('[data-command="resume"]');
    await page.keyboard.press("Enter");
    await page.keyboard.press("Escape");
    assert.equal(await page.$eval("#ask", (dialog) => /** @type {HTMLDialogElement} */ (dialog).open), false);
    assert.match((await page.textContent("#says")) ?? "", /paused: by hand/);
    await gate.wish({ command: "resume", reason: "next" });
    await close(context);
  });

  test("a past moment is shown without command buttons", async () => {
    const entry = (await gate.history()).find(({ state }) => state.phase.phase === "rolled_back" || state.phase === "rolled_back");
    const { page, context } = await signedIn({ query: `?at=${entry.now_ms}` });
    await says(page, /rolled back/);
    assert.deepEqual(await page.$$("#commands button"), []);
    assert.match((await page.textContent("#past")) ?? "", /^As of \d{4}-/);
    assert.deepEqual(await violations(page), []);
    await page.click("#past a");
    await page.waitForSelector("#sign-in:not([hidden])");
    await close(context);
  });

  test("each chart is also a table, a CSV and a PNG", async () => {
    const { page, context } = await signedIn();
    await page.waitForFunction(() => document.querySelectorAll("#charts figure:nth-child(4) tbody tr").length > 2);
    const figures = await page.$$eval("#charts figure", (found) => found.map((figure) => figure.querySelectorAll("details table tbody tr").length));
    assert.equal(figures.length, 4);
    assert.ok(figures.every((rows) => rows > 2), figures.join());
    const save = async (/** @type {string} */ selector) => {
      const [download] = await Promise.all([page.waitForEvent("download"), page.click(selector)]);
      return { name: download.suggestedFilename(), bytes: await readFile(await download.path()) };
    };
    const csv = await save('#charts figure:nth-child(2) button[aria-label$="CSV"]');
    assert.equal(csv.name, "p95.csv");
    assert.match(csv.bytes.toString(), /^minute,Canary,Stable\n\d{4}-\d\d-\d\d \d\d:\d\d,/);
    const png = await save('#charts figure:nth-child(1) button[aria-label$="PNG"]');
    assert.deepEqual([png.name, png.bytes.subarray(1, 4).toString()], ["errors.png", "PNG"]);
    await close(context);
  });

  for (const locale of ["en-GB", "fr-FR"]) {
    for (const colorScheme of /** @type {const} */ (["light", "dark"])) {
      test(`axe-core finds nothing, and a phone does not scroll sideways: ${locale}, ${colorScheme}`, async () => {
        const { page, context } = await signedIn({ locale, colorScheme, viewport: { width: 360, height: 740 }, reducedMotion: "reduce" });
        await page.waitForSelector("#gates tr");
        await page.waitForSelector("#history details");
        assert.equal(await page.getAttribute("html", "lang"), locale.slice(0, 2));
        assert.deepEqual(await violations(page), [], "the board");
        assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), "wider than the phone");
        await page.$eval("#history details", (details) => details.setAttribute("open", ""));
        await page.$eval("#charts details", (details) => details.setAttribute("open", ""));
        assert.deepEqual(await violations(page), [], "with what is folded open");
        await page.click('#commands [data-command="rollback"]');
        assert.deepEqual(await violations(page), [], "the question");
        await close(context);
      });
    }
  }
});
