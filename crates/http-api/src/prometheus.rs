//! Counters of one instance in Prometheus' text format: counts and names, no data of a request.
//!
//! Every isolate has its own counters and loses them when it ends, also after a panic. A scraper
//! then sees a counter reset, which `rate()` handles.

use std::collections::BTreeMap;

use super::endpoint::ModelEndpoint;
use jeffrey_classifier::{Prediction, SkipReason};
use jeffrey_http_core::prometheus::Exposition;
use jeffrey_http_core::prometheus::MetricType::{Counter, Gauge};
use jeffrey_terms::PredictionRoute;

const REQUESTS: &str = "jeffrey_requests_total";
const PREDICTIONS: &str = "jeffrey_predictions_total";
const SKIPPED: &str = "jeffrey_skipped_routes_total";
const TRUNCATED: &str = "jeffrey_truncated_texts_total";
const MODEL_LOADED: &str = "jeffrey_model_loaded";

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
        let mut exposition = Exposition::default();
        exposition.begin_family(REQUESTS, Counter, "Replies sent, by endpoint and status.");
        for ((endpoint, code), count) in &self.replies {
            let endpoint = endpoint.map_or("none", ModelEndpoint::name);
            let series = format!("{REQUESTS}{{endpoint=\"{endpoint}\",code=\"{code}\"}}");
            exposition.write_sample(series, count);
        }
        let help = "Texts classified, by the route that answered.";
        exposition.begin_family(PREDICTIONS, Counter, help);
        for route in PredictionRoute::ALL {
            let count = self.predictions.get(&route).copied().unwrap_or_default();
            exposition.write_sample(format!("{PREDICTIONS}{{route=\"{}\"}}", route.name()), count);
        }
        exposition.begin_family(SKIPPED, Counter, "Routes that did not answer, by reason.");
        for ((route, reason), count) in &self.skips {
            let labels = format!("route=\"{}\",reason=\"{}\"", route.name(), reason.name());
            exposition.write_sample(format!("{SKIPPED}{{{labels}}}"), count);
        }
        exposition.begin_family(TRUNCATED, Counter, "Texts cut at the token limit.");
        exposition.write_sample(TRUNCATED, self.truncations);
        let help = "Whether the model passed its checks.";
        exposition.begin_family(MODEL_LOADED, Gauge, help);
        exposition.write_sample(MODEL_LOADED, u8::from(model_loaded));
        exposition.into_text()
    }
}
