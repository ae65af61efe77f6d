//! `RUN --mount`: bind, cache, tmpfs and secret; ssh is read and refused.

use rbuild_graph::{CacheMount, CacheSharing, Mount, MountKind, SecretEnv, SecretMount};

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
            Type::Secret => {
                self.secret(spec, mounts);
                return Ok(());
            }
            Type::Ssh => return Err(Some(Diagnostic::unsupported("RUN --mount=type=ssh", word.span.clone()).into())),
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

    /// A secret as a file, a variable, or both. Whether it was offered shows when the step runs, not when it is cached.
    fn secret(&self, spec: &Spec, mounts: &mut Mounts) {
        let id = spec.secret_id();
        if let Some(name) = &spec.env {
            let name = if name.is_empty() { id.clone() } else { name.clone() };
            mounts.secret_env.push(SecretEnv { id: id.clone(), name, required: spec.required });
        }
        let target = match (spec.target.as_str(), &spec.env) {
            ("", Some(_)) => return,
            ("", None) => format!("/run/secrets/{}", id.rsplit('/').next().unwrap_or_default()),
            (target, _) => self.absolute(target),
        };
        let (mode, uid, gid) = (spec.mode.unwrap_or(0o400), spec.uid.unwrap_or(0), spec.gid.unwrap_or(0));
        let kind = MountKind::Secret(SecretMount { id, mode, uid, gid, required: spec.required });
        mounts.mounts.push(Mount { input: None, selector: None, target, output: None, readonly: true, kind });
    }

    fn absolute(&self, target: &str) -> String {
        if target.starts_with('/') { clean(target) } else { clean(&format!("{}/{target}", self.state.directory)) }
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
        let target = self.absolute(&spec.target);
        let may_be_empty = matches!(spec.kind, Type::Secret | Type::Ssh) && spec.target.is_empty();
        if target == "/" && !may_be_empty {
            let message = format!("invalid mount target \"{target}\"");
            return Err(Some(Diagnostic::error("mount", message, word.span.clone()).into()));
        }
        Ok(target)
    }

    fn cache(&self, spec: &Spec, target: &str) -> CacheMount {
        let namespace = self.lowerer.options.build_args.get("BUILDKIT_CACHE_MOUNT_NS").map_or("", String::as_str);
        let id = spec.id.clone().filter(|id| !id.is_empty());
        let relative = || clean(&format!("/{}", spec.target)).split_off(1);
        let id = id.unwrap_or_else(|| if spec.target.starts_with('/') { target.to_owned() } else { relative() });
        CacheMount {
            id: format!("{namespace}/{id}"),
            sharing: spec.sharing.unwrap_or(CacheSharing::Shared),
            mode: spec.mode.unwrap_or(0o755),
            uid: spec.uid.unwrap_or(0),
            gid: spec.gid.unwrap_or(0),
        }
    }
}
