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

pub(super) use self::client::Gate;
pub(super) use self::show::Status as Standing;
use self::show::Status;
use super::duration::duration;
use super::progress::clock;
use super::{Outcome, Stop};
use jeffrey_edge::rollout::control::{Entry, replay};
use jeffrey_edge::rollout::state::{Action, Alert};

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
pub(super) struct Arguments {
    /// The gate, up to its own prefix
    #[arg(long, global = true, value_name = "URL", env = "JEFFREY_GATE")]
    #[arg(default_value = "http://127.0.0.1:8787/_jeffrey")]
    gate: String,
    #[command(subcommand)]
    word: Word,
}

#[derive(clap::Subcommand)]
enum Word {
    /// Begin: the first stage of the plan
    Start(Planned),
    /// Put a plan into force and ask for nothing else
    Plan(Text),
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
        #[arg(long, value_name = "TIME", value_parser = duration)]
        within: Option<Duration>,
    },
    /// Agree to the next stage
    Approve(Said),
    /// Stop where it is; its traffic and its gates go on
    Pause(Reason),
    /// Go on after a pause; begin again after it was taken back or ended
    Resume(Resumed),
    /// Go to the next stage before its time
    Advance(Reason),
    /// Take it back
    Rollback(Reason),
    /// End it
    Abort(Reason),
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
struct Said {
    /// Who asks, for the history
    #[arg(long, value_name = "NAME", env = "USER", default_value = "")]
    by: String,
}

#[derive(clap::Args)]
struct Reason {
    /// Why, for the history
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    said: Said,
}

#[derive(clap::Args)]
struct Planned {
    /// The plan's file; without it the one in force, or the shipped one
    #[arg(long, value_name = "FILE")]
    plan: Option<PathBuf>,
    #[command(flatten)]
    said: Said,
}

#[derive(clap::Args)]
struct Resumed {
    /// Why, for the history
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    planned: Planned,
}

#[derive(clap::Args)]
struct Text {
    /// The plan's file
    #[arg(value_name = "FILE")]
    plan: PathBuf,
    #[command(flatten)]
    said: Said,
}

pub(super) fn run(arguments: &Arguments) -> Result<Outcome, Stop> {
    if let Word::Replay { file } = &arguments.word {
        return again(file);
    }
    let gate = Gate::new(&arguments.gate)?;
    let plain = |command: &str, said: &Said| json!({"command": command, "by": said.by});
    let reasoned = |command: &str, of: &Reason| json!({"command": command, "by": of.said.by, "reason": of.reason});
    let wish = match &arguments.word {
        Word::Start(Planned { plan, said }) => with_plan(plain("start", said), plan.as_ref())?,
        Word::Plan(Text { plan, said }) => with_plan(plain("plan", said), Some(plan))?,
        Word::Approve(said) => plain("approve", said),
        Word::Pause(of) => reasoned("pause", of),
        Word::Advance(of) => reasoned("advance", of),
        Word::Rollback(of) => reasoned("rollback", of),
        Word::Abort(of) => reasoned("abort", of),
        Word::Resume(Resumed { reason, planned: Planned { plan, said } }) => {
            let wish = json!({"command": "resume", "by": said.by, "reason": reason});
            with_plan(wish, plan.as_ref())?
        }
        Word::Status { json } => return status(&gate, *json),
        Word::Watch { every, within } => {
            return watch(&gate, Duration::from_secs(*every), *within);
        }
        Word::History { since, json } => return history(&gate, *since, *json),
        Word::Explain { id } => return explained(&gate, *id),
        Word::TestAlert => return test_alert(&gate),
        Word::Replay { .. } => return Ok(Outcome::Fine),
    };
    let standing = match gate.wish(&wish)? {
        Ok(standing) => standing,
        Err(why) => {
            super::complain(format_args!("{why}"));
            return Ok(Outcome::Negative);
        }
    };
    writeln!(io::stdout(), "{}", Status::of(standing)?.line())?;
    Ok(Outcome::Fine)
}

fn with_plan(mut wish: Value, plan: Option<&PathBuf>) -> Result<Value, Stop> {
    if let Some(path) = plan {
        let text = fs::read_to_string(path).map_err(|error| Stop::read(path, &error))?;
        wish["plan"] = text.into();
    }
    Ok(wish)
}

fn status(gate: &Gate, json: bool) -> Result<Outcome, Stop> {
    let standing = gate.standing()?;
    if json {
        super::print_json(&standing)?;
    }
    let status = Status::of(standing)?;
    if !json {
        write!(io::stdout(), "{status}")?;
    }
    Ok(status.outcome())
}

/// On a terminal the view in place; elsewhere a line whenever something changed.
fn watch(gate: &Gate, every: Duration, within: Option<Duration>) -> Result<Outcome, Stop> {
    let began = clock();
    let mut output = io::stdout();
    let screen = output.is_terminal();
    let mut last = String::new();
    loop {
        let status = Status::of(gate.standing()?)?;
        if screen {
            // Home, the view, and whatever the last one had below it gone.
            let events = gate.entries(status.seq().saturating_sub(40))?;
            let view = format!("{status}\n{}", explain::last(&events, 6));
            let lines = view.lines().map(|line| format!("{line}\x1b[K\r\n")).collect::<String>();
            write!(output, "\x1b[H{lines}\x1b[J")?;
        } else {
            let line = status.line();
            if line != last {
                writeln!(output, "{line}")?;
                last = line;
            }
        }
        output.flush()?;
        if status.has_ended() {
            return Ok(status.outcome());
        }
        let left = within.map(|within| within.saturating_sub(began.elapsed()));
        if left.is_some_and(|left| left.is_zero()) {
            write!(output, "{status}")?;
            super::complain(format_args!("it is not through within the time of --within"));
            return Ok(status.outcome().max(Outcome::Negative));
        }
        thread::sleep(left.map_or(every, |left| every.min(left)));
    }
}

fn history(gate: &Gate, since: u64, json: bool) -> Result<Outcome, Stop> {
    let mut output = io::stdout().lock();
    let mut table = explain::table();
    gate.history(since, |entry, line| {
        if json {
            writeln!(output, "{line}")?;
        } else {
            explain::add(&mut table, &entry);
        }
        Ok(ControlFlow::Continue(()))
    })?;
    if !json {
        write!(output, "{table}")?;
    }
    Ok(Outcome::Fine)
}

fn explained(gate: &Gate, id: Option<u64>) -> Result<Outcome, Stop> {
    let mut found: Option<Entry> = None;
    gate.history(id.map_or(0, |id| id.saturating_sub(1)), |entry, _| {
        match id {
            // The first after the one before it.
            Some(id) => {
                found = Some(entry).filter(|entry| entry.seq == id);
                return Ok(ControlFlow::Break(()));
            }
            None if entry.actions.iter().any(decides) => found = Some(entry),
            None => {}
        }
        Ok(ControlFlow::Continue(()))
    })?;
    match found {
        Some(entry) => {
            write!(io::stdout(), "{}", explain::explained(&entry))?;
            Ok(Outcome::Fine)
        }
        None => {
            super::complain(format_args!("nothing of that number is in the history"));
            Ok(Outcome::Negative)
        }
    }
}

/// Whether something was decided, and not only refused.
const fn decides(action: &Action) -> bool {
    !matches!(action, Action::Alert(Alert::Refused(_)))
}

fn again(file: &PathBuf) -> Result<Outcome, Stop> {
    let mut text = String::new();
    if file.as_os_str() == "-" {
        io::stdin().read_to_string(&mut text)?;
    } else {
        text = fs::read_to_string(file).map_err(|error| Stop::read(file, &error))?;
    }
    match replay(text.lines()) {
        Ok(found) => {
            let (entries, decisions) = (found.entries, found.decisions);
            writeln!(
                io::stdout(),
                "{entries} entries, {decisions} decisions: the same again, to the last bit"
            )?;
            Ok(Outcome::Fine)
        }
        Err(difference) => {
            super::complain(format_args!("{difference}"));
            Ok(Outcome::Negative)
        }
    }
}

fn test_alert(gate: &Gate) -> Result<Outcome, Stop> {
    let told = gate.test_alert()?;
    let mut output = io::stdout().lock();
    if told.is_empty() {
        super::complain(format_args!("nobody is told: the gate has no ALERTS"));
        return Ok(Outcome::Negative);
    }
    for one in &told {
        let said = one.status.map_or("no answer".to_owned(), |status| status.to_string());
        let mark = if one.delivered { "has it" } else { "has it not" };
        writeln!(output, "{}: {mark} ({said})", one.name)?;
    }
    Ok(if told.iter().all(|one| one.delivered) { Outcome::Fine } else { Outcome::Negative })
}
