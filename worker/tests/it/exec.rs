//! RUN: real processes in real sandboxes.

use std::path::Path;

use rbuild_graph::{
    CacheMount, CacheSharing, ExecOp, InputIndex, Mount, MountKind, NetworkMode, Op, OutputIndex, ProxyEnv, SecretEnv,
    SecretMount, SecurityMode, SshMount,
};
use rbuild_solver::{Event, LogStream, Worker};
use rbuild_worker::{ErrorClass, Output, WorkError};

use crate::support::{Bench, DRIVERS, context, copy, plant, vertex};

fn root() -> Mount {
    let output = Some(OutputIndex(0));
    Mount { input: Some(InputIndex(0)), selector: None, target: "/".to_owned(), output, readonly: false, kind: MountKind::Bind }
}

fn mount(target: &str, kind: MountKind) -> Mount {
    Mount { input: None, selector: None, target: target.to_owned(), output: None, readonly: false, kind }
}

fn shell(script: &str) -> ExecOp {
    ExecOp {
        args: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
        env: vec!["PATH=/bin".to_owned(), "GREETING=hello".to_owned()],
        cwd: "/".to_owned(),
        user: String::new(),
        hostname: "buildkitsandbox".to_owned(),
        network: NetworkMode::Sandbox,
        security: SecurityMode::Sandbox,
        extra_hosts: Vec::new(),
        ulimits: Vec::new(),
        shm_size: None,
        cgroup_parent: None,
        proxy: ProxyEnv::default(),
        secret_env: Vec::new(),
        mounts: vec![root()],
    }
}

/// A state with busybox and the daemon user.
fn busybox(bench: &Bench) -> Output {
    plant(&bench.context(), "f 644 etc/passwd root:x:0:0::/root:/bin/sh\\nd:x:1:1::/:\n l - bin/sh busybox\n d 1777 tmp");
    fs_err::write(bench.context().join("etc/passwd"), "root:x:0:0::/root:/bin/sh\nd:x:1:1::/:\n").unwrap();
    fs_err::copy("/bin/busybox", bench.context().join("bin/busybox")).unwrap();
    for tool in ["cat", "ls", "mkdir", "touch", "id", "sleep", "hostname", "rm", "mount", "kill", "env", "wc", "sh"] {
        let link = bench.context().join("bin").join(tool);
        if !link.is_symlink() {
            fs_err::os::unix::fs::symlink("busybox", link).unwrap();
        }
    }
    bench.copy(&Output::Scratch, &context(), &copy(&["."], "/")).unwrap()
}

fn run(bench: &Bench, base: &Output, op: &ExecOp) -> Result<Vec<Output>, WorkError> {
    bench.execute(&vertex(Op::Exec(op.clone()), 1), vec![base.clone()])
}

fn read(bench: &Bench, output: &Output, path: &str) -> Option<String> {
    let snapshot = bench.block_on(bench.worker.snapshot(output)).unwrap().unwrap();
    let view = bench.snapshotter.driver().view(&snapshot).unwrap();
    view.root().read(Path::new(path), 1 << 20).unwrap().map(|bytes| String::from_utf8(bytes).unwrap())
}

#[test]
fn changes_become_the_output() {
    for driver in DRIVERS {
        let bench = Bench::new(driver);
        let base = busybox(&bench);
        let outputs =
            run(&bench, &base, &shell("echo $GREETING > /out; rm /etc/passwd; pwd >> /out; echo text; echo error >&2")).unwrap();
        assert_eq!(outputs.len(), 1);
        assert_eq!(read(&bench, &outputs[0], "/out").as_deref(), Some("hello\n/\n"), "{driver:?}");
        assert_eq!(read(&bench, &outputs[0], "/etc/passwd"), None);
        assert!(read(&bench, &base, "/etc/passwd").is_some(), "the base is untouched");
        let logged = |wanted: LogStream| -> String {
            let events = bench.events.0.lock().unwrap();
            let bytes = events.iter().filter_map(|event| {
                let Event::Log { stream, bytes, .. } = event else { return None };
                (*stream == wanted).then(|| bytes.clone())
            });
            String::from_utf8(bytes.flatten().collect()).unwrap()
        };
        assert_eq!(logged(LogStream::Stdout), "text\n");
        assert_eq!(logged(LogStream::Stderr), "error\n");
        let log = fs_err::read_to_string(bench.snapshotter.store().log_path(&bench.step().digest.to_hex())).unwrap();
        assert!(log == "text\nerror\n" || log == "error\ntext\n", "{log}");
    }
}

#[test]
fn surroundings() {
    let bench = Bench::new(DRIVERS[0]);
    let base = busybox(&bench);
    let op = ExecOp {
        cwd: "/made/here".to_owned(),
        user: "d".to_owned(),
        proxy: ProxyEnv { variables: vec![("HTTP_PROXY".to_owned(), "http://p".to_owned())] },
        ..shell("id -u; pwd; hostname; cat /etc/hosts; echo $HTTP_PROXY $http_proxy; cat /etc/resolv.conf | wc -c")
    };
    // The daemon user writes where it may.
    let op = ExecOp { args: vec!["/bin/sh".into(), "-c".into(), format!("({}) > /tmp/out", op.args[2])], ..op };
    let outputs = run(&bench, &base, &op).unwrap();
    let text = read(&bench, &outputs[0], "/tmp/out").unwrap();
    let expected = "1\n/made/here\nbuildkitsandbox\n127.0.0.1\tlocalhost buildkitsandbox\n::1\tlocalhost ip6-localhost ip6-loopback\nhttp://p http://p\n";
    assert!(text.starts_with(expected), "{text}");
    assert_eq!(read(&bench, &outputs[0], "/etc/hosts"), None, "no stub stays");
}

#[test]
fn failures() {
    let bench = Bench::new(DRIVERS[0]);
    let base = busybox(&bench);
    let check = |op: &ExecOp, expected: &str| {
        let error = run(&bench, &base, op).unwrap_err();
        assert_eq!(error.to_string(), expected);
        assert_eq!(error.class(), ErrorClass::Run);
    };
    check(&shell("exit 3"), "process \"/bin/sh -c exit 3\" did not complete successfully: exit code: 3");
    check(
        &shell("echo \"x\"; exit 1"),
        "process \"/bin/sh -c echo \\\"x\\\"; exit 1\" did not complete successfully: exit code: 1",
    );
    check(&ExecOp { args: vec!["nope".to_owned()], ..shell("") }, "could not run \"nope\"");
    check(&ExecOp { user: "nobody".to_owned(), ..shell("") }, "could not run \"/bin/sh -c \"");
    let error = run(&bench, &base, &shell("exit 42")).unwrap_err();
    assert!(matches!(&error, WorkError::Process { code: Some(42), oom: false, .. }), "{error}");
}

#[test]
fn mounts() {
    for driver in DRIVERS {
        let bench = Bench::new(driver);
        let base = busybox(&bench);
        let data = bench.state("f 644 file content");
        let bind = |target: &str, readonly| Mount { input: Some(InputIndex(1)), readonly, ..mount(target, MountKind::Bind) };
        let script = "cat /ro/file > /out; echo x > /ro/file || echo refused >> /out; echo y > /rw/file && cat /rw/file >> /out; \
                      touch /tmp/m/x && ls /tmp/m >> /out; cat /scratch/nothing || echo empty >> /out; touch /scratch/new";
        let mut op = shell(script);
        op.mounts.extend([
            bind("/ro", true),
            bind("/rw", false),
            mount("/tmp/m", MountKind::Tmpfs { size: Some(1 << 20) }),
            mount("/scratch", MountKind::Bind),
        ]);
        let outputs = bench.execute(&vertex(Op::Exec(op), 2), vec![base.clone(), data.clone()]).unwrap();
        assert_eq!(read(&bench, &outputs[0], "/out").as_deref(), Some("contentrefused\ny\nx\nempty\n"), "{driver:?}");
        assert_eq!(read(&bench, &data, "/file").as_deref(), Some("content"));
        let tree = bench.tree(&outputs[0]);
        assert!(!tree.contains(" rw\n") && !tree.contains(" ro\n") && !tree.contains("scratch"), "{tree}");
    }
}

#[test]
fn outputs_of_mounts() {
    let bench = Bench::new(DRIVERS[0]);
    let base = busybox(&bench);
    let data = bench.state("f 644 file content");
    let mut op = shell("echo more > /data/new; rm /data/file; touch /changed");
    op.mounts[0].output = Some(OutputIndex(1));
    op.mounts.push(Mount { input: Some(InputIndex(1)), output: Some(OutputIndex(0)), ..mount("/data", MountKind::Bind) });
    let outputs = bench.execute(&vertex(Op::Exec(op), 2), vec![base, data]).unwrap();
    assert_eq!(bench.tree(&outputs[0]), "f 644 new more\n");
    assert!(bench.tree(&outputs[1]).contains("f 644 changed\n"));
}

#[test]
fn contexts_are_mounted_as_copies() {
    let bench = Bench::new(DRIVERS[0]);
    let base = busybox(&bench);
    let mut op = shell("cat /ctx/etc/passwd > /out; touch /ctx/new");
    op.mounts.push(Mount { input: Some(InputIndex(1)), ..mount("/ctx", MountKind::Bind) });
    let outputs = bench.execute(&vertex(Op::Exec(op), 2), vec![base, context()]).unwrap();
    assert!(read(&bench, &outputs[0], "/out").unwrap().contains("root:x:0:0"));
    assert!(!bench.context().join("new").exists());
}

#[test]
fn parts_of_inputs_are_mounted() {
    for driver in DRIVERS {
        let bench = Bench::new(driver);
        let base = busybox(&bench);
        let data = bench.state("f 600 a/file one\n f 644 a/b/deep two\n l - link a/b\n l - out ../../../../a/file");
        let part = |input, selector: &str, target: &str| Mount {
            input: Some(InputIndex(input)),
            selector: Some(selector.to_owned()),
            readonly: true,
            ..mount(target, MountKind::Bind)
        };
        let mut op = shell("cat /one /dir/deep /link/deep /out-of-it /in/x > /all; ls /dir > /listed; echo no > /one || true");
        op.mounts.extend([
            part(1, "/a/file", "/one"),
            part(1, "/a/b", "/dir"),
            part(1, "/link", "/link"),
            part(1, "/out", "/out-of-it"),
            part(1, "/a", "/in"),
            part(1, "/a/file", "/in/b/deep"),
        ]);
        op.args[2] = op.args[2].replace("/in/x", "/in/b/deep");
        let outputs = bench.execute(&vertex(Op::Exec(op), 2), vec![base.clone(), data.clone()]).unwrap();
        assert_eq!(read(&bench, &outputs[0], "/all").as_deref(), Some("onetwotwooneone"), "{driver:?}");
        assert_eq!(read(&bench, &outputs[0], "/listed").as_deref(), Some("deep\n"));
        let left = bench.tree(&outputs[0]);
        assert!(!left.contains(" one\n") && !left.contains(" in\n"), "{left}");
        let mut op = shell("cat /passwd > /out; echo more > /rw/new; ls /rw >> /out");
        op.mounts.push(part(1, "/etc/passwd", "/passwd"));
        op.mounts.push(Mount { readonly: false, ..part(1, "/etc", "/rw") });
        let outputs = bench.execute(&vertex(Op::Exec(op), 2), vec![base.clone(), context()]).unwrap();
        let read = read(&bench, &outputs[0], "/out").unwrap();
        assert!(read.contains("root:x:0:0") && read.ends_with("new\npasswd\n"), "{read}");
        assert!(!bench.context().join("etc/new").exists());
        let mut op = shell("true");
        op.mounts.push(part(1, "/none", "/x"));
        let error = bench.execute(&vertex(Op::Exec(op), 2), vec![base, data]).unwrap_err().to_string();
        assert!(error.ends_with("\"/none\": not found"), "{error}");
    }
}

#[test]
fn a_part_of_a_cache_is_mounted() {
    let bench = Bench::new(DRIVERS[0]);
    let base = busybox(&bench);
    let cache = CacheMount { id: "c".to_owned(), sharing: CacheSharing::Shared, mode: 0o755, uid: 0, gid: 0 };
    let mut op = shell("mkdir /cache/sub; echo x > /cache/sub/file");
    op.mounts.push(mount("/cache", MountKind::Cache(cache.clone())));
    run(&bench, &base, &op).unwrap();
    let mut op = shell("cat /sub/file > /out");
    op.mounts.push(Mount { selector: Some("/sub".to_owned()), ..mount("/sub", MountKind::Cache(cache)) });
    assert_eq!(read(&bench, &run(&bench, &base, &op).unwrap()[0], "/out").as_deref(), Some("x\n"));
    op.mounts[1].input = Some(InputIndex(0));
    let error = run(&bench, &base, &op).unwrap_err().to_string();
    assert_eq!(error, "`from=` of `RUN --mount=type=cache` is not supported yet");
}

#[test]
fn caches_outlive_builds() {
    let bench = Bench::new(DRIVERS[0]);
    let base = busybox(&bench);
    let cache = |id: &str, sharing| {
        mount("/cache", MountKind::Cache(CacheMount { id: id.to_owned(), sharing, mode: 0o750, uid: 3, gid: 4 }))
    };
    for sharing in [CacheSharing::Shared, CacheSharing::Private, CacheSharing::Locked] {
        for expected in ["1\n", "2\n"] {
            let mut op = shell(&format!("touch /cache/{}; ls /cache | wc -l > /out", expected.trim()));
            op.mounts.push(cache(&format!("{sharing:?}"), sharing));
            let outputs = run(&bench, &base, &op).unwrap();
            assert_eq!(read(&bench, &outputs[0], "/out").as_deref(), Some(expected), "{sharing:?}");
        }
    }
    // Two mounts of one locked cache do not wait for each other, and two private ones differ.
    let mut op = shell("echo x > /cache/both; cat /two/both > /out");
    let two = Mount { target: "/two".to_owned(), ..cache("twice", CacheSharing::Locked) };
    op.mounts.extend([cache("twice", CacheSharing::Locked), two]);
    assert_eq!(read(&bench, &run(&bench, &base, &op).unwrap()[0], "/out").as_deref(), Some("x\n"));
    let mut op = shell("ls -ldn /cache > /out; touch /cache/x && exit 1 || exit 0");
    op.mounts.push(Mount { readonly: true, ..cache("readonly", CacheSharing::Shared) });
    let listed = read(&bench, &run(&bench, &base, &op).unwrap()[0], "/out").unwrap();
    assert!(listed.starts_with("drwxr-x---") && listed.contains(" 3 ") && listed.contains(" 4 "), "{listed}");
}

#[test]
fn secrets_are_given_and_not_kept() {
    let bench = Bench::with(DRIVERS[0], |options| {
        options.secrets.insert("key".to_owned(), b"s3cret".to_vec());
    });
    let base = busybox(&bench);
    let secret = |id: &str, required| {
        mount("/run/secrets/key", MountKind::Secret(SecretMount { id: id.to_owned(), mode: 0o400, uid: 0, gid: 0, required }))
    };
    let mut op = shell("cat /run/secrets/key | wc -c > /out; echo -n $KEY | wc -c >> /out; ls /run/secrets/ > /dev/null");
    op.mounts.push(secret("key", true));
    op.secret_env.push(SecretEnv { id: "key".to_owned(), name: "KEY".to_owned(), required: true });
    let outputs = run(&bench, &base, &op).unwrap();
    assert_eq!(read(&bench, &outputs[0], "/out").as_deref(), Some("6\n6\n"));
    assert!(!bench.tree(&outputs[0]).contains("secrets/key"));
    let mut op = shell("test ! -e /run/secrets/key");
    op.mounts.push(secret("other", false));
    run(&bench, &base, &op).unwrap();
    op.mounts[1] = secret("other", true);
    assert_eq!(run(&bench, &base, &op).unwrap_err().to_string(), "secret other: not found");
    op.mounts[1] =
        mount("/a", MountKind::Ssh(SshMount { id: "default".to_owned(), mode: 0o600, uid: 0, gid: 0, required: false }));
    assert_eq!(run(&bench, &base, &op).unwrap_err().to_string(), "`RUN --mount=type=ssh` is not supported yet");
}

#[test]
fn cancelling_kills() {
    let bench = Bench::new(DRIVERS[0]);
    let base = busybox(&bench);
    let op = vertex(Op::Exec(shell("echo started; sleep 1000")), 1);
    let step = bench.step();
    let result = bench.block_on(async {
        let work = bench.worker.execute(&op, vec![base], &step);
        tokio::pin!(work);
        loop {
            tokio::select! {
                result = &mut work => break result,
                () = tokio::task::yield_now() => {
                    if bench.events.0.lock().unwrap().iter().any(|event| matches!(event, Event::Log { .. })) {
                        bench.cancel.cancel();
                    }
                }
            }
        }
    });
    assert!(matches!(result, Err(WorkError::Cancelled)));
}

#[test]
fn logs_have_a_budget() {
    let bench = Bench::with(DRIVERS[0], |options| options.log_budget = Some(10));
    let base = busybox(&bench);
    run(&bench, &base, &shell("echo 12345678; echo 12345678")).unwrap();
    let log = fs_err::read_to_string(bench.snapshotter.store().log_path(&bench.step().digest.to_hex())).unwrap();
    assert_eq!(log, "12345678\n1\n[output clipped, log limit 10 bytes reached]\n");
}

#[test]
fn a_process_without_changes_still_has_a_layer() {
    let bench = Bench::new(DRIVERS[0]);
    let base = busybox(&bench);
    let outputs = run(&bench, &base, &shell("true")).unwrap();
    let (Output::Snapshot(before), Output::Snapshot(after)) = (&base, &outputs[0]) else { panic!("both are snapshots") };
    assert_ne!(before.id, after.id);
    assert!(bench.snapshotter.driver().changes(after).unwrap().is_empty());
}
