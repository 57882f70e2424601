//! By what a request is known when it comes again (G8).

use super::Invalid;

/// A key that a client gives to a request, so that it can send it again: 1 to 255 printable characters
/// of ASCII.
#[derive(Clone, PartialEq, Eq)]
pub struct IdempotencyKey(Box<str>);

impl IdempotencyKey {
    /// Longest key, in characters.
    pub const LENGTH_MAX: usize = 255;

    /// Checks `key`.
    pub fn new(key: &str) -> Result<Self, Invalid> {
        let is_printable = |byte: u8| (b' '..=b'~').contains(&byte);
        if (1..=Self::LENGTH_MAX).contains(&key.len()) && key.bytes().all(is_printable) {
            return Ok(Self(key.into()));
        }
        Err(Invalid::new(format!(
            "an idempotency key is 1 to {} printable characters of ASCII",
            Self::LENGTH_MAX
        )))
    }

    /// The key.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// SHA-256 of what makes a request the same: method, path and body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint(pub [u8; 32]);

/// A key and whose it is: two owners never meet in one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedKey {
    /// The API key's id; empty where none is needed.
    pub owner: String,
    /// What the client gave.
    pub key: IdempotencyKey,
}

/// What a submission is known by when it comes again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its key, if it has one.
    pub key: Option<OwnedKey>,
    /// Whether the job's id is the client's choice.
    pub chooses_id: bool,
    /// To tell the same request from another one.
    pub fingerprint: Fingerprint,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g8_a_key_has_1_to_255_printable_characters() {
        for key in ["a", "8e03978e-40d5-43dd-bc93-6894a57f9324", " ~", &"x".repeat(255)] {
            assert_eq!(IdempotencyKey::new(key).expect("it is legal").as_str(), key);
        }
        for key in ["", &"x".repeat(256), "a\tb", "a\u{7f}", "é", "\u{1f}"] {
            assert!(IdempotencyKey::new(key).is_err(), "{key:?}");
        }
    }
}
