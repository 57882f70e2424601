//! The functions that every server has, registered as a user registers their own.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::domain::{Invalid, JobError};
use crate::runtime::Registry;

use super::{Call, CallSecrets, blocking, factorial, http_request, task};

/// Adds `echo`, `sleep`, `raise`, `math.factorial` and `http.request`, which sends through `client` and may be
/// told to send some of `secrets`.
pub fn add_all(
    registry: &mut Registry,
    client: &http_request::Client,
    secrets: &CallSecrets,
) -> Result<(), Invalid> {
    registry.add("echo", task(echo).describe("Returns its argument."))?;
    registry.add(
        "sleep",
        task(sleep)
            .describe("Waits, then says for how long. Holds a slot, no thread; stops at once."),
    )?;
    registry.add("raise", task(raise).describe("Fails with the error that it is given."))?;
    registry.add(
        "math.factorial",
        blocking(factorial::factorial).describe(
            "The exact factorial of n, up to 200000. Above 2^53 the result is a decimal string.",
        ),
    )?;
    registry.add("http.request", http_request::function(client, secrets))
}

#[derive(Deserialize, JsonSchema)]
struct Echo {
    #[serde(default = "null")]
    #[schemars(with = "Value", default = "null_value")]
    value: Box<RawValue>,
}

fn null() -> Box<RawValue> {
    RawValue::NULL.to_owned()
}

fn null_value() -> Value {
    Value::Null
}

async fn echo(_call: Call, arguments: Echo) -> Result<Box<RawValue>, JobError> {
    Ok(arguments.value)
}

#[derive(Deserialize, JsonSchema)]
struct Sleep {
    seconds: f64,
}

/// The text is that of the first example in Python's documentation of threads: "Slept for 3 seconds".
async fn sleep(call: Call, Sleep { seconds }: Sleep) -> Result<String, JobError> {
    let duration = Duration::try_from_secs_f64(seconds).map_err(|_out_of_range| {
        JobError::new("ValueError", "sleep length must be a number that is not negative")
    })?;
    tokio::select! {
        () = tokio::time::sleep(duration) => Ok(format!("Slept for {seconds} seconds")),
        () = call.cancelled() => Err(JobError::new("CancelledError", "asked to stop")),
    }
}

#[derive(Deserialize, JsonSchema)]
struct Raise {
    #[serde(default = "runtime_error", rename = "type")]
    kind: String,
    #[serde(default)]
    message: String,
    /// Whether another attempt could succeed; left to the job if not given.
    #[serde(default)]
    retryable: Option<bool>,
}

fn runtime_error() -> String {
    "RuntimeError".to_owned()
}

async fn raise(_call: Call, arguments: Raise) -> Result<(), JobError> {
    let error = JobError::new(&arguments.kind, arguments.message);
    Err(match arguments.retryable {
        Some(retryable) => error.retryable(retryable),
        None => error,
    })
}
