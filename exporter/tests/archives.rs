//! Archives and layout directories: written, read back, the same; deterministic; nothing after a failure.

#![allow(clippy::unwrap_used, reason = "tests")]

mod fixture;

use std::path::Path;

use fixture::{Fixture, GZIP, ZSTD, items, name, options};
use rbuild_exporter::{ArchiveKind, Destination, ExportError, LoadSource, StoredImage, load, read_layout, unpack, write_archive};
use rbuild_fs::archive::Codec;
use rbuild_oci::{Digest, DockerArchiveEntry, Index, Platform, Reference};
use rbuild_snapshotter::DriverChoice;

fn write(fixture: &Fixture, images: &[(StoredImage, Vec<Reference>)], kind: ArchiveKind) -> Vec<u8> {
    let path = fixture.path("archive.tar");
    write_archive(&fixture.snapshotter, images, kind, &Destination::File(path.clone())).unwrap();
    fs_err::read(path).unwrap()
}

fn member(archive: &[u8], path: &str) -> Vec<u8> {
    items(archive).into_iter().find(|item| item.header.path == Path::new(path)).unwrap().content
}

#[test]
fn what_is_written_loads_with_the_same_digests() {
    for codec in [Codec::None, GZIP, ZSTD] {
        for kind in [ArchiveKind::Oci, ArchiveKind::Docker] {
            let source = Fixture::new();
            let image = source.sample(&options(codec));
            let names = vec![name("example.com/app:1"), name("app")];
            let archive = write(&source, &[(image.clone(), names.clone())], kind);
            let target = Fixture::new();
            let loaded = target.load(archive).unwrap();
            assert_eq!(loaded.len(), 1);
            assert_eq!((&loaded[0].image.manifest, &loaded[0].names), (&image.manifest, &names));
            assert_eq!(loaded[0].image.parts, image.parts);
            assert_eq!(target.images().len(), 2);
            assert_eq!(target.tree(&loaded[0].image), source.tree(&image), "{codec:?} {kind:?}");
        }
    }
}

#[test]
fn both_drivers_make_the_same_image() {
    let made = [DriverChoice::Overlay, DriverChoice::Copy].map(|driver| {
        let source = Fixture::with(driver);
        let image = source.sample(&options(GZIP));
        let archive = write(&source, &[(image.clone(), vec![name("app")])], ArchiveKind::Oci);
        let target = Fixture::with(driver);
        let loaded = target.load(archive).unwrap();
        assert_eq!(target.tree(&loaded[0].image), source.tree(&image));
        (image.parts.layers, target.tree(&loaded[0].image))
    });
    assert_eq!(made[0], made[1]);
}

#[test]
fn the_bytes_are_a_function_of_the_images() {
    let source = Fixture::new();
    let image = source.sample(&options(GZIP));
    let images = [(image, vec![name("app")])];
    let first = write(&source, &images, ArchiveKind::Docker);
    assert!(first == write(&source, &images, ArchiveKind::Docker));
    let entries = items(&first);
    assert!(entries.iter().all(|item| item.header.mtime == (0, 0) && item.header.uid == 0));
    let paths: Vec<_> = entries.iter().map(|item| item.header.path.clone()).collect();
    assert!(paths.is_sorted(), "{paths:?}");
}

#[test]
fn names_are_where_containerd_and_docker_have_them() {
    let source = Fixture::new();
    let image = source.sample(&options(Codec::None));
    let archive = write(&source, &[(image.clone(), vec![name("app:1"), name("example.com/x/y:2")])], ArchiveKind::Docker);
    let index = Index::from_json(&member(&archive, "index.json")).unwrap();
    let annotations: Vec<_> =
        index.manifests.iter().map(|entry| entry.annotations.values().cloned().collect::<Vec<_>>()).collect();
    assert_eq!(annotations, [["docker.io/library/app:1", "1"], ["example.com/x/y:2", "2"]]);
    let docker = DockerArchiveEntry::parse(&member(&archive, "manifest.json")).unwrap();
    assert_eq!(docker.len(), 1);
    assert_eq!(docker[0].repo_tags.as_deref().unwrap(), ["app:1", "example.com/x/y:2"]);
    assert_eq!(docker[0].config, format!("blobs/sha256/{}", image.config.hex()));
    assert_eq!(member(&archive, "oci-layout"), br#"{"imageLayoutVersion":"1.0.0"}"#);
}

#[test]
fn several_images_share_blobs() {
    let source = Fixture::new();
    let image = source.sample(&options(GZIP));
    let base = source.snapshot(None, &fixture::system());
    let other = rbuild_exporter::make_image(&source.snapshotter, &fixture::parts(vec![base]), &options(GZIP)).unwrap();
    assert_eq!(image.parts.layers[0], other.parts.layers[0]);
    let images = [(image.clone(), vec![name("a")]), (other.clone(), vec![name("b")]), (image.clone(), vec![name("c")])];
    let archive = write(&source, &images, ArchiveKind::Docker);
    let blobs =
        items(&archive).iter().filter(|item| item.header.path.starts_with("blobs/sha256") && item.header.size > 0).count();
    assert_eq!(blobs, 6);
    let target = Fixture::new();
    let loaded = target.load(archive).unwrap();
    let names: Vec<Vec<String>> = loaded.iter().map(|image| image.names.iter().map(Reference::familiar).collect()).collect();
    assert_eq!(names, [vec!["a:latest", "c:latest"], vec!["b:latest"]]);
    assert_eq!(loaded[1].image.manifest, other.manifest);
}

#[test]
fn a_layout_directory_takes_image_after_image() {
    let source = Fixture::new();
    let layout = source.path("new/layout");
    let to = Destination::Directory(layout.clone());
    let one = source.sample(&options(GZIP));
    let two = source.sample(&options(ZSTD));
    let put = |image: &StoredImage, tag: &str| {
        write_archive(&source.snapshotter, &[(image.clone(), vec![name(tag)])], ArchiveKind::Oci, &to).unwrap()
    };
    put(&one, "app:1");
    put(&two, "app:2");
    put(&two, "app:1");
    put(&one, "app:3");
    let host = Platform::host();
    let read = |tag: Option<&str>, digest: Option<&Digest>| read_layout(&layout, tag, digest, &host);
    assert_eq!(read(Some("1"), None).unwrap().0, two.manifest);
    assert_eq!(read(Some("3"), None).unwrap().1, one.parts);
    assert_eq!(read(None, Some(&one.manifest)).unwrap().2, one.image_config);
    let error = read(Some("4"), None).unwrap_err();
    assert!(error.to_string().contains("`4`") && error.to_string().contains("1, "), "{error}");
    assert!(matches!(read(None, Some(&Digest::of(b""))).unwrap_err(), ExportError::MissingBlob(_)));
    let target = Fixture::new();
    let loaded = load(&target.snapshotter, LoadSource::Path(layout.clone())).unwrap();
    assert_eq!(loaded.len(), 2);
    assert_eq!(target.tree(&loaded[0].image), target.tree(&loaded[1].image));
    let names = |directory: &Path| fs_err::read_dir(directory).unwrap().count();
    assert_eq!((names(&layout), names(&layout.join("blobs/sha256"))), (3, 8));
}

#[test]
fn a_failed_export_leaves_nothing() {
    let source = Fixture::new();
    let image = source.sample(&options(GZIP));
    let mut broken = image.clone();
    broken.parts.layers[1].digest = Digest::of(b"not stored");
    let export = |to: &Destination| write_archive(&source.snapshotter, &[(broken.clone(), vec![])], ArchiveKind::Oci, to);
    let out = source.path("out");
    fs_err::create_dir(&out).unwrap();
    let file = out.join("x.tar");
    assert!(matches!(export(&Destination::File(file.clone())).unwrap_err(), ExportError::MissingBlob(_)));
    fs_err::write(&file, "before").unwrap();
    export(&Destination::File(file.clone())).unwrap_err();
    assert_eq!(fs_err::read_to_string(&file).unwrap(), "before");
    export(&Destination::Directory(out.join("layout"))).unwrap_err();
    let left: Vec<_> = fs_err::read_dir(&out).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["x.tar"]);
    let mut short = image;
    short.parts.layers[1].size += 1;
    let error =
        write_archive(&source.snapshotter, &[(short, vec![])], ArchiveKind::Oci, &Destination::File(file.clone())).unwrap_err();
    assert!(matches!(error, ExportError::Size { .. }), "{error:?}");
    assert_eq!(fs_err::read_to_string(&file).unwrap(), "before");
}

#[test]
fn destinations_of_the_wrong_kind_are_refused() {
    let source = Fixture::new();
    let image = source.sample(&options(Codec::None));
    let export = |to: &Destination| write_archive(&source.snapshotter, &[(image.clone(), vec![])], ArchiveKind::Oci, to);
    let error = export(&Destination::File(source.dir.path().into())).unwrap_err();
    assert!(error.to_string().contains("is a directory"), "{error}");
    let full = export(&Destination::File("/dev/full".into())).unwrap_err();
    assert!(full.is_full(), "{full:?}");
    let target = source.path("target.tar");
    std::os::unix::fs::symlink(&target, source.path("link.tar")).unwrap();
    fs_err::write(&target, "old").unwrap();
    export(&Destination::File(source.path("link.tar"))).unwrap();
    assert!(fs_err::symlink_metadata(source.path("link.tar")).unwrap().is_symlink());
    assert!(fs_err::metadata(&target).unwrap().len() > 3);
}

#[test]
fn a_virtual_layer_survives_the_blob_of_its_twin() {
    let source = Fixture::new();
    let gzip = source.sample(&options(GZIP));
    let target = Fixture::new();
    let loaded = target.load(write(&source, &[(gzip, vec![name("x")])], ArchiveKind::Oci)).unwrap();
    let state = unpack(&target.snapshotter, &loaded[0].image).unwrap().unwrap();
    // What was unpacked gives the very layer that it came from.
    let again = rbuild_exporter::make_image(
        &target.snapshotter,
        &fixture::parts(vec![(*state.parent.clone().unwrap()).clone(), state]),
        &options(Codec::None),
    );
    assert_eq!(again.unwrap().image_config.rootfs, loaded[0].image.image_config.rootfs);
}
