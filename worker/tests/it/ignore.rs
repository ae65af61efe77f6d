//! Contexts with ignore rules.

use std::sync::Arc;

use rbuild_fs::ignore::read_lines;
use rbuild_worker::{LocalContext, Output};

use crate::support::{Bench, DRIVERS, context, copy, lines, plant};

fn bench(rules: &str, tree: &str) -> Bench {
    let bench = Bench::with(DRIVERS[0], |options| {
        let root = options.contexts["context"].root.clone();
        let ignore = read_lines(&lines(rules));
        let context = LocalContext { root, ignore, ignore_name: ".dockerignore".to_owned() };
        options.contexts.insert("context".to_owned(), Arc::new(context));
    });
    plant(&bench.context(), tree);
    bench
}

/// What `COPY source /o/` makes, or its error and hint.
fn check(rules: &str, tree: &str, source: &str, expected: Result<&str, &str>) {
    let bench = bench(rules, tree);
    let key = bench.key(&context(), &copy(&[source], "/o/"));
    match (bench.copy(&Output::Scratch, &context(), &copy(&[source], "/o/")), expected) {
        (Ok(output), Ok(expected)) => {
            key.unwrap();
            assert_eq!(bench.tree(&output), lines(expected), "{rules} {source}");
        }
        (Err(error), Err(expected)) => {
            assert_eq!(error.to_string(), expected, "{rules} {source}");
            assert_eq!(key.unwrap_err().to_string(), expected, "{rules} {source}");
        }
        (Ok(output), Err(_)) => panic!("{rules} {source}: {}", bench.tree(&output)),
        (Err(error), Ok(_)) => panic!("{rules} {source}: {error}"),
    }
}

#[test]
fn rules() {
    let tree = "f 644 foo F\n f 644 bar B\n f 644 baz Z\n f 644 bay Y";
    check("ba*\n !bay", tree, ".", Ok("d 755 o\n f 644 o/bay Y\n f 644 o/foo F"));
    check("*", tree, ".", Ok("d 755 o"));
    check("*", tree, "*", Ok(""));
    let tree = "f 644 x.tmp\n f 644 d/e/y.tmp\n f 644 d/important.tmp\n f 644 a/b/c/f\n f 644 a/b/d\n f 644 dar";
    check(
        "**/*.tmp\n !**/important.tmp\n a/*/c",
        tree,
        ".",
        Ok("d 755 o\n d 755 o/a\n d 755 o/a/b\n f 644 o/a/b/d\n d 755 o/d\n d 755 o/d/e\n f 644 o/d/important.tmp\n f 644 o/dar"),
    );
}

#[test]
fn parents_of_what_is_re_included() {
    let tree = "d 711 folder/sub\n f 644 folder/sub/file X\n f 644 folder/other Y\n d 755 folder/empty";
    check("**\n !folder/sub/file", tree, ".", Ok("d 755 o\n d 755 o/folder\n d 711 o/folder/sub\n f 644 o/folder/sub/file X"));
    check("**\n !folder/sub/file", tree, "folder", Ok("d 755 o\n d 711 o/sub\n f 644 o/sub/file X"));
    check("**\n !folder/sub/file", tree, "folder/sub/file", Ok("d 755 o\n f 644 o/file X"));
    check("**\n !folder/sub/file", tree, "f*/*", Ok("d 755 o\n f 644 o/file X"));
    check("**\n !folder/nothing", tree, ".", Ok("d 755 o"));
    let missing = "failed to calculate checksum of ref context: \"/folder\": not found (excluded by .dockerignore line 1: **)";
    check("**\n !folder/nothing", tree, "folder", Err(missing));
}

#[test]
fn ignored_sources_name_the_rule() {
    let error = "failed to calculate checksum of ref context: \"/secret\": not found (excluded by .dockerignore line 3: secret)";
    check("# comment\n other\n secret", "f 644 secret x", "secret", Err(error));
    let bench = bench("secret", "f 644 secret x");
    let error = bench.copy(&Output::Scratch, &context(), &copy(&["secret"], "/")).unwrap_err();
    assert_eq!(error.hint().unwrap(), "the file exists, but is excluded by .dockerignore line 1: secret; `!` re-includes it");
    let error = "failed to calculate checksum of ref context: \"/d/secret\": not found (excluded by .dockerignore line 1: d)";
    check("d", "f 644 d/secret x", "d/secret", Err(error));
    // Links do not lead around the rules.
    let missing = "failed to calculate checksum of ref context: \"/link\": not found";
    check("secret", "f 644 secret x\n l - link secret", "link", Err(missing));
}

#[test]
fn ignored_files_do_not_count() {
    let key = |content: &str| {
        let bench = bench("*.log", &format!("f 644 d/a 1\n f 644 x.log {content}"));
        bench.key(&context(), &copy(&["."], "/")).unwrap()
    };
    assert_eq!(key("one"), key("two"));
}
