//! What a log of predictions amounts to: shares, confidence, latency, and whether a release may go on.
//!
//! Lines enter one by one and are not kept: shares are counters, confidence a histogram of thousandths, latency a
//! sketch (quantiles within 5 %). Read are events of version 3 and the reference's log, `schema_version` 2. The
//! checks and their limits are the reference's: one that fails leaves a release mostly ready, two do not.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::sketch::Sketch;
use jeffrey_terms::{Cohort, Label};

/// What is read of one line.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Prediction {
    /// Who answered; `None` in the reference's log, which knows one system.
    pub destination: Option<Cohort>,
    /// Milliseconds since 1970.
    pub time_ms: Option<u64>,
    /// `linear_head`, `prototypes`, `regex`, `empty`, or another's name for its own.
    pub route: Option<String>,
    /// The label.
    pub label: Option<Label>,
    /// Its probability, 0 to 1.
    pub confidence: Option<f64>,
    /// Whether the classifier was unsure.
    pub low_confidence: bool,
    /// The rule that was applied.
    pub rule: Option<String>,
    /// Milliseconds.
    pub latency_ms: Option<f64>,
    /// The masked beginning of the text.
    pub preview: Option<String>,
}

/// What a line is.
#[derive(Clone, Debug, PartialEq)]
pub enum Line {
    /// An event that is no prediction: a verdict, or a call that nobody answered.
    Other,
    /// A prediction.
    Prediction(Box<Prediction>),
}

/// Why a line cannot be used. Says what is wrong, never what stands there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// It is not one JSON object.
    #[error("not a JSON object")]
    NotJson,
    /// It is no line of a log that is known.
    #[error("neither an event of version 3 nor a line of schema 2")]
    Unknown,
    /// A field that is needed is missing or of another type.
    #[error("a field of its schema is missing or of another type")]
    Fields,
}

#[derive(Deserialize)]
struct Version3 {
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
struct Version2 {
    timestamp: Option<String>,
    route: String,
    #[serde(default)]
    text_preview: Option<String>,
    prediction: Version2Prediction,
    latency_ms: Option<f64>,
}

#[derive(Deserialize)]
struct Version2Prediction {
    primary: Label,
    confidence: f64,
    low_confidence: bool,
    rule_applied: Option<String>,
}

impl Line {
    /// Reads a line of either log.
    ///
    /// # Errors
    /// [`LineError`] for what is neither.
    pub fn parse(text: &str) -> Result<Self, LineError> {
        #[derive(Deserialize)]
        struct Kind {
            event: Option<String>,
            schema_version: Option<u64>,
        }
        let kind: Kind = serde_json::from_str(text).map_err(|_| LineError::NotJson)?;
        match (kind.event.as_deref(), kind.schema_version) {
            (Some("verdict"), _) => Ok(Self::Other),
            (Some("classify"), _) => {
                let line: Version3 = serde_json::from_str(text).map_err(|_| LineError::Fields)?;
                Ok(line.prediction())
            }
            (None, Some(2)) => {
                let line: Version2 = serde_json::from_str(text).map_err(|_| LineError::Fields)?;
                Ok(line.prediction())
            }
            _ => Err(LineError::Unknown),
        }
    }
}

impl Version3 {
    fn prediction(self) -> Line {
        if self.label.is_none() && self.route.is_none() {
            return Line::Other;
        }
        // Another's rule has no name of ours.
        let rule = self.rule.or((self.rule_applied == Some(true)).then(|| "other".to_owned()));
        Line::Prediction(Box::new(Prediction {
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

impl Version2 {
    fn prediction(self) -> Line {
        let time = self.timestamp.and_then(|text| text.parse::<jiff::Timestamp>().ok());
        Line::Prediction(Box::new(Prediction {
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

/// What some predictions amount to so far.
#[derive(Clone, Debug, PartialEq)]
pub struct Analysis {
    predictions: u64,
    routes: BTreeMap<String, u64>,
    labels: [u64; Label::ALL.len()],
    rules: BTreeMap<String, u64>,
    low_confidence: u64,
    /// By thousandths, 0 to 1,000.
    confidence: Vec<u64>,
    confidence_sum: f64,
    /// In microseconds.
    latency: Sketch,
    previews: u64,
    leaks: u64,
    over_time: OverTime,
}

impl Default for Analysis {
    fn default() -> Self {
        Self {
            predictions: 0,
            routes: BTreeMap::new(),
            labels: [0; Label::ALL.len()],
            rules: BTreeMap::new(),
            low_confidence: 0,
            confidence: vec![0; 1_001],
            confidence_sum: 0.0,
            latency: Sketch::default(),
            previews: 0,
            leaks: 0,
            over_time: OverTime { width_ms: 60_000, latency: BTreeMap::new() },
        }
    }
}

/// Latencies by stretches of time, which become longer when there are too many of them.
#[derive(Clone, Debug, PartialEq)]
struct OverTime {
    width_ms: u64,
    latency: BTreeMap<u64, Sketch>,
}

impl OverTime {
    fn add(&mut self, time_ms: u64, us: u64) {
        self.latency.entry(time_ms / self.width_ms).or_default().add(us);
        while self.latency.len() > STRETCHES_MAX {
            self.width_ms *= 2;
            let mut wider: BTreeMap<u64, Sketch> = BTreeMap::new();
            for (at, sketch) in &self.latency {
                wider.entry(at / 2).or_default().merge(sketch);
            }
            self.latency = wider;
        }
    }
}

impl Analysis {
    /// With one more prediction.
    pub fn add(&mut self, prediction: &Prediction) {
        self.predictions += 1;
        // A name of another's may be anything: so many are kept apart, and no long one.
        let named = |counts: &mut BTreeMap<String, u64>, name: &str| {
            let known = name.len() <= NAME_BYTES_MAX
                && (counts.contains_key(name) || counts.len() < NAMES_MAX);
            let name = if known { name } else { "other" };
            *counts.entry(name.to_owned()).or_default() += 1;
        };
        if let Some(route) = &prediction.route {
            named(&mut self.routes, route);
        }
        if let Some(rule) = &prediction.rule {
            named(&mut self.rules, rule);
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
            self.leaks += u64::from(shows_more(preview));
        }
    }

    /// What it comes to.
    pub fn findings(&self) -> Findings {
        let routed: u64 =
            self.routes.iter().filter(|(name, _)| *name != EMPTY).map(|(_, n)| n).sum();
        let route = |name: &str| self.routes.get(name).copied().unwrap_or(0);
        let sums = Sums {
            predictions: self.predictions,
            routed,
            linear_head: route("linear_head"),
            regex: route("regex"),
            low_confidence: self.low_confidence,
            leaks: self.leaks,
        };
        let (verdict, checks) = (sums.verdict(), sums.checks());
        let confident: u64 = self.confidence.iter().sum();
        let ms = |us: Option<f64>| us.map(|us| us / 1_000.0);
        Findings {
            verdict,
            checks,
            predictions: self.predictions,
            routes: self.routes.clone(),
            labels: Label::ALL.map(|label| (label, self.labels[label.index()])).into(),
            rules: self.rules.clone(),
            rule_rate: share(self.rules.values().sum(), self.predictions),
            low_confidence: share(self.low_confidence, self.predictions),
            confidence: Confidence {
                mean: (confident > 0).then(|| self.confidence_sum / confident as f64),
                p10: self.confidence_at(0.1),
                p50: self.confidence_at(0.5),
                p90: self.confidence_at(0.9),
            },
            latency_ms: Latency {
                p50: ms(self.latency.quantile(0.5)),
                p95: ms(self.latency.quantile(0.95)),
            },
            previews: self.previews,
        }
    }

    /// How many predictions had a confidence within each fiftieth.
    pub fn confidence_fiftieths(&self) -> [u64; 50] {
        let mut fiftieths = [0; 50];
        for (thousandth, count) in self.confidence.iter().enumerate() {
            fiftieths[(thousandth / 20).min(49)] += count;
        }
        fiftieths
    }

    /// P50 and P95 of the latency, in milliseconds, by the stretch's beginning in milliseconds since 1970.
    pub fn latency_over_time(&self) -> Vec<(u64, f64, f64)> {
        let OverTime { width_ms, latency } = &self.over_time;
        let at = |(at, sketch): (&u64, &Sketch)| {
            let ms = |part| sketch.quantile(part).map(|us| us / 1_000.0);
            Some((at * width_ms, ms(0.5)?, ms(0.95)?))
        };
        latency.iter().filter_map(at).collect()
    }

    fn confidence_at(&self, part: f64) -> Option<f64> {
        let all: u64 = self.confidence.iter().sum();
        let rank = libm::ceil(part * all as f64).max(1.0) as u64;
        let mut seen = 0;
        let found = self.confidence.iter().position(|count| {
            seen += count;
            seen >= rank
        });
        found.map(|thousandth| thousandth as f64 / 1_000.0)
    }
}

/// Whether a preview shows what a mask should have hidden: the reference's check.
pub fn shows_more(preview: &str) -> bool {
    preview.contains('@') || preview.contains("http")
}

fn share(count: u64, of: u64) -> Option<f64> {
    (of > 0).then(|| count as f64 / of as f64)
}

/// What the checks stand on.
#[allow(missing_docs, reason = "each is a number of predictions, described where it is counted")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sums {
    pub predictions: u64,
    /// With a route other than that of white space.
    pub routed: u64,
    pub linear_head: u64,
    pub regex: u64,
    pub low_confidence: u64,
    /// With a preview that shows more than a mask lets through.
    pub leaks: u64,
}

impl Sums {
    /// The reference's four checks.
    pub fn checks(&self) -> [Check; 4] {
        [
            Check::at_least("linear_head", share(self.linear_head, self.routed), 0.90),
            Check::at_most("regex", share(self.regex, self.routed), 0.01),
            Check::at_most("low_confidence", share(self.low_confidence, self.predictions), 0.15),
            Check::at_most("previews_with_at_or_http", Some(self.leaks as f64), 0.0),
        ]
    }

    /// What they come to.
    pub fn verdict(&self) -> Verdict {
        let failed = self.checks().iter().filter(|check| !check.holds).count();
        match failed {
            _ if self.predictions == 0 => Verdict::NotReady,
            0 => Verdict::Ready,
            1 => Verdict::MostlyReady,
            _ => Verdict::NotReady,
        }
    }
}

/// Whether a release may go on, from best to worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Verdict {
    /// Every check holds.
    #[serde(rename = "READY")]
    Ready,
    /// One does not.
    #[serde(rename = "MOSTLY READY")]
    MostlyReady,
    /// Several do not, or there is nothing to check.
    #[serde(rename = "NOT READY")]
    NotReady,
}

impl Verdict {
    /// In the reference's words.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ready => "READY",
            Self::MostlyReady => "MOSTLY READY",
            Self::NotReady => "NOT READY",
        }
    }
}

/// One condition.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Check {
    /// What is looked at.
    pub name: &'static str,
    /// What was seen; `None` of nothing.
    pub value: Option<f64>,
    /// What it may be at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_most: Option<f64>,
    /// What it has to be at least.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_least: Option<f64>,
    /// Whether it is.
    pub holds: bool,
}

impl Check {
    fn at_most(name: &'static str, value: Option<f64>, most: f64) -> Self {
        let holds = value.is_some_and(|value| value <= most);
        Self { name, value, at_most: Some(most), at_least: None, holds }
    }

    fn at_least(name: &'static str, value: Option<f64>, least: f64) -> Self {
        let holds = value.is_some_and(|value| value >= least);
        Self { name, value, at_most: None, at_least: Some(least), holds }
    }
}

/// All figures, as they are written.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Findings {
    /// What they come to.
    pub verdict: Verdict,
    /// On what grounds.
    pub checks: [Check; 4],
    /// How many.
    pub predictions: u64,
    /// By route.
    pub routes: BTreeMap<String, u64>,
    /// By label, in the labels' order.
    pub labels: Vec<(Label, u64)>,
    /// By rule.
    pub rules: BTreeMap<String, u64>,
    /// Part with any rule.
    pub rule_rate: Option<f64>,
    /// Part without confidence.
    pub low_confidence: Option<f64>,
    /// Of the confidence, 0 to 1.
    pub confidence: Confidence,
    /// Of the latency.
    pub latency_ms: Latency,
    /// How many showed a preview.
    pub previews: u64,
}

/// Figures of the confidence, to a thousandth.
#[allow(missing_docs, reason = "the mean, and quantiles by their names")]
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Confidence {
    pub mean: Option<f64>,
    pub p10: Option<f64>,
    pub p50: Option<f64>,
    pub p90: Option<f64>,
}

/// Quantiles of the latency, within 5 %.
#[allow(missing_docs, reason = "quantiles by their names")]
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Latency {
    pub p50: Option<f64>,
    pub p95: Option<f64>,
}

/// The route of a text without anything to classify: no model's.
const EMPTY: &str = "empty";
/// So many stretches of time are kept apart.
const STRETCHES_MAX: usize = 500;
/// So many names, and none longer.
const NAMES_MAX: usize = 32;
const NAME_BYTES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &str = r#"{"event":"classify","schema_version":3,"destination":"canary","time_ms":1000,
        "route":"linear_head","label":"joy","confidence":0.9,"low_confidence":false,"rule_applied":false,
        "rule":null,"latency_ms":3,"preview":"Hello [EMAIL]"}"#;
    const THEIRS: &str = r#"{"schema_version":2,"timestamp":"2026-11-24T10:00:00.5Z","version":"2.4.2",
        "route":"regex","encoder":"e5","text_preview":"mail a@b.c","prediction":{"primary":"anger",
        "confidence":0.312,"top2":[["anger",0.312]],"low_confidence":true,
        "rule_applied":"tiebreak_anger_keyword_standard"},"latency_ms":41.62,"all_scores_top5":[]}"#;

    fn prediction(text: &str) -> Prediction {
        match Line::parse(text).unwrap() {
            Line::Prediction(prediction) => *prediction,
            Line::Other => panic!("no prediction"),
        }
    }

    fn of(lines: &[(&str, u64)]) -> Findings {
        let mut analysis = Analysis::default();
        for (line, times) in lines {
            let prediction = prediction(line);
            (0..*times).for_each(|_| analysis.add(&prediction));
        }
        analysis.findings()
    }

    #[test]
    fn lines_of_both_logs_are_read_and_others_are_named() {
        let ours = prediction(OURS);
        assert_eq!((ours.destination, ours.time_ms), (Some(Cohort::Canary), Some(1_000)));
        let theirs = prediction(THEIRS);
        assert_eq!((theirs.time_ms, theirs.label), (Some(1_795_514_400_500), Some(Label::Anger)));
        assert_eq!(theirs.rule.as_deref(), Some("tiebreak_anger_keyword_standard"));
        assert_eq!(Line::parse(r#"{"event":"verdict","good":true}"#), Ok(Line::Other));
        // The old system's answer could not be read.
        let unread = OURS.replace(r#""linear_head""#, "null").replace(r#""joy""#, "null");
        assert_eq!(Line::parse(&unread), Ok(Line::Other));
        let rows = [
            ("", LineError::NotJson),
            ("[]", LineError::NotJson),
            ("{}", LineError::Unknown),
            (r#"{"schema_version":1}"#, LineError::Unknown),
            (r#"{"schema_version":2}"#, LineError::Fields),
            (r#"{"event":"classify"}"#, LineError::Fields),
            (&OURS.replace("joy", "glee"), LineError::Fields),
        ];
        for (text, expected) in rows {
            assert_eq!(Line::parse(text), Err(expected), "{text}");
        }
    }

    #[test]
    fn the_verdict_counts_the_checks_that_fail() {
        let regex = OURS.replace("linear_head", "regex");
        let unsure = OURS.replace("\"low_confidence\":false", "\"low_confidence\":true");
        let leak = OURS.replace("[EMAIL]", "http://x");
        let rows = [
            (vec![(OURS, 100)], Verdict::Ready),
            (vec![(OURS, 99), (regex.as_str(), 1)], Verdict::Ready),
            (vec![(OURS, 98), (regex.as_str(), 2)], Verdict::MostlyReady),
            (vec![(OURS, 85), (unsure.as_str(), 15)], Verdict::Ready),
            (vec![(OURS, 84), (unsure.as_str(), 16)], Verdict::MostlyReady),
            (vec![(OURS, 99), (leak.as_str(), 1)], Verdict::MostlyReady),
            (vec![(OURS, 80), (regex.as_str(), 20)], Verdict::NotReady),
            (vec![(OURS, 83), (unsure.as_str(), 16), (leak.as_str(), 1)], Verdict::NotReady),
            (vec![], Verdict::NotReady),
        ];
        for (lines, expected) in rows {
            assert_eq!(of(&lines).verdict, expected, "{lines:?}");
        }
    }

    #[test]
    fn an_empty_text_is_no_models_answer() {
        let empty = OURS.replace("linear_head", "empty");
        let found = of(&[(OURS, 50), (empty.as_str(), 50)]);
        assert_eq!((found.checks[0].value, found.verdict), (Some(1.0), Verdict::Ready));
    }

    #[test]
    fn figures_are_those_of_the_lines() {
        let found = of(&[(OURS, 3), (THEIRS, 1)]);
        assert_eq!(found.predictions, 4);
        assert_eq!(found.routes, BTreeMap::from([("linear_head".into(), 3), ("regex".into(), 1)]));
        assert_eq!((found.labels[0], found.labels[2]), ((Label::Joy, 3), (Label::Anger, 1)));
        assert_eq!((found.rule_rate, found.low_confidence), (Some(0.25), Some(0.25)));
        let Confidence { mean, p10, p50, p90 } = found.confidence;
        assert!((mean.unwrap() - 0.753).abs() < 1e-9);
        assert_eq!((p10, p50, p90), (Some(0.312), Some(0.9), Some(0.9)));
        let Latency { p50, p95 } = found.latency_ms;
        assert!(
            (p50.unwrap() / 3.0 - 1.0).abs() < 0.05 && (p95.unwrap() / 41.62 - 1.0).abs() < 0.05
        );
        assert_eq!((found.previews, found.checks[3].value), (4, Some(1.0)));
        assert_eq!(of(&[]).confidence.mean, None);
    }

    #[test]
    fn strange_names_and_long_times_take_no_more_room() {
        let mut analysis = Analysis::default();
        for number in 0..5_000_u64 {
            analysis.add(&Prediction {
                route: Some(format!("route {number}")),
                time_ms: Some(number * 3_600_000),
                latency_ms: Some(1.0),
                ..Prediction::default()
            });
        }
        assert!(analysis.routes.len() <= NAMES_MAX + 1, "{}", analysis.routes.len());
        assert_eq!(analysis.routes.values().sum::<u64>(), 5_000);
        let stretches = analysis.latency_over_time();
        assert!(stretches.len() <= STRETCHES_MAX && stretches.len() > 100, "{}", stretches.len());
        assert_eq!(analysis.over_time.latency.values().map(Sketch::count).sum::<u64>(), 5_000);
    }
}
