//! The table of endpoints: a method and a path to what is asked, or why nothing is there.

use super::error::{Dialect, WireError};

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Endpoint {
    /// `POST /v1/classify`: our own shape.
    Classify,
    /// `POST /v1/fault/panic`: panics on purpose; there only with `JEFFREY_FAULT_INJECTION` on.
    FaultPanic,
    /// `GET /health`
    Health,
    /// `POST /models/{id}`: Hugging Face's shape.
    HubModel,
    /// `POST /`: the same for the shipped model.
    HubRoot,
    /// `GET /info`
    Info,
    /// `GET /metrics`
    Metrics,
    /// `GET /openapi.json`
    OpenApi,
    /// `GET` of anything else: a file of the page.
    Page,
    /// `POST /predict`: text-embeddings-inference's shape.
    Predict,
}

/// The two sets of methods there are, with the preflight's.
pub(super) const GET_ONLY: &str = "GET, HEAD, OPTIONS";
pub(super) const POST_ONLY: &str = "POST, OPTIONS";
pub(super) const GET_AND_POST: &str = "GET, HEAD, POST, OPTIONS";

impl Endpoint {
    /// The endpoint of a method and a path.
    ///
    /// # Errors
    /// [`WireError::MethodNotAllowed`] and [`WireError::NotFound`].
    pub(super) fn find(method: &str, path: &str, fault_injection: bool) -> Result<Self, WireError> {
        let reads = matches!(method, "GET" | "HEAD");
        let (get, post) = Self::at(path, fault_injection);
        let found = match method {
            "GET" | "HEAD" => get,
            "POST" => post,
            _ => None,
        };
        match (found, get, post) {
            (Some(endpoint), _, _) => Ok(endpoint),
            // No file takes another method, and which files there are is not known here.
            (None, Some(Self::Page), None) if !reads => Err(WireError::NotFound),
            (None, _, _) => Err(WireError::MethodNotAllowed { allow: allow(get, post) }),
        }
    }

    /// The methods of a path, as in the `Allow` header; `None` when there is no such endpoint.
    pub(super) fn allow(path: &str, fault_injection: bool) -> Option<&'static str> {
        match Self::at(path, fault_injection) {
            (Some(Self::Page), None) => None,
            (get, post) => Some(allow(get, post)),
        }
    }

    /// What `GET` and `POST` of a path ask for.
    fn at(path: &str, fault_injection: bool) -> (Option<Self>, Option<Self>) {
        match path {
            "/" => (Some(Self::Page), Some(Self::HubRoot)),
            "/health" => (Some(Self::Health), None),
            "/info" => (Some(Self::Info), None),
            "/metrics" => (Some(Self::Metrics), None),
            "/openapi.json" => (Some(Self::OpenApi), None),
            "/predict" => (None, Some(Self::Predict)),
            "/v1/classify" => (None, Some(Self::Classify)),
            "/v1/fault/panic" if fault_injection => (None, Some(Self::FaultPanic)),
            // The page reads the model's files below the same folder.
            _ if path.starts_with(MODELS) => (Some(Self::Page), Some(Self::HubModel)),
            _ => (Some(Self::Page), None),
        }
    }

    /// The model that a path below `/models/` names.
    pub(super) fn model_id(path: &str) -> &str {
        path.strip_prefix(MODELS).unwrap_or_default()
    }

    /// Whose error shape it answers in.
    pub(super) const fn dialect(self) -> Dialect {
        match self {
            Self::HubModel | Self::HubRoot | Self::Predict => Dialect::Tei,
            _ => Dialect::Own,
        }
    }

    /// The name in metrics.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Classify => "classify",
            Self::FaultPanic => "fault_panic",
            Self::Health => "health",
            Self::HubModel => "hub_model",
            Self::HubRoot => "hub_root",
            Self::Info => "info",
            Self::Metrics => "metrics",
            Self::OpenApi => "openapi",
            Self::Page => "page",
            Self::Predict => "predict",
        }
    }
}

const fn allow(get: Option<Endpoint>, post: Option<Endpoint>) -> &'static str {
    match (get, post) {
        (Some(_), Some(_)) => GET_AND_POST,
        (Some(_), None) => GET_ONLY,
        (None, _) => POST_ONLY,
    }
}

const MODELS: &str = "/models/";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_and_path_has_one_meaning() {
        let rows = [
            ("GET", "/", Ok(Endpoint::Page)),
            ("HEAD", "/", Ok(Endpoint::Page)),
            ("POST", "/", Ok(Endpoint::HubRoot)),
            ("PUT", "/", Err(405)),
            ("POST", "/v1/classify", Ok(Endpoint::Classify)),
            ("GET", "/v1/classify", Err(405)),
            ("HEAD", "/v1/classify", Err(405)),
            ("DELETE", "/v1/classify", Err(405)),
            ("post", "/v1/classify", Err(405)),
            ("POST", "/v1/classify/", Err(404)),
            ("POST", "/V1/classify", Err(404)),
            ("GET", "/v1/classify/", Ok(Endpoint::Page)),
            ("POST", "/models/e1", Ok(Endpoint::HubModel)),
            ("GET", "/models/e1/config.json", Ok(Endpoint::Page)),
            ("PATCH", "/models/e1", Err(405)),
            ("POST", "/predict", Ok(Endpoint::Predict)),
            ("GET", "/predict", Err(405)),
            ("GET", "/info", Ok(Endpoint::Info)),
            ("HEAD", "/health", Ok(Endpoint::Health)),
            ("POST", "/health", Err(405)),
            ("GET", "/metrics", Ok(Endpoint::Metrics)),
            ("GET", "/openapi.json", Ok(Endpoint::OpenApi)),
            ("POST", "/no/such", Err(404)),
            ("POST", "/v1/fault/panic", Err(404)),
        ];
        for (method, path, expected) in rows {
            let found = Endpoint::find(method, path, false);
            let found = found.map_err(|error| error.status(Dialect::Own));
            assert_eq!(found, expected, "{method} {path}");
        }
        let planted = Endpoint::find("POST", "/v1/fault/panic", true);
        assert_eq!(planted, Ok(Endpoint::FaultPanic));
    }

    #[test]
    fn a_wrong_method_names_the_right_ones() {
        let rows = [("/", GET_AND_POST), ("/health", GET_ONLY), ("/predict", POST_ONLY)];
        for (path, expected) in rows {
            let error = Endpoint::find("DELETE", path, false).unwrap_err();
            assert_eq!(error, WireError::MethodNotAllowed { allow: expected }, "{path}");
            assert_eq!(Endpoint::allow(path, false), Some(expected), "{path}");
        }
        assert_eq!(Endpoint::allow("/no/such", false), None);
    }
}
