//! The address of a request's client.

use jeffrey_http_core::head::RequestHead;

/// Header with the client's address, which the platform sets itself.
const PLATFORM_HEADER: &str = "cf-connecting-ip";

/// Returns the client's address: as the platform reports it, else the last entry of the header that the
/// settings name, which the nearest proxy wrote; `None` without either. An empty `header_name` names none.
pub fn client_address<'a>(head: &'a RequestHead, header_name: &str) -> Option<&'a str> {
    let by_platform = head.header(PLATFORM_HEADER);
    let by_proxy = || {
        let list = head.header(header_name).filter(|_| !header_name.is_empty())?;
        list.rsplit(',').next()
    };
    by_platform.or_else(by_proxy).map(str::trim).filter(|address| !address.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_platforms_word_comes_first_and_a_header_counts_only_if_it_is_named() {
        let platform = ("cf-connecting-ip", "192.0.2.7");
        let forwarded = ("x-forwarded-for", "198.51.100.9, 203.0.113.5");
        type Row<'a> = (&'a [(&'a str, &'a str)], &'a str, Option<&'a str>);
        let rows: [Row<'_>; 8] = [
            (&[platform, forwarded], "x-forwarded-for", Some("192.0.2.7")),
            (&[platform], "", Some("192.0.2.7")),
            (&[forwarded], "x-forwarded-for", Some("203.0.113.5")),
            (&[("X-Real-IP", " 2001:db8::1 ")], "x-real-ip", Some("2001:db8::1")),
            (&[forwarded], "x-real-ip", None),
            (&[forwarded], "", None),
            (&[("x-real-ip", "")], "x-real-ip", None),
            (&[], "x-real-ip", None),
        ];
        for (headers, name, expected) in rows {
            let pairs = headers.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
            let head = RequestHead::new("POST".into(), "http://h/", pairs.collect()).unwrap();
            assert_eq!(client_address(&head, name), expected, "{headers:?} {name}");
        }
    }
}
