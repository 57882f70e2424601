//! Where to listen and what to be called, as people write it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use serde::{Deserialize as _, Deserializer};

/// An address with its port; a port alone, or one of `localhost`, is this machine's.
pub(super) fn listen(text: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let port = text.rsplit(':').next().and_then(|port| port.parse::<u16>().ok());
    match (port, text.rsplit_once(':')) {
        (Some(port), None | Some(("localhost", _))) => {
            Ok(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port))
        }
        (Some(port), Some(("", _))) => Err(format!(
            "it names no address: 127.0.0.1:{port} is for this machine alone, 0.0.0.0:{port} for all"
        )),
        _ => Err("give an address with its port, like 127.0.0.1:8080".to_owned()),
    }
}

/// The same, in the file.
pub(super) fn listen_in_file<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<SocketAddr>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| listen(&text).map_err(serde::de::Error::custom)).transpose()
}

/// Whether a request may call a server so in `Host`, without its port.
pub(super) fn is_host(name: &str) -> bool {
    if let Some(inner) = name.strip_prefix('[') {
        let inner = inner.strip_suffix(']').unwrap_or_default();
        return inner.parse::<Ipv6Addr>().is_ok();
    }
    let is_part = |character: char| character.is_alphanumeric() || "-._".contains(character);
    !name.is_empty() && name.chars().all(is_part)
}

/// Yes or no, as people write it in the environment.
pub(super) fn switch(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Ok(true),
        "0" | "false" | "no" | "off" | "" => Ok(false),
        _ => Err("say true or false".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_taken_as_people_write_it_and_what_is_none_says_what_to_write() {
        let shown = |text| listen(text).map(|address| address.to_string());
        for (text, address) in [
            ("0.0.0.0:80", "0.0.0.0:80"),
            ("[::1]:8081", "[::1]:8081"),
            ("8081", "127.0.0.1:8081"),
            ("localhost:8081", "127.0.0.1:8081"),
        ] {
            assert_eq!(shown(text).as_deref(), Ok(address));
        }
        for (text, word) in [
            (":8081", "127.0.0.1:8081"),
            ("futurity:8081", "127.0.0.1:8080"),
            ("127.0.0.1", "its port"),
            ("99999", "its port"),
            ("", "its port"),
        ] {
            assert!(shown(text).unwrap_err().contains(word), "{text}");
        }
    }

    #[test]
    fn a_name_has_neither_scheme_nor_port() {
        for name in
            ["futurity", "futurity.example", "10.1.2.3", "[2001:db8::1]", "a_b", "münchen.example"]
        {
            assert!(is_host(name), "{name}");
        }
        for name in ["", "bad host", "https://x/", "x:80", "::1", "[::1", "[x]", "*.example"] {
            assert!(!is_host(name), "{name}");
        }
    }
}
