//! A batch of events as one compressed value.
//!
//! The value is the DEFLATE stream (RFC 1951) of the events' lines. Each line has a number: the first
//! line that of the batch, each next line one more. An erased event leaves an empty line, so the others
//! keep their numbers.

use miniz_oxide::deflate::compress_to_vec;
use miniz_oxide::inflate::decompress_to_vec_with_limit;

/// Largest number of events in one batch.
pub const BATCH_EVENTS_MAX: usize = 1_000;

/// Largest batch in bytes, before it is compressed; a single event may be larger.
pub const BATCH_BYTES_MAX: usize = 512 * 1024;

/// Level of the compression, of 10: on events, higher ones cost twice the time for a twentieth less.
const COMPRESSION_LEVEL: u8 = 4;

/// Largest value that is decompressed, in bytes: a stored batch is never larger.
const DECOMPRESSED_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Compresses lines, none of which contains a line break.
pub fn compress_lines<'a>(lines: impl IntoIterator<Item = &'a str>) -> Vec<u8> {
    let mut text = String::new();
    for line in lines {
        text.push_str(line);
        text.push('\n');
    }
    compress_to_vec(text.as_bytes(), COMPRESSION_LEVEL)
}

/// Decompresses the lines of a batch, each ended by a line break; `None` if the value is not one of
/// [`compress_lines`].
pub fn decompress_lines(compressed: &[u8]) -> Option<String> {
    let text = decompress_to_vec_with_limit(compressed, DECOMPRESSED_BYTES_MAX).ok()?;
    String::from_utf8(text).ok()
}

/// Cuts lines into batches of at most [`BATCH_EVENTS_MAX`] lines and [`BATCH_BYTES_MAX`] bytes; the order
/// stays.
pub fn cut_into_batches<T: AsRef<str>>(lines: &[T]) -> Vec<&[T]> {
    let mut batches = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    for (index, line) in lines.iter().enumerate() {
        let line_bytes = line.as_ref().len() + 1;
        let is_full = index - start >= BATCH_EVENTS_MAX || bytes + line_bytes > BATCH_BYTES_MAX;
        if is_full && index > start {
            batches.push(&lines[start..index]);
            (start, bytes) = (index, 0);
        }
        bytes += line_bytes;
    }
    if start < lines.len() {
        batches.push(&lines[start..]);
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

        #[test]
        fn lines_are_read_back(lines in prop::collection::vec("[^\n]{0,80}", 0..40)) {
            let compressed = compress_lines(lines.iter().map(String::as_str));
            let text = decompress_lines(&compressed).unwrap();
            prop_assert_eq!(text.split_terminator('\n').collect::<Vec<_>>(), lines);
        }

        #[test]
        fn no_value_makes_the_reading_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decompress_lines(&bytes);
        }

        #[test]
        fn batches_keep_each_line_and_the_limits(lengths in prop::collection::vec(0_usize..200_000, 0..30)) {
            let lines: Vec<String> = lengths.into_iter().map(|length| "x".repeat(length)).collect();
            let batches = cut_into_batches(&lines);
            prop_assert_eq!(batches.concat(), lines.clone());
            for batch in batches {
                let bytes: usize = batch.iter().map(|line| line.len() + 1).sum();
                prop_assert!(!batch.is_empty() && (bytes <= BATCH_BYTES_MAX || batch.len() == 1));
            }
        }
    }

    #[test]
    fn a_thousand_lines_are_one_batch_and_one_more_begins_the_next() {
        let lines = vec!["{}"; BATCH_EVENTS_MAX + 1];
        let sizes: Vec<usize> = cut_into_batches(&lines).iter().map(|batch| batch.len()).collect();
        assert_eq!(sizes, [BATCH_EVENTS_MAX, 1]);
    }
}
