//! What of a configuration may change while a server runs, and what has changed.

use toml::{Table, Value};

use super::{Config, InvalidConfig};

/// Settings that a running server takes over.
const LIVE: [&str; 3] = ["grace_seconds", "log", "max_wait_seconds"];
/// Tables whose entries are named as a whole: what stands in them may be a secret.
const WHOLE: [&str; 2] = ["functions", "workers"];

impl Config {
    /// The names of the settings in which `wanted` differs: those that a running server takes over, and those that it
    /// does not.
    pub(crate) fn changes(
        &self,
        wanted: &Self,
    ) -> Result<(Vec<String>, Vec<String>), InvalidConfig> {
        let mut names = Vec::new();
        differences(&self.table()?, &wanted.table()?, "", &mut names);
        Ok(names.into_iter().partition(|name| LIVE.contains(&name.as_str())))
    }

    /// Takes over what may change.
    pub(crate) fn take_live(&mut self, wanted: Self) {
        let Self { wait_max, grace, log, .. } = wanted;
        (self.wait_max, self.grace, self.log) = (wait_max, grace, log);
    }

    fn table(&self) -> Result<Table, InvalidConfig> {
        let table = Table::try_from(self.as_file());
        table.map_err(|error| InvalidConfig(error.to_string()))
    }
}

fn differences(before: &Table, after: &Table, within: &str, names: &mut Vec<String>) {
    let new = after.keys().filter(|name| !before.contains_key(*name));
    for name in before.keys().chain(new) {
        let quoted = if name.contains('.') { format!("\"{name}\"") } else { name.clone() };
        let path = if within.is_empty() { quoted } else { format!("{within}.{quoted}") };
        match (before.get(name), after.get(name)) {
            (same, as_before) if same == as_before => {}
            (Some(Value::Table(before)), Some(Value::Table(after))) if !WHOLE.contains(&within) => {
                differences(before, after, &path, names);
            }
            _ => names.push(path),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Queue;

    #[test]
    fn what_changed_is_named_and_told_apart_from_what_needs_a_restart() {
        let before = Config::default();
        let mut after = Config { log: "debug".into(), threads: 7, ..before.clone() };
        after.listen.set_port(1);
        after.hosts.push("jobs.example".into());
        after.limits.connections = 5;
        after.queues.insert("a.b".into(), Queue { max_workers: 1, max_pending: 2 });
        let (live, left) = before.changes(&after).unwrap();
        assert_eq!(live, ["log"]);
        assert_eq!(left, ["hosts", "limits.connections", "listen", "queues.\"a.b\"", "threads"]);
        let mut taken = before.clone();
        taken.take_live(after.clone());
        assert_eq!((taken.log.as_str(), taken.threads), ("debug", before.threads));
        assert_eq!(before.changes(&before).unwrap(), (vec![], vec![]));
    }
}
