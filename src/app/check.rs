//! Whether every command and worker of a configuration can start.

use crate::config::Config;
use crate::runtime::{self, Registry, Runtime};

use super::Failure;

/// What came of looking at one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Checked {
    /// What it is called.
    pub(crate) name: String,
    /// What it can do, or why it cannot start.
    pub(crate) found: Result<String, String>,
}

/// Finds the program of each command, and starts one process of each worker until it has said what it can do. A server
/// that runs meanwhile is not touched.
pub(crate) async fn check(config: &Config) -> Result<Vec<Checked>, Failure> {
    config.check()?;
    let mut registry = Registry::default();
    config.register(&mut registry)?;
    let mut checked: Vec<Checked> = Vec::new();
    for function in registry.iter() {
        if let Some(found) = function.program() {
            let found = found.map(|program| format!("runs {}", program.display()));
            checked.push(Checked { name: format!("function {}", function.name), found });
        }
    }
    checked.extend(check_workers(config).await?);
    Ok(checked)
}

async fn check_workers(config: &Config) -> Result<Vec<Checked>, Failure> {
    let settings = config.runtime()?;
    if settings.workers.is_empty() {
        return Ok(Vec::new());
    }
    super::functions::check_spawner(config)?;
    let place = std::env::temp_dir().join(format!("futurity-check-{}", std::process::id()));
    let workers = settings.workers.into_iter();
    let one_each = runtime::Config {
        threads: 1,
        processes: Some((place.clone(), None)),
        workers: workers.map(|worker| runtime::WorkerSettings { processes: 1, ..worker }).collect(),
        ..settings
    };
    let (runtime, _resizes) =
        Runtime::start(one_each).map_err(Failure::io("cannot start processes"))?;
    let mut checked = Vec::new();
    for worker in runtime.workers() {
        let found =
            worker.ready().await.map(|()| format!("has {}", worker.announced_names().join(", ")));
        checked.push(Checked { name: format!("worker {}", worker.name()), found });
    }
    runtime.close().await;
    std::fs::remove_dir_all(&place)
        .map_err(Failure::io("cannot clear away what the check made"))?;
    Ok(checked)
}
