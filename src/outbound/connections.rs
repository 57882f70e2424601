//! Pools of connections: for plain http, and for https, which come to be with the first request by it. Most servers
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
    kept: Pools,
    /// Nothing in these is kept, so whatever is sent by them has a connection of its own.
    fresh: Pools,
}

#[derive(Default)]
struct Pools {
    plain: OnceCell<reqwest::Client>,
    secure: OnceCell<reqwest::Client>,
}

impl Connections {
    pub(super) fn new(resolver: Resolver) -> Result<Self, Error> {
        install_crypto_provider();
        let plain = OnceCell::new_with(Some(plain(&resolver, MAX_IDLE_PER_HOST)?));
        let kept = Pools { plain, secure: OnceCell::new() };
        Ok(Self { resolver, kept, fresh: Pools::default() })
    }

    /// Those that this URL needs, among them some that were used before.
    pub(super) async fn kept(&self, url: &Url) -> Result<&reqwest::Client, Error> {
        self.of(&self.kept, url, MAX_IDLE_PER_HOST).await
    }

    /// Those that this URL needs, each made for its request.
    pub(super) async fn fresh(&self, url: &Url) -> Result<&reqwest::Client, Error> {
        self.of(&self.fresh, url, 0).await
    }

    async fn of<'a>(
        &self,
        pools: &'a Pools,
        url: &Url,
        idle: usize,
    ) -> Result<&'a reqwest::Client, Error> {
        if url.scheme() == "https" {
            pools.secure.get_or_try_init(|| secure(self.resolver.clone(), idle)).await
        } else {
            pools.plain.get_or_try_init(async || plain(&self.resolver, idle)).await
        }
    }
}

fn plain(resolver: &Resolver, idle: usize) -> Result<reqwest::Client, Error> {
    let built = builder(resolver, idle).tls_certs_only([]).build();
    built.map_err(|error| Error::Setup { cause: Cause::new(error) })
}

async fn secure(resolver: Resolver, idle: usize) -> Result<reqwest::Client, Error> {
    // It reads files.
    let built = spawn_blocking(move || builder(&resolver, idle).build()).await;
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

fn builder(resolver: &Resolver, idle: usize) -> ClientBuilder {
    reqwest::Client::builder()
        .user_agent(USER_AGENT)
        .dns_resolver(resolver.clone())
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .connector_layer(Limit)
        .pool_idle_timeout(IDLE_TIMEOUT)
        .pool_max_idle_per_host(idle)
        // Bodies are decoded by `decoded`, which reads all of them, also where whoever uses this crate has turned these on.
        .no_gzip()
        .no_brotli()
        .no_deflate()
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
        connections.kept(&url("http://a.invalid/")).await.expect("the plain one");
        assert!(!connections.kept.secure.initialized());
        let secure = connections.kept(&url("https://a.invalid/")).await;
        assert!(matches!(secure, Ok(_) | Err(Error::NoAuthorities)), "{secure:?}");
    }
}
