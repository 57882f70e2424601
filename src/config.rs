//! Configuration: flag over environment over TOML file over default. The only reader of the environment.

mod address;
mod debug;
pub mod environment;
mod file;
mod isolation;
mod limits;
mod programs;
mod reached;
mod reload;
mod secrets;
mod setting_error;
mod settings;
mod shown;
mod webhooks;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::domain::{MAX_WORKERS_MAX, Pool, QueueName};
use crate::engine::DelivererConfig;
use crate::outbound::AllowEntry;
use crate::store::QueueSettings;
use crate::{outbound, runtime};

pub use isolation::Isolation;
pub use limits::Limits;
pub use programs::Programs;
pub use reached::Proxies;
pub use secrets::SecretTable;
pub use webhooks::Webhooks;

use file::{QueueTable, Source};
use setting_error::SettingError;

/// Longest wait that an operator may allow.
const WAIT_MAX_CEILING: Duration = Duration::from_secs(600);
/// Most threads of the pool.
const THREADS_MAX: usize = 1_024;

/// What a server is to be. [`Config::default`] is what a server without any option has.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen. Port 0 picks one. Beyond loopback at least one API key is needed.
    pub listen: SocketAddr,
    /// Database, lock and secrets; made with mode 0700 if it is not there.
    pub data_dir: PathBuf,
    /// OS threads for functions that compute or block: Python's `min(32, cpus + 4)` (E17).
    pub threads: usize,
    /// Functions that wait, at once.
    pub tasks: usize,
    /// Commands, at once.
    pub commands: usize,
    /// The longest wait of one request.
    pub wait_max: Duration,
    /// How long a stopping server lets running jobs go on.
    pub grace: Duration,
    /// Names that requests may call the server by, besides localhost and loopback addresses.
    pub hosts: Vec<String>,
    /// What stands before the server.
    pub proxies: Proxies,
    /// Exceptions of the egress policy: `"127.0.0.1:9000"`, `"10.1.2.0/24:443"`, `"hooks.corp.example:443"`.
    pub egress_allow: Vec<String>,
    /// Whether callbacks and `http.request` may reach this machine, for development.
    pub allow_loopback_egress: bool,
    /// Whether each request is logged.
    pub access_log: bool,
    /// Whether to start where something that was acknowledged is lost.
    pub accept_data_loss: bool,
    /// Queues by name. `default` always exists.
    pub queues: BTreeMap<String, Queue>,
    /// What calls of `http.request` may name, and nobody is shown.
    pub secrets: BTreeMap<String, SecretTable>,
    /// Commands and workers.
    pub programs: Programs,
    /// Whether programs run in control groups of their own, where this server may make some.
    pub cgroups: bool,
    /// What else keeps them from this server.
    pub isolation: Isolation,
    /// Where their directories are made; none: among the temporary files.
    pub work_dir: Option<PathBuf>,
    /// How callbacks are told.
    pub webhooks: Webhooks,
    /// What clients may ask.
    pub limits: Limits,
    /// What to log, as a filter.
    pub log: String,
    /// Form of the log.
    pub log_format: LogFormat,
}

/// A queue's settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queue {
    /// How many of its jobs run at once.
    pub max_workers: usize,
    /// How many of its jobs may wait.
    pub max_pending: usize,
}

impl Default for Queue {
    fn default() -> Self {
        Self { max_workers: threads_default(), max_pending: 1_000_000 }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080),
            data_dir: PathBuf::from("./futurity-data"),
            threads: threads_default(),
            tasks: 1_024,
            commands: 64,
            wait_max: Duration::from_secs(45),
            grace: Duration::from_secs(30),
            hosts: Vec::new(),
            proxies: Proxies::default(),
            egress_allow: Vec::new(),
            allow_loopback_egress: false,
            access_log: false,
            accept_data_loss: false,
            queues: BTreeMap::new(),
            secrets: BTreeMap::new(),
            programs: Programs::default(),
            cgroups: true,
            isolation: Isolation::Auto,
            work_dir: None,
            webhooks: Webhooks::default(),
            limits: Limits::default(),
            log: "info".to_owned(),
            log_format: LogFormat::Text,
        }
    }
}

/// Python's default for a `ThreadPoolExecutor` (E17).
fn threads_default() -> usize {
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    (cpus + 4).min(32)
}

/// Flags, each with its environment variable.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Options {
    /// Address to listen on; port 0 picks one
    #[arg(long, env = "FUTURITY_LISTEN", global = true, value_name = "ADDRESS", value_parser = address::listen)]
    listen: Option<SocketAddr>,
    /// Directory of database, lock and secrets
    #[arg(long, env = "FUTURITY_DATA_DIR", global = true, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Configuration file [default: futurity.toml, if there]
    #[arg(long, env = "FUTURITY_CONFIG", global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Threads for functions that compute or block
    #[arg(long, env = "FUTURITY_THREADS", global = true, value_name = "N")]
    threads: Option<usize>,
    /// The longest wait of one request
    #[arg(long, env = "FUTURITY_MAX_WAIT_SECONDS", global = true, value_name = "SECONDS")]
    max_wait_seconds: Option<f64>,
    /// How long a stopping server lets running jobs go on
    #[arg(long, env = "FUTURITY_GRACE_SECONDS", global = true, value_name = "SECONDS")]
    grace_seconds: Option<f64>,
    /// A name that requests may call the server by; may be repeated
    #[arg(long, env = "FUTURITY_HOST", global = true, value_name = "NAME", value_delimiter = ',')]
    host: Vec<String>,
    /// Let callbacks and http.request reach this machine
    #[arg(long, env = "FUTURITY_ALLOW_LOOPBACK_EGRESS", global = true, value_parser = address::switch)]
    allow_loopback_egress: bool,
    /// Log each request, with the id of its key
    #[arg(long, env = "FUTURITY_ACCESS_LOG", global = true)]
    access_log: bool,
    /// Start though something that was acknowledged is lost, and go on with what is left
    #[arg(long, global = true)]
    accept_data_loss: bool,
    /// What to log, as a filter: info, debug, futurity=trace  [default: info]
    #[arg(long, env = "FUTURITY_LOG", global = true, value_name = "FILTER")]
    log: Option<String>,
    /// Form of the log  [default: text]
    #[arg(long, env = "FUTURITY_LOG_FORMAT", global = true, value_enum)]
    log_format: Option<LogFormat>,
}

/// Form of the log.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    clap::ValueEnum,
    serde::Deserialize,
    serde::Serialize,
)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// A configuration that cannot be taken, in a sentence that says what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidConfig(pub String);

impl Config {
    /// The configuration that `options`, the environment and the file make together.
    ///
    /// # Errors
    /// [`InvalidConfig`], naming file, line and mend.
    pub fn load(options: &Options) -> Result<Self, InvalidConfig> {
        let source = Source::read(options.config.as_deref())?;
        let file = source.file()?;
        let base = Self::default();
        let max_wait_seconds = options.max_wait_seconds.or(file.max_wait_seconds);
        let grace_seconds = options.grace_seconds.or(file.grace_seconds);
        let queue = |(name, table): (String, QueueTable)| {
            let default = Queue::default();
            let queue = Queue {
                max_workers: table.max_workers.unwrap_or(default.max_workers),
                max_pending: table.max_pending.unwrap_or(default.max_pending),
            };
            (name, queue)
        };
        let config = Self {
            listen: options.listen.or(file.listen).unwrap_or(base.listen),
            data_dir: options.data_dir.clone().or(file.data_dir).unwrap_or(base.data_dir),
            threads: options.threads.or(file.threads).unwrap_or(base.threads),
            tasks: file.tasks.unwrap_or(base.tasks),
            commands: file.commands.unwrap_or(base.commands),
            wait_max: seconds("max_wait_seconds", max_wait_seconds)?.unwrap_or(base.wait_max),
            grace: seconds("grace_seconds", grace_seconds)?.unwrap_or(base.grace),
            hosts: file.hosts.into_iter().chain(options.host.iter().cloned()).collect(),
            proxies: Proxies { url_prefix: file.url_prefix, trusted: file.trusted_proxies },
            egress_allow: file.egress.allow,
            allow_loopback_egress: options.allow_loopback_egress || file.egress.allow_loopback,
            access_log: options.access_log || file.access_log,
            accept_data_loss: options.accept_data_loss,
            queues: file.queues.into_iter().map(queue).collect(),
            secrets: file.secrets,
            programs: Programs {
                functions: file.functions,
                workers: file.workers,
                directory: source.directory(),
                environment: environment::texts(),
            },
            cgroups: file.cgroups.unwrap_or(base.cgroups),
            isolation: file.isolation.unwrap_or(base.isolation),
            work_dir: file.work_dir,
            webhooks: file.webhooks,
            limits: file.limits,
            log: options.log.clone().or(file.log).unwrap_or(base.log),
            log_format: options.log_format.or(file.log_format).unwrap_or(base.log_format),
        };
        config.checked().map_err(|error| source.place(&error))?;
        Ok(config)
    }

    /// Checks what types alone do not.
    ///
    /// # Errors
    /// [`InvalidConfig`].
    pub fn check(&self) -> Result<(), InvalidConfig> {
        self.checked().map_err(InvalidConfig::from)
    }

    fn checked(&self) -> Result<(), SettingError> {
        setting_error::within("threads", self.threads, THREADS_MAX)?;
        setting_error::within("tasks", self.tasks, MAX_WORKERS_MAX)?;
        setting_error::within("commands", self.commands, MAX_WORKERS_MAX)?;
        if self.wait_max > WAIT_MAX_CEILING {
            let most = WAIT_MAX_CEILING.as_secs();
            return Err(SettingError::of("max_wait_seconds", format!("must be at most {most}")));
        }
        if let Some(host) = self.hosts.iter().find(|host| !address::is_host(host)) {
            let text = format!("'{host}' must be a name or an address, without scheme and port");
            return Err(SettingError::of("hosts", text));
        }
        self.proxies.read()?;
        for (name, queue) in &self.queues {
            let at = |error: SettingError| error.within(&["queues", name]);
            QueueName::new(name).map_err(|error| at(SettingError::of("", error.to_string())))?;
            setting_error::within("max_workers", queue.max_workers, MAX_WORKERS_MAX).map_err(at)?;
        }
        self.limits.check().map_err(|error| error.within(&["limits"]))?;
        self.programs.check(self.limits.result_bytes)?;
        self.deliverer_checked()?;
        self.secrets_read()?;
        self.egress().map(drop)
    }

    /// Adds the commands to the functions that jobs may name.
    pub(crate) fn register(&self, registry: &mut runtime::Registry) -> Result<(), InvalidConfig> {
        Ok(self.programs.register(registry, self.limits.result_bytes)?)
    }

    pub(crate) fn runtime(&self) -> Result<runtime::Config, InvalidConfig> {
        let processes = (!self.programs.is_empty()).then(|| self.places());
        Ok(runtime::Config {
            threads: self.threads,
            result_bytes_max: self.limits.result_bytes,
            processes,
            workers: self.programs.workers(self.limits.result_bytes)?,
        })
    }

    /// Slots of pools whose number does not change. Those of a worker are told by its processes.
    pub(crate) fn slots(&self) -> BTreeMap<Pool, usize> {
        BTreeMap::from([
            (Pool::Threads, self.threads),
            (Pool::Tasks, self.tasks),
            (Pool::Commands, self.commands),
        ])
    }

    /// What a queue that is made over HTTP has where the request says nothing.
    pub(crate) fn queue_default() -> QueueSettings {
        settings(&Queue::default())
    }

    pub(crate) fn queues(&self) -> BTreeMap<QueueName, QueueSettings> {
        let named =
            |(name, queue): (&String, &Queue)| Some((QueueName::new(name).ok()?, settings(queue)));
        let mut queues: BTreeMap<_, _> = self.queues.iter().filter_map(named).collect();
        queues.entry(QueueName::default_queue()).or_insert_with(Self::queue_default);
        queues
    }

    pub(crate) fn outbound(&self) -> Result<outbound::Config, InvalidConfig> {
        self.egress().map_err(InvalidConfig::from)
    }

    fn egress(&self) -> Result<outbound::Config, SettingError> {
        let entry = |text: &String| {
            text.parse::<AllowEntry>()
                .map_err(|error| SettingError::of("allow", error.to_string()).within(&["egress"]))
        };
        let allow = self.egress_allow.iter().map(entry).collect::<Result<_, _>>()?;
        Ok(outbound::Config { allow, allow_loopback: self.allow_loopback_egress })
    }

    pub(crate) fn deliverer(&self) -> Result<DelivererConfig, InvalidConfig> {
        self.deliverer_checked().map_err(InvalidConfig::from)
    }

    fn deliverer_checked(&self) -> Result<DelivererConfig, SettingError> {
        self.webhooks.read().map_err(|error| error.within(&["webhooks"]))
    }
}

fn settings(queue: &Queue) -> QueueSettings {
    QueueSettings { max_workers: queue.max_workers, max_pending: queue.max_pending }
}

fn seconds(name: &str, value: Option<f64>) -> Result<Option<Duration>, InvalidConfig> {
    let Some(value) = value else { return Ok(None) };
    Duration::try_from_secs_f64(value)
        .map(Some)
        .map_err(|error| InvalidConfig(format!("{name} = {value}: {error}")))
}
