//! TOML to a plan, with every fault and its line.

use toml::de::DeTable;

use super::fields::{Fields, Reader};
use super::freeze::{Freeze, Zone};
use super::{Plan, PlanError, StableLimits, Stage};
use crate::rollout::counts::{Metric, SUBJECT_METRICS};
use crate::rollout::gate::{Effect, Gate, Level, Limit, Rule};
use jeffrey_terms::Share;

/// Reads a whole plan.
pub(super) fn read(text: &str) -> Result<Plan, PlanError> {
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut reader = Reader { text, faults: Vec::new() };
    for error in errors {
        let at = error.span().map_or(0, |span| span.start);
        reader.fault(at, error.message().to_lowercase());
    }
    let mut top = Fields::new("the plan", &table);
    let release = top.release(&mut reader);
    let holdout = top.share(&mut reader, "holdout").unwrap_or(Share::NONE);
    let traffic_per_minute = top.number(&mut reader, "traffic_per_minute").unwrap_or(0.0);
    let deadline_minutes = top.minutes(&mut reader, "deadline").unwrap_or(0);
    let notify = top.names(&mut reader, "notify");
    let budgets = top.table("budget").map(|fields| reader.budgets(fields)).unwrap_or_default();
    let stable = top.table("stable").map(|fields| reader.stable(fields)).unwrap_or(STABLE);
    let mut stages: Vec<(Stage, usize)> = Vec::new();
    for fields in top.tables(&mut reader, "stage") {
        stages.extend(reader.stage(fields));
    }
    let mut gates = Vec::new();
    for fields in top.tables(&mut reader, "gate") {
        gates.extend(reader.gate(fields));
    }
    let mut freezes: Vec<(Freeze, usize)> = Vec::new();
    for fields in top.tables(&mut reader, "freeze") {
        freezes.extend(reader.freeze(fields));
    }
    top.nothing_else(&mut reader);
    reader.check_stages(&stages, traffic_per_minute);
    reader.check_freezes(&freezes);
    let gates = reader.budgeted(gates, &budgets);
    let plan = Plan {
        release,
        stages: stages.into_iter().map(|(stage, _)| stage).collect(),
        gates,
        holdout,
        stable,
        traffic_per_minute,
        deadline_minutes,
        freezes: freezes.into_iter().map(|(freeze, _)| freeze).collect(),
        notify,
    };
    if reader.faults.is_empty() {
        return Ok(plan);
    }
    reader.faults.sort_by_key(|fault| fault.line);
    Err(PlanError { faults: reader.faults })
}

/// Chances of error.
#[derive(Clone, Copy, Debug)]
struct Budgets {
    roll_back: f64,
    warn: f64,
    advance: f64,
}

impl Default for Budgets {
    fn default() -> Self {
        Self { roll_back: 0.01, warn: 0.01, advance: 0.05 }
    }
}

/// A gate whose budget is still a weight.
struct Weighted {
    gate: Gate,
    weight: f64,
    at: usize,
}

impl Reader<'_> {
    fn budgets(&mut self, mut fields: Fields<'_>) -> Budgets {
        let default = Budgets::default();
        let mut chance = |reader: &mut Self, key, default| {
            let at = fields.at;
            let rate = fields.rate(reader, key).unwrap_or(default);
            if rate <= 0.0 || rate > 0.5 {
                reader.fault(at, format_args!("budget `{key}` is not above 0% and at most 50%"));
            }
            rate
        };
        let budgets = Budgets {
            roll_back: chance(self, "roll_back", default.roll_back),
            warn: chance(self, "warn", default.warn),
            advance: chance(self, "advance", default.advance),
        };
        fields.nothing_else(self);
        budgets
    }

    fn stable(&mut self, mut fields: Fields<'_>) -> StableLimits {
        let limits = StableLimits {
            errors: fields.rate(self, "errors").unwrap_or(STABLE.errors),
            slow: fields.rate(self, "slow").unwrap_or(STABLE.slow),
        };
        fields.nothing_else(self);
        limits
    }

    fn stage(&mut self, mut fields: Fields<'_>) -> Option<(Stage, usize)> {
        let share = fields.share(self, "share");
        if share.is_none() && !fields.has("share") {
            self.fault(fields.at, "a stage without `share`");
        }
        let at_least_minutes = fields.minutes(self, "at_least").unwrap_or(0);
        let samples = fields.number(self, "samples").unwrap_or(0.0) as u64;
        let approval = fields.flag(self, "approval").unwrap_or(false);
        fields.nothing_else(self);
        Some((Stage { share: share?, at_least_minutes, samples, approval }, fields.at))
    }

    fn check_stages(&mut self, stages: &[(Stage, usize)], traffic: f64) {
        if stages.is_empty() {
            self.fault(0, "a plan without a stage");
        }
        for pair in stages.windows(2) {
            let [(before, _), (stage, at)] = pair else { continue };
            if stage.share <= before.share {
                let (stage, before) = (stage.share, before.share);
                self.fault(*at, format_args!("stage of {stage} does not rise above {before}"));
            }
        }
        for (stage, at) in stages {
            let share = f64::from(stage.share.basis_points()) / 10_000.0;
            let reached = traffic * share * stage.at_least_minutes as f64;
            if traffic > 0.0 && stage.samples as f64 > reached {
                self.fault(
                    *at,
                    format_args!(
                        "{} samples are more than the {reached:.0} expected in {} minutes at {} of \
                         {traffic} requests a minute",
                        stage.samples, stage.at_least_minutes, stage.share,
                    ),
                );
            }
        }
    }

    fn gate(&mut self, mut fields: Fields<'_>) -> Option<Weighted> {
        let at = fields.at;
        let metric = fields.string(self, "metric").and_then(|(name, at)| {
            let metric = Metric::from_name(name);
            if metric.is_none() {
                let known = Metric::ALL.map(Metric::name).join(", ");
                self.fault(at, format_args!("unknown metric `{name}`; known are {known}"));
            }
            metric
        });
        if metric.is_none() && !fields.has("metric") {
            self.fault(at, "a gate without `metric`");
        }
        let name = fields.string(self, "name").map(|(name, _)| name.to_owned());
        let effects =
            [("advance", Effect::Advance), ("roll_back", Effect::RollBack), ("warn", Effect::Warn)];
        let effect = fields.choice(self, "effect", &effects);
        if effect.is_none() && !fields.has("effect") {
            self.fault(at, "a gate without `effect`: advance, roll_back or warn");
        }
        let levels =
            [("both", Level::Both), ("requests", Level::Requests), ("subjects", Level::Subjects)];
        let level = fields.choice(self, "level", &levels).unwrap_or(Level::Requests);
        let rule = self.rule(&mut fields);
        let or_at_most = fields.rate(self, "or_at_most");
        let weight = fields.number(self, "weight").unwrap_or(1.0);
        fields.nothing_else(self);
        let (metric, rule, effect) = (metric?, rule?, effect?);
        let name = name.unwrap_or_else(|| metric.name().to_owned());
        self.check_gate(&name, metric, rule, effect, level, at);
        if let Some(rate) = or_at_most {
            self.check_fallback(&name, rule, rate, at);
        }
        if weight <= 0.0 {
            self.fault(at, format_args!("gate `{name}` can never fire: its weight is {weight}"));
        }
        Some(Weighted {
            gate: Gate { name, metric, rule, effect, level, or_at_most, budget: 0.0 },
            weight,
            at,
        })
    }

    /// The one rule of a gate, by the key that names it.
    fn rule(&mut self, fields: &mut Fields<'_>) -> Option<Rule> {
        let at = fields.at;
        let given = fields.given();
        let mut rules = Vec::new();
        let methods = [("evidence", false), ("window", true)];
        let window = fields.choice(self, "method", &methods).unwrap_or(false);
        let minutes = fields.minutes(self, "window").unwrap_or(15) as u32;
        let literal = |limit: Limit| Rule::Window { minutes, limit };
        if let Some(rate) = fields.rate(self, "at_most") {
            rules.push(if window { literal(Limit::AtMost(rate)) } else { Rule::AtMost(rate) });
        }
        if let Some(rate) = fields.rate(self, "at_least") {
            rules.push(if window { literal(Limit::AtLeast(rate)) } else { Rule::AtLeast(rate) });
        }
        if let Some(times) = fields.times(self, "compared") {
            rules.push(if window {
                literal(Limit::Compared(times))
            } else {
                Rule::Compared(times)
            });
        }
        if let Some(odds) = fields.times(self, "not_worse") {
            rules.push(Rule::NotWorse { odds, ceiling: fields.rate(self, "ceiling") });
        }
        let at_most = fields.rate(self, "estimated_at_most");
        let compared = fields.times(self, "estimated_compared");
        if at_most.is_some() || compared.is_some() {
            let samples = fields.number(self, "samples").unwrap_or(1_000.0) as u64;
            rules.push(Rule::Estimated { at_most, compared, samples });
        }
        if fields.flag(self, "never") == Some(true) {
            rules.push(Rule::Never);
        }
        if fields.flag(self, "sample_ratio") == Some(true) {
            rules.push(Rule::SampleRatio);
        }
        match rules[..] {
            [rule] => Some(rule),
            // A rule that was given and could not be read has had its fault.
            [] if RULES.iter().any(|rule| given.contains(rule)) => None,
            [] => {
                self.fault(at, format_args!("a gate without a rule: {}", RULES.join(", ")));
                None
            }
            _ => {
                self.fault(at, "a gate with more than one rule");
                None
            }
        }
    }

    /// What can be read, and can never fire or has no meaning.
    fn check_gate(
        &mut self,
        name: &str,
        metric: Metric,
        rule: Rule,
        effect: Effect,
        level: Level,
        at: usize,
    ) {
        let mut never =
            |why: &str| self.fault(at, format_args!("gate `{name}` can never fire: {why}"));
        match rule {
            Rule::AtMost(limit) | Rule::Window { limit: Limit::AtMost(limit), .. }
                if limit >= 1.0 =>
            {
                never("no rate is above 100%");
            }
            Rule::AtMost(limit) if limit <= 0.0 => {
                never("no test is against 0%; use `never = true`")
            }
            Rule::AtLeast(limit) | Rule::Window { limit: Limit::AtLeast(limit), .. }
                if limit <= 0.0 || limit >= 1.0 =>
            {
                never("no rate is below 0%, and none need be 100%");
            }
            Rule::NotWorse { odds, .. } if odds <= 1.0 => {
                never("equal to stable cannot be told from not worse; allow some, such as +50%");
            }
            Rule::NotWorse { ceiling: Some(rate), .. } if rate <= 0.0 || rate >= 1.0 => {
                never("a ceiling lies between 0% and 100%");
            }
            Rule::Window { minutes: 0, .. } => never("its window is empty"),
            _ => {}
        }
        let compares = matches!(
            rule,
            Rule::Compared(_)
                | Rule::NotWorse { .. }
                | Rule::Estimated { compared: Some(_), .. }
                | Rule::Window { limit: Limit::Compared(_), .. }
        );
        if compares && !metric.has_stable() {
            never(&format!("the old system has no `{}` to compare with", metric.name()));
        }
        if level != Level::Requests && !SUBJECT_METRICS.contains(&metric) {
            never(&format!("subjects are not counted for `{}`", metric.name()));
        }
        if level != Level::Requests && !matches!(rule, Rule::Compared(_)) {
            never("subjects are evidence for `compared` only");
        }
        if (rule == Rule::SampleRatio) != (metric == Metric::SampleRatio) {
            never("`sample_ratio` is a metric and a rule that belong together");
        }
        let rises = matches!(rule, Rule::NotWorse { .. } | Rule::Estimated { .. });
        if rises && effect != Effect::Advance {
            never("what has to be shown before a rise never fails; its effect is `advance`");
        }
    }

    /// The limit that takes the place of a comparison.
    fn check_fallback(&mut self, name: &str, rule: Rule, rate: f64, at: usize) {
        if !matches!(rule, Rule::Compared(_)) {
            self.fault(at, format_args!("gate `{name}`: `or_at_most` goes with `compared` only"));
        } else if rate <= 0.0 || rate >= 1.0 {
            let percent = 100.0 * rate;
            self.fault(
                at,
                format_args!(
                    "gate `{name}`: `or_at_most` of {percent}% is not between 0% and 100%"
                ),
            );
        }
    }

    /// Parts the budgets by the weights.
    fn budgeted(&mut self, gates: Vec<Weighted>, budgets: &Budgets) -> Vec<Gate> {
        let spends = |gate: &Gate| {
            matches!(gate.rule, Rule::AtMost(_) | Rule::AtLeast(_) | Rule::Compared(_))
        };
        let sum = |effect: Effect| -> f64 {
            let of = gates.iter().filter(|one| one.gate.effect == effect && spends(&one.gate));
            of.map(|one| one.weight).sum()
        };
        let (roll_back, warn) = (sum(Effect::RollBack), sum(Effect::Warn));
        for (number, one) in gates.iter().enumerate() {
            if gates[..number].iter().any(|before| before.gate.name == one.gate.name) {
                self.fault(one.at, format_args!("a second gate `{}`", one.gate.name));
            }
        }
        let budget = |one: &Weighted| match one.gate.effect {
            Effect::Advance => budgets.advance,
            Effect::RollBack if spends(&one.gate) => budgets.roll_back * one.weight / roll_back,
            Effect::Warn if spends(&one.gate) => budgets.warn * one.weight / warn,
            Effect::RollBack => budgets.roll_back,
            Effect::Warn => budgets.warn,
        };
        gates.iter().map(|one| Gate { budget: budget(one), ..one.gate.clone() }).collect()
    }

    fn freeze(&mut self, mut fields: Fields<'_>) -> Option<(Freeze, usize)> {
        let days = fields.days(self);
        let from = fields.time_of_day(self, "from").unwrap_or(0);
        let to = fields.time_of_day(self, "to").unwrap_or(1_440);
        let zone = fields.zone(self).unwrap_or(Zone::UTC);
        fields.nothing_else(self);
        if from == to || from == 1_440 {
            self.fault(fields.at, "a freeze that begins when it ends");
            return None;
        }
        Some((Freeze { days: days?, from, to, zone }, fields.at))
    }

    fn check_freezes(&mut self, freezes: &[(Freeze, usize)]) {
        for (number, (freeze, at)) in freezes.iter().enumerate() {
            if freezes[..number].iter().any(|(before, _)| freeze.overlaps(before)) {
                self.fault(*at, "a freeze that overlaps an earlier one");
            }
        }
    }
}

/// The keys that are rules.
const RULES: [&str; 8] = [
    "at_most",
    "at_least",
    "compared",
    "not_worse",
    "estimated_at_most",
    "estimated_compared",
    "never",
    "sample_ratio",
];

/// Where nothing is said.
const STABLE: StableLimits = StableLimits { errors: 0.05, slow: 0.2 };
