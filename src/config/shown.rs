//! The configuration as it counts, in the form of its file.

use std::collections::BTreeMap;

use super::file::{EgressTable, File, QueueTable};
use super::programs::ProgramTable;
use super::{Config, InvalidConfig};

/// In the place of what may be a secret.
const MASK: &str = "***";

impl Config {
    /// All settings, as a file would have them: those of flags, environment, file and defaults together. What programs
    /// find in their environment is masked.
    ///
    /// # Errors
    /// [`InvalidConfig`], for a path that no file can name.
    pub fn to_toml(&self) -> Result<String, InvalidConfig> {
        let whole = self.as_file();
        let file =
            File { functions: masked(&whole.functions), workers: masked(&whole.workers), ..whole };
        toml::to_string_pretty(&file).map_err(|error| InvalidConfig(error.to_string()))
    }

    /// The same with everything in it.
    pub(super) fn as_file(&self) -> File {
        let queue = |queue: &super::Queue| QueueTable {
            max_workers: Some(queue.max_workers),
            max_pending: Some(queue.max_pending),
        };
        let mut queues: BTreeMap<String, QueueTable> =
            self.queues.iter().map(|(name, it)| (name.clone(), queue(it))).collect();
        queues.entry("default".to_owned()).or_insert_with(|| queue(&super::Queue::default()));
        File {
            listen: Some(self.listen),
            data_dir: Some(self.data_dir.clone()),
            threads: Some(self.threads),
            tasks: Some(self.tasks),
            commands: Some(self.commands),
            max_wait_seconds: Some(self.wait_max.as_secs_f64()),
            grace_seconds: Some(self.grace.as_secs_f64()),
            cgroups: Some(self.cgroups),
            log: Some(self.log.clone()),
            log_format: Some(self.log_format),
            isolation: Some(self.isolation),
            work_dir: self.work_dir.clone(),
            access_log: self.access_log,
            hosts: self.hosts.clone(),
            url_prefix: self.proxies.url_prefix.clone(),
            trusted_proxies: self.proxies.trusted.clone(),
            egress: EgressTable {
                allow: self.egress_allow.clone(),
                allow_loopback: self.allow_loopback_egress,
            },
            webhooks: self.webhooks.clone(),
            limits: self.limits.clone(),
            queues,
            secrets: self.secrets.clone(),
            functions: self.programs.functions.clone(),
            workers: self.programs.workers.clone(),
        }
    }
}

fn masked(tables: &BTreeMap<String, ProgramTable>) -> BTreeMap<String, ProgramTable> {
    let mut tables = tables.clone();
    for value in tables.values_mut().flat_map(|table| table.env.values_mut()) {
        MASK.clone_into(value);
    }
    tables
}
