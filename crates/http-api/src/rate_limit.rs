//! Whom the public API's rate limit counts.
//!
//! The limit is a binding of the platform, which only a public deployment has
//! (`wrangler.public-api.toml`). The shell asks it with the key of a request; the key holds the
//! caller's address, is not logged and does not leave the platform.

use core::net::{IpAddr, Ipv6Addr};

use jeffrey_http_core::head::RequestHead;

/// Period of the rate limit, in seconds, for `Retry-After`. `wrangler.public-api.toml` repeats it.
pub(super) const RATE_LIMIT_PERIOD_S: u64 = 10;

/// Header in which the platform names the caller's address; it overwrites what a caller sends.
const ADDRESS_HEADER: &str = "cf-connecting-ip";

/// Returns the key by which the rate limit counts a request: the caller's IPv4 address, or the first
/// 64 bits of an IPv6 address, because one customer usually has all addresses that share them.
/// Requests without an address share one key.
pub fn rate_limit_key(head: &RequestHead) -> String {
    match head.header(ADDRESS_HEADER).map(str::parse) {
        Some(Ok(IpAddr::V4(address))) => address.to_string(),
        Some(Ok(IpAddr::V6(address))) => match address.to_ipv4_mapped() {
            Some(address) => address.to_string(),
            None => Ipv6Addr::from_bits(address.to_bits() & NETWORK_MASK).to_string(),
        },
        Some(Err(_)) | None => "no address".to_owned(),
    }
}

/// Mask of the first 64 of 128 bits.
const NETWORK_MASK: u128 = (u64::MAX as u128) << 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_of_one_address_or_one_ipv6_network_share_a_count() {
        let rows = [
            (Some("203.0.113.7"), "203.0.113.7"),
            (Some("::ffff:203.0.113.7"), "203.0.113.7"),
            (Some("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::"),
            (Some("2001:db8:1:2:ffff::1"), "2001:db8:1:2::"),
            (Some("2001:db8:1:3::1"), "2001:db8:1:3::"),
            (Some("none"), "no address"),
            (None, "no address"),
        ];
        for (address, expected) in rows {
            let headers = address.map(|address| (ADDRESS_HEADER.to_owned(), address.to_owned()));
            let url = "https://worker.example/predict";
            let head = RequestHead::new("POST".to_owned(), url, headers.into_iter().collect());
            assert_eq!(rate_limit_key(&head.unwrap()), expected, "{address:?}");
        }
    }
}
