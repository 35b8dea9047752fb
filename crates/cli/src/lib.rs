//! The command line `jeffrey`: arguments, files, terminal and exit codes around the core.
//!
//! Each subcommand has its own file. Standard output carries results, standard error everything
//! else; neither carries an input text unmasked. Exit codes: 0 success; 1 the check failed or some
//! rows were skipped; 2 usage, file or connection error. `analyze` and `rollout` use 1 for a
//! warning and 2 for a failure. If the reader closes the pipe, the command ends with 0 and without
//! a message.

mod analyze;

mod bucket;

mod classify;

mod completion;

mod duration;

mod eval;

mod export;

mod language;

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

mod loadtest;

mod validate;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::LazyLock;
use std::{fmt, fs};

use clap::{Args, Parser, Subcommand};
use serde::Serialize;

use self::loadtest::LoadTestTargetError;
use jeffrey_classifier::{
    Classifier, ModelFiles, ModelLoadError, ModelManifest, TieBreak, TieBreakSettingError,
};
use jeffrey_edge::rollout::signing_key::SigningKeyError;
use jeffrey_evaluation::EvaluationError;
use jeffrey_shipped::COMMIT;

/// Classify French and English texts by emotion (joy, sadness, anger, fear, surprise, disgust,
/// neutral, frustration) and control the rollout of the classifier.
#[derive(Parser)]
#[command(
    name = "jeffrey",
    version = env!("CARGO_PKG_VERSION"),
    long_version = VERSION.as_str(),
    after_help = "Exit codes: 0 success; 1 the check failed or some rows were skipped; 2 usage or \
                  file error.\n\n\
                  Example:\n  jeffrey classify \"Je suis furieux, c’est inadmissible !\""
)]
struct Cli {
    #[command(subcommand)]
    command: CliCommand,
}

#[derive(Subcommand)]
enum CliCommand {
    Analyze(analyze::AnalyzeArguments),
    Bucket(bucket::BucketArguments),
    Classify(classify::ClassifyArguments),
    Completion(completion::CompletionArguments),
    Eval(eval::EvalArguments),
    Export(export::ExportArguments),
    Mask(mask::MaskArguments),
    Model(model::ModelArguments),
    Plan(plan::PlanArguments),
    Report(report::ReportArguments),
    Rollout(rollout::RolloutArguments),
    Simulate(simulate::SimulateArguments),
    Token(token::TokenArguments),
    Loadtest(loadtest::LoadTestArguments),
    Validate(validate::ValidateArguments),
}

/// Model and tie-break settings of the commands that classify.
///
/// The tie-break settings stay text until [`TieBreak::parse`], so that a flag, an environment
/// variable and a worker variable are refused with the same message.
#[derive(Args)]
struct ClassifierFlags {
    /// Use the model in this folder instead of the embedded one (manifest.json, config.json,
    /// tokenizer.json, head.json, prototypes.json, onnx/model_quantized.onnx)
    #[arg(long, value_name = "DIR", help_heading = "Model")]
    model: Option<PathBuf>,
    /// Prefer anger over frustration in a near tie when the text is explicitly angry: true or false
    /// [default: true]
    #[arg(long, value_name = "BOOL", env = TieBreak::ENABLED_VARIABLE)]
    #[arg(help_heading = "Tie-break", allow_hyphen_values = true)]
    tiebreak_enabled: Option<String>,
    /// Score gap between anger and frustration below which the tie-break applies, 0 to 1 [default:
    /// 0.05]
    #[arg(long, value_name = "GAP", env = TieBreak::DELTA_VARIABLE)]
    #[arg(help_heading = "Tie-break", allow_hyphen_values = true)]
    tiebreak_delta: Option<String>,
    /// Score gap between anger and frustration below which the tie-break applies when one of them
    /// is among the two highest scores, from --tiebreak-delta to 1 [default: 0.15]
    #[arg(long, value_name = "GAP", env = TieBreak::EXTENDED_DELTA_VARIABLE)]
    #[arg(help_heading = "Tie-break", allow_hyphen_values = true)]
    tiebreak_extended_delta: Option<String>,
}

/// Tie-break settings as given by flag or environment, keyed by their variables; `null` means the
/// default.
#[derive(Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
struct TieBreakSettings<'a> {
    jeffrey_tiebreak_enabled: Option<&'a str>,
    jeffrey_tiebreak_delta: Option<&'a str>,
    jeffrey_tiebreak_extended_delta: Option<&'a str>,
}

impl ClassifierFlags {
    fn tie_break(&self) -> Result<TieBreak, TieBreakSettingError> {
        TieBreak::parse(
            self.tiebreak_enabled.as_deref(),
            self.tiebreak_delta.as_deref(),
            self.tiebreak_extended_delta.as_deref(),
        )
    }

    fn tie_break_settings(&self) -> TieBreakSettings<'_> {
        TieBreakSettings {
            jeffrey_tiebreak_enabled: self.tiebreak_enabled.as_deref(),
            jeffrey_tiebreak_delta: self.tiebreak_delta.as_deref(),
            jeffrey_tiebreak_extended_delta: self.tiebreak_extended_delta.as_deref(),
        }
    }

    fn load_classifier(&self) -> Result<Classifier, CliError> {
        let tie_break = self.tie_break()?;
        let Some(dir) = &self.model else {
            return Ok(Classifier::from_bytes(&jeffrey_shipped::model_files(), tie_break)?);
        };
        let read_file = |name: &str| {
            let path = dir.join(name);
            fs::read(&path).map_err(|error| CliError::read_failed(&path, &error))
        };
        let manifest = read_file("manifest.json")?;
        let config = read_file("config.json")?;
        let tokenizer = read_file("tokenizer.json")?;
        let encoder = read_file("onnx/model_quantized.onnx")?;
        let head = read_file("head.json")?;
        let prototypes = read_file("prototypes.json")?;
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

/// Exit status of a command that ran to its end. The worse of two statuses is the greater one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum ExitStatus {
    /// The check passed and no row was skipped; exit code 0.
    Success,
    /// The check failed, or some rows were skipped; exit code 1.
    Negative,
    /// A failure of a command that uses [`Self::Negative`] for warnings; exit code 2.
    Failed,
}

impl ExitStatus {
    /// Returns [`Self::Negative`] if at least one row was skipped.
    fn from_bad_rows(count: usize) -> Self {
        if count == 0 { Self::Success } else { Self::Negative }
    }
}

/// Error that stops a command; the exit code is 2, except after a closed pipe.
#[derive(Debug, thiserror::Error)]
enum CliError {
    /// The labelled rows do not allow an evaluation.
    #[error("{0}")]
    Evaluation(#[from] EvaluationError),
    /// A request to the gateway failed, or its response was not the expected one.
    #[error("gateway: {0}")]
    Gateway(String),
    /// The signing key is too short to be secure.
    #[error("{name}: {error}")]
    Key {
        /// Environment variable that holds the key.
        name: &'static str,
        /// Length of the key and the shortest accepted length.
        error: SigningKeyError,
    },
    /// A file of keys or votes has a malformed line.
    #[error("{name}: line {number} is not one that training/readings.py writes")]
    Keys {
        /// Name of the file without its folder.
        name: &'static str,
        /// Line number, counted from 1.
        number: u64,
    },
    /// The model's files failed a check.
    #[error("invalid model: {0}")]
    Load(#[from] ModelLoadError),
    /// Standard output could not be written.
    #[error("cannot write: {}", .0.kind())]
    Output(#[from] io::Error),
    /// A file, standard input or a URL could not be read.
    #[error("cannot read {name}: {kind}")]
    Read {
        /// Path or URL as given, or `standard input`.
        name: String,
        /// Error kind from the operating system, or one that fits the HTTP status.
        kind: io::ErrorKind,
    },
    /// A tie-break setting is malformed or outside its range.
    #[error("{0}")]
    Setting(#[from] TieBreakSettingError),
    /// A file of keys names a source that no data file holds.
    #[error("the keys name an unknown source")]
    Source,
    /// The endpoint of a load test was refused or cannot be reached.
    #[error("{0}")]
    Target(#[from] LoadTestTargetError),
    /// The data folder lacks too many of the read lines.
    #[error(
        "found {lines}; at least {percent_min} % are needed: is --data the folder from which they \
         were drawn?"
    )]
    TooFewLines {
        /// Found and expected number of lines, and their language.
        lines: String,
        /// Smallest share that must be found, in percent.
        percent_min: usize,
    },
    /// Arguments do not fit together, or an environment variable is missing.
    #[error("{0}")]
    Usage(&'static str),
    /// A file could not be written.
    #[error("cannot write {name}: {kind}")]
    Write {
        /// Path of the file as given.
        name: String,
        /// Error kind from the operating system.
        kind: io::ErrorKind,
    },
}

impl CliError {
    fn stdin_failed(error: io::Error) -> Self {
        Self::Read { name: "standard input".into(), kind: error.kind() }
    }

    fn read_failed(path: &Path, error: &io::Error) -> Self {
        Self::Read { name: path.display().to_string(), kind: error.kind() }
    }

    fn write_failed(path: &Path, error: &io::Error) -> Self {
        Self::Write { name: path.display().to_string(), kind: error.kind() }
    }
}

impl From<serde_json::Error> for CliError {
    /// Converts a failure to write JSON. Input is parsed where its line number is known; a gateway
    /// status or history that cannot be parsed ends here too.
    fn from(error: serde_json::Error) -> Self {
        Self::Output(error.into())
    }
}

/// Runs the command that the process's arguments name, and returns its exit code.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(&cli) {
        Ok(ExitStatus::Success) => ExitCode::SUCCESS,
        Ok(ExitStatus::Negative) => ExitCode::from(1),
        Ok(ExitStatus::Failed) => ExitCode::from(2),
        // The reader closed the pipe, as in `jeffrey classify - | head -1`: not an error.
        Err(CliError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(error) => {
            print_to_stderr(format_args!("error: {error}"));
            ExitCode::from(2)
        }
    }
}

fn run(cli: &Cli) -> Result<ExitStatus, CliError> {
    match &cli.command {
        CliCommand::Analyze(arguments) => analyze::run(arguments),
        CliCommand::Bucket(arguments) => bucket::run(arguments),
        CliCommand::Classify(arguments) => classify::run(arguments),
        CliCommand::Completion(arguments) => completion::run(arguments),
        CliCommand::Eval(arguments) => eval::run(arguments),
        CliCommand::Export(arguments) => export::run(arguments),
        CliCommand::Mask(arguments) => mask::run(arguments),
        CliCommand::Model(arguments) => model::run(arguments),
        CliCommand::Plan(arguments) => plan::run(arguments),
        CliCommand::Report(arguments) => report::run(arguments),
        CliCommand::Rollout(arguments) => rollout::run(arguments),
        CliCommand::Simulate(arguments) => simulate::run(arguments),
        CliCommand::Token(arguments) => token::run(arguments),
        CliCommand::Loadtest(arguments) => loadtest::run(arguments),
        CliCommand::Validate(arguments) => validate::run(arguments),
    }
}

/// Writes one line to standard error, and ignores a failure to write.
fn print_to_stderr(message: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr(), "{message}");
}

/// Writes a report to standard output, as one JSON object on a line or as text.
fn print_report(report: &(impl Serialize + fmt::Display), json: bool) -> Result<(), CliError> {
    if json {
        return print_json(report);
    }
    let mut output = io::stdout().lock();
    write!(output, "{report}")?;
    Ok(output.flush()?)
}

/// Writes one JSON object on a line of standard output.
fn print_json(value: &impl Serialize) -> Result<(), CliError> {
    let mut output = io::stdout().lock();
    serde_json::to_writer(&mut output, value)?;
    output.write_all(b"\n")?;
    Ok(output.flush()?)
}

/// Identity of the model that a report describes; both fields are `None` without a model.
#[derive(Serialize)]
struct ModelIdentity<'a> {
    id: Option<&'a str>,
    sha256: Option<&'a str>,
}

impl<'a> ModelIdentity<'a> {
    fn from_classifier(classifier: &'a Classifier) -> Self {
        Self {
            id: classifier.manifest().map(|manifest| manifest.id.as_str()),
            sha256: classifier.model_sha256(),
        }
    }
}

impl fmt::Display for ModelIdentity<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, sha256 {}", self.id.unwrap_or("none"), self.sha256.unwrap_or("none"))
    }
}

/// Text of `--version`: crate version, commit, id and sha256 of the embedded model, which is not
/// loaded for it.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let files = jeffrey_shipped::model_files();
    let manifest: Option<ModelManifest> = serde_json::from_slice(files.manifest).ok();
    format!(
        "{} (jeffrey-edge)\ncommit {COMMIT}\nmodel {}\nsha256 {}",
        env!("CARGO_PKG_VERSION"),
        manifest.as_ref().map_or("unknown", |manifest| manifest.id.as_str()),
        files.manifest_sha256(),
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
    fn tie_break_settings_carry_the_names_of_their_variables() {
        #[derive(Parser)]
        struct Flags {
            #[command(flatten)]
            classifier: ClassifierFlags,
        }
        let flags = Flags::parse_from(["jeffrey", "--tiebreak-delta", "0.1"]);
        let json = serde_json::to_value(flags.classifier.tie_break_settings()).unwrap();
        for name in [
            TieBreak::ENABLED_VARIABLE,
            TieBreak::DELTA_VARIABLE,
            TieBreak::EXTENDED_DELTA_VARIABLE,
        ] {
            assert!(json.get(name).is_some(), "{name}");
        }
        assert_eq!(json[TieBreak::DELTA_VARIABLE], "0.1");
    }
}
