//! What a callback gives in confidence is kept sealed: the database alone does not tell it.

use chacha20poly1305::aead::{Aead as _, Generate as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use serde::{Deserialize, Serialize};

use crate::domain::CallbackId;

/// Secret and headers of a callback. No `Debug`: it must not reach a log.
#[derive(Clone, Default, Deserialize, Serialize)]
pub(super) struct Confidence {
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

    /// Seals `confidence` for the callback `id`; none if there is nothing to keep.
    pub(super) fn seal(&self, id: CallbackId, confidence: &Confidence) -> Option<Vec<u8>> {
        if confidence.secret.is_none() && confidence.headers.is_empty() {
            return None;
        }
        let text = serde_json::to_vec(confidence).ok()?;
        let nonce = XNonce::generate();
        // Bound to the callback, so that a row moved to another one does not open there.
        let payload = Payload { msg: &text, aad: id.0.as_bytes() };
        let sealed = self.cipher.encrypt(&nonce, payload).ok()?;
        Some([nonce.as_slice(), &sealed].concat())
    }

    /// Opens what [`Seal::seal`] sealed; none if the key or the callback is another.
    pub(super) fn open(&self, id: CallbackId, sealed: &[u8]) -> Option<Confidence> {
        let (nonce, sealed) = sealed.split_at_checked(NONCE_BYTES)?;
        let payload = Payload { msg: sealed, aad: id.0.as_bytes() };
        let text = self.cipher.decrypt(&XNonce::try_from(nonce).ok()?, payload).ok()?;
        serde_json::from_slice(&text).ok()
    }
}
