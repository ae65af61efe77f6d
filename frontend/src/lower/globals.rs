//! The global scope: platform arguments, ARG before the first FROM, SOURCE_DATE_EPOCH, proxies.

use std::collections::BTreeMap;

use rbuild_graph::ProxyEnv;

use super::Lowerer;
use crate::diagnostic::Diagnostic;
use crate::expand::{Lexer, Variables};
use crate::instruction::{Argument, Kind};
use crate::options::Options;

const PROXIES: [&str; 5] = ["HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY"];
const EPOCH: &str = "SOURCE_DATE_EPOCH";

/// What FROM lines see, and stages can import.
pub(super) struct Globals {
    pub(super) values: Values,
    /// The same with no --build-arg at all, for a lint; `None` when they cannot be expanded.
    pub(super) defaults: Option<Values>,
    /// Names that are declared before the first FROM.
    pub(super) declared: Vec<String>,
    pub(super) epoch: Option<i64>,
    pub(super) proxy: ProxyEnv,
}

/// Variables by name.
#[derive(Clone, Debug, Default)]
pub(super) struct Values(pub(super) BTreeMap<String, String>);

impl Variables for Values {
    fn value(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

impl Lowerer<'_> {
    /// Evaluates the global scope.
    pub(super) fn globals(&mut self) -> Option<Globals> {
        let target = self.last_or_target_name();
        let start = Values(platform_values(self.options, &target));
        let unset = BTreeMap::new();
        let (values, errors) = self.evaluate(start.clone(), &self.options.build_args);
        let (defaults, default_errors) = self.evaluate(start, &unset);
        let failed = !errors.is_empty();
        self.diagnostics.extend(errors);
        let declared = global_arguments(self).map(|argument| argument.key.text.clone()).collect();
        let epoch = self.epoch(&values);
        let proxy = proxy(&self.options.build_args);
        let defaults = default_errors.is_empty().then_some(defaults);
        (!failed).then_some(Globals { values, defaults, declared, epoch, proxy })
    }

    fn evaluate(&self, mut values: Values, given: &BTreeMap<String, String>) -> (Values, Vec<Diagnostic>) {
        let mut errors = Vec::new();
        let lexer = Lexer::new(self.file.directives.escape);
        for Argument { key, default } in global_arguments(self) {
            let value = match (given.get(&key.text), default) {
                (Some(value), _) => Some(value.clone()),
                (None, None) => None,
                (None, Some(word)) => match lexer.word(&word.text, &values) {
                    Ok(expanded) => Some(expanded.text),
                    Err(error) => {
                        errors.push(error.diagnostic(word));
                        None
                    }
                },
            };
            values.0.extend(value.map(|value| (key.text.clone(), value)));
        }
        (values, errors)
    }

    /// TARGETSTAGE.
    fn last_or_target_name(&self) -> String {
        let last = self.file.instructions.iter().rev().find_map(|instruction| {
            let Kind::From(from) = &instruction.kind else { return None };
            Some(from.name.as_ref().map(|name| name.text.clone()))
        });
        self.options.target.clone().or(last.flatten()).unwrap_or_else(|| "default".into())
    }

    fn epoch(&mut self, values: &Values) -> Option<i64> {
        let text = match self.options.epoch {
            Some(epoch) => return Some(epoch),
            None => self.options.build_args.get(EPOCH).or_else(|| values.0.get(EPOCH))?,
        };
        if text.is_empty() || text == "context" {
            return None;
        }
        let epoch = text.parse().ok().filter(|epoch| jiff::Timestamp::from_second(*epoch).is_ok());
        if epoch.is_none() {
            let message = format!("invalid SOURCE_DATE_EPOCH: {text}");
            self.diagnostics.push(Diagnostic::whole("epoch", message).hint("it is a number of seconds since 1970"));
        }
        epoch
    }
}

fn global_arguments<'a>(lowerer: &Lowerer<'a>) -> impl Iterator<Item = &'a Argument> {
    let before_from = lowerer.file.instructions.iter().take_while(|instruction| !matches!(instruction.kind, Kind::From(_)));
    before_from
        .filter_map(|instruction| if let Kind::Arg(arguments) = &instruction.kind { Some(arguments) } else { None })
        .flatten()
}

fn platform_values(options: &Options, target_stage: &str) -> BTreeMap<String, String> {
    let mut values = BTreeMap::new();
    for (prefix, platform) in [("BUILD", &options.build_platform), ("TARGET", &options.target_platform)] {
        values.insert(format!("{prefix}PLATFORM"), platform.to_string());
        values.insert(format!("{prefix}OS"), platform.os.clone());
        values.insert(format!("{prefix}OSVERSION"), platform.os_version.clone().unwrap_or_default());
        values.insert(format!("{prefix}ARCH"), platform.architecture.clone());
        values.insert(format!("{prefix}VARIANT"), platform.variant.clone().unwrap_or_default());
    }
    values.insert("TARGETSTAGE".into(), target_stage.into());
    for (name, value) in &mut values {
        if let Some(given) = options.build_args.get(name) {
            value.clone_from(given);
        }
    }
    values
}

/// Names that need no ARG.
pub(super) fn is_predefined(name: &str) -> bool {
    const PLATFORM: [&str; 5] = ["PLATFORM", "OS", "OSVERSION", "ARCH", "VARIANT"];
    let platform =
        ["BUILD", "TARGET"].iter().any(|prefix| name.strip_prefix(prefix).is_some_and(|rest| PLATFORM.contains(&rest)));
    platform || name == "TARGETSTAGE" || name == EPOCH || name.starts_with("BUILDKIT_") || proxy_name(name).is_some()
}

fn proxy_name(name: &str) -> Option<&'static str> {
    PROXIES.into_iter().find(|proxy| proxy.eq_ignore_ascii_case(name))
}

fn proxy(build_args: &BTreeMap<String, String>) -> ProxyEnv {
    let mut values: BTreeMap<&str, &String> = BTreeMap::new();
    for (name, value) in build_args {
        values.extend(proxy_name(name).map(|proxy| (proxy, value)));
    }
    let in_order = PROXIES.into_iter().filter_map(|name| Some((name.to_owned(), (*values.get(name)?).clone())));
    ProxyEnv { variables: in_order.collect() }
}
