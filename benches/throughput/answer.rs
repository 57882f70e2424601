//! What a right answer is: every one is checked, and a wrong one ends the run.

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;
use uuid::Uuid;

use crate::client::Response;

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
    args: [Argument; 1],
}

/// As much of a job as tells right from wrong.
#[derive(Deserialize)]
struct Job<'a> {
    id: &'a str,
    state: State,
    done: bool,
    result: Option<Argument>,
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

/// 200 and the submission that was sent.
pub fn is_echo(response: Response<'_>, number: u64) -> Result<()> {
    (|| {
        ensure!(response.status == 200, "the status is not 200");
        let submission: Submission<'_> = serde_json::from_slice(response.body)?;
        ensure!(submission.function == "echo", "the function is another");
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

impl<'a> Job<'a> {
    fn read(response: Response<'a>) -> Result<Self> {
        Ok(serde_json::from_slice(response.body)?)
    }

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
