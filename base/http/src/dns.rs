//! Names: by hickory, so that a static binary never loads the host's NSS modules.
//!
//! Configured by `/etc/resolv.conf` and `/etc/hosts`. Where the former cannot be read, names do not resolve; reqwest's own use of
//! hickory would ask a public resolver instead, without telling anybody.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use hickory_resolver::TokioResolver;
use hickory_resolver::config::LookupIpStrategy;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// Asks the name servers that the host is configured for.
#[derive(Clone, Default)]
pub(crate) struct SystemResolver {
    /// Made inside a runtime, on first use. A failure is not kept: the network may come up later.
    resolver: Arc<OnceLock<TokioResolver>>,
}

/// The host says nothing about name servers.
#[derive(Debug, thiserror::Error)]
#[error("reading the name servers of `/etc/resolv.conf`")]
struct NoNameServers {
    #[source]
    source: Box<dyn std::error::Error + Send + Sync>,
}

impl SystemResolver {
    fn resolver(&self) -> Result<&TokioResolver, NoNameServers> {
        if let Some(resolver) = self.resolver.get() {
            return Ok(resolver);
        }
        let mut builder = TokioResolver::builder_tokio().map_err(|error| NoNameServers { source: error.into() })?;
        builder.options_mut().ip_strategy = LookupIpStrategy::Ipv6AndIpv4;
        let resolver = builder.build().map_err(|error| NoNameServers { source: error.into() })?;
        Ok(self.resolver.get_or_init(|| resolver))
    }
}

impl Resolve for SystemResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let own = self.clone();
        Box::pin(async move {
            let found = own.resolver()?.lookup_ip(name.as_str()).await?;
            let addresses: Vec<SocketAddr> = found.iter().map(|address| SocketAddr::new(address, 0)).collect();
            let addresses: Addrs = Box::new(addresses.into_iter());
            Ok(addresses)
        })
    }
}
