//! Golden file of all messages about a release, with their sentences in English and French.
//!
//! The samples cover every status, alert, cause, advance check, command, phase and input of the
//! history. `tests/native/messages.test.js` renders the same file as the dashboard does.
//! `UPDATE_DOCS=1 cargo test --test messages` writes it anew.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed, and says where")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use jeffrey_edge::catalogue::code::MessageCode;
use jeffrey_edge::catalogue::message::Message;
use jeffrey_edge::catalogue::render::Catalogue;
use jeffrey_edge::gateway::notify::messages;
use jeffrey_edge::gateway::notify::webhook::AlertNotice;
use jeffrey_edge::rollout::advance_checks::{AdvanceBlocked, WebhookResponse, WebhookVerdict};
use jeffrey_edge::rollout::command::OperatorCommand;
use jeffrey_edge::rollout::controller::RolloutController;
use jeffrey_edge::rollout::counts::{ClosedMinute, CohortCounts, Metric};
use jeffrey_edge::rollout::effect::{RolloutAction, RolloutAlert};
use jeffrey_edge::rollout::gate::GateEffect;
use jeffrey_edge::rollout::gate::finding::{GateFinding, GateVerdict};
use jeffrey_edge::rollout::history::{HistoryEntry, RolloutInput};
use jeffrey_edge::rollout::phase::{HoldReason, Phase, RollbackCause};
use jeffrey_edge::rollout::plan::{DEFAULT_PLAN_TOML, Plan};
use jeffrey_edge::rollout::progress::PlanProgress;
use jeffrey_edge::rollout::release_state::HardFailureKind;
use jeffrey_edge::rollout::status::{RolloutStatus, build_status};
use jeffrey_terms::by_cohort::ByCohort;
use jeffrey_terms::{Share, UnixMs};
use serde_json::{Value, json};

const GOLDEN_FILE: &str = "tests/data/messages.jsonl";

/// Entries of a catalogue that are conventions of its language, not templates of a code.
const CONVENTIONS: [&str; 4] =
    ["format.clauses", "format.decimal", "format.list", "format.percent"];

/// Formats that a placeholder may name; the first is none.
const FORMATS: [&str; 7] = ["", "clauses", "list", "number", "percent", "short", "time"];

/// Folders whose code becomes part of the gateway's module.
const GATEWAY_FOLDERS: [&str; 6] = [
    "src/gateway",
    "src/rollout",
    "src/telemetry",
    "crates/gateway-service/src",
    "crates/gateway-worker/src",
    "crates/http-core/src",
];

/// Time of all samples: 2026-11-23 00:00 UTC.
const NOW: UnixMs = UnixMs(1_795_392_000_000);

#[test]
fn sentences_are_those_of_the_golden_file() {
    let lines: String = golden_rows().iter().map(|row| format!("{row}\n")).collect();
    let path = root().join(GOLDEN_FILE);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &lines).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap();
    for (line, expected) in lines.lines().zip(expected.lines()) {
        assert_eq!(line, expected);
    }
    assert_eq!(lines.lines().count(), expected.lines().count());
}

#[test]
fn every_code_is_sampled_and_its_templates_show_each_argument_once_or_more() {
    let mut args_by_code: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (_, message) in sample_messages() {
        collect_args(&message.into(), &mut args_by_code);
    }
    for code in MessageCode::ALL.iter().map(|code| code.name()) {
        let args = args_by_code.get(code).unwrap_or_else(|| panic!("{code} has no sample"));
        for catalogue in [Catalogue::ENGLISH, Catalogue::FRENCH] {
            let template = catalogue.template(code).unwrap_or_else(|| panic!("no {code}"));
            let placeholders = placeholders(template);
            let names: BTreeSet<String> =
                placeholders.iter().map(|(name, _)| name.clone()).collect();
            assert_eq!(&names, args, "{code}: {template}");
            for (_, format) in placeholders {
                assert!(FORMATS.contains(&format.as_str()), "{code}: {template}");
            }
        }
    }
}

#[test]
fn both_catalogues_have_the_same_entries_in_order_and_no_other() {
    let mut expected: Vec<&str> =
        MessageCode::ALL.iter().map(|code| code.name()).chain(CONVENTIONS).collect();
    expected.sort_unstable();
    for (file, catalogue) in [("en.json", Catalogue::ENGLISH), ("fr.json", Catalogue::FRENCH)] {
        let text = fs::read_to_string(root().join("src/catalogue").join(file)).unwrap();
        let entries: BTreeMap<String, String> = serde_json::from_str(&text).unwrap();
        assert_eq!(entries.keys().collect::<Vec<_>>(), expected, "{file}");
        // One entry a line and in order, so that no code is there twice.
        let lines: String =
            entries.iter().map(|(code, text)| format!("  \"{code}\": \"{text}\",\n")).collect();
        assert_eq!(text, format!("{{\n{}\n}}\n", lines.trim_end_matches(",\n")), "{file}");
        for (code, template) in &entries {
            assert_eq!(catalogue.template(code), Some(template.as_str()), "{file}: {code}");
        }
        assert_eq!(catalogue.template("alert"), None);
        assert_eq!(catalogue.template(""), None);
    }
}

#[test]
fn the_code_of_the_gateway_has_no_french_text() {
    let french: Vec<&str> = MessageCode::ALL
        .iter()
        .filter_map(|code| Catalogue::FRENCH.template(code.name()))
        .flat_map(|template| template.split('{'))
        .map(|part| part.split_once('}').map_or(part, |(_, literal)| literal))
        .filter(|part| part.len() >= 12)
        .collect();
    assert!(french.len() > 20, "{french:?}");
    let mut faults = Vec::new();
    for path in GATEWAY_FOLDERS.iter().flat_map(|folder| rust_files(&root().join(folder))) {
        let code = fs::read_to_string(&path).unwrap();
        let found = french.iter().chain(&["FRENCH"]).filter(|text| code.contains(**text));
        faults.extend(found.map(|text| format!("{}: {text}", path.display())));
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

/// Returns a row for each message, with its sentence in both languages.
fn golden_rows() -> Vec<Value> {
    let mut seen = BTreeSet::new();
    let mut rows = Vec::new();
    for (case, message) in sample_messages() {
        let (en, fr) = (Catalogue::ENGLISH.render(&message), Catalogue::FRENCH.render(&message));
        if seen.insert(Value::from(message.clone()).to_string()) {
            rows.push(json!({ "case": case, "message": message, "en": en, "fr": fr }));
        }
    }
    rows
}

/// Returns messages by name that have every code among them.
fn sample_messages() -> Vec<(String, Message)> {
    let mut rows = Vec::new();
    for (case, killed, status) in sample_statuses() {
        let share = status.as_ref().map_or_else(|| "0%".parse().unwrap(), |status| status.share);
        let message = messages::describe_status("e1-small", share, killed, status.as_ref());
        rows.push((format!("status: {case}"), message));
    }
    for (case, entry) in sample_entries() {
        rows.push((format!("trigger: {case}"), messages::describe_input(&entry.input)));
        rows.push((format!("outcome: {case}"), messages::describe_effects(&entry)));
    }
    for notice in [AlertNotice::promoted(), AlertNotice::test()] {
        rows.push((format!("notice: {}", notice.dedup_key), notice.message));
    }
    let (_, entry) = sample_entries().pop().unwrap();
    rows.push(("explained entry".to_owned(), messages::describe_entry(&entry)));
    let counts = |requests, errors_5xx, fallbacks| CohortCounts {
        requests,
        errors_5xx,
        fallbacks,
        ..CohortCounts::default()
    };
    let counts = ByCohort { canary: counts(1_000, 2, 3), stable: counts(9_000, 4, 0) };
    rows.push(("explained counts".to_owned(), messages::describe_counts(&counts)));
    let args = json!({"gate": "errors", "hits": 5, "gates": ["a", "b"], "known": null});
    for (case, args) in [("with arguments", args), ("without arguments", json!({}))] {
        let reason = json!({"code": "cause.of_a_newer_version", "args": args});
        let message = Message::new(MessageCode::CauseOperator).with("reason", reason);
        rows.push((format!("unknown code {case}"), message));
    }
    rows
}

/// Collects the codes in a message, those in its arguments included, with the names of their
/// arguments. A code has the same arguments wherever it is.
fn collect_args(value: &Value, args_by_code: &mut BTreeMap<String, BTreeSet<String>>) {
    match value {
        Value::Array(parts) => parts.iter().for_each(|part| collect_args(part, args_by_code)),
        Value::Object(message) => {
            let args = message["args"].as_object().unwrap();
            let names: BTreeSet<String> = args.keys().cloned().collect();
            let code = message["code"].as_str().unwrap();
            let known = args_by_code.entry(code.to_owned()).or_insert_with(|| names.clone());
            let is_known = MessageCode::ALL.iter().any(|known| known.name() == code);
            assert!(!is_known || *known == names, "{code} has {names:?} and {known:?}");
            args.values().for_each(|value| collect_args(value, args_by_code));
        }
        _ => {}
    }
}

/// Returns names and formats of the placeholders of a template.
fn placeholders(template: &str) -> Vec<(String, String)> {
    let parts = template.split('{').skip(1).map(|part| part.split_once('}').unwrap().0);
    parts
        .map(|placeholder| {
            let (name, format) = placeholder.split_once(':').unwrap_or((placeholder, ""));
            (name.to_owned(), format.to_owned())
        })
        .collect()
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns statuses of a release by name, each with its kill flag.
fn sample_statuses() -> Vec<(String, bool, Option<RolloutStatus>)> {
    let plan = Plan::read(DEFAULT_PLAN_TOML).unwrap();
    let controller = RolloutController::new(&plan, NOW, 0);
    let status = |phase: Phase, alert: Option<RolloutAlert>| {
        let mut status = build_status(&controller, &plan, None, 1, (NOW, 0));
        status.share = "12.5%".parse().unwrap();
        status.phase = phase.name().to_owned();
        status.state.phase = phase;
        status.state.stage = 1;
        status.active_alert = alert;
        Some(status)
    };
    let mut rows = vec![
        ("no plan".to_owned(), false, None),
        ("no plan, killed".to_owned(), true, None),
        ("killed".to_owned(), true, status(Phase::Ramping, None)),
    ];
    for (case, phase) in sample_phases() {
        rows.push((case, false, status(phase, None)));
    }
    for (case, alert) in sample_alerts() {
        rows.push((format!("alert {case}"), false, status(Phase::Ramping, Some(alert))));
    }
    rows
}

/// Returns history entries by name, which all are decisions.
fn sample_entries() -> Vec<(String, HistoryEntry)> {
    let entry = |input: RolloutInput, phase: Phase, actions: Vec<RolloutAction>| HistoryEntry {
        seq: 7,
        now: NOW,
        input,
        state: PlanProgress { phase, ..PlanProgress::idle(NOW) },
        share: Share::NONE,
        actions,
        gates: None,
        counts: None,
    };
    let share = |text: &str| RolloutAction::SetShare(text.parse().unwrap());
    let tick = || RolloutInput::Tick { blocked_by: None, last_complete_minute: 1 };
    let mut rows: Vec<(String, HistoryEntry)> = Vec::new();
    for (case, input) in sample_inputs() {
        let actions = vec![share("0.07%"), RolloutAction::EnterStage, RolloutAction::ResetEvidence];
        rows.push((format!("input {case}"), entry(input, Phase::Ramping, actions)));
    }
    for (case, alert) in sample_alerts() {
        let actions = vec![RolloutAction::Alert(alert)];
        rows.push((format!("alert {case}"), entry(tick(), Phase::Ramping, actions)));
    }
    for (case, phase) in sample_phases() {
        rows.push((format!("phase {case}"), entry(tick(), phase, Vec::new())));
    }
    let rollback = RolloutAlert::RolledBack(RollbackCause::HardFailure(HardFailureKind::Trap));
    let actions = vec![share("0%"), RolloutAction::Alert(rollback), share("100%")];
    rows.push(("several effects".to_owned(), entry(tick(), Phase::Frozen, actions)));
    rows
}

fn sample_inputs() -> Vec<(String, RolloutInput)> {
    let mut rows = Vec::new();
    for (actor, command) in
        ["", "alice {actor}"].into_iter().flat_map(|actor| sample_commands().map(|it| (actor, it)))
    {
        let case = format!("command {} by `{actor}`", command.name());
        let (actor, last_complete_minute) = (actor.to_owned(), 1);
        let input =
            RolloutInput::Command { actor, command, blocked_by: None, last_complete_minute };
        rows.push((case, input));
    }
    for kind in HardFailureKind::ALL {
        let input = RolloutInput::HardFailure { kind, last_complete_minute: 1 };
        rows.push((format!("hard failure {}", kind.name()), input));
    }
    for minute in [0, NOW.0 / 60_000 + 754, u64::MAX / 60_000] {
        let minute = Box::new(ClosedMinute { minute, ..ClosedMinute::default() });
        rows.push((format!("minute {}", minute.minute), RolloutInput::Minute { minute }));
    }
    for actor in ["", "bob"] {
        let (plan, last_complete_minute) = (String::new(), 1);
        let input = RolloutInput::PlanApplied { actor: actor.into(), plan, last_complete_minute };
        rows.push((format!("plan by `{actor}`"), input));
    }
    rows.push(("tick".into(), RolloutInput::Tick { blocked_by: None, last_complete_minute: 1 }));
    for (case, blocked_by) in sample_blocks() {
        let blocked_by = Some(blocked_by);
        let input = RolloutInput::Tick { blocked_by, last_complete_minute: 1 };
        rows.push((format!("tick {case}"), input));
    }
    rows
}

fn sample_commands() -> [OperatorCommand; 7] {
    let reason = || "a reason".to_owned();
    [
        OperatorCommand::Abort { reason: reason() },
        OperatorCommand::Advance { reason: reason() },
        OperatorCommand::Approve,
        OperatorCommand::Pause { reason: reason() },
        OperatorCommand::Resume { reason: reason() },
        OperatorCommand::RollBack { reason: reason() },
        OperatorCommand::Start,
    ]
}

/// Returns every phase; a rolled-back one with each sample of a cause.
fn sample_phases() -> Vec<(String, Phase)> {
    let reason = || "support says {so} : « no »".to_owned();
    let mut phases = vec![
        Phase::Aborted { reason: reason() },
        Phase::AwaitingApproval { undecided: true },
        Phase::Frozen,
        Phase::Holding { reason: HoldReason::Gates },
        Phase::Idle,
        Phase::Paused { reason: reason() },
        Phase::Promoted,
        Phase::Ramping,
        Phase::Watching,
    ];
    let causes = sample_causes();
    phases.extend(causes.into_iter().map(|cause| Phase::RolledBack { cause: Box::new(cause) }));
    let number = |(index, phase): (usize, Phase)| (format!("{} {index}", phase.name()), phase);
    phases.into_iter().enumerate().map(number).collect()
}

fn sample_causes() -> Vec<RollbackCause> {
    let mut causes: Vec<RollbackCause> =
        HardFailureKind::ALL.into_iter().map(RollbackCause::HardFailure).collect();
    causes.push(RollbackCause::Operator { reason: "support says so".to_owned() });
    // The ties and the large number are written the same by both renderers.
    for (value, limit) in [
        (None, None),
        (Some(0.0), Some(1.0)),
        (Some(0.052_631_578_947), Some(0.02)),
        (Some(0.031_25), Some(0.093_75)),
        (Some(0.156_25), Some(0.000_04)),
        (Some(12_345.678_949_999), Some(1e15)),
    ] {
        causes.push(RollbackCause::Gate(sample_finding("errors `high`", value, limit)));
    }
    causes
}

fn sample_finding(gate: &str, value: Option<f64>, limit: Option<f64>) -> GateFinding {
    GateFinding {
        gate: gate.to_owned(),
        metric: Metric::Errors,
        effect: GateEffect::RollBack,
        verdict: GateVerdict::Fail,
        reason: None,
        value,
        limit,
        samples: 12_345,
        hits: 17,
        ln_evidence: None,
        ln_threshold: None,
        decides_in_minutes: None,
        failed_at_minute: None,
        verdict_since_minute: None,
    }
}

fn sample_alerts() -> Vec<(String, RolloutAlert)> {
    let holding = |gates: &[&str]| {
        let findings = gates.iter().map(|gate| sample_finding(gate, None, None));
        RolloutAlert::Holding(findings.collect())
    };
    let mut rows = vec![
        ("approval, decided".to_owned(), RolloutAlert::ApprovalRequired(false)),
        ("approval, undecided".to_owned(), RolloutAlert::ApprovalRequired(true)),
        ("holding without a gate".to_owned(), holding(&[])),
        ("holding for one gate".to_owned(), holding(&["regex above 2 %"])),
        ("holding for seven gates".to_owned(), holding(&["a", "b", "c", "d", "e", "f", "g"])),
        ("no data".to_owned(), RolloutAlert::NoData),
        ("stable outside limits".to_owned(), RolloutAlert::StableOutsideLimits),
    ];
    rows.extend(sample_commands().map(|command| {
        (format!("refused {}", command.name()), RolloutAlert::CommandRefused(command))
    }));
    rows.extend(
        sample_causes().into_iter().enumerate().map(|(index, cause)| {
            (format!("rolled back {index}"), RolloutAlert::RolledBack(cause))
        }),
    );
    rows.extend(
        sample_blocks()
            .into_iter()
            .map(|(case, blocked_by)| (case, RolloutAlert::AdvanceBlocked(blocked_by))),
    );
    rows
}

fn sample_blocks() -> Vec<(String, AdvanceBlocked)> {
    let webhook =
        |verdict| AdvanceBlocked::Webhook(WebhookResponse { name: "on-call".to_owned(), verdict });
    [
        AdvanceBlocked::AnalysisNotReady,
        AdvanceBlocked::ModelUnknown,
        webhook(WebhookVerdict::Halt),
        webhook(WebhookVerdict::Retry),
        AdvanceBlocked::ValidationFailed,
        AdvanceBlocked::ValidationOfOtherModel {
            checked: "0123456789abcdef".repeat(4),
            deployed: "short".to_owned(),
        },
        AdvanceBlocked::ValidationMissing,
        AdvanceBlocked::ValidationStale { hours: 25 },
    ]
    .into_iter()
    .enumerate()
    .map(|(index, blocked_by)| (format!("blocked {index}"), blocked_by))
    .collect()
}
