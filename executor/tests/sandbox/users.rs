//! Users, groups, capabilities, limits.

use fs_err as fs;
use rbuild_executor::{ExecutorError, Spec};

use crate::bed::{Bed, run, stdout};

fn as_user(mut spec: Spec, user: &str) -> Spec {
    spec.user = user.to_owned();
    spec
}

#[track_caller]
fn check(user: &str, expected: &str) {
    let bed = Bed::new();
    assert_eq!(stdout(as_user(bed.shell("echo $(id -u):$(id -g) $HOME"), user)).trim_end(), expected, "{user}");
}

#[test]
fn ids_and_home() {
    check("", "0:0 /root");
    check("app", "1000:1001 /home/app");
    check("app:audio", "1000:29 /home/app");
    check("1000", "1000:1001 /home/app");
    check("1234", "1234:0 /");
    check("1234:5678", "1234:5678 /");
}

#[test]
fn supplementary_groups() {
    let bed = Bed::new();
    let groups = |user: &str| {
        let status = stdout(as_user(bed.spec(&["cat", "/proc/self/status"]), user));
        status.lines().find_map(|line| line.strip_prefix("Groups:")).unwrap().trim().to_owned()
    };
    assert_eq!(groups("app"), "10 29 1001");
    assert_eq!(groups("app:audio"), "29");
    assert_eq!(groups("1234:5678"), "5678");
    assert_eq!(groups(""), "0 29");
}

#[test]
fn unknown_users() {
    let bed = Bed::new();
    let message = |user: &str| run(as_user(bed.spec(&["true"]), user)).err().unwrap().to_string();
    assert_eq!(message("nobody"), "unable to find user nobody: no matching entries in passwd file");
    assert_eq!(message("app:none"), "unable to find group none: no matching entries in group file");
}

#[test]
fn hostile_passwd_files() {
    let bed = Bed::new();
    fs::remove_file(bed.path("etc/passwd")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        bed.path("etc/passwd"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o644),
        0,
    )
    .unwrap();
    assert!(matches!(run(as_user(bed.spec(&["true"]), "app")), Err(ExecutorError::Setup { .. })));
    fs::remove_file(bed.path("etc/passwd")).unwrap();
    fs::write(bed.path("etc/passwd"), vec![b'a'; (10 << 20) + 1]).unwrap();
    assert!(matches!(run(as_user(bed.spec(&["true"]), "app")), Err(ExecutorError::Setup { .. })));
    fs::remove_file(bed.path("etc/passwd")).unwrap();
    fs::write(bed.outside("passwd"), "spy:x:7:7::/:\n").unwrap();
    std::os::unix::fs::symlink("../../passwd", bed.path("etc/passwd")).unwrap();
    assert!(matches!(run(as_user(bed.spec(&["true"]), "spy")), Err(ExecutorError::UnknownUser(_))));
}

#[test]
fn capabilities() {
    let bed = Bed::new();
    let of = |spec: Spec| {
        let status = stdout(spec);
        let set = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
        ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:", "NoNewPrivs:"].map(set)
    };
    let (none, docker) = ("0000000000000000", "00000000a80425fb");
    let read = ["cat", "/proc/self/status"];
    assert_eq!(of(bed.spec(&read)), [none, docker, docker, docker, none, "0"]);
    assert_eq!(of(as_user(bed.spec(&read), "app")), [none, none, none, docker, none, "0"]);
    let mut privileged = bed.spec(&read);
    privileged.privileged = true;
    let own = fs::read_to_string("/proc/self/status").unwrap();
    let own = own.lines().find_map(|line| line.strip_prefix("CapBnd:")).unwrap().trim();
    assert_eq!(of(privileged), [none, own, own, own, none, "0"]);
}

#[test]
fn limits() {
    let bed = Bed::new();
    let mut spec = bed.shell("ulimit -Sn; ulimit -Hn; ulimit -c");
    spec.ulimits = vec![("nofile".to_owned(), 100, 200), ("core".to_owned(), 0, 0)];
    assert_eq!(stdout(spec), "100\n200\n0\n");
    let message = |name: &str, soft: i64, hard: i64| {
        let mut spec = bed.spec(&["true"]);
        spec.ulimits = vec![(name.to_owned(), soft, hard)];
        run(spec).err().unwrap().to_string()
    };
    assert_eq!(message("colour", 1, 1), "sandbox could not set the unknown limit `colour`");
    assert_eq!(message("nofile", 1 << 40, 1 << 40), "sandbox could not set the limit `nofile` to 1099511627776:1099511627776");
    assert_eq!(message("nofile", 3, 2), "sandbox could not set the limit `nofile` to 3:2");
}
