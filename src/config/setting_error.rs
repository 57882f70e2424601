//! A setting that cannot be taken.

use std::fmt;

use super::InvalidConfig;

/// What is wrong with a setting, and which one it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SettingError {
    key: Vec<String>,
    text: String,
}

impl SettingError {
    /// Of the setting `name`; of a whole table if it is empty.
    pub(super) fn of(name: &str, text: impl Into<String>) -> Self {
        let key = Some(name.to_owned()).filter(|name| !name.is_empty());
        Self { key: key.into_iter().collect(), text: text.into() }
    }

    /// The names of the tables on the way to it, and its own.
    pub(super) fn key(&self) -> &[String] {
        &self.key
    }

    /// The same, of a setting in the table `path`.
    pub(super) fn within(mut self, path: &[&str]) -> Self {
        let path = path.iter().map(|name| (*name).to_owned());
        self.key = path.chain(self.key).collect();
        self
    }
}

/// Checks that a number is from 1 to `most`.
pub(super) fn within(name: &str, value: usize, most: usize) -> Result<(), SettingError> {
    let text = || SettingError::of(name, format!("{value} must be from 1 to {most}"));
    if (1..=most).contains(&value) { Ok(()) } else { Err(text()) }
}

/// Checks that a number is from the one to the other.
pub(super) fn between(
    name: &str,
    value: usize,
    (least, most): (usize, usize),
) -> Result<(), SettingError> {
    let text = || SettingError::of(name, format!("{value} must be from {least} to {most}"));
    if (least..=most).contains(&value) { Ok(()) } else { Err(text()) }
}

/// Checks that a number is at most `most`; 0 allows nothing.
pub(super) fn at_most(name: &str, value: usize, most: usize) -> Result<(), SettingError> {
    let text = || SettingError::of(name, format!("{value} must be at most {most}"));
    if value <= most { Ok(()) } else { Err(text()) }
}

/// Checks that a time is from a tenth of a second to `most`.
pub(super) fn seconds(name: &str, value: f64, most: f64) -> Result<(), SettingError> {
    let text = || SettingError::of(name, format!("{value} must be from 0.1 to {most}"));
    if (0.1..=most).contains(&value) { Ok(()) } else { Err(text()) }
}

impl fmt::Display for SettingError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted = |name: &String| match name.contains('.') {
            true => format!("\"{name}\""),
            false => name.clone(),
        };
        let key: Vec<String> = self.key.iter().map(quoted).collect();
        if key.is_empty() {
            return formatter.write_str(&self.text);
        }
        write!(formatter, "{}: {}", key.join("."), self.text)
    }
}

impl From<SettingError> for InvalidConfig {
    fn from(error: SettingError) -> Self {
        Self(error.to_string())
    }
}
