//! A submission, and a callback, as they stand in a request.

use std::collections::BTreeMap;

use serde_json::value::RawValue;
use uuid::Uuid;

use crate::domain::{
    IdempotencyKey, Invalid, JobId, Json, Metadata, OnInterrupt, Options, Priority, QueueName,
    Tags, When,
};
use crate::engine::{BatchCall, CallbackRequest, NewJob};

use super::clocks;
use super::fields::{Faults, Fields, kind};
use super::problem::{FieldError, Problem};

/// Most callbacks in one submission; more can be added later.
const CALLBACKS_MAX: usize = 16;
/// Fields that are about a job's place in its queue, its start, or its attempts.
const WHAT_RUNS: [&str; 8] = [
    "queue",
    "priority",
    "on_interrupt",
    "retry",
    "run_at",
    "delay_seconds",
    "start_timeout_seconds",
    "run_timeout_seconds",
];
/// Most headers of a callback.
const HEADERS_MAX: usize = 16;

/// Reads a submission.
pub(super) fn new_job(body: &RawValue) -> Result<NewJob, Problem> {
    let fields = Fields::of("", body)?;
    new_job_of(fields)
}

/// Reads a submission that is one of many lines, with the key that it has there.
pub(super) fn new_job_of_line(
    body: &RawValue,
) -> Result<(NewJob, Option<IdempotencyKey>), Problem> {
    let mut fields = Fields::of("", body)?;
    let key =
        fields.checked("idempotency_key", "a string", |key: String| IdempotencyKey::new(&key));
    Ok((new_job_of(fields)?, key))
}

fn new_job_of(mut fields: Fields<'_>) -> Result<NewJob, Problem> {
    let manual = fields.take("manual", "a boolean").unwrap_or_default();
    if manual {
        refuse_what_runs(&mut fields);
    }
    let id = fields.checked("id", "a string", |id: String| job_id(&id));
    let mut function: Option<String> = fields.take("function", "a string");
    if !manual {
        function = fields.required("function", function);
    }
    let BatchCall { args, kwargs } = call(&mut fields);
    let new = options(&mut fields);
    let callbacks = callbacks(&mut fields);
    fields.faults().into_result()?;
    let options = Options { manual, ..new.options };
    Ok(NewJob { id, function, args, kwargs, options, callbacks, ..new })
}

/// Reads the options of a job: its place in its queue, its labels, its limits of time.
pub(super) fn options(fields: &mut Fields<'_>) -> NewJob {
    let queue = fields.checked("queue", "a string", |name: String| QueueName::new(&name));
    let priority = fields.checked("priority", "a whole number", Priority::new).unwrap_or_default();
    let on_interrupt = fields.checked("on_interrupt", "a string", |word: String| {
        OnInterrupt::parse(&word).ok_or_else(|| Invalid::new("must be \"rerun\" or \"fail\""))
    });
    let tags = fields.checked("tags", "an array of strings", Tags::new).unwrap_or_default();
    let metadata = fields
        .checked("metadata", "an object of strings", |entries: BTreeMap<String, String>| {
            Metadata::new(entries.into_iter().collect())
        })
        .unwrap_or_default();
    let (options, retry, start) = clocks::options(fields);
    let new = NewJob { queue, priority, on_interrupt, tags, metadata, ..NewJob::default() };
    NewJob { options, retry, start, ..new }
}

/// Reads what the jobs of a batch have in common: the function, and the options of a job.
pub(super) fn common(fields: &mut Fields<'_>) -> NewJob {
    let function = fields.take("function", "a string");
    let function = fields.required("function", function);
    NewJob { function, ..options(fields) }
}

/// Reads a call of a batch.
pub(super) fn call(fields: &mut Fields<'_>) -> BatchCall {
    let args = container(fields, "args", "an array").unwrap_or_else(Json::empty_array);
    let kwargs = container(fields, "kwargs", "an object").unwrap_or_else(Json::empty_object);
    BatchCall { args, kwargs }
}

/// Reads the id that a client chose.
pub(super) fn job_id(text: &str) -> Result<JobId, Invalid> {
    let is_whole = |id: &Uuid| id.hyphenated().to_string() == text.to_lowercase();
    let id = Uuid::try_parse(text).ok().filter(is_whole).filter(|id| !id.is_nil());
    id.map(JobId).ok_or_else(|| {
        Invalid::new(
            "must be a UUID with its hyphens, like 0199a3c2-7d5e-7cc1-9d1a-2f5b3c4d5e6f, and not the nil one",
        )
    })
}

/// A manual job never runs, so what is about running means nothing to it. A default that is spelt out says nothing.
fn refuse_what_runs(fields: &mut Fields<'_>) {
    for name in WHAT_RUNS {
        let is_default = |value: &&RawValue| {
            matches!((name, value.get()), ("priority", "0") | ("on_interrupt", "\"rerun\""))
        };
        if fields.raw(name).filter(|value| !is_default(value)).is_some() {
            fields.refuse(
                name,
                "a manual job is in no queue and never runs; leave it out".to_owned(),
            );
        }
    }
}

/// Reads a callback.
pub(super) fn callback(body: &RawValue) -> Result<CallbackRequest, Problem> {
    let (callback, faults) = callback_at("", body)?;
    faults.into_result()?;
    Ok(callback)
}

/// The field `name` as it stands, if it is the kind of container that is `expected`.
fn container(fields: &mut Fields<'_>, name: &str, expected: &str) -> Option<Json> {
    let value = fields.raw(name)?;
    if kind(value) == expected {
        return Some(Json::of(value));
    }
    fields.refuse(name, format!("must be {expected}, not {}", kind(value)));
    None
}

fn callbacks(fields: &mut Fields<'_>) -> Vec<CallbackRequest> {
    callbacks_by(fields, callback_at)
}

/// Reads the callbacks of a batch, and what each waits for.
pub(super) fn batch_callbacks(fields: &mut Fields<'_>) -> Vec<(CallbackRequest, When)> {
    callbacks_by(fields, batch_callback_at)
}

/// Reads a callback of a batch.
pub(super) fn batch_callback(body: &RawValue) -> Result<(CallbackRequest, When), Problem> {
    let (callback, faults) = batch_callback_at("", body)?;
    faults.into_result()?;
    Ok(callback)
}

fn callbacks_by<T>(
    fields: &mut Fields<'_>,
    read: impl Fn(&str, &RawValue) -> Result<(T, Faults), FieldError>,
) -> Vec<T> {
    let Some(list) = fields.raw("callbacks") else { return Vec::new() };
    let Ok(list) = serde_json::from_str::<Vec<&RawValue>>(list.get()) else {
        fields.refuse("callbacks", format!("must be an array, not {}", kind(list)));
        return Vec::new();
    };
    if list.len() > CALLBACKS_MAX {
        fields.refuse("callbacks", format!("at most {CALLBACKS_MAX}; more can be added later"));
        return Vec::new();
    }
    let mut callbacks = Vec::with_capacity(list.len());
    for (place, value) in list.into_iter().enumerate() {
        match read(&format!("/callbacks/{place}"), value) {
            Ok((callback, faults)) => {
                fields.adopt(faults);
                callbacks.push(callback);
            }
            Err(error) => fields.adopt(error.into()),
        }
    }
    callbacks
}

fn callback_at(pointer: &str, value: &RawValue) -> Result<(CallbackRequest, Faults), FieldError> {
    let mut fields = Fields::of(pointer, value)?;
    let callback = whom_to_tell(&mut fields);
    Ok((callback, fields.faults()))
}

fn batch_callback_at(
    pointer: &str,
    value: &RawValue,
) -> Result<((CallbackRequest, When), Faults), FieldError> {
    let mut fields = Fields::of(pointer, value)?;
    let callback = whom_to_tell(&mut fields);
    let when = fields.checked("when", "a string", |word: String| {
        When::parse(&word).ok_or_else(|| {
            Invalid::new("must be \"all_completed\", \"first_completed\" or \"first_exception\"")
        })
    });
    Ok(((callback, when.unwrap_or_default()), fields.faults()))
}

fn whom_to_tell(fields: &mut Fields<'_>) -> CallbackRequest {
    let url = fields.take("url", "a string");
    let url = fields.required("url", url).unwrap_or_default();
    let secret = fields.take("secret", "a string");
    let headers = fields
        .checked("headers", "an object of strings", |headers: BTreeMap<String, String>| {
            if headers.len() > HEADERS_MAX {
                return Err(Invalid::new(format!("at most {HEADERS_MAX} headers")));
            }
            Ok(headers.into_iter().collect())
        })
        .unwrap_or_default();
    CallbackRequest { url, secret, headers }
}
