//! Sources of log lines: a file, standard input, or the events of a gateway.
//!
//! Files and standard input may be gzip. A gateway is asked page by page and shard by shard, with
//! `JEFFREY_ADMIN_TOKEN`. A response other than 200 ends the stream with an error, so that a
//! truncated log is never taken for a whole one.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::Path;

use serde::Deserialize;
use ureq::Agent;

use crate::loadtest::client::build_agent;
use crate::rollout::ADMIN_TOKEN_VARIABLE;
use crate::{CliError, rows};

/// Byte stream of log lines.
pub(super) enum LogSource {
    /// Content of a file or of standard input, decompressed.
    Stream(Box<dyn BufRead>),
    /// Events of a gateway, page by page.
    Pages(Box<EventPages>),
}

impl LogSource {
    /// Opens a path, `-` for standard input, or an `http://` or `https://` URL.
    ///
    /// # Errors
    /// Returns [`CliError::Read`] if the file cannot be opened or decompressed, and
    /// [`CliError::Usage`] if a URL is given while `JEFFREY_ADMIN_TOKEN` is not set.
    pub(super) fn open(name: &str) -> Result<Self, CliError> {
        if name.starts_with("http://") || name.starts_with("https://") {
            return Ok(Self::Pages(Box::new(EventPages::new(name)?)));
        }
        let stream: Box<dyn Read> = match name {
            "-" => Box::new(io::stdin()),
            path => {
                let path = Path::new(path);
                Box::new(File::open(path).map_err(|error| CliError::read_failed(path, &error))?)
            }
        };
        let decompressed = rows::decompress(stream);
        let to_read_error =
            |error: io::Error| CliError::Read { name: name.to_owned(), kind: error.kind() };
        Ok(Self::Stream(decompressed.map_err(to_read_error)?))
    }
}

impl Read for LogSource {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Stream(stream) => stream.read(buffer),
            Self::Pages(pages) => pages.read(buffer),
        }
    }
}

impl BufRead for LogSource {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        match self {
            Self::Stream(stream) => stream.fill_buf(),
            Self::Pages(pages) => pages.fill_buf(),
        }
    }

    fn consume(&mut self, amount: usize) {
        match self {
            Self::Stream(stream) => stream.consume(amount),
            Self::Pages(pages) => pages.consume(amount),
        }
    }
}

/// Events of a gateway by sequence number: each request asks for those after the last number of the
/// page before.
pub(super) struct EventPages {
    agent: Agent,
    url: String,
    token: String,
    since: u64,
    /// Shard of the event store that is being read, from 0.
    shard: u64,
    unread_page: BufReader<Cursor<Vec<u8>>>,
    has_ended: bool,
}

impl EventPages {
    fn new(url: &str) -> Result<Self, CliError> {
        let token = std::env::var(ADMIN_TOKEN_VARIABLE).ok().filter(|token| !token.is_empty());
        let token = token.ok_or(CliError::Usage(
            "reading from a URL needs JEFFREY_ADMIN_TOKEN, which is not set",
        ))?;
        Ok(Self {
            agent: build_agent(1, url.starts_with("https://")),
            url: url.split('?').next().unwrap_or_default().to_owned(),
            token,
            since: 0,
            shard: 0,
            unread_page: BufReader::new(Cursor::new(Vec::new())),
            has_ended: false,
        })
    }

    fn fetch_next_page(&mut self) -> io::Result<()> {
        #[derive(Deserialize)]
        struct SequencedEvent {
            seq: u64,
        }
        let Self { url, since, shard, .. } = self;
        let url = format!("{url}?since={since}&limit={EVENTS_PER_PAGE}&shard={shard}");
        let request =
            self.agent.get(&url).header("authorization", format!("Bearer {}", self.token));
        let mut response = request.call().map_err(io::Error::other)?;
        match response.status().as_u16() {
            200 => {}
            401 | 403 => return Err(io::ErrorKind::PermissionDenied.into()),
            404 => return Err(io::ErrorKind::NotFound.into()),
            _ => return Err(io::ErrorKind::ConnectionAborted.into()),
        }
        let shards =
            response.headers().get("x-jeffrey-shards").and_then(|value| value.to_str().ok());
        let shards = shards.and_then(|value| value.parse().ok()).unwrap_or(1);
        let limited_body = response.body_mut().with_config().limit(PAGE_BYTES_MAX);
        let page = limited_body.read_to_vec().map_err(io::Error::other)?;
        let last_line =
            page.trim_ascii_end().rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
        match serde_json::from_slice::<SequencedEvent>(last_line) {
            Ok(last_event) if last_event.seq > self.since => self.since = last_event.seq,
            // An empty page, or one without a higher number: the end of this shard.
            _ => {
                self.shard += 1;
                self.since = 0;
                self.has_ended = self.shard >= shards;
            }
        }
        self.unread_page = BufReader::new(Cursor::new(page));
        Ok(())
    }
}

impl Read for EventPages {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes_read = self.fill_buf()?.read(buffer)?;
        self.consume(bytes_read);
        Ok(bytes_read)
    }
}

impl BufRead for EventPages {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while !self.has_ended && self.unread_page.fill_buf()?.is_empty() {
            self.fetch_next_page()?;
        }
        self.unread_page.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.unread_page.consume(amount);
    }
}

/// Events per page; the gateway returns no more.
const EVENTS_PER_PAGE: u64 = 10_000;
/// Largest page that is read, in bytes; far above the size of [`EVENTS_PER_PAGE`] events.
const PAGE_BYTES_MAX: u64 = 256 * 1024 * 1024;
