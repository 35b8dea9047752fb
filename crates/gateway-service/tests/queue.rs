//! The way of an event from an isolate to the event store: queue, dead letters, direct storage.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed, and says where")]

mod support;

use std::rc::Rc;

use self::support::{START, counter, event_with, stored_events};
use jeffrey_gateway_service::events_queue::{enqueue_event, store_batch};
use jeffrey_gateway_service::host::{Host, ObjectClass, QueueSend};
use jeffrey_native_host::{IsolateHost, Platform, block_on};

const STORE: ObjectClass = ObjectClass::EventStore;

fn platform() -> (Rc<Platform>, IsolateHost) {
    let platform = Platform::new(&[], START);
    let host = platform.isolate();
    (platform, host)
}

fn event(number: u8) -> String {
    event_with(u16::from(number), |event| {
        event["cohort"] = "stable".into();
        event["destination"] = "stable".into();
    })
}

#[test]
fn an_event_that_the_queue_takes_is_not_stored_directly() {
    let (platform, host) = platform();
    platform.set_queue(QueueSend::Sent);
    block_on(enqueue_event(&host, &event(1)));
    assert_eq!(platform.take_queue(), [event(1)]);
    assert_eq!(stored_events(&host), 0);
}

#[test]
fn an_event_that_the_queue_refuses_is_stored_directly_and_the_failure_counted() {
    let (platform, host) = platform();
    for (queue, failures) in [(QueueSend::Failed, 1), (QueueSend::NotBound, 1)] {
        platform.set_queue(queue);
        block_on(enqueue_event(&host, &event(failures as u8 + queue as u8)));
        assert_eq!(counter(&host, "jeffrey_queue_send_failures_total"), failures, "{queue:?}");
    }
    assert_eq!(stored_events(&host), 2);
}

#[test]
fn events_that_could_not_be_stored_are_reported_by_the_next_one_that_can() {
    let (platform, host) = platform();
    platform.set_away(STORE, true);
    block_on(enqueue_event(&host, &event(1)));
    block_on(enqueue_event(&host, &event(2)));
    platform.set_away(STORE, false);
    block_on(enqueue_event(&host, &event(3)));
    assert_eq!((stored_events(&host), counter(&host, "jeffrey_events_lost_total")), (1, 2));
    block_on(enqueue_event(&host, &event(4)));
    assert_eq!(counter(&host, "jeffrey_events_lost_total"), 2, "each loss is reported once");
}

#[test]
fn a_batch_is_acknowledged_only_if_it_is_stored() {
    let (platform, host) = platform();
    let messages = [Some(event(1)), Some(event(2))];
    platform.set_away(STORE, true);
    let outcome = block_on(store_batch(&host, "jeffrey-events", &messages));
    assert_eq!((outcome.stored, outcome.retry_delay_s), (vec![false, false], 5));
    platform.set_away(STORE, false);
    let outcome = block_on(store_batch(&host, "jeffrey-events", &messages));
    assert_eq!(outcome.stored, [true, true]);
    let again = block_on(store_batch(&host, "jeffrey-events", &messages));
    assert_eq!((again.stored, stored_events(&host)), (vec![true, true], 2));
}

#[test]
fn a_message_that_is_no_text_is_acknowledged_and_counted_as_malformed() {
    let (_, host) = platform();
    let outcome = block_on(store_batch(&host, "jeffrey-events", &[None, Some(event(1))]));
    assert_eq!(outcome.stored, [true, true]);
    assert_eq!(counter(&host, "jeffrey_events_malformed_total"), 1);
}

#[test]
fn a_line_break_in_a_message_makes_no_second_event() {
    let (_, host) = platform();
    let two_lines = format!("{}\n{}", event(1), event(2));
    block_on(store_batch(&host, "jeffrey-events", &[Some(two_lines)]));
    assert_eq!(
        (stored_events(&host), counter(&host, "jeffrey_events_malformed_total")),
        (0, 1),
        "two values on one line are no event"
    );
}

#[test]
fn dead_letters_are_stored_counted_and_retried_hourly() {
    let (platform, host) = platform();
    platform.set_away(STORE, true);
    let outcome = block_on(store_batch(&host, "jeffrey-events-dead", &[Some(event(1))]));
    assert_eq!((outcome.stored, outcome.retry_delay_s), (vec![false], 3_600));
    platform.set_away(STORE, false);
    block_on(store_batch(&host, "jeffrey-events-dead", &[Some(event(1))]));
    assert_eq!(
        (stored_events(&host), counter(&host, "jeffrey_events_dead_lettered_total")),
        (1, 1)
    );
}

#[test]
fn the_lag_is_the_age_of_the_oldest_event() {
    let (platform, host) = platform();
    platform.advance(7_000).unwrap();
    block_on(store_batch(&host, "jeffrey-events", &[Some(event(1)), Some("{}".to_owned())]));
    assert_eq!(counter(&host, jeffrey_edge::gateway::export::prometheus::QUEUE_LAG_SERIES), 7_000);
}

#[test]
fn stable_s_p95_reaches_every_isolate_once_a_minute() {
    let (platform, host) = platform();
    block_on(store_batch(&host, "jeffrey-events", &[Some(event(1))]));
    platform.advance(70_000).unwrap();
    // The next batch closes the minute: its isolate measures it and tells the rollout object.
    block_on(store_batch(&host, "jeffrey-events", &[Some(event(2))]));
    let p95_ms = host.isolate().stable_p95_ms(host.now()).unwrap();
    assert!((p95_ms / 150.0 - 1.0).abs() < 0.05, "{p95_ms}");
    let other = platform.isolate();
    assert_eq!(other.isolate().stable_p95_ms(other.now()), None);
    block_on(jeffrey_gateway_service::rollout::refresh_share(&other));
    assert_eq!(other.isolate().stable_p95_ms(other.now()), Some(p95_ms));
}
