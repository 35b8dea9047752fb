//! Charts of a prediction log in one SVG file: confidence, labels, and latency over time.
//!
//! Confidence is a histogram with 50 bins and a mark at 0.4. Labels are shares of the predictions.
//! Latency has P50 and P95 in milliseconds, over the hours since the first prediction.

use std::path::Path;

use crate::CliError;
use crate::plot::{Chart, write_charts};
use jeffrey_edge::telemetry::analysis::{LogAnalysis, LogAnalysisReport};

/// Writes the charts to the file at `path`, and replaces the file if it exists.
pub(super) fn write_plots(
    analysis: &LogAnalysis,
    findings: &LogAnalysisReport,
    path: &Path,
) -> Result<(), CliError> {
    let fiftieths = analysis.confidence_histogram();
    let confidence = bar_outlines(
        fiftieths.iter().enumerate().map(|(index, n)| (index as f64 / 50.0, *n as f64)),
        0.02,
    );
    let predictions = findings.predictions.max(1) as f64;
    let labels = findings.labels.iter().enumerate();
    let names: Vec<String> =
        findings.labels.iter().map(|(label, _)| label.name().to_owned()).collect();
    let labels =
        bar_outlines(labels.map(|(index, (_, n))| (index as f64, *n as f64 / predictions)), 1.0);
    let times = analysis.latency_over_time();
    let first_ms = times.first().map_or(0, |(time_ms, ..)| *time_ms);
    let series_of = |pick: &dyn Fn(&(u64, f64, f64)) -> f64| {
        times.iter().map(|time| ((time.0 - first_ms) as f64 / 3_600_000.0, pick(time))).collect()
    };
    write_charts(
        path,
        &[
            Chart {
                title: "confidence",
                x_label: "probability of the label",
                y_label: "predictions",
                series: vec![("predictions".into(), confidence)],
                marked_x: Some(0.4),
            },
            Chart {
                title: &format!("labels: {}", names.join(", ")),
                x_label: "label, in this order from 0",
                y_label: "share",
                series: vec![("share".into(), labels)],
                marked_x: None,
            },
            Chart {
                title: "latency",
                x_label: "hours since the first",
                y_label: "ms",
                series: vec![
                    ("P95".into(), series_of(&|time| time.2)),
                    ("P50".into(), series_of(&|time| time.1)),
                ],
                marked_x: None,
            },
        ],
    )
}

/// Returns the outline of bars of equal width as points; each bar is its left edge and its height.
fn bar_outlines(bars: impl Iterator<Item = (f64, f64)>, width: f64) -> Vec<(f64, f64)> {
    bars.flat_map(|(left, height)| {
        [(left, 0.0), (left, height), (left + width, height), (left + width, 0.0)]
    })
    .collect()
}
