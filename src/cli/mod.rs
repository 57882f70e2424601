//! The command line.

mod check;
mod health;
mod keys;
mod listen;
mod serve;
mod upkeep;
mod webhook_secret;

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue};
use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::app::{Failure, harmless, hold_hang_ups, take_hang_ups};
use crate::config::{Config, Options, environment};
use crate::engine::SEEN_WITHIN;
use crate::telemetry::Writer;

/// `concurrent.futures` over HTTP: submit a call, get a durable future.
#[derive(Debug, Parser)]
#[command(name = "futurity", version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    options: Options,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve (the default)
    Serve(serve::Until),
    /// Print the configuration as it counts: of flags, environment, file and defaults together
    Config,
    /// Test that every command and worker can start
    Check,
    /// Ask the server on this data directory whether it is ready; exit 0 or 1
    Health,
    /// API keys: who may use the service
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    /// Look through the data directory, which no server may use, for what must not be; exit 0 or 65
    Fsck,
    /// Copy the data directory into one file, also while a server runs
    Backup {
        /// The file, which must not be there
        file: PathBuf,
    },
    /// Bring a backup into a data directory without a database
    Restore {
        /// The backup
        file: PathBuf,
    },
    /// Receive webhooks on this machine, verify and show them: for development
    Listen(listen::ListenOptions),
    /// Print the secret that signs webhooks, made if there is none; or replace it
    WebhookSecret {
        #[command(subcommand)]
        command: Option<webhook_secret::WebhookSecretCommand>,
    },
}

/// Reads the arguments and does what they say.
#[must_use]
pub fn run() -> ExitCode {
    hold_hang_ups();
    let all = Arguments::command();
    let known = environment::without_empty(all.clone());
    let parsed = known.clone().try_get_matches();
    let parsed = parsed.and_then(|matches| Arguments::from_arg_matches(&matches));
    let Arguments { command, options } = match parsed {
        Ok(parsed) => parsed,
        Err(error) => return misunderstood(&known, &error),
    };
    if matches!(command, None | Some(Command::Serve(_) | Command::Config | Command::Check))
        && let Some(unknown) = environment::unknown(&all)
    {
        say_error(&unknown);
    }
    if !matches!(command, None | Some(Command::Serve(_))) {
        take_hang_ups();
    }
    let asks_health = matches!(command, Some(Command::Health));
    let errors = Writer::stderr();
    let done = match command {
        None => serve::serve(serve::Until::default(), options, &errors),
        Some(Command::Serve(until)) => serve::serve(until, options, &errors),
        Some(other) => Config::load(&options)
            .map_err(Failure::from)
            .and_then(|config| carry_out(other, &config, &errors)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // Behind the last line of the log, and as long as nobody takes that one, not at all.
            errors.say(remark(&failure.to_string()).as_bytes());
            errors.flush();
            // What watches a server's health knows two answers only.
            if asks_health {
                return ExitCode::FAILURE;
            }
            ExitCode::from(failure.exit_code())
        }
    }
}

/// Does what a command says, other than to serve.
fn carry_out(command: Command, config: &Config, errors: &Writer) -> Result<(), Failure> {
    match command {
        // Done before.
        Command::Serve(_) => Ok(()),
        Command::Config => shown(config),
        Command::Check => check::run(config, errors),
        Command::Health => health::ask(config),
        Command::Fsck => upkeep::fsck(config),
        Command::Backup { file } => upkeep::backup(&file, config),
        Command::Restore { file } => upkeep::restore(&file, config),
        Command::Keys(command) => keys::run(command, config),
        Command::Listen(options) => listen::run(options, config),
        Command::WebhookSecret { command } => webhook_secret::run(command.as_ref(), config),
    }
}

/// Help, a version, or what is wrong with the arguments.
fn misunderstood(known: &clap::Command, error: &clap::Error) -> ExitCode {
    // Nobody may be left to read it.
    error.print().unwrap_or_default();
    if let Some(variable) = environment::variable_of(known, error) {
        say_error(&format!("the value is that of {variable} in the environment"));
    }
    if matches!(error.get(ContextKind::InvalidArg), Some(ContextValue::String(flag)) if flag == "--port")
    {
        say_error("the port is part of the address: --listen 127.0.0.1:8081");
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

fn shown(config: &Config) -> Result<(), Failure> {
    say(config.to_toml()?.trim_end())
}

/// The async threads.
fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let context = "cannot start the async threads".to_owned();
    runtime.map_err(|source| Failure::Io { context, source })
}

/// What a command has changed holds from the moment that it ends: a running server has seen it.
#[expect(clippy::disallowed_methods, reason = "a command has nothing else to do")]
fn let_servers_see() {
    std::thread::sleep(SEEN_WITHIN);
}

/// Makes the data directory as the server would.
fn prepare_data_dir(config: &Config) -> Result<(), Failure> {
    use std::os::unix::fs::DirBuilderExt as _;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&config.data_dir);
    made.map_err(|source| Failure::Io {
        context: format!("cannot make the data directory {}", config.data_dir.display()),
        source,
    })
}

/// What a command was asked for goes to standard output; a command whose answer nobody could read has failed.
fn say(text: &str) -> Result<(), Failure> {
    let written = writeln!(io::stdout().lock(), "{}", harmless(text));
    written.map_err(|source| Failure::Io {
        context: "the answer cannot be written".to_owned(),
        source,
    })
}

/// A remark beside it. There is nobody to tell that it could not be made.
fn say_error(text: &str) {
    io::stderr().lock().write_all(remark(text).as_bytes()).unwrap_or_default();
}

fn remark(text: &str) -> String {
    format!("futurity: {}\n", harmless(text))
}
