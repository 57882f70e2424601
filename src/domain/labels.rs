//! What a client writes on a job: tags and metadata.

use super::{Invalid, text};

/// Words to find jobs by.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Tags(Box<[String]>);

impl Tags {
    /// Most tags of a job.
    pub const COUNT_MAX: usize = 16;
    /// Longest tag, in characters.
    pub const LENGTH_MAX: usize = 64;

    /// Checks `tags`.
    pub fn new(tags: Vec<String>) -> Result<Self, Invalid> {
        let legal = |tag: &String| (1..=Self::LENGTH_MAX).contains(&tag.chars().count());
        if tags.len() > Self::COUNT_MAX || !tags.iter().all(legal) {
            return Err(Invalid::new(format!(
                "at most {} tags, each of 1 to {} characters",
                Self::COUNT_MAX,
                Self::LENGTH_MAX
            )));
        }
        Ok(Self(tags.into()))
    }

    /// The tags, in the order given.
    #[must_use]
    pub fn as_slice(&self) -> &[String] {
        &self.0
    }
}

/// A client's own notes on a job; we only keep them.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Metadata(Box<[(String, String)]>);

impl Metadata {
    /// Most entries.
    pub const COUNT_MAX: usize = 32;
    /// Longest key, in characters.
    pub const KEY_LENGTH_MAX: usize = 64;
    /// Longest value, in characters.
    pub const VALUE_LENGTH_MAX: usize = 512;
    /// Largest keys and values together, in bytes as strings of JSON: as many as those limits allow in ASCII.
    pub const BYTES_MAX: usize = 20 * 1024;

    /// Checks `entries`, whose keys must differ.
    pub fn new(entries: Vec<(String, String)>) -> Result<Self, Invalid> {
        let legal = |(key, value): &(String, String)| {
            (1..=Self::KEY_LENGTH_MAX).contains(&key.chars().count())
                && value.chars().count() <= Self::VALUE_LENGTH_MAX
        };
        if entries.len() > Self::COUNT_MAX || !entries.iter().all(legal) {
            return Err(Invalid::new(format!(
                "at most {} entries, keys of 1 to {} and values of at most {} characters",
                Self::COUNT_MAX,
                Self::KEY_LENGTH_MAX,
                Self::VALUE_LENGTH_MAX
            )));
        }
        let bytes =
            |(key, value): &(String, String)| text::json_bytes(key) + text::json_bytes(value);
        if entries.iter().map(bytes).sum::<usize>() > Self::BYTES_MAX {
            let most = Self::BYTES_MAX;
            return Err(Invalid::new(format!("at most {most} bytes of keys and values together")));
        }
        Ok(Self::kept(entries))
    }

    /// Takes entries that were legal when they were kept.
    #[must_use]
    pub fn kept(entries: Vec<(String, String)>) -> Self {
        Self(entries.into())
    }

    /// The entries, in the order given.
    #[must_use]
    pub fn as_slice(&self) -> &[(String, String)] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(word: &str, count: usize) -> Vec<String> {
        (0..count).map(|number| format!("{word}{number}")).collect()
    }

    #[test]
    fn tags_are_at_most_16_of_1_to_64_characters() {
        let most = names("tag", Tags::COUNT_MAX);
        assert_eq!(Tags::new(most.clone()).expect("legal tags").as_slice(), most);
        assert!(Tags::new(vec!["é".repeat(Tags::LENGTH_MAX)]).is_ok(), "characters, not bytes");
        for illegal in [
            names("tag", Tags::COUNT_MAX + 1),
            vec![String::new()],
            vec!["x".repeat(Tags::LENGTH_MAX + 1)],
        ] {
            assert!(Tags::new(illegal).is_err());
        }
    }

    #[test]
    fn metadata_is_at_most_32_entries_of_bounded_texts() {
        let entry = |key: usize, value: usize| vec![("é".repeat(key), "é".repeat(value))];
        let entries =
            |count| names("key", count).into_iter().map(|key| (key, String::new())).collect();
        assert!(Metadata::new(entries(Metadata::COUNT_MAX)).is_ok());
        assert!(Metadata::new(entry(Metadata::KEY_LENGTH_MAX, Metadata::VALUE_LENGTH_MAX)).is_ok());
        assert!(Metadata::new(entries(Metadata::COUNT_MAX + 1)).is_err());
        assert!(Metadata::new(entry(0, 0)).is_err());
        assert!(Metadata::new(entry(Metadata::KEY_LENGTH_MAX + 1, 0)).is_err());
        assert!(Metadata::new(entry(1, Metadata::VALUE_LENGTH_MAX + 1)).is_err());
    }

    #[test]
    fn all_metadata_of_a_job_has_a_limit_in_bytes() {
        let entries = |value: &str| {
            let all = names("key", Metadata::COUNT_MAX).into_iter();
            all.map(|key| (key, value.to_owned())).collect::<Vec<_>>()
        };
        assert!(Metadata::new(entries(&"x".repeat(Metadata::VALUE_LENGTH_MAX))).is_ok());
        let escaped = entries(&"\u{1}".repeat(Metadata::VALUE_LENGTH_MAX));
        assert!(Metadata::new(escaped.clone()).is_err(), "six bytes of JSON each");
        assert_eq!(Metadata::kept(escaped).as_slice().len(), Metadata::COUNT_MAX);
    }
}
