//! What a worker says, read without a process.

use super::protocol::{self, Said};

/// A line of a worker: an answer, a notification, or none of the protocol.
pub fn line(bytes: &[u8]) {
    match protocol::said(bytes) {
        Ok(Said::Answer(_, Ok(result))) => drop(protocol::announced(&result)),
        Ok(Said::Answer(_, Err(error))) => drop(protocol::raised(error)),
        Ok(_) | Err(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::domain::example::mangled;

    const LINES: &[&str] = &[
        r#"{"jsonrpc":"2.0","id":1,"result":{"functions":[{"name":"resize","parameters":[{"name":"a","default":1}]}]}}"#,
        r#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"no","data":{"type":"ValueError","traceback":"x","retryable":true}}}"#,
        r#"{"jsonrpc":"2.0","method":"progress","params":{"job":"0199a3c2-7d5e-7cc1-9d1a-2f5b3c4d5e6f","attempt":1,"fraction":0.5,"message":"half"}}"#,
        r#"{"jsonrpc":"2.0","method":"log","params":{"job":"0199a3c2-7d5e-7cc1-9d1a-2f5b3c4d5e6f","attempt":1,"line":"x"}}"#,
    ];

    proptest! {
        #[test]
        fn no_line_of_a_worker_makes_its_reader_panic(bytes in mangled(LINES)) {
            super::line(&bytes);
        }
    }
}
