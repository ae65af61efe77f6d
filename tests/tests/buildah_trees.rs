//! Dockerfiles that Debian's buildah builds too: the images have the same file tree.

use std::collections::BTreeSet;

use rbuild_tests::{Buildah, Node, Rbuild, Tree, context, is_root, needs, unpack_archive};

/// A Dockerfile and why a path may differ, if one may.
struct Case {
    name: &'static str,
    dockerfile: &'static str,
    /// Paths at which the two may differ, with the reason in the spec.
    differs: &'static [(&'static str, &'static str)],
}

const fn case(name: &'static str, dockerfile: &'static str) -> Case {
    Case { name, dockerfile, differs: &[] }
}

const fn differing(name: &'static str, dockerfile: &'static str, differs: &'static [(&'static str, &'static str)]) -> Case {
    Case { name, dockerfile, differs }
}

/// Files that the sandboxes mount or fill in by themselves; buildah leaves their mount points in the image.
const SKIP: &[&str] = &["proc", "sys", "dev", "run", "etc/hosts", "etc/hostname", "etc/resolv.conf"];

const CASES: &[Case] = &[
    case("from", "FROM busybox"),
    case("from-scratch", "FROM scratch\nCOPY a /a"),
    case("from-as", "FROM busybox AS base\nRUN echo 1 >/1\nFROM base\nRUN echo 2 >/2"),
    case("from-arg", "ARG BASE=busybox\nFROM $BASE\nCOPY a /a"),
    case("from-number", "FROM busybox\nRUN echo x >/x\nFROM busybox\nCOPY --from=0 /x /y"),
    case("run-shell", "FROM busybox\nRUN echo a >/a && mkdir -p /d/e && echo b >/d/e/f"),
    case("run-exec", "FROM busybox\nRUN [\"touch\", \"/one two\"]"),
    case("run-continued", "FROM busybox\nRUN echo a \\\n # a comment\n  b >/f"),
    case("run-delete", "FROM busybox\nRUN rm -r /home /bin/vi"),
    case("run-delete-and-recreate", "FROM busybox\nRUN mkdir /d && touch /d/1 /d/2\nRUN rm -r /d && mkdir /d && touch /d/3"),
    case("run-chmod-chown", "FROM busybox\nRUN touch /f && chmod 4711 /f && chown 12:34 /f && mkdir -m 1777 /t"),
    case("run-links", "FROM busybox\nRUN echo x >/f && ln /f /g && ln -s f /s && ln -s /nowhere /dangling"),
    case("run-hard-link-to-base", "FROM busybox\nRUN ln /etc/passwd /passwd"),
    case("run-fifo", "FROM busybox\nRUN mkfifo /pipe"),
    case("run-rename-dir", "FROM busybox\nRUN mkdir /a && touch /a/1\nRUN mv /a /b"),
    case("run-replace-dir-by-file", "FROM busybox\nRUN mkdir /x && touch /x/1\nRUN rm -r /x && echo file >/x"),
    case("run-replace-file-by-dir", "FROM busybox\nRUN echo file >/x\nRUN rm /x && mkdir /x && touch /x/1"),
    case("env", "FROM busybox\nENV A=1 B=\"two words\"\nENV C=$A-$B\nRUN echo \"$C\" >/f"),
    case("env-legacy", "FROM busybox\nENV A some words\nRUN echo \"$A\" >/f"),
    case("arg", "FROM busybox\nARG A=default\nARG B\nRUN echo \"$A-$B\" >/f"),
    case("arg-global", "ARG V=7\nFROM busybox\nARG V\nRUN echo $V >/f"),
    case("workdir", "FROM busybox\nWORKDIR /w/x\nRUN pwd >f\nWORKDIR y\nRUN pwd >f"),
    case("user", "FROM busybox\nRUN mkdir -m 777 /t\nUSER www-data\nRUN id >/t/id\nUSER 5:6\nRUN touch /t/f"),
    case("shell", "FROM busybox\nSHELL [\"/bin/sh\", \"-ec\"]\nRUN echo $0 >/f"),
    case(
        "metadata",
        "FROM busybox\nLABEL a=b\nEXPOSE 80\nVOLUME /v\nSTOPSIGNAL SIGINT\nCMD [\"x\"]\nENTRYPOINT [\"y\"]\nHEALTHCHECK NONE\nMAINTAINER me\nONBUILD RUN false",
    ),
    case("copy-file", "FROM busybox\nCOPY a /x"),
    case("copy-into-dir", "FROM busybox\nCOPY a /x/"),
    case("copy-into-existing", "FROM busybox\nCOPY a /etc"),
    case("copy-several", "FROM busybox\nCOPY a b /x/"),
    case("copy-dir-contents", "FROM busybox\nRUN mkdir -m 700 /x\nCOPY dir /x"),
    case("copy-dir-new-parents", "FROM busybox\nRUN mkdir /new\nCOPY dir/sub /new/deep/er/"),
    case("copy-wildcard", "FROM busybox\nCOPY *.txt /x/"),
    case("copy-wildcard-class", "FROM busybox\nCOPY [ab] /x/"),
    case("copy-json", "FROM busybox\nCOPY [\"with space\", \"/with space too\"]"),
    case("copy-relative", "FROM busybox\nWORKDIR /w\nCOPY a sub/"),
    case("copy-chown", "FROM busybox\nCOPY --chown=12:34 a /x"),
    case("copy-chown-name", "FROM busybox\nCOPY --chown=www-data:staff dir /x/"),
    case("copy-chmod", "FROM busybox\nCOPY --chmod=711 a /x"),
    case("copy-from", "FROM busybox AS s\nRUN mkdir /o && echo 1 >/o/1 && chown -R 7:8 /o\nFROM busybox\nCOPY --from=s /o /p"),
    case("copy-over-file", "FROM busybox\nCOPY a /x\nCOPY b /x"),
    case("copy-onto-symlinked-dir", "FROM busybox\nRUN mkdir /real && ln -s /real /link\nCOPY a /link/"),
    case("copy-symlinks-inside", "FROM busybox\nCOPY links /x/"),
    case("add-file", "FROM busybox\nADD a /x"),
    case("add-tar", "FROM busybox\nADD archive.tar /x/"),
    case("add-tar-gz", "FROM busybox\nADD archive.tar.gz /x/"),
    differing(
        "onbuild-of-stage",
        "FROM busybox AS base\nONBUILD RUN echo triggered >/t\nFROM base",
        &[("t", "the spec's G-17: triggers apply also when FROM names a stage; buildah 1.28 does not run them")],
    ),
    differing(
        "copy-keeps-setuid",
        "FROM busybox\nRUN mkdir /keep\nCOPY special /keep/",
        &[("keep/setuid", "the spec's G-43: the mode is preserved; buildah 1.28 drops setuid of context files")],
    ),
    differing("ignored", "FROM busybox\nCOPY . /all/", &[("all/special/setuid", "as in copy-keeps-setuid")]),
];

#[test]
fn images_have_the_same_tree_as_buildahs() {
    compare("images_have_the_same_tree_as_buildahs", 0);
}

#[test]
fn more_images_have_the_same_tree_as_buildahs() {
    compare("more_images_have_the_same_tree_as_buildahs", 1);
}

/// Every second case, so that two processors have something to do.
fn compare(name: &str, half: usize) {
    if !needs(name, &["buildah", "runc", "skopeo", "umoci"]) || !is_root(name) {
        return;
    }
    assert!(CASES.len() >= 40);
    let (rbuild, buildah) = (Rbuild::new(), Buildah::new());
    let mut failures = Vec::new();
    for case in CASES.iter().skip(half).step_by(2) {
        let context = files();
        fs_err::write(context.path().join("Dockerfile"), case.dockerfile).expect("the Dockerfile");
        let ours = unpack_archive("oci-archive", &rbuild.build_oci(context.path(), &["-t", "x"]), SKIP);
        let archive = rbuild.dir().join("buildah.tar");
        buildah.build_oci(context.path(), &archive, &[]);
        let theirs = unpack_archive("oci-archive", &archive, SKIP);
        fs_err::remove_file(&archive).expect("the archive is removed");
        failures.extend(differences(case, &ours, &theirs));
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

fn files() -> tempfile::TempDir {
    let dir = context(&[
        (".dockerignore", "*.log\nDockerfile\n.dockerignore\nspecial/ignored\n"),
        ("a", "file a"),
        ("b", "file b"),
        ("one.txt", "1"),
        ("two.txt", "2"),
        ("x.log", "ignored"),
        ("with space", "x"),
        ("dir/f", "f"),
        ("dir/sub/g", "g"),
        ("links/target", "t"),
        ("special/setuid", "s"),
    ]);
    let at = |name: &str| dir.path().join(name);
    std::os::unix::fs::symlink("target", at("links/link")).expect("a link");
    std::os::unix::fs::symlink("/absolute", at("links/absolute")).expect("a link");
    let mode =
        |name: &str, mode| fs_err::set_permissions(at(name), std::os::unix::fs::PermissionsExt::from_mode(mode)).expect("a mode");
    mode("dir/sub", 0o700);
    mode("dir/f", 0o600);
    mode("special/setuid", 0o4755);
    for flags in ["-cf", "-czf"] {
        let name = if flags == "-cf" { "archive.tar" } else { "archive.tar.gz" };
        let made = std::process::Command::new("tar")
            .args(["--owner=3", "--group=4", flags])
            .arg(at(name))
            .arg("-C")
            .arg(dir.path())
            .args(["a", "dir"])
            .status();
        assert!(made.expect("tar").success());
    }
    dir
}

fn differences(case: &Case, ours: &Tree, theirs: &Tree) -> Vec<String> {
    let paths: BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
    let allowed = |path: &str| case.differs.iter().any(|(at, reason)| *at == path && !reason.is_empty());
    let describe = |node: Option<&Node>| node.map_or("absent".to_owned(), |node| format!("{node:?}"));
    paths
        .into_iter()
        .filter(|path| ours.get(*path) != theirs.get(*path) && !allowed(path))
        .map(|path| format!("{}: {path}: rbuild {}, buildah {}", case.name, describe(ours.get(path)), describe(theirs.get(path))))
        .collect()
}
