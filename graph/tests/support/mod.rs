//! Vertices of every kind, with every field set.
#![allow(dead_code, reason = "each test file uses its part")]

use rbuild_graph::{
    ActionInput, Archive, CacheMount, CacheSharing, Chmod, Copy, CopySource, DiffOp, Edge, ExecOp, ExtraHost, FileAction,
    FileActionKind, FileOp, GitSource, HttpSource, ImageSource, InputIndex, LocalSource, MakeDir, MakeFile, MergeOp, Mount,
    MountKind, NetworkMode, Op, OutputIndex, Owner, ProxyEnv, Remove, SecretEnv, SecretMount, SecurityMode, SourceOp, SshMount,
    Symlink, Timestamp, Ulimit, UserName, Vertex, VertexDigest,
};
use rbuild_oci::{Digest, Platform};

pub(crate) fn platform() -> Platform {
    Platform { architecture: "amd64".into(), os: "linux".into(), os_version: None, os_features: Vec::new(), variant: None }
}

pub(crate) fn vertex(op: Op) -> Vertex {
    let inputs = vec![Edge::first(VertexDigest([1; 32])), Edge::first(VertexDigest([2; 32]))];
    Vertex { op, inputs, platform: platform() }
}

pub(crate) fn source(source: SourceOp) -> Op {
    Op::Source(source)
}

pub(crate) fn image() -> SourceOp {
    SourceOp::Image(ImageSource { manifest: Digest::of(b"manifest") })
}

pub(crate) fn local() -> SourceOp {
    SourceOp::Local(LocalSource { name: "context".into() })
}

fn http_source() -> HttpSource {
    HttpSource {
        url: "http://x/f".into(),
        filename: "f".into(),
        mode: 0o600,
        uid: 1,
        gid: 2,
        checksum: Some(Digest::of(b"file")),
    }
}

pub(crate) fn http() -> SourceOp {
    SourceOp::Http(http_source())
}

fn git_source() -> GitSource {
    GitSource {
        remote: "https://x/r.git".into(),
        reference: Some("main".into()),
        subdir: Some("d".into()),
        keep_git_dir: true,
        checksum: Some("c0ffee".into()),
    }
}

pub(crate) fn git() -> SourceOp {
    SourceOp::Git(git_source())
}

fn mount(target: &str, kind: MountKind) -> Mount {
    Mount { input: None, selector: None, target: target.into(), output: None, readonly: false, kind }
}

pub(crate) fn mounts() -> Vec<Mount> {
    let mut root = mount("/", MountKind::Bind);
    (root.input, root.output) = (Some(InputIndex(0)), Some(OutputIndex(0)));
    let mut bind = mount("/src", MountKind::Bind);
    (bind.input, bind.selector, bind.readonly) = (Some(InputIndex(1)), Some("/dir".into()), true);
    let cache = CacheMount { id: "mine".into(), sharing: CacheSharing::Shared, mode: 0o755, uid: 1, gid: 2 };
    let secret = SecretMount { id: "s".into(), mode: 0o400, uid: 1, gid: 2, required: true };
    let ssh = SshMount { id: "default".into(), mode: 0o600, uid: 1, gid: 2, required: true };
    vec![
        root,
        bind,
        mount("/cache", MountKind::Cache(cache)),
        mount("/tmp", MountKind::Tmpfs { size: Some(1 << 20) }),
        mount("/run/secrets/s", MountKind::Secret(secret)),
        mount("/ssh", MountKind::Ssh(ssh)),
    ]
}

pub(crate) fn exec() -> Op {
    Op::Exec(ExecOp {
        args: vec!["/bin/sh".into(), "true".into()],
        env: vec!["PATH=/bin".into(), "A=b".into()],
        cwd: "/w".into(),
        user: "u".into(),
        hostname: "h".into(),
        network: NetworkMode::Sandbox,
        security: SecurityMode::Sandbox,
        extra_hosts: vec![ExtraHost { name: "db".into(), address: [10, 0, 0, 1].into() }],
        ulimits: vec![Ulimit { name: "nofile".into(), soft: 1, hard: 2 }],
        shm_size: Some(1 << 26),
        cgroup_parent: Some("/c".into()),
        proxy: ProxyEnv { variables: vec![("HTTP_PROXY".into(), "http://p".into())] },
        secret_env: vec![SecretEnv { id: "t".into(), name: "TOKEN".into(), required: true }],
        mounts: mounts(),
    })
}

pub(crate) fn exec_op(op: &mut Op) -> &mut ExecOp {
    let Op::Exec(exec) = op else { panic!("not an exec") };
    exec
}

pub(crate) fn cache(exec: &mut ExecOp, position: usize) -> &mut CacheMount {
    let MountKind::Cache(cache) = &mut exec.mounts[position].kind else { panic!("not a cache") };
    cache
}

pub(crate) fn secret(exec: &mut ExecOp, position: usize) -> &mut SecretMount {
    let MountKind::Secret(secret) = &mut exec.mounts[position].kind else { panic!("not a secret") };
    secret
}

pub(crate) fn ssh(exec: &mut ExecOp, position: usize) -> &mut SshMount {
    let MountKind::Ssh(ssh) = &mut exec.mounts[position].kind else { panic!("not an ssh mount") };
    ssh
}

pub(crate) fn copy() -> Op {
    let copy = Copy {
        from: ActionInput::Input(InputIndex(1)),
        sources: vec![CopySource { path: "/dir/file".into(), wildcard: false, written: "dir/file".into() }],
        target: "/x".into(),
        owner: Some(Owner { user: UserName::Name("u".into()), group: Some(UserName::Id(5)) }),
        chmod: Some(Chmod::Octal(0o644)),
        archive: Archive::Keep,
        parents: false,
        exclude: vec!["*.o".into()],
        created: Timestamp::Epoch(0),
    };
    let base = ActionInput::Input(InputIndex(0));
    Op::File(FileOp { actions: vec![FileAction { base, kind: FileActionKind::Copy(copy), output: Some(OutputIndex(0)) }] })
}

pub(crate) fn file_op(op: &mut Op) -> &mut FileOp {
    let Op::File(file) = op else { panic!("not a file op") };
    file
}

pub(crate) fn copy_op(op: &mut Op) -> &mut Copy {
    let FileActionKind::Copy(copy) = &mut file_op(op).actions[0].kind else { panic!("not a copy") };
    copy
}

/// One action of each kind but copy.
pub(crate) fn file_kinds() -> Op {
    let owner = Some(Owner { user: UserName::Id(1), group: None });
    let created = Timestamp::Now;
    let kinds = [
        FileActionKind::MakeFile(MakeFile {
            path: "/f".into(),
            content: b"text".into(),
            mode: 0o644,
            owner: owner.clone(),
            created,
        }),
        FileActionKind::MakeDir(MakeDir { path: "/d".into(), mode: 0o755, parents: true, owner: owner.clone(), created }),
        FileActionKind::Symlink(Symlink { path: "/l".into(), target: "f".into(), owner, created }),
        FileActionKind::Remove(Remove { path: "/r".into(), wildcard: false, allow_missing: true }),
    ];
    let action = |(position, kind): (u32, FileActionKind)| FileAction {
        base: position.checked_sub(1).map_or(ActionInput::Input(InputIndex(0)), ActionInput::Action),
        kind,
        output: (position == 3).then_some(OutputIndex(0)),
    };
    Op::File(FileOp { actions: (0..).zip(kinds).map(action).collect() })
}

type ActionChange = fn(&mut FileActionKind);

macro_rules! change {
    ($kind:ident, $name:ident => $change:expr) => {
        |kind| {
            let FileActionKind::$kind($name) = kind else { panic!("another kind of action") };
            $change;
        }
    };
}

/// A change of every field of [`file_kinds`], with the action's position.
pub(crate) fn action_changes() -> Vec<(usize, ActionChange)> {
    vec![
        (0, change!(MakeFile, f => f.path.push('x'))),
        (0, change!(MakeFile, f => f.content.push(0))),
        (0, change!(MakeFile, f => f.mode = 0)),
        (0, change!(MakeFile, f => f.owner = None)),
        (0, change!(MakeFile, f => f.created = Timestamp::Epoch(0))),
        (1, change!(MakeDir, d => d.path.push('x'))),
        (1, change!(MakeDir, d => d.mode = 0)),
        (1, change!(MakeDir, d => d.parents ^= true)),
        (1, change!(MakeDir, d => d.owner = None)),
        (1, change!(MakeDir, d => d.created = Timestamp::Epoch(0))),
        (2, change!(Symlink, l => l.path.push('x'))),
        (2, change!(Symlink, l => l.target.push('x'))),
        (2, change!(Symlink, l => l.owner = None)),
        (2, change!(Symlink, l => l.created = Timestamp::Epoch(0))),
        (3, change!(Remove, r => r.path.push('x'))),
        (3, change!(Remove, r => r.wildcard ^= true)),
        (3, change!(Remove, r => r.allow_missing ^= true)),
    ]
}

pub(crate) fn source_op(op: &mut Op) -> &mut SourceOp {
    let Op::Source(source) = op else { panic!("not a source") };
    source
}

type SourceChange = (&'static str, SourceOp, fn(&mut SourceOp));

macro_rules! source_change {
    ($kind:ident, $make:expr, $name:ident => $change:expr) => {
        (stringify!($change), $make, |source| {
            let SourceOp::$kind($name) = source else { panic!("another kind of source") };
            $change;
        })
    };
}

/// A change of every field of every source.
pub(crate) fn source_changes() -> Vec<SourceChange> {
    vec![
        source_change!(Image, image(), i => i.manifest = Digest::of(b"other")),
        source_change!(Local, local(), l => l.name.push('x')),
        source_change!(Http, http(), h => h.url.push('x')),
        source_change!(Http, http(), h => h.filename.push('x')),
        source_change!(Http, http(), h => h.mode = 0),
        source_change!(Http, http(), h => h.uid = 0),
        source_change!(Http, http(), h => h.gid = 0),
        source_change!(Http, http(), h => h.checksum = None),
        source_change!(Git, git(), g => g.remote.push('x')),
        source_change!(Git, git(), g => g.reference = None),
        source_change!(Git, git(), g => g.subdir = None),
        source_change!(Git, git(), g => g.keep_git_dir ^= true),
        source_change!(Git, git(), g => g.checksum = None),
    ]
}

pub(crate) fn merge() -> Op {
    Op::Merge(MergeOp { inputs: vec![InputIndex(0), InputIndex(1)] })
}

pub(crate) fn merge_op(op: &mut Op) -> &mut MergeOp {
    let Op::Merge(merge) = op else { panic!("not a merge") };
    merge
}

pub(crate) fn diff() -> Op {
    Op::Diff(DiffOp { lower: Some(InputIndex(0)), upper: Some(InputIndex(1)) })
}

pub(crate) fn diff_op(op: &mut Op) -> &mut DiffOp {
    let Op::Diff(diff) = op else { panic!("not a diff") };
    diff
}
