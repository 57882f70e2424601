//! Outside crates stay at home, and the ground floor is pure.

use crate::{
    paths::{Named, named},
    source::{SourceFile, Violation},
};

/// Each outside crate with the floors it may appear on.
const HOMES: &[(&str, &[&str])] = &[
    ("sqlx", &["store"]),
    ("rusqlite", &["store"]),
    ("libsqlite3_sys", &["store"]),
    ("axum", &["http"]),
    ("tower", &["http", "outbound"]),
    ("tower_http", &["http"]),
    ("hyper", &["http", "outbound"]),
    ("hyper_util", &["http"]),
    ("reqwest", &["outbound"]),
    ("hmac", &["outbound"]),
    ("process_wrap", &["runtime"]),
    ("wasmtime", &["runtime"]),
    ("landlock", &["runtime"]),
    ("nix", &["app", "runtime"]),
    ("clap", &["config", "cli"]),
    ("toml", &["config", "cli"]),
];

/// What the ground floor does without, beside the crates above.
const IMPURE: &[&[&str]] = &[
    &["tokio"],
    &["tokio_util"],
    &["serde"],
    &["rustix"],
    &["std", "fs"],
    &["std", "io"],
    &["std", "net"],
    &["std", "env"],
    &["std", "process"],
    &["std", "thread"],
    &["std", "time", "SystemTime"],
    &["std", "time", "Instant"],
    &["time", "SystemTime"],
    &["time", "Instant"],
    &["SystemTime"],
    &["Instant"],
];

/// Functions that ask a clock or a die.
const TIME_AND_CHANCE: &[&str] = &["now", "now_v7", "new_v4", "random"];

/// `home`: one floor knows the database, one the server, one the client.
pub fn outside_crates_stay_at_home(file: &SourceFile) -> Vec<Violation> {
    if !file.in_src() {
        return Vec::new();
    }
    let module = file.module();
    let floor = module.first().copied().unwrap_or_default();
    let stray = |path: &Named<'_>| {
        let first = path.outside()?.first()?;
        let (name, homes) = HOMES.iter().find(|(name, _)| name == first)?;
        (!homes.contains(&floor)).then(|| {
            let homes = homes.join(", ");
            let text = format!("`{name}` is at home in {homes} only; ask that floor for the verb");
            file.violation("home", path.line, text)
        })
    };
    named(file).iter().filter_map(stray).collect()
}

/// `pure`: the domain has no I/O, no clock, no chance, no runtime and no wire format.
pub fn domain_is_pure(file: &SourceFile) -> Vec<Violation> {
    if file.module().first() != Some(&"domain") || !file.in_src() {
        return Vec::new();
    }
    let mut found = Vec::new();
    for path in named(file) {
        let words = path.outside().unwrap_or_default();
        let asks = words.len() > 1 && words.last().is_some_and(|w| TIME_AND_CHANCE.contains(w));
        let text = if asks {
            format!("`{}` asks a clock or a die; take the value as an argument", path.written())
        } else if IMPURE.iter().any(|impure| leads_to(&path, words, impure)) {
            format!("`{}` is not for the ground floor; do this on a floor above", path.written())
        } else {
            continue;
        };
        found.push(file.violation("pure", path.line, text));
    }
    for name in ["Serialize", "Deserialize"] {
        found.extend(file.find(&[name]).map(|at| {
            let text = format!("`{name}` on the ground floor; wire types live in src/http/body.rs");
            file.violation("pure", file.tokens[at].line, text)
        }));
    }
    found
}

/// `use std::time::*` leads to the clock as well.
fn leads_to(path: &Named<'_>, words: &[&str], impure: &[&str]) -> bool {
    words.starts_with(impure) || (path.glob && !words.is_empty() && impure.starts_with(words))
}
