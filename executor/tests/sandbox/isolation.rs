//! Namespaces, /proc, /sys, /dev.

use fs_err as fs;
use rbuild_executor::{BindMount, BindSource, Network, Spec};
use rbuild_fs::MountSource;

use crate::bed::{Bed, run, stdout};

#[test]
fn namespaces_are_new() {
    let bed = Bed::new();
    let spaces = ["mnt", "pid", "ipc", "uts", "cgroup", "net"];
    let paths: Vec<String> = spaces.iter().map(|name| format!("/proc/self/ns/{name}")).collect();
    let script = format!("for p in {}; do readlink $p; done", paths.join(" "));
    let inside = |network: Network| {
        let mut spec = bed.shell(&script);
        spec.network = network;
        stdout(spec)
    };
    let outside: Vec<String> = paths.iter().map(|path| fs::read_link(path).unwrap().to_str().unwrap().to_owned()).collect();
    let isolated = inside(Network::None);
    for (name, outer) in spaces.iter().zip(&outside) {
        assert!(!isolated.contains(outer.as_str()), "{name}");
    }
    let shared = inside(Network::Host);
    assert_eq!(shared.lines().last(), Some(outside[5].as_str()));
}

#[test]
fn the_command_is_pid_1_of_a_fresh_proc() {
    let bed = Bed::new();
    assert_eq!(stdout(bed.shell("echo $$; cat /proc/1/comm; echo /proc/[0-9]*")), "1\nsh\n/proc/1\n");
}

#[test]
fn hostname_and_working_directory() {
    let bed = Bed::new();
    let mut spec = bed.shell("hostname; pwd; stat -c '%u:%g %a' . ..");
    spec.hostname = "buildkitsandbox".to_owned();
    spec.cwd = "/made/below".to_owned();
    spec.user = "app".to_owned();
    assert_eq!(stdout(spec), "buildkitsandbox\n/made/below\n1000:1001 755\n1000:1001 755\n");
    assert!(bed.path("made/below").is_dir());
    let mut spec = bed.spec(&["pwd"]);
    spec.cwd = "/bin/busybox".to_owned();
    assert_eq!(run(spec).err().unwrap().to_string(), "sandbox could not create the working directory `/bin/busybox`");
}

#[test]
fn without_network_there_is_loopback() {
    let bed = Bed::new();
    let links = stdout(bed.spec(&["ip", "-o", "link"]));
    assert_eq!(links.lines().count(), 1, "{links}");
    assert!(links.contains("lo: <LOOPBACK,UP,LOWER_UP>"), "{links}");
    assert!(stdout(bed.spec(&["ip", "-o", "addr"])).contains("127.0.0.1/8"));
}

#[test]
fn paths_are_masked_and_read_only() {
    let bed = Bed::new();
    for path in ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/interrupts", "/proc/latency_stats", "/proc/sched_debug"]
    {
        assert_eq!(stdout(bed.shell(&format!("[ ! -e {path} ] || cat {path}"))), "", "{path}");
    }
    assert_eq!(stdout(bed.spec(&["ls", "/sys/firmware"])), "");
    for path in ["/proc/sys/kernel/hostname", "/proc/sysrq-trigger", "/sys/kernel/uevent_helper"] {
        let outcome = run(bed.shell(&format!("[ ! -e {path} ] || echo x > {path}"))).unwrap();
        let refused = outcome.stderr.contains("Read-only file system");
        assert!(refused || outcome.stderr.is_empty(), "{path}: {}", outcome.stderr);
    }
    assert!(run(bed.shell("echo x > /proc/sys/kernel/hostname")).unwrap().stderr.contains("Read-only file system"));
    assert!(run(bed.shell("mkdir /sys/fs/cgroup/x")).unwrap().stderr.contains("Read-only file system"));
    let mut privileged = bed.shell("echo changed > /proc/sys/kernel/hostname; hostname");
    privileged.privileged = true;
    assert_eq!(stdout(privileged), "changed\n");
}

#[test]
fn devices() {
    let bed = Bed::new();
    let script = "cd /dev; for d in null zero full random urandom tty; do stat -c '%n %t:%T %a' $d; done";
    let expected = "null 1:3 666\nzero 1:5 666\nfull 1:7 666\nrandom 1:8 666\nurandom 1:9 666\ntty 5:0 666\n";
    assert_eq!(stdout(bed.shell(script)), expected);
    assert_eq!(
        stdout(bed.shell("ls /dev")).split_whitespace().collect::<Vec<_>>().join(" "),
        "core fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero"
    );
    assert_eq!(
        stdout(bed.shell("readlink /dev/fd; readlink /dev/ptmx; stat -c %a /dev/shm; ls /dev/pts")),
        "/proc/self/fd\npts/ptmx\n1777\nptmx\n"
    );
    assert_eq!(stdout(bed.shell("head -c 2 /dev/urandom > /dev/null && echo x > /dev/null")), "");
    let mut privileged = bed.shell("ls /dev");
    privileged.privileged = true;
    assert!(stdout(privileged).contains("kmsg"));
}

#[test]
fn a_device_that_the_command_makes_is_dead() {
    let bed = Bed::new();
    fs::create_dir(bed.outside("shared")).unwrap();
    let made = |script: &str, privileged: bool| {
        let mut spec = bed.shell(script);
        let source = BindSource::Path(bed.outside("shared"));
        spec.mounts = vec![BindMount { source, target: "/shared".into(), readonly: false }];
        spec.privileged = privileged;
        run(spec).unwrap()
    };
    for path in ["/made", "/dev/made", "/shared/made"] {
        let script = format!("mknod {path} c 1 3 && stat -c %t:%T {path} && echo x > {path}; rm {path}");
        let outcome = made(&script, false);
        assert_eq!(outcome.stdout, "1:3\n", "{path}: {}", outcome.stderr);
        assert!(outcome.stderr.contains("Permission denied"), "{path}: {}", outcome.stderr);
        let privileged = made(&script, true);
        assert_eq!((privileged.stdout.as_str(), privileged.stderr.as_str()), ("1:3\n", ""), "{path}");
    }
    let given = "for d in null zero full random urandom; do head -c 1 /dev/$d > /dev/null || echo $d; done";
    assert_eq!(stdout(bed.shell(given)), "");
}

#[test]
fn a_device_that_is_mounted_by_itself_can_be_used() {
    let bed = Bed::new();
    let mut spec = bed.shell("echo x > /given && stat -c %t:%T /given");
    spec.mounts = vec![BindMount { source: BindSource::Path("/dev/null".into()), target: "/given".into(), readonly: false }];
    assert_eq!(stdout(spec), "1:3\n");
}

#[test]
fn shared_memory_has_the_size_asked_for() {
    let bed = Bed::new();
    let size = |bytes: u64| {
        let mut spec = bed.shell("df -k /dev/shm");
        spec.shm_size = bytes;
        stdout(spec).split_whitespace().find(|word| word.parse::<u64>().is_ok()).map(str::to_owned)
    };
    assert_eq!(size(0).as_deref(), Some("65536"));
    assert_eq!(size(1 << 20).as_deref(), Some("1024"));
}

#[test]
fn cgroups_show_the_sandbox_as_their_root() {
    let bed = Bed::new();
    let cgroups = stdout(bed.spec(&["cat", "/proc/self/cgroup"]));
    assert!(!cgroups.is_empty() && cgroups.lines().all(|line| line.ends_with(":/")), "{cgroups}");
    let mounts = stdout(bed.spec(&["mount"]));
    assert!(mounts.contains("/sys/fs/cgroup") && mounts.contains("proc on /proc type proc"), "{mounts}");
}

#[test]
fn hosts_mounts_are_not_visible() {
    let bed = Bed::new();
    let mounts = stdout(bed.spec(&["cat", "/proc/self/mountinfo"]));
    for line in mounts.lines() {
        let point = line.split(' ').nth(4).unwrap();
        let known = point == "/" || ["/proc", "/sys", "/dev"].iter().any(|parent| point.starts_with(parent));
        assert!(known && !line.contains("shared:") && !line.contains("master:"), "{line}");
    }
    assert_eq!(mounts.lines().filter(|line| line.split(' ').nth(4) == Some("/")).count(), 1, "{mounts}");
}

#[test]
fn a_hostile_root_stays_in_its_root() {
    let bed = Bed::new();
    let outside = bed.outside("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("hosts"), "untouched").unwrap();
    for directory in ["proc", "sys", "dev"] {
        fs::remove_dir(bed.path(directory)).unwrap();
    }
    let link = |target: &str, path: &str| std::os::unix::fs::symlink(target, bed.path(path)).unwrap();
    link("../../../../../../tmp/elsewhere", "proc");
    link(outside.to_str().unwrap(), "sys");
    link("../outside", "dev");
    link("../../outside/hosts", "etc/hosts");
    link("/run/deep/../resolv.conf", "etc/resolv.conf");
    let before = bed.listing();
    let mut spec: Spec = bed.shell("cat /tmp/elsewhere/1/comm; cat /etc/hosts /etc/resolv.conf; stat -c %t:%T /outside/null");
    spec.hosts = Some("hosts\n".to_owned());
    spec.resolv_conf = Some("resolv\n".to_owned());
    assert_eq!(stdout(spec), "sh\nhosts\nresolv\n1:3\n");
    assert_eq!(fs::read_to_string(outside.join("hosts")).unwrap(), "untouched");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
    assert_eq!(bed.listing(), before);
}

#[track_caller]
fn check_overlay(userxattr: bool) {
    let bed = Bed::new();
    let base = bed.outside("overlay");
    for directory in ["upper", "work"] {
        fs::create_dir_all(base.join(directory)).unwrap();
    }
    let mut spec = bed.shell("echo written > /file; cat /proc/self/mountinfo | head -n 1");
    spec.root = MountSource::Overlay {
        base: base.clone(),
        lower: vec!["../root".to_owned()],
        upper: Some("upper".to_owned()),
        work: Some("work".to_owned()),
        userxattr,
    };
    assert!(stdout(spec).contains(" overlay "));
    assert_eq!(fs::read_to_string(base.join("upper/file")).unwrap(), "written\n");
    assert!(!bed.path("file").exists());
}

#[test]
fn overlays_from_short_paths() {
    check_overlay(false);
    check_overlay(true);
}
