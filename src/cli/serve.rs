//! `futurity serve`: the server itself.

use crate::app::{Failure, Server, Stops};
use crate::config::{Config, Options};
use crate::telemetry;

use super::{runtime, say};

/// Serves until it is told to stop.
pub(super) fn serve(config: Config, options: &Options) -> Result<(), Failure> {
    telemetry::start(&options.log, options.log_format)?;
    let runtime = runtime()?;
    let served = runtime.block_on(async {
        // Heard before anyone can reach the server: a stop that comes right after the start is one too.
        let stops = Stops::heard()?;
        let server = Server::builder(config).start().await?;
        // A server whose output nobody takes serves all the same.
        say(&greeting(&format!("http://{}", server.address()))).unwrap_or_default();
        server.run_until(stops).await
    });
    // A pool thread may still be busy with code that nothing can stop; the process does not wait for it.
    runtime.shutdown_background();
    served
}

fn greeting(url: &str) -> String {
    format!(
        "futurity is listening on {url}\n\ntry:  curl -s '{url}/v1/jobs?wait=10' \
         --json '{{\"function\": \"math.factorial\", \"args\": [20]}}'\n"
    )
}
