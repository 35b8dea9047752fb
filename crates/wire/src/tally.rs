//! Sums since the instance began, in Prometheus' text format: counts and names, nothing of a request.
//!
//! Every isolate has its own and loses it with its life, a panic included; a scraper sees a counter
//! reset, which `rate()` understands.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::endpoint::Endpoint;
use jeffrey_classifier::{Prediction, Route, SkipReason};

#[derive(Debug, Default)]
pub(super) struct Tally {
    /// By endpoint (`None` where there is none) and status.
    replies: BTreeMap<(Option<Endpoint>, u16), u64>,
    answers: BTreeMap<Route, u64>,
    skips: BTreeMap<(Route, SkipReason), u64>,
    truncated: u64,
}

impl Tally {
    pub(super) fn add_reply(&mut self, endpoint: Option<Endpoint>, status: u16) {
        *self.replies.entry((endpoint, status)).or_default() += 1;
    }

    pub(super) fn add_prediction(&mut self, prediction: &Prediction) {
        *self.answers.entry(prediction.route).or_default() += 1;
        for skipped in &prediction.skipped {
            *self.skips.entry((skipped.route, skipped.reason)).or_default() += 1;
        }
        self.truncated += u64::from(prediction.truncated);
    }

    /// The exposition, version 0.0.4.
    pub(super) fn exposition(&self, model_loaded: bool) -> String {
        let mut out = String::new();
        let counter = |out: &mut String, name: &str, help: &str| {
            // Writing into a String cannot fail.
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} counter");
        };
        counter(&mut out, "jeffrey_requests_total", "Replies sent, by endpoint and status.");
        for ((endpoint, code), count) in &self.replies {
            let endpoint = endpoint.map_or("none", Endpoint::name);
            let labels = format!("endpoint=\"{endpoint}\",code=\"{code}\"");
            let _ = writeln!(out, "jeffrey_requests_total{{{labels}}} {count}");
        }
        counter(&mut out, "jeffrey_answers_total", "Texts classified, by the route that answered.");
        for route in Route::ALL {
            let count = self.answers.get(&route).copied().unwrap_or_default();
            let _ = writeln!(out, "jeffrey_answers_total{{route=\"{}\"}} {count}", route.name());
        }
        counter(&mut out, "jeffrey_skips_total", "Routes that did not answer, by reason.");
        for ((route, reason), count) in &self.skips {
            let labels = format!("route=\"{}\",reason=\"{}\"", route.name(), reason.name());
            let _ = writeln!(out, "jeffrey_skips_total{{{labels}}} {count}");
        }
        counter(&mut out, "jeffrey_truncated_total", "Texts cut at the token limit.");
        let _ = writeln!(out, "jeffrey_truncated_total {}", self.truncated);
        let _ = writeln!(
            out,
            "# HELP jeffrey_model_loaded Whether the model passed its checks.\n\
             # TYPE jeffrey_model_loaded gauge\njeffrey_model_loaded {}",
            u8::from(model_loaded)
        );
        out
    }
}
