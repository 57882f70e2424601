//! A reload: what may change while the server runs changes, and the rest is named.

use std::fmt;
use std::sync::Arc;

use crate::config::{Config, InvalidConfig};

use super::Server;

type Load = dyn Fn() -> Result<Config, InvalidConfig> + Send + Sync;
type Filter = dyn Fn(&str) -> Result<(), InvalidConfig> + Send + Sync;

/// Where a reload finds what is wanted now.
#[derive(Clone)]
pub(crate) struct Sources {
    /// Reads the configuration as the start did.
    pub(crate) load: Arc<Load>,
    /// Gives the log another filter.
    pub(crate) filter: Arc<Filter>,
}

impl fmt::Debug for Sources {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Sources").finish_non_exhaustive()
    }
}

impl Server {
    /// Takes what the configuration says now, and the workers' code. A configuration that cannot be taken changes nothing.
    pub(super) async fn reload(&mut self, sources: Option<&Sources>) {
        let changed = match sources {
            Some(sources) => self.take_configuration(sources).await,
            None => Ok(Vec::new()),
        };
        match changed {
            Err(error) => tracing::error!(%error, "not reloaded: nothing is changed"),
            Ok(changed) => {
                self.engine.renew_workers();
                let changed = changed.join(", ");
                tracing::info!(
                    changed,
                    "reloaded: workers are renewed, one process after the other"
                );
            }
        }
    }

    /// Takes what may change; gives its names, and names what is left.
    async fn take_configuration(
        &mut self,
        sources: &Sources,
    ) -> Result<Vec<String>, InvalidConfig> {
        let load = Arc::clone(&sources.load);
        let loaded = tokio::task::spawn_blocking(move || load()).await;
        let wanted = loaded.map_err(|error| InvalidConfig(error.to_string()))??;
        let (live, left) = self.config.changes(&wanted)?;
        if wanted.log != self.config.log {
            (sources.filter)(&wanted.log)?;
        }
        for setting in left {
            tracing::warn!("`{setting}` changed: restart to apply");
        }
        self.config.take_live(wanted);
        self.app.reload(&self.config.http());
        Ok(live)
    }
}
