//! Commands and workers, as the configuration file has them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::domain::{Clocks, Defaults, FunctionName, OnInterrupt, QueueName, ScopeName};
use crate::runtime::{CommandSettings, Limits, Registry, Stdin, Stdout, User, WorkerSettings};

use super::setting_error::SettingError;
use super::settings::{RetryTable, limit, parameter};

/// Most processes of one worker.
const PROCESSES_MAX: usize = 1_024;
/// Most workers.
const WORKERS_MAX: usize = 256;
/// Longest time that a worker may take to say what it can do.
const INITIALIZE_SECONDS_MAX: f64 = 3_600.0;
/// What a program is given of the server's environment.
const PASSED: [&str; 5] = ["PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ"];
/// Commands and workers. They come from the configuration file, and from nowhere else: whoever can name a program
/// can run anything.
#[derive(Clone, Debug, Default)]
pub struct Programs {
    pub(super) functions: BTreeMap<String, ProgramTable>,
    pub(super) workers: BTreeMap<String, ProgramTable>,
    /// Where the file stands: what it names without a whole path is looked for there.
    pub(super) directory: PathBuf,
    /// What the server's own environment is.
    pub(super) environment: BTreeMap<String, String>,
}

/// `[functions."name"]` and `[workers.name]`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ProgramTable {
    runtime: Option<String>,
    description: Option<String>,
    argv: Vec<String>,
    parameters: Option<Vec<toml::Table>>,
    stdin: Option<String>,
    stdout: Option<String>,
    content_type: Option<String>,
    output_bytes_max: Option<usize>,
    processes: Option<usize>,
    max_calls_per_process: Option<u64>,
    functions: Option<Announced>,
    initialize_timeout_seconds: Option<f64>,
    directory: Option<PathBuf>,
    pass_env: Vec<String>,
    memory_bytes_max: Option<u64>,
    processes_max: Option<u32>,
    user: Option<String>,
    group: Option<String>,
    scope: Option<String>,
    queue: Option<String>,
    start_timeout_seconds: Option<f64>,
    run_timeout_seconds: Option<f64>,
    total_timeout_seconds: Option<f64>,
    on_interrupt: Option<String>,
    pub(super) env: BTreeMap<String, String>,
    retry: Option<RetryTable>,
}

/// The functions of a worker: `"*"`, or their names.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(untagged)]
enum Announced {
    All(String),
    Named(Vec<String>),
}

impl Programs {
    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.functions.is_empty() && self.workers.is_empty()
    }

    /// What all of them are called in the configuration.
    fn named(&self) -> impl Iterator<Item = (String, &ProgramTable)> {
        let functions = self.functions.iter().map(|(name, it)| (format!("functions.{name}"), it));
        functions.chain(self.workers.iter().map(|(name, it)| (format!("workers.{name}"), it)))
    }

    /// The scopes that they ask for.
    pub(crate) fn scopes(&self) -> BTreeSet<&str> {
        self.named().filter_map(|(_, it)| it.scope.as_deref()).collect()
    }

    /// Those that run as whoever the server runs as.
    pub(super) fn without_user(&self) -> Vec<String> {
        let without = self.named().filter(|(_, it)| it.user.is_none());
        without.map(|(name, _)| name).collect()
    }

    /// Whether any runs as somebody else.
    pub(super) fn have_users(&self) -> bool {
        self.named().any(|(_, it)| it.user.is_some())
    }

    /// The directories that they work in, and the files that they are.
    pub(super) fn used(&self) -> Vec<PathBuf> {
        let mut used = Vec::new();
        for (_, table) in self.named() {
            used.extend(table.directory.as_ref().map(|it| self.directory.join(it)));
            let program = table.argv.first().filter(|program| program.contains('/'));
            used.extend(program.map(|program| self.directory.join(program)));
        }
        used
    }

    /// Checks all of them.
    pub(super) fn check(&self, result_bytes_max: usize) -> Result<(), SettingError> {
        self.register(&mut Registry::default(), result_bytes_max)?;
        self.workers(result_bytes_max).map(drop)
    }

    /// Adds the commands to the functions that jobs may name.
    pub(super) fn register(
        &self,
        registry: &mut Registry,
        result_bytes_max: usize,
    ) -> Result<(), SettingError> {
        for (name, table) in &self.functions {
            let at = |error: SettingError| error.within(&["functions", name]);
            let (defaults, settings) = self.command(table, result_bytes_max).map_err(at)?;
            let description = table.description.clone().unwrap_or_default();
            registry
                .add_command(name, description, defaults, settings)
                .map_err(|error| at(of_command(&error.to_string())))?;
        }
        Ok(())
    }

    fn command(
        &self,
        table: &ProgramTable,
        result_bytes_max: usize,
    ) -> Result<(Defaults, CommandSettings), SettingError> {
        if table.runtime.as_deref() != Some("command") {
            let text = "must be \"command\"; native functions are registered in Rust, those of workers under [workers]";
            return Err(SettingError::of("runtime", text));
        }
        table.has_none(&[
            ("processes", table.processes.is_some()),
            ("max_calls_per_process", table.max_calls_per_process.is_some()),
            ("functions", table.functions.is_some()),
            ("initialize_timeout_seconds", table.initialize_timeout_seconds.is_some()),
        ])?;
        let output_bytes_max = table.output_bytes_max.unwrap_or(result_bytes_max);
        if !(1..=result_bytes_max).contains(&output_bytes_max) {
            let text = format!("must be from 1 to limits.result_bytes, {result_bytes_max}");
            return Err(SettingError::of("output_bytes_max", text));
        }
        let stdout = match (table.stdout.as_deref(), &table.content_type) {
            (None | Some("json"), None) => Stdout::Json,
            (Some("text"), None) => Stdout::Text,
            (Some("bytes"), content_type) => {
                let usual = || "application/octet-stream".to_owned();
                Stdout::Bytes(content_type.clone().unwrap_or_else(usual))
            }
            (None | Some("json" | "text"), Some(_)) => {
                return Err(SettingError::of("content_type", "goes with stdout = \"bytes\" only"));
            }
            (Some(_), _) => {
                return Err(SettingError::of("stdout", "must be \"json\", \"text\" or \"bytes\""));
            }
        };
        let stdin = match table.stdin.as_deref() {
            None | Some("json") => Stdin::Json,
            Some("none") => Stdin::None,
            Some(name) => Stdin::Parameter(name.to_owned()),
        };
        let parameters = table.parameters.as_ref().map(|list| list.iter().map(parameter));
        let settings = CommandSettings {
            argv: self.argv(table)?,
            parameters: parameters.map(Iterator::collect).transpose()?,
            stdin,
            stdout,
            environment: self.environment_of(table)?,
            directory: table.directory.as_ref().map(|directory| self.directory.join(directory)),
            limits: table.limits()?,
            user: table.user()?,
            scope: table.scope()?,
            output_bytes_max,
        };
        Ok((table.defaults()?, settings))
    }

    /// The workers, in the order of their names.
    pub(super) fn workers(
        &self,
        result_bytes_max: usize,
    ) -> Result<Vec<WorkerSettings>, SettingError> {
        if self.workers.len() > WORKERS_MAX {
            return Err(SettingError::of("workers", format!("at most {WORKERS_MAX}")));
        }
        let worker = |(name, table): (&String, &ProgramTable)| {
            self.worker(name, table, result_bytes_max)
                .map_err(|error| error.within(&["workers", name]))
        };
        self.workers.iter().map(worker).collect()
    }

    fn worker(
        &self,
        name: &str,
        table: &ProgramTable,
        result_bytes_max: usize,
    ) -> Result<WorkerSettings, SettingError> {
        let is_legal = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if name.is_empty() || name.len() > 64 || !name.chars().all(is_legal) {
            let text = "a worker's name is letters, digits, _ and -, 1 to 64 characters";
            return Err(SettingError::of("", text));
        }
        table.has_none(&[
            ("runtime", table.runtime.is_some()),
            ("description", table.description.is_some()),
            ("parameters", table.parameters.is_some()),
            ("stdin", table.stdin.is_some()),
            ("stdout", table.stdout.is_some()),
            ("content_type", table.content_type.is_some()),
            ("output_bytes_max", table.output_bytes_max.is_some()),
        ])?;
        let processes = table.processes.unwrap_or(1);
        if !(1..=PROCESSES_MAX).contains(&processes) {
            return Err(SettingError::of(
                "processes",
                format!("must be from 1 to {PROCESSES_MAX}"),
            ));
        }
        if table.max_calls_per_process == Some(0) {
            let text = "must be at least 1; leave it out for no limit";
            return Err(SettingError::of("max_calls_per_process", text));
        }
        let timeout = table.initialize_timeout_seconds.unwrap_or(30.0);
        if !(0.001..=INITIALIZE_SECONDS_MAX).contains(&timeout) {
            let text = format!("must be from 0.001 to {INITIALIZE_SECONDS_MAX}");
            return Err(SettingError::of("initialize_timeout_seconds", text));
        }
        let named = |names: &Vec<String>| {
            names.iter().map(|name| FunctionName::new(name)).collect::<Result<Vec<_>, _>>()
        };
        let functions = match &table.functions {
            None => None,
            Some(Announced::All(word)) if word == "*" => None,
            Some(Announced::All(_)) => {
                return Err(SettingError::of("functions", "must be \"*\" or a list of names"));
            }
            Some(Announced::Named(names)) => Some(
                named(names).map_err(|error| SettingError::of("functions", error.to_string()))?,
            ),
        };
        Ok(WorkerSettings {
            name: name.to_owned(),
            argv: self.argv(table)?,
            environment: self.environment_of(table)?,
            directory: table.directory.as_ref().map(|directory| self.directory.join(directory)),
            processes,
            max_calls_per_process: table.max_calls_per_process,
            functions,
            initialize_timeout: Duration::from_secs_f64(timeout),
            limits: table.limits()?,
            user: table.user()?,
            scope: table.scope()?,
            defaults: table.defaults()?,
            result_bytes_max,
        })
    }

    /// The program and its arguments. A program that is named with a path, but not a whole one, is beside the file.
    fn argv(&self, table: &ProgramTable) -> Result<Vec<String>, SettingError> {
        let mut argv = table.argv.clone();
        let Some(program) = argv.first_mut().filter(|program| !program.is_empty()) else {
            let text = "is required: the program and its arguments, as in [\"/usr/bin/program\", \"--flag\"]";
            return Err(SettingError::of("argv", text));
        };
        if program.contains('/') {
            *program = self.directory.join(&*program).display().to_string();
        }
        Ok(argv)
    }

    fn environment_of(&self, table: &ProgramTable) -> Result<Vec<(String, String)>, SettingError> {
        let passed = PASSED.iter().copied().chain(table.pass_env.iter().map(String::as_str));
        let passed = passed.filter_map(|name| Some((name, self.environment.get(name)?.as_str())));
        let given = table.env.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let all: BTreeMap<&str, &str> = passed.chain(given).collect();
        for (name, value) in &all {
            if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
                return Err(SettingError::of(
                    "env",
                    format!("'{name}' is no variable, or its value no text"),
                ));
            }
        }
        Ok(all.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }
}

/// What is wrong with a command, at the setting that it is about.
fn of_command(text: &str) -> SettingError {
    match text.split_once(": ") {
        Some(("argv", what)) => SettingError::of("argv", what),
        _ => SettingError::of("", text),
    }
}

impl ProgramTable {
    /// Refuses what belongs to the other kind of table.
    fn has_none(&self, fields: &[(&str, bool)]) -> Result<(), SettingError> {
        match fields.iter().find(|(_, is_there)| *is_there) {
            Some((name, _)) if *name == "runtime" => {
                Err(SettingError::of(name, "is not for a worker; its table is [workers.…] already"))
            }
            Some((name, _)) => Err(SettingError::of(name, "means nothing here; take it out")),
            None => Ok(()),
        }
    }

    fn limits(&self) -> Result<Limits, SettingError> {
        if self.memory_bytes_max == Some(0) {
            return Err(SettingError::of("memory_bytes_max", "must be at least 1"));
        }
        if self.processes_max == Some(0) {
            return Err(SettingError::of("processes_max", "must be at least 1"));
        }
        Ok(Limits { memory_bytes_max: self.memory_bytes_max, processes_max: self.processes_max })
    }

    fn user(&self) -> Result<Option<User>, SettingError> {
        User::find(self.user.as_deref(), self.group.as_deref())
            .map_err(|text| SettingError::of("user", text))
    }

    fn scope(&self) -> Result<Option<ScopeName>, SettingError> {
        let scope = self.scope.as_deref().map(ScopeName::new).transpose();
        scope.map_err(|error| SettingError::of("scope", error.to_string()))
    }

    fn defaults(&self) -> Result<Defaults, SettingError> {
        let queue = self.queue.as_deref().map(QueueName::new).transpose();
        let on_interrupt = match self.on_interrupt.as_deref() {
            None => None,
            Some(word) => Some(OnInterrupt::parse(word).ok_or_else(|| {
                SettingError::of("on_interrupt", "must be \"rerun\" or \"fail\"")
            })?),
        };
        Ok(Defaults {
            queue: queue.map_err(|error| SettingError::of("queue", error.to_string()))?,
            retry: self.retry.as_ref().map(RetryTable::read).transpose()?,
            clocks: Clocks {
                start_timeout_ms: limit("start_timeout_seconds", self.start_timeout_seconds)?,
                run_timeout_ms: limit("run_timeout_seconds", self.run_timeout_seconds)?,
                total_timeout_ms: limit("total_timeout_seconds", self.total_timeout_seconds)?,
            },
            on_interrupt,
        })
    }
}
