//! Counters of one instance in Prometheus' text format: counts and names, no data of a request.
//!
//! Every isolate has its own counters and loses them when it ends, also after a panic. A scraper
//! then sees a counter reset, which `rate()` handles.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::endpoint::ModelEndpoint;
use jeffrey_classifier::{Prediction, SkipReason};
use jeffrey_terms::PredictionRoute;

#[derive(Debug, Default)]
pub(super) struct RequestCounters {
    /// Replies by endpoint (`None` if no endpoint has the path) and status.
    replies: BTreeMap<(Option<ModelEndpoint>, u16), u64>,
    predictions: BTreeMap<PredictionRoute, u64>,
    skips: BTreeMap<(PredictionRoute, SkipReason), u64>,
    truncations: u64,
}

impl RequestCounters {
    pub(super) fn count_reply(&mut self, endpoint: Option<ModelEndpoint>, status: u16) {
        *self.replies.entry((endpoint, status)).or_default() += 1;
    }

    pub(super) fn count_prediction(&mut self, prediction: &Prediction) {
        *self.predictions.entry(prediction.route).or_default() += 1;
        for skipped in &prediction.skipped_routes {
            *self.skips.entry((skipped.route, skipped.reason)).or_default() += 1;
        }
        self.truncations += u64::from(prediction.truncated);
    }

    /// Returns the exposition, version 0.0.4 of the format.
    pub(super) fn prometheus_text(&self, model_loaded: bool) -> String {
        let mut out = String::new();
        let write_header = |out: &mut String, name: &str, help: &str| {
            // Writing into a `String` cannot fail.
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} counter");
        };
        write_header(&mut out, "jeffrey_requests_total", "Replies sent, by endpoint and status.");
        for ((endpoint, code), count) in &self.replies {
            let endpoint = endpoint.map_or("none", ModelEndpoint::name);
            let labels = format!("endpoint=\"{endpoint}\",code=\"{code}\"");
            let _ = writeln!(out, "jeffrey_requests_total{{{labels}}} {count}");
        }
        write_header(
            &mut out,
            "jeffrey_predictions_total",
            "Texts classified, by the route that answered.",
        );
        for route in PredictionRoute::ALL {
            let count = self.predictions.get(&route).copied().unwrap_or_default();
            let _ =
                writeln!(out, "jeffrey_predictions_total{{route=\"{}\"}} {count}", route.name());
        }
        write_header(
            &mut out,
            "jeffrey_skipped_routes_total",
            "Routes that did not answer, by reason.",
        );
        for ((route, reason), count) in &self.skips {
            let labels = format!("route=\"{}\",reason=\"{}\"", route.name(), reason.name());
            let _ = writeln!(out, "jeffrey_skipped_routes_total{{{labels}}} {count}");
        }
        write_header(&mut out, "jeffrey_truncated_texts_total", "Texts cut at the token limit.");
        let _ = writeln!(out, "jeffrey_truncated_texts_total {}", self.truncations);
        let _ = writeln!(
            out,
            "# HELP jeffrey_model_loaded Whether the model passed its checks.\n\
             # TYPE jeffrey_model_loaded gauge\njeffrey_model_loaded {}",
            u8::from(model_loaded)
        );
        out
    }
}
