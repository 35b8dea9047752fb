//! The kernels' bits on this platform are those on record.

#[path = "../examples/digest.rs"]
#[expect(unreachable_pub, reason = "an export of the example, a module here")]
mod example;

#[test]
fn every_kernel_gives_the_bits_on_record() {
    let found = format!("{:016x}", example::digest());
    assert_eq!(found, include_str!("digest.txt").trim());
}
