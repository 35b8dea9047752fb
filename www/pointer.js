// Reads and writes a value of a JSON document by its JSON pointer (RFC 6901), such as `/prediction/primary`.

/** The decoded keys of a pointer. @param {string} pointer */
const decodeKeys = (pointer) => pointer.split("/").slice(1).map((key) => key.replaceAll("~1", "/").replaceAll("~0", "~"));

/** The value at a pointer; `undefined` if there is none. @param {any} document @param {string | null} pointer @returns {unknown} */
export function readPointer(document, pointer) {
  if (pointer === null) return undefined;
  return decodeKeys(pointer).reduce((value, key) => (value !== null && typeof value === "object" ? value[key] : undefined), document);
}

/** Sets the value at a pointer, creating missing objects. @param {any} document @param {string} pointer @param {string} value */
export function writePointer(document, pointer, value) {
  const path = decodeKeys(pointer);
  const last = path.pop() ?? "";
  path.reduce((inner, key) => (inner[key] ??= {}), document)[last] = value;
}
