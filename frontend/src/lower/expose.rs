//! EXPOSE: ports, ranges and protocols (spec G-18).

use std::net::IpAddr;

use serde_json::Value;

use super::stage::Builder;
use crate::diagnostic::Diagnostic;
use crate::expand::Lexer;
use crate::go_format;
use crate::instruction::{Instruction, Word};
use crate::lint::Rule;

/// One argument, taken apart.
struct Spec {
    ports: std::ops::RangeInclusive<u16>,
    protocol: String,
    /// Whether an address or a host's port stood before it.
    mapped: bool,
}

impl Builder<'_, '_> {
    pub(super) fn expose(&mut self, words: &[Word], instruction: &Instruction) {
        let lexer = Lexer::new(self.lowerer.file.directives.escape);
        let mut exposed = Vec::new();
        let before = self.lowerer.errors();
        for word in words {
            let expanded = lexer.words(&word.text, &self.state.env);
            let Some(expanded) = self.expanded(expanded, word, instruction) else { continue };
            for text in &expanded.words {
                match read(text) {
                    Ok(spec) => {
                        self.lint_port(text, &spec, word, instruction);
                        let protocol = spec.protocol.to_lowercase();
                        exposed.extend(spec.ports.map(|port| format!("{port}/{protocol}")));
                    }
                    Err(message) => {
                        self.lowerer.diagnostics.push(Diagnostic::error("invalid-port", message, word.span.clone()));
                    }
                }
            }
        }
        if self.lowerer.errors() > before {
            return;
        }
        self.commit(format!("EXPOSE {}", go_format::list(&exposed)), None);
        let empty = || Value::Object(serde_json::Map::new());
        self.state.config.config.exposed_ports.extend(exposed.into_iter().map(|port| (port, empty())));
    }

    fn lint_port(&mut self, text: &str, spec: &Spec, word: &Word, instruction: &Instruction) {
        if spec.protocol != spec.protocol.to_lowercase() {
            let message = format!("Defined protocol '{text}' in EXPOSE instruction should be lowercase");
            self.lowerer.findings.report(Rule::ExposeProtoCasing, &word.span, &instruction.comments, message);
        }
        if spec.mapped {
            let message = format!("EXPOSE instruction should not define an IP address or host-port mapping, found '{text}'");
            self.lowerer.findings.report(Rule::ExposeInvalidFormat, &word.span, &instruction.comments, message);
        }
    }
}

/// `[ip:][host port:]port[-port][/protocol]`.
fn read(text: &str) -> Result<Spec, String> {
    let mut parts = text.rsplitn(3, ':');
    let (container, host, address) =
        (parts.next().unwrap_or_default(), parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let (ports, protocol) = container.split_once('/').unwrap_or((container, ""));
    let invalid = |reason: &str| Err(format!("invalid port: {}: {reason}", go_format::quote_short(text)));
    if ports.is_empty() {
        return invalid("no port specified");
    }
    let protocol = match protocol.to_lowercase().as_str() {
        "" => "tcp",
        "tcp" | "udp" | "sctp" => protocol,
        _ => return invalid(&format!("invalid proto: {protocol}")),
    };
    let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address);
    if !address.is_empty() && bare.parse::<IpAddr>().is_err() {
        return Err(format!("invalid IP address: {address}"));
    }
    let range = port_range(ports).ok_or_else(|| format!("invalid containerPort: {ports}"))?;
    if !host.is_empty() {
        let hosts = port_range(host).ok_or_else(|| format!("invalid hostPort: {host}"))?;
        if range.len() != hosts.len() && range.len() != 1 {
            return Err(format!("invalid ranges specified for container and host Ports: {ports} and {host}"));
        }
    }
    Ok(Spec { ports: range, protocol: protocol.to_owned(), mapped: !(host.is_empty() && address.is_empty()) })
}

fn port_range(text: &str) -> Option<std::ops::RangeInclusive<u16>> {
    let (start, end) = text.split_once('-').unwrap_or((text, text));
    let (start, end) = (start.parse().ok()?, end.parse().ok()?);
    (start <= end).then_some(start..=end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_read() {
        for (text, expected) in [
            ("80", "80..=80/tcp"),
            ("80/udp", "80..=80/udp"),
            ("80/", "80..=80/tcp"),
            ("8000-8002/SCTP", "8000..=8002/SCTP"),
            ("127.0.0.1:80:8080", "8080..=8080/tcp mapped"),
            ("[::1]:80:8080", "8080..=8080/tcp mapped"),
            ("1000-1010:80", "80..=80/tcp mapped"),
            ("80/http", "invalid port: \"80/http\": invalid proto: http"),
            ("/tcp", "invalid port: \"/tcp\": no port specified"),
            ("65536", "invalid containerPort: 65536"),
            ("9-8", "invalid containerPort: 9-8"),
            ("x:80", "invalid hostPort: x"),
            ("nohost:1:80", "invalid IP address: nohost"),
            ("1-2:80-82", "invalid ranges specified for container and host Ports: 80-82 and 1-2"),
        ] {
            let read = match read(text) {
                Ok(spec) => format!("{:?}/{}{}", spec.ports, spec.protocol, if spec.mapped { " mapped" } else { "" }),
                Err(message) => message,
            };
            assert_eq!(read, expected, "{text}");
        }
    }
}
