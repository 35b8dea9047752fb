//! The native binary `jeffrey`; all of it is in the library, under `shell::cli`.

use std::process::ExitCode;

fn main() -> ExitCode {
    jeffrey_edge::shell::cli::main()
}
