// Tests the page's failures, and hostile content, which the page only shows.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { STALL_TIMEOUT_S } from "../../www/classifier.js";
import { names, strings } from "../../www/strings.js";
import { TEST_TIMEOUT_MS, WWW, closeBrowser, closeBrowsers, loadInNode, openPage, waitForState, serve, waitForScores, skip, waitUntil } from "./host.js";

const options = { skip, timeout: TEST_TIMEOUT_MS };
const MARKUP = "<img src=x onerror=alert(1)><script>alert(2)</script>";
/** @type {Awaited<ReturnType<typeof loadInNode>>} */
let node;
before(async () => {
  if (skip) return;
  node = await loadInNode();
});
after(closeBrowsers);

/** @param {string} file */
const readModelFile = (file) => readFile(join(WWW, "models", node.id, file));

/** @param {string} file @param {(bytes: Buffer) => void} change */
async function readDamaged(file, change) {
  const bytes = await readModelFile(file);
  change(bytes);
  return bytes;
}

test("a model that fails to load is reported with its reason and can be loaded again", options, async () => {
  const encoder = `models/${node.id}/onnx/model_quantized.onnx`;
  const wasm = "wasm/jeffrey_edge_bg.wasm";
  const rows = [
    { path: encoder, status: 404, reason: `${encoder}: HTTP 404` },
    { path: encoder, status: 500, reason: `${encoder}: HTTP 500` },
    { path: wasm, status: 404, reason: `${wasm}: HTTP 404` },
    { path: wasm, body: "not a module", reason: `${wasm}: ` },
    { path: "wasm/jeffrey_edge.js", status: 404, reason: "wasm/jeffrey_edge.js: could not be loaded" },
    { path: "classifier-worker.js", status: 404, reason: "classifier-worker.js: could not be started" },
    { path: "models/index.json", body: MARKUP, reason: "models/index.json: not JSON" },
    {
      path: `models/${node.id}/head.json`,
      body: await readDamaged("head.json", (bytes) => (bytes[100] ^= 1)),
      reason: "head.json: sha256 ",
    },
    {
      path: encoder,
      body: (await readModelFile("onnx/model_quantized.onnx")).subarray(0, 1_000_000),
      reason: "onnx/model_quantized.onnx: file has length 1000000, not ",
    },
    {
      path: `models/${node.id}/manifest.json`,
      body: JSON.stringify({ format: 2 }),
      reason: "manifest.json: ",
    },
  ];
  for (const { path, reason, ...response } of rows) {
    let broken = true;
    const server = await serve((requested) => (broken && requested === path ? response : undefined));
    const { page, context } = await openPage();
    await page.goto(server.origin);
    await waitForState(page, "failed");
    const message = (await page.textContent("#failure-reason")) ?? "";
    assert.ok(message.startsWith(reason), `${path}: ${message}`);
    assert.equal(await page.isVisible("#loading"), false, path);
    assert.equal(await page.getAttribute("#failure", "role"), "alert");
    // The text box still accepts text, and the text waits for the model.
    await page.fill("#text", "still here");
    broken = false;
    await page.click("#retry");
    await waitForState(page, "ready");
    await waitForScores(page, JSON.parse(node.classifier.classify("still here")));
    assert.equal(await page.isVisible("#failure"), false, path);
    await closeBrowser(context);
    await server.close();
  }
});

test("a connection lost while loading is reported with the file", options, async () => {
  const server = await serve();
  const { page, context } = await openPage();
  await page.route("**/tokenizer.json?*", (route) => route.abort());
  await page.goto(server.origin);
  await waitForState(page, "failed");
  const reason = await page.textContent("#failure-reason");
  assert.equal(reason, `models/${node.id}/tokenizer.json: no connection`);
  await closeBrowser(context);
  await server.close();
});

test("a load without progress fails and can be repeated", options, async () => {
  let stalls = true;
  const server = await serve((path) =>
    stalls && path.endsWith("/tokenizer.json") ? { wait: new Promise(() => {}) } : undefined,
  );
  const { page, context } = await openPage();
  await page.clock.install();
  await page.goto(server.origin);
  await waitForState(page, "loading");
  // Repeats, because other files may still make progress.
  while ((await page.getAttribute("html", "data-state")) === "loading") {
    await page.clock.fastForward((STALL_TIMEOUT_S + 1) * 1_000);
  }
  assert.equal(await page.textContent("#failure-reason"), `no progress for ${STALL_TIMEOUT_S} seconds`);
  stalls = false;
  await page.click("#retry");
  await waitForState(page, "ready");
  await closeBrowser(context);
  await server.close();
});

test("a load that makes progress does not fail, however long it takes", options, async () => {
  const steps = 4;
  const workerScript = `
    for (let at = 1; at <= ${steps}; at += 1) {
      await fetch("step");
      postMessage({ kind: "progress", loaded: at, total: ${steps} });
    }`;
  let release = () => {};
  const server = await serve((path) => {
    if (path === "classifier-worker.js") return { body: workerScript };
    return path === "step" ? { body: "", wait: new Promise((resolve) => (release = () => resolve())) } : undefined;
  });
  const { page, context } = await openPage();
  const start = Date.UTC(2026, 0, 1);
  await page.clock.install({ time: start });
  await page.clock.pauseAt(start + 1_000);
  const countSteps = () => server.requests.filter((line) => line.endsWith("/step")).length;
  await page.goto(server.origin);
  await page.clock.runFor(100);
  for (let step = 1; step <= steps; step += 1) {
    while (countSteps() < step) await pause(20);
    await page.clock.runFor((STALL_TIMEOUT_S - 1) * 1_000);
    assert.equal(await page.getAttribute("html", "data-state"), "loading", `step ${step}`);
    release();
    await waitUntil(page, (share) => /** @type {HTMLProgressElement} */ (document.getElementById("progress")).value === share, step / steps);
  }
  await page.clock.runFor(STALL_TIMEOUT_S * 1_000);
  await waitForState(page, "failed");
  await closeBrowser(context);
  await server.close();
});

test("a file chosen before the model is ready is read once the model is ready, even after a failure", options, async () => {
  let broken = true;
  let release = () => {};
  /** @type {Promise<void>} */
  const wait = new Promise((resolve) => (release = resolve));
  const server = await serve((path) =>
    broken && path === "models/index.json" ? { wait, status: 500 } : undefined,
  );
  const { page, context } = await openPage();
  await page.goto(server.origin);
  await waitForState(page, "loading");
  await page.setInputFiles("#file", { name: "early.txt", mimeType: "text/plain", buffer: Buffer.from("one\ntwo\nthree") });
  release();
  await waitForState(page, "failed");
  broken = false;
  await page.click("#retry");
  await waitUntil(page, () => document.getElementById("batch-count")?.textContent === "3 of 3", null);
  assert.equal(await page.textContent("#batch-rows tr:nth-child(3) td:last-child"), "three");
  await closeBrowser(context);
  await server.close();
});

test("a classifier that stops in the middle of a file is reported, and the rows it classified stay", options, async () => {
  const workerScript = `
    postMessage({ kind: "ready", model: "staged", sha256: "0" });
    onmessage = ({ data: { batch } }) => {
      const rows = [{ line: 1, text: "one", primary: "joy", confidence: 0.9, error: null }];
      postMessage({ kind: "rows", batch, rows, total: 2 });
      postMessage({ kind: "failed", reason: "the classifier stopped" });
    };`;
  const server = await serve((path) => (path === "classifier-worker.js" ? { body: workerScript } : undefined));
  const { page, context } = await openPage();
  await page.goto(server.origin);
  await waitForState(page, "ready");
  await page.setInputFiles("#file", { name: "two.txt", mimeType: "text/plain", buffer: Buffer.from("one\ntwo") });
  await waitForState(page, "failed");
  const refusal = `${strings.en.unread} the classifier stopped`;
  await waitUntil(page, (text) => document.getElementById("batch-refusal")?.textContent === text, refusal);
  assert.equal(await page.textContent("#batch-count"), "1 of 2, stopped");
  assert.equal(await page.isVisible("#batch-stop"), false);
  assert.equal(await page.isVisible("#batch-download"), false);
  await closeBrowser(context);
  await server.close();
});

test("in a French browser a failure is reported in French", options, async () => {
  const server = await serve((path) => (path === "models/index.json" ? { status: 404 } : undefined));
  const { page, context } = await openPage({ locale: "fr-FR" });
  await page.goto(server.origin);
  await waitForState(page, "failed");
  assert.equal(await page.textContent("#failure h3"), strings.fr.failed);
  assert.equal(await page.textContent("#retry"), strings.fr.retry);
  await closeBrowser(context);
  await server.close();
});

test("hostile text is shown as text and classified like any other", options, async () => {
  const server = await serve();
  const { page, context, faults } = await openPage();
  await page.goto(server.origin);
  await waitForState(page, "ready");
  const texts = [
    MARKUP,
    '"><svg onload=alert(3)>',
    "x".repeat(10_000),
    "\u202egnp.exe\u202c \u2067abc\u2069 שלום \u200f",
    "{{constructor.constructor('alert(4)')()}}",
    "e\u0301\u0302".repeat(2_000),
  ];
  const before = await page.$$eval("*", (all) => all.length);
  for (const text of texts) {
    await page.fill("#text", text);
    await waitForScores(page, JSON.parse(node.classifier.classify(text)));
    assert.equal(await page.inputValue("#text"), text);
    const after = await page.$$eval("*", (all) => all.length);
    assert.equal(after, before, "no element came from a text");
    const wider = await page.evaluate(
      () => document.documentElement.scrollWidth > document.documentElement.clientWidth,
    );
    assert.equal(wider, false, "the text does not widen the page");
  }
  assert.deepEqual(faults, []);
  await closeBrowser(context);
  await server.close();
});

test("hostile names in a prediction, a model or a reason are shown as text", options, async () => {
  const { page, context, faults, prediction, server } = await openWithPrediction({
    primary: MARKUP,
    confidence: 0.3,
    scores: { [MARKUP]: 0.3, joy: 0.25, "\u202eenod": 0.2 },
    top2: [],
    low_confidence: true,
    route: MARKUP,
    skipped: [{ route: "linear_head", reason: "not_finite" }, { route: MARKUP, reason: MARKUP }],
    rule_applied: "tiebreak_anger_keyword_extended",
    truncated: true,
    model: MARKUP,
  });
  await page.fill("#text", "any");
  await page.waitForSelector("#headline", { state: "visible" });
  assert.equal(await page.textContent("#primary"), MARKUP);
  assert.equal(await page.textContent("#route"), MARKUP);
  assert.equal(await page.textContent("#scores tr.first th"), MARKUP);
  assert.equal(await page.textContent("#rule"), names.en.tiebreak_anger_keyword_extended);
  assert.equal(await page.textContent("#model"), `${MARKUP} ${MARKUP.slice(0, 12)}`);
  assert.equal(
    await page.textContent("#skipped"),
    `linear head (scores not finite), ${MARKUP} (${MARKUP})`,
  );
  assert.equal(await page.textContent("#rule-words"), MARKUP);
  assert.equal(await page.textContent("#preview"), MARKUP);
  assert.equal(await page.textContent("#masked"), `${strings.en.masked} ${MARKUP}`);
  await page.click("#tokens-view summary");
  await page.waitForSelector("#tokens li");
  assert.equal(await page.textContent("#tokens"), MARKUP);
  assert.equal(await page.isVisible("#low-confidence"), true);
  assert.equal(await page.isVisible("#truncated"), true);
  assert.equal(await page.$("img, main script"), null);
  assert.equal(prediction.confidence, Number(await page.getAttribute("#confidence", "value")));
  await page.fill("#text", "stop");
  await waitForState(page, "failed");
  assert.equal(await page.textContent("#failure-reason"), MARKUP);
  assert.equal(await page.$("img, main script"), null);
  assert.deepEqual(faults, []);
  await closeBrowser(context);
  await server.close();
});

/**
 * Opens a page with a scripted worker: it replies to every text with `prediction`, and to `stop` with a failure.
 * @param {any} prediction
 */
async function openWithPrediction(prediction) {
  const workerScript = `
    const prediction = ${JSON.stringify(prediction)};
    const hostile = ${JSON.stringify(MARKUP)};
    const reading = { tokens: [hostile], rule_words: hostile, preview: hostile, masked: [hostile] };
    postMessage({ kind: "ready", model: hostile, sha256: hostile });
    onmessage = ({ data: { id, text } }) => postMessage(
      text === "stop"
        ? { kind: "failed", reason: hostile }
        : { kind: "answer", id, prediction, analysis: reading, milliseconds: 1 },
    );`;
  const server = await serve((path) =>
    path === "classifier-worker.js" ? { body: workerScript } : undefined,
  );
  const opened = await openPage();
  await opened.page.goto(server.origin);
  await waitForState(opened.page, "ready");
  return { ...opened, server, prediction };
}
