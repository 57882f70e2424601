//! `Debug` of all that holds what clients sent, or what came of it: how much it is, and nothing of it. So whatever is
//! printed, into a log or an error, can hold no secret.

use std::fmt::{Debug, Formatter, Result};

use super::callback::DeliveryAttempt;
use super::{
    Callback, IdempotencyKey, Invalid, JobError, Json, LogLine, Metadata, NewCallback, Parameter,
    Progress, Tags,
};

/// Stands for a text that is not shown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Hidden(usize);

impl Hidden {
    /// In the place of `text`.
    pub fn of(text: impl AsRef<[u8]>) -> Self {
        Self(text.as_ref().len())
    }
}

impl Debug for Hidden {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        write!(formatter, "<{} bytes>", self.0)
    }
}

impl Debug for Json {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        write!(formatter, "Json({:?})", Hidden::of(self.as_str()))
    }
}

impl Debug for JobError {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        let mut shown = formatter.debug_struct("JobError");
        shown.field("kind", self.kind()).field("message", &Hidden::of(self.message()));
        shown.field("traceback", &self.traceback().map(Hidden::of));
        shown.field("details", &self.details()).field("attempt", &self.attempt());
        shown.finish_non_exhaustive()
    }
}

impl Debug for Tags {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        write!(formatter, "Tags(<{} of them>)", self.as_slice().len())
    }
}

impl Debug for Metadata {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        write!(formatter, "Metadata(<{} entries>)", self.as_slice().len())
    }
}

impl Debug for Progress {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        let message = self.message().map(Hidden::of);
        let mut shown = formatter.debug_struct("Progress");
        shown.field("fraction", &self.fraction()).field("message", &message).finish()
    }
}

impl Debug for LogLine {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        let mut shown = formatter.debug_struct("LogLine");
        shown.field("place", &self.place).field("stream", &self.stream);
        shown.field("text", &Hidden::of(&self.text)).finish()
    }
}

impl Debug for IdempotencyKey {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        write!(formatter, "IdempotencyKey({:?})", Hidden::of(self.as_str()))
    }
}

/// A URL may hold a password or a token: its host is what an operator needs.
impl Debug for NewCallback {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        let mut shown = formatter.debug_struct("NewCallback");
        shown.field("id", &self.id).field("host", &self.host).finish_non_exhaustive()
    }
}

impl Debug for Callback {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        let mut shown = formatter.debug_struct("Callback");
        shown.field("id", &self.id).field("owner", &self.owner);
        shown.field("url", &Hidden::of(&self.url)).field("when", &self.when);
        shown.field("delivery", &self.delivery).finish_non_exhaustive()
    }
}

impl Debug for DeliveryAttempt {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        let mut shown = formatter.debug_struct("DeliveryAttempt");
        shown.field("at", &self.at).field("status", &self.status).field("error", &self.error);
        shown.field("body", &self.body.as_ref().map(Hidden::of));
        shown.field("duration_ms", &self.duration_ms).finish()
    }
}

impl Debug for Parameter {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        let mut shown = formatter.debug_struct("Parameter");
        shown.field("name", &self.name).field("required", &self.required).finish_non_exhaustive()
    }
}

/// What a rule says of a value often repeats it.
impl Debug for Invalid {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        write!(formatter, "Invalid({:?})", Hidden::of(&self.detail))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::{
        CallbackId, FailedAttempt, Job, LogPlace, LogStream, OwnedKey, Spec, Timestamp, example,
    };

    const MARK: &str = "sesame-4711";

    fn json() -> Json {
        Json::trusted(format!("[\"{MARK}\"]"))
    }

    fn error() -> JobError {
        JobError::new("ValueError", MARK).with_details(json()).with_traceback(MARK)
    }

    #[test]
    fn nothing_that_a_client_sent_is_shown_by_debug() {
        let example = example::running();
        let spec = Spec {
            args: Some(json()),
            kwargs: Some(json()),
            tags: Tags::new(vec![MARK.to_owned()]).unwrap(),
            metadata: Metadata::new(vec![(MARK.to_owned(), MARK.to_owned())]).unwrap(),
            ..(*example.spec).clone()
        };
        let failed =
            FailedAttempt { started_at: Timestamp(1), finished_at: Timestamp(2), error: error() };
        let job = Job {
            spec: Arc::new(spec),
            result: Some(json()),
            error: Some(error()),
            attempts: [failed].into_iter().collect(),
            progress: Some(Progress::new(None, Some(MARK))),
            ..example
        };
        let line =
            LogLine { place: LogPlace::default(), stream: LogStream::Log, text: MARK.to_owned() };
        let callback = NewCallback {
            id: CallbackId(uuid::Uuid::nil()),
            url: format!("https://user:{MARK}@example.com/{MARK}?{MARK}"),
            host: "example.com:443".to_owned(),
            sealed: Some(MARK.as_bytes().to_vec()),
            created_at: Timestamp(1),
            due_at: Timestamp(1),
        };
        let key = OwnedKey { owner: String::new(), key: IdempotencyKey::new(MARK).unwrap() };
        let shown = format!("{job:#?} {line:?} {callback:?} {key:?}");
        assert!(!shown.contains(MARK), "{shown}");
        for text in ["ValueError", "example.com:443", "Json(<15 bytes>)", "<11 bytes>"] {
            assert!(shown.contains(text), "what is left is of use: {text} in {shown}");
        }
    }
}
