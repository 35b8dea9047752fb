//! Tests of `jeffrey analyze` as a process: valid and broken files, pipes, pages of a gateway.
//!
//! The gateway is a small HTTP server in the test. Logs contain a secret word, which no output may
//! contain.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed, and says where")]

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::{Command, Output, Stdio};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;

const SECRET: &str = "geheimnis";

fn analyze_command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_jeffrey"));
    command.arg("analyze").args(arguments).stdin(Stdio::null()).env_remove("JEFFREY_ADMIN_TOKEN");
    command
}

fn run(arguments: &[&str]) -> Output {
    analyze_command(arguments).output().unwrap()
}

fn utf8(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn stdout_json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
}

fn event_line(number: u64, route: &str, low: bool) -> String {
    format!(
        "{{\"event\":\"classify\",\"schema_version\":3,\"id\":\"{number}\",\"time_ms\":{},\"destination\":\"canary\",\
         \"route\":\"{route}\",\"label\":\"joy\",\"confidence\":0.{:03},\"low_confidence\":{low},\
         \"rule_applied\":false,\"rule\":null,\"latency_ms\":{},\"preview\":null,\"text\":\"{SECRET}\"}}\n",
        1_000 * number,
        number % 1_000,
        number % 200,
    )
}

fn schema_2_line(route: &str) -> String {
    format!(
        "{{\"schema_version\":2,\"timestamp\":\"2026-11-24T10:00:00Z\",\"route\":\"{route}\",\"text_preview\":\"hi\",\
         \"prediction\":{{\"primary\":\"fear\",\"confidence\":0.6,\"low_confidence\":false,\"rule_applied\":null}},\
         \"latency_ms\":41.62}}\n"
    )
}

#[test]
fn the_exit_code_is_the_verdict() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.ndjson");
    let name = path.to_str().unwrap();
    let fine = event_line(1, "linear_head", false);
    let regex = event_line(2, "regex", false);
    let unsure = event_line(3, "linear_head", true);
    let rows = [
        (fine.repeat(20), 0, "READY"),
        (fine.repeat(30) + &regex, 1, "MOSTLY READY"),
        (fine.repeat(3) + &regex + &unsure, 2, "NOT READY"),
        (String::new(), 2, "NOT READY"),
        (schema_2_line("linear_head").repeat(5), 0, "READY"),
    ];
    for (log, code, verdict) in rows {
        fs::write(&path, log).unwrap();
        let output = run(&[name, "--json"]);
        assert_eq!(output.status.code(), Some(code), "{verdict}");
        assert_eq!(stdout_json(&output)["verdict"], verdict);
        let table = utf8(&run(&[name]).stdout);
        assert_eq!(table.lines().last(), Some(verdict), "{table}");
    }
}

#[test]
fn broken_lines_are_counted_and_named_and_stop_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.ndjson");
    let mut file = File::create(&path).unwrap();
    file.write_all(b"\xef\xbb\xbf").unwrap();
    file.write_all(event_line(1, "linear_head", false).as_bytes()).unwrap();
    file.write_all(format!("{SECRET}\n\n{{\"a\":1}}\n").as_bytes()).unwrap();
    file.write_all(b"\xff\xfe\n").unwrap();
    file.write_all(
        format!("{{\"event\":\"classify\",\"x\":\"{}\"}}\n", "a".repeat(2_000_000)).as_bytes(),
    )
    .unwrap();
    file.write_all(event_line(2, "linear_head", false).trim_end().as_bytes()).unwrap();
    drop(file);
    let output = run(&[path.to_str().unwrap(), "--json"]);
    assert_eq!(output.status.code(), Some(0));
    let report = stdout_json(&output);
    assert_eq!(
        (&report["predictions"], &report["broken"], &report["lines"]),
        (&2.into(), &4.into(), &6.into())
    );
    let numbers: Vec<&Value> =
        report["broken_lines"].as_array().unwrap().iter().map(|line| &line["line"]).collect();
    assert_eq!(numbers, [&Value::from(2), &4.into(), &5.into(), &6.into()]);
    let table = run(&[path.to_str().unwrap()]);
    let printed = utf8(&table.stdout) + &utf8(&table.stderr) + &report.to_string();
    assert!(
        !printed.contains(SECRET) && printed.contains("line 6: line of more than 1048576 bytes"),
        "{printed}"
    );
}

#[test]
fn a_large_packed_log_is_read_whole_and_another_systems_answers_are_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.ndjson.gz");
    let mut gzip = GzEncoder::new(File::create(&path).unwrap(), Compression::fast());
    for number in 0..200_000 {
        gzip.write_all(event_line(number, "linear_head", number % 10 == 0).as_bytes()).unwrap();
    }
    for _ in 0..1_000 {
        let stable = event_line(1, "regex", true).replace("\"canary\"", "\"stable\"");
        gzip.write_all(stable.as_bytes()).unwrap();
    }
    gzip.finish().unwrap();
    let plot = folder.path().join("out.svg");
    let name = path.to_str().unwrap();
    let output = run(&[name, "--json", "--plot", plot.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", utf8(&output.stderr));
    let report = stdout_json(&output);
    assert_eq!((&report["predictions"], &report["left_out"]), (&200_000.into(), &1_000.into()));
    assert_eq!(report["low_confidence"], 0.1);
    let p50 = report["confidence"]["p50"].as_f64().unwrap();
    assert!((p50 - 0.5).abs() < 0.002, "{p50}");
    let p95 = report["latency_ms"]["p95"].as_f64().unwrap();
    assert!((p95 / 189.0 - 1.0).abs() < 0.06, "{p95}");
    let svg = fs::read_to_string(&plot).unwrap();
    assert!(svg.contains("confidence") && svg.contains("latency") && svg.contains("frustration"));
    let stable = stdout_json(&run(&[name, "--cohort", "stable", "--json"]));
    assert_eq!((&stable["predictions"], &stable["verdict"]), (&1_000.into(), &"NOT READY".into()));
    assert_eq!(stdout_json(&run(&[name, "--cohort", "all", "--json"]))["predictions"], 201_000);
    // A truncated file is an error, not a shorter log.
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    let output = run(&[name]);
    assert_eq!(output.status.code(), Some(2));
    assert!(utf8(&output.stderr).contains("cannot read"), "{}", utf8(&output.stderr));
}

#[test]
fn lines_come_by_a_pipe_too() {
    let mut child = analyze_command(&["-", "--json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(event_line(1, "linear_head", false).as_bytes()).unwrap();
    assert_eq!(stdout_json(&child.wait_with_output().unwrap())["predictions"], 1);
    let output = run(&["none.ndjson"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(utf8(&output.stderr).contains("cannot read none.ndjson"));
}

/// Serves `requests` requests: `answer` returns status and body for a request line with its
/// headers.
fn serve(requests: usize, answer: impl Fn(&str) -> (u16, String) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/_jeffrey/v1/admin/events", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for _ in 0..requests {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = String::new();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            while reader.read_line(&mut head).unwrap() > 2 {}
            let (status, body) = answer(&head);
            let length = body.len();
            write!(
                stream,
                "HTTP/1.1 {status} x\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
            )
            .unwrap();
        }
    });
    url
}

#[test]
fn a_gateways_events_are_read_page_by_page_with_a_token() {
    let numbered = |number: u64| {
        event_line(number, "linear_head", false).replacen('{', &format!("{{\"seq\":{number},"), 1)
    };
    let url = serve(3, move |head| {
        assert!(
            head.to_ascii_lowercase().contains("authorization: bearer a token of tests"),
            "{head}"
        );
        let pages = [("since=0", 1..=3_u64), ("since=3", 4..=5)];
        let page = pages.into_iter().find(|(since, _)| head.contains(&format!("?{since}&")));
        (200, page.map(|(_, numbers)| numbers.map(numbered).collect()).unwrap_or_default())
    });
    let output = analyze_command(&[&url, "--json"])
        .env("JEFFREY_ADMIN_TOKEN", "a token of tests")
        .output()
        .unwrap();
    assert_eq!(stdout_json(&output)["predictions"], 5, "{output:?}");

    let refusing = serve(1, |_| (403, "{}".to_owned()));
    let output =
        analyze_command(&[&refusing]).env("JEFFREY_ADMIN_TOKEN", "another").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(utf8(&output.stderr).contains("permission denied"), "{}", utf8(&output.stderr));
    let output = run(&["http://127.0.0.1:1/"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(utf8(&output.stderr).contains("JEFFREY_ADMIN_TOKEN"));
}
