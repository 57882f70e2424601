//! The rules of floors and homes, tried on snippets: what must be caught, and near misses.

use crate::{
    floors, homes,
    source::{SourceFile, Violation},
};

/// Each snippet must give a violation of this rule.
pub fn caught(check: fn(&SourceFile) -> Vec<Violation>, snippets: &[(&str, &str)]) {
    for (path, text) in snippets {
        let file = SourceFile::new(path, text);
        assert!(file.readable, "{path} is no Rust:\n{text}");
        assert!(!check(&file).is_empty(), "{path}: this was not caught:\n{text}");
    }
}

/// Each snippet must pass.
pub fn passes(check: fn(&SourceFile) -> Vec<Violation>, snippets: &[(&str, &str)]) {
    for (path, text) in snippets {
        let file = SourceFile::new(path, text);
        assert!(file.readable, "{path} is no Rust:\n{text}");
        let found: Vec<String> = check(&file).iter().map(ToString::to_string).collect();
        assert!(found.is_empty(), "this near miss was caught:\n{text}\n{}", found.join("\n"));
    }
}

const DOMAIN: &str = "src/domain/job.rs";
const STORE: &str = "src/store/sqlite/rows.rs";
const STORE_ROOT: &str = "src/store/mod.rs";
const RUNTIME: &str = "src/runtime/pool.rs";
const HTTP_REQUEST: &str = "src/runtime/native/http_request.rs";
const ENGINE: &str = "src/engine/dispatcher.rs";
const HTTP: &str = "src/http/jobs.rs";
const CLI: &str = "src/cli/health.rs";

#[test]
fn a_floor_that_looks_up_is_caught() {
    let upward = [
        (DOMAIN, "use crate::store::Store;"),
        (DOMAIN, "use crate::store;"),
        (DOMAIN, "use crate::store as s;"),
        (DOMAIN, "use crate::store::*;"),
        (DOMAIN, "use crate::{domain::A, store::{B, C}};"),
        (DOMAIN, "use crate::{self as root};"),
        (DOMAIN, "use crate as root;"),
        (DOMAIN, "use crate::*;"),
        (DOMAIN, "use super::super::store;"),
        (DOMAIN, "use super::super::{domain::A, store::B};"),
        (DOMAIN, "use super::super as up;"),
        (DOMAIN, "use self::super::super::store::B;"),
        (DOMAIN, "mod tests { use super::super::super::store::B; }"),
        (DOMAIN, "mod a { mod b {} fn f() { super::super::super::store::get() } }"),
        (DOMAIN, "fn f() { crate::store::get(); }"),
        (DOMAIN, "fn f() { ::futurity::store::get(); }"),
        (DOMAIN, "fn f() -> crate::store::Row { todo() }"),
        (DOMAIN, "fn f(x: Vec<crate::store::Row>) {}"),
        (DOMAIN, "fn f(x: &dyn crate::store::Row) {}"),
        (DOMAIN, "fn f(x: X) { match x { crate::store::Row { id } => id } }"),
        (DOMAIN, "fn f() { X { a: 1, ..crate::store::Row::new() } }"),
        (DOMAIN, "fn f() { format!(\"{}\", crate::store::COUNT) }"),
        (DOMAIN, "fn f() { a!(b!([crate::store::COUNT])) }"),
        (DOMAIN, "macro_rules! m { () => { $crate::store::get() } }"),
        (DOMAIN, "macro_rules! m { () => { use $crate::store::{get, put}; } }"),
        (DOMAIN, "#[derive(crate::store::Row)] struct A;"),
        (DOMAIN, "impl From<crate::store::Error> for A {}"),
        (DOMAIN, "impl A where B: crate::store::C {}"),
        (DOMAIN, "const X: u8 = <crate::store::A as B>::C;"),
        (DOMAIN, "use crate::r#store::A;"),
        (DOMAIN, "use futurity::store::A;"),
        (DOMAIN, "fn f() { fn g() { use crate::engine::Engine; } }"),
        (DOMAIN, "use crate::ServerBuilder;"),
        (STORE, "use crate::runtime::Pool;"),
        (STORE, "use super::super::super::engine;"),
        (STORE_ROOT, "use super::engine::Engine;"),
        (STORE_ROOT, "use super::*;"),
        ("src/outbound/client.rs", "use crate::store::Store;"),
        (RUNTIME, "use crate::outbound::Client;"),
        (HTTP_REQUEST, "use crate::store::Store;"),
        (ENGINE, "use crate::http::Problem;"),
        (ENGINE, "use crate::config::Config;"),
        (ENGINE, "use crate::telemetry::counter;"),
        (HTTP, "use crate::store::Error;"),
        (HTTP, "use crate::runtime::Registry;"),
        (CLI, "use crate::http::body::Job;"),
        (CLI, "use crate::store::Store;"),
        ("src/telemetry.rs", "use crate::engine::Engine;"),
        ("src/telemetry.rs", "use super::engine::Engine;"),
        ("src/config.rs", "use crate::app::App;"),
        ("src/attic.rs", "fn f() {}"),
    ];
    caught(floors::look_down_only, &upward);
}

#[test]
fn a_floor_that_looks_down_passes() {
    let downward = [
        (DOMAIN, "//! [`crate::store`] reads this.\nuse crate::domain::state::State;"),
        (DOMAIN, "/// See [`crate::store::Store`].\nuse super::state::State;"),
        (DOMAIN, "// crate::store::get()\nfn f() -> &'static str { \"crate::store::get()\" }"),
        (DOMAIN, "mod tests { use super::*; use super::super::state::State; }"),
        (DOMAIN, "mod a { mod b {} } fn f() { super::state::get() }"),
        (DOMAIN, "pub(crate) struct A; pub(super) struct B; pub(in crate::domain) struct C;"),
        (DOMAIN, "fn f(&self, store: u8) { self.store(); self.engine.run(store) }"),
        (DOMAIN, "fn f() { my::crate_::store::get() }"),
        (DOMAIN, "fn f() -> impl Sized + use<'_> { 1 }"),
        (STORE, "use crate::{domain::{job::Job, state}, store::Store};"),
        (STORE, "use super::super::Store;"),
        (STORE_ROOT, "use super::domain::Job;"),
        (STORE_ROOT, "pub use self::writer::Writer;"),
        (HTTP_REQUEST, "use crate::outbound::Client;"),
        (ENGINE, "use crate::{domain, outbound::Client, runtime, store::{self, Store}};"),
        (HTTP, "use crate::engine::Engine; use axum::http::StatusCode;"),
        (HTTP, "use axum::{http::header, extract::State};"),
        (CLI, "use crate::{app, config::Config, domain::Job, engine::Engine};"),
        ("src/config.rs", "use crate::{engine, http, outbound, runtime, store, telemetry};"),
        ("src/telemetry.rs", "use crate::config::Config;"),
        ("src/app.rs", "use crate::{cli, config, domain, engine, http, store};"),
        ("src/main.rs", "use futurity::cli;"),
        ("src/lib.rs", "pub use crate::app::Server; pub use http::Problem;"),
        ("tests/it/jobs.rs", "use futurity::Server; use crate::store::X;"),
    ];
    passes(floors::look_down_only, &downward);
}

#[test]
fn a_floor_that_passes_a_floor_on_is_caught() {
    let passing_on = [
        (ENGINE, "pub use crate::store;"),
        (ENGINE, "pub(crate) use crate::store::*;"),
        (ENGINE, "pub(in crate::engine) use crate::{domain::Job, store};"),
        (ENGINE, "pub use super::super::store as shelf;"),
        (ENGINE, "pub use crate::store::{self, Store};"),
        (ENGINE, "macro_rules! m { () => { pub use $crate::store; } }"),
    ];
    caught(floors::pass_on_no_floor, &passing_on);
    let fine = [
        (ENGINE, "pub use crate::store::Stored; use crate::store;"),
        (ENGINE, "pub use super::Engine;"),
        ("src/lib.rs", "pub use crate::config;"),
    ];
    passes(floors::pass_on_no_floor, &fine);
}

#[test]
fn an_outside_crate_away_from_home_is_caught() {
    let away = [
        (ENGINE, "use sqlx::Row;"),
        (ENGINE, "use sqlx;"),
        (ENGINE, "use sqlx as db;"),
        (ENGINE, "use {serde_json::Value, sqlx::Row};"),
        (ENGINE, "use ::sqlx::Row;"),
        (ENGINE, "use r#sqlx::Row;"),
        (ENGINE, "extern crate sqlx;"),
        (ENGINE, "extern crate sqlx as db;"),
        (ENGINE, "fn f() { sqlx::query!(\"select 1\") }"),
        (ENGINE, "fn f() -> ::sqlx::Result<()> { g() }"),
        (ENGINE, "#[derive(sqlx::FromRow)] struct A;"),
        (ENGINE, "fn f() { m!(x => sqlx::query(\"select 1\")) }"),
        (ENGINE, "impl From<reqwest::Error> for A {}"),
        (STORE, "use axum::Json;"),
        (STORE, "use tower::Service;"),
        (ENGINE, "use tower_http::limit;"),
        ("src/app.rs", "fn f() { hyper_util::rt::TokioTimer::new() }"),
        ("src/app.rs", "use hyper::server;"),
        (HTTP, "use reqwest::Client;"),
        (HTTP, "use hmac::Mac;"),
        (HTTP_REQUEST, "use reqwest::Client;"),
        (HTTP, "use clap::Parser;"),
        ("src/main.rs", "use clap::Parser;"),
        (ENGINE, "fn f() { toml::from_str(\"\") }"),
    ];
    caught(homes::outside_crates_stay_at_home, &away);
}

#[test]
fn an_outside_crate_at_home_passes() {
    let home = [
        (STORE, "use sqlx::{Row, query}; fn f() { sqlx::query(\"\") }"),
        (HTTP, "use axum::Json; use tower::Service; use tower_http::limit; use hyper_util::rt;"),
        ("src/outbound/client.rs", "use reqwest::Client; use hmac::Mac;"),
        ("src/config.rs", "use clap::Parser; fn f() { toml::from_str(\"\") }"),
        (CLI, "use clap::Parser;"),
        (ENGINE, "fn f(sqlx: u8) { g(sqlx); self.sqlx.go(); X { axum: 1 } }"),
        (ENGINE, "//! Not `sqlx::query`.\nconst A: &str = \"sqlx::query\";"),
        (ENGINE, "fn f() { crate::store::sqlx::go(); my_sqlx::go(); self::toml::go() }"),
        ("tests/it/jobs.rs", "use reqwest::Client;"),
    ];
    passes(homes::outside_crates_stay_at_home, &home);
}

#[test]
fn an_impure_domain_is_caught() {
    let impure = [
        (DOMAIN, "use tokio::sync::Notify;"),
        (DOMAIN, "#[tokio::test] fn f() {}"),
        (DOMAIN, "use std::fs;"),
        (DOMAIN, "use std::{collections::HashMap, fs::File};"),
        (DOMAIN, "fn f() { std::net::TcpStream::connect(\"\") }"),
        (DOMAIN, "use std::time::{Duration, Instant};"),
        (DOMAIN, "use std::time::*;"),
        (DOMAIN, "use std::time; fn f(a: time::SystemTime) {}"),
        (DOMAIN, "fn f() { std::thread::spawn(g) }"),
        (DOMAIN, "fn f() { SystemTime::UNIX_EPOCH }"),
        (DOMAIN, "fn f() { a.map(Instant::elapsed) }"),
        (DOMAIN, "fn f() { jiff::Timestamp::now() }"),
        (DOMAIN, "fn f() { Uuid::now_v7() }"),
        (DOMAIN, "use serde::Serialize;"),
        (DOMAIN, "#[derive(Debug, Serialize)] struct A;"),
        (DOMAIN, "#[cfg_attr(test, derive(Deserialize))] struct A;"),
        ("src/domain/mod.rs", "impl serde::Serialize for A {}"),
    ];
    caught(homes::domain_is_pure, &impure);
    let pure = [
        (DOMAIN, "use serde_json::Value; use std::{fmt, time::Duration}; use uuid::Uuid;"),
        (DOMAIN, "fn f(now: Timestamp) { let now = now; self.now(); job.settle(now) }"),
        (DOMAIN, "/// Not `Serialize`, see std::fs.\nstruct Instantly;"),
        (STORE, "use std::time::Instant; use tokio::sync::mpsc; use serde::Serialize;"),
        ("tests/domain/a.rs", "use tokio::time;"),
    ];
    passes(homes::domain_is_pure, &pure);
}
