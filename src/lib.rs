//! Futurity.
#![allow(dead_code)]
mod domain;
mod store;
