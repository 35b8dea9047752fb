// Renders a message of the gateway, a code with arguments, from the templates of one language. src/catalogue/render.rs is
// the same renderer in Rust and lists the formats; tests/native/messages.test.js holds both to the same sentences.

/** @typedef {{ code: string, args: Record<string, any>, text?: string }} Message */
/** @typedef {Record<string, string>} Templates */

/** Number of characters that the format `short` keeps. */
const SHORT_LENGTH = 12;
/** Text of an argument that is missing or not known. */
const NO_VALUE = "?";

/**
 * The sentence of a message. If a newer gateway sends a code without a template here, the sentence is the gateway's English
 * text, or else the code and its arguments.
 *
 * @param {Templates} templates @param {Message} message @returns {string}
 */
export function renderMessage(templates, { code, args, text }) {
  if (!Object.hasOwn(templates, code)) return text ?? renderUnknown(templates, code, args);
  return templates[code].replace(/\{(\w+):?(\w*)\}/g, (_, name, format) => renderValue(templates, Object.hasOwn(args, name) ? args[name] : null, format));
}

/** @param {Templates} templates @param {string} code @param {Record<string, any>} args */
function renderUnknown(templates, code, args) {
  const parts = Object.keys(args).sort().map((name) => `${name}: ${renderValue(templates, args[name], "")}`);
  return parts.length === 0 ? code : `${code} (${parts.join(templates["format.list"])})`;
}

/** @param {Templates} templates @param {any} value @param {string} format @returns {string} */
function renderValue(templates, value, format) {
  if (value === null) return NO_VALUE;
  if (typeof value === "string") return format === "short" ? [...value].slice(0, SHORT_LENGTH).join("") : value;
  if (typeof value === "number") {
    if (format === "percent") return formatPercent(templates, value);
    if (format === "time") return formatTime(value);
    if (format === "number") return formatNumber(value).replace(".", templates["format.decimal"]);
    return String(value);
  }
  if (Array.isArray(value)) {
    const separator = templates[format === "clauses" ? "format.clauses" : "format.list"];
    return value.map((part) => renderValue(templates, part, "")).join(separator);
  }
  if (typeof value.code === "string" && value.args) return renderMessage(templates, value);
  return JSON.stringify(value);
}

/** @param {Templates} templates @param {number} basisPoints */
function formatPercent(templates, basisPoints) {
  const decimals = String(basisPoints % 100).padStart(2, "0");
  return `${Math.floor(basisPoints / 100)}${templates["format.decimal"]}${decimals}${templates["format.percent"]}`;
}

/**
 * A number with four decimals. `toFixed` rounds a tie away from zero, Rust to the even digit. With four decimals, only odd
 * multiples of 1/32 are ties.
 *
 * @param {number} value
 */
function formatNumber(value) {
  const text = value.toFixed(4);
  const isTie = Math.abs(value * 32) % 2 === 1;
  return isTie && Number(text.at(-1)) % 2 === 1 ? (value - Math.sign(value) * 0.000_05).toFixed(4) : text;
}

/** A time in UTC to the minute, such as `2026-11-24 10:00`. @param {number} ms */
function formatTime(ms) {
  const time = new Date(ms);
  return Number.isNaN(time.getTime()) ? NO_VALUE : time.toISOString().slice(0, 16).replace("T", " ");
}
