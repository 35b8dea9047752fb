// Times several functions in turns, so that other work of the machine affects all of them equally.

/** Timed runs in each turn, after one untimed run that fills the function's caches. */
const RUNS_PER_TURN = 5;

/**
 * Returns the milliseconds of every timed run, by name.
 * @param {Record<string, () => unknown>} functions @param {number} turns
 */
export async function timeInTurns(functions, turns) {
  /** @type {Record<string, number[]>} */
  const times = Object.fromEntries(Object.keys(functions).map((name) => [name, []]));
  for (let turn = 0; turn < turns; turn += 1) {
    for (const [name, runOnce] of Object.entries(functions)) {
      await runOnce();
      for (let runNumber = 0; runNumber < RUNS_PER_TURN; runNumber += 1) {
        const startedAt = performance.now();
        await runOnce();
        times[name].push(performance.now() - startedAt);
      }
    }
  }
  return times;
}
