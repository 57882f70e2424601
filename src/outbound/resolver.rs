//! Resolving a name once, and passing on nothing that the policy denies.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::egress::{Policy, is_localhost};
use super::lookups::Lookups;
use super::sending::Sending;

/// Stands for every port that no rule names.
const ORDINARY_PORT: u16 = 0;

/// What [`Resolve`] hands to the HTTP library, from whose error `Denied` is found again.
type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Resolves names for requests to one port, or to the ordinary ones.
#[derive(Clone)]
pub(super) struct Resolver {
    policy: Arc<Policy>,
    port: u16,
    lookups: Lookups,
}

impl Resolver {
    pub(super) fn new(policy: Arc<Policy>) -> Resolver {
        Resolver { policy, port: ORDINARY_PORT, lookups: Lookups::default() }
    }

    /// The same for another port; look-ups are counted together, and their answers shared.
    pub(super) fn at_port(&self, port: u16) -> Resolver {
        Resolver { port, ..self.clone() }
    }

    /// All addresses of a host, if every one of them may be connected to. What was looked up a moment ago is judged anew.
    async fn resolve_checked(self, host: String) -> Result<Vec<SocketAddr>, BoxError> {
        let addresses = if is_localhost(&host) {
            // RFC 6761, section 6.3: never a question for a name server.
            vec![
                SocketAddr::from((Ipv4Addr::LOCALHOST, self.port)),
                SocketAddr::from((Ipv6Addr::LOCALHOST, self.port)),
            ]
        } else {
            let sending = Sending::current();
            let waits = |waits| sending.waits(waits);
            let found = self.lookups.look_up(&host, sending.purpose, waits).await?;
            found.iter().map(|ip| SocketAddr::new(*ip, self.port)).collect()
        };
        for &address in &addresses {
            self.policy.check_address(Some(&host), address)?;
        }
        // Port 0 is replaced by the URL's; any other port is the URL's already.
        Ok(addresses)
    }
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let checked = self.clone().resolve_checked(name.as_str().to_owned());
        Box::pin(async move { checked.await.map(|found| Box::new(found.into_iter()) as Addrs) })
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::super::egress::Denied;
    use super::*;

    fn resolver(allow: &[&str], allow_loopback: bool, own: Vec<SocketAddr>) -> Resolver {
        let allow = allow.iter().map(|entry| entry.parse().unwrap()).collect();
        Resolver::new(Arc::new(Policy::new(&Config { allow, allow_loopback }, own)))
    }

    async fn denial(resolver: Resolver, host: &str) -> Denied {
        let error = resolver.resolve_checked(host.to_owned()).await.unwrap_err();
        *error.downcast().unwrap()
    }

    #[tokio::test]
    async fn names_below_localhost_are_loopback_without_asking_anybody() {
        for name in ["localhost", "localhost.", "a.b.localhost"] {
            let resolver = resolver(&[], true, Vec::new());
            let found = resolver.resolve_checked(name.to_owned()).await.unwrap();
            let ips: Vec<String> = found.iter().map(|found| found.ip().to_string()).collect();
            assert_eq!(ips, ["127.0.0.1", "::1"], "{name}");
        }
    }

    #[tokio::test]
    async fn one_denied_address_denies_the_name() {
        for (entry, denied_ip) in [("127.0.0.1:9000", "::1"), ("[::1]:9000", "127.0.0.1")] {
            let resolver = resolver(&[entry], false, Vec::new()).at_port(9000);
            let denied = denial(resolver, "localhost").await;
            let Denied::Address { address, .. } = denied else { panic!("{denied}") };
            assert_eq!(address.ip().to_string(), denied_ip);
        }
        let both = resolver(&["127.0.0.1:9000", "[::1]:9000"], false, Vec::new());
        assert!(both.at_port(9000).resolve_checked("localhost".to_owned()).await.is_ok());
    }

    #[tokio::test]
    async fn a_name_is_judged_at_the_port_of_its_resolver() {
        let resolver = resolver(&[], true, vec![SocketAddr::from(([127, 0, 0, 1], 8080))]);
        assert!(resolver.clone().resolve_checked("localhost".to_owned()).await.is_ok());
        let denied = denial(resolver.at_port(8080), "localhost").await;
        assert!(matches!(denied, Denied::Own { .. }), "{denied}");
    }
}
