//! The gates' evidence has the bits on record on this platform.

#[path = "../examples/evidence.rs"]
#[expect(unreachable_pub, reason = "an export of the example, a module here")]
mod example;

#[test]
fn ten_thousand_evidence_values_have_the_bits_on_record() {
    let found = format!("{:016x}", example::digest());
    assert_eq!(found, include_str!("data/evidence.txt").trim());
}
