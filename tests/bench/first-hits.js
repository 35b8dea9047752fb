// Counts newly affected subjects in stored events, by the rules of the gates (src/gateway/aggregate/minute_stats.rs).

/**
 * Counts how often a metric hit a subject that it had not hit in an earlier event, as the gates count subjects.
 *
 * @param {any[]} events in the order in which they were stored
 */
export function countFirstHits(events) {
  /** @type {Set<string>} */
  const hits = new Set();
  for (const { subject, is_evidence, cohort, destination, status, latency_ms, low_confidence, rule_applied, thresholds } of events) {
    if (!subject || !is_evidence) continue;
    const limit_ms = cohort === "canary" ? thresholds.canary_slow_ms : thresholds.stable_p95_ms;
    const hasOwnAnswer = destination === cohort && status < 400;
    const metrics = {
      errors: cohort === destination ? status >= 500 : cohort === "canary", slow: latency_ms > thresholds.slow_ms,
      slower_than_stable: limit_ms !== null && latency_ms > limit_ms, low_confidence: hasOwnAnswer && low_confidence === true, rule_applied: hasOwnAnswer && rule_applied === true,
    };
    for (const [metric, isHit] of Object.entries(metrics)) if (isHit) hits.add(`${metric} ${subject}`);
  }
  return hits.size;
}
