// Tests the page on a static server with strict headers: its content, its requests and its storage.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { formatMilliseconds, formatPercent } from "../../www/answer-view.js";
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

/** Opens the page and waits until the model is ready. @param {import("playwright-core").BrowserContextOptions} [contextOptions] */
async function openReady(contextOptions) {
  const opened = await openPage(contextOptions);
  await opened.page.goto(server.origin);
  await waitForState(opened.page, "ready");
  return opened;
}

test("the page shows the module's scores, route, rule and confidence of a typed text, and the time", options, async () => {
  const { page, context, faults } = await openReady();
  const text = "I am so furious that I could scream";
  await page.fill("#text", text);
  const prediction = expected(text);
  await waitForScores(page, prediction);

  const rows = await page.$$eval("#scores tr", (rows) =>
    rows.map((row) => {
      const bar = /** @type {HTMLElement} */ (row.querySelector(".bar > span"));
      const track = /** @type {HTMLElement} */ (row.querySelector(".bar"));
      const data = /** @type {HTMLDataElement} */ (row.querySelector("data"));
      return {
        name: row.querySelector("th")?.textContent,
        shown: data.textContent,
        // The scale at which the bar's animation ends.
        scale: getComputedStyle(row).getPropertyValue("--score"),
        // Before it is scaled, the bar has a width and is as wide as its track.
        laid: bar.offsetWidth > 0 && bar.offsetWidth === track.offsetWidth,
      };
    }),
  );
  const expectedRows = Object.entries(prediction.scores).map(([label, score]) => ({
    name: names.en[label],
    shown: formatPercent("en", Number(score)),
    scale: String(score),
    laid: true,
  }));
  assert.deepEqual(rows, expectedRows);

  assert.equal(await page.textContent("#primary"), names.en[prediction.primary]);
  assert.equal(await page.getAttribute("#confidence", "value"), String(prediction.confidence));
  assert.equal(await page.textContent("#confidence"), formatPercent("en", prediction.confidence));
  assert.equal(await page.textContent("#route"), names.en[prediction.route]);
  const rule = prediction.rule_applied ? names.en[prediction.rule_applied] : strings.en.noRule;
  assert.equal(await page.textContent("#rule"), rule);
  assert.equal(await page.isVisible("#low-confidence"), prediction.low_confidence);
  assert.equal(await page.isVisible("#truncated"), prediction.truncated);
  const elapsed = Number(await page.getAttribute("#duration", "value"));
  assert.ok(elapsed >= 0);
  assert.equal(await page.textContent("#duration"), formatMilliseconds("en", elapsed));
  const model = await page.textContent("#model");
  assert.equal(model, `${node.id} ${node.classifier.sha256?.slice(0, 12)}`);
  assert.deepEqual(faults, []);
  await closeBrowser(context);
});

test("a text longer than the encoder reads is marked as truncated, and one above 64 KiB is refused", options, async () => {
  const { page, context, faults } = await openReady();
  const long = "one more word and ".repeat(60);
  assert.equal(expected(long).truncated, true);
  await page.fill("#text", long);
  await page.waitForSelector("#truncated", { state: "visible" });
  await page.fill("#text", "a ".repeat(40_000));
  await page.waitForSelector("#refusal", { state: "visible" });
  const refusal = await page.textContent("#refusal");
  assert.equal(refusal, "Not classified: text of 80000 bytes is above the limit of 65536 bytes");
  assert.equal(await page.isVisible("#headline"), false);
  await page.fill("#text", "short again");
  await waitForScores(page, expected("short again"));
  assert.equal(await page.isVisible("#refusal"), false);
  assert.deepEqual(faults, []);
  await closeBrowser(context);
});

test("a second visit does not fetch a file again whose hash is known", options, async () => {
  const { page, context } = await openReady();
  const model = JSON.parse(await (await fetch(`${server.origin}/models/index.json`)).text());
  const known = [`/models/${model.id}/onnx/`, `/models/${model.id}/tokenizer.json`, "/wasm/jeffrey_edge_bg.wasm"];
  const large = () => server.requests.filter((line) => known.some((path) => line.startsWith(`GET ${path}`))).length;
  const before = large();
  assert.ok(before >= known.length);
  await page.reload();
  await waitForState(page, "ready");
  assert.equal(large(), before);
  await closeBrowser(context);
});

test("once loaded, the page sends no request to any host, and it classifies offline", options, async () => {
  const { page, context, faults } = await openPage();
  /** @type {string[]} */
  const urls = [];
  context.on("request", (request) => urls.push(request.url()));
  await page.goto(server.origin);
  await waitForState(page, "ready");
  const foreign = urls.filter((url) => !url.startsWith(`${server.origin}/`));
  assert.deepEqual(foreign, []);
  // The list includes the requests of the web worker.
  assert.ok(urls.some((url) => new URL(url).pathname.endsWith("/tokenizer.json")));

  await context.setOffline(true);
  urls.length = 0;
  const served = server.requests.length;
  for (const text of ["my private words", "mes mots à moi", "https://example.com/image.png"]) {
    await page.fill("#text", text);
    await waitForScores(page, expected(text));
  }
  await page.click("text=Français");
  await page.click("#examples button >> nth=0");
  await waitForScores(page, expected(examples.fr[0]));
  assert.deepEqual(urls, []);
  assert.equal(server.requests.length, served);
  assert.deepEqual(faults, []);
  await closeBrowser(context);
});

test("the page keeps no text in storage, cookies, address or history", options, async () => {
  const { page, context } = await openReady();
  const history = await page.evaluate(() => window.history.length);
  await page.fill("#text", "my private words");
  await waitForScores(page, expected("my private words"));
  const stored = await page.evaluate(async () => ({
    local: localStorage.length,
    session: sessionStorage.length,
    cookies: document.cookie,
    caches: (await caches.keys()).length,
    databases: (await indexedDB.databases()).length,
    query: location.search + location.hash,
    history: window.history.length,
    state: window.history.state,
  }));
  assert.deepEqual(stored, {
    local: 0,
    session: 0,
    cookies: "",
    caches: 0,
    databases: 0,
    query: "",
    history,
    state: null,
  });
  await page.reload();
  assert.equal(await page.inputValue("#text"), "");
  await closeBrowser(context);
});

test("browser, address and switch set the language, and the switch keeps text and prediction", options, async () => {
  const { page, context, faults } = await openPage({ locale: "fr-CA" });
  await page.goto(server.origin);
  await waitForState(page, "ready");
  assert.equal(await page.getAttribute("html", "lang"), "fr");
  assert.equal(await page.title(), strings.fr.title);
  await page.fill("#text", "Quelle belle journée");
  const prediction = expected("Quelle belle journée");
  await waitForScores(page, prediction);
  assert.equal(await page.textContent("#primary"), names.fr[prediction.primary]);
  assert.equal(await page.textContent("#confidence"), formatPercent("fr", prediction.confidence));

  await page.click("text=English");
  assert.equal(await page.getAttribute("html", "lang"), "en");
  assert.equal(await page.textContent("#primary"), names.en[prediction.primary]);
  assert.equal(await page.textContent("#confidence"), formatPercent("en", prediction.confidence));
  assert.equal(await page.inputValue("#text"), "Quelle belle journée");
  const pressed = await page.$$eval("[data-language]", (all) =>
    all.filter((button) => button.ariaPressed === "true").map((button) => button.textContent),
  );
  assert.deepEqual(pressed, ["English"]);
  await page.goto(`${server.origin}/?lang=en`);
  assert.equal(await page.getAttribute("html", "lang"), "en");
  assert.deepEqual(faults, []);
  await closeBrowser(context);
});

test("both languages have the same strings, and index.html contains the English ones", options, async () => {
  assert.deepEqual(Object.keys(strings.fr), Object.keys(strings.en));
  assert.deepEqual(Object.keys(names.fr), Object.keys(names.en));
  assert.equal(examples.fr.length, examples.en.length);
  const { page, context } = await openPage({ javaScriptEnabled: false });
  await page.goto(server.origin);
  const texts = await page.$$eval("[data-text]", (elements) =>
    elements.map((element) => [element.getAttribute("data-text"), element.textContent]),
  );
  assert.ok(texts.length > 10);
  const english = /** @type {Record<string, string>} */ (strings.en);
  for (const [key, text] of texts) assert.equal(text, english[String(key)], String(key));
  assert.equal(await page.isVisible("noscript"), true);
  await closeBrowser(context);
});

test("before the module arrives, the page shows, switches language and accepts a text", options, async () => {
  let release = () => {};
  /** @type {Promise<void>} */
  const wait = new Promise((resolve) => (release = resolve));
  const slow = await serve((path) => (path.endsWith(".wasm") ? { wait } : undefined));
  const { page, context, faults } = await openPage();
  await page.goto(slow.origin);
  await page.waitForSelector("#loading", { state: "visible" });
  // The model's files arrive and the module does not.
  // The module is more than a third of all bytes, so the bar stays below 0.8.
  await waitUntil(
    page,
    () => {
      const bar = /** @type {HTMLProgressElement} */ (document.querySelector("#progress"));
      return bar.value > 0.1 && bar.value < 0.8;
    },
    null,
  );
  await page.click("text=Français");
  assert.equal(await page.textContent("h1"), strings.fr.heading);
  await page.fill("#text", "écrit avant");
  assert.equal(await page.isVisible("#headline"), false);
  release();
  await waitForScores(page, expected("écrit avant"));
  assert.equal(await page.isVisible("#loading"), false);
  assert.deepEqual(faults, []);
  await closeBrowser(context);
  await slow.close();
});

test("fast typing sends one text at a time and ends with the prediction for the last one", options, async () => {
  const { page, context } = await openPage();
  await page.addInitScript(() => {
    const counts = { most: 0, open: 0, sent: 0 };
    Object.assign(window, { seen: counts });
    // Listens before the page does, so a reply is counted before the page sends the next text.
    window.Worker = class extends Worker {
      /** @param {string | URL} url @param {WorkerOptions} [options] */
      constructor(url, options) {
        super(url, options);
        this.addEventListener("message", ({ data }) => {
          if (["answer", "refused"].includes(data.kind)) counts.open -= 1;
        });
      }
      /** @param {any} message */
      postMessage(message) {
        counts.sent += 1;
        counts.open += 1;
        counts.most = Math.max(counts.most, counts.open);
        super.postMessage(message);
      }
    };
  });
  await page.goto(server.origin);
  await waitForState(page, "ready");
  const text = "this is typed faster than any model could answer each letter of it";
  await page.evaluate((text) => {
    const box = /** @type {HTMLTextAreaElement} */ (document.querySelector("#text"));
    for (let end = 1; end <= text.length; end += 1) {
      box.value = text.slice(0, end);
      box.dispatchEvent(new InputEvent("input", { bubbles: true }));
    }
  }, text);
  await waitForScores(page, expected(text));
  const counts = await page.evaluate(() => /** @type {any} */ (window).seen);
  // The page sent the first letter at once, and all letters typed meanwhile as one text.
  assert.deepEqual(counts, { most: 1, open: 0, sent: 2 });
  await closeBrowser(context);
});

test("clearing discards the prediction, even one that is still being computed", options, async () => {
  const { page, context } = await openReady();
  await page.evaluate(() => {
    const box = /** @type {HTMLTextAreaElement} */ (document.querySelector("#text"));
    box.value = "under way";
    box.dispatchEvent(new InputEvent("input", { bubbles: true }));
    /** @type {HTMLElement} */ (document.querySelector("#clear")).click();
    box.value = "  ";
    box.dispatchEvent(new InputEvent("input", { bubbles: true }));
  });
  // White space is a text, and the classifier predicts it with the route `empty`.
  await page.waitForSelector('#route[data-name="empty"]');
  await page.click("#clear");
  assert.equal(await page.isVisible("#idle"), true);
  assert.equal(await page.isVisible("#headline"), false);
  const values = await page.$$eval("#scores data", (all) => all.map((element) => element.textContent));
  assert.deepEqual(values, Array(8).fill("–"));
  await closeBrowser(context);
});

test("the page has no inline script, style or event attribute, and names no other host", options, async () => {
  const { page, context } = await openPage();
  const html = (await (await page.goto(server.origin))?.text()) ?? "";
  assert.match(html, /<script type="module" src="app.js">/);
  assert.doesNotMatch(html, /<script(?![^>]* src=)|<style|\sstyle=|\son\w+=|https?:/);
  await closeBrowser(context);
});
