//! `futurity serve`: the server itself.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use crate::app::{Failure, Server, Signals, Sources, wall_clock};
use crate::config::{Config, Options};
use crate::engine::keys::{Keys, Standing};
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
    // Heard before all else: a stop that comes right after the start is one too, and a reload is no death.
    let mut signals = Signals::heard_first()?;
    let runtime = runtime()?;
    if until.until_stdin_closes {
        signals = signals.or_end_of_input()?;
    }
    let config = Config::load(&options)?;
    let log = Arc::new(Log::start(&config.log, config.log_format, errors)?);
    let keys = Keys::new(&config.data_dir);
    let filtered = Arc::clone(&log);
    let sources = Sources {
        load: Arc::new(move || Config::load(&options)),
        filter: Arc::new(move |filter| filtered.filter(filter)),
    };
    let served = runtime.block_on(async {
        // It may wait for long: for workers, or for another process that has locked the database.
        let server = tokio::select! {
            server = Server::builder(config).start() => server?,
            () = signals.given_up() => {
                tracing::info!("stopped before it served");
                return Ok(());
            }
        };
        // A server whose output nobody takes serves all the same.
        let is_open = matches!(keys.standing(wall_clock()), Ok(Standing::Open));
        Writer::stdout().say(greeting(server.address(), is_open).as_bytes());
        server.run_until(signals, Some(sources)).await
    });
    // A pool thread may still be busy with code that nothing can stop; the process does not wait for it.
    runtime.shutdown_background();
    served
}

/// Where it listens, and a request to begin with, as somebody on this machine would send it.
fn greeting(address: SocketAddr, is_open: bool) -> String {
    let here = match address.ip() {
        ip if !ip.is_unspecified() => address,
        IpAddr::V4(_) => SocketAddr::from((Ipv4Addr::LOCALHOST, address.port())),
        IpAddr::V6(_) => SocketAddr::from((Ipv6Addr::LOCALHOST, address.port())),
    };
    let key = if is_open { "" } else { "-H 'Authorization: Bearer fut_…' " };
    format!(
        "futurity is listening on http://{address}\n\ntry:  curl -s 'http://{here}/v1/jobs?wait=10' {key}\
         --json '{{\"function\": \"math.factorial\", \"args\": [20]}}'\n\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_request_goes_to_this_machine_and_brings_a_key_where_one_is_needed() {
        let greeting = |address: &str, is_open| {
            greeting(address.parse().expect("an address"), is_open).replace('\n', " ")
        };
        let open = greeting("127.0.0.1:8080", true);
        assert!(open.contains("curl -s 'http://127.0.0.1:8080/v1/jobs?wait=10' --json"), "{open}");
        let keyed = greeting("0.0.0.0:81", false);
        let words = "http://0.0.0.0:81  try:  curl -s 'http://127.0.0.1:81/v1/jobs?wait=10' -H 'Authorization: Bearer";
        assert!(keyed.contains(words), "{keyed}");
        assert!(greeting("[::]:81", false).contains("'http://[::1]:81/"));
    }
}
