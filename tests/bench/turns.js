// Times several functions in turns, so that other work of the machine affects all of them equally.

/** Timed runs in each turn, after one untimed run that fills the function's caches. */
const RUNS_PER_TURN = 5;

/**
 * Returns the milliseconds of every timed run, by name.
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
