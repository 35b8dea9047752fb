//! Tables of the documentation that come from the code, and the dashboard's copy of the catalogues.
//!
//! A page has a table between `<!-- generated: NAME -->` and `<!-- end -->`. The test fails if the
//! table differs from the code. `UPDATE_DOCS=1 cargo test --test generated_docs` writes it anew, and
//! the dashboard's module of sentences as well.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed, and says where")]

use std::fs;
use std::path::Path;

use jeffrey_edge::gateway::api::auth::Role;
use jeffrey_edge::gateway::api::endpoint::{ENDPOINT_DOCS, EndpointDoc};
use jeffrey_edge::gateway::config::{VARIABLE_DOCS, VariableDoc, VariableTable};

/// Page, name of the table in it, and the table.
type GeneratedTable = (&'static str, &'static str, fn() -> String);

const TABLES: [GeneratedTable; 4] = [
    ("docs/gateway.md", "endpoints", endpoint_table),
    ("docs/gateway.md", "variables", || variable_table(VariableTable::Gateway)),
    ("docs/gateway.md", "secrets", secret_table),
    ("docs/legacy.md", "legacy variables", || variable_table(VariableTable::Legacy)),
];

#[test]
fn tables_of_the_documentation_are_those_of_the_code() {
    let mut outdated = Vec::new();
    for (page, name, build_table) in TABLES {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(page);
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

#[test]
fn the_dashboard_has_the_sentences_of_both_catalogues() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("www/dashboard/catalogue.js");
    let expected = catalogue_module();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &expected).unwrap();
    }
    assert!(
        fs::read_to_string(&path).unwrap() == expected,
        "www/dashboard/catalogue.js differs from src/catalogue/*.json\n\
         `UPDATE_DOCS=1 cargo test --test generated_docs` writes it"
    );
}

/// Returns a JavaScript module with the catalogues of both languages as they are.
fn catalogue_module() -> String {
    let entries = [
        ("en", include_str!("../src/catalogue/en.json")),
        ("fr", include_str!("../src/catalogue/fr.json")),
    ]
    .map(|(language, json)| {
        format!("  \"{language}\": {},\n", json.trim_end().replace('\n', "\n  "))
    });
    format!(
        "// The sentences about a release by language, from src/catalogue/en.json and fr.json:\n\
         // `UPDATE_DOCS=1 cargo test --test generated_docs` writes this file.\n\n\
         /** @type {{Record<\"en\" | \"fr\", Record<string, string>>}} */\n\
         export const catalogue = {{\n{}}};\n",
        entries.concat()
    )
}

#[test]
fn a_changed_table_is_noticed() {
    let page = "a\n<!-- generated: t -->\n| x |\n<!-- end -->\nb\n";
    assert_eq!(replace_table(page, "t", "| x |\n").as_deref(), Some(page));
    let changed = replace_table(page, "t", "| y |\n").unwrap();
    assert_eq!(changed, page.replace("| x |", "| y |"));
    assert_eq!(replace_table(page, "other", ""), None);
}

/// Puts a table in the place of the one of that name; `None` if the page has none.
fn replace_table(page: &str, name: &str, table: &str) -> Option<String> {
    let start = format!("<!-- generated: {name} -->\n");
    let (before, rest) = page.split_once(&start)?;
    let (_, after) = rest.split_once("<!-- end -->")?;
    Some(format!("{before}{start}{table}<!-- end -->{after}"))
}

fn variable_table(table: VariableTable) -> String {
    let mut lines = "| variable | meaning | default |\n|---|---|---|\n".to_owned();
    for VariableDoc { name, meaning, default, .. } in variables_of(table) {
        let default = if default.is_empty() { "none".to_owned() } else { format!("`{default}`") };
        lines.push_str(&format!("| `{name}` | {meaning} | {default} |\n"));
    }
    lines
}

fn secret_table() -> String {
    let mut lines = "| secret | use |\n|---|---|\n".to_owned();
    for VariableDoc { name, meaning, .. } in variables_of(VariableTable::Secret) {
        lines.push_str(&format!("| `{name}` | {meaning} |\n"));
    }
    lines
}

/// Lists the endpoints by role, then in the order of the code.
fn endpoint_table() -> String {
    let mut lines = "| endpoint | token | does |\n|---|---|---|\n".to_owned();
    for role in [None, Some(Role::Viewer), Some(Role::Admin)] {
        let token = match role {
            None => "–",
            Some(Role::Viewer) => "viewer",
            Some(Role::Admin) => "admin",
        };
        for EndpointDoc { method, path, meaning, .. } in
            ENDPOINT_DOCS.iter().filter(|endpoint| endpoint.role == role)
        {
            lines.push_str(&format!("| `{method} {path}` | {token} | {meaning} |\n"));
        }
    }
    lines
}

/// Returns the variables of a table by name.
fn variables_of(table: VariableTable) -> Vec<&'static VariableDoc> {
    let mut variables: Vec<_> =
        VARIABLE_DOCS.iter().filter(|variable| variable.table == table).collect();
    variables.sort_by_key(|variable| variable.name);
    variables
}
