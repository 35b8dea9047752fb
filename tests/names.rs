//! Checks the names, the doc comments and the length of functions of the workspace by counts, so
//! that the field's language stays.
//!
//! Reads the sources without the modules `tests`. The limits of names and doc comments are those
//! that a review from outside found in well-kept crates of the field.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed, and says where")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Attribute, Expr, ExprLit, Lit, Meta};

/// Folders with sources that are not tests.
const FOLDERS: [&str; 3] = ["src", "crates", "tests/wasm/src"];

/// Most types that may share their name with another, of all types, in percent.
const SHARED_NAMES_MAX: usize = 8;

/// Types that say nothing without their domain.
const VAGUE_NAMES: [&str; 8] =
    ["Answer", "Arguments", "Call", "Kind", "Memory", "Part", "Shape", "Word"];

/// First words of a doc comment that puts a clause where its subject belongs.
const CLAUSE_STARTS: [&str; 5] = ["What", "Who", "Why", "It", "Of"];

/// Most doc comments that may begin with one of them, of all doc comments, in percent.
const CLAUSE_STARTS_MAX: usize = 6;

/// Fewest words of a doc comment: one shorter only repeats the name.
const DOC_WORDS_MIN: usize = 4;

/// Most lines of a function, from the line of its `fn` to that of its closing brace.
const FUNCTION_LINES_MAX: usize = 70;

/// Function with a body: its name, the line of its `fn`, and its length in lines.
#[derive(Debug, PartialEq)]
struct FunctionLength {
    name: String,
    line: usize,
    lines: usize,
}

/// Collects what a file names: types, and the first paragraphs of doc comments, each with its file.
#[derive(Default)]
struct Found {
    file: String,
    types: Vec<(String, String)>,
    docs: Vec<(String, String)>,
    /// The lines of the doc comment that is being read.
    doc: Vec<String>,
}

#[test]
fn types_have_names_of_their_own() {
    let types = workspace().types;
    let mut places: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, file) in &types {
        places.entry(name).or_default().push(file);
    }
    let shared: Vec<_> = places.iter().filter(|(_, files)| files.len() > 1).collect();
    let count: usize = shared.iter().map(|(_, files)| files.len()).sum();
    assert!(
        count * 100 <= types.len() * SHARED_NAMES_MAX,
        "{count} of {} types share their name, at most {SHARED_NAMES_MAX} % may: {shared:#?}",
        types.len(),
    );
    let vague: Vec<_> =
        types.iter().filter(|(name, _)| VAGUE_NAMES.contains(&name.as_str())).collect();
    assert!(vague.is_empty(), "names without their domain: {vague:#?}");
}

#[test]
fn doc_comments_begin_with_their_subject() {
    let docs = workspace().docs;
    let clauses: Vec<_> = docs
        .iter()
        .filter(|(line, _)| {
            CLAUSE_STARTS.contains(&line.split_whitespace().next().unwrap_or_default())
        })
        .collect();
    assert!(
        clauses.len() * 100 <= docs.len() * CLAUSE_STARTS_MAX,
        "{} of {} doc comments begin with one of {CLAUSE_STARTS:?}, at most {CLAUSE_STARTS_MAX} % may: {clauses:#?}",
        clauses.len(),
        docs.len(),
    );
}

#[test]
fn doc_comments_say_more_than_the_name() {
    let docs = workspace().docs;
    let short: Vec<_> =
        docs.iter().filter(|(line, _)| line.split_whitespace().count() < DOC_WORDS_MIN).collect();
    assert!(
        short.is_empty(),
        "{} doc comments of fewer than {DOC_WORDS_MIN} words: {short:#?}",
        short.len(),
    );
}

#[test]
fn functions_fit_on_a_page() {
    let mut count = 0;
    let mut long = Vec::new();
    for (file, text) in read_sources() {
        for function in find_functions(text.parse().unwrap()) {
            let FunctionLength { name, line, lines } = &function;
            count += 1;
            if *lines > FUNCTION_LINES_MAX {
                long.push(format!("{file}:{line}: {name} has {lines} lines"));
            }
        }
    }
    assert!(count > 1_000, "{count} functions: the sources are not there");
    assert!(long.is_empty(), "more than {FUNCTION_LINES_MAX} lines:\n{}", long.join("\n"));
}

#[test]
fn planted_functions_are_counted_and_those_of_tests_are_not() {
    let code = "
        const TABLE: [u8; 2] = [
            1, 2];
        impl Reads for Row { fn read<const N: usize>(
            &self,
        ) -> [u8; N] where Self: Sized, {
            fn inner() {
            }
        } }
        trait Writes { fn write(&self); fn flush(&self) {
        } }
        macro_rules! getter { ($name:ident) => { fn $name() {

        } } }
        type Check = fn(&str) -> bool;
        mod tests { fn long() {

        } }
    ";
    let found = find_functions(code.parse().unwrap());
    let rows: Vec<_> = found.iter().map(|f| (f.name.as_str(), f.line, f.lines)).collect();
    assert_eq!(rows, [("read", 4, 6), ("inner", 7, 2), ("flush", 10, 2), ("$name", 12, 3)]);
}

#[test]
fn planted_names_and_docs_are_found() {
    let code = "
        /// Why.
        pub struct Word(u8);
        pub(crate) enum Kind { /** An item. */ A }
        trait Reads { type Item; fn read(&self); }
        /// Reads a line
        /// of a log.
        mod inner { /** Of an isolate. */ type Row = u8; }
        mod tests { /// Not read.
            struct Local; }
    ";
    let mut found = Found::default();
    found.visit_file(&syn::parse_file(code).unwrap());
    let names: Vec<&str> = found.types.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["Word", "Kind", "Reads", "Row"]);
    let docs: Vec<&str> = found.docs.iter().map(|(line, _)| line.as_str()).collect();
    assert_eq!(docs, ["Why.", "An item.", "Reads a line of a log.", "Of an isolate."]);
}

/// Returns the types and doc comments of all sources.
fn workspace() -> Found {
    let mut found = Found::default();
    for (file, text) in read_sources() {
        found.file = file;
        found.visit_file(&syn::parse_file(&text).unwrap());
    }
    assert!(found.types.len() > 300 && found.docs.len() > 1000, "the sources are not there");
    found
}

/// Returns the path and the text of all sources that are not tests.
fn read_sources() -> Vec<(String, String)> {
    let mut sources = Vec::new();
    let mut open: Vec<PathBuf> = FOLDERS.iter().map(|folder| root().join(folder)).collect();
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                if !path.ends_with("tests") && !path.ends_with("target") {
                    open.push(path);
                }
            } else if path.extension().is_some_and(|ending| ending == "rs")
                && !path.ends_with("tests.rs")
            {
                let file = path.strip_prefix(root()).unwrap().display().to_string();
                sources.push((file, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    sources
}

/// Returns the functions of a source that have a body, also those of macros, in order. Those of
/// modules `tests` are left out.
fn find_functions(tokens: TokenStream) -> Vec<FunctionLength> {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mut functions = Vec::new();
    for (index, token) in tokens.iter().enumerate() {
        let is_tests = matches!(&tokens[..index], [.., TokenTree::Ident(keyword), TokenTree::Ident(name)]
            if keyword == "mod" && name == "tests");
        match token {
            TokenTree::Ident(keyword) if keyword == "fn" => {
                functions.extend(measure_function(&tokens[index..]));
            }
            TokenTree::Group(group) if !is_tests => {
                functions.extend(find_functions(group.stream()))
            }
            _ => {}
        }
    }
    functions
}

/// Measures the function whose `fn` is the first token; `None` for a type such as `fn(&str)` and
/// for a function without a body.
fn measure_function(tokens: &[TokenTree]) -> Option<FunctionLength> {
    // A macro's function may have a name such as `$name`.
    let is_name = |token: &TokenTree| match token {
        TokenTree::Ident(_) => true,
        TokenTree::Punct(punct) => punct.as_char() == '$',
        _ => false,
    };
    let name_end = tokens.iter().position(|token| !is_name(token))?;
    let name: String = tokens[1..name_end].iter().map(ToString::to_string).collect();
    let end = tokens.iter().find(|token| match token {
        TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
        TokenTree::Punct(punct) => punct.as_char() == ';',
        _ => false,
    })?;
    let TokenTree::Group(body) = end else { return None };
    let (line, last_line) = (tokens[0].span().start().line, body.span_close().end().line);
    (!name.is_empty()).then_some(FunctionLength { name, line, lines: last_line + 1 - line })
}

impl<'ast> Visit<'ast> for Found {
    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        if module.ident != "tests" {
            visit::visit_item_mod(self, module);
        }
    }

    fn visit_item_struct(&mut self, item: &'ast syn::ItemStruct) {
        self.types.push((item.ident.to_string(), self.file.clone()));
        visit::visit_item_struct(self, item);
    }

    fn visit_item_enum(&mut self, item: &'ast syn::ItemEnum) {
        self.types.push((item.ident.to_string(), self.file.clone()));
        visit::visit_item_enum(self, item);
    }

    fn visit_item_trait(&mut self, item: &'ast syn::ItemTrait) {
        self.types.push((item.ident.to_string(), self.file.clone()));
        visit::visit_item_trait(self, item);
    }

    // Not the associated types: their trait names them.
    fn visit_item_type(&mut self, item: &'ast syn::ItemType) {
        self.types.push((item.ident.to_string(), self.file.clone()));
        visit::visit_item_type(self, item);
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        self.doc.extend(doc_line(attribute));
    }

    // An item's attributes are visited before its visibility and its name.
    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {
        self.end_doc();
    }

    fn visit_ident(&mut self, _: &'ast syn::Ident) {
        self.end_doc();
    }
}

impl Found {
    /// Keeps the first paragraph of the doc comment that was read.
    fn end_doc(&mut self) {
        let lines = std::mem::take(&mut self.doc);
        let paragraph = lines.split(|line| line.is_empty()).next().unwrap_or_default();
        if !paragraph.is_empty() {
            self.docs.push((paragraph.join(" "), self.file.clone()));
        }
    }
}

/// The line of a doc attribute, trimmed.
fn doc_line(attribute: &Attribute) -> Option<String> {
    let Meta::NameValue(meta) = &attribute.meta else { return None };
    let Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) = &meta.value else { return None };
    meta.path.is_ident("doc").then(|| text.value().trim().to_owned())
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
