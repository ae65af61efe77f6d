//! Actions that make or remove one path, and chains of actions.

use rbuild_graph::{
    ActionInput, FileAction, FileActionKind, FileOp, InputIndex, MakeDir, MakeFile, Op, OutputIndex, Owner, Remove, Symlink,
    Timestamp, UserName,
};
use rbuild_worker::{Output, WorkError};

use crate::support::{Bench, DRIVERS, NOW, copy, file_vertex, lines, vertex};

fn check(base: &str, kind: &FileActionKind, expected: Result<&str, &str>) {
    for driver in DRIVERS {
        let bench = Bench::new(driver);
        let base = if base.is_empty() { Output::Scratch } else { bench.state(base) };
        let made = bench.execute(&file_vertex(kind.clone()), vec![base, Output::Scratch]);
        match (made, expected) {
            (Ok(outputs), Ok(expected)) => assert_eq!(bench.tree(&outputs[0]), lines(expected), "{driver:?} {kind:?}"),
            (Err(error), Err(expected)) => assert_eq!(error.to_string(), expected, "{driver:?} {kind:?}"),
            (Ok(outputs), Err(_)) => panic!("{kind:?}: {}", bench.tree(&outputs[0])),
            (Err(error), Ok(_)) => panic!("{kind:?}: {error}"),
        }
    }
}

fn make_dir(path: &str) -> MakeDir {
    MakeDir { path: path.to_owned(), mode: 0o755, parents: true, owner: None, created: Timestamp::Now }
}

#[test]
fn directories() {
    let dir = |path: &str| FileActionKind::MakeDir(make_dir(path));
    check("", &dir("/a/b"), Ok("d 755 a\n d 755 a/b"));
    check("d 700 a", &dir("/a/b"), Ok("d 700 a\n d 755 a/b"));
    check("d 700 a", &dir("/a"), Ok("d 700 a"));
    check("l - a real\n d 700 real", &dir("/a/b"), Ok("l - a real\n d 700 real\n d 755 real/b"));
    check("l - a real\n d 700 real", &dir("/a"), Ok("l - a real\n d 700 real"));
    check("f 644 a x", &dir("/a"), Err("cannot copy to non-directory: /a"));
    let owner = Some(Owner { user: UserName::Name("foo".to_owned()), group: None });
    let owned = FileActionKind::MakeDir(MakeDir { owner, ..make_dir("/w/x") });
    check(
        "f 644 etc/passwd foo:x:10:20::/:",
        &owned,
        Ok("d 755 etc\n f 644 etc/passwd foo:x:10:20::/:\n d 755 10:20 w\n d 755 10:20 w/x"),
    );
    // BuildKit makes a WORKDIR for a user that is not there; so the name is no error here, as it is for --chown.
    check("", &owned, Ok("d 755 w\n d 755 w/x"));
    let alone = FileActionKind::MakeDir(MakeDir { parents: false, ..make_dir("/a") });
    check("", &alone, Ok("d 755 a"));
    check("d 755 a", &alone, Err("cannot copy to non-directory: /a"));
}

#[test]
fn files_links_and_removals() {
    let file = |path: &str| {
        FileActionKind::MakeFile(MakeFile {
            path: path.to_owned(),
            content: b"hello".to_vec(),
            mode: 0o640,
            owner: None,
            created: Timestamp::Epoch(5),
        })
    };
    check("", &file("/a/b"), Ok("d 755 a\n f 640 a/b hello"));
    check("f 644 a x", &file("/a"), Ok("f 640 a hello"));
    check("d 755 a", &file("/a"), Err("cannot replace to directory /a with file"));
    let link = FileActionKind::Symlink(Symlink {
        path: "/d/l".to_owned(),
        target: "../x".to_owned(),
        owner: None,
        created: Timestamp::Now,
    });
    check("", &link, Ok("d 755 d\n l - d/l ../x"));
    check("f 644 d/l old", &link, Ok("d 755 d\n l - d/l ../x"));
    let remove =
        |path: &str, allow_missing| FileActionKind::Remove(Remove { path: path.to_owned(), wildcard: false, allow_missing });
    check("f 644 d/a 1\n f 644 b 2", &remove("/d", false), Ok("f 644 b 2"));
    check("l - l b\n f 644 b 2", &remove("/l", false), Ok("f 644 b 2"));
    check("f 644 b 2", &remove("/x", true), Ok("f 644 b 2"));
    assert!(matches!(
        Bench::new(DRIVERS[0]).execute(&file_vertex(remove("/x", false)), vec![Output::Scratch, Output::Scratch]),
        Err(WorkError::SourceMissing { .. })
    ));
}

#[test]
fn chains_share_a_state_and_outputs_are_separate() {
    for driver in DRIVERS {
        let bench = Bench::new(driver);
        let make = |base, path: &str, output| FileAction { base, kind: FileActionKind::MakeDir(make_dir(path)), output };
        let mut from_first = copy(&["a"], "/copied");
        from_first.from = ActionInput::Action(0);
        let actions = vec![
            make(ActionInput::Scratch, "/a/x", Some(OutputIndex(1))),
            make(ActionInput::Action(0), "/b", None),
            make(ActionInput::Action(1), "/c", Some(OutputIndex(0))),
            make(ActionInput::Input(InputIndex(0)), "/d", None),
            FileAction { base: ActionInput::Action(3), kind: FileActionKind::Copy(from_first), output: Some(OutputIndex(2)) },
        ];
        let outputs = bench.execute(&vertex(Op::File(FileOp { actions }), 1), vec![bench.state("f 644 in x")]).unwrap();
        let trees: Vec<String> = outputs.iter().map(|output| bench.tree(output)).collect();
        assert_eq!(trees[0], "d 755 a\nd 755 a/x\nd 755 b\nd 755 c\n", "{driver:?}");
        assert_eq!(trees[1], "d 755 a\nd 755 a/x\n");
        assert_eq!(trees[2], "d 755 copied\nd 755 copied/x\nd 755 d\nf 644 in x\n");
        assert_eq!(bench.mtime(&outputs[0], "/a"), (NOW, 0));
        assert_eq!(bench.mtime(&outputs[0], "/a/x"), (NOW, 0));
    }
}
