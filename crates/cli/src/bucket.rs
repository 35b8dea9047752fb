//! `jeffrey bucket`: which side a subject is on.

use std::io::{self, Write};

use serde::Serialize;

use super::lines::{Lines, lines_asked_for};
use super::progress::Progress;
use super::{Outcome, Stop, complain};
use jeffrey_edge::rollout::bucket::{Assignment, Release, assign};
use jeffrey_terms::{Cohort, Share, Subject};

/// Say which side of a release each subject is on
#[derive(clap::Args)]
#[command(
    after_help = "Prints id, bucket (0 to 9999) and cohort, separated by tabs. Without ID, or with \
                  `-`, ids are lines of standard input. An id that cannot be used is reported with \
                  its number, the rest is answered, and the exit code is 1.\n\n\
                  Examples:\n  \
                  jeffrey bucket --release e1-small --share 10% alice bob\n  \
                  jeffrey bucket --release e1-small --share 2.5% --json - < ids.txt"
)]
pub(super) struct Arguments {
    /// The release's name, by which subjects are drawn
    #[arg(long, value_name = "R")]
    release: Release,
    /// The canary's share, such as 10% or 0.25%
    #[arg(long, value_name = "SHARE")]
    share: Share,
    /// The share that stays stable in every release
    #[arg(long, value_name = "SHARE", default_value = "0%")]
    holdout: Share,
    /// Ids of subjects, or `-` alone for lines from standard input; after `--`, one may start with a dash
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    /// One JSON object a line instead of columns
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Answer<'a> {
    id: &'a str,
    bucket: u16,
    cohort: Cohort,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    held_out: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<Outcome, Stop> {
    let from_lines = lines_asked_for(
        &arguments.ids,
        "`-` stands alone: ids come from arguments or from standard input",
        "no id: give it as an argument, or as lines on standard input",
    )?;
    let mut bad = 0;
    if !from_lines {
        let mut output = io::stdout().lock();
        for (id, number) in arguments.ids.iter().zip(1..) {
            match Subject::parse(id.as_str()) {
                Ok(subject) => answer(arguments, &subject, &mut output)?,
                Err(error) => {
                    bad += 1;
                    complain(format_args!("id {number}: {error}"));
                }
            }
        }
        return Ok(Outcome::of_bad_rows(bad));
    }
    let mut progress = Progress::beside_output(None);
    let mut output = io::BufWriter::new(io::stdout().lock());
    let mut lines = Lines::new(io::stdin().lock());
    while let Some(line) = lines.next().map_err(Stop::standard_input)? {
        let parsed = line.text.map_err(|error| error.to_string());
        match parsed.and_then(|id| Subject::parse(id).map_err(|error| error.to_string())) {
            Ok(subject) => answer(arguments, &subject, &mut output)?,
            Err(error) => {
                bad += 1;
                progress.aside(|| complain(format_args!("line {}: {error}", line.number)));
            }
        }
        progress.step();
    }
    output.flush()?;
    Ok(Outcome::of_bad_rows(bad))
}

fn answer(arguments: &Arguments, subject: &Subject, output: &mut impl Write) -> Result<(), Stop> {
    let Assignment { bucket, cohort, held_out } =
        assign(&arguments.release, subject, arguments.share, arguments.holdout);
    let id = subject.expose();
    if arguments.json {
        let answer = Answer { id, bucket: bucket.place(), cohort, held_out };
        serde_json::to_writer(&mut *output, &answer)?;
        output.write_all(b"\n")?;
    } else {
        let held_out = if held_out { "\theld_out" } else { "" };
        writeln!(output, "{id}\t{bucket}\t{cohort}{held_out}")?;
    }
    Ok(())
}
