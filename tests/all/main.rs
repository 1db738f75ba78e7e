//! All integration tests in one binary, so one link step. The harness first, then the tests in the order of the road.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics has failed, which is what is wanted")]
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "tests write files and connect on their own")]

mod cmd;
mod corpus;
mod dir;
mod feed;
mod http;
mod mirror;
mod misp;
mod model;
mod recorded;
mod replay;
mod secrets;
mod tls;

mod ages;
mod formats;
mod layers;
mod ledger;
mod life;
mod never;
mod properties;
mod samples;
mod tokens;
mod types;
mod values;

mod changed;
mod kept;
mod kill;
mod reference;

mod drift;
mod explain;
mod faults;
mod held;
mod outage;
mod pulls;
mod source;
mod stale;
mod versions;

mod access;
mod access_log;
mod addresses;
mod allocations;
mod around;
mod back;
mod conditional;
mod contact;
mod guard;
mod handed;
mod https;
mod issue;
mod limits;
mod organisations;
mod owners;
mod pages;
mod vendor;
mod views;
mod web;

mod cli;
mod nginx;
mod online;
mod operating;
mod reload;
mod supervisor;

mod lists;

mod regression;
