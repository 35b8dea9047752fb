//! Headers of the files of a page.

/// Returns the headers of every file of a page, with its content security policy. No other site may
/// embed the page, open it with access to it, or see its address.
pub const fn page_headers(
    content_security_policy: &'static str,
) -> [(&'static str, &'static str); 4] {
    [
        ("content-security-policy", content_security_policy),
        ("cross-origin-opener-policy", "same-origin"),
        ("referrer-policy", "no-referrer"),
        ("x-content-type-options", "nosniff"),
    ]
}
