//! A function's parameters, and the binding of a call's arguments to them, as Python binds them.

use std::fmt::Write as _;

use serde_json::Value;
use serde_json::value::RawValue;

use super::{FunctionName, Json};

/// What names and marks of a bound object take, about.
const NAMES_BYTES: usize = 64;

/// One parameter. All of ours are positional-or-keyword, in the order of the signature.
#[derive(Clone, PartialEq)]
pub struct Parameter {
    pub name: String,
    /// Whether a call must give it.
    pub required: bool,
    /// What it is when a call leaves it out, where that is known.
    pub default: Option<Value>,
    /// JSON Schema of its values.
    pub schema: Value,
}

/// A function's parameters, in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Signature {
    /// The parameters.
    pub parameters: Vec<Parameter>,
}

/// Why a call's arguments do not fit, in Python's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BindError {
    /// More positional arguments than parameters.
    #[error("{function}() takes {} but {given} {} given",
        positional(*needs, *takes), if *given == 1 { "was" } else { "were" })]
    TooMany {
        /// The function.
        function: String,
        /// How many of them are required.
        needs: usize,
        /// How many it takes.
        takes: usize,
        /// How many were given.
        given: usize,
    },
    /// A keyword that is no parameter.
    #[error("{function}() got an unexpected keyword argument '{name}'")]
    Unexpected {
        /// The function.
        function: String,
        /// The keyword.
        name: String,
    },
    /// A parameter given by position and by keyword.
    #[error("{function}() got multiple values for argument '{name}'")]
    Multiple {
        /// The function.
        function: String,
        /// The parameter.
        name: String,
    },
    /// Required parameters that no argument fills.
    #[error("{function}() missing {} required argument{}: {}",
        names.len(), plural(names.len()), listed(names))]
    Missing {
        /// The function.
        function: String,
        /// The parameters.
        names: Vec<String>,
    },
}

impl Signature {
    /// Binds positional and keyword arguments to the parameters: a JSON object from each given
    /// parameter's name to its value, in the signature's order.
    pub fn bind(
        &self,
        function: &FunctionName,
        args: &[&RawValue],
        kwargs: &[(&str, &RawValue)],
    ) -> Result<Json, BindError> {
        let function = || function.to_string();
        let (takes, given) = (self.parameters.len(), args.len());
        for (name, _) in kwargs {
            match self.parameters.iter().position(|parameter| parameter.name == *name) {
                None => {
                    return Err(BindError::Unexpected {
                        function: function(),
                        name: (*name).into(),
                    });
                }
                Some(place) if place < given => {
                    return Err(BindError::Multiple { function: function(), name: (*name).into() });
                }
                Some(_) => {}
            }
        }
        if given > takes {
            let needs = self.parameters.iter().filter(|parameter| parameter.required).count();
            return Err(BindError::TooMany { function: function(), needs, takes, given });
        }
        self.bound(args, kwargs).map_err(|names| BindError::Missing { function: function(), names })
    }

    /// The bound object, or the names of the required parameters that nothing fills.
    fn bound(&self, args: &[&RawValue], kwargs: &[(&str, &RawValue)]) -> Result<Json, Vec<String>> {
        let values: usize =
            args.iter().chain(kwargs.iter().map(|(_, value)| value)).map(|it| it.get().len()).sum();
        let mut text = String::with_capacity(values + NAMES_BYTES);
        text.push('{');
        let mut missing = Vec::new();
        for (place, parameter) in self.parameters.iter().enumerate() {
            let by_keyword = || kwargs.iter().find(|(name, _)| *name == parameter.name);
            let value = args.get(place).copied().or_else(|| by_keyword().map(|(_, value)| *value));
            match value {
                Some(value) => {
                    if text.len() > 1 {
                        text.push(',');
                    }
                    push_quoted(&mut text, &parameter.name);
                    text.push(':');
                    text.push_str(value.get());
                }
                None if parameter.required => missing.push(parameter.name.clone()),
                None => {}
            }
        }
        text.push('}');
        if missing.is_empty() { Ok(Json::trusted(text)) } else { Err(missing) }
    }
}

/// Adds a name as a JSON string. Most are words that need no escape.
fn push_quoted(text: &mut String, name: &str) {
    if name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        text.push('"');
        text.push_str(name);
        text.push('"');
    } else {
        // Writing to a String cannot fail.
        write!(text, "{}", Value::from(name)).unwrap_or_default();
    }
}

/// How many positional arguments a function takes, as Python says it.
fn positional(needs: usize, takes: usize) -> String {
    if needs < takes {
        return format!("from {needs} to {takes} positional arguments");
    }
    format!("{takes} positional argument{}", plural(takes))
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

/// Names as Python lists them: `'a'`, `'a' and 'b'`, `'a', 'b', and 'c'`.
fn listed(names: &[String]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("'{name}'")).collect();
    match quoted.as_slice() {
        [] => String::new(),
        [one] => one.clone(),
        [one, two] => format!("{one} and {two}"),
        [many @ .., last] => format!("{}, and {last}", many.join(", ")),
    }
}

#[cfg(test)]
mod tests;
