//! Chains deeper than the kernel stacks.

use std::path::Path;

use rbuild_snapshotter::{Snapshot, TimePolicy};

use crate::fixture::{Lab, list, mode, put};

/// Each state adds a file, replaces the shared one, and removes what the one ten before added.
fn step(lab: &Lab, parent: Option<&Snapshot>, number: usize) -> Snapshot {
    lab.write(parent, |writer| {
        writer.make_dirs(Path::new("/d"), &mode(0o755)).expect("makes");
        put(writer, &format!("/d/{number}"), &number.to_string());
        put(writer, "/shared", &number.to_string());
        if number % 10 == 9 {
            assert!(writer.remove(Path::new(&format!("/d/{}", number - 9))).expect("removes"));
        }
        if number % 250 == 100 {
            writer.remove(Path::new("/d")).expect("removes");
            writer.make_dir(Path::new("/d"), &mode(0o755)).expect("makes");
            put(writer, &format!("/d/{number}"), &number.to_string());
        }
    })
}

#[test]
fn eleven_hundred_states() {
    let lab = Lab::new("overlay");
    let mut state = step(&lab, None, 0);
    for number in 1..1100 {
        state = step(&lab, Some(&state), number);
    }
    assert_eq!(state.depth, 1100);
    let opened = lab.snapshotter.open(&state.id).expect("reads").expect("is there");
    // The directory was emptied at 850 for the last time.
    let mut expected: Vec<usize> =
        (850..1100).filter(|number| !(number % 10 == 0 && number + 9 < 1100 && *number != 850)).collect();
    expected.retain(|number| *number != 850 || 859 >= 1100);
    let mut lines = vec!["d/".to_owned()];
    let mut names: Vec<String> = expected.iter().map(|number| format!("d/{number} {number}")).collect();
    names.sort();
    lines.extend(names);
    lines.push("shared 1099".to_owned());
    assert_eq!(lab.tree(&opened), lines);
    assert_eq!(lab.changes(&state), ["P d", "D d/1090", "A d/1099", "M shared"]);
    let layer = list(&lab.layer(&state, &TimePolicy::Exactly(1)));
    assert_eq!(
        layer,
        ["Dir d/ 755 0:0 @1", "File d/.wh.1090 0 0:0 @0", "File d/1099 644 0:0 @1 \"1099\"", "File shared 644 0:0 @1 \"1099\""]
    );
    // A writable mount stacks one more.
    let active = lab.snapshotter.driver().prepare(Some(&state)).expect("prepares");
    lab.snapshotter.driver().mount(&active).expect("mounts");
}

#[test]
fn chains_are_taken_apart_without_recursion() {
    let mut chain: Option<Snapshot> = None;
    for depth in 0..200_000 {
        let id = rbuild_store::SnapshotId(depth.to_string());
        chain = Some(Snapshot { id, parent: chain.map(std::sync::Arc::new), depth, created: 0 });
    }
    assert_eq!(chain.as_ref().map(|top| top.chain().count()), Some(200_000));
    drop(chain);
}
