// Tests the model worker with published clients of the APIs that it implements.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { after, before, describe, test } from "node:test";
import { InferenceClient } from "@huggingface/inference";
import { TEST_TIMEOUT_MS, postJson, startModelWorker } from "../support/model-worker.js";

const python = fileURLToPath(new URL("../.venv/bin/python", import.meta.url));
const schemathesis = fileURLToPath(new URL("../.venv/bin/schemathesis", import.meta.url));
const TEXT = "Je suis furieux, c’est inadmissible !";

/** Returns the reason to skip a test whose program is missing, or false; under CI=true such a test fails. @param {string} name @param {string} program */
function skipReason(name, program) {
  if (existsSync(program) || process.env.CI === "true") return false;
  console.log(`skipped: ${name}`);
  return `${program} is missing: run make test`;
}

/** @param {string} program @param {string[]} args @param {Record<string, string>} [env] @param {string} [cwd] */
function runProgram(program, args, env = {}, cwd = ".") {
  return new Promise((resolve, reject) => {
    const { HF_HUB_OFFLINE, ...inherited } = process.env;
    const child = spawn(program, args, {
      cwd,
      env: { ...inherited, ...env },
      stdio: ["ignore", "pipe", "pipe"],
      timeout: TEST_TIMEOUT_MS,
    });
    let output = "";
    let printed = "";
    child.stdout.on("data", (chunk) => (output += chunk));
    child.stderr.on("data", (chunk) => (printed += chunk));
    child.on("error", reject);
    child.on("close", (code) => resolve({ code, output, printed }));
  });
}

describe("a published client", { timeout: 3 * TEST_TIMEOUT_MS }, () => {
  /** @type {Awaited<ReturnType<typeof startModelWorker>>} */
  let worker;
  /** The response of `/v1/classify` to the same text. @type {any} */
  let expected;
  before(async () => {
    worker = await startModelWorker();
    expected = (await postJson(`${worker.origin}/v1/classify`, { text: TEXT })).json;
  });
  after(() => worker?.stop());

  /** @param {{label: string, score: number}[]} predictions @param {number} count */
  function assertScores(predictions, count = 8) {
    assert.equal(predictions.length, count);
    for (const { label, score } of predictions) assert.equal(score, expected.scores[label], label);
    assert.equal(predictions[0].label, expected.primary);
  }

  test("@huggingface/inference reads the worker's predictions", async () => {
    for (const path of ["", `/models/${expected.model}`]) {
      const client = new InferenceClient().endpoint(worker.origin + path);
      assertScores(await client.textClassification({ inputs: TEXT }));
      const topTwoRequest = { inputs: TEXT, parameters: { top_k: 2, function_to_apply: /** @type {const} */ ("softmax") } };
      assertScores(await client.textClassification(topTwoRequest), 2);
    }
  });

  test("@huggingface/inference reports the worker's errors", async () => {
    const client = new InferenceClient().endpoint(`${worker.origin}/models/another`);
    await assert.rejects(client.textClassification({ inputs: TEXT }), /no such model here/);
  });

  test("huggingface_hub reads the worker's predictions", { skip: skipReason("huggingface_hub", python) }, async () => {
    const script = `
import json, sys
from huggingface_hub import InferenceClient
client = InferenceClient(model=sys.argv[1])
lists = [client.text_classification(sys.argv[2]), client.text_classification(sys.argv[2], top_k=2)]
print(json.dumps([[{"label": item.label, "score": item.score} for item in items] for items in lists]))
`;
    const env = { HF_HUB_DISABLE_TELEMETRY: "1" };
    const { code, output, printed } = await runProgram(python, ["-c", script, worker.origin, TEXT], env);
    assert.equal(code, 0, printed);
    const [all, topTwo] = JSON.parse(output);
    assertScores(all);
    assertScores(topTwo, 2);
  });

  test("schemathesis finds no response that contradicts /openapi.json", { skip: skipReason("schemathesis", schemathesis) }, async () => {
    // schemathesis stores its failures below its working directory.
    const folder = await mkdtemp(join(tmpdir(), "jeffrey-schemathesis-"));
    const { code, output, printed } = await runProgram(
      schemathesis,
      [
        ...["--config-file", fileURLToPath(new URL("schemathesis.toml", import.meta.url))],
        ...["run", `${worker.origin}/openapi.json`, "--checks", "all", "--max-examples", "60"],
        ...["--generation-deterministic", "--workers", "1", "--no-color"],
      ],
      {},
      folder,
    );
    await rm(folder, { recursive: true });
    assert.equal(code, 0, `${output}\n${printed}`);
  });
});
