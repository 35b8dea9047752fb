// Settings of the mock legacy system and their limits, for the command line, `PUT /_mock-legacy/settings` and queries.

/** @typedef {{ latency_ms: number, error_rate: number, wrong_label_rate: number }} Settings */
/** @typedef {{ min: number, max: number, unit?: string, integer?: boolean }} Limit */

/** @type {Readonly<Settings>} */
export const DEFAULTS = { latency_ms: 40, error_rate: 0, wrong_label_rate: 0 };

export const PORT_LIMIT = { min: 0, max: 65_535, integer: true };
export const SEED_LIMIT = { min: 0, max: 2 ** 32 - 1, integer: true };
/** Limits of a delay that a request or a setting specifies. */
export const DELAY_LIMIT = { min: 0, max: 60_000, unit: "ms" };

/** @type {Record<keyof Settings, Limit>} */
export const LIMITS = {
  latency_ms: DELAY_LIMIT,
  error_rate: { min: 0, max: 1 },
  wrong_label_rate: { min: 0, max: 1 },
};

/** An invalid value. The message names the field, and for a number the value and the limit; the client receives it. */
export class SettingError extends Error {}

/**
 * Checks changes of settings. Throws `SettingFault` for an unknown field or a value outside its limit.
 *
 * @param {unknown} changes
 * @returns {Partial<Settings>}
 */
export function checkSettings(changes) {
  if (typeof changes !== "object" || changes === null || Array.isArray(changes)) {
    throw new SettingError("the settings are not a JSON object");
  }
  for (const [name, value] of Object.entries(changes)) {
    if (!Object.hasOwn(LIMITS, name)) {
      throw new SettingError(`unknown field ${abbreviate(name)}: the fields are ${Object.keys(LIMITS).join(", ")}`);
    }
    checkNumber(name, value, LIMITS[/** @type {keyof Settings} */ (name)]);
  }
  return changes;
}

/**
 * Returns the value if it is a number within the limit; otherwise throws `SettingFault`.
 *
 * @param {string} name
 * @param {unknown} value
 * @param {Limit} limit
 */
export function checkNumber(name, value, { min, max, unit, integer = false }) {
  if (typeof value === "number" && value >= min && value <= max && (!integer || Number.isInteger(value))) return value;
  const range = `${min} to ${max}${unit ? ` ${unit}` : ""}`;
  throw new SettingError(`${name} is ${abbreviate(value)}: the limit is ${range}${integer ? ", a whole number" : ""}`);
}

/** Parses a number; throws `SettingFault` as `checkNumber` does. @param {string} name @param {string} text @param {Limit} limit */
export function parseNumber(name, text, limit) {
  // `Number("")` is 0, but an empty text is no number.
  const number = text.trim() === "" ? NaN : Number(text);
  return checkNumber(name, Number.isNaN(number) ? text : number, limit);
}

/** A value for a message, at most 40 characters of it. @param {unknown} value */
function abbreviate(value) {
  const text = typeof value === "string" ? JSON.stringify(value) : String(typeof value === "object" ? JSON.stringify(value) : value);
  return text.length > 40 ? `${text.slice(0, 40)}…` : text;
}
