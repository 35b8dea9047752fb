//! `jeffrey bucket`: shows the bucket and the cohort of each subject.
//!
//! Ids come from the arguments or, one per line, from standard input. Release name, subject, share
//! and holdout decide the result; nothing else does. Invalid ids are reported by number and
//! skipped.

use std::io::{self, Write};

use serde::Serialize;

use super::lines::{LineReader, should_read_stdin};
use super::progress::Progress;
use super::{CliError, ExitStatus, print_to_stderr};
use jeffrey_edge::rollout::bucket::{BucketAssignment, ReleaseName, assign_cohort_by_bucket};
use jeffrey_terms::{Cohort, Share, Subject};

/// Show the bucket and cohort of each subject
#[derive(clap::Args)]
#[command(
    after_help = "Prints id, bucket (0 to 9999) and cohort, tab-separated. Without ID, or with `-`, \
                  reads one id per line from standard input. Invalid ids are reported by number and \
                  skipped; the exit code is then 1.\n\n\
                  Examples:\n  \
                  jeffrey bucket --release e1-small --share 10% alice bob\n  \
                  jeffrey bucket --release e1-small --share 2.5% --json - < ids.txt"
)]
pub(super) struct BucketArguments {
    /// Release name; part of the bucket hash
    #[arg(long, value_name = "R")]
    release: ReleaseName,
    /// Canary traffic share, such as 10% or 0.25%
    #[arg(long, value_name = "SHARE")]
    share: Share,
    /// Holdout (control group) share: stays on stable in every release
    #[arg(long, value_name = "SHARE", default_value = "0%")]
    holdout: Share,
    /// Subject ids, or `-` to read one per line from standard input; put `--` before an id that
    /// starts with a dash
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    /// Print one JSON object per line
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct BucketOutput<'a> {
    id: &'a str,
    bucket: u16,
    cohort: Cohort,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    held_out: bool,
}

pub(super) fn run(arguments: &BucketArguments) -> Result<ExitStatus, CliError> {
    let read_stdin = should_read_stdin(
        &arguments.ids,
        "`-` stands alone: ids come from arguments or from standard input",
        "no id: give it as an argument, or as lines on standard input",
    )?;
    let mut bad_ids = 0;
    if !read_stdin {
        let mut output = io::stdout().lock();
        for (id, number) in arguments.ids.iter().zip(1..) {
            match Subject::parse(id.as_str()) {
                Ok(subject) => write_assignment(arguments, &subject, &mut output)?,
                Err(error) => {
                    bad_ids += 1;
                    print_to_stderr(format_args!("id {number}: {error}"));
                }
            }
        }
        return Ok(ExitStatus::from_bad_rows(bad_ids));
    }
    let mut progress = Progress::for_streamed_output(None);
    let mut output = io::BufWriter::new(io::stdout().lock());
    let mut lines = LineReader::new(io::stdin().lock());
    while let Some(line) = lines.next_line().map_err(CliError::stdin_failed)? {
        let parsed = line.text.map_err(|error| error.to_string());
        match parsed.and_then(|id| Subject::parse(id).map_err(|error| error.to_string())) {
            Ok(subject) => write_assignment(arguments, &subject, &mut output)?,
            Err(error) => {
                bad_ids += 1;
                progress.suspend(|| print_to_stderr(format_args!("line {}: {error}", line.number)));
            }
        }
        progress.increment();
    }
    output.flush()?;
    Ok(ExitStatus::from_bad_rows(bad_ids))
}

fn write_assignment(
    arguments: &BucketArguments,
    subject: &Subject,
    output: &mut impl Write,
) -> Result<(), CliError> {
    let BucketAssignment { bucket, cohort, is_held_out: held_out } =
        assign_cohort_by_bucket(&arguments.release, subject, arguments.share, arguments.holdout);
    let id = subject.expose();
    if arguments.json {
        let assignment_output = BucketOutput { id, bucket: bucket.index(), cohort, held_out };
        serde_json::to_writer(&mut *output, &assignment_output)?;
        output.write_all(b"\n")?;
    } else {
        let held_out = if held_out { "\theld_out" } else { "" };
        writeln!(output, "{id}\t{bucket}\t{cohort}{held_out}")?;
    }
    Ok(())
}
