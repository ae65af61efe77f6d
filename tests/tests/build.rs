//! `rbuild build`, end to end: stages, cache, contexts, outputs.

use std::io::Write;
use std::path::Path;
use std::process::Stdio;

use rbuild_tests::{Outcome, Rbuild, context, is_root};

const UUID: &str = "cat /proc/sys/kernel/random/uuid";

fn read(dir: &Path, path: &str) -> String {
    fs_err::read_to_string(dir.join(path)).expect("a file of the image")
}

#[test]
fn stages_are_built_and_copied_from() {
    if !is_root("stages_are_built_and_copied_from") {
        return;
    }
    let rbuild = Rbuild::new();
    let context = context(&[(
        "Dockerfile",
        "FROM busybox AS a\nARG WHO=nobody\nRUN echo hello $WHO >/greeting\nFROM a AS unused\nRUN false\nFROM scratch\nCOPY --from=a /greeting /g\nCOPY --from=0 /etc/passwd /p\n",
    )]);
    let out = rbuild.build_local(context.path(), &["--build-arg", "WHO=world"]);
    assert_eq!(read(&out, "g"), "hello world\n");
    assert!(read(&out, "p").starts_with("root:"));
    let failed = rbuild.run(&["build", "--target", "unused", &context.path().to_string_lossy()]);
    assert_eq!(failed.code, 4, "{}", failed.stderr);
    assert!(failed.stderr.contains("did not complete successfully: exit code: 1"), "{}", failed.stderr);
}

#[test]
fn unchanged_steps_hit_and_changed_ones_do_not() {
    if !is_root("unchanged_steps_hit_and_changed_ones_do_not") {
        return;
    }
    let rbuild = Rbuild::new();
    let dockerfile = format!("FROM busybox\nCOPY a /a\nRUN {UUID} >/first\nCOPY b /b\nRUN {UUID} >/second\n");
    let context = context(&[("Dockerfile", &dockerfile), ("a", "1"), ("b", "1")]);
    let build = |args: &[&str]| {
        let out = rbuild.build_local(context.path(), args);
        (read(&out, "first"), read(&out, "second"))
    };
    let cold = build(&[]);
    assert_eq!(build(&[]), cold, "nothing changed");
    fs_err::write(context.path().join("b"), "2").expect("write");
    let later = build(&[]);
    assert_eq!(later.0, cold.0);
    assert_ne!(later.1, cold.1, "a step after the changed file runs");
    fs_err::write(context.path().join("b"), "1").expect("write");
    assert_eq!(build(&[]), cold, "the old content hits again");
    let fresh = build(&["--no-cache"]);
    assert_ne!(fresh.0, cold.0);
    assert_eq!(build(&[]), fresh, "the newest result is taken");
}

#[test]
fn a_copy_hits_by_content_although_its_stage_ran_again() {
    if !is_root("a_copy_hits_by_content_although_its_stage_ran_again") {
        return;
    }
    let rbuild = Rbuild::new();
    let dockerfile = format!(
        "FROM busybox AS build\nRUN {UUID} >/noise; echo same >/out\nFROM busybox\nCOPY --from=build /out /out\nRUN {UUID} >/id\n"
    );
    let context = context(&[("Dockerfile", &dockerfile)]);
    let id = |args: &[&str]| read(&rbuild.build_local(context.path(), args), "id");
    let cold = id(&[]);
    assert_eq!(id(&["--no-cache-filter", "build"]), cold);
}

#[test]
fn the_context_may_be_a_tar_or_a_bare_dockerfile_on_standard_input() {
    let rbuild = Rbuild::new();
    let context = context(&[("Dockerfile", "FROM scratch\nCOPY f /f\n"), ("f", "content")]);
    let tar = std::process::Command::new("tar").args(["-czf", "-", "-C"]).arg(context.path()).arg(".").output().expect("tar");
    let with_input = |args: &[&str], input: &[u8]| {
        let mut child =
            rbuild.command(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("rbuild");
        child.stdin.take().expect("stdin").write_all(input).expect("input is read");
        Outcome::of(child.wait_with_output().expect("rbuild ends"))
    };
    let out = rbuild.dir().join("out");
    let output = format!("type=local,dest={}", out.display());
    let outcome = with_input(&["build", "-o", &output, "-"], &tar.stdout);
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    assert_eq!(read(&out, "f"), "content");
    let outcome = with_input(&["build", "-o", &output, "-"], b"FROM scratch\nWORKDIR /made\n");
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    assert!(out.join("made").is_dir());
    let path = context.path().to_string_lossy().into_owned();
    let outcome = with_input(&["build", "-f", "-", "-o", &output, &path], b"FROM scratch\nCOPY f /g\n");
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    assert_eq!(read(&out, "g"), "content");
}

#[test]
fn ignored_files_are_not_copied_and_named_contexts_are() {
    let rbuild = Rbuild::new();
    let main = context(&[
        ("Dockerfile", "FROM scratch\nCOPY . /main\nCOPY --from=extra . /extra\n"),
        (".dockerignore", "*.log\ndir\n!dir/keep\n"),
        ("a.log", "x"),
        ("b", "x"),
        ("dir/drop", "x"),
        ("dir/keep", "x"),
    ]);
    let extra = context(&[("e", "x"), ("secret", "x"), (".dockerignore", "secret")]);
    let named = format!("extra={}", extra.path().display());
    let out = rbuild.build_local(main.path(), &["--build-context", &named]);
    for (path, there) in [
        ("main/a.log", false),
        ("main/b", true),
        ("main/dir/drop", false),
        ("main/dir/keep", true),
        ("extra/e", true),
        ("extra/secret", false),
    ] {
        assert_eq!(out.join(path).exists(), there, "{path}");
    }
}

#[test]
fn every_output_has_the_same_files() {
    let rbuild = Rbuild::new();
    let context = context(&[("Dockerfile", "FROM scratch\nCOPY f /dir/f\n"), ("f", "content")]);
    let path = context.path().to_string_lossy().into_owned();
    let dir = rbuild.dir();
    for (kind, list) in [("tar", "dir/f"), ("oci", "oci-layout"), ("docker", "manifest.json")] {
        let archive = dir.join(format!("{kind}.tar"));
        rbuild.ok(&["build", "-t", "x", "-o", &format!("type={kind},dest={}", archive.display()), &path]);
        let names = std::process::Command::new("tar").arg("-tf").arg(&archive).output().expect("tar");
        let names = String::from_utf8_lossy(&names.stdout).into_owned();
        assert!(names.lines().any(|name| name == list), "{kind}: {names}");
    }
    let layout = dir.join("layout");
    rbuild.ok(&["build", "-t", "x", "-o", &format!("type=oci,tar=false,dest={}", layout.display()), &path]);
    let from = format!("base=oci-layout://{}", layout.display());
    fs_err::write(context.path().join("again"), "FROM base\nCOPY f /g\n").expect("write");
    let again = context.path().join("again").to_string_lossy().into_owned();
    let out = rbuild.build_local(context.path(), &["-f", &again, "--build-context", &from]);
    assert_eq!(read(&out, "dir/f") + &read(&out, "g"), "contentcontent");
}

#[test]
fn metadata_and_image_id_are_written() {
    let rbuild = Rbuild::new();
    let context = context(&[("Dockerfile", "FROM scratch\nLABEL a=b\nWORKDIR /w\n")]);
    let (id, metadata) = (rbuild.dir().join("id"), rbuild.dir().join("metadata.json"));
    let words = ["--iidfile", &id.to_string_lossy(), "--metadata-file", &metadata.to_string_lossy()].map(str::to_owned);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let archive = rbuild.build_oci(context.path(), &[&["-t", "some/name:1", "--label", "c=d"], words.as_slice()].concat());
    let metadata: serde_json::Value = serde_json::from_slice(&fs_err::read(&metadata).expect("the file")).expect("JSON");
    let id = fs_err::read_to_string(&id).expect("the file");
    assert_eq!(metadata["containerimage.config.digest"], id.trim());
    assert_eq!(metadata["image.name"], "docker.io/some/name:1");
    let index = std::process::Command::new("tar").arg("-xOf").arg(&archive).arg("index.json").output().expect("tar");
    let index: serde_json::Value = serde_json::from_slice(&index.stdout).expect("JSON");
    assert_eq!(index["manifests"][0]["digest"], metadata["containerimage.digest"]);
    assert_eq!(index["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"], "1");
}

#[test]
fn the_network_can_be_none() {
    if !is_root("the_network_can_be_none") {
        return;
    }
    let rbuild = Rbuild::new();
    let context =
        context(&[("Dockerfile", "FROM busybox\nRUN --network=none ls /sys/class/net >/net\nRUN hostname >/name; id -u >/id\n")]);
    let out = rbuild.build_local(context.path(), &[]);
    assert_eq!(read(&out, "net"), "lo\n");
    assert_eq!(read(&out, "name"), "buildkitsandbox\n");
    assert_eq!(read(&out, "id"), "0\n");
}

#[test]
fn what_is_added_from_a_url_keeps_the_servers_time() {
    let rbuild = Rbuild::new();
    let address = serve(b"the file".to_vec());
    let context = context(&[("Dockerfile", &format!("FROM scratch\nADD http://{address}/dir/name.bin /d/\n"))]);
    let out = rbuild.build_local(context.path(), &[]);
    assert_eq!(read(&out, "d/name.bin"), "the file");
    let meta = fs_err::metadata(out.join("d/name.bin")).expect("the file");
    use std::os::unix::fs::MetadataExt;
    assert_eq!((meta.mode() & 0o7777, meta.mtime()), (0o600, 784_111_777));
}

/// A web server on loopback that answers every request with the same file.
fn serve(body: Vec<u8>) -> std::net::SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut request = [0; 4096];
            let read = std::io::Read::read(&mut stream, &mut request).unwrap_or(0);
            if read == 0 {
                continue;
            }
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\nConnection: close\r\n\r\n",
                body.len()
            );
            let body: &[u8] = if request.starts_with(b"HEAD") { b"" } else { &body };
            if stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body)).is_err() {
                return;
            }
        }
    });
    address
}
