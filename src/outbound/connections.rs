//! Pools of connections: one for plain http, and one for https, which comes to be with the first request by it. Most servers
//! never make one, and the system's certificates of authorities are hundreds of files to read and a megabyte to keep.

use reqwest::ClientBuilder;
use tokio::sync::OnceCell;
use tokio::task::spawn_blocking;
use url::Url;

use super::connect::Limit;
use super::error::{Cause, Error};
use super::kept::IDLE_TIMEOUT;
use super::resolver::Resolver;

const MAX_IDLE_PER_HOST: usize = 32;
const USER_AGENT: &str = concat!("futurity/", env!("CARGO_PKG_VERSION"));

/// Connections to one port, or to all that have no pools of their own.
pub(super) struct Connections {
    resolver: Resolver,
    plain: reqwest::Client,
    secure: OnceCell<reqwest::Client>,
}

impl Connections {
    pub(super) fn new(resolver: Resolver) -> Result<Self, Error> {
        install_crypto_provider();
        let plain = builder(&resolver).tls_certs_only([]).build();
        let plain = plain.map_err(|error| Error::Setup { cause: Cause::new(error) })?;
        Ok(Self { resolver, plain, secure: OnceCell::new() })
    }

    /// Those that this URL needs.
    ///
    /// # Errors
    /// [`Error::NoAuthorities`], as long as the system has none: small container images have no certificates.
    pub(super) async fn to(&self, url: &Url) -> Result<&reqwest::Client, Error> {
        if url.scheme() == "https" {
            self.secure.get_or_try_init(|| secure(self.resolver.clone())).await
        } else {
            Ok(&self.plain)
        }
    }
}

async fn secure(resolver: Resolver) -> Result<reqwest::Client, Error> {
    // It reads files.
    let built = spawn_blocking(move || builder(&resolver).build()).await;
    built.map_err(|_stopping| Error::NoAuthorities)?.map_err(|error| {
        tracing::warn!(cause = %Cause::new(error), "requests by https fail");
        Error::NoAuthorities
    })
}

/// rustls takes its cryptography from the process, and reqwest panics when there is none.
fn install_crypto_provider() {
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        tracing::debug!("the process has a cryptography provider already");
    }
}

fn builder(resolver: &Resolver) -> ClientBuilder {
    reqwest::Client::builder()
        .user_agent(USER_AGENT)
        .dns_resolver(resolver.clone())
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .connector_layer(Limit)
        .pool_idle_timeout(IDLE_TIMEOUT)
        .pool_max_idle_per_host(MAX_IDLE_PER_HOST)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::{Config, egress::Policy};
    use super::*;

    #[tokio::test]
    async fn only_https_needs_the_certificates_of_the_system() {
        let policy = Arc::new(Policy::new(&Config::default(), Vec::new()));
        let connections = Connections::new(Resolver::new(policy)).expect("a pool");
        let url = |text| Url::parse(text).expect("a URL");
        connections.to(&url("http://a.invalid/")).await.expect("the plain one");
        assert!(!connections.secure.initialized());
        let secure = connections.to(&url("https://a.invalid/")).await;
        assert!(matches!(secure, Ok(_) | Err(Error::NoAuthorities)), "{secure:?}");
    }
}
