//! Prometheus' text format, version 0.0.4
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/>).

use std::fmt::{self, Display, Write};

/// Content type of the text format.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Type of a metric family. `Display` writes it as the text format names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricType {
    /// A number that only grows until its source starts anew.
    Counter,
    /// A number that rises and falls.
    Gauge,
    /// Counts of observations by cumulative buckets.
    Histogram,
}

impl Display for MetricType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        })
    }
}

/// Text of several metric families, written one after the other.
#[derive(Debug, Default)]
pub struct Exposition {
    text: String,
}

impl Exposition {
    /// Begins a family. Its samples follow. Help texts here have no line break and no backslash.
    pub fn begin_family(&mut self, name: &str, metric_type: MetricType, help: &str) {
        // Writing into a `String` cannot fail.
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {metric_type}");
    }

    /// Writes one sample of a series: its name, with labels in braces if it has any. Label values
    /// here have no character that the format escapes.
    pub fn write_sample(&mut self, series: impl Display, value: impl Display) {
        let _ = writeln!(self.text, "{series} {value}");
    }

    /// Returns the whole text.
    pub fn into_text(self) -> String {
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_is_its_help_its_type_and_its_samples() {
        let mut exposition = Exposition::default();
        exposition.begin_family("requests_total", MetricType::Counter, "Replies sent.");
        exposition.write_sample("requests_total{code=\"200\"}", 3);
        exposition.begin_family("share_ratio", MetricType::Gauge, "Share of the canary.");
        exposition.write_sample("share_ratio", 0.25);
        assert_eq!(
            exposition.into_text(),
            "# HELP requests_total Replies sent.\n# TYPE requests_total counter\n\
             requests_total{code=\"200\"} 3\n\
             # HELP share_ratio Share of the canary.\n# TYPE share_ratio gauge\nshare_ratio 0.25\n"
        );
    }
}
