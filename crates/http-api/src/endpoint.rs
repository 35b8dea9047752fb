//! The table of endpoints: from method and path to a [`ModelEndpoint`], or to the error.
//!
//! Paths are exact, and case matters. A `GET` of any other path is a file of the page; the shell
//! finds out whether that file exists.

use super::error::{ClassifyApiError, ErrorFormat};
use jeffrey_http_core::head::accepts_method;

/// Documentation of one endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModelEndpointDoc {
    /// Endpoint that the row documents.
    pub endpoint: ModelEndpoint,
    /// Methods with their paths; `{…}` stands for the rest of a path.
    pub routes: &'static [(&'static str, &'static str)],
    /// What a caller gets, as Markdown.
    pub meaning: &'static str,
}

/// Declares every endpoint once: variant, value of the metrics' `endpoint` label, error format, routes
/// and meaning. The enum, the routing, the names and the table of the documentation come from this.
macro_rules! model_endpoints {
    ($($(#[$doc:meta])* $variant:ident
        = $name:literal, $format:ident, [$($method:literal $path:literal),+], $meaning:literal;)*
    ) => {
        /// Endpoint that a request addresses.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum ModelEndpoint {
            $($(#[$doc])* $variant,)*
        }

        /// Documentation and routes of every endpoint.
        pub const MODEL_ENDPOINT_DOCS: &[ModelEndpointDoc] = &[
            $(ModelEndpointDoc {
                endpoint: ModelEndpoint::$variant,
                routes: &[$(($method, $path)),+],
                meaning: $meaning,
            },)*
        ];

        impl ModelEndpoint {
            /// Returns the error format that the endpoint answers in.
            pub(super) const fn error_format(self) -> ErrorFormat {
                match self {
                    $(Self::$variant => ErrorFormat::$format,)*
                }
            }

            /// Returns the value of the metrics' `endpoint` label.
            pub(super) const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

model_endpoints! {
    /// `POST /v1/classify`: the native JSON format.
    Classify = "classify", Native, ["POST" "/v1/classify"],
        "one prediction, in the native format";
    /// `POST /v1/fault/panic`: panics on purpose; exists only if `JEFFREY_FAULT_INJECTION` is `on`.
    FaultPanic = "fault_panic", Native, ["POST" "/v1/fault/panic"],
        "nothing: it panics, for tests; 404 unless `JEFFREY_FAULT_INJECTION` is `on`";
    /// `GET /health`: the model, the build and every fault.
    Health = "health", Native, ["GET" "/health"],
        "model, build and faults";
    /// `POST /models/{id}`: Hugging Face's format.
    HfModel = "hub_model", Tei, ["POST" "/models/{id}"],
        "predictions, in Hugging Face's format";
    /// `POST /`: Hugging Face's format, for the shipped model.
    HfRoot = "hub_root", Tei, ["POST" "/"],
        "predictions, in Hugging Face's format";
    /// `GET /info`: model and limits in text-embeddings-inference's format.
    Info = "info", Native, ["GET" "/info"],
        "model and limits, in TEI's fields";
    /// `GET /metrics`: counters in Prometheus' text format.
    Metrics = "metrics", Native, ["GET" "/metrics"],
        "counters, in Prometheus' text format";
    /// `GET /openapi.json`: the OpenAPI description of these endpoints.
    OpenApi = "openapi", Native, ["GET" "/openapi.json"],
        "this API in OpenAPI 3.1";
    /// `GET` of any other path: a file of the page.
    Page = "page", Native, ["GET" "/", "GET" "/models/{id}", "GET" "/{file}"],
        "a file of the [playground](playground.md), or 404";
    /// `POST /predict`: text-embeddings-inference's format for one text or a batch.
    Predict = "predict", Tei, ["POST" "/predict"],
        "predictions, in TEI's format";
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
        let is_read = accepts_method("GET", method);
        let (get, post) = Self::methods_at(path, fault_injection);
        let candidate = match method {
            "POST" => post,
            _ if is_read => get,
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

    /// Returns the endpoints that `GET` and `POST` of a path address. A file of the page is the
    /// fallback of `GET`, for a path that no endpoint has.
    fn methods_at(path: &str, fault_injection: bool) -> (Option<Self>, Option<Self>) {
        let endpoint_of = |method: &str| {
            MODEL_ENDPOINT_DOCS.iter().find_map(|doc| {
                let has_route = doc.routes.iter().any(|route| {
                    route.0 == method && route.1 != FALLBACK_PATH && is_path_of(route.1, path)
                });
                let is_open = fault_injection || doc.endpoint != Self::FaultPanic;
                (has_route && is_open).then_some(doc.endpoint)
            })
        };
        match (endpoint_of("GET"), endpoint_of("POST")) {
            (None, None) => (Some(Self::Page), None),
            endpoints => endpoints,
        }
    }

    /// Returns the model id in a path below `/models/`; empty for any other path.
    pub(super) fn model_id_from_path(path: &str) -> &str {
        path.strip_prefix(MODELS_PREFIX).unwrap_or_default()
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

/// Documented path of the files of the page, which `GET` of every other path addresses.
const FALLBACK_PATH: &str = "/{file}";

/// Returns whether a documented path stands for `path`. A parameter stands for the rest.
fn is_path_of(documented: &str, path: &str) -> bool {
    match documented.split_once('{') {
        Some((prefix, _)) => path.starts_with(prefix),
        None => path == documented,
    }
}

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
    fn the_openapi_document_has_exactly_these_endpoints() {
        let document: serde_json::Value =
            serde_json::from_str(include_str!("openapi.json")).unwrap();
        let mut described = Vec::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            let methods = item.as_object().unwrap().keys().filter(|key| *key != "parameters");
            described.extend(methods.map(|method| (method.to_ascii_uppercase(), path.clone())));
        }
        let routes = MODEL_ENDPOINT_DOCS
            .iter()
            // One is for tests only, and the other paths of files have no schema.
            .filter(|doc| doc.endpoint != ModelEndpoint::FaultPanic)
            .flat_map(|doc| doc.routes)
            .filter(|(_, path)| *path != FALLBACK_PATH);
        let mut declared: Vec<(String, String)> =
            routes.map(|(method, path)| ((*method).to_owned(), (*path).to_owned())).collect();
        described.sort();
        declared.sort();
        assert_eq!(described, declared);
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
