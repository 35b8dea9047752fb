// Tests that the OpenAPI documents of both Workers keep the OpenAPI 3.1 meta-schema, which schemathesis contains.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { test } from "node:test";

const PYTHON = process.env.PYTHON ?? "tests/.venv/bin/python";
const DOCUMENTS = ["crates/http-api/src/openapi.json", "docs/gateway-openapi.json"];
const VALIDATE = "import json, sys, schemathesis; schemathesis.openapi.from_dict(json.load(sys.stdin)).validate()";

const isMissing = !existsSync(PYTHON) && process.env.CI !== "true";
if (isMissing) console.log("skipped: the meta-schema of OpenAPI");
const options = { skip: isMissing && `${PYTHON} is missing: run make test` };

/** Returns what the validator prints about a document; empty if it is valid. @param {string} text */
function findFaults(text) {
  const { status, stderr } = spawnSync(PYTHON, ["-c", VALIDATE], { input: text, encoding: "utf8" });
  return status === 0 ? "" : stderr;
}

for (const path of DOCUMENTS) {
  test(`${path} keeps the meta-schema of OpenAPI 3.1`, options, () => {
    const text = readFileSync(path, "utf8");
    assert.equal(JSON.parse(text).openapi, "3.1.0");
    assert.equal(findFaults(text), "");
  });
}

test("a document that breaks the meta-schema is refused", options, () => {
  const document = JSON.parse(readFileSync(DOCUMENTS[0], "utf8"));
  document.paths["/info"].get.parameters = "none";
  assert.match(findFaults(JSON.stringify(document)), /parameters/);
});
