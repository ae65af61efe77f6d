//! Images made from snapshots: layers made once, bases reused, histories, unpacking.

#![allow(clippy::unwrap_used, reason = "tests")]

mod fixture;

use std::collections::BTreeMap;

use fixture::{Fixture, GZIP, ZSTD, directory, file, name, options, parts};
use rbuild_exporter::{
    ArchiveKind, Destination, ExportError, ImageParts, LayerOptions, StoredImage, annotate, make_image, read_layout, start_layer,
    stored, tag, unpack, write_archive,
};
use rbuild_fs::archive::Codec;
use rbuild_oci::{ChainId, Descriptor, DiffId, History, LayerCompression, MediaType, Platform};
use rbuild_snapshotter::{Snapshot, TimePolicy};

#[test]
fn an_image_for_the_store_has_virtual_layers_and_is_unpacked_already() {
    let fixture = Fixture::new();
    let image = fixture.sample(&options(Codec::None));
    let diff_ids = &image.image_config.rootfs.diff_ids;
    for (layer, diff_id) in image.parts.layers.iter().zip(diff_ids) {
        assert_eq!((&layer.media_type, &layer.digest), (&MediaType::OciLayer, &diff_id.0));
        assert!(!fixture.snapshotter.store().has_blob(&layer.digest).unwrap());
    }
    let chain = fixture.snapshotter.open_chain(&ChainId::of(diff_ids).unwrap()).unwrap().unwrap();
    assert_eq!(unpack(&fixture.snapshotter, &image).unwrap().unwrap().id, chain.id);
    assert_eq!(chain.depth, 2);
    let again = stored(&fixture.snapshotter, &image.manifest).unwrap();
    assert_eq!((again.parts, again.image_config), (image.parts, image.image_config));
}

#[test]
fn one_image_in_every_codec_has_the_same_diff_ids() {
    let fixture = Fixture::new();
    let base = fixture.snapshot(None, &fixture::system());
    let parts = parts(vec![base]);
    let made: Vec<StoredImage> =
        [Codec::None, GZIP, ZSTD].map(|codec| make_image(&fixture.snapshotter, &parts, &options(codec)).unwrap()).into();
    for (image, compression) in made.iter().zip([LayerCompression::None, LayerCompression::Gzip, LayerCompression::Zstd]) {
        assert_eq!(image.config, made[0].config);
        let layer = &image.parts.layers[0];
        assert_eq!(layer.media_type.compression(), Some(compression));
        if compression != LayerCompression::None {
            let blob = fixture.snapshotter.store().read_blob(&layer.digest, 64 << 20).unwrap().unwrap();
            assert_eq!(blob.len() as u64, layer.size);
            assert!(fixture::items(&blob).iter().any(|item| item.header.path.ends_with("hello-again")));
        }
    }
    let docker = LayerOptions { oci_media_types: false, ..options(GZIP) };
    let docker = make_image(&fixture.snapshotter, &parts, &docker).unwrap();
    assert_eq!(docker.parts.media_type, MediaType::DockerManifest);
    assert_eq!(docker.parts.config.media_type, MediaType::DockerConfig);
    assert_eq!(docker.parts.layers[0].media_type, MediaType::DockerLayerGzip);
    assert_eq!(docker.parts.layers[0].digest, made[1].parts.layers[0].digest);
}

#[test]
fn layers_in_the_background_are_found() {
    let fixture = Fixture::new();
    let mut snapshots: Vec<Snapshot> = Vec::new();
    for number in 0..12 {
        let items = [file(&format!("file{number}"), 0o644, &vec![number; 1 << 20])];
        let next = fixture.snapshot(snapshots.last(), &items);
        start_layer(&fixture.snapshotter, &next, &options(GZIP));
        snapshots.push(next);
    }
    let image = make_image(&fixture.snapshotter, &parts(snapshots.clone()), &options(GZIP)).unwrap();
    let again = make_image(&fixture.snapshotter, &parts(snapshots), &options(GZIP)).unwrap();
    assert_eq!(image.manifest, again.manifest);
    assert_eq!(image.parts.layers.len(), 12);
    let created: Vec<_> = image.image_config.history.iter().map(|entry| entry.created.clone().unwrap()).collect();
    assert!(created.is_sorted() && image.image_config.created.as_ref() == created.last(), "{created:?}");
}

#[test]
fn the_same_steps_give_the_same_layers_in_another_store() {
    let one = Fixture::new().sample(&options(GZIP));
    let two = Fixture::new().sample(&options(GZIP));
    assert_eq!(one.parts.layers, two.parts.layers);
}

/// An image on a base that is only in a layout directory.
fn on_layout(fixture: &Fixture, layout: &std::path::Path, options: &LayerOptions) -> (Vec<Descriptor>, StoredImage) {
    let (_, manifest, config) = read_layout(layout, None, None, &Platform::host()).unwrap();
    let diff_ids = config.rootfs.diff_ids.clone();
    let own = fixture.snapshot(None, &[file("own", 0o644, b"own")]);
    let mut parts = ImageParts {
        base_layers: manifest.layers.iter().cloned().zip(diff_ids).collect(),
        base_layout: Some(layout.into()),
        ..parts(vec![own])
    };
    parts.history.splice(0..0, config.history.into_iter().map(|entry| (entry, None)));
    (manifest.layers, make_image(&fixture.snapshotter, &parts, options).unwrap())
}

#[test]
fn a_base_in_a_layout_is_reused_as_it_is() {
    let source = Fixture::new();
    let base = source.sample(&options(ZSTD));
    let layout = source.path("layout");
    write_archive(&source.snapshotter, &[(base.clone(), vec![])], ArchiveKind::Oci, &Destination::Directory(layout.clone()))
        .unwrap();

    let fixture = Fixture::new();
    let (layers, image) = on_layout(&fixture, &layout, &options(GZIP));
    assert_eq!(image.parts.layers[..2], layers);
    assert_eq!(image.parts.layers[2].media_type, MediaType::OciLayerGzip);
    assert_eq!(image.image_config.history[..2], base.image_config.history);
    assert!(fixture.tree(&image).contains("etc/new"));

    let docker = LayerOptions { oci_media_types: false, ..options(GZIP) };
    let (layers, image) = on_layout(&Fixture::new(), &layout, &docker);
    assert_eq!(image.parts.layers[0], Descriptor { media_type: MediaType::DockerLayerZstd, ..layers[0].clone() });

    let fixture = Fixture::new();
    let forced = LayerOptions { force_compression: true, ..options(GZIP) };
    let (_, image) = on_layout(&fixture, &layout, &forced);
    assert!(image.parts.layers.iter().all(|layer| layer.media_type == MediaType::OciLayerGzip));
    assert_eq!(image.image_config.rootfs.diff_ids[..2], base.image_config.rootfs.diff_ids);
    assert!(fixture.tree(&image).contains("etc/new"));
}

#[test]
fn a_damaged_base_is_noticed() {
    let source = Fixture::new();
    let base = source.sample(&options(GZIP));
    let layout = source.path("layout");
    write_archive(&source.snapshotter, &[(base.clone(), vec![])], ArchiveKind::Oci, &Destination::Directory(layout.clone()))
        .unwrap();
    let blob = layout.join("blobs/sha256").join(base.parts.layers[1].digest.hex());
    let mut bytes = fs_err::read(&blob).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs_err::write(&blob, bytes).unwrap();
    let fixture = Fixture::new();
    let (_, manifest, config) = read_layout(&layout, None, None, &Platform::host()).unwrap();
    let base_layers: Vec<(Descriptor, DiffId)> = manifest.layers.into_iter().zip(config.rootfs.diff_ids).collect();
    let parts = ImageParts { base_layers, base_layout: Some(layout.clone()), ..parts(vec![]) };
    let error = make_image(&fixture.snapshotter, &parts, &options(GZIP)).unwrap_err();
    assert!(matches!(error, ExportError::Mismatch { .. }), "{error:?}");
    fs_err::remove_file(&blob).unwrap();
    let error = make_image(&fixture.snapshotter, &parts, &options(GZIP)).unwrap_err();
    assert!(matches!(error, ExportError::MissingBlob(_)), "{error:?}");
}

#[test]
fn a_virtual_base_is_compressed_like_an_own_layer() {
    let fixture = Fixture::new();
    let base = fixture.sample(&options(Codec::None));
    tag(&fixture.snapshotter, &base, &[name("base")]).unwrap();
    let state = unpack(&fixture.snapshotter, &base).unwrap().unwrap();
    let own = fixture.snapshot(Some(&state), &[file("own", 0o644, b"own")]);
    let base_layers = base.parts.layers.iter().cloned().zip(base.image_config.rootfs.diff_ids.clone()).collect();
    let parts = ImageParts { base_layers, ..parts(vec![own]) };
    let image = make_image(&fixture.snapshotter, &parts, &options(GZIP)).unwrap();
    assert!(image.parts.layers.iter().all(|layer| layer.media_type == MediaType::OciLayerGzip));
    assert_eq!(image.image_config.rootfs.diff_ids[..2], base.image_config.rootfs.diff_ids);
    let same = make_image(&fixture.snapshotter, &parts, &options(Codec::None)).unwrap();
    assert_eq!(same.parts.layers[..2], base.parts.layers);
}

#[test]
fn the_epoch_bounds_times_and_the_policy_bounds_layers() {
    let fixture = Fixture::new();
    let base = fixture.snapshot(None, &[directory("a", 0o755)]);
    let parts = ImageParts { epoch: Some(1000), ..parts(vec![base]) };
    let clamped = LayerOptions { times: TimePolicy::Clamp(1000), ..options(GZIP) };
    let image = make_image(&fixture.snapshotter, &parts, &clamped).unwrap();
    assert_eq!(image.image_config.created.as_deref(), Some("1970-01-01T00:16:40Z"));
    assert_eq!(image.image_config.history[0].created, image.image_config.created);
    let blob = fixture.snapshotter.store().read_blob(&image.parts.layers[0].digest, 1 << 20).unwrap().unwrap();
    assert!(fixture::items(&blob).iter().all(|item| item.header.mtime.0 <= 1000));
    // The layer is not the snapshot: the image has to be unpacked, and the times are the layer's.
    assert!(fixture.tree(&image).contains(" 1000 a"), "{}", fixture.tree(&image));
}

#[test]
fn images_without_layers_and_with_empty_ones_are_images() {
    let fixture = Fixture::new();
    let none = make_image(&fixture.snapshotter, &parts(vec![]), &options(Codec::None)).unwrap();
    assert_eq!((none.parts.layers.len(), none.image_config.created.clone()), (0, None));
    assert!(unpack(&fixture.snapshotter, &none).unwrap().is_none());
    let base = fixture.snapshot(None, &[directory("a", 0o755)]);
    let empty = fixture.snapshot(Some(&base), &[]);
    let image = make_image(&fixture.snapshotter, &parts(vec![base, empty]), &options(Codec::None)).unwrap();
    assert_eq!(image.parts.layers[1].size, 1024);
    assert_eq!(image.image_config.history.len(), 2);
}

#[test]
fn histories_agree_with_layers() {
    let fixture = Fixture::new();
    let base = fixture.snapshot(None, &[directory("a", 0o755)]);
    let missing = ImageParts { history: vec![], ..parts(vec![base.clone()]) };
    let image = make_image(&fixture.snapshotter, &missing, &options(Codec::None)).unwrap();
    let entry = &image.image_config.history[0];
    assert_eq!(entry.created_by.as_deref(), Some("a test's step"));
    assert_eq!(entry.comment.as_deref(), Some("buildkit.exporter.image.v0"));
    let surplus = History { created_by: Some("too much".into()), ..History::default() };
    let mut parts = parts(vec![base]);
    parts.history.push((surplus, None));
    let image = make_image(&fixture.snapshotter, &parts, &options(Codec::None)).unwrap();
    assert!(image.image_config.history[1].empty_layer && image.image_config.history[1].created.is_some());
}

#[test]
fn annotations_make_another_manifest_of_the_same_image() {
    let fixture = Fixture::new();
    let image = fixture.sample(&options(Codec::None));
    let annotated = annotate(&fixture.snapshotter, &image, &BTreeMap::from([("k".to_owned(), "v".to_owned())])).unwrap();
    assert_eq!(annotated.config, image.config);
    assert_ne!(annotated.manifest, image.manifest);
    assert_eq!(stored(&fixture.snapshotter, &annotated.manifest).unwrap().parts.annotations["k"], "v");
}

#[test]
fn names_move_and_images_dangle() {
    let fixture = Fixture::new();
    let image = fixture.sample(&options(Codec::None));
    tag(&fixture.snapshotter, &image, &[]).unwrap();
    assert_eq!(fixture.images(), [(None, image.manifest.clone())]);
    tag(&fixture.snapshotter, &image, &[name("a"), name("b:1")]).unwrap();
    let mut names: Vec<_> = fixture.images().into_iter().filter_map(|(name, _)| name).collect();
    names.sort();
    assert_eq!(names, ["docker.io/library/a:latest", "docker.io/library/b:1"]);
    let missing = stored(&fixture.snapshotter, &rbuild_oci::Digest::of(b"none")).unwrap_err();
    assert!(matches!(missing, ExportError::MissingBlob(_)));
}
