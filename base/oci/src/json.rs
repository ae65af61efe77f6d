//! Reading JSON strictly and writing it as Go's encoding/json does.
//!
//! Strictly: an object with a duplicate key is refused, because two readers could see two images; `null` is an absent
//! field. As Go: `<`, `>`, `&`, U+2028 and U+2029 are escaped, so that documents have the bytes BuildKit would give them.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::ManifestError;

/// The fields of one object that have not been taken yet.
pub(crate) struct Fields {
    what: &'static str,
    map: Map<String, Value>,
}

impl Fields {
    /// Parses a document of at most `limit` bytes that is one object.
    pub(crate) fn parse(bytes: &[u8], what: &'static str, limit: usize) -> Result<Fields, ManifestError> {
        if bytes.len() > limit {
            return Err(rule(what, format!("{} bytes are more than the limit of {limit}", bytes.len())));
        }
        match parse_value(bytes).map_err(|source| ManifestError::Json { what, source })? {
            Value::Object(map) => Ok(Fields { what, map }),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                Err(rule(what, "it is not an object".into()))
            }
        }
    }

    /// Wraps an object that was part of a document.
    pub(crate) fn of(what: &'static str, map: Map<String, Value>) -> Fields {
        Fields { what, map }
    }

    /// Whether the field is there and not `null`.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.map.get(key).is_some_and(|value| !value.is_null())
    }

    /// Takes a field; `None` when it is absent or `null`.
    pub(crate) fn take<T: DeserializeOwned>(&mut self, key: &str) -> Result<Option<T>, ManifestError> {
        match self.map.swap_remove(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => serde_json::from_value(value).map(Some).map_err(|e| ManifestError::Json {
                what: self.what,
                source: serde_json::Error::custom(format!("field `{key}`: {e}")),
            }),
        }
    }

    /// Takes a field that must be there.
    pub(crate) fn require<T: DeserializeOwned>(&mut self, key: &str) -> Result<T, ManifestError> {
        self.take(key)?.ok_or_else(|| self.rule(format!("field `{key}` is missing")))
    }

    /// Takes a field that is a list or map; absent is empty.
    pub(crate) fn take_or_default<T: DeserializeOwned + Default>(&mut self, key: &str) -> Result<T, ManifestError> {
        Ok(self.take(key)?.unwrap_or_default())
    }

    /// What was not taken, sorted.
    pub(crate) fn rest(self) -> BTreeMap<String, Value> {
        self.map.into_iter().collect()
    }

    /// An error of this document.
    pub(crate) fn rule(&self, reason: String) -> ManifestError {
        rule(self.what, reason)
    }
}

fn rule(what: &'static str, reason: String) -> ManifestError {
    ManifestError::Rule { what, reason }
}

/// Parses one JSON value, refusing duplicate keys at every depth.
pub(crate) fn parse_value(bytes: &[u8]) -> Result<Value, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = Strict.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(value)
}

struct Strict;

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = seq.next_element_seed(Strict)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = access.next_key::<String>()? {
            if map.contains_key(&key) {
                return Err(A::Error::custom(format!("duplicate key `{key}`")));
            }
            let value = access.next_value_seed(Strict)?;
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

/// Compact, as `json.Marshal` writes.
pub(crate) fn to_compact(value: &Value) -> Vec<u8> {
    escape_html(value.to_string().as_bytes())
}

/// Indented by two spaces, as `json.MarshalIndent(v, "", "  ")` writes.
pub(crate) fn to_indented(value: &Value) -> Vec<u8> {
    let text = serde_json::to_vec_pretty(value).expect("a value has string keys and is written to memory");
    escape_html(&text)
}

/// These bytes stand only inside strings of a JSON text, so replacing them blindly is right.
fn escape_html(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 16);
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let (escaped, length): (&[u8], usize) = match rest {
            [b'<', ..] => (b"\\u003c", 1),
            [b'>', ..] => (b"\\u003e", 1),
            [b'&', ..] => (b"\\u0026", 1),
            [0xe2, 0x80, 0xa8, ..] => (b"\\u2028", 3),
            [0xe2, 0x80, 0xa9, ..] => (b"\\u2029", 3),
            other => (&other[..1], 1),
        };
        out.extend_from_slice(escaped);
        at += length;
    }
    out
}

/// An object under construction, in the order of the calls; empty values are left out (Go's `omitempty`).
#[derive(Default)]
pub(crate) struct Object(Map<String, Value>);

impl Object {
    /// Adds a field whatever its value.
    pub(crate) fn always(&mut self, key: &str, value: impl Into<Value>) {
        self.0.insert(key.into(), value.into());
    }

    /// Adds a field unless its value is empty, zero, false or `None`.
    pub(crate) fn unless_empty(&mut self, key: &str, value: &impl Serialize) {
        let value = serde_json::to_value(value).expect("strings, numbers, lists and maps with string keys");
        let empty = match &value {
            Value::Null => true,
            Value::Bool(value) => !value,
            Value::Number(number) => number.as_i64() == Some(0),
            Value::String(text) => text.is_empty(),
            Value::Array(list) => list.is_empty(),
            Value::Object(map) => map.is_empty(),
        };
        if !empty {
            self.always(key, value);
        }
    }

    /// Adds fields as they are, after the present ones.
    pub(crate) fn extend(&mut self, extra: &BTreeMap<String, Value>) {
        for (key, value) in extra {
            if !self.0.contains_key(key) {
                self.always(key, value.clone());
            }
        }
    }

    /// The object with its keys in the order they were added.
    pub(crate) fn in_order(self) -> Value {
        Value::Object(self.0)
    }

    /// The object with its keys sorted, as Go writes a map.
    pub(crate) fn sorted(mut self) -> Value {
        self.0.sort_keys();
        Value::Object(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_escaped_as_go_does() {
        let value = Value::String("<a>&\u{2028}\u{2029}\"\\\n\u{1}\u{7f}é".into());
        let text = String::from_utf8(to_compact(&value)).unwrap();
        assert_eq!(text, "\"\\u003ca\\u003e\\u0026\\u2028\\u2029\\\"\\\\\\n\\u0001\u{7f}é\"");
        assert_eq!(parse_value(text.as_bytes()).unwrap(), value);
    }

    #[test]
    fn duplicate_keys_are_refused_at_any_depth() {
        for text in [r#"{"a":1,"a":2}"#, r#"{"x":[{"a":{"b":1,"b":1}}]}"#, r#"{"a":1,"\u0061":2}"#] {
            let error = parse_value(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains("duplicate key"), "{error}");
        }
        assert!(parse_value(br#"{"a":1} x"#).is_err());
    }
}
