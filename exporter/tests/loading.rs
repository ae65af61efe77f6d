//! Loading what others wrote, and what nobody should have written.

#![allow(clippy::unwrap_used, reason = "tests")]

mod fixture;

use std::io::Write;

use fixture::{Fixture, GZIP, Item, ZSTD, compress, device, file, hard_link, items, name, options, symlink, system, tar};
use rbuild_exporter::{ArchiveKind, Destination, ExportError, LoadSource, import, load, write_archive};
use rbuild_oci::{Descriptor, DiffId, Digest, ImageConfig, Index, Manifest, MediaType, OciLayout, Platform, RootFs};
use rbuild_snapshotter::UnpackError;

/// The entries of an archive as docker wrote them up to version 24: three layers, of which the third is the first again.
fn legacy() -> Vec<Item> {
    let (one, two) = (tar(&system()), tar(&[file("two", 0o644, b"2")]));
    let diff_ids = [&one, &two, &one].map(|layer| DiffId(Digest::of(layer))).into();
    let config =
        ImageConfig { rootfs: RootFs { diff_ids }, platform: Some(Platform::host()), ..ImageConfig::default() }.to_json();
    let config_name = format!("{}.json", Digest::of(&config).hex());
    let manifest = format!(
        r#"[{{"Config":"{config_name}","RepoTags":["app:1","example.com/app:2"],"Layers":["a/layer.tar","b/layer.tar","c/layer.tar"]}}]"#
    );
    vec![
        file("a/VERSION", 0o644, b"1.0"),
        file("a/json", 0o644, b"{}"),
        file("a/layer.tar", 0o644, &one),
        file("b/layer.tar", 0o644, &two),
        symlink("c/layer.tar", "../a/layer.tar"),
        file(&config_name, 0o644, &config),
        file("manifest.json", 0o644, manifest.as_bytes()),
        file("repositories", 0o644, b"{}"),
    ]
}

fn replace(items: &mut [Item], path: &str, with: impl FnOnce(&[u8]) -> Vec<u8>) {
    let item = items.iter_mut().find(|item| item.header.path.to_str() == Some(path)).unwrap();
    item.content = with(&item.content);
    item.header.size = item.content.len() as u64;
}

#[test]
fn docker_archives_load() {
    let plain = tar(&legacy());
    let mut xz = liblzma_compress(&plain);
    for archive in [plain.clone(), compress(GZIP, &plain), compress(ZSTD, &plain), std::mem::take(&mut xz)] {
        let fixture = Fixture::new();
        let loaded = fixture.load(archive).unwrap();
        let names: Vec<_> = loaded[0].names.iter().map(ToString::to_string).collect();
        assert_eq!(names, ["docker.io/library/app:1", "example.com/app:2"]);
        let image = &loaded[0].image;
        assert!(image.parts.layers.iter().all(|layer| layer.media_type == MediaType::OciLayer));
        assert_eq!(image.parts.layers[0].digest, image.parts.layers[2].digest);
        assert!(fixture.tree(image).contains(" two "));
        assert_eq!(fixture.images().len(), 2);
    }
}

/// By the program, so that the reader has a peer.
fn liblzma_compress(bytes: &[u8]) -> Vec<u8> {
    let mut child = std::process::Command::new("xz")
        .args(["-0", "-c"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let bytes = bytes.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&bytes).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output.stdout
}

#[test]
fn compressed_layers_in_docker_archives_stay_compressed() {
    let mut items = legacy();
    replace(&mut items, "b/layer.tar", |layer| compress(GZIP, layer));
    replace(&mut items, "a/layer.tar", liblzma_compress);
    let fixture = Fixture::new();
    let loaded = fixture.load(tar(&items)).unwrap();
    let types: Vec<_> = loaded[0].image.parts.layers.iter().map(|layer| layer.media_type.clone()).collect();
    assert_eq!(types, [MediaType::OciLayer, MediaType::OciLayerGzip, MediaType::OciLayer]);
    assert!(fixture.tree(&loaded[0].image).contains(" two "));
}

#[test]
fn an_extracted_docker_archive_loads_as_a_directory() {
    let fixture = Fixture::new();
    let directory = fixture.path("archive");
    for Item { header, content } in legacy() {
        let path = directory.join(&header.path);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        match header.link {
            Some(target) => std::os::unix::fs::symlink(target, path).unwrap(),
            None => fs_err::write(path, content).unwrap(),
        }
    }
    let loaded = load(&fixture.snapshotter, LoadSource::Path(directory)).unwrap();
    assert!(fixture.tree(&loaded[0].image).contains(" two "));
}

fn refused(items: &[Item], word: &str) {
    let fixture = Fixture::new();
    let error = fixture.load(tar(items)).unwrap_err();
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    assert!(text.contains(word), "{text} ({word})");
    assert_eq!(fixture.images(), []);
}

#[test]
fn docker_archives_that_break_a_rule_are_refused() {
    let with = |change: &dyn Fn(&mut Vec<Item>)| {
        let mut items = legacy();
        change(&mut items);
        items
    };
    let flip = |layer: &[u8]| {
        let mut layer = layer.to_vec();
        layer[600] ^= 1;
        layer
    };
    let manifest = |from: &'static str, to: &'static str| {
        move |items: &mut Vec<Item>| {
            replace(items, "manifest.json", |text| String::from_utf8(text.to_vec()).unwrap().replace(from, to).into_bytes());
        }
    };
    refused(&with(&|items| replace(items, "b/layer.tar", flip)), "was expected");
    refused(&with(&|items| replace(items, "b/layer.tar", |layer| compress(GZIP, &flip(layer)))), "was expected");
    refused(&with(&|items| replace(items, "b/layer.tar", |layer| compress(GZIP, layer)[..40].into())), "b/layer.tar");
    refused(&with(&|items| items.retain(|item| !item.header.path.starts_with("b"))), "no `b/layer.tar`");
    refused(&with(&manifest(r#","c/layer.tar""#, "")), "2 layers");
    refused(&with(&manifest("app:1", "UPPER:1")), "lowercase");
    refused(&with(&manifest(r#""RepoTags""#, r#""Config":"x","RepoTags""#)), "duplicate key");
    refused(&with(&manifest("a/layer.tar", "../../etc/passwd")), "..");
    refused(&with(&|items| items.push(file("../x", 0o644, b""))), "..");
    refused(&with(&|items| items.push(symlink("d/layer.tar", "../../../x"))), "out of the archive");
    refused(&with(&|items| items.push(file("manifest.json", 0o644, b"[]"))), "twice");
    refused(&with(&|items| items.push(device("dev"))), "neither");
    refused(&with(&|items| items.retain(|item| !item.header.path.ends_with("manifest.json"))), "no `manifest.json`");
    refused(&[file("manifest.json", 0o644, b"[]")], "no image");
    refused(&[hard_link("manifest.json", "manifest.json")], "link to a link");
    refused(&[], "no `manifest.json`");
}

#[test]
fn truncated_and_damaged_archives_leave_nothing_visible() {
    let source = Fixture::new();
    let image = source.sample(&options(GZIP));
    let path = source.path("x.tar");
    write_archive(&source.snapshotter, &[(image, vec![name("x")])], ArchiveKind::Docker, &Destination::File(path.clone()))
        .unwrap();
    let archive = fs_err::read(path).unwrap();
    let end = archive.len() - 1024;
    for step in 0..24 {
        let fixture = Fixture::new();
        assert!(fixture.load(archive[..end * step / 24].to_vec()).is_err(), "cut at {step}/24");
        let mut damaged = archive.clone();
        let at = end * step / 24 + 700;
        let before = items(&archive);
        damaged[at] ^= 0x20;
        let outcome = fixture.load(damaged.clone());
        let harmless = std::panic::catch_unwind(|| items(&damaged)).is_ok_and(|after| {
            after.len() == before.len()
                && after.iter().zip(&before).all(|(a, b)| a.content == b.content && a.header.path == b.header.path)
        });
        assert!(outcome.is_err() || harmless, "damaged at {at}");
        if outcome.is_err() {
            assert_eq!(fixture.images(), []);
        }
    }
}

#[test]
fn noise_is_no_archive() {
    for bytes in [vec![], vec![0; 10_000], vec![0x1f, 0x8b], compress(GZIP, b"hello"), vec![0xff; 5000]] {
        let error = Fixture::new().load(bytes).unwrap_err();
        assert!(matches!(error, ExportError::Stream { .. } | ExportError::MissingFile(_)), "{error:?}");
    }
}

/// An OCI archive by hand: documents by digest, and the index.
struct Oci {
    blobs: Vec<Item>,
    index: Index,
}

impl Oci {
    fn new() -> Oci {
        let index = Index { media_type: MediaType::OciIndex, manifests: vec![], annotations: [].into(), extra: [].into() };
        Oci { blobs: vec![], index }
    }

    fn blob(&mut self, media_type: MediaType, bytes: &[u8]) -> Descriptor {
        let digest = Digest::of(bytes);
        self.blobs.push(file(&format!("blobs/sha256/{}", digest.hex()), 0o644, bytes));
        Descriptor::new(media_type, digest, bytes.len() as u64)
    }

    fn image(&mut self, content: &str, platform: &Platform) -> Descriptor {
        let layer = tar(&[file("content", 0o644, content.as_bytes())]);
        let rootfs = RootFs { diff_ids: vec![DiffId(Digest::of(&layer))] };
        let config = ImageConfig { rootfs, platform: Some(platform.clone()), ..ImageConfig::default() };
        let config = self.blob(MediaType::OciConfig, &config.to_json());
        let layers = vec![self.blob(MediaType::OciLayerGzip, &compress(GZIP, &layer))];
        let manifest = Manifest { media_type: MediaType::OciManifest, config, layers, annotations: [].into(), extra: [].into() };
        Descriptor { platform: Some(platform.clone()), ..self.blob(MediaType::OciManifest, &manifest.to_json()) }
    }

    fn list(&mut self, entry: Descriptor, image_name: Option<&str>) -> &mut Oci {
        let mut entry = entry;
        entry.annotations.extend(image_name.map(|name| ("io.containerd.image.name".to_owned(), name.to_owned())));
        self.index.manifests.push(entry);
        self
    }

    fn archive(&self) -> Vec<Item> {
        let mut items = self.blobs.clone();
        items.push(file("./index.json", 0o644, &self.index.to_json()));
        items.push(file("./oci-layout", 0o644, &OciLayout::to_json()));
        items
    }
}

fn foreign() -> Platform {
    Platform::linux("s390x")
}

#[test]
fn of_an_index_the_image_for_this_host_is_taken() {
    let mut oci = Oci::new();
    let (here, there) = (oci.image("here", &Platform::host()), oci.image("there", &foreign()));
    let mut attestation = oci.blob(MediaType::OciManifest, b"not even JSON");
    attestation.platform = Some("unknown/unknown".parse().unwrap());
    let inner = Index { manifests: vec![there, here.clone(), attestation], ..oci.index.clone() };
    let inner = oci.blob(MediaType::OciIndex, &inner.to_json());
    oci.list(inner, Some("docker.io/library/x:1"));
    let fixture = Fixture::new();
    let loaded = fixture.load(tar(&oci.archive())).unwrap();
    assert_eq!(loaded[0].image.manifest, here.digest);
    assert_eq!(loaded[0].names, [name("x:1")]);
}

#[test]
fn a_lone_image_for_another_platform_loads() {
    let mut oci = Oci::new();
    let there = oci.image("there", &foreign());
    oci.list(there.clone(), None);
    let fixture = Fixture::new();
    let loaded = fixture.load(tar(&oci.archive())).unwrap();
    assert_eq!((&loaded[0].image.manifest, loaded[0].names.len()), (&there.digest, 0));
    assert_eq!(fixture.images(), [(None, there.digest)]);
}

#[test]
fn one_name_for_several_platforms_means_this_hosts() {
    let mut oci = Oci::new();
    let (there, here) = (oci.image("there", &foreign()), oci.image("here", &Platform::host()));
    oci.list(there, Some("docker.io/library/x:1")).list(here.clone(), Some("docker.io/library/x:1"));
    let loaded = Fixture::new().load(tar(&oci.archive())).unwrap();
    assert_eq!(loaded.iter().map(|image| &image.image.manifest).collect::<Vec<_>>(), [&here.digest]);
}

#[test]
fn oci_archives_that_break_a_rule_are_refused() {
    let host = Platform::host();
    let check = |change: &dyn Fn(&mut Oci, Descriptor), word: &str| {
        let mut oci = Oci::new();
        let image = oci.image("x", &host);
        change(&mut oci, image);
        refused(&oci.archive(), word);
    };
    check(&|_, _| (), "no image");
    check(
        &|oci, image| {
            oci.list(image, None);
            oci.blobs[1].content[30] ^= 1;
        },
        "has the digest",
    );
    check(
        &|oci, image| {
            oci.list(image, None);
            oci.blobs.remove(1);
        },
        "is missing",
    );
    check(&|oci, image| _ = oci.list(Descriptor { size: image.size + 1, ..image }, None), "bytes");
    check(&|oci, image| _ = oci.list(Descriptor { media_type: MediaType::OciIndex, ..image }, None), "was expected");
    check(&|oci, image| _ = oci.list(Descriptor { media_type: MediaType::DockerManifest, ..image }, None), "was expected");
    check(
        &|oci, _| {
            let mut next = oci.image("deep", &host);
            for _ in 0..6 {
                let index = Index { manifests: vec![Descriptor { platform: None, ..next }], ..oci.index.clone() };
                next = oci.blob(MediaType::OciIndex, &index.to_json());
            }
            oci.list(next, None);
        },
        "nested",
    );
    check(
        &|oci, _| {
            let (one, two) = (oci.image("1", &foreign()), oci.image("2", &Platform::linux("ppc64le")));
            let index = Index { manifests: vec![one, two], ..oci.index.clone() };
            let index = oci.blob(MediaType::OciIndex, &index.to_json());
            oci.list(index, None);
        },
        "linux/s390x, linux/ppc64le",
    );
    check(
        &|oci, _| {
            let config = oci.blob(MediaType::OciConfig, &ImageConfig::default().to_json());
            let layers = vec![oci.blob(MediaType::OciLayer, b"x")];
            let manifest =
                Manifest { media_type: MediaType::OciManifest, config, layers, annotations: [].into(), extra: [].into() };
            let manifest = oci.blob(MediaType::OciManifest, &manifest.to_json());
            oci.list(manifest, None);
        },
        "1 layers",
    );
    check(
        &|oci, _| {
            let config = oci.blob(MediaType::Other("application/vnd.cncf.helm.config.v1+json".into()), b"{}");
            let manifest =
                Manifest { media_type: MediaType::OciManifest, config, layers: vec![], annotations: [].into(), extra: [].into() };
            let manifest = oci.blob(MediaType::OciManifest, &manifest.to_json());
            oci.list(manifest, None);
        },
        "not an image",
    );
}

#[test]
fn a_layer_that_is_not_its_diff_id_is_not_unpacked() {
    let mut oci = Oci::new();
    let rootfs = RootFs { diff_ids: vec![DiffId(Digest::of(b"something else"))] };
    let config = oci.blob(MediaType::OciConfig, &ImageConfig { rootfs, ..ImageConfig::default() }.to_json());
    let layers = vec![oci.blob(MediaType::OciLayer, &tar(&[file("x", 0o644, b"x")]))];
    let manifest = Manifest { media_type: MediaType::OciManifest, config, layers, annotations: [].into(), extra: [].into() };
    let manifest = oci.blob(MediaType::OciManifest, &manifest.to_json());
    oci.list(manifest, Some("docker.io/library/x:1"));
    let fixture = Fixture::new();
    let loaded = fixture.load(tar(&oci.archive())).unwrap();
    let error = rbuild_exporter::unpack(&fixture.snapshotter, &loaded[0].image).unwrap_err();
    let ExportError::Unpack { source, .. } = error else { panic!("{error:?}") };
    assert!(matches!(*source, UnpackError::Mismatch { .. }), "{source:?}");
}

#[test]
fn root_file_systems_are_imported() {
    let fixture = Fixture::new();
    let bytes = compress(ZSTD, &tar(&system()));
    let stream = LoadSource::Stream(Box::new(std::io::Cursor::new(bytes)));
    let image = import(&fixture.snapshotter, stream, ImageConfig::default()).unwrap();
    assert_eq!(image.image_config.history[0].comment.as_deref(), Some("Imported from -"));
    assert_eq!(image.image_config.platform, Some(Platform::host()));
    assert_eq!(image.parts.layers.len(), 1);
    let directory = fixture.path("tree");
    let snapshot = rbuild_exporter::unpack(&fixture.snapshotter, &image).unwrap().unwrap();
    rbuild_exporter::write_local(&fixture.snapshotter, Some(&snapshot), &directory, None).unwrap();
    let again = import(&fixture.snapshotter, LoadSource::Path(directory), ImageConfig::default()).unwrap();
    assert_eq!(fixture.tree(&again), fixture.tree(&image));
    assert_eq!(again.image_config.rootfs, image.image_config.rootfs);
    let noise = LoadSource::Stream(Box::new(std::io::Cursor::new(vec![7; 2000])));
    assert!(import(&fixture.snapshotter, noise, ImageConfig::default()).is_err());
}
