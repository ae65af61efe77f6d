//! Expansion tables.

use std::collections::BTreeMap;

use super::*;

struct Map(BTreeMap<&'static str, &'static str>);

impl Variables for Map {
    fn value(&self, name: &str) -> Option<&str> {
        self.0.get(name).copied()
    }
}

fn variables() -> Map {
    Map(BTreeMap::from([
        ("foo", "bar"),
        ("empty", ""),
        ("PWD", "/home"),
        ("path", "/usr/local/lib/libfoo.so.1"),
        ("spaces", "a  b c"),
        ("STAR", "a*b*c"),
        ("ünï", "code"),
        ("DOT", "a.b.c"),
    ]))
}

fn word(text: &str) -> String {
    match Lexer::new('\\').word(text, &variables()) {
        Ok(expanded) => expanded.text,
        Err(error) => format!("error: {}", error.message.rsplit_once("\": ").map_or(&*error.message, |(_, reason)| reason)),
    }
}

#[test]
fn words_expand() {
    for (text, expected) in [
        ("hello", "hello"),
        ("he'll'o", "hello"),
        ("he'llo", "error: unexpected end of statement while looking for matching single-quote"),
        ("\"he", "error: unexpected end of statement while looking for matching double-quote"),
        (r"he\'llo", "he'llo"),
        (r"he\\llo", r"he\llo"),
        (r"'he\'llo", r"he\llo"),
        ("abc\\", "abc"),
        ("$foo ${foo}x $foox", "bar barx "),
        ("'$foo' \"$foo\" \\$foo", "$foo bar $foo"),
        (r#""a\$b \"q\" \x \\""#, r#"a$b "q" \x \"#),
        ("\"a'b'c\"", "a'b'c"),
        ("$", "$"),
        ("a$ b", "a$ b"),
        ("$1x $@ $? $#", "x   "),
        ("${ünï}", "code"),
        ("<<EOF < x", "<<EOF < x"),
    ] {
        assert_eq!(word(text), expected, "{text}");
    }
}

#[test]
fn defaults_and_alternatives() {
    for (text, expected) in [
        ("${none:-a b}", "a b"),
        ("${empty:-x}", "x"),
        ("${empty-x}", ""),
        ("${none-x}", "x"),
        ("${foo:-x}", "bar"),
        ("${foo:+x}", "x"),
        ("${empty:+x}", ""),
        ("${empty+x}", "x"),
        ("${none+x}", ""),
        ("${none:-${foo}-$PWD}", "bar-/home"),
        ("${none:-${empty:-${foo}}}", "bar"),
        (r#"${none:-"a } b"}"#, "a } b"),
        (r"${none:-a\}b}", "a}b"),
        ("${foo:?gone}", "bar"),
        ("${empty?gone}", ""),
        ("${none:?gone}", "error: none: gone"),
        ("${empty:?gone}", "error: empty: gone"),
        ("${none?}", "error: none: is not allowed to be unset"),
        ("${empty:?}", "error: empty: is not allowed to be empty"),
        ("${none:?\"foo missing\"}", "error: none: foo missing"),
    ] {
        assert_eq!(word(text), expected, "{text}");
    }
}

#[test]
fn prefixes_and_suffixes_are_cut() {
    for (text, expected) in [
        ("${path#*/}", "usr/local/lib/libfoo.so.1"),
        ("${path##*/}", "libfoo.so.1"),
        ("${path%.*}", "/usr/local/lib/libfoo.so"),
        ("${path%%.*}", "/usr/local/lib/libfoo"),
        ("${path%/*}", "/usr/local/lib"),
        ("${foo#b?}", "r"),
        ("${foo#x}", "bar"),
        ("${foo%%*}", ""),
        ("${none#x}", ""),
        (r"${STAR#a\*}", "b*c"),
        (r"${STAR%\**}", "a*b"),
        ("${DOT#a.}", "b.c"),
        ("${DOT#ab}", "a.b.c"),
        (r"${foo#\a}", r"error: invalid pattern (\a) in substitution: invalid escape '\a'"),
    ] {
        assert_eq!(word(text), expected, "{text}");
    }
}

#[test]
fn matches_are_replaced() {
    for (text, expected) in [
        ("${path/usr/opt}", "/opt/local/lib/libfoo.so.1"),
        ("${DOT/./-}", "a-b.c"),
        ("${DOT//./-}", "a-b-c"),
        ("${path/l*b/X}", "/usr/Xfoo.so.1"),
        (r"${path//\//_}", "_usr_local_lib_libfoo.so.1"),
        ("${spaces// /}", "abc"),
        ("${foo/b/$PWD}", "/homear"),
        ("${none/a/b}", ""),
        ("${foo//?/x}", "xxx"),
    ] {
        assert_eq!(word(text), expected, "{text}");
    }
}

#[test]
fn bad_substitutions_are_errors() {
    for (text, expected) in [
        ("${", "error: syntax error: missing '}'"),
        ("${}", "error: syntax error: bad substitution"),
        ("${:-x}", "error: syntax error: bad substitution"),
        ("${{foo}}", "error: syntax error: bad substitution"),
        ("${foo", "error: syntax error: missing '}'"),
        ("${foo:", "error: syntax error: missing '}'"),
        ("${foo:-bar", "error: syntax error: missing '}'"),
        ("${foo:#x}", "error: unsupported modifier (:#) in substitution"),
        ("${foo:xx}", "error: unsupported modifier (:x) in substitution"),
        ("${foo!x}", "error: unsupported modifier (!) in substitution"),
        ("${foo/bar}", "error: syntax error: missing '/' in ${}"),
        ("${foo/a/b", "error: syntax error: missing '}'"),
    ] {
        assert_eq!(word(text), expected, "{text}");
    }
}

#[test]
fn words_are_split_outside_quotes() {
    let words = |text: &str| Lexer::new('\\').words(text, &variables()).unwrap().words;
    assert_eq!(words("a  $spaces \"$spaces\" x$foo"), ["a", "a", "b", "c", "a  b c", "xbar"]);
    assert_eq!(words(r"a\ b 'c d' "), ["a b", "c d"]);
    assert_eq!(words("80${none:-81} 2"), ["8081", "2"]);
    assert_eq!(words(" \t "), [""; 0]);
}

#[test]
fn names_are_reported() {
    let expanded = Lexer::new('\\').word("$foo $none ${gone:-x} '$quoted'", &variables()).unwrap();
    assert_eq!(expanded.used.into_iter().collect::<Vec<_>>(), ["foo"]);
    assert_eq!(expanded.unset.into_iter().collect::<Vec<_>>(), ["gone", "none"]);
}

#[test]
fn other_modes() {
    let body = Lexer { quotes: Quotes::Ignore, ..Lexer::new('\\') };
    assert_eq!(body.word("'$foo' \"${foo}\" \\$foo it's", &variables()).unwrap().text, "'bar' \"bar\" $foo it's");
    let name = Lexer { quotes: Quotes::Keep, keep_unset: true, ..Lexer::new('\\') };
    let text = "echo \"$foo\" '$foo' $none ${none:-a} ${none%x} ${none/a/b}";
    assert_eq!(name.word(text, &variables()).unwrap().text, "echo \"bar\" '$foo' $none ${none:-a} ${none%x} ${none/a/b}");
    assert_eq!(Lexer::new('`').word("c:\\dir `$foo", &variables()).unwrap().text, "c:\\dir $foo");
}

#[test]
fn hostile_text_ends() {
    let deep = "${a:-".repeat(20_000);
    assert!(word(&deep).starts_with("error"));
    struct Big(String);
    impl Variables for Big {
        fn value(&self, _name: &str) -> Option<&str> {
            Some(&self.0)
        }
    }
    let big = Big("x".repeat(1 << 20));
    assert!(Lexer::new('\\').word("$a$a$a", &big).unwrap_err().message.contains("too long"));
    assert!(Lexer::new('\\').word("\"$a$a$a\"", &big).unwrap_err().message.contains("too long"));
    assert!(Lexer::new('\\').word("${a//x/yyyy}", &big).unwrap_err().message.contains("too long"));
}

#[test]
fn errors_point_at_the_variable() {
    assert_eq!(Lexer::new('\\').word("ab $foo ${none:?x}", &variables()).unwrap_err().at, 8);
}

proptest::proptest! {
    #[test]
    fn nothing_panics(text in r#"[a${}:\-+?#%/'"\\* <\n]{0,60}"#) {
        for quotes in [Quotes::Remove, Quotes::Keep, Quotes::Ignore] {
            let lexer = Lexer { quotes, ..Lexer::new('\\') };
            let _result = lexer.words(&text, &variables());
        }
    }
}
