//! Bad input gets one clear error with its place, the right exit code, and loses nothing.

use rbuild_tests::{Outcome, Rbuild, context};

#[track_caller]
fn check(files: &[(&str, &str)], args: &[&str], code: i32, words: &[&str]) -> Outcome {
    let rbuild = Rbuild::new();
    let context = context(files);
    let path = context.path().to_string_lossy().into_owned();
    let outcome = rbuild.run(&[&["build"], args, &[path.as_str()]].concat());
    assert_eq!(outcome.code, code, "{}", outcome.stderr);
    for word in words {
        assert!(outcome.stderr.contains(word), "`{word}` is missing in:\n{}", outcome.stderr);
    }
    assert!(!outcome.stderr.contains("panicked"), "{}", outcome.stderr);
    outcome
}

#[test]
fn an_unknown_instruction_is_named_with_its_place_and_what_was_meant() {
    check(&[("Dockerfile", "FROM scratch\nCOPPY a b\n")], &[], 3, &["unknown instruction: COPPY", "Dockerfile:2:1", "^", "COPY"]);
}

#[test]
fn a_missing_file_is_named() {
    check(
        &[("Dockerfile", "FROM scratch\nCOPY missing /\n"), ("missin", "")],
        &[],
        3,
        &["/missing", "not found", "Dockerfile:2"],
    );
}

#[test]
fn a_file_that_is_ignored_says_by_which_line() {
    let files =
        [("Dockerfile", "FROM scratch\nCOPY secret.txt /\n"), (".dockerignore", "# comment\n*.txt\n"), ("secret.txt", "x")];
    check(&files, &[], 3, &["secret.txt", "not found", ".dockerignore", "2"]);
}

#[test]
fn an_unknown_stage_is_named() {
    check(&[("Dockerfile", "FROM scratch AS build\nWORKDIR /x\n")], &["--target", "biuld"], 3, &["biuld", "build"]);
}

#[test]
fn an_image_that_is_not_there_says_that_pulling_is_to_come() {
    check(&[("Dockerfile", "FROM nowhere/else:1\n")], &[], 3, &["nowhere/else:1", "Dockerfile:1"]);
}

#[test]
fn a_stage_cannot_copy_from_itself() {
    check(&[("Dockerfile", "FROM scratch AS a\nCOPY --from=a /x /x\n")], &[], 3, &["Dockerfile:2"]);
}

#[test]
fn several_mistakes_are_reported_at_once() {
    check(&[("Dockerfile", "FROM scratch\nCOPPY a b\nWORKDRI /x\n")], &[], 3, &["COPPY", "WORKDRI"]);
}

#[test]
fn usage_errors_have_their_own_code() {
    let rbuild = Rbuild::empty();
    assert_eq!(rbuild.run(&["build", "--no-such-flag", "."]).code, 2);
    assert_eq!(rbuild.run(&["build", "-o", "type=nonsense", "."]).code, 2);
    assert_eq!(rbuild.run(&["nonsense"]).code, 2);
}

#[test]
fn a_context_that_is_not_there_is_named() {
    let rbuild = Rbuild::empty();
    let outcome = rbuild.run(&["build", "/no/such/dir"]);
    assert!(outcome.code != 0 && outcome.stderr.contains("/no/such/dir"), "{}", outcome.stderr);
}

/// Loads bytes and must fail with exit code 7 or 1, naming `word`; the image list stays empty.
#[track_caller]
fn check_load(bytes: &[u8], words: &[&str]) {
    let rbuild = Rbuild::empty();
    let archive = rbuild.dir().join("bad.tar");
    fs_err::write(&archive, bytes).expect("write");
    let outcome = rbuild.run(&["load", "-i", &archive.to_string_lossy()]);
    assert!(outcome.code > 0, "{}", outcome.stdout);
    for word in words {
        assert!(outcome.stderr.contains(word), "`{word}` is missing in:\n{}", outcome.stderr);
    }
    assert!(!outcome.stderr.contains("panicked"), "{}", outcome.stderr);
    assert_eq!(rbuild.ok(&["images", "-q"]), "");
}

fn good_archive() -> Vec<u8> {
    let rbuild = Rbuild::new();
    let context = context(&[("Dockerfile", "FROM busybox\nCOPY f /f\n"), ("f", "content")]);
    fs_err::read(rbuild.build_oci(context.path(), &["-t", "x"])).expect("the archive")
}

#[test]
fn archives_that_are_no_archives_are_refused() {
    check_load(b"this is not a tar", &["bad.tar"]);
    check_load(b"", &["bad.tar"]);
}

#[test]
fn a_truncated_archive_is_refused() {
    let good = good_archive();
    check_load(&good[..good.len() / 2], &["bad.tar"]);
}

#[test]
fn a_blob_with_a_flipped_bit_is_refused() {
    let mut bad = good_archive();
    let middle = bad.len() / 2;
    bad[middle] ^= 1;
    check_load(&bad, &["digest"]);
}

#[test]
fn an_archive_entry_cannot_climb_out_of_the_image() {
    let rbuild = Rbuild::new();
    let script = "import tarfile,io,sys\nt=tarfile.open(sys.argv[1],'w')\n\
        def add(name,**k):\n    i=tarfile.TarInfo(name)\n    for a,b in k.items(): setattr(i,a,b)\n    d=b'evil' if i.type==tarfile.REGTYPE else b''\n    i.size=len(d)\n    t.addfile(i,io.BytesIO(d))\n\
        add('../../outside')\nadd('link',type=tarfile.SYMTYPE,linkname='/')\nadd('link/tmp/rbuild-escaped')\nadd('up',type=tarfile.SYMTYPE,linkname='../../../../../../tmp')\nadd('up/rbuild-escaped-too')\nt.close()";
    let context = context(&[("Dockerfile", "FROM scratch\nADD evil.tar /d/\n")]);
    let evil = context.path().join("evil.tar");
    let made = std::process::Command::new("python3").args(["-c", script]).arg(&evil).status().expect("python3");
    assert!(made.success());
    let path = context.path().to_string_lossy().into_owned();
    let outcome = rbuild.run(&["build", "-o", &format!("type=local,dest={}", rbuild.dir().join("out").display()), &path]);
    assert!(!outcome.stderr.contains("panicked"), "{}", outcome.stderr);
    for escaped in ["/tmp/rbuild-escaped", "/tmp/rbuild-escaped-too", "/outside"] {
        assert!(!std::path::Path::new(escaped).exists(), "{escaped} was written");
    }
}
