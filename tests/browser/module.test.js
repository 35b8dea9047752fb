// Tests the wasm module in Node and in Chromium: its exports, its errors, and parity with Python.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { FILES } from "../support/model-files.js";
import { TEST_TIMEOUT_MS, WWW, closeBrowsers, readGoldenRows, loadInNode, openPage, serve, skip } from "./host.js";

/** Labels in the order of a golden row's scores. */
const LABELS = ["joy", "sadness", "anger", "fear", "surprise", "disgust", "neutral", "frustration"];

/** @type {Awaited<ReturnType<typeof loadInNode>>} */
let node;
before(async () => {
  node = await loadInNode();
});
after(() => node.classifier.free());

test("the module imports only its glue", async () => {
  const bytes = await readFile(join(WWW, "wasm/jeffrey_edge_bg.wasm"));
  const imports = WebAssembly.Module.imports(new WebAssembly.Module(bytes));
  const foreign = imports.filter(({ module }) => !module.startsWith("./jeffrey_edge"));
  assert.deepEqual(foreign, []);
});

test("a prediction has all scores, the model and no id", () => {
  const prediction = JSON.parse(node.classifier.classify("What a day."));
  assert.deepEqual(Object.keys(prediction.scores), LABELS);
  assert.equal(prediction.model, node.id);
  assert.equal("id" in prediction, false);
  assert.equal(prediction.confidence, prediction.scores[prediction.primary]);
});

test("a text above the limit is refused without being quoted", () => {
  const text = "secret ".repeat(10_000);
  for (const call of [() => node.classifier.classify(text), () => node.classifier.tokens(text)]) {
    assert.throws(call, { message: "text of 70000 bytes is above the limit of 65536 bytes" });
  }
});

test("lone surrogates and other unusual strings get a prediction", () => {
  for (const text of ["\ud800", "a\udfffb", "\u0000", "\u202eabc", "🏳️‍🌈".repeat(300), ""]) {
    assert.ok(JSON.parse(node.classifier.classify(text)).primary);
  }
});

test("an invalid tie-break setting is refused, and a valid one decides whether the rule applies", () => {
  const { classifier } = node;
  assert.throws(() => classifier.setTieBreak(undefined, "2"), {
    message: "JEFFREY_TIEBREAK_DELTA of `2` is not a number from 0 to 1",
  });
  assert.throws(() => classifier.setTieBreak("maybe"), /neither `true` nor `false`/);
  const text = "I am furious";
  // With deltas of 1 the rule applies to every text that states anger, whatever its scores are.
  classifier.setTieBreak("true", "1", "1");
  assert.equal(JSON.parse(classifier.classify(text)).rule_applied, "tiebreak_anger_keyword_standard");
  assert.equal(JSON.parse(classifier.classify(text, false)).rule_applied, null);
  classifier.setTieBreak("false", "1", "1");
  assert.equal(JSON.parse(classifier.classify(text)).rule_applied, null);
  assert.equal(
    JSON.parse(classifier.classify(text, true)).rule_applied,
    "tiebreak_anger_keyword_standard",
  );
  classifier.setTieBreak();
});

test("each damaged file is refused with its name", () => {
  FILES.forEach((file, index) => {
    const damaged = node.files.map((bytes) => bytes);
    damaged[index] = node.files[index].slice();
    damaged[index][damaged[index].length >> 1] ^= 0xff;
    assert.throws(
      () => new node.Browser(...damaged),
      (/** @type {Error} */ error) => error instanceof Error && error.message.includes(file),
      file,
    );
  });
});

test("every golden row has Python's ids, label and scores in Node", async () => {
  const rows = await readGoldenRows();
  assert.ok(rows.length >= 500);
  assertParity(rows, rows.map(({ text }) => classifyWithIds(node.classifier, text)));
});

test("every golden row has Python's ids, label and scores in Chromium", { skip, timeout: TEST_TIMEOUT_MS }, async () => {
  const rows = await readGoldenRows();
  const server = await serve();
  try {
    const { page } = await openPage();
    await page.goto(server.origin);
    const predictions = await page.evaluate(
      async ({ texts, files, id }) => {
        const path = "/wasm/jeffrey_edge.js";
        const glue = await import(path);
        await glue.default();
        const bytes = files.map(async (file) => {
          const response = await fetch(`/models/${id}/${file}`);
          return new Uint8Array(await response.arrayBuffer());
        });
        const classifier = new glue.Browser(...(await Promise.all(bytes)));
        return texts.map((text) => {
          const prediction = JSON.parse(classifier.classify(text, false));
          return { ...prediction, ids: [...(classifier.tokens(text) ?? [])] };
        });
      },
      { texts: rows.map(({ text }) => text), files: FILES, id: node.id },
    );
    assertParity(rows, predictions);
  } finally {
    await closeBrowsers();
    await server.close();
  }
});

/** @param {import("./host.js").Classifier} classifier @param {string} text */
function classifyWithIds(classifier, text) {
  const prediction = JSON.parse(classifier.classify(text, false));
  return { ...prediction, ids: [...(classifier.tokens(text) ?? [])] };
}

/** @param {any[]} rows @param {any[]} predictions */
function assertParity(rows, predictions) {
  rows.forEach((row, index) => {
    const prediction = predictions[index];
    assert.equal(prediction.primary, row.label, row.id);
    assert.equal(prediction.truncated, row.truncated, row.id);
    // A row without scores has no text to encode, and neither host ran its encoder.
    if (row.scores === null) return assert.equal(prediction.route, "empty", row.id);
    assert.deepEqual(prediction.ids, row.ids, row.id);
    LABELS.forEach((label, column) => {
      const difference = Math.abs(prediction.scores[label] - row.scores[column]);
      assert.ok(difference <= 1e-3, `${row.id}: ${label} differs by ${difference}`);
    });
  });
}
