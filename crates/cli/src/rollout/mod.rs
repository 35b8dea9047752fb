//! `jeffrey rollout`: shows a rollout at its gateway and sends commands to it.
//!
//! A command goes to the gateway with an actor and a reason, which the gateway records in the
//! history; the gateway accepts or refuses it. `replay` needs no gateway: it runs an exported
//! history again.

mod client;

mod explain;

mod show;

use std::fs;
use std::io::{self, IsTerminal, Read, Write};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

pub(super) use self::client::{ADMIN_TOKEN_VARIABLE, GatewayClient};
pub(super) use self::show::ReleaseStatus;
use super::duration::parse_duration;
use super::language::{LanguageFlag, SentenceLanguage};
use super::progress::monotonic_now;
use super::{CliError, ExitStatus};
use jeffrey_edge::catalogue::render::Catalogue;
use jeffrey_edge::rollout::effect::{RolloutAction, RolloutAlert};
use jeffrey_edge::rollout::history::HistoryEntry;
use jeffrey_edge::rollout::replay::replay;

/// Show and control a rollout
#[derive(clap::Args)]
#[command(
    after_help = "Authenticates with JEFFREY_ADMIN_TOKEN; JEFFREY_VIEWER_TOKEN is enough for read-only commands.\n\
                  Exit codes of `status` and `watch`: 0 success; 1 waiting, paused, holding or warning; 2 rolled \
                  back, aborted or killed. Other commands: 1 refused or failed, 2 usage or connection error.\n\n\
                  Examples:\n  jeffrey rollout start --plan rollout.toml\n  jeffrey rollout watch\n  \
                  jeffrey rollout explain --language fr\n  \
                  jeffrey rollout rollback --reason \"support says so\"\n  \
                  jeffrey rollout history --json > history.ndjson && jeffrey rollout replay history.ndjson"
)]
pub(super) struct RolloutArguments {
    /// Base URL of the gateway admin API
    #[arg(long, global = true, value_name = "URL", env = "JEFFREY_GATEWAY_URL")]
    #[arg(default_value = "http://127.0.0.1:8787/_jeffrey")]
    gateway: String,
    #[command(flatten)]
    language: LanguageFlag,
    #[command(subcommand)]
    subcommand: RolloutSubcommand,
}

#[derive(clap::Subcommand)]
enum RolloutSubcommand {
    /// Start the rollout at the first stage of the plan
    Start(StartArguments),
    /// Apply a plan without starting a rollout
    ApplyPlan(ApplyPlanArguments),
    /// Show the rollout: stage, both cohorts, all gates
    Status {
        /// Print the full status as one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Show the status continuously until the release is promoted, rolled back or aborted
    Watch {
        /// Refresh interval in seconds
        #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=3600))]
        interval: u64,
        /// Give up after this long (90s, 30m, 2h), print what is pending, exit 1
        #[arg(long, value_name = "TIME", value_parser = parse_duration)]
        timeout: Option<Duration>,
    },
    /// Let a release that awaits approval go to the next stage now
    Approve(ActorArguments),
    /// Pause at the current stage; traffic and gates continue
    Pause(ReasonArguments),
    /// Resume after a pause, or restart after a rollback or abort
    Resume(ResumeArguments),
    /// Go to the next stage now, without waiting for minimum duration, samples or gates
    Advance(ReasonArguments),
    /// Roll back: send all traffic to stable
    Rollback(ReasonArguments),
    /// Abort the rollout in any phase: end it and send all traffic to stable
    Abort(ReasonArguments),
    /// Show past commands, plans, hard failures and decisions
    History {
        /// Show only entries after this id
        #[arg(long, value_name = "ID", default_value_t = 0)]
        since: u64,
        /// Print raw entries, one JSON object per line (input for `replay`)
        #[arg(long)]
        json: bool,
    },
    /// Explain one history entry [default: the last decision]
    Explain {
        /// Entry id, as shown by `history`
        id: Option<u64>,
    },
    /// Re-run all decisions of an exported history and fail on any difference
    Replay {
        /// Output of `history --json`, or `-` for standard input
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Hides the flag that all other subcommands have: a replay needs no gateway
        #[arg(id = "gateway", long, hide = true)]
        _gateway: Option<String>,
        /// Hides the flag that all other subcommands have: a replay prints no sentence
        #[arg(id = "language", long, hide = true)]
        _language: Option<SentenceLanguage>,
    },
    /// Send a test notification to every alert webhook
    TestAlert,
}

#[derive(clap::Args)]
struct ActorArguments {
    /// Your name, recorded in the history
    #[arg(long, value_name = "NAME", env = "USER", default_value = "")]
    actor: String,
}

#[derive(clap::Args)]
struct ReasonArguments {
    /// Reason, recorded in the history
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    actor: ActorArguments,
}

#[derive(clap::Args)]
struct StartArguments {
    /// Plan file [default: the active plan, else the built-in one]
    #[arg(long, value_name = "FILE")]
    plan: Option<PathBuf>,
    #[command(flatten)]
    actor: ActorArguments,
}

#[derive(clap::Args)]
struct ResumeArguments {
    /// Reason, recorded in the history
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    start: StartArguments,
}

#[derive(clap::Args)]
struct ApplyPlanArguments {
    /// Path of the plan file (TOML)
    #[arg(value_name = "FILE")]
    plan: PathBuf,
    #[command(flatten)]
    actor: ActorArguments,
}

pub(super) fn run(arguments: &RolloutArguments) -> Result<ExitStatus, CliError> {
    if let RolloutSubcommand::Replay { file, .. } = &arguments.subcommand {
        return replay_history(file);
    }
    let gateway = GatewayClient::from_environment(&arguments.gateway)?;
    let catalogue = arguments.language.catalogue();
    let command_json =
        |command: &str, actor: &ActorArguments| json!({"command": command, "actor": actor.actor});
    let command_with_reason = |command: &str, flags: &ReasonArguments| json!({"command": command, "actor": flags.actor.actor, "reason": flags.reason});
    let command = match &arguments.subcommand {
        RolloutSubcommand::Start(StartArguments { plan, actor }) => {
            attach_plan(command_json("start", actor), plan.as_ref())?
        }
        RolloutSubcommand::ApplyPlan(ApplyPlanArguments { plan, actor }) => {
            attach_plan(command_json("apply_plan", actor), Some(plan))?
        }
        RolloutSubcommand::Approve(actor) => command_json("approve", actor),
        RolloutSubcommand::Pause(flags) => command_with_reason("pause", flags),
        RolloutSubcommand::Advance(flags) => command_with_reason("advance", flags),
        RolloutSubcommand::Rollback(flags) => command_with_reason("rollback", flags),
        RolloutSubcommand::Abort(flags) => command_with_reason("abort", flags),
        RolloutSubcommand::Resume(ResumeArguments {
            reason,
            start: StartArguments { plan, actor },
        }) => {
            let with_reason = json!({"command": "resume", "actor": actor.actor, "reason": reason});
            attach_plan(with_reason, plan.as_ref())?
        }
        RolloutSubcommand::Status { json } => return print_status(&gateway, catalogue, *json),
        RolloutSubcommand::Watch { interval, timeout } => {
            return watch_status(&gateway, catalogue, Duration::from_secs(*interval), *timeout);
        }
        RolloutSubcommand::History { since, json } => {
            return print_history(&gateway, catalogue, *since, *json);
        }
        RolloutSubcommand::Explain { id } => return explain_entry(&gateway, catalogue, *id),
        RolloutSubcommand::TestAlert => return send_test_alert(&gateway),
        RolloutSubcommand::Replay { .. } => return Ok(ExitStatus::Success),
    };
    let command = attach_version(command, &gateway)?;
    let status = match gateway.send_command(&command)? {
        Ok(status) => status,
        Err(refusal) => {
            super::print_to_stderr(format_args!("{refusal}"));
            return Ok(ExitStatus::Negative);
        }
    };
    writeln!(io::stdout(), "{}", ReleaseStatus::from_json(status)?.summary_line(catalogue))?;
    Ok(ExitStatus::Success)
}

fn attach_plan(mut command: Value, plan: Option<&PathBuf>) -> Result<Value, CliError> {
    if let Some(path) = plan {
        let text = fs::read_to_string(path).map_err(|error| CliError::read_failed(path, &error))?;
        command["plan"] = text.into();
    }
    Ok(command)
}

/// Adds the current version of the release to a command that may give the canary traffic: if the
/// command arrives late, after a rollback for example, the gateway refuses it. A command that takes
/// traffic away holds for any version.
fn attach_version(mut command: Value, gateway: &GatewayClient) -> Result<Value, CliError> {
    let increases = ["start", "approve", "resume", "advance"];
    if increases.iter().any(|name| command["command"] == *name) {
        command["version"] = gateway.fetch_status()?["version"].take();
    }
    Ok(command)
}

fn print_status(
    gateway: &GatewayClient,
    catalogue: Catalogue,
    json: bool,
) -> Result<ExitStatus, CliError> {
    let status_json = gateway.fetch_status()?;
    if json {
        super::print_json(&status_json)?;
    }
    let status = ReleaseStatus::from_json(status_json)?;
    if !json {
        write!(io::stdout(), "{}", status.to_text(catalogue))?;
    }
    Ok(status.exit_status())
}

/// Shows the status until the rollout ends or `timeout` passes: on a terminal in place, elsewhere
/// as one line per change.
fn watch_status(
    gateway: &GatewayClient,
    catalogue: Catalogue,
    interval: Duration,
    timeout: Option<Duration>,
) -> Result<ExitStatus, CliError> {
    let started = monotonic_now();
    let mut output = io::stdout();
    let is_terminal = output.is_terminal();
    let mut last_line = String::new();
    loop {
        let status = ReleaseStatus::from_json(gateway.fetch_status()?)?;
        if is_terminal {
            // Cursor home, the status, and everything below it from the last frame cleared.
            let events = gateway.fetch_history(status.seq().saturating_sub(40))?;
            let entries = explain::format_last_entries(&events, catalogue, 6);
            let frame = format!("{}\n{entries}", status.to_text(catalogue));
            let lines = frame.lines().map(|line| format!("{line}\x1b[K\r\n")).collect::<String>();
            write!(output, "\x1b[H{lines}\x1b[J")?;
        } else {
            let line = status.summary_line(catalogue);
            if line != last_line {
                writeln!(output, "{line}")?;
                last_line = line;
            }
        }
        output.flush()?;
        if status.has_ended() {
            return Ok(status.exit_status());
        }
        let remaining = timeout.map(|timeout| timeout.saturating_sub(started.elapsed()));
        if remaining.is_some_and(|remaining| remaining.is_zero()) {
            write!(output, "{}", status.to_text(catalogue))?;
            let phase = status.rollout.as_ref().map_or("idle", |rollout| rollout.phase.as_str());
            super::print_to_stderr(format_args!("timed out; rollout is still {phase}"));
            return Ok(status.exit_status().max(ExitStatus::Negative));
        }
        thread::sleep(remaining.map_or(interval, |remaining| interval.min(remaining)));
    }
}

fn print_history(
    gateway: &GatewayClient,
    catalogue: Catalogue,
    since: u64,
    json: bool,
) -> Result<ExitStatus, CliError> {
    let mut output = io::stdout().lock();
    let mut table = explain::empty_history_table();
    gateway.visit_history(since, |entry, line| {
        if json {
            writeln!(output, "{line}")?;
        } else {
            explain::push_entry(&mut table, &entry, catalogue);
        }
        Ok(ControlFlow::Continue(()))
    })?;
    if !json {
        write!(output, "{table}")?;
    }
    Ok(ExitStatus::Success)
}

fn explain_entry(
    gateway: &GatewayClient,
    catalogue: Catalogue,
    id: Option<u64>,
) -> Result<ExitStatus, CliError> {
    let mut selected: Option<HistoryEntry> = None;
    gateway.visit_history(id.map_or(0, |id| id.saturating_sub(1)), |entry, _| {
        match id {
            // The first entry after `id - 1`.
            Some(id) => {
                selected = Some(entry).filter(|entry| entry.seq == id);
                return Ok(ControlFlow::Break(()));
            }
            None if entry.actions.iter().any(is_decision) => selected = Some(entry),
            None => {}
        }
        Ok(ControlFlow::Continue(()))
    })?;
    match selected {
        Some(entry) => {
            write!(io::stdout(), "{}", explain::format_entry(&entry, catalogue))?;
            Ok(ExitStatus::Success)
        }
        None => {
            let message = match id {
                Some(_) => "no history entry with this id",
                None => "no decision in the history",
            };
            super::print_to_stderr(format_args!("{message}"));
            Ok(ExitStatus::Negative)
        }
    }
}

/// Returns whether an action follows from a decision, rather than from a refused command.
const fn is_decision(action: &RolloutAction) -> bool {
    !matches!(action, RolloutAction::Alert(RolloutAlert::CommandRefused(_)))
}

fn replay_history(file: &PathBuf) -> Result<ExitStatus, CliError> {
    let mut text = String::new();
    if file.as_os_str() == "-" {
        io::stdin().read_to_string(&mut text)?;
    } else {
        text = fs::read_to_string(file).map_err(|error| CliError::read_failed(file, &error))?;
    }
    match replay(text.lines()) {
        Ok(replayed) => {
            let (entries, decisions) = (replayed.entries, replayed.decisions);
            writeln!(io::stdout(), "{entries} entries, {decisions} decisions replayed: identical")?;
            Ok(ExitStatus::Success)
        }
        Err(mismatch) => {
            super::print_to_stderr(format_args!("{mismatch}"));
            Ok(ExitStatus::Negative)
        }
    }
}

fn send_test_alert(gateway: &GatewayClient) -> Result<ExitStatus, CliError> {
    let deliveries = gateway.send_test_alert()?;
    let mut output = io::stdout().lock();
    if deliveries.is_empty() {
        super::print_to_stderr(format_args!(
            "no alert webhooks configured (ALERT_WEBHOOKS is not set)"
        ));
        return Ok(ExitStatus::Negative);
    }
    for delivery in &deliveries {
        let status_text =
            delivery.status.map_or("no response".to_owned(), |status| status.to_string());
        let outcome = if delivery.delivered { "delivered" } else { "not delivered" };
        writeln!(output, "{}: {outcome} ({status_text})", delivery.name)?;
    }
    Ok(if deliveries.iter().all(|delivery| delivery.delivered) {
        ExitStatus::Success
    } else {
        ExitStatus::Negative
    })
}
