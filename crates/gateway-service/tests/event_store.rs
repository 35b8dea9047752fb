//! The event store over its clients, on SQLite: what is stored, counted, delivered, erased, pruned,
//! and its state after a failure.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed, and says where")]

mod support;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use serde_json::{Value, json};

use self::support::{START, counter, event_with, id_of, stored_events};
use jeffrey_edge::gateway::aggregate::minute_stats::CohortStats;
use jeffrey_edge::gateway::api::error::ApiError;
use jeffrey_edge::gateway::events::feedback::Feedback;
use jeffrey_edge::gateway::request::subject::hash_subject;
use jeffrey_edge::gateway::store::event_batch::decompress_lines;
use jeffrey_edge::rollout::bucket::ReleaseName;
use jeffrey_edge::rollout::counts::Metric;
use jeffrey_gateway_service::event_store;
use jeffrey_gateway_service::event_store::messages::ErasureProgress;
use jeffrey_gateway_service::host::{FetchError, Host, HttpResponse, ObjectClass};
use jeffrey_gateway_service::sql::StorageError;
use jeffrey_native_host::{IsolateHost, Platform, block_on};
use jeffrey_terms::Subject;
use jeffrey_terms::by_cohort::ByCohort;

const MINUTE_MS: u64 = 60_000;
const KEY: &str = "a signing key of the tests";
const STORE: ObjectClass = ObjectClass::EventStore;

fn platform(variables: &[(&'static str, &str)]) -> (Rc<Platform>, IsolateHost) {
    let platform = Platform::new(variables, START);
    let host = platform.isolate();
    (platform, host)
}

fn event(number: u16) -> String {
    event_with(number, |_| {})
}

fn append(host: &IsolateHost, lines: &[String]) -> Vec<bool> {
    block_on(event_store::append_batch(host, lines, 0, false))
}

fn release() -> ReleaseName {
    ReleaseName::parse("e1-small").unwrap()
}

fn totals(host: &IsolateHost) -> ByCohort<CohortStats> {
    block_on(event_store::totals_between(host, &release(), (0, u64::MAX >> 11))).unwrap()
}

fn erased(erased: u64) -> ErasureProgress {
    ErasureProgress { erased, pending_events: 0 }
}

fn accepted() -> HttpResponse {
    HttpResponse { status: 202, headers: Vec::new(), body: Ok(Vec::new()) }
}

#[test]
fn an_event_is_stored_and_counted_once_however_often_it_comes() {
    let (_, host) = platform(&[]);
    assert_eq!(append(&host, &[event(1), event(2)]), [true, true]);
    assert_eq!(append(&host, &[event(2), event(1), event(3)]), [true, true, true]);
    append(&host, &[event(3)]);
    assert_eq!(stored_events(&host), 3);
    let ByCohort { canary, stable } = totals(&host);
    assert_eq!((canary.counts.requests, stable.counts.requests), (3, 0));
}

#[test]
fn an_event_twice_in_one_batch_counts_once() {
    let (_, host) = platform(&[]);
    append(&host, &[event(1), event(1)]);
    assert_eq!((stored_events(&host), totals(&host).canary.counts.requests), (1, 1));
}

#[test]
fn a_line_that_is_no_event_is_counted_and_costs_no_other_event() {
    let (_, host) = platform(&[]);
    let lines =
        ["{}".to_owned(), event(1), "not json".to_owned(), "{\"id\":7}".to_owned(), event(2)];
    assert_eq!(append(&host, &lines), [true; 5]);
    assert_eq!(stored_events(&host), 2);
    assert_eq!(counter(&host, "jeffrey_events_malformed_total"), 3);
}

#[test]
fn a_batch_that_fails_at_any_statement_stores_nothing_and_counts_once_when_it_comes_again() {
    let lines = [event(1), event_with(2, |event| event["status"] = json!(500)), event(3)];
    let mut failed_at = 0;
    for statement in 0..200 {
        let (platform, host) = platform(&[]);
        append(&host, &[event(9)]);
        // A checkpoint is due with the next batch.
        platform.advance(2 * MINUTE_MS).unwrap();
        let before = totals(&host);
        platform.database(STORE, "event-store").unwrap().fail_after(statement);
        let stored = append(&host, &lines);
        if stored == [true; 3] {
            break;
        }
        failed_at += 1;
        assert_eq!(stored, [false; 3], "statement {statement}");
        assert_eq!(stored_events(&host), 1, "statement {statement}");
        assert_eq!(totals(&host), before, "statement {statement}");
        assert_eq!(append(&host, &lines), [true; 3]);
        assert_eq!((stored_events(&host), totals(&host).canary.counts.requests), (4, 4));
        assert_eq!(totals(&host).canary.counts.errors_5xx, 1);
    }
    assert!(failed_at > 5, "only {failed_at} statements failed: the batch has more");
}

#[test]
fn a_large_batch_stays_within_the_limits_of_a_statement() {
    let (_, host) = platform(&[]);
    let lines: Vec<String> = (0..500)
        .map(|number| {
            event_with(number, |event| {
                event["subject"] = json!(format!("s{}", number % 170));
                event["label"] =
                    json!(["joy", "anger", "fear", "sadness"][usize::from(number % 4)]);
                event["status"] = json!([200, 300, 500, 503][usize::from(number % 4)]);
                event["time_ms"] = json!(START.0 + u64::from(number) * 1_000);
            })
        })
        .collect();
    assert_eq!(append(&host, &lines), vec![true; 500]);
    assert_eq!((stored_events(&host), totals(&host).canary.counts.requests), (500, 500));
}

#[test]
fn an_evicted_store_continues_from_its_database() {
    let (platform, host) = platform(&[]);
    append(&host, &[event(1)]);
    platform.evict_objects();
    append(&host, &[event(1), event(2)]);
    assert_eq!((stored_events(&host), totals(&host).canary.counts.requests), (2, 2));
}

#[test]
fn a_database_of_a_later_version_is_refused_and_not_changed() {
    let (platform, host) = platform(&[]);
    append(&host, &[event(1)]);
    platform.evict_objects();
    let database = platform.database(STORE, "event-store").unwrap();
    database.execute("INSERT INTO schema VALUES (99)", vec![]).unwrap();
    assert_eq!(append(&host, &[event(2)]), [false]);
    let reply = block_on(platform.send_message(STORE, "event-store", b"\"status\"\n"));
    assert_eq!(reply, Err(StorageError::LaterVersion { found: 99, known: 4 }));
}

/// Tables of versions 1, 2 and 3; the first had no number.
const FORMER_TABLES: [&[&str]; 3] = [
    &[
        "CREATE TABLE event (seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, \
         time_ms INTEGER NOT NULL, release TEXT NOT NULL, subject TEXT, json TEXT NOT NULL)",
        "CREATE TABLE feedback (classify_id TEXT PRIMARY KEY, time_ms INTEGER NOT NULL)",
        "CREATE TABLE delivery_cursor (sink TEXT PRIMARY KEY, json TEXT NOT NULL)",
        "CREATE TABLE counter (name TEXT PRIMARY KEY, number INTEGER NOT NULL)",
        "CREATE INDEX event_subject ON event (subject)",
    ],
    &[
        "CREATE TABLE schema (version INTEGER NOT NULL)",
        "CREATE TABLE cohort_stats (release TEXT NOT NULL, minute INTEGER NOT NULL, cohort TEXT NOT NULL, \
         share INTEGER NOT NULL, json TEXT NOT NULL, PRIMARY KEY (release, minute, cohort, share))",
        "CREATE TABLE first_seen (release TEXT NOT NULL, subject TEXT NOT NULL, minute INTEGER NOT NULL, \
         cohort TEXT NOT NULL, PRIMARY KEY (release, subject))",
        "CREATE INDEX first_seen_minute ON first_seen (release, minute)",
        "CREATE TABLE last_hit (release TEXT NOT NULL, metric TEXT NOT NULL, subject TEXT NOT NULL, \
         next_minute INTEGER NOT NULL, PRIMARY KEY (release, metric, subject))",
        "CREATE TABLE newly_affected (release TEXT NOT NULL, minute INTEGER NOT NULL, metric TEXT NOT NULL, \
         hour INTEGER NOT NULL, cohort TEXT NOT NULL, number INTEGER NOT NULL, \
         PRIMARY KEY (release, minute, metric, hour, cohort))",
        "CREATE TABLE subject_errors (release TEXT NOT NULL, minute INTEGER NOT NULL, subject TEXT NOT NULL, \
         number INTEGER NOT NULL, PRIMARY KEY (release, minute, subject))",
        "INSERT INTO schema VALUES (2)",
    ],
    &[
        "CREATE TABLE erased_subject (subject TEXT PRIMARY KEY, time_ms INTEGER NOT NULL)",
        "CREATE TABLE counters_start (time_ms INTEGER NOT NULL)",
        "CREATE INDEX event_release ON event (release)",
        "INSERT INTO schema VALUES (3)",
    ],
];

/// Fills a database as version 3 did after `events` events of ten subjects in two minutes, the first of
/// each subject an error.
fn fill_version_3(database: &jeffrey_native_host::Database, events: u16) {
    let run = |query: &str| database.execute(query, vec![]).unwrap();
    FORMER_TABLES.concat().into_iter().for_each(|statement| {
        run(statement);
    });
    let minute = START.0 / MINUTE_MS;
    for number in 0..events {
        let line =
            event_with(number, |event| event["subject"] = json!(format!("s{}", number % 10)));
        let id = id_of(number);
        run(&format!(
            "INSERT INTO event (id, time_ms, release, subject, json) \
             VALUES ('{id}', {}, 'e1-small', 's{}', '{line}')",
            START.0,
            number % 10
        ));
    }
    let mut stats = CohortStats::default();
    stats.counts.requests = u64::from(events / 2);
    stats.counts.errors_5xx = 5;
    let stats = serde_json::to_string(&stats).unwrap();
    for (minute, subjects) in [(minute, 0..5), (minute + 1, 5..10)] {
        run(&format!(
            "INSERT INTO cohort_stats VALUES ('e1-small', {minute}, 'canary', 1000, '{stats}')"
        ));
        let hour = minute / 60;
        run(&format!(
            "INSERT INTO newly_affected VALUES ('e1-small', {minute}, 'errors', {hour}, 'canary', 5)"
        ));
        for subject in subjects {
            run(&format!(
                "INSERT INTO first_seen VALUES ('e1-small', 's{subject}', {minute}, 'canary')"
            ));
            run(&format!(
                "INSERT INTO last_hit VALUES ('e1-small', 'errors', 's{subject}', {})",
                minute + 1
            ));
            run(&format!(
                "INSERT INTO subject_errors VALUES ('e1-small', {minute}, 's{subject}', 1)"
            ));
        }
    }
    run(&format!("INSERT INTO counter VALUES ('jeffrey_events_lost_total', {events})"));
    run(&format!("INSERT INTO feedback VALUES ('{}', {})", id_of(1), START.0));
    run(&format!("INSERT INTO counters_start VALUES ({})", START.0));
}

#[test]
fn a_database_of_version_3_keeps_everything_it_had() {
    for (events, expected_slices) in [(20, 0), (12_000, 1)] {
        let (platform, host) = platform(&[]);
        let database = platform.database(STORE, "event-store").unwrap();
        fill_version_3(&database, events);
        let refused = (0..10).take_while(|_| append(&host, &[event(1)]) == [false]).count();
        assert_eq!(refused, expected_slices);
        assert_eq!(append(&host, &[event(events - 1)]), [true], "a duplicate");
        assert_eq!(stored_events(&host), u64::from(events));
        assert_eq!(counter(&host, "jeffrey_events_lost_total"), u64::from(events));
        assert_eq!(totals(&host).canary.counts.errors_5xx, 10);
        let right = Feedback { ok: Some(true), correct_label: None };
        let rate = |number| block_on(event_store::record_feedback(&host, id_of(number), right));
        assert_eq!((rate(1), rate(2)), (Err(ApiError::FeedbackExists), Ok(())));
        // A known subject is neither new nor newly affected; its errors of the hour add up.
        let late = event_with(events, |event| {
            (event["subject"], event["status"]) = (json!("s7"), json!(500));
            event["time_ms"] = json!(START.0 + 2 * MINUTE_MS);
        });
        append(&host, &[late]);
        platform.advance(4 * MINUTE_MS).unwrap();
        let minutes = block_on(event_store::fetch_minutes(&host, &release(), 0)).unwrap();
        let subjects: Vec<_> = minutes
            .iter()
            .map(|minute| {
                let affected = minute.newly_affected.iter();
                let by_errors = affected.filter(|affected| affected.metric == Metric::Errors);
                (minute.new_subjects.canary, by_errors.count())
            })
            .collect();
        assert_eq!(subjects, [(5, 1), (5, 1), (0, 0)]);
        assert_eq!(minutes[2].top_subjects.two_worst_subjects_errors, 3);
        let (lines, _) = block_on(event_store::fetch_events(&host, 0, 0, 1)).unwrap();
        assert!(String::from_utf8(lines).unwrap().contains(&id_of(0).to_string()));
    }
}

#[test]
fn a_database_of_versions_1_and_2_is_migrated() {
    for version in [1, 2] {
        let (platform, host) = platform(&[]);
        let database = platform.database(STORE, "event-store").unwrap();
        for statement in FORMER_TABLES[..version].concat() {
            database.execute(statement, vec![]).unwrap();
        }
        assert_eq!(append(&host, &[event(2)]), [true], "version {version}");
        assert_eq!(stored_events(&host), 1, "version {version}");
    }
}

#[test]
fn a_migration_that_fails_at_any_statement_changes_nothing_and_succeeds_at_the_next_message() {
    let mut failed_at = 0;
    for statement in 0..100 {
        let (platform, host) = platform(&[]);
        let database = platform.database(STORE, "event-store").unwrap();
        database.fail_after(statement);
        let message = b"\"erase_subject\"\n";
        let send = || block_on(platform.send_message(STORE, "event-store", message));
        if send().is_ok() {
            break;
        }
        failed_at += 1;
        let tables: Vec<Value> =
            database.query_rows("SELECT name FROM sqlite_schema", vec![]).unwrap();
        if tables.iter().any(|table| table["name"] == "counters_start") {
            // The statement after the migration failed.
            break;
        }
        assert_eq!(tables, Vec::<Value>::new(), "statement {statement}");
        assert!(send().is_ok(), "statement {statement}");
        assert_eq!((append(&host, &[event(1)]), stored_events(&host)), (vec![true], 1));
    }
    assert!(failed_at > 12, "only {failed_at} statements failed: the migration has more");
}

#[test]
fn an_unknown_message_or_field_is_unsupported_and_changes_nothing() {
    let (platform, host) = platform(&[]);
    append(&host, &[event(1)]);
    for message in [
        "\"prune\"\n",
        "{\"append\":{\"queue_lag_ms\":null,\"lost_events\":0,\"queue_failures\":0,\"dead_letters\":0,\"packed\":true}}\n{}",
        "{\"events\":{\"since\":0}}\n",
        "",
    ] {
        let reply = block_on(platform.send_message(STORE, "event-store", message.as_bytes()));
        assert_eq!(reply.unwrap().status, 501, "{message}");
    }
    assert_eq!(stored_events(&host), 1);
}

#[test]
fn events_are_read_page_by_page_in_the_order_of_their_numbers() {
    let (_, host) = platform(&[]);
    append(&host, &(1..=5).map(event).collect::<Vec<_>>());
    let mut since = 0;
    let mut ids = Vec::new();
    for expected in [2, 2, 1, 0] {
        let (lines, shards) = block_on(event_store::fetch_events(&host, 0, since, 2)).unwrap();
        let lines = String::from_utf8(lines).unwrap();
        assert_eq!((lines.lines().count(), shards), (expected, 1));
        for line in lines.lines() {
            let event: Value = serde_json::from_str(line).unwrap();
            since = event["seq"].as_u64().unwrap();
            ids.push(event["id"].as_str().unwrap().to_owned());
        }
    }
    assert_eq!(ids, (1..=5).map(|number| id_of(number).to_string()).collect::<Vec<_>>());
}

#[test]
fn a_shard_that_does_not_exist_is_named_with_their_number() {
    let (_, host) = platform(&[("EVENT_STORE_SHARDS", "2")]);
    let result = block_on(event_store::fetch_events(&host, 2, 0, 10));
    assert_eq!(result, Err(ApiError::InvalidShard { part: 2, shards: 2 }));
}

#[test]
fn feedback_counts_once_for_the_cohort_of_its_response() {
    let (_, host) = platform(&[]);
    append(&host, &[event(1)]);
    let wrong = Feedback { ok: Some(false), correct_label: None };
    let record = |id| block_on(event_store::record_feedback(&host, id, wrong));
    assert_eq!(record(id_of(1)), Ok(()));
    assert_eq!(record(id_of(1)), Err(ApiError::FeedbackExists));
    assert_eq!(record(id_of(7)), Err(ApiError::UnknownId));
    assert_eq!(stored_events(&host), 2, "feedback is an event of its own");
    let canary = totals(&host).canary;
    assert_eq!((canary.counts.requests, canary.counts.feedback_bad), (1, 1));
}

#[test]
fn feedback_that_fails_at_any_statement_can_be_given_again() {
    for statement in 0..30 {
        let (platform, host) = platform(&[]);
        append(&host, &[event(1)]);
        platform.database(STORE, "event-store").unwrap().fail_after(statement);
        let right = Feedback { ok: Some(true), correct_label: None };
        let first = block_on(event_store::record_feedback(&host, id_of(1), right));
        if first.is_ok() {
            return assert!(statement > 3, "feedback has more statements than {statement}");
        }
        assert_eq!(first, Err(ApiError::EventStoreUnavailable), "statement {statement}");
        assert_eq!(block_on(event_store::record_feedback(&host, id_of(1), right)), Ok(()));
        assert_eq!(stored_events(&host), 2, "statement {statement}");
    }
    panic!("feedback never succeeded");
}

#[test]
fn feedback_finds_its_response_in_any_shard_and_fails_if_one_is_away() {
    let (platform, host) = platform(&[("EVENT_STORE_SHARDS", "3")]);
    let lines: Vec<String> = (0..12)
        .map(|number| event_with(number, |event| event["subject"] = json!(format!("{number:x}0"))))
        .collect();
    append(&host, &lines);
    let right = Feedback { ok: Some(true), correct_label: None };
    for number in 0..12 {
        let recorded = block_on(event_store::record_feedback(&host, id_of(number), right));
        assert_eq!(recorded, Ok(()), "{number}");
    }
    platform.set_away(STORE, true);
    let away = block_on(event_store::record_feedback(&host, id_of(1), right));
    assert_eq!(away, Err(ApiError::EventStoreUnavailable));
}

#[test]
fn an_erased_subject_is_gone_and_its_late_events_do_not_return() {
    let (platform, host) = platform(&[("JEFFREY_SIGNING_KEY", KEY)]);
    let subject = Subject::parse("alice").unwrap();
    let hash = hash_subject(&subject, &host.settings().signing_keys[0], &release());
    let of_alice = |number, time_ms: u64| {
        event_with(number, |event| {
            event["subject"] = json!(hash);
            event["time_ms"] = json!(time_ms);
        })
    };
    append(&host, &[of_alice(1, START.0), of_alice(2, START.0), event(3)]);
    platform.advance(1_000).unwrap();
    assert_eq!(block_on(event_store::erase_subject(&host, &subject)), Ok(erased(2)));
    assert_eq!(stored_events(&host), 1);
    // An event from before the erasure was in the queue; one from after it is a new one.
    append(&host, &[of_alice(4, START.0 + 1_000), of_alice(5, START.0 + 1_001)]);
    assert_eq!(stored_events(&host), 2);
    assert_eq!(counter(&host, "jeffrey_events_erased_total"), 1);
    assert_eq!(block_on(event_store::erase_subject(&host, &subject)), Ok(erased(1)));
}

#[test]
fn an_erasure_hides_at_once_what_it_erases_in_slices() {
    let (platform, host) = platform(&[("JEFFREY_SIGNING_KEY", KEY)]);
    let subject = Subject::parse("alice").unwrap();
    let hash = hash_subject(&subject, &host.settings().signing_keys[0], &release());
    // Each batch has an event of the subject and one of another.
    for number in (0..400).step_by(2) {
        let of_alice = event_with(number, |event| event["subject"] = json!(hash));
        append(&host, &[of_alice, event(number + 1)]);
    }
    let ErasureProgress { erased, pending_events } =
        block_on(event_store::erase_subject(&host, &subject)).unwrap();
    assert!((1..200).contains(&erased) && pending_events > 0, "{erased}, {pending_events}");
    let shown = || {
        let (lines, _) = block_on(event_store::fetch_events(&host, 0, 0, 1_000)).unwrap();
        String::from_utf8(lines).unwrap()
    };
    assert_eq!((shown().lines().count(), shown().matches(&hash).count()), (200, 0));
    let right = Feedback { ok: Some(true), correct_label: None };
    let rated = block_on(event_store::record_feedback(&host, id_of(398), right));
    assert_eq!(rated, Err(ApiError::UnknownId));
    platform.advance(2_000).unwrap();
    let database = platform.database(STORE, "event-store").unwrap();
    let stored: String = database
        .inspect_blobs("SELECT lines FROM batch")
        .iter()
        .map(|batch| decompress_lines(batch).unwrap())
        .collect();
    assert_eq!((stored.matches(&hash).count(), stored_events(&host)), (0, 200));
    assert_eq!(shown().lines().count(), 200);
}

#[test]
fn a_subject_is_new_once_over_merged_runs_and_restarts() {
    let (platform, host) = platform(&[]);
    let mut number = 0;
    for minute in 0..130_u64 {
        let lines: Vec<String> = (0..3)
            .map(|known| {
                number += 1;
                // A subject of each earlier minute comes again.
                let of_minute = if known == 0 { minute } else { minute * known / 3 };
                event_with(number, |event| {
                    event["subject"] = json!(format!("{of_minute:016x}{of_minute:016x}"));
                    event["time_ms"] = json!(START.0 + minute * MINUTE_MS);
                })
            })
            .collect();
        append(&host, &lines);
        platform.advance(MINUTE_MS).unwrap();
        if minute % 50 == 49 {
            platform.evict_objects();
        }
    }
    let minutes = block_on(event_store::fetch_minutes(&host, &release(), 0)).unwrap();
    let new: u64 = minutes.iter().map(|minute| minute.new_subjects.canary).sum();
    assert_eq!((minutes.len(), new), (120, 120), "a page of minutes");
    let database = platform.database(STORE, "event-store").unwrap();
    let runs = database.inspect_blobs("SELECT subjects FROM subject_run");
    assert!(runs.len() < 70, "{} runs of 130 checkpoints", runs.len());
}

#[test]
fn an_erasure_that_fails_at_any_statement_succeeds_when_it_is_asked_for_again() {
    let subject = Subject::parse("alice").unwrap();
    for statement in 0..80 {
        let (platform, host) = platform(&[("JEFFREY_SIGNING_KEY", KEY)]);
        let hash = hash_subject(&subject, &host.settings().signing_keys[0], &release());
        append(&host, &[event_with(1, |event| event["subject"] = json!(hash))]);
        platform.database(STORE, "event-store").unwrap().fail_after(statement);
        match block_on(event_store::erase_subject(&host, &subject)) {
            Ok(progress) => return assert_eq!(progress, erased(1)),
            Err(error) => assert_eq!(error, ApiError::EventStoreUnavailable),
        }
        // Erased already or not, after a second request it is.
        let again = block_on(event_store::erase_subject(&host, &subject)).unwrap();
        assert_eq!((again.pending_events, stored_events(&host)), (0, 0), "statement {statement}");
    }
    panic!("the erasure never succeeded");
}

#[test]
fn expired_events_are_deleted_by_the_alarm_and_newer_ones_stay() {
    let (platform, host) = platform(&[("EVENT_STORE_RETENTION_DAYS", "1")]);
    append(&host, &[event(1)]);
    let day_ms = 24 * 60 * MINUTE_MS;
    platform.advance(day_ms / 2).unwrap();
    append(&host, &[event_with(2, |event| event["time_ms"] = json!(START.0 + day_ms / 2))]);
    platform.advance(day_ms * 3 / 4).unwrap();
    assert_eq!(stored_events(&host), 1);
    assert_eq!(totals(&host).canary.counts.requests, 1, "minutes expire with their events");
}

#[test]
fn a_store_above_its_size_drops_the_oldest_tenth() {
    let (platform, host) = platform(&[("EVENT_STORE_MAX_MB", "1")]);
    // Text that does not compress, in batches of ten events.
    let mut state = 1_u64;
    let mut random_text = || {
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            char::from(b'0' + (state >> 33) as u8 % 70)
        };
        (0..4_000).map(|_| next()).filter(|ch| ch.is_ascii_alphanumeric()).collect::<String>()
    };
    for first in (0..500).step_by(10) {
        let line = |number| event_with(number, |event| event["padding"] = json!(random_text()));
        append(&host, &(first..first + 10).map(line).collect::<Vec<_>>());
    }
    // The alarm comes at once, though there is no sink.
    platform.advance(1_000).unwrap();
    let (first, _) = block_on(event_store::fetch_events(&host, 0, 0, 1)).unwrap();
    let first: Value = serde_json::from_slice(&first).unwrap();
    let first = first["seq"].as_u64().unwrap();
    assert!((51..=101).contains(&first) && first % 10 == 1, "{first}");
    assert_eq!(stored_events(&host), 501 - first);
}

#[test]
fn each_sink_gets_each_event_and_one_that_fails_delays_no_other() {
    let sinks = json!([
        {"name": "good", "kind": "ndjson", "url": "http://good/in"},
        {"name": "bad", "kind": "ndjson", "url": "http://bad/in"},
    ]);
    let (platform, host) = platform(&[("SINKS", &sinks.to_string())]);
    let is_back = Rc::new(Cell::new(false));
    let received = Rc::new(RefCell::new(Vec::<String>::new()));
    let (handler_back, handler_received) = (Rc::clone(&is_back), Rc::clone(&received));
    platform.answer_http(move |request| {
        if request.url.contains("bad") && !handler_back.get() {
            return Err(FetchError::TimedOut);
        }
        for line in String::from_utf8_lossy(&request.body).lines() {
            handler_received.borrow_mut().push(format!("{} {line}", request.url));
        }
        Ok(accepted())
    });
    append(&host, &[event(1), event(2), event(3)]);
    platform.advance(1_000).unwrap();
    let count = |name: &str| received.borrow().iter().filter(|line| line.contains(name)).count();
    assert_eq!((count("good"), count("bad")), (3, 0));
    is_back.set(true);
    platform.advance(10 * MINUTE_MS).unwrap();
    assert_eq!((count("good"), count("bad")), (3, 3), "the good sink gets nothing twice");
    let status = block_on(event_store::fetch_status(&host)).unwrap();
    let pending: Vec<u64> = serde_json::to_value(&status).unwrap()["sinks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|sink| sink["pending"].as_u64().or(sink["pending_events"].as_u64()).unwrap())
        .collect();
    assert_eq!(pending, [0, 0]);
}

#[test]
fn a_sink_continues_where_it_was_after_a_restart() {
    let sinks = json!([{"name": "one", "kind": "ndjson", "url": "http://one/in"}]);
    let (platform, host) = platform(&[("SINKS", &sinks.to_string())]);
    platform.answer_http(|_| Ok(accepted()));
    append(&host, &[event(1)]);
    platform.advance(1_000).unwrap();
    assert_eq!(platform.take_requests().len(), 1);
    platform.evict_objects();
    append(&host, &[event(2)]);
    platform.advance(1_000).unwrap();
    let requests = platform.take_requests();
    assert_eq!(requests.len(), 1);
    let body = String::from_utf8(requests[0].body.clone()).unwrap();
    assert!(
        body.contains(&id_of(2).to_string()) && !body.contains(&id_of(1).to_string()),
        "{body}"
    );
}

#[test]
fn events_that_a_sink_did_not_get_before_they_expired_count_as_dropped() {
    let sinks = json!([{"name": "one", "kind": "ndjson", "url": "http://one/in"}]);
    let (platform, host) =
        platform(&[("SINKS", &sinks.to_string()), ("EVENT_STORE_RETENTION_DAYS", "1")]);
    append(&host, &[event(1), event(2)]);
    platform.advance(25 * 60 * MINUTE_MS).unwrap();
    assert_eq!(counter(&host, "jeffrey_sink_dropped_total{sink=\"one\"}"), 2);
    assert_eq!(counter(&host, "jeffrey_sink_pending_events{sink=\"one\"}"), 0);
}

#[test]
fn an_authorization_of_a_sink_goes_to_that_sink_only() {
    let sinks = json!([
        {"name": "one", "kind": "ndjson", "url": "http://one/in", "authorization": "Bearer of one"},
        {"name": "two", "kind": "ndjson", "url": "http://two/in"},
    ]);
    let (platform, host) = platform(&[("SINKS", &sinks.to_string())]);
    platform.answer_http(|_| Ok(accepted()));
    append(&host, &[event(1)]);
    platform.advance(1_000).unwrap();
    for request in platform.take_requests() {
        let authorization = request
            .headers
            .iter()
            .find(|(name, _)| name == "authorization")
            .map(|(_, value)| value);
        let expected = request.url.contains("one").then(|| "Bearer of one".to_owned());
        assert_eq!(authorization, expected.as_ref(), "{}", request.url);
    }
}

#[test]
fn without_sinks_the_alarm_comes_hourly_and_with_sinks_at_once() {
    let sinks = json!([{"name": "one", "kind": "ndjson", "url": "http://one/in"}]).to_string();
    for (variables, expected_ms) in [(&[][..], 60 * MINUTE_MS), (&[("SINKS", sinks.as_str())], 500)]
    {
        let (platform, host) = platform(variables);
        append(&host, &[event(1)]);
        let alarm = platform.alarm(STORE, "event-store").unwrap();
        assert_eq!(alarm.0 - START.0, expected_ms, "{variables:?}");
    }
}

#[test]
fn closed_minutes_merge_the_shards_and_count_each_subject_once() {
    let (platform, host) = platform(&[("EVENT_STORE_SHARDS", "4")]);
    let lines: Vec<String> = (0..40)
        .map(|number| {
            event_with(number, |event| {
                event["subject"] = json!(format!("{:02x}", number % 10 * 25));
                event["status"] = json!(if number % 5 == 0 { 500 } else { 200 });
            })
        })
        .collect();
    append(&host, &lines);
    assert_eq!(
        block_on(event_store::fetch_minutes(&host, &release(), 0)).unwrap(),
        [],
        "the minute is still open"
    );
    platform.advance(2 * MINUTE_MS).unwrap();
    let minutes = block_on(event_store::fetch_minutes(&host, &release(), 0)).unwrap();
    assert_eq!(minutes.len(), 1);
    assert_eq!(minutes[0].minute, START.0 / MINUTE_MS);
    assert_eq!(minutes[0].canary.requests, 40);
    assert_eq!(minutes[0].canary.errors_5xx, 8);
    assert_eq!(minutes[0].new_subjects.canary, 10);
}

#[test]
fn minutes_of_another_release_are_not_mixed_in() {
    let (platform, host) = platform(&[]);
    append(&host, &[event(1), event_with(2, |event| event["release"] = json!("e2"))]);
    platform.advance(2 * MINUTE_MS).unwrap();
    for name in ["e1-small", "e2"] {
        let release = ReleaseName::parse(name).unwrap();
        let minutes = block_on(event_store::fetch_minutes(&host, &release, 0)).unwrap();
        assert_eq!(minutes[0].canary.requests, 1, "{name}");
    }
}

#[test]
fn a_late_event_is_counted_in_a_minute_that_is_cached() {
    let (platform, host) = platform(&[]);
    append(&host, &[event(1)]);
    platform.advance(60 * MINUTE_MS).unwrap();
    assert_eq!(totals(&host).canary.counts.requests, 1);
    append(&host, &[event(2)]);
    assert_eq!(totals(&host).canary.counts.requests, 2);
}

#[test]
fn a_query_fails_if_one_shard_does_not_answer() {
    let (platform, host) = platform(&[("EVENT_STORE_SHARDS", "2")]);
    append(&host, &[event(1)]);
    let database = platform.database(STORE, "event-store-1").unwrap();
    platform.evict_objects();
    database.fail_after(0);
    assert_eq!(
        block_on(event_store::fetch_status(&host)).unwrap_err(),
        ApiError::EventStoreUnavailable
    );
    assert_eq!(stored_events(&host), 1, "it answers again");
}

#[test]
fn the_database_takes_no_integer_that_javascript_would_round() {
    let (platform, _) = platform(&[]);
    let database = platform.database(STORE, "event-store").unwrap();
    let exact = jeffrey_gateway_service::sql::sql_integer(u64::MAX);
    assert!(database.execute("CREATE TABLE t (n INTEGER)", vec![]).is_ok());
    assert!(database.execute("INSERT INTO t VALUES (?)", vec![exact]).is_ok());
    let rounded = jeffrey_gateway_service::sql::SqlValue::Integer(1 << 54);
    assert!(database.execute("INSERT INTO t VALUES (?)", vec![rounded]).is_err());
    assert!(database.execute("BEGIN", vec![]).is_err());
}
