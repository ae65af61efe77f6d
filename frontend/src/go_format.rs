//! Values as Go prints them: history entries and messages are in these forms.

use std::fmt::Write as _;

const NANOSECOND: i64 = 1;
const MICROSECOND: i64 = 1_000 * NANOSECOND;
const MILLISECOND: i64 = 1_000 * MICROSECOND;
const SECOND: i64 = 1_000 * MILLISECOND;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;

/// `%q`: a quoted string.
pub(crate) fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\x07' => out.push_str("\\a"),
            '\x08' => out.push_str("\\b"),
            '\x0c' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\x0b' => out.push_str("\\v"),
            c if is_printable(c) => out.push(c),
            c => push_escape(&mut out, c),
        }
    }
    out.push('"');
    out
}

/// A quoted string, cut for messages.
pub(crate) fn quote_short(text: &str) -> String {
    const LONGEST: usize = 120;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => quote(&format!("{}…", &text[..end])),
        None => quote(text),
    }
}

fn is_printable(c: char) -> bool {
    let formatting =
        matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    let private = matches!(c, '\u{e000}'..='\u{f8ff}' | '\u{f0000}'..='\u{10ffff}');
    c == ' ' || !(c.is_control() || c.is_whitespace() || formatting || private)
}

fn push_escape(out: &mut String, c: char) {
    let code = u32::from(c);
    let written = match code {
        0..=0x7f => write!(out, "\\x{code:02x}"),
        0x80..=0xffff => write!(out, "\\u{code:04x}"),
        _ => write!(out, "\\U{code:08x}"),
    };
    written.expect("writing to a string cannot fail");
}

/// `%q` of a list: `["a" "b"]`.
pub(crate) fn quoted_list(items: &[String]) -> String {
    let quoted: Vec<String> = items.iter().map(|item| quote(item)).collect();
    format!("[{}]", quoted.join(" "))
}

/// `%v` of a list: `[a b]`.
pub(crate) fn list(items: &[String]) -> String {
    format!("[{}]", items.join(" "))
}

/// A duration in nanoseconds: `1m30s`.
pub(crate) fn duration(nanoseconds: i64) -> String {
    if nanoseconds == 0 {
        return "0s".into();
    }
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let total = nanoseconds.unsigned_abs();
    let unit = |unit: i64| unit.unsigned_abs();
    let fraction = |unit: u64| -> String {
        let decimal = format!("{}.{:0width$}", total / unit, total % unit, width = unit.ilog10() as usize);
        decimal.trim_end_matches('0').trim_end_matches('.').to_owned()
    };
    let text = match total {
        t if t < unit(MICROSECOND) => format!("{t}ns"),
        t if t < unit(MILLISECOND) => format!("{}µs", fraction(unit(MICROSECOND))),
        t if t < unit(SECOND) => format!("{}ms", fraction(unit(MILLISECOND))),
        t => {
            let below_minute = t % unit(MINUTE);
            let seconds = format!("{}.{:09}", below_minute / unit(SECOND), below_minute % unit(SECOND));
            let seconds = seconds.trim_end_matches('0').trim_end_matches('.');
            match (t / unit(HOUR), t / unit(MINUTE) % 60) {
                (0, 0) => format!("{seconds}s"),
                (0, minutes) => format!("{minutes}m{seconds}s"),
                (hours, minutes) => format!("{hours}h{minutes}m{seconds}s"),
            }
        }
    };
    format!("{sign}{text}")
}

/// Reads a duration as Go does: `1h30m`, `1.5s`, `300ms`; nanoseconds.
pub(crate) fn parse_duration(text: &str) -> Result<i64, String> {
    let invalid = || format!("time: invalid duration {}", quote_short(text));
    let (negative, mut rest) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total: f64 = 0.0;
    let mut exact: i64 = 0;
    while !rest.is_empty() {
        let number_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, after) = rest.split_at(number_end);
        if number.matches('.').count() > 1 || !number.bytes().any(|b| b.is_ascii_digit()) {
            return Err(invalid());
        }
        let unit_end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, next) = after.split_at(unit_end);
        let scale = match unit {
            "ns" => NANOSECOND,
            "us" | "µs" | "μs" => MICROSECOND,
            "ms" => MILLISECOND,
            "s" => SECOND,
            "m" => MINUTE,
            "h" => HOUR,
            "" => return Err(format!("time: missing unit in duration {}", quote_short(text))),
            other => return Err(format!("time: unknown unit {} in duration {}", quote_short(other), quote_short(text))),
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let whole: i64 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_error| invalid())? };
        exact = whole.checked_mul(scale).and_then(|part| exact.checked_add(part)).ok_or_else(invalid)?;
        total += fraction_of(fraction, scale);
        rest = next;
    }
    let sum = exact.checked_add(to_nanoseconds(total)).ok_or_else(invalid)?;
    Ok(if negative { -sum } else { sum })
}

fn fraction_of(digits: &str, scale: i64) -> f64 {
    format!("0.{digits}0").parse::<f64>().unwrap_or(0.0) * scale as f64
}

#[allow(clippy::cast_possible_truncation, reason = "below one unit of time for each part of a bounded text")]
fn to_nanoseconds(value: f64) -> i64 {
    (value + 1e-6).floor() as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_quoted_as_go_does() {
        for (text, expected) in [
            ("plain", r#""plain""#),
            ("a \"b\" \\c", r#""a \"b\" \\c""#),
            ("tab\there\n", r#""tab\there\n""#),
            ("\u{1}\u{7f}", r#""\x01\x7f""#),
            ("é 日本 😀", "\"é 日本 😀\""),
            ("\u{a0}\u{200b}", r#""\u00a0\u200b""#),
        ] {
            assert_eq!(quote(text), expected);
        }
        assert_eq!(quoted_list(&["a b".into(), "c".into()]), r#"["a b" "c"]"#);
        assert_eq!(list(&["a".into(), "c".into()]), "[a c]");
    }

    #[test]
    fn durations_are_read_and_written() {
        for (text, nanoseconds, written) in [
            ("0", 0, "0s"),
            ("30s", 30 * SECOND, "30s"),
            ("1.5s", 1_500 * MILLISECOND, "1.5s"),
            ("90s", 90 * SECOND, "1m30s"),
            ("1h", HOUR, "1h0m0s"),
            ("1h15m30.918s", HOUR + 15 * MINUTE + 30_918 * MILLISECOND, "1h15m30.918s"),
            ("300ms", 300 * MILLISECOND, "300ms"),
            ("1ns", 1, "1ns"),
            ("1.5us", 1_500, "1.5µs"),
            (".5s", 500 * MILLISECOND, "500ms"),
            ("-2s", -2 * SECOND, "-2s"),
        ] {
            assert_eq!(parse_duration(text), Ok(nanoseconds), "{text}");
            assert_eq!(duration(nanoseconds), written, "{text}");
        }
        for (text, message) in [
            ("", "invalid duration"),
            ("30", "missing unit"),
            ("3x", "unknown unit"),
            (".s", "invalid duration"),
            ("1.2.3s", "invalid duration"),
            ("99999999999999h", "invalid duration"),
        ] {
            let error = parse_duration(text).unwrap_err();
            assert!(error.contains(message), "{text}: {error}");
        }
    }
}
