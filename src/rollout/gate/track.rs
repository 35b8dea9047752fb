//! A gate's evidence, minute by minute, and the finding it amounts to.
//!
//! Where the question is "did it get worse", every minute of a day may be the start of the change
//! ([`Starts`]); a day opens a new mixture with its own budget, and what the closed ones came to is kept
//! but not multiplied. Subjects have one such mixture for each hour, over the minutes of that hour, on
//! those whose first error since then it was. Where the question is "is it good enough", the evidence is
//! that of the stage.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::finding::{Finding, Note, Verdict};
use super::{Effect, Gate, Level, Limit, Rule};
use crate::rollout::counts::{Affected, Metric, Minute, Pair};
use jeffrey_anytime::odds::{EQUAL, OddsRatio};
use jeffrey_anytime::starts::{Detector, Exact, Product, Starts};
use jeffrey_anytime::{EVEN, GRID, GROWTH, NEAR, Part, beta, limit, ln, ln_mean_exp, odds};
use jeffrey_terms::{Cohort, Share};

/// What a gate remembers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Track {
    /// Since the stage began: the canary, stable.
    seen: [Part; 2],
    odds: OddsRatio,
    /// The last minute with a request of the canary's.
    last_sample: Option<u64>,
    /// The minute it failed; stays until a person resumes.
    crossed: Option<u64>,
    one_client: bool,
    memory: Memory,
}

/// What depends on the kind of rule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Memory {
    Change(Box<Change>),
    NotWorse { equal: Product<{ EQUAL.len() }>, below: Product<GRID> },
    Seen,
    Window(VecDeque<[Part; 2]>),
}

/// Evidence of a change at an unknown minute.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    /// The first minute of the day in force.
    day: Option<u64>,
    requests: Starts,
    /// One an hour.
    subjects: Vec<Hour>,
    /// At 100 % without a holdout.
    detector: Detector,
    segment: Segment,
    /// What closed days came to, in thousandths of a nat; the latest last.
    closed: VecDeque<i64>,
}

/// Subjects whose first error since this hour is evidence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Hour {
    hour: u64,
    starts: Starts,
    /// Of the subjects affected since: by how many the canary's are fewer than its chance makes, and the
    /// variance of that.
    lack: Exact<2>,
}

impl Hour {
    const fn new(hour: u64) -> Self {
        Self { hour, starts: Starts::new(), lack: Exact([0.0; 2]) }
    }

    /// Whether stable's subjects were used up faster than chance does it, as by an outage of the old
    /// system: of those left more are the canary's than its share, and what begins now would take them for
    /// the canary's fault.
    fn is_used_up(&self) -> bool {
        let [lack, variance] = self.lack.0;
        lack > USED_UP_DEVIATIONS * libm::sqrt(variance)
    }

    fn fold(&mut self, stake: f64, pair: Pair, chance: f64) {
        self.starts.fold(stake, &beta::more(pair.canary, pair.stable, chance));
        let all = (pair.canary + pair.stable) as f64;
        let [lack, variance] = &mut self.lack.0;
        *lack += all * chance - pair.canary as f64;
        *variance += all * chance * (1.0 - chance);
    }
}

/// The stretch that a change most likely lies in: since a sum of logarithms was last at 0 (Page 1954,
/// "Continuous inspection schemes", Biometrika 41:100–115).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Segment {
    since: Option<u64>,
    minutes: u64,
    sum: Exact<1>,
    canary: Part,
    stable: Part,
    odds: OddsRatio,
}

impl Segment {
    fn fold(&mut self, minute: u64, parts: [Part; 2], ln_e: f64) {
        if self.sum.0[0] + ln_e <= 0.0 {
            *self = Self::default();
            return;
        }
        let [canary, stable] = parts;
        self.since.get_or_insert(minute);
        self.minutes += 1;
        self.sum.0[0] += ln_e;
        self.canary = self.canary.plus(canary);
        self.stable = self.stable.plus(stable);
        self.odds = self.odds.plus(canary, stable);
    }
}

impl Track {
    /// Nothing seen.
    pub fn new(rule: &Rule) -> Self {
        let memory = match rule {
            Rule::AtMost(_) | Rule::AtLeast(_) | Rule::Compared(_) => {
                Memory::Change(Box::default())
            }
            Rule::NotWorse { .. } => {
                Memory::NotWorse { equal: Product::new(), below: Product::new() }
            }
            Rule::Estimated { .. } | Rule::Never | Rule::SampleRatio => Memory::Seen,
            Rule::Window { .. } => Memory::Window(VecDeque::new()),
        };
        Self {
            seen: [Part::default(); 2],
            odds: OddsRatio::default(),
            last_sample: None,
            crossed: None,
            one_client: false,
            memory,
        }
    }

    /// A stage begins: what has to be shown of a stage starts anew; evidence of a change runs on.
    pub fn enter_stage(&mut self) {
        self.seen = [Part::default(); 2];
        self.odds = OddsRatio::default();
        if let Memory::NotWorse { equal, below } = &mut self.memory {
            (*equal, *below) = (Product::new(), Product::new());
        }
    }

    /// Folds one minute; that it is a new one has been seen to. `of_stage` says whether the stage had begun before it: a
    /// minute of the stage before that comes late shows nothing of this one.
    pub fn fold(&mut self, gate: &Gate, minute: &Minute, holdout: Share, of_stage: bool) {
        let parts = [Cohort::Canary, Cohort::Stable].map(|cohort| gate.metric.of(minute, cohort));
        let [canary, stable] = parts;
        // Of a minute with two shares nobody can say who should have been drawn.
        let drawn = gate.rule != Rule::SampleRatio || minute.share.is_some();
        if of_stage && drawn {
            self.seen = [self.seen[0].plus(canary), self.seen[1].plus(stable)];
            self.odds = self.odds.plus(canary, stable);
        }
        // What is judged over a stage need not come every minute; that the canary is there has to.
        let rare = matches!(gate.rule, Rule::Estimated { .. } | Rule::SampleRatio | Rule::Never);
        if canary.of > 0 || (rare && minute.canary.requests > 0) {
            self.last_sample = Some(self.last_sample.unwrap_or(0).max(minute.minute));
        }
        self.one_client = minute.concentration.is_one_client();
        match (&mut self.memory, gate.rule) {
            (Memory::Change(change), rule) => change.fold(gate, rule, minute, parts, holdout),
            (Memory::NotWorse { equal, below }, Rule::NotWorse { odds: worse, ceiling })
                if of_stage =>
            {
                equal.fold(&odds::not_worse(canary, stable, worse));
                below.fold(&ceiling.map_or([0.0; GRID], |rate| limit::too_low(canary, rate)));
            }
            (Memory::Window(last), Rule::Window { minutes, .. }) => {
                last.push_back(parts);
                while last.len() > minutes as usize {
                    last.pop_front();
                }
            }
            _ => {}
        }
        let failed = self.judge(gate, minute.share).0 == Verdict::Fail;
        // A warning ends with its cause; what rolls back stays until a person resumes.
        if !failed && gate.effect != Effect::RollBack {
            self.crossed = None;
        } else if failed && self.crossed.is_none() {
            self.crossed = Some(minute.minute);
        }
    }

    /// What it comes to at the end of minute `now`, with the share in force.
    pub fn finding(&self, gate: &Gate, now: u64, share: Option<Share>) -> Finding {
        let (judged, note) = self.judge(gate, share);
        let silent = self.last_sample.is_none_or(|last| now.saturating_sub(last) >= SILENT_MINUTES);
        let (verdict, note) = if self.crossed.is_some() {
            (Verdict::Fail, None)
        } else if silent {
            (Verdict::Hold, Some(Note::NoData))
        } else {
            (judged, note)
        };
        let (evidence, threshold) = self.evidence(gate, share);
        let segment = match &self.memory {
            Memory::Change(change) => change.segment,
            _ => Segment::default(),
        };
        Finding {
            gate: gate.name.clone(),
            metric: gate.metric,
            effect: gate.effect,
            verdict,
            note,
            value: self.value(gate, &segment),
            limit: gate.or_at_most.filter(|_| self.seen[1].of == 0).or(limit_of(gate.rule)),
            samples: self.seen[0].of,
            hits: self.seen[0].hits,
            ln_evidence: evidence,
            ln_threshold: threshold,
            decides_in_minutes: remaining(evidence, threshold, &segment),
            crossed: self.crossed,
            since: segment.since,
        }
    }

    /// The verdict on what was seen, silence aside.
    fn judge(&self, gate: &Gate, share: Option<Share>) -> (Verdict, Option<Note>) {
        let [canary, stable] = self.seen;
        match (&self.memory, gate.rule) {
            (Memory::Change(change), rule) => change.judge(gate, rule, self.seen, self.one_client),
            (Memory::NotWorse { equal, below }, _) => {
                // The error is split over the two ways.
                let threshold = -ln(gate.budget / 2.0);
                let shown = equal.ln_e() >= threshold || below.ln_e() >= threshold;
                (if shown { Verdict::Pass } else { Verdict::Hold }, None)
            }
            (Memory::Seen, Rule::Estimated { at_most, compared, samples }) => {
                let enough = canary.of >= samples && (compared.is_none() || stable.of >= samples);
                let rate = canary.rate().unwrap_or(1.0);
                // A ratio of few is above any limit now and then: it holds when it is no chance, too.
                let beyond = |most: f64| {
                    let shown = ln_mean_exp(&odds::higher(canary, stable)) >= -ln(gate.budget);
                    shown && self.odds.estimate().is_some_and(|odds| odds > most)
                };
                let within =
                    at_most.is_none_or(|most| rate <= most) && !compared.is_some_and(beyond);
                (if enough && within { Verdict::Pass } else { Verdict::Hold }, None)
            }
            (Memory::Seen, Rule::Never) => {
                (if canary.hits > 0 { Verdict::Fail } else { Verdict::Pass }, None)
            }
            (Memory::Seen, Rule::SampleRatio) => {
                let odd = sample_ratio(canary, share) >= -ln(gate.budget);
                (if odd { Verdict::Fail } else { Verdict::Pass }, None)
            }
            (Memory::Window(last), Rule::Window { minutes, limit }) => {
                judge_window(last, minutes, limit)
            }
            _ => (Verdict::Hold, None),
        }
    }

    /// Evidence and what it has to reach; of two levels the one that is nearer.
    fn evidence(&self, gate: &Gate, share: Option<Share>) -> (Option<f64>, Option<f64>) {
        match &self.memory {
            Memory::Change(change) => {
                let requests = gate
                    .requests_threshold()
                    .map(|needs| (change.requests.ln_e(weights(gate.rule)), needs));
                let subjects = gate.subjects_threshold().map(|needs| (change.ln_subjects(), needs));
                let missing = |(evidence, needs): &(f64, f64)| needs - evidence;
                let nearer = [requests, subjects]
                    .into_iter()
                    .flatten()
                    .min_by(|a, b| missing(a).total_cmp(&missing(b)));
                (nearer.map(|(evidence, _)| evidence), nearer.map(|(_, needs)| needs))
            }
            Memory::NotWorse { equal, below } => {
                (Some(equal.ln_e().max(below.ln_e())), Some(-ln(gate.budget / 2.0)))
            }
            Memory::Seen if gate.rule == Rule::SampleRatio => {
                (Some(sample_ratio(self.seen[0], share)), Some(-ln(gate.budget)))
            }
            _ => (None, None),
        }
    }

    fn value(&self, gate: &Gate, segment: &Segment) -> Option<f64> {
        let changed = segment.canary.of > 0;
        match gate.rule {
            Rule::AtMost(_) | Rule::AtLeast(_) if changed => segment.canary.rate(),
            Rule::Compared(_) if gate.or_at_most.is_some() && self.seen[1].of == 0 => {
                if changed {
                    segment.canary.rate()
                } else {
                    self.seen[0].rate()
                }
            }
            Rule::Compared(_) if changed => segment.odds.estimate(),
            Rule::Compared(_) | Rule::NotWorse { .. } => self.odds.estimate(),
            Rule::Estimated { compared: Some(_), at_most: None, .. } => self.odds.estimate(),
            Rule::Never => Some(self.seen[0].hits as f64),
            Rule::Window { limit, .. } => match &self.memory {
                Memory::Window(last) => window_value(last, limit),
                _ => None,
            },
            _ => self.seen[0].rate(),
        }
        .filter(|value| value.is_finite())
    }
}

impl Change {
    fn fold(&mut self, gate: &Gate, rule: Rule, minute: &Minute, parts: [Part; 2], holdout: Share) {
        let day = *self.day.get_or_insert(minute.minute);
        if minute.minute >= day + DAY_MINUTES {
            self.close_day(rule);
            self.day = Some(minute.minute);
        }
        let [canary, stable] = parts;
        let (ln_e, at_segment) = match rule {
            Rule::AtMost(rate) => (limit::too_high(canary, rate), SEGMENT_AT),
            Rule::AtLeast(rate) => (limit::too_low(canary, rate), SEGMENT_AT),
            _ => match gate.or_at_most.filter(|_| stable.of == 0) {
                Some(rate) => (limit::too_high(canary, rate), SEGMENT_AT),
                None => (odds::higher(canary, stable), SEGMENT_AT),
            },
        };
        self.segment.fold(minute.minute, parts, ln_e[at_segment]);
        let without_control = minute.share == Some(Share::ALL) && holdout == Share::NONE;
        if without_control {
            self.detector.fold(&ln_e);
        } else {
            self.requests.fold(1.0 / DAY_MINUTES as f64, &ln_e);
        }
        if gate.level != Level::Requests {
            self.fold_subjects(gate.metric, minute, holdout);
        }
    }

    fn fold_subjects(&mut self, metric: Metric, minute: &Minute, holdout: Share) {
        let hour = minute.minute / 60;
        let opens = self.subjects.last().is_none_or(|last| last.hour < hour);
        if opens && (self.subjects.len() as u64) < HOURS {
            self.subjects.push(Hour::new(hour));
        }
        let Some(share) = minute.share.filter(|share| *share != Share::NONE) else { return };
        let chance = chance(share, holdout);
        if chance >= 1.0 {
            return;
        }
        for known in &mut self.subjects {
            let of_this =
                |entry: &&Affected| (entry.metric, entry.since_hour) == (metric, known.hour);
            let affected = minute.first_affected.iter().find(of_this);
            let pair = affected.map(|entry| entry.subjects).unwrap_or_default();
            // Starts lie within the hour; a later change is found by a later hour's subjects.
            let starts = known.hour == hour && !known.is_used_up();
            let stake = if starts { 1.0 / 60.0 } else { 0.0 };
            if starts || pair != Pair::default() {
                known.fold(stake, pair, chance);
            }
        }
    }

    /// The hours' evidence, each with the same weight; an hour to come counts as 1.
    fn ln_subjects(&self) -> f64 {
        let opened = self.subjects.len() as u64;
        let to_come = (0..HOURS.saturating_sub(opened)).map(|_| 0.0);
        let all: Vec<f64> =
            self.subjects.iter().map(|hour| hour.starts.ln_e(&EVEN)).chain(to_come).collect();
        ln_mean_exp(&all)
    }

    fn close_day(&mut self, rule: Rule) {
        let highest = self.requests.ln_e(weights(rule)).max(self.ln_subjects());
        self.closed.push_back((highest * 1_000.0) as i64);
        while self.closed.len() > DAYS_KEPT {
            self.closed.pop_front();
        }
        self.requests = Starts::new();
        self.subjects.clear();
    }

    fn judge(
        &self,
        gate: &Gate,
        rule: Rule,
        [_, stable]: [Part; 2],
        one_client: bool,
    ) -> (Verdict, Option<Note>) {
        let reaches =
            |evidence: f64, needs: Option<f64>| needs.is_some_and(|needs| evidence >= needs);
        let by_subjects = reaches(self.ln_subjects(), gate.subjects_threshold());
        let by_requests = reaches(self.requests.ln_e(weights(rule)), gate.requests_threshold());
        // The detector is wrong once in `A` minutes on average: a day's budget is a day's part of it.
        let needs = gate.requests_threshold().map(|needs| needs + ln(DAY_MINUTES as f64));
        let by_detector = reaches(self.detector.ln_e(weights(rule)), needs);
        let Rule::Compared(tolerated) = rule else {
            let failed = by_requests || by_detector;
            return (if failed { Verdict::Fail } else { Verdict::Pass }, None);
        };
        if by_requests && !by_subjects && gate.level == Level::Both && one_client {
            return (Verdict::Hold, Some(Note::OneClient));
        }
        let absolute = gate.or_at_most.filter(|_| stable.of == 0);
        if by_subjects || by_requests {
            if let Some(limit) = absolute {
                let beyond = self.segment.canary.rate().is_some_and(|rate| rate > limit);
                let verdict = if beyond { Verdict::Fail } else { Verdict::Hold };
                return (verdict, Some(Note::AbsoluteLimit));
            }
            let estimate = self.segment.odds.estimate().unwrap_or(0.0);
            let beyond = estimate >= tolerated && self.segment.canary.hits >= HITS_LEAST;
            return if beyond {
                (Verdict::Fail, None)
            } else {
                (Verdict::Hold, Some(Note::Tolerated))
            };
        }
        if absolute.is_some() {
            return (Verdict::Pass, Some(Note::AbsoluteLimit));
        }
        if stable.of == 0 {
            return (Verdict::Hold, Some(Note::NotAvailable));
        }
        (Verdict::Pass, None)
    }
}

/// How the alternatives are weighed.
fn weights(rule: Rule) -> &'static [f64; GRID] {
    if matches!(rule, Rule::Compared(_)) { &EVEN } else { &NEAR }
}

/// The chance that a subject, the holdout's counted as stable, is the canary's.
pub fn chance(share: Share, holdout: Share) -> f64 {
    let part =
        |share: Share| f64::from(share.basis_points()) / f64::from(Share::ALL.basis_points());
    part(share) * (1.0 - part(holdout))
}

fn sample_ratio(canary: Part, share: Option<Share>) -> f64 {
    share.map_or(0.0, |share| {
        let chance = chance(share, Share::NONE);
        beta::sample_ratio(canary.hits, canary.of - canary.hits, chance)
    })
}

fn judge_window(last: &VecDeque<[Part; 2]>, minutes: u32, limit: Limit) -> (Verdict, Option<Note>) {
    if last.len() < minutes as usize {
        return (Verdict::Hold, None);
    }
    let Some(value) = window_value(last, limit) else {
        return (Verdict::Hold, Some(Note::NoData));
    };
    let outside = match limit {
        Limit::AtMost(most) | Limit::Compared(most) => value > most,
        Limit::AtLeast(least) => value < least,
    };
    (if outside { Verdict::Fail } else { Verdict::Pass }, None)
}

fn window_value(last: &VecDeque<[Part; 2]>, limit: Limit) -> Option<f64> {
    let sum = |at: usize| last.iter().fold(Part::default(), |sum, parts| sum.plus(parts[at]));
    let canary = sum(0).rate()?;
    match limit {
        Limit::AtMost(_) | Limit::AtLeast(_) => Some(canary),
        Limit::Compared(_) => sum(1).rate().filter(|rate| *rate > 0.0).map(|rate| canary / rate),
    }
}

fn limit_of(rule: Rule) -> Option<f64> {
    match rule {
        Rule::AtMost(limit) | Rule::AtLeast(limit) | Rule::Compared(limit) => Some(limit),
        Rule::Estimated { at_most, compared, .. } => at_most.or(compared),
        Rule::Never => Some(0.0),
        Rule::NotWorse { odds, .. } => Some(odds),
        Rule::SampleRatio => None,
        Rule::Window { limit, .. } => match limit {
            Limit::AtMost(limit) | Limit::AtLeast(limit) | Limit::Compared(limit) => Some(limit),
        },
    }
}

/// At the pace of the segment.
fn remaining(evidence: Option<f64>, threshold: Option<f64>, segment: &Segment) -> Option<u64> {
    let missing = threshold? - evidence?;
    let pace = segment.sum.0[0] / segment.minutes.max(1) as f64;
    (missing > 0.0 && pace > 0.0).then(|| libm::ceil(missing / pace) as u64)
}

/// After so long without a request of the canary's a gate says nothing.
pub const SILENT_MINUTES: u64 = 5;
/// A mixture's horizon.
pub const DAY_MINUTES: u64 = 24 * 60;
/// Mixtures of subjects a day.
pub const HOURS: u64 = 25;
/// The watch lasts seven days; a slow release a few more.
const DAYS_KEPT: usize = 32;
/// How far beyond chance stable's affected subjects have to be ahead.
const USED_UP_DEVIATIONS: f64 = 3.0;
/// The alternative that marks a stretch: the usual tolerance of half as much again.
const SEGMENT_AT: usize = 1;
/// Fewer hits make no estimate.
const HITS_LEAST: u64 = 5;
const _: () = assert!(GROWTH[SEGMENT_AT] == odds::NOT_WORSE);
