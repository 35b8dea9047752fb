//! Tables of the page about tests that come from the code.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed, and says where")]

#[path = "../../../tests/support/page.rs"]
#[allow(dead_code, reason = "tables of variables are for other pages")]
mod page;

use jeffrey_simulation::invariants::Invariant;
use jeffrey_simulation::known::KNOWN_FAULTS;

const TABLES: [page::GeneratedTable; 2] = [
    ("docs/testing.md", "promises", promise_table),
    ("docs/testing.md", "known faults", known_table),
];

#[test]
fn tables_of_the_page_are_those_of_the_code() {
    page::check_tables(&TABLES);
}

fn promise_table() -> String {
    let mut lines = "| promise | page | known |\n|---|---|---|\n".to_owned();
    for invariant in Invariant::ALL {
        let known = invariant.known_fault().map_or(String::new(), |number| number.to_string());
        let (promise, page) = (invariant.promise(), invariant.page());
        lines.push_str(&format!("| {promise} | [{page}]({page}) | {known} |\n"));
    }
    lines
}

fn known_table() -> String {
    let mut lines = "| number | fault |\n|---|---|\n".to_owned();
    for fault in &KNOWN_FAULTS {
        lines.push_str(&format!("| {} | {} |\n", fault.number, fault.what));
    }
    lines
}
