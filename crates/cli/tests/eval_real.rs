//! Tests of `jeffrey eval real` with twenty sentences written for the project, which have keys and
//! votes of the same form as the sealed lines.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed, and says where")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// Folders of one test: the sentences as data files, and the counts of runs.
struct Fixture {
    data: TempDir,
    state: TempDir,
}

impl Fixture {
    fn new() -> Self {
        let fixture =
            Self { data: tempfile::tempdir().unwrap(), state: tempfile::tempdir().unwrap() };
        for entry in fs::read_dir(read_folder().join("lines")).unwrap() {
            let path = entry.unwrap().path();
            let name = format!("{}.gz", path.file_name().unwrap().to_str().unwrap());
            // A file that is not compressed is read whatever its name.
            fs::copy(&path, fixture.data.path().join(name)).unwrap();
        }
        fixture
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_jeffrey"));
        command.args(["eval", "real", "--data"]).arg(self.data.path());
        command.arg("--keys").arg(read_folder()).args(["--bootstrap", "50"]).args(arguments);
        command.env("XDG_STATE_HOME", self.state.path()).stdin(Stdio::null());
        for name in ["ENABLED", "DELTA", "EXTENDED_DELTA"] {
            command.env_remove(format!("JEFFREY_TIEBREAK_{name}"));
        }
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn report(&self, arguments: &[&str]) -> Value {
        let output = self.run(&[arguments, &["--json"]].concat());
        assert_exit(&output, 0);
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Removes the lines of a data file that contain `text`; there must be one.
    fn remove_lines(&self, name: &str, text: &str) {
        let path = self.data.path().join(name);
        let lines = fs::read_to_string(&path).unwrap();
        let kept: String =
            lines.split_inclusive('\n').filter(|line| !line.contains(text)).collect();
        assert!(kept.len() < lines.len(), "{text}");
        fs::write(&path, kept).unwrap();
    }
}

fn read_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/read")
}

fn stdout_text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr_text(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn assert_exit(output: &Output, code: i32) {
    assert_eq!(output.status.code(), Some(code), "{}{}", stdout_text(output), stderr_text(output));
}

/// Returns every text of the data files, and every key of the sentences.
fn texts_and_keys() -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(read_folder().join("lines")).unwrap() {
        for line in fs::read_to_string(entry.unwrap().path()).unwrap().lines() {
            match serde_json::from_str::<Value>(line) {
                Ok(row) => found.push(row["text"].as_str().unwrap().to_owned()),
                Err(_) => found.extend(line.split('\t').map(str::to_owned)),
            }
        }
    }
    for name in ["random.tsv", "thin.tsv", "plain.tsv"] {
        let file = fs::read_to_string(read_folder().join(name)).unwrap();
        found.extend(file.lines().skip(1).map(|line| line[..64].to_owned()));
    }
    assert!(found.len() > 40, "{}", found.len());
    found
}

#[test]
fn every_line_is_found_by_its_key_and_counted_by_its_part() {
    let fixture = Fixture::new();
    let report = fixture.report(&[]);
    let (french, english) = (&report["languages"]["fr"], &report["languages"]["en"]);
    for (language, found, undisputed) in [(french, 7, 6), (english, 6, 5)] {
        assert_eq!(language["found"]["found"], found);
        assert_eq!(language["found"]["wanted"], found);
        assert_eq!(language["rare_found"]["wanted"], 1);
        assert_eq!(language["lines"], found);
        assert_eq!(language["undisputed"]["lines"], undisputed);
        // One disputed line has votes for two labels, the other one for a label and one for none.
        assert_eq!(language["all"]["lines"], found);
        assert_eq!(language["classes_with_rare"]["disgust"]["support"], 1.0);
        assert_eq!(language["undisputed"]["classes"]["disgust"]["support"], 0.0);
    }
    let surprise = french["all"]["classes"]["surprise"]["support"].as_f64().unwrap();
    assert!((surprise - 2.0 / 3.0).abs() < 1e-12, "{surprise}");
    assert_eq!(english["all"]["classes"]["neutral"]["support"], 2.5);
    assert_eq!(french["sources"]["home-assistant_fr"]["lines"], 1);
    assert_eq!(english["sources"]["home-assistant_en"]["undisputed"], 0);
    assert!(french["undisputed"]["intervals"]["macro_f1"]["low"].is_number());

    let choices = fixture.report(&["--part", "choices"]);
    assert_eq!(choices["languages"]["fr"]["lines"], 1);
    assert_eq!(choices["languages"]["fr"]["rare_found"], Value::Null);

    let plain = fixture.report(&["--part", "plain"]);
    assert_eq!(plain["languages"]["fr"]["sources"]["home-assistant_fr"]["undisputed"], 1);
    assert_eq!(plain["languages"].as_object().unwrap().len(), 1);
}

#[test]
fn no_output_contains_a_text_or_a_key() {
    let fixture = Fixture::new();
    let mut outputs = vec![fixture.run(&[]), fixture.run(&["--json"])];
    fixture.remove_lines("xed_fr.jsonl.gz", "own-fr-1");
    outputs.push(fixture.run(&[]));
    let secrets = texts_and_keys();
    for output in outputs {
        let printed = stdout_text(&output) + &stderr_text(&output);
        for secret in &secrets {
            assert!(!printed.contains(secret), "{secret}\n{printed}");
        }
    }
}

#[test]
fn the_text_report_names_counts_run_and_figures() {
    let fixture = Fixture::new();
    let output = fixture.run(&[]);
    assert_exit(&output, 0);
    let text = stdout_text(&output);
    for expected in [
        "found  7 of 7 French lines\n",
        "found  1 of 1 French lines of rare classes\n",
        "found  6 of 6 English lines\n",
        "part   real, run 1 on this machine\n",
        "\nFrench\n",
        "\nneutral recall ",
        "\nemotional lines called neutral ",
        "\nneutral recall at 20 % emotional lost ",
        "\nhome-assistant_fr ",
    ] {
        assert!(text.contains(expected), "{expected:?} is not in\n{text}");
    }
}

#[test]
fn too_few_lines_are_refused_with_their_count_and_the_limit_and_not_counted() {
    let fixture = Fixture::new();
    fixture.remove_lines("xed_fr.jsonl.gz", "own-fr-1");
    let output = fixture.run(&[]);
    assert_exit(&output, 2);
    assert_eq!(stdout_text(&output), "");
    let error = stderr_text(&output);
    let expected = "error: found 6 of 7 French lines; at least 95 % are needed: ";
    assert!(error.starts_with(expected), "{error}");
    assert!(fs::read_dir(fixture.state.path()).unwrap().next().is_none());

    let fixture = Fixture::new();
    fixture.remove_lines("goemotions_train.jsonl.gz", "own-en-5");
    let error = stderr_text(&fixture.run(&[]));
    assert!(error.contains("found 0 of 1 English lines of rare classes;"), "{error}");

    let fixture = Fixture::new();
    fs::remove_file(fixture.data.path().join("xed_en.jsonl.gz")).unwrap();
    let output = fixture.run(&[]);
    assert_exit(&output, 2);
    assert!(stderr_text(&output).contains("xed_en.jsonl.gz: "), "{}", stderr_text(&output));
}

#[test]
fn a_line_with_another_id_or_in_another_source_is_not_taken() {
    let fixture = Fixture::new();
    // The text of this line of Tatoeba occurs in `xed_fr` too, which must not stand in for it.
    fixture.remove_lines("tatoeba_en_fr.tsv.gz", "Pass me the salt");
    let error = stderr_text(&fixture.run(&["--part", "choices"]));
    assert!(error.starts_with("error: found 0 of 1 French lines;"), "{error}");

    let fixture = Fixture::new();
    let path = fixture.data.path().join("xed_en.jsonl.gz");
    let renamed = fs::read_to_string(&path).unwrap().replace("own-en-4", "own-en-9");
    fs::write(&path, renamed).unwrap();
    let error = stderr_text(&fixture.run(&[]));
    assert!(error.starts_with("error: found 5 of 6 English lines;"), "{error}");
}

#[test]
fn runs_on_the_sealed_lines_are_counted_and_others_are_not() {
    let fixture = Fixture::new();
    assert_eq!(fixture.report(&[])["run"], 1);
    assert_eq!(fixture.report(&["--part", "choices"])["run"], Value::Null);
    assert_eq!(fixture.report(&[])["run"], 2);

    // A folder that cannot be written gives a warning, and the figures all the same.
    let file = fixture.state.path().join("file");
    fs::write(&file, "").unwrap();
    let output = fixture.command(&[]).env("XDG_STATE_HOME", &file).output().unwrap();
    assert_exit(&output, 0);
    assert!(stderr_text(&output).starts_with("warning: this run is not counted: "));
    assert!(stdout_text(&output).contains("part   real, not counted\n"));
}

#[test]
fn a_file_called_real_is_still_evaluated() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("real"), "joy\tI love it!\nfear\tI am scared.\n").unwrap();
    for arguments in [&["./real"][..], &["--", "real"], &["--bootstrap", "5", "./real"]] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_jeffrey"));
        command.arg("eval").args(arguments).current_dir(folder.path()).stdin(Stdio::null());
        let output = command.output().unwrap();
        assert_exit(&output, 0);
        assert!(stdout_text(&output).contains("rows        2 used"), "{arguments:?}");
    }
}
