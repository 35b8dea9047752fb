//! JSON schemas from JSON values: each value widens its schema until the schema accepts all of them.
//!
//! Values show which fields a type has, which may be null and which may be absent. They do not show
//! all variants of an enum, so those come from the Rust types.

use std::collections::{BTreeMap, BTreeSet};

use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use jeffrey_edge::catalogue::code::MessageCode;
use jeffrey_edge::gateway::events::event::UnreadableReason;
use jeffrey_edge::gateway::upstream::auth_verdict::AuthVerdict;
use jeffrey_edge::gateway::upstream::model::FallbackReason;
use jeffrey_edge::rollout::assignment::AssignmentReason;
use jeffrey_edge::rollout::counts::Metric;
use jeffrey_edge::rollout::effect::{RolloutAction, RolloutAlert};
use jeffrey_edge::rollout::gate::GateEffect;
use jeffrey_edge::rollout::gate::finding::{GateVerdict, VerdictReason};
use jeffrey_edge::rollout::history::RolloutInput;
use jeffrey_edge::rollout::phase::Phase;
use jeffrey_edge::rollout::release_state::HardFailureKind;
use jeffrey_terms::{Cohort, Label, PredictionRoute, TieBreakRule};

/// Objects that the document names, each with a field that no other object has.
const COMPONENTS: [(&str, &str); 21] = [
    ("args", "Message"),
    ("bad_feedback_rate_interval", "CohortSummary"),
    ("classify", "GatewayHealth"),
    ("classify_id", "FeedbackEvent"),
    ("decides_in_minutes", "GateFinding"),
    ("entered_ms", "PlanProgress"),
    ("error", "Error"),
    ("errors_5xx", "CohortCounts"),
    ("heard_ms", "ModelValidation"),
    ("input", "HistoryEntry"),
    ("message_code", "ReleaseStatus"),
    ("min_duration_minutes", "Stage"),
    ("minutes_in_stage", "RolloutStatus"),
    ("newest_event_number", "ShardStatus"),
    ("newly_affected", "ClosedMinute"),
    ("next_batch_size", "SinkCursor"),
    ("no_canary_data", "GateSummary"),
    ("p99", "LatencyQuantiles"),
    ("stats", "CohortTotals"),
    ("trigger", "Decision"),
    ("unreadable_response_reason", "ClassifyEvent"),
];

/// Names of the variants of an enum.
type Variants = fn() -> Vec<String>;

/// Fields of named objects whose text is the name of a variant.
const ENUMS: [(&str, &str, Variants); 19] = [
    ("ClassifyEvent", "auth_verdict", variants_of::<AuthVerdict>),
    ("ClassifyEvent", "cohort", variants_of::<Cohort>),
    ("ClassifyEvent", "destination", variants_of::<Cohort>),
    ("ClassifyEvent", "fallback_reason", fallback_reasons),
    ("ClassifyEvent", "label", variants_of::<Label>),
    ("ClassifyEvent", "reason", variants_of::<AssignmentReason>),
    ("ClassifyEvent", "route", variants_of::<PredictionRoute>),
    ("ClassifyEvent", "rule", variants_of::<TieBreakRule>),
    ("ClassifyEvent", "unreadable_response_reason", variants_of::<UnreadableReason>),
    ("FeedbackEvent", "cohort", variants_of::<Cohort>),
    ("FeedbackEvent", "correct_label", variants_of::<Label>),
    ("FeedbackEvent", "label", variants_of::<Label>),
    ("GateFinding", "effect", variants_of::<GateEffect>),
    ("GateFinding", "metric", variants_of::<Metric>),
    ("GateFinding", "reason", variants_of::<VerdictReason>),
    ("GateFinding", "verdict", variants_of::<GateVerdict>),
    ("GatewayHealth", "breaker", variants_of::<HardFailureKind>),
    ("Message", "code", message_codes),
    ("ReleaseStatus", "message_code", message_codes),
];

/// Fields whose variants have values of their own: a variant without values is its name, one with
/// values an object whose only key is its name.
const UNIONS: [(&str, Variants); 2] =
    [("actions", variants_of::<RolloutAction>), ("active_alert", variants_of::<RolloutAlert>)];

/// Fields whose value is an object that names its variant in a field: field, that field, variants.
const TAGGED: [(&str, &str, Variants); 2] = [
    ("input", "type", || tags_of::<RolloutInput>("type")),
    ("phase", "phase", || tags_of::<Phase>("phase")),
];

/// Objects whose keys are data.
const MAPS: [&str; 2] = ["latency", "rules"];

/// Objects whose fields depend on the code beside them.
const ARGUMENTS: [&str; 2] = ["args", "message_args"];

/// Returns the names that an enum is read from; an unknown name is refused with a list of them.
pub(crate) fn variants_of<T: DeserializeOwned>() -> Vec<String> {
    names_in_refusal(serde_json::from_value::<T>(json!("?")).err())
}

/// Returns all reasons of a fallback: it is read by several enums, so no refusal lists its names.
fn fallback_reasons() -> Vec<String> {
    FallbackReason::ALL.iter().map(ToString::to_string).collect()
}

/// Returns the codes of all messages, which are only written and never read back.
fn message_codes() -> Vec<String> {
    MessageCode::ALL.iter().map(|code| code.name().to_owned()).collect()
}

/// Returns the names of the variants of an enum that has them in the field `tag`.
fn tags_of<T: DeserializeOwned>(tag: &str) -> Vec<String> {
    names_in_refusal(serde_json::from_value::<T>(json!({ tag: "?" })).err())
}

fn names_in_refusal(error: Option<serde_json::Error>) -> Vec<String> {
    let message = error.expect("no variant has this name").to_string();
    let (_, names) = message.split_once("expected ").unwrap_or_else(|| panic!("{message}"));
    names.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Objects with a name, as far as values have shown them.
#[derive(Default)]
pub(crate) struct Components(BTreeMap<&'static str, Shape>);

/// Everything that the values of one place have in common.
#[derive(Default)]
pub(crate) struct Shape {
    types: BTreeSet<&'static str>,
    components: BTreeSet<&'static str>,
    is_open: bool,
    items: Option<Box<Self>>,
    objects: usize,
    /// Fields of the objects, each with the number of objects that have it.
    fields: BTreeMap<String, (usize, Self)>,
}

impl Shape {
    /// Widens the shape by a value of the field `name`; the name is empty for a whole body.
    pub(crate) fn add(&mut self, name: &str, value: &Value, components: &mut Components) {
        let is_variant = UNIONS.iter().any(|(field, _)| *field == name);
        let json_type = match value {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Number(number) if number.is_f64() => "number",
            Value::Number(_) => "integer",
            Value::String(_) => "string",
            Value::Array(items) => {
                let shape = self.items.get_or_insert_default();
                items.iter().for_each(|item| shape.add(name, item, components));
                "array"
            }
            Value::Object(_) if is_variant || TAGGED.iter().any(|(field, ..)| *field == name) => {
                self.is_open = true;
                "object"
            }
            Value::Object(_) if ARGUMENTS.contains(&name) => "object",
            Value::Object(fields) => return self.add_object(name, fields, components),
        };
        self.is_open |= is_variant && json_type == "string";
        self.types.insert(json_type);
    }

    fn add_object(&mut self, name: &str, fields: &Map<String, Value>, components: &mut Components) {
        let named = COMPONENTS.iter().find(|(marker, _)| fields.contains_key(*marker));
        if let Some(&(_, component)) = named {
            self.components.insert(component);
            // Taken out, because the object may hold other named objects.
            let mut shape = components.0.remove(component).unwrap_or_default();
            shape.add_fields(fields, components);
            assert!(components.0.insert(component, shape).is_none(), "{component} holds itself");
        } else if MAPS.contains(&name) {
            self.types.insert("object");
            let shape = self.items.get_or_insert_default();
            fields.values().for_each(|value| shape.add("", value, components));
        } else {
            self.add_fields(fields, components);
        }
    }

    fn add_fields(&mut self, fields: &Map<String, Value>, components: &mut Components) {
        self.types.insert("object");
        self.objects += 1;
        for (name, value) in fields {
            let (count, shape) = self.fields.entry(name.clone()).or_default();
            *count += 1;
            shape.add(name, value, components);
        }
    }

    /// Returns the schema; `place` is the path of this shape, for the messages in `unknown`.
    pub(crate) fn to_schema(&self, place: &str, unknown: &mut Vec<String>) -> Value {
        let mut types: Vec<&str> = self.types.iter().copied().collect();
        if types.contains(&"number") {
            types.retain(|name| *name != "integer");
        }
        if !self.components.is_empty() {
            assert!(matches!(types[..], [] | ["null"]), "{place}: a named object and {types:?}");
            let references = self.components.iter().map(|name| reference_to(name));
            let null = types.iter().map(|name| json!({ "type": name }));
            let mut schemas: Vec<Value> = references.chain(null).collect();
            return if schemas.len() == 1 {
                schemas.remove(0)
            } else {
                json!({ "anyOf": schemas })
            };
        }
        if matches!(types[..], [] | ["null"]) {
            unknown.push(format!("{place}: {types:?}"));
        }
        let field = place.rsplit('/').find(|part| *part != "[]").unwrap_or_default();
        if self.is_open {
            return open_schema(field, &types);
        }
        let mut schema = Map::new();
        let variants = ENUMS.iter().find(|(component, name, _)| {
            place.strip_suffix(*name).is_some_and(|rest| rest.ends_with(&format!("/{component}/")))
        });
        if let Some((_, _, variants)) = variants {
            let names = variants().into_iter().map(Value::from);
            let null = types.contains(&"null").then_some(Value::Null);
            schema.insert("enum".into(), names.chain(null).collect());
            return schema.into();
        }
        schema.insert("type".into(), type_keyword(&types));
        if let Some(items) = &self.items {
            let keyword = if types.contains(&"array") { "items" } else { "additionalProperties" };
            schema.insert(keyword.into(), items.to_schema(&format!("{place}/[]"), unknown));
        }
        if !self.fields.is_empty() {
            let required = self.fields.iter().filter(|(_, (count, _))| *count == self.objects);
            let required: Vec<&String> = required.map(|(name, _)| name).collect();
            schema.insert("required".into(), json!(required));
            let properties = self.fields.iter().map(|(name, (_, shape))| {
                (name.clone(), shape.to_schema(&format!("{place}/{name}"), unknown))
            });
            schema.insert("properties".into(), properties.collect::<Map<_, _>>().into());
        }
        schema.into()
    }
}

impl Components {
    /// Returns the schemas of all named objects.
    pub(crate) fn to_schemas(&self, unknown: &mut Vec<String>) -> Value {
        let schema = |(name, shape): (&&str, &Shape)| {
            ((*name).to_owned(), shape.to_schema(&format!("/{name}"), unknown))
        };
        self.0.iter().map(schema).collect::<Map<_, _>>().into()
    }
}

/// Returns the schema of a field whose variants have values of their own.
fn open_schema(field: &str, types: &[&str]) -> Value {
    if let Some((_, tag, variants)) = TAGGED.iter().find(|(name, ..)| *name == field) {
        let properties = json!({ *tag: { "enum": variants() } });
        return json!({ "type": type_keyword(types), "required": [tag], "properties": properties });
    }
    let variants = UNIONS.iter().find(|(name, _)| *name == field).map(|(_, variants)| variants());
    let names = variants.unwrap_or_default();
    let mut schemas = vec![
        json!({ "enum": names }),
        json!({ "type": "object", "minProperties": 1, "maxProperties": 1,
            "propertyNames": { "enum": names } }),
    ];
    schemas.extend(types.contains(&"null").then(|| json!({ "type": "null" })));
    json!({ "anyOf": schemas })
}

/// Returns a reference to a named schema.
pub(crate) fn reference_to(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

fn type_keyword(types: &[&str]) -> Value {
    match types {
        [only] => json!(only),
        several => json!(several),
    }
}
