//! Whether every command and worker of a configuration can start.

use crate::config::Config;
use crate::runtime::{self, Places, Processes, Registry};

use super::Failure;

/// What came of looking at one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Checked {
    /// What it is called.
    pub(crate) name: String,
    /// What it can do, or why it cannot start.
    pub(crate) found: Result<String, String>,
}

/// What came of looking at all.
#[derive(Debug, Default)]
pub(crate) struct Look {
    /// At commands and workers.
    pub(crate) programs: Vec<Checked>,
    /// At what keeps them from the server, each in a line.
    pub(crate) layers: Vec<String>,
}

/// Finds the program of each command, and starts one process of each worker until it has said what it can do. A server
/// that runs meanwhile is not touched.
pub(crate) async fn check(config: &Config) -> Result<Look, Failure> {
    config.check()?;
    let mut registry = Registry::default();
    config.register(&mut registry)?;
    let mut look = Look::default();
    for function in registry.iter() {
        if let Some(found) = function.program() {
            let found = found.map(|program| format!("runs {}", program.display()));
            look.programs.push(Checked { name: format!("function {}", function.name), found });
        }
    }
    if let Some(places) = config.runtime()?.processes {
        super::functions::check_spawner(config)?;
        start_all(config, places, &mut look).await?;
    }
    Ok(look)
}

async fn start_all(config: &Config, places: Places, look: &mut Look) -> Result<(), Failure> {
    let settings = config.runtime()?;
    let workers = settings.workers.into_iter();
    let one_each = runtime::Config {
        threads: 1,
        processes: Some(Places {
            name: format!("check-{}", std::process::id()),
            cgroups: false,
            ..places
        }),
        workers: workers.map(|worker| runtime::WorkerSettings { processes: 1, ..worker }).collect(),
        ..settings
    };
    let (runtime, _resizes) = super::functions::start(one_each)?;
    for layer in runtime.processes().map(Processes::layers).unwrap_or_default() {
        let state = if layer.on { "on" } else { "off" };
        // A check makes no groups, for a server may have some.
        if layer.name != "cgroups" {
            look.layers.push(format!("{}: {state}: {}", layer.name, layer.detail));
        }
    }
    for worker in runtime.workers() {
        let found =
            worker.ready().await.map(|()| format!("has {}", worker.announced_names().join(", ")));
        look.programs.push(Checked { name: format!("worker {}", worker.name()), found });
    }
    runtime.close().await;
    Ok(())
}
