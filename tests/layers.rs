//! The direction of dependencies: each layer uses only what stands before it, and the core names no
//! clock, file, environment, network, platform or screen.
//!
//! Reads the sources as text, so it also sees code behind a feature that this build leaves out. It
//! understands `use` with groups, paths, and macros; comments and strings do not count.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed, and says where")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The layers, each allowed to name those before it. A new folder under `src` takes its place here.
/// `kernels` is the crate of that name.
const LAYERS: [&str; 9] = [
    "kernels",
    "terms",
    "classifier",
    "evaluation",
    "telemetry",
    "rollout",
    "wire",
    "gate",
    "shell",
];

/// The one layer that may touch the world.
const SHELL: &str = "shell";

/// Files that belong to no layer: the crate's root only declares them.
const ROOT: &str = "lib.rs";

/// Paths that the core does not name, nor anything below them.
const BANNED_PATHS: [&str; 13] = [
    "clap",
    "indicatif",
    "getrandom",
    "js_sys",
    "std::env",
    "std::fs",
    "std::net",
    "std::process",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
    "wasm_bindgen",
    "worker",
];

/// Macros that the core does not call.
const BANNED_MACROS: [&str; 5] = ["dbg", "eprint", "eprintln", "print", "println"];

/// The only file that may name the inference library.
const TRACT: (&str, &str) = ("tract", "classifier/encoder.rs");

#[test]
fn every_file_keeps_the_direction() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut faults = Vec::new();
    for (folder, layer, least) in [("src", "", 10), ("kernels/src", "kernels/", 5)] {
        let folder = root.join(folder);
        let mut files = Vec::new();
        collect(&folder, &mut files);
        assert!(files.len() >= least, "{} files under {}", files.len(), folder.display());
        for file in files {
            let path = file.strip_prefix(&folder).unwrap().to_string_lossy().replace('\\', "/");
            let code = fs::read_to_string(&file).unwrap();
            faults.extend(faults_of(&format!("{layer}{path}"), &code));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn planted_faults_are_found() {
    let rows = [
        // path, code, part of the fault found; empty for none
        ("terms.rs", "use crate::classifier::Scores;", "crate::classifier"),
        ("classifier/head.rs", "fn f() { crate::evaluation::evaluate(&[]) }", "crate::evaluation"),
        ("classifier/mod.rs", "use crate::{terms::Label, wire::Answer};", "crate::wire"),
        (
            "classifier/mod.rs",
            "use crate::{\n    terms,\n    shell::{self, cli},\n};",
            "crate::shell",
        ),
        ("evaluation/mod.rs", "use super::wire::Answer;", "super::wire"),
        ("evaluation/a.rs", "use super::super::shell;", "super::super::shell"),
        ("wire/answer.rs", "pub use jeffrey_edge::shell::cli;", "jeffrey_edge::shell"),
        ("terms.rs", "use std::fs;", "std::fs"),
        ("terms.rs", "use std::{fmt, fs::File};", "std::fs::File"),
        ("terms.rs", "use std::{fmt, time::{Duration, Instant}};", "std::time::Instant"),
        ("terms.rs", "let now = std::time::SystemTime::now();", "std::time::SystemTime"),
        ("terms.rs", "let home = ::std::env::var(\"HOME\");", "std::env::var"),
        ("wire/mod.rs", "use std::net::IpAddr;", "std::net"),
        ("wire/mod.rs", "#[wasm_bindgen::prelude::wasm_bindgen]", "wasm_bindgen"),
        ("wire/mod.rs", "use worker::Response;", "worker::Response"),
        ("wire/mod.rs", "js_sys::Date::now()", "js_sys::Date"),
        ("classifier/decide.rs", "println!(\"{}\", 1);", "println!"),
        ("classifier/decide.rs", "std::eprintln!(\"{}\", 1);", "eprintln!"),
        ("classifier/decide.rs", "use std /* hidden */ :: fs;", "std::fs"),
        ("classifier/head.rs", "use tract_core::prelude::*;", "tract_core"),
        ("helpers/mod.rs", "", "belongs to no layer"),
        ("kernels/linear.rs", "use std::time::Instant;", "std::time::Instant"),
        ("kernels/linear.rs", "use tract_core::prelude::*;", "tract_core"),
        ("kernels/linear.rs", "use jeffrey_edge::terms::Label;", "jeffrey_edge::terms"),
        // None of these is a fault.
        (
            "shell/cli/mod.rs",
            "use std::{env, fs}; use crate::wire::Answer; fn f() { println!() }",
            "",
        ),
        ("wire/mod.rs", "use crate::{classifier, terms, evaluation};", ""),
        ("classifier/encoder.rs", "use tract_core::prelude::*; use super::files;", ""),
        ("terms.rs", "//! Not `std::fs`.\n// use crate::wire;\n/* std::env /* twice */ */", ""),
        (
            "terms.rs",
            "let a = \"use std::fs; \\\" println!()\"; let b = '\"'; let c = r#\"std::env\"#;",
            "",
        ),
        ("terms.rs", "fn f<'a>(worker: &'a str) -> &'a str { worker }", ""),
        ("terms.rs", "use std::fmt; use std::time::Duration; writeln!(f)", ""),
        ("classifier/mod.rs", "use decide::shell_like; mod wired;", ""),
        (ROOT, "pub mod terms;\npub mod shell;", ""),
    ];
    for (path, code, expected) in rows {
        let found = faults_of(path, code);
        if expected.is_empty() {
            assert!(found.is_empty(), "{path}: {code:?} gave {found:?}");
        } else {
            let named = found.iter().any(|fault| fault.contains(expected));
            assert!(named, "{path}: {code:?} gave {found:?}, not {expected}");
        }
    }
}

/// What is wrong in one file, named by its path under `src`.
fn faults_of(path: &str, code: &str) -> Vec<String> {
    if path == ROOT {
        return Vec::new();
    }
    let layer = path.split(['/', '.']).next().unwrap_or_default();
    let Some(place) = LAYERS.iter().position(|name| *name == layer) else {
        return vec![format!("{path}: belongs to no layer of tests/layers.rs")];
    };
    let tokens = tokens(&without_comments_and_strings(code));
    let mut faults = Vec::new();
    for named in paths(&tokens) {
        let segments: Vec<&str> = named.split("::").collect();
        let from_root =
            segments.iter().position(|part| !matches!(*part, "crate" | "super" | "jeffrey_edge"));
        let first = segments[from_root.unwrap_or(0)];
        let upwards = from_root.is_some_and(|at| at > 0) && LAYERS[place + 1..].contains(&first);
        let banned = layer != SHELL && BANNED_PATHS.iter().any(|banned| is_below(&named, banned));
        let tract = segments[0].starts_with(TRACT.0) && path != TRACT.1;
        if upwards || banned || tract {
            faults.push(format!("{path}: names `{named}`"));
        }
    }
    if layer != SHELL {
        for pair in tokens.windows(2) {
            if pair[1] == "!" && BANNED_MACROS.contains(&pair[0].as_str()) {
                faults.push(format!("{path}: calls `{}!`", pair[0]));
            }
        }
    }
    faults
}

/// `std::fs::File` is below `std::fs`; `std::fsx` is not. A crate is meant where a path goes on.
fn is_below(path: &str, banned: &str) -> bool {
    match path.strip_prefix(banned) {
        Some("") => banned.contains("::"),
        Some(rest) => rest.starts_with("::"),
        None => false,
    }
}

/// Every path of two segments or more, with the groups of `use` written out.
fn paths(tokens: &[String]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut at = 0;
    while at < tokens.len() {
        let continues = at > 0 && tokens[at - 1] == "::" && at > 1 && is_word(&tokens[at - 2]);
        if is_word(&tokens[at]) && !continues {
            at = path(tokens, at, "", &mut found);
        } else {
            at += 1;
        }
    }
    found
}

/// The path that starts at `at`, under `prefix`; returns the place after it.
fn path(tokens: &[String], mut at: usize, prefix: &str, found: &mut BTreeSet<String>) -> usize {
    let mut named = prefix.to_owned();
    while let Some(token) = tokens.get(at).filter(|token| is_word(token) || *token == "*") {
        if !named.is_empty() {
            named += "::";
        }
        named += token;
        at += 1;
        if tokens.get(at).map(String::as_str) != Some("::") {
            break;
        }
        at += 1;
        if tokens.get(at).map(String::as_str) == Some("{") {
            at += 1;
            while at < tokens.len() && tokens[at] != "}" {
                let before = at;
                at = path(tokens, at, &named, found);
                // A comma, or something that is no group of names: go on.
                at += usize::from(at == before);
            }
            at += 1;
            break;
        }
    }
    if named.contains("::") {
        found.insert(named);
    }
    at
}

fn is_word(token: &str) -> bool {
    token.starts_with(|first: char| first.is_alphabetic() || first == '_')
}

/// Words, `::`, and every other visible character by itself.
fn tokens(code: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut rest = code.chars().peekable();
    while let Some(next) = rest.next() {
        let mut token = String::from(next);
        if next.is_alphanumeric() || next == '_' {
            while let Some(more) = rest.next_if(|more| more.is_alphanumeric() || *more == '_') {
                token.push(more);
            }
        } else if next == ':' && rest.next_if_eq(&':').is_some() {
            token.push(':');
        }
        if !next.is_whitespace() {
            tokens.push(token);
        }
    }
    tokens
}

/// The code with a blank in place of each comment and each literal in quotes.
fn without_comments_and_strings(code: &str) -> String {
    let mut kept = String::new();
    let mut rest = code;
    while let Some(first) = rest.chars().next() {
        let length = skipped(rest, kept.chars().last()).unwrap_or(0);
        if length > 0 {
            kept.push(' ');
            rest = &rest[length..];
        } else {
            kept.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    kept
}

/// Length of the comment or literal that `rest` starts with, if it does.
fn skipped(rest: &str, before: Option<char>) -> Option<usize> {
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return Some(block_comment(rest));
    }
    if rest.starts_with('"') {
        return Some(quoted(rest, '"'));
    }
    let in_word = before.is_some_and(|before| before.is_alphanumeric() || before == '_');
    if let Some(raw) = rest.strip_prefix('r').filter(|_| !in_word) {
        let marks = raw.chars().take_while(|mark| *mark == '#').count();
        if let Some(body) = raw[marks..].strip_prefix('"') {
            let end = format!("\"{}", "#".repeat(marks));
            let before_body = rest.len() - body.len();
            let length = body.find(&end).map_or(body.len(), |at| at + end.len());
            return Some(before_body + length);
        }
    }
    // A character, not a lifetime: escaped, or closed after one.
    if let Some(body) = rest.strip_prefix('\'') {
        let mut chars = body.chars();
        let (one, two) = (chars.next()?, chars.next()?);
        if one == '\\' || two == '\'' {
            return Some(quoted(rest, '\''));
        }
    }
    None
}

fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, next) in rest.char_indices().skip(1) {
        match next {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if next == quote => return at + next.len_utf8(),
            _ => {}
        }
    }
    rest.len()
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}
