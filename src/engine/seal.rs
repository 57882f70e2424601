//! The secret and the headers that came with a callback are kept encrypted: who has only the database cannot read them.

use chacha20poly1305::aead::{Aead as _, Generate as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use serde::{Deserialize, Serialize};

use crate::domain::CallbackId;

/// Secret and headers of a callback. No `Debug`: it must not reach a log.
#[derive(Clone, Default, Deserialize, Serialize)]
pub(super) struct CallbackSecrets {
    pub(super) secret: Option<String>,
    pub(super) headers: Vec<(String, String)>,
}

/// Seals and opens with one key.
pub(super) struct Seal {
    cipher: XChaCha20Poly1305,
}

impl std::fmt::Debug for Seal {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Seal(…)")
    }
}

/// The nonce's length in bytes: long enough to be drawn at random for every message.
const NONCE_BYTES: usize = 24;

impl Seal {
    pub(super) fn new(key: &[u8; 32]) -> Self {
        Self { cipher: XChaCha20Poly1305::new(key.into()) }
    }

    /// Seals `secrets` for the callback `id`; none if there is nothing to keep.
    pub(super) fn seal(&self, id: CallbackId, secrets: &CallbackSecrets) -> Option<Vec<u8>> {
        if secrets.secret.is_none() && secrets.headers.is_empty() {
            return None;
        }
        let text = serde_json::to_vec(secrets).ok()?;
        let nonce = XNonce::generate();
        // Bound to the callback, so that a row moved to another one does not open there.
        let payload = Payload { msg: &text, aad: id.0.as_bytes() };
        let sealed = self.cipher.encrypt(&nonce, payload).ok()?;
        Some([nonce.as_slice(), &sealed].concat())
    }

    /// Opens what [`Seal::seal`] sealed; none if the key or the callback is another.
    pub(super) fn open(&self, id: CallbackId, sealed: &[u8]) -> Option<CallbackSecrets> {
        let (nonce, sealed) = sealed.split_at_checked(NONCE_BYTES)?;
        let payload = Payload { msg: sealed, aad: id.0.as_bytes() };
        let text = self.cipher.decrypt(&XNonce::try_from(nonce).ok()?, payload).ok()?;
        serde_json::from_slice(&text).ok()
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const ID: CallbackId = CallbackId(Uuid::from_u128(1));
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    fn secrets() -> CallbackSecrets {
        let headers = vec![("authorization".to_owned(), "Bearer s3cret".to_owned())];
        CallbackSecrets { secret: Some(SECRET.to_owned()), headers }
    }

    #[test]
    fn what_is_sealed_opens_again_and_shows_nothing_meanwhile() {
        let seal = Seal::new(&[7; 32]);
        let sealed = seal.seal(ID, &secrets()).expect("something to seal");
        let opened = seal.open(ID, &sealed).expect("the same key and callback");
        assert_eq!(opened.secret.as_deref(), Some(SECRET));
        assert_eq!(opened.headers, secrets().headers);
        for secret in [&SECRET.as_bytes()[6..], b"s3cret", b"authorization"] {
            assert!(!sealed.windows(secret.len()).any(|part| part == secret));
        }
        assert_ne!(seal.seal(ID, &secrets()), Some(sealed), "a nonce of its own each time");
    }

    #[test]
    fn another_key_another_callback_or_a_changed_byte_does_not_open() {
        let seal = Seal::new(&[7; 32]);
        let sealed = seal.seal(ID, &secrets()).expect("something to seal");
        assert!(Seal::new(&[8; 32]).open(ID, &sealed).is_none());
        assert!(seal.open(CallbackId(Uuid::from_u128(2)), &sealed).is_none());
        for place in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[place] ^= 1;
            assert!(seal.open(ID, &changed).is_none(), "byte {place}");
            assert!(seal.open(ID, &sealed[..place]).is_none(), "cut at {place}");
        }
    }

    #[test]
    fn with_nothing_in_confidence_nothing_is_kept() {
        assert_eq!(Seal::new(&[7; 32]).seal(ID, &CallbackSecrets::default()), None);
    }

    #[test]
    fn debug_does_not_show_the_key() {
        assert_eq!(format!("{:?}", Seal::new(&[7; 32])), "Seal(…)");
    }
}
