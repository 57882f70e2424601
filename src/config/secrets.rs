//! `[secrets.NAME]`: values that calls of `http.request` name, and that nobody is shown.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::runtime::{CallSecret, CallSecrets};

use super::setting_error::SettingError;
use super::{Config, InvalidConfig, Programs};

/// Where a secret is, and which hosts it may be sent to.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct SecretTable {
    /// A file that holds it; a line feed at its end is not part of it. It is looked for beside the configuration file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value_file: Option<PathBuf>,
    /// A variable of the server's environment that holds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub env: Option<String>,
    /// Hosts that it may be sent to, with a port if that is not 443.
    pub hosts: Vec<String>,
}

impl Config {
    /// What calls may name, read now.
    pub(crate) fn secrets(&self) -> Result<CallSecrets, InvalidConfig> {
        self.secrets_read().map_err(InvalidConfig::from)
    }

    pub(super) fn secrets_read(&self) -> Result<CallSecrets, SettingError> {
        let Programs { directory, environment, .. } = &self.programs;
        read(&self.secrets, directory, environment)
    }
}

fn read(
    tables: &BTreeMap<String, SecretTable>,
    directory: &Path,
    environment: &BTreeMap<String, String>,
) -> Result<CallSecrets, SettingError> {
    let mut secrets = BTreeMap::new();
    for (name, table) in tables {
        let at = |error: SettingError| error.within(&["secrets", name]);
        let value = value(table, directory, environment).map_err(at)?;
        let secret = CallSecret::new(value, &table.hosts);
        let secret = secret.map_err(|error| at(SettingError::of("", error.to_string())))?;
        secrets.insert(name.clone(), secret);
    }
    CallSecrets::new(secrets)
        .map_err(|error| SettingError::of("", error.to_string()).within(&["secrets"]))
}

fn value(
    table: &SecretTable,
    directory: &Path,
    environment: &BTreeMap<String, String>,
) -> Result<String, SettingError> {
    match (&table.value_file, &table.env) {
        (Some(file), None) => {
            let read = fs::read_to_string(directory.join(file));
            let text = read.map_err(|error| SettingError::of("value_file", error.to_string()))?;
            let line = text.strip_suffix('\n').unwrap_or(&text);
            Ok(line.strip_suffix('\r').unwrap_or(line).to_owned())
        }
        (None, Some(variable)) => environment.get(variable).cloned().ok_or_else(|| {
            SettingError::of(
                "env",
                format!("there is no variable {variable} in the environment, or it is no text"),
            )
        }),
        (None, None) | (Some(_), Some(_)) => {
            Err(SettingError::of("", "give one of value_file and env"))
        }
    }
}
