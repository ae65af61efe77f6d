//! Tests of globs: Go's documented behaviour.

use proptest::prelude::*;

use super::*;

#[test]
fn matches_as_go_does() {
    let check = |pattern: &str, name: &str, expect: Option<bool>| {
        assert_eq!(matches(pattern, name.as_bytes()).ok(), expect, "`{pattern}` on `{name}`");
    };
    for (pattern, name, expect) in [
        ("abc", "abc", true),
        ("*", "abc", true),
        ("*c", "abc", true),
        ("a*", "a", true),
        ("a*", "abc", true),
        ("a*", "ab/c", false),
        ("a*/b", "abc/b", true),
        ("a*/b", "a/c/b", false),
        ("a*b*c*d*e*/f", "axbxcxdxe/f", true),
        ("a*b*c*d*e*/f", "axbxcxdxexxx/f", true),
        ("a*b*c*d*e*/f", "axbxcxdxe/xxx/f", false),
        ("a*b?c*x", "abxbbxdbxebxczzx", true),
        ("a*b?c*x", "abxbbxdbxebxczzy", false),
        ("ab[c]", "abc", true),
        ("ab[b-d]", "abc", true),
        ("ab[e-g]", "abc", false),
        ("ab[^c]", "abc", false),
        ("ab[^b-d]", "abc", false),
        ("ab[^e-g]", "abc", true),
        ("a\\*b", "a*b", true),
        ("a\\*b", "ab", false),
        ("a?b", "a☺b", true),
        ("a[^a]b", "a☺b", true),
        ("a???b", "a☺b", false),
        ("a[^a][^a][^a]b", "a☺b", false),
        ("[a-ζ]*", "α", true),
        ("*[a-ζ]", "A", false),
        ("a?b", "a/b", false),
        ("a*b", "a/b", false),
        ("[\\]a]", "]", true),
        ("[\\-]", "-", true),
        ("[x\\-]", "x", true),
        ("[x\\-]", "-", true),
        ("[x\\-]", "z", false),
        ("[\\-x]", "a", false),
        ("*x", "xxx", true),
        ("**", "ab", true),
        ("**", "a/b", false),
        ("foo[[]x", "foo[x", true),
        ("", "", true),
        ("", "a", false),
        ("*", "", true),
        ("?", "", false),
    ] {
        check(pattern, name, Some(expect));
    }
    for pattern in ["[]a]", "[-]", "[x-]", "[-x]", "[a-b-c]", "[", "[^", "[^bc", "a[", "a[-", "\\", "a\\", "b[", "[a-", "[a\\"] {
        check(pattern, "a", None);
        check(pattern, "zzz/zz", None);
        assert_eq!(matches(pattern, b"").unwrap_err().to_string(), format!("syntax error in pattern `{pattern}`"));
    }
}

#[test]
fn bytes_that_are_no_text_are_one_character_each() {
    assert_eq!(matches("a?b", b"a\xffb"), Ok(true));
    assert_eq!(matches("a?b", b"a\xff\xfeb"), Ok(false));
    assert_eq!(matches("*.c", b"\x80\x80.c"), Ok(true));
    assert_eq!(matches("[^x]", b"\xc3"), Ok(true));
}

#[test]
fn knows_patterns_from_names() {
    assert!(!has_meta("a/b.c-d]"));
    for pattern in ["*", "a?", "[a", "\\a"] {
        assert!(has_meta(pattern), "{pattern}");
    }
}

/// By the book, exponential.
fn naive(pattern: &[char], name: &[char]) -> bool {
    match (pattern.split_first(), name.split_first()) {
        (None, None) => true,
        (Some(('*', rest)), _) if naive(rest, name) => true,
        (Some(('*', _)), Some((first, left))) => *first != '/' && naive(pattern, left),
        (Some(('?', rest)), Some((first, left))) => *first != '/' && naive(rest, left),
        (Some((wanted, rest)), Some((first, left))) => wanted == first && naive(rest, left),
        _ => false,
    }
}

proptest! {
    #[test]
    fn agrees_with_the_naive_definition(pattern in "[ab/*?é]{0,9}", name in "[ab/é]{0,9}") {
        let expect = naive(&pattern.chars().collect::<Vec<_>>(), &name.chars().collect::<Vec<_>>());
        prop_assert_eq!(matches(&pattern, name.as_bytes()), Ok(expect));
    }

    #[test]
    fn nothing_panics(pattern in any::<String>(), name in any::<Vec<u8>>()) {
        let _checked = matches(&pattern, &name);
    }
}
