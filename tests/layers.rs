//! Checks the parts of the structure that the compiler cannot: no new circle of files inside a crate, the
//! order of the core's modules, and no clock, file, environment, network or screen in the libraries.
//!
//! The manifests say which crate may use which, so the compiler checks that, platform crates included.
//! This test reads the sources as tokens, so it also sees the wasm programs and code inside macros.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed, and says where")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// Source folders of crates that touch nothing outside their arguments.
const LIBRARIES: [&str; 10] = [
    "src",
    "crates/anytime/src",
    "crates/classifier/src",
    "crates/evaluation/src",
    "crates/kernels/src",
    "crates/mask/src",
    "crates/sheet/src",
    "crates/shipped/src",
    "crates/terms/src",
    "crates/wire/src",
];

/// Source folders of crates that run: each is a program, or what a program needs of its host.
const PROGRAMS: [&str; 7] = [
    "crates/bindgen/src",
    "crates/browser/src",
    "crates/cli/src",
    "crates/gateway-worker/src",
    "crates/model-worker/src",
    "crates/wasm-host/src",
    "tests/wasm/src",
];

/// The core's modules: each uses only those before it.
const CORE_ORDER: [&str; 3] = ["telemetry", "rollout", "gate"];

/// Paths that no library names, nor anything below them.
const BANNED_PATHS: [&str; 7] = [
    "std::env",
    "std::fs",
    "std::net",
    "std::process",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
];

/// Macros that no library calls.
const BANNED_MACROS: [&str; 5] = ["dbg", "eprint", "eprintln", "print", "println"];

/// The only file that may name the inference library.
const TRACT: (&str, &str) = ("tract_core", "crates/classifier/src/encoder.rs");

/// Circles of files that import each other. The list may only get shorter, and so may each circle.
const CIRCLES: [&[&str]; 4] = [
    &["crates/classifier/src/encoder.rs", "crates/classifier/src/files.rs"],
    &["crates/wire/src/error.rs", "crates/wire/src/json.rs"],
    &[
        "src/gate/access.rs",
        "src/gate/answer.rs",
        "src/gate/contract.rs",
        "src/gate/event.rs",
        "src/gate/feedback.rs",
        "src/gate/figures.rs",
        "src/gate/intake.rs",
        "src/gate/metrics.rs",
        "src/gate/otlp.rs",
        "src/gate/own.rs",
        "src/gate/settings.rs",
        "src/gate/shard.rs",
        "src/gate/sink.rs",
        "src/gate/tally.rs",
        "src/gate/webhook.rs",
        "src/gate/words.rs",
    ],
    &["src/rollout/plan/fields.rs", "src/rollout/plan/freeze.rs"],
];

#[test]
fn every_crate_is_listed_as_library_or_program() {
    let mut found = vec!["src".to_owned(), "tests/wasm/src".to_owned()];
    for entry in fs::read_dir(root().join("crates")).unwrap() {
        found.push(format!("crates/{}/src", entry.unwrap().file_name().to_string_lossy()));
    }
    let listed: BTreeSet<&str> = LIBRARIES.into_iter().chain(PROGRAMS).collect();
    assert_eq!(found.iter().map(String::as_str).collect::<BTreeSet<_>>(), listed);
}

#[test]
fn libraries_name_nothing_outside_their_arguments() {
    let mut faults = Vec::new();
    for folder in LIBRARIES {
        for (path, code) in sources(folder) {
            faults.extend(faults_of(&path, &code));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn no_circle_of_files_is_new() {
    let mut faults = Vec::new();
    for folder in LIBRARIES.into_iter().chain(PROGRAMS) {
        faults.extend(circle_faults(&circles(&sources(folder), folder), folder));
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn planted_faults_are_found() {
    let rows = [
        // path, code, part of the fault found; empty for none
        ("crates/terms/src/lib.rs", "use std::fs;", "std::fs"),
        ("crates/terms/src/lib.rs", "use std::{fmt, fs::File};", "std::fs::File"),
        ("crates/terms/src/lib.rs", "use std::{fmt, time::{Duration, Instant}};", "time::Instant"),
        ("src/gate/own.rs", "fn f() { let now = std::time::SystemTime::now(); }", "SystemTime"),
        ("src/gate/own.rs", "fn f() { let home = ::std::env::var(\"HOME\"); }", "std::env::var"),
        ("crates/wire/src/lib.rs", "use std::net::IpAddr;", "std::net"),
        ("crates/wire/src/cors.rs", "fn f() { println!(\"{}\", 1); }", "println!"),
        ("crates/wire/src/cors.rs", "fn f() { std::eprintln!(\"{}\", 1); }", "eprintln!"),
        ("crates/wire/src/cors.rs", "use std /* hidden */ :: fs;", "std::fs"),
        ("crates/wire/src/cors.rs", "macro_rules! m { () => { std::fs::read(\"a\") } }", "std::fs"),
        ("crates/classifier/src/head.rs", "use tract_core::prelude::*;", "tract_core"),
        ("src/telemetry/sketch.rs", "use crate::rollout::plan;", "crate::rollout"),
        ("src/rollout/plan/read.rs", "use super::super::super::gate::own;", "gate::own"),
        ("src/rollout/plan/read.rs", "mod tests { use crate::gate::own::Reply; }", "gate::own"),
        ("src/gates/own.rs", "", "not in CORE_ORDER"),
        // None of these is a fault.
        ("src/gate/own.rs", "use crate::{rollout, telemetry::sketch};", ""),
        ("crates/classifier/src/encoder.rs", "use tract_core::prelude::*;", ""),
        (
            "crates/mask/src/net.rs",
            "//! Not `std::fs`.\n// std::env\n/* std::env /* twice */ */",
            "",
        ),
        ("crates/mask/src/net.rs", "const A: &str = r#\"use std::fs; \\\" println!()\"#;", ""),
        ("crates/mask/src/net.rs", "use std::fmt; use core::net::Ipv6Addr;", ""),
        ("crates/mask/src/net.rs", "fn f() { writeln!(f); }", ""),
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

#[test]
fn planted_circles_are_found() {
    let file = |path: &str, code: &str| (path.to_owned(), code.to_owned());
    let lib = file("src/lib.rs", "mod a; mod b; mod c; pub use a::A;");
    // Through a group, through `super`, and through a module between them.
    let a = file("src/a/mod.rs", "mod deep; use crate::{b::{self, B}, c};");
    let deep = file("src/a/deep.rs", "use super::A; use super::super::c::C;");
    for (back, circle) in [
        ("fn f() { m!(crate::a::A) }", "src/a/mod.rs, src/b.rs"),
        ("mod inner { use super::super::a::A; }", "src/a/mod.rs, src/b.rs"),
        // A test may ask another file.
        ("mod tests { use super::super::a::A; }", ""),
        ("use super::c;", ""),
        ("// use crate::a;", ""),
    ] {
        let sources =
            [lib.clone(), a.clone(), deep.clone(), file("src/b.rs", back), file("src/c.rs", "")];
        let found: Vec<String> =
            circles(&sources, "src").iter().map(|circle| circle.join(", ")).collect();
        let expected = if circle.is_empty() { Vec::new() } else { vec![circle.to_owned()] };
        assert_eq!(found, expected, "{back}");
    }
    // A listed circle that grew, one that is new, one that is no more.
    let listed = CIRCLES[1];
    let grown = vec![[listed, &["crates/wire/src/tally.rs"]].concat()];
    let strings = |circles: Vec<Vec<&str>>| -> Vec<Vec<String>> {
        circles
            .iter()
            .map(|circle| circle.iter().map(|path| (*path).to_owned()).collect())
            .collect()
    };
    assert!(circle_faults(&strings(vec![listed.to_vec()]), "crates/wire/src").is_empty());
    assert!(!circle_faults(&strings(grown), "crates/wire/src").is_empty());
    assert!(!circle_faults(&strings(vec![vec!["src/a.rs", "src/b.rs"]]), "src").is_empty());
    assert!(!circle_faults(&[], "crates/wire/src").is_empty());
}

/// Circles that are not as listed.
fn circle_faults(found: &[Vec<String>], folder: &str) -> Vec<String> {
    let mut faults = Vec::new();
    for circle in found {
        if !CIRCLES.iter().any(|listed| circle.iter().all(|file| listed.contains(&file.as_str()))) {
            faults.push(format!("a circle that is new, or grew: {}", circle.join(", ")));
        }
    }
    for listed in CIRCLES.iter().filter(|listed| listed[0].starts_with(&format!("{folder}/"))) {
        if !found.iter().any(|circle| circle == listed) {
            faults.push(format!("shorter now, so is its entry in CIRCLES: {}", listed.join(", ")));
        }
    }
    faults
}

/// The faults of one file of a library.
fn faults_of(path: &str, code: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let named = names(code, &module_of(path, "src"), true);
    let banned = named.paths.iter().map(|path| path.join("::")).filter(|named| {
        let tract = named.split("::").next() == Some(TRACT.0) && path != TRACT.1;
        tract || BANNED_PATHS.iter().any(|banned| is_below(named, banned))
    });
    faults.extend(banned.map(|named| format!("{path}: names `{named}`")));
    let called = named.macros.iter().filter(|name| BANNED_MACROS.contains(&name.as_str()));
    faults.extend(called.map(|name| format!("{path}: calls `{name}!`")));

    let module = path.strip_prefix("src/").and_then(|rest| rest.split(['/', '.']).next());
    if let Some(module) = module.filter(|module| *module != "lib") {
        let Some(place) = CORE_ORDER.iter().position(|name| *name == module) else {
            return vec![format!("{path}: `{module}` is not in CORE_ORDER")];
        };
        for path_named in named.paths.iter().filter(|path| path[0] == "crate") {
            let later = path_named
                .get(1)
                .is_some_and(|name| CORE_ORDER[place + 1..].contains(&name.as_str()));
            if later {
                faults.push(format!("{path}: names `{}`", path_named.join("::")));
            }
        }
    }
    faults
}

/// `std::fs::File` is below `std::fs`; `std::fsx` is not.
fn is_below(path: &str, banned: &str) -> bool {
    path.strip_prefix(banned).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// Groups of files that import each other, each in the order of its paths. A module and the files below it are at
/// home with each other, and tests may ask any file: neither counts.
fn circles(sources: &[(String, String)], folder: &str) -> Vec<Vec<String>> {
    let modules: BTreeMap<Vec<String>, &str> =
        sources.iter().map(|(path, _)| (module_of(path, folder), path.as_str())).collect();
    let mut imports: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (path, code) in sources {
        let module = module_of(path, folder);
        for named in names(code, &module, false).paths {
            let Some(target) = resolved(&named, &module, &modules) else { continue };
            if !target.starts_with(&module) && !module.starts_with(&target) {
                imports.entry(path).or_default().insert(modules[&target]);
            }
        }
    }
    let reach = |from: &str| -> BTreeSet<String> {
        let mut seen = BTreeSet::new();
        let mut open = vec![from.to_owned()];
        while let Some(at) = open.pop() {
            for next in imports.get(at.as_str()).into_iter().flatten() {
                if seen.insert((*next).to_owned()) {
                    open.push((*next).to_owned());
                }
            }
        }
        seen
    };
    let reached: BTreeMap<&str, BTreeSet<String>> =
        imports.keys().map(|path| (*path, reach(path))).collect();
    let mut found = BTreeSet::new();
    for (path, below) in reached.iter().filter(|(path, below)| below.contains(**path)) {
        let with =
            |other: &&String| reached.get(other.as_str()).is_some_and(|its| its.contains(*path));
        found.insert(below.iter().filter(with).cloned().collect::<Vec<_>>());
    }
    found.into_iter().collect()
}

/// The module that a path leads into: of the crate, or of the module that names it.
fn resolved(
    path: &[String],
    from: &[String],
    modules: &BTreeMap<Vec<String>, &str>,
) -> Option<Vec<String>> {
    let absolute = match path.split_first()? {
        (first, rest) if first == "crate" => rest.to_vec(),
        _ => [from, path].concat(),
    };
    // One segment at least was taken: a relative path that leads nowhere is another crate's.
    let least = if path[0] == "crate" { 0 } else { from.len() + 1 };
    (least..=absolute.len())
        .rev()
        .map(|length| absolute[..length].to_vec())
        .find(|module| modules.contains_key(module))
}

/// The module that a file of a crate is: `src/a/mod.rs` and `src/a.rs` are `a`.
fn module_of(path: &str, folder: &str) -> Vec<String> {
    let inside = path.strip_prefix(folder).unwrap_or(path).trim_end_matches(".rs");
    let mut module: Vec<String> =
        inside.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect();
    if module.last().is_some_and(|last| ["mod", "lib", "main"].contains(&last.as_str())) {
        module.pop();
    }
    module
}

/// The paths and macros that a file names.
#[derive(Default)]
struct Names {
    with_tests: bool,
    /// Paths of two segments or more, with the groups of `use` written out. `super` and `self` are resolved, so
    /// a path of this crate begins with `crate` or with what stands in the file's module.
    paths: BTreeSet<Vec<String>>,
    /// Macros that are called.
    macros: BTreeSet<String>,
}

/// Reads a file, with or without its modules `tests`.
fn names(code: &str, module: &[String], with_tests: bool) -> Names {
    let mut found = Names { with_tests, ..Names::default() };
    let stream: TokenStream = code.parse().unwrap();
    read(stream, module, &mut found);
    found
}

/// Reads the tokens of a module, of which `module` is the path.
fn read(stream: TokenStream, module: &[String], found: &mut Names) {
    let tokens: Vec<TokenTree> = stream.into_iter().collect();
    let mut at = 0;
    while at < tokens.len() {
        match &tokens[at..] {
            // A module within the file: `super` is this one there.
            [TokenTree::Ident(word), TokenTree::Ident(name), TokenTree::Group(body), ..]
                if word == "mod" =>
            {
                if found.with_tests || name != "tests" {
                    let inner = [module, &[name.to_string()]].concat();
                    read(body.stream(), &inner, found);
                }
                at += 3;
            }
            [TokenTree::Ident(name), TokenTree::Punct(mark), TokenTree::Group(body), ..]
                if mark.as_char() == '!' =>
            {
                found.macros.insert(name.to_string());
                read(body.stream(), module, found);
                at += 3;
            }
            [TokenTree::Ident(_), ..] => at = path(&tokens, at, Vec::new(), module, found),
            [TokenTree::Group(group), ..] => {
                read(group.stream(), module, found);
                at += 1;
            }
            _ => at += 1,
        }
    }
}

/// Reads the path that starts at `at`, under `prefix`; returns the place after it.
fn path(
    tokens: &[TokenTree],
    mut at: usize,
    prefix: Vec<String>,
    module: &[String],
    found: &mut Names,
) -> usize {
    let mut named = prefix;
    while let Some(TokenTree::Ident(segment)) = tokens.get(at) {
        named.push(segment.to_string());
        at += 1;
        if !is_separator(tokens, at) {
            break;
        }
        match tokens.get(at + 2) {
            Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                let mut place = 0;
                while place < inner.len() {
                    let next = path(&inner, place, named.clone(), module, found);
                    place = next.max(place + 1);
                }
                return at + 3;
            }
            // A macro by its path.
            Some(TokenTree::Ident(name)) if matches!(tokens.get(at + 3), Some(TokenTree::Punct(mark)) if mark.as_char() == '!') =>
            {
                found.macros.insert(name.to_string());
                at += 2;
            }
            Some(TokenTree::Ident(_)) => at += 2,
            _ => {
                at += 2;
                break;
            }
        }
    }
    if named.len() > 1 {
        found.paths.insert(from_the_root(&named, module));
    }
    at
}

fn is_separator(tokens: &[TokenTree], at: usize) -> bool {
    let colon = |token: Option<&TokenTree>| matches!(token, Some(TokenTree::Punct(mark)) if mark.as_char() == ':');
    colon(tokens.get(at)) && colon(tokens.get(at + 1))
}

/// The path with `self` and `super` at its beginning resolved.
fn from_the_root(named: &[String], module: &[String]) -> Vec<String> {
    let up =
        named.iter().take_while(|segment| ["self", "super"].contains(&segment.as_str())).count();
    if up == 0 {
        return named.to_vec();
    }
    let supers = named[..up].iter().filter(|segment| *segment == "super").count();
    let kept = &module[..module.len().saturating_sub(supers)];
    [&["crate".to_owned()], kept, &named[up..]].concat()
}

/// The files of a folder and below, by their paths under the project's root.
fn sources(folder: &str) -> Vec<(String, String)> {
    let mut files = Vec::new();
    collect(&root().join(folder), &mut files);
    assert!(!files.is_empty(), "no file under {folder}");
    let named = |file: PathBuf| {
        let path = file.strip_prefix(root()).unwrap().to_string_lossy().replace('\\', "/");
        (path, fs::read_to_string(file).unwrap())
    };
    files.into_iter().map(named).collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
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
