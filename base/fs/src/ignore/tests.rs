//! Tests of ignore patterns: moby's table of behaviours, and properties.

use std::collections::BTreeSet;
use std::path::PathBuf;

use proptest::prelude::*;

use super::*;

fn matcher(patterns: &[&str]) -> Matcher {
    let lines = patterns.iter().zip(1..).map(|(pattern, number)| Line { number, pattern: (*pattern).to_owned() });
    Matcher::new(&lines.collect::<Vec<_>>()).unwrap()
}

/// Walks down to the path, handing on what each directory matched.
fn matches_walking(matcher: &Matcher, path: &str) -> bool {
    let mut state = None;
    let mut matched = false;
    let mut at = PathBuf::new();
    for part in Path::new(path) {
        at.push(part);
        let (now, _, next) = matcher.matches(&at, state.as_ref());
        matched = now;
        state = Some(next);
    }
    matched
}

fn check(patterns: &[&str], yes: &[&str], no: &[&str]) {
    let matcher = matcher(patterns);
    for (paths, expect) in [(yes, true), (no, false)] {
        for path in paths {
            assert_eq!(matches_walking(&matcher, path), expect, "{patterns:?} on `{path}`, walking");
            assert_eq!(matcher.matches(Path::new(path), None).0, expect, "{patterns:?} on `{path}`, at once");
        }
    }
}

#[test]
fn plain_patterns_are_anchored_and_cover_what_is_below() {
    check(&["foo"], &["foo", "foo/a", "foo/a/b"], &["a/foo", "foobar", "fo"]);
    check(&["a/b"], &["a/b", "a/b/c"], &["a", "b", "a/bc", "x/a/b"]);
    check(&["."], &[], &["a", "b/c"]);
    check(&["/"], &[], &["a"]);
    check(&["foo/"], &["foo", "foo/x"], &["bar"]);
    check(&["./foo/../bar"], &["bar"], &["foo"]);
    check(&["file.txt"], &["file.txt"], &["fileXtxt"]);
    check(&["a+b(c){d}|$^"], &["a+b(c){d}|$^"], &["aab", "a"]);
}

#[test]
fn stars_and_question_marks_stop_at_slashes() {
    check(&["*"], &["a", "a/b", ".hidden"], &[]);
    check(&["*.md"], &["a.md", "x.md/y", ".md"], &["a.mdx", "d/a.md", "amd"]);
    check(&["a/*/c"], &["a/b/c", "a/b/c/f"], &["a/c", "a/b/d", "a/b/b/c"]);
    check(&["a?c"], &["abc", "aéc"], &["ac", "a/c", "abbc"]);
    check(&["*a"], &["a", "ba"], &["b", "c/a"]);
    check(&["*/b"], &["a/b", "a/b/c"], &["b", "a/a/b"]);
}

#[test]
fn double_stars() {
    check(&["**"], &["a", "a/b", "."], &[]);
    check(&["**/"], &["a", "a/b"], &[]);
    check(&["**/foo"], &["foo", "a/foo", "a/b/foo", "foo/x", "a/foo/x"], &["xfoo", "a/xfoo", "foox"]);
    check(&["**foo"], &["foo", "xfoo", "a/xfoo"], &["foox"]);
    check(&["foo/**"], &["foo/a", "foo/a/b"], &["foo", "foobar"]);
    check(&["foo**"], &["foo", "foobar", "foo/a", "foobar/x"], &["fo", "a/foo"]);
    check(&["a**b"], &["ab", "ax/b", "a/x/b", "ax/y/b"], &["axb", "a"]);
    check(&["a/**/b"], &["a/b", "a/x/b", "a/x/y/b"], &["ab", "a/xb"]);
    check(&["**/*.go"], &["a.go", "d/a.go", "d/e/a.go"], &["a.gox", "go"]);
    check(&["**/a/**"], &["a/b", "x/a/b"], &["a", "x/a", "xa/b"]);
    check(&["**/**"], &["a", "a/b"], &[]);
    check(&["a/***"], &["a/b", "a/b/c"], &["b"]);
    check(&["**/.git"], &[".git", "x/.git", ".git/config"], &["xgit", "x/agit", ".gitignore"]);
    check(&["dir/**/*.txt"], &["dir/a.txt", "dir/x/a.txt", "dir/x/y/a.txt"], &["dir/a.md", "a.txt"]);
}

#[test]
fn classes_and_escapes() {
    check(&["[a-z]"], &["b", "b/x"], &["B", "bb", "a-z"]);
    check(&["[^a]b"], &["bb"], &["ab"]);
    check(&["[!a]b"], &["!b", "ab"], &["bb"]);
    check(&["[bc]?r"], &["bar", "car"], &["dar", "br"]);
    check(&["[[]x"], &["[x"], &["x", "]x"]);
    check(&["a[b-d]e"], &["ace"], &["aae"]);
    check(&["[a-d&&c]"], &["a", "&"], &["e"]);
    check(&["[a~~b]"], &["~", "a", "b"], &["c"]);
    check(&["[\\]a]"], &["]", "a"], &["\\"]);
    check(&["\\*"], &["*"], &["a", "\\*"]);
    check(&["a\\?c"], &["a?c"], &["abc"]);
    check(&["\\!x"], &["!x"], &["x"]);
    check(&["\\[a]"], &["[a]"], &["a"]);
    check(&["[[:alpha:]]x"], &["bx"], &["1x"]);
    check(&["a\\ b"], &["a b"], &["ab"]);
    check(&["\\<x>"], &["<x>"], &["x"]);
    // A backslash before a letter means to moby what it means to Go's regexp.
    check(&["\\d"], &["1"], &["d"]);
}

#[test]
fn order_decides() {
    check(&["dir", "!dir/x"], &["dir", "dir/y", "dir/xx"], &["dir/x", "dir/x/below"]);
    check(&["!dir/x", "dir"], &["dir", "dir/x"], &[]);
    check(&["*.md", "!README*.md", "README-secret.md"], &["a.md", "README-secret.md"], &["README.md", "README-x.md"]);
    check(&["*.md", "README-secret.md", "!README*.md"], &["a.md"], &["README.md", "README-secret.md"]);
    check(&["**", "!folder1/file1"], &["folder1", "folder1/file2", "x"], &["folder1/file1"]);
    check(&["*", "!*.md"], &["a", "a/b.md"], &["b.md"]);
    check(&["**/*.tmp", "!**/important.tmp"], &["x.tmp", "d/e/y.tmp"], &["d/important.tmp", "important.tmp"]);
    check(&["stuff/huge/*", "!stuff/huge/usr/bin/*"], &["stuff/huge/usr", "stuff/huge/lib"], &["stuff/huge/usr/bin/file1"]);
    check(&["a", "!a/b", "a/b/c", "!a/b/c/d"], &["a", "a/x", "a/b/c", "a/b/c/x"], &["a/b", "a/b/x", "a/b/c/d", "a/b/c/d/e"]);
}

#[test]
fn a_parents_result_is_inherited_by_pattern() {
    // `!dir` was not tried on `dir` (not matched then), so walking does not know that it matches it; asked at once it does.
    let quirk = matcher(&["dir/x", "!dir"]);
    assert!(matches_walking(&quirk, "dir/x"));
    assert!(!quirk.matches(Path::new("dir/x"), None).0);
}

#[test]
fn the_decision_names_its_pattern() {
    let decide = |patterns: &[&str], path: &str| matcher(patterns).matches(Path::new(path), None).1;
    assert_eq!(decide(&["a", "", "b"], "b"), Some(2));
    assert_eq!(decide(&["a", "b"], "c"), None);
    assert_eq!(decide(&["*", "!b"], "b"), Some(1));
    assert_eq!(decide(&["*", "b"], "b"), Some(0));
}

#[test]
fn names_that_are_no_text() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let matches = |pattern: &str, name: &[u8]| matcher(&[pattern]).matches(Path::new(OsStr::from_bytes(name)), None).0;
    assert!(matches("a?b", b"a\xffb"));
    assert!(!matches("a?b", b"a\xff\xffb"));
    assert!(matches("*.o", b"\xfe\xff.o"));
    assert!(!matches("*/x", b"\xff"));
    assert!(matches("*", b"new\nline"));
}

#[test]
fn broken_patterns_are_errors() {
    let error = |pattern: &str| Matcher::new(&[Line { number: 1, pattern: pattern.to_owned() }]).unwrap_err();
    assert_eq!(error("!"), PatternError::LoneNegation);
    assert_eq!(error("!").to_string(), "illegal exclusion pattern: \"!\"");
    for pattern in ["[", "a[", "a[]", "[]a]", "[-a]", "[a-]", "[z-a]", "\\", "x/[", "\\e"] {
        assert_eq!(error(pattern), PatternError::Bad(pattern.to_owned()), "{pattern}");
        assert!(error(pattern).to_string().contains(pattern));
    }
    assert_eq!(error("!a["), PatternError::Bad("a[".to_owned()));
    // Each kind of repetition is bounded, so that no pattern makes a huge automaton.
    assert!(matches!(error(&"[^a]?".repeat(100_000)), PatternError::Bad(_)));
}

#[test]
fn reads_lines() {
    let text = "\u{feff}# comment\n # no comment\n\n  \t\r\n/abs/\r\n!  /x/../y/ \n!\n./a//b/.\n/\n..\n#last";
    let lines: Vec<_> = read_lines(text).into_iter().map(|line| (line.number, line.pattern)).collect();
    let expect = [(2, "# no comment"), (5, "abs"), (6, "!y"), (7, "!"), (8, "a/b"), (9, "/"), (10, "..")];
    assert_eq!(lines, expect.map(|(number, pattern)| (number, pattern.to_owned())));
    assert_eq!(read_lines("\u{feff}a"), [Line { number: 1, pattern: "a".to_owned() }]);
    assert_eq!(read_lines(""), []);
}

#[test]
fn prunes_by_the_prefixes_of_negations() {
    let check = |patterns: &[&str], yes: &[&str], no: &[&str]| {
        let matcher = matcher(patterns);
        for (directories, expect) in [(yes, true), (no, false)] {
            for directory in directories {
                assert_eq!(matcher.may_reinclude_below(Path::new(directory)), expect, "{patterns:?} below `{directory}`");
            }
        }
    };
    check(&["a", "b/**"], &[], &["", "a", "b"]);
    check(&["*", "!a/b/c"], &["", "a", "a/b"], &["a/b/c", "ab", "b", "a/bb", "a/b/c/d"]);
    check(&["*", "!a/b/**"], &["a", "a/b", "a/b/c", "a/b/c/d"], &["b", "ab"]);
    check(&["*", "!a**"], &["a", "ab", "ab/c"], &["b"]);
    check(&["*", "!**/x"], &["", "a", "a/b"], &[]);
    check(&["*", "!a/*/c"], &["a", "a/x"], &["b", "a/x/c", "a/x/d"]);
    check(&["*", "!a/x?/c"], &["a", "a/xy"], &["a/yx"]);
    check(&["*", "!*.md"], &[""], &["a", "b"]);
    check(&["*", "!a/**/c"], &["a", "a/b", "a/b/b"], &["b"]);
    check(&["*", "!a[b]/c"], &["ab", "ax", "a"], &["b"]);
    check(&["*", "!a\\b/c"], &["ab"], &["b"]);
}

fn any_pattern() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "a",
        "b",
        "/",
        "*",
        "**",
        "?",
        "[",
        "]",
        "^",
        "-",
        "!",
        "\\",
        ".",
        "é",
        "(",
        "|",
        "$",
        ":",
        "[:alpha:]",
        "d",
        "7",
        "x",
        " ",
    ]);
    prop::collection::vec(piece, 0..10).prop_map(|pieces| pieces.concat())
}

fn any_path() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec!["a", "b", "ab", "d", "x.", "é", "[", "!a", "7"]);
    prop::collection::vec(name, 1..5).prop_map(|names| names.join("/"))
}

proptest! {
    #[test]
    fn nothing_panics(text in any::<String>(), path in any::<PathBuf>()) {
        if let Ok(matcher) = Matcher::new(&read_lines(&text)) {
            matcher.matches(&path, None);
            matcher.may_reinclude_below(&path);
        }
    }

    #[test]
    fn pruning_never_hides_a_reinclusion(patterns in prop::collection::vec(any_pattern(), 1..5), path in any_path()) {
        let lines: Vec<_> = patterns.iter().map(|pattern| Line { number: 1, pattern: pattern.clone() }).collect();
        let Ok(matcher) = Matcher::new(&lines) else { return Ok(()) };
        let (mut state, mut at, mut matched) = (None, PathBuf::new(), BTreeSet::new());
        for part in Path::new(&path) {
            let above = at.clone();
            at.push(part);
            let (now, _, next) = matcher.matches(&at, state.as_ref());
            if !now && matched.contains(&above) {
                prop_assert!(matcher.may_reinclude_below(&above), "{patterns:?} re-include `{}`", at.display());
            }
            if now {
                matched.insert(at.clone());
            }
            state = Some(next);
        }
    }

    #[test]
    fn a_pattern_of_stars_agrees_with_the_naive_definition(pattern in "[ab*?/]{1,8}", path in any_path()) {
        prop_assume!(!pattern.contains("**") && clean(&pattern) == pattern && !pattern.starts_with('/'));
        let direct = glob::matches(&pattern, path.as_bytes()).unwrap();
        let matcher = matcher(&[&pattern]);
        prop_assert_eq!(matcher.patterns[0].rule.matches(&pattern::Subject::new(Path::new(&path))), direct);
    }
}

#[test]
fn matching_is_linear() {
    let stars = "*a".repeat(200) + "**/" + &"*b".repeat(200);
    let matcher = matcher(&[&stars, "**/*a*a*a*a*a*a*a*b"]);
    let path = vec!["a".repeat(200); 19].join("/");
    for _ in 0..10 {
        assert!(!matcher.matches(Path::new(&path), None).0);
    }
}
