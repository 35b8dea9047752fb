// Quantiles of a list of numbers.

/** Returns the smallest value with at least a share `q`, 0 to 1, of the list at or below it. @param {number[]} values @param {number} q */
export function quantile(values, q) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(q * sorted.length) - 1)];
}

/** @param {number[]} values */
export const median = (values) => quantile(values, 0.5);

/** @param {number[]} values */
export const summarizeLatency = (values) => ({ median_ms: median(values), p99_ms: quantile(values, 0.99) });
