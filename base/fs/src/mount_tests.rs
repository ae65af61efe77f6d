//! Tests of detached mounts. They need CAP_SYS_ADMIN.

use fs_err as fs;

use super::*;
use crate::{Root, place};

fn open(path: &Path) -> OwnedFd {
    Root::open(path).unwrap().open_path(Path::new(""), true).unwrap()
}

fn read(root: &Root, path: &str) -> Option<Vec<u8>> {
    root.read(Path::new(path), 100).unwrap()
}

#[test]
fn overlays_by_descriptors() {
    for userxattr in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        for name in ["low", "high", "upper", "work"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        fs::write(dir.path().join("low/both"), "low").unwrap();
        fs::write(dir.path().join("low/only"), "low").unwrap();
        fs::write(dir.path().join("high/both"), "high").unwrap();
        let [low, high, upper, work] = ["low", "high", "upper", "work"].map(|name| open(&dir.path().join(name)));
        let lower = [high.as_fd(), low.as_fd()];
        let view = Overlay { lower: &lower, upper: None, userxattr, flags: MountFlags::VIEW };
        let view = Root::from_fd(overlay(&view).unwrap());
        assert_eq!(read(&view, "both").unwrap(), b"high");
        assert_eq!(read(&view, "/only").unwrap(), b"low");
        let readonly = place::make_dir(view.fd(), "x".as_ref()).unwrap_err();
        assert_eq!(readonly.raw_os_error(), Some(libc::EROFS));

        let upper_and_work = Some((upper.as_fd(), work.as_fd()));
        let writable = Overlay { lower: &lower, upper: upper_and_work, userxattr, flags: MountFlags::default() };
        let writable = Root::from_fd(overlay(&writable).unwrap());
        drop(place::create_file(writable.fd(), "new".as_ref()).unwrap());
        place::unlink(writable.fd(), "only".as_ref()).unwrap();
        assert!(dir.path().join("upper/new").exists());
        assert_eq!(crate::Stat::at(upper.as_fd(), "only").unwrap().kind, crate::Kind::CharDevice);
        assert_eq!(read(&view, "only").unwrap(), b"low");
        assert_eq!(writable.read_dir(Path::new("")).unwrap().len(), 2);
    }
}

#[test]
fn one_lower_alone_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let low = open(dir.path());
    let recipe = Overlay { lower: &[low.as_fd()], upper: None, userxattr: false, flags: MountFlags::VIEW };
    assert_eq!(overlay(&recipe).unwrap_err().raw_os_error(), Some(libc::EINVAL));
}

#[test]
fn stacks_hundreds() {
    let dir = tempfile::tempdir().unwrap();
    let layers: Vec<OwnedFd> = (0..500)
        .map(|number| {
            let layer = dir.path().join(number.to_string());
            fs::create_dir(&layer).unwrap();
            fs::write(layer.join(number.to_string()), "").unwrap();
            open(&layer)
        })
        .collect();
    let lower: Vec<_> = layers.iter().map(AsFd::as_fd).collect();
    let recipe = Overlay { lower: &lower, upper: None, userxattr: false, flags: MountFlags::VIEW };
    let root = Root::from_fd(overlay(&recipe).unwrap());
    assert_eq!(root.read_dir(Path::new("")).unwrap().len(), 500);
}

#[test]
fn clones_with_flags() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("sub")).unwrap();
    let from_path = open_tree_clone(dir.path(), false).unwrap();
    let from_fd = open_tree_clone_fd(open(&dir.path().join("sub")).as_fd(), true).unwrap();
    for mount in [from_path, from_fd] {
        place::make_dir(&mount, "before".as_ref()).unwrap();
        set_private(mount.as_fd(), true).unwrap();
        set_readonly(mount.as_fd(), true).unwrap();
        let error = place::make_dir(&mount, "after".as_ref()).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EROFS));
    }
    let nodev = open_tree_clone(dir.path(), false).unwrap();
    place::make_node(&nodev, "null".as_ref(), crate::Kind::CharDevice, rustix::fs::makedev(1, 3)).unwrap();
    drop(place::open_file(&nodev, "null".as_ref()).unwrap());
    set_flags(nodev.as_fd(), MountFlags { nodev: true, ..MountFlags::default() }, false).unwrap();
    assert_eq!(place::open_file(&nodev, "null".as_ref()).unwrap_err().raw_os_error(), Some(libc::EACCES));
}

#[test]
fn attaches_in_a_namespace_of_its_own() {
    use rustix::mount::{MountPropagationFlags, mount_change};
    use rustix::thread::UnshareFlags;
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("point")).unwrap();
    fs::create_dir(dir.path().join("tree")).unwrap();
    fs::write(dir.path().join("tree/file"), "content").unwrap();
    let mount = open_tree_clone(&dir.path().join("tree"), false).unwrap();
    // The namespace is the thread's, and ends with it.
    let run = || {
        crate::sys::tests::unshare(UnshareFlags::NEWNS | UnshareFlags::FS);
        mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).unwrap();
        attach(mount.as_fd(), open(&dir.path().join("point")).as_fd()).unwrap();
        fs::read(dir.path().join("point/file")).unwrap()
    };
    std::thread::scope(|scope| assert_eq!(scope.spawn(run).join().unwrap(), b"content"));
    assert!(!dir.path().join("point/file").exists());
}

#[test]
fn layers_by_proc_as_before_linux_6_13() {
    let dir = tempfile::tempdir().unwrap();
    let overlay = fsopen(c"overlay", FsOpenFlags::FSOPEN_CLOEXEC).unwrap();
    for name in ["a", "b"] {
        fs::create_dir_all(dir.path().join(name).join(name)).unwrap();
        set_layer_by_proc(overlay.as_fd(), c"lowerdir+", open(&dir.path().join(name)).as_fd()).unwrap();
    }
    fsconfig_create(&overlay).unwrap();
    let mount = fsmount(&overlay, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty()).unwrap();
    assert_eq!(Root::from_fd(mount).read_dir(Path::new("")).unwrap().len(), 2);
}
