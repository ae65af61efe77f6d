//! What callers mount.

use fs_err as fs;
use rbuild_executor::{BindMount, BindSource, ExecutorError};
use rbuild_fs::MountSource;

use crate::bed::{Bed, clone_of, run, stdout};

fn mount(source: BindSource, target: &str, readonly: bool) -> BindMount {
    BindMount { source, target: target.into(), readonly }
}

#[test]
fn host_paths() {
    let bed = Bed::new();
    let shared = bed.outside("shared");
    fs::create_dir(&shared).unwrap();
    fs::write(shared.join("file"), "content\n").unwrap();
    let mut spec = bed.shell("cat /a/file; touch /a/new; touch /b/new; cat /one");
    spec.mounts = vec![
        mount(BindSource::Path(shared.clone()), "/a", false),
        mount(BindSource::Path(shared.clone()), "b", true),
        mount(BindSource::Path(shared.join("file")), "/one", true),
    ];
    let outcome = run(spec).unwrap();
    assert_eq!(outcome.stdout, "content\ncontent\n");
    assert!(outcome.stderr.contains("/b/new: Read-only file system"), "{}", outcome.stderr);
    assert!(shared.join("new").exists());

    let missing = |path: &str| {
        let mut spec = bed.spec(&["true"]);
        spec.mounts = vec![mount(BindSource::Path(path.into()), "/a", false)];
        run(spec).err().unwrap().to_string()
    };
    assert_eq!(missing("/no/such/path"), "sandbox could not mount the host path `/no/such/path`");
    assert_eq!(missing("relative"), "sandbox could not mount the host path `relative`");
}

#[test]
fn prepared_mounts_memory_and_files() {
    let bed = Bed::new();
    fs::create_dir(bed.outside("prepared")).unwrap();
    fs::write(bed.outside("prepared").join("file"), "prepared\n").unwrap();
    let mut spec =
        bed.shell("cat /p/file /deep/secret; stat -c '%a %u:%g' /deep/secret /memory; df -k /memory; cat /proc/mounts");
    spec.mounts = vec![
        mount(BindSource::Mount(MountSource::Detached(clone_of(&bed.outside("prepared")))), "/p", true),
        mount(BindSource::Tmpfs { size: Some(1 << 20), mode: 0o700 }, "/memory", false),
        mount(BindSource::File { content: b"first\n".to_vec(), mode: 0o400, uid: 1, gid: 2 }, "/deep/secret", true),
        mount(BindSource::File { content: b"second\n".to_vec(), mode: 0o400, uid: 0, gid: 0 }, "/other", false),
    ];
    let out = stdout(spec);
    assert!(out.starts_with("prepared\nfirst\n400 1:2\n700 0:0\n"), "{out}");
    assert!(out.contains(" 1024 "), "{out}");
    assert!(out.contains("nosuid,nodev,noexec"), "{out}");
}

#[test]
fn a_read_only_root() {
    let bed = Bed::new();
    let mut spec = bed.shell("touch /file; touch /dev/shm/x /writable/x && ls /writable");
    spec.readonly_root = true;
    spec.mounts = vec![mount(BindSource::Tmpfs { size: None, mode: 0o1777 }, "/writable", false)];
    let outcome = run(spec).unwrap();
    assert!(outcome.stderr.contains("/file: Read-only file system"), "{}", outcome.stderr);
    assert_eq!(outcome.stdout, "x\n");
}

#[test]
fn hosts_and_resolv_conf() {
    let bed = Bed::new();
    fs::write(bed.path("etc/hosts"), "original").unwrap();
    let mut spec = bed.shell("cat /etc/hosts /etc/resolv.conf; echo x >> /etc/hosts");
    spec.hosts = Some("127.0.0.1 localhost\n".to_owned());
    spec.resolv_conf = Some("nameserver 8.8.8.8\n".to_owned());
    let outcome = run(spec).unwrap();
    assert_eq!(outcome.stdout, "127.0.0.1 localhost\nnameserver 8.8.8.8\n");
    assert!(outcome.stderr.contains("Read-only file system"));
    assert_eq!(fs::read_to_string(bed.path("etc/hosts")).unwrap(), "original");
    assert!(!bed.path("etc/resolv.conf").exists());
}

#[test]
fn hosts_survive_a_mount_on_their_directory() {
    let bed = Bed::new();
    fs::create_dir(bed.outside("etc")).unwrap();
    let mut spec = bed.spec(&["cat", "/etc/hosts"]);
    spec.hosts = Some("seen\n".to_owned());
    spec.mounts = vec![mount(BindSource::Path(bed.outside("etc")), "/etc", false)];
    assert_eq!(stdout(spec), "seen\n");
}

#[test]
fn a_directory_does_not_fit_on_a_file() {
    let bed = Bed::new();
    let refused = |target: &str, directory: bool| {
        let mut spec = bed.spec(&["true"]);
        let file = BindSource::File { content: Vec::new(), mode: 0o644, uid: 0, gid: 0 };
        spec.mounts = vec![mount(if directory { BindSource::Tmpfs { size: None, mode: 0o755 } } else { file }, target, false)];
        matches!(run(spec), Err(ExecutorError::Setup { .. }))
    };
    assert!(refused("/bin/busybox", true));
    assert!(refused("/bin", false));
    assert!(refused("/bin/busybox/below", true));
}

#[test]
fn many_mounts() {
    let bed = Bed::new();
    let mut spec = bed.shell("cat /m/*/file");
    fs::create_dir(bed.outside("one")).unwrap();
    fs::write(bed.outside("one").join("file"), "x\n").unwrap();
    spec.mounts = (0..300)
        .map(|number| {
            mount(BindSource::Mount(MountSource::Detached(clone_of(&bed.outside("one")))), &format!("/m/{number}"), true)
        })
        .collect();
    assert_eq!(stdout(spec), "x\n".repeat(300));
    assert!(!bed.path("m").exists());
}
