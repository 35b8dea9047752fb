//! Tests of `jeffrey loadtest` against a real HTTP server on this machine.
//!
//! They check the requests that are sent, the report and the exit codes. Texts and user ids must
//! not appear in any output.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed, and says where")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::Value;

/// One request as the server received it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct ReceivedRequest {
    user: Option<String>,
    body: String,
}

/// Reply of the server: status, cohort header, body, and the delay before it is sent.
struct MockReply {
    status: u16,
    cohort: Option<&'static str>,
    body: &'static str,
    delay: Duration,
}

impl MockReply {
    fn ok(cohort: &'static str) -> Self {
        let body = r#"{"prediction":{"primary":"joy"}}"#;
        Self { status: 200, cohort: Some(cohort), body, delay: Duration::ZERO }
    }
}

/// HTTP server that replies by a rule and records the requests that it receives.
struct MockServer {
    port: u16,
    received: Arc<Mutex<Vec<ReceivedRequest>>>,
}

impl MockServer {
    /// Starts a server; `respond` gets the number of the request, from 0, and the request.
    fn start(
        respond: impl Fn(usize, &ReceivedRequest) -> MockReply + Clone + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let received = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&received);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (rule, all) = (respond.clone(), Arc::clone(&log));
                thread::spawn(move || serve(&stream.unwrap(), &rule, &all));
            }
        });
        Self { port, received }
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/predict", self.port)
    }

    fn received(&self) -> Vec<ReceivedRequest> {
        let mut received = self.received.lock().unwrap().clone();
        received.sort();
        received
    }
}

/// Serves the requests of one connection until it is closed.
fn serve(
    stream: &TcpStream,
    respond: &impl Fn(usize, &ReceivedRequest) -> MockReply,
    log: &Mutex<Vec<ReceivedRequest>>,
) {
    let mut reader = BufReader::new(stream);
    loop {
        let mut headers = BTreeMap::new();
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        assert_eq!(line, "POST /predict HTTP/1.1\r\n");
        loop {
            line.clear();
            reader.read_line(&mut line).unwrap();
            let Some((name, value)) = line.trim_end().split_once(": ") else { break };
            headers.insert(name.to_lowercase(), value.to_owned());
        }
        assert_eq!(headers["content-type"], "application/json");
        let mut body = vec![0; headers["content-length"].parse().unwrap()];
        reader.read_exact(&mut body).unwrap();
        let body = String::from_utf8(body).unwrap();
        let request = ReceivedRequest { user: headers.get("x-user-id").cloned(), body };
        let number = {
            let mut log = log.lock().unwrap();
            log.push(request.clone());
            log.len() - 1
        };
        let reply = respond(number, &request);
        thread::sleep(reply.delay);
        let cohort = reply.cohort.map(|name| format!("x-jeffrey-cohort: {name}\r\n"));
        let (status, length, body) = (reply.status, reply.body.len(), reply.body);
        let cohort = cohort.unwrap_or_default();
        let answer =
            format!("HTTP/1.1 {status} x\r\n{cohort}content-length: {length}\r\n\r\n{body}");
        if { stream }.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

fn traffic_command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_jeffrey"));
    command.arg("loadtest").args(arguments).stdin(Stdio::null());
    // A load test goes to its URL, even if a proxy is set.
    command.env("HTTP_PROXY", "http://127.0.0.1:9").env("ALL_PROXY", "http://127.0.0.1:9");
    command
}

fn run(arguments: &[&str]) -> Output {
    traffic_command(arguments).output().unwrap()
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

fn stdout_json(output: &Output) -> Value {
    assert_eq!(stdout_text(output).lines().count(), 1);
    serde_json::from_str(&stdout_text(output)).unwrap()
}

#[test]
fn a_fine_load_test_counts_every_answer_by_its_cohort() {
    // The assignment is sticky by construction: it depends on the user only.
    let server = MockServer::start(|_, request| {
        let is_canary_user = request.user.as_deref() == Some("rehearsal-1");
        MockReply::ok(if is_canary_user { "canary" } else { "stable" })
    });
    let url = server.url();
    let arguments =
        [&url, "--rate", "300", "--count", "200", "--seed", "3", "--require-sticky", "--json"];
    let output = run(&arguments);
    assert_exit(&output, 0);
    assert_eq!(stderr_text(&output), "");
    let report = stdout_json(&output);
    let received = server.received();
    assert_eq!(received.len(), 200);
    let first =
        received.iter().filter(|request| request.user.as_deref() == Some("rehearsal-1")).count();
    let [canary, stable, unknown] = ["canary", "stable", "unknown"].map(|c| &report["cohorts"][c]);
    assert_eq!(canary["status_2xx"], first);
    assert_eq!(stable["status_2xx"], 200 - first);
    assert_eq!(unknown["requests"], 0);
    assert_eq!(unknown["latency_ms_p50"], Value::Null);
    assert_eq!(report["all"]["labels"]["joy"], 200);
    let mix: u64 = report["mix"].as_object().unwrap().values().map(|n| n.as_u64().unwrap()).sum();
    assert_eq!(mix, 200);
    for quantile in ["p50", "p95", "p99", "max"] {
        assert!(report["all"][format!("latency_ms_{quantile}")].as_f64().unwrap() > 0.0);
    }
    let names = "seed seconds arrivals mix late unanswered failures cohorts all users moved errors \
                 errors_max_basis_points passed";
    let keys: BTreeSet<&str> = report.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, names.split_whitespace().collect());
    assert_eq!((&report["moved"], &report["passed"]), (&0.into(), &true.into()));
}

#[test]
fn the_same_seed_sends_the_same_and_another_does_not() {
    let requests_sent = |seed: &str| {
        let server = MockServer::start(|_, _| MockReply::ok("stable"));
        let arguments = ["--rate", "500", "--count", "60", "--users", "20", "--seed", seed];
        assert_exit(&run(&[&[server.url().as_str()], &arguments[..]].concat()), 0);
        server.received()
    };
    assert_eq!(requests_sent("7"), requests_sent("7"));
    assert_ne!(requests_sent("7"), requests_sent("8"));
}

#[test]
fn nothing_that_is_printed_holds_a_text_or_a_user() {
    // Some replies fail, so that the report has every part that it can have.
    let server = MockServer::start(|number, _| match number % 3 {
        0 => MockReply { status: 500, ..MockReply::ok("canary") },
        1 => {
            MockReply { body: r#"{"primary":"rehearsal-1 geheimnis"}"#, ..MockReply::ok("stable") }
        }
        _ => MockReply { cohort: Some("rehearsal-1"), ..MockReply::ok("stable") },
    });
    let url = server.url();
    for json in [&[][..], &["--json"]] {
        let arguments = [&url[..], "--rate", "500", "--count", "60", "--users", "3"];
        let output = run(&[&arguments[..], json].concat());
        assert_exit(&output, 1);
        let printed = stdout_text(&output) + &stderr_text(&output);
        assert!(!printed.contains("rehearsal-") && !printed.contains("geheimnis"), "{printed}");
        for request in server.received() {
            let body: Value = serde_json::from_str(&request.body).unwrap();
            let text = body["text"].as_str().unwrap();
            assert!(text.trim().is_empty() || !printed.contains(text), "{printed}");
        }
    }
}

#[test]
fn a_server_error_is_the_commands_own_negative_answer_up_to_its_limit() {
    let server = MockServer::start(|number, _| MockReply {
        status: if number % 10 == 0 { 503 } else { 200 },
        ..MockReply::ok("canary")
    });
    let url = server.url();
    let rows = [("0%", 1), ("5%", 1), ("20%", 0)];
    for (errors_max, code) in rows {
        let output = run(&[&url, "--rate", "500", "--count", "50", "--error-rate-max", errors_max]);
        assert_exit(&output, code);
        let verdict = if code == 0 { "PASS" } else { "FAIL" };
        let last = format!("{verdict}: 5 errors in 50 requests, limit {errors_max}");
        let text = stdout_text(&output).replace(".00%", "%");
        assert!(text.ends_with(&format!("{last}\n")), "{text}");
        assert!(text.contains("\ncohort  requests  2xx  3xx  4xx  5xx  failed  p50 ms"), "{text}");
        assert!(text.contains("\ncanary        50   45    0    0    5       0  "), "{text}");
    }
}

#[test]
fn a_user_in_both_cohorts_has_moved_which_only_sticky_forbids() {
    let server = MockServer::start(|number, _| {
        MockReply::ok(if number % 2 == 0 { "canary" } else { "stable" })
    });
    let url = server.url();
    let arguments = [&url[..], "--rate", "500", "--count", "20", "--users", "1", "--json"];
    let output = run(&arguments);
    assert_exit(&output, 0);
    assert_eq!(stdout_json(&output)["moved"], 1);
    let output = run(&[&arguments[..], &["--require-sticky"]].concat());
    assert_exit(&output, 1);
    assert_eq!(stdout_json(&output)["passed"], false);
}

#[test]
fn the_loop_stays_open_when_answers_are_slow_and_latency_runs_from_the_arrival() {
    let slow = Duration::from_millis(500);
    let server =
        MockServer::start(move |_, _| MockReply { delay: slow, ..MockReply::ok("stable") });
    let url = server.url();
    let arguments = ["--rate", "1000", "--count", "10", "--concurrency", "2", "--json"];
    let output = run(&[&[url.as_str()], &arguments[..]].concat());
    assert_exit(&output, 0);
    let report = stdout_json(&output);
    assert_eq!(report["late"], 8);
    // The last request waits for four pairs before it is sent.
    let max = report["all"]["latency_ms_max"].as_f64().unwrap();
    assert!(max > 2_400.0, "{max}");

    // The timeout runs from the arrival as well: the second pair has less time left than a response
    // takes.
    let output = run(&[&[url.as_str()], &arguments[..], &["--timeout", "900ms"]].concat());
    assert_exit(&output, 1);
    let report = stdout_json(&output);
    assert_eq!((&report["failures"]["timeout"], &report["unanswered"]), (&8.into(), &0.into()));
    assert!(report["seconds"].as_f64().unwrap() < 5.0, "{report}");
}

#[test]
fn a_burst_comes_at_once_and_the_body_can_name_text_and_user() {
    let server = MockServer::start(|_, _| MockReply::ok("stable"));
    let url = server.url();
    let output = run(&[
        &url,
        "--rate",
        "0.001",
        "--burst-size",
        "7",
        "--burst-interval",
        "200ms",
        "--duration",
        "500ms",
        "--user-id-in",
        "body",
        "--text-field",
        "inputs",
        "--json",
    ]);
    assert_exit(&output, 0);
    assert_eq!(stdout_json(&output)["arrivals"], 14);
    for request in server.received() {
        let body: Value = serde_json::from_str(&request.body).unwrap();
        assert!(request.user.is_none() && body["inputs"].is_string(), "{request:?}");
        assert!(body["user_id"].as_str().unwrap().starts_with("rehearsal-"), "{request:?}");
    }
}

#[test]
fn usage_errors_and_an_unreachable_endpoint_exit_with_2_and_send_nothing() {
    // This port was free a moment ago, so nothing listens on it.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let closed = format!("http://127.0.0.1:{port}/predict");
    let refused = format!("error: cannot reach port {port} of `127.0.0.1`: connection refused\n");
    let rows: [(&[&str], &str); 7] = [
        (&[&closed], &refused),
        (
            &["http://jeffrey.example/predict"],
            "error: host `jeffrey.example` is not localhost; pass --allow-remote to send traffic \
             there\n",
        ),
        (
            &["ftp://127.0.0.1/predict"],
            "error: the URL does not start with http:// or https:// and a host\n",
        ),
        (&["http://me:geheimnis@127.0.0.1/"], "error: the URL contains credentials before `@`\n"),
        (&[&closed, "--text-field", ""], "error: --text-field is empty\n"),
        (
            &[&closed, "--user-id-in", "body", "--text-field", "user_id"],
            "error: --text-field user_id conflicts with --user-id-in body\n",
        ),
        (
            &[&closed, "--rate", "0"],
            "error: invalid value '0' for '--rate <N>': rate `0` is not a number above 0 and at \
             most 10000\n",
        ),
    ];
    for (arguments, expected) in rows {
        let output = run(arguments);
        assert_exit(&output, 2);
        assert!(
            stderr_text(&output).starts_with(expected),
            "{arguments:?}: {}",
            stderr_text(&output)
        );
        assert_eq!(stdout_text(&output), "");
    }
    for bad in [&["--duration", "5"][..], &["--count", "0"], &["--concurrency", "0"]] {
        assert_exit(&run(&[&[closed.as_str()], bad].concat()), 2);
    }
    assert_exit(&run(&[]), 2);
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_it_with_the_report() {
    let server = MockServer::start(|_, _| MockReply::ok("stable"));
    let child = traffic_command(&[&server.url(), "--rate", "50", "--duration", "1h", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    while server.received().len() < 5 {
        thread::sleep(Duration::from_millis(20));
    }
    let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let output = child.wait_with_output().unwrap();
    assert_exit(&output, 0);
    let report = stdout_json(&output);
    assert!(report["all"]["status_2xx"].as_u64().unwrap() >= 4, "{report}");
}
