// Places in a JSON document (RFC 6901), as the gate's contract names them.

/** @param {string} pointer */
const keys = (pointer) => pointer.split("/").slice(1).map((key) => key.replaceAll("~1", "/").replaceAll("~0", "~"));

/** What stands there, if anything. @param {any} document @param {string | null} pointer @returns {unknown} */
export function at(document, pointer) {
  if (pointer === null) return undefined;
  return keys(pointer).reduce((value, key) => (value !== null && typeof value === "object" ? value[key] : undefined), document);
}

/** Puts a value there, in objects that are made where none is. @param {any} document @param {string} pointer @param {string} value */
export function put(document, pointer, value) {
  const way = keys(pointer);
  const last = way.pop() ?? "";
  way.reduce((inner, key) => (inner[key] ??= {}), document)[last] = value;
}
