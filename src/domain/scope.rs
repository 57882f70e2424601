//! What a key must allow beside the scopes of the service, to call a function that asks for it.

use std::fmt;

use super::Invalid;

/// The name of such a scope: an operator makes it up.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ScopeName(Box<str>);

impl ScopeName {
    /// Longest name, in characters.
    pub const LENGTH_MAX: usize = 32;
    /// Those of the service.
    pub const TAKEN: [&str; 4] = ["admin", "manage", "read", "submit"];

    /// Checks `name`.
    ///
    /// # Errors
    /// [`Invalid`] with the rule, if the name does not follow it.
    pub fn new(name: &str) -> Result<Self, Invalid> {
        let is_legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-".contains(c);
        let begins = name.starts_with(|c: char| c.is_ascii_lowercase());
        if begins && name.len() <= Self::LENGTH_MAX && name.chars().all(is_legal) {
            return match Self::TAKEN.contains(&name) {
                false => Ok(Self(name.into())),
                true => Err(Invalid::new(format!(
                    "'{name}' is a scope of the service: every call needs submit already"
                ))),
            };
        }
        Err(Invalid::new(format!(
            "a scope's name is a-z, 0-9, _ and -, begins with a letter, and has at most {} characters",
            Self::LENGTH_MAX
        )))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ScopeName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_has_a_name_of_its_own() {
        for name in ["code", "c", "a-b_2", &"x".repeat(ScopeName::LENGTH_MAX)] {
            assert_eq!(ScopeName::new(name).expect("it is legal").as_str(), name);
        }
        for name in ["", "Code", "2a", "-a", "a b", "ä", "submit", "admin", &"x".repeat(33)] {
            assert!(ScopeName::new(name).is_err(), "{name}");
        }
    }
}
