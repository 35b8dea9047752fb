//! Compares with the example numbers of `phonenumber`, which carries Google's table of all numbering
//! plans: the library calls each of them valid and writes it in the usual groups of its country.
//!
//! Numbers in international form must be found for every country, and those in national form for
//! the countries whose plans this crate knows: France, Britain and North America.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed, and says where")]

use jeffrey_mask::{PiiKind, mask_with_spans};
use phonenumber::metadata::DATABASE;
use phonenumber::{Mode, PhoneNumber};

/// Example number of one country and one use.
struct Example {
    country: String,
    usage: &'static str,
    number: PhoneNumber,
}

impl Example {
    fn written(&self, mode: Mode) -> String {
        self.number.format().mode(mode).to_string()
    }
}

/// Returns the examples that the library calls valid, of all countries.
fn examples() -> Vec<Example> {
    let mut examples = Vec::new();
    for code in 1..=999_u16 {
        for country in DATABASE.region(&code).unwrap_or_default() {
            let metadata = DATABASE.by_id(country).unwrap();
            let plans = metadata.descriptors();
            for (usage, plan) in [
                ("fixed line", plans.fixed_line()),
                ("mobile", plans.mobile()),
                ("toll free", plans.toll_free()),
                ("premium rate", plans.premium_rate()),
                ("shared cost", plans.shared_cost()),
                ("personal", plans.personal_number()),
                ("voip", plans.voip()),
            ] {
                let Some(example) = plan.and_then(|plan| plan.example()) else { continue };
                let Ok(id) = country.parse() else { continue };
                let Ok(number) = phonenumber::parse(Some(id), example) else { continue };
                if number.is_valid() {
                    examples.push(Example { country: country.to_owned(), usage, number });
                }
            }
        }
    }
    examples
}

/// Returns whether the whole number, and nothing else of the text, is masked as a telephone.
fn is_masked(before: &str, number: &str, after: &str) -> bool {
    let (masked, _) = mask_with_spans(&format!("{before}{number}{after}"));
    masked.as_str() == format!("{before}{}{after}", PiiKind::Phone.placeholder())
}

/// Returns the examples among `chosen` that are not masked after a neutral word, as text.
fn find_missed(chosen: &[&Example], mode: Mode) -> Vec<String> {
    let missed = chosen.iter().filter(|example| {
        let number = example.written(mode);
        !is_masked("Merci, ", &number, " à bientôt") || !is_masked("Thanks, ", &number, ".")
    });
    missed
        .map(|example| format!("{} {}: {}", example.country, example.usage, example.written(mode)))
        .collect()
}

#[test]
fn international_numbers_of_all_countries_are_masked() {
    let examples = examples();
    let chosen: Vec<&Example> = examples.iter().collect();
    assert!(chosen.len() > 1_000, "{} examples", chosen.len());
    // Seven digits with the country code: so few are as often a count or a part number.
    let known = [
        "NU fixed line: +683 7012",
        "TA fixed line: +290 8999",
        "TK fixed line: +690 3101",
        "TK mobile: +690 7290",
    ];
    let mut missed = find_missed(&chosen, Mode::International);
    missed.sort();
    assert_eq!(missed, known);
    assert_eq!(find_missed(&chosen, Mode::E164).len(), known.len());
}

#[test]
fn national_numbers_of_france_britain_and_north_america_are_masked() {
    let examples = examples();
    let chosen: Vec<&Example> = examples
        .iter()
        .filter(|example| ["CA", "FR", "GB", "US"].contains(&example.country.as_str()))
        .collect();
    assert!(chosen.len() > 20, "{} examples", chosen.len());
    // Numbers of services, whose first digit stands alone. Those of persons have pairs.
    let mut missed = find_missed(&chosen, Mode::National);
    missed.sort();
    assert_eq!(
        missed,
        [
            "FR premium rate: 0 891 12 34 56",
            "FR shared cost: 0 884 01 23 45",
            "FR toll free: 0 801 23 45 67",
        ]
    );
    // With a word for a telephone before them, they are masked as well.
    for example in chosen {
        let number = example.written(Mode::National);
        assert!(is_masked("tel ", &number, " merci"), "{number}");
    }
}
