//! The native binary `jeffrey`.
//!
//! All code is in the library, `src/lib.rs`; this file only returns the library's exit code to the
//! operating system.

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
