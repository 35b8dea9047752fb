//! The model worker without its platform: one request in, one reply out.
//!
//! There are two calls, because a body must not be read before its length is known.
//! [`ClassifierService::handle_request_head`] reads the head and says whether the body is wanted;
//! [`ClassifierService::handle_body`] answers. If the model fails its checks, the service answers
//! by keyword patterns and reports the fault in `/health`.

mod answer;

use super::endpoint::ModelEndpoint;
use super::error::{ClassifyApiError, ErrorFormat};
use super::info::{BuildInfo, HealthResponse, InfoResponse, InstanceInfo};
use super::prometheus::RequestCounters;
use super::rate_limit::RATE_LIMIT_PERIOD_S;
use super::settings::ModelWorkerSettings;
use super::{BODY_BYTES_MAX, IdSeed};
use jeffrey_classifier::{Classifier, ModelFiles, ModelManifest, TieBreak};
use jeffrey_http_core::body::BodyRead;
use jeffrey_http_core::head::RequestHead;
use jeffrey_http_core::prometheus::CONTENT_TYPE;
use jeffrey_http_core::reply::{HttpReply, JSON, to_json};
use jeffrey_terms::InputText;

/// Next step of the shell after a request's head.
#[derive(Debug)]
pub enum RequestHeadAction {
    /// Fetch a file of the page, then call [`ClassifierService::reply_for_missing_page`].
    FetchPage,
    /// Read the body up to [`BODY_BYTES_MAX`], then call [`ClassifierService::handle_body`].
    ReadBody(ModelEndpoint),
    /// Send this reply; the body is not wanted.
    Reply(HttpReply),
}

/// The classifier, with the counters that are kept between requests.
pub struct ClassifierService {
    classifier: Classifier,
    /// Id of the shipped model, whether or not the model passed its checks; `None` if the manifest
    /// cannot be read.
    shipped_model_id: Option<String>,
    /// Reason why the shipped model is not in use.
    model_error: Option<String>,
    build: BuildInfo,
    /// `None` until the shell names the instance, at its first request.
    instance: Option<InstanceInfo>,
    counters: RequestCounters,
}

impl ClassifierService {
    /// Loads a model. A model that fails its checks is left out, and
    /// [`ClassifierService::model_load_error`] says why.
    pub fn load(files: &ModelFiles<'_>, build: BuildInfo) -> Self {
        let shipped_model_id = serde_json::from_slice(files.manifest).ok();
        let shipped_model_id = shipped_model_id.map(|manifest: ModelManifest| manifest.id);
        let (classifier, model_error) = match Classifier::from_bytes(files, TieBreak::default()) {
            Ok(classifier) => (classifier, None),
            Err(error) => (Classifier::without_model(TieBreak::default()), Some(error.to_string())),
        };
        Self {
            classifier,
            shipped_model_id,
            model_error,
            build,
            instance: None,
            counters: RequestCounters::default(),
        }
    }

    /// Returns the reason why the shipped model is not in use; `None` if it is in use.
    pub fn model_load_error(&self) -> Option<&str> {
        self.model_error.as_deref()
    }

    /// Returns whether [`ClassifierService::set_instance`] was called.
    pub const fn has_instance(&self) -> bool {
        self.instance.is_some()
    }

    /// Names the instance for `/health`. The shell does so at the first request, because it may draw
    /// no random bytes before.
    pub fn set_instance(&mut self, instance: InstanceInfo) {
        self.instance = Some(instance);
    }

    /// Classifies a fixed text, so that everything that is made at first use (patterns, buffers)
    /// exists before the first request.
    pub fn warm_up(&self) {
        if let Ok(text) =
            InputText::parse("I am furious! Je suis hors de moi. https://a.example 😀")
        {
            self.classifier.classify(&text);
        }
    }

    /// Reads a request's head: replies at once, or says what the shell has to read first.
    pub fn handle_request_head(
        &mut self,
        head: &RequestHead,
        settings: &ModelWorkerSettings,
    ) -> RequestHeadAction {
        if head.method == "OPTIONS"
            && let Some(allow) =
                ModelEndpoint::allowed_methods(head.path(), settings.fault_injection)
        {
            return RequestHeadAction::Reply(self.finish_reply(
                None,
                head,
                settings,
                ReplyContent::from_methods(allow),
            ));
        }
        let endpoint =
            match ModelEndpoint::find(&head.method, head.path(), settings.fault_injection) {
                Ok(ModelEndpoint::Page) => return RequestHeadAction::FetchPage,
                Ok(endpoint) => endpoint,
                Err(error) => {
                    let content = ReplyContent::from_error(&error, ErrorFormat::Native);
                    return RequestHeadAction::Reply(
                        self.finish_reply(None, head, settings, content),
                    );
                }
            };
        let content = match endpoint {
            ModelEndpoint::Health => self.health_content(settings),
            ModelEndpoint::Info => {
                let info = InfoResponse::new(&self.classifier, settings, self.build);
                ReplyContent::from_json(200, &info)
            }
            ModelEndpoint::Metrics => self.metrics_content(),
            ModelEndpoint::OpenApi => ReplyContent::new(200, JSON, OPEN_API.into()),
            // The shell also counts the bytes that it reads, so a length may be missing.
            _ if head.content_length().is_some_and(|length| length > BODY_BYTES_MAX as u64) => {
                ReplyContent::from_error(
                    &ClassifyApiError::BodyTooLarge { limit: BODY_BYTES_MAX },
                    endpoint.error_format(),
                )
            }
            _ => return RequestHeadAction::ReadBody(endpoint),
        };
        RequestHeadAction::Reply(self.finish_reply(Some(endpoint), head, settings, content))
    }

    /// Answers a request of a caller who is over the rate limit, whose body was not read.
    pub fn reply_over_rate_limit(
        &mut self,
        endpoint: ModelEndpoint,
        head: &RequestHead,
        settings: &ModelWorkerSettings,
    ) -> HttpReply {
        let error = ClassifyApiError::RateLimited { period_s: RATE_LIMIT_PERIOD_S };
        let content = ReplyContent::from_error(&error, endpoint.error_format());
        let mut reply = self.finish_reply(Some(endpoint), head, settings, content);
        reply.headers.push(("retry-after", RATE_LIMIT_PERIOD_S.to_string()));
        reply
    }

    /// Answers a request whose body was read.
    ///
    /// # Panics
    /// Panics on purpose for [`ModelEndpoint::FaultPanic`], which exists in tests only.
    pub fn handle_body(
        &mut self,
        endpoint: ModelEndpoint,
        head: &RequestHead,
        settings: &ModelWorkerSettings,
        body: BodyRead,
        id_seed: IdSeed,
    ) -> HttpReply {
        let body = match body {
            BodyRead::Complete(body) if body.len() <= BODY_BYTES_MAX => Ok(body),
            BodyRead::Complete(_) | BodyRead::TooLarge => {
                Err(ClassifyApiError::BodyTooLarge { limit: BODY_BYTES_MAX })
            }
            BodyRead::Broken => Err(ClassifyApiError::BodyBroken),
        };
        let content = body.and_then(|body| self.dispatch(endpoint, head, settings, &body, id_seed));
        let content = content
            .unwrap_or_else(|error| ReplyContent::from_error(&error, endpoint.error_format()));
        self.finish_reply(Some(endpoint), head, settings, content)
    }

    /// Returns the reply to send instead of a file of the page, by the status that fetching the
    /// file gave; `None` if the shell sends the file with [`super::HTML_PAGE_HEADERS`].
    pub fn reply_for_missing_page(
        &mut self,
        head: &RequestHead,
        settings: &ModelWorkerSettings,
        status: u16,
    ) -> Option<HttpReply> {
        if status == 404 {
            let content =
                ReplyContent::from_error(&ClassifyApiError::NotFound, ErrorFormat::Native);
            return Some(self.finish_reply(None, head, settings, content));
        }
        self.counters.count_reply(Some(ModelEndpoint::Page), status);
        None
    }

    fn dispatch(
        &mut self,
        endpoint: ModelEndpoint,
        head: &RequestHead,
        settings: &ModelWorkerSettings,
        body: &[u8],
        id_seed: IdSeed,
    ) -> Result<ReplyContent, ClassifyApiError> {
        if let Some(faults) = settings.faults_line() {
            return Err(ClassifyApiError::BadSetting { faults });
        }
        self.classifier.set_tie_break(settings.tie_break);
        match endpoint {
            ModelEndpoint::Classify => self.answer_classify(body, settings, id_seed),
            ModelEndpoint::HfModel
                if self.shipped_model_id.as_deref()
                    != Some(ModelEndpoint::model_id_from_path(head.path())) =>
            {
                Err(ClassifyApiError::UnknownModel)
            }
            ModelEndpoint::HfModel | ModelEndpoint::HfRoot => self.answer_hf(body, settings),
            ModelEndpoint::Predict => self.answer_predict(body, settings),
            // The message quotes the body, as a real panic's may: a test proves that it never
            // leaves the Worker.
            ModelEndpoint::FaultPanic => panic!("planted: {}", String::from_utf8_lossy(body)),
            // `handle_head` answers these without a body.
            ModelEndpoint::Health
            | ModelEndpoint::Info
            | ModelEndpoint::Metrics
            | ModelEndpoint::OpenApi
            | ModelEndpoint::Page => Err(ClassifyApiError::NotFound),
        }
    }

    fn health_content(&self, settings: &ModelWorkerSettings) -> ReplyContent {
        let health = HealthResponse::new(
            &self.classifier,
            self.model_load_error(),
            settings,
            self.instance.as_ref(),
            self.build,
        );
        ReplyContent::from_json(health.http_status(), &health)
    }

    fn metrics_content(&self) -> ReplyContent {
        let text = self.counters.prometheus_text(self.classifier.manifest().is_some());
        ReplyContent::new(200, CONTENT_TYPE, text.into_bytes())
    }

    /// Counts the reply and adds the headers that every reply has.
    fn finish_reply(
        &mut self,
        endpoint: Option<ModelEndpoint>,
        head: &RequestHead,
        settings: &ModelWorkerSettings,
        content: ReplyContent,
    ) -> HttpReply {
        self.counters.count_reply(endpoint, content.status);
        let mut headers = vec![
            ("cache-control", "no-store".to_owned()),
            ("x-content-type-options", "nosniff".to_owned()),
        ];
        headers.extend(
            content.content_type.map(|content_type| ("content-type", content_type.to_owned())),
        );
        headers.extend(content.allow.map(|allow| ("allow", allow.to_owned())));
        let allow = ModelEndpoint::allowed_methods(head.path(), settings.fault_injection)
            .unwrap_or_default();
        headers.extend(settings.origins.headers(head, allow));
        // Identifies the model of a classify reply: two models may share a name, but not a hash.
        let sha256 =
            self.classifier.model_sha256().filter(|_| endpoint == Some(ModelEndpoint::Classify));
        headers.extend(sha256.map(|sha256| ("x-model-sha256", sha256.to_owned())));
        let body = if head.method == "HEAD" { Vec::new() } else { content.body };
        HttpReply { status: content.status, headers, body }
    }
}

/// A reply before the common headers are added.
struct ReplyContent {
    status: u16,
    content_type: Option<&'static str>,
    allow: Option<&'static str>,
    body: Vec<u8>,
}

impl ReplyContent {
    fn new(status: u16, content_type: &'static str, body: Vec<u8>) -> Self {
        Self { status, content_type: Some(content_type), allow: None, body }
    }

    fn from_json<T: serde::Serialize>(status: u16, value: &T) -> Self {
        Self::new(status, JSON, to_json(value))
    }

    /// Builds a 204 reply that holds only the methods of a path.
    const fn from_methods(allow: &'static str) -> Self {
        Self { status: 204, content_type: None, allow: Some(allow), body: Vec::new() }
    }

    fn from_error(error: &ClassifyApiError, format: ErrorFormat) -> Self {
        let allow = match error {
            ClassifyApiError::MethodNotAllowed { allow } => Some(*allow),
            _ => None,
        };
        Self { allow, ..Self::new(error.status(format), JSON, error.body(format)) }
    }
}

const OPEN_API: &str = include_str!("openapi.json");

#[cfg(test)]
mod tests;
