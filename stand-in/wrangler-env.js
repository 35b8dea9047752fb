// The environment that every `wrangler dev` here runs in.

/** Wrangler's front sends again what a lost connection took. */
const FRONT = `--import=${new URL("wrangler-proxy.js", import.meta.url)}`;

/**
 * Without wrangler's inspector. With it, wrangler 4.86 has the runtime report each 4 KiB of each answer, and now and then
 * an answer never comes: one load of the playground in thirteen. No flag turns it off; this variable is VS Code's, and
 * where it is set, wrangler leaves debugging to that.
 */
export const WRANGLER_ENV = {
  VSCODE_INSPECTOR_OPTIONS: "{}",
  ...process.env,
  NODE_OPTIONS: [process.env.NODE_OPTIONS, FRONT].filter(Boolean).join(" "),
};
