//! `POST /v1/jobs/lines`, and `POST /v1/jobs` with `application/x-ndjson`: a submission a line, and an answer a line, in
//! order, while the request still comes in.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State as Shared;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use futures_util::stream::{self, FuturesOrdered, StreamExt as _};

use crate::engine::{Engine, Error, Held, NewJob, Submitted};

use super::Desk;
use super::batch_results::boolean;
use super::extract::{ManyLines, Query};
use super::idempotency::Owner;
use super::job_body::{JobBody, View};
use super::line_reader::{Line, LineReader, Lines, count, idle};
use super::lines::{Form, unbroken};
use super::list::parameter;
use super::origin::Origin;
use super::preferences::Preferences;
use super::problem::{Code, Problem};
use super::streamed::streamed;
use super::strict;
use super::submission;

/// Lines that are read ahead of their answers: a client that sends everything before it reads is held back there.
const AHEAD_MAX: usize = 1_024;
/// And so many bytes of them, about.
const AHEAD_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Lines that go to the store together.
const PORTION_MAX: usize = 256;

/// What a portion of lines came to.
struct Answered {
    lines: usize,
    bytes: usize,
    accepted: usize,
    text: String,
    /// Room for the lines, and then for the text.
    held: Held,
}

type Answering = Pin<Box<dyn Future<Output = Answered> + Send>>;

/// One request, as far as it has come.
struct Submitting {
    engine: Engine,
    owner: Owner,
    origin: Origin,
    reader: LineReader,
    /// Portions that are on their way to the disk.
    portions: FuturesOrdered<Answering>,
    /// Their lines, and the bytes of those.
    ahead: usize,
    ahead_bytes: usize,
    index: usize,
    accepted: usize,
    refused: usize,
    /// Whether only problems are answered.
    is_minimal: bool,
    /// Whether a last line says how many lines came, and what became of them.
    has_end: bool,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Reads,
    /// The input is over; answers are still to come.
    Ends,
    Over,
}

/// `POST /v1/jobs/lines`.
pub(super) async fn lines(
    Shared(desk): Shared<Arc<Desk>>,
    query: Query,
    preferences: Preferences,
    lines: ManyLines,
) -> Result<Response, Problem> {
    let query = query.only(&["lines", "end"])?;
    Box::pin(submit(desk, &query, preferences, lines)).await
}

/// Submits line by line. It begins to answer when the first line is there.
pub(super) async fn submit(
    desk: Arc<Desk>,
    query: &Query,
    Preferences { is_minimal, .. }: Preferences,
    ManyLines { owner, origin, mut reader, has_key }: ManyLines,
) -> Result<Response, Problem> {
    let has_end = parameter(query, "end", boolean)?.unwrap_or(true);
    reader.expect(parameter(query, "lines", count)?);
    if has_key {
        let detail = "a key belongs to one job; give each line its own \"idempotency_key\"";
        return Err(Problem::new(Code::InvalidValue, detail));
    }
    reader.begin(&desk).await?;
    let submitting = Submitting {
        engine: desk.engine.clone(),
        owner,
        origin,
        reader,
        portions: FuturesOrdered::new(),
        ahead: 0,
        ahead_bytes: 0,
        index: 0,
        accepted: 0,
        refused: 0,
        is_minimal,
        has_end,
        state: State::Reads,
    };
    let answers = stream::unfold(submitting, |mut it| async move {
        let text = it.next().await?;
        Some((Ok::<_, std::convert::Infallible>(text), it))
    });
    let mut response = streamed(Form::Lines, answers);
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("Prefer"));
    if is_minimal {
        let applied = HeaderValue::from_static("return=minimal");
        response.headers_mut().insert("preference-applied", applied);
    }
    Ok(response)
}

impl Submitting {
    /// The next answers; none at the end. Lines are read and checked while earlier ones are written.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if self.state != State::Reads && self.portions.is_empty() {
                return self.end().map(Bytes::from);
            }
            let room = AHEAD_MAX - self.ahead;
            let has_room = room > 0 && self.ahead_bytes < AHEAD_BYTES_MAX;
            let reads = self.state == State::Reads && has_room;
            tokio::select! {
                biased;
                Some(answered) = self.portions.next() => {
                    self.ahead -= answered.lines;
                    self.ahead_bytes -= answered.bytes;
                    self.accepted += answered.accepted;
                    self.refused += answered.lines - answered.accepted;
                    if !answered.text.is_empty() {
                        return Some(answered.held.counted(answered.text));
                    }
                }
                lines = self.reader.next(room.min(PORTION_MAX)), if reads => match lines {
                    Ok(Lines { lines, .. }) if lines.is_empty() => self.end_input(),
                    Ok(lines) => self.take(lines),
                    Err(problem) => self.give_up(&problem),
                },
                problem = idle(), if reads && self.ahead == 0 => self.give_up(&problem),
            }
        }
    }

    /// Checks lines and sends them on.
    fn take(&mut self, Lines { lines, held }: Lines) {
        let first = self.index;
        self.index += lines.len();
        self.ahead += lines.len();
        let bytes = lines.iter().map(Line::bytes).sum();
        self.ahead_bytes += bytes;
        let news = lines.iter().map(|line| self.new_job(line)).collect();
        let (engine, origin, is_minimal) =
            (self.engine.clone(), self.origin.clone(), self.is_minimal);
        let answered = answer(engine, origin, (first, news), is_minimal);
        let (share, mut held) = (self.reader.share().clone(), held);
        self.portions.push_back(Box::pin(async move {
            let answered = answered.await;
            held.shrink_to(answered.text.len());
            // The answer about a job that was there before may be larger than its line.
            share.grow(&mut held, answered.text.len()).await;
            Answered { bytes, held, ..answered }
        }));
    }

    fn new_job(&self, line: &Line) -> Result<NewJob, Problem> {
        let line = line.whole()?;
        let malformed = |detail| Problem::new(Code::MalformedJson, detail);
        let body = strict::parse(line).map_err(malformed)?;
        let (mut new, key) = submission::new_job_of_line(body)?;
        new.asker = self.owner.asker.clone();
        new.identity = self.owner.keyed(key).identity("POST", "/v1/jobs", new.id, line);
        Ok(new)
    }

    /// What ends the input is answered as a line of its own.
    fn give_up(&mut self, problem: &Problem) {
        self.state = State::Ends;
        self.ahead += 1;
        self.tell(problem, 1);
    }

    /// The input is over. What of it is missing is told as well, and is no line that came.
    fn end_input(&mut self) {
        self.state = State::Ends;
        if let Some(problem) = self.reader.difference(self.index as u64) {
            self.tell(&problem, 0);
        }
    }

    fn tell(&mut self, problem: &Problem, lines: usize) {
        let mut text = String::new();
        self.origin.refuse(&mut text, self.index, problem);
        let answered = Answered { lines, bytes: 0, accepted: 0, text, held: Held::default() };
        self.portions.push_back(Box::pin(std::future::ready(answered)));
    }

    fn end(&mut self) -> Option<String> {
        let is_told = self.has_end && self.state != State::Over;
        self.state = State::Over;
        let Self { index, accepted, refused, .. } = self;
        let end = || {
            format!(
                "{{\"end\":{{\"lines\":{index},\"accepted\":{accepted},\"refused\":{refused}}}}}\n"
            )
        };
        is_told.then(end)
    }
}

/// Submits a portion; its answers, in order.
async fn answer(
    engine: Engine,
    origin: Origin,
    (first, news): (usize, Vec<Result<NewJob, Problem>>),
    is_minimal: bool,
) -> Answered {
    let mut places = Vec::with_capacity(news.len());
    let mut taken = Vec::with_capacity(news.len());
    for new in news {
        places.push(new.map(|new| taken.push(new)));
    }
    let mut submitted: VecDeque<Result<Submitted, Error>> = engine.submit_many(taken).await.into();
    let (lines, text) = (places.len(), String::new());
    let mut answered = Answered { lines, bytes: 0, accepted: 0, text, held: Held::default() };
    for (index, place) in (first..).zip(places) {
        let job = match place {
            Ok(()) => submitted.pop_front().map(|it| it.map_err(Problem::from)),
            Err(problem) => Some(Err(problem)),
        };
        let lost = || Err(Problem::new(Code::Internal, "internal error"));
        match job.unwrap_or_else(lost) {
            Ok(submitted) => {
                answered.accepted += 1;
                if !is_minimal {
                    accept(&mut answered.text, index, &submitted);
                }
            }
            Err(problem) => origin.refuse(&mut answered.text, index, &problem),
        }
    }
    answered
}

fn accept(out: &mut String, index: usize, submitted: &Submitted) {
    let mut digits = itoa::Buffer::new();
    let job = unbroken(JobBody::of(&submitted.job, View::Brief).text());
    for part in ["{\"index\":", digits.format(index), ",\"job\":", &job] {
        out.push_str(part);
    }
    out.push_str(if submitted.is_replay { ",\"idempotent_replayed\":true}\n" } else { "}\n" });
}
