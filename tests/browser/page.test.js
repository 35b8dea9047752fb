// Tests the page on a static server with strict headers: its content, its requests and its storage.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { milliseconds, percent } from "../../www/answer-view.js";
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

/** Opens the page and waits until the model is ready. @param {import("playwright-core").BrowserContextOptions} [with_] */
async function ready(with_) {
  const opened = await open(with_);
  await opened.page.goto(server.origin);
  await reach(opened.page, "ready");
  return opened;
}

test("the page shows the module's scores, route, rule and confidence of a typed text, and the time", options, async () => {
  const { page, context, faults } = await ready();
  const text = "I am so furious that I could scream";
  await page.fill("#text", text);
  const answer = expected(text);
  await shows(page, answer);

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
  const wanted = Object.entries(answer.scores).map(([label, score]) => ({
    name: names.en[label],
    shown: percent("en", Number(score)),
    scale: String(score),
    laid: true,
  }));
  assert.deepEqual(rows, wanted);

  assert.equal(await page.textContent("#primary"), names.en[answer.primary]);
  assert.equal(await page.getAttribute("#confidence", "value"), String(answer.confidence));
  assert.equal(await page.textContent("#confidence"), percent("en", answer.confidence));
  assert.equal(await page.textContent("#route"), names.en[answer.route]);
  const rule = answer.rule_applied ? names.en[answer.rule_applied] : strings.en.noRule;
  assert.equal(await page.textContent("#rule"), rule);
  assert.equal(await page.isVisible("#low-confidence"), answer.low_confidence);
  assert.equal(await page.isVisible("#truncated"), answer.truncated);
  const taken = Number(await page.getAttribute("#duration", "value"));
  assert.ok(taken >= 0);
  assert.equal(await page.textContent("#duration"), milliseconds("en", taken));
  const model = await page.textContent("#model");
  assert.equal(model, `${node.id} ${node.classifier.sha256?.slice(0, 12)}`);
  assert.deepEqual(faults, []);
  await close(context);
});

test("a text longer than the encoder reads is marked as truncated, and one above 64 KiB is refused", options, async () => {
  const { page, context, faults } = await ready();
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
  await shows(page, expected("short again"));
  assert.equal(await page.isVisible("#refusal"), false);
  assert.deepEqual(faults, []);
  await close(context);
});

test("a second visit does not fetch a file again whose hash is known", options, async () => {
  const { page, context } = await ready();
  const model = JSON.parse(await (await fetch(`${server.origin}/models/index.json`)).text());
  const known = [`/models/${model.id}/onnx/`, `/models/${model.id}/tokenizer.json`, "/wasm/jeffrey_edge_bg.wasm"];
  const large = () => server.requests.filter((line) => known.some((path) => line.startsWith(`GET ${path}`))).length;
  const before = large();
  assert.ok(before >= known.length);
  await page.reload();
  await reach(page, "ready");
  assert.equal(large(), before);
  await close(context);
});

test("once loaded, the page sends no request to any host, and it classifies offline", options, async () => {
  const { page, context, faults } = await open();
  /** @type {string[]} */
  const urls = [];
  context.on("request", (request) => urls.push(request.url()));
  await page.goto(server.origin);
  await reach(page, "ready");
  const foreign = urls.filter((url) => !url.startsWith(`${server.origin}/`));
  assert.deepEqual(foreign, []);
  // The list includes the requests of the web worker.
  assert.ok(urls.some((url) => new URL(url).pathname.endsWith("/tokenizer.json")));

  await context.setOffline(true);
  urls.length = 0;
  const served = server.requests.length;
  for (const text of ["my private words", "mes mots à moi", "https://example.com/image.png"]) {
    await page.fill("#text", text);
    await shows(page, expected(text));
  }
  await page.click("text=Français");
  await page.click("#examples button >> nth=0");
  await shows(page, expected(examples.fr[0]));
  assert.deepEqual(urls, []);
  assert.equal(server.requests.length, served);
  assert.deepEqual(faults, []);
  await close(context);
});

test("the page keeps no text in storage, cookies, address or history", options, async () => {
  const { page, context } = await ready();
  const history = await page.evaluate(() => window.history.length);
  await page.fill("#text", "my private words");
  await shows(page, expected("my private words"));
  const kept = await page.evaluate(async () => ({
    local: localStorage.length,
    session: sessionStorage.length,
    cookies: document.cookie,
    caches: (await caches.keys()).length,
    databases: (await indexedDB.databases()).length,
    query: location.search + location.hash,
    history: window.history.length,
    state: window.history.state,
  }));
  assert.deepEqual(kept, {
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
  await close(context);
});

test("browser, address and switch set the language, and the switch keeps text and answer", options, async () => {
  const { page, context, faults } = await open({ locale: "fr-CA" });
  await page.goto(server.origin);
  await reach(page, "ready");
  assert.equal(await page.getAttribute("html", "lang"), "fr");
  assert.equal(await page.title(), strings.fr.title);
  await page.fill("#text", "Quelle belle journée");
  const answer = expected("Quelle belle journée");
  await shows(page, answer);
  assert.equal(await page.textContent("#primary"), names.fr[answer.primary]);
  assert.equal(await page.textContent("#confidence"), percent("fr", answer.confidence));

  await page.click("text=English");
  assert.equal(await page.getAttribute("html", "lang"), "en");
  assert.equal(await page.textContent("#primary"), names.en[answer.primary]);
  assert.equal(await page.textContent("#confidence"), percent("en", answer.confidence));
  assert.equal(await page.inputValue("#text"), "Quelle belle journée");
  const pressed = await page.$$eval("[data-language]", (all) =>
    all.filter((one) => one.ariaPressed === "true").map((one) => one.textContent),
  );
  assert.deepEqual(pressed, ["English"]);
  await page.goto(`${server.origin}/?lang=en`);
  assert.equal(await page.getAttribute("html", "lang"), "en");
  assert.deepEqual(faults, []);
  await close(context);
});

test("both languages have the same strings, and index.html contains the English ones", options, async () => {
  assert.deepEqual(Object.keys(strings.fr), Object.keys(strings.en));
  assert.deepEqual(Object.keys(names.fr), Object.keys(names.en));
  assert.equal(examples.fr.length, examples.en.length);
  const { page, context } = await open({ javaScriptEnabled: false });
  await page.goto(server.origin);
  const written = await page.$$eval("[data-text]", (parts) =>
    parts.map((part) => [part.getAttribute("data-text"), part.textContent]),
  );
  assert.ok(written.length > 10);
  const words = /** @type {Record<string, string>} */ (strings.en);
  for (const [key, text] of written) assert.equal(text, words[String(key)], String(key));
  assert.equal(await page.isVisible("noscript"), true);
  await close(context);
});

test("before the module arrives, the page shows, switches language and accepts a text", options, async () => {
  let release = () => {};
  /** @type {Promise<void>} */
  const wait = new Promise((resolve) => (release = resolve));
  const slow = await serve((path) => (path.endsWith(".wasm") ? { wait } : undefined));
  const { page, context, faults } = await open();
  await page.goto(slow.origin);
  await page.waitForSelector("#loading", { state: "visible" });
  // The model's files arrive and the module does not.
  // The module is more than a third of all bytes, so the bar stays below 0.8.
  await until(
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
  await shows(page, expected("écrit avant"));
  assert.equal(await page.isVisible("#loading"), false);
  assert.deepEqual(faults, []);
  await close(context);
  await slow.close();
});

test("fast typing sends one text at a time and ends with the answer to the last one", options, async () => {
  const { page, context } = await open();
  await page.addInitScript(() => {
    const seen = { most: 0, open: 0, sent: 0 };
    Object.assign(window, { seen });
    // Listens before the page does, so an answer is counted before the page sends the next text.
    window.Worker = class extends Worker {
      /** @param {string | URL} url @param {WorkerOptions} [options] */
      constructor(url, options) {
        super(url, options);
        this.addEventListener("message", ({ data }) => {
          if (["answer", "refused"].includes(data.kind)) seen.open -= 1;
        });
      }
      /** @param {any} message */
      postMessage(message) {
        seen.sent += 1;
        seen.open += 1;
        seen.most = Math.max(seen.most, seen.open);
        super.postMessage(message);
      }
    };
  });
  await page.goto(server.origin);
  await reach(page, "ready");
  const text = "this is typed faster than any model could answer each letter of it";
  await page.evaluate((text) => {
    const box = /** @type {HTMLTextAreaElement} */ (document.querySelector("#text"));
    for (let end = 1; end <= text.length; end += 1) {
      box.value = text.slice(0, end);
      box.dispatchEvent(new InputEvent("input", { bubbles: true }));
    }
  }, text);
  await shows(page, expected(text));
  const seen = await page.evaluate(() => /** @type {any} */ (window).seen);
  // The page sent the first letter at once, and all letters typed meanwhile as one text.
  assert.deepEqual(seen, { most: 1, open: 0, sent: 2 });
  await close(context);
});

test("clearing discards the answer, even one that is still being computed", options, async () => {
  const { page, context } = await ready();
  await page.evaluate(() => {
    const box = /** @type {HTMLTextAreaElement} */ (document.querySelector("#text"));
    box.value = "under way";
    box.dispatchEvent(new InputEvent("input", { bubbles: true }));
    /** @type {HTMLElement} */ (document.querySelector("#clear")).click();
    box.value = "  ";
    box.dispatchEvent(new InputEvent("input", { bubbles: true }));
  });
  // White space is a text, and the classifier answers it by the route `empty`.
  await page.waitForSelector('#route[data-name="empty"]');
  await page.click("#clear");
  assert.equal(await page.isVisible("#idle"), true);
  assert.equal(await page.isVisible("#headline"), false);
  const values = await page.$$eval("#scores data", (all) => all.map((one) => one.textContent));
  assert.deepEqual(values, Array(8).fill("–"));
  await close(context);
});

test("the page has no inline script, style or event attribute, and names no other host", options, async () => {
  const { page, context } = await open();
  const html = (await (await page.goto(server.origin))?.text()) ?? "";
  assert.match(html, /<script type="module" src="app.js">/);
  assert.doesNotMatch(html, /<script(?![^>]* src=)|<style|\sstyle=|\son\w+=|https?:/);
  await close(context);
});
