//! COPY and ADD: one File vertex with an action for each kind of source.

use rbuild_graph::{
    ActionInput, Archive, Chmod, Copy, CopySource, Edge, FileAction, FileActionKind, FileOp, InputIndex, MergeOp, Op,
    OutputIndex, Owner, UserName, Vertex, VertexMeta,
};

use super::copy_source::{self, Place};
use super::names;
use super::stage::Builder;
use super::stages::{Origin, Step};
use crate::diagnostic::Diagnostic;
use crate::expand::{Lexer, Quotes};
use crate::instruction::{Instruction, Transfer, Word};
use crate::source::Span;

/// A COPY or ADD with its variables filled in.
struct Filled {
    sources: Vec<(String, Span)>,
    /// Name and body.
    documents: Vec<(String, String)>,
    target: String,
    chown: String,
    chmod: String,
    checksum: Option<(String, Span)>,
}

/// Sources that are copied by one action.
struct Group {
    /// `None` is the empty file system.
    edge: Option<Edge>,
    sources: Vec<CopySource>,
    archive: Archive,
    parents: bool,
}

impl Builder<'_, '_> {
    pub(super) fn copy(&mut self, transfer: &Transfer, step: &Step<'_>, is_add: bool) {
        let instruction = step.instruction.as_ref();
        let before = self.lowerer.errors();
        self.refuse_transfer(transfer, is_add);
        let Some(filled) = self.fill(transfer, instruction) else { return };
        let mode = self.mode(&filled, transfer);
        let groups = self.groups(transfer, &filled, step, is_add);
        if self.lowerer.errors() > before {
            return;
        }
        let chmod = mode;
        let owner = Some(filled.chown.as_str()).filter(|chown| !chown.is_empty()).map(owner);
        let exclude: Vec<String> = transfer.exclude.iter().map(|pattern| pattern.text.clone()).collect();
        let target = target(&filled.target, &self.state.directory);
        let is_linked = is_linked(transfer, owner.as_ref());
        let base = self.state.edge.filter(|_| !is_linked);
        let mut inputs: Vec<Edge> = base.into_iter().collect();
        let mut base = base.map_or(ActionInput::Scratch, |_| ActionInput::Input(InputIndex(0)));
        let mut actions = Vec::with_capacity(groups.len());
        let last = groups.len().saturating_sub(1);
        for (position, group) in groups.into_iter().enumerate() {
            let Group { edge, sources, archive, parents } = group;
            let from = edge.map_or(ActionInput::Scratch, |edge| {
                inputs.push(edge);
                ActionInput::Input(InputIndex(index(inputs.len() - 1)))
            });
            let (target, owner, chmod, exclude) = (target.clone(), owner.clone(), chmod.clone(), exclude.clone());
            let created = self.created();
            let copy = Copy { from, sources, target, owner, chmod, archive, parents, exclude, created };
            let output = (position == last).then_some(OutputIndex(0));
            actions.push(FileAction { base, kind: FileActionKind::Copy(copy), output });
            base = ActionInput::Action(index(position));
        }
        let text = names::shown(&instruction.code, Lexer::new(self.lowerer.file.directives.escape), &self.state.env);
        let meta = self.meta(&text, instruction, true);
        let platform = self.state.platform.clone();
        let link_meta = VertexMeta { name: format!("LINK {}", meta.name), ..meta.clone() };
        let mut edge = self.lowerer.add(Vertex { op: Op::File(FileOp { actions }), inputs, platform }, meta);
        if let Some(base) = self.state.edge.filter(|_| is_linked) {
            edge = self.link(base, edge, link_meta);
        }
        self.state.edge = Some(edge);
        self.commit(history(&filled, transfer, is_add), Some(edge));
    }

    /// Lays what was copied to the empty file system on the stage's state.
    fn link(&mut self, base: Edge, layer: Edge, meta: VertexMeta) -> Edge {
        let op = Op::Merge(MergeOp { inputs: vec![InputIndex(0), InputIndex(1)] });
        let platform = self.state.platform.clone();
        self.lowerer.add(Vertex { op, inputs: vec![base, layer], platform }, meta)
    }

    /// What is understood and cannot be done yet.
    fn refuse_transfer(&mut self, transfer: &Transfer, is_add: bool) {
        let name = if is_add { "ADD" } else { "COPY" };
        if let Some((_, span)) = &transfer.keep_git_dir {
            self.lowerer.diagnostics.push(Diagnostic::unsupported(&format!("{name} --keep-git-dir"), span.clone()));
        }
    }

    /// Expands all that is expanded; every mistake is reported.
    fn fill(&mut self, transfer: &Transfer, instruction: &Instruction) -> Option<Filled> {
        let sources: Vec<Option<(String, Span)>> =
            transfer.sources.iter().map(|word| Some((self.expand(word, instruction)?, word.span.clone()))).collect();
        let target = self.expand(&transfer.target, instruction);
        let chown = self.expand_optional(transfer.chown.as_ref(), instruction);
        let chmod = self.expand_optional(transfer.chmod.as_ref(), instruction);
        let checksum = self.expand_optional(transfer.checksum.as_ref(), instruction);
        let documents = self.bodies(transfer, instruction);
        let checksum_span = transfer.checksum.as_ref().map(|word| word.span.clone());
        Some(Filled {
            sources: sources.into_iter().collect::<Option<_>>()?,
            documents: documents?,
            target: target?,
            chown: chown?,
            chmod: chmod?,
            checksum: checksum.map(|text| checksum_span.map(|span| (text, span)))?.filter(|(text, _)| !text.is_empty()),
        })
    }

    fn expand_optional(&mut self, word: Option<&Word>, instruction: &Instruction) -> Option<String> {
        word.map_or(Some(String::new()), |word| self.expand(word, instruction))
    }

    /// Bodies of heredocs: quotes mean nothing there, and the escape is always a backslash.
    fn bodies(&mut self, transfer: &Transfer, instruction: &Instruction) -> Option<Vec<(String, String)>> {
        let lexer = Lexer { quotes: Quotes::Ignore, ..Lexer::new('\\') };
        let mut found: Vec<(String, String)> = Vec::new();
        for document in &transfer.documents {
            let name = document.opening.name.clone();
            let word = Word { text: document.body(), span: instruction.span.clone() };
            let body = if document.opening.expand {
                let expanded = lexer.word(&word.text, &self.state.env);
                self.expanded(expanded, &word, instruction)?.text
            } else {
                word.text
            };
            if !found.iter().any(|(known, _)| *known == name) {
                found.push((name, body));
            }
        }
        Some(found)
    }

    fn mode(&mut self, filled: &Filled, transfer: &Transfer) -> Option<Chmod> {
        if filled.chmod.is_empty() {
            return None;
        }
        match chmod(&filled.chmod) {
            Ok(mode) => Some(mode),
            Err(message) => {
                let span = transfer.chmod.as_ref().map_or(transfer.target.span.clone(), |word| word.span.clone());
                self.lowerer.diagnostics.push(Diagnostic::error("invalid-chmod", message, span));
                None
            }
        }
    }

    fn groups(&mut self, transfer: &Transfer, filled: &Filled, step: &Step<'_>, is_add: bool) -> Vec<Group> {
        let mut groups: Vec<Group> = Vec::new();
        let parents = transfer.parents.as_ref().is_some_and(|(on, _)| *on);
        let unpack = transfer.unpack.as_ref().map(|(on, _)| *on);
        let checksum = self.checksum(filled);
        let mut local: Option<Option<Edge>> = None;
        let mut was_local = false;
        for (source, span) in &filled.sources {
            let place = copy_source::place(source);
            if let Err(diagnostic) = copy_source::allowed(&place, is_add, span) {
                self.lowerer.diagnostics.push(*diagnostic);
                continue;
            }
            if let Place::Http(http) = place {
                let edge = self.http(http, checksum.clone());
                let archive = if unpack == Some(true) { Archive::Detect } else { Archive::Keep };
                let path = format!("/{}", copy_source::file_name(source));
                let sources = vec![CopySource { path, wildcard: false, written: source.clone() }];
                groups.push(Group { edge: Some(edge), sources, archive, parents: false });
                was_local = false;
                continue;
            }
            let Some(edge) = self.local_once(&mut local, transfer, step) else { continue };
            let source = copy_source::local(source, parents);
            match groups.last_mut().filter(|_| was_local) {
                Some(group) => group.sources.push(source),
                None => {
                    let archive = if unpack.unwrap_or(is_add) { Archive::Detect } else { Archive::Keep };
                    groups.push(Group { edge, sources: vec![source], archive, parents });
                }
            }
            was_local = true;
        }
        groups.extend(self.document_group(&filled.documents));
        groups
    }

    fn local_once(&mut self, local: &mut Option<Option<Edge>>, transfer: &Transfer, step: &Step<'_>) -> Option<Option<Edge>> {
        if local.is_none() {
            let origin = step.origins.first().unwrap_or(&Origin::Context);
            let from = transfer.from.as_ref().map_or("", |from| from.text.as_str());
            let current = self.counter.title().to_owned();
            let message = format!("cannot copy from stage \"{from}\", it needs to be defined before current stage \"{current}\"");
            let span = transfer.from.as_ref().map_or(transfer.target.span.clone(), |from| from.span.clone());
            *local = self.origin(origin, message, &span).ok();
        }
        *local
    }

    fn document_group(&mut self, documents: &[(String, String)]) -> Option<Group> {
        if documents.is_empty() {
            return None;
        }
        let files: Vec<(String, String)> =
            documents.iter().map(|(name, body)| (clean(&format!("/{name}")), body.clone())).collect();
        let source = |path: &String| CopySource { path: path.clone(), wildcard: false, written: path.clone() };
        let sources = files.iter().map(|(path, _)| source(path)).collect();
        let edge = Some(self.documents(files, 0o644));
        Some(Group { edge, sources, archive: Archive::Keep, parents: false })
    }

    fn checksum(&mut self, filled: &Filled) -> Option<rbuild_oci::Digest> {
        let (text, span) = filled.checksum.as_ref()?;
        match copy_source::checksum(text, span, &filled.sources) {
            Ok(digest) => Some(digest),
            Err(diagnostic) => {
                self.lowerer.diagnostics.push(*diagnostic);
                None
            }
        }
    }
}

/// Whether the copy is to be a layer of its own. Unlike in BuildKit, a mode is no obstacle (spec G-31); but an owner's name is: only the
/// base knows whom it means.
fn is_linked(transfer: &Transfer, owner: Option<&Owner>) -> bool {
    let is_name = |name: &UserName| matches!(name, UserName::Name(_));
    let needs_base = owner.is_some_and(|owner| is_name(&owner.user) || owner.group.as_ref().is_some_and(is_name));
    transfer.link.as_ref().is_some_and(|(on, _)| *on) && !needs_base
}

fn index(position: usize) -> u32 {
    u32::try_from(position).expect("fewer sources than bytes in the file")
}

/// The history's form, with the words as they were expanded.
fn history(filled: &Filled, transfer: &Transfer, is_add: bool) -> String {
    let mut text = String::from(if is_add { "ADD" } else { "COPY" });
    if transfer.parents.as_ref().is_some_and(|(on, _)| *on) {
        text.push_str(" --parents");
    }
    for (flag, value) in [(" --chown=", &filled.chown), (" --chmod=", &filled.chmod)] {
        if !value.is_empty() {
            text.extend([flag, value]);
        }
    }
    for (source, _) in &filled.sources {
        text.extend([" ", source]);
    }
    for (name, _) in &filled.documents {
        text.extend([" <<", name]);
    }
    text.extend([" ", &filled.target, " # buildkit"]);
    text
}

/// An absolute path without `.`, `..` and double slashes.
pub(super) fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// The destination: absolute, with a slash at the end when it must be a directory.
fn target(text: &str, directory: &str) -> String {
    let path = if text.starts_with('/') { clean(text) } else { clean(&format!("{directory}/{text}")) };
    let is_directory = matches!(text, "" | ".") || text.ends_with('/') || text.ends_with("/.");
    if is_directory && path != "/" { path + "/" } else { path }
}

/// `user[:group]`, by number or name.
pub(super) fn owner(text: &str) -> Owner {
    let (user, group) = text.split_once(':').map_or((text, None), |(user, group)| (user, Some(group)));
    let user = if user.is_empty() { UserName::Id(0) } else { user_name(user) };
    Owner { user, group: group.filter(|group| !group.is_empty()).map(user_name) }
}

fn user_name(text: &str) -> UserName {
    match text.parse::<u32>() {
        Ok(id) if !text.starts_with('+') => UserName::Id(id),
        Ok(_) | Err(_) => UserName::Name(text.to_owned()),
    }
}

/// Octal bits, or chmod(1)'s symbols.
fn chmod(text: &str) -> Result<Chmod, String> {
    let numeric = text.starts_with(|c: char| c.is_ascii_digit());
    let octal = u32::from_str_radix(text, 8).ok().filter(|bits| *bits <= 0o7777 && numeric);
    match octal {
        Some(bits) => Ok(Chmod::Octal(bits)),
        None if numeric => Err(format!("invalid chmod parameter: '{text}'. it should be octal string and between 0 and 07777")),
        None if text.split(',').all(is_symbolic) => Ok(Chmod::Symbolic(text.to_owned())),
        None => Err(format!("invalid chmod parameter: '{text}': invalid syntax")),
    }
}

/// `[ugoa]*([-+=][rwxXstugo]*)+`.
fn is_symbolic(clause: &str) -> bool {
    let operations = clause.trim_start_matches(['u', 'g', 'o', 'a']);
    operations.starts_with(['-', '+', '='])
        && operations.chars().all(|c| matches!(c, '-' | '+' | '=' | 'r' | 'w' | 'x' | 'X' | 's' | 't' | 'u' | 'g' | 'o'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_absolute() {
        for (text, directory, expected) in [
            ("/x", "/w", "/x"),
            ("/x/", "/w", "/x/"),
            ("x", "/w", "/w/x"),
            ("x/", "/w", "/w/x/"),
            (".", "/w", "/w/"),
            ("", "/w", "/w/"),
            ("./", "/", "/"),
            ("../y/.", "/w/v", "/w/y/"),
            ("/../../x", "/", "/x"),
            ("/", "/w", "/"),
        ] {
            assert_eq!(target(text, directory), expected, "{text}");
        }
    }

    #[test]
    fn modes_are_octal_or_symbolic() {
        for (text, expected) in [
            ("0755", Ok(Chmod::Octal(0o755))),
            ("7777", Ok(Chmod::Octal(0o7777))),
            ("u=rwX,go=rX", Ok(Chmod::Symbolic("u=rwX,go=rX".into()))),
            ("a+x", Ok(Chmod::Symbolic("a+x".into()))),
            ("+x", Ok(Chmod::Symbolic("+x".into()))),
        ] {
            assert_eq!(chmod(text), expected, "{text}");
        }
        for bad in ["64a", "10000", "8", "u", "u=rwq", "u=rw,,", "+7", "-"] {
            let result = chmod(bad);
            assert_eq!(result.is_err(), bad != "-", "{bad}: {result:?}");
        }
        assert!(chmod("64a").unwrap_err().ends_with("it should be octal string and between 0 and 07777"));
    }

    #[test]
    fn owners_are_numbers_or_names() {
        let id = UserName::Id;
        let name = |text: &str| UserName::Name(text.into());
        for (text, user, group) in [
            ("1", id(1), None),
            ("1:2", id(1), Some(id(2))),
            ("app", name("app"), None),
            ("app:staff", name("app"), Some(name("staff"))),
            (":5", id(0), Some(id(5))),
            ("app:", name("app"), None),
        ] {
            assert_eq!(owner(text), Owner { user, group }, "{text}");
        }
    }
}
