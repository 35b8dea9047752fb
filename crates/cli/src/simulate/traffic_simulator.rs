//! Simulated traffic: users with cohorts, and each minute's counters for all users at once.
//!
//! Takes the scenarios, the users and a seed, and returns [`ClosedMinute`]s. Requests are
//! independent draws of users, so the counters of a minute are binomial. Only users with errors are
//! drawn one by one, and users with hits of other metrics where a gate counts subjects. A user's
//! cohort follows from a bucket that is drawn once.

use std::collections::VecDeque;

use rand::{RngExt, SeedableRng};
use rand_distr::{Binomial, Distribution, Exp1, Poisson};
use rand_pcg::Pcg64;

use super::scenario::ScenarioSet;
use jeffrey_edge::gateway::aggregate::minute_stats::newly_affected_hours;
use jeffrey_edge::rollout::counts::{
    AffectedSubjects, ClosedMinute, CohortCounts, Metric, SUBJECT_METRICS, TopSubjects,
};
use jeffrey_edge::rollout::gate::{EvidenceUnit, change_evidence};
use jeffrey_edge::rollout::plan::Plan;
use jeffrey_terms::by_cohort::ByCohort;
use jeffrey_terms::{Cohort, Share};

/// Users of a simulation and the traffic that they send.
#[derive(Clone, Copy, Debug)]
pub(super) struct UserPopulation {
    /// Mean requests per minute over a day, both cohorts together.
    pub(super) requests_per_minute: f64,
    /// Number of distinct users; each one is a subject.
    pub(super) user_count: u32,
    /// Zipf exponent of requests per user; 0 means that all users send equally often.
    pub(super) zipf_exponent: f64,
    /// Share of users, 0 to 1, whose requests fail one time in four in either cohort.
    pub(super) failing_user_share: f64,
    /// Amplitude of the daily traffic curve: how far the peak lies above the mean, 0 to 1.
    pub(super) daily_amplitude: f64,
    /// Share of users that stay stable in every stage.
    pub(super) holdout: Share,
}

/// Generator of the minutes of one simulated release.
pub(super) struct TrafficSimulator<'a> {
    scenarios: &'a ScenarioSet,
    population: UserPopulation,
    rng: Pcg64,
    users: Vec<SimulatedUser>,
    /// Minute of the first request and index of each user, in ascending order.
    first_requests: Vec<(u64, u32)>,
    /// Number of entries of `first_requests` that are already counted.
    first_requests_counted: usize,
    share: Share,
    /// Users of each cohort by group: healthy, failing.
    user_groups: ByCohort<[WeightedUsers; 2]>,
    /// Metrics other than errors for which a gate counts subjects; only their subjects are drawn.
    drawn_subject_metrics: Vec<Metric>,
    /// Canary counters that the clock skew holds back, oldest first.
    delayed_counts: VecDeque<CohortCounts>,
    /// For each of the last 60 minutes: the canary users with errors, once per error, and the
    /// counters of both cohorts.
    last_hour: VecDeque<(Vec<u32>, TopSubjects)>,
}

#[derive(Clone, Copy)]
struct SimulatedUser {
    weight: f64,
    bucket: u16,
    is_holdout: bool,
    is_failing: bool,
    /// For each of [`SUBJECT_METRICS`]: the minute after the user's last hit; 0 without a hit.
    affected_until: [u64; SUBJECT_METRICS.len()],
}

/// Newly affected subjects of one cohort in one minute, by metric and by age of the hour (0 is the
/// current hour).
type NewlyAffectedCounts = [[u64; HOURS_TRACKED]; SUBJECT_METRICS.len()];

/// Requests of one cohort in one minute.
#[derive(Clone, Copy)]
struct CohortMinute {
    cohort: Cohort,
    minute: u64,
    requests: u64,
}

/// Users of one cohort that were hit in one minute.
#[derive(Default)]
struct CohortHits {
    newly_affected: NewlyAffectedCounts,
    /// Users with errors, once for each error.
    failing_users: Vec<u32>,
}

/// Users that are drawn with a probability proportional to their weight.
#[derive(Default)]
struct WeightedUsers {
    users: Vec<u32>,
    cumulative_weights: Vec<f64>,
}

impl WeightedUsers {
    fn total_weight(&self) -> f64 {
        self.cumulative_weights.last().copied().unwrap_or(0.0)
    }

    fn draw(&self, rng: &mut Pcg64) -> Option<u32> {
        let threshold = rng.random::<f64>() * self.total_weight();
        let index = self.cumulative_weights.partition_point(|sum| *sum <= threshold);
        self.users.get(index.min(self.users.len().checked_sub(1)?)).copied()
    }
}

impl<'a> TrafficSimulator<'a> {
    pub(super) fn new(
        scenarios: &'a ScenarioSet,
        plan: &Plan,
        population: UserPopulation,
        seed: u64,
    ) -> Self {
        let mut rng = Pcg64::seed_from_u64(seed);
        let zipf_weight = |rank: u32| libm::pow(f64::from(rank), -population.zipf_exponent);
        let total: f64 = (1..=population.user_count).map(zipf_weight).sum();
        let users: Vec<SimulatedUser> = (1..=population.user_count)
            .map(|rank| SimulatedUser {
                weight: zipf_weight(rank) / total,
                bucket: rng.random_range(0..10_000),
                is_holdout: rng.random_range(0..10_000) < population.holdout.basis_points(),
                is_failing: rng.random::<f64>() < population.failing_user_share,
                affected_until: [0; SUBJECT_METRICS.len()],
            })
            .collect();
        let mut first_requests: Vec<(u64, u32)> = (0..)
            .zip(&users)
            .map(|(user_index, user)| {
                let first_request_gap: f64 = Exp1.sample(&mut rng);
                (
                    (first_request_gap / (user.weight * population.requests_per_minute)) as u64,
                    user_index,
                )
            })
            .collect();
        first_requests.sort_unstable();
        let user_groups = ByCohort::default();
        let (share, last_hour) = (Share::NONE, VecDeque::new());
        let gates = plan.gates.iter().filter(|gate| gate.evidence_unit != EvidenceUnit::Requests);
        let drawn_subject_metrics =
            gates.map(|gate| gate.metric).filter(|metric| *metric != Metric::Errors);
        Self {
            scenarios,
            population,
            rng,
            users,
            first_requests,
            first_requests_counted: 0,
            share,
            user_groups,
            drawn_subject_metrics: drawn_subject_metrics.collect(),
            delayed_counts: VecDeque::new(),
            last_hour,
        }
    }

    /// Draws the counters of `minute` at this traffic share of the canary.
    pub(super) fn draw_minute(&mut self, minute: u64, share: Share) -> ClosedMinute {
        if share != self.share || minute == 0 {
            self.share = share;
            self.user_groups = self.group_users();
        }
        let day_angle = std::f64::consts::TAU * minute as f64 / 1_440.0;
        let daily_mean_requests = self.population.requests_per_minute
            * (1.0 + self.population.daily_amplitude * libm::sin(day_angle));
        let mean_requests = daily_mean_requests * self.scenarios.traffic_factor(minute);
        let requests = Poisson::new(mean_requests)
            .map_or(0.0, |distribution| distribution.sample(&mut self.rng))
            as u64;
        let cohort_weight = |cohort: Cohort| {
            let [healthy, failing] = &self.user_groups[cohort];
            healthy.total_weight() + failing.total_weight()
        };
        let weights = ByCohort::new_with(cohort_weight);
        let canary_requests =
            self.draw_binomial(requests, weights.canary / (weights.canary + weights.stable));
        let mut counters = ClosedMinute { minute, share: Some(share), ..ClosedMinute::default() };
        let mut hits: ByCohort<CohortHits> = ByCohort::default();
        let drawn = CohortMinute { cohort: Cohort::Canary, minute, requests: canary_requests };
        counters.canary = self.draw_counts(drawn, &mut hits.canary);
        let stable_requests = requests - canary_requests;
        let drawn = CohortMinute { cohort: Cohort::Stable, minute, requests: stable_requests };
        counters.stable = self.draw_counts(drawn, &mut hits.stable);
        for (metric_index, metric) in SUBJECT_METRICS.into_iter().enumerate() {
            for age in 0..HOURS_TRACKED {
                let subjects =
                    ByCohort::new_with(|cohort| hits[cohort].newly_affected[metric_index][age]);
                if subjects.canary + subjects.stable > 0 {
                    let since_hour = minute / 60 - age as u64;
                    counters.newly_affected.push(AffectedSubjects { metric, since_hour, subjects });
                }
            }
        }
        counters.new_subjects = self.count_first_seen(minute);
        counters.top_subjects = self.update_top_subjects(&counters, hits.canary.failing_users);
        if self.scenarios.is_canary_silent(minute) {
            counters.canary = CohortCounts::default();
            counters.newly_affected.clear();
            counters.new_subjects = ByCohort::default();
        }
        self.delayed_counts.push_back(counters.canary);
        let is_due = self.delayed_counts.len() as u64 > self.scenarios.skew_minutes();
        let due_counts = is_due.then(|| self.delayed_counts.pop_front()).flatten();
        counters.canary = due_counts.unwrap_or_default();
        counters
    }

    fn group_users(&self) -> ByCohort<[WeightedUsers; 2]> {
        let mut user_groups: ByCohort<[WeightedUsers; 2]> = ByCohort::default();
        for (user_index, user) in (0..).zip(&self.users) {
            let is_stable = user.is_holdout || user.bucket >= self.share.basis_points();
            let cohort = if is_stable { Cohort::Stable } else { Cohort::Canary };
            let group = &mut user_groups[cohort][usize::from(user.is_failing)];
            group.cumulative_weights.push(group.total_weight() + user.weight);
            group.users.push(user_index);
        }
        user_groups
    }

    fn draw_binomial(&mut self, trials: u64, probability: f64) -> u64 {
        let distribution = Binomial::new(trials, probability.clamp(0.0, 1.0));
        distribution.map_or(0, |distribution| distribution.sample(&mut self.rng))
    }

    fn draw_counts(&mut self, drawn: CohortMinute, hits: &mut CohortHits) -> CohortCounts {
        let CohortMinute { cohort, minute, requests } = drawn;
        let mut errors = self.draw_errors(drawn, hits);
        errors += self.draw_client_errors(drawn, errors, hits);
        let unavailable_rate = match cohort {
            Cohort::Canary => self.scenarios.rate(Metric::ModelUnavailable, cohort, minute),
            Cohort::Stable => 0.0,
        };
        let model_unavailable = self.draw_binomial(requests - errors, unavailable_rate);
        let answers = requests - errors - model_unavailable;
        let mut draw = |metric, trials| {
            let rate = self.scenarios.rate(metric, cohort, minute);
            self.draw_binomial(trials, rate)
        };
        let mut counts = CohortCounts {
            requests,
            errors_5xx: errors,
            fallbacks: model_unavailable,
            model_unavailable,
            scored_responses: answers,
            regex: draw(Metric::Regex, answers),
            prototypes: draw(Metric::Prototypes, answers),
            low_confidence: draw(Metric::LowConfidence, answers),
            rule_applied: draw(Metric::RuleApplied, answers),
            dimension_mismatches: draw(Metric::DimensionMismatches, requests),
            slow: draw(Metric::Slow, requests),
            slower_than_stable: draw(Metric::SlowerThanStable, requests),
            ..CohortCounts::default()
        };
        self.draw_subjects(drawn, &counts, hits);
        let feedback_count = self.draw_binomial(answers, FEEDBACK_RATE);
        counts.feedback_bad = self.draw_binomial(
            feedback_count,
            self.scenarios.rate(Metric::FeedbackBad, cohort, minute),
        );
        counts.feedback_good = feedback_count - counts.feedback_bad;
        counts
    }

    /// Draws the number of errors and the user of each.
    fn draw_errors(&mut self, drawn: CohortMinute, hits: &mut CohortHits) -> u64 {
        let CohortMinute { cohort, minute, requests } = drawn;
        let error_rate = self.scenarios.rate(Metric::Errors, cohort, minute);
        let (failing_weight, cohort_weight) = self.failing_and_total_weight(cohort);
        let healthy_weight = self.user_groups[cohort][0].total_weight();
        // A scenario may make all requests fail; a failing user never has fewer errors than others.
        let (healthy_error_rate, failing_error_rate) = (
            healthy_weight / cohort_weight * error_rate,
            failing_weight / cohort_weight * error_rate.max(FAILING_USER_ERROR_RATE),
        );
        let total_error_rate = healthy_error_rate + failing_error_rate;
        let errors = self.draw_binomial(requests, total_error_rate);
        for _ in 0..errors {
            let user = self.draw_user(cohort, failing_error_rate, total_error_rate);
            let Some(user_index) = user else { continue };
            hits.failing_users.push(user_index);
            self.mark_affected(user_index, ERRORS_INDEX, minute, &mut hits.newly_affected);
        }
        errors
    }

    /// Draws the errors of the canary's most active healthy user, while the scenario lets it fail:
    /// all of its requests fail that have not failed already.
    fn draw_client_errors(
        &mut self,
        drawn: CohortMinute,
        errors: u64,
        hits: &mut CohortHits,
    ) -> u64 {
        let CohortMinute { cohort, minute, requests } = drawn;
        if cohort != Cohort::Canary || !self.scenarios.client_fails(minute) {
            return 0;
        }
        let Some(user_index) = self.user_groups[cohort][0].users.first().copied() else { return 0 };
        let weight = self.users[user_index as usize].weight;
        let (_, cohort_weight) = self.failing_and_total_weight(cohort);
        let client_errors = self.draw_binomial(requests - errors, weight / cohort_weight);
        for _ in 0..client_errors {
            hits.failing_users.push(user_index);
            self.mark_affected(user_index, ERRORS_INDEX, minute, &mut hits.newly_affected);
        }
        client_errors
    }

    /// Draws the user of each hit of the metrics, errors left out, whose subjects a gate counts.
    fn draw_subjects(&mut self, drawn: CohortMinute, counts: &CohortCounts, hits: &mut CohortHits) {
        let CohortMinute { cohort, minute, .. } = drawn;
        let (failing_weight, cohort_weight) = self.failing_and_total_weight(cohort);
        for metric in self.drawn_subject_metrics.clone() {
            let affected_requests = match metric {
                Metric::LowConfidence => counts.low_confidence,
                Metric::RuleApplied => counts.rule_applied,
                Metric::Slow => counts.slow,
                Metric::SlowerThanStable => counts.slower_than_stable,
                _ => continue,
            };
            let metric_index = SUBJECT_METRICS.iter().position(|candidate| *candidate == metric);
            for (_, metric_index) in (0..affected_requests).zip(metric_index.into_iter().cycle()) {
                let user = self.draw_user(cohort, failing_weight, cohort_weight);
                let Some(user_index) = user else { continue };
                self.mark_affected(user_index, metric_index, minute, &mut hits.newly_affected);
            }
        }
    }

    /// Draws a user of the cohort. The user is a failing one with the probability `failing / total`;
    /// within either group, the weights decide.
    fn draw_user(&mut self, cohort: Cohort, failing: f64, total: f64) -> Option<u32> {
        let is_failing = self.rng.random::<f64>() * total < failing;
        self.user_groups[cohort][usize::from(is_failing)].draw(&mut self.rng)
    }

    /// Returns the weight of the cohort's failing users and of all its users; the latter is never 0.
    fn failing_and_total_weight(&self, cohort: Cohort) -> (f64, f64) {
        let [healthy, failing] =
            self.user_groups[cohort].each_ref().map(WeightedUsers::total_weight);
        (failing, (healthy + failing).max(f64::MIN_POSITIVE))
    }

    /// Records a hit of a user. The user is newly affected since every hour that began after the
    /// last hit, as in [`newly_affected_hours`].
    fn mark_affected(
        &mut self,
        user_index: u32,
        metric_index: usize,
        minute: u64,
        affected: &mut NewlyAffectedCounts,
    ) {
        let affected_until = &mut self.users[user_index as usize].affected_until[metric_index];
        for start_hour in newly_affected_hours(minute, *affected_until) {
            affected[metric_index][(minute / 60 - start_hour) as usize] += 1;
        }
        *affected_until = minute + 1;
    }

    fn count_first_seen(&mut self, minute: u64) -> ByCohort<u64> {
        let mut by_cohort = ByCohort::default();
        while let Some((_, user_index)) =
            self.first_requests.get(self.first_requests_counted).filter(|entry| entry.0 <= minute)
        {
            let user = self.users[*user_index as usize];
            if !user.is_holdout && user.bucket < self.share.basis_points() {
                by_cohort.canary += 1;
            } else if !user.is_holdout {
                by_cohort.stable += 1;
            }
            self.first_requests_counted += 1;
        }
        by_cohort
    }

    fn update_top_subjects(
        &mut self,
        minute: &ClosedMinute,
        failing_users: Vec<u32>,
    ) -> TopSubjects {
        let current = TopSubjects {
            canary_requests: minute.canary.requests,
            canary_errors: minute.canary.errors_5xx,
            two_worst_subjects_errors: 0,
            stable_requests: minute.stable.requests,
            stable_errors: minute.stable.errors_5xx,
        };
        self.last_hour.push_back((failing_users, current));
        if self.last_hour.len() > 60 {
            self.last_hour.pop_front();
        }
        let mut users: Vec<u32> = self
            .last_hour
            .iter()
            .flat_map(|(failing_users, _)| failing_users.iter().copied())
            .collect();
        users.sort_unstable();
        let (mut most, mut second_most) = (0, 0);
        for same_user in users.chunk_by(|a, b| a == b) {
            let count = same_user.len() as u64;
            (most, second_most) = (most.max(count), second_most.max(count.min(most)));
        }
        let mut total =
            TopSubjects { two_worst_subjects_errors: most + second_most, ..TopSubjects::default() };
        for (_, counts) in &self.last_hour {
            total.canary_requests += counts.canary_requests;
            total.canary_errors += counts.canary_errors;
            total.stable_requests += counts.stable_requests;
            total.stable_errors += counts.stable_errors;
        }
        total
    }
}

/// Index of [`Metric::Errors`] in [`SUBJECT_METRICS`].
const ERRORS_INDEX: usize = 0;
const _: () = assert!(matches!(SUBJECT_METRICS[ERRORS_INDEX], Metric::Errors));
/// Number of past hours for which newly affected subjects are counted.
const HOURS_TRACKED: usize = change_evidence::HOURLY_SUBJECT_MIXTURES_MAX as usize;
/// Error rate of a failing user: one request in four.
const FAILING_USER_ERROR_RATE: f64 = 0.25;
/// Share of answers that get feedback from a reader.
const FEEDBACK_RATE: f64 = 0.005;

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        Plan::read(jeffrey_edge::rollout::plan::DEFAULT_PLAN_TOML).unwrap()
    }

    fn population() -> UserPopulation {
        UserPopulation {
            requests_per_minute: 600.0,
            user_count: 5_000,
            zipf_exponent: 0.9,
            failing_user_share: 0.02,
            daily_amplitude: 0.5,
            holdout: Share::NONE,
        }
    }

    #[test]
    fn the_same_seed_draws_the_same_minutes() {
        let scenarios = ScenarioSet::new(&[]);
        let minutes = |seed| {
            let mut simulator = TrafficSimulator::new(&scenarios, &plan(), population(), seed);
            let share = "10%".parse().unwrap();
            (0..60).map(|minute| simulator.draw_minute(minute, share)).collect::<Vec<_>>()
        };
        assert_eq!(minutes(1), minutes(1));
        assert_ne!(minutes(1), minutes(2));
    }

    #[test]
    fn counters_have_the_rates_of_the_scenarios_and_subjects_count_once_a_start() {
        let scenarios = ScenarioSet::new(&["errors:2%:2%".parse().unwrap()]);
        let mut simulator = TrafficSimulator::new(
            &scenarios,
            &plan(),
            UserPopulation { failing_user_share: 0.0, ..population() },
            7,
        );
        let share: Share = "50%".parse().unwrap();
        let minutes: Vec<ClosedMinute> =
            (0..600).map(|minute| simulator.draw_minute(minute, share)).collect();
        let sum =
            |count: &dyn Fn(&ClosedMinute) -> u64| minutes.iter().map(count).sum::<u64>() as f64;
        let requests = sum(&|minute| minute.canary.requests + minute.stable.requests);
        let errors = sum(&|minute| minute.canary.errors_5xx + minute.stable.errors_5xx);
        assert!((errors / requests - 0.02).abs() < 0.001);
        let since_first = sum(&|minute| {
            let first = minute
                .newly_affected
                .iter()
                .find(|entry| (entry.metric, entry.since_hour) == (Metric::Errors, 0));
            first.map_or(0, |entry| entry.subjects.canary + entry.subjects.stable)
        });
        assert!(since_first <= 5_000.0 && since_first < errors, "{since_first} of {errors}");
        let first_seen = sum(&|minute| minute.new_subjects.canary + minute.new_subjects.stable);
        assert!(first_seen > 4_000.0 && first_seen <= 5_000.0, "{first_seen}");
    }

    #[test]
    fn one_client_fails_every_time_and_a_wrong_clock_holds_its_counters_back() {
        let share: Share = "10%".parse().unwrap();
        let minutes = |text: &str| {
            let scenarios = ScenarioSet::new(&[text.parse().unwrap()]);
            let mut simulator = TrafficSimulator::new(
                &scenarios,
                &plan(),
                UserPopulation { failing_user_share: 0.0, ..population() },
                3,
            );
            (0..120).map(|minute| simulator.draw_minute(minute, share)).collect::<Vec<_>>()
        };
        let (on_time, delayed) = (minutes("clock_skew:0"), minutes("clock_skew:3"));
        assert_eq!(delayed[2].canary, CohortCounts::default());
        assert_eq!(delayed[50].canary, on_time[47].canary);
        assert_eq!(delayed[50].stable, on_time[50].stable);
        let failing_client = minutes("failing_client@60");
        assert!(!failing_client[59].top_subjects.is_dominated_by_two_subjects());
        assert!(
            failing_client[119].top_subjects.is_dominated_by_two_subjects(),
            "{:?}",
            failing_client[119].top_subjects
        );
    }

    #[test]
    fn subjects_are_drawn_for_the_metrics_of_gates_that_count_subjects() {
        let gate = "[[gate]]\nmetric = \"slow\"\nmax_increase = \"+50%\"\nevidence_unit = \"subjects\"\neffect = \"warn\"";
        let plan = Plan::read(&format!("[[stage]]\nshare = \"10%\"\n{gate}\n")).unwrap();
        let scenarios = ScenarioSet::new(&[]);
        let mut simulator = TrafficSimulator::new(&scenarios, &plan, population(), 1);
        let minutes: Vec<ClosedMinute> =
            (0..30).map(|minute| simulator.draw_minute(minute, "10%".parse().unwrap())).collect();
        let count_entries = |metric| {
            let has_metric = |entry: &&AffectedSubjects| entry.metric == metric;
            minutes.iter().flat_map(|minute| &minute.newly_affected).filter(has_metric).count()
        };
        assert!(count_entries(Metric::Slow) > 10 && count_entries(Metric::Errors) > 10);
        assert_eq!(count_entries(Metric::LowConfidence), 0);
    }
}
