//! Tables of `docs/api.md` that come from the code: the endpoints and variables of the model worker.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed, and says where")]

#[path = "../../../tests/support/page.rs"]
mod page;

use self::page::{GeneratedTable, variable_table};
use jeffrey_http_api::{MODEL_ENDPOINT_DOCS, ModelEndpoint, ModelEndpointDoc, VARIABLE_DOCS};
use jeffrey_http_core::settings::VariableTable;

const TABLES: [GeneratedTable; 2] = [
    ("docs/api.md", "endpoints", endpoint_table),
    ("docs/api.md", "variables", || variable_table(VARIABLE_DOCS, VariableTable::ModelWorker)),
];

#[test]
fn tables_of_the_documentation_are_those_of_the_code() {
    page::check_tables(&TABLES);
}

/// Lists the endpoints in the order of the code, the page's files last.
fn endpoint_table() -> String {
    let mut lines = "| endpoint | returns |\n|---|---|\n".to_owned();
    let is_page = |doc: &&ModelEndpointDoc| doc.endpoint == ModelEndpoint::Page;
    for ModelEndpointDoc { routes, meaning, .. } in
        MODEL_ENDPOINT_DOCS.iter().filter(|doc| !is_page(doc))
    {
        let routes: Vec<String> =
            routes.iter().map(|(method, path)| format!("`{method} {path}`")).collect();
        lines.push_str(&format!("| {} | {meaning} |\n", routes.join(", ")));
    }
    for ModelEndpointDoc { meaning, .. } in MODEL_ENDPOINT_DOCS.iter().filter(is_page) {
        lines.push_str(&format!("| `GET` of any other path | {meaning} |\n"));
    }
    lines
}
