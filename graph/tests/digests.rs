//! Digests: their golden values, and which fields they depend on.

mod support;

use proptest::prelude::*;
use rbuild_graph::{
    ActionInput, Archive, CacheSharing, Chmod, Copy, CopySource, Edge, ExecOp, FileActionKind, FileOp, InputIndex, MountKind,
    NetworkMode, Op, OutputIndex, Owner, SecurityMode, SourceOp, Timestamp, UserName, Vertex, VertexDigest,
};
use support::{copy, copy_op, diff, exec, exec_op, file_kinds, git, http, image, local, merge, source, vertex};

/// The encoding is a format: these change only together with the version in the domain.
#[test]
fn golden() {
    let ops = [
        ("image", source(image())),
        ("local", source(local())),
        ("http", source(http())),
        ("git", source(git())),
        ("exec", exec()),
        ("copy", copy()),
        ("file", file_kinds()),
        ("merge", merge()),
        ("diff", diff()),
    ];
    let line = |(name, op): (&str, Op)| {
        let vertex = vertex(op);
        format!("{name}\n    {}\n    {}\n", vertex.digest().to_hex(), vertex.op_digest().to_hex())
    };
    let found: String = ops.into_iter().map(line).collect();
    assert_eq!(found, include_str!("golden.txt"));
}

/// What a change of one field must do.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Changes {
    Both,
    IdentityOnly,
    Neither,
}

fn check(name: &str, op: &Op, change: impl FnOnce(&mut Vertex), expected: Changes) {
    let before = vertex(op.clone());
    let mut after = before.clone();
    change(&mut after);
    assert_ne!(before, after, "{name} changes nothing");
    let changed = (before.digest() != after.digest(), before.op_digest() != after.op_digest());
    let expected = match expected {
        Changes::Both => (true, true),
        Changes::IdentityOnly => (true, false),
        Changes::Neither => (false, false),
    };
    assert_eq!(changed, expected, "{name}: (digest, op digest) changed");
}

#[test]
fn vertex_fields() {
    let op = source(image());
    check("architecture", &op, |v| v.platform.architecture.push('x'), Changes::Both);
    check("os", &op, |v| v.platform.os.push('x'), Changes::Both);
    check("variant", &op, |v| v.platform.variant = Some("v8".into()), Changes::Both);
    check("os_version", &op, |v| v.platform.os_version = Some("10".into()), Changes::Both);
    check("os_features", &op, |v| v.platform.os_features.push("win32k".into()), Changes::Both);
    let input = |n| Edge { vertex: VertexDigest([n; 32]), output: OutputIndex(0) };
    check("input", &op, |v| v.inputs.push(input(1)), Changes::IdentityOnly);
    check("input's vertex", &op, |v| v.inputs[0] = input(9), Changes::IdentityOnly);
    check("input's output", &op, |v| v.inputs[0].output = OutputIndex(1), Changes::IdentityOnly);
}

fn of_exec(name: &str, change: impl FnOnce(&mut ExecOp), expected: Changes) {
    let change = |vertex: &mut Vertex| change(exec_op(&mut vertex.op));
    check(name, &exec(), change, expected);
}

#[test]
fn exec_fields() {
    use Changes::{Both, IdentityOnly};
    of_exec("args", |e| e.args.push("x".into()), Both);
    of_exec("args' borders", |e| e.args = vec!["/bin/shtrue".into()], Both);
    of_exec("env", |e| e.env.push("X=1".into()), Both);
    of_exec("env's order", |e| e.env.reverse(), Both);
    of_exec("cwd", |e| e.cwd.push('x'), Both);
    of_exec("user", |e| e.user.push('x'), Both);
    of_exec("hostname", |e| e.hostname.push('x'), Both);
    of_exec("network", |e| e.network = NetworkMode::None, Both);
    of_exec("security", |e| e.security = SecurityMode::Insecure, Both);
    of_exec("host name", |e| e.extra_hosts[0].name.push('x'), Both);
    of_exec("host address", |e| e.extra_hosts[0].address = [9, 9, 9, 9].into(), IdentityOnly);
    of_exec("ulimit", |e| e.ulimits[0].name.push('x'), Both);
    of_exec("ulimit soft", |e| e.ulimits[0].soft = 7, Both);
    of_exec("ulimit hard", |e| e.ulimits[0].hard = 7, Both);
    of_exec("shm size", |e| e.shm_size = Some(7), IdentityOnly);
    of_exec("cgroup parent", |e| e.cgroup_parent = None, Both);
    of_exec("proxy", |e| e.proxy.variables.clear(), IdentityOnly);
    of_exec("secret env id", |e| e.secret_env[0].id.push('x'), Both);
    of_exec("secret env name", |e| e.secret_env[0].name.push('x'), Both);
    of_exec("secret env required", |e| e.secret_env[0].required ^= true, Both);
}

#[test]
fn a_part_is_in_the_key_where_another_mount_takes_the_whole_input() {
    let mixed = |part: &str| {
        let mut vertex = vertex(exec());
        let exec = exec_op(&mut vertex.op);
        let mut whole = exec.mounts[1].clone();
        (whole.selector, whole.target) = (None, "/whole".into());
        exec.mounts[1].selector = Some(part.into());
        exec.mounts.push(whole);
        vertex.op_digest()
    };
    assert_ne!(mixed("/one"), mixed("/other"));
}

#[test]
fn mount_fields() {
    use Changes::{Both, IdentityOnly};
    of_exec("count", |e| drop(e.mounts.pop()), Both);
    of_exec("input", |e| e.mounts[1].input = Some(InputIndex(0)), Both);
    of_exec("selector", |e| e.mounts[1].selector = Some("/other".into()), IdentityOnly);
    of_exec("target", |e| e.mounts[1].target.push('x'), Both);
    of_exec("output", |e| e.mounts[1].output = Some(OutputIndex(1)), Both);
    of_exec("readonly", |e| e.mounts[1].readonly ^= true, Both);
    of_exec("kind", |e| e.mounts[1].kind = MountKind::Tmpfs { size: None }, Both);
    for (position, mount) in support::mounts().into_iter().enumerate() {
        match mount.kind {
            MountKind::Bind => {}
            MountKind::Cache(_) => cache_fields(position),
            MountKind::Tmpfs { .. } => of_exec("tmpfs", |e| e.mounts[position].kind = MountKind::Tmpfs { size: Some(9) }, Both),
            MountKind::Secret(_) => {
                let of = |name, change: fn(&mut rbuild_graph::SecretMount)| {
                    of_exec(name, |e| change(support::secret(e, position)), Both)
                };
                of("secret id", |s| s.id.push('x'));
                of("secret mode", |s| s.mode = 1);
                of("secret uid", |s| s.uid = 7);
                of("secret gid", |s| s.gid = 7);
                of("secret required", |s| s.required ^= true);
            }
            MountKind::Ssh(_) => {
                let of =
                    |name, change: fn(&mut rbuild_graph::SshMount)| of_exec(name, |e| change(support::ssh(e, position)), Both);
                of("ssh id", |s| s.id.push('x'));
                of("ssh mode", |s| s.mode = 1);
                of("ssh uid", |s| s.uid = 7);
                of("ssh gid", |s| s.gid = 7);
                of("ssh required", |s| s.required ^= true);
            }
        }
    }
}

fn cache_fields(position: usize) {
    use Changes::{Both, IdentityOnly};
    let of = |name, change: fn(&mut rbuild_graph::CacheMount), expected| {
        of_exec(name, |e| change(support::cache(e, position)), expected)
    };
    of("cache id, not the default", |c| c.id.push('x'), IdentityOnly);
    of("cache id, the default", |c| c.id = "/cache".into(), Both);
    of("cache sharing", |c| c.sharing = CacheSharing::Locked, IdentityOnly);
    of("cache mode", |c| c.mode = 1, Both);
    of("cache uid", |c| c.uid = 7, Both);
    of("cache gid", |c| c.gid = 7, Both);
}

fn of_copy(name: &str, change: impl FnOnce(&mut Copy), expected: Changes) {
    check(name, &copy(), |vertex| change(copy_op(&mut vertex.op)), expected);
}

#[test]
fn copy_fields() {
    use Changes::{Both, IdentityOnly, Neither};
    of_copy("from", |c| c.from = ActionInput::Scratch, Both);
    of_copy("from input", |c| c.from = ActionInput::Input(InputIndex(0)), Both);
    of_copy("source's base name", |c| c.sources[0].path = "/dir/other".into(), Both);
    of_copy("source's directory", |c| c.sources[0].path = "/other/file".into(), IdentityOnly);
    of_copy("source's slash", |c| c.sources[0].path = "/dir/file/".into(), IdentityOnly);
    of_copy("source's text", |c| c.sources[0].written.push('x'), Neither);
    of_copy("wildcard", |c| c.sources[0].wildcard ^= true, Both);
    of_copy("sources", |c| c.sources.push(CopySource { path: "/y".into(), wildcard: false, written: String::new() }), Both);
    of_copy("target", |c| c.target.push('/'), Both);
    of_copy("owner", |c| c.owner = None, Both);
    of_copy("user", |c| c.owner = Some(Owner { user: UserName::Id(0), group: None }), Both);
    of_copy("group", |c| c.owner = Some(Owner { user: UserName::Name("u".into()), group: Some(UserName::Id(0)) }), Both);
    of_copy("chmod", |c| c.chmod = None, Both);
    of_copy("octal", |c| c.chmod = Some(Chmod::Octal(0o7)), Both);
    of_copy("symbolic", |c| c.chmod = Some(Chmod::Symbolic("u+x".into())), Both);
    of_copy("archive", |c| c.archive = Archive::Detect, Both);
    of_copy("parents", |c| c.parents ^= true, Both);
    of_copy("exclude", |c| c.exclude.push("x".into()), Both);
    of_copy("created", |c| c.created = Timestamp::Now, Both);
    of_copy("epoch", |c| c.created = Timestamp::Epoch(1), Both);
}

#[test]
fn a_parents_copy_keeps_the_directory_in_its_key() {
    let mut op = copy();
    copy_op(&mut op).parents = true;
    check("directory", &op, |v| copy_op(&mut v.op).sources[0].path = "/other/file".into(), Changes::Both);
}

#[test]
fn other_actions_fields() {
    let op = file_kinds();
    let of = |name, position: usize, change: fn(&mut FileActionKind)| {
        check(name, &op, |v| change(&mut support::file_op(&mut v.op).actions[position].kind), Changes::Both);
    };
    for (position, change) in support::action_changes() {
        of("field of an action", position, change);
    }
    let of_file = |name, change: fn(&mut FileOp)| check(name, &op, |v| change(support::file_op(&mut v.op)), Changes::Both);
    of_file("base", |f| f.actions[1].base = ActionInput::Scratch);
    of_file("base's position", |f| f.actions[2].base = ActionInput::Action(0));
    of_file("output", |f| f.actions[0].output = Some(OutputIndex(1)));
    of_file("count", |f| drop(f.actions.pop()));
}

#[test]
fn source_fields() {
    let of = |name, source: SourceOp, change: fn(&mut SourceOp)| {
        let op = Op::Source(source);
        check(name, &op, |v| change(support::source_op(&mut v.op)), Changes::Both);
    };
    for (name, source, change) in support::source_changes() {
        of(name, source, change);
    }
    check("merge order", &merge(), |v| support::merge_op(&mut v.op).inputs.reverse(), Changes::Both);
    check("diff lower", &diff(), |v| support::diff_op(&mut v.op).lower = None, Changes::Both);
    check("diff upper", &diff(), |v| support::diff_op(&mut v.op).upper = None, Changes::Both);
}

/// Lists of texts from a tiny alphabet, so that different splittings of the same characters are common.
fn texts() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec("[ab]{0,2}", 1..4)
}

proptest! {
    #[test]
    fn equal_vertices_and_no_others_have_equal_digests(
        left in (texts(), texts(), "[ab]{0,2}", "[ab]{0,2}", prop::option::of(0u64..2)),
        right in (texts(), texts(), "[ab]{0,2}", "[ab]{0,2}", prop::option::of(0u64..2)),
    ) {
        let make = |(args, env, cwd, user, shm_size): (Vec<String>, Vec<String>, String, String, Option<u64>)| {
            let mut op = exec();
            let exec = exec_op(&mut op);
            (exec.args, exec.env, exec.cwd, exec.user, exec.shm_size) = (args, env, cwd, user, shm_size);
            vertex(op)
        };
        let (left, right) = (make(left), make(right));
        prop_assert_eq!(left == right, left.digest() == right.digest());
        let mut same_size = right.clone();
        exec_op(&mut same_size.op).shm_size = exec_op(&mut left.clone().op).shm_size;
        prop_assert_eq!(left == same_size, left.op_digest() == right.op_digest());
    }

    #[test]
    fn a_copys_paths_are_told_apart(left in texts(), right in texts()) {
        let make = |paths: &[String]| {
            let mut op = copy();
            let source = |path: &String| CopySource { path: format!("/{path}"), wildcard: false, written: String::new() };
            copy_op(&mut op).sources = paths.iter().map(source).collect();
            vertex(op)
        };
        let (left, right) = (make(&left), make(&right));
        prop_assert_eq!(left == right, left.digest() == right.digest());
        prop_assert_eq!(left == right, left.selection(1).digest() == right.selection(1).digest());
    }
}
