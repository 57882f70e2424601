//! The log: lines on standard error that nobody has to wait for, and of each kind only so many a second.

mod rate;
mod writer;

use std::io::{self, IsTerminal as _};
use std::panic::PanicHookInfo;

use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Registry, reload};

use crate::config::{InvalidConfig, LogFormat};

use rate::Rate;

pub use writer::Writer;

/// The log of this process. When it is dropped, what was left out is said, and what waits is written, if somebody takes it.
#[derive(Debug)]
pub struct Log {
    filter: reload::Handle<EnvFilter, Registry>,
    rate: Rate,
    writer: Writer,
}

impl Log {
    /// Starts logging through `writer`. Only the first call of a process counts.
    pub fn start(filter: &str, format: LogFormat, writer: &Writer) -> Result<Self, InvalidConfig> {
        let (filter, handle) = reload::Layer::new(read(filter)?);
        let rate = Rate::default();
        let lines = tracing_subscriber::fmt::layer()
            .with_writer(writer.clone())
            // A log that cannot be written, on a disk that is full, is no reason to panic (G16).
            .log_internal_errors(false)
            .with_ansi(io::stderr().is_terminal());
        let lines = match format {
            LogFormat::Text => lines.boxed(),
            LogFormat::Json => lines.json().boxed(),
        };
        // Filters of all layers, not of this one: one of a single layer that leaves out a line only once it is known
        // leaves tracing-subscriber 0.3.23 with the state of a line that never comes, and it panics at the next.
        let log = tracing_subscriber::registry().with(filter).with(rate.clone()).with(lines);
        match log.try_init() {
            Ok(()) => std::panic::set_hook(Box::new(panicked)),
            Err(error) => tracing::debug!(%error, "logging was started before"),
        }
        Ok(Self { filter: handle, rate, writer: writer.clone() })
    }

    /// Logs by another filter from now on.
    pub fn filter(&self, filter: &str) -> Result<(), InvalidConfig> {
        let wanted = read(filter)?;
        self.filter.reload(wanted).map_err(|error| InvalidConfig(format!("log: {error}")))
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.rate.tell_all();
        self.writer.flush();
    }
}

fn read(filter: &str) -> Result<EnvFilter, InvalidConfig> {
    EnvFilter::try_new(filter).map_err(|error| InvalidConfig(format!("log '{filter}': {error}")))
}

/// In the place of the standard library's words, which go to standard error at once, whoever takes them or not. What a
/// panic says may be made of what a client sent, unless it stands in the source.
fn panicked(panic: &PanicHookInfo<'_>) {
    let location = panic.location().map(ToString::to_string);
    let said = panic.payload().downcast_ref::<&'static str>();
    tracing::error!(
        location = location.as_deref().unwrap_or("unknown"),
        thread = std::thread::current().name().unwrap_or("without a name"),
        panic = said.copied().unwrap_or("(made of values, which are not logged)"),
        "a thread panicked"
    );
}
