//! PAX extended headers (POSIX.1-2001): records `LENGTH KEY=VALUE\n`, where LENGTH counts the whole record.

use std::io;

use super::header::invalid;

/// Prefix of the keys that hold extended attributes.
pub(super) const XATTR: &[u8] = b"SCHILY.xattr.";

/// What an `x` header says of the entry that follows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Pax {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u64>,
    pub(super) gid: Option<u64>,
    pub(super) mtime: Option<(i64, u32)>,
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// `GNU.sparse.*`, in order; the keys without that prefix.
    pub(super) sparse: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Pax {
    /// Reads all records. Unknown keys say nothing to us; an empty value takes an earlier one back.
    pub(super) fn parse(mut bytes: &[u8]) -> io::Result<Pax> {
        let mut pax = Pax::default();
        while !bytes.is_empty() {
            let (key, value, rest) = split_record(bytes).ok_or_else(|| invalid("tar has a malformed PAX record"))?;
            pax.set(key, value)?;
            bytes = rest;
        }
        pax.xattrs.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(pax)
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        match key {
            b"path" => self.path = text(value)?,
            b"linkpath" => self.link = text(value)?,
            b"size" => self.size = number(value, "size")?,
            b"uid" => self.uid = number(value, "uid")?,
            b"gid" => self.gid = number(value, "gid")?,
            b"mtime" => self.mtime = if value.is_empty() { None } else { Some(time(value)?) },
            _ => {
                if let Some(name) = key.strip_prefix(XATTR) {
                    self.set_xattr(name, value)?;
                } else if let Some(name) = key.strip_prefix(b"GNU.sparse.") {
                    self.sparse.push((name.to_vec(), value.to_vec()));
                }
            }
        }
        Ok(())
    }

    fn set_xattr(&mut self, name: &[u8], value: &[u8]) -> io::Result<()> {
        if name.is_empty() || name.contains(&0) {
            return Err(invalid("tar has an extended attribute with a malformed name"));
        }
        self.xattrs.retain(|(known, _)| known != name);
        self.xattrs.push((name.to_vec(), value.to_vec()));
        Ok(())
    }

    pub(super) fn sparse(&self, key: &[u8]) -> Option<&[u8]> {
        self.sparse.iter().rev().find(|(known, _)| known == key).map(|(_, value)| &**value)
    }
}

/// Key, value and what follows the first record.
fn split_record(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = bytes.iter().take(20).position(|byte| *byte == b' ')?;
    let length = usize::try_from(digits(&bytes[..space])?).ok()?;
    let record = bytes.get(space + 1..length)?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|byte| *byte == b'=')?;
    let key = &record[..equals];
    (!key.is_empty()).then_some((key, &record[equals + 1..], &bytes[length..]))
}

/// A record with its length in front.
pub(super) fn write_record(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let without_length = key.len() + value.len() + 3;
    let mut length = without_length + without_length.to_string().len();
    if without_length + length.to_string().len() != length {
        length = without_length + length.to_string().len();
    }
    out.extend_from_slice(length.to_string().as_bytes());
    out.push(b' ');
    out.extend_from_slice(key);
    out.push(b'=');
    out.extend_from_slice(value);
    out.push(b'\n');
}

/// A path: `None` when empty. A NUL would cut it short in the kernel.
fn text(value: &[u8]) -> io::Result<Option<Vec<u8>>> {
    if value.contains(&0) {
        return Err(invalid("tar has a path with a NUL byte"));
    }
    Ok((!value.is_empty()).then(|| value.to_vec()))
}

fn number(value: &[u8], what: &str) -> io::Result<Option<u64>> {
    if value.is_empty() {
        return Ok(None);
    }
    digits(value).map(Some).ok_or_else(|| invalid(format!("tar has a malformed PAX {what}")))
}

/// Decimal digits and nothing else.
pub(super) fn digits(value: &[u8]) -> Option<u64> {
    if value.is_empty() {
        return None;
    }
    value.iter().try_fold(0u64, |sum, digit| match digit {
        b'0'..=b'9' => sum.checked_mul(10)?.checked_add(u64::from(digit - b'0')),
        _ => None,
    })
}

/// Decimal seconds, possibly negative and with a fraction, of which nine digits count: `-1.25` is (-2, 750000000).
fn time(value: &[u8]) -> io::Result<(i64, u32)> {
    parse_time(value).ok_or_else(|| invalid("tar has a malformed PAX mtime"))
}

fn parse_time(value: &[u8]) -> Option<(i64, u32)> {
    let (negative, value) = match value.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, value),
    };
    let (whole, fraction) = match value.iter().position(|byte| *byte == b'.') {
        Some(dot) => (&value[..dot], &value[dot + 1..]),
        None => (value, &b""[..]),
    };
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let seconds = i64::try_from(digits(whole)?).ok()?;
    let nanoseconds = (0..9).fold(0u32, |sum, place| sum * 10 + fraction.get(place).map_or(0, |digit| u32::from(digit - b'0')));
    match (negative, nanoseconds) {
        (false, _) => Some((seconds, nanoseconds)),
        (true, 0) => Some((-seconds, 0)),
        (true, _) => Some((-seconds - 1, 1_000_000_000 - nanoseconds)),
    }
}
