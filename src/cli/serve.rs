//! `futurity serve`: the server itself.

use std::sync::Arc;

use crate::app::{Failure, Server, Signals, Sources};
use crate::config::{Config, Options};
use crate::telemetry::{Log, Writer};

use super::runtime;

/// What `serve` alone is told.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub(super) struct Until {
    /// Stop, as after SIGTERM, when standard input is closed: when whoever started the server has ended, however
    #[arg(long)]
    until_stdin_closes: bool,
}

/// Serves until it is told to stop. What it says goes to `errors`.
pub(super) fn serve(until: Until, options: Options, errors: &Writer) -> Result<(), Failure> {
    let runtime = runtime()?;
    // Heard before all else: a stop that comes right after the start is one too, and a reload is no death.
    let mut signals = runtime.block_on(async { Signals::heard() })?;
    if until.until_stdin_closes {
        signals = signals.or_end_of_input()?;
    }
    let config = Config::load(&options)?;
    let log = Arc::new(Log::start(&config.log, config.log_format, errors)?);
    let filtered = Arc::clone(&log);
    let sources = Sources {
        load: Arc::new(move || Config::load(&options)),
        filter: Arc::new(move |filter| filtered.filter(filter)),
    };
    let served = runtime.block_on(async {
        let server = Server::builder(config).start().await?;
        // A server whose output nobody takes serves all the same.
        Writer::stdout().say(greeting(&format!("http://{}", server.address())).as_bytes());
        server.run_until(signals, Some(sources)).await
    });
    // A pool thread may still be busy with code that nothing can stop; the process does not wait for it.
    runtime.shutdown_background();
    served
}

fn greeting(url: &str) -> String {
    format!(
        "futurity is listening on {url}\n\ntry:  curl -s '{url}/v1/jobs?wait=10' \
         --json '{{\"function\": \"math.factorial\", \"args\": [20]}}'\n\n"
    )
}
