//! `RUN --mount`: bind, cache and tmpfs; secret and ssh are read and refused.

use rbuild_graph::{CacheMount, CacheSharing, Mount, MountKind};

use super::copy::clean;
use super::run::Mounts;
use super::stage::Builder;
use super::stages::{Origin, Plan, Step};
use super::{Lowerer, mount_spec};
use crate::diagnostic::Diagnostic;
use crate::instruction::{Instruction, Word};

use mount_spec::{Spec, Type};

impl Lowerer<'_> {
    /// Where a mount's files come from, known before variables are; without `from` it depends on the type.
    pub(super) fn mount_from(&mut self, plan: &Plan<'_>, index: usize, word: &Word) -> Origin {
        let fields = mount_spec::csv(&word.text).unwrap_or_default();
        let from = fields.iter().filter_map(|field| field.split_once('=')).find(|(key, _)| key.eq_ignore_ascii_case("from"));
        let named = from.filter(|(_, name)| !name.is_empty()).and_then(|(_, name)| self.named_origin(plan, index, word, name));
        named.unwrap_or(Origin::Scratch)
    }
}

impl Builder<'_, '_> {
    pub(super) fn mounts(&mut self, words: &[Word], step: &Step<'_>, mounts: &mut Mounts) {
        for (position, word) in words.iter().enumerate() {
            let origin = step.origins.get(position).unwrap_or(&Origin::Scratch);
            let Some(spec) = self.mount_spec(word, step.instruction.as_ref()) else { continue };
            if let Err(diagnostic) = self.mount(&spec, word, origin, mounts) {
                self.lowerer.diagnostics.extend(diagnostic.map(|diagnostic| *diagnostic));
            }
        }
    }

    fn mount_spec(&mut self, word: &Word, instruction: &Instruction) -> Option<Spec> {
        let mut failed = false;
        let read = mount_spec::read(&word.text, &mut |value| {
            let value = Word { text: value.to_owned(), span: word.span.clone() };
            let expanded = self.expand(&value, instruction);
            failed |= expanded.is_none();
            expanded.unwrap_or_default()
        });
        match read {
            Ok(spec) => (!failed).then_some(spec),
            Err((message, near)) => {
                let wrong = Diagnostic::error("mount", message, word.span.clone());
                self.lowerer.diagnostics.push(wrong.did_you_mean(near));
                None
            }
        }
    }

    /// Adds one mount. `Err(None)`: reported already.
    fn mount(&mut self, spec: &Spec, word: &Word, origin: &Origin, mounts: &mut Mounts) -> Result<(), Option<Box<Diagnostic>>> {
        let target = self.mount_target(spec, word)?;
        let kind = match spec.kind {
            Type::Bind => MountKind::Bind,
            Type::Tmpfs => MountKind::Tmpfs { size: spec.size.filter(|size| *size > 0) },
            Type::Cache => MountKind::Cache(self.cache(spec, &target)),
            Type::Secret | Type::Ssh => return Err(Some(self.refuse(spec, word).into())),
        };
        let has_files = matches!(spec.kind, Type::Bind | Type::Cache);
        let edge = match (&spec.from, spec.kind) {
            (Some(from), _) if has_files => self.mount_origin(origin, from, &target, word)?,
            (None, Type::Bind) => Some(self.lowerer.local("context")),
            (Some(_) | None, _) => None,
        };
        let input = edge.map(|edge| mounts.input(edge));
        let source = clean(&format!("/{}", spec.source));
        let selector = Some(source).filter(|source| source != "/" && has_files);
        mounts.mounts.push(Mount { input, selector, target, output: None, readonly: spec.readonly, kind });
        Ok(())
    }

    fn mount_origin(
        &mut self,
        origin: &Origin,
        from: &str,
        target: &str,
        word: &Word,
    ) -> Result<Option<rbuild_graph::Edge>, Option<Box<Diagnostic>>> {
        let message =
            format!("cannot mount from stage \"{from}\" to \"{target}\", stage needs to be defined before current command");
        self.origin(origin, message, &word.span).map_err(|()| None)
    }

    fn mount_target(&self, spec: &Spec, word: &Word) -> Result<String, Option<Box<Diagnostic>>> {
        let target = match spec.target.as_str() {
            absolute if absolute.starts_with('/') => clean(absolute),
            relative => clean(&format!("{}/{relative}", self.state.directory)),
        };
        if target == "/" && !matches!(spec.kind, Type::Secret | Type::Ssh) {
            let message = format!("invalid mount target \"{target}\"");
            return Err(Some(Diagnostic::error("mount", message, word.span.clone()).into()));
        }
        Ok(target)
    }

    fn cache(&self, spec: &Spec, target: &str) -> CacheMount {
        let namespace = self.lowerer.options.build_args.get("BUILDKIT_CACHE_MOUNT_NS").map_or("", String::as_str);
        let id = spec.id.clone().filter(|id| !id.is_empty());
        let id = id.unwrap_or_else(|| if spec.target.starts_with('/') { target.to_owned() } else { spec.target.clone() });
        CacheMount {
            id: format!("{namespace}/{id}"),
            sharing: spec.sharing.unwrap_or(CacheSharing::Shared),
            mode: spec.mode.unwrap_or(0o755),
            uid: spec.uid.unwrap_or(0),
            gid: spec.gid.unwrap_or(0),
        }
    }

    /// A required secret that was not offered is the user's mistake, the rest is ours.
    fn refuse(&self, spec: &Spec, word: &Word) -> Diagnostic {
        let options = self.lowerer.options;
        let (what, offered) = match spec.kind {
            Type::Ssh => ("ssh", &options.ssh),
            Type::Secret | Type::Bind | Type::Cache | Type::Tmpfs => ("secret", &options.secrets),
        };
        let id = spec.secret_id();
        if spec.required && !offered.contains(&id) {
            let hint = format!("pass it with --{what} id={id},…");
            return Diagnostic::error("missing-secret", format!("{what} {id}: not found"), word.span.clone()).hint(hint);
        }
        Diagnostic::unsupported(&format!("RUN --mount=type={what}"), word.span.clone())
    }
}
