//! The native binary `jeffrey`; all of it is in the library, `src/lib.rs`.

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
