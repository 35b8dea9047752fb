//! The scenarios that also run in workerd (tests/gateway/scenarios.test.js) end as their file expects.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed, and says where")]

use std::collections::BTreeSet;
use std::path::Path;

use jeffrey_simulation::scripted::{ScenarioFile, run_scripted};

/// A step that kills a release, and one that does not.
const KILLS: &str = r#"{"do": "share", "killed": true"#;
const SPARES: &str = r#"{"do": "share", "killed": false"#;

fn read_scenarios(change: impl FnOnce(String) -> String) -> ScenarioFile {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/scenarios.json");
    let text = std::fs::read_to_string(path).unwrap();
    serde_json::from_str(&change(text)).unwrap()
}

#[test]
fn each_scenario_ends_as_its_file_expects() {
    let file = read_scenarios(|text| text);
    let names: BTreeSet<_> = file.scenarios.iter().map(|scenario| &scenario.name).collect();
    assert_eq!(names.len(), file.scenarios.len(), "two scenarios have one name");
    assert!(names.len() >= 20);
    for scenario in &file.scenarios {
        let unexpected = run_scripted(&file, scenario).unexpected;
        assert!(unexpected.is_empty(), "{}: {unexpected:#?}", scenario.name);
    }
}

#[test]
fn an_outcome_that_is_not_as_expected_is_found() {
    let name = "an operator kills a release and brings it back";
    let file = read_scenarios(|text| text.replace(KILLS, SPARES));
    let scenario = file.scenarios.iter().find(|scenario| scenario.name == name).unwrap();
    assert!(!run_scripted(&file, scenario).unexpected.is_empty());
}

#[test]
fn a_scenario_has_the_same_outcome_each_time() {
    let file = read_scenarios(|text| text);
    for scenario in &file.scenarios {
        assert_eq!(
            run_scripted(&file, scenario),
            run_scripted(&file, scenario),
            "{}",
            scenario.name
        );
    }
}
