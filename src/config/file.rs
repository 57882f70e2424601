//! The configuration file: what it may say, and where it says it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use toml::de::{DeTable, DeValue};

use super::address::listen_in_file;
use super::programs::ProgramTable;
use super::setting_error::SettingError;
use super::{InvalidConfig, Isolation, Limits, LogFormat, SecretTable, Webhooks};

const FILE_DEFAULT: &str = "futurity.toml";

/// The file, as it is written.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct File {
    #[serde(deserialize_with = "listen_in_file")]
    pub(super) listen: Option<SocketAddr>,
    pub(super) data_dir: Option<PathBuf>,
    pub(super) threads: Option<usize>,
    pub(super) tasks: Option<usize>,
    pub(super) commands: Option<usize>,
    pub(super) max_wait_seconds: Option<f64>,
    pub(super) grace_seconds: Option<f64>,
    pub(super) cgroups: Option<bool>,
    pub(super) log: Option<String>,
    pub(super) log_format: Option<LogFormat>,
    pub(super) isolation: Option<Isolation>,
    pub(super) work_dir: Option<PathBuf>,
    pub(super) access_log: bool,
    pub(super) hosts: Vec<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) url_prefix: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) trusted_proxies: Vec<String>,
    pub(super) egress: EgressTable,
    pub(super) webhooks: Webhooks,
    pub(super) limits: Limits,
    pub(super) queues: BTreeMap<String, QueueTable>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) secrets: BTreeMap<String, SecretTable>,
    pub(super) functions: BTreeMap<String, ProgramTable>,
    pub(super) workers: BTreeMap<String, ProgramTable>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct EgressTable {
    pub(super) allow: Vec<String>,
    pub(super) allow_loopback: bool,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct QueueTable {
    pub(super) max_workers: Option<usize>,
    pub(super) max_pending: Option<usize>,
}

/// The text of a file, to say where in it something stands.
#[derive(Debug, Default)]
pub(super) struct Source {
    path: PathBuf,
    text: String,
}

impl Source {
    /// Reads the file that is named, or the usual one if it is there.
    pub(super) fn read(named: Option<&Path>) -> Result<Self, InvalidConfig> {
        let path = named.unwrap_or(Path::new(FILE_DEFAULT));
        match std::fs::read_to_string(path) {
            Ok(text) => Ok(Self { path: path.to_owned(), text }),
            Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => {
                Ok(Self::default())
            }
            Err(error) => Err(InvalidConfig(format!("{}: {error}", path.display()))),
        }
    }

    /// What it says.
    pub(super) fn file(&self) -> Result<File, InvalidConfig> {
        // The parser's own message shows the line with a mark under the mistake.
        let read = toml::from_str(&self.text);
        read.map_err(|error| InvalidConfig(format!("{}: {error}", self.path.display())))
    }

    /// The directory in which it stands, as a whole path.
    pub(super) fn directory(&self) -> PathBuf {
        let parent = self.path.parent().unwrap_or(Path::new(""));
        std::path::absolute(parent.join(".")).unwrap_or_else(|_nowhere| parent.to_owned())
    }

    /// The mistake, with the line where it is made.
    pub(super) fn place(&self, error: &SettingError) -> InvalidConfig {
        match self.line_of(error.key()) {
            Some(line) => InvalidConfig(format!("{}, line {line}: {error}", self.path.display())),
            None => InvalidConfig(error.to_string()),
        }
    }

    /// The line of the setting, or of the innermost table on the way to it that the file has.
    fn line_of(&self, key: &[String]) -> Option<usize> {
        let whole = DeTable::parse(&self.text).ok()?;
        let mut table = Some(whole.get_ref());
        let mut at = None;
        for name in key {
            let entry = table.and_then(|table| table.iter().find(|(it, _)| it.get_ref() == name));
            let Some((found, value)) = entry else { break };
            at = Some(found.span().start);
            table = match value.get_ref() {
                DeValue::Table(inner) => Some(inner),
                _ => None,
            };
        }
        Some(self.text[..at?].matches('\n').count() + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_is_told_with_the_line_of_its_setting_or_of_its_table() {
        let text = "threads = 4\n\n[functions.\"a.b\"]\nruntime = \"command\"\nargv = []\n";
        let source = Source { path: "f.toml".into(), text: text.to_owned() };
        let at = |key: &[&str]| source.place(&SettingError::of("", "no").within(key)).to_string();
        assert_eq!(at(&["functions", "a.b", "argv"]), "f.toml, line 5: functions.\"a.b\".argv: no");
        assert_eq!(
            at(&["functions", "a.b", "stdin"]),
            "f.toml, line 3: functions.\"a.b\".stdin: no"
        );
        assert_eq!(at(&["threads"]), "f.toml, line 1: threads: no");
        assert_eq!(at(&["tasks"]), "tasks: no");
    }
}
