//! Result of reading the body of a request or of a response.

/// Result of reading a body up to a limit.
#[derive(Clone, PartialEq, Eq)]
pub enum BodyRead {
    /// The stream broke before its end.
    Broken,
    /// All bytes of the body.
    Complete(Vec<u8>),
    /// The body is above the limit; none of it was kept.
    TooLarge,
}

impl std::fmt::Debug for BodyRead {
    /// Writes the length only: a body may hold a user's text.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Broken => f.write_str("Broken"),
            Self::Complete(body) => write!(f, "Complete({} bytes)", body.len()),
            Self::TooLarge => f.write_str("TooLarge"),
        }
    }
}
