//! Target of a load test: the URL of a classify endpoint.
//!
//! Parses a URL and checks that its endpoint accepts connections. Refuses a URL without `http` or
//! `https` or with credentials, and, unless `--allow-remote` is given, any host but localhost.

use std::io;
use std::net::{IpAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use ureq::http::Uri;

/// Endpoint that a load test sends its requests to.
#[derive(Debug)]
pub(crate) struct LoadTestTarget {
    url: Uri,
    /// Host name or address, without the brackets of an IPv6 address.
    host: String,
    port: u16,
}

impl LoadTestTarget {
    /// Parses an `http` or `https` URL. The host must be localhost unless `allow_remote` is set.
    ///
    /// # Errors
    /// [`LoadTestTargetError::InvalidUrl`] without such a scheme, a host or a valid port,
    /// [`LoadTestTargetError::Credentials`] when the URL contains credentials, and
    /// [`LoadTestTargetError::RemoteHost`] when the host is not allowed.
    pub(super) fn parse(url: &str, allow_remote: bool) -> Result<Self, LoadTestTargetError> {
        let invalid_url = || LoadTestTargetError::InvalidUrl;
        let url: Uri = url.parse().map_err(|_| invalid_url())?;
        let default_port = match url.scheme_str() {
            Some("http") => 80,
            Some("https") => 443,
            _ => return Err(invalid_url()),
        };
        let authority = url.authority().ok_or_else(invalid_url)?.as_str();
        if authority.contains('@') {
            return Err(LoadTestTargetError::Credentials);
        }
        let bracketed = url.host().filter(|host| !host.is_empty()).ok_or_else(invalid_url)?;
        let port = match authority.strip_prefix(bracketed).and_then(|rest| rest.strip_prefix(':')) {
            None => default_port,
            Some(port) => port.parse().map_err(|_| invalid_url())?,
        };
        let host = bracketed.trim_start_matches('[').trim_end_matches(']').to_owned();
        if !allow_remote && !is_loopback(&host) {
            return Err(LoadTestTargetError::RemoteHost { host });
        }
        Ok(Self { host, port, url })
    }

    /// Returns the complete URL of the endpoint.
    pub(super) fn url(&self) -> &Uri {
        &self.url
    }

    /// Returns whether the requests use TLS.
    pub(super) fn is_https(&self) -> bool {
        self.url.scheme_str() == Some("https")
    }

    /// Opens a connection and closes it: one error now is better than a report that contains only
    /// failures.
    ///
    /// # Errors
    /// [`LoadTestTargetError::Unreachable`] when no address of the host accepts a connection within
    /// `timeout`.
    pub(super) fn check_reachable(&self, timeout: Duration) -> Result<(), LoadTestTargetError> {
        let unreachable = |kind| LoadTestTargetError::Unreachable {
            host: self.host.clone(),
            port: self.port,
            kind,
        };
        let addresses = (self.host.as_str(), self.port).to_socket_addrs();
        let addresses = addresses.map_err(|_| unreachable(io::ErrorKind::NotFound))?;
        let mut kind = io::ErrorKind::NotFound;
        for address in addresses {
            match TcpStream::connect_timeout(&address, timeout) {
                Ok(_) => return Ok(()),
                Err(error) => kind = error.kind(),
            }
        }
        Err(unreachable(kind))
    }
}

/// Returns whether the host is `localhost` or a loopback address; other names that resolve to this
/// machine do not count.
fn is_loopback(host: &str) -> bool {
    match host.parse::<IpAddr>() {
        Ok(address) => address.is_loopback(),
        Err(_) => host.eq_ignore_ascii_case("localhost"),
    }
}

/// Reason why a load test cannot send to a URL.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LoadTestTargetError {
    /// The URL contains a name or a password, which the process list would show.
    #[error("the URL contains credentials before `@`")]
    Credentials,
    /// The text is not an `http` or `https` URL with a host and a valid port.
    #[error("the URL does not start with http:// or https:// and a host")]
    InvalidUrl,
    /// The host is not localhost, and `--allow-remote` is not given.
    #[error("host `{host}` is not localhost; pass --allow-remote to send traffic there")]
    RemoteHost {
        /// Host name or address from the URL.
        host: String,
    },
    /// No address of the host accepts a connection.
    #[error("cannot reach port {port} of `{host}`: {kind}")]
    Unreachable {
        /// Host name or address from the URL.
        host: String,
        /// TCP port from the URL, or the default of its scheme.
        port: u16,
        /// Kind of the last I/O error; `NotFound` when the host name does not resolve.
        kind: io::ErrorKind,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_http_url_is_taken() {
        let rows = [
            ("http://127.0.0.1:8787/predict", "127.0.0.1", 8787),
            ("https://localhost/v1/classify?lang=fr", "localhost", 443),
            ("http://LOCALHOST", "LOCALHOST", 80),
            ("http://[::1]:9/x", "::1", 9),
            ("http://127.8.8.8/x", "127.8.8.8", 80),
        ];
        for (url, host, port) in rows {
            let target = LoadTestTarget::parse(url, false).unwrap();
            assert_eq!((target.host.as_str(), target.port), (host, port), "{url}");
        }
        let invalid = [
            "",
            "localhost:8787/predict",
            "127.0.0.1",
            "/predict",
            "ftp://127.0.0.1/",
            "file:///etc/passwd",
            "http://",
            "http:///predict",
            "http://127.0.0.1:99999/",
            "http://127.0.0.1:x/",
            "http://127.0.0.1:/",
            "http://a b/",
        ];
        for url in invalid {
            assert_eq!(
                LoadTestTarget::parse(url, true).unwrap_err(),
                LoadTestTargetError::InvalidUrl,
                "{url}"
            );
        }
        let error = LoadTestTarget::parse("http://me:geheimnis@127.0.0.1/", true).unwrap_err();
        assert_eq!(error.to_string(), "the URL contains credentials before `@`");
    }

    #[test]
    fn another_machine_is_asked_only_on_purpose() {
        let remote = [
            "http://192.0.2.1/",
            "https://jeffrey.example/predict",
            "http://localhost.example/",
            "http://127.0.0.1.example/",
            "http://0.0.0.0/",
            "http://[2001:db8::1]/",
        ];
        for url in remote {
            let error = LoadTestTarget::parse(url, false).unwrap_err();
            assert!(matches!(error, LoadTestTargetError::RemoteHost { .. }), "{url}: {error}");
            assert!(LoadTestTarget::parse(url, true).is_ok(), "{url}");
        }
    }
}
