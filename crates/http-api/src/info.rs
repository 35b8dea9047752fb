//! Replies of `GET /health` and `GET /info`.
//!
//! `/health` reports the model, the build and every fault, with a status for load balancers.
//! `/info` reports the model and its limits in the fields of text-embeddings-inference, for clients
//! of that server.

use std::collections::BTreeMap;

use serde::Serialize;

use super::hf_api::BATCH_MAX;
use super::settings::ModelWorkerSettings;
use jeffrey_classifier::Classifier;
use jeffrey_terms::Label;

/// Version and commit of the build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BuildInfo {
    /// Version of the Worker's crate.
    pub version: &'static str,
    /// Commit that was built; `unknown` without git.
    pub commit: &'static str,
}

/// Instance of the Worker's wasm module that answers, as `/health` reports it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InstanceInfo {
    id: String,
    starts: u32,
}

impl InstanceInfo {
    /// Names an instance by random bytes, fresh for each. `starts` counts the instances of its
    /// isolate, this one included: it is above 1 if a trap replaced an earlier one.
    pub fn new(random: [u8; 8], starts: u32) -> Self {
        Self { id: format!("{:016x}", u64::from_be_bytes(random)), starts }
    }
}

/// JSON body of `GET /health`.
#[derive(Debug, Serialize)]
pub(super) struct HealthResponse<'a> {
    status: HealthStatus,
    model: Option<HealthModel<'a>>,
    faults: Vec<HealthFault>,
    /// `None` if the shell names no instance.
    instance: Option<&'a InstanceInfo>,
    version: &'static str,
    commit: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum HealthStatus {
    /// Texts are classified, but at least one route is missing.
    Degraded,
    /// No text is classified until a variable is corrected.
    Failed,
    /// All routes of the classifier work.
    Ok,
}

#[derive(Debug, Serialize)]
struct HealthModel<'a> {
    id: &'a str,
    sha256: &'a str,
}

#[derive(Debug, Serialize)]
struct HealthFault {
    code: &'static str,
    message: String,
}

impl<'a> HealthResponse<'a> {
    pub(super) fn new(
        classifier: &'a Classifier,
        model_error: Option<&str>,
        settings: &ModelWorkerSettings,
        instance: Option<&'a InstanceInfo>,
        build: BuildInfo,
    ) -> Self {
        let mut faults = Vec::new();
        let mut status = HealthStatus::Ok;
        if let Some(reason) = model_error {
            let message = format!("answering by keyword patterns: {reason}");
            faults.push(HealthFault { code: "model_refused", message });
            status = HealthStatus::Degraded;
        }
        let disabled_routes = classifier.dimension_mismatches();
        if disabled_routes > 0 {
            let message = format!(
                "{disabled_routes} of 2 routes switched off: dimension is not the encoder's"
            );
            faults.push(HealthFault { code: "dimension_mismatch", message });
            status = HealthStatus::Degraded;
        }
        for fault in &settings.faults {
            faults.push(HealthFault { code: "invalid_setting", message: fault.to_string() });
            status = HealthStatus::Failed;
        }
        let model = classifier.manifest().zip(classifier.model_sha256());
        let model = model.map(|(manifest, sha256)| HealthModel { id: &manifest.id, sha256 });
        Self { status, model, faults, instance, version: build.version, commit: build.commit }
    }

    /// Returns 503 only if no text would be classified. A Worker that answers by a lesser route
    /// stays in rotation and reports `degraded`.
    pub(super) fn http_status(&self) -> u16 {
        if self.status == HealthStatus::Failed { 503 } else { 200 }
    }
}

/// JSON body of `GET /info`, with the fields of text-embeddings-inference.
#[derive(Debug, Serialize)]
pub(super) struct InfoResponse<'a> {
    model_id: Option<&'a str>,
    model_sha: Option<&'a str>,
    model_dtype: &'static str,
    model_type: ModelType,
    max_concurrent_requests: usize,
    max_input_length: usize,
    max_batch_tokens: usize,
    max_client_batch_size: usize,
    auto_truncate: bool,
    tokenization_workers: usize,
    version: &'static str,
    sha: &'static str,
    docker_label: Option<&'static str>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum ModelType {
    Classifier { id2label: BTreeMap<String, Label>, label2id: BTreeMap<&'static str, usize> },
}

impl<'a> InfoResponse<'a> {
    pub(super) fn new(
        classifier: &'a Classifier,
        settings: &ModelWorkerSettings,
        build: BuildInfo,
    ) -> Self {
        let labels = || Label::ALL.into_iter();
        let tokens = classifier.manifest().map_or(0, |manifest| manifest.max_tokens);
        let batch_tokens = tokens * BATCH_MAX;
        Self {
            model_id: classifier.manifest().map(|manifest| manifest.id.as_str()),
            model_sha: classifier.model_sha256(),
            model_dtype: "int8",
            model_type: ModelType::Classifier {
                id2label: labels().map(|label| (label.index().to_string(), label)).collect(),
                label2id: labels().map(|label| (label.name(), label.index())).collect(),
            },
            // An instance classifies one text at a time.
            max_concurrent_requests: 1,
            max_input_length: tokens,
            max_batch_tokens: settings
                .tokens_max
                .map_or(batch_tokens, |limit| limit.min(batch_tokens)),
            max_client_batch_size: BATCH_MAX,
            auto_truncate: false,
            tokenization_workers: 1,
            version: build.version,
            sha: build.commit,
            docker_label: None,
        }
    }
}
