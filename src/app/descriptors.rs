//! Descriptors: as many as are needed and allowed, and connections for those that there are.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::Limits;

/// Raises the soft limit of descriptors as far as it is needed and allowed, and fits the connections to it.
pub(super) fn connections(limits: &Limits) -> usize {
    let limit = getrlimit(Resource::Nofile);
    let wanted = limits.descriptors();
    let wanted = limit.maximum.map_or(wanted, |most| most.min(wanted));
    if limit.current.is_some_and(|current| current < wanted) {
        let raised = Rlimit { current: Some(wanted), maximum: limit.maximum };
        if let Err(error) = setrlimit(Resource::Nofile, raised) {
            tracing::warn!(%error, "the limit of descriptors cannot be raised");
        }
    }
    let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let connections = limits.fitted(descriptors);
    if connections < limits.connections {
        let configured = limits.connections;
        tracing::warn!(
            descriptors,
            connections,
            configured,
            "fewer connections: there are not enough descriptors"
        );
    }
    connections
}
