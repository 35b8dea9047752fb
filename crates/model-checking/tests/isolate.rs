//! The isolate of the model does what the gateway's `IsolateState` does.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed, and says where")]

use jeffrey_edge::rollout::clock_reading::ClockReading;
use jeffrey_edge::rollout::release_state::ReleaseState;
use jeffrey_edge::rollout::share_cache::Refresh;
use jeffrey_gateway_service::isolate::IsolateState;
use jeffrey_gateway_service::rollout::messages::ReleaseSnapshot;
use jeffrey_model_checking::functions::CoreFunctions;
use jeffrey_model_checking::isolate::NOW;
use jeffrey_model_checking::state::{
    CachedSnapshot, CallKind, IsolateMoment, IsolateSnapshot, ModelIsolate, PendingCall, STEP_MS,
};
use jeffrey_terms::{Share, UnixMs};
use proptest::prelude::*;

/// Event of an isolate.
#[derive(Clone, Copy, Debug)]
enum IsolateEvent {
    Step,
    StepClock(bool),
    /// Starts or ends a time without requests.
    TurnIdle,
    Refresh,
    /// Sends a command; its reply may come later.
    Ask,
    Fail,
    Receive(u8, bool),
    ReceiveByCommand(u8, bool),
}

fn any_event() -> impl Strategy<Value = IsolateEvent> {
    prop_oneof![
        4 => Just(IsolateEvent::Step),
        1 => any::<bool>().prop_map(IsolateEvent::StepClock),
        1 => Just(IsolateEvent::TurnIdle),
        2 => Just(IsolateEvent::Refresh),
        1 => Just(IsolateEvent::Ask),
        1 => Just(IsolateEvent::Fail),
        2 => (1_u8..5, any::<bool>()).prop_map(|(version, open)| IsolateEvent::Receive(version, open)),
        1 => (1_u8..5, any::<bool>())
            .prop_map(|(version, open)| IsolateEvent::ReceiveByCommand(version, open)),
    ]
}

/// Snapshots of a version differ in its share, so that the share tells which one is cached.
fn snapshot(version: u8, is_open: bool) -> IsolateSnapshot {
    let share = if is_open { 1_000 * u16::from(version) } else { 0 };
    IsolateSnapshot { version, share, is_disabled: !is_open }
}

fn shipped_snapshot(version: u8, is_open: bool) -> ReleaseSnapshot {
    let share = snapshot(version, is_open).share;
    let state = ReleaseState::initial(Share::from_basis_points(share).unwrap());
    ReleaseSnapshot {
        model_sha256: None,
        bucket_salt: None,
        release_state: ReleaseState { version: u64::from(version), ..state },
        holdout: Share::NONE,
        rolled_back: !is_open,
        stage: None,
        stable_p95_ms: None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 2_000, ..Default::default() })]

    #[test]
    fn it_decides_as_the_gateway_does(events in prop::collection::vec(any_event(), 1..60)) {
        let functions = CoreFunctions::SHIPPED;
        let (mut isolate, shipped, mut now) = (ModelIsolate::default(), IsolateState::default(), NOW);
        let mut asked_at = None;
        // The clock steps that are still to come keep more alive.
        let set_back_max = |place: usize| {
            let is_set_back = |event: &&IsolateEvent| matches!(event, IsolateEvent::StepClock(false));
            i16::try_from(12 * events[place..].iter().filter(is_set_back).count()).unwrap()
        };
        for (place, event) in events.iter().enumerate() {
            match *event {
                IsolateEvent::Step => {
                    isolate.pass_step(set_back_max(place));
                    now = UnixMs(now.0 + STEP_MS);
                }
                IsolateEvent::StepClock(is_forward) => {
                    // More steps than the model's numbers hold are no case of it.
                    let steps = events[..place].iter();
                    if steps.filter(|event| matches!(event, IsolateEvent::StepClock(_))).count() < 8 {
                        isolate.step_clock(if is_forward { 12 } else { -12 });
                        let ms = 12 * STEP_MS;
                        now = UnixMs(if is_forward { now.0 + ms } else { now.0 - ms });
                    }
                }
                IsolateEvent::TurnIdle => isolate.is_idle = !isolate.is_idle,
                IsolateEvent::Refresh if isolate.is_idle => {}
                IsolateEvent::Refresh => {
                    let expected = match shipped.effective_share(now).refresh {
                        Refresh::Blocking => true,
                        Refresh::Background => shipped.begin_background_refresh(now),
                        Refresh::Fresh => false,
                    };
                    prop_assert_eq!(isolate.needs_refresh(&functions), expected);
                    if expected {
                        isolate.begin_refresh(&functions);
                        shipped.begin_fetch(now);
                    }
                }
                IsolateEvent::Ask => {
                    isolate.begin_fetch(&functions);
                    isolate.calls[0] = Some(PendingCall::new(CallKind::Refresh));
                    asked_at = Some(shipped.begin_fetch(now));
                }
                IsolateEvent::Fail => {
                    isolate.end_refresh(&functions, None);
                    let asked_at = shipped.begin_fetch(now);
                    isolate.begin_fetch(&functions);
                    shipped.end_refresh(None, asked_at, now);
                }
                IsolateEvent::Receive(version, is_open) => {
                    let (asked, asked_at) = take_question(&mut isolate, &shipped, &mut asked_at, now);
                    let received = CachedSnapshot { snapshot: snapshot(version, is_open), asked };
                    isolate.end_refresh(&functions, Some(received));
                    shipped.end_refresh(Some(&shipped_snapshot(version, is_open)), asked_at, now);
                }
                IsolateEvent::ReceiveByCommand(version, is_open) => {
                    let (asked, asked_at) = take_question(&mut isolate, &shipped, &mut asked_at, now);
                    let received = CachedSnapshot { snapshot: snapshot(version, is_open), asked };
                    isolate.cache_snapshot(&functions, received);
                    shipped.cache_snapshot(&shipped_snapshot(version, is_open), asked_at, now);
                }
            }
            isolate.forget(set_back_max(place));
            if !isolate.is_idle {
                prop_assert_eq!(isolate.effective_share(&functions), shipped.effective_share(now));
            }
        }
    }
}

/// Returns the time at which both isolates asked for the snapshot that comes now: earlier, or now.
fn take_question(
    isolate: &mut ModelIsolate,
    shipped: &IsolateState,
    asked_at: &mut Option<ClockReading>,
    now: UnixMs,
) -> (IsolateMoment, ClockReading) {
    isolate.read_clock();
    match (isolate.calls[0].take(), asked_at.take()) {
        (Some(call), Some(asked_at)) => (call.asked, asked_at),
        _ => {
            isolate.begin_fetch(&CoreFunctions::SHIPPED);
            (IsolateMoment::default(), shipped.begin_fetch(now))
        }
    }
}
