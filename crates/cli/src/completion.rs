//! `jeffrey completion`: a script that teaches a shell the commands and flags.

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
    /// The shell
    shell: Shell,
}

pub(super) fn run(arguments: &CompletionArguments) -> Result<ExitStatus, CliError> {
    // Into memory first: the generator panics when it cannot write.
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "jeffrey", &mut script);
    let mut output = io::stdout().lock();
    output.write_all(&script)?;
    output.flush()?;
    Ok(ExitStatus::Success)
}
