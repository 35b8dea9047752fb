//! One request in, one reply out: what the model worker does, without its platform.
//!
//! Two calls, because a body must not be read before its length is known: [`Service::receive`]
//! looks at the head and says whether a body is wanted, [`Service::respond`] answers. A model that
//! failed its checks leaves a service that answers by keyword patterns and says so.

use super::about::{Build, Health, Info};
use super::endpoint::Endpoint;
use super::error::{Dialect, WireError};
use super::hub::{HubRequest, Inputs, PredictRequest, Scale, Scored};
use super::json::{Fields, Json};
use super::settings::Settings;
use super::tally::Tally;
use super::{Answer, BODY_BYTES_MAX, Body, Head, Moment, Reply, to_json};
use jeffrey_classifier::{Classifier, Manifest, ModelFiles, Prediction, TieBreak};
use jeffrey_terms::{AnswerId, Text};

/// What a head asks the shell to do next.
#[derive(Debug)]
pub enum Received {
    /// Fetch a file of the page, then ask [`Service::page_reply`].
    Page,
    /// Read the body up to [`BODY_BYTES_MAX`], then ask [`Service::respond`].
    Read(Endpoint),
    /// Send this; the body is not wanted.
    Reply(Reply),
}

impl std::fmt::Debug for Reply {
    /// The status alone: a body may hold an answer about somebody's text.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Reply({}, {} bytes)", self.status, self.body.len())
    }
}

/// The classifier with all that is kept between requests: sums.
pub struct Service {
    classifier: Classifier,
    /// The id of the model that was shipped, whether or not it passed its checks.
    shipped: Option<String>,
    /// Why the shipped model is not in use.
    refused: Option<String>,
    build: Build,
    tally: Tally,
}

impl Service {
    /// Loads a model; one that fails its checks is left out and named by [`Service::refused`].
    pub fn load(files: &ModelFiles<'_>, build: Build) -> Self {
        let shipped = serde_json::from_slice(files.manifest).ok();
        let shipped = shipped.map(|manifest: Manifest| manifest.id);
        let (classifier, refused) = match Classifier::from_bytes(files, TieBreak::default()) {
            Ok(classifier) => (classifier, None),
            Err(error) => (Classifier::without_model(TieBreak::default()), Some(error.to_string())),
        };
        Self { classifier, shipped, refused, build, tally: Tally::default() }
    }

    /// Why the shipped model is not in use; `None` when it is.
    pub fn refused(&self) -> Option<&str> {
        self.refused.as_deref()
    }

    /// Classifies a text that belongs to nobody, so that what is made at the first use (patterns,
    /// buffers) is there before the first caller.
    pub fn warm_up(&self) {
        if let Ok(text) = Text::parse("I am furious! Je suis hors de moi. https://a.example 😀") {
            self.classifier.classify(&text);
        }
    }

    /// Looks at a head.
    pub fn receive(&mut self, head: &Head<'_>, settings: &Settings) -> Received {
        if head.method == "OPTIONS"
            && let Some(allow) = Endpoint::allow(head.path, settings.fault_injection)
        {
            return Received::Reply(self.finish(None, head, settings, Content::methods(allow)));
        }
        let endpoint = match Endpoint::find(head.method, head.path, settings.fault_injection) {
            Ok(Endpoint::Page) => return Received::Page,
            Ok(endpoint) => endpoint,
            Err(error) => {
                let content = Content::error(&error, Dialect::Own);
                return Received::Reply(self.finish(None, head, settings, content));
            }
        };
        let content = match endpoint {
            Endpoint::Health => self.health(settings),
            Endpoint::Info => Content::json(200, &Info::new(&self.classifier, self.build)),
            Endpoint::Metrics => self.metrics(),
            Endpoint::OpenApi => Content::of(200, JSON, OPEN_API.into()),
            _ if declared_bytes(head) > BODY_BYTES_MAX as u64 => Content::error(
                &WireError::BodyTooLarge { limit: BODY_BYTES_MAX },
                endpoint.dialect(),
            ),
            _ => return Received::Read(endpoint),
        };
        Received::Reply(self.finish(Some(endpoint), head, settings, content))
    }

    /// Answers a request whose body was read.
    ///
    /// # Panics
    /// On purpose, for [`Endpoint::FaultPanic`], which is there in tests only.
    pub fn respond(
        &mut self,
        endpoint: Endpoint,
        head: &Head<'_>,
        settings: &Settings,
        body: Body,
        moment: Moment,
    ) -> Reply {
        let body = match body {
            Body::Whole(body) if body.len() <= BODY_BYTES_MAX => Ok(body),
            Body::Whole(_) | Body::TooLarge => {
                Err(WireError::BodyTooLarge { limit: BODY_BYTES_MAX })
            }
            Body::Broken => Err(WireError::BodyBroken),
        };
        let content = body.and_then(|body| self.content(endpoint, head, settings, &body, moment));
        let content = content.unwrap_or_else(|error| Content::error(&error, endpoint.dialect()));
        self.finish(Some(endpoint), head, settings, content)
    }

    /// What to send instead of a file of the page, by the status that fetching it gave; `None` to
    /// send the file with [`super::PAGE_HEADERS`].
    pub fn page_reply(
        &mut self,
        head: &Head<'_>,
        settings: &Settings,
        status: u16,
    ) -> Option<Reply> {
        if status == 404 {
            let content = Content::error(&WireError::NotFound, Dialect::Own);
            return Some(self.finish(None, head, settings, content));
        }
        self.tally.add_reply(Some(Endpoint::Page), status);
        None
    }

    fn content(
        &mut self,
        endpoint: Endpoint,
        head: &Head<'_>,
        settings: &Settings,
        body: &[u8],
        moment: Moment,
    ) -> Result<Content, WireError> {
        if let Some(faults) = settings.refusal() {
            return Err(WireError::BadSetting { faults });
        }
        self.classifier.set_tie_break(settings.tie_break);
        match endpoint {
            Endpoint::Classify => self.classify(body, moment),
            Endpoint::HubModel
                if self.shipped.as_deref() != Some(Endpoint::model_id(head.path)) =>
            {
                Err(WireError::UnknownModel)
            }
            Endpoint::HubModel | Endpoint::HubRoot => self.hub(body),
            Endpoint::Predict => self.predict(body),
            // The message holds the body, as a real panic's may: a test proves that it stays here.
            Endpoint::FaultPanic => panic!("planted: {}", String::from_utf8_lossy(body)),
            // `receive` answers these without a body.
            Endpoint::Health
            | Endpoint::Info
            | Endpoint::Metrics
            | Endpoint::OpenApi
            | Endpoint::Page => Err(WireError::NotFound),
        }
    }

    fn classify(&mut self, body: &[u8], moment: Moment) -> Result<Content, WireError> {
        let text = classify_text(body)?;
        let prediction = self.predicted(&text);
        let id = AnswerId::new(moment.now, moment.random).to_string();
        let model = self.classifier.manifest().map(|manifest| manifest.id.clone());
        Ok(Content::json(200, &Answer::new(&prediction, Some(id), model)))
    }

    /// The nested answer, one list a text.
    fn hub(&mut self, body: &[u8]) -> Result<Content, WireError> {
        let request = HubRequest::parse(body)?;
        let texts = match request.inputs {
            Inputs::Batch(texts) => texts,
            Inputs::One(text) => vec![text],
        };
        let lists: Vec<Vec<Scored>> =
            texts.iter().map(|text| request.scale.scored(&self.predicted(text))).collect();
        Ok(Content::json(200, &lists))
    }

    /// The flat answer for one text, lists for a batch.
    fn predict(&mut self, body: &[u8]) -> Result<Content, WireError> {
        let request = PredictRequest::parse(body)?;
        let (scale, truncate) = (request.scale, request.truncate);
        match request.inputs {
            Inputs::One(text) => {
                Ok(Content::json(200, &self.within_tokens(&text, scale, truncate)?))
            }
            Inputs::Batch(texts) => {
                let lists = texts.iter().map(|text| self.within_tokens(text, scale, truncate));
                Ok(Content::json(200, &lists.collect::<Result<Vec<_>, _>>()?))
            }
        }
    }

    fn within_tokens(
        &mut self,
        text: &Text,
        scale: Scale,
        truncate: bool,
    ) -> Result<Vec<Scored>, WireError> {
        let prediction = self.predicted(text);
        if prediction.truncated && !truncate {
            let limit = self.classifier.manifest().map_or(0, |manifest| manifest.max_tokens);
            return Err(WireError::TooManyTokens { limit });
        }
        Ok(scale.scored(&prediction))
    }

    fn predicted(&mut self, text: &Text) -> Prediction {
        let prediction = self.classifier.classify(text);
        self.tally.add_prediction(&prediction);
        prediction
    }

    fn health(&self, settings: &Settings) -> Content {
        let health = Health::new(&self.classifier, self.refused(), settings, self.build);
        Content::json(health.http_status(), &health)
    }

    fn metrics(&self) -> Content {
        let text = self.tally.exposition(self.classifier.manifest().is_some());
        Content::of(200, "text/plain; version=0.0.4; charset=utf-8", text.into_bytes())
    }

    /// Counts the reply and adds the headers that do not depend on what was asked.
    fn finish(
        &mut self,
        endpoint: Option<Endpoint>,
        head: &Head<'_>,
        settings: &Settings,
        content: Content,
    ) -> Reply {
        self.tally.add_reply(endpoint, content.status);
        let mut headers = vec![
            ("cache-control", "no-store".to_owned()),
            ("x-content-type-options", "nosniff".to_owned()),
        ];
        headers.extend(content.kind.map(|kind| ("content-type", kind.to_owned())));
        headers.extend(content.allow.map(|allow| ("allow", allow.to_owned())));
        let allow = Endpoint::allow(head.path, settings.fault_injection).unwrap_or_default();
        headers.extend(settings.origins.headers(head, allow));
        // Whose answer it is, to be kept with it: a name may be given twice, a hash may not.
        let sha256 = self.classifier.sha256().filter(|_| endpoint == Some(Endpoint::Classify));
        headers.extend(sha256.map(|sha256| ("x-model-sha256", sha256.to_owned())));
        let body = if head.method == "HEAD" { Vec::new() } else { content.body };
        Reply { status: content.status, headers, body }
    }
}

/// A reply before the headers that all share.
struct Content {
    status: u16,
    kind: Option<&'static str>,
    allow: Option<&'static str>,
    body: Vec<u8>,
}

impl Content {
    fn of(status: u16, kind: &'static str, body: Vec<u8>) -> Self {
        Self { status, kind: Some(kind), allow: None, body }
    }

    fn json<T: serde::Serialize>(status: u16, value: &T) -> Self {
        Self::of(status, JSON, to_json(value))
    }

    /// Nothing but the methods of a path.
    const fn methods(allow: &'static str) -> Self {
        Self { status: 204, kind: None, allow: Some(allow), body: Vec::new() }
    }

    fn error(error: &WireError, dialect: Dialect) -> Self {
        let allow = match error {
            WireError::MethodNotAllowed { allow } => Some(*allow),
            _ => None,
        };
        Self { allow, ..Self::of(error.status(dialect), JSON, error.body(dialect)) }
    }
}

/// The text of our own shape, `{"text": "…"}`; other fields are not read.
fn classify_text(body: &[u8]) -> Result<Text, WireError> {
    const FIELD: &str = "text";
    const EXPECTED: &str = "{\"text\": \"…\"}";
    let mut fields = Fields::of(Json::parse(body, EXPECTED)?, "the body")?;
    match fields.take(FIELD)? {
        Some(Json::String(text)) => Ok(Text::parse(text)?),
        Some(other) => {
            let (seen, expected) = (other.kind(), "a string");
            Err(WireError::WrongType { field: FIELD, seen, expected })
        }
        None => Err(WireError::MissingField { field: FIELD, expected: EXPECTED }),
    }
}

/// The length that the head declares; 0 when it declares none or nonsense, because what is read is
/// counted as well.
fn declared_bytes(head: &Head<'_>) -> u64 {
    head.content_length.and_then(|length| length.trim().parse().ok()).unwrap_or(0)
}

const JSON: &str = "application/json";

const OPEN_API: &str = include_str!("openapi.json");

#[cfg(test)]
mod tests;
