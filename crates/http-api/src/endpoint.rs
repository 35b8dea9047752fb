//! The table of endpoints: from method and path to a [`ModelEndpoint`], or to the error.
//!
//! Paths are exact, and case matters. A `GET` of any other path is a file of the page; the shell
//! finds out whether that file exists.

use super::error::{ClassifyApiError, ErrorFormat};

/// Endpoint that a request addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ModelEndpoint {
    /// `POST /v1/classify`: the native JSON format.
    Classify,
    /// `POST /v1/fault/panic`: panics on purpose; exists only if `JEFFREY_FAULT_INJECTION` is `on`.
    FaultPanic,
    /// `GET /health`: the model, the build and every fault.
    Health,
    /// `POST /models/{id}`: Hugging Face's format.
    HfModel,
    /// `POST /`: Hugging Face's format, for the shipped model.
    HfRoot,
    /// `GET /info`: model and limits in text-embeddings-inference's format.
    Info,
    /// `GET /metrics`: counters in Prometheus' text format.
    Metrics,
    /// `GET /openapi.json`: the OpenAPI description of these endpoints.
    OpenApi,
    /// `GET` of any other path: a file of the page.
    Page,
    /// `POST /predict`: text-embeddings-inference's format for one text or a batch.
    Predict,
}

/// Values of the `Allow` header, the preflight's `OPTIONS` included.
pub(super) const GET_ONLY: &str = "GET, HEAD, OPTIONS";
pub(super) const POST_ONLY: &str = "POST, OPTIONS";
pub(super) const GET_AND_POST: &str = "GET, HEAD, POST, OPTIONS";

impl ModelEndpoint {
    /// Returns the endpoint of a method and a path.
    ///
    /// # Errors
    /// [`ClassifyApiError::MethodNotAllowed`] if the path takes other methods, and
    /// [`ClassifyApiError::NotFound`] if no endpoint has the path.
    pub(super) fn find(
        method: &str,
        path: &str,
        fault_injection: bool,
    ) -> Result<Self, ClassifyApiError> {
        let is_read = matches!(method, "GET" | "HEAD");
        let (get, post) = Self::methods_at(path, fault_injection);
        let candidate = match method {
            "GET" | "HEAD" => get,
            "POST" => post,
            _ => None,
        };
        match (candidate, get, post) {
            (Some(endpoint), _, _) => Ok(endpoint),
            // A file takes `GET` only, and this table does not know which files exist: 404 rather
            // than 405.
            (None, Some(Self::Page), None) if !is_read => Err(ClassifyApiError::NotFound),
            (None, _, _) => {
                Err(ClassifyApiError::MethodNotAllowed { allow: allow_header(get, post) })
            }
        }
    }

    /// Returns the methods of a path, as in the `Allow` header; `None` if no endpoint has the path.
    pub(super) fn allowed_methods(path: &str, fault_injection: bool) -> Option<&'static str> {
        match Self::methods_at(path, fault_injection) {
            (Some(Self::Page), None) => None,
            (get, post) => Some(allow_header(get, post)),
        }
    }

    /// Returns the endpoints that `GET` and `POST` of a path address.
    fn methods_at(path: &str, fault_injection: bool) -> (Option<Self>, Option<Self>) {
        match path {
            "/" => (Some(Self::Page), Some(Self::HfRoot)),
            "/health" => (Some(Self::Health), None),
            "/info" => (Some(Self::Info), None),
            "/metrics" => (Some(Self::Metrics), None),
            "/openapi.json" => (Some(Self::OpenApi), None),
            "/predict" => (None, Some(Self::Predict)),
            "/v1/classify" => (None, Some(Self::Classify)),
            "/v1/fault/panic" if fault_injection => (None, Some(Self::FaultPanic)),
            // The page reads the model's files below the same folder.
            _ if path.starts_with(MODELS_PREFIX) => (Some(Self::Page), Some(Self::HfModel)),
            _ => (Some(Self::Page), None),
        }
    }

    /// Returns the model id in a path below `/models/`; empty for any other path.
    pub(super) fn model_id_from_path(path: &str) -> &str {
        path.strip_prefix(MODELS_PREFIX).unwrap_or_default()
    }

    /// Returns the error format that the endpoint answers in.
    pub(super) const fn error_format(self) -> ErrorFormat {
        match self {
            Self::HfModel | Self::HfRoot | Self::Predict => ErrorFormat::Tei,
            _ => ErrorFormat::Native,
        }
    }

    /// Returns the value of the metrics' `endpoint` label.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Classify => "classify",
            Self::FaultPanic => "fault_panic",
            Self::Health => "health",
            Self::HfModel => "hub_model",
            Self::HfRoot => "hub_root",
            Self::Info => "info",
            Self::Metrics => "metrics",
            Self::OpenApi => "openapi",
            Self::Page => "page",
            Self::Predict => "predict",
        }
    }
}

const fn allow_header(get: Option<ModelEndpoint>, post: Option<ModelEndpoint>) -> &'static str {
    match (get, post) {
        (Some(_), Some(_)) => GET_AND_POST,
        (Some(_), None) => GET_ONLY,
        (None, _) => POST_ONLY,
    }
}

const MODELS_PREFIX: &str = "/models/";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_and_path_has_one_meaning() {
        let rows = [
            ("GET", "/", Ok(ModelEndpoint::Page)),
            ("HEAD", "/", Ok(ModelEndpoint::Page)),
            ("POST", "/", Ok(ModelEndpoint::HfRoot)),
            ("PUT", "/", Err(405)),
            ("POST", "/v1/classify", Ok(ModelEndpoint::Classify)),
            ("GET", "/v1/classify", Err(405)),
            ("HEAD", "/v1/classify", Err(405)),
            ("DELETE", "/v1/classify", Err(405)),
            ("post", "/v1/classify", Err(405)),
            ("POST", "/v1/classify/", Err(404)),
            ("POST", "/V1/classify", Err(404)),
            ("GET", "/v1/classify/", Ok(ModelEndpoint::Page)),
            ("POST", "/models/e1", Ok(ModelEndpoint::HfModel)),
            ("GET", "/models/e1/config.json", Ok(ModelEndpoint::Page)),
            ("PATCH", "/models/e1", Err(405)),
            ("POST", "/predict", Ok(ModelEndpoint::Predict)),
            ("GET", "/predict", Err(405)),
            ("GET", "/info", Ok(ModelEndpoint::Info)),
            ("HEAD", "/health", Ok(ModelEndpoint::Health)),
            ("POST", "/health", Err(405)),
            ("GET", "/metrics", Ok(ModelEndpoint::Metrics)),
            ("GET", "/openapi.json", Ok(ModelEndpoint::OpenApi)),
            ("POST", "/no/such", Err(404)),
            ("POST", "/v1/fault/panic", Err(404)),
        ];
        for (method, path, expected) in rows {
            let endpoint = ModelEndpoint::find(method, path, false);
            let endpoint = endpoint.map_err(|error| error.status(ErrorFormat::Native));
            assert_eq!(endpoint, expected, "{method} {path}");
        }
        let fault_endpoint = ModelEndpoint::find("POST", "/v1/fault/panic", true);
        assert_eq!(fault_endpoint, Ok(ModelEndpoint::FaultPanic));
    }

    #[test]
    fn a_wrong_method_names_the_right_ones() {
        let rows = [("/", GET_AND_POST), ("/health", GET_ONLY), ("/predict", POST_ONLY)];
        for (path, expected) in rows {
            let error = ModelEndpoint::find("DELETE", path, false).unwrap_err();
            assert_eq!(error, ClassifyApiError::MethodNotAllowed { allow: expected }, "{path}");
            assert_eq!(ModelEndpoint::allowed_methods(path, false), Some(expected), "{path}");
        }
        assert_eq!(ModelEndpoint::allowed_methods("/no/such", false), None);
    }
}
