//! A function's parameters: how a call is bound to them, and what its values must be.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use jsonschema::{Draft, Validator};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::domain::{FunctionName, Invalid, Json, Parameter, Signature, text};

/// Faults of one call that are told.
const FAULTS_MAX: usize = 20;
/// Longest description of a fault, which may repeat the value, in bytes.
const FAULT_BYTES_MAX: usize = 512;
/// Longest name of a parameter, in characters.
const NAME_LENGTH_MAX: usize = 128;
/// Most parameters of a function.
const PARAMETERS_MAX: usize = 256;

/// Why a call is refused at its submission.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The arguments do not fit.
    #[error("{0}")]
    Invalid(String),
    /// Values that are not what their parameters ask for.
    #[error("{detail}")]
    Values {
        /// In a sentence.
        detail: String,
        /// One by one.
        faults: Vec<Fault>,
    },
    /// The call would send a request to an address that the egress policy denies.
    #[error("{0}")]
    EgressDenied(String),
}

/// A value that is not what its parameter asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where it stands in the call: a JSON pointer that begins with `/args` or `/kwargs` (RFC 6901).
    pub pointer: String,
    /// What is wrong with it.
    pub detail: String,
}

impl Fault {
    pub(super) fn new(pointer: &str, detail: &str) -> Self {
        let cut = |text| text::head(text, FAULT_BYTES_MAX).into_owned();
        Self { pointer: cut(pointer), detail: cut(detail) }
    }
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        Self::values(vec![fault])
    }
}

fn sentence(faults: &[Fault]) -> String {
    let told: Vec<String> =
        faults.iter().map(|fault| format!("{}: {}", fault.pointer, fault.detail)).collect();
    told.join("; ")
}

impl Refusal {
    /// The same, saying which function refused.
    pub(super) fn of(self, function: &FunctionName) -> Self {
        match self {
            Self::Invalid(detail) => Self::Invalid(format!("{function}(): {detail}")),
            other => other,
        }
    }

    pub(super) fn values(faults: Vec<Fault>) -> Self {
        Self::Values { detail: sentence(&faults), faults }
    }
}

/// The parameters of a function; none if it takes whatever it is given.
#[derive(Debug, Default)]
pub struct Parameters {
    signature: Option<Signature>,
    /// What checks the values, by parameter. Made when first needed.
    validators: OnceLock<Vec<Option<Validator>>>,
}

/// Words of a schema that ask for more than a Rust type does.
const BOUNDS: [&str; 12] = [
    "maximum",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "multipleOf",
    "minLength",
    "maxLength",
    "pattern",
    "minItems",
    "maxItems",
    "uniqueItems",
    "minProperties",
    "maxProperties",
];

/// Whether a schema that was made of a Rust type asks for more than the type. It says of whole numbers without a sign
/// that they are not below 0, which their type says too.
fn asks_more_than_its_type(schema: &Value) -> bool {
    match schema {
        Value::Object(entries) => entries.iter().any(|(word, value)| match word.as_str() {
            "default" => false,
            "minimum" => value.as_f64() != Some(0.0),
            word => BOUNDS.contains(&word) || asks_more_than_its_type(value),
        }),
        Value::Array(items) => items.iter().any(asks_more_than_its_type),
        _ => false,
    }
}

/// The arguments of a call, as they were given.
pub(super) struct Given<'a> {
    args: Vec<&'a RawValue>,
    kwargs: BTreeMap<String, &'a RawValue>,
}

impl<'a> Given<'a> {
    /// Reads a JSON array and a JSON object.
    pub(super) fn of(args: &'a Json, kwargs: &'a Json) -> Result<Self, Refusal> {
        let malformed = |error: serde_json::Error| Refusal::Invalid(error.to_string());
        Ok(Self {
            args: serde_json::from_str(args.as_str()).map_err(malformed)?,
            kwargs: serde_json::from_str(kwargs.as_str()).map_err(malformed)?,
        })
    }

    /// Where the value of the parameter `name`, which is number `place`, stands in the call.
    fn pointer(&self, place: usize, name: &str) -> String {
        if place < self.args.len() {
            return format!("/args/{place}");
        }
        format!("/kwargs/{}", name.replace('~', "~0").replace('/', "~1"))
    }
}

impl Parameters {
    /// These, known from the types of a Rust function.
    pub(super) fn of(signature: Signature) -> Self {
        Self { signature: Some(signature), validators: OnceLock::new() }
    }

    /// These, as someone has written them down.
    pub fn checked(parameters: Vec<Parameter>) -> Result<Self, Invalid> {
        if parameters.len() > PARAMETERS_MAX {
            return Err(Invalid::new(format!(
                "a function has at most {PARAMETERS_MAX} parameters"
            )));
        }
        for (place, parameter) in parameters.iter().enumerate() {
            let twice = parameters[..place].iter().any(|before| before.name == parameter.name);
            if parameter.name.chars().count() > NAME_LENGTH_MAX {
                let text = format!("a parameter's name has at most {NAME_LENGTH_MAX} characters");
                return Err(Invalid::new(text));
            }
            if twice || parameter.name.is_empty() {
                let text = format!("parameter '{}' needs a name of its own", parameter.name);
                return Err(Invalid::new(text));
            }
            let named = |text| Invalid::new(format!("parameter '{}': {text}", parameter.name));
            let validator = validator(&parameter.schema).map_err(named)?;
            if let (Some(default), Some(validator)) = (&parameter.default, validator) {
                let fits = validator.validate(default);
                fits.map_err(|error| named(format!("its default: {error}")))?;
            }
        }
        Ok(Self::of(Signature { parameters }))
    }

    /// Whether values that are of a Rust function's types may still not be what its schemas ask for.
    pub(super) fn ask_more_than_types(&self) -> bool {
        let parameters = self.signature.iter().flat_map(|it| &it.parameters);
        parameters.map(|it| &it.schema).any(asks_more_than_its_type)
    }

    /// The signature, if it is known.
    #[must_use]
    pub fn signature(&self) -> Option<&Signature> {
        self.signature.as_ref()
    }

    /// Binds a call to the parameters as Python does: an object of each parameter that is given. None where
    /// the parameters are not known.
    pub(super) fn bind(
        &self,
        function: &FunctionName,
        given: &Given<'_>,
    ) -> Result<Option<Json>, Refusal> {
        let Some(signature) = &self.signature else { return Ok(None) };
        let pairs: Vec<(&str, &RawValue)> =
            given.kwargs.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        let bound = signature.bind(function, &given.args, &pairs);
        bound.map(Some).map_err(|error| Refusal::Invalid(error.to_string()))
    }

    /// Checks the values of a bound call by the schemas.
    pub(super) fn check(&self, bound: &Json, given: &Given<'_>) -> Result<(), Refusal> {
        let Some(signature) = &self.signature else { return Ok(()) };
        let validators = self.validators.get_or_init(|| {
            let schemas = signature.parameters.iter().map(|parameter| &parameter.schema);
            // Those that someone wrote were checked when they were read.
            schemas.map(|schema| validator(schema).ok().flatten()).collect()
        });
        if validators.iter().all(Option::is_none) {
            return Ok(());
        }
        let malformed = |error: serde_json::Error| Refusal::Invalid(error.to_string());
        let values: BTreeMap<String, Value> =
            serde_json::from_str(bound.as_str()).map_err(malformed)?;
        let mut faults = Vec::new();
        for (place, (parameter, validator)) in
            signature.parameters.iter().zip(validators).enumerate()
        {
            let (Some(value), Some(validator)) = (values.get(&parameter.name), validator) else {
                continue;
            };
            let pointer = given.pointer(place, &parameter.name);
            faults.extend(validator.iter_errors(value).take(FAULTS_MAX).map(|error| {
                let place = format!("{pointer}{}", error.instance_path());
                Fault::new(&place, &error.to_string())
            }));
        }
        faults.truncate(FAULTS_MAX);
        if faults.is_empty() { Ok(()) } else { Err(Refusal::values(faults)) }
    }

    /// The same refusal, whose faults begin with the name of a parameter, pointing into the call.
    pub(super) fn placed(&self, refusal: Refusal, given: &Given<'_>) -> Refusal {
        let Refusal::Values { faults, .. } = refusal else { return refusal };
        let parameters = self.signature.as_ref().map_or(&[][..], |it| &it.parameters);
        let locate = |fault: Fault| {
            let path = fault.pointer.trim_start_matches('/');
            let (name, inside) = path.split_at(path.find('/').unwrap_or(path.len()));
            let place = parameters.iter().position(|parameter| parameter.name == name);
            let pointer = given.pointer(place.unwrap_or(usize::MAX), name);
            Fault::new(&format!("{pointer}{inside}"), &fault.detail)
        };
        Refusal::values(faults.into_iter().map(locate).collect())
    }

    /// A refusal of the value of one parameter.
    pub(super) fn fault(&self, given: &Given<'_>, place: usize, detail: &str) -> Refusal {
        let parameters = self.signature.as_ref().map(|it| it.parameters.as_slice());
        let name = parameters.and_then(|it| it.get(place)).map_or("", |it| it.name.as_str());
        Refusal::values(vec![Fault::new(&given.pointer(place, name), detail)])
    }
}

/// The types of JSON Schema (2020-12, section 6.1.1 of its validation).
const TYPES: [&str; 7] = ["string", "integer", "number", "boolean", "array", "object", "null"];

/// A type of values that nobody knows, such as that of a language.
fn unknown_type(schema: &Value) -> Option<&str> {
    let types = match schema.get("type")? {
        Value::Array(types) => types.as_slice(),
        one => std::slice::from_ref(one),
    };
    types.iter().filter_map(Value::as_str).find(|it| !TYPES.contains(it))
}

/// What checks values by `schema`; none if it lets everything pass.
fn validator(schema: &Value) -> Result<Option<Validator>, String> {
    let asks_nothing = matches!(schema, Value::Bool(true) | Value::Null)
        || schema.as_object().is_some_and(serde_json::Map::is_empty);
    if asks_nothing {
        return Ok(None);
    }
    if let Some(unknown) = unknown_type(schema) {
        return Err(format!(
            "its schema: there is no type '{unknown}'; there are {}",
            TYPES.join(", ")
        ));
    }
    let made = jsonschema::options().with_draft(Draft::Draft202012).build(schema);
    made.map(Some).map_err(|error| format!("its schema: {error}"))
}

/// The arguments of a call as a process gets them: `{"args":[…],"kwargs":{…}}`.
pub(super) fn call_object(args: &Json, kwargs: &Json) -> Json {
    Json::trusted(format!("{{\"args\":{},\"kwargs\":{}}}", args.as_str(), kwargs.as_str()))
}
