//! Masks standard input line by line.
//!
//! Each line is a text of its own; the masked line is written to standard output.

use std::io::{self, BufRead, Write};

use jeffrey_mask::mask;

fn main() -> io::Result<()> {
    let mut out = io::stdout().lock();
    for line in io::stdin().lock().lines() {
        writeln!(out, "{}", mask(&line?))?;
    }
    Ok(())
}
