//! Other programs read what is written, and what they write is loaded: skopeo and umoci.

#![allow(clippy::unwrap_used, reason = "tests")]

mod fixture;

use std::path::Path;
use std::process::Command;

use fixture::{Fixture, GZIP, ZSTD, name, options, skip};
use rbuild_exporter::{ArchiveKind, Destination, LayerOptions, LoadSource, StoredImage, load, write_archive};
use rbuild_fs::archive::Codec;

/// Runs a program; `None`, reported, when it is not installed.
fn run(program: &str, arguments: &[&str]) -> Option<String> {
    let output = match Command::new(program).args(arguments).output() {
        Ok(output) => output,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            skip(&format!("`{program}` is not installed"));
            return None;
        }
        Err(error) => panic!("{program}: {error}"),
    };
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {error}");
    Some(String::from_utf8(output.stdout).unwrap())
}

fn write(fixture: &Fixture, image: &StoredImage, kind: ArchiveKind, to: &Destination) {
    write_archive(&fixture.snapshotter, &[(image.clone(), vec![name("app:1")])], kind, to).unwrap();
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn skopeo_reads_and_copies_oci_archives() {
    for codec in [Codec::None, GZIP, ZSTD] {
        let fixture = Fixture::new();
        let image = fixture.sample(&options(codec));
        let archive = fixture.path("x.tar");
        write(&fixture, &image, ArchiveKind::Oci, &Destination::File(archive.clone()));
        let source = format!("oci-archive:{}:1", text(&archive));
        let Some(inspected) = run("skopeo", &["inspect", &source]) else { return };
        assert!(inspected.contains(&image.manifest.to_string()), "{inspected}");
        let copy = fixture.path("copy");
        run("skopeo", &["copy", "--preserve-digests", &source, &format!("oci:{}:app", text(&copy))]);
        let target = Fixture::new();
        let loaded = load(&target.snapshotter, LoadSource::Path(copy)).unwrap();
        assert_eq!(loaded[0].image.manifest, image.manifest);
        assert_eq!(target.tree(&loaded[0].image), fixture.tree(&image));
    }
}

#[test]
fn skopeo_reads_and_writes_docker_archives() {
    let fixture = Fixture::new();
    let image = fixture.sample(&LayerOptions { oci_media_types: false, ..options(GZIP) });
    let archive = fixture.path("x.tar");
    write(&fixture, &image, ArchiveKind::Docker, &Destination::File(archive.clone()));
    let source = format!("docker-archive:{}:docker.io/library/app:1", text(&archive));
    let Some(inspected) = run("skopeo", &["inspect", "--config", &source]) else { return };
    assert!(inspected.contains(&image.image_config.rootfs.diff_ids[1].to_string()), "{inspected}");
    let copy = fixture.path("copy.tar");
    run("skopeo", &["copy", &source, &format!("docker-archive:{}:app:2", text(&copy))]);
    let target = Fixture::new();
    let loaded = load(&target.snapshotter, LoadSource::Path(copy)).unwrap();
    assert_eq!(loaded[0].names, [name("app:2")]);
    assert_eq!(loaded[0].image.config, image.config);
    assert_eq!(target.tree(&loaded[0].image), fixture.tree(&image));
}

#[test]
fn umoci_unpacks_layouts() {
    let fixture = Fixture::new();
    let image = fixture.sample(&options(GZIP));
    let layout = fixture.path("layout");
    write(&fixture, &image, ArchiveKind::Oci, &Destination::Directory(layout.clone()));
    let bundle = fixture.path("bundle");
    let arguments = ["raw", "unpack", "--image", &format!("{}:1", text(&layout)), text(&bundle)];
    if run("umoci", &arguments).is_none() {
        return;
    }
    assert_eq!(fs_err::read_to_string(bundle.join("hello")).unwrap(), "changed\n");
    assert_eq!(fs_err::read_to_string(bundle.join("hello-again")).unwrap(), "hello\n");
    assert!(!bundle.join("etc/old").exists() && bundle.join("etc/new").exists());
}
