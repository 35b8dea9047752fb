// Tests the renderer of the dashboard: the sentences are those of the Rust renderer, in both languages.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { catalogue } from "../../www/dashboard/catalogue.js";
import { renderMessage } from "../../www/dashboard/messages.js";

const GOLDEN_FILE = "tests/data/messages.jsonl";

test("the dashboard renders every message of the golden file as the gateway and the command line do", () => {
  const rows = readFileSync(GOLDEN_FILE, "utf8").trim().split("\n").map((line) => JSON.parse(line));
  assert.ok(rows.length > 100, `only ${rows.length} rows`);
  for (const { case: name, message, en, fr } of rows) {
    assert.equal(renderMessage(catalogue.en, message), en, name);
    assert.equal(renderMessage(catalogue.fr, message), fr, name);
  }
});

test("the dashboard has the sentences of both catalogues", () => {
  for (const language of /** @type {const} */ (["en", "fr"])) {
    assert.deepEqual(catalogue[language], JSON.parse(readFileSync(`src/catalogue/${language}.json`, "utf8")));
  }
});

test("a message that only a newer gateway knows shows its English text, or its code and arguments", () => {
  const message = { code: "alert.of_a_newer_version", args: { reason: null, gate: "errors", share_basis_points: 500 } };
  assert.equal(renderMessage(catalogue.fr, { ...message, text: "something new" }), "something new");
  assert.equal(renderMessage(catalogue.fr, message), "alert.of_a_newer_version (gate: errors, reason: ?, share_basis_points: 500)");
  assert.equal(renderMessage(catalogue.fr, { code: "alert.rolled_back", args: { cause: message } }), `retiré : ${renderMessage(catalogue.fr, message)}`);
  // Names that every object has are no codes and no arguments.
  assert.equal(renderMessage(catalogue.en, { code: "constructor", args: {} }), "constructor");
  assert.equal(renderMessage({ ...catalogue.en, "alert.test": "{constructor}" }, { code: "alert.test", args: {} }), "?");
});
