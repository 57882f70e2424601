//! The functions that jobs may name.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::domain::{Defaults, FunctionName, Invalid, Json, Pool, ScopeName};

use super::command::{Command, CommandSettings};
use super::native::Native;
use super::parameters::{Given, Parameters, Refusal, call_object};
use super::worker::{Worker, WorkerFunction};

/// A named thing that can be called.
#[derive(Debug)]
pub struct Function {
    /// What jobs call it by.
    pub name: FunctionName,
    /// What it does, for people.
    pub description: String,
    /// What its jobs have where their submissions say nothing.
    pub defaults: Defaults,
    pub(super) code: Code,
}

/// What is run.
#[derive(Debug)]
pub(super) enum Code {
    /// With whether its schemas ask for more than its types do.
    Native(Native, Arc<Parameters>, bool),
    Command(Arc<Command>, Arc<Parameters>),
    Worker(WorkerFunction),
}

impl Function {
    /// Its parameters.
    #[must_use]
    pub fn parameters(&self) -> Arc<Parameters> {
        match &self.code {
            Code::Native(_, parameters, _) | Code::Command(_, parameters) => Arc::clone(parameters),
            Code::Worker(function) => function.parameters(),
        }
    }

    /// The runtime it has: `native`, `command` or `worker`.
    #[must_use]
    pub fn runtime(&self) -> &'static str {
        match &self.code {
            Code::Native(..) => "native",
            Code::Command(..) => "command",
            Code::Worker(_) => "worker",
        }
    }

    /// The file that a command runs, or why there is none; none where it is no command.
    #[must_use]
    pub fn program(&self) -> Option<Result<PathBuf, String>> {
        match &self.code {
            Code::Command(command, _) => Some(command.locate()),
            Code::Native(..) | Code::Worker(_) => None,
        }
    }

    /// The worker whose processes have it.
    #[must_use]
    pub fn worker(&self) -> Option<&Worker> {
        match &self.code {
            Code::Worker(function) => Some(&function.worker),
            Code::Native(..) | Code::Command(..) => None,
        }
    }

    /// What a key must allow to call it, beside to submit.
    #[must_use]
    pub fn scope(&self) -> Option<&ScopeName> {
        match &self.code {
            Code::Command(command, _) => command.scope(),
            Code::Worker(function) => function.worker.scope(),
            Code::Native(..) => None,
        }
    }

    /// Where it runs.
    #[must_use]
    pub fn pool(&self) -> Pool {
        match &self.code {
            Code::Native(native, ..) => native.run.pool(),
            Code::Command(..) => Pool::Commands,
            Code::Worker(function) => function.worker.pool(),
        }
    }

    /// Binds a call's arguments to the parameters and checks them, as they will be read when the job runs.
    pub fn bind(&self, args: &Json, kwargs: &Json) -> Result<Json, Refusal> {
        let given = Given::of(args, kwargs)?;
        let parameters = self.parameters();
        let bound = parameters.bind(&self.name, &given)?;
        match &self.code {
            Code::Native(native, _, asks_more) => {
                let bound = bound.unwrap_or_else(Json::empty_object);
                (native.check)(&bound).map_err(|refusal| {
                    let refusal = parameters.placed(refusal, &given);
                    // The type says what is wrong; the schema, which is less strict, may say where.
                    match (refusal.of(&self.name), parameters.check(&bound, &given)) {
                        (Refusal::Invalid(detail), Err(Refusal::Values { faults, .. })) => {
                            Refusal::Values { detail, faults }
                        }
                        (refusal, _) => refusal,
                    }
                })?;
                if *asks_more {
                    parameters.check(&bound, &given)?;
                }
                Ok(bound)
            }
            Code::Command(command, _) => {
                bound.as_ref().map_or(Ok(()), |bound| parameters.check(bound, &given))?;
                command.bind(&parameters, bound, &given, (args, kwargs))
            }
            Code::Worker(_) => match bound {
                Some(bound) => {
                    parameters.check(&bound, &given)?;
                    Ok(call_object(&Json::empty_array(), &bound))
                }
                None => Ok(call_object(args, kwargs)),
            },
        }
    }
}

/// All functions, by name.
#[derive(Debug, Default)]
pub struct Registry {
    functions: BTreeMap<String, Arc<Function>>,
}

impl Registry {
    /// Adds a Rust function; a later one of the same name takes the place of the former.
    pub fn add(&mut self, name: &str, native: Native) -> Result<(), Invalid> {
        let name = FunctionName::new(name)?;
        let (description, defaults) = (native.description.clone(), native.defaults.clone());
        let parameters = Arc::new(Parameters::of(native.signature.clone()));
        let asks_more = parameters.ask_more_than_types();
        let code = Code::Native(native, parameters, asks_more);
        self.insert(Function { name, description, defaults, code });
        Ok(())
    }

    /// Adds a command.
    pub fn add_command(
        &mut self,
        name: &str,
        description: String,
        defaults: Defaults,
        settings: CommandSettings,
    ) -> Result<(), Invalid> {
        let name = FunctionName::new(name)?;
        let (command, parameters) = Command::new(settings)?;
        let code = Code::Command(Arc::new(command), Arc::new(parameters));
        self.insert(Function { name, description, defaults, code });
        Ok(())
    }

    /// Adds the functions that `worker` has, as far as they are known.
    pub fn add_worker(&mut self, worker: &Worker) {
        for name in worker.functions() {
            let description = worker.description(&name);
            let defaults = worker.defaults().clone();
            let code = Code::Worker(WorkerFunction::new(worker.clone(), name.clone()));
            self.insert(Function { name, description, defaults, code });
        }
    }

    fn insert(&mut self, function: Function) {
        self.functions.insert(function.name.to_string(), Arc::new(function));
    }

    /// The function of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<Function>> {
        self.functions.get(name)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Function>> {
        self.functions.values()
    }
}
