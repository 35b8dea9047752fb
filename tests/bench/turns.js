// Times of several in turns, so that what else the machine does meets all of them alike.

/** Timed in a row before the next one's turn, after one run untimed: nobody runs on another's caches. */
const RUNS_PER_TURN = 5;

/**
 * Milliseconds of every timed run, under the names.
 * @param {Record<string, () => unknown>} runs @param {number} turns
 */
export async function inTurns(runs, turns) {
  /** @type {Record<string, number[]>} */
  const times = Object.fromEntries(Object.keys(runs).map((name) => [name, []]));
  for (let turn = 0; turn < turns; turn += 1) {
    for (const [name, run] of Object.entries(runs)) {
      await run();
      for (let timed = 0; timed < RUNS_PER_TURN; timed += 1) {
        const began = performance.now();
        await run();
        times[name].push(performance.now() - began);
      }
    }
  }
  return times;
}
