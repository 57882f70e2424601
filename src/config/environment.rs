//! Variables of the environment beside the flags: an empty one says nothing, and one that nobody knows is a slip.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

use clap::Command;
use clap::builder::Resettable;
use clap::error::{ContextKind, ContextValue};

const PREFIX: &str = "FUTURITY_";
/// What programs are told of their job. One of them may well start this program.
const OF_JOBS: [&str; 3] = ["FUTURITY_ATTEMPT", "FUTURITY_IDEMPOTENCY_KEY", "FUTURITY_JOB_ID"];

/// The environment, as far as it is text: a program is given some of it, if its settings say so.
pub(super) fn texts() -> BTreeMap<String, String> {
    let text = |(name, value): (OsString, OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    std::env::vars_os().filter_map(text).collect()
}

/// The same command, for which an empty variable is none: files of containers write such.
#[must_use]
pub fn without_empty(command: Command) -> Command {
    command.mut_args(|argument| match argument.get_env().map(std::env::var_os) {
        Some(Some(value)) if value.is_empty() => argument.env(Resettable::Reset),
        _ => argument,
    })
}

/// The variable in which the value stands that was refused; none if it stands in a flag.
#[must_use]
pub fn variable_of(command: &Command, error: &clap::Error) -> Option<String> {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    let flag = text(ContextKind::InvalidArg)?.split([' ', '=']).next()?;
    let value = text(ContextKind::InvalidValue)?;
    let argument = command
        .get_arguments()
        .find(|it| it.get_long().is_some_and(|long| flag.strip_prefix("--") == Some(long)))?;
    let is_given = std::env::args().any(|it| it.split('=').next() == Some(flag));
    let variable = argument.get_env().filter(|_| !is_given)?;
    (std::env::var_os(variable)? == value).then(|| variable.to_string_lossy().into_owned())
}

/// Variables that look like settings and are none, with those that there are.
#[must_use]
pub fn unknown(command: &Command) -> Option<String> {
    let known: Vec<&OsStr> = command.get_arguments().filter_map(|it| it.get_env()).collect();
    let is_slip = |name: &OsString| {
        let text = name.to_string_lossy();
        text.starts_with(PREFIX) && !known.contains(&name.as_os_str()) && !OF_JOBS.contains(&&*text)
    };
    let mut slips = std::env::vars_os().map(|(name, _)| name).filter(is_slip).peekable();
    slips.peek()?;
    let names = |names: Vec<&OsStr>| {
        names.into_iter().map(|it| it.to_string_lossy()).collect::<Vec<_>>().join(", ")
    };
    let slips: Vec<OsString> = slips.collect();
    let slips = names(slips.iter().map(OsString::as_os_str).collect());
    Some(format!("{slips}: no setting is called so; there are {}", names(known)))
}
