// Tests the page behind a real gateway in workerd: the gateway's response, how a text is read, and a file of texts.

import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { names, strings } from "../../www/strings.js";
import { at, put } from "../../www/pointer.js";
import { PATIENCE_MS, startGateway } from "../support/gateway.js";
import { buckets } from "../support/gateway-calls.js";
import { close, closeAll, inNode, open, reach, shows, skip, violations } from "./host.js";

const ROWS = 10_000;
const MARKUP = `<img src=x onerror="document.title='owned'">`;

test("a JSON pointer reads and writes as RFC 6901 defines", () => {
  const asked = {};
  put(asked, "/a/b~1c~0d", "x");
  put(asked, "/e", "y");
  assert.deepEqual(asked, { a: { "b/c~d": "x" }, e: "y" });
  assert.deepEqual([at(asked, "/a/b~1c~0d"), at(asked, "/a/no/further"), at(asked, "/e/0/1"), at(null, "/e"), at(asked, null)], ["x", undefined, undefined, undefined, undefined]);
});

describe("the playground", { skip, timeout: 4 * PATIENCE_MS }, () => {
  /** @type {Awaited<ReturnType<typeof startGateway>>} */
  let gate;
  /** @type {Awaited<ReturnType<typeof inNode>>} */
  let node;
  /** @type {string} */
  let folder;
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "jeffrey-playground-"));
    gate = await startGateway({ INITIAL_SHARE: "50%", PLAYGROUND: "on", SUBJECT_COOKIE: "off" });
    node = await inNode();
  });
  after(async () => {
    await closeAll();
    await gate?.stop();
    await rm(folder, { recursive: true, force: true });
  });

  /** @param {import("playwright-core").BrowserContextOptions} [options] */
  async function ready(options) {
    const opened = await open(options);
    await opened.page.goto(`${gate.origin}/_jeffrey/playground/`);
    await reach(opened.page, "ready");
    return opened;
  }
  /** @param {string} name @param {string | Buffer} content */
  async function file(name, content) {
    const path = join(folder, name);
    await writeFile(path, content);
    return path;
  }
  /** Waits until a batch can be downloaded, and downloads its CSV. @param {import("./host.js").Page} page */
  async function table(page) {
    const [download] = await Promise.all([page.waitForEvent("download"), page.click("#batch-download")]);
    return { name: download.suggestedFilename(), text: await readFile(await download.path(), "utf8") };
  }

  test("the gateway serves the page and no other path of the model worker", async () => {
    const get = (/** @type {string} */ path) => fetch(`${gate.origin}/_jeffrey${path}`, { redirect: "manual" });
    const plain = await get("/playground");
    assert.deepEqual([plain.status, plain.headers.get("location")], [308, "playground/"]);
    const page = await get("/playground/");
    assert.equal(page.status, 200);
    assert.match(page.headers.get("content-security-policy") ?? "", /default-src 'none'; script-src 'self' 'wasm-unsafe-eval';/);
    for (const path of ["/playground/metrics", "/playground/info", "/playground/health", "/playground/no-such.js", "/playground/../metrics"]) {
      assert.ok([401, 404].includes((await get(path)).status), path);
    }
  });

  test("only the button sends a text to the gateway, and the page shows the response's cohort and headers", async () => {
    const { page, context, faults } = await ready();
    const text = "I am furious, this is unacceptable!";
    /** @type {string[]} */
    const asked = [];
    page.on("request", (request) => asked.push(request.url()));
    await page.fill("#text", text);
    await shows(page, JSON.parse(node.classifier.classify(text)));
    assert.deepEqual(asked, []);
    const people = ["alice", "bob", "carol", "dave", "erin", "frank"];
    const cohorts = buckets(people, "50%");
    assert.equal(new Set(cohorts).size, 2, "both cohorts are there");
    for (const [number, user] of people.entries()) {
      await page.fill("#user", user);
      await page.click("#ask");
      await page.waitForFunction((cohort) => document.getElementById("server-cohort")?.textContent === cohort && !(/** @type {HTMLButtonElement} */ (document.getElementById("ask")).disabled), cohorts[number]);
      assert.equal(await page.textContent("#server-status"), "200");
      const headers = await page.$$eval("#server-headers tr", (rows) => rows.map((row) => row.textContent ?? ""));
      assert.ok(headers.some((row) => row === `x-jeffrey-cohort${cohorts[number]}`), headers.join("\n"));
      const body = JSON.parse((await page.textContent("#server-body")) ?? "");
      assert.equal(await page.textContent("#server-label-seen"), names.en[body.prediction.primary]);
      if (cohorts[number] === "canary") assert.equal(body.prediction.primary, JSON.parse(node.classifier.classify(text)).primary);
    }
    await page.$eval("#server-answer details", (details) => details.setAttribute("open", ""));
    assert.deepEqual(await violations(page), []);
    // A new text hides the response to the previous one.
    await page.fill("#text", "Something else");
    assert.equal(await page.isVisible("#server-answer"), false);
    await context.setOffline(true);
    await page.click("#ask");
    await page.waitForSelector("#server-refusal:not([hidden])");
    assert.ok((await page.textContent("#server-refusal"))?.startsWith(strings.en.unreachable));
    assert.deepEqual(faults.filter((fault) => !/ERR_INTERNET_DISCONNECTED/.test(fault)), []);
    await close(context);
  });

  test("the page shows a text's masked preview, its masked kinds and the encoder's tokens", async () => {
    const { page, context } = await ready();
    const text = "C’est inadmissible, je suis FURIEUX ! Écrivez à jean.dupont@example.org ou au 06 12 34 56 78, merci de répondre";
    await page.fill("#text", text);
    await page.waitForFunction(() => (document.getElementById("preview")?.textContent ?? "") !== "");
    assert.equal(await page.textContent("#preview"), "C’est inadmissible, je suis FURIEUX ! Écrivez à ");
    assert.equal(await page.textContent("#masked"), `${strings.en.masked} [EMAIL], [PHONE]`);
    const reading = JSON.parse(node.classifier.read(text));
    assert.equal(reading.rule_words, "FURIEUX");
    assert.equal(await page.textContent("#token-count"), String(reading.tokens.length));
    assert.equal(await page.$$eval("#tokens li", (items) => items.length), 0);
    await page.click("#tokens-view summary");
    await page.waitForSelector("#tokens li");
    assert.deepEqual(await page.$$eval("#tokens li", (items) => items.map((item) => item.textContent)), reading.tokens);
    assert.equal(reading.tokens.slice(1, -1).join("").replaceAll("▁", " ").trim(), text, "the pieces are the text");
    assert.deepEqual(await violations(page), []);
    await close(context);
  });

  test(`${ROWS} lines get the answers of single texts while a user types, and can be downloaded`, async () => {
    const { page, context, faults } = await ready();
    const lines = Array.from({ length: ROWS }, (_, at) => (at % 100 === 0 ? `=1+${at} ${MARKUP}` : `line ${at}: my parcel is late again`));
    await context.setOffline(true);
    await page.setInputFiles("#file", await file("complaints.txt", lines.join("\n")));
    await page.waitForSelector("#batch-result:not([hidden])");
    // A text typed meanwhile gets its answer before the last row does.
    await page.fill("#text", "What a lovely day!");
    await shows(page, JSON.parse(node.classifier.classify("What a lovely day!")));
    assert.equal(await page.isVisible("#batch-download"), false, "the rows are still under way");
    await page.waitForSelector("#batch-download:not([hidden])");
    assert.equal(await page.textContent("#batch-count"), "10,000 of 10,000");
    const counted = await page.$$eval("#batch-counts tr", (rows) => rows.map((row) => Number((row.children[1].textContent ?? "").replace(/,/g, ""))));
    assert.equal(counted.reduce((sum, count) => sum + count, 0), ROWS);
    assert.equal(await page.$$eval("#batch-rows tr", (rows) => rows.length), 50);
    assert.equal(await page.textContent("#batch-page"), "1 of 200");
    await page.click("#batch-next");
    assert.equal(await page.textContent("#batch-rows tr th"), "51");
    await page.click("#batch-back");
    assert.ok((await page.textContent("#batch-rows tr td:last-child"))?.includes(MARKUP));
    assert.equal(await page.$("#batch-rows img"), null);

    const { name, text } = await table(page);
    assert.equal(name, "complaints.answers.csv");
    const rows = text.trimEnd().split("\n");
    assert.equal(rows.length, ROWS + 1);
    assert.equal(rows[0], "line,text,primary,confidence,low_confidence,joy,sadness,anger,fear,surprise,disgust,neutral,frustration,route,rule_applied,truncated,error");
    for (const at of [1, 4_321, ROWS - 1]) {
      const answer = JSON.parse(node.classifier.classify(lines[at]));
      const expected = [at + 1, lines[at], answer.primary, answer.confidence, answer.low_confidence, ...Object.values(answer.scores), answer.route, answer.rule_applied ?? "", answer.truncated, ""];
      assert.equal(rows[at + 1], expected.join(","));
    }
    // A spreadsheet reads no cell as a formula.
    assert.ok(rows[1].startsWith('1," =1+0 <img'), rows[1]);
    assert.deepEqual(faults, []);
    await close(context);
  });

  test("a batch can be stopped and replaced, and the page says why it cannot read a file", async () => {
    const { page, context } = await ready();
    await page.setInputFiles("#file", await file("long.txt", "a line that is one of very many\n".repeat(90_000)));
    await page.waitForSelector("#batch-result:not([hidden])");
    await page.click("#batch-stop");
    await page.waitForSelector("#batch-download:not([hidden])");
    assert.match((await page.textContent("#batch-count")) ?? "", /^[\d,]+ of 90,000, stopped$/);
    const { text } = await table(page);
    assert.equal(text.trimEnd().split("\n").length, 90_001, "what was not answered is there without an answer");

    // As a western European spreadsheet writes it: with semicolons, in Latin-1.
    const csv = Buffer.from('id;Text\r\n1;"Très déçu ; vraiment"\r\n2;\r\n', "latin1");
    await page.setInputFiles("#file", await file("export.csv", csv));
    await page.waitForFunction(() => document.getElementById("batch-count")?.textContent === "2 of 2");
    assert.equal(await page.textContent("#batch-rows tr:first-child td:last-child"), "Très déçu ; vraiment");
    assert.deepEqual(await violations(page), []);

    for (const [name, content, why] of /** @type {[string, string, string][]} */ ([
      ["columns.csv", "a,b\n1,2\n", "the first line names 2 columns, and none of them `text`"],
      ["empty.txt", "", "no row in it"],
      ["huge.txt", "x".repeat(17 * 1024 * 1024), "file of 17825792 bytes is above the limit of 16777216 bytes"],
    ])) {
      await page.setInputFiles("#file", await file(name, content));
      await page.waitForFunction((why) => document.getElementById("batch-refusal")?.textContent === why, `${strings.en.unread} ${why}`);
      assert.equal(await page.isVisible("#batch-result"), false, name);
    }
    // A file may be dropped anywhere on the page.
    await page.evaluate(() => {
      const dataTransfer = new DataTransfer();
      dataTransfer.items.add(new File(["one\ntwo"], "dropped.txt"));
      document.body.dispatchEvent(new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true }));
    });
    await page.waitForFunction(() => document.getElementById("batch-count")?.textContent === "2 of 2");
    await close(context);
  });

  for (const [locale, colorScheme] of /** @type {[string, "light" | "dark"][]} */ ([["en-GB", "dark"], ["fr-FR", "light"]])) {
    test(`axe-core finds nothing, and a phone needs no scrolling aside: ${locale}, ${colorScheme}`, async () => {
      const { page, context } = await ready({ locale, colorScheme, viewport: { width: 360, height: 740 }, reducedMotion: "reduce" });
      await page.fill("#text", "x".repeat(10_000));
      // Waits for the answer: one that arrives between the press and the release of a button moves the button.
      await page.waitForSelector("#headline:not([hidden])");
      await page.fill("#user", "alice");
      await page.click("#ask");
      await page.waitForSelector("#server-answer:not([hidden])");
      await page.setInputFiles("#file", await file("wide.csv", `text\n${"y".repeat(5_000)}\n\u202eabc שלום\n`));
      await page.waitForSelector("#batch-download:not([hidden])");
      await page.click("#tokens-view summary");
      await page.$eval("#server-answer details", (details) => details.setAttribute("open", ""));
      assert.deepEqual(await violations(page), []);
      assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), "wider than the phone");
      await close(context);
    });
  }
});
