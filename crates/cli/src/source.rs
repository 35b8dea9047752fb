//! Where lines come from: a file, standard input, or the gate's events, page after page.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::Path;

use serde::Deserialize;
use ureq::Agent;

use crate::traffic::client::agent;
use crate::{Stop, rows};

/// A stream of bytes.
pub(super) enum Source {
    /// Of a file or standard input, unpacked.
    Stream(Box<dyn BufRead>),
    /// Of a gate.
    Pages(Box<Pages>),
}

impl Source {
    /// # Errors
    /// When it cannot be opened, or a URL has no token to be asked with.
    pub(super) fn open(name: &str) -> Result<Self, Stop> {
        if name.starts_with("http://") || name.starts_with("https://") {
            return Ok(Self::Pages(Box::new(Pages::new(name)?)));
        }
        let stream: Box<dyn Read> = match name {
            "-" => Box::new(io::stdin()),
            path => {
                let path = Path::new(path);
                Box::new(File::open(path).map_err(|error| Stop::read(path, &error))?)
            }
        };
        let unpacked = rows::unpacked(stream);
        let read = |error: io::Error| Stop::Read { name: name.to_owned(), kind: error.kind() };
        Ok(Self::Stream(unpacked.map_err(read)?))
    }
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Stream(stream) => stream.read(buffer),
            Self::Pages(pages) => pages.read(buffer),
        }
    }
}

impl BufRead for Source {
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

/// Events by their numbers: each page is asked for after the last number of the one before.
pub(super) struct Pages {
    agent: Agent,
    url: String,
    token: String,
    since: u64,
    /// The ledger is read part by part.
    shard: u64,
    page: BufReader<Cursor<Vec<u8>>>,
    ended: bool,
}

impl Pages {
    fn new(url: &str) -> Result<Self, Stop> {
        let token = std::env::var(TOKEN).ok().filter(|token| !token.is_empty());
        let token = token
            .ok_or(Stop::Usage("a URL is asked with JEFFREY_ADMIN_TOKEN, which is not set"))?;
        Ok(Self {
            agent: agent(1, url.starts_with("https://")),
            url: url.split('?').next().unwrap_or_default().to_owned(),
            token,
            since: 0,
            shard: 0,
            page: BufReader::new(Cursor::new(Vec::new())),
            ended: false,
        })
    }

    fn next_page(&mut self) -> io::Result<()> {
        #[derive(Deserialize)]
        struct Numbered {
            seq: u64,
        }
        let Self { url, since, shard, .. } = self;
        let url = format!("{url}?since={since}&limit={PAGE}&shard={shard}");
        let asked = self.agent.get(&url).header("authorization", format!("Bearer {}", self.token));
        let mut answer = asked.call().map_err(io::Error::other)?;
        match answer.status().as_u16() {
            200 => {}
            401 | 403 => return Err(io::ErrorKind::PermissionDenied.into()),
            404 => return Err(io::ErrorKind::NotFound.into()),
            _ => return Err(io::ErrorKind::ConnectionAborted.into()),
        }
        let shards = answer.headers().get("jeffrey-shards").and_then(|value| value.to_str().ok());
        let shards = shards.and_then(|value| value.parse().ok()).unwrap_or(1);
        let limit = answer.body_mut().with_config().limit(PAGE_BYTES_MAX);
        let page = limit.read_to_vec().map_err(io::Error::other)?;
        let last = page.trim_ascii_end().rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
        match serde_json::from_slice::<Numbered>(last) {
            Ok(last) if last.seq > self.since => self.since = last.seq,
            // An empty page, or one that would be asked for again: the end of this part.
            _ => {
                self.shard += 1;
                self.since = 0;
                self.ended = self.shard >= shards;
            }
        }
        self.page = BufReader::new(Cursor::new(page));
        Ok(())
    }
}

impl Read for Pages {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(buffer)?;
        self.consume(read);
        Ok(read)
    }
}

impl BufRead for Pages {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while !self.ended && self.page.fill_buf()?.is_empty() {
            self.next_page()?;
        }
        self.page.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.page.consume(amount);
    }
}

/// The secret that may read events.
const TOKEN: &str = "JEFFREY_ADMIN_TOKEN";
/// Events a page, the gate's most.
const PAGE: u64 = 10_000;
/// Far above what so many events take.
const PAGE_BYTES_MAX: u64 = 256 * 1024 * 1024;
