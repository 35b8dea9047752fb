//! `jeffrey bucket`: shows the bucket and the cohort of each subject.
//!
//! Ids come from the arguments or, one per line, from standard input. Release name, subject, share,
//! holdout and, if the gateway has one, the salt decide the result; nothing else does. Invalid ids are
//! reported by number and skipped.

use std::io::{self, Write};

use serde::Serialize;

use super::lines::{LineReader, should_read_stdin};
use super::progress::Progress;
use super::{CliError, ExitStatus, print_to_stderr};
use jeffrey_edge::rollout::bucket::{
    BucketAssignment, ReleaseName, assign_cohort_by_bucket, bucket_salt,
};
use jeffrey_edge::rollout::signing_key::SigningKey;
use jeffrey_terms::{Cohort, Share, Subject};

/// Show the bucket and cohort of each subject
#[derive(clap::Args)]
#[command(
    after_help = "Prints id, bucket (0 to 9999) and cohort, tab-separated. Without ID, or with `-`, \
                  reads one id per line from standard input. Invalid ids are reported by number and \
                  skipped; the exit code is then 1.\n\n\
                  Examples:\n  \
                  jeffrey bucket --release e1-small --share 10% alice bob\n  \
                  jeffrey bucket --release e1-small --share 2.5% --json - < ids.txt\n  \
                  BUCKET_SALT=… jeffrey bucket --salt --release e1-small --share 10% alice"
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
    /// Draw by the secret in the environment variable BUCKET_SALT, as a gateway that has it does for
    /// subjects that are not trusted
    #[arg(long)]
    salt: bool,
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

/// Environment variable with the salt; a flag would show it in the process list.
const SALT_VARIABLE: &str = "BUCKET_SALT";

fn read_salt() -> Result<SigningKey, CliError> {
    let secret =
        std::env::var(SALT_VARIABLE).map_err(|_| CliError::Usage("BUCKET_SALT is not set"))?;
    let secret =
        SigningKey::parse(secret).map_err(|error| CliError::Key { name: SALT_VARIABLE, error })?;
    Ok(bucket_salt(secret))
}

pub(super) fn run(arguments: &BucketArguments) -> Result<ExitStatus, CliError> {
    let salt = arguments.salt.then(read_salt).transpose()?;
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
                Ok(subject) => write_assignment(arguments, &subject, salt.as_ref(), &mut output)?,
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
            Ok(subject) => write_assignment(arguments, &subject, salt.as_ref(), &mut output)?,
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
    salt: Option<&SigningKey>,
    output: &mut impl Write,
) -> Result<(), CliError> {
    let BucketArguments { release, share, holdout, .. } = arguments;
    let BucketAssignment { bucket, cohort, is_held_out: held_out } =
        assign_cohort_by_bucket(release, subject, salt, *share, *holdout);
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
