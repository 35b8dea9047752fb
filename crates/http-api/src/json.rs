//! Strict JSON parser for request bodies.
//!
//! A body of bounded length comes in. A [`JsonValue`] that keeps repeated keys goes out, or a
//! [`ClassifyApiError`] with the place of the fault and no quote: serde's own messages may hold the
//! caller's text. A byte order mark before the JSON is skipped, as RFC 8259 section 8.1 allows.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};

use super::error::{ClassifyApiError, JsonType};

/// Deepest nesting of lists and objects. The deepest shape that is read has three levels; the other
/// levels are for fields that are ignored.
pub const DEPTH_MAX: usize = 32;

/// A JSON value, with as much detail as requests need.
#[derive(Clone, PartialEq)]
pub(super) enum JsonValue {
    Null,
    Bool(bool),
    /// A whole number of at least 0, however it is written.
    Count(u64),
    /// Any other number; its value is never used.
    Number,
    String(String),
    Array(Vec<Self>),
    /// Fields in their order, repeated keys included.
    Object(Vec<(String, Self)>),
}

impl JsonValue {
    /// Parses a whole body; `expected` is the shape that error messages show.
    pub(super) fn parse(bytes: &[u8], expected: &'static str) -> Result<Self, ClassifyApiError> {
        let text = std::str::from_utf8(bytes)
            .map_err(|error| ClassifyApiError::InvalidUtf8 { at: error.valid_up_to() })?;
        let without_bom = text.strip_prefix('\u{feff}');
        check_structure(bytes)?;
        serde_json::from_str(without_bom.unwrap_or(text)).map_err(|error| {
            ClassifyApiError::NotJson { line: error.line(), column: error.column(), expected }
        })
    }

    pub(super) const fn json_type(&self) -> JsonType {
        match self {
            Self::Null => JsonType::Null,
            Self::Bool(_) => JsonType::Bool,
            Self::Count(_) | Self::Number => JsonType::Number,
            Self::String(_) => JsonType::String,
            Self::Array(_) => JsonType::Array,
            Self::Object(_) => JsonType::Object,
        }
    }
}

/// The fields of an object; reading a field takes it out.
pub(super) struct JsonFields(Vec<(String, JsonValue)>);

impl JsonFields {
    /// Returns the fields if `json` is an object; `name` names it in the error message.
    pub(super) fn from_json(json: JsonValue, name: &'static str) -> Result<Self, ClassifyApiError> {
        match json {
            JsonValue::Object(fields) => Ok(Self(fields)),
            other => {
                let (seen, expected) = (other.json_type(), "an object");
                Err(ClassifyApiError::WrongType { field: name, seen, expected })
            }
        }
    }

    /// Takes a field out; `None` if it is missing. A repeated field is an error.
    pub(super) fn take(
        &mut self,
        field: &'static str,
    ) -> Result<Option<JsonValue>, ClassifyApiError> {
        let Some(index) = self.0.iter().position(|(name, _)| name == field) else {
            return Ok(None);
        };
        let (_, value) = self.0.swap_remove(index);
        if self.0.iter().any(|(name, _)| name == field) {
            return Err(ClassifyApiError::DuplicateField { field });
        }
        Ok(Some(value))
    }

    /// Takes a boolean out; `false` if the field is missing or null.
    pub(super) fn take_bool(&mut self, field: &'static str) -> Result<bool, ClassifyApiError> {
        match self.take(field)? {
            None | Some(JsonValue::Null) => Ok(false),
            Some(JsonValue::Bool(value)) => Ok(value),
            Some(other) => {
                let (seen, expected) = (other.json_type(), "a boolean");
                Err(ClassifyApiError::WrongType { field, seen, expected })
            }
        }
    }
}

/// Rejects nesting that is too deep and halves of surrogate pairs, before a value is built from the
/// body. The body may be anything: if it is not JSON, the parser says where.
fn check_structure(bytes: &[u8]) -> Result<(), ClassifyApiError> {
    let mut depth = 0_usize;
    let mut in_string = false;
    let mut index = 0;
    while let Some(byte) = bytes.get(index) {
        match byte {
            b'"' => in_string = !in_string,
            b'\\' if in_string => {
                match utf16_unit_at(bytes, index) {
                    Some(0xD800..=0xDBFF) => match utf16_unit_at(bytes, index + 6) {
                        Some(0xDC00..=0xDFFF) => index += 6,
                        _ => return Err(ClassifyApiError::LoneSurrogate { at: index }),
                    },
                    Some(0xDC00..=0xDFFF) => {
                        return Err(ClassifyApiError::LoneSurrogate { at: index });
                    }
                    _ => {}
                }
                // This also steps over an escaped quote or backslash.
                index += 1;
            }
            b'[' | b'{' if !in_string => {
                depth += 1;
                if depth > DEPTH_MAX {
                    return Err(ClassifyApiError::TooDeep { limit: DEPTH_MAX });
                }
            }
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        index += 1;
    }
    Ok(())
}

/// Returns the UTF-16 unit of a `\uXXXX` escape that begins at `index`.
fn utf16_unit_at(bytes: &[u8], index: usize) -> Option<u16> {
    let escape = bytes.get(index..index.checked_add(6)?)?;
    let digits = escape.strip_prefix(b"\\u")?;
    // `from_str_radix` takes a sign, JSON does not.
    let digits = std::str::from_utf8(digits).ok().filter(|digits| !digits.starts_with('+'))?;
    u16::from_str_radix(digits, 16).ok()
}

impl<'de> Deserialize<'de> for JsonValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = JsonValue;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<JsonValue, E> {
        Ok(JsonValue::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<JsonValue, E> {
        Ok(JsonValue::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<JsonValue, E> {
        Ok(JsonValue::Count(value))
    }

    fn visit_i64<E>(self, _: i64) -> Result<JsonValue, E> {
        Ok(JsonValue::Number)
    }

    fn visit_f64<E>(self, value: f64) -> Result<JsonValue, E> {
        // JSON Schema counts 3.0 and 1e30 as whole too; the cast stops at the largest u64.
        let is_whole = value >= 0.0 && value.fract() == 0.0;
        Ok(if is_whole { JsonValue::Count(value as u64) } else { JsonValue::Number })
    }

    fn visit_str<E>(self, value: &str) -> Result<JsonValue, E> {
        Ok(JsonValue::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<JsonValue, E> {
        Ok(JsonValue::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<JsonValue, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(JsonValue::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<JsonValue, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = access.next_entry()? {
            fields.push(field);
        }
        Ok(JsonValue::Object(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(body: &[u8]) -> &'static str {
        JsonValue::parse(body, "{}").err().map_or("ok", |error| error.code())
    }

    #[test]
    fn what_is_not_sound_json_is_named_by_its_fault() {
        let nested = |levels: usize| [vec![b'['; levels], vec![b']'; levels]].concat();
        let in_a_string = format!("\"{}\"", "[".repeat(1000));
        let rows: [(&[u8], &str); 27] = [
            (b"{}", "ok"),
            (b"\xef\xbb\xbf{\"text\":\"a\"}", "ok"),
            (b" \n\t{} \r\n", "ok"),
            (b"\"\\u0000\"", "ok"),
            (b"\"\\ud83d\\ude00\"", "ok"),
            (b"\"\\\\ud83d\"", "ok"),
            (b"123456789012345678901234567890", "ok"),
            (in_a_string.as_bytes(), "ok"),
            (&nested(DEPTH_MAX), "ok"),
            (&nested(DEPTH_MAX + 1), "too_deep"),
            (&[b'['; 100_000], "too_deep"),
            (b"", "not_json"),
            (b" ", "not_json"),
            (b"\0", "not_json"),
            (b"text=hello", "not_json"),
            (b"{\"text\":\"a\"", "not_json"),
            (b"{\"text\":\"a\"}}", "not_json"),
            (b"{'text':'a'}", "not_json"),
            (b"\"a\nb\"", "not_json"),
            (b"\"a\0b\"", "not_json"),
            (b"1e999", "not_json"),
            (b"\"\\u12\"", "not_json"),
            (b"\xff\xfe{\0}\0", "invalid_utf8"),
            (b"\"caf\xe9\"", "invalid_utf8"),
            (b"\"\\ud83d\"", "lone_surrogate"),
            (b"\"\\ud83d\\u0041\"", "lone_surrogate"),
            (b"\"\\ude00\"", "lone_surrogate"),
        ];
        for (body, expected) in rows {
            assert_eq!(code(body), expected, "{}", String::from_utf8_lossy(body));
        }
    }

    #[test]
    fn a_fault_is_named_by_its_place() {
        let error = JsonValue::parse(b"{\n \"text\": oops}", "{}").err().unwrap();
        assert_eq!(error.to_string(), "the body is not JSON at line 2, column 10; expected {}");
        let error = JsonValue::parse(b"\"caf\xe9\"", "{}").err().unwrap();
        assert_eq!(error, ClassifyApiError::InvalidUtf8 { at: 4 });
        let error = JsonValue::parse(b"\"ab\\ud800\"", "{}").err().unwrap();
        assert_eq!(error, ClassifyApiError::LoneSurrogate { at: 3 });
    }

    #[test]
    fn a_key_given_twice_is_refused_when_it_is_read() {
        let json = JsonValue::parse(br#"{"a": 1, "text": "x", "a": 2}"#, "{}").unwrap();
        let mut fields = JsonFields::from_json(json, "the body").unwrap_or_else(|_| unreachable!());
        assert!(matches!(fields.take("text"), Ok(Some(JsonValue::String(_)))));
        assert_eq!(fields.take("a").err(), Some(ClassifyApiError::DuplicateField { field: "a" }));
        assert!(matches!(fields.take("b"), Ok(None)));
    }
}
