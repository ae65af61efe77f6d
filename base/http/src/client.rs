//! The client itself: built once, on first use, from its configuration.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use reqwest::{Certificate, ClientBuilder, NoProxy, Proxy};

use crate::dns::SystemResolver;
use crate::{HttpError, redirect};

/// Proxies, as the cli found them in flags or the environment. The default is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProxyConfig {
    /// Proxy for `http://` (`HTTP_PROXY`): a URL, or `host:port`.
    pub http: Option<String>,
    /// Proxy for `https://` (`HTTPS_PROXY`).
    pub https: Option<String>,
    /// Hosts, domains and networks that are reached directly, separated by commas (`NO_PROXY`).
    pub no_proxy: Option<String>,
}

/// How a client behaves.
#[derive(Clone, Debug)]
pub struct Config {
    /// Proxies.
    pub proxies: ProxyConfig,
    /// Certificate authorities (PEM, several in one text are fine) that are trusted beside the system's.
    pub extra_roots: Vec<Vec<u8>>,
    /// Limit for making a connection: name, TCP, TLS.
    pub connect_timeout: Duration,
    /// Limit for waiting for the first or the next byte of an answer. There is no limit for the whole.
    pub stall_timeout: Duration,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            proxies: ProxyConfig::default(),
            extra_roots: Vec::new(),
            connect_timeout: Duration::from_secs(30),
            stall_timeout: Duration::from_secs(30),
        }
    }
}

/// Cheap to clone. Built on first use, so that offline commands pay nothing.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

struct Shared {
    config: Config,
    built: OnceLock<Result<reqwest::Client, Arc<HttpError>>>,
}

impl Client {
    /// With the default configuration: the system's roots, no proxies.
    pub fn new() -> Client {
        Client::with_config(Config::default())
    }

    /// Nothing is checked or read before the first request.
    pub fn with_config(config: Config) -> Client {
        Client { shared: Arc::new(Shared { config, built: OnceLock::new() }) }
    }

    /// The underlying client, for other protocols over HTTP. Its redirect policy and time limits hold for them too.
    pub fn inner(&self) -> Result<reqwest::Client, HttpError> {
        let built = self.shared.built.get_or_init(|| build(&self.shared.config).map_err(Arc::new));
        built.clone().map_err(|error| HttpError::Unusable { source: error })
    }
}

impl Default for Client {
    fn default() -> Client {
        Client::new()
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Client").field("config", &self.shared.config).finish_non_exhaustive()
    }
}

fn build(config: &Config) -> Result<reqwest::Client, HttpError> {
    // Process-wide, and an error only where somebody was faster; then theirs is used.
    rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
    let extra = extra_roots(config)?;
    let with_system_roots = builder(config)?.tls_certs_merge(extra.clone()).build();
    match with_system_roots {
        Ok(client) => Ok(client),
        // A minimal container has no certificates at all, which the verifier refuses.
        Err(_no_roots) => {
            let bundled = bundled_roots().chain(extra);
            builder(config)?.tls_certs_only(bundled).build().map_err(|source| HttpError::Configuration { source })
        }
    }
}

fn builder(config: &Config) -> Result<ClientBuilder, HttpError> {
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("rbuild/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(config.connect_timeout)
        .read_timeout(config.stall_timeout)
        .redirect(redirect::policy())
        .referer(false)
        .dns_resolver(Arc::new(SystemResolver::default()))
        // Forgets the environment's proxies.
        .no_proxy();
    for proxy in proxies(&config.proxies)? {
        builder = builder.proxy(proxy);
    }
    Ok(builder)
}

fn proxies(config: &ProxyConfig) -> Result<Vec<Proxy>, HttpError> {
    let ProxyConfig { http, https, no_proxy } = config;
    let direct = no_proxy.as_deref().and_then(NoProxy::from_string);
    let http = http.as_deref().filter(|url| !url.is_empty()).map(Proxy::http);
    let https = https.as_deref().filter(|url| !url.is_empty()).map(Proxy::https);
    let proxies = [http, https].into_iter().flatten();
    proxies.map(|proxy| Ok(proxy.map_err(|source| HttpError::Configuration { source })?.no_proxy(direct.clone()))).collect()
}

fn extra_roots(config: &Config) -> Result<Vec<Certificate>, HttpError> {
    let mut roots = Vec::new();
    for pem in &config.extra_roots {
        roots.extend(Certificate::from_pem_bundle(pem).map_err(|source| HttpError::Configuration { source })?);
    }
    Ok(roots)
}

/// Mozilla's, as of this build.
fn bundled_roots() -> impl Iterator<Item = Certificate> {
    webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().filter_map(|root| Certificate::from_der(root).ok())
}
