//! Names and URLs of outgoing targets: sinks and webhooks.

/// Returns whether a name consists of 1 to 32 ASCII letters, digits, dashes and underscores.
pub(in crate::gateway) fn is_target_name(name: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    (1..=32).contains(&name.len()) && name.bytes().all(is_allowed)
}

pub(in crate::gateway) fn is_http_url(url: &str) -> bool {
    let after_scheme = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let Some(after_scheme) = after_scheme else { return false };
    let host = after_scheme.split(['/', '?', '#']).next().unwrap_or_default();
    !host.is_empty() && !host.contains('@') && !url.contains(char::is_whitespace)
}
