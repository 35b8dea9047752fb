//! Three plots of a log in one file: confidence, labels, latency over time.

use std::path::Path;

use crate::Stop;
use crate::plot::{Chart, write_all};
use jeffrey_edge::telemetry::analysis::{Analysis, Findings};

/// Writes the file anew.
pub(super) fn write(analysis: &Analysis, findings: &Findings, path: &Path) -> Result<(), Stop> {
    let fiftieths = analysis.confidence_fiftieths();
    let confidence =
        bars(fiftieths.iter().enumerate().map(|(at, n)| (at as f64 / 50.0, *n as f64)), 0.02);
    let all = findings.predictions.max(1) as f64;
    let labels = findings.labels.iter().enumerate();
    let names: Vec<String> =
        findings.labels.iter().map(|(label, _)| label.name().to_owned()).collect();
    let labels = bars(labels.map(|(at, (_, n))| (at as f64, *n as f64 / all)), 1.0);
    let times = analysis.latency_over_time();
    let first = times.first().map_or(0, |(at, ..)| *at);
    let line = |of: &dyn Fn(&(u64, f64, f64)) -> f64| {
        times.iter().map(|time| ((time.0 - first) as f64 / 3_600_000.0, of(time))).collect()
    };
    write_all(
        path,
        &[
            Chart {
                title: "confidence",
                across: "probability of the label",
                up: "predictions",
                lines: vec![("predictions".into(), confidence)],
                mark: Some(0.4),
            },
            Chart {
                title: &format!("labels: {}", names.join(", ")),
                across: "label, in this order from 0",
                up: "share",
                lines: vec![("share".into(), labels)],
                mark: None,
            },
            Chart {
                title: "latency",
                across: "hours since the first",
                up: "ms",
                lines: vec![
                    ("P95".into(), line(&|time| time.2)),
                    ("P50".into(), line(&|time| time.1)),
                ],
                mark: None,
            },
        ],
    )
}

/// The outline of bars of one width, from their left ends.
fn bars(bars: impl Iterator<Item = (f64, f64)>, width: f64) -> Vec<(f64, f64)> {
    bars.flat_map(|(at, height)| [(at, 0.0), (at, height), (at + width, height), (at + width, 0.0)])
        .collect()
}
