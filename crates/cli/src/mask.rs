//! `jeffrey mask`: texts without what names or reaches a person.

use std::io::{self, Write};

use serde::Serialize;

use super::lines::{Lines, lines_asked_for};
use super::progress::Progress;
use super::{Outcome, Stop, complain};
use jeffrey_mask::{Found, Masked, mask_and_find};

/// Replace personal data in lines of text by placeholders such as [EMAIL]
#[derive(clap::Args)]
#[command(
    after_help = "Without TEXT, or with `-`, lines are read from standard input; each is written \
                  masked, in its order. A line that is no UTF-8 or longer than 1 MiB is reported with \
                  its number and left out, and the exit code is 1. With --json, `start` and `end` are \
                  bytes of the text that came in. docs/masking.md lists the kinds and what stays.\n\n\
                  Examples:\n  \
                  jeffrey mask < calls.txt > masked.txt\n  \
                  jeffrey mask --json \"Call me on 06 12 34 56 78\""
)]
pub(super) struct Arguments {
    /// Texts, or `-` alone for lines from standard input; after `--`, a text may start with a dash
    texts: Vec<String>,
    /// One JSON object a line: the masked text, and what was found where
    #[arg(long)]
    json: bool,
    /// Each line of standard input is a text in JSON's quotation marks, which may hold line breaks
    #[arg(long)]
    quoted: bool,
}

#[derive(Serialize)]
struct Answer {
    masked: Masked,
    found: Vec<Found>,
}

pub(super) fn run(arguments: &Arguments) -> Result<Outcome, Stop> {
    let from_lines = lines_asked_for(
        &arguments.texts,
        "`-` stands alone: texts come from arguments or from standard input",
        "no text: give it as an argument, or as lines on standard input",
    )?;
    // Line-buffered: each answer is out as soon as it is known.
    let mut output = io::stdout().lock();
    if !from_lines {
        for text in &arguments.texts {
            answer(arguments, text, &mut output)?;
        }
        return Ok(Outcome::Fine);
    }
    let mut bad = 0;
    let mut progress = Progress::beside_output(None);
    let mut lines = Lines::new(io::stdin().lock());
    while let Some(line) = lines.next().map_err(Stop::standard_input)? {
        let text = line.text.map_err(|error| error.to_string()).and_then(|text| {
            if !arguments.quoted {
                return Ok(text.into());
            }
            let unquoted = serde_json::from_str::<String>(text);
            unquoted.map_err(|error| format!("not a JSON string at column {}", error.column()))
        });
        match text {
            Ok(text) => answer(arguments, &text, &mut output)?,
            Err(error) => {
                bad += 1;
                progress.aside(|| complain(format_args!("line {}: {error}", line.number)));
            }
        }
        progress.step();
    }
    Ok(Outcome::of_bad_rows(bad))
}

fn answer(arguments: &Arguments, text: &str, output: &mut impl Write) -> Result<(), Stop> {
    let (masked, found) = mask_and_find(text);
    if arguments.json {
        serde_json::to_writer(&mut *output, &Answer { masked, found })?;
        output.write_all(b"\n")?;
    } else {
        writeln!(output, "{masked}")?;
    }
    Ok(())
}
