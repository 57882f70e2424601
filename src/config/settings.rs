//! Settings of functions that have a form of their own: retries, limits of time, parameters.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::{Parameter, Retry};

use super::setting_error::SettingError;

/// Longest limit of time of a job: ten years.
const SECONDS_MAX: f64 = 315_619_200.0;
/// What a JSON Schema may say of a value (draft 2020-12): a word that is none of them is a slip.
const KEYWORDS: [&str; 47] = [
    "$anchor",
    "$comment",
    "$defs",
    "$dynamicAnchor",
    "$dynamicRef",
    "$id",
    "$ref",
    "$schema",
    "$vocabulary",
    "additionalProperties",
    "allOf",
    "anyOf",
    "const",
    "contains",
    "contentEncoding",
    "contentMediaType",
    "contentSchema",
    "dependentRequired",
    "dependentSchemas",
    "deprecated",
    "description",
    "else",
    "enum",
    "examples",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "format",
    "if",
    "items",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minItems",
    "minLength",
    "minProperties",
    "minimum",
    "multipleOf",
    "not",
    "oneOf",
    "pattern",
    "patternProperties",
    "prefixItems",
    "properties",
    "then",
    "title",
    "type",
];

/// `retry = { max_attempts = 3 }`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RetryTable {
    max_attempts: u32,
    initial_seconds: Option<f64>,
    factor: Option<f64>,
    max_seconds: Option<f64>,
    jitter: Option<f64>,
}

impl RetryTable {
    /// As the domain has it.
    pub(super) fn read(&self) -> Result<Retry, SettingError> {
        let usual = Retry::default();
        let wait =
            |seconds: Option<f64>, usual| seconds.map_or(usual, |it| millis(it).unwrap_or(-1));
        let retry = Retry {
            max_attempts: self.max_attempts,
            initial_ms: wait(self.initial_seconds, usual.initial_ms),
            factor: self.factor.unwrap_or(usual.factor),
            max_ms: wait(self.max_seconds, usual.max_ms),
            jitter: self.jitter.unwrap_or(usual.jitter),
        };
        retry.check().map_err(|error| SettingError::of("retry", error.to_string()))
    }
}

/// A limit of time in milliseconds, rounded up.
pub(super) fn limit(name: &str, seconds: Option<f64>) -> Result<Option<i64>, SettingError> {
    let Some(seconds) = seconds else { return Ok(None) };
    let legal = millis(seconds).filter(|milliseconds| *milliseconds > 0);
    let text = || SettingError::of(name, format!("must be more than 0 and at most {SECONDS_MAX}"));
    legal.map(Some).ok_or_else(text)
}

fn millis(seconds: f64) -> Option<i64> {
    #[expect(clippy::cast_possible_truncation, reason = "it was compared with the largest")]
    let milliseconds = (seconds * 1_000.0).ceil() as i64;
    (0.0..=SECONDS_MAX).contains(&seconds).then_some(milliseconds)
}

/// A parameter: its name, its default, and whatever a JSON Schema says of its values.
pub(super) fn parameter(table: &toml::Table) -> Result<Parameter, SettingError> {
    let refused = |text: String| SettingError::of("parameters", text);
    let whole = serde_json::to_value(table).map_err(|error| refused(error.to_string()))?;
    let Value::Object(mut schema) = whole else { return Err(refused("must be tables".to_owned())) };
    let Some(Value::String(name)) = schema.remove("name") else {
        return Err(refused(
            "each needs a name, as in { name = \"width\", type = \"integer\" }".to_owned(),
        ));
    };
    let default = schema.remove("default");
    let required = match schema.remove("required") {
        None => default.is_none(),
        Some(Value::Bool(required)) => required,
        Some(_) => return Err(refused(format!("parameter '{name}': required is true or false"))),
    };
    if required && default.is_some() {
        return Err(refused(format!(
            "parameter '{name}' is required, so its default means nothing"
        )));
    }
    if let Some(word) = schema.keys().find(|word| !KEYWORDS.contains(&word.as_str())) {
        return Err(refused(format!("parameter '{name}': '{word}' is no word of JSON Schema")));
    }
    Ok(Parameter { name, required, default, schema: Value::Object(schema) })
}
