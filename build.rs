//! Tells the compiler which model is shipped and which commit this is, and checks an embedded model.

use std::path::Path;
use std::process::Command;
use std::{env, fs};

fn main() {
    let root = env::var("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR");
    println!("cargo:rerun-if-changed=models/shipped");
    println!("cargo:rerun-if-env-changed=JEFFREY_COMMIT");

    let shipped = fs::read_to_string(Path::new(&root).join("models/shipped"))
        .expect("models/shipped names the model to embed");
    let dir = Path::new(&root).join("models").join(shipped.trim());
    println!("cargo:rustc-env=JEFFREY_MODEL_DIR={}", dir.display());

    #[cfg(feature = "embedded")]
    check(&dir);

    // `make` hands the commit in. A build by hand asks git, and may lag behind the newest commit:
    // watching .git would rebuild everything at each one.
    let commit = env::var("JEFFREY_COMMIT").ok().or_else(commit_from_git);
    println!("cargo:rustc-env=JEFFREY_COMMIT={}", commit.as_deref().unwrap_or("unknown"));
}

/// Refuses to embed a model whose files are not the manifest's: the binary does not ask again.
#[cfg(feature = "embedded")]
fn check(dir: &Path) {
    use sha2::{Digest, Sha256};

    let read = |name: &str| {
        let path = dir.join(name);
        println!("cargo:rerun-if-changed={}", path.display());
        fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    let manifest: serde_json::Value =
        serde_json::from_slice(&read("manifest.json")).expect("manifest.json is JSON");
    let files = manifest["files"].as_object().expect("manifest.json names files");
    for (name, entry) in files {
        let digest = Sha256::digest(read(name));
        let seen: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        let expected = entry["sha256"].as_str().unwrap_or_default();
        assert!(seen == expected, "{name}: sha256 {seen} is not the manifest's {expected}");
    }
}

fn commit_from_git() -> Option<String> {
    let output = Command::new("git").args(["rev-parse", "--short=12", "HEAD"]).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    (output.status.success() && !text.trim().is_empty()).then(|| text.trim().to_owned())
}
