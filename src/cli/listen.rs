//! `futurity listen`: a receiver of webhooks for development.

use clap::Args;

use crate::app::{self, Failure, Listen, Reaction};
use crate::config::Config;

use super::{prepare_data_dir, runtime, say};

/// What to expect, and how to answer.
#[derive(Debug, Args)]
pub(super) struct ListenOptions {
    /// Port on 127.0.0.1; 0 picks one
    #[arg(long, default_value_t = 9000)]
    port: u16,
    /// What deliveries are signed with: whsec_…  [default: what the server on the data directory signs with]
    #[arg(long, value_name = "SECRET", env = "FUTURITY_WEBHOOK_SECRET", hide_env_values = true)]
    secret: Option<String>,
    /// Answer with this status: 500 to fail, 410 to want nothing more  [default: 204 if it is verified, else 401]
    #[arg(long, value_name = "STATUS", value_parser = clap::value_parser!(u16).range(200..=599))]
    answer: Option<u16>,
    /// Send Retry-After with it
    #[arg(long, value_name = "SECONDS", requires = "answer")]
    retry_after: Option<u64>,
    /// Do not answer at all
    #[arg(long, conflicts_with_all = ["answer", "retry_after"])]
    hang: bool,
    /// Do so only so often for each delivery, then take it
    #[arg(long, value_name = "N")]
    times: Option<usize>,
}

/// Shows what comes, until the process ends.
pub(super) fn run(options: ListenOptions, config: &Config) -> Result<(), Failure> {
    prepare_data_dir(config)?;
    let ListenOptions { port, secret, answer, retry_after, hang, times } = options;
    let reaction = match (hang, answer) {
        (true, _) => Some(Reaction::Silence),
        (false, answer) => answer.map(|status| Reaction::Status(status, retry_after)),
    };
    let listen = Listen { port, secret, reaction, times };
    runtime()?.block_on(app::listen(listen, &config.data_dir, |text| say(text).unwrap_or_default()))
}
