//! Functions and workers, as they are shown.

use serde::Serialize;

use crate::domain::{Defaults, OnInterrupt, QueueName, ScopeName, Signature};
use crate::engine::{Function, Worker, WorkerState};

/// A function.
#[derive(Serialize)]
pub(super) struct FunctionBody<'a> {
    name: &'a str,
    runtime: &'a str,
    description: &'a str,
    /// None: it takes what it is given.
    parameters: Option<Vec<ParameterBody>>,
    defaults: DefaultsBody<'a>,
    /// What a key must allow to call it, beside to submit.
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    worker: Option<WorkerBody>,
}

#[derive(Serialize)]
struct DefaultsBody<'a> {
    queue: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    start_timeout_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    run_timeout_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    total_timeout_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry: Option<RetryBody>,
    #[serde(skip_serializing_if = "Option::is_none")]
    on_interrupt: Option<&'a str>,
}

#[derive(Serialize)]
struct RetryBody {
    max_attempts: u32,
    initial_seconds: f64,
    factor: f64,
    max_seconds: f64,
    jitter: f64,
}

/// How a worker fares.
#[derive(Serialize)]
pub(super) struct WorkerBody {
    name: String,
    processes: usize,
    ready: usize,
    busy: usize,
    restarts: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_error: Option<String>,
}

impl WorkerBody {
    /// `worker` as it is shown.
    pub(super) fn of(worker: &Worker) -> Self {
        let WorkerState { processes, ready, busy, restarts, last_error } = worker.state();
        Self { name: worker.name().to_owned(), processes, ready, busy, restarts, last_error }
    }

    /// The same for everyone: what a process said in its end is not.
    pub(super) fn brief(worker: &Worker) -> Self {
        Self { last_error: None, ..Self::of(worker) }
    }
}

impl<'a> DefaultsBody<'a> {
    fn of(defaults: &'a Defaults) -> Self {
        let Defaults { queue, retry, clocks, on_interrupt } = defaults;
        Self {
            queue: queue.as_ref().map_or("default", QueueName::as_str),
            start_timeout_seconds: clocks.start_timeout_ms.map(seconds),
            run_timeout_seconds: clocks.run_timeout_ms.map(seconds),
            total_timeout_seconds: clocks.total_timeout_ms.map(seconds),
            retry: retry.map(|retry| RetryBody {
                max_attempts: retry.max_attempts,
                initial_seconds: seconds(retry.initial_ms),
                factor: retry.factor,
                max_seconds: seconds(retry.max_ms),
                jitter: retry.jitter,
            }),
            on_interrupt: on_interrupt.map(OnInterrupt::as_str),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "ten years of milliseconds are exact")]
fn seconds(milliseconds: i64) -> f64 {
    milliseconds as f64 / 1_000.0
}

#[derive(Serialize)]
struct ParameterBody {
    name: String,
    required: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    default: Option<serde_json::Value>,
    schema: serde_json::Value,
}

impl<'a> FunctionBody<'a> {
    /// `function` as it is shown.
    pub(super) fn of(function: &'a Function) -> Self {
        Self {
            name: function.name.as_str(),
            runtime: function.runtime(),
            description: &function.description,
            parameters: function.parameters().signature().map(parameters),
            defaults: DefaultsBody::of(&function.defaults),
            scope: function.scope().map(ScopeName::as_str),
            worker: function.worker().map(WorkerBody::of),
        }
    }
}

fn parameters(signature: &Signature) -> Vec<ParameterBody> {
    let parameters = signature.parameters.iter().map(|parameter| ParameterBody {
        name: parameter.name.clone(),
        required: parameter.required,
        default: parameter.default.clone(),
        schema: parameter.schema.clone(),
    });
    parameters.collect()
}

/// All functions.
#[derive(Serialize)]
pub(super) struct FunctionsBody<'a> {
    pub(super) functions: Vec<FunctionBody<'a>>,
}
