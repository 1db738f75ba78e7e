//! The scripted MISP of the recording (`tests/conformance/README.md`), asked by this program instead of the Python one.
//!
//! A key is a name and `X` up to 40 characters; the name selects what is there and, once [`Corpora::break_down`] was called,
//! what goes wrong. Times move with the clock, so every row is as old as it was when the answers were recorded.
//!
//! | file | content |
//! |---|---|
//! | `row.rs` | one row of `corpus.json` or `scenarios.json`, as odd as it stands there |
//! | `answers.rs` | index, searches, tags, warninglists, version, user |
//! | `faults.rs` | what goes wrong with which key |

mod answers;
mod faults;
mod row;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use cratos::token::TokenKeys;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::misp::{Answer, Asked, JSON, Kind, Misp, Script};
use crate::{mirror, recorded};

pub use faults::names as fault_names;
pub use row::Row;

/// Length of a key.
const KEY: usize = 40;

/// Everything that was there at the recording, by key name.
pub struct Corpora {
    main: Vec<Row>,
    scenarios: BTreeMap<String, Vec<Row>>,
    broken: AtomicBool,
}

impl Corpora {
    /// As old at `now` (Unix seconds) as at the recording.
    pub fn load(now: i64) -> Arc<Self> {
        #[derive(Deserialize)]
        struct File<'a> {
            #[serde(borrow)]
            attributes: Vec<&'a RawValue>,
        }
        let rows = |file: File| file.attributes.iter().map(|row| Row::read(row, now)).collect();
        let main = recorded::xz("corpus.json.xz");
        let scenarios = recorded::xz("scenarios.json.xz");
        let scenarios: BTreeMap<String, File> = serde_json::from_str(&scenarios).unwrap();
        Arc::new(Self {
            main: rows(serde_json::from_str(&main).unwrap()),
            scenarios: scenarios.into_iter().map(|(name, file)| (name, rows(file))).collect(),
            broken: AtomicBool::new(false),
        })
    }

    /// Serves it.
    pub fn serve(self: &Arc<Self>) -> Misp {
        Misp::scripted(Served(Arc::clone(self)))
    }

    /// The names of the scenarios.
    pub fn scenarios(&self) -> impl Iterator<Item = &String> {
        self.scenarios.keys()
    }

    /// What that key sees.
    pub fn rows(&self, name: &str) -> &[Row] {
        self.scenarios.get(name).unwrap_or(&self.main)
    }

    /// From now on the keys that are named after a fault have it.
    pub fn break_down(&self) {
        self.broken.store(true, Ordering::Relaxed);
    }

    fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Relaxed)
    }
}

/// The key of that name.
pub fn key(name: &str) -> String {
    format!("{name:X<KEY$}")
}

/// The name of a key.
pub fn name_of(key: &str) -> &str {
    key.trim_end_matches('X')
}

/// All tag names there are.
fn tags(rows: &[Row]) -> BTreeSet<&str> {
    rows.iter().flat_map(|row| row.tags.iter().chain(&row.event.tags)).map(String::as_str).collect()
}

struct Served(Arc<Corpora>);

impl Served {
    fn name<'a>(&self, asked: &'a Asked) -> Option<&'a str> {
        let name = name_of(asked.key()?);
        let known = name == "main" || self.0.scenarios.contains_key(name) || faults::is_one(name);
        known.then_some(name)
    }
}

impl Script for Served {
    fn fault(&self, asked: &Asked) -> Option<Kind> {
        match self.name(asked) {
            None => Some(Kind::Status(403)),
            Some(name) => faults::fault(name, asked.path(), self.0.is_broken()),
        }
    }

    fn answer(&self, asked: &Asked) -> Answer {
        let name = self.name(asked).expect("a key without a name is a fault");
        let mut answer = answers::answer(self.0.rows(name), name, asked);
        if self.0.is_broken() && name == "ebare" && asked.path().ends_with("restSearch") {
            let body = String::from_utf8(answer.body).unwrap();
            let bare = body.strip_prefix("{\"response\":").and_then(|rest| rest.strip_suffix('}')).unwrap();
            answer = Answer::new(200, JSON, bare.into());
        }
        answer
    }

    fn key_name(&self, asked: &Asked) -> String {
        self.name(asked).unwrap_or("unknown").to_owned()
    }
}

/// The keys behind the recorded tokens, derived once.
pub fn token_keys() -> &'static TokenKeys {
    static KEYS: OnceLock<TokenKeys> = OnceLock::new();
    KEYS.get_or_init(mirror::token_keys)
}
