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
import { PATIENCE_MS, post, startModelWorker } from "../support/model-worker.js";

const python = fileURLToPath(new URL("../.venv/bin/python", import.meta.url));
const schemathesis = fileURLToPath(new URL("../.venv/bin/schemathesis", import.meta.url));
const TEXT = "Je suis furieux, c’est inadmissible !";

/** Returns the reason to skip a test whose program is missing, or false; under CI=true such a test fails. @param {string} name @param {string} program */
function needs(name, program) {
  if (existsSync(program) || process.env.CI === "true") return false;
  console.log(`skipped: ${name}`);
  return `${program} is missing: run make test`;
}

/** @param {string} program @param {string[]} args @param {Record<string, string>} [env] @param {string} [cwd] */
function run(program, args, env = {}, cwd = ".") {
  return new Promise((resolve, reject) => {
    const { HF_HUB_OFFLINE, ...rest } = process.env;
    const child = spawn(program, args, {
      cwd,
      env: { ...rest, ...env },
      stdio: ["ignore", "pipe", "pipe"],
      timeout: PATIENCE_MS,
    });
    let output = "";
    let printed = "";
    child.stdout.on("data", (chunk) => (output += chunk));
    child.stderr.on("data", (chunk) => (printed += chunk));
    child.on("error", reject);
    child.on("close", (code) => resolve({ code, output, printed }));
  });
}

describe("a published client", { timeout: 3 * PATIENCE_MS }, () => {
  /** @type {Awaited<ReturnType<typeof startModelWorker>>} */
  let worker;
  /** The answer of `/v1/classify` to the same text. @type {any} */
  let own;
  before(async () => {
    worker = await startModelWorker();
    own = (await post(`${worker.origin}/v1/classify`, { text: TEXT })).json;
  });
  after(() => worker?.stop());

  /** @param {{label: string, score: number}[]} list @param {number} count */
  function same(list, count = 8) {
    assert.equal(list.length, count);
    for (const { label, score } of list) assert.equal(score, own.scores[label], label);
    assert.equal(list[0].label, own.primary);
  }

  test("@huggingface/inference reads our answer", async () => {
    for (const path of ["", `/models/${own.model}`]) {
      const client = new InferenceClient().endpoint(worker.origin + path);
      same(await client.textClassification({ inputs: TEXT }));
      const two = { inputs: TEXT, parameters: { top_k: 2, function_to_apply: /** @type {const} */ ("softmax") } };
      same(await client.textClassification(two), 2);
    }
  });

  test("@huggingface/inference reports our errors", async () => {
    const client = new InferenceClient().endpoint(`${worker.origin}/models/another`);
    await assert.rejects(client.textClassification({ inputs: TEXT }), /no such model here/);
  });

  test("huggingface_hub reads our answer", { skip: needs("huggingface_hub", python) }, async () => {
    const script = `
import json, sys
from huggingface_hub import InferenceClient
client = InferenceClient(model=sys.argv[1])
lists = [client.text_classification(sys.argv[2]), client.text_classification(sys.argv[2], top_k=2)]
print(json.dumps([[{"label": one.label, "score": one.score} for one in some] for some in lists]))
`;
    const env = { HF_HUB_DISABLE_TELEMETRY: "1" };
    const { code, output, printed } = await run(python, ["-c", script, worker.origin, TEXT], env);
    assert.equal(code, 0, printed);
    const [all, two] = JSON.parse(output);
    same(all);
    same(two, 2);
  });

  test("schemathesis finds no response that contradicts /openapi.json", { skip: needs("schemathesis", schemathesis) }, async () => {
    // schemathesis stores its failures below its working directory.
    const folder = await mkdtemp(join(tmpdir(), "jeffrey-schemathesis-"));
    const { code, output, printed } = await run(
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
