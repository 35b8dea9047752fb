// Tests that the generated sections of docs/scale.md are what the counts and prices in the repository give.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { COUNTS_FILE, PAGE, PRICES_FILE, renderPage } from "../bench/cost-page.js";

const page = readFileSync(PAGE, "utf8");
const counts = JSON.parse(readFileSync(COUNTS_FILE, "utf8"));
const prices = JSON.parse(readFileSync(PRICES_FILE, "utf8"));

test("the page has the cost of the counts and prices in the repository", () => {
  assert.equal(renderPage(page, counts, prices), page, "run: node tests/bench/event-cost.js --write-docs");
});

test("another price or another count changes the page", () => {
  const dearer = structuredClone(prices);
  dearer.resources.rows_written.dollars *= 2;
  assert.notEqual(renderPage(page, counts, dearer), page);
  const larger = structuredClone(counts);
  larger.per_stored_event.bytes *= 2;
  assert.notEqual(renderPage(page, larger, prices), page);
});

test("a page without the markers is refused", () => {
  assert.throws(() => renderPage("# Scale\n", counts, prices), /no section "storage"/);
});
