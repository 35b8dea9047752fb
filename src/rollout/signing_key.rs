//! Secret keys that sign or hash something, and the tags that they compute.
//!
//! Tags are HMAC-SHA256 (RFC 2104). One secret serves several purposes: each purpose has a key derived
//! by HKDF-SHA256 (RFC 5869), so that a tag for one purpose is not valid for another. Tags and secrets
//! are compared in constant time.

use std::fmt;

use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

/// Beginning of each `info` from which a key is derived: another program with the same secret derives
/// other keys.
const KEY_INFO_PREFIX: &[u8] = b"jeffrey-edge ";

/// Length of a key's name, in bytes.
const KEY_ID_BYTES: usize = 8;

/// Returns bytes as hexadecimal digits, in lower case.
pub fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A secret key. `Debug` prints only its length.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningKey(Vec<u8>);

/// Length of a tag, in bytes.
pub const TAG_BYTES: usize = 32;

/// Length of half a tag, in bytes.
pub const HALF_TAG_BYTES: usize = TAG_BYTES / 2;

impl SigningKey {
    /// The shortest key, in bytes: half of what the hash can use (RFC 2104, section 3).
    pub const BYTES_MIN: usize = 16;

    /// Checks the length of a key and returns the key.
    ///
    /// # Errors
    /// [`SigningKeyError`] when the key is shorter than [`SigningKey::BYTES_MIN`].
    pub fn parse(key: impl Into<Vec<u8>>) -> Result<Self, SigningKeyError> {
        let key = key.into();
        if key.len() < Self::BYTES_MIN {
            Err(SigningKeyError { bytes: key.len() })
        } else {
            Ok(Self(key))
        }
    }

    /// Derives the key of one purpose: 32 bytes by HKDF-SHA256, without a salt, with the purpose behind
    /// `jeffrey-edge ` as `info`.
    pub fn derive_key(&self, purpose: &str) -> Self {
        let mut key = [0; TAG_BYTES];
        let info = [KEY_INFO_PREFIX, purpose.as_bytes()];
        // HKDF gives up to 255 hashes' worth of bytes; this is one.
        let derived = Hkdf::<Sha256>::new(None, &self.0).expand_multi_info(&info, &mut key);
        derived.expect("one hash of bytes");
        Self(key.to_vec())
    }

    /// Computes the tag of some bytes.
    pub fn compute_tag(&self, bytes: &[u8]) -> [u8; TAG_BYTES] {
        self.new_mac(bytes).finalize().into_bytes().into()
    }

    /// Returns whether `tag` is this key's tag of `bytes`; compares in constant time.
    pub fn verifies(&self, bytes: &[u8], tag: &[u8]) -> bool {
        self.new_mac(bytes).verify_slice(tag).is_ok()
    }

    /// Computes the first half of a tag, the least that a tag may be truncated to (RFC 2104,
    /// section 5).
    pub fn compute_truncated_tag(&self, bytes: &[u8]) -> [u8; HALF_TAG_BYTES] {
        let mut half = [0; HALF_TAG_BYTES];
        half.copy_from_slice(&self.compute_tag(bytes)[..HALF_TAG_BYTES]);
        half
    }

    /// Returns whether `half` is half of this key's tag of `bytes`; compares in constant time.
    pub fn verifies_truncated_tag(&self, bytes: &[u8], half: &[u8]) -> bool {
        half.len() == HALF_TAG_BYTES && self.new_mac(bytes).verify_truncated_left(half).is_ok()
    }

    /// Returns whether the presented secret is this one. The time that it takes depends only on the
    /// length of `presented`.
    pub fn is_same_secret(&self, presented: &[u8]) -> bool {
        self.0.ct_eq(presented).into()
    }

    /// Returns a short name of this key that does not show it, as 16 hexadecimal digits: the
    /// first eight bytes of the tag of `kid`. It is the `kid` of a token, which says which key of a rotation signed it.
    pub fn key_id(&self) -> String {
        to_hex(&self.compute_tag(b"kid")[..KEY_ID_BYTES])
    }

    fn new_mac(&self, bytes: &[u8]) -> Hmac<Sha256> {
        // HMAC accepts a key of any length.
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("a key of any length");
        mac.update(bytes);
        mac
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({} bytes)", self.0.len())
    }
}

/// Error for a key that is short enough to be guessed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("key of {bytes} bytes is below the least of {}", SigningKey::BYTES_MIN)]
pub struct SigningKeyError {
    bytes: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(seed: u8) -> SigningKey {
        SigningKey::parse([seed; 32]).unwrap()
    }

    #[test]
    fn a_tag_is_the_published_one() {
        // RFC 4231, test case 1.
        let key = SigningKey::parse([0x0b; 20]).unwrap();
        let tag = key.compute_tag(b"Hi There");
        assert_eq!(&tag[..8], [0xb0, 0x34, 0x4c, 0x61, 0xd8, 0xdb, 0x38, 0x53]);
    }

    #[test]
    fn a_whole_tag_and_exactly_half_of_one_are_taken_where_they_belong() {
        let tag = key(1).compute_tag(b"bytes");
        for length in 0..=TAG_BYTES {
            assert_eq!(key(1).verifies(b"bytes", &tag[..length]), length == 32, "{length}");
            assert_eq!(
                key(1).verifies_truncated_tag(b"bytes", &tag[..length]),
                length == 16,
                "{length}"
            );
        }
        assert_eq!(key(1).compute_truncated_tag(b"bytes"), tag[..16]);
        for (key, bytes) in [(key(1), b"other"), (key(2), b"bytes")] {
            assert!(!key.verifies(bytes, &tag) && !key.verifies_truncated_tag(bytes, &tag[..16]));
        }
    }

    /// The derived key is that of HKDF in Python's standard library (`hmac`, `hashlib`).
    #[test]
    fn a_purpose_has_the_key_that_hkdf_gives() {
        let key = SigningKey::parse([1; 32]).unwrap().derive_key("answer id");
        let expected = "9d8744ae931b2116e3e62694ceaa9659da6c3c3f536b373d7aed1ffd48d85376";
        assert_eq!(to_hex(&key.0), expected);
    }

    #[test]
    fn a_key_has_a_name_that_says_nothing_else() {
        let key = SigningKey::parse("0123456789abcdef0123456789abcdef").unwrap();
        assert_eq!(key.key_id(), "52c54f2979fa1f2d");
    }

    #[test]
    fn a_secret_is_the_same_only_as_a_whole() {
        let secret = SigningKey::parse("0123456789abcdef").unwrap();
        for (presented, is_same) in [
            ("0123456789abcdef", true),
            ("0123456789abcdeg", false),
            ("0123456789abcde", false),
            ("0123456789abcdef0", false),
            ("", false),
        ] {
            assert_eq!(secret.is_same_secret(presented.as_bytes()), is_same, "{presented}");
        }
    }

    #[test]
    fn purposes_do_not_open_each_other() {
        let tag = key(1).derive_key("id").compute_tag(b"bytes");
        assert!(key(1).derive_key("id").verifies(b"bytes", &tag));
        assert!(!key(1).derive_key("subject").verifies(b"bytes", &tag));
        assert!(!key(1).verifies(b"bytes", &tag));
    }

    #[test]
    fn only_the_same_secret_is_the_same() {
        let secret = SigningKey::parse("a viewer's token").unwrap();
        assert!(secret.is_same_secret(b"a viewer's token"));
        for other in ["", "a viewer's toke", "a viewer's tokens", "A viewer's token"] {
            assert!(!secret.is_same_secret(other.as_bytes()), "{other:?}");
        }
    }

    #[test]
    fn a_short_key_is_refused_and_none_shows_itself() {
        assert_eq!(
            SigningKey::parse("fifteen bytes!!").unwrap_err().to_string(),
            "key of 15 bytes is below the least of 16"
        );
        assert_eq!(format!("{:?}", key(1)), "SigningKey(32 bytes)");
    }
}
