//! Tables between `<!-- generated: NAME -->` and `<!-- end -->` of a page, which come from the code.
//!
//! A test fails if a table differs from the code. `UPDATE_DOCS=1 cargo test --test generated_docs`
//! writes it anew. The tests of other crates take this file too.

use std::fs;
use std::path::Path;

use jeffrey_http_core::settings::{VariableDoc, VariableTable};

/// Page, name of the table in it, and the table.
pub(crate) type GeneratedTable = (&'static str, &'static str, fn() -> String);

/// Compares tables with those of their pages, or writes them there.
///
/// # Panics
/// Panics if a page lacks its table or has another one.
pub(crate) fn check_tables(tables: &[GeneratedTable]) {
    let mut outdated = Vec::new();
    for (page, name, build_table) in tables {
        let path = root().join(page);
        let text = fs::read_to_string(&path).unwrap();
        let expected = replace_table(&text, name, &build_table());
        let expected = expected.unwrap_or_else(|| panic!("{page} has no table `{name}`"));
        if text == expected {
            continue;
        }
        if std::env::var_os("UPDATE_DOCS").is_some() {
            fs::write(&path, expected).unwrap();
        } else {
            outdated.push(format!("{page}, table `{name}`"));
        }
    }
    assert!(
        outdated.is_empty(),
        "these tables differ from the code: {outdated:?}\n\
         `UPDATE_DOCS=1 cargo test --test generated_docs` writes them"
    );
}

/// Builds the table of the variables that belong to `table`, by name.
pub(crate) fn variable_table(docs: &'static [VariableDoc], table: VariableTable) -> String {
    let mut lines = "| variable | meaning | default |\n|---|---|---|\n".to_owned();
    for VariableDoc { name, meaning, default, .. } in variables_of(docs, table) {
        let default = if default.is_empty() { "none".to_owned() } else { format!("`{default}`") };
        lines.push_str(&format!("| `{name}` | {meaning} | {default} |\n"));
    }
    lines
}

/// Returns the variables of a table by name.
pub(crate) fn variables_of(
    docs: &'static [VariableDoc],
    table: VariableTable,
) -> Vec<&'static VariableDoc> {
    let mut variables: Vec<_> = docs.iter().filter(|variable| variable.table == table).collect();
    variables.sort_by_key(|variable| variable.name);
    variables
}

/// Puts a table in the place of the one of that name; `None` if the page has none.
fn replace_table(page: &str, name: &str, table: &str) -> Option<String> {
    let start = format!("<!-- generated: {name} -->\n");
    let (before, rest) = page.split_once(&start)?;
    let (_, after) = rest.split_once("<!-- end -->")?;
    Some(format!("{before}{start}{table}<!-- end -->{after}"))
}

/// Returns the root of the repository: the first folder above the crate that has `docs`.
fn root() -> &'static Path {
    let mut folders = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    folders.find(|folder| folder.join("docs").is_dir()).expect("a folder with the documentation")
}

#[test]
fn a_changed_table_is_noticed() {
    let page = "a\n<!-- generated: t -->\n| x |\n<!-- end -->\nb\n";
    assert_eq!(replace_table(page, "t", "| x |\n").as_deref(), Some(page));
    let changed = replace_table(page, "t", "| y |\n").unwrap();
    assert_eq!(changed, page.replace("| x |", "| y |"));
    assert_eq!(replace_table(page, "other", ""), None);
}
