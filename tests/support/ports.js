// Ports for whoever cannot be told to take any free one.

import { createServer } from "node:net";

/** Below what a system gives by itself (Linux: from 32768), so that no server and no connection beside the test takes them. */
const [FIRST, LAST] = [20_000, 29_999];

/** Ports that nobody has. @param {number} count */
export async function freePorts(count) {
  /** @type {Set<number>} */
  const found = new Set();
  while (found.size < count) {
    const port = FIRST + Math.floor(Math.random() * (LAST - FIRST + 1));
    if (!found.has(port) && (await isFree(port))) found.add(port);
  }
  return [...found];
}

/** @param {number} port @returns {Promise<boolean>} */
function isFree(port) {
  return new Promise((resolve) => {
    const server = createServer().once("error", () => resolve(false));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  });
}
