//! Images: unpacked when somebody needs the files, verified, once.

use std::io::{Cursor, Write};
use std::path::PathBuf;
use std::sync::Arc;

use rbuild_fs::archive::{Codec, EntryKind, Header, TarWriter, encoder};
use rbuild_graph::{ImageSource, Op, SourceOp};
use rbuild_oci::{Descriptor, DiffId, Digest, MediaType};
use rbuild_solver::Worker;
use rbuild_worker::{ImageHandle, ImageOrigin, Output};

use crate::support::{Bench, DRIVERS, copy, message, vertex};

struct Layer {
    descriptor: Descriptor,
    diff_id: DiffId,
    blob: Vec<u8>,
}

/// A layer with files `name content`; a name that ends in `/` is a directory.
fn layer(files: &[(&str, &str)], codec: Codec) -> Layer {
    let mut writer = TarWriter::new(Vec::new());
    for (name, content) in files {
        let kind = if name.ends_with('/') { EntryKind::Dir } else { EntryKind::File };
        let header = Header {
            path: PathBuf::from(name),
            kind,
            link: None,
            mode: 0o755,
            uid: 0,
            gid: 0,
            size: content.len() as u64,
            mtime: (1, 0),
            rdev: (0, 0),
            xattrs: Vec::new(),
        };
        writer.append(&header, &mut Cursor::new(content)).unwrap();
    }
    let tar = writer.finish().unwrap();
    let mut blob = Vec::new();
    let mut to = encoder(codec, Box::new(&mut blob)).unwrap();
    to.write_all(&tar).unwrap();
    to.finish().unwrap();
    let descriptor = Descriptor {
        media_type: MediaType::OciLayerGzip,
        digest: Digest::of(&blob),
        size: blob.len() as u64,
        platform: None,
        annotations: Default::default(),
        extra: Default::default(),
    };
    Layer { descriptor, diff_id: DiffId(Digest::of(&tar)), blob }
}

fn layers() -> Vec<Layer> {
    vec![
        layer(&[("etc/", ""), ("etc/a", "1"), ("etc/gone", "x")], Codec::Gzip { level: 5 }),
        layer(&[("etc/.wh.gone", ""), ("etc/b", "2")], Codec::Zstd { level: 3 }),
        layer(&[("etc/c", "3")], Codec::None),
    ]
}

fn image(layers: &[Layer], origin: ImageOrigin) -> ImageHandle {
    ImageHandle {
        manifest: Digest::of(b"manifest"),
        diff_ids: layers.iter().map(|layer| layer.diff_id.clone()).collect(),
        layers: layers.iter().map(|layer| layer.descriptor.clone()).collect(),
        origin,
        reference: None,
    }
}

fn source() -> Op {
    Op::Source(SourceOp::Image(ImageSource { manifest: Digest::of(b"manifest") }))
}

fn bench(driver: rbuild_snapshotter::DriverChoice, image: ImageHandle) -> Bench {
    Bench::with(driver, |options| {
        options.images.insert(image.manifest.clone(), image);
    })
}

fn store(bench: &Bench, layers: &[Layer]) {
    for layer in layers {
        bench.snapshotter.session().put_blob(&layer.blob).unwrap();
    }
}

fn unpacked(bench: &Bench) -> Result<String, String> {
    let outputs = bench.execute(&vertex(source(), 0), Vec::new()).unwrap();
    match bench.block_on(bench.worker.snapshot(&outputs[0])) {
        Ok(_) => Ok(bench.tree(&outputs[0])),
        Err(error) => Err(message(&error)),
    }
}

const UNPACKED: &str = "d 755 etc\nf 755 etc/a 1\nf 755 etc/b 2\nf 755 etc/c 3\n";

#[test]
fn from_the_store_and_from_layouts() {
    for driver in DRIVERS {
        let layers = layers();
        let stored = bench(driver, image(&layers, ImageOrigin::Store));
        store(&stored, &layers);
        assert_eq!(unpacked(&stored).unwrap(), UNPACKED, "{driver:?}");

        let layout = tempfile::tempdir().unwrap();
        let blobs = layout.path().join("blobs/sha256");
        fs_err::create_dir_all(&blobs).unwrap();
        for layer in &layers {
            fs_err::write(blobs.join(layer.descriptor.digest.hex()), &layer.blob).unwrap();
        }
        let from_layout = bench(driver, image(&layers, ImageOrigin::Layout(layout.path().to_owned())));
        assert_eq!(unpacked(&from_layout).unwrap(), UNPACKED, "{driver:?}");
    }
}

#[test]
fn nothing_is_unpacked_before_it_is_needed() {
    let layers = layers();
    let bench = bench(DRIVERS[0], image(&layers, ImageOrigin::Store));
    // The blobs are not even there.
    let outputs = bench.execute(&vertex(source(), 0), Vec::new()).unwrap();
    assert!(matches!(&outputs[0], Output::Image(_)));
    assert_eq!(bench.worker.result_id(&outputs[0]), None);
    let error = unpacked(&bench).unwrap_err();
    assert!(error.contains(&format!("layer {} is not stored", layers[0].descriptor.digest)), "{error}");
}

#[test]
fn unpacked_layers_are_used_again() {
    let mut layers = layers();
    let first = bench(DRIVERS[0], image(&layers, ImageOrigin::Store));
    store(&first, &layers);
    assert_eq!(unpacked(&first).unwrap(), UNPACKED);
    // An image with the same two layers at its bottom needs only the blob of its third.
    layers.truncate(2);
    layers[0].descriptor.digest = Digest::of(b"never read");
    layers.push(layer(&[("new", "4")], Codec::None));
    let handle = image(&layers, ImageOrigin::Store);
    let second = first.reopen(DRIVERS[0], |options| {
        options.images.insert(handle.manifest.clone(), handle);
    });
    store(&second, &layers[2..]);
    assert_eq!(unpacked(&second).unwrap(), "d 755 etc\nf 755 etc/a 1\nf 755 etc/b 2\nf 755 new 4\n");
}

#[test]
fn one_unpacking_for_all_who_need_it() {
    let layers = layers();
    let bench = bench(DRIVERS[0], image(&layers, ImageOrigin::Store));
    store(&bench, &layers);
    let handle = Output::Image(Arc::new(image(&layers, ImageOrigin::Store)));
    let ids = bench.block_on(async {
        let unpack = || async { bench.worker.snapshot(&handle).await.unwrap().unwrap().id.clone() };
        let (a, b, c) = tokio::join!(unpack(), unpack(), unpack());
        [a, b, c]
    });
    assert!(ids.iter().all(|id| *id == ids[0]));
    assert_eq!(fs_err::read_dir(bench.path().join("state/snapshots")).unwrap().count(), 3);
}

#[test]
fn damaged_layers_are_refused() {
    let check = |change: &dyn Fn(&mut Vec<Layer>), expected: &str| {
        for driver in DRIVERS {
            let mut layers = layers();
            change(&mut layers);
            let layout = tempfile::tempdir().unwrap();
            let blobs = layout.path().join("blobs/sha256");
            fs_err::create_dir_all(&blobs).unwrap();
            for layer in &layers {
                fs_err::write(blobs.join(layer.descriptor.digest.hex()), &layer.blob).unwrap();
            }
            let bench = bench(driver, image(&layers, ImageOrigin::Layout(layout.path().to_owned())));
            let error = unpacked(&bench).unwrap_err();
            assert!(error.contains(expected), "{error}");
            let snapshots = fs_err::read_dir(bench.path().join("state/snapshots")).map_or(0, Iterator::count);
            assert_eq!(snapshots, 1, "only the good first layer stays");
        }
    };
    check(&|layers| layers[1].diff_id = layers[0].diff_id.clone(), "has the diff id");
    check(&|layers| layers[1].blob.push(0), "longer than its descriptor says");
    check(&|layers| layers[1].descriptor.size += 1, "has the size");
    check(
        &|layers| {
            let last = layers[1].blob.len() - 1;
            layers[1].blob.truncate(last);
        },
        "could not be read",
    );
    check(&|layers| layers[1].blob[20] ^= 0x55, &format!("layer {}", layers()[1].descriptor.digest));
    check(
        &|layers| {
            let other = layer(&[("etc/x", "other")], Codec::Zstd { level: 3 });
            layers[1].blob = other.blob;
            layers[1].descriptor.size = layers[1].blob.len() as u64;
        },
        "has the digest",
    );
}

#[test]
fn an_image_without_layers_is_scratch() {
    let bench = bench(DRIVERS[0], image(&[], ImageOrigin::Store));
    let outputs = bench.execute(&vertex(source(), 0), Vec::new()).unwrap();
    assert!(matches!(outputs[0], Output::Scratch));
}

#[test]
fn images_can_be_copied_from_and_onto() {
    for driver in DRIVERS {
        let layers = layers();
        let bench = bench(driver, image(&layers, ImageOrigin::Store));
        store(&bench, &layers);
        let image = bench.execute(&vertex(source(), 0), Vec::new()).unwrap().remove(0);
        let output = bench.copy(&image, &image, &copy(&["etc/a"], "/x")).unwrap();
        assert_eq!(bench.tree(&output), format!("{UNPACKED}f 755 x 1\n"));
        bench.key(&image, &copy(&["etc"], "/")).unwrap();
    }
}
