//! `futurity serve`: the server itself.

use crate::app::{Failure, Server, Stops};
use crate::config::Config;
use crate::telemetry::{Log, Writer};

use super::runtime;

/// Serves until it is told to stop. What it says goes to `errors`.
pub(super) fn serve(config: Config, errors: &Writer) -> Result<(), Failure> {
    let _log = Log::start(&config.log, config.log_format, errors)?;
    let runtime = runtime()?;
    let served = runtime.block_on(async {
        // Heard before anyone can reach the server: a stop that comes right after the start is one too.
        let stops = Stops::heard()?;
        let server = Server::builder(config).start().await?;
        // A server whose output nobody takes serves all the same.
        Writer::stdout().say(greeting(&format!("http://{}", server.address())).as_bytes());
        server.run_until(stops).await
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
