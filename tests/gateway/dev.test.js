// `make dev` as a user runs it: all servers start, the printed commands work, and Ctrl-C ends all processes.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { TEST_TIMEOUT_MS, waitFor } from "../support/gateway.js";
import { freePorts } from "../support/ports.js";
import { ROOT, runExclusively } from "../support/wrangler.js";

/** @param {string[]} args */
function startDev(args) {
  const child = spawn(process.execPath, ["scripts/dev.js", ...args], { cwd: ROOT, stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => (output += chunk));
  return { child, output: () => output, exited: once(child, "exit") };
}

/** Starts it and waits until all servers answer. @param {string[]} args */
function startDevAndWait(args) {
  return runExclusively(async () => {
    const devServers = startDev(args);
    try {
      await waitFor(() => devServers.output().includes("Ctrl-C ends all of them"), devServers.output);
    } catch (error) {
      if (devServers.child.kill("SIGTERM")) await devServers.exited;
      throw error;
    }
    return devServers;
  });
}

test("make dev with the public API starts all three servers, names a port in use, and Ctrl-C ends all of them", { timeout: TEST_TIMEOUT_MS }, async () => {
  const state = await mkdtemp(join(tmpdir(), "jeffrey-dev-"));
  const [gateway, publicApi, legacy, unusedPort] = await freePorts(4);
  const args = ["--public-api", "--gateway-port", `${gateway}`, "--public-port", `${publicApi}`, "--legacy-port", `${legacy}`, "--share", "100%", "--state", state];
  const devServers = await startDevAndWait(args);
  try {
    const body = JSON.stringify({ text: "Je suis furieux !", user_id: "bob" });
    const init = { method: "POST", headers: { "content-type": "application/json" }, body };
    const direct = await (await fetch(`http://localhost:${legacy}/predict`, init)).json();
    assert.equal(direct.encoder, "multilingual-e5-large");
    // The model worker starts with its first call, so the first responses may be fallbacks.
    const canary = await waitFor(async () => {
      const response = await fetch(`http://localhost:${gateway}/predict`, init);
      assert.equal(response.status, 200);
      const { encoder } = await response.json();
      return encoder === "e1-small" && response;
    });
    assert.equal(canary.headers.get("x-jeffrey-cohort"), "canary");
    const { model_id, max_batch_tokens } = await (await fetch(`http://localhost:${publicApi}/info`)).json();
    assert.deepEqual([model_id, max_batch_tokens], ["e1-small", 512]);

    // Runs the printed commands with the secrets of `.dev.vars`.
    const secrets = Object.fromEntries((await readFile(join(ROOT, ".dev.vars"), "utf8")).split("\n").filter((line) => /^\w/.test(line)).map((line) => line.split("=")));
    assert.deepEqual(new Set(Object.values(secrets)).size, 4, "each secret is a different random value");
    for (const secret of Object.values(secrets)) assert.ok(/^[\w-]{32}$/.test(secret) && !devServers.output().includes(secret));
    const [, viewerTemplate] = /rollout -H "authorization: (Bearer \$\w+)"/.exec(devServers.output()) ?? [];
    const [, adminTemplate, change] = /share -H "authorization: (Bearer \$\w+)" -d '(.+?)'/.exec(devServers.output()) ?? [];
    const [viewer, admin] = [viewerTemplate, adminTemplate].map((text) => text.replace(/\$(\w+)/, (_, name) => secrets[name]));
    const adminUrl = `http://localhost:${gateway}/_jeffrey/v1`;
    assert.equal((await (await fetch(`${adminUrl}/rollout`, { headers: { authorization: viewer } })).json()).share_basis_points, 10_000);
    const changed = await fetch(`${adminUrl}/admin/share`, { method: "PUT", headers: { authorization: admin }, body: change });
    assert.deepEqual([changed.status, (await changed.json()).share_basis_points], [200, 5_000]);
    const settings = { method: "PUT", body: '{"latency_ms":250,"error_rate":0.05}' };
    assert.equal((await fetch(`http://localhost:${legacy}/_mock-legacy/settings`, settings)).status, 200);

    const second = startDev(["--gateway-port", `${gateway}`, "--legacy-port", `${unusedPort}`, "--state", state]);
    assert.deepEqual(await second.exited, [2, null]);
    assert.equal(second.output(), `port ${gateway} for gateway is taken: choose another with --gateway-port\n`);

    devServers.child.kill("SIGINT");
    assert.deepEqual(await devServers.exited, [0, null]);
    for (const port of [gateway, publicApi, legacy]) await assert.rejects(fetch(`http://127.0.0.1:${port}/health`), `port ${port} still responds`);
  } finally {
    if (devServers.child.kill("SIGTERM")) await devServers.exited;
    await rm(state, { recursive: true, force: true });
  }
});

test("make dev without the public API starts the gateway and the legacy system, and takes no third port", { timeout: TEST_TIMEOUT_MS }, async () => {
  const state = await mkdtemp(join(tmpdir(), "jeffrey-dev-"));
  const [gateway, publicApi, legacy] = await freePorts(3);
  const { child, exited, output } = await startDevAndWait(["--gateway-port", `${gateway}`, "--public-port", `${publicApi}`, "--legacy-port", `${legacy}`, "--state", state]);
  try {
    assert.match(output(), /^ {2}public API {11}off; PUBLIC_API=on starts it$/m);
    await assert.rejects(fetch(`http://127.0.0.1:${publicApi}/health`));
    // The gateway has its model worker all the same.
    assert.equal((await fetch(`http://localhost:${gateway}/_jeffrey/playground/models/index.json`)).status, 200);
  } finally {
    if (child.kill("SIGTERM")) await exited;
    await rm(state, { recursive: true, force: true });
  }
});

test("make dev names an unknown flag and a flag with an invalid value", async () => {
  for (const [args, expected] of /** @type {[string[], RegExp][]} */ ([
    [["--gateway-port", "70000"], /^--gateway-port of 70000 is not a port from 1 to 65535$/m],
    [["--legacy-port", "x"], /^--legacy-port of x is not a port/m],
    [["--public-api", "--public-port", "0"], /^--public-port of 0 is not a port/m],
    [["--prot", "1"], /--prot/],
  ])) {
    const { exited, output } = startDev(args);
    assert.deepEqual(await exited, [2, null]);
    assert.match(output(), expected);
  }
});
