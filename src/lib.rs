//! Cratos: a precomputing feed publisher for MISP.
//!
//! Indicators are fetched on a schedule, turned into lists, written as numbered versions on disk, and served from there.
//! A request never waits for MISP.
//!
//! # The road
//!
//! The folders are the stages, in the order the data takes (and in alphabetical order):
//!
//! | stage | in | out |
//! |---|---|---|
//! | [`config`] | `config.yaml`, `sites/*.yaml` | checked, immutable settings |
//! | [`fetch`] | a source (MISP server, or a MISP feed's directory or URL) | events with their attributes |
//! | [`index`] | events | the mirror of a view, and lists: sorted, unique |
//! | [`render`] | a list | the bytes of one format |
//! | [`snapshot`] | bytes | numbered version directories; `current` moves in one rename |
//! | [`web`] | a request | the answer, from a table in memory and files on disk |
//!
//! The loose files drive the road: [`refresh`] does one view once and is the only place that names all four middle stages;
//! [`schedule`] decides when; [`daemon`] builds everything and runs until a signal; [`cli`] is the commands; [`probe`] is what
//! they ask a MISP outside of a refresh, [`explain`] why a value is in a list or in none; [`learned`] keeps the keys that tokens
//! bring, [`last_good`] the site files that checked. [`view`], [`secret`], [`token`], [`demand`], [`contact`], [`status`],
//! [`expiry`], [`state`] and [`orders`] are what several of them name.
//!
//! A newcomer reads `refresh/mod.rs` (the story of one refresh), then `web/handler.rs` (the story of one request), then
//! `snapshot/layout.rs` (what lies on disk).
//!
//! # What always holds
//!
//! 1. Serving never fetches or renders: with the source down, or a refresh failing half-way, every answer is as before.
//! 2. A version directory never changes once it is in place, except that a damaged file gets back the bytes its manifest
//!    names; only `current` moves, in one rename.
//! 3. [`index`] and [`render`] are functions of their arguments. The time is one of them.
//! 4. A file whose bytes did not change is a hard link to the old one and keeps its time, so ETag and Last-Modified are those
//!    of the content.
//! 5. Only `fetch/client.rs` opens outgoing connections; only [`snapshot`] writes below `feeds_dir`, only `state.rs` and
//!    `orders.rs` below `state_dir`.
//! 6. Keys and tokens are [`secret::Secret`]: no `Display`, an empty `Debug`.
//! 7. A configuration that does not check is never started with, and on reload never replaces the running one.
//! 8. A URL is a key looked up in a table, never a path that is joined.
//! 9. Nothing takes two views as arguments. A key that has not been proven opens no view.

pub mod cli;
pub mod config;
pub mod contact;
pub mod daemon;
pub mod demand;
pub mod expiry;
pub mod explain;
pub mod fetch;
pub mod index;
pub mod last_good;
pub mod learned;
pub mod orders;
pub mod probe;
pub mod refresh;
pub mod render;
pub mod schedule;
pub mod secret;
pub mod snapshot;
pub mod state;
pub mod status;
pub mod token;
pub mod view;
pub mod web;
