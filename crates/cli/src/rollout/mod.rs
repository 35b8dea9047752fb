//! `jeffrey rollout`: where a release stands at a gate, and a person's words to it.

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

pub(super) use self::client::GatewayClient;
pub(super) use self::show::ReleaseStatus as Standing;
use self::show::ReleaseStatus;
use super::duration::parse_duration;
use super::progress::monotonic_now;
use super::{CliError, ExitStatus};
use jeffrey_edge::rollout::controller::{HistoryEntry, replay};
use jeffrey_edge::rollout::progress::{RolloutAction, RolloutAlert};

/// Where a release stands at a gate, and a person's words to it
#[derive(clap::Args)]
#[command(
    after_help = "The gate is asked with JEFFREY_ADMIN_TOKEN, or with JEFFREY_VIEWER_TOKEN where that is enough.\n\
                  Exit codes of `status` and `watch`: 0 fine; 1 it waits, holds or warns; 2 it was taken back or \
                  ended. Of the others: 1 what was asked is not done, 2 usage or connection.\n\n\
                  Examples:\n  jeffrey rollout start --plan rollout.toml\n  jeffrey rollout watch\n  \
                  jeffrey rollout rollback --reason \"support says so\"\n  \
                  jeffrey rollout history --json > history.ndjson && jeffrey rollout replay history.ndjson"
)]
pub(super) struct RolloutArguments {
    /// The gate, up to its own prefix
    #[arg(long, global = true, value_name = "URL", env = "JEFFREY_GATE")]
    #[arg(default_value = "http://127.0.0.1:8787/_jeffrey")]
    gate: String,
    #[command(subcommand)]
    subcommand: RolloutSubcommand,
}

#[derive(clap::Subcommand)]
enum RolloutSubcommand {
    /// Begin: the first stage of the plan
    Start(StartArguments),
    /// Put a plan into force and ask for nothing else
    Plan(ApplyPlanArguments),
    /// Where it stands, both cohorts and each gate
    Status {
        /// The whole view as one JSON object
        #[arg(long)]
        json: bool,
    },
    /// The same, again and again, until it is through or was taken back
    Watch {
        /// How often, in seconds
        #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=3600))]
        every: u64,
        /// How long at most, as 90s, 30m or 2h: what it waits for is said then, and the exit code is 1 where it were 0
        #[arg(long, value_name = "TIME", value_parser = parse_duration)]
        within: Option<Duration>,
    },
    /// Agree to the next stage
    Approve(ActorArguments),
    /// Stop where it is; its traffic and its gates go on
    Pause(ReasonArguments),
    /// Go on after a pause; begin again after it was taken back or ended
    Resume(ResumeArguments),
    /// Go to the next stage before its time
    Advance(ReasonArguments),
    /// Take it back
    Rollback(ReasonArguments),
    /// End it
    Abort(ReasonArguments),
    /// What happened, and what decided
    History {
        /// After the entry of this number
        #[arg(long, value_name = "ID", default_value_t = 0)]
        since: u64,
        /// Every entry as it is kept, one a line: for `replay`
        #[arg(long)]
        json: bool,
    },
    /// One entry in two sentences and a table; the last decision without a number
    Explain {
        /// The entry's number, as `history` shows it
        id: Option<u64>,
    },
    /// Decide everything again that an exported history records, and compare to the last bit
    Replay {
        /// What `history --json` wrote; - is standard input
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Send a test to everybody who is told
    TestAlert,
}

#[derive(clap::Args)]
struct ActorArguments {
    /// Who asks, for the history
    #[arg(long, value_name = "NAME", env = "USER", default_value = "")]
    by: String,
}

#[derive(clap::Args)]
struct ReasonArguments {
    /// Why, for the history
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    actor: ActorArguments,
}

#[derive(clap::Args)]
struct StartArguments {
    /// The plan's file; without it the one in force, or the shipped one
    #[arg(long, value_name = "FILE")]
    plan: Option<PathBuf>,
    #[command(flatten)]
    actor: ActorArguments,
}

#[derive(clap::Args)]
struct ResumeArguments {
    /// Why, for the history
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    start: StartArguments,
}

#[derive(clap::Args)]
struct ApplyPlanArguments {
    /// The plan's file
    #[arg(value_name = "FILE")]
    plan: PathBuf,
    #[command(flatten)]
    actor: ActorArguments,
}

pub(super) fn run(arguments: &RolloutArguments) -> Result<ExitStatus, CliError> {
    if let RolloutSubcommand::Replay { file } = &arguments.subcommand {
        return replay_history(file);
    }
    let gate = GatewayClient::new(&arguments.gate)?;
    let command_json =
        |command: &str, actor: &ActorArguments| json!({"command": command, "by": actor.by});
    let command_with_reason = |command: &str, flags: &ReasonArguments| json!({"command": command, "by": flags.actor.by, "reason": flags.reason});
    let command = match &arguments.subcommand {
        RolloutSubcommand::Start(StartArguments { plan, actor }) => {
            attach_plan(command_json("start", actor), plan.as_ref())?
        }
        RolloutSubcommand::Plan(ApplyPlanArguments { plan, actor }) => {
            attach_plan(command_json("plan", actor), Some(plan))?
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
            let with_reason = json!({"command": "resume", "by": actor.by, "reason": reason});
            attach_plan(with_reason, plan.as_ref())?
        }
        RolloutSubcommand::Status { json } => return print_status(&gate, *json),
        RolloutSubcommand::Watch { every, within } => {
            return watch_status(&gate, Duration::from_secs(*every), *within);
        }
        RolloutSubcommand::History { since, json } => return print_history(&gate, *since, *json),
        RolloutSubcommand::Explain { id } => return explain_entry(&gate, *id),
        RolloutSubcommand::TestAlert => return send_test_alert(&gate),
        RolloutSubcommand::Replay { .. } => return Ok(ExitStatus::Success),
    };
    let status = match gate.send_command(&command)? {
        Ok(status) => status,
        Err(refusal) => {
            super::print_to_stderr(format_args!("{refusal}"));
            return Ok(ExitStatus::Negative);
        }
    };
    writeln!(io::stdout(), "{}", ReleaseStatus::from_json(status)?.summary_line())?;
    Ok(ExitStatus::Success)
}

fn attach_plan(mut command: Value, plan: Option<&PathBuf>) -> Result<Value, CliError> {
    if let Some(path) = plan {
        let text = fs::read_to_string(path).map_err(|error| CliError::read_failed(path, &error))?;
        command["plan"] = text.into();
    }
    Ok(command)
}

fn print_status(gate: &GatewayClient, json: bool) -> Result<ExitStatus, CliError> {
    let status_json = gate.fetch_status()?;
    if json {
        super::print_json(&status_json)?;
    }
    let status = ReleaseStatus::from_json(status_json)?;
    if !json {
        write!(io::stdout(), "{status}")?;
    }
    Ok(status.exit_status())
}

/// On a terminal the view in place; elsewhere a line whenever something changed.
fn watch_status(
    gate: &GatewayClient,
    interval: Duration,
    timeout: Option<Duration>,
) -> Result<ExitStatus, CliError> {
    let started = monotonic_now();
    let mut output = io::stdout();
    let is_terminal = output.is_terminal();
    let mut last_line = String::new();
    loop {
        let status = ReleaseStatus::from_json(gate.fetch_status()?)?;
        if is_terminal {
            // Home, the view, and whatever the last one had below it gone.
            let events = gate.fetch_history(status.seq().saturating_sub(40))?;
            let frame = format!("{status}\n{}", explain::format_last_entries(&events, 6));
            let lines = frame.lines().map(|line| format!("{line}\x1b[K\r\n")).collect::<String>();
            write!(output, "\x1b[H{lines}\x1b[J")?;
        } else {
            let line = status.summary_line();
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
            write!(output, "{status}")?;
            super::print_to_stderr(format_args!("it is not through within the time of --within"));
            return Ok(status.exit_status().max(ExitStatus::Negative));
        }
        thread::sleep(remaining.map_or(interval, |remaining| interval.min(remaining)));
    }
}

fn print_history(gate: &GatewayClient, since: u64, json: bool) -> Result<ExitStatus, CliError> {
    let mut output = io::stdout().lock();
    let mut table = explain::empty_history_table();
    gate.visit_history(since, |entry, line| {
        if json {
            writeln!(output, "{line}")?;
        } else {
            explain::push_entry(&mut table, &entry);
        }
        Ok(ControlFlow::Continue(()))
    })?;
    if !json {
        write!(output, "{table}")?;
    }
    Ok(ExitStatus::Success)
}

fn explain_entry(gate: &GatewayClient, id: Option<u64>) -> Result<ExitStatus, CliError> {
    let mut selected: Option<HistoryEntry> = None;
    gate.visit_history(id.map_or(0, |id| id.saturating_sub(1)), |entry, _| {
        match id {
            // The first after the one before it.
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
            write!(io::stdout(), "{}", explain::format_entry(&entry))?;
            Ok(ExitStatus::Success)
        }
        None => {
            super::print_to_stderr(format_args!("nothing of that number is in the history"));
            Ok(ExitStatus::Negative)
        }
    }
}

/// Whether something was decided, and not only refused.
const fn is_decision(action: &RolloutAction) -> bool {
    !matches!(action, RolloutAction::Alert(RolloutAlert::Refused(_)))
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
            writeln!(
                io::stdout(),
                "{entries} entries, {decisions} decisions: the same again, to the last bit"
            )?;
            Ok(ExitStatus::Success)
        }
        Err(mismatch) => {
            super::print_to_stderr(format_args!("{mismatch}"));
            Ok(ExitStatus::Negative)
        }
    }
}

fn send_test_alert(gate: &GatewayClient) -> Result<ExitStatus, CliError> {
    let deliveries = gate.send_test_alert()?;
    let mut output = io::stdout().lock();
    if deliveries.is_empty() {
        super::print_to_stderr(format_args!("nobody is told: the gate has no ALERTS"));
        return Ok(ExitStatus::Negative);
    }
    for delivery in &deliveries {
        let status_text =
            delivery.status.map_or("no answer".to_owned(), |status| status.to_string());
        let outcome = if delivery.delivered { "has it" } else { "has it not" };
        writeln!(output, "{}: {outcome} ({status_text})", delivery.name)?;
    }
    Ok(if deliveries.iter().all(|delivery| delivery.delivered) {
        ExitStatus::Success
    } else {
        ExitStatus::Negative
    })
}
