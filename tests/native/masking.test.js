// Measures recall and precision of `jeffrey mask --json` for each kind, on sentences written for the project and on
// generated ones, and compares them with presidio's pattern recognisers on the same lines.
//
// A span is found if a match of its kind overlaps it and matches cover all of its bytes (at least half of an
// address). A match is right if it overlaps a span of its kind by at least half of their union. For presidio a span
// is found if a match of its kind overlaps it, because presidio does not claim to cover the whole.

import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { before, test } from "node:test";

/** @typedef {{kind: string, start: number, end: number}} Span */
/** @typedef {{text: string, spans: Span[], kind: string | null}} Line */
/** @typedef {{recall: number, low: number, precision: number, held: number, found: number}} Figures */

const BINARY = process.env.JEFFREY ?? "target/debug/jeffrey";
const PYTHON = process.env.PYTHON ?? "tests/.venv/bin/python";
const WRITTEN = "tests/data/masking/written.txt";
const HARMLESS = "tests/data/masking/harmless.txt";
const KINDS = "address card crypto email handle iban ip ipv6 mac nino nir phone secret siren siret ssn url vat".split(" ");
const A_KIND = 2_000;

/** @type {Line[]} */
let written = [];
/** @type {Line[]} */
let generated = [];

before(() => {
  written = [...marked(WRITTEN), ...marked(HARMLESS)];
  const output = python(["tests/masking/generate.py", String(A_KIND)], "");
  assert.ok(output, `${PYTHON}: Faker is not there`);
  generated = output.trim().split("\n").map((line) => ({ kind: null, ...JSON.parse(line) }));
});

test("the sets have their least number of lines of each kind and of harmless lines", () => {
  const harmless = written.filter((line) => line.spans.length === 0);
  assert.ok(new Set(harmless.map((line) => line.text)).size >= 600, `${harmless.length} harmless lines`);
  for (const kind of KINDS) {
    const lines = new Set(written.filter((line) => line.kind === kind).map((line) => line.text));
    assert.ok(lines.size >= 30, `${lines.size} written lines of ${kind}`);
    assert.ok(generated.filter((line) => line.spans[0]?.kind === kind).length >= A_KIND, kind);
  }
});

test("in the written lines every span is found, and each kind keeps its bar on precision", () => {
  const figures = compare(written, ours(written), true);
  show("written", figures);
  for (const kind of KINDS) {
    const { recall, precision } = at(figures, kind);
    assert.equal(recall, 1, kind);
    assert.ok(precision >= (kind === "address" ? 0.95 : 0.99), `${kind}: precision ${precision}`);
  }
});

test("in the generated lines each kind keeps its bars on recall and precision", () => {
  const figures = compare(generated, ours(generated), true);
  show("generated", figures);
  for (const kind of KINDS) {
    const [recallMin, precisionMin] = kind === "address" ? [0.8, 0.95] : [0.99, 0.99];
    const { low, precision } = at(figures, kind);
    assert.ok(low >= recallMin, `${kind}: recall's lower bound ${low}`);
    assert.ok(precision >= precisionMin, `${kind}: precision ${precision}`);
  }
});

test("recall and precision of no kind are below presidio's pattern recognisers", (context) => {
  for (const [name, lines] of /** @type {const} */ ([["written", written], ["generated", generated]])) {
    const answers = python(["tests/masking/presidio.py"], quoted(lines));
    if (answers === null) {
      console.log("skipped: presidio");
      return context.skip("presidio is not installed");
    }
    const peer = compare(lines, answers.trim().split("\n").map((line) => JSON.parse(line)), false);
    show(`presidio, ${name}`, peer);
    const figures = compare(lines, ours(lines), true);
    for (const [kind, theirs] of peer) {
      const { recall, precision } = at(figures, kind);
      assert.ok(recall >= theirs.recall, `${name} ${kind}: recall ${recall} against ${theirs.recall}`);
      assert.ok(precision >= theirs.precision, `${name} ${kind}: precision ${precision} against ${theirs.precision}`);
    }
  }
});

test("a masked line has a placeholder for each match, and masking it again changes nothing", () => {
  const lines = [...written, ...generated];
  const once = run(quoted(lines));
  const twice = run(quoted(once.map(({ masked }) => ({ text: masked }))));
  for (const [index, { masked, found }] of once.entries()) {
    assert.equal(twice[index]?.masked, masked);
    const bytes = Buffer.from(lines[index]?.text ?? "");
    let from = 0;
    let expected = "";
    for (const { kind, start, end } of found) {
      expected += `${bytes.subarray(from, start)}[${kind.toUpperCase()}]`;
      from = end;
    }
    assert.equal(masked, expected + bytes.subarray(from));
  }
});

/** Reads a file of marked lines: `⟦…⟧` is a span of the kind in the heading above, `\n` a line break, `\u00a0`
 * a character. `¬` is removed; it keeps scanners for leaked keys from reporting the file. @param {string} path */
function marked(path) {
  /** @type {Line[]} */
  const lines = [];
  /** @type {string | null} */
  let kind = null;
  for (const line of readFileSync(path, "utf8").split("\n")) {
    if (line.startsWith("# ")) kind = line.slice(2);
    if (line === "" || line.startsWith("# ")) continue;
    const plain = line.replaceAll("¬", "").replaceAll("\\n", "\n").replace(/\\u([0-9a-f]{4})/g, (_, code) => String.fromCharCode(parseInt(code, 16)));
    let text = "";
    const spans = [];
    for (const [index, part] of plain.split(/[⟦⟧]/).entries()) {
      const start = Buffer.byteLength(text);
      text += part;
      if (index % 2 === 1) spans.push({ kind: String(kind), start, end: Buffer.byteLength(text) });
    }
    lines.push({ text, spans, kind });
  }
  return lines;
}

/** @param {{text: string}[]} lines */
function quoted(lines) {
  return lines.map((line) => `${JSON.stringify(line.text)}\n`).join("");
}

/** @param {string} input @returns {{masked: string, found: Span[]}[]} */
function run(input) {
  const output = execFileSync(BINARY, ["mask", "--json", "--json-strings", "-"], { input, maxBuffer: 1 << 28, encoding: "utf8" });
  return output.trim().split("\n").map((line) => JSON.parse(line));
}

/** @param {Line[]} lines */
function ours(lines) {
  return run(quoted(lines)).map((answer) => answer.found);
}

/** Returns the output of a script; null if Python or one of its packages is not installed. @param {string[]} args @param {string} input */
function python(args, input) {
  if (!existsSync(PYTHON)) return null;
  const { status, stdout, stderr } = spawnSync(PYTHON, args, { input, maxBuffer: 1 << 28, encoding: "utf8" });
  if (status === 3) return null;
  assert.equal(status, 0, stderr);
  return stdout;
}

/** Returns the figures of each kind with a match; `whole` requires that matches cover a span. @param {Line[]} lines @param {Span[][]} answers @param {boolean} whole */
function compare(lines, answers, whole) {
  assert.equal(answers.length, lines.length);
  /** @type {Map<string, {held: number, hits: number, found: number, right: number}>} */
  const counts = new Map();
  const count = (/** @type {string} */ kind) => {
    const known = counts.get(kind) ?? { held: 0, hits: 0, found: 0, right: 0 };
    counts.set(kind, known);
    return known;
  };
  for (const [index, { spans }] of lines.entries()) {
    const found = answers[index] ?? [];
    for (const span of spans) {
      const own = found.some((match) => match.kind === span.kind && shared(match, span) > 0);
      const share = covered(span, found) / (span.end - span.start);
      count(span.kind).held += 1;
      count(span.kind).hits += Number(own && (!whole || share >= (span.kind === "address" ? 0.5 : 1)));
    }
    for (const match of found) {
      const right = spans.some((span) => span.kind === match.kind && 2 * shared(match, span) >= Math.max(match.end, span.end) - Math.min(match.start, span.start));
      count(match.kind).found += 1;
      count(match.kind).right += Number(right);
    }
  }
  /** @type {Map<string, Figures>} */
  const figures = new Map();
  for (const [kind, { held, hits, found, right }] of [...counts].sort()) {
    if (found > 0) figures.set(kind, { recall: hits / held, low: wilson(hits, held), precision: right / found, held, found });
  }
  return figures;
}

/** @param {Span} a @param {Span} b */
function shared(a, b) {
  return Math.max(0, Math.min(a.end, b.end) - Math.max(a.start, b.start));
}

/** Returns the number of bytes of a span that matches cover; the matches must not overlap. @param {Span} span @param {Span[]} found */
function covered(span, found) {
  return found.reduce((sum, match) => sum + shared(match, span), 0);
}

/** Returns the lower end of the two-sided 95 % interval of a proportion (Wilson 1927). @param {number} hits @param {number} of */
function wilson(hits, of) {
  const z = 1.959964;
  const share = hits / of;
  const middle = share + z ** 2 / (2 * of);
  return (middle - z * Math.sqrt((share * (1 - share)) / of + z ** 2 / (4 * of ** 2))) / (1 + z ** 2 / of);
}

/** @param {Map<string, Figures>} figures @param {string} kind */
function at(figures, kind) {
  const found = figures.get(kind);
  assert.ok(found, `${kind}: never found`);
  return found;
}

/** @param {string} name @param {Map<string, Figures>} figures */
function show(name, figures) {
  console.log(`# ${name}`);
  for (const [kind, { recall, low, precision, held, found }] of figures) {
    const cells = [kind.padEnd(8), `recall ${recall.toFixed(4)} of ${held}, at least ${low.toFixed(4)}`, `precision ${precision.toFixed(4)} of ${found}`];
    console.log(`  ${cells.join("  ")}`);
  }
}
