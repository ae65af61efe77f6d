//! File actions.

use super::op::{encode_input, encode_output};
use crate::{
    ActionInput, Archive, Chmod, Copy, CopySource, Encoder, FileAction, FileActionKind, FileOp, MakeDir, MakeFile, Owner, Remove,
    Symlink, Timestamp, UserName,
};

pub(super) fn encode(to: &mut Encoder, FileOp { actions }: &FileOp) {
    to.list(actions, |to, FileAction { base, kind, output }| {
        encode_action_input(to, base);
        to.option(output.as_ref(), encode_output);
        encode_kind(to, kind);
    });
}

fn encode_action_input(to: &mut Encoder, input: &ActionInput) {
    match input {
        ActionInput::Scratch => to.tag(1),
        ActionInput::Input(index) => {
            to.tag(2);
            encode_input(to, index);
        }
        ActionInput::Action(position) => {
            to.tag(3);
            to.u32(*position);
        }
    }
}

fn encode_kind(to: &mut Encoder, kind: &FileActionKind) {
    match kind {
        FileActionKind::Copy(copy) => {
            to.tag(1);
            encode_copy(to, copy);
        }
        FileActionKind::MakeFile(MakeFile { path, content, mode, owner, created }) => {
            to.tag(2);
            to.text(path);
            to.bytes(content);
            to.u32(*mode);
            to.option(owner.as_ref(), encode_owner);
            encode_timestamp(to, created);
        }
        FileActionKind::MakeDir(MakeDir { path, mode, parents, owner, created }) => {
            to.tag(3);
            to.text(path);
            to.u32(*mode);
            to.bool(*parents);
            to.option(owner.as_ref(), encode_owner);
            encode_timestamp(to, created);
        }
        FileActionKind::Symlink(Symlink { path, target, owner, created }) => {
            to.tag(4);
            to.text(path);
            to.text(target);
            to.option(owner.as_ref(), encode_owner);
            encode_timestamp(to, created);
        }
        FileActionKind::Remove(Remove { path, wildcard, allow_missing }) => {
            to.tag(5);
            to.text(path);
            to.bool(*wildcard);
            to.bool(*allow_missing);
        }
    }
}

fn encode_copy(to: &mut Encoder, copy: &Copy) {
    let Copy { from, sources, target, owner, chmod, archive, parents, exclude, created } = copy;
    encode_action_input(to, from);
    to.list(sources, |to, source| encode_copy_source(to, source, *parents));
    to.text(target);
    to.option(owner.as_ref(), encode_owner);
    to.option(chmod.as_ref(), encode_chmod);
    to.tag(match archive {
        Archive::Keep => 1,
        Archive::Detect => 2,
        Archive::Extract => 3,
    });
    to.bool(*parents);
    to.list(exclude, |to, pattern| to.text(pattern));
    encode_timestamp(to, created);
}

/// In a key, the directory of a source is left to the selector, unless it is recreated below the target (`parents`).
fn encode_copy_source(to: &mut Encoder, source: &CopySource, parents: bool) {
    let CopySource { path, wildcard, written: _ } = source;
    let whole = parents || !to.is_key();
    to.text(if whole { path } else { base_name(path) });
    to.bool(*wildcard);
}

fn base_name(path: &str) -> &str {
    let trimmed = path.trim_end_matches('/');
    trimmed.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or("/")
}

fn encode_owner(to: &mut Encoder, Owner { user, group }: &Owner) {
    encode_user_name(to, user);
    to.option(group.as_ref(), encode_user_name);
}

fn encode_user_name(to: &mut Encoder, name: &UserName) {
    match name {
        UserName::Id(id) => {
            to.tag(1);
            to.u32(*id);
        }
        UserName::Name(name) => {
            to.tag(2);
            to.text(name);
        }
    }
}

fn encode_chmod(to: &mut Encoder, chmod: &Chmod) {
    match chmod {
        Chmod::Octal(mode) => {
            to.tag(1);
            to.u32(*mode);
        }
        Chmod::Symbolic(text) => {
            to.tag(2);
            to.text(text);
        }
    }
}

fn encode_timestamp(to: &mut Encoder, created: &Timestamp) {
    match created {
        Timestamp::Now => to.tag(1),
        Timestamp::Epoch(seconds) => {
            to.tag(2);
            to.i64(*seconds);
        }
    }
}
