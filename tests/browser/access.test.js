// Tests the page with axe-core, a keyboard, a screen reader, reduced motion and a narrow viewport.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import axe from "axe-core";
import { percent } from "../../www/answer-view.js";
import { examples, names, strings } from "../../www/strings.js";
import { PATIENCE_MS, close, closeAll, inNode, open, reach, serve, shows, skip, until } from "./host.js";

const options = { skip, timeout: PATIENCE_MS };

/** @type {Awaited<ReturnType<typeof serve>>} */
let server;
/** @type {Awaited<ReturnType<typeof inNode>>} */
let node;
before(async () => {
  if (skip) return;
  // One after the other, so that `after` can close the first if the second fails to start.
  server = await serve();
  node = await inNode();
});
after(async () => {
  await closeAll();
  await server?.close();
});

/** @param {string} text */
const expected = (text) => JSON.parse(node.classifier.classify(text));

/** Returns the violations that axe-core finds, best practices included. @param {import("./host.js").Page} page */
async function violations(page) {
  await page.evaluate(axe.source);
  const found = await page.evaluate(async () => {
    const { violations, passes } = await /** @type {any} */ (window).axe.run();
    const faults = violations.map((/** @type {any} */ one) => {
      const nodes = one.nodes.map((/** @type {any} */ node) => node.html);
      return `${one.id}: ${nodes.join(" | ")}`;
    });
    return { faults, passes: passes.length };
  });
  assert.ok(found.passes > 10, "axe ran");
  return found.faults;
}

for (const locale of ["en", "fr"]) {
  for (const colorScheme of /** @type {const} */ (["light", "dark"])) {
    test(`axe-core finds nothing: ${locale}, ${colorScheme}`, options, async () => {
      const { page, context } = await open({ locale, colorScheme });
      await page.goto(server.origin);
      await reach(page, "ready");
      assert.deepEqual(await violations(page), [], "waiting for a text");
      const long = "one more word and ".repeat(60);
      await page.fill("#text", long);
      await shows(page, expected(long));
      // Shows the low-confidence mark at any confidence, so that axe-core checks its contrast.
      await page.$eval("#low-confidence", (mark) => mark.removeAttribute("hidden"));
      await page.evaluate(() => Promise.all(document.getAnimations().map((one) => one.finished)));
      assert.deepEqual(await violations(page), [], "with an answer");
      await page.fill("#text", "a ".repeat(40_000));
      await page.waitForSelector("#refusal", { state: "visible" });
      assert.deepEqual(await violations(page), [], "with a refusal");
      await close(context);
    });

    test(`axe-core finds nothing while loading and after a failure: ${locale}, ${colorScheme}`, options, async () => {
      let release = () => {};
      /** @type {Promise<void>} */
      const wait = new Promise((resolve) => (release = resolve));
      const broken = await serve((path) =>
        path.endsWith(".wasm") ? { wait, status: 404 } : undefined,
      );
      const { page, context } = await open({ locale, colorScheme });
      await page.goto(broken.origin);
      await page.waitForSelector("#loading", { state: "visible" });
      assert.deepEqual(await violations(page), [], "loading");
      release();
      await reach(page, "failed");
      assert.deepEqual(await violations(page), [], "failed");
      await close(context);
      await broken.close();
    });
  }
}

test("the keyboard alone reaches every control in order, with a visible focus", options, async () => {
  const { page, context } = await open();
  await page.goto(server.origin);
  await reach(page, "ready");
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
  await shows(page, expected(examples.en[last]));
  // Moves the focus back to the text box.
  for (const _ of ["clear", ...examples.en]) await page.keyboard.press("Shift+Tab");
  await page.keyboard.press("ControlOrMeta+A");
  await page.keyboard.type("typed by hand");
  await shows(page, expected("typed by hand"));
  await page.keyboard.press("Shift+Tab");
  await page.keyboard.press("Shift+Tab");
  await page.keyboard.press("Space");
  assert.equal(await page.getAttribute("html", "lang"), "fr");
  for (const _ of ["English", "text", "clear"]) await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  assert.equal(await page.inputValue("#text"), "");
  assert.deepEqual(await focused(), { name: "text", outlined: true });
  await close(context);
});

test("a screen reader gets the names of the controls and a table of all scores", options, async () => {
  const { page, context } = await open();
  await page.goto(server.origin);
  await reach(page, "ready");
  const text = "What a lovely surprise";
  await page.fill("#text", text);
  const answer = expected(text);
  await shows(page, answer);
  const tree = await page.locator("body").ariaSnapshot();
  const wanted = [
    `- group "${strings.en.language}":`,
    `- button "English" [pressed]`,
    `- heading "${strings.en.heading}" [level=1]`,
    `- textbox "${strings.en.yourText}": ${text}`,
    `- list "${strings.en.examples}":`,
    `- table "${strings.en.scores}":`,
    ...Object.entries(answer.scores).map(
      ([label, score]) => `- row "${names.en[label]} ${percent("en", Number(score))}":`,
    ),
  ];
  for (const line of wanted) assert.ok(tree.includes(line), `${line} is not in\n${tree}`);
  await close(context);
});

test("an answer is announced once, after a pause in typing", options, async () => {
  const { page, context } = await open();
  // The test controls the page's timers; the worker answers in real time.
  const start = Date.UTC(2026, 0, 1);
  await page.clock.install({ time: start });
  await page.goto(server.origin);
  await reach(page, "ready");
  await page.clock.pauseAt(start + 3_600_000);
  const announced = (/** @type {string} */ text) =>
    document.querySelector("#announcement")?.textContent === text;
  await until(page, announced, strings.en.ready);
  await page.evaluate(() => {
    const said = /** @type {string[]} */ ([]);
    Object.assign(window, { said });
    const region = /** @type {HTMLElement} */ (document.querySelector("#announcement"));
    new MutationObserver(() => said.push(region.textContent ?? "")).observe(region, { childList: true });
  });
  const said = () => page.evaluate(() => /** @type {any} */ (window).said);
  for (const text of ["This is", "This is awful", "This is awful news"]) {
    await page.fill("#text", text);
    await shows(page, expected(text));
    await page.clock.runFor(500);
  }
  assert.deepEqual(await said(), []);
  await page.clock.runFor(500);
  const { primary, confidence, low_confidence } = expected("This is awful news");
  const parts = [`${names.en[primary]}, confidence ${percent("en", confidence)}`];
  if (low_confidence) parts.push(strings.en.lowConfidence);
  assert.deepEqual(await said(), [`${parts.join(". ")}.`]);
  await close(context);
});

test("a request for reduced motion turns off all transitions, and only that does", options, async () => {
  for (const reducedMotion of /** @type {const} */ (["no-preference", "reduce"])) {
    const { page, context } = await open({ reducedMotion });
    await page.goto(server.origin);
    await reach(page, "ready");
    const durations = await page.$$eval("*", (all) => [
      ...new Set(all.map((one) => getComputedStyle(one).transitionDuration)),
    ]);
    assert.equal(durations.some((one) => one !== "0s"), reducedMotion === "no-preference");
    await close(context);
  }
});

test("at a width of 320 pixels no element passes the right edge, in both languages", options, async () => {
  for (const locale of ["en", "fr"]) {
    // WCAG 1.4.10 requires 320 CSS pixels, which equals 1280 pixels at a zoom of 400 %.
    const { page, context } = await open({ locale, viewport: { width: 320, height: 640 } });
    await page.goto(server.origin);
    await reach(page, "ready");
    await page.click("#examples button >> nth=0");
    await page.waitForSelector("#headline", { state: "visible" });
    const wide = await page.evaluate(() => {
      const edge = document.documentElement.clientWidth;
      return [...document.querySelectorAll("body *:not(.unseen, .unseen *)")]
        .filter((one) => one.getBoundingClientRect().right > edge + 0.5)
        .map((one) => one.outerHTML.slice(0, 80));
    });
    assert.deepEqual(wide, []);
    await close(context);
  }
});
