// The environment variables of every `wrangler dev` in this repository.

/** Loads wrangler-proxy.js, which makes wrangler's proxy repeat a request that a lost connection took. */
const LOAD_PROXY_PATCH = `--import=${new URL("wrangler-proxy.js", import.meta.url)}`;

/**
 * Switches off wrangler's inspector. With the inspector of wrangler 4.86, the runtime reports each 4 KiB of each response,
 * and some responses never arrive: one load of the playground in thirteen. No flag switches it off. This variable is VS
 * Code's; if it is set, wrangler leaves debugging to VS Code.
 */
export const WRANGLER_ENV = {
  VSCODE_INSPECTOR_OPTIONS: "{}",
  ...process.env,
  NODE_OPTIONS: [process.env.NODE_OPTIONS, LOAD_PROXY_PATCH].filter(Boolean).join(" "),
};
