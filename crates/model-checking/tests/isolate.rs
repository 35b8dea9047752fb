//! The isolate of the model does what the gateway's `IsolateState` does.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed, and says where")]

use jeffrey_edge::rollout::release_state::ReleaseState;
use jeffrey_edge::rollout::share_cache::Refresh;
use jeffrey_gateway_service::isolate::IsolateState;
use jeffrey_gateway_service::rollout::messages::ReleaseSnapshot;
use jeffrey_model_checking::functions::CoreFunctions;
use jeffrey_model_checking::isolate::NOW;
use jeffrey_model_checking::state::{IsolateSnapshot, ModelIsolate, STEP_MS};
use jeffrey_terms::{Share, UnixMs};
use proptest::prelude::*;

/// Event of an isolate.
#[derive(Clone, Copy, Debug)]
enum IsolateEvent {
    Step,
    StepClock(bool),
    Refresh,
    Fail,
    Receive(u8, bool),
    ReceiveByCommand(u8, bool),
}

fn any_event() -> impl Strategy<Value = IsolateEvent> {
    prop_oneof![
        4 => Just(IsolateEvent::Step),
        1 => any::<bool>().prop_map(IsolateEvent::StepClock),
        2 => Just(IsolateEvent::Refresh),
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
        // The clock steps that are still to come keep more alive.
        let steps_left = |events: &[IsolateEvent]| {
            12 * events.iter().filter(|event| matches!(event, IsolateEvent::StepClock(false))).count()
        };
        for (place, event) in events.iter().enumerate() {
            match *event {
                IsolateEvent::Step => {
                    isolate.pass_step(i16::try_from(steps_left(&events[place..])).unwrap());
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
                IsolateEvent::Refresh => {
                    let expected = match shipped.effective_share(now).refresh {
                        Refresh::Blocking => true,
                        Refresh::Background => shipped.begin_background_refresh(now),
                        Refresh::Fresh => false,
                    };
                    prop_assert_eq!(isolate.needs_refresh(&functions), expected);
                    if expected {
                        isolate.begin_refresh(&functions);
                    }
                }
                IsolateEvent::Fail => {
                    isolate.end_refresh(&functions, None);
                    shipped.end_refresh(None, now);
                }
                IsolateEvent::Receive(version, is_open) => {
                    isolate.end_refresh(&functions, Some(snapshot(version, is_open)));
                    shipped.end_refresh(Some(&shipped_snapshot(version, is_open)), now);
                }
                IsolateEvent::ReceiveByCommand(version, is_open) => {
                    isolate.cache_snapshot(&functions, snapshot(version, is_open), false);
                    shipped.cache_snapshot(&shipped_snapshot(version, is_open), now);
                }
            }
            prop_assert_eq!(isolate.effective_share(&functions), shipped.effective_share(now));
        }
    }
}
