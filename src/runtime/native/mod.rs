//! Native functions: Rust code of this process, typed with serde.

mod attempt_output;
pub mod builtin;
mod call;
mod factorial;
mod http_request;
mod secrets;

use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::value::to_raw_value;

use crate::domain::{Defaults, ErrorType, JobError, Json, Parameter, Pool, Signature};
use crate::runtime::Refusal;

pub use call::Call;
pub use secrets::{CallSecret, CallSecrets};

type BlockingRun = dyn Fn(&Call, &Json) -> Result<Json, JobError> + Send + Sync;
type TaskRun = dyn Fn(Call, Json) -> BoxFuture<'static, Result<Json, JobError>> + Send + Sync;
type Check = dyn Fn(&Json) -> Result<(), Refusal> + Send + Sync;

pub(super) enum Run {
    Blocking(Arc<BlockingRun>),
    Task(Arc<TaskRun>),
}

impl Run {
    pub(super) fn pool(&self) -> Pool {
        match self {
            Self::Blocking(_) => Pool::Threads,
            Self::Task(_) => Pool::Tasks,
        }
    }
}

/// A Rust function made callable by [`blocking`] or [`task`].
pub struct Native {
    pub(super) signature: Signature,
    pub(super) description: String,
    pub(super) defaults: Defaults,
    pub(super) run: Run,
    pub(super) check: Box<Check>,
}

impl Native {
    /// The same function with a sentence on what it does.
    #[must_use]
    pub fn describe(mut self, description: &str) -> Self {
        description.clone_into(&mut self.description);
        self
    }

    /// The same function, with what its jobs have where their submissions say nothing.
    #[must_use]
    pub fn defaults(mut self, defaults: Defaults) -> Self {
        self.defaults = defaults;
        self
    }

    /// The same function, whose arguments `check` may refuse at submission. The pointers of its faults begin with the
    /// name of a parameter.
    #[must_use]
    pub fn check<A, C>(mut self, check: C) -> Self
    where
        A: DeserializeOwned,
        C: Fn(&A) -> Result<(), Refusal> + Send + Sync + 'static,
    {
        self.check = Box::new(move |arguments| check(&typed(arguments)?));
        self
    }
}

impl fmt::Debug for Native {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Native")
            .field("signature", &self.signature)
            .field("pool", &self.run.pool())
            .finish_non_exhaustive()
    }
}

/// Makes `function` callable on a thread of the pool: for what computes or blocks.
///
/// The signature comes from the argument type `A`, a struct: its fields are the parameters, in
/// order; a field with `#[serde(default)]` is optional.
pub fn blocking<A, R, F>(function: F) -> Native
where
    A: DeserializeOwned + JsonSchema,
    R: Serialize,
    F: Fn(&Call, A) -> Result<R, JobError> + Send + Sync + 'static,
{
    let run = move |call: &Call, arguments: &Json| {
        let arguments: A = typed(arguments).map_err(|refusal| type_error(&refusal))?;
        as_json(&function(call, arguments)?)
    };
    native::<A>(Run::Blocking(Arc::new(run)))
}

/// Makes `function` callable as a task: for what waits. It must not block or compute for long.
///
/// The signature comes from the argument type, as in [`blocking`].
pub fn task<A, R, F, Fut>(function: F) -> Native
where
    A: DeserializeOwned + JsonSchema + Send,
    R: Serialize,
    F: Fn(Call, A) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<R, JobError>> + Send + 'static,
{
    let function = Arc::new(function);
    let run = move |call: Call, arguments: Json| -> BoxFuture<'static, Result<Json, JobError>> {
        let function = Arc::clone(&function);
        Box::pin(async move {
            let attempt = {
                let arguments: A = typed(&arguments).map_err(|refusal| type_error(&refusal))?;
                function(call, arguments)
            };
            as_json(&attempt.await?)
        })
    };
    native::<A>(Run::Task(Arc::new(run)))
}

fn native<A: DeserializeOwned + JsonSchema>(run: Run) -> Native {
    let check = |arguments: &Json| typed::<A>(arguments).map(drop);
    let signature = signature_of::<A>();
    Native {
        signature,
        description: String::new(),
        defaults: Defaults::default(),
        run,
        check: Box::new(check),
    }
}

fn typed<A: DeserializeOwned>(arguments: &Json) -> Result<A, Refusal> {
    serde_json::from_str(arguments.as_str()).map_err(|error| {
        // The position is one in our own bound text, which the caller never sees.
        let text = error.to_string();
        Refusal::Invalid(text.split(" at line ").next().unwrap_or(&text).to_owned())
    })
}

/// Only possible for a job whose function changed after its submission.
fn type_error(refusal: &Refusal) -> JobError {
    JobError::new("TypeError", refusal.to_string())
}

fn as_json<R: Serialize>(result: &R) -> Result<Json, JobError> {
    let printed = to_raw_value(result).map_err(|error| {
        JobError::of(ErrorType::InvalidResult, format!("the result is not JSON: {error}"))
    })?;
    Ok(printed.into())
}

fn signature_of<A: JsonSchema>() -> Signature {
    let mut settings = SchemaSettings::draft2020_12();
    settings.inline_subschemas = true;
    let schema = Value::from(settings.into_generator().into_root_schema_for::<A>());
    let required = |name: &str| {
        let names = schema.get("required").and_then(Value::as_array);
        names.is_some_and(|names| names.iter().any(|required| required == name))
    };
    let properties = schema.get("properties").and_then(Value::as_object);
    let parameter = |(name, schema): (&String, &Value)| Parameter {
        name: name.clone(),
        required: required(name),
        default: schema.get("default").cloned(),
        schema: schema.clone(),
    };
    Signature { parameters: properties.into_iter().flatten().map(parameter).collect() }
}
