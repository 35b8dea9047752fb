// Calls of a gateway under test, their ids and events, and the binary's results to compare them with.

import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { SECRETS, until } from "./gateway.js";
import { ROOT } from "./wrangler.js";

/** @typedef {import("./gateway.js").Gate} Gate */
/** @typedef {Awaited<ReturnType<Gate["classify"]>>} Answer */

/** Path of the binary that `cargo test` builds. */
export const JEFFREY = join(ROOT, "target/debug/jeffrey");

export const TEXT = "It is Monday, and the parcel is here.";

/** The bytes of `x-jeffrey-id`: 16 of the id and 16 of its tag. Throws if the header is missing or malformed. @param {{ headers: Headers }} answer */
export function idBytes({ headers }) {
  const id = headers.get("x-jeffrey-id");
  if (id === null || !/^[\w-]{43}$/.test(id)) throw new Error(`x-jeffrey-id: ${id}`);
  return Buffer.from(id, "base64url");
}

/** Waits for the printed event of a response. @param {Gate} gate @param {{ headers: Headers }} answer */
export async function eventOf(gate, answer) {
  const hex = idBytes(answer).subarray(0, 16).toString("hex");
  const id = hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
  return until(() => gate.events().find((event) => event.id === id), () => `no event ${id}`);
}

/** Sends one classify request and waits for its event. @param {Gate} gate @param {unknown} body @param {Record<string, string>} [headers] */
export async function call(gate, body, headers = {}) {
  const answer = await gate.classify(body, headers);
  return { ...answer, event: await eventOf(gate, answer) };
}

/** Runs `ask` for each item, ten at a time; results in the order of the items. @template T, R @param {T[]} items @param {(item: T) => Promise<R>} ask */
export async function each(items, ask) {
  /** @type {R[]} */
  const results = [];
  for (let at = 0; at < items.length; at += 10) results.push(...(await Promise.all(items.slice(at, at + 10).map(ask))));
  return results;
}

/** The cohorts that `jeffrey bucket` computes for these ids. @param {string[]} ids @param {string} share @param {{ release?: string, holdout?: string }} [options] */
export function buckets(ids, share, { release = "e1-small", holdout = "0%" } = {}) {
  const output = jeffrey(["bucket", "--release", release, "--share", share, "--holdout", holdout, "--json", "-"], `${ids.join("\n")}\n`);
  return output.trim().split("\n").map((line) => /** @type {string} */ (JSON.parse(line).cohort));
}

/** An override token made by `jeffrey token`. @param {{ release?: string, key?: string, valid?: string, reopens?: boolean }} [options] */
export function token({ release = "e1-small", key = SECRETS.JEFFREY_OVERRIDE_KEY, valid = "1h", reopens = false } = {}) {
  const args = ["token", "--release", release, "--expires-in", valid, "--json", ...(reopens ? ["--allow-rolled-back"] : [])];
  /** @type {{ token: string, expires_ms: number }} */
  const made = JSON.parse(jeffrey(args, "", { JEFFREY_OVERRIDE_KEY: key }));
  return made;
}

/** @param {string[]} args @param {string} input @param {Record<string, string>} [env] */
function jeffrey(args, input, env = {}) {
  return execFileSync(JEFFREY, args, { input, encoding: "utf8", env: { ...process.env, ...env } });
}
