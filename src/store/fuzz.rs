//! What the disk gives back, read without a database.

use crate::store::codec::feed_entry;
use crate::store::sqlite::durability::high_water;

/// Entries of the log of changes: numbers until something is none.
pub fn entries(bytes: &[u8]) {
    let mut rest = bytes;
    while !rest.is_empty() && feed_entry::read(&mut rest).is_some() {}
}

/// A high-water mark: what is taken for one has its sum.
pub fn mark(bytes: &[u8]) {
    assert!(high_water::is_mark(bytes) <= (bytes.len() >= 40), "a mark has forty bytes");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::domain::example::mangled;

    proptest! {
        #[test]
        fn nothing_on_the_disk_makes_its_reader_panic(bytes in mangled(&["FUTMARK1", "\u{7f}\u{1}\u{80}"])) {
            super::entries(&bytes);
            super::mark(&bytes);
        }
    }
}
