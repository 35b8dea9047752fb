//! Parameters of queries: a page of rows, a range of minutes, the subject to erase.

use serde::Deserialize;

use crate::gateway::api::error::ApiError;
use jeffrey_http_core::head::RequestHead;
use jeffrey_terms::{EXACT_INTEGER_MAX, Subject};

/// Parses the subject whose events the caller wants to erase.
///
/// # Errors
/// Returns [`ApiError::InvalidBody`] if the body does not name a subject of 1 to 256 bytes.
pub fn parse_erasure(body: &[u8]) -> Result<Subject, ApiError> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct ErasureBody {
        subject: String,
    }
    const EXPECTED: &str = "{\"subject\": 1 to 256 bytes}";
    let erasure: ErasureBody =
        serde_json::from_slice(body).map_err(|_| ApiError::InvalidBody { expected: EXPECTED })?;
    Subject::parse(erasure.subject).map_err(|_| ApiError::InvalidBody { expected: EXPECTED })
}

/// Page of numbered rows that a query asks for: events, history entries or minutes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventsPage {
    /// Exclusive lower bound: the page starts after the row of this number. 0 means from the start.
    pub after_row: u64,
    /// Most rows that the caller wants; the store applies its own upper limit.
    pub limit: u64,
    /// Shard of the event store, from 0; only the events endpoint uses it.
    pub shard: u64,
}

/// Parses the page that a query asks for: `since` (default 0), `limit` (default 1,000) and `shard`
/// (default 0). A value that is not a number counts as missing.
pub fn parse_events_page(head: &RequestHead) -> EventsPage {
    let number_or = |name, default| {
        head.query_param(name).and_then(|value| value.parse().ok()).unwrap_or(default)
    };
    EventsPage {
        after_row: number_or("since", 0),
        limit: number_or("limit", 1_000),
        shard: number_or("shard", 0),
    }
}

/// Parses the range of minutes that a query asks for: after `since` and before `before`, both
/// exclusive. A missing or invalid value sets no bound on its side: no minute's number is above
/// [`EXACT_INTEGER_MAX`].
pub fn parse_minute_range(head: &RequestHead) -> (u64, u64) {
    let number = |name| head.query_param(name).and_then(|value| value.parse().ok());
    (
        number("since").unwrap_or(0).min(EXACT_INTEGER_MAX),
        number("before").unwrap_or(EXACT_INTEGER_MAX).min(EXACT_INTEGER_MAX),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bound_of_a_minute_range_is_an_integer_that_javascript_keeps() {
        let parse = |query: &str| {
            let url = format!("http://gateway/totals{query}");
            let head = RequestHead::new(String::new(), &url, Vec::new()).unwrap();
            parse_minute_range(&head)
        };
        let exact_max = (1 << 53) - 1;
        assert_eq!(parse(""), (0, exact_max));
        assert_eq!(parse("?since=7&before=9"), (7, 9));
        let largest = u64::MAX;
        let bounds = parse(&format!("?since={largest}&before={largest}"));
        assert_eq!(bounds, (exact_max, exact_max));
    }
}
