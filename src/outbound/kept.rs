//! Which origins keep their connections when an answer has come: the latest few, so that no number of hosts fills
//! this machine with idle connections.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use url::Url;

/// Origins whose connections are kept. Those of any other are closed after their request.
const ORIGINS_MAX: usize = 128;
/// An idle connection is closed after this.
pub(super) const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// When each of those origins was last asked.
#[derive(Debug, Default)]
pub(super) struct Kept {
    origins: Mutex<HashMap<(String, u16), Instant>>,
}

impl Kept {
    /// Whether the connection for this request is kept.
    pub(super) fn keeps(&self, url: &Url, now: Instant) -> bool {
        let host = url.host_str().unwrap_or_default();
        let origin = (host.to_owned(), url.port_or_known_default().unwrap_or_default());
        let mut origins = self.origins.lock().unwrap_or_else(PoisonError::into_inner);
        if origins.len() >= ORIGINS_MAX && !origins.contains_key(&origin) {
            origins.retain(|_, asked| now.saturating_duration_since(*asked) < IDLE_TIMEOUT);
        }
        let is_kept = origins.len() < ORIGINS_MAX || origins.contains_key(&origin);
        if is_kept {
            origins.insert(origin, now);
        }
        is_kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(number: usize) -> Url {
        Url::parse(&format!("http://host{number}.example/")).unwrap()
    }

    #[test]
    fn the_latest_few_origins_keep_their_connections() {
        let (kept, start) = (Kept::default(), Instant::now());
        for number in 0..ORIGINS_MAX {
            assert!(kept.keeps(&url(number), start));
        }
        assert!(!kept.keeps(&url(ORIGINS_MAX), start), "there is no place");
        assert!(kept.keeps(&url(0), start + IDLE_TIMEOUT), "it has one");
        assert!(
            kept.keeps(&url(ORIGINS_MAX), start + IDLE_TIMEOUT),
            "those of the others are gone"
        );
        assert_eq!(kept.origins.lock().unwrap().len(), 2);
    }

    #[test]
    fn an_origin_is_a_host_at_a_port() {
        let (kept, now) = (Kept::default(), Instant::now());
        for text in ["http://a.example/x", "http://a.example:80/y", "https://a.example/"] {
            assert!(kept.keeps(&Url::parse(text).unwrap(), now));
        }
        assert_eq!(kept.origins.lock().unwrap().len(), 2);
    }
}
