// Tests the page behind a real gateway in workerd: the gateway's response, how a text is read, and a file of texts.

import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { names, strings } from "../../www/strings.js";
import { readPointer, writePointer } from "../../www/pointer.js";
import { TEST_TIMEOUT_MS, startGateway } from "../support/gateway.js";
import { expectedCohorts } from "../support/gateway-calls.js";
import { closeBrowser, closeBrowsers, loadInNode, openPage, waitForState, waitForScores, skip, findViolations } from "./host.js";

const ROWS = 10_000;
const MARKUP = `<img src=x onerror="document.title='owned'">`;

test("a JSON pointer reads and writes as RFC 6901 defines", () => {
  const json = {};
  writePointer(json, "/a/b~1c~0d", "x");
  writePointer(json, "/e", "y");
  assert.deepEqual(json, { a: { "b/c~d": "x" }, e: "y" });
  assert.deepEqual([readPointer(json, "/a/b~1c~0d"), readPointer(json, "/a/no/further"), readPointer(json, "/e/0/1"), readPointer(null, "/e"), readPointer(json, null)], ["x", undefined, undefined, undefined, undefined]);
});

describe("the playground", { skip, timeout: 4 * TEST_TIMEOUT_MS }, () => {
  /** @type {Awaited<ReturnType<typeof startGateway>>} */
  let gateway;
  /** @type {Awaited<ReturnType<typeof loadInNode>>} */
  let node;
  /** @type {string} */
  let folder;
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "jeffrey-playground-"));
    gateway = await startGateway({ INITIAL_SHARE: "50%", SERVE_PLAYGROUND: "on", SUBJECT_COOKIE: "off" });
    node = await loadInNode();
  });
  after(async () => {
    await closeBrowsers();
    await gateway?.stop();
    await rm(folder, { recursive: true, force: true });
  });

  /** @param {import("playwright-core").BrowserContextOptions} [options] */
  async function openPlayground(options) {
    const opened = await openPage(options);
    await opened.page.goto(`${gateway.origin}/_jeffrey/playground/`);
    await waitForState(opened.page, "ready");
    return opened;
  }
  /** @param {string} name @param {string | Buffer} content */
  async function createFile(name, content) {
    const path = join(folder, name);
    await writeFile(path, content);
    return path;
  }
  /** Waits until a batch can be downloaded, and downloads its CSV. @param {import("./host.js").Page} page */
  async function downloadCsv(page) {
    const [download] = await Promise.all([page.waitForEvent("download"), page.click("#batch-download")]);
    return { name: download.suggestedFilename(), text: await readFile(await download.path(), "utf8") };
  }

  test("the gateway serves the page and no other path of the model worker", async () => {
    const get = (/** @type {string} */ path) => fetch(`${gateway.origin}/_jeffrey${path}`, { redirect: "manual" });
    const redirect = await get("/playground");
    assert.deepEqual([redirect.status, redirect.headers.get("location")], [308, "playground/"]);
    const page = await get("/playground/");
    assert.equal(page.status, 200);
    assert.match(page.headers.get("content-security-policy") ?? "", /default-src 'none'; script-src 'self' 'wasm-unsafe-eval';/);
    for (const path of ["/playground/metrics", "/playground/info", "/playground/health", "/playground/no-such.js", "/playground/../metrics"]) {
      assert.ok([401, 404].includes((await get(path)).status), path);
    }
  });

  test("only the button sends a text to the gateway, and the page shows the response's cohort and headers", async () => {
    const { page, context, faults } = await openPlayground();
    const text = "I am furious, this is unacceptable!";
    /** @type {string[]} */
    const urls = [];
    page.on("request", (request) => urls.push(request.url()));
    await page.fill("#text", text);
    await waitForScores(page, JSON.parse(node.classifier.classify(text)));
    assert.deepEqual(urls, []);
    const users = ["alice", "bob", "carol", "dave", "erin", "frank"];
    const cohorts = expectedCohorts(users, "50%");
    assert.equal(new Set(cohorts).size, 2, "both cohorts occur");
    for (const [index, user] of users.entries()) {
      await page.fill("#user", user);
      await page.click("#ask");
      await page.waitForFunction((cohort) => document.getElementById("server-cohort")?.textContent === cohort && !(/** @type {HTMLButtonElement} */ (document.getElementById("ask")).disabled), cohorts[index]);
      assert.equal(await page.textContent("#server-status"), "200");
      const headers = await page.$$eval("#server-headers tr", (rows) => rows.map((row) => row.textContent ?? ""));
      assert.ok(headers.some((row) => row === `x-jeffrey-cohort${cohorts[index]}`), headers.join("\n"));
      const body = JSON.parse((await page.textContent("#server-body")) ?? "");
      assert.equal(await page.textContent("#server-label-seen"), names.en[body.prediction.primary]);
      if (cohorts[index] === "canary") assert.equal(body.prediction.primary, JSON.parse(node.classifier.classify(text)).primary);
    }
    await page.$eval("#server-answer details", (details) => details.setAttribute("open", ""));
    assert.deepEqual(await findViolations(page), []);
    // A new text hides the response to the previous one.
    await page.fill("#text", "Something else");
    assert.equal(await page.isVisible("#server-answer"), false);
    await context.setOffline(true);
    await page.click("#ask");
    await page.waitForSelector("#server-refusal:not([hidden])");
    assert.ok((await page.textContent("#server-refusal"))?.startsWith(strings.en.unreachable));
    assert.deepEqual(faults.filter((fault) => !/ERR_INTERNET_DISCONNECTED/.test(fault)), []);
    await closeBrowser(context);
  });

  test("the page shows a text's masked preview, its masked kinds and the encoder's tokens", async () => {
    const { page, context } = await openPlayground();
    const text = "C’est inadmissible, je suis FURIEUX ! Écrivez à jean.dupont@example.org ou au 06 12 34 56 78, merci de répondre";
    await page.fill("#text", text);
    await page.waitForFunction(() => (document.getElementById("preview")?.textContent ?? "") !== "");
    assert.equal(await page.textContent("#preview"), "C’est inadmissible, je suis FURIEUX ! Écrivez à ");
    assert.equal(await page.textContent("#masked"), `${strings.en.masked} [EMAIL], [PHONE]`);
    const analysis = JSON.parse(node.classifier.read(text));
    assert.equal(analysis.rule_words, "FURIEUX");
    assert.equal(await page.textContent("#token-count"), String(analysis.tokens.length));
    assert.equal(await page.$$eval("#tokens li", (items) => items.length), 0);
    await page.click("#tokens-view summary");
    await page.waitForSelector("#tokens li");
    assert.deepEqual(await page.$$eval("#tokens li", (items) => items.map((item) => item.textContent)), analysis.tokens);
    assert.equal(analysis.tokens.slice(1, -1).join("").replaceAll("▁", " ").trim(), text, "the tokens join to the text");
    assert.deepEqual(await findViolations(page), []);
    await closeBrowser(context);
  });

  test(`${ROWS} lines get the same predictions as single texts while a user types, and can be downloaded`, async () => {
    const { page, context, faults } = await openPlayground();
    const lines = Array.from({ length: ROWS }, (_, index) => (index % 100 === 0 ? `=1+${index} ${MARKUP}` : `line ${index}: my parcel is late again`));
    await context.setOffline(true);
    await page.setInputFiles("#file", await createFile("complaints.txt", lines.join("\n")));
    await page.waitForSelector("#batch-result:not([hidden])");
    // A text typed meanwhile gets its prediction before the last row does.
    await page.fill("#text", "What a lovely day!");
    await waitForScores(page, JSON.parse(node.classifier.classify("What a lovely day!")));
    assert.equal(await page.isVisible("#batch-download"), false, "the rows are still being classified");
    await page.waitForSelector("#batch-download:not([hidden])");
    assert.equal(await page.textContent("#batch-count"), "10,000 of 10,000");
    const counts = await page.$$eval("#batch-counts tr", (rows) => rows.map((row) => Number((row.children[1].textContent ?? "").replace(/,/g, ""))));
    assert.equal(counts.reduce((sum, count) => sum + count, 0), ROWS);
    assert.equal(await page.$$eval("#batch-rows tr", (rows) => rows.length), 50);
    assert.equal(await page.textContent("#batch-page"), "1 of 200");
    await page.click("#batch-next");
    assert.equal(await page.textContent("#batch-rows tr th"), "51");
    await page.click("#batch-back");
    assert.ok((await page.textContent("#batch-rows tr td:last-child"))?.includes(MARKUP));
    assert.equal(await page.$("#batch-rows img"), null);

    const { name, text } = await downloadCsv(page);
    assert.equal(name, "complaints.answers.csv");
    const rows = text.trimEnd().split("\n");
    assert.equal(rows.length, ROWS + 1);
    assert.equal(rows[0], "line,text,primary,confidence,low_confidence,joy,sadness,anger,fear,surprise,disgust,neutral,frustration,route,rule_applied,truncated,error");
    for (const index of [1, 4_321, ROWS - 1]) {
      const prediction = JSON.parse(node.classifier.classify(lines[index]));
      const expected = [index + 1, lines[index], prediction.primary, prediction.confidence, prediction.low_confidence, ...Object.values(prediction.scores), prediction.route, prediction.rule_applied ?? "", prediction.truncated, ""];
      assert.equal(rows[index + 1], expected.join(","));
    }
    // A spreadsheet reads no cell as a formula.
    assert.ok(rows[1].startsWith('1," =1+0 <img'), rows[1]);
    assert.deepEqual(faults, []);
    await closeBrowser(context);
  });

  test("a batch can be stopped and replaced, and the page says why it cannot read a file", async () => {
    const { page, context } = await openPlayground();
    await page.setInputFiles("#file", await createFile("long.txt", "a line that is one of very many\n".repeat(90_000)));
    await page.waitForSelector("#batch-result:not([hidden])");
    await page.click("#batch-stop");
    await page.waitForSelector("#batch-download:not([hidden])");
    assert.match((await page.textContent("#batch-count")) ?? "", /^[\d,]+ of 90,000, stopped$/);
    const { text } = await downloadCsv(page);
    assert.equal(text.trimEnd().split("\n").length, 90_001, "rows not classified are in the CSV without a prediction");

    // As a western European spreadsheet writes it: with semicolons, in Latin-1.
    const csv = Buffer.from('id;Text\r\n1;"Très déçu ; vraiment"\r\n2;\r\n', "latin1");
    await page.setInputFiles("#file", await createFile("export.csv", csv));
    await page.waitForFunction(() => document.getElementById("batch-count")?.textContent === "2 of 2");
    assert.equal(await page.textContent("#batch-rows tr:first-child td:last-child"), "Très déçu ; vraiment");
    assert.deepEqual(await findViolations(page), []);

    for (const [name, content, reason] of /** @type {[string, string, string][]} */ ([
      ["columns.csv", "a,b\n1,2\n", "the first line names 2 columns, and none of them `text`"],
      ["empty.txt", "", "no row in it"],
      ["huge.txt", "x".repeat(17 * 1024 * 1024), "file of 17825792 bytes is above the limit of 16777216 bytes"],
    ])) {
      await page.setInputFiles("#file", await createFile(name, content));
      await page.waitForFunction((reason) => document.getElementById("batch-refusal")?.textContent === reason, `${strings.en.unread} ${reason}`);
      assert.equal(await page.isVisible("#batch-result"), false, name);
    }
    // A file may be dropped anywhere on the page.
    await page.evaluate(() => {
      const dataTransfer = new DataTransfer();
      dataTransfer.items.add(new File(["one\ntwo"], "dropped.txt"));
      document.body.dispatchEvent(new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true }));
    });
    await page.waitForFunction(() => document.getElementById("batch-count")?.textContent === "2 of 2");
    await closeBrowser(context);
  });

  for (const [locale, colorScheme] of /** @type {[string, "light" | "dark"][]} */ ([["en-GB", "dark"], ["fr-FR", "light"]])) {
    test(`axe-core finds no violations, and a phone does not scroll sideways: ${locale}, ${colorScheme}`, async () => {
      const { page, context } = await openPlayground({ locale, colorScheme, viewport: { width: 360, height: 740 }, reducedMotion: "reduce" });
      await page.fill("#text", "x".repeat(10_000));
      // Waits for the prediction: one that arrives between the press and the release of a button moves the button.
      await page.waitForSelector("#headline:not([hidden])");
      await page.fill("#user", "alice");
      await page.click("#ask");
      await page.waitForSelector("#server-answer:not([hidden])");
      await page.setInputFiles("#file", await createFile("wide.csv", `text\n${"y".repeat(5_000)}\n\u202eabc שלום\n`));
      await page.waitForSelector("#batch-download:not([hidden])");
      await page.click("#tokens-view summary");
      await page.$eval("#server-answer details", (details) => details.setAttribute("open", ""));
      assert.deepEqual(await findViolations(page), []);
      assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), "wider than the phone");
      await closeBrowser(context);
    });
  }
});
