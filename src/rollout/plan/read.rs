//! Reads a plan from TOML.
//!
//! Every fault is collected with its line, those of the syntax included: a plan is returned only if
//! there is none. Two kinds of faults are found: values that cannot be read, and rules that can be
//! read but can never fire; `check.rs` finds the latter.

use toml::de::DeTable;

use super::fields::{PlanReader, TableFields};
use super::freeze::{Freeze, Zone};
use super::{Plan, PlanErrors, StableCohortLimits, Stage};
use crate::rollout::counts::Metric;
use crate::rollout::gate::{EvidenceUnit, Gate, GateEffect, GateRule, WindowLimit};
use jeffrey_terms::Share;

/// Reads a plan and returns it, or all its faults.
pub(super) fn read_plan(text: &str) -> Result<Plan, PlanErrors> {
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut reader = PlanReader { text, errors: Vec::new() };
    for error in errors {
        let offset = error.span().map_or(0, |span| span.start);
        reader.report_error(offset, error.message().to_lowercase());
    }
    let mut top = TableFields::new("the plan", &table);
    let release = top.parse_release(&mut reader);
    let holdout = top.parse_share(&mut reader, "holdout").unwrap_or(Share::NONE);
    let traffic_per_minute = top.parse_number(&mut reader, "traffic_per_minute").unwrap_or(0.0);
    let deadline_minutes = top.parse_minutes(&mut reader, "deadline").unwrap_or(0);
    let notify = top.parse_names(&mut reader, "notify");
    let budgets = top
        .take_table("false_verdict_budget")
        .map(|fields| reader.read_budgets(fields))
        .unwrap_or_default();
    let stable = top
        .take_table("stable")
        .map(|fields| reader.read_stable_limits(fields))
        .unwrap_or(DEFAULT_STABLE_LIMITS);
    let mut stages: Vec<(Stage, usize)> = Vec::new();
    for fields in top.take_tables(&mut reader, "stage") {
        stages.extend(reader.read_stage(fields));
    }
    let mut gates = Vec::new();
    for fields in top.take_tables(&mut reader, "gate") {
        gates.extend(reader.read_gate(fields));
    }
    let mut freezes: Vec<(Freeze, usize)> = Vec::new();
    for fields in top.take_tables(&mut reader, "freeze") {
        freezes.extend(reader.read_freeze(fields));
    }
    top.reject_unknown_keys(&mut reader);
    reader.check_stages(&stages, traffic_per_minute);
    reader.check_freezes(&freezes);
    let gates = reader.split_budgets(gates, &budgets);
    let plan = Plan {
        release,
        stages: stages.into_iter().map(|(stage, _)| stage).collect(),
        gates,
        holdout,
        stable_limits: stable,
        traffic_per_minute,
        deadline_minutes,
        freezes: freezes.into_iter().map(|(freeze, _)| freeze).collect(),
        notify,
    };
    if reader.errors.is_empty() {
        return Ok(plan);
    }
    reader.errors.sort_by_key(|fault| fault.line);
    Err(PlanErrors { errors: reader.errors })
}

/// Error probabilities that the gates of each effect share: a day for `roll_back` and `warn`, a
/// stage for `block_advance`.
#[derive(Clone, Copy, Debug)]
struct ErrorBudgets {
    roll_back: f64,
    warn: f64,
    block_advance: f64,
}

impl Default for ErrorBudgets {
    fn default() -> Self {
        Self { roll_back: 0.01, warn: 0.01, block_advance: 0.05 }
    }
}

/// A gate whose budget is not yet computed from its weight.
struct WeightedGate {
    gate: Gate,
    weight: f64,
    offset: usize,
}

impl PlanReader<'_> {
    fn read_budgets(&mut self, mut fields: TableFields<'_>) -> ErrorBudgets {
        let default = ErrorBudgets::default();
        let mut read_chance = |reader: &mut Self, key, default| {
            let offset = fields.offset;
            let rate = fields.parse_rate(reader, key).unwrap_or(default);
            if rate <= 0.0 || rate > 0.5 {
                reader.report_error(
                    offset,
                    format_args!("budget `{key}` is not above 0% and at most 50%"),
                );
            }
            rate
        };
        let budgets = ErrorBudgets {
            roll_back: read_chance(self, "roll_back", default.roll_back),
            warn: read_chance(self, "warn", default.warn),
            block_advance: read_chance(self, "block_advance", default.block_advance),
        };
        fields.reject_unknown_keys(self);
        budgets
    }

    fn read_stable_limits(&mut self, mut fields: TableFields<'_>) -> StableCohortLimits {
        let limits = StableCohortLimits {
            max_error_rate: fields
                .parse_rate(self, "max_error_rate")
                .unwrap_or(DEFAULT_STABLE_LIMITS.max_error_rate),
            max_slow_rate: fields
                .parse_rate(self, "max_slow_rate")
                .unwrap_or(DEFAULT_STABLE_LIMITS.max_slow_rate),
        };
        fields.reject_unknown_keys(self);
        limits
    }

    fn read_stage(&mut self, mut fields: TableFields<'_>) -> Option<(Stage, usize)> {
        let share = fields.parse_share(self, "share");
        if share.is_none() && !fields.has("share") {
            self.report_error(fields.offset, "a stage without `share`");
        }
        let min_duration_minutes = fields.parse_minutes(self, "min_duration").unwrap_or(0);
        let min_samples = fields.parse_number(self, "min_samples").unwrap_or(0.0) as u64;
        let approval = fields.parse_flag(self, "approval").unwrap_or(false);
        fields.reject_unknown_keys(self);
        Some((Stage { share: share?, min_duration_minutes, min_samples, approval }, fields.offset))
    }

    fn read_gate(&mut self, mut fields: TableFields<'_>) -> Option<WeightedGate> {
        let offset = fields.offset;
        let metric = fields.parse_string(self, "metric").and_then(|(name, offset)| {
            let metric = Metric::from_name(name);
            if metric.is_none() {
                let known_names = Metric::ALL.map(Metric::name).join(", ");
                self.report_error(
                    offset,
                    format_args!("unknown metric `{name}`; known are {known_names}"),
                );
            }
            metric
        });
        if metric.is_none() && !fields.has("metric") {
            self.report_error(offset, "a gate without `metric`");
        }
        let name = fields.parse_string(self, "name").map(|(name, _)| name.to_owned());
        let effects = [
            ("block_advance", GateEffect::BlockAdvance),
            ("roll_back", GateEffect::RollBack),
            ("warn", GateEffect::Warn),
        ];
        let effect = fields.parse_choice(self, "effect", &effects);
        if effect.is_none() && !fields.has("effect") {
            self.report_error(offset, "a gate without `effect`: block_advance, roll_back or warn");
        }
        let levels = [
            ("both", EvidenceUnit::Both),
            ("requests", EvidenceUnit::Requests),
            ("subjects", EvidenceUnit::Subjects),
        ];
        let evidence_unit =
            fields.parse_choice(self, "evidence_unit", &levels).unwrap_or(EvidenceUnit::Requests);
        let rule = self.read_rule(&mut fields);
        let or_max = fields.parse_rate(self, "max_without_stable");
        let weight = fields.parse_number(self, "weight").unwrap_or(1.0);
        fields.reject_unknown_keys(self);
        let (metric, rule, effect) = (metric?, rule?, effect?);
        let name = name.unwrap_or_else(|| metric.name().to_owned());
        self.check_gate(&name, metric, rule, effect, evidence_unit, offset);
        if let Some(rate) = or_max {
            self.check_fallback(&name, rule, rate, offset);
        }
        if weight <= 0.0 {
            self.report_error(
                offset,
                format_args!("gate `{name}` can never fire: its weight is {weight}"),
            );
        }
        Some(WeightedGate {
            gate: Gate {
                name,
                metric,
                rule,
                effect,
                evidence_unit,
                max_without_stable: or_max,
                false_verdict_budget: 0.0,
            },
            weight,
            offset,
        })
    }

    /// Reads the one rule of a gate, by the key that names it.
    fn read_rule(&mut self, fields: &mut TableFields<'_>) -> Option<GateRule> {
        let offset = fields.offset;
        let keys = fields.keys();
        let mut rules = Vec::new();
        let methods = [("evidence", false), ("window", true)];
        let window = fields.parse_choice(self, "method", &methods).unwrap_or(false);
        let minutes = fields.parse_minutes(self, "window").unwrap_or(15) as u32;
        let window_rule = |limit: WindowLimit| GateRule::Window { minutes, limit };
        if let Some(rate) = fields.parse_rate(self, "max") {
            rules.push(if window {
                window_rule(WindowLimit::Max(rate))
            } else {
                GateRule::Max(rate)
            });
        }
        if let Some(rate) = fields.parse_rate(self, "min") {
            rules.push(if window {
                window_rule(WindowLimit::Min(rate))
            } else {
                GateRule::Min(rate)
            });
        }
        if let Some(times) = fields.parse_factor(self, "max_increase") {
            rules.push(if window {
                window_rule(WindowLimit::MaxIncrease(times))
            } else {
                GateRule::MaxIncrease(times)
            });
        }
        if let Some(odds) = fields.parse_factor(self, "not_worse") {
            rules.push(GateRule::NotWorse { odds, or_below: fields.parse_rate(self, "or_below") });
        }
        let max = fields.parse_rate(self, "estimated_max");
        let max_increase = fields.parse_factor(self, "estimated_max_increase");
        if max.is_some() || max_increase.is_some() {
            let samples = fields.parse_number(self, "estimate_samples").unwrap_or(1_000.0) as u64;
            rules.push(GateRule::Estimated { max, max_increase, samples });
        }
        if fields.parse_flag(self, "never") == Some(true) {
            rules.push(GateRule::Never);
        }
        if fields.parse_flag(self, "sample_ratio") == Some(true) {
            rules.push(GateRule::SampleRatio);
        }
        match rules[..] {
            [rule] => Some(rule),
            // A rule that was given and could not be read has been reported.
            [] if RULE_KEYS.iter().any(|rule| keys.contains(rule)) => None,
            [] => {
                self.report_error(
                    offset,
                    format_args!("a gate without a rule: {}", RULE_KEYS.join(", ")),
                );
                None
            }
            _ => {
                self.report_error(offset, "a gate with more than one rule");
                None
            }
        }
    }

    /// Splits the budgets over the gates by weight, and reports doubled names.
    fn split_budgets(&mut self, gates: Vec<WeightedGate>, budgets: &ErrorBudgets) -> Vec<Gate> {
        let spends_budget = |gate: &Gate| {
            matches!(gate.rule, GateRule::Max(_) | GateRule::Min(_) | GateRule::MaxIncrease(_))
        };
        let sum = |effect: GateEffect| -> f64 {
            let gates_with_effect = gates
                .iter()
                .filter(|weighted| weighted.gate.effect == effect && spends_budget(&weighted.gate));
            gates_with_effect.map(|weighted| weighted.weight).sum()
        };
        let (roll_back, warn) = (sum(GateEffect::RollBack), sum(GateEffect::Warn));
        for (number, weighted) in gates.iter().enumerate() {
            if gates[..number].iter().any(|earlier| earlier.gate.name == weighted.gate.name) {
                self.report_error(
                    weighted.offset,
                    format_args!("a second gate `{}`", weighted.gate.name),
                );
            }
        }
        let budget = |weighted: &WeightedGate| match weighted.gate.effect {
            GateEffect::BlockAdvance => budgets.block_advance,
            GateEffect::RollBack if spends_budget(&weighted.gate) => {
                budgets.roll_back * weighted.weight / roll_back
            }
            GateEffect::Warn if spends_budget(&weighted.gate) => {
                budgets.warn * weighted.weight / warn
            }
            GateEffect::RollBack => budgets.roll_back,
            GateEffect::Warn => budgets.warn,
        };
        gates
            .iter()
            .map(|weighted| Gate {
                false_verdict_budget: budget(weighted),
                ..weighted.gate.clone()
            })
            .collect()
    }

    fn read_freeze(&mut self, mut fields: TableFields<'_>) -> Option<(Freeze, usize)> {
        let days = fields.parse_days(self);
        let from = fields.parse_time_of_day(self, "from").unwrap_or(0);
        let to = fields.parse_time_of_day(self, "to").unwrap_or(1_440);
        let zone = fields.parse_zone(self).unwrap_or(Zone::UTC);
        fields.reject_unknown_keys(self);
        if from == to || from == 1_440 {
            self.report_error(fields.offset, "a freeze that begins when it ends");
            return None;
        }
        Some((Freeze { days: days?, from, to, zone }, fields.offset))
    }
}

/// Keys of a gate that name its rule.
const RULE_KEYS: [&str; 8] = [
    "max",
    "min",
    "max_increase",
    "not_worse",
    "estimated_max",
    "estimated_max_increase",
    "never",
    "sample_ratio",
];

/// Limits of the legacy system for a plan without `[stable]`: 5 % errors, 20 % slow requests.
const DEFAULT_STABLE_LIMITS: StableCohortLimits =
    StableCohortLimits { max_error_rate: 0.05, max_slow_rate: 0.2 };
