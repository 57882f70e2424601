//! What receivers answer, and what people write into files, read without either.

use std::hint::black_box;

use crate::outbound;

use super::{keys, secret};

/// `Retry-After` of a receiver.
pub fn retry_after(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        black_box(outbound::retry_after(text));
    }
}

/// The files of keys and of secrets.
pub fn files(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        black_box(keys::is_table(text));
        black_box(secret::is_file(text));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::domain::example::mangled;

    const TEXTS: &[&str] = &[
        "120",
        "Wed, 21 Oct 2026 07:28:00 GMT",
        "99999999999999999999",
        r#"{"keys":[{"id":"ab","name":"n","scopes":["read"],"created_at_ms":1,"expires_at_ms":2,"sha256":"00"}]}"#,
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\nwhsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw until 2026-01-31T12:00:00Z",
    ];

    proptest! {
        #[test]
        fn no_answer_and_no_file_makes_its_reader_panic(bytes in mangled(TEXTS)) {
            super::retry_after(&bytes);
            super::files(&bytes);
        }
    }
}
