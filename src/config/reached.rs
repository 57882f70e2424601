//! How the server is reached: by whom, by what names, and through what proxies.

use super::Config;
use super::setting_error::SettingError;
use crate::http::{self, InvalidProxies};

/// What stands before the server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxies {
    /// The path that clients reach it under; empty for none.
    pub url_prefix: String,
    /// Addresses and networks of proxies that say for whom they ask.
    pub trusted: Vec<String>,
}

impl Proxies {
    pub(super) fn read(&self) -> Result<http::Proxies, SettingError> {
        http::Proxies::new(&self.url_prefix, &self.trusted).map_err(|error| {
            let name = match error {
                InvalidProxies::Prefix => "url_prefix",
                InvalidProxies::Trusted(_) => "trusted_proxies",
            };
            SettingError::of(name, error.to_string())
        })
    }
}

impl Config {
    /// Whether nobody but this machine can reach the server. Another name is what a proxy before it goes by.
    pub(crate) fn is_local(&self) -> bool {
        self.listen.ip().is_loopback() && self.hosts.is_empty()
    }

    /// The front desk of a configuration that was checked.
    pub(crate) fn http(&self) -> http::Config {
        let own = (!self.listen.ip().is_unspecified()).then(|| self.listen.ip().to_string());
        http::Config {
            wait_max: self.wait_max,
            hosts: self.hosts.iter().cloned().chain(own).collect(),
            open_without_keys: self.is_local(),
            access_log: self.access_log,
            proxies: self.proxies.read().unwrap_or_default(),
            limits: self.limits.http(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_loopback_and_behind_a_proxy_nothing_is_open_without_a_key() {
        let open = |listen: &str, hosts: &[&str]| {
            let hosts = hosts.iter().map(|host| (*host).to_owned()).collect();
            let config = Config { listen: listen.parse().unwrap(), hosts, ..Config::default() };
            config.http().open_without_keys
        };
        assert!(!open("127.0.0.1:8080", &["futurity.example"]));
        let listening = |listen: &str| open(listen, &[]);
        assert!(listening("127.0.0.1:8080") && listening("[::1]:8080"));
        assert!(!listening("0.0.0.0:8080") && !listening("[::]:8080"));
        assert!(!listening("192.0.2.1:8080"));
    }
}
