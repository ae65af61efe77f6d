//! A lowered build as a text that people can read.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use rbuild_graph::{
    ActionInput, Archive, Chmod, Copy, Edge, ExecOp, FileAction, FileActionKind, Mount, MountKind, NetworkMode, Op, Owner,
    SourceOp, Timestamp, UserName, Vertex, VertexDigest, VertexMeta,
};

use crate::options::Lowered;

type Numbers = BTreeMap<VertexDigest, usize>;

/// Graph, configuration and history.
pub(in crate::lower) fn lowered(lowered: &Lowered) -> String {
    let numbers: Numbers = lowered.graph.iter().enumerate().map(|(number, (digest, _, _))| (*digest, number)).collect();
    let mut out = String::new();
    for (digest, vertex, meta) in lowered.graph.iter() {
        writeln!(out, "v{} {}", numbers[digest], one(vertex, meta, &numbers)).unwrap();
    }
    writeln!(out, "result {}", lowered.result.map_or("scratch".into(), |edge| name(&edge, &numbers))).unwrap();
    writeln!(out, "config {}", String::from_utf8_lossy(&lowered.config.to_json())).unwrap();
    if let Some(base) = &lowered.base {
        writeln!(out, "base {}", base.reference).unwrap();
    }
    for step in &lowered.history {
        let layer = step.layer.map(|edge| name(&edge, &numbers)).unwrap_or_default();
        let empty = if step.entry.empty_layer { "-" } else { "+" };
        let created = step.entry.created.as_ref().map(|created| format!(" at {created}")).unwrap_or_default();
        writeln!(out, "{empty}{layer} {}{created}", step.entry.created_by.as_deref().unwrap_or_default()).unwrap();
    }
    for warning in &lowered.warnings {
        let hint = warning.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
        writeln!(out, "{}: {}{hint}", warning.code, warning.message).unwrap();
    }
    out
}

fn name(edge: &Edge, numbers: &Numbers) -> String {
    format!("v{}", numbers[&edge.vertex])
}

fn one(vertex: &Vertex, meta: &VertexMeta, numbers: &Numbers) -> String {
    let inputs: Vec<String> = vertex.inputs.iter().map(|edge| name(edge, numbers)).collect();
    let flags = if meta.ignore_cache { " no-cache" } else { "" };
    let lines = meta.lines.map(|(first, last)| format!(" :{first}-{last}")).unwrap_or_default();
    let platform = vertex.platform.to_string();
    let platform = if platform == "linux/amd64" { String::new() } else { format!(" {platform}") };
    format!("{:?}{lines}{flags}{platform}\n   {}", meta.name, op(&vertex.op, &inputs))
}

fn op(op: &Op, inputs: &[String]) -> String {
    match op {
        Op::Source(SourceOp::Image(image)) => format!("image {:.19}", image.manifest.to_string()),
        Op::Source(SourceOp::Local(local)) => format!("local {}", local.name),
        Op::Source(SourceOp::Http(http)) => {
            let checksum = http.checksum.as_ref().map(|digest| format!(" {:.14}", digest.to_string())).unwrap_or_default();
            format!("http {} as {:?} {:o}{checksum}", http.url, http.filename, http.mode)
        }
        Op::Source(SourceOp::Git(git)) => format!("git {}", git.remote),
        Op::Exec(exec) => run(exec, inputs),
        Op::File(file) => {
            let actions: Vec<String> = file.actions.iter().map(|action| file_action(action, inputs)).collect();
            actions.join("\n   ")
        }
        Op::Merge(_) => format!("merge {inputs:?}"),
        Op::Diff(_) => format!("diff {inputs:?}"),
    }
}

fn run(exec: &ExecOp, inputs: &[String]) -> String {
    let mut out = format!("run {:?}\n   env {:?}\n   in {}", exec.args, exec.env, exec.cwd);
    let mut add = |text: String| write!(out, " {text}").unwrap();
    if !exec.user.is_empty() {
        add(format!("user={}", exec.user));
    }
    if exec.hostname != "buildkitsandbox" {
        add(format!("host={}", exec.hostname));
    }
    if exec.network != NetworkMode::Sandbox {
        add(format!("net={:?}", exec.network));
    }
    for host in &exec.extra_hosts {
        add(format!("{}={}", host.name, host.address));
    }
    for limit in &exec.ulimits {
        add(format!("{}={}:{}", limit.name, limit.soft, limit.hard));
    }
    exec.shm_size.into_iter().for_each(|size| add(format!("shm={size}")));
    if !exec.proxy.variables.is_empty() {
        add(format!("proxy={:?}", exec.proxy.variables));
    }
    for secret in &exec.secret_env {
        add(format!("secret {} as {} required={}", secret.id, secret.name, secret.required));
    }
    for mount in &exec.mounts {
        write!(out, "\n   {}", show_mount(mount, inputs)).unwrap();
    }
    out
}

fn show_mount(mount: &Mount, inputs: &[String]) -> String {
    let from = mount.input.map_or("nothing", |input| inputs[input.0 as usize].as_str());
    let selector = mount.selector.as_ref().map(|path| format!(" {path}")).unwrap_or_default();
    let access = if mount.readonly { " ro" } else { "" };
    let output = mount.output.map(|output| format!(" -> {}", output.0)).unwrap_or_default();
    let kind = match &mount.kind {
        MountKind::Bind => String::new(),
        MountKind::Cache(cache) => {
            format!(" cache {} {:?} {:o} {}:{}", cache.id, cache.sharing, cache.mode, cache.uid, cache.gid)
        }
        MountKind::Tmpfs { size } => format!(" tmpfs {size:?}"),
        MountKind::Secret(secret) => format!(" secret {} {:o} required={}", secret.id, secret.mode, secret.required),
        MountKind::Ssh(ssh) => format!(" ssh {}", ssh.id),
    };
    format!("{} = {from}{selector}{access}{output}{kind}", mount.target)
}

fn file_action(action: &FileAction, inputs: &[String]) -> String {
    let input = |from: &ActionInput| match from {
        ActionInput::Scratch => "nothing".to_owned(),
        ActionInput::Input(index) => inputs[index.0 as usize].clone(),
        ActionInput::Action(position) => format!("#{position}"),
    };
    let output = action.output.map(|output| format!(" -> {}", output.0)).unwrap_or_default();
    let what = match &action.kind {
        FileActionKind::Copy(copy) => format!("copy {} {}", input(&copy.from), show_copy(copy)),
        FileActionKind::MakeFile(file) => {
            let content = String::from_utf8_lossy(&file.content).into_owned();
            format!("file {} {:o} {content:?}{}", file.path, file.mode, at(file.created))
        }
        FileActionKind::MakeDir(dir) => {
            format!("dir {} {:o}{}{}", dir.path, dir.mode, owned(dir.owner.as_ref()), at(dir.created))
        }
        FileActionKind::Symlink(link) => format!("link {} {}", link.path, link.target),
        FileActionKind::Remove(remove) => format!("remove {}", remove.path),
    };
    format!("on {}: {what}{output}", input(&action.base))
}

fn show_copy(copy: &Copy) -> String {
    let sources: Vec<String> =
        copy.sources.iter().map(|source| format!("{}{}", source.path, if source.wildcard { "(*)" } else { "" })).collect();
    let mode = match &copy.chmod {
        None => String::new(),
        Some(Chmod::Octal(bits)) => format!(" mode={bits:o}"),
        Some(Chmod::Symbolic(text)) => format!(" mode={text}"),
    };
    let archive = match copy.archive {
        Archive::Keep => "",
        Archive::Detect => " unpack",
        Archive::Extract => " extract",
    };
    let exclude = if copy.exclude.is_empty() { String::new() } else { format!(" without {:?}", copy.exclude) };
    format!("{} to {}{}{mode}{archive}{exclude}{}", sources.join(" "), copy.target, owned(copy.owner.as_ref()), at(copy.created))
}

fn owned(owner: Option<&Owner>) -> String {
    let one = |name: &UserName| match name {
        UserName::Id(id) => id.to_string(),
        UserName::Name(name) => format!("{name:?}"),
    };
    owner.map(|owner| format!(" owner={}:{}", one(&owner.user), owner.group.as_ref().map_or("-".into(), one))).unwrap_or_default()
}

fn at(created: Timestamp) -> String {
    match created {
        Timestamp::Now => String::new(),
        Timestamp::Epoch(seconds) => format!(" at {seconds}"),
    }
}
