//! What the worker says of a vertex's key.

use rbuild_graph::{ActionInput, DiffOp, FileActionKind, GitSource, ImageSource, LocalSource, Op, SourceOp};
use rbuild_oci::{DiffId, Digest};
use rbuild_solver::{CacheMap, Worker};
use rbuild_worker::{ImageHandle, ImageOrigin, Output, WorkError};

use crate::support::{Bench, DRIVERS, copy, file_vertex, vertex};

fn map(bench: &Bench, op: Op) -> Result<CacheMap, WorkError> {
    bench.block_on(bench.worker.cache_map(&vertex(op, 0), &bench.step()))
}

#[test]
fn images_have_two_keys() {
    let image = |manifest: &[u8], layer: &[u8]| ImageHandle {
        manifest: Digest::of(manifest),
        diff_ids: vec![DiffId(Digest::of(layer))],
        layers: Vec::new(),
        origin: ImageOrigin::Store,
        reference: None,
    };
    let bench = Bench::with(DRIVERS[0], |options| {
        for handle in [image(b"1", b"a"), image(b"2", b"a"), image(b"3", b"b")] {
            options.images.insert(handle.manifest.clone(), handle);
        }
    });
    let roots =
        |manifest: &[u8]| map(&bench, Op::Source(SourceOp::Image(ImageSource { manifest: Digest::of(manifest) }))).unwrap().roots;
    let (one, two, three) = (roots(b"1"), roots(b"2"), roots(b"3"));
    assert_eq!(one.len(), 2);
    assert_ne!(one[0], two[0]);
    assert_eq!(one[1], two[1], "the same layers");
    assert_ne!(one[1], three[1]);
    let unknown = map(&bench, Op::Source(SourceOp::Image(ImageSource { manifest: Digest::of(b"4") }))).unwrap_err();
    assert!(matches!(unknown, WorkError::UnknownImage(_)));
}

#[test]
fn contexts_count_by_content_only() {
    let bench = Bench::new(DRIVERS[0]);
    let local = |name: &str| Op::Source(SourceOp::Local(LocalSource { name: name.to_owned() }));
    let known = map(&bench, local("context")).unwrap();
    assert!(known.content_only && known.roots.is_empty());
    assert!(matches!(map(&bench, local("other")), Err(WorkError::UnknownContext(name)) if name == "other"));
    let output = Output::Local("context".to_owned());
    assert_eq!(bench.worker.result_id(&output), None);
}

#[test]
fn copies_count_by_content_of_what_they_read() {
    let bench = Bench::new(DRIVERS[0]);
    let inputs = |sources: &[&str]| {
        let vertex = file_vertex(FileActionKind::Copy(copy(sources, "/")));
        bench.block_on(bench.worker.cache_map(&vertex, &bench.step())).unwrap().inputs
    };
    let (one, two) = (inputs(&["a"]), inputs(&["b"]));
    assert!(!one[0].by_content && one[0].selector.is_none(), "the base counts by its definition");
    assert!(one[1].by_content);
    assert_ne!(one[1].selector, two[1].selector);
    let mut own = copy(&["a"], "/");
    own.from = ActionInput::Input(rbuild_graph::InputIndex(0));
    let vertex = file_vertex(FileActionKind::Copy(own));
    let inputs = bench.block_on(bench.worker.cache_map(&vertex, &bench.step())).unwrap().inputs;
    assert!(!inputs[0].by_content);
}

#[test]
fn later_work_is_refused_by_name() {
    let bench = Bench::new(DRIVERS[0]);
    let git = GitSource { remote: "x".to_owned(), reference: None, subdir: None, keep_git_dir: false, checksum: None };
    for (op, expected) in [
        (Op::Source(SourceOp::Git(git)), "a git source is not supported yet"),
        (Op::Diff(DiffOp { lower: None, upper: None }), "the difference of file systems is not supported yet"),
    ] {
        assert_eq!(map(&bench, op.clone()).unwrap_err().to_string(), expected);
        assert_eq!(bench.execute(&vertex(op, 0), Vec::new()).unwrap_err().to_string(), expected);
    }
}
