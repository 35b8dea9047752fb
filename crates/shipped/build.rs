//! Build script: passes the shipped model's folder and the commit to the compiler.
//!
//! `models/shipped` names the model; the build fails without it. The commit comes from
//! `JEFFREY_COMMIT` or else from git, and is `unknown` without both.

use std::path::Path;
use std::process::Command;
use std::{env, fs};

fn main() {
    let crate_dir = env::var("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR");
    let models = Path::new(&crate_dir).join("../../models");
    let shipped = models.join("shipped");
    println!("cargo:rerun-if-changed={}", shipped.display());
    println!("cargo:rerun-if-env-changed=JEFFREY_COMMIT");

    let id = fs::read_to_string(shipped).expect("models/shipped names the model to embed");
    let dir = models.join(id.trim());
    println!("cargo:rustc-env=JEFFREY_MODEL_DIR={}", dir.display());

    // `make` sets the commit. A manual build asks git and may name an older commit: watching .git
    // would rebuild everything after each commit.
    let commit = env::var("JEFFREY_COMMIT").ok().or_else(commit_from_git);
    println!("cargo:rustc-env=JEFFREY_COMMIT={}", commit.as_deref().unwrap_or("unknown"));
}

fn commit_from_git() -> Option<String> {
    let output = Command::new("git").args(["rev-parse", "--short=12", "HEAD"]).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    (output.status.success() && !text.trim().is_empty()).then(|| text.trim().to_owned())
}
