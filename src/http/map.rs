//! `POST /v1/map`: `Executor.map` with `buffersize` (E7, E8, E10): calls line by line, and results line by line, with
//! backpressure both ways.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State as Shared;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use futures_util::stream;

use crate::domain::{Clocks, Invalid, Json, Options, Priority, QueueName};
use crate::engine::{
    BatchCall, CALL_BYTES, Error, Happened, Held, Map, NewJob, NewMap, Share, Waiting,
};

use super::Desk;
use super::answer::to_json;
use super::batch_results::{Rows, order};
use super::batches::on_error;
use super::clocks::{retention_ms, timeout_ms};
use super::extract::{ManyLines, Query};
use super::fields::{Fields, kind};
use super::line_reader::{Line, LineReader, Lines, count, idle};
use super::lines::Form;
use super::list::{parameter, whole};
use super::origin::Origin;
use super::problem::{Code, FieldError, Problem};
use super::proxies::prefix;
use super::results_max::{self, ResultsMax};
use super::room::Outgoing;
use super::streamed::streamed;
use super::strict;
use super::submission;

const BUFFERSIZE_DEFAULT: usize = 64;
pub(super) const BUFFERSIZE_MAX: usize = 4_096;
/// Lines that go to the store together, at most; and never more than this part of all room for answers lets wait.
const PORTION_MAX: usize = 256;
const PORTION_OF_ALL: usize = 16;
const PARAMETERS: [&str; 19] = [
    "function",
    "buffersize",
    "order",
    "queue",
    "priority",
    "on_error",
    "on_disconnect",
    "start_timeout_seconds",
    "run_timeout_seconds",
    "total_timeout_seconds",
    "retention_seconds",
    "end",
    "lines",
    "with",
    results_max::NAME,
    "metadata",
    "on_interrupt",
    "retry",
    "tags",
];
/// What is an array or an object in a batch is JSON in the query.
const AS_JSON: [&str; 3] = ["metadata", "retry", "tags"];

/// Begins to answer at once: `Location` names the batch, by which everything is found again.
pub(super) async fn map(
    Shared(desk): Shared<Arc<Desk>>,
    query: Query,
    (headers, Outgoing(share)): (HeaderMap, Outgoing),
    ManyLines { owner, origin, mut reader, has_key: _ }: ManyLines,
) -> Result<Response, Problem> {
    let query = query.only(&PARAMETERS)?;
    let rows = Rows::of(&query, &desk, Form::Lines)?;
    let mut new = new_map(&query, rows.most)?;
    new.common.asker = owner.asker;
    reader.expect(parameter(&query, "lines", count)?);
    let map = desk.engine.map(new).await?;
    let location = HeaderValue::from_str(&format!("{}/v1/batches/{}", prefix(), map.batch()));
    if headers.contains_key(header::EXPECT) {
        // A client that asks to be told to go on is told so when its body is first looked at, and by no answer.
        reader.begin(&desk).await?;
    }
    let mapping = Mapping {
        map,
        rows,
        origin,
        reader,
        share,
        portion: (desk.config.limits.outgoing_bytes / PORTION_OF_ALL / CALL_BYTES)
            .clamp(1, PORTION_MAX),
        held: Held::default(),
        waiting: None,
        index: 0,
        input: Input::Comes,
        is_over: false,
    };
    let lines = stream::unfold(mapping, |mut it| async move {
        let text = it.next().await.transpose()?;
        Some((text, it))
    });
    let mut response = streamed(Form::Lines, lines);
    if let Ok(location) = location {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

fn new_map(query: &Query, most: ResultsMax) -> Result<NewMap, Problem> {
    let function = query.get("function").map(str::to_owned).ok_or_else(|| {
        let detail = "is required: POST /v1/map?function=…".to_owned();
        Problem::from(FieldError { pointer: "/function".to_owned(), detail })
    })?;
    let urgency = |text: &str| Priority::new(whole(text)?);
    let clocks = Clocks {
        start_timeout_ms: parameter(query, "start_timeout_seconds", timeout_ms)?,
        run_timeout_ms: parameter(query, "run_timeout_seconds", timeout_ms)?,
        total_timeout_ms: parameter(query, "total_timeout_seconds", timeout_ms)?,
    };
    let retention_ms = parameter(query, "retention_seconds", retention_ms)?;
    let retention_ms = retention_ms.unwrap_or(Options::RETENTION_MS);
    let given = json_options(query)?;
    let common = NewJob {
        function: Some(function),
        on_interrupt: given.on_interrupt,
        tags: given.tags,
        metadata: given.metadata,
        retry: given.retry,
        queue: parameter(query, "queue", QueueName::new)?,
        priority: parameter(query, "priority", urgency)?.unwrap_or_default(),
        options: Options { clocks, retention_ms, ..Options::default() },
        ..NewJob::default()
    };
    Ok(NewMap {
        common,
        buffersize: parameter(query, "buffersize", buffersize)?.unwrap_or(BUFFERSIZE_DEFAULT),
        order: parameter(query, "order", order)?.unwrap_or_default(),
        on_error: parameter(query, "on_error", on_error)?.unwrap_or_default(),
        on_disconnect: parameter(query, "on_disconnect", on_error)?.unwrap_or_default(),
        result_bytes_max: most.bytes(),
    })
}

/// The options of a job that have a form of their own, as a batch has them.
fn json_options(query: &Query) -> Result<NewJob, Problem> {
    let mut members = Vec::new();
    for name in AS_JSON {
        if let Some(text) = query.get(name) {
            let value = strict::parse(text.as_bytes()).map_err(|_why| FieldError {
                pointer: format!("/{name}"),
                detail: "must be JSON, as in a batch: [\"a\"], {\"a\": \"b\"}".to_owned(),
            })?;
            members.push(format!("\"{name}\":{value}"));
        }
    }
    members
        .extend(query.get("on_interrupt").map(|it| format!("\"on_interrupt\":{}", to_json(&it))));
    let whole = format!("{{{}}}", members.join(","));
    let malformed = |detail| Problem::new(Code::MalformedJson, detail);
    let mut fields = Fields::of("", strict::parse(whole.as_bytes()).map_err(malformed)?)?;
    let given = submission::options(&mut fields);
    fields.faults().into_result()?;
    Ok(given)
}

fn buffersize(text: &str) -> Result<usize, Invalid> {
    let size = text.parse().ok().filter(|size| (1..=BUFFERSIZE_MAX).contains(size));
    size.ok_or_else(|| Invalid::new(format!("must be a whole number from 1 to {BUFFERSIZE_MAX}")))
}

/// Whether more calls come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Input {
    Comes,
    IsOver,
    /// The batch is closed: its end, and how its jobs stand, are on disk.
    IsClosed,
}

/// One request, as far as it has come.
struct Mapping {
    map: Map,
    rows: Rows,
    origin: Origin,
    reader: LineReader,
    share: Share,
    /// Lines that go to the store together.
    portion: usize,
    /// Room for the calls that are under way.
    held: Held,
    /// Lines that came, and wait for room for what they call.
    waiting: Option<(Lines, Waiting)>,
    index: i64,
    input: Input,
    is_over: bool,
}

impl Mapping {
    /// The next lines; none at the end. Nothing is read while there is no room, and nothing happens while nobody
    /// reads: so a slow reader holds the writer back, and at most `buffersize` calls are under way.
    async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        while !self.is_over {
            if let Some(text) = self.results().await? {
                return Ok(Some(text));
            }
            if !self.map.is_open() {
                self.waiting = None;
            }
            let is_over = self.input != Input::Comes || !self.map.is_open();
            if is_over && self.map.is_answered() && self.waiting.is_none() {
                self.close().await?;
                if self.map.in_flight() == 0 {
                    return Ok(self.end()?.map(Bytes::from));
                }
            }
            match self.step().await? {
                Some(text) if text.is_empty() => {}
                Some(text) => {
                    let held = self.share.take(text.len()).await;
                    return Ok(Some(held.counted(text)));
                }
                // The server stops.
                None => return Ok(self.end()?.map(Bytes::from)),
            }
        }
        Ok(None)
    }

    /// The results whose turn it is, once there is room for them.
    async fn results(&mut self) -> Result<Option<Bytes>, Error> {
        let bytes = self.map.bytes_to_give();
        if bytes == 0 {
            return Ok(None);
        }
        let held = self.share.take(bytes).await;
        let mut text = String::new();
        let results = self.map.results().await?;
        results.iter().for_each(|(index, job)| self.rows.add(&mut text, *index, *index, job));
        self.keep_no_more();
        Ok((!text.is_empty()).then(|| held.counted(text)))
    }

    /// Gives back the room of calls that are under way no more.
    fn keep_no_more(&mut self) {
        self.held.shrink_to(self.map.bytes_with(0));
    }

    /// Waits for whatever comes first: the end of a job, more calls, the end of the server. Gives the answers to
    /// calls that cannot be taken; none if the server stops.
    async fn step(&mut self) -> Result<Option<String>, Error> {
        let room = self.map.room().min(self.portion);
        let reads = self.input == Input::Comes && room > 0 && self.waiting.is_none();
        // Time in which jobs run does not count: the client may wait for them before it sends more.
        let is_idle = reads && self.map.in_flight() == 0;
        tokio::select! {
            biased;
            happened = self.map.next() => match happened? {
                Happened::Ended => Ok(Some(String::new())),
                Happened::Answered { refused } => {
                    self.keep_no_more();
                    self.refuse_all(refused.into_iter().map(of_engine).collect()).await.map(Some)
                }
                Happened::Stops => Ok(None),
            },
            held = has_room(&mut self.waiting), if self.waiting.is_some() => {
                self.held.join(held);
                match self.waiting.take() {
                    Some((lines, _)) => self.take(lines).await.map(Some),
                    None => Ok(Some(String::new())),
                }
            }
            lines = self.reader.next(room), if reads => self.came(lines).await.map(Some),
            problem = idle(), if is_idle => self.came(Err(problem)).await.map(Some),
        }
    }

    /// Lines that came wait until there is room for their calls. They may be there for hours, so they pass nobody.
    async fn came(&mut self, lines: Result<Lines, Problem>) -> Result<String, Error> {
        let mut text = String::new();
        match lines {
            Ok(lines) if lines.lines.is_empty() => {
                self.input = Input::IsOver;
                let came = u64::try_from(self.index).unwrap_or_default();
                let problem = self.reader.difference(came).map(|problem| (self.index, problem));
                return self.refuse_all(problem.into_iter().collect()).await;
            }
            Ok(lines) => {
                let bytes = self.map.bytes_with(lines.lines.len());
                let more = self.share.more(&self.held, bytes, false);
                self.waiting = Some((lines, more));
            }
            // Nobody is there to be answered: what becomes of the rest is what the map does when it is dropped (E7).
            Err(_problem) if self.reader.is_cut() => return Err(Error::HungUp),
            Err(problem) => {
                self.input = Input::IsOver;
                self.refuse(&mut text, self.index, &problem);
            }
        }
        Ok(text)
    }

    /// Sends the calls of lines on.
    async fn take(&mut self, Lines { lines, held }: Lines) -> Result<String, Error> {
        let mut calls = Vec::with_capacity(lines.len());
        let mut refused = Vec::new();
        for it in &lines {
            match call(it) {
                Ok(call) => calls.push((self.index, call)),
                Err(problem) => refused.push((self.index, problem)),
            }
            self.index += 1;
        }
        refused.extend(self.map.send(calls, held).await?.into_iter().map(of_engine));
        self.keep_no_more();
        self.refuse_all(refused).await
    }

    /// The answers to calls that cannot be taken.
    async fn refuse_all(&mut self, mut refused: Vec<(i64, Problem)>) -> Result<String, Error> {
        if !refused.is_empty() {
            self.map.fails().await?;
        }
        let mut text = String::new();
        refused.sort_by_key(|(index, _)| *index);
        refused.iter().for_each(|(index, problem)| self.refuse(&mut text, *index, problem));
        Ok(text)
    }

    fn refuse(&self, text: &mut String, index: i64, problem: &Problem) {
        self.origin.refuse(text, usize::try_from(index).unwrap_or_default(), problem);
    }

    async fn close(&mut self) -> Result<(), Error> {
        if self.input != Input::IsClosed {
            self.input = Input::IsClosed;
            self.map.close().await?;
        }
        Ok(())
    }

    fn end(&mut self) -> Result<Option<String>, Error> {
        self.is_over = true;
        let (lines, completed) = (self.index, self.map.given());
        let unfinished = self.map.in_flight();
        if self.rows.has_end {
            return Ok(Some(format!(
                "{{\"end\":{{\"lines\":{lines},\"completed\":{completed},\"unfinished\":{unfinished},\"timed_out\":false}}}}\n"
            )));
        }
        // Without a last line only a stream that breaks off says that more was to come.
        if unfinished > 0 { Err(Error::Draining) } else { Ok(None) }
    }
}

/// Room for what waits for it.
async fn has_room(waiting: &mut Option<(Lines, Waiting)>) -> Held {
    match waiting {
        Some((_, waiting)) => waiting.await,
        None => std::future::pending().await,
    }
}

fn of_engine((index, error): (i64, Error)) -> (i64, Problem) {
    (index, error.into())
}

/// A call as its line has it: an array of arguments, or an object of `args` and `kwargs`.
fn call(line: &Line) -> Result<BatchCall, Problem> {
    let line = line.whole()?;
    let value = strict::parse(line).map_err(|detail| Problem::new(Code::MalformedJson, detail))?;
    if kind(value) == "an array" {
        return Ok(BatchCall { args: Json::of(value), kwargs: Json::empty_object() });
    }
    let mut fields = Fields::of("", value).map_err(|_not_an_object| FieldError {
        pointer: String::new(),
        detail: format!("must be an array of arguments, or an object, not {}", kind(value)),
    })?;
    let call = submission::call(&mut fields);
    fields.faults().into_result()?;
    Ok(call)
}
