// Pseudorandom numbers that are the same in every run.

/** 32-bit FNV-1a of a text in UTF-8, with the seed XORed into the basis. @param {string} text @param {number} seed */
export function hashText(text, seed) {
  let value = (0x811c9dc5 ^ seed) >>> 0;
  for (const byte of Buffer.from(text, "utf8")) value = Math.imul(value ^ byte, 0x01000193) >>> 0;
  return value;
}

/** A source of numbers from 0 to below 1: mulberry32 (public domain, Tommy Ettinger). @param {number} seed */
export function createRandom(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
