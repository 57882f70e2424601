//! `[webhooks]`: when and how callbacks are told.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::domain::callback::Schedule;
use crate::engine::DelivererConfig;

use super::setting_error::{self, SettingError};

/// Longest time that an operator may allow a POST.
const TIMEOUT_SECONDS_MAX: f64 = 120.0;
/// Most POSTs at once to one receiver.
const AT_ONCE_PER_HOST_MAX: usize = 64;

/// How callbacks are told.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Webhooks {
    /// Seconds before each attempt, the first of them 0. Each wait is spread by a fifth both ways.
    pub schedule_seconds: Vec<u32>,
    /// How long a POST may take, from connecting to the end of the answer.
    pub timeout_seconds: f64,
    /// POSTs at once to one host and port.
    pub at_once_per_host: usize,
}

impl Default for Webhooks {
    fn default() -> Self {
        Self {
            schedule_seconds: Schedule::default().seconds().to_vec(),
            timeout_seconds: 20.0,
            at_once_per_host: 16,
        }
    }
}

impl Webhooks {
    /// As the deliverer has it.
    pub(super) fn read(&self) -> Result<DelivererConfig, SettingError> {
        let Self { schedule_seconds, timeout_seconds, at_once_per_host } = self;
        let schedule = Schedule::new(schedule_seconds.clone())
            .map_err(|error| SettingError::of("schedule_seconds", error.to_string()))?;
        setting_error::seconds("timeout_seconds", *timeout_seconds, TIMEOUT_SECONDS_MAX)?;
        setting_error::within("at_once_per_host", *at_once_per_host, AT_ONCE_PER_HOST_MAX)?;
        Ok(DelivererConfig {
            schedule,
            timeout: Duration::from_secs_f64(*timeout_seconds),
            at_once_per_host: *at_once_per_host,
        })
    }
}
