//! The scenarios: what one exchange of each is, on one connection.

use std::io::Write as _;
use std::time::Instant;

use anyhow::{Result, ensure};
use serde::Serialize;
use uuid::Uuid;

use crate::answer::{self, Answers};
use crate::common::client::Connection;
use crate::site::Site;

/// Longer than any job of this benchmark should take, in seconds.
pub const WAIT_SECONDS: u64 = 30;
/// A queue that is paused while jobs are submitted to it.
pub const BACKLOG: &str = "backlog";
/// Numbers start here, so that all have the same number of digits and so all bodies one length.
pub const FIRST_NUMBER: u64 = 1_000_000_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Scenario {
    /// The submission's body to the bare echo.
    Echo,
    /// A durable submit: done when the job is accepted. Its queue is paused: nothing else is done meanwhile.
    Submit,
    /// The same, to a queue that runs: the server executes the jobs meanwhile.
    SubmitAndRun,
    /// A submit that waits for the result in the same request.
    RoundTrip,
    /// A submit, then a second request that waits for the result.
    LongPoll,
    /// A look at a job that is done: each client has one of its own.
    Get,
}

impl Scenario {
    pub const ALL: [Self; 6] =
        [Self::Echo, Self::Submit, Self::SubmitAndRun, Self::RoundTrip, Self::LongPoll, Self::Get];

    pub fn name(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Submit => "submit",
            Self::SubmitAndRun => "submit+run",
            Self::RoundTrip => "round trip",
            Self::LongPoll => "long poll",
            Self::Get => "get",
        }
    }

    /// The queue that its jobs wait in: two names of one length.
    fn queue(self) -> &'static str {
        match self {
            Self::Submit => BACKLOG,
            Self::Echo | Self::SubmitAndRun | Self::RoundTrip | Self::LongPoll | Self::Get => {
                "default"
            }
        }
    }

    fn target(self) -> String {
        match self {
            Self::Echo => "/".to_owned(),
            Self::Submit | Self::SubmitAndRun | Self::LongPoll => "/v1/jobs".to_owned(),
            Self::RoundTrip | Self::Get => format!("/v1/jobs?wait={WAIT_SECONDS}"),
        }
    }
}

/// One client: sends the next request when it has the answer to the last.
#[derive(Debug)]
pub struct Client {
    scenario: Scenario,
    connection: Connection,
    submission: Submission,
    poll: Poll,
    /// The job that it looks at, and its number.
    done: Option<(Uuid, u64)>,
}

impl Client {
    pub async fn connect(scenario: Scenario, site: &Site) -> Result<Self> {
        Ok(Self {
            scenario,
            connection: Connection::open(site.address).await?,
            submission: Submission::new(scenario, site),
            poll: Poll::new(site),
            done: None,
        })
    }

    /// Makes what the exchanges need.
    pub async fn prepare(&mut self, number: u64) -> Result<()> {
        if self.scenario == Scenario::Get {
            let submitted = self.connection.exchange(self.submission.with(number)?).await?;
            self.done = Some((answer::is_result(submitted, number)?, number));
        }
        Ok(())
    }

    /// One exchange for the call with `number`; its answers are kept, to be checked when nothing is
    /// measured. When the last byte had been read.
    pub async fn exchange(&mut self, number: u64, answers: &mut Answers) -> Result<Instant> {
        if let Some((job, number)) = self.done {
            let shown = self.connection.exchange(self.poll.of(job)?).await?;
            answers.keep(number, shown);
            return Ok(Instant::now());
        }
        let submitted = self.connection.exchange(self.submission.with(number)?).await?;
        answers.keep(number, submitted);
        if self.scenario == Scenario::LongPoll {
            let job = answer::id_of(submitted)?;
            let polled = self.connection.exchange(self.poll.of(job)?).await?;
            answers.keep(number, polled);
        }
        Ok(Instant::now())
    }

    /// Waits for the result of `job` and checks it.
    pub async fn poll(&mut self, job: Uuid, number: u64) -> Result<()> {
        let polled = self.connection.exchange(self.poll.of(job)?).await?;
        let answered = answer::is_result(polled, number)?;
        ensure!(answered == job, "asked for job {job}, the answer is of job {answered}");
        Ok(())
    }
}

/// The bytes of a submission, of which only the number changes.
#[derive(Debug)]
struct Submission {
    bytes: Vec<u8>,
    number_at: usize,
}

impl Submission {
    fn new(scenario: Scenario, site: &Site) -> Self {
        let (target, queue) = (scenario.target(), scenario.queue());
        let before = format!(r#"{{"function":"echo","queue":"{queue}","args":[{{"n":"#);
        let number = format!("{FIRST_NUMBER}");
        let after = "}]}";
        let length = before.len() + number.len() + after.len();
        let head = site.head("POST", &target);
        let head = format!(
            "{head}Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{before}"
        );
        let number_at = head.len();
        Self { bytes: format!("{head}{number}{after}").into_bytes(), number_at }
    }

    fn with(&mut self, number: u64) -> Result<&[u8]> {
        write!(&mut self.bytes[self.number_at..], "{number}")?;
        Ok(&self.bytes)
    }
}

/// The bytes of a GET that waits, of which only the id changes.
#[derive(Debug)]
struct Poll {
    bytes: Vec<u8>,
    id_at: usize,
}

impl Poll {
    fn new(site: &Site) -> Self {
        let nobody = Uuid::nil();
        let head = site.head("GET", &format!("/v1/jobs/{nobody}?wait={WAIT_SECONDS}"));
        Self { bytes: format!("{head}\r\n").into_bytes(), id_at: "GET /v1/jobs/".len() }
    }

    fn of(&mut self, job: Uuid) -> Result<&[u8]> {
        write!(&mut self.bytes[self.id_at..], "{job}")?;
        Ok(&self.bytes)
    }
}
