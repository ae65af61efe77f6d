//! Mount points do not stay in the layer (spec G-61).

use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime};

use fs_err as fs;
use rbuild_executor::{BindMount, BindSource, Spec};

use crate::bed::{Bed, run, stdout};

fn with_everything(mut spec: Spec) -> Spec {
    spec.hosts = Some("hosts\n".to_owned());
    spec.resolv_conf = Some("resolv\n".to_owned());
    spec.env = Vec::new();
    let memory = BindSource::Tmpfs { size: None, mode: 0o755 };
    let file = BindSource::File { content: b"x".to_vec(), mode: 0o600, uid: 0, gid: 0 };
    spec.mounts = vec![
        BindMount { source: memory, target: "/var/cache/deep".into(), readonly: false },
        BindMount { source: file, target: "/var/cache/deep/secret".into(), readonly: true },
    ];
    spec
}

fn set_old(bed: &Bed, path: &str) -> i64 {
    let old = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    std::fs::File::from(
        rustix::fs::openat(rustix::fs::CWD, bed.path(path), rustix::fs::OFlags::RDONLY, rustix::fs::Mode::empty()).unwrap(),
    )
    .set_modified(old)
    .unwrap();
    1_000_000_000
}

fn mtime(bed: &Bed, path: &str) -> i64 {
    fs::metadata(bed.path(path)).unwrap().mtime()
}

#[test]
fn scratch_stays_scratch() {
    let bed = Bed::scratch();
    let old = set_old(&bed, "");
    stdout(with_everything(bed.spec(&["/busybox", "cat", "/etc/hosts", "/var/cache/deep/secret"])));
    assert_eq!(bed.listing(), ["busybox"]);
    assert_eq!(mtime(&bed, ""), old);
}

#[test]
fn a_command_that_cannot_start_leaves_nothing_either() {
    let bed = Bed::scratch();
    assert!(run(with_everything(bed.spec(&["/nothing"]))).is_err());
    let mut spec = with_everything(bed.spec(&["/busybox", "true"]));
    spec.user = "nobody".to_owned();
    assert!(run(spec).is_err());
    let mut spec = with_everything(bed.spec(&["/busybox", "true"]));
    spec.mounts.push(BindMount { source: BindSource::Path("/no/such".into()), target: "/x".into(), readonly: false });
    assert!(run(spec).is_err());
    let mut spec = with_everything(bed.spec(&["/busybox", "true"]));
    let memory = BindSource::Tmpfs { size: None, mode: 0o755 };
    spec.mounts.push(BindMount { source: memory, target: format!("/made/{}", "x".repeat(300)).into(), readonly: false });
    assert!(run(spec).is_err());
    assert_eq!(bed.listing(), ["busybox"]);
}

#[test]
fn what_the_command_made_stays() {
    let bed = Bed::scratch();
    let old = set_old(&bed, "");
    stdout(with_everything(bed.spec(&["/busybox", "touch", "/etc/mine"])));
    assert_eq!(bed.listing(), ["busybox", "etc", "etc/mine"]);
    // The directory was made by us, so the root is as it was; what is in it is the command's, so its time is too.
    assert_eq!(mtime(&bed, ""), old);
    assert_ne!(mtime(&bed, "etc"), old);
}

#[test]
fn what_was_there_stays() {
    let bed = Bed::new();
    fs::write(bed.path("etc/hosts"), "").unwrap();
    fs::create_dir_all(bed.path("var/cache")).unwrap();
    let before = bed.listing();
    let old = (set_old(&bed, "etc"), set_old(&bed, "var/cache"));
    stdout(with_everything(bed.spec(&["/bin/true"])));
    assert_eq!(bed.listing(), before);
    assert_eq!((mtime(&bed, "etc"), mtime(&bed, "var/cache")), old);
}

#[test]
fn a_command_cannot_make_us_remove_what_is_elsewhere() {
    let bed = Bed::new();
    fs::create_dir_all(bed.path("keep/deep")).unwrap();
    // The parent of a stub becomes a link to a directory with an empty entry of the same name.
    let mut spec = bed.shell("umask 0; mv /var /gone 2>/dev/null; rm -rf /var; busybox ln -s /keep /var");
    spec.mounts =
        vec![BindMount { source: BindSource::Tmpfs { size: None, mode: 0o755 }, target: "/var/deep".into(), readonly: false }];
    run(spec).unwrap();
    assert!(bed.path("keep/deep").is_dir());
}

#[test]
fn on_request_they_stay() {
    let bed = Bed::scratch();
    let mut spec = bed.spec(&["/busybox", "true"]);
    spec.clean_stubs = false;
    stdout(spec);
    assert_eq!(bed.listing(), ["busybox", "dev", "proc", "sys"]);
}
