// The bar on quality: `jeffrey eval` over the development rows, which no training step reads.
// Usage: node tests/quality.js DATA_FOLDER

import { execFileSync } from "node:child_process";
import { join } from "node:path";

/** Macro-F1, English, balanced at 50 a class, mean of 200 draws: what a release must reach. */
const BALANCED_MACRO_F1_MIN = 0.5;

const file = join(process.argv[2], "goemotions_dev.jsonl.gz");
const args = ["eval", file, "--json", "--balanced", "50", "--draws", "200", "--bootstrap", "200"];
const report = JSON.parse(execFileSync("target/debug/jeffrey", args, { encoding: "utf8", maxBuffer: 1 << 26 }));
const { macro_f1: found, interval } = report.balanced;
console.log(`balanced macro-F1 ${found.toFixed(3)} [${interval.low.toFixed(3)}, ${interval.high.toFixed(3)}], least ${BALANCED_MACRO_F1_MIN}`);
process.exit(found >= BALANCED_MACRO_F1_MIN ? 0 : 1);
