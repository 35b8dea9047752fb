//! Rules of other tools, re-implemented from their published descriptions, on the same minutes. The tools
//! themselves were not run.

use std::collections::VecDeque;

use super::mann_whitney::Judge;
use jeffrey_anytime::Part;

/// A rule that looks at the canary's rate and a limit.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    /// Its name in reports.
    pub(super) name: &'static str,
    kind: Kind,
    fired: Option<u64>,
}

#[derive(Clone, Debug)]
enum Kind {
    /// A rate over the last minutes.
    Trailing { minutes: usize, last: VecDeque<Part> },
    /// So many minutes in a row.
    Consecutive { minutes: u32, bad: u32 },
    /// So many failed looks in all, each at the minutes since the look before.
    Failures { every: u64, allowed: u32, failed: u32, since: Part },
    /// A judge of both cohorts' minutes so far, once an hour.
    Judged(Judge),
}

/// How many there are.
pub(super) const COUNT: usize = 5;

/// All of them, fresh.
pub(super) fn all() -> [Peer; COUNT] {
    let peer = |name, kind| Peer { name, kind, fired: None };
    [
        peer("trailing_15m", Kind::Trailing { minutes: 15, last: VecDeque::new() }),
        peer("consecutive_15m", Kind::Consecutive { minutes: 15, bad: 0 }),
        // Flagger: `interval: 1m`, `threshold: 5`; the counter of failed checks is not set back
        // (https://docs.flagger.app/usage/how-it-works).
        peer("flagger_1m_5", failures(1, 4)),
        // Argo Rollouts: `interval: 5m`, `failureLimit: 3`, failed when more fail
        // (https://argo-rollouts.readthedocs.io/en/stable/features/analysis/).
        peer("argo_5m_3", failures(5, 3)),
        peer("kayenta_1h", Kind::Judged(Judge::default())),
    ]
}

fn failures(every: u64, allowed: u32) -> Kind {
    Kind::Failures { every, allowed, failed: 0, since: Part::default() }
}

impl Peer {
    /// The minute at which it rolled back.
    pub(super) fn fired(&self) -> Option<u64> {
        self.fired
    }

    /// One closed minute of both cohorts, the canary first.
    pub(super) fn look(&mut self, minute: u64, [part, stable]: [Part; 2], limit: f64) {
        if self.fired.is_some() {
            return;
        }
        let above = |part: Part| part.rate().is_some_and(|rate| rate > limit);
        let fires = match &mut self.kind {
            Kind::Trailing { minutes, last } => {
                last.push_back(part);
                if last.len() > *minutes {
                    last.pop_front();
                }
                let sum = last.iter().fold(Part::default(), |sum, part| sum.plus(*part));
                last.len() == *minutes && above(sum)
            }
            Kind::Consecutive { minutes, bad } => {
                *bad = if above(part) { *bad + 1 } else { 0 };
                *bad >= *minutes
            }
            Kind::Failures { every, allowed, failed, since } => {
                *since = since.plus(part);
                if (minute + 1).is_multiple_of(*every) {
                    *failed += u32::from(above(*since));
                    *since = Part::default();
                }
                *failed > *allowed
            }
            Kind::Judged(judge) => {
                judge.look(part, stable);
                (minute + 1).is_multiple_of(60) && judge.finds_more()
            }
        };
        if fires {
            self.fired = Some(minute);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// When each fires on these minutes, of 100 requests, against a limit of 2 %.
    fn fired(hits: impl Fn(u64) -> u64) -> [Option<u64>; COUNT] {
        let mut peers = all();
        for minute in 0..600 {
            // Stable has one or three of 200.
            let stable = Part::new(1 + 2 * (minute % 2), 200);
            let canary = Part::new(hits(minute), 100);
            peers.iter_mut().for_each(|peer| peer.look(minute, [canary, stable], 0.02));
        }
        peers.each_ref().map(Peer::fired)
    }

    #[test]
    fn each_fires_when_its_description_says() {
        assert_eq!(fired(|_| 0), [None; COUNT]);
        assert_eq!(fired(|_| 2)[..4], [None; 4], "at the limit is not above it");
        assert_eq!(fired(|_| 2)[4], Some(59), "and above stable");
        assert_eq!(fired(|_| 3), [Some(14), Some(14), Some(4), Some(19), Some(59)]);
        // Two bad minutes an hour: only the counter that is never set back fires.
        let rare = fired(|minute| if minute % 60 < 2 { 4 } else { 0 });
        assert_eq!(rare, [None, None, Some(120), None, None]);
        // Every other minute bad, 1.5 times the limit on average.
        let mixed = fired(|minute| if minute % 2 == 0 { 6 } else { 0 });
        assert_eq!(mixed[..4], [Some(14), None, Some(8), Some(19)]);
    }
}
