//! Gateway work that `make bench` times.
//!
//! [`decisions`] runs everything that the gateway computes for one classify call: the head's kind,
//! the body, the subject, the assignment, the header changes, the masked preview, the event and the
//! signed id. It returns how many calls were the canary's, which the bench compares with the share.
//! [`masked`] runs the mask alone on long texts.

use std::hint::black_box;

use jeffrey_edge::gateway::config::{GatewaySettings, WorkerVariables};
use jeffrey_edge::gateway::events::event::ClassifyEvent;
use jeffrey_edge::gateway::events::signed_id;
use jeffrey_edge::gateway::events::thresholds::Thresholds;
use jeffrey_edge::gateway::request::classify::{RequestKind, request_kind};
use jeffrey_edge::gateway::request::forwarded_headers;
use jeffrey_edge::gateway::request::rules::assignment_rules;
use jeffrey_edge::gateway::request::subject::{self, CallerFacts};
use jeffrey_edge::rollout::assignment::{CanaryEligibility, RequestFacts, assign_cohort};
use jeffrey_edge::rollout::clock_reading::ClockReading;
use jeffrey_edge::rollout::share_cache::{CachedShare, effective_share};
use jeffrey_http_core::head::RequestHead;
use jeffrey_mask::{mask, mask_preview};
use jeffrey_terms::{Cohort, ResponseId, Share, UnixMs};

const NOW: UnixMs = UnixMs(1_790_000_000_000);

/// Assigns `count` calls at a share of 10 %, each of another subject, and returns how many are
/// canary.
#[expect(unsafe_code, reason = "an export without bindings has to keep its name")]
#[unsafe(no_mangle)]
pub extern "C" fn decisions(count: u32) -> u32 {
    let variables = [
        ("CANARY_AUTH", "none_required".to_owned()),
        ("JEFFREY_SIGNING_KEY", "a key of the bench".to_owned()),
        ("LEGACY_ORIGIN", "http://old.example".to_owned()),
    ];
    let settings = GatewaySettings::parse(&WorkerVariables(variables.into()));
    let share = Share::from_basis_points(1_000).unwrap_or(Share::NONE);
    let holdout = Share::NONE;
    let cached_share = CachedShare {
        version: 1,
        share,
        holdout,
        disabled: false,
        asked_at: ClockReading::first(NOW),
    };
    let calls = (0..count).map(|number| decide_cohort(number, &settings, cached_share));
    calls.map(|cohort| u32::from(cohort == Cohort::Canary)).sum()
}

/// Masks a text of about `bytes` bytes that repeats one of the six patterns, chosen by `pattern`
/// modulo six. Returns the length of the masked text in bytes.
#[expect(unsafe_code, reason = "an export without bindings has to keep its name")]
#[unsafe(no_mangle)]
pub extern "C" fn masked(bytes: u32, pattern: u32) -> u32 {
    let pattern = PATTERNS[pattern as usize % PATTERNS.len()];
    let text = pattern.repeat(bytes as usize / pattern.len());
    u32::try_from(mask(&text).as_str().len()).unwrap_or(u32::MAX)
}

/// A realistic sentence, then beginnings of matches that never complete: the worst cases of the
/// mask.
const PATTERNS: [&str; 6] = [
    "Bonjour, rappelez-moi au 06 12 34 56 78 ou à jo@example.org, c’est la commande 4012345678. ",
    "1 2-3.4 ",
    "a@b.",
    "http://a.b/c?d=e&",
    "12 rue de la ",
    "at dot point arobase ",
];

fn decide_cohort(number: u32, settings: &GatewaySettings, cached_share: CachedShare) -> Cohort {
    let user = format!("user-{number}");
    let body = format!(r#"{{"text":"Je suis furieux, c’est inadmissible !","user_id":"{user}"}}"#);
    let headers = [
        ("accept", "*/*"),
        ("accept-encoding", "gzip, br"),
        ("cf-connecting-ip", "192.0.2.7"),
        ("connection", "keep-alive"),
        ("content-length", "82"),
        ("content-type", "application/json"),
        ("cookie", "session=0123456789abcdef; theme=dark"),
        ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
    ];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let url = "https://edge.example/predict?lang=fr";
    let Some(head) = RequestHead::new("POST".to_owned(), url, headers) else {
        return Cohort::Stable;
    };
    if request_kind(&head, settings) != (RequestKind::Classify { buffered: true }) {
        return Cohort::Stable;
    }
    let request = settings.contract.parse_request(body.as_bytes());
    let facts =
        CallerFacts { head: &head, user: request.user, is_classify: true, is_trusted: false };
    let Some(caller) = subject::resolve(facts, settings, [0; 16], NOW) else {
        return Cohort::Stable;
    };
    let eligibility = if request.text.is_some() {
        CanaryEligibility::Eligible
    } else {
        CanaryEligibility::NoText
    };
    let facts = RequestFacts {
        subject: Some(&caller.subject),
        is_subject_trusted: caller.is_trusted,
        requested_cohort: None,
        is_sticky: true,
        eligibility,
        is_over_limit: false,
    };
    let decision = assign_cohort(
        &facts,
        &assignment_rules(
            settings,
            effective_share(Some(cached_share), None, ClockReading::first(NOW)),
        ),
    );
    let subject_hash = settings.signing_keys.first();
    let subject_hash =
        subject_hash.map(|key| subject::hash_subject(&caller.subject, key, &settings.release));
    let id = ResponseId::new(NOW, [7; 10]);
    let thresholds = Thresholds::new(Share::FULL, None, Some(40.0));
    let mut event =
        ClassifyEvent::new(id, NOW, &settings.release, &decision, subject_hash, thresholds);
    if let Some(text) = &request.text {
        event.record_preview(mask_preview(text.expose()));
    }
    black_box(event);
    black_box(settings.signing_keys.first().map(|key| signed_id::sign(id, key)));
    black_box(forwarded_headers::header_changes(&head, head.header("cf-connecting-ip")));
    decision.cohort
}
