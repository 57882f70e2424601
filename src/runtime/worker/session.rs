//! One process of a worker, and the calls that it is given.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::unix::pipe::Sender;
use tokio_util::sync::CancellationToken;

use crate::domain::{ErrorType, JobError, Json, Outcome, text};
use crate::runtime::process::{End, Ended, Exceeded, Process, Reins};
use crate::runtime::stderr::Pace;
use crate::runtime::{Call, returned};

use super::Worker;
use super::bad_line::{About, BadLine, begins_answer};
use super::beside::{Errors, listen};
use super::lines::{Lines, NoLine};
use super::protocol::{self, Announced, INITIALIZE, Said};

/// What a line has beside a result.
const MARGIN_BYTES: usize = 64 * 1024;
/// Most that a process may say of calls that it does not have: it may be late, but not talk to itself.
const STRAY_BYTES_MAX: usize = 1024 * 1024;
/// How long the last words of a process that has ended are waited for.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Longest reason: it is shown for as long as there is no other, and may repeat what a process wrote.
const REASON_BYTES_MAX: usize = 1_024;

/// Why a process is of no use any more.
#[derive(Debug)]
pub(super) struct Lost {
    reason: String,
    /// What it wrote, which may be what it was given: for the job that it had, and no log.
    wrote: Option<String>,
    /// Whether it seems about to end by itself: then it is told how.
    is_ending: bool,
}

impl Lost {
    pub(super) fn of(reason: impl Into<String>) -> Self {
        let reason: String = reason.into();
        let reason = text::head(&reason, REASON_BYTES_MAX).into_owned();
        Self { reason, wrote: None, is_ending: false }
    }

    fn ending(reason: impl Into<String>) -> Self {
        Self { is_ending: true, ..Self::of(reason) }
    }

    fn whole(&self) -> String {
        let Self { reason, wrote, .. } = self;
        wrote.as_ref().map_or_else(|| reason.clone(), |wrote| format!("{reason} {wrote}"))
    }

    fn no_line(why: NoLine, bytes_max: usize) -> Self {
        match why {
            NoLine::Closed => Self::ending("it closed its output"),
            NoLine::TooLong => Self::of(format!("it wrote a line of more than {bytes_max} bytes")),
        }
    }
}

/// How a call ended, and why the process is of no use any more, if it is not.
pub(super) struct CallEnd {
    pub(super) outcome: Outcome,
    pub(super) lost: Option<String>,
}

/// Why a process that has no call is to have none.
pub(super) enum Gone {
    Lost(Lost),
    /// It makes way, as it has asked to.
    Retires,
}

/// A process that speaks the protocol.
#[derive(Debug)]
pub(super) struct Session {
    input: Option<Sender>,
    lines: Lines,
    reins: Option<Reins>,
    end: End,
    ended: Option<Ended>,
    name: String,
    calls: u64,
    retires: bool,
    stray_bytes: usize,
    line_bytes_max: usize,
    result_bytes_max: usize,
    errors: Arc<Errors>,
    /// Ends when the process has closed its standard error.
    silence: tokio::task::JoinHandle<()>,
}

impl Session {
    pub(super) fn new(worker: &Worker, process: Process) -> Self {
        let settings = &worker.shared.settings;
        let line_bytes_max = settings.result_bytes_max + MARGIN_BYTES;
        let errors = Arc::new(Errors::default());
        let name = settings.name.clone();
        let silence = tokio::spawn(listen(process.stderr, Arc::clone(&errors), worker.clone()));
        Self {
            input: process.stdin,
            lines: Lines::new(process.stdout, line_bytes_max),
            reins: Some(process.reins),
            end: process.end,
            ended: None,
            name,
            calls: INITIALIZE,
            retires: false,
            stray_bytes: 0,
            line_bytes_max,
            result_bytes_max: settings.result_bytes_max,
            errors,
            silence,
        }
    }

    /// Asks it what it can do.
    pub(super) async fn introduce(&mut self) -> Result<Vec<Announced>, Lost> {
        let text = protocol::initialize(&self.name);
        self.write(&text).await?;
        loop {
            match self.said().await? {
                Said::Answer(INITIALIZE, Ok(result)) => {
                    let announced = protocol::announced(&result);
                    return announced.map_err(|error| Lost::of(format!("initialize: {error}")));
                }
                Said::Answer(INITIALIZE, Err(error)) => {
                    let error = protocol::raised(error);
                    return Err(Lost::of(format!("initialize: {}", error.message())));
                }
                Said::Answer(id, _) => return Err(unasked(id)),
                Said::Retire => self.retires = true,
                Said::Progress { .. } | Said::Log { .. } => {}
            }
        }
    }

    /// Whether it has asked to make way.
    pub(super) fn retires(&self) -> bool {
        self.retires
    }

    /// Whether it has been given no call yet.
    pub(super) fn is_fresh(&self) -> bool {
        self.calls == INITIALIZE
    }

    /// Ends when the process is to have no call any more, while it has none.
    pub(super) async fn idle(&mut self) -> Gone {
        while !self.retires {
            let line = match self.lines.next().await {
                Ok(line) => line,
                Err(why) => return Gone::Lost(Lost::no_line(why, self.line_bytes_max)),
            };
            let heard = match protocol::said(&line) {
                Ok(Said::Answer(id, _)) => Err(unasked(id)),
                Ok(Said::Retire) => {
                    self.retires = true;
                    Ok(())
                }
                // Of a call that is over.
                Ok(Said::Progress { .. } | Said::Log { .. })
                | Err(BadLine { about: About::Attempt(_), .. }) => {
                    stray(&mut self.stray_bytes, line.len())
                }
                Err(fault) => Err(not_understood(&fault, &line)),
            };
            if let Err(lost) = heard {
                return Gone::Lost(lost);
            }
        }
        Gone::Retires
    }

    /// Makes a call, and waits for its answer.
    pub(super) async fn call(
        &mut self,
        call: &Call,
        arguments: &Json,
        kill: &CancellationToken,
    ) -> CallEnd {
        self.calls += 1;
        self.errors.is_for(Some(call));
        let asked = protocol::call(self.calls, call, arguments);
        let answer = tokio::select! {
            answer = self.answer(call, asked) => answer,
            () = kill.cancelled() => Err(Lost::of("it did not stop when it was asked to")),
        };
        let end = match answer {
            Ok(outcome) => CallEnd { outcome, lost: None },
            Err(lost) => {
                let by_itself = self.ended(&lost).await;
                let error = self.error(by_itself.as_ref().unwrap_or(&lost.whole()));
                let reason = by_itself.unwrap_or(lost.reason);
                CallEnd { outcome: Outcome::Raised(error), lost: Some(reason) }
            }
        };
        self.errors.is_for(None);
        end
    }

    /// Writes the call and reads what comes of it, both at once: a process may speak before it has read.
    async fn answer(&mut self, call: &Call, asked: String) -> Result<Outcome, Lost> {
        let id = self.calls;
        let mut input = self.input.take().ok_or_else(|| Lost::ending("its input is closed"))?;
        let writing = async {
            let written = input.write_all(asked.as_bytes()).await;
            call.cancelled().await;
            let cancel = protocol::cancel(call);
            drop(written.and(input.write_all(cancel.as_bytes()).await));
            std::future::pending::<()>().await;
        };
        let mut pace = Pace::new();
        let (lines, stray_bytes) = (&mut self.lines, &mut self.stray_bytes);
        let retires = &mut self.retires;
        let (line_max, result_max) = (self.line_bytes_max, self.result_bytes_max);
        let name = &self.name;
        let reading = async {
            loop {
                let line = match lines.next().await {
                    Ok(line) => line,
                    Err(NoLine::TooLong) if begins_answer(lines.head(), id) => {
                        lines.skip().await.map_err(|why| Lost::no_line(why, line_max))?;
                        return Ok(too_long(name, line_max, result_max));
                    }
                    Err(why) => return Err(Lost::no_line(why, line_max)),
                };
                match protocol::said(&line) {
                    Ok(Said::Answer(answered, result)) if answered == id => {
                        *stray_bytes = 0;
                        return Ok(judged(result, result_max));
                    }
                    Ok(Said::Answer(other, _)) => return Err(unasked(other)),
                    Ok(Said::Progress { fraction, message, of }) if of.is(call) => {
                        call.progress(fraction, message);
                    }
                    Ok(Said::Log { line, of }) if of.is(call) => call.log(&line),
                    Ok(Said::Retire) => *retires = true,
                    Ok(Said::Progress { .. } | Said::Log { .. }) => stray(stray_bytes, line.len())?,
                    Err(BadLine { why, about: About::Answer(answered) }) if answered == id => {
                        return Ok(misspoken(name, &why));
                    }
                    Err(BadLine { why, about: About::Attempt(of) }) if of.is(call) => {
                        call.log(&format!(
                            "worker '{name}' told something that is none of the protocol: {why}"
                        ));
                    }
                    Err(BadLine { about: About::Attempt(_), .. }) => {
                        stray(stray_bytes, line.len())?
                    }
                    Err(fault) => return Err(not_understood(&fault, &line)),
                }
                pace.said(line.len()).await;
            }
        };
        let answer = tokio::select! {
            answer = reading => answer,
            () = writing => Err(Lost::ending("its input is closed")),
        };
        self.input = Some(input);
        answer
    }

    /// Ends the process, if it has not ended, and says why it is lost: to the operator, who is told what it wrote only as
    /// long as it has not been given a call.
    pub(super) async fn lost(&mut self, lost: Lost) -> String {
        let reason = self.ended(&lost).await;
        reason.unwrap_or_else(|| match self.calls {
            INITIALIZE => lost.whole(),
            _ => lost.reason,
        })
    }

    /// Ends the process, if it has not ended; gives how it did by itself.
    async fn ended(&mut self, lost: &Lost) -> Option<String> {
        let by_itself =
            lost.is_ending && tokio::time::timeout(LAST_WORDS, self.wait()).await.is_ok();
        if let Some(reins) = self.reins.take() {
            reins.kill();
        }
        let ended = self.wait().await;
        drop(tokio::time::timeout(LAST_WORDS, &mut self.silence).await);
        Some(match ended {
            Ended { exceeded: Some(Exceeded::Memory), .. } => {
                "it used more memory than it may".to_owned()
            }
            Ended { exceeded: Some(Exceeded::Processes), .. } => {
                "it wanted to be more processes than it may".to_owned()
            }
            Ended { code: Some(code), .. } if by_itself => {
                format!("it ended with exit code {code}")
            }
            Ended { signal: Some(signal), .. } if by_itself => {
                format!("it died of signal {signal}")
            }
            Ended { .. } => return None,
        })
    }

    /// The error of the call that it had.
    fn error(&self, reason: &str) -> JobError {
        let ended = self.ended.unwrap_or_default();
        let kind = match ended.exceeded {
            Some(Exceeded::Memory) => ErrorType::OutOfMemory,
            Some(Exceeded::Processes) => ErrorType::ProcessLimit,
            None => ErrorType::WorkerLost,
        };
        let message = format!("the process of worker '{}' is lost: {reason}", self.name);
        let details = serde_json::json!({"exit_code": ended.code, "signal": ended.signal});
        let said = self.errors.take();
        let error = JobError::of(kind, message).with_details(Json::trusted(details.to_string()));
        if said.is_empty() { error } else { error.with_traceback(&said) }
    }

    /// Lets it end by itself, and makes it if it does not in so long.
    pub(super) async fn end(&mut self, patience: Duration) {
        self.input = None;
        if self.ended.is_none() {
            drop(tokio::time::timeout(patience, self.wait()).await);
        }
        self.reins = None;
        self.wait().await;
    }

    /// Waits until nothing of it is left.
    async fn wait(&mut self) -> Ended {
        if let Some(ended) = self.ended {
            return ended;
        }
        let ended = self.end.wait().await;
        self.ended = Some(ended);
        ended
    }

    async fn write(&mut self, text: &str) -> Result<(), Lost> {
        let input = self.input.as_mut().ok_or_else(|| Lost::ending("its input is closed"))?;
        let written = input.write_all(text.as_bytes()).await;
        written.map_err(|error| Lost::ending(format!("its input is closed: {error}")))
    }

    async fn said(&mut self) -> Result<Said, Lost> {
        let line = self.lines.next().await;
        let line = line.map_err(|why| Lost::no_line(why, self.line_bytes_max))?;
        protocol::said(&line).map_err(|fault| not_understood(&fault, &line))
    }
}

/// Counts what is said of a call that the process does not have.
fn stray(bytes: &mut usize, more: usize) -> Result<(), Lost> {
    *bytes += more;
    if *bytes > STRAY_BYTES_MAX {
        let text =
            format!("it said more than {STRAY_BYTES_MAX} bytes of calls that it does not have");
        return Err(Lost::of(text));
    }
    Ok(())
}

fn unasked(id: u64) -> Lost {
    Lost::of(format!("it answered request {id}, which it was not asked"))
}

/// It is out of step: what it wrote names no call that it has.
fn not_understood(fault: &BadLine, line: &[u8]) -> Lost {
    let shown = String::from_utf8_lossy(&line[..line.len().min(120)]).into_owned();
    let lost = Lost::of("it wrote a line that is none of the protocol");
    let why = text::head(&fault.why, REASON_BYTES_MAX);
    Lost { wrote: Some(format!("({why}): {shown}")), ..lost }
}

/// An answer that is none of the protocol costs its call: the process is not out of step.
fn misspoken(worker: &str, why: &str) -> Outcome {
    let text = format!("the answer of worker '{worker}' is none of the protocol: {why}");
    Outcome::Raised(JobError::of(ErrorType::InvalidResult, text))
}

fn too_long(worker: &str, line_bytes_max: usize, result_bytes_max: usize) -> Outcome {
    let text = format!(
        "the answer of worker '{worker}' has more than {line_bytes_max} bytes; a result may have {result_bytes_max}"
    );
    Outcome::Raised(JobError::of(ErrorType::ResultTooLarge, text))
}

fn judged(result: Result<Json, protocol::RpcError>, result_bytes_max: usize) -> Outcome {
    match result {
        Ok(result) => returned(result, result_bytes_max),
        Err(error) => Outcome::Raised(protocol::raised(error)),
    }
}
