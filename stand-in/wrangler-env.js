// The environment that every `wrangler dev` here runs in.

/**
 * Without wrangler's inspector. With it, wrangler 4.86 has the runtime report each 4 KiB of each answer, and now and then
 * an answer never comes: one load of the playground in thirteen. No flag turns it off; this variable is VS Code's, and
 * where it is set, wrangler leaves debugging to that.
 */
export const WRANGLER_ENV = { VSCODE_INSPECTOR_OPTIONS: "{}", ...process.env };
