//! The HTTP client: TLS (rustls, aws-lc-rs), names, proxies, redirects, time limits. One for a process.
//!
//! Reads no environment: proxies and roots come with [`Config`]. What it does read of the host is its certificate store,
//! `/etc/resolv.conf` and `/etc/hosts`, all on first use.

mod client;
mod date;
mod dns;
mod error;
mod get;
mod redirect;

pub use client::{Client, Config, ProxyConfig};
pub use date::{format_http_date, parse_http_date};
pub use error::HttpError;
pub use get::{Body, Fetched, Response, Validators};

#[cfg(test)]
mod tests;
