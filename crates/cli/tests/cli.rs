//! Tests of the real binary `jeffrey`: standard output, standard error and exit codes.
//!
//! Inputs contain a secret word, and no output of a command may contain it. The environment's
//! tie-break settings are removed first.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed, and says where")]

#[path = "../../classifier/tests/support/mod.rs"]
mod support;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread::{self, JoinHandle};

use serde_json::Value;
use support::ModelCopy;

/// Word of the inputs that no command may print.
const SECRET: &str = "geheimnis";

fn jeffrey_command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_jeffrey"));
    command.args(arguments).stdin(Stdio::null());
    for name in ["ENABLED", "DELTA", "EXTENDED_DELTA"] {
        command.env_remove(format!("JEFFREY_TIEBREAK_{name}"));
    }
    command
}

fn run(arguments: &[&str]) -> Output {
    jeffrey_command(arguments).output().unwrap()
}

/// Runs the binary with `input` on standard input.
fn run_with_stdin(arguments: &[&str], input: &[u8]) -> Output {
    let mut child = jeffrey_command(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    // A thread writes, so that a command that stops reading early does not block the test.
    let writer = std::thread::spawn(move || {
        let _ = stdin.write_all(&input);
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output
}

fn stdout_text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr_text(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn stdout_json_lines(output: &Output) -> Vec<Value> {
    stdout_text(output).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn stdout_json(output: &Output) -> Value {
    serde_json::from_str(&stdout_text(output)).unwrap()
}

fn assert_exit(output: &Output, code: i32) {
    assert_eq!(output.status.code(), Some(code), "{}{}", stdout_text(output), stderr_text(output));
}

#[test]
fn the_version_names_crate_commit_model_and_its_sha256() {
    let output = run(&["--version"]);
    assert_exit(&output, 0);
    let model = stdout_json(&run(&["model", "--json"]));
    let commit = model["commit"].as_str().unwrap();
    let expected = format!(
        "jeffrey {} (jeffrey-edge)\ncommit {commit}\nmodel {}\nsha256 {}\n",
        env!("CARGO_PKG_VERSION"),
        model["id"].as_str().unwrap(),
        model["sha256"].as_str().unwrap(),
    );
    assert_eq!(stdout_text(&output), expected);
}

#[test]
fn texts_from_arguments_get_one_line_each() {
    let output = run(&["classify", "Je suis furieux !", "", "--", "- a dash"]);
    assert_exit(&output, 0);
    let lines: Vec<String> = stdout_text(&output).lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), 3);
    assert!(lines[0].contains(" linear_head second="), "{}", lines[0]);
    assert!(lines[1].starts_with("neutral 1.00 empty "), "{}", lines[1]);
    assert_eq!(stderr_text(&output), "");
}

#[test]
fn an_answer_in_json_has_the_promised_fields() {
    let output = run(&["classify", "--json", "What a day!"]);
    assert_exit(&output, 0);
    let answer = stdout_json(&output);
    let names = "primary confidence scores top2 route rule_applied low_confidence truncated model";
    for name in names.split(' ') {
        assert!(answer.get(name).is_some(), "{name} in {answer}");
    }
    assert!(answer.get("id").is_none(), "{answer}");
    let scores = answer["scores"].as_object().unwrap();
    let sum: f64 = scores.values().map(|score| score.as_f64().unwrap()).sum();
    assert_eq!(scores.len(), 8);
    assert!((sum - 1.0).abs() < 1e-5, "{sum}");
    assert_eq!(answer["primary"], answer["top2"][0][0]);
}

#[test]
fn lines_from_standard_input_keep_their_ids_and_their_order() {
    let input =
        "\u{feff}plain words\n{\"id\":\"a-1\",\"text\":\"\"}\n\n{\"id\":7,\"text\":\"x\"}\n{oops\n";
    for arguments in [&["classify", "--json", "-"][..], &["classify", "--json"]] {
        let output = run_with_stdin(arguments, input.as_bytes());
        assert_exit(&output, 0);
        let answers = stdout_json_lines(&output);
        let ids: Vec<&Value> = answers.iter().map(|answer| &answer["id"]).collect();
        assert_eq!(ids, [&Value::Null, &"a-1".into(), &Value::Null, &7.into(), &Value::Null]);
        assert_eq!(answers[1]["route"], "empty");
        assert_eq!(answers[2]["route"], "empty");
    }
    let plain = run_with_stdin(&["classify", "--input-format", "text", "-"], b"{\"text\":\"\"}\n");
    assert!(stdout_text(&plain).contains(" linear_head "), "{}", stdout_text(&plain));
}

#[test]
fn a_bad_line_is_named_by_its_number_and_the_rest_is_answered() {
    let long = SECRET.repeat(10_000);
    let endless = SECRET.repeat(200_000);
    let mut input = format!(
        "{{\"text\":\"good\"}}\n{SECRET}\n{{\"text\":[\"{SECRET}\"]}}\n{{\"text\":\"{long}\"}}\n{endless}\n"
    )
    .into_bytes();
    input.extend(b"{\"text\":\"geheimnis\xff\"}\n{\"text\":\"good\"}");
    let output = run_with_stdin(&["classify", "--json", "--input-format", "ndjson", "-"], &input);
    assert_exit(&output, 1);
    assert_eq!(stdout_json_lines(&output).len(), 2);
    let expected = [
        "line 2: not JSON at column 1",
        "line 3: not a JSON object with a string `text`",
        "line 4: text of 90000 bytes is above the limit of 65536 bytes",
        "line 5: line of more than 1048576 bytes",
        "line 6: not UTF-8 after byte 18",
    ];
    assert_eq!(stderr_text(&output).lines().collect::<Vec<_>>(), expected);

    let output = run(&["classify", &long, "good"]);
    assert_exit(&output, 1);
    assert_eq!(stdout_text(&output).lines().count(), 1);
    assert!(
        stderr_text(&output).starts_with("text 1: text of 90000 bytes"),
        "{}",
        stderr_text(&output)
    );
    assert!(!stderr_text(&output).contains(SECRET));
}

#[test]
fn a_table_is_read_by_its_column_of_texts_and_its_lines_are_the_ids() {
    let table = format!(
        "id;text\n1;\"C'est génial ; merci\"\n2;{}\n3;\"deux\nlignes\"\n",
        SECRET.repeat(8_000)
    );
    let output = run_with_stdin(&["classify", "--json", "--input-format", "csv"], table.as_bytes());
    assert_eq!(output.status.code(), Some(1));
    let ids: Vec<Value> =
        stdout_json_lines(&output).iter().map(|line| line["id"].clone()).collect();
    assert_eq!(ids, [2, 4].map(Value::from));
    assert_eq!(
        stderr_text(&output),
        "line 3: text of 72000 bytes is above the limit of 65536 bytes\n"
    );
    let output = run_with_stdin(
        &["classify", "--input-format", "csv"],
        format!("a,b\n{SECRET},2\n").as_bytes(),
    );
    assert_eq!((output.status.code(), stdout_text(&output).as_str()), (Some(1), ""));
    let message = "standard input: the first line names 2 columns, and none of them `text`\n";
    assert_eq!(stderr_text(&output), message);
}

#[test]
fn texts_and_lines_are_masked_in_their_order() {
    let output = run(&["mask", "à jo@ex.fr", "rien"]);
    assert_exit(&output, 0);
    assert_eq!(stdout_text(&output), "à [EMAIL]\nrien\n");
    let output = run_with_stdin(&["mask", "--json", "-"], "à jo@ex.fr ou @jo_d\n\n".as_bytes());
    assert_exit(&output, 0);
    let expected = serde_json::json!([
        {"masked": "à [EMAIL] ou [HANDLE]", "found": [
            {"kind": "email", "start": 3, "end": 11},
            {"kind": "handle", "start": 15, "end": 20},
        ]},
        {"masked": "", "found": []},
    ]);
    assert_eq!(Value::from(stdout_json_lines(&output)), expected);
}

#[test]
fn the_rule_and_the_word_that_marked_a_match_are_explained() {
    let output = run(&["mask", "--explain", "sort code 20-45-77", "rien"]);
    assert_exit(&output, 0);
    let expected = "sort code [ACCOUNT]\n  [ACCOUNT] bytes 10-18: sort code after its name, marked by \"sort\"\nrien\n";
    assert_eq!(stdout_text(&output), expected);
    let output = run(&["mask", "--explain", "--json", "dob 12/03/1984"]);
    let expected = serde_json::json!({"masked": "dob [BIRTHDATE]", "found": [{
        "kind": "birthdate", "start": 4, "end": 14,
        "rule": "date after a word for a birth", "cue": {"start": 0, "end": 3},
    }]});
    assert_eq!(stdout_json_lines(&output), [expected]);
}

#[test]
fn a_line_that_cannot_be_masked_is_named_and_never_shown() {
    let input = format!("\"06 12\\n34 56 78\"\n{SECRET}\n\"{SECRET}\\q\"\n\"end\"\n");
    let output = run_with_stdin(&["mask", "--lines-are-json-strings"], input.as_bytes());
    assert_exit(&output, 1);
    assert_eq!(stdout_text(&output), "[PHONE]\nend\n");
    assert!(!stderr_text(&output).contains(SECRET), "{}", stderr_text(&output));
    assert_eq!(stderr_text(&output).lines().count(), 2, "{}", stderr_text(&output));
    let output = run_with_stdin(&["mask"], b"geheimnis\xff\nend\n");
    assert_exit(&output, 1);
    assert_eq!(
        (stdout_text(&output).as_str(), stderr_text(&output).as_str()),
        ("end\n", "line 1: not UTF-8 after byte 9\n")
    );
}

#[test]
fn a_closed_pipe_ends_the_command_silently() {
    let mut child = jeffrey_command(&["classify", "--json", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    stdin.write_all(b"one\n").unwrap();
    // The first result arrives while standard input is still open.
    let mut first = String::new();
    output.read_line(&mut first).unwrap();
    assert!(first.starts_with('{'), "{first}");
    drop(output);
    let writer = std::thread::spawn(move || {
        let _ = stdin.write_all("two\n".repeat(1000).as_bytes());
    });
    let status = child.wait().unwrap();
    writer.join().unwrap();
    let mut complaints = String::new();
    child.stderr.take().unwrap().read_to_string(&mut complaints).unwrap();
    assert_eq!((status.code(), complaints.as_str()), (Some(0), ""));
}

#[test]
fn flags_and_environment_refuse_a_setting_with_the_same_message() {
    let rows = [
        ("--tiebreak-enabled", "JEFFREY_TIEBREAK_ENABLED", "yes"),
        ("--tiebreak-delta", "JEFFREY_TIEBREAK_DELTA", "-0.1"),
        ("--tiebreak-extended-delta", "JEFFREY_TIEBREAK_EXTENDED_DELTA", "1.5"),
    ];
    for (flag, variable, value) in rows {
        let by_flag = run(&["classify", flag, value, "text"]);
        let by_variable =
            jeffrey_command(&["classify", "text"]).env(variable, value).output().unwrap();
        for output in [&by_flag, &by_variable] {
            assert_exit(output, 2);
            let start = format!("error: {variable} of `{value}` is ");
            assert!(stderr_text(output).starts_with(&start), "{}", stderr_text(output));
            assert_eq!(stderr_text(output).lines().count(), 1);
        }
        assert_eq!(stderr_text(&by_flag), stderr_text(&by_variable));
    }
    // A flag wins over the environment.
    let arguments = ["classify", "--tiebreak-delta", "0.1", "text"];
    let output = jeffrey_command(&arguments).env("JEFFREY_TIEBREAK_DELTA", "7").output().unwrap();
    assert_exit(&output, 0);
}

#[test]
fn commands_without_a_classifier_have_no_flags_of_one() {
    for (command, has_flags) in [("classify", true), ("eval", true), ("model", true)]
        .into_iter()
        .chain([("validate", true), ("rollout", false), ("mask", false), ("plan", false)])
    {
        let help = run(&[command, "--help"]);
        for flag in ["--model", "--tiebreak-delta"] {
            assert_eq!(stdout_text(&help).contains(flag), has_flags, "{command} {flag}");
        }
    }
}

#[test]
fn only_a_replay_has_no_flags_for_the_gateway_and_the_language() {
    for (command, has_flag) in [("status", true), ("start", true), ("replay", false)] {
        let help = run(&["rollout", command, "--help"]);
        for flag in ["--gateway", "--language"] {
            assert_eq!(stdout_text(&help).contains(flag), has_flag, "{command} {flag}");
        }
    }
}

#[test]
fn usage_and_file_errors_exit_with_2_and_one_line() {
    let rows: [(&[&str], &str); 5] = [
        (&["classify", "-", "text"], "error: `-` stands alone"),
        (&["eval", "no/such/file.jsonl"], "error: cannot read no/such/file.jsonl: "),
        (
            &["model", "--model", "no/such/model"],
            "error: cannot read no/such/model/manifest.json: ",
        ),
        (&["eval", "-"], "error: no labelled rows; at least 1 is needed"),
        (&["eval", "--predictions", "no/such/out", "-"], "error: cannot write no/such/out: "),
    ];
    for (arguments, expected) in rows {
        let output = run(arguments);
        assert_exit(&output, 2);
        assert!(
            stderr_text(&output).starts_with(expected),
            "{arguments:?}: {}",
            stderr_text(&output)
        );
        assert_eq!(stderr_text(&output).lines().count(), 1, "{}", stderr_text(&output));
    }
    for arguments in [&[][..], &["sing"], &["eval"], &["eval", "--draws", "5", "x"]] {
        assert_exit(&run(arguments), 2);
    }
}

#[test]
fn a_model_from_a_folder_is_checked_and_says_what_is_off() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    ModelCopy::shipped().write(dir.path());
    let embedded = stdout_json(&run(&["model", "--json"]));
    let from_folder = stdout_json(&run(&["model", "--json", "--model", path]));
    assert_eq!(embedded, from_folder);
    assert_eq!(embedded["routes_off"], serde_json::json!([]));
    assert_eq!(embedded["files"].as_object().unwrap().len(), support::MANIFEST_FILES.len());

    let narrow = ModelCopy::shipped().edit_file("prototypes.json", |file| {
        for row in file["vectors"].as_array_mut().unwrap() {
            row.as_array_mut().unwrap().pop();
        }
        file["dim"] = (file["dim"].as_u64().unwrap() - 1).into();
    });
    narrow.write(dir.path());
    let output = run(&["model", "--model", path]);
    assert_exit(&output, 0);
    assert!(stdout_text(&output).contains("routes off  prototypes\n"), "{}", stdout_text(&output));

    fs::write(dir.path().join("head.json"), "{}").unwrap();
    let output = run(&["classify", "text", "--model", path]);
    assert_exit(&output, 2);
    let expected = "error: invalid model: head.json: file has length 2, not ";
    assert!(stderr_text(&output).starts_with(expected), "{}", stderr_text(&output));
}

/// Writes labelled rows as JSONL (two with a label, one without, one bad), TSV and gzip TSV (two
/// with a label each), and returns the paths.
fn write_sets(dir: &Path) -> [String; 3] {
    let lines = format!(
        "{{\"id\":\"r1\",\"text\":\"{SECRET} one\",\"core8\":\"joy\",\"lang\":\"en\"}}\n\
         {{\"id\":\"r2\",\"text\":\"\",\"core8\":\"neutral\",\"lang\":\"fr\"}}\n\
         {{\"text\":\"{SECRET}\",\"core8\":null}}\n\
         {{\"text\":\"{SECRET}\",\"core8\":\"{SECRET}\"}}\n"
    );
    let table = format!("neutral\t \nfear\t{SECRET} two\n");
    let path = |name: &str| dir.join(name).to_str().unwrap().to_owned();
    fs::write(path("a.jsonl"), &lines).unwrap();
    fs::write(path("b.tsv"), &table).unwrap();
    let file = fs::File::create(path("c.tsv.gz")).unwrap();
    let mut gzip = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
    gzip.write_all(table.as_bytes()).unwrap();
    gzip.finish().unwrap();
    [path("a.jsonl"), path("b.tsv"), path("c.tsv.gz")]
}

#[test]
fn eval_counts_every_row_and_keeps_no_text() {
    let dir = tempfile::tempdir().unwrap();
    let [lines, table, packed] = &write_sets(dir.path());
    let predictions = dir.path().join("predictions.jsonl");
    let predictions = predictions.to_str().unwrap();
    let arguments =
        ["eval", lines, table, packed, "--json", "--bootstrap", "50", "--predictions", predictions];
    let output = run(&arguments);
    assert_exit(&output, 1);
    assert_eq!(stderr_text(&output), "a.jsonl:4: the label is none of the eight\n");
    let report = stdout_json(&output);
    assert_eq!(report["rows"], 6);
    assert_eq!((&report["rows_unlabelled"], &report["rows_bad"]), (&1.into(), &1.into()));
    assert_eq!(report["sources"][0]["name"], "a.jsonl");
    assert_eq!(report["route_shares"]["empty"], 0.5);
    assert_eq!(report["classes"]["neutral"]["recall"], 1.0);
    assert_eq!(report["classes"]["neutral"]["support"], 3);
    assert_eq!(report["languages"]["und"]["rows"], 4);
    assert_eq!(report["intervals"]["resamples"], 50);
    assert_eq!(report["balanced_metrics"], Value::Null);
    assert_eq!(report["reliability"].as_array().unwrap().len(), 15);
    let model = stdout_json(&run(&["model", "--json"]));
    assert_eq!(report["model"]["sha256"], model["sha256"]);
    assert!(!stdout_text(&output).contains(SECRET), "{}", stdout_text(&output));
    let rows = fs::read_to_string(predictions).unwrap();
    assert_eq!(rows.lines().count(), 6);
    assert!(rows.contains(r#""id":"r1","lang":"en","gold":"joy","#), "{rows}");
    assert!(rows.contains(r#""id":"b.tsv:2""#), "{rows}");
    assert!(!rows.contains(SECRET), "{rows}");
    // A second run prints exactly the same bytes.
    assert_eq!(run(&arguments).stdout, output.stdout);
}

#[test]
fn eval_prints_its_tables_and_draws_balanced_sets() {
    let dir = tempfile::tempdir().unwrap();
    let [_, table, _] = &write_sets(dir.path());
    let arguments = ["eval", table, "--balanced", "1", "--draws", "3", "--bootstrap", "20"];
    let output = run(&arguments);
    assert_exit(&output, 0);
    let text = stdout_text(&output);
    for expected in [
        "rows        2 used, 0 without a label and 0 bad ones skipped\n",
        "(mean over the 2 classes present in gold)\n",
        "(macro-F1, 3 draws of 1 rows a class, 2 classes; ECE ",
        "(15 bins)\n",
        "\nclass        precision  recall     F1  rows  predicted\n",
        "\ngold in rows, predicted in columns\n",
    ] {
        assert!(text.contains(expected), "{expected:?} in {text}");
    }
    let output = run(&["eval", table, "--balanced", "5"]);
    assert_exit(&output, 2);
    let expected = "error: class fear has 1 rows; a balanced draw needs 5\n";
    assert_eq!(stderr_text(&output), expected);
}

#[test]
fn validate_judges_each_limit_and_exits_by_the_verdict() {
    let output = run(&["validate", "--json"]);
    let report = stdout_json(&output);
    let checks = report["checks"].as_array().unwrap();
    let names: Vec<&str> = checks.iter().map(|check| check["name"].as_str().unwrap()).collect();
    let expected = [
        "tiebreak_right",
        "smoke_en_right",
        "smoke_en_fallback",
        "smoke_fr_right",
        "smoke_fr_fallback",
        "masked_right",
    ];
    assert_eq!(names, expected);
    for check in checks {
        let (figure, limit) = (check["figure"].as_f64().unwrap(), check["limit"].as_f64().unwrap());
        let is_within_limit = match check["limit_direction"].as_str().unwrap() {
            "at_least" => figure >= limit,
            _ => figure <= limit,
        };
        assert_eq!(check["passed"], is_within_limit, "{check}");
    }
    let passed = checks.iter().all(|check| check["passed"] == true);
    assert_eq!(report["passed"], passed);
    assert_exit(&output, i32::from(!passed));
    let model = stdout_json(&run(&["model", "--json"]));
    assert_eq!(report["model"]["sha256"], model["sha256"]);
    assert_eq!(report["settings"]["JEFFREY_TIEBREAK_DELTA"], Value::Null);
}

#[test]
fn validate_without_the_linear_head_fails_on_fallback() {
    let dir = tempfile::tempdir().unwrap();
    let narrow = ModelCopy::shipped().edit_file("head.json", |file| {
        for row in file["weights"].as_array_mut().unwrap() {
            row.as_array_mut().unwrap().pop();
        }
        file["dim"] = (file["dim"].as_u64().unwrap() - 1).into();
    });
    narrow.write(dir.path());
    let output = run(&["validate", "--model", dir.path().to_str().unwrap()]);
    assert_exit(&output, 1);
    let text = stdout_text(&output);
    let line = text.lines().find(|line| line.starts_with("smoke_en_fallback")).unwrap();
    assert!(line.contains("100.0 %") && line.ends_with("FAIL"), "{line}");
}

#[test]
fn completion_scripts_know_the_subcommands() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let output = run(&["completion", shell]);
        assert_exit(&output, 0);
        let script = stdout_text(&output);
        assert!(script.contains("classify") && script.contains("tiebreak-delta"), "{shell}");
    }
    assert_exit(&run(&["completion", "sh2000"]), 2);
}

#[test]
fn bucket_says_which_side_each_subject_is_on() {
    let arguments = ["bucket", "--release", "e1-small", "--share", "10%"];
    let plain = run(&[&arguments[..], &["a", "é", "漢字"]].concat());
    let expected: String = include_str!("../../../tests/data/buckets.tsv")
        .lines()
        .filter_map(|row| {
            let fields: Vec<&str> = row.split('\t').collect();
            let [release, id, bucket] = fields[..] else { return None };
            if release != "e1-small" || !["a", "é", "漢字"].contains(&id) {
                return None;
            }
            let cohort = if bucket.parse::<u16>().unwrap() < 1_000 { "canary" } else { "stable" };
            Some(format!("{id}\t{bucket}\t{cohort}\n"))
        })
        .collect();
    assert_eq!((stdout_text(&plain), plain.status.code()), (expected, Some(0)));

    let json = run_with_stdin(&[&arguments[..], &["--json", "-"]].concat(), "a\né\n".as_bytes());
    let lines = stdout_json_lines(&json);
    assert_eq!(lines.len(), 2);
    let keys: Vec<&String> = lines[1].as_object().unwrap().keys().collect();
    assert_eq!(keys, ["bucket", "cohort", "id"]);
    assert_eq!(lines[1]["id"], "é");

    let all = ["bucket", "--release", "r", "--share", "100%", "--holdout", "100%", "--json", "a"];
    assert_eq!(stdout_json_lines(&run(&all))[0]["held_out"], true);
    assert_eq!(stdout_json_lines(&run(&all))[0]["cohort"], "stable");
}

#[test]
fn bucket_refuses_what_it_cannot_use_and_names_it() {
    let rows = [
        (["--release", "e1", "--share", "120%"], "share 120% is above 100%"),
        (["--release", "e1", "--share", "ten"], "share `ten` is not a percentage"),
        (["--release", "a b", "--share", "10%"], "release `a b` is not 1 to 64 letters"),
    ];
    for (flags, expected) in rows {
        let output = run(&[&["bucket"], &flags[..], &["id"]].concat());
        assert_eq!(output.status.code(), Some(2), "{flags:?}");
        assert!(stderr_text(&output).contains(expected), "{}", stderr_text(&output));
    }
    let long = format!("{SECRET}\n{}\n\nb\n", SECRET.repeat(40));
    let output =
        run_with_stdin(&["bucket", "--release", "e1", "--share", "10%", "-"], long.as_bytes());
    assert_eq!((stdout_text(&output).lines().count(), output.status.code()), (2, Some(1)));
    let complaints = stderr_text(&output);
    assert!(complaints.contains("line 2: subject of 360 bytes is above the limit"), "{complaints}");
    assert!(complaints.contains("line 3: subject is empty"), "{complaints}");
    assert!(!complaints.contains(SECRET), "{complaints}");
}

#[test]
fn token_signs_a_permission_that_its_key_opens() {
    use jeffrey_edge::rollout::bucket::ReleaseName;
    use jeffrey_edge::rollout::override_token::verify;
    use jeffrey_edge::rollout::signing_key::SigningKey;
    use jeffrey_terms::UnixMs;

    const SECRET_KEY: &str = "geheimnis-geheimnis";
    let make_token = |arguments: &[&str]| {
        let arguments = [&["token", "--release", "e1"], arguments].concat();
        jeffrey_command(&arguments)
            .env("JEFFREY_OVERRIDE_SIGNING_KEY", SECRET_KEY)
            .output()
            .unwrap()
    };
    let token_json =
        &stdout_json_lines(&make_token(&["--expires-in", "30m", "--allow-rolled-back", "--json"]))
            [0];
    let expires = token_json["expires_ms"].as_u64().unwrap();
    let token = token_json["token"].as_str().unwrap();
    let key = SigningKey::parse(SECRET_KEY).unwrap();
    let verify_at = |ms| {
        verify(token, std::slice::from_ref(&key), &ReleaseName::parse("e1").unwrap(), UnixMs(ms))
    };
    let permission = verify_at(expires - 1).unwrap();
    assert!(permission.allow_rolled_back);
    assert_eq!(permission.expires_at, UnixMs(expires));
    assert!(verify_at(expires).is_err());

    for time in ["25h", "0s", "1d", "99999999999999999h"] {
        let output = make_token(&["--expires-in", time]);
        assert_exit(&output, 2);
        let expected = format!("time `{time}` is not a duration from 1s to 24h");
        assert!(stderr_text(&output).contains(&expected), "{}", stderr_text(&output));
    }
    let output = jeffrey_command(&["token", "--release", "e1"])
        .env_remove("JEFFREY_OVERRIDE_SIGNING_KEY")
        .output();
    assert_eq!(stderr_text(&output.unwrap()), "error: JEFFREY_OVERRIDE_SIGNING_KEY is not set\n");
    let short = jeffrey_command(&["token", "--release", "e1"])
        .env("JEFFREY_OVERRIDE_SIGNING_KEY", "geheim")
        .output();
    let short = short.unwrap();
    assert_exit(&short, 2);
    let expected = "error: JEFFREY_OVERRIDE_SIGNING_KEY: key of 6 bytes is below the least of 16\n";
    assert_eq!(stderr_text(&short), expected);
}

#[test]
fn the_old_name_of_the_gateway_variable_is_refused() {
    for arguments in [&["rollout", "status"][..], &["report", "--week"]] {
        let output = jeffrey_command(arguments)
            .env_remove("JEFFREY_GATEWAY_URL")
            .env("JEFFREY_GATE", "http://127.0.0.1:1/_jeffrey")
            .env("JEFFREY_VIEWER_TOKEN", "a token of tests")
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let message = stderr_text(&output);
        assert!(message.contains("the variable is JEFFREY_GATEWAY_URL now"), "{message}");
    }
}

/// Answers requests like a gateway at version 7 whose state changes before a command arrives, and
/// returns the bodies of the commands.
fn serve_conflicts(listener: TcpListener, requests: usize) -> JoinHandle<Vec<Value>> {
    thread::spawn(move || {
        let mut bodies = Vec::new();
        for stream in listener.incoming().take(requests) {
            let mut stream = stream.unwrap();
            let (mut request, mut buffer) = (Vec::new(), [0; 4096]);
            let body = loop {
                let count = stream.read(&mut buffer).unwrap();
                request.extend_from_slice(&buffer[..count]);
                let text = String::from_utf8_lossy(&request);
                let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
                let head = head.to_lowercase();
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                    break body.to_owned();
                }
            };
            let (status, reply) = if body.is_empty() {
                ("200 OK", r#"{"version":7}"#)
            } else {
                bodies.push(serde_json::from_str(&body).unwrap());
                ("409 Conflict", r#"{"error":{"message":"for version 7, not 8"}}"#)
            };
            let length = reply.len();
            write!(
                stream,
                "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{reply}"
            )
            .unwrap();
        }
        bodies
    })
}

#[test]
fn a_command_that_may_give_traffic_is_for_the_version_that_was_read() {
    let rows = [
        (&["start"][..], Some(7)),
        (&["approve"], Some(7)),
        (&["resume", "--reason", "checked"], Some(7)),
        (&["advance", "--reason", "checked"], Some(7)),
        (&["pause", "--reason", "look"], None),
        (&["rollback", "--reason", "errors"], None),
        (&["abort", "--reason", "over"], None),
    ];
    for (command, version) in rows {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/_jeffrey", listener.local_addr().unwrap());
        let server = serve_conflicts(listener, 1 + usize::from(version.is_some()));
        let output = jeffrey_command(&["rollout", "--gateway", &url])
            .args(command)
            .env("JEFFREY_ADMIN_TOKEN", "a token of tests")
            .output()
            .unwrap();
        let message = stderr_text(&output);
        assert_eq!((output.status.code(), message.trim()), (Some(1), "for version 7, not 8"));
        let bodies = server.join().unwrap();
        assert_eq!(bodies.len(), 1, "{command:?}");
        assert_eq!(bodies[0]["version"].as_u64(), version, "{command:?}");
    }
}

#[test]
fn an_unreachable_gateway_is_named_with_the_way_out() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("http://127.0.0.1:{port}/_jeffrey");
    let output = jeffrey_command(&["rollout", "status", "--gateway", &url])
        .env("JEFFREY_VIEWER_TOKEN", "a token of tests")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let message = stderr_text(&output);
    assert!(message.starts_with(&format!("error: gateway: cannot reach {url}: ")), "{message}");
    assert!(message.contains("`make dev` starts one"), "{message}");
}
