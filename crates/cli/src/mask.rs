//! `jeffrey mask`: replaces personal data in texts with placeholders.
//!
//! Texts come from the arguments or, one per line, from standard input, and are printed masked in
//! the same order. A line that cannot be read is reported by number, never by content, and skipped.

use std::io::{self, Write};

use serde::Serialize;

use super::lines::{LineReader, should_read_stdin};
use super::progress::Progress;
use super::{CliError, ExitStatus, print_to_stderr};
use jeffrey_mask::{ExplainedSpan, MaskedText, PiiSpan, explain, mask_with_spans};

/// Replace personal data in texts with placeholders such as [EMAIL]
#[derive(clap::Args)]
#[command(
    after_help = "Without TEXT, or with `-`, reads one text per line from standard input and prints each \
                  masked, in order. Lines that are not UTF-8 or longer than 1 MiB are reported by \
                  number and skipped; the exit code is then 1. With --json, `start` and `end` are byte \
                  offsets into the input text. --explain prints a line for each match below the masked text: its \
                  kind, its bytes, the rule that decided and the word that marked it, which is a part \
                  of the text. docs/masking.md lists what is masked and what is not.\n\n\
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
    /// Say for each match which rule decided, and which word marked it; with --json as `rule` and `cue`
    #[arg(long)]
    explain: bool,
}

#[derive(Serialize)]
struct MaskOutput<Found> {
    masked: MaskedText,
    found: Vec<Found>,
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
    let (masked, found): (MaskedText, Vec<PiiSpan>) = mask_with_spans(text);
    match (arguments.json, arguments.explain) {
        (true, false) => serde_json::to_writer(&mut *output, &MaskOutput { masked, found })?,
        (true, true) => {
            serde_json::to_writer(&mut *output, &MaskOutput { masked, found: explain(text) })?;
        }
        (false, _) => write!(output, "{masked}")?,
    }
    output.write_all(b"\n")?;
    if arguments.explain && !arguments.json {
        for explained in explain(text) {
            writeln!(output, "{}", describe(text, &explained))?;
        }
    }
    Ok(())
}

/// Returns one line about a match: its placeholder, its bytes, the rule, and the word that marked it.
fn describe(text: &str, ExplainedSpan { span, rule, cue }: &ExplainedSpan) -> String {
    let marked = match cue.clone().and_then(|cue| text.get(cue)) {
        Some(word) => format!(", marked by \"{word}\""),
        None => String::new(),
    };
    let placeholder = span.kind.placeholder();
    format!("  {placeholder} bytes {}-{}: {rule}{marked}", span.start, span.end)
}
