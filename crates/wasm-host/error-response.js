/**
 * An error that a script answers without wasm, in the form of the Workers' own errors.
 *
 * @param {number} status @param {string} code @param {string} message @param {Record<string, string>} [headers]
 */
export function errorResponse(status, code, message, headers = {}) {
  return Response.json({ error: { code, message } }, { status, headers: { "cache-control": "no-store", ...headers } });
}
