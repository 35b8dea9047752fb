// Finds the lines that were labelled by reading in a data folder, and checks that `jeffrey eval real` prints no text of
// them. Its figures are thrown away, and its runs are counted in a folder of their own, so that `make test` is no look
// at the sealed lines.
// Usage: node tests/real.js DATA_FOLDER

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";

const dataFolder = process.argv[2];
/** Lines of each part and language, as drawn by training/readings.py. */
const wanted = { real: { fr: 1200, en: 600 }, choices: { fr: 750, en: 300 }, plain: { fr: 150, en: 550 } };
const stateFolder = mkdtempSync(join(tmpdir(), "jeffrey-real-"));
/** A text of the French source that is long enough not to occur in a report by chance. */
const texts = gunzipSync(readFileSync(join(dataFolder, "xed_fr.jsonl.gz"))).toString().trim().split("\n")
  .map((line) => JSON.parse(line).text.trim()).filter((text) => text.length >= 20);

for (const [part, counts] of Object.entries(wanted)) {
  const args = ["eval", "real", "--data", dataFolder, "--part", part, "--json", "--bootstrap", "0"];
  const output = execFileSync("target/debug/jeffrey", args, { encoding: "utf8", env: { ...process.env, XDG_STATE_HOME: stateFolder } });
  const { languages } = JSON.parse(output);
  for (const [lang, count] of Object.entries(counts)) {
    const { found, undisputed } = languages[lang];
    assert.equal(found.wanted, count, `${part} ${lang}`);
    assert.ok(undisputed.lines > 0.9 * found.found, `${part} ${lang}: ${undisputed.lines} undisputed`);
    console.log(`${part} ${lang}: found ${found.found} of ${found.wanted}`);
  }
  assert.ok(!texts.some((text) => output.includes(text)), `${part}: the output has a text`);
  assert.ok(!/[0-9a-f]{64}/.test(output.replace(/"model":\{[^}]*\}/, "")), `${part}: the output has a key`);
}
rmSync(stateFolder, { recursive: true });
