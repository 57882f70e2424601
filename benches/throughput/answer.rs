//! What a right answer is: every one is checked, and a wrong one ends the run.

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;
use uuid::Uuid;

use crate::cell::Made;
use crate::common::client::Response;
use crate::scenario::Scenario;

/// The only argument of each call, and so its result.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Argument {
    n: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Submission<'a> {
    function: &'a str,
    queue: &'a str,
    args: [Argument; 1],
}

/// As much of a job as tells right from wrong.
#[derive(Deserialize)]
struct Job<'a, R = Argument> {
    id: &'a str,
    state: State,
    done: bool,
    result: Option<R>,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum State {
    Pending,
    Running,
    Succeeded,
    Failed,
    Cancelled,
}

/// Answers as they came, to be checked when nothing is measured: the client shares the machine.
#[derive(Debug, Default)]
pub struct Answers {
    bodies: Vec<u8>,
    kept: Vec<Kept>,
}

#[derive(Clone, Copy, Debug)]
struct Kept {
    number: u64,
    status: u16,
    /// Where its body ends; it begins where the one before it ends.
    end: usize,
}

impl Answers {
    /// Keeps the next answer to the call with `number`.
    pub fn keep(&mut self, number: u64, response: Response<'_>) {
        self.bodies.extend_from_slice(response.body);
        self.kept.push(Kept { number, status: response.status, end: self.bodies.len() });
    }

    /// Checks every answer of `scenario`; the jobs that were made.
    pub fn check(&self, scenario: Scenario) -> Result<Vec<Made>> {
        let starts = std::iter::once(0).chain(self.kept.iter().map(|kept| kept.end));
        let response = |(start, kept): (usize, &Kept)| {
            (kept.number, Response { status: kept.status, body: &self.bodies[start..kept.end] })
        };
        let mut answers = starts.zip(&self.kept).map(response);
        let mut made = Vec::new();
        while let Some((number, first)) = answers.next() {
            let job = match scenario {
                Scenario::Echo => {
                    is_echo(first, number)?;
                    continue;
                }
                Scenario::Get => {
                    is_result(first, number)?;
                    continue;
                }
                Scenario::Submit | Scenario::SubmitAndRun => is_accepted(first, number)?,
                Scenario::RoundTrip => is_result(first, number)?,
                Scenario::LongPoll => {
                    let (_, polled) = answers.next().context("a submit without its poll")?;
                    let (job, answered) = (is_accepted(first, number)?, is_result(polled, number)?);
                    ensure!(answered == job, "asked for {job}, the answer is of {answered}");
                    job
                }
            };
            made.push(Made { job, number });
        }
        Ok(made)
    }
}

/// The id of a job that was accepted, without a look at the rest.
pub fn id_of(response: Response<'_>) -> Result<Uuid> {
    let text = response.body.strip_prefix(b"{\"id\":\"").and_then(|rest| rest.get(..36));
    Uuid::try_parse_ascii(text.context("no id at the beginning of an answer")?)
        .context("the id is no UUID")
}

/// Whether the job of an answer is done; one that has failed is an error.
pub fn is_done(response: Response<'_>) -> Result<bool> {
    let job = Job::<serde::de::IgnoredAny>::read(response)?;
    ensure!(!matches!(job.state, State::Failed | State::Cancelled), "the job has not succeeded");
    Ok(job.done)
}

/// 200 and the submission that was sent.
pub fn is_echo(response: Response<'_>, number: u64) -> Result<()> {
    (|| {
        ensure!(response.status == 200, "the status is not 200");
        let submission: Submission<'_> = serde_json::from_slice(response.body)?;
        ensure!(submission.function == "echo", "the function is another");
        ensure!(submission.queue == "default", "the queue is another");
        ensure!(submission.args[0].n == number, "the argument is another");
        Ok(())
    })()
    .with_context(|| wrong(response, number))
}

/// 202 and a job that has not failed; its id.
pub fn is_accepted(response: Response<'_>, number: u64) -> Result<Uuid> {
    (|| {
        ensure!(response.status == 202, "the status is not 202");
        let job = Job::read(response)?;
        match job.state {
            State::Pending | State::Running => ensure!(!job.done, "done, but in no final state"),
            State::Succeeded => job.has_succeeded(number)?,
            State::Failed | State::Cancelled => bail!("the job has not succeeded"),
        }
        job.id()
    })()
    .with_context(|| wrong(response, number))
}

/// 200 and a job that is done, with the value that was sent as its result; its id.
pub fn is_result(response: Response<'_>, number: u64) -> Result<Uuid> {
    (|| {
        ensure!(response.status == 200, "the status is not 200");
        let job = Job::read(response)?;
        job.has_succeeded(number)?;
        job.id()
    })()
    .with_context(|| wrong(response, number))
}

impl<'a, R: Deserialize<'a>> Job<'a, R> {
    fn read(response: Response<'a>) -> Result<Self> {
        Ok(serde_json::from_slice(response.body)?)
    }
}

impl Job<'_> {
    fn id(&self) -> Result<Uuid> {
        Uuid::parse_str(self.id).context("the id is no UUID")
    }

    fn has_succeeded(&self, number: u64) -> Result<()> {
        ensure!(self.state == State::Succeeded && self.done, "the job has not succeeded");
        let result = self.result.as_ref().context("there is no result")?;
        ensure!(result.n == number, "the result is that of another call");
        Ok(())
    }
}

fn wrong(response: Response<'_>, number: u64) -> String {
    let shown = &response.body[..response.body.len().min(1000)];
    let shown = String::from_utf8_lossy(shown);
    format!("wrong answer to the call with {number}: {} {shown}", response.status)
}
