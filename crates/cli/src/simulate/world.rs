//! Simulated minutes: users with cohorts, and counters drawn for all of them at once.
//!
//! Requests are independent draws of users, so the counters of a minute are binomial, and only the users
//! behind errors are drawn one by one. A user's cohort is that of a bucket, drawn once.

use std::collections::VecDeque;

use rand::{RngExt, SeedableRng};
use rand_distr::{Binomial, Distribution, Exp1, Poisson};
use rand_pcg::Pcg64;

use super::scenario::Story;
use jeffrey_edge::gate::tally::newly_affected_since;
use jeffrey_edge::rollout::counts::{
    Affected, Concentration, Counts, Metric, Minute, Pair, SUBJECT_METRICS,
};
use jeffrey_edge::rollout::gate::{Level, track};
use jeffrey_edge::rollout::plan::Plan;
use jeffrey_terms::{Cohort, Share};

/// Who comes, and how often.
#[derive(Clone, Copy, Debug)]
pub(super) struct Crowd {
    /// Requests a minute, on average over a day.
    pub(super) traffic: f64,
    /// How many subjects there are.
    pub(super) users: u32,
    /// Exponent of Zipf's law; 0 is all alike.
    pub(super) zipf: f64,
    /// Part of the users whose requests fail one time in four, whatever the cohort.
    pub(super) broken: f64,
    /// How far the day's highest traffic lies above the mean, 0 to 1.
    pub(super) daily: f64,
    /// The share that stays stable.
    pub(super) holdout: Share,
}

/// One simulated release's traffic.
pub(super) struct World<'a> {
    story: &'a Story,
    crowd: Crowd,
    rng: Pcg64,
    users: Vec<User>,
    /// Users in the order of their first request.
    arrivals: Vec<(u64, u32)>,
    arrived: usize,
    share: Share,
    /// Canary then stable; broken ones apart.
    classes: [[Class; 2]; 2],
    /// The metrics, errors aside, whose subjects some gate looks at: only those are drawn.
    by_subject: Vec<Metric>,
    /// Counters of the canary's that its clock holds back.
    held_back: VecDeque<Counts>,
    /// The canary's erring users of the last hour, minute by minute, and both cohorts' counters.
    lately: VecDeque<(Vec<u32>, Concentration)>,
}

#[derive(Clone, Copy)]
struct User {
    weight: f64,
    bucket: u16,
    held_out: bool,
    broken: bool,
    /// For each of [`SUBJECT_METRICS`]: the minute after the last hit; 0 without one.
    after_hit: [u64; SUBJECT_METRICS.len()],
}

/// Subjects newly affected in one minute, by metric and by the age of the hour, of one cohort.
type NewlyAffected = [[u64; HOURS]; SUBJECT_METRICS.len()];

/// Users drawn by their weight.
#[derive(Default)]
struct Class {
    users: Vec<u32>,
    sums: Vec<f64>,
}

impl Class {
    fn weight(&self) -> f64 {
        self.sums.last().copied().unwrap_or(0.0)
    }

    fn draw(&self, rng: &mut Pcg64) -> Option<u32> {
        let at = rng.random::<f64>() * self.weight();
        let place = self.sums.partition_point(|sum| *sum <= at);
        self.users.get(place.min(self.users.len().checked_sub(1)?)).copied()
    }
}

impl<'a> World<'a> {
    pub(super) fn new(story: &'a Story, plan: &Plan, crowd: Crowd, seed: u64) -> Self {
        let mut rng = Pcg64::seed_from_u64(seed);
        let zipf = |rank: u32| libm::pow(f64::from(rank), -crowd.zipf);
        let total: f64 = (1..=crowd.users).map(zipf).sum();
        let users: Vec<User> = (1..=crowd.users)
            .map(|rank| User {
                weight: zipf(rank) / total,
                bucket: rng.random_range(0..10_000),
                held_out: rng.random_range(0..10_000) < crowd.holdout.basis_points(),
                broken: rng.random::<f64>() < crowd.broken,
                after_hit: [0; SUBJECT_METRICS.len()],
            })
            .collect();
        let mut arrivals: Vec<(u64, u32)> = (0..)
            .zip(&users)
            .map(|(number, user)| {
                let gap: f64 = Exp1.sample(&mut rng);
                ((gap / (user.weight * crowd.traffic)) as u64, number)
            })
            .collect();
        arrivals.sort_unstable();
        let classes = Default::default();
        let (share, lately) = (Share::NONE, VecDeque::new());
        let gates = plan.gates.iter().filter(|gate| gate.level != Level::Requests);
        let by_subject = gates.map(|gate| gate.metric).filter(|metric| *metric != Metric::Errors);
        Self {
            story,
            crowd,
            rng,
            users,
            arrivals,
            arrived: 0,
            share,
            classes,
            by_subject: by_subject.collect(),
            held_back: VecDeque::new(),
            lately,
        }
    }

    /// The counters of a minute under a share.
    pub(super) fn minute(&mut self, minute: u64, share: Share) -> Minute {
        if share != self.share || minute == 0 {
            self.share = share;
            self.classes = self.drawn_classes();
        }
        let day = std::f64::consts::TAU * minute as f64 / 1_440.0;
        let mean = self.crowd.traffic * (1.0 + self.crowd.daily * libm::sin(day));
        let mean = mean * self.story.traffic(minute);
        let all = Poisson::new(mean).map_or(0.0, |law| law.sample(&mut self.rng)) as u64;
        let weight = |classes: &[Class; 2]| classes[0].weight() + classes[1].weight();
        let [canary, stable] = self.classes.each_ref().map(weight);
        let of_canary = self.binomial(all, canary / (canary + stable));
        let mut found = Minute { minute, share: Some(share), ..Minute::default() };
        let mut affected: [NewlyAffected; 2] = Default::default();
        let mut erring = Vec::new();
        found.canary =
            self.counts(Cohort::Canary, minute, of_canary, &mut affected[0], &mut erring);
        let others = all - of_canary;
        found.stable =
            self.counts(Cohort::Stable, minute, others, &mut affected[1], &mut Vec::new());
        for (at, metric) in SUBJECT_METRICS.into_iter().enumerate() {
            for age in 0..HOURS {
                let [canary, stable] = affected.each_ref().map(|side| side[at][age]);
                if canary + stable > 0 {
                    let since_hour = minute / 60 - age as u64;
                    let subjects = Pair { canary, stable };
                    found.first_affected.push(Affected { metric, since_hour, subjects });
                }
            }
        }
        found.first_seen = self.first_seen(minute);
        found.concentration = self.concentration(&found, erring);
        if self.story.is_silent(minute) {
            found.canary = Counts::default();
            found.first_affected.clear();
            found.first_seen = Pair::default();
        }
        self.held_back.push_back(found.canary);
        let due = self.held_back.len() as u64 > self.story.skew();
        let due = due.then(|| self.held_back.pop_front()).flatten();
        found.canary = due.unwrap_or_default();
        found
    }

    fn drawn_classes(&self) -> [[Class; 2]; 2] {
        let mut classes: [[Class; 2]; 2] = Default::default();
        for (number, user) in (0..).zip(&self.users) {
            let stable = user.held_out || user.bucket >= self.share.basis_points();
            let class = &mut classes[usize::from(stable)][usize::from(user.broken)];
            class.sums.push(class.weight() + user.weight);
            class.users.push(number);
        }
        classes
    }

    fn binomial(&mut self, of: u64, chance: f64) -> u64 {
        let law = Binomial::new(of, chance.clamp(0.0, 1.0));
        law.map_or(0, |law| law.sample(&mut self.rng))
    }

    fn counts(
        &mut self,
        cohort: Cohort,
        minute: u64,
        requests: u64,
        affected: &mut NewlyAffected,
        erring: &mut Vec<u32>,
    ) -> Counts {
        let side = usize::from(cohort == Cohort::Stable);
        let rate = self.story.rate(Metric::Errors, cohort, minute);
        let [sound, broken] = self.classes[side].each_ref().map(Class::weight);
        let all = (sound + broken).max(f64::MIN_POSITIVE);
        // A story may make everybody fail; a broken user is never better for it.
        let (of_sound, of_broken) = (sound / all * rate, broken / all * rate.max(BROKEN_FAILS));
        let mut errors = self.binomial(requests, of_sound + of_broken);
        for _ in 0..errors {
            let is_broken = self.rng.random::<f64>() * (of_sound + of_broken) < of_broken;
            let class = &self.classes[side][usize::from(is_broken)];
            let Some(number) = class.draw(&mut self.rng) else { continue };
            erring.push(number);
            self.hit(number, ERRORS, minute, affected);
        }
        // The sound one that comes most often: its part of what has not failed anyway.
        let fails = cohort == Cohort::Canary && self.story.client_fails(minute);
        if let Some(number) = self.classes[side][0].users.first().copied().filter(|_| fails) {
            let weight = self.users[number as usize].weight;
            let its = self.binomial(requests - errors, weight / all);
            for _ in 0..its {
                erring.push(number);
                self.hit(number, ERRORS, minute, affected);
            }
            errors += its;
        }
        let answers = requests - errors;
        let mut draw = |metric, of| {
            let rate = self.story.rate(metric, cohort, minute);
            self.binomial(of, rate)
        };
        let mut counts = Counts {
            requests,
            errors_5xx: errors,
            answers,
            regex: draw(Metric::Regex, answers),
            prototypes: draw(Metric::Prototypes, answers),
            low_confidence: draw(Metric::LowConfidence, answers),
            rule_applied: draw(Metric::RuleApplied, answers),
            mismatches: draw(Metric::Mismatches, requests),
            slow: draw(Metric::Slow, requests),
            slow_beside_stable: draw(Metric::SlowBesideStable, requests),
            ..Counts::default()
        };
        for metric in self.by_subject.clone() {
            let hits = match metric {
                Metric::LowConfidence => counts.low_confidence,
                Metric::RuleApplied => counts.rule_applied,
                Metric::Slow => counts.slow,
                Metric::SlowBesideStable => counts.slow_beside_stable,
                _ => continue,
            };
            let at = SUBJECT_METRICS.iter().position(|known| *known == metric);
            for (_, at) in (0..hits).zip(at.into_iter().cycle()) {
                let is_broken = self.rng.random::<f64>() * all < broken;
                let class = &self.classes[side][usize::from(is_broken)];
                let Some(number) = class.draw(&mut self.rng) else { continue };
                self.hit(number, at, minute, affected);
            }
        }
        let verdicts = self.binomial(answers, VERDICTS);
        counts.feedback_bad =
            self.binomial(verdicts, self.story.rate(Metric::FeedbackBad, cohort, minute));
        counts.feedback_good = verdicts - counts.feedback_bad;
        counts
    }

    /// A hit of a user's: newly affected since every hour that began after the last one.
    fn hit(&mut self, number: u32, metric: usize, minute: u64, affected: &mut NewlyAffected) {
        let after_hit = &mut self.users[number as usize].after_hit[metric];
        for start in newly_affected_since(minute, *after_hit) {
            affected[metric][(minute / 60 - start) as usize] += 1;
        }
        *after_hit = minute + 1;
    }

    fn first_seen(&mut self, minute: u64) -> Pair {
        let mut pair = Pair::default();
        while let Some((_, number)) =
            self.arrivals.get(self.arrived).filter(|next| next.0 <= minute)
        {
            let user = self.users[*number as usize];
            if !user.held_out && user.bucket < self.share.basis_points() {
                pair.canary += 1;
            } else if !user.held_out {
                pair.stable += 1;
            }
            self.arrived += 1;
        }
        pair
    }

    fn concentration(&mut self, minute: &Minute, erring: Vec<u32>) -> Concentration {
        let counted = Concentration {
            requests: minute.canary.requests,
            errors: minute.canary.errors_5xx,
            of_two: 0,
            stable_requests: minute.stable.requests,
            stable_errors: minute.stable.errors_5xx,
        };
        self.lately.push_back((erring, counted));
        if self.lately.len() > 60 {
            self.lately.pop_front();
        }
        let mut users: Vec<u32> =
            self.lately.iter().flat_map(|(erring, _)| erring.iter().copied()).collect();
        users.sort_unstable();
        let (mut first, mut second) = (0, 0);
        for same in users.chunk_by(|a, b| a == b) {
            let count = same.len() as u64;
            (first, second) = (first.max(count), second.max(count.min(first)));
        }
        let mut sum = Concentration { of_two: first + second, ..Concentration::default() };
        for (_, one) in &self.lately {
            sum.requests += one.requests;
            sum.errors += one.errors;
            sum.stable_requests += one.stable_requests;
            sum.stable_errors += one.stable_errors;
        }
        sum
    }
}

/// The place of [`Metric::Errors`] among [`SUBJECT_METRICS`].
const ERRORS: usize = 0;
const _: () = assert!(matches!(SUBJECT_METRICS[ERRORS], Metric::Errors));
/// Hours whose newly affected subjects are counted.
const HOURS: usize = track::HOURS as usize;
/// How often a broken user's request fails (`statistics.md`, 4.6).
const BROKEN_FAILS: f64 = 0.25;
/// How many readers say what they think of an answer.
const VERDICTS: f64 = 0.005;

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        Plan::read(jeffrey_edge::rollout::plan::SHIPPED).unwrap()
    }

    fn crowd() -> Crowd {
        Crowd {
            traffic: 600.0,
            users: 5_000,
            zipf: 0.9,
            broken: 0.02,
            daily: 0.5,
            holdout: Share::NONE,
        }
    }

    #[test]
    fn the_same_seed_draws_the_same_minutes() {
        let story = Story::new(&[]);
        let minutes = |seed| {
            let mut world = World::new(&story, &plan(), crowd(), seed);
            let share = "10%".parse().unwrap();
            (0..60).map(|minute| world.minute(minute, share)).collect::<Vec<_>>()
        };
        assert_eq!(minutes(1), minutes(1));
        assert_ne!(minutes(1), minutes(2));
    }

    #[test]
    fn counters_have_the_rates_of_the_story_and_subjects_count_once_a_start() {
        let story = Story::new(&["errors:2%:2%".parse().unwrap()]);
        let mut world = World::new(&story, &plan(), Crowd { broken: 0.0, ..crowd() }, 7);
        let share: Share = "50%".parse().unwrap();
        let minutes: Vec<Minute> = (0..600).map(|minute| world.minute(minute, share)).collect();
        let sum = |of: &dyn Fn(&Minute) -> u64| minutes.iter().map(of).sum::<u64>() as f64;
        let requests = sum(&|minute| minute.canary.requests + minute.stable.requests);
        let errors = sum(&|minute| minute.canary.errors_5xx + minute.stable.errors_5xx);
        assert!((errors / requests - 0.02).abs() < 0.001);
        let since_first = sum(&|minute| {
            let first = minute
                .first_affected
                .iter()
                .find(|entry| (entry.metric, entry.since_hour) == (Metric::Errors, 0));
            first.map_or(0, |entry| entry.subjects.canary + entry.subjects.stable)
        });
        assert!(since_first <= 5_000.0 && since_first < errors, "{since_first} of {errors}");
        let seen = sum(&|minute| minute.first_seen.canary + minute.first_seen.stable);
        assert!(seen > 4_000.0 && seen <= 5_000.0, "{seen}");
    }

    #[test]
    fn one_client_fails_every_time_and_a_wrong_clock_holds_its_counters_back() {
        let share: Share = "10%".parse().unwrap();
        let minutes = |text: &str| {
            let story = Story::new(&[text.parse().unwrap()]);
            let mut world = World::new(&story, &plan(), Crowd { broken: 0.0, ..crowd() }, 3);
            (0..120).map(|minute| world.minute(minute, share)).collect::<Vec<_>>()
        };
        let (right, late) = (minutes("skew:0"), minutes("skew:3"));
        assert_eq!(late[2].canary, Counts::default());
        assert_eq!(late[50].canary, right[47].canary);
        assert_eq!(late[50].stable, right[50].stable);
        let client = minutes("client@60");
        assert!(!client[59].concentration.is_one_client());
        assert!(client[119].concentration.is_one_client(), "{:?}", client[119].concentration);
    }

    #[test]
    fn subjects_are_drawn_for_the_metrics_that_a_gate_judges_by_them() {
        let gate = "[[gate]]\nmetric = \"slow\"\ncompared = \"+50%\"\nlevel = \"subjects\"\neffect = \"warn\"";
        let plan = Plan::read(&format!("[[stage]]\nshare = \"10%\"\n{gate}\n")).unwrap();
        let story = Story::new(&[]);
        let mut world = World::new(&story, &plan, crowd(), 1);
        let minutes: Vec<Minute> =
            (0..30).map(|minute| world.minute(minute, "10%".parse().unwrap())).collect();
        let drawn = |metric| {
            let of = |entry: &&Affected| entry.metric == metric;
            minutes.iter().flat_map(|minute| &minute.first_affected).filter(of).count()
        };
        assert!(drawn(Metric::Slow) > 10 && drawn(Metric::Errors) > 10);
        assert_eq!(drawn(Metric::LowConfidence), 0);
    }
}
