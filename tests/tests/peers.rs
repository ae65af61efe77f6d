//! Independent programs read what rbuild writes, and rbuild reads what they write.

use std::path::Path;
use std::process::Command;

use rbuild_tests::{Outcome, Rbuild, context, is_root, needs, unpack_archive};

#[track_caller]
fn stdout(command: &mut Command) -> String {
    let outcome = Outcome::of(command.output().expect("the peer starts"));
    assert_eq!(outcome.code, 0, "{command:?}: {}", outcome.stderr);
    outcome.stdout
}

fn inspect(transport: &str, archive: &Path) -> serde_json::Value {
    let from = format!("{transport}:{}", archive.display());
    serde_json::from_str(&stdout(Command::new("skopeo").args(["inspect", &from]))).expect("JSON")
}

fn app() -> tempfile::TempDir {
    context(&[
        (
            "Dockerfile",
            "FROM busybox\nCOPY f /dir/f\nRUN rm /bin/vi && ln -s dir /link && chmod 4755 /dir/f\nENV A=b\nCMD [\"cat\", \"/dir/f\"]\n",
        ),
        ("f", "content"),
    ])
}

#[test]
fn skopeo_agrees_on_the_digests_of_archives() {
    if !needs("skopeo_agrees_on_the_digests_of_archives", &["skopeo"]) || !is_root("skopeo_agrees_on_the_digests_of_archives") {
        return;
    }
    let rbuild = Rbuild::new();
    let context = app();
    let metadata = rbuild.dir().join("metadata.json");
    let archive = rbuild.build_oci(context.path(), &["-t", "app:1", "--metadata-file", &metadata.to_string_lossy()]);
    let metadata: serde_json::Value = serde_json::from_slice(&fs_err::read(&metadata).expect("the file")).expect("JSON");
    let seen = inspect("oci-archive", &archive);
    assert_eq!(seen["Digest"], metadata["containerimage.digest"]);
    assert_eq!(seen["Env"].as_array().and_then(|env| env.last()), Some(&serde_json::json!("A=b")));
    assert_eq!(seen["Layers"].as_array().map(Vec::len), Some(3));
    rbuild.ok(&["build", "-t", "app:1", &context.path().to_string_lossy()]);
    let saved = rbuild.dir().join("saved.tar");
    rbuild.ok(&["save", "-o", &saved.to_string_lossy(), "app:1"]);
    let docker = inspect("docker-archive", &saved);
    assert_eq!(docker["Layers"].as_array().map(Vec::len), Some(3));
    let id = rbuild
        .ok(&["images", "--format", "json"])
        .lines()
        .find(|line| line.contains("\"app\""))
        .map(str::to_owned)
        .expect("the image");
    let id: serde_json::Value = serde_json::from_str(&id).expect("JSON");
    let config =
        stdout(Command::new("skopeo").args(["inspect", "--config", "--raw"]).arg(format!("docker-archive:{}", saved.display())));
    let digest = rbuild_oci::Digest::of(config.trim_end_matches('\n').as_bytes()).to_string();
    let short = id["ID"].as_str().expect("an id").trim_start_matches("sha256:").to_owned();
    assert!(digest.trim_start_matches("sha256:").starts_with(&short), "{digest} {short}");
}

#[test]
fn umoci_unpacks_the_same_tree_from_every_form() {
    let name = "umoci_unpacks_the_same_tree_from_every_form";
    if !needs(name, &["skopeo", "umoci"]) || !is_root(name) {
        return;
    }
    let rbuild = Rbuild::new();
    let context = app();
    let oci = unpack_archive("oci-archive", &rbuild.build_oci(context.path(), &["-t", "app"]), &[]);
    rbuild.ok(&["build", "-t", "app", &context.path().to_string_lossy()]);
    let saved = rbuild.dir().join("saved.tar");
    rbuild.ok(&["save", "-o", &saved.to_string_lossy(), "app"]);
    assert_eq!(unpack_archive("docker-archive", &saved, &[]), oci);
    assert_eq!(unpack_archive("oci-archive", &saved, &[]), oci);
    let local = rbuild_tests::tree_of(&rbuild.build_local(context.path(), &[]), &[]);
    assert_eq!(local, oci);
    assert_eq!((oci["dir/f"].mode, oci["link"].content.as_str(), oci.contains_key("bin/vi")), (0o4755, "dir", false));
}

#[test]
fn rbuild_loads_what_skopeo_and_buildah_write() {
    let name = "rbuild_loads_what_skopeo_and_buildah_write";
    if !needs(name, &["skopeo", "buildah", "runc"]) || !is_root(name) {
        return;
    }
    let rbuild = Rbuild::new();
    let context = app();
    let archive = rbuild.build_oci(context.path(), &["-t", "app"]);
    let dir = rbuild.dir();
    for (kind, extra) in [("docker-archive", ":app:copied"), ("oci-archive", ":app:copied"), ("oci", ":app")] {
        let to = dir.join(kind);
        stdout(
            Command::new("skopeo")
                .args(["--insecure-policy", "copy", "--quiet"])
                .arg(format!("oci-archive:{}", archive.display()))
                .arg(format!("{kind}:{}{extra}", to.display())),
        );
        let other = Rbuild::empty();
        other.ok(&["load", "-i", &to.to_string_lossy()]);
        let id = other.ok(&["images", "-q"]);
        assert_eq!(other.ok(&["run", "--rm", id.lines().next().expect("an image")]), "content", "{kind}");
    }
    let buildah = rbuild_tests::Buildah::new();
    let theirs = dir.join("buildah.tar");
    buildah.build_oci(context.path(), &theirs, &[]);
    let other = Rbuild::empty();
    other.ok(&["load", "-i", &theirs.to_string_lossy()]);
    let id = other.ok(&["images", "-q"]);
    assert_eq!(other.ok(&["run", "--rm", id.lines().next().expect("an image")]), "content");
    let pulled = buildah.command(&["pull", &format!("oci-archive:{}", archive.display())]).output().expect("buildah");
    assert!(pulled.status.success(), "buildah loads rbuild's archive: {}", String::from_utf8_lossy(&pulled.stderr));
}
