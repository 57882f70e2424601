//! Arguments of a command: a value fills a whole or a part of one argument, and is never anything else.

use crate::domain::{Invalid, Parameter};
use crate::runtime::parameters::Parameters;

use super::Values;

/// Longest argument in bytes: Linux takes 32 pages, with the zero at its end (execve(2), `MAX_ARG_STRLEN`).
const ARGUMENT_BYTES_MAX: usize = 128 * 1024 - 1;
/// Most bytes of all arguments together. Linux takes a quarter of the stack's limit, mostly 2 MiB, and the
/// environment is among them.
const ARGV_BYTES_MAX: usize = 1024 * 1024;

/// One argument, with places for values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    /// The value of the parameter in this place of the signature.
    Value(usize),
}

impl Template {
    /// Reads `{name}` as the place of a value, `{{` and `}}` as the brackets themselves.
    pub(super) fn parse(text: &str, parameters: &[Parameter]) -> Result<Self, Invalid> {
        if text.contains('\0') {
            return Err(Invalid::new("argv: an argument may not contain U+0000"));
        }
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            literal.push_str(&rest[..at]);
            let (bracket, after) = (&rest[at..=at], &rest[at + 1..]);
            if let Some(after) = after.strip_prefix(bracket) {
                literal.push_str(bracket);
                rest = after;
                continue;
            }
            let named = (bracket == "{").then(|| after.split_once('}')).flatten();
            let Some((name, after)) = named else {
                return Err(Invalid::new(format!(
                    "argv: in '{text}' a single '{bracket}' stands for nothing; write '{bracket}{bracket}' for the bracket itself"
                )));
            };
            if !literal.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut literal)));
            }
            pieces.push(Piece::Value(place_of(name, parameters)?));
            rest = after;
        }
        literal.push_str(rest);
        if !literal.is_empty() || pieces.is_empty() {
            pieces.push(Piece::Text(literal));
        }
        Ok(Self(pieces))
    }

    pub(super) fn is_literal(&self) -> bool {
        self.0.iter().all(|piece| matches!(piece, Piece::Text(_)))
    }

    fn is(&self, text: &str) -> bool {
        matches!(self.0.as_slice(), [Piece::Text(literal)] if literal == text)
    }
}

fn place_of(name: &str, parameters: &[Parameter]) -> Result<usize, Invalid> {
    let place = parameters.iter().position(|parameter| parameter.name == name);
    let Some(place) = place else {
        return Err(Invalid::new(format!(
            "argv: '{{{name}}}' is no parameter; add it to parameters"
        )));
    };
    let parameter = &parameters[place];
    if !parameter.required && parameter.default.is_none() {
        return Err(Invalid::new(format!(
            "argv uses '{{{name}}}', so parameter '{name}' needs a default, or is to be required"
        )));
    }
    Ok(place)
}

/// The arguments with the values in their places; or which parameter does not fit, and why.
pub(super) fn filled(
    templates: &[Template],
    parameters: &Parameters,
    values: &Values,
) -> Result<Vec<String>, (usize, String)> {
    let mut argv = Vec::with_capacity(templates.len());
    let mut options_are_over = false;
    let mut bytes = 0;
    for template in templates {
        let mut argument = String::new();
        let mut last = None;
        for piece in &template.0 {
            match piece {
                Piece::Text(text) => argument.push_str(text),
                Piece::Value(place) => {
                    let value = text_of(*place, parameters, values);
                    let is_first = argument.is_empty();
                    if is_first && value.starts_with('-') && !options_are_over {
                        let text = "may not begin with '-' here, where the program would take it for an option";
                        return Err((*place, text.to_owned()));
                    }
                    if value.contains('\0') {
                        return Err((*place, "may not contain U+0000 in an argument".to_owned()));
                    }
                    argument.push_str(&value);
                    last = Some(*place);
                }
            }
        }
        bytes += argument.len();
        if argument.len() > ARGUMENT_BYTES_MAX || bytes > ARGV_BYTES_MAX {
            let text = format!(
                "is too long for an argument of a program, which has at most {ARGUMENT_BYTES_MAX} bytes, and all of them {ARGV_BYTES_MAX}; large values go through stdin"
            );
            return Err((last.unwrap_or_default(), text));
        }
        options_are_over |= template.is("--");
        argv.push(argument);
    }
    Ok(argv)
}

/// A value as an argument has it: strings as they are, everything else as the JSON that was given.
fn text_of(place: usize, parameters: &Parameters, values: &Values) -> String {
    let parameter = parameters.signature().and_then(|it| it.parameters.get(place));
    let value = parameter.and_then(|parameter| values.get(&parameter.name));
    let text = value.map(|value| value.get()).unwrap_or_default();
    serde_json::from_str(text).unwrap_or_else(|_no_string| text.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use serde_json::value::to_raw_value;

    use super::*;

    fn parameter(name: &str) -> Parameter {
        Parameter {
            name: name.to_owned(),
            required: true,
            default: None,
            schema: Value::Bool(true),
        }
    }

    fn fill(argv: &[&str], values: &[(&str, Value)]) -> Result<Vec<String>, (usize, String)> {
        let parameters: Vec<Parameter> = values.iter().map(|(name, _)| parameter(name)).collect();
        let templates = argv.iter().map(|text| Template::parse(text, &parameters).unwrap());
        let templates: Vec<Template> = templates.collect();
        let known = Parameters::checked(parameters).unwrap();
        let values =
            values.iter().map(|(name, value)| ((*name).to_owned(), to_raw_value(value).unwrap()));
        filled(&templates, &known, &values.collect())
    }

    #[test]
    fn a_value_fills_its_place_in_one_argument_and_nothing_else() {
        let shell = Value::from("a b; $(reboot) `x` \"'\n*");
        let filled =
            fill(&["p", "{a}x{b}", "{{a}}", "", "={a}"], &[("a", shell), ("b", Value::from(7))]);
        let text = "a b; $(reboot) `x` \"'\n*";
        assert_eq!(filled.unwrap(), ["p", &format!("{text}x7"), "{a}", "", &format!("={text}")]);
        let inner = fill(&["p", "{a}"], &[("a", Value::from("{b}")), ("b", Value::from("no"))]);
        assert_eq!(inner.unwrap()[1], "{b}", "a value is not read again");
    }

    #[test]
    fn no_value_becomes_an_option() {
        for value in [Value::from("-rf"), Value::from("--"), Value::from(-5)] {
            let (place, text) = fill(&["p", "{a}"], &[("a", value.clone())]).unwrap_err();
            assert_eq!(place, 0);
            assert!(text.contains("option"), "{text}");
            assert!(fill(&["p", "--", "{a}"], &[("a", value.clone())]).is_ok());
            assert!(fill(&["p", "--n={a}"], &[("a", value)]).is_ok());
        }
        let pair = [("a", Value::from("")), ("b", Value::from("-x"))];
        assert_eq!(
            fill(&["p", "{a}{b}"], &pair).unwrap_err().0,
            1,
            "an empty value hides no other"
        );
    }

    #[test]
    fn what_no_argument_can_be_is_refused() {
        assert!(
            fill(&["p", "{a}"], &[("a", Value::from("x\0y"))]).unwrap_err().1.contains("U+0000")
        );
        let longest = "x".repeat(ARGUMENT_BYTES_MAX);
        assert!(fill(&["p", "{a}"], &[("a", Value::from(longest.clone()))]).is_ok());
        assert!(
            fill(&["p", "{a}y"], &[("a", Value::from(longest))]).unwrap_err().1.contains("stdin")
        );
    }

    #[test]
    fn a_mistake_in_a_template_is_told() {
        let known = [parameter("a")];
        for (text, told) in
            [("{b}", "'{b}'"), ("{a", "{{"), ("a}", "}}"), ("{}", "'{}'"), ("x\0", "U+0000")]
        {
            let error = Template::parse(text, &known).unwrap_err().to_string();
            assert!(error.contains(told), "{text}: {error}");
        }
        let optional = [Parameter { required: false, ..parameter("a") }];
        assert!(Template::parse("{a}", &optional).unwrap_err().to_string().contains("default"));
    }
}
