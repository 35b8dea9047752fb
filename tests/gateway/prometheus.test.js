// The gateway's metrics, checked by `promtool` and scraped by a real Prometheus server.

import assert from "node:assert/strict";
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { TEST_TIMEOUT_MS, SECRETS, startGateway, waitFor } from "../support/gateway.js";
import { SAMPLE_TEXT, mapInBatches } from "../support/gateway-calls.js";
import { freePorts } from "../support/ports.js";

const missing = ["prometheus", "promtool"].filter((program) => spawnSync(program, ["--version"]).status !== 0);
if (missing.length) console.log(`skipped: ${missing.join(", ")}`);

test("promtool reports no problem, and Prometheus scrapes the right numbers", { timeout: TEST_TIMEOUT_MS, skip: missing.length > 0 && "prometheus is not installed" }, async () => {
  const gateway = await startGateway({ INITIAL_SHARE: "50%", SHADOW_SHARE: "100%" });
  const folder = await mkdtemp(join(tmpdir(), "jeffrey-prometheus-"));
  /** @type {import("node:child_process").ChildProcess | undefined} */
  let server;
  try {
    const REQUEST_COUNT = 20;
    const responses = await mapInBatches(Array.from({ length: REQUEST_COUNT }, (_, index) => index), (index) => gateway.classify({ text: SAMPLE_TEXT, user_id: `user-${index}` }));
    const id = responses[0].headers.get("x-jeffrey-id");
    const fetchMetrics = async () => (await gateway.fetchAdmin("/metrics", { token: SECRETS.JEFFREY_VIEWER_TOKEN })).text();
    const sumRequests = (/** @type {string} */ text) => [...text.matchAll(/^jeffrey_requests_total\{.*\} (\d+)$/gm)].reduce((total, [, n]) => total + Number(n), 0);
    await waitFor(async () => sumRequests(await fetchMetrics()) === REQUEST_COUNT);
    assert.equal((await gateway.fetchAdmin("/v1/feedback", { method: "POST", body: JSON.stringify({ id, ok: true }) })).status, 200);

    const linted = spawnSync("promtool", ["check", "metrics"], { input: await fetchMetrics(), encoding: "utf8" });
    assert.deepEqual([linted.status, linted.stdout + linted.stderr], [0, ""]);

    const config = join(folder, "prometheus.yml");
    const target = new URL(gateway.origin).host;
    await writeFile(config, `
scrape_configs:
  - job_name: gateway
    scrape_interval: 1s
    metrics_path: /_jeffrey/metrics
    authorization: { credentials: ${JSON.stringify(SECRETS.JEFFREY_VIEWER_TOKEN)} }
    static_configs: [{ targets: ["${target}"] }]
`);
    execFileSync("promtool", ["check", "config", config]);
    const address = `127.0.0.1:${await freePorts(1)}`;
    server = spawn("prometheus", [`--config.file=${config}`, `--storage.tsdb.path=${join(folder, "data")}`, `--web.listen-address=${address}`], { stdio: "ignore" });
    const queryPrometheus = async (/** @type {string} */ query) => {
      const response = await fetch(`http://${address}/api/v1/query?query=${encodeURIComponent(query)}`).catch(() => null);
      /** @type {any} */
      const json = response?.ok ? await response.json() : null;
      return json?.data.result[0]?.value[1];
    };
    assert.equal(await waitFor(() => queryPrometheus("sum(jeffrey_requests_total)")), String(REQUEST_COUNT));
    assert.equal(await queryPrometheus("up{job=\"gateway\"}"), "1");
    assert.equal(await queryPrometheus("jeffrey_share_ratio"), "0.5");
    assert.equal(await queryPrometheus("sum(jeffrey_feedback_total{good=\"true\"})"), "1");
    assert.equal(await queryPrometheus("sum(jeffrey_request_duration_seconds_count)"), String(REQUEST_COUNT));
    // The plan's limit of 0.2 s is a bound of the histogram, so the share of slow responses is exact.
    assert.ok(await queryPrometheus("sum(jeffrey_request_duration_seconds_bucket{le=\"0.2\"}) / sum(jeffrey_request_duration_seconds_count)"));
    assert.ok(Number(await queryPrometheus("histogram_quantile(0.95, sum by (le) (jeffrey_request_duration_seconds_bucket))")) > 0);
  } finally {
    if (server) {
      const exited = new Promise((resolve) => server?.once("exit", resolve));
      server.kill("SIGKILL");
      await exited;
    }
    await rm(folder, { recursive: true, force: true });
    await gateway.stop();
  }
});
