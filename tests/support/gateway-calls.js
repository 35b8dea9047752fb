// Requests to a gateway under test, their ids and events, and the binary's results to compare them with.

import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { SECRETS, waitFor } from "./gateway.js";
import { ROOT } from "./wrangler.js";

/** @typedef {import("./gateway.js").Gateway} Gateway */
/** @typedef {Awaited<ReturnType<Gateway["classify"]>>} ClassifyResponse */

/** Path of the binary that `cargo test` builds. */
export const JEFFREY = join(ROOT, "target/debug/jeffrey");

export const SAMPLE_TEXT = "It is Monday, and the parcel is here.";

/** The bytes of `x-jeffrey-id`: 16 of the id and 16 of its tag. Throws if the header is missing or malformed. @param {{ headers: Headers }} response */
export function signedIdBytes({ headers }) {
  const id = headers.get("x-jeffrey-id");
  if (id === null || !/^[\w-]{43}$/.test(id)) throw new Error(`x-jeffrey-id: ${id}`);
  return Buffer.from(id, "base64url");
}

/** Waits for the printed event of a response. @param {Gateway} gateway @param {{ headers: Headers }} response */
export async function waitForEvent(gateway, response) {
  const hex = signedIdBytes(response).subarray(0, 16).toString("hex");
  const id = hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
  return waitFor(() => gateway.events().find((event) => event.id === id), () => `no event ${id}`);
}

/** Sends one classify request and waits for its event. @param {Gateway} gateway @param {unknown} body @param {Record<string, string>} [headers] */
export async function classifyWithEvent(gateway, body, headers = {}) {
  const response = await gateway.classify(body, headers);
  return { ...response, event: await waitForEvent(gateway, response) };
}

/** Runs `mapItem` for each item, ten at a time; results in the order of the items. @template T, R @param {T[]} items @param {(item: T) => Promise<R>} mapItem */
export async function mapInBatches(items, mapItem) {
  /** @type {R[]} */
  const results = [];
  for (let start = 0; start < items.length; start += 10) results.push(...(await Promise.all(items.slice(start, start + 10).map(mapItem))));
  return results;
}

/** The cohorts that `jeffrey bucket` computes for these ids. @param {string[]} ids @param {string} share @param {{ release?: string, holdout?: string }} [options] */
export function expectedCohorts(ids, share, { release = "e1-small", holdout = "0%" } = {}) {
  const output = runJeffrey(["bucket", "--release", release, "--share", share, "--holdout", holdout, "--json", "-"], `${ids.join("\n")}\n`);
  return output.trim().split("\n").map((line) => /** @type {string} */ (JSON.parse(line).cohort));
}

/** An override token made by `jeffrey token`. @param {{ release?: string, key?: string, expiresIn?: string, allowRolledBack?: boolean }} [options] */
export function createToken({ release = "e1-small", key = SECRETS.JEFFREY_OVERRIDE_SIGNING_KEY, expiresIn = "1h", allowRolledBack = false } = {}) {
  const args = ["token", "--release", release, "--expires-in", expiresIn, "--json", ...(allowRolledBack ? ["--allow-rolled-back"] : [])];
  /** @type {{ token: string, expires_ms: number }} */
  const result = JSON.parse(runJeffrey(args, "", { JEFFREY_OVERRIDE_SIGNING_KEY: key }));
  return result;
}

/** @param {string[]} args @param {string} input @param {Record<string, string>} [env] */
function runJeffrey(args, input, env = {}) {
  return execFileSync(JEFFREY, args, { input, encoding: "utf8", env: { ...process.env, ...env } });
}
