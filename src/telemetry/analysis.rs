//! Analysis of a log of predictions: routes, labels, confidence, latency, and whether a release may
//! go on.
//!
//! Lines are added one by one and are not kept. Names are counted, confidence is a histogram of
//! thousandths, and latency is a sketch with quantiles within 5 %. Two formats are read: events of
//! version 3, and the log of the v2.4.2 reference service with `schema_version` 2.
//!
//! The checks and their limits are those of the reference: with one failed check a release is
//! mostly ready, with two it is not ready.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::latency_sketch::LatencySketch;
use jeffrey_terms::{Cohort, Label};

/// Fields of one log line that the analysis uses.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LoggedPrediction {
    /// Cohort that answered; `None` in the reference's log, which has one system only.
    pub destination: Option<Cohort>,
    /// Time of the answer, in milliseconds since 1970; `None` if the line has none.
    pub time_ms: Option<u64>,
    /// Route: `linear_head`, `prototypes`, `regex`, `empty`, or a name that the legacy system uses.
    pub route: Option<String>,
    /// Label with the highest probability; `None` if the answer gave none.
    pub label: Option<Label>,
    /// Probability of the label, 0 to 1.
    pub confidence: Option<f64>,
    /// Whether the classifier reported low confidence.
    pub low_confidence: bool,
    /// Name of the rule that was applied; `None` if no rule was.
    pub rule: Option<String>,
    /// Latency of the answer, in milliseconds.
    pub latency_ms: Option<f64>,
    /// Masked beginning of the text; `None` if the log has no previews.
    pub preview: Option<String>,
}

/// Content of one log line.
#[derive(Clone, Debug, PartialEq)]
pub enum LogLine {
    /// An event that is no prediction: user feedback, or a request whose answer gave neither label
    /// nor route.
    Other,
    /// A prediction with the fields of its line.
    Prediction(Box<LoggedPrediction>),
}

/// Reasons why a line cannot be used. The message says what is wrong and never quotes the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogLineError {
    /// The line is not one JSON object.
    #[error("not a JSON object")]
    NotJsonObject,
    /// The line is of no known log format.
    #[error("neither an event of version 3 nor a line of schema 2")]
    UnknownFormat,
    /// A required field is missing or has another type.
    #[error("a field of its schema is missing or of another type")]
    InvalidFields,
}

#[derive(Deserialize)]
struct LogLineV3 {
    destination: Cohort,
    time_ms: u64,
    route: Option<String>,
    label: Option<Label>,
    confidence: Option<f64>,
    low_confidence: Option<bool>,
    rule_applied: Option<bool>,
    rule: Option<String>,
    latency_ms: f64,
    preview: Option<String>,
}

#[derive(Deserialize)]
struct LogLineV2 {
    timestamp: Option<String>,
    route: String,
    #[serde(default)]
    text_preview: Option<String>,
    prediction: LogPredictionV2,
    latency_ms: Option<f64>,
}

#[derive(Deserialize)]
struct LogPredictionV2 {
    primary: Label,
    confidence: f64,
    low_confidence: bool,
    rule_applied: Option<String>,
}

impl LogLine {
    /// Parses a line of either log format.
    ///
    /// # Errors
    /// [`LogLineError`] when the line is of neither format or has fields that are not valid.
    pub fn parse(text: &str) -> Result<Self, LogLineError> {
        #[derive(Deserialize)]
        struct LogLineTag {
            event: Option<String>,
            schema_version: Option<u64>,
        }
        let tag: LogLineTag =
            serde_json::from_str(text).map_err(|_| LogLineError::NotJsonObject)?;
        match (tag.event.as_deref(), tag.schema_version) {
            (Some("feedback"), _) => Ok(Self::Other),
            (Some("classify"), _) => {
                let line: LogLineV3 =
                    serde_json::from_str(text).map_err(|_| LogLineError::InvalidFields)?;
                Ok(line.into_log_line())
            }
            (None, Some(2)) => {
                let line: LogLineV2 =
                    serde_json::from_str(text).map_err(|_| LogLineError::InvalidFields)?;
                Ok(line.into_log_line())
            }
            _ => Err(LogLineError::UnknownFormat),
        }
    }
}

impl LogLineV3 {
    fn into_log_line(self) -> LogLine {
        if self.label.is_none() && self.route.is_none() {
            return LogLine::Other;
        }
        // The legacy system may say that a rule was applied without a name that is known here.
        let rule = self.rule.or((self.rule_applied == Some(true)).then(|| "other".to_owned()));
        LogLine::Prediction(Box::new(LoggedPrediction {
            destination: Some(self.destination),
            time_ms: Some(self.time_ms),
            route: self.route,
            label: self.label,
            confidence: self.confidence,
            low_confidence: self.low_confidence == Some(true),
            rule,
            latency_ms: Some(self.latency_ms),
            preview: self.preview,
        }))
    }
}

impl LogLineV2 {
    fn into_log_line(self) -> LogLine {
        let time = self.timestamp.and_then(|text| text.parse::<jiff::Timestamp>().ok());
        LogLine::Prediction(Box::new(LoggedPrediction {
            destination: None,
            time_ms: time.and_then(|time| u64::try_from(time.as_millisecond()).ok()),
            route: Some(self.route),
            label: Some(self.prediction.primary),
            confidence: Some(self.prediction.confidence),
            low_confidence: self.prediction.low_confidence,
            rule: self.prediction.rule_applied,
            latency_ms: self.latency_ms,
            preview: self.text_preview,
        }))
    }
}

/// Counts of the predictions added so far.
#[derive(Clone, Debug, PartialEq)]
pub struct LogAnalysis {
    predictions: u64,
    routes: BTreeMap<String, u64>,
    labels: [u64; Label::ALL.len()],
    rules: BTreeMap<String, u64>,
    low_confidence: u64,
    /// Predictions by confidence, in thousandths from 0 to 1,000.
    confidence: Vec<u64>,
    confidence_sum: f64,
    /// Latencies of all predictions, in microseconds.
    latency: LatencySketch,
    previews: u64,
    leaks: u64,
    over_time: LatencyOverTime,
}

impl Default for LogAnalysis {
    fn default() -> Self {
        Self {
            predictions: 0,
            routes: BTreeMap::new(),
            labels: [0; Label::ALL.len()],
            rules: BTreeMap::new(),
            low_confidence: 0,
            confidence: vec![0; 1_001],
            confidence_sum: 0.0,
            latency: LatencySketch::default(),
            previews: 0,
            leaks: 0,
            over_time: LatencyOverTime { interval_ms: 60_000, latency: BTreeMap::new() },
        }
    }
}

/// Latencies by time interval. All intervals double in length when there are more than
/// [`INTERVALS_MAX`].
#[derive(Clone, Debug, PartialEq)]
struct LatencyOverTime {
    interval_ms: u64,
    latency: BTreeMap<u64, LatencySketch>,
}

impl LatencyOverTime {
    fn add(&mut self, time_ms: u64, us: u64) {
        self.latency.entry(time_ms / self.interval_ms).or_default().add(us);
        while self.latency.len() > INTERVALS_MAX {
            self.interval_ms *= 2;
            let mut wider: BTreeMap<u64, LatencySketch> = BTreeMap::new();
            for (index, sketch) in &self.latency {
                wider.entry(index / 2).or_default().merge(sketch);
            }
            self.latency = wider;
        }
    }
}

impl LogAnalysis {
    /// Adds one prediction to the counts.
    pub fn add(&mut self, prediction: &LoggedPrediction) {
        self.predictions += 1;
        // The legacy system's names may be anything: only so many are counted apart, and no long one.
        let count_name = |counts: &mut BTreeMap<String, u64>, name: &str| {
            let is_listed = name.len() <= NAME_BYTES_MAX
                && (counts.contains_key(name) || counts.len() < NAMES_MAX);
            let name = if is_listed { name } else { "other" };
            *counts.entry(name.to_owned()).or_default() += 1;
        };
        if let Some(route) = &prediction.route {
            count_name(&mut self.routes, route);
        }
        if let Some(rule) = &prediction.rule {
            count_name(&mut self.rules, rule);
        }
        if let Some(label) = prediction.label {
            self.labels[label.index()] += 1;
        }
        self.low_confidence += u64::from(prediction.low_confidence);
        if let Some(confidence) = prediction.confidence.filter(|c| (0.0..=1.0).contains(c)) {
            self.confidence[libm::round(1_000.0 * confidence) as usize] += 1;
            self.confidence_sum += confidence;
        }
        let latency = prediction.latency_ms.filter(|ms| ms.is_finite() && *ms >= 0.0);
        if let Some(ms) = latency {
            let us = libm::round(1_000.0 * ms) as u64;
            self.latency.add(us);
            if let Some(time_ms) = prediction.time_ms {
                self.over_time.add(time_ms, us);
            }
        }
        if let Some(preview) = &prediction.preview {
            self.previews += 1;
            self.leaks += u64::from(contains_unmasked_pii(preview));
        }
    }

    /// Returns the report of all predictions added so far.
    pub fn report(&self) -> LogAnalysisReport {
        let routed: u64 =
            self.routes.iter().filter(|(name, _)| *name != EMPTY_ROUTE).map(|(_, n)| n).sum();
        let route_count = |name: &str| self.routes.get(name).copied().unwrap_or(0);
        let counts = AdvanceReadinessCounts {
            predictions: self.predictions,
            non_empty_predictions: routed,
            linear_head: route_count("linear_head"),
            regex: route_count("regex"),
            low_confidence: self.low_confidence,
            leaks: self.leaks,
        };
        let (verdict, checks) = (counts.readiness(), counts.checks());
        let with_confidence: u64 = self.confidence.iter().sum();
        let ms = |us: Option<f64>| us.map(|us| us / 1_000.0);
        LogAnalysisReport {
            verdict,
            checks,
            predictions: self.predictions,
            routes: self.routes.clone(),
            labels: Label::ALL.map(|label| (label, self.labels[label.index()])).into(),
            rules: self.rules.clone(),
            rule_rate: ratio(self.rules.values().sum(), self.predictions),
            low_confidence: ratio(self.low_confidence, self.predictions),
            confidence: ConfidenceStats {
                mean: (with_confidence > 0).then(|| self.confidence_sum / with_confidence as f64),
                p10: self.confidence_quantile(0.1),
                p50: self.confidence_quantile(0.5),
                p90: self.confidence_quantile(0.9),
            },
            latency_ms: LatencyStats {
                p50: ms(self.latency.quantile(0.5)),
                p95: ms(self.latency.quantile(0.95)),
            },
            previews: self.previews,
        }
    }

    /// Returns the number of predictions in each fiftieth of the confidence range.
    pub fn confidence_histogram(&self) -> [u64; 50] {
        let mut histogram = [0; 50];
        for (thousandth, count) in self.confidence.iter().enumerate() {
            histogram[(thousandth / 20).min(49)] += count;
        }
        histogram
    }

    /// Returns for each interval: its start in milliseconds since 1970, and the P50 and P95 of the
    /// latency in milliseconds.
    pub fn latency_over_time(&self) -> Vec<(u64, f64, f64)> {
        let LatencyOverTime { interval_ms: width_ms, latency } = &self.over_time;
        let quantiles_at = |(index, sketch): (&u64, &LatencySketch)| {
            let ms = |fraction| sketch.quantile(fraction).map(|us| us / 1_000.0);
            Some((index * width_ms, ms(0.5)?, ms(0.95)?))
        };
        latency.iter().filter_map(quantiles_at).collect()
    }

    fn confidence_quantile(&self, fraction: f64) -> Option<f64> {
        let total: u64 = self.confidence.iter().sum();
        let rank = libm::ceil(fraction * total as f64).max(1.0) as u64;
        let mut cumulative = 0;
        let position = self.confidence.iter().position(|count| {
            cumulative += count;
            cumulative >= rank
        });
        position.map(|thousandth| thousandth as f64 / 1_000.0)
    }
}

/// Returns whether a preview shows text that a mask should have hidden, by the reference's check.
pub fn contains_unmasked_pii(preview: &str) -> bool {
    preview.contains('@') || preview.contains("http")
}

fn ratio(count: u64, total: u64) -> Option<f64> {
    (total > 0).then(|| count as f64 / total as f64)
}

/// Numbers of predictions that the readiness checks use.
#[allow(missing_docs, reason = "each is a number of predictions, described where it is counted")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdvanceReadinessCounts {
    pub predictions: u64,
    /// Predictions with a route other than that of an empty text.
    pub non_empty_predictions: u64,
    pub linear_head: u64,
    pub regex: u64,
    pub low_confidence: u64,
    /// Predictions with a preview that shows more than a mask lets through.
    pub leaks: u64,
}

impl AdvanceReadinessCounts {
    /// Returns the reference's four readiness checks.
    pub fn checks(&self) -> [AdvanceReadinessCheck; 4] {
        [
            AdvanceReadinessCheck::at_least(
                "linear_head",
                ratio(self.linear_head, self.non_empty_predictions),
                0.90,
            ),
            AdvanceReadinessCheck::at_most(
                "regex",
                ratio(self.regex, self.non_empty_predictions),
                0.01,
            ),
            AdvanceReadinessCheck::at_most(
                "low_confidence",
                ratio(self.low_confidence, self.predictions),
                0.15,
            ),
            AdvanceReadinessCheck::at_most(
                "previews_with_at_or_http",
                Some(self.leaks as f64),
                0.0,
            ),
        ]
    }

    /// Returns the readiness that the checks amount to.
    pub fn readiness(&self) -> AdvanceReadiness {
        let failed = self.checks().iter().filter(|check| !check.passed).count();
        match failed {
            _ if self.predictions == 0 => AdvanceReadiness::NotReady,
            0 => AdvanceReadiness::Ready,
            1 => AdvanceReadiness::MostlyReady,
            _ => AdvanceReadiness::NotReady,
        }
    }
}

/// Readiness of a release to go on, from best to worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum AdvanceReadiness {
    /// All checks of the log hold.
    #[serde(rename = "READY")]
    Ready,
    /// Exactly one check does not hold.
    #[serde(rename = "MOSTLY READY")]
    MostlyReady,
    /// At least two checks do not hold, or there is nothing to check.
    #[serde(rename = "NOT READY")]
    NotReady,
}

impl AdvanceReadiness {
    /// Returns the name that the reference uses.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ready => "READY",
            Self::MostlyReady => "MOSTLY READY",
            Self::NotReady => "NOT READY",
        }
    }
}

/// One readiness check with its limit and result.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct AdvanceReadinessCheck {
    /// Name of the value that is checked.
    pub name: &'static str,
    /// Observed value; `None` if there is nothing to compute it from, and the check does not hold
    /// then.
    pub value: Option<f64>,
    /// Highest value for which the check holds; `None` if the limit is a lowest value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_most: Option<f64>,
    /// Lowest value for which the check holds; `None` if the limit is a highest value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_least: Option<f64>,
    /// Whether the value is within the limit.
    pub passed: bool,
}

impl AdvanceReadinessCheck {
    fn at_most(name: &'static str, value: Option<f64>, most: f64) -> Self {
        let holds = value.is_some_and(|value| value <= most);
        Self { name, value, at_most: Some(most), at_least: None, passed: holds }
    }

    fn at_least(name: &'static str, value: Option<f64>, least: f64) -> Self {
        let holds = value.is_some_and(|value| value >= least);
        Self { name, value, at_most: None, at_least: Some(least), passed: holds }
    }
}

/// Report of a log analysis, as `jeffrey analyze` writes it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LogAnalysisReport {
    /// Readiness that the checks amount to.
    pub verdict: AdvanceReadiness,
    /// The four readiness checks with their values.
    pub checks: [AdvanceReadinessCheck; 4],
    /// Number of predictions in the log.
    pub predictions: u64,
    /// Number of predictions by route.
    pub routes: BTreeMap<String, u64>,
    /// Number of predictions by label, in the labels' order.
    pub labels: Vec<(Label, u64)>,
    /// Number of predictions by rule.
    pub rules: BTreeMap<String, u64>,
    /// Fraction of the predictions with any rule, 0 to 1.
    pub rule_rate: Option<f64>,
    /// Fraction of the predictions with low confidence, 0 to 1.
    pub low_confidence: Option<f64>,
    /// Mean and quantiles of the confidence, 0 to 1.
    pub confidence: ConfidenceStats,
    /// Quantiles of the latency, in milliseconds.
    pub latency_ms: LatencyStats,
    /// Number of predictions with a preview.
    pub previews: u64,
}

/// Mean and quantiles of the confidence, 0 to 1; the quantiles to a thousandth.
#[allow(missing_docs, reason = "the mean, and quantiles by their names")]
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ConfidenceStats {
    pub mean: Option<f64>,
    pub p10: Option<f64>,
    pub p50: Option<f64>,
    pub p90: Option<f64>,
}

/// Quantiles of the latency in milliseconds, within 5 %.
#[allow(missing_docs, reason = "quantiles by their names")]
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct LatencyStats {
    pub p50: Option<f64>,
    pub p95: Option<f64>,
}

/// Route of a text without anything to classify; no model answered it.
const EMPTY_ROUTE: &str = "empty";
/// Most time intervals that are kept apart.
const INTERVALS_MAX: usize = 500;
/// Most names that are counted apart; a longer name is counted as `other`.
const NAMES_MAX: usize = 32;
const NAME_BYTES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    const EVENT_LINE: &str = r#"{"event":"classify","schema_version":3,"destination":"canary","time_ms":1000,
        "route":"linear_head","label":"joy","confidence":0.9,"low_confidence":false,"rule_applied":false,
        "rule":null,"latency_ms":3,"preview":"Hello [EMAIL]"}"#;
    const LEGACY_LINE: &str = r#"{"schema_version":2,"timestamp":"2026-11-24T10:00:00.5Z","version":"2.4.2",
        "route":"regex","encoder":"e5","text_preview":"mail a@b.c","prediction":{"primary":"anger",
        "confidence":0.312,"top2":[["anger",0.312]],"low_confidence":true,
        "rule_applied":"tiebreak_anger_keyword_standard"},"latency_ms":41.62,"all_scores_top5":[]}"#;

    fn prediction(text: &str) -> LoggedPrediction {
        match LogLine::parse(text).unwrap() {
            LogLine::Prediction(prediction) => *prediction,
            LogLine::Other => panic!("no prediction"),
        }
    }

    fn analyze(lines: &[(&str, u64)]) -> LogAnalysisReport {
        let mut analysis = LogAnalysis::default();
        for (line, times) in lines {
            let prediction = prediction(line);
            (0..*times).for_each(|_| analysis.add(&prediction));
        }
        analysis.report()
    }

    #[test]
    fn lines_of_both_logs_are_read_and_others_are_named() {
        let event = prediction(EVENT_LINE);
        assert_eq!((event.destination, event.time_ms), (Some(Cohort::Canary), Some(1_000)));
        let legacy = prediction(LEGACY_LINE);
        assert_eq!((legacy.time_ms, legacy.label), (Some(1_795_514_400_500), Some(Label::Anger)));
        assert_eq!(legacy.rule.as_deref(), Some("tiebreak_anger_keyword_standard"));
        assert_eq!(LogLine::parse(r#"{"event":"feedback","good":true}"#), Ok(LogLine::Other));
        // The legacy system's answer could not be read.
        let unread = EVENT_LINE.replace(r#""linear_head""#, "null").replace(r#""joy""#, "null");
        assert_eq!(LogLine::parse(&unread), Ok(LogLine::Other));
        let rows = [
            ("", LogLineError::NotJsonObject),
            ("[]", LogLineError::NotJsonObject),
            ("{}", LogLineError::UnknownFormat),
            (r#"{"schema_version":1}"#, LogLineError::UnknownFormat),
            (r#"{"schema_version":2}"#, LogLineError::InvalidFields),
            (r#"{"event":"classify"}"#, LogLineError::InvalidFields),
            (&EVENT_LINE.replace("joy", "glee"), LogLineError::InvalidFields),
        ];
        for (text, expected) in rows {
            assert_eq!(LogLine::parse(text), Err(expected), "{text}");
        }
    }

    #[test]
    fn the_verdict_counts_the_checks_that_fail() {
        let regex = EVENT_LINE.replace("linear_head", "regex");
        let unsure = EVENT_LINE.replace("\"low_confidence\":false", "\"low_confidence\":true");
        let leak = EVENT_LINE.replace("[EMAIL]", "http://x");
        let rows = [
            (vec![(EVENT_LINE, 100)], AdvanceReadiness::Ready),
            (vec![(EVENT_LINE, 99), (regex.as_str(), 1)], AdvanceReadiness::Ready),
            (vec![(EVENT_LINE, 98), (regex.as_str(), 2)], AdvanceReadiness::MostlyReady),
            (vec![(EVENT_LINE, 85), (unsure.as_str(), 15)], AdvanceReadiness::Ready),
            (vec![(EVENT_LINE, 84), (unsure.as_str(), 16)], AdvanceReadiness::MostlyReady),
            (vec![(EVENT_LINE, 99), (leak.as_str(), 1)], AdvanceReadiness::MostlyReady),
            (vec![(EVENT_LINE, 80), (regex.as_str(), 20)], AdvanceReadiness::NotReady),
            (
                vec![(EVENT_LINE, 83), (unsure.as_str(), 16), (leak.as_str(), 1)],
                AdvanceReadiness::NotReady,
            ),
            (vec![], AdvanceReadiness::NotReady),
        ];
        for (lines, expected) in rows {
            assert_eq!(analyze(&lines).verdict, expected, "{lines:?}");
        }
    }

    #[test]
    fn an_empty_text_is_no_models_answer() {
        let empty = EVENT_LINE.replace("linear_head", "empty");
        let report = analyze(&[(EVENT_LINE, 50), (empty.as_str(), 50)]);
        assert_eq!((report.checks[0].value, report.verdict), (Some(1.0), AdvanceReadiness::Ready));
    }

    #[test]
    fn the_report_counts_what_the_lines_say() {
        let report = analyze(&[(EVENT_LINE, 3), (LEGACY_LINE, 1)]);
        assert_eq!(report.predictions, 4);
        assert_eq!(report.routes, BTreeMap::from([("linear_head".into(), 3), ("regex".into(), 1)]));
        assert_eq!((report.labels[0], report.labels[2]), ((Label::Joy, 3), (Label::Anger, 1)));
        assert_eq!((report.rule_rate, report.low_confidence), (Some(0.25), Some(0.25)));
        let ConfidenceStats { mean, p10, p50, p90 } = report.confidence;
        assert!((mean.unwrap() - 0.753).abs() < 1e-9);
        assert_eq!((p10, p50, p90), (Some(0.312), Some(0.9), Some(0.9)));
        let LatencyStats { p50, p95 } = report.latency_ms;
        assert!(
            (p50.unwrap() / 3.0 - 1.0).abs() < 0.05 && (p95.unwrap() / 41.62 - 1.0).abs() < 0.05
        );
        assert_eq!((report.previews, report.checks[3].value), (4, Some(1.0)));
        assert_eq!(analyze(&[]).confidence.mean, None);
    }

    #[test]
    fn strange_names_and_long_times_take_no_more_room() {
        let mut analysis = LogAnalysis::default();
        for number in 0..5_000_u64 {
            analysis.add(&LoggedPrediction {
                route: Some(format!("route {number}")),
                time_ms: Some(number * 3_600_000),
                latency_ms: Some(1.0),
                ..LoggedPrediction::default()
            });
        }
        assert!(analysis.routes.len() <= NAMES_MAX + 1, "{}", analysis.routes.len());
        assert_eq!(analysis.routes.values().sum::<u64>(), 5_000);
        let intervals = analysis.latency_over_time();
        assert!(intervals.len() <= INTERVALS_MAX && intervals.len() > 100, "{}", intervals.len());
        assert_eq!(
            analysis.over_time.latency.values().map(LatencySketch::count).sum::<u64>(),
            5_000
        );
    }
}
