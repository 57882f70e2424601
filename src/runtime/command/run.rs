//! One call of a command, from its start to the end of all that it started.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::unix::pipe::{Receiver, Sender};
use tokio_util::sync::CancellationToken;

use crate::domain::{JobError, Json, LogStream, Outcome};
use crate::runtime::Call;
use crate::runtime::parameters::Parameters;
use crate::runtime::process::{Process, Reins};
use crate::runtime::processes::Processes;
use crate::runtime::stderr::{Tail, follow};

use super::outcome::{self, Left};
use super::{Command, Stdin, Values, argv, input_of};

/// How long the streams of a program are read once nothing of it is left: what it wrote is in them.
const DRAIN: Duration = Duration::from_secs(2);
/// Bytes that are read at once.
const READ_BYTES: usize = 64 * 1024;

/// Runs one call. `kill` ends it, after [`Call::stop`] has asked it to end itself.
pub(in crate::runtime) async fn run(
    processes: Processes,
    command: Arc<Command>,
    parameters: Arc<Parameters>,
    (call, arguments): (Call, Json),
    kill: CancellationToken,
) -> Outcome {
    let (argv, input) = match prepared(&command, &parameters, &arguments) {
        Ok(prepared) => prepared,
        Err(error) => return Outcome::Raised(error),
    };
    let settings = &command.settings;
    let name = format!("{}-{}", call.id(), call.attempt());
    let place = match processes.place(&name, settings.user.as_ref()).await {
        Ok(place) => place,
        Err(error) => return outcome::not_started(error.to_string()),
    };
    let mut environment = settings.environment.clone();
    environment.extend(told(&call));
    let directory = settings.directory.as_deref();
    let bounds = (settings.limits, settings.user.clone());
    let program = place.program(argv, environment, directory, bounds);
    let given_up = async {
        tokio::select! {
            () = call.cancelled() => {}
            () = kill.cancelled() => {}
        }
    };
    let started = processes.spawner().spawn(program, given_up).await;
    let outcome = match started {
        Ok(process) => {
            let left = watch(process, input, settings.output_bytes_max, &call, &kill).await;
            outcome::of(command.program(), &settings.stdout, settings.output_bytes_max, left)
        }
        Err(refused) => outcome::spawn_refused(command.program(), refused),
    };
    place.remove().await;
    outcome
}

/// What tells a program of its job. The key is the same in every attempt (G7).
fn told(call: &Call) -> [(String, String); 3] {
    let pair = |name: &str, value: String| (name.to_owned(), value);
    [
        pair("FUTURITY_JOB_ID", call.id().to_string()),
        pair("FUTURITY_ATTEMPT", call.attempt().to_string()),
        pair("FUTURITY_IDEMPOTENCY_KEY", call.idempotency_key()),
    ]
}

/// The arguments, and the bytes of the standard input.
fn prepared(
    command: &Command,
    parameters: &Parameters,
    arguments: &Json,
) -> Result<(Vec<String>, Vec<u8>), JobError> {
    let type_error = |detail: String| JobError::new("TypeError", detail);
    #[derive(serde::Deserialize)]
    struct Whole {
        kwargs: Values,
    }
    let Whole { kwargs } =
        serde_json::from_str(arguments.as_str()).map_err(|error| type_error(error.to_string()))?;
    let argv = argv::filled(&command.argv, parameters, &kwargs);
    let argv = argv.map_err(|(_, detail)| type_error(detail))?;
    let input = match (&command.settings.stdin, command.input) {
        (Stdin::Json, _) => arguments.as_str().as_bytes().to_vec(),
        (_, Some(place)) => input_of(parameters, place, &kwargs).map_err(type_error)?,
        (Stdin::None | Stdin::Parameter(_), None) => Vec::new(),
    };
    Ok((argv, input))
}

async fn watch(
    process: Process,
    input: Vec<u8>,
    output_bytes_max: usize,
    call: &Call,
    kill: &CancellationToken,
) -> Left {
    let Process { stdin, stdout, stderr, reins, mut end } = process;
    let gone = CancellationToken::new();
    let drained = || async {
        gone.cancelled().await;
        tokio::time::sleep(DRAIN).await;
    };
    let (mut output, mut tail) = (Output::new(output_bytes_max), Tail::default());
    let streams = async {
        tokio::join!(
            until(drained(), feed(stdin, &input)),
            until(drained(), output.collect(stdout, &reins)),
            until(
                drained(),
                follow(
                    stderr,
                    |piece| tail.push(piece),
                    |line| call.write(LogStream::Stderr, line),
                )
            ),
        )
    };
    let ended = async {
        let ended = end.wait().await;
        gone.cancel();
        ended
    };
    let ended = tokio::select! {
        (ended, _) = async { tokio::join!(ended, streams) } => ended,
        never = stopped(&reins, call, kill) => match never {},
    };
    if ended.survived > 0 {
        tracing::error!(job.id = %call.id(), processes = ended.survived, "processes of a command could not be ended");
    }
    Left { ended, output: output.bytes, is_too_much: output.is_too_much, said: tail.into_text() }
}

/// Passes on what is asked of the attempt: first to stop, then to be ended.
async fn stopped(reins: &Reins, call: &Call, kill: &CancellationToken) -> std::convert::Infallible {
    tokio::select! {
        () = call.cancelled() => reins.terminate(),
        () = kill.cancelled() => {}
    }
    kill.cancelled().await;
    reins.kill();
    std::future::pending().await
}

/// `work`, unless it is over first.
async fn until(over: impl Future<Output = ()>, work: impl Future<Output = ()>) {
    tokio::select! {
        biased;
        () = work => {}
        () = over => {}
    }
}

/// A program may close its input, or never read it: that is its own affair.
async fn feed(stdin: Option<Sender>, input: &[u8]) {
    if let Some(mut stdin) = stdin {
        drop(stdin.write_all(input).await);
    }
}

/// What a program writes, up to a limit.
struct Output {
    bytes: Vec<u8>,
    bytes_max: usize,
    is_too_much: bool,
}

impl Output {
    fn new(bytes_max: usize) -> Self {
        Self { bytes: Vec::new(), bytes_max, is_too_much: false }
    }

    async fn collect(&mut self, mut stdout: Receiver, reins: &Reins) {
        loop {
            self.bytes.reserve(READ_BYTES);
            match stdout.read_buf(&mut self.bytes).await {
                Ok(0) | Err(_) => return,
                Ok(_) if self.bytes.len() > self.bytes_max => break,
                Ok(_) => {}
            }
        }
        self.is_too_much = true;
        self.bytes = Vec::new();
        reins.kill();
    }
}
