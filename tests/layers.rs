//! Checks the parts of the structure that the compiler cannot: no circle of files in a crate,
//! the order of the core's modules, and no clock, file, environment, network or output in the
//! libraries.
//!
//! The manifests say which crate may use which, so the compiler checks that, platform crates
//! included. This test reads the sources as tokens, so it also sees the wasm programs and code
//! inside macros.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed, and says where")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// Source folders of crates that touch nothing outside their arguments.
const LIBRARIES: [&str; 13] = [
    "src",
    "crates/anytime/src",
    "crates/classifier/src",
    "crates/evaluation/src",
    "crates/gateway-service/src",
    "crates/kernels/src",
    "crates/mask/src",
    "crates/native-host/src",
    "crates/text-table/src",
    "crates/shipped/src",
    "crates/terms/src",
    "crates/http-api/src",
    "crates/http-core/src",
];

/// Source folders of the other crates: programs, and the support that a program needs of its host.
const PROGRAMS: [&str; 10] = [
    "crates/bindgen/src",
    "crates/browser/src",
    "crates/cli/src",
    "crates/gateway-worker/src",
    "crates/model-checking/src",
    "crates/model-worker/src",
    "crates/simulation/src",
    "crates/wasm-host/src",
    "crates/worker-http/src",
    "tests/wasm/src",
];

/// Folders of the core whose modules stand in order: each uses only those before it. Tests may use
/// any module of the gateway.
const ORDERED_MODULES: [(&str, &[&str]); 2] = [
    ("src/", &["catalogue", "telemetry", "rollout", "gateway"]),
    (
        "src/gateway/",
        &[
            "upstream",
            "events",
            "http",
            "export",
            "notify",
            "aggregate",
            "store",
            "config",
            "request",
            "api",
        ],
    ),
];

/// Paths that no library may name, nor anything below them.
const BANNED_PATHS: [&str; 7] = [
    "std::env",
    "std::fs",
    "std::net",
    "std::process",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
];

/// Macros that no library may call.
const BANNED_MACROS: [&str; 5] = ["dbg", "eprint", "eprintln", "print", "println"];

/// The only file that may name the inference library.
const TRACT: (&str, &str) = ("tract_core", "crates/classifier/src/encoder.rs");

#[test]
fn every_crate_is_listed_as_library_or_program() {
    let mut folders = vec!["src".to_owned(), "tests/wasm/src".to_owned()];
    for entry in fs::read_dir(root().join("crates")).unwrap() {
        folders.push(format!("crates/{}/src", entry.unwrap().file_name().to_string_lossy()));
    }
    let listed: BTreeSet<&str> = LIBRARIES.into_iter().chain(PROGRAMS).collect();
    assert_eq!(folders.iter().map(String::as_str).collect::<BTreeSet<_>>(), listed);
}

#[test]
fn libraries_name_nothing_outside_their_arguments() {
    let mut faults = Vec::new();
    for folder in LIBRARIES {
        for (path, code) in read_sources(folder) {
            faults.extend(find_faults(&path, &code));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn no_files_of_a_crate_import_each_other_in_a_circle() {
    let cycles: Vec<String> = LIBRARIES
        .into_iter()
        .chain(PROGRAMS)
        .flat_map(|folder| find_cycles(&read_sources(folder), folder))
        .map(|cycle| cycle.join(", "))
        .collect();
    assert!(cycles.is_empty(), "{}", cycles.join("\n"));
}

#[test]
fn planted_faults_are_found() {
    let rows = [
        // path, code, part of the fault that is found; empty if there is no fault
        ("crates/terms/src/lib.rs", "use std::fs;", "std::fs"),
        ("crates/terms/src/lib.rs", "use std::{fmt, fs::File};", "std::fs::File"),
        ("crates/terms/src/lib.rs", "use std::{fmt, time::{Duration, Instant}};", "time::Instant"),
        (
            "src/gateway/api/mod.rs",
            "fn f() { let now = std::time::SystemTime::now(); }",
            "SystemTime",
        ),
        (
            "src/gateway/api/mod.rs",
            "fn f() { let home = ::std::env::var(\"HOME\"); }",
            "std::env::var",
        ),
        ("crates/http-api/src/lib.rs", "use std::net::IpAddr;", "std::net"),
        ("crates/http-api/src/cors.rs", "fn f() { println!(\"{}\", 1); }", "println!"),
        ("crates/http-api/src/cors.rs", "fn f() { std::eprintln!(\"{}\", 1); }", "eprintln!"),
        ("crates/http-api/src/cors.rs", "use std /* hidden */ :: fs;", "std::fs"),
        (
            "crates/http-api/src/cors.rs",
            "macro_rules! m { () => { std::fs::read(\"a\") } }",
            "std::fs",
        ),
        ("crates/classifier/src/head.rs", "use tract_core::prelude::*;", "tract_core"),
        ("src/telemetry/latency_sketch.rs", "use crate::rollout::plan;", "crate::rollout"),
        ("src/rollout/plan/read.rs", "use super::super::super::gateway::api;", "gateway::api"),
        (
            "src/rollout/plan/read.rs",
            "mod tests { use crate::gateway::http::reply::ApiResponse; }",
            "gateway::http",
        ),
        ("src/gates/api.rs", "", "not in ORDERED_MODULES"),
        ("src/gateway/reply.rs", "", "not in ORDERED_MODULES"),
        ("src/gateway/http/reply.rs", "use crate::gateway::api::error::ApiError;", "api::error"),
        ("src/gateway/http/reply.rs", "mod tests { use crate::gateway::api::error; }", ""),
        ("src/gateway/api/error.rs", "use crate::gateway::http::reply::ApiResponse;", ""),
        // None of these is a fault.
        ("src/gateway/api/mod.rs", "use crate::{rollout, telemetry::latency_sketch};", ""),
        ("crates/classifier/src/encoder.rs", "use tract_core::prelude::*;", ""),
        (
            "crates/mask/src/network.rs",
            "//! Not `std::fs`.\n// std::env\n/* std::env /* twice */ */",
            "",
        ),
        ("crates/mask/src/network.rs", "const A: &str = r#\"use std::fs; \\\" println!()\"#;", ""),
        ("crates/mask/src/network.rs", "use std::fmt; use core::net::Ipv6Addr;", ""),
        ("crates/mask/src/network.rs", "fn f() { writeln!(f); }", ""),
    ];
    for (path, code, expected) in rows {
        let faults = find_faults(path, code);
        if expected.is_empty() {
            assert!(faults.is_empty(), "{path}: {code:?} gave {faults:?}");
        } else {
            let is_reported = faults.iter().any(|fault| fault.contains(expected));
            assert!(is_reported, "{path}: {code:?} gave {faults:?}, not {expected}");
        }
    }
}

#[test]
fn planted_import_cycles_are_found() {
    let file = |path: &str, code: &str| (path.to_owned(), code.to_owned());
    let lib = file("src/lib.rs", "mod a; mod b; mod c; pub use a::A;");
    // Through a group, through `super`, and through a module between them.
    let a = file("src/a/mod.rs", "mod deep; use crate::{b::{self, B}, c};");
    let deep = file("src/a/deep.rs", "use super::A; use super::super::c::C;");
    for (import, expected_cycle) in [
        ("fn f() { m!(crate::a::A) }", "src/a/mod.rs, src/b.rs"),
        ("mod inner { use super::super::a::A; }", "src/a/mod.rs, src/b.rs"),
        // Tests may import any file.
        ("mod tests { use super::super::a::A; }", ""),
        ("use super::c;", ""),
        ("// use crate::a;", ""),
    ] {
        let sources =
            [lib.clone(), a.clone(), deep.clone(), file("src/b.rs", import), file("src/c.rs", "")];
        let cycles: Vec<String> =
            find_cycles(&sources, "src").iter().map(|circle| circle.join(", ")).collect();
        let expected =
            if expected_cycle.is_empty() { Vec::new() } else { vec![expected_cycle.to_owned()] };
        assert_eq!(cycles, expected, "{import}");
    }
}

/// Returns the faults of one file of a library.
fn find_faults(path: &str, code: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let items = collect_names(code, &module_path(path, "src"), true);
    let banned = items.paths.iter().map(|path| path.join("::")).filter(|named| {
        let tract = named.split("::").next() == Some(TRACT.0) && path != TRACT.1;
        tract || BANNED_PATHS.iter().any(|banned| is_below(named, banned))
    });
    faults.extend(banned.map(|banned_path| format!("{path}: names `{banned_path}`")));
    let called = items.macros.iter().filter(|name| BANNED_MACROS.contains(&name.as_str()));
    faults.extend(called.map(|name| format!("{path}: calls `{name}!`")));

    for (folder, order) in ORDERED_MODULES {
        let own_module = module_path(folder, "src");
        let Some(module) = path.strip_prefix(folder).and_then(|rest| rest.split(['/', '.']).next())
        else {
            continue;
        };
        if ["lib", "mod"].contains(&module) {
            continue;
        }
        let Some(position) = order.iter().position(|name| *name == module) else {
            faults.push(format!("{path}: `{module}` is not in ORDERED_MODULES"));
            continue;
        };
        let with_tests = own_module.is_empty();
        for named in collect_names(code, &module_path(path, "src"), with_tests).paths {
            let below = named
                .strip_prefix(&["crate".to_owned()])
                .and_then(|inside| inside.strip_prefix(own_module.as_slice()));
            let later = below
                .and_then(<[String]>::first)
                .is_some_and(|name| order[position + 1..].contains(&name.as_str()));
            if later {
                faults.push(format!("{path}: names `{}`", named.join("::")));
            }
        }
    }
    faults
}

/// Returns whether a path is `banned` or below it: `std::fs::File` is below `std::fs`, `std::fsx`
/// is not.
fn is_below(path: &str, banned: &str) -> bool {
    path.strip_prefix(banned).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// Returns the groups of files that import each other, each sorted by path. Imports between a
/// module and the files below it do not count, and neither do those of tests.
fn find_cycles(sources: &[(String, String)], folder: &str) -> Vec<Vec<String>> {
    let modules: BTreeMap<Vec<String>, &str> =
        sources.iter().map(|(path, _)| (module_path(path, folder), path.as_str())).collect();
    let mut imports: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (path, code) in sources {
        let module = module_path(path, folder);
        for import in collect_names(code, &module, false).paths {
            let Some(target) = resolve_module(&import, &module, &modules) else { continue };
            if !target.starts_with(&module) && !module.starts_with(&target) {
                imports.entry(path).or_default().insert(modules[&target]);
            }
        }
    }
    let reachable_from = |from: &str| -> BTreeSet<String> {
        let mut visited = BTreeSet::new();
        let mut queue = vec![from.to_owned()];
        while let Some(current) = queue.pop() {
            for next in imports.get(current.as_str()).into_iter().flatten() {
                if visited.insert((*next).to_owned()) {
                    queue.push((*next).to_owned());
                }
            }
        }
        visited
    };
    let reachable: BTreeMap<&str, BTreeSet<String>> =
        imports.keys().map(|path| (*path, reachable_from(path))).collect();
    let mut cycles = BTreeSet::new();
    for (path, below) in reachable.iter().filter(|(path, below)| below.contains(**path)) {
        let is_mutual =
            |other: &&String| reachable.get(other.as_str()).is_some_and(|its| its.contains(*path));
        cycles.insert(below.iter().filter(is_mutual).cloned().collect::<Vec<_>>());
    }
    cycles.into_iter().collect()
}

/// Returns the module that a path leads into, of the crate or of the module that names it.
fn resolve_module(
    path: &[String],
    from: &[String],
    modules: &BTreeMap<Vec<String>, &str>,
) -> Option<Vec<String>> {
    let absolute = match path.split_first()? {
        (first, rest) if first == "crate" => rest.to_vec(),
        _ => [from, path].concat(),
    };
    // A relative path has to use at least one of its segments: one that leads nowhere is of another
    // crate.
    let length_min = if path[0] == "crate" { 0 } else { from.len() + 1 };
    (length_min..=absolute.len())
        .rev()
        .map(|length| absolute[..length].to_vec())
        .find(|module| modules.contains_key(module))
}

/// Returns the module path of a file of a crate: `src/a/mod.rs` and `src/a.rs` are `a`.
fn module_path(path: &str, folder: &str) -> Vec<String> {
    let inside = path.strip_prefix(folder).unwrap_or(path).trim_end_matches(".rs");
    let mut module: Vec<String> =
        inside.split('/').filter(|segment| !segment.is_empty()).map(str::to_owned).collect();
    if module.last().is_some_and(|last| ["mod", "lib", "main"].contains(&last.as_str())) {
        module.pop();
    }
    module
}

/// Paths and macros that a file names.
#[derive(Default)]
struct NamedItems {
    with_tests: bool,
    /// Paths of two segments or more, with the groups of `use` expanded. `super` and `self` are
    /// resolved, so a path of this crate begins with `crate` or with an item of the file's module.
    paths: BTreeSet<Vec<String>>,
    /// Names of the macros that are called.
    macros: BTreeSet<String>,
}

/// Collects the names in a file, with or without its modules `tests`.
fn collect_names(code: &str, module: &[String], with_tests: bool) -> NamedItems {
    let mut names = NamedItems { with_tests, ..NamedItems::default() };
    let stream: TokenStream = code.parse().unwrap();
    read_tokens(stream, module, &mut names);
    names
}

/// Reads the tokens of a module; `module` is its path.
fn read_tokens(stream: TokenStream, module: &[String], names: &mut NamedItems) {
    let tokens: Vec<TokenTree> = stream.into_iter().collect();
    let mut index = 0;
    while index < tokens.len() {
        match &tokens[index..] {
            // In a module within the file, `super` is this module.
            [TokenTree::Ident(keyword), TokenTree::Ident(name), TokenTree::Group(body), ..]
                if keyword == "mod" =>
            {
                if names.with_tests || name != "tests" {
                    let inner = [module, &[name.to_string()]].concat();
                    read_tokens(body.stream(), &inner, names);
                }
                index += 3;
            }
            [TokenTree::Ident(name), TokenTree::Punct(mark), TokenTree::Group(body), ..]
                if mark.as_char() == '!' =>
            {
                names.macros.insert(name.to_string());
                read_tokens(body.stream(), module, names);
                index += 3;
            }
            [TokenTree::Ident(_), ..] => {
                index = read_path(&tokens, index, Vec::new(), module, names)
            }
            [TokenTree::Group(group), ..] => {
                read_tokens(group.stream(), module, names);
                index += 1;
            }
            _ => index += 1,
        }
    }
}

/// Reads the path that starts at `index`, under `prefix`; returns the index after it.
fn read_path(
    tokens: &[TokenTree],
    mut index: usize,
    prefix: Vec<String>,
    module: &[String],
    names: &mut NamedItems,
) -> usize {
    let mut segments = prefix;
    while let Some(TokenTree::Ident(segment)) = tokens.get(index) {
        segments.push(segment.to_string());
        index += 1;
        if !is_separator(tokens, index) {
            break;
        }
        match tokens.get(index + 2) {
            Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                let mut inner_index = 0;
                while inner_index < inner.len() {
                    let next = read_path(&inner, inner_index, segments.clone(), module, names);
                    inner_index = next.max(inner_index + 1);
                }
                return index + 3;
            }
            // A macro that is called by its path.
            Some(TokenTree::Ident(name)) if matches!(tokens.get(index + 3), Some(TokenTree::Punct(mark)) if mark.as_char() == '!') =>
            {
                names.macros.insert(name.to_string());
                index += 2;
            }
            Some(TokenTree::Ident(_)) => index += 2,
            _ => {
                index += 2;
                break;
            }
        }
    }
    if segments.len() > 1 {
        names.paths.insert(resolve_relative(&segments, module));
    }
    index
}

fn is_separator(tokens: &[TokenTree], index: usize) -> bool {
    let is_colon = |token: Option<&TokenTree>| matches!(token, Some(TokenTree::Punct(mark)) if mark.as_char() == ':');
    is_colon(tokens.get(index)) && is_colon(tokens.get(index + 1))
}

/// Returns the path with `self` and `super` at its beginning resolved.
fn resolve_relative(path: &[String], module: &[String]) -> Vec<String> {
    let relative_count =
        path.iter().take_while(|segment| ["self", "super"].contains(&segment.as_str())).count();
    if relative_count == 0 {
        return path.to_vec();
    }
    let supers = path[..relative_count].iter().filter(|segment| *segment == "super").count();
    let parent = &module[..module.len().saturating_sub(supers)];
    [&["crate".to_owned()], parent, &path[relative_count..]].concat()
}

/// Returns the files in a folder and below: their paths under the project's root, and their text.
fn read_sources(folder: &str) -> Vec<(String, String)> {
    let mut files = Vec::new();
    collect_files(&root().join(folder), &mut files);
    assert!(!files.is_empty(), "no file under {folder}");
    let with_path = |file: PathBuf| {
        let path = file.strip_prefix(root()).unwrap().to_string_lossy().replace('\\', "/");
        (path, fs::read_to_string(file).unwrap())
    };
    files.into_iter().map(with_path).collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn collect_files(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect_files(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}
