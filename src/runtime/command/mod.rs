//! Commands: any program, run once for each call.

mod argv;
mod outcome;
mod run;

use std::collections::BTreeMap;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::value::{RawValue, to_raw_value};

use crate::domain::{Invalid, Json, Parameter, ScopeName};

use super::parameters::{Given, Parameters, Refusal, call_object};
use super::process::{Limits, User};
use argv::Template;

pub(super) use run::run;

/// The values of a call by parameter, each as it was written: a number that is read and printed again may be another.
type Values = BTreeMap<String, Box<RawValue>>;

/// What a command is given as its standard input.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Stdin {
    /// Nothing.
    None,
    /// `{"args":[…],"kwargs":{…}}`, the parameters as `kwargs`.
    #[default]
    Json,
    /// The bytes of this parameter, whose value is base64.
    Parameter(String),
}

/// What a command's standard output is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Stdout {
    /// One JSON value, the result.
    #[default]
    Json,
    /// UTF-8, the result as a string.
    Text,
    /// Bytes of this content type: the result is `{"content_type","body_encoding":"base64","body"}`.
    Bytes(String),
}

/// A command, as an operator has written it down.
#[derive(Clone, Debug)]
pub struct CommandSettings {
    /// The program and its arguments. `{name}` stands for the value of a parameter.
    pub argv: Vec<String>,
    /// Its parameters; none: it takes whatever it is given, as JSON on its standard input.
    pub parameters: Option<Vec<Parameter>>,
    /// What it reads.
    pub stdin: Stdin,
    /// What it writes.
    pub stdout: Stdout,
    /// Its environment, beside what tells of the job.
    pub environment: Vec<(String, String)>,
    /// Where it runs; none: in a directory of its own, which goes with the attempt.
    pub directory: Option<PathBuf>,
    /// What it may use.
    pub limits: Limits,
    /// Whose it is; none: the server's.
    pub user: Option<User>,
    /// What a key must allow to call it.
    pub scope: Option<ScopeName>,
    /// The largest output that is taken, in bytes.
    pub output_bytes_max: usize,
}

/// A command, ready to be called.
#[derive(Debug)]
pub struct Command {
    argv: Vec<Template>,
    /// Values of parameters that a call leaves out.
    defaults: Values,
    /// The place of the parameter that is the standard input.
    input: Option<usize>,
    settings: CommandSettings,
}

impl Command {
    /// What a key must allow to call it.
    pub(super) fn scope(&self) -> Option<&ScopeName> {
        self.settings.scope.as_ref()
    }

    /// Reads what an operator wrote.
    pub fn new(settings: CommandSettings) -> Result<(Self, Parameters), Invalid> {
        let parameters = settings.parameters.clone().unwrap_or_default();
        let known = match settings.parameters {
            Some(_) => Parameters::checked(parameters.clone())?,
            None => Parameters::default(),
        };
        if settings.argv.first().is_none_or(String::is_empty) {
            return Err(Invalid::new("argv needs a program: argv = [\"/usr/bin/program\", …]"));
        }
        let argv = settings.argv.iter().map(|text| Template::parse(text, &parameters));
        let argv: Vec<Template> = argv.collect::<Result<_, _>>()?;
        if !argv[0].is_literal() {
            return Err(Invalid::new(
                "the program in argv is chosen by the operator, not by a value",
            ));
        }
        let input = match &settings.stdin {
            Stdin::Parameter(name) => {
                let place = parameters.iter().position(|parameter| parameter.name == *name);
                let text = || Invalid::new(format!("stdin names '{name}', which is no parameter"));
                Some(place.ok_or_else(text)?)
            }
            Stdin::None | Stdin::Json => None,
        };
        let default = |it: Parameter| {
            let text = to_raw_value(&it.default?).map_err(|error| Invalid::new(error.to_string()));
            Some(text.map(|text| (it.name, text)))
        };
        let defaults = parameters.into_iter().filter_map(default).collect::<Result<_, _>>()?;
        Ok((Self { argv, defaults, input, settings }, known))
    }

    /// The program that it runs.
    #[must_use]
    pub fn program(&self) -> &str {
        &self.settings.argv[0]
    }

    /// The file that it runs, found as the system will find it.
    pub(super) fn locate(&self) -> Result<PathBuf, String> {
        let program = self.program();
        let is_program = |file: &PathBuf| {
            file.is_file() && rustix::fs::access(file, rustix::fs::Access::EXEC_OK).is_ok()
        };
        if program.contains('/') {
            let file = PathBuf::from(program);
            let text = || format!("{program} is no program that may be run");
            return Some(file).filter(is_program).ok_or_else(text);
        }
        let path = self.settings.environment.iter().find(|(name, _)| name == "PATH");
        let path = path.map_or("/bin:/usr/bin", |(_, path)| path.as_str());
        let mut files = std::env::split_paths(path).map(|directory| directory.join(program));
        files.find(is_program).ok_or_else(|| format!("there is no {program} in {path}"))
    }

    /// Checks a call, and makes of it what [`run`] takes.
    pub(super) fn bind(
        &self,
        parameters: &Parameters,
        bound: Option<Json>,
        given: &Given<'_>,
        (args, kwargs): (&Json, &Json),
    ) -> Result<Json, Refusal> {
        let Some(bound) = bound else { return Ok(call_object(args, kwargs)) };
        let malformed = |error: serde_json::Error| Refusal::Invalid(error.to_string());
        let values = self.values(&bound).map_err(malformed)?;
        argv::filled(&self.argv, parameters, &values)
            .map_err(|(place, detail)| parameters.fault(given, place, &detail))?;
        if let Some(place) = self.input {
            input_of(parameters, place, &values)
                .map_err(|detail| parameters.fault(given, place, &detail))?;
        }
        let whole = serde_json::to_string(&values).map_err(malformed)?;
        Ok(call_object(&Json::empty_array(), &Json::trusted(whole)))
    }

    /// The values of a bound call, with the defaults of those that are left out.
    fn values(&self, bound: &Json) -> Result<Values, serde_json::Error> {
        let given: Values = serde_json::from_str(bound.as_str())?;
        Ok(self.defaults.clone().into_iter().chain(given).collect())
    }
}

/// The bytes that a parameter holds as base64.
fn input_of(parameters: &Parameters, place: usize, values: &Values) -> Result<Vec<u8>, String> {
    let parameter = parameters.signature().and_then(|it| it.parameters.get(place));
    let value = parameter.and_then(|parameter| values.get(&parameter.name));
    let Some(value) = value else { return Ok(Vec::new()) };
    match serde_json::from_str(value.get()) {
        Ok(None) => Ok(Vec::new()),
        Ok(Some(text)) => STANDARD
            .decode::<String>(text)
            .map_err(|error| format!("is the command's input, and must be base64: {error}")),
        Err(_no_text) => Err("is the command's input, and must be a string of base64".to_owned()),
    }
}
