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
/** @typedef {{recall: number, recallLow: number, precision: number, spans: number, matches: number}} KindMetrics */

const BINARY = process.env.JEFFREY ?? "target/debug/jeffrey";
const PYTHON = process.env.PYTHON ?? "tests/.venv/bin/python";
const WRITTEN_FILE = "tests/data/masking/written.txt";
const HARMLESS_FILE = "tests/data/masking/harmless.txt";
const KINDS = "account address birthdate card crypto email gps handle iban id ip ipv6 mac name nino nir phone plate postcode secret siren siret ssn url vat".split(" ");
const LINES_PER_KIND = 2_000;

/** @type {Line[]} */
let written = [];
/** @type {Line[]} */
let generated = [];

before(() => {
  written = [...readMarkedLines(WRITTEN_FILE), ...readMarkedLines(HARMLESS_FILE)];
  const output = runPython(["tests/masking/generate.py", String(LINES_PER_KIND)], "");
  assert.ok(output, `${PYTHON}: Faker is not installed`);
  generated = output.trim().split("\n").map((line) => ({ kind: null, ...JSON.parse(line) }));
});

test("the sets have the minimum number of lines of each kind and of harmless lines", () => {
  const harmless = written.filter((line) => line.spans.length === 0);
  assert.ok(new Set(harmless.map((line) => line.text)).size >= 600, `${harmless.length} harmless lines`);
  for (const kind of KINDS) {
    const lines = new Set(written.filter((line) => line.kind === kind).map((line) => line.text));
    assert.ok(lines.size >= 30, `${lines.size} written lines of ${kind}`);
    assert.ok(generated.filter((line) => line.spans[0]?.kind === kind).length >= LINES_PER_KIND, kind);
  }
});

test("in the written lines every span is found, and each kind reaches its minimum precision", () => {
  const metrics = measure(written, detectSpans(written), true);
  printMetrics("written", metrics);
  for (const kind of KINDS) {
    const { recall, precision } = metricsOf(metrics, kind);
    assert.equal(recall, 1, kind);
    assert.ok(precision >= (kind === "address" ? 0.95 : 0.99), `${kind}: precision ${precision}`);
  }
});

test("in the generated lines each kind reaches its minimum recall and precision", () => {
  const metrics = measure(generated, detectSpans(generated), true);
  printMetrics("generated", metrics);
  for (const kind of KINDS) {
    const [recallMin, precisionMin] = kind === "address" ? [0.8, 0.95] : [0.99, 0.99];
    const { recallLow, precision } = metricsOf(metrics, kind);
    assert.ok(recallLow >= recallMin, `${kind}: recall's lower bound ${recallLow}`);
    assert.ok(precision >= precisionMin, `${kind}: precision ${precision}`);
  }
});

test("recall and precision of no kind are below presidio's pattern recognisers", (context) => {
  for (const [setName, lines] of /** @type {const} */ ([["written", written], ["generated", generated]])) {
    const output = runPython(["tests/masking/presidio.py"], toJsonLines(lines));
    if (output === null) {
      console.log("skipped: presidio");
      return context.skip("presidio is not installed");
    }
    const presidio = measure(lines, output.trim().split("\n").map((line) => JSON.parse(line)), false);
    printMetrics(`presidio, ${setName}`, presidio);
    const metrics = measure(lines, detectSpans(lines), true);
    for (const [kind, baseline] of presidio) {
      const { recall, precision } = metricsOf(metrics, kind);
      assert.ok(recall >= baseline.recall, `${setName} ${kind}: recall ${recall} against ${baseline.recall}`);
      assert.ok(precision >= baseline.precision, `${setName} ${kind}: precision ${precision} against ${baseline.precision}`);
    }
  }
});

test("a masked line has a placeholder for each match, and masking it again changes nothing", () => {
  const lines = [...written, ...generated];
  const once = runMask(toJsonLines(lines));
  const twice = runMask(toJsonLines(once.map(({ masked }) => ({ text: masked }))));
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
function readMarkedLines(path) {
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
function toJsonLines(lines) {
  return lines.map((line) => `${JSON.stringify(line.text)}\n`).join("");
}

/** @param {string} input @returns {{masked: string, found: Span[]}[]} */
function runMask(input) {
  const output = execFileSync(BINARY, ["mask", "--json", "--lines-are-json-strings", "-"], { input, maxBuffer: 1 << 28, encoding: "utf8" });
  return output.trim().split("\n").map((line) => JSON.parse(line));
}

/** @param {Line[]} lines */
function detectSpans(lines) {
  return runMask(toJsonLines(lines)).map((line) => line.found);
}

/** Returns the output of a script; null if Python or one of its packages is not installed. @param {string[]} args @param {string} input */
function runPython(args, input) {
  if (!existsSync(PYTHON)) return null;
  const { status, stdout, stderr } = spawnSync(PYTHON, args, { input, maxBuffer: 1 << 28, encoding: "utf8" });
  if (status === 3) return null;
  assert.equal(status, 0, stderr);
  return stdout;
}

/** Returns metrics per matched kind; `wholeSpans`: matches must cover a span. @param {Line[]} lines @param {Span[][]} detected @param {boolean} wholeSpans */
function measure(lines, detected, wholeSpans) {
  assert.equal(detected.length, lines.length);
  /** @type {Map<string, {spans: number, recalled: number, matches: number, right: number}>} */
  const countsByKind = new Map();
  const countsOf = (/** @type {string} */ kind) => {
    const counts = countsByKind.get(kind) ?? { spans: 0, recalled: 0, matches: 0, right: 0 };
    countsByKind.set(kind, counts);
    return counts;
  };
  for (const [index, { spans }] of lines.entries()) {
    const matches = detected[index] ?? [];
    for (const span of spans) {
      const overlaps = matches.some((match) => match.kind === span.kind && overlap(match, span) > 0);
      const coverage = coveredBytes(span, matches) / (span.end - span.start);
      countsOf(span.kind).spans += 1;
      countsOf(span.kind).recalled += Number(overlaps && (!wholeSpans || coverage >= (span.kind === "address" ? 0.5 : 1)));
    }
    for (const match of matches) {
      const right = spans.some((span) => span.kind === match.kind && 2 * overlap(match, span) >= Math.max(match.end, span.end) - Math.min(match.start, span.start));
      countsOf(match.kind).matches += 1;
      countsOf(match.kind).right += Number(right);
    }
  }
  /** @type {Map<string, KindMetrics>} */
  const metrics = new Map();
  for (const [kind, { spans, recalled, matches, right }] of [...countsByKind].sort()) {
    if (matches > 0) metrics.set(kind, { recall: recalled / spans, recallLow: wilsonLower(recalled, spans), precision: right / matches, spans, matches });
  }
  return metrics;
}

/** @param {Span} a @param {Span} b */
function overlap(a, b) {
  return Math.max(0, Math.min(a.end, b.end) - Math.max(a.start, b.start));
}

/** Returns the number of bytes of a span that matches cover; the matches must not overlap. @param {Span} span @param {Span[]} matches */
function coveredBytes(span, matches) {
  return matches.reduce((sum, match) => sum + overlap(match, span), 0);
}

/** Returns the lower end of the two-sided 95 % interval of a proportion (Wilson 1927). @param {number} successes @param {number} trials */
function wilsonLower(successes, trials) {
  const z = 1.959964;
  const proportion = successes / trials;
  const middle = proportion + z ** 2 / (2 * trials);
  return (middle - z * Math.sqrt((proportion * (1 - proportion)) / trials + z ** 2 / (4 * trials ** 2))) / (1 + z ** 2 / trials);
}

/** @param {Map<string, KindMetrics>} metrics @param {string} kind */
function metricsOf(metrics, kind) {
  const kindMetrics = metrics.get(kind);
  assert.ok(kindMetrics, `${kind}: no match`);
  return kindMetrics;
}

/** @param {string} setName @param {Map<string, KindMetrics>} metrics */
function printMetrics(setName, metrics) {
  console.log(`# ${setName}`);
  for (const [kind, { recall, recallLow, precision, spans, matches }] of metrics) {
    const cells = [kind.padEnd(8), `recall ${recall.toFixed(4)} of ${spans}, at least ${recallLow.toFixed(4)}`, `precision ${precision.toFixed(4)} of ${matches}`];
    console.log(`  ${cells.join("  ")}`);
  }
}
