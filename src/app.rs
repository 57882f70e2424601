//! The roof: builds every floor, and takes them down in the right order.

mod admission;
mod check;
mod data_dir;
mod descriptors;
mod functions;
mod listen;
mod printed;
mod reload;
mod secrets;
mod signals;
mod upkeep;

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, InvalidConfig};
use crate::domain::Timestamp;
use crate::engine::keys::Keys;
use crate::engine::secret;
use crate::engine::{self, Clock, DelivererConfig, Engine, Wall, Watcher};
use crate::http;
use crate::outbound::{self, Client};
use crate::runtime::{Native, Registry};
use crate::store::{self, DatabasePath, OpenError, Store};

pub(crate) use check::check;
pub(crate) use listen::{Listen, Reaction, listen};
pub(crate) use printed::{harmless, printed};
pub(crate) use reload::Sources;
pub(crate) use signals::{Signals, hold_hang_ups, take_hang_ups};
pub(crate) use upkeep::{backup, fsck, restore};

use signals::Asked;

const DATABASE_FILE: &str = "futurity.db";
const ADDRESS_FILE: &str = "address";

/// Why a server could not start, or had to end.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The configuration cannot be taken.
    #[error("{0}")]
    Config(#[from] InvalidConfig),
    /// A command was asked for what it does not know.
    #[error("{0}")]
    Usage(String),
    /// Another server uses the data directory.
    #[error(
        "{0} is in use by another futurity server; stop it first, or choose another --data-dir"
    )]
    InUse(String),
    /// The database cannot be opened.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// Outgoing requests cannot be prepared.
    #[error("outgoing requests cannot be prepared: {0}")]
    Outbound(#[from] outbound::Error),
    /// A file or socket failed.
    #[error("{context}{}", beside(source))]
    Io {
        /// What was being done.
        context: String,
        /// What went wrong.
        source: io::Error,
    },
    /// What was found that must not be.
    #[error("what was acknowledged may not be there as it was; `restore` brings a backup back:\n{}", .0.join("\n"))]
    Damaged(Vec<String>),
    /// The database failed while the server ran.
    #[error("the database failed during a commit; what was acknowledged before is safe")]
    Broken,
}

impl Failure {
    /// The exit code: 65 data damaged, 73 in use, 74 I/O error, 78 configuration.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::InUse(_) => 73,
            Self::Config(_)
            | Self::Outbound(outbound::Error::TooManyPorts { .. })
            | Self::Store(
                OpenError::OldSqlite { .. }
                | OpenError::NewerSchema { .. }
                | OpenError::OlderSchema { .. },
            ) => 78,
            Self::Damaged(_) | Self::Store(OpenError::Damaged(_) | OpenError::Lost(_)) => 65,
            Self::Store(_) | Self::Outbound(_) | Self::Io { .. } | Self::Broken => 74,
        }
    }

    fn io(context: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        |source| Self::Io { context: context.into(), source }
    }
}

/// What the system says of a failure; of one that we found ourselves there is nothing to add.
fn beside(source: &io::Error) -> String {
    match source.raw_os_error().is_none() && source.get_ref().is_none() {
        true => String::new(),
        false => format!(": {source}"),
    }
}

/// Why nothing can be heard there, and what mends it.
fn cannot_listen(at: SocketAddr) -> impl FnOnce(io::Error) -> Failure {
    move |source| {
        let mend = match source.kind() {
            io::ErrorKind::AddrInUse => "; choose another with --listen",
            _ => "",
        };
        Failure::Io { context: format!("cannot listen on {at}{mend}"), source }
    }
}

/// A server that is being put together.
///
/// ```no_run
/// # use futurity::{Call, Config, JobError, Server};
/// #[derive(serde::Deserialize, futurity::schemars::JsonSchema)]
/// struct Add { a: i64, b: i64 }
///
/// fn add(_call: &Call, Add { a, b }: Add) -> Result<i64, JobError> {
///     a.checked_add(b).ok_or_else(|| JobError::new("OverflowError", "the sum is too large"))
/// }
///
/// # async fn example() -> Result<(), futurity::Failure> {
/// Server::builder(Config::default()).function("add", futurity::blocking(add)).serve().await
/// # }
/// ```
#[derive(Debug)]
pub struct Builder {
    config: Config,
    functions: Vec<(String, Native)>,
    wall: Wall,
}

impl Builder {
    /// Registers a function. One of the same name, built in or not, gives way to it.
    #[must_use]
    pub fn function(mut self, name: &str, native: Native) -> Self {
        self.functions.push((name.to_owned(), native));
        self
    }

    /// Looks at another wall clock than the machine's; `look` gives milliseconds since the Unix epoch. It may jump:
    /// what others compare with their clocks follows it, and limits of time do not.
    #[must_use]
    pub fn wall_clock(mut self, look: impl Fn() -> i64 + Send + Sync + 'static) -> Self {
        self.wall = Wall::new(move || Timestamp(look()));
        self
    }

    /// Starts, and serves until SIGTERM or SIGINT.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn serve(self) -> Result<(), Failure> {
        // Heard before anyone can reach the server: a stop that comes right after the start is one too.
        let mut signals = Signals::heard()?;
        let server = tokio::select! {
            server = self.start() => server?,
            () = signals.given_up() => return Ok(()),
        };
        server.run_until(signals, None).await
    }

    /// Starts: when this returns, the server accepts requests.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn start(self) -> Result<Server, Failure> {
        let Self { mut config, functions, wall } = self;
        config.check()?;
        let lock = data_dir::lock(&config.data_dir)?;
        // From here on by its own name: a link, or the directory that a relative name starts from, may be another's to change.
        let data_dir = data_dir::whole(&config.data_dir)?;
        config.data_dir.clone_from(&data_dir);
        close_to_others();
        let keys = Keys::new(&data_dir);
        admission::settle(&config, &keys, wall.now())?;
        let connections = descriptors::connections(&config.limits);
        let listener = http::listen(config.listen, config.http().limits.stall)
            .map_err(cannot_listen(config.listen))?;
        let address = listener.local_addr().map_err(cannot_listen(config.listen))?;

        let client = Client::new(&config.outbound()?, vec![address])?;
        functions::check_spawner(&config)?;
        let (runtime, resizes) = functions::start(config.runtime()?)?;
        let registry = functions::registry(&config, &client, functions, &runtime).await?;
        let clock = Clock::anchored(wall);
        let deliverer = config.deliverer()?;
        let opened = open_store(&config, &registry, &clock, &deliverer).await?;
        let (secrets, seal_key) = secrets::open(&config, &opened.store).await?;
        let door = keys.door();
        let watcher = Watcher::start(clock.clone(), vec![door.looks(), secrets.looks()])
            .map_err(Failure::io("cannot start threads"))?;
        let engine_config = engine::Config {
            waiters_max: config.limits.waiters,
            watched_max: config.limits.watched_jobs,
            deliverer,
            render: engine::Render {
                job: http::webhook_event,
                batch: http::batch_webhook_event,
                change: http::change_event,
            },
        };
        let parts =
            engine::Parts { opened, registry, runtime, resizes, client, clock, secrets, seal_key };
        let engine = Engine::start(engine_config, parts);
        let shutdown = CancellationToken::new();
        let mut http_config = config.http();
        http_config.limits.connections = connections;
        let app = http::App::new(engine.clone(), door, http_config);
        let serving = tokio::spawn(http::serve(listener, app.clone(), shutdown.clone()));
        secret::write_private(&data_dir.join(ADDRESS_FILE), &format!("{address}\n"))
            .map_err(Failure::io("the address cannot be written"))?;
        tracing::info!(%address, data_dir = %data_dir.display(), "serving");
        Ok(Server {
            address,
            config,
            engine,
            app,
            shutdown,
            serving,
            _watcher: watcher,
            _lock: lock,
        })
    }
}

/// A server that runs.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    /// As it counts now.
    config: Config,
    engine: Engine,
    app: http::App,
    shutdown: CancellationToken,
    serving: JoinHandle<()>,
    _watcher: Watcher,
    _lock: File,
}

impl Server {
    /// Puts a server together, with the built-in functions.
    #[must_use]
    pub fn builder(config: Config) -> Builder {
        Builder { config, functions: Vec::new(), wall: Wall::new(wall_clock) }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until SIGTERM or SIGINT, then stops within the grace; a second signal ends the grace.
    ///
    /// # Errors
    /// [`Failure::Broken`] if the database failed.
    pub async fn run(self) -> Result<(), Failure> {
        self.run_until(Signals::heard()?, None).await
    }

    /// The same, with signals that are heard already.
    pub(crate) async fn run_until(
        mut self,
        mut signals: Signals,
        sources: Option<Sources>,
    ) -> Result<(), Failure> {
        loop {
            let asked = tokio::select! {
                asked = signals.next() => asked,
                () = self.engine.broken() => break,
            };
            match asked {
                Asked::Reload => self.reload(sources.as_ref()).await,
                Asked::Stop => {
                    tracing::info!("stopping; a second signal ends the grace");
                    break;
                }
                Asked::InputClosed => {
                    tracing::info!("standard input is closed: stopping; a signal ends the grace");
                    break;
                }
            }
        }
        let grace = self.config.grace;
        self.stop_when(grace, signals.stop()).await
    }

    /// Stops: lets what runs go on for `grace`, then gives it up to run again at the next start.
    ///
    /// # Errors
    /// [`Failure::Broken`] if the database failed.
    pub async fn stop(self, grace: Duration) -> Result<(), Failure> {
        self.stop_when(grace, std::future::pending()).await
    }

    async fn stop_when(
        self,
        grace: Duration,
        hurry: impl Future<Output = ()>,
    ) -> Result<(), Failure> {
        self.engine.drain(grace, hurry).await;
        self.shutdown.cancel();
        if let Err(error) = self.serving.await {
            tracing::error!(%error, "the accept loop ended early");
        }
        let broken = self.engine.is_broken();
        self.engine.close().await;
        tracing::info!("stopped");
        if broken { Err(Failure::Broken) } else { Ok(()) }
    }
}

/// The only look at the machine's wall clock: it is handed to the clock of the engine.
#[must_use]
pub fn wall_clock() -> Timestamp {
    #[expect(clippy::disallowed_methods, reason = "the roof builds the one clock")]
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
}

/// Programs of the same user may not look into this process: its environment, its memory, its descriptors. Nor is any of
/// that left behind in a file when it crashes.
fn close_to_others() {
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        tracing::warn!(%error, "programs of the same user can look into this process");
    }
}

async fn open_store(
    config: &Config,
    registry: &Registry,
    clock: &Clock,
    deliverer: &DelivererConfig,
) -> Result<store::OpenedStore, Failure> {
    let pools = registry.iter().map(|function| (function.name.to_string(), function.pool()));
    let store_config = store::Config {
        path: DatabasePath {
            file: config.data_dir.join(DATABASE_FILE),
            synchronous: Config::synchronous(),
            busy_timeout: Config::busy_timeout(),
            patience: Config::lock_patience(),
        },
        queues: config.queues(),
        queue_default: Config::queue_default(),
        manual_max: config.limits.manual_jobs,
        slots: config.slots(),
        pools: pools.collect(),
        delivery_wait_ms_max: deliverer.schedule.longest_wait_ms(),
        accept_data_loss: config.accept_data_loss,
    };
    let opened = Store::open(store_config, clock.now()).await?;
    if opened.recovered > 0 {
        tracing::warn!(
            jobs = opened.recovered,
            "recovered jobs that ran when the last server died"
        );
    }
    Ok(opened)
}
