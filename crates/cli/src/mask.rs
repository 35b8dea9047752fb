//! `jeffrey mask`: replaces personal data in texts with placeholders.
//!
//! Texts come from the arguments or, one per line, from standard input, and are printed masked in
//! the same order. A line that cannot be read is reported by number, never by content, and skipped.

use std::io::{self, Write};

use serde::Serialize;

use super::lines::{LineReader, should_read_stdin};
use super::progress::Progress;
use super::{CliError, ExitStatus, print_to_stderr};
use jeffrey_mask::{MaskedText, PiiSpan, mask_with_spans};

/// Replace personal data in texts with placeholders such as [EMAIL]
#[derive(clap::Args)]
#[command(
    after_help = "Without TEXT, or with `-`, reads one text per line from standard input and prints each \
                  masked, in order. Lines that are not UTF-8 or longer than 1 MiB are reported by \
                  number and skipped; the exit code is then 1. With --json, `start` and `end` are byte \
                  offsets into the input text. docs/masking.md lists what is masked and what is not.\n\n\
                  Examples:\n  \
                  jeffrey mask < calls.txt > masked.txt\n  \
                  jeffrey mask --json \"Call me on 06 12 34 56 78\""
)]
pub(super) struct MaskArguments {
    /// Texts, or `-` to read one per line from standard input; put `--` before a text that starts
    /// with a dash
    texts: Vec<String>,
    /// Print one JSON object per line: the masked text and the matches with their offsets
    #[arg(long)]
    json: bool,
    /// Read each line of standard input as a JSON string (may contain escaped line breaks)
    #[arg(long)]
    lines_are_json_strings: bool,
}

#[derive(Serialize)]
struct MaskOutput {
    masked: MaskedText,
    found: Vec<PiiSpan>,
}

pub(super) fn run(arguments: &MaskArguments) -> Result<ExitStatus, CliError> {
    let read_stdin = should_read_stdin(
        &arguments.texts,
        "`-` stands alone: texts come from arguments or from standard input",
        "no text: give it as an argument, or as lines on standard input",
    )?;
    // Standard output is line-buffered, so each result is printed as soon as it is known.
    let mut output = io::stdout().lock();
    if !read_stdin {
        for text in &arguments.texts {
            write_masked(arguments, text, &mut output)?;
        }
        return Ok(ExitStatus::Success);
    }
    let mut bad_lines = 0;
    let mut progress = Progress::for_streamed_output(None);
    let mut lines = LineReader::new(io::stdin().lock());
    while let Some(line) = lines.next_line().map_err(CliError::stdin_failed)? {
        let text = line.text.map_err(|error| error.to_string()).and_then(|text| {
            if !arguments.lines_are_json_strings {
                return Ok(text.into());
            }
            let unquoted = serde_json::from_str::<String>(text);
            unquoted.map_err(|error| format!("not a JSON string at column {}", error.column()))
        });
        match text {
            Ok(text) => write_masked(arguments, &text, &mut output)?,
            Err(error) => {
                bad_lines += 1;
                progress.suspend(|| print_to_stderr(format_args!("line {}: {error}", line.number)));
            }
        }
        progress.increment();
    }
    Ok(ExitStatus::from_bad_rows(bad_lines))
}

fn write_masked(
    arguments: &MaskArguments,
    text: &str,
    output: &mut impl Write,
) -> Result<(), CliError> {
    let (masked, found) = mask_with_spans(text);
    if arguments.json {
        serde_json::to_writer(&mut *output, &MaskOutput { masked, found })?;
        output.write_all(b"\n")?;
    } else {
        writeln!(output, "{masked}")?;
    }
    Ok(())
}
