// Tests the page with axe-core, a keyboard, a screen reader, reduced motion and a narrow viewport.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import axe from "axe-core";
import { formatPercent } from "../../www/answer-view.js";
import { examples, names, strings } from "../../www/strings.js";
import { TEST_TIMEOUT_MS, closeBrowser, closeBrowsers, loadInNode, openPage, waitForState, serve, waitForScores, skip, waitUntil } from "./host.js";

const options = { skip, timeout: TEST_TIMEOUT_MS };

/** @type {Awaited<ReturnType<typeof serve>>} */
let server;
/** @type {Awaited<ReturnType<typeof loadInNode>>} */
let node;
before(async () => {
  if (skip) return;
  // One after the other, so that `after` can close the first if the second fails to start.
  server = await serve();
  node = await loadInNode();
});
after(async () => {
  await closeBrowsers();
  await server?.close();
});

/** @param {string} text */
const expected = (text) => JSON.parse(node.classifier.classify(text));

/** Returns the violations that axe-core finds, best practices included. @param {import("./host.js").Page} page */
async function findViolations(page) {
  await page.evaluate(axe.source);
  const result = await page.evaluate(async () => {
    const { violations, passes } = await /** @type {any} */ (window).axe.run();
    const faults = violations.map((/** @type {any} */ violation) => {
      const nodes = violation.nodes.map((/** @type {any} */ node) => node.html);
      return `${violation.id}: ${nodes.join(" | ")}`;
    });
    return { faults, passes: passes.length };
  });
  assert.ok(result.passes > 10, "axe ran");
  return result.faults;
}

for (const locale of ["en", "fr"]) {
  for (const colorScheme of /** @type {const} */ (["light", "dark"])) {
    test(`axe-core finds no violations: ${locale}, ${colorScheme}`, options, async () => {
      const { page, context } = await openPage({ locale, colorScheme });
      await page.goto(server.origin);
      await waitForState(page, "ready");
      assert.deepEqual(await findViolations(page), [], "waiting for a text");
      const long = "one more word and ".repeat(60);
      await page.fill("#text", long);
      await waitForScores(page, expected(long));
      // Shows the low-confidence mark at any confidence, so that axe-core checks its contrast.
      await page.$eval("#low-confidence", (mark) => mark.removeAttribute("hidden"));
      await page.evaluate(() => Promise.all(document.getAnimations().map((animation) => animation.finished)));
      assert.deepEqual(await findViolations(page), [], "with a prediction");
      await page.fill("#text", "a ".repeat(40_000));
      await page.waitForSelector("#refusal", { state: "visible" });
      assert.deepEqual(await findViolations(page), [], "with a refusal");
      await closeBrowser(context);
    });

    test(`axe-core finds no violations while loading and after a failure: ${locale}, ${colorScheme}`, options, async () => {
      let release = () => {};
      /** @type {Promise<void>} */
      const wait = new Promise((resolve) => (release = resolve));
      const broken = await serve((path) =>
        path.endsWith(".wasm") ? { wait, status: 404 } : undefined,
      );
      const { page, context } = await openPage({ locale, colorScheme });
      await page.goto(broken.origin);
      await page.waitForSelector("#loading", { state: "visible" });
      assert.deepEqual(await findViolations(page), [], "loading");
      release();
      await waitForState(page, "failed");
      assert.deepEqual(await findViolations(page), [], "failed");
      await closeBrowser(context);
      await broken.close();
    });
  }
}

test("the keyboard alone reaches every control in order, with a visible focus", options, async () => {
  const { page, context } = await openPage();
  await page.goto(server.origin);
  await waitForState(page, "ready");
  const focused = () =>
    page.evaluate(() => {
      const target = /** @type {HTMLElement} */ (document.activeElement);
      const style = getComputedStyle(target);
      return {
        name: target.id || target.textContent,
        outlined: style.outlineStyle === "solid" && parseFloat(style.outlineWidth) >= 2,
      };
    });
  const order = ["Français", "English", "text", "clear", ...examples.en];
  for (const name of order) {
    await page.keyboard.press("Tab");
    assert.deepEqual(await focused(), { name, outlined: true });
  }
  await page.keyboard.press("Enter");
  const last = examples.en.length - 1;
  await waitForScores(page, expected(examples.en[last]));
  // Moves the focus back to the text box.
  for (const _ of ["clear", ...examples.en]) await page.keyboard.press("Shift+Tab");
  await page.keyboard.press("ControlOrMeta+A");
  await page.keyboard.type("typed by hand");
  await waitForScores(page, expected("typed by hand"));
  await page.keyboard.press("Shift+Tab");
  await page.keyboard.press("Shift+Tab");
  await page.keyboard.press("Space");
  assert.equal(await page.getAttribute("html", "lang"), "fr");
  for (const _ of ["English", "text", "clear"]) await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  assert.equal(await page.inputValue("#text"), "");
  assert.deepEqual(await focused(), { name: "text", outlined: true });
  await closeBrowser(context);
});

test("a screen reader gets the names of the controls and a table of all scores", options, async () => {
  const { page, context } = await openPage();
  await page.goto(server.origin);
  await waitForState(page, "ready");
  const text = "What a lovely surprise";
  await page.fill("#text", text);
  const prediction = expected(text);
  await waitForScores(page, prediction);
  const tree = await page.locator("body").ariaSnapshot();
  const expectedLines = [
    `- group "${strings.en.language}":`,
    `- button "English" [pressed]`,
    `- heading "${strings.en.heading}" [level=1]`,
    `- textbox "${strings.en.yourText}": ${text}`,
    `- list "${strings.en.examples}":`,
    `- table "${strings.en.scores}":`,
    ...Object.entries(prediction.scores).map(
      ([label, score]) => `- row "${names.en[label]} ${formatPercent("en", Number(score))}":`,
    ),
  ];
  for (const line of expectedLines) assert.ok(tree.includes(line), `${line} is not in\n${tree}`);
  await closeBrowser(context);
});

test("a prediction is announced once, after a pause in typing", options, async () => {
  const { page, context } = await openPage();
  // The test controls the page's timers; the worker runs in real time.
  const start = Date.UTC(2026, 0, 1);
  await page.clock.install({ time: start });
  await page.goto(server.origin);
  await waitForState(page, "ready");
  await page.clock.pauseAt(start + 3_600_000);
  const announced = (/** @type {string} */ text) =>
    document.querySelector("#announcement")?.textContent === text;
  await waitUntil(page, announced, strings.en.ready);
  await page.evaluate(() => {
    const announcements = /** @type {string[]} */ ([]);
    Object.assign(window, { said: announcements });
    const region = /** @type {HTMLElement} */ (document.querySelector("#announcement"));
    new MutationObserver(() => announcements.push(region.textContent ?? "")).observe(region, { childList: true });
  });
  const readAnnouncements = () => page.evaluate(() => /** @type {any} */ (window).said);
  for (const text of ["This is", "This is awful", "This is awful news"]) {
    await page.fill("#text", text);
    await waitForScores(page, expected(text));
    await page.clock.runFor(500);
  }
  assert.deepEqual(await readAnnouncements(), []);
  await page.clock.runFor(500);
  const { primary, confidence, low_confidence } = expected("This is awful news");
  const parts = [`${names.en[primary]}, confidence ${formatPercent("en", confidence)}`];
  if (low_confidence) parts.push(strings.en.lowConfidence);
  assert.deepEqual(await readAnnouncements(), [`${parts.join(". ")}.`]);
  await closeBrowser(context);
});

test("a request for reduced motion turns off all transitions, and only that does", options, async () => {
  for (const reducedMotion of /** @type {const} */ (["no-preference", "reduce"])) {
    const { page, context } = await openPage({ reducedMotion });
    await page.goto(server.origin);
    await waitForState(page, "ready");
    const durations = await page.$$eval("*", (all) => [
      ...new Set(all.map((element) => getComputedStyle(element).transitionDuration)),
    ]);
    assert.equal(durations.some((duration) => duration !== "0s"), reducedMotion === "no-preference");
    await closeBrowser(context);
  }
});

test("at a width of 320 pixels no element passes the right edge, in both languages", options, async () => {
  for (const locale of ["en", "fr"]) {
    // WCAG 1.4.10 requires 320 CSS pixels, which equals 1280 pixels at a zoom of 400 %.
    const { page, context } = await openPage({ locale, viewport: { width: 320, height: 640 } });
    await page.goto(server.origin);
    await waitForState(page, "ready");
    await page.click("#examples button >> nth=0");
    await page.waitForSelector("#headline", { state: "visible" });
    const overflowing = await page.evaluate(() => {
      const edge = document.documentElement.clientWidth;
      return [...document.querySelectorAll("body *:not(.unseen, .unseen *)")]
        .filter((element) => element.getBoundingClientRect().right > edge + 0.5)
        .map((element) => element.outerHTML.slice(0, 80));
    });
    assert.deepEqual(overflowing, []);
    await closeBrowser(context);
  }
});
