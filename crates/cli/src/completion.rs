//! `jeffrey completion`: prints a script with which a shell completes commands and flags.
//!
//! The script is generated from the same definitions that parse the arguments, so it has every
//! command, flag and possible value.

use std::io::{self, Write};

use clap::CommandFactory;
use clap_complete::Shell;

use super::{Cli, CliError, ExitStatus};

/// Print a completion script for a shell
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  jeffrey completion bash > ~/.local/share/bash-completion/completions/jeffrey"
)]
pub(super) struct CompletionArguments {
    /// Shell to print the script for
    shell: Shell,
}

pub(super) fn run(arguments: &CompletionArguments) -> Result<ExitStatus, CliError> {
    // The generator panics if it cannot write, so it writes into memory first.
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "jeffrey", &mut script);
    let mut output = io::stdout().lock();
    output.write_all(&script)?;
    output.flush()?;
    Ok(ExitStatus::Success)
}
