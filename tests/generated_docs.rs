//! Tables of the documentation that come from the code, and the dashboard's copy of the catalogues.
//!
//! `support/page.rs` checks and writes the tables; `UPDATE_DOCS=1` writes the dashboard's module of
//! sentences as well.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed, and says where")]

use std::fs;
use std::path::Path;

#[path = "support/page.rs"]
mod page;

use self::page::{GeneratedTable, variable_table, variables_of};
use jeffrey_edge::gateway::api::auth::Role;
use jeffrey_edge::gateway::api::endpoint::{ENDPOINT_DOCS, EndpointDoc};
use jeffrey_edge::gateway::config::{VARIABLE_DOCS, VariableDoc, VariableTable};

const TABLES: [GeneratedTable; 4] = [
    ("docs/gateway.md", "endpoints", endpoint_table),
    ("docs/gateway.md", "variables", || variable_table(VARIABLE_DOCS, VariableTable::Gateway)),
    ("docs/gateway.md", "secrets", secret_table),
    ("docs/legacy.md", "legacy variables", || variable_table(VARIABLE_DOCS, VariableTable::Legacy)),
];

#[test]
fn tables_of_the_documentation_are_those_of_the_code() {
    page::check_tables(&TABLES);
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

fn secret_table() -> String {
    let mut lines = "| secret | use |\n|---|---|\n".to_owned();
    for VariableDoc { name, meaning, .. } in variables_of(VARIABLE_DOCS, VariableTable::Secret) {
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
