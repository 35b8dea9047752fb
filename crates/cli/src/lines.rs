//! Numbered lines of a stream, read in bounded memory.
//!
//! A line that is not UTF-8, or longer than [`LINE_BYTES_MAX`], is returned as an error for the
//! caller to report. Reading goes on with the next line.

use std::io::{self, BufRead, IsTerminal, Read};

use super::CliError;

/// Longest accepted line, in bytes: room for a text of 64 KiB in which JSON escapes every byte as
/// six (`\u00e9`), and as much again for other fields.
pub(super) const LINE_BYTES_MAX: usize = 1024 * 1024;

/// Reader of numbered lines in bounded memory.
pub(super) struct LineReader<R> {
    reader: R,
    buffer: Vec<u8>,
    lines_read: usize,
}

/// One line, without its line break.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct InputLine<'a> {
    /// Line number, counted from 1.
    pub(super) number: usize,
    /// Content of the line, or the reason for which it cannot be read.
    pub(super) text: Result<&'a str, InputLineError>,
}

/// Reason for which a line cannot be read; never contains the line's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum InputLineError {
    /// The line is longer than [`LINE_BYTES_MAX`].
    #[error("line of more than {LINE_BYTES_MAX} bytes")]
    TooLong,
    #[error("not UTF-8 after byte {valid}")]
    Utf8 { valid: usize },
}

/// Returns whether to read lines from standard input: for a single `-`, or without any argument.
///
/// # Errors
/// Returns [`CliError::Usage`] with `dash_not_alone_message` if `-` is one of several arguments,
/// and with `no_input_message` if there is no argument and standard input is a terminal, where the
/// command would seem to hang.
pub(super) fn should_read_stdin(
    arguments: &[String],
    dash_not_alone_message: &'static str,
    no_input_message: &'static str,
) -> Result<bool, CliError> {
    let has_dash = arguments.iter().any(|argument| argument == "-");
    if has_dash && arguments.len() > 1 {
        return Err(CliError::Usage(dash_not_alone_message));
    }
    if arguments.is_empty() && io::stdin().is_terminal() {
        return Err(CliError::Usage(no_input_message));
    }
    Ok(has_dash || arguments.is_empty())
}

impl<R: BufRead> LineReader<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { reader, buffer: Vec::new(), lines_read: 0 }
    }

    /// Returns the next line, or `None` at the end. A line break at the very end starts no further
    /// line.
    pub(super) fn next_line(&mut self) -> io::Result<Option<InputLine<'_>>> {
        self.buffer.clear();
        let bytes_max = LINE_BYTES_MAX as u64 + 2;
        let bytes_read =
            self.reader.by_ref().take(bytes_max).read_until(b'\n', &mut self.buffer)?;
        if bytes_read == 0 {
            return Ok(None);
        }
        self.lines_read += 1;
        let number = self.lines_read;
        let has_line_break = self.buffer.last() == Some(&b'\n');
        if has_line_break {
            self.buffer.pop();
            if self.buffer.last() == Some(&b'\r') {
                self.buffer.pop();
            }
        }
        if self.buffer.len() > LINE_BYTES_MAX {
            if !has_line_break {
                self.skip_line()?;
            }
            return Ok(Some(InputLine { number, text: Err(InputLineError::TooLong) }));
        }
        // Windows editors write a byte order mark at the start of a file; it is not part of the
        // text.
        let byte_order_mark: &[u8] = if number == 1 { b"\xef\xbb\xbf" } else { b"" };
        let bytes = self.buffer.strip_prefix(byte_order_mark).unwrap_or(&self.buffer);
        let text = std::str::from_utf8(bytes);
        let text = text.map_err(|error| InputLineError::Utf8 { valid: error.valid_up_to() });
        Ok(Some(InputLine { number, text }))
    }

    /// Reads to the end of the line and discards what it reads.
    fn skip_line(&mut self) -> io::Result<()> {
        loop {
            let chunk = match self.reader.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            };
            if chunk.is_empty() {
                return Ok(());
            }
            let (consumed, line_ended) = match chunk.iter().position(|byte| *byte == b'\n') {
                Some(index) => (index + 1, true),
                None => (chunk.len(), false),
            };
            self.reader.consume(consumed);
            if line_ended {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(bytes: &[u8]) -> Vec<(usize, Result<String, InputLineError>)> {
        // A small buffer, so that lines span several reads.
        let mut lines = LineReader::new(io::BufReader::with_capacity(7, bytes));
        let mut collected = Vec::new();
        while let Some(line) = lines.next_line().unwrap() {
            collected.push((line.number, line.text.map(str::to_owned)));
        }
        collected
    }

    #[test]
    fn every_line_break_ends_a_line_and_none_opens_one() {
        let expected = |lines: &[&str]| -> Vec<(usize, Result<String, InputLineError>)> {
            lines.iter().zip(1..).map(|(line, number)| (number, Ok((*line).to_owned()))).collect()
        };
        assert_eq!(read_all(b""), expected(&[]));
        assert_eq!(read_all(b"one"), expected(&["one"]));
        assert_eq!(read_all(b"one\n"), expected(&["one"]));
        assert_eq!(read_all(b"one\r\n\r\ntwo\n\n"), expected(&["one", "", "two", ""]));
        assert_eq!(read_all(b"\xef\xbb\xbfone\n"), expected(&["one"]));
    }

    #[test]
    fn a_line_that_is_not_utf_8_says_where_and_the_next_is_read() {
        let lines = read_all(b"ab\xff\nnext\n");
        assert_eq!(lines[0], (1, Err(InputLineError::Utf8 { valid: 2 })));
        assert_eq!(lines[1], (2, Ok("next".to_owned())));
    }

    #[test]
    fn a_line_beyond_the_limit_is_skipped_and_the_next_is_read() {
        for (length, is_read) in [(LINE_BYTES_MAX, true), (LINE_BYTES_MAX + 1, false)] {
            for (line_break, last) in [("\n", "after"), ("\r\n", "after"), ("", "")] {
                let text = format!("{}{line_break}{last}", "a".repeat(length));
                let lines = read_all(text.as_bytes());
                assert_eq!(lines[0].1.is_ok(), is_read, "{length} {line_break:?}");
                let next = (!last.is_empty()).then(|| (2, Ok("after".to_owned())));
                assert_eq!(lines.get(1).cloned(), next, "{length} {line_break:?}");
            }
        }
        assert_eq!(
            read_all("a".repeat(3 * LINE_BYTES_MAX).as_bytes()),
            [(1, Err(InputLineError::TooLong))]
        );
    }
}
