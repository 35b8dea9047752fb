// Finds free ports for programs that cannot pick one themselves.

import { createServer } from "node:net";

/** Below the ephemeral ports of Linux (from 32768), so that no other server or connection takes one by chance. */
const [FIRST, LAST] = [20_000, 29_999];

/** Distinct ports that are free now. @param {number} count */
export async function freePorts(count) {
  /** @type {Set<number>} */
  const ports = new Set();
  while (ports.size < count) {
    const port = FIRST + Math.floor(Math.random() * (LAST - FIRST + 1));
    if (!ports.has(port) && (await isFree(port))) ports.add(port);
  }
  return [...ports];
}

/** @param {number} port @returns {Promise<boolean>} */
function isFree(port) {
  return new Promise((resolve) => {
    const server = createServer().once("error", () => resolve(false));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  });
}
