//! The functions of a server, put together.

use std::io;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::config::{Config, InvalidConfig};
use crate::outbound::Client;
use crate::runtime::{self, Native, Registry, Resize, Runtime, builtin, may_spawn};

use super::Failure;

/// How long a server waits for a worker whose functions its settings name.
const PATIENCE: Duration = Duration::from_secs(3);

/// All that can be called: what every server has, then what Rust code brought, commands, and workers. A later one takes
/// the place of a former one of its name.
pub(super) async fn registry(
    config: &Config,
    client: &Client,
    functions: Vec<(String, Native)>,
    runtime: &Runtime,
) -> Result<Registry, Failure> {
    let named = |name: &str, error| InvalidConfig(format!("function '{name}': {error}"));
    let mut registry = Registry::default();
    let secrets = config.secrets()?;
    builtin::add_all(&mut registry, client, &secrets).map_err(|error| named("built in", error))?;
    for (name, native) in functions {
        registry.add(&name, native).map_err(|error| named(&name, error))?;
    }
    config.register(&mut registry)?;
    warn_of_missing(&registry);
    add_workers(&mut registry, runtime).await?;
    Ok(registry)
}

/// A program may come later, so a server starts without it.
fn warn_of_missing(registry: &Registry) {
    for function in registry.iter() {
        if let Some(Err(reason)) = function.program() {
            tracing::warn!(function = %function.name, %reason, "its calls fail");
        }
    }
}

/// Programs are started by a copy of this one, which its `main` has to let happen.
pub(super) fn check_spawner(config: &Config) -> Result<(), Failure> {
    if config.programs.is_empty() || may_spawn() {
        return Ok(());
    }
    Err(Failure::Config(InvalidConfig(
        "commands and workers are started by a copy of this program: call futurity::become_spawner_if_asked() \
         first in main, and return what it gives, if it gives something"
            .to_owned(),
    )))
}

/// Starts threads and processes. Walls that are asked for and cannot be had are a mistake of the configuration.
pub(super) fn start(
    config: runtime::Config,
) -> Result<(Runtime, mpsc::UnboundedReceiver<Resize>), Failure> {
    Runtime::start(config).map_err(|error| match error.kind() {
        io::ErrorKind::Unsupported => Failure::Config(InvalidConfig(format!("isolation: {error}"))),
        _ => Failure::io("cannot start threads and processes")(error),
    })
}

/// Adds what the workers can do. What one announces is not known before it has started; of one whose functions are
/// named the server waits for no process.
async fn add_workers(registry: &mut Registry, runtime: &Runtime) -> Result<(), Failure> {
    for worker in runtime.workers() {
        let ready = match worker.announces() {
            true => worker.ready().await,
            false => timeout(PATIENCE, worker.ready())
                .await
                .unwrap_or_else(|_later| Err("it has not said what it can do yet".to_owned())),
        };
        match (ready, worker.announces()) {
            (Ok(()), _) => {}
            (Err(error), true) => {
                let name = worker.name();
                runtime.close().await;
                return Err(Failure::Config(InvalidConfig(format!(
                    "worker '{name}' cannot start, so what it can do is not known: {error}; mend it, or name \
                     its functions in workers.{name}.functions to serve without it"
                ))));
            }
            (Err(error), false) => {
                tracing::error!(worker = worker.name(), %error, "a worker is not there; its jobs wait");
            }
        }
        registry.add_worker(worker);
    }
    Ok(())
}
