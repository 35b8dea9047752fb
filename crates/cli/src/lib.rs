//! The command line: arguments, files, terminal and exit codes around the core.
//!
//! One file a subcommand. Standard output carries answers, standard error everything else; neither
//! carries the text that was classified. Exit codes: 0 fine; 1 the command's own negative answer, or
//! some rows could not be used; 2 a usage or file error. A reader that closes the pipe ends the
//! command quietly.

mod analyze;

mod bucket;

mod classify;

mod completion;

mod duration;

mod eval;

mod export;

mod lines;

mod mask;

mod model;

mod plan;

mod plot;

mod progress;

mod report;

mod rollout;

mod rows;

mod simulate;

mod source;

mod table;

mod token;

mod traffic;

mod validate;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::LazyLock;
use std::{fmt, fs};

use clap::{Args, Parser, Subcommand};
use serde::Serialize;

use self::traffic::TargetError;
use jeffrey_classifier::{Classifier, LoadError, Manifest, ModelFiles, SettingError, TieBreak};
use jeffrey_edge::rollout::key::KeyError;
use jeffrey_evaluation::EvaluationError;
use jeffrey_shipped::COMMIT;

/// Emotions in French and English text: joy, sadness, anger, fear, surprise, disgust, neutral,
/// frustration.
#[derive(Parser)]
#[command(
    name = "jeffrey",
    version = env!("CARGO_PKG_VERSION"),
    long_version = VERSION.as_str(),
    after_help = "Exit codes: 0 fine; 1 the command's own negative answer, or some rows could not \
                  be used; 2 usage or file error.\n\n\
                  Example:\n  jeffrey classify \"Je suis furieux, c’est inadmissible !\""
)]
struct Cli {
    #[command(flatten)]
    settings: Settings,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Analyze(analyze::Arguments),
    Bucket(bucket::Arguments),
    Classify(classify::Arguments),
    Completion(completion::Arguments),
    Eval(eval::Arguments),
    Export(export::Arguments),
    Mask(mask::Arguments),
    Model(model::Arguments),
    Plan(plan::Arguments),
    Report(report::Arguments),
    Rollout(rollout::Arguments),
    Simulate(simulate::Arguments),
    Token(token::Arguments),
    Traffic(traffic::Arguments),
    Validate(validate::Arguments),
}

/// Which model answers, and how.
///
/// The tie-break's settings stay text up to [`TieBreak::parse`], so that a flag, the environment and
/// a worker variable are refused with the same words.
#[derive(Args)]
struct Settings {
    /// Folder of a model (manifest.json, config.json, tokenizer.json, head.json, prototypes.json,
    /// onnx/model_quantized.onnx) instead of the embedded one
    #[arg(long, global = true, value_name = "DIR", help_heading = "Model")]
    model: Option<PathBuf>,
    /// Whether explicit anger wins a near tie with frustration: true or false [default: true]
    #[arg(long, global = true, value_name = "BOOL", env = TieBreak::ENABLED)]
    #[arg(help_heading = "Tie-break", allow_hyphen_values = true)]
    tiebreak_enabled: Option<String>,
    /// Gap between the two below which the rule may apply, 0 to 1 [default: 0.05]
    #[arg(long, global = true, value_name = "GAP", env = TieBreak::DELTA)]
    #[arg(help_heading = "Tie-break", allow_hyphen_values = true)]
    tiebreak_delta: Option<String>,
    /// The same when one of the two is in the top 2, from the gap above to 1 [default: 0.15]
    #[arg(long, global = true, value_name = "GAP", env = TieBreak::EXTENDED_DELTA)]
    #[arg(help_heading = "Tie-break", allow_hyphen_values = true)]
    tiebreak_extended_delta: Option<String>,
}

/// The tie-break's settings as they were given, under the names of their variables; `null` is the
/// default.
#[derive(Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
struct Given<'a> {
    jeffrey_tiebreak_enabled: Option<&'a str>,
    jeffrey_tiebreak_delta: Option<&'a str>,
    jeffrey_tiebreak_extended_delta: Option<&'a str>,
}

impl Settings {
    fn tie_break(&self) -> Result<TieBreak, SettingError> {
        TieBreak::parse(
            self.tiebreak_enabled.as_deref(),
            self.tiebreak_delta.as_deref(),
            self.tiebreak_extended_delta.as_deref(),
        )
    }

    fn given(&self) -> Given<'_> {
        Given {
            jeffrey_tiebreak_enabled: self.tiebreak_enabled.as_deref(),
            jeffrey_tiebreak_delta: self.tiebreak_delta.as_deref(),
            jeffrey_tiebreak_extended_delta: self.tiebreak_extended_delta.as_deref(),
        }
    }

    fn classifier(&self) -> Result<Classifier, Stop> {
        let tie_break = self.tie_break()?;
        let Some(dir) = &self.model else {
            return Ok(Classifier::from_bytes(&jeffrey_shipped::files(), tie_break)?);
        };
        let file = |name: &str| {
            let path = dir.join(name);
            fs::read(&path).map_err(|error| Stop::read(&path, &error))
        };
        let manifest = file("manifest.json")?;
        let config = file("config.json")?;
        let tokenizer = file("tokenizer.json")?;
        let encoder = file("onnx/model_quantized.onnx")?;
        let head = file("head.json")?;
        let prototypes = file("prototypes.json")?;
        let files = ModelFiles {
            manifest: &manifest,
            config: &config,
            tokenizer: &tokenizer,
            encoder: &encoder,
            head: &head,
            prototypes: &prototypes,
        };
        Ok(Classifier::from_bytes(&files, tie_break)?)
    }
}

/// How a command ended that could do its work; of two the worse is the greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    /// Nothing to complain of.
    Fine,
    /// The command's own negative answer, or rows that could not be used.
    Negative,
    /// Where a command tells warnings from what is not ready: the latter.
    Worse,
}

impl Outcome {
    /// Negative as soon as one row could not be used.
    fn of_bad_rows(count: usize) -> Self {
        if count == 0 { Self::Fine } else { Self::Negative }
    }
}

/// Why a command could not go on.
#[derive(Debug, thiserror::Error)]
enum Stop {
    /// Nothing can be measured on these rows.
    #[error("{0}")]
    Evaluation(#[from] EvaluationError),
    /// The gate did not answer as it should.
    #[error("the gate: {0}")]
    Gate(String),
    /// A signing key that could be guessed.
    #[error("{name}: {error}")]
    Key {
        /// The variable that holds it.
        name: &'static str,
        /// What is wrong with it.
        error: KeyError,
    },
    /// The model failed its checks.
    #[error("model refused: {0}")]
    Load(#[from] LoadError),
    /// An answer could not be written.
    #[error("cannot write: {}", .0.kind())]
    Output(#[from] io::Error),
    /// A file could not be read.
    #[error("cannot read {name}: {kind}")]
    Read {
        /// The file, or `standard input`.
        name: String,
        /// What the system says.
        kind: io::ErrorKind,
    },
    /// A setting outside its range.
    #[error("{0}")]
    Setting(#[from] SettingError),
    /// An endpoint that no rehearsal can go to.
    #[error("{0}")]
    Target(#[from] TargetError),
    /// Arguments that do not fit together.
    #[error("{0}")]
    Usage(&'static str),
    /// A file could not be written.
    #[error("cannot write {name}: {kind}")]
    Write {
        /// The file.
        name: String,
        /// What the system says.
        kind: io::ErrorKind,
    },
}

impl Stop {
    fn standard_input(error: io::Error) -> Self {
        Self::Read { name: "standard input".into(), kind: error.kind() }
    }

    fn read(path: &Path, error: &io::Error) -> Self {
        Self::Read { name: path.display().to_string(), kind: error.kind() }
    }

    fn write(path: &Path, error: &io::Error) -> Self {
        Self::Write { name: path.display().to_string(), kind: error.kind() }
    }
}

impl From<serde_json::Error> for Stop {
    /// Only writing makes these: what is read is parsed where its line number is known.
    fn from(error: serde_json::Error) -> Self {
        Self::Output(error.into())
    }
}

/// Runs the command that the process's arguments ask for.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(&cli) {
        Ok(Outcome::Fine) => ExitCode::SUCCESS,
        Ok(Outcome::Negative) => ExitCode::from(1),
        Ok(Outcome::Worse) => ExitCode::from(2),
        // Whoever read has seen enough, as in `jeffrey classify - | head -1`.
        Err(Stop::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(stop) => {
            complain(format_args!("error: {stop}"));
            ExitCode::from(2)
        }
    }
}

fn run(cli: &Cli) -> Result<Outcome, Stop> {
    match &cli.command {
        Command::Analyze(arguments) => analyze::run(arguments),
        Command::Bucket(arguments) => bucket::run(arguments),
        Command::Classify(arguments) => classify::run(arguments, &cli.settings),
        Command::Completion(arguments) => completion::run(arguments),
        Command::Eval(arguments) => eval::run(arguments, &cli.settings),
        Command::Export(arguments) => export::run(arguments),
        Command::Mask(arguments) => mask::run(arguments),
        Command::Model(arguments) => model::run(arguments, &cli.settings),
        Command::Plan(arguments) => plan::run(arguments),
        Command::Report(arguments) => report::run(arguments),
        Command::Rollout(arguments) => rollout::run(arguments),
        Command::Simulate(arguments) => simulate::run(arguments),
        Command::Token(arguments) => token::run(arguments),
        Command::Traffic(arguments) => traffic::run(arguments),
        Command::Validate(arguments) => validate::run(arguments, &cli.settings),
    }
}

/// One line on standard error; nobody there to read it is no reason to fail.
fn complain(message: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr(), "{message}");
}

/// A report on standard output: as one JSON object on a line, or for the eye.
fn print_report(report: &(impl Serialize + fmt::Display), json: bool) -> Result<(), Stop> {
    if json {
        return print_json(report);
    }
    let mut output = io::stdout().lock();
    write!(output, "{report}")?;
    Ok(output.flush()?)
}

/// One JSON object on a line of standard output.
fn print_json(value: &impl Serialize) -> Result<(), Stop> {
    let mut output = io::stdout().lock();
    serde_json::to_writer(&mut output, value)?;
    output.write_all(b"\n")?;
    Ok(output.flush()?)
}

/// Which model and build a report speaks of.
#[derive(Serialize)]
struct Identity<'a> {
    id: Option<&'a str>,
    sha256: Option<&'a str>,
}

impl<'a> Identity<'a> {
    fn of(classifier: &'a Classifier) -> Self {
        Self {
            id: classifier.manifest().map(|manifest| manifest.id.as_str()),
            sha256: classifier.sha256(),
        }
    }
}

impl fmt::Display for Identity<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, sha256 {}", self.id.unwrap_or("none"), self.sha256.unwrap_or("none"))
    }
}

/// Crate, commit, and the embedded model's id and sha256, without loading the model.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let files = jeffrey_shipped::files();
    let manifest: Option<Manifest> = serde_json::from_slice(files.manifest).ok();
    format!(
        "{} (jeffrey-edge)\ncommit {COMMIT}\nmodel {}\nsha256 {}",
        env!("CARGO_PKG_VERSION"),
        manifest.as_ref().map_or("unknown", |manifest| manifest.id.as_str()),
        files.sha256(),
    )
});

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_arguments_do_not_contradict_each_other() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_shows_an_example_in_its_help() {
        for command in Cli::command().get_subcommands() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("jeffrey "), "{}", command.get_name());
        }
    }

    #[test]
    fn given_settings_carry_the_names_of_their_variables() {
        let cli = Cli::parse_from(["jeffrey", "model", "--tiebreak-delta", "0.1"]);
        let json = serde_json::to_value(cli.settings.given()).unwrap();
        for name in [TieBreak::ENABLED, TieBreak::DELTA, TieBreak::EXTENDED_DELTA] {
            assert!(json.get(name).is_some(), "{name}");
        }
        assert_eq!(json[TieBreak::DELTA], "0.1");
    }
}
