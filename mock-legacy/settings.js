// Settings of the mock legacy system and their limits, for the command line, `PUT /_mock-legacy/settings` and queries.

/** @typedef {{ latency_ms: number, error_rate: number, wrong_label_rate: number }} Settings */
/** @typedef {{ least: number, most: number, unit?: string, whole?: boolean }} Limit */

/** @type {Readonly<Settings>} */
export const DEFAULTS = { latency_ms: 40, error_rate: 0, wrong_label_rate: 0 };

export const PORT = { least: 0, most: 65_535, whole: true };
export const SEED = { least: 0, most: 2 ** 32 - 1, whole: true };
/** Limits of a delay that a request or a setting asks for. */
export const WAIT = { least: 0, most: 60_000, unit: "ms" };

/** @type {Record<keyof Settings, Limit>} */
export const LIMITS = {
  latency_ms: WAIT,
  error_rate: { least: 0, most: 1 },
  wrong_label_rate: { least: 0, most: 1 },
};

/** An invalid value. The message names the field, and for a number the value and the limit; the caller may see it. */
export class SettingFault extends Error {}

/**
 * Checks changes of settings. Throws `SettingFault` for an unknown field or a value outside its limit.
 *
 * @param {unknown} given
 * @returns {Partial<Settings>}
 */
export function checkSettings(given) {
  if (typeof given !== "object" || given === null || Array.isArray(given)) {
    throw new SettingFault("the settings are not a JSON object");
  }
  for (const [name, value] of Object.entries(given)) {
    if (!Object.hasOwn(LIMITS, name)) {
      throw new SettingFault(`unknown field ${short(name)}: the fields are ${Object.keys(LIMITS).join(", ")}`);
    }
    checkNumber(name, value, LIMITS[/** @type {keyof Settings} */ (name)]);
  }
  return given;
}

/**
 * Returns the value if it is a number within the limit; otherwise throws `SettingFault`.
 *
 * @param {string} name
 * @param {unknown} value
 * @param {Limit} limit
 */
export function checkNumber(name, value, { least, most, unit, whole = false }) {
  if (typeof value === "number" && value >= least && value <= most && (!whole || Number.isInteger(value))) return value;
  const range = `${least} to ${most}${unit ? ` ${unit}` : ""}`;
  throw new SettingFault(`${name} is ${short(value)}: the limit is ${range}${whole ? ", a whole number" : ""}`);
}

/** Parses a number; throws `SettingFault` as `checkNumber` does. @param {string} name @param {string} text @param {Limit} limit */
export function parseNumber(name, text, limit) {
  // `Number("")` is 0, but an empty text is no number.
  const number = text.trim() === "" ? NaN : Number(text);
  return checkNumber(name, Number.isNaN(number) ? text : number, limit);
}

/** A value for a message, at most 40 characters of it. @param {unknown} value */
function short(value) {
  const text = typeof value === "string" ? JSON.stringify(value) : String(typeof value === "object" ? JSON.stringify(value) : value);
  return text.length > 40 ? `${text.slice(0, 40)}…` : text;
}
