//! Signatures of webhooks: Standard Webhooks 1.0, symmetric scheme `v1`.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

const PREFIX: &str = "whsec_";
const VERSION: &str = "v1";
/// A receiver tolerates so much between its clock and the sender's, as the reference libraries do.
const TOLERANCE_SECONDS: u64 = 300;
/// Signatures of one webhook that are looked at.
const SIGNATURES_MAX: usize = 16;
const MIN_BYTES: usize = 24;
/// The longest secret of the standard is one block of SHA-256.
const MAX_BYTES: usize = 64;

/// A key shared with the receiver of webhooks: 24 to 64 bytes, written `whsec_` and base64.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    bytes: Vec<u8>,
}

/// Why a text or some bytes are no [`Secret`]. Never repeats what was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSecret {
    #[error("a webhook secret starts with {PREFIX:?}, followed by base64")]
    Prefix,
    #[error("what follows {PREFIX:?} in a webhook secret is base64 of the standard alphabet")]
    Base64,
    #[error("a webhook secret has {MIN_BYTES} to {MAX_BYTES} bytes, not {bytes}")]
    Length { bytes: usize },
}

impl Secret {
    /// Reads `whsec_<base64 of 24 to 64 bytes>`.
    pub fn parse(text: &str) -> Result<Secret, InvalidSecret> {
        let encoded = text.strip_prefix(PREFIX).ok_or(InvalidSecret::Prefix)?;
        // The decoder's own error names the offending byte, which is part of the secret.
        let bytes = STANDARD.decode(encoded).map_err(|_detail| InvalidSecret::Base64)?;
        Secret::from_bytes(bytes)
    }

    pub fn from_bytes(bytes: Vec<u8>) -> Result<Secret, InvalidSecret> {
        if !(MIN_BYTES..=MAX_BYTES).contains(&bytes.len()) {
            return Err(InvalidSecret::Length { bytes: bytes.len() });
        }
        Ok(Secret { bytes })
    }

    /// The form that [`Secret::parse`] reads.
    pub fn to_text(&self) -> String {
        format!("{PREFIX}{}", STANDARD.encode(&self.bytes))
    }

    fn sign(&self, id: &str, timestamp_seconds: i64, body: &[u8]) -> String {
        let mac = self.mac(id, timestamp_seconds, body);
        format!("{VERSION},{}", STANDARD.encode(mac.finalize().into_bytes()))
    }

    fn mac(&self, id: &str, timestamp_seconds: i64, body: &[u8]) -> Hmac<Sha256> {
        // HMAC fills a short key with zeros up to one block (RFC 2104), and no secret is longer.
        let mut block = [0; MAX_BYTES];
        block[..self.bytes.len()].copy_from_slice(&self.bytes);
        let mut mac = Hmac::<Sha256>::new(&block.into());
        mac.update(format!("{id}.{timestamp_seconds}.").as_bytes());
        mac.update(body);
        mac
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The value of `webhook-signature`: one signature for each secret, in their order.
///
/// `id` is the value of `webhook-id` and has no dot, `timestamp_seconds` is that of
/// `webhook-timestamp`.
pub fn sign(secrets: &[Secret], id: &str, timestamp_seconds: i64, body: &[u8]) -> String {
    let signatures: Vec<String> =
        secrets.iter().map(|secret| secret.sign(id, timestamp_seconds, body)).collect();
    signatures.join(" ")
}

/// Why a webhook is not to be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unverified {
    #[error("a header of Standard Webhooks is missing or is no text: {0}")]
    Missing(&'static str),
    #[error("webhook-timestamp is no number of seconds")]
    NoTime,
    #[error("it was signed {seconds} s from now, and {TOLERANCE_SECONDS} are tolerated")]
    Stale { seconds: u64 },
    #[error("no signature was made with a secret that is known here")]
    NoMatch,
}

/// Checks that a webhook was signed with one of `secrets`, and not long before or after `now_seconds`. `header`
/// gives the text of a header.
pub fn verify<'a>(
    secrets: &[Secret],
    header: impl Fn(&'static str) -> Option<&'a str>,
    body: &[u8],
    now_seconds: i64,
) -> Result<(), Unverified> {
    let text = |name: &'static str| header(name).ok_or(Unverified::Missing(name));
    let id = text("webhook-id")?;
    let timestamp = text("webhook-timestamp")?.parse().map_err(|_error| Unverified::NoTime)?;
    let signatures = text("webhook-signature")?;
    let seconds = now_seconds.abs_diff(timestamp);
    if seconds > TOLERANCE_SECONDS {
        return Err(Unverified::Stale { seconds });
    }
    let signatures = signatures.split(' ').filter_map(|signature| {
        let (version, encoded) = signature.split_once(',')?;
        STANDARD.decode(encoded).ok().filter(|_| version == VERSION)
    });
    let is_of = |given: &[u8]| {
        // Compares in constant time.
        let fits = |secret: &Secret| secret.mac(id, timestamp, body).verify_slice(given).is_ok();
        secrets.iter().any(fits)
    };
    let mut signatures = signatures.take(SIGNATURES_MAX);
    if signatures.any(|given| is_of(&given)) { Ok(()) } else { Err(Unverified::NoMatch) }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use proptest::prelude::*;
    use reqwest::header::HeaderMap;
    use standardwebhooks::Webhook;

    use super::*;

    const EXAMPLE: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    #[test]
    fn a_published_example_has_its_published_signature() {
        let secrets = [Secret::parse(EXAMPLE).unwrap()];
        let body = br#"{"test": 2432232314}"#;
        let signature = sign(&secrets, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn with_two_secrets_a_receiver_that_knows_either_one_verifies() {
        let secrets =
            [Secret::parse(EXAMPLE).unwrap(), Secret::from_bytes((0..64).collect()).unwrap()];
        let now = Timestamp::now().as_second();
        let body = br#"{"type":"job.succeeded"}"#;
        let mut headers = HeaderMap::new();
        headers.insert("webhook-id", "evt_1".parse().unwrap());
        headers.insert("webhook-timestamp", now.to_string().parse().unwrap());
        let signature = sign(&secrets, "evt_1", now, body);
        headers.insert("webhook-signature", signature.parse().unwrap());
        for secret in &secrets {
            let receiver = Webhook::new(&secret.to_text()).unwrap();
            receiver.verify(body, &headers).unwrap();
            assert!(receiver.verify(br#"{"type":"job.failed"}"#, &headers).is_err());
        }
        let stranger = Secret::from_bytes(vec![7; 24]).unwrap();
        let receiver = Webhook::new(&stranger.to_text()).unwrap();
        assert!(receiver.verify(body, &headers).is_err());
    }

    #[test]
    fn what_the_reference_signs_verifies_and_nothing_else_does() {
        let secrets =
            [Secret::parse(EXAMPLE).unwrap(), Secret::from_bytes((0..64).collect()).unwrap()];
        let (now, body) = (1_700_000_000, br#"{"type":"job.succeeded"}"#);
        let reference = Webhook::new(EXAMPLE).unwrap();
        let good = reference.sign("evt_1", now, body).unwrap();
        let check = |secrets: &[Secret], at: &str, signature: &str, body: &[u8]| {
            let header = |name| match name {
                "webhook-id" => Some("evt_1"),
                "webhook-timestamp" => Some(at),
                _ => Some(signature),
            };
            verify(secrets, header, body, now)
        };
        let at = now.to_string();
        assert_eq!(check(&secrets, &at, &good, body), Ok(()));
        assert_eq!(check(&secrets, &at, &format!("v1a,xx v1,yy {good}"), body), Ok(()));
        assert_eq!(check(&secrets[1..], &at, &good, body), Err(Unverified::NoMatch));
        assert_eq!(check(&[], &at, &good, body), Err(Unverified::NoMatch));
        assert_eq!(check(&secrets, &at, &good, b"{}"), Err(Unverified::NoMatch));
        for signature in ["", "v1,", "v1", &good[3..], &good.replace("v1,", "v2,")] {
            assert_eq!(check(&secrets, &at, signature, body), Err(Unverified::NoMatch));
        }
        let stale = (now - 301).to_string();
        let signed_then = reference.sign("evt_1", now - 301, body).unwrap();
        let refused = check(&secrets, &stale, &signed_then, body);
        assert_eq!(refused, Err(Unverified::Stale { seconds: 301 }));
        assert_eq!(check(&secrets, "soon", &good, body), Err(Unverified::NoTime));
        let none = verify(&secrets, |_name| None, body, now);
        assert_eq!(none, Err(Unverified::Missing("webhook-id")));
    }

    #[test]
    fn without_secrets_there_is_no_signature() {
        assert_eq!(sign(&[], "evt_1", 0, b""), "");
    }

    #[test]
    fn a_text_that_is_no_secret_is_refused() {
        let of_length = |bytes: usize| format!("{PREFIX}{}", STANDARD.encode(vec![0; bytes]));
        let cases = [
            ("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned(), InvalidSecret::Prefix),
            (String::new(), InvalidSecret::Prefix),
            ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS".to_owned(), InvalidSecret::Base64),
            ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLa_w".to_owned(), InvalidSecret::Base64),
            ("whsec_".to_owned(), InvalidSecret::Length { bytes: 0 }),
            (of_length(23), InvalidSecret::Length { bytes: 23 }),
            (of_length(65), InvalidSecret::Length { bytes: 65 }),
        ];
        for (text, error) in cases {
            assert_eq!(Secret::parse(&text), Err(error), "{text}");
        }
    }

    #[test]
    fn debug_does_not_show_the_secret() {
        assert_eq!(format!("{:?}", Secret::parse(EXAMPLE).unwrap()), "Secret(…)");
    }

    proptest! {
        #[test]
        fn every_secret_survives_its_text_and_signs_as_the_reference_does(
            bytes in prop::collection::vec(any::<u8>(), 24..=64),
            timestamp_seconds: i64,
            body: String,
        ) {
            let secret = Secret::from_bytes(bytes).unwrap();
            prop_assert_eq!(Secret::parse(&secret.to_text()), Ok(secret.clone()));
            let reference = Webhook::new(&secret.to_text()).unwrap();
            let expected = reference.sign("id", timestamp_seconds, body.as_bytes()).unwrap();
            prop_assert_eq!(sign(&[secret], "id", timestamp_seconds, body.as_bytes()), expected);
        }
    }
}
