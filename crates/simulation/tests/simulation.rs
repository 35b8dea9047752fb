//! Days of the simulated gateway by fixed seeds, and the list of known faults.

use std::sync::atomic::{AtomicU64, Ordering};

use jeffrey_simulation::fault::{Disturbance, Fault, Hop, ModelFault, ScheduledFault};
use jeffrey_simulation::invariants::Invariant;
use jeffrey_simulation::known::KNOWN_FAULTS;
use jeffrey_simulation::run::run;
use jeffrey_simulation::scenario::Scenario;
use jeffrey_simulation::shrink::shrink;

/// Seeds that every test run has, a day each.
const SEEDS: std::ops::RangeInclusive<u64> = 1..=12;

/// Runs `check` for each item on two threads.
fn for_each<T: Sync>(items: &[T], check: impl Fn(&T) + Sync) {
    let next = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed) as usize) {
                    check(item);
                }
            });
        }
    });
}

#[test]
fn no_seed_breaks_a_promise_that_no_known_fault_breaks() {
    let seeds: Vec<u64> = SEEDS.collect();
    for_each(&seeds, |seed| {
        let report = run(Scenario::random(*seed, 1.0), false);
        let error = report.first_error();
        assert!(
            error.is_none(),
            "seed {seed}: {}",
            error.map(ToString::to_string).unwrap_or_default()
        );
        assert!(report.counts.calls > 80_000, "seed {seed}: {:?}", report.counts);
    });
}

#[test]
fn a_run_is_the_same_to_the_last_byte() {
    let scenario = Scenario::random(7, 0.1);
    let (first, second) = (run(scenario.clone(), true), run(scenario, true));
    assert!(first.trace.len() > 10);
    assert_eq!(first.trace, second.trace);
    assert_eq!(first, second);
    let other = run(Scenario::random(8, 0.1), false);
    assert_ne!(other.digest, first.digest);
}

#[test]
fn a_legacy_system_that_takes_twelve_seconds_is_waited_for() {
    let (hop, disturbance) = (Hop::Legacy, Disturbance::Slow(6_000));
    let slow = Fault::Calls { hop, disturbance, permille: 1_000, duration_ms: 300_000 };
    let scenario = Scenario { duration_ms: 600_000, ..Scenario::healthy(1, 0.0) };
    let report =
        run(scenario.with_faults(vec![ScheduledFault { at_ms: 60_000, fault: slow }]), false);
    assert!(!report.breaks(Invariant::LegacyHasItsTime), "{report:?}");
    assert!(report.first_error().is_none(), "{report:?}");
}

#[test]
fn a_rate_limit_refuses_no_call() {
    let scenario = Scenario {
        calls_per_subject_max: Some(2),
        users: 5,
        duration_ms: 600_000,
        ..Scenario::healthy(1, 0.0)
    };
    let report = run(scenario, false);
    assert!(report.counts.by_gateway == 0 && report.first_error().is_none(), "{report:?}");
}

#[test]
fn each_known_fault_is_still_there_and_breaks_nothing_else() {
    for_each(&KNOWN_FAULTS, |fault| {
        let report = run((fault.scenario)(), false);
        assert!(report.breaks(fault.invariant), "{} is gone: take it off the list", fault.number);
        assert!(report.first_error().is_none(), "{}: {:?}", fault.number, report.first_error());
    });
}

#[test]
fn each_known_fault_marks_one_promise_and_no_other_promise_is_marked() {
    let marked: Vec<(Option<u32>, Invariant)> =
        KNOWN_FAULTS.iter().map(|fault| (Some(fault.number), fault.invariant)).collect();
    for invariant in Invariant::ALL {
        let found = marked.iter().find(|(_, of_fault)| of_fault == invariant);
        assert_eq!(invariant.known_fault(), found.and_then(|(number, _)| *number), "{invariant:?}");
    }
}

#[test]
fn a_healthy_release_is_promoted_and_a_broken_one_is_not() {
    let healthy = run(Scenario::healthy(3, 0.5), false);
    assert_eq!((healthy.counts.rollbacks, healthy.counts.promotions), (0, 1), "{healthy:?}");
    for (fault, permille) in [(ModelFault::Slow, 150), (ModelFault::Garbage, 100)] {
        let model = Some((fault, permille));
        let broken =
            run(Scenario { model, restarts_release: false, ..Scenario::healthy(3, 0.5) }, false);
        assert_eq!((broken.counts.rollbacks, broken.counts.promotions), (1, 0), "{broken:?}");
    }
}

#[test]
fn a_schedule_shrinks_to_the_fault_that_matters() {
    let at = |at_ms, fault| ScheduledFault { at_ms, fault };
    let slow = Fault::Calls {
        hop: Hop::Objects,
        disturbance: Disturbance::Slow(600),
        permille: 1_000,
        duration_ms: 60_000,
    };
    let faults = vec![
        at(100_000, Fault::ObjectEvicted { object: 1 }),
        at(200_000, Fault::IsolateEnds { isolate: 1, runs: 2 }),
        at(600_000, slow),
        at(700_000, Fault::Deploy),
    ];
    let scenario =
        Scenario { duration_ms: 1_200_000, ..Scenario::healthy(1, 0.0) }.with_faults(faults);
    let smallest = shrink(&scenario, Invariant::StableNeverWaits, |_| {});
    assert_eq!(smallest.faults, [at(600_000, slow)]);
    assert!(smallest.duration_ms < scenario.duration_ms);
}
