//! What `make bench` times of the gate: all that it computes for one classify call (the head's kind, the
//! body, the subject, the decision, the header changes, the masked preview, the event, the signed id),
//! and the mask alone on long texts.
//!
//! It returns how many calls were the canary's, which the bench compares with the share.

use std::hint::black_box;

use jeffrey_edge::gate::event::{Event, Thresholds};
use jeffrey_edge::gate::intake::{Head, Kind, kind};
use jeffrey_edge::gate::own::rules;
use jeffrey_edge::gate::settings::{Settings, Variables};
use jeffrey_edge::gate::{forward, receipt, subject};
use jeffrey_edge::rollout::decision::{Answerable, Asked, decide};
use jeffrey_edge::rollout::share::{Heard, in_force};
use jeffrey_mask::mask;
use jeffrey_terms::{AnswerId, Cohort, Share, UnixMs};

const NOW: UnixMs = UnixMs(1_790_000_000_000);

/// Decides so many calls at 10 %, each by another subject.
#[expect(unsafe_code, reason = "an export without bindings has to keep its name")]
#[unsafe(no_mangle)]
pub extern "C" fn decisions(count: u32) -> u32 {
    let variables = [
        ("JEFFREY_KEY", "a key of the bench".to_owned()),
        ("LEGACY_ORIGIN", "http://old.example".to_owned()),
    ];
    let settings = Settings::parse(&Variables(variables.into()));
    let share = Share::from_basis_points(1_000).unwrap_or(Share::NONE);
    let holdout = Share::NONE;
    let heard = Heard { version: 1, share, holdout, closed: false, at: NOW };
    let calls = (0..count).map(|number| decided(number, &settings, heard));
    calls.map(|cohort| u32::from(cohort == Cohort::Canary)).sum()
}

/// Masks a text of about so many bytes, made of one of `PATTERNS` again and again; returns the length of
/// what is left.
#[expect(unsafe_code, reason = "an export without bindings has to keep its name")]
#[unsafe(no_mangle)]
pub extern "C" fn masked(bytes: u32, pattern: u32) -> u32 {
    let pattern = PATTERNS[pattern as usize % PATTERNS.len()];
    let text = pattern.repeat(bytes as usize / pattern.len());
    u32::try_from(mask(&text).as_str().len()).unwrap_or(u32::MAX)
}

/// Words of people, and beginnings of things that never end.
const PATTERNS: [&str; 6] = [
    "Bonjour, rappelez-moi au 06 12 34 56 78 ou à jo@example.org, c’est la commande 4012345678. ",
    "1 2-3.4 ",
    "a@b.",
    "http://a.b/c?d=e&",
    "12 rue de la ",
    "at dot point arobase ",
];

fn decided(number: u32, settings: &Settings, heard: Heard) -> Cohort {
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
    let Some(head) = Head::new("POST".to_owned(), url, headers) else { return Cohort::Stable };
    if kind(&head, settings) != (Kind::Classify { held: true }) {
        return Cohort::Stable;
    }
    let request = settings.contract.read(body.as_bytes());
    let Some(found) = subject::find(&head, request.user, true, settings, [0; 16]) else {
        return Cohort::Stable;
    };
    let answerable = if request.text.is_some() { Answerable::Yes } else { Answerable::NoText };
    let asked = Asked { subject: Some(&found.subject), wanted: None, sticky: true, answerable };
    let decision = decide(&asked, &rules(settings, in_force(Some(heard), None, NOW)));
    let hash = settings.keys.first();
    let hash = hash.map(|key| subject::hashed(&found.subject, key, &settings.release));
    let id = AnswerId::new(NOW, [7; 10]);
    let preview = request.text.as_ref().map(|text| mask(text.expose()).preview());
    let thresholds = Thresholds::new(Share::ALL, None, Some(40.0));
    black_box(Event::new(id, NOW, &settings.release, &decision, hash, preview, thresholds));
    black_box(settings.keys.first().map(|key| receipt::sign(id, key)));
    black_box(forward::changes(&head, head.header("cf-connecting-ip")));
    decision.cohort
}
