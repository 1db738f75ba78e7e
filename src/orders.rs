//! What a second `cratos` command asks of the running one, through files: orders and their outcomes.
//!
//! ```text
//! state/orders/                           0700
//! ├── 5e0e9a1c-….order                    an order, until it is taken
//! └── 5e0e9a1c-….done                     its outcome, until it is read
//! ```
//!
//! In: [`Order`]s. Out: [`Outcome`]s. Invariants: files are written aside and renamed, so none is read half; only who may
//! write below `state_dir` can give orders; there are at most [`MAX`] at a time, and leftovers go after a day.
#![allow(clippy::disallowed_methods, reason = "one of the files that write below state_dir")]

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::refresh::Act;

/// Orders that are looked at, at one time.
pub const MAX: usize = 100;
/// Files nobody wants any more.
const OLD: Duration = Duration::from_secs(86_400);

/// Refresh a view now, or decide something about it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// The site.
    pub site: String,
    /// The view; empty: the main one.
    #[serde(default)]
    pub view: String,
    /// First prove a key; its view is then the one.
    #[serde(default)]
    pub learn: Option<LearnOrder>,
    /// Read everything.
    pub full: bool,
    /// Publish what is held.
    pub release: bool,
    /// Decide this; nothing is refreshed then.
    #[serde(default)]
    pub act: Option<Act>,
}

/// A key to be proven.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LearnOrder {
    /// As the token says.
    pub proto: String,
    /// As the token says.
    pub port: u16,
    /// The key, sealed; base64.
    pub sealed: String,
}

/// What came of an order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Outcome {
    /// What was done, as the refresh reports it.
    Done(serde_json::Value),
    /// Why it failed.
    Failed(String),
}

/// An order that was placed.
#[derive(Debug)]
pub struct Ticket {
    folder: PathBuf,
    id: Uuid,
}

/// An order that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// What is to be done.
    pub order: Order,
    id: Uuid,
}

fn folder(state_dir: &Path) -> PathBuf {
    state_dir.join("orders")
}

fn write<T: Serialize>(folder: &Path, name: &str, value: &T) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(&serde_json::to_vec(value)?)?;
    file.persist(folder.join(name)).map_err(|error| error.error)?;
    Ok(())
}

/// Asks the running program.
pub fn place(state_dir: &Path, order: &Order) -> io::Result<Ticket> {
    let (folder, id) = (folder(state_dir), Uuid::new_v4());
    write(&folder, &format!("{id}.order"), order)?;
    Ok(Ticket { folder, id })
}

impl Ticket {
    /// Whether somebody has begun with it.
    pub fn is_taken(&self) -> bool {
        !self.folder.join(format!("{}.order", self.id)).exists()
    }

    /// The outcome, once there is one; it is there once.
    pub fn outcome(&self) -> io::Result<Option<Outcome>> {
        let path = self.folder.join(format!("{}.done", self.id));
        match fs::read(&path) {
            Ok(bytes) => {
                fs::remove_file(&path)?;
                Ok(Some(serde_json::from_slice(&bytes)?))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Drop for Ticket {
    /// An order that nobody waits for is no order; if it was taken already there is no file.
    fn drop(&mut self) {
        let _ = fs::remove_file(self.folder.join(format!("{}.order", self.id)));
    }
}

/// Takes the orders that are there. One that cannot be read is dropped.
pub fn take(state_dir: &Path) -> Vec<Taken> {
    let Ok(entries) = fs::read_dir(folder(state_dir)) else { return Vec::new() };
    let mut taken = Vec::new();
    for entry in entries.flatten().take(MAX) {
        let path = entry.path();
        let id = path.file_stem().and_then(|name| name.to_str()).and_then(|name| name.parse().ok());
        match (path.extension().and_then(|name| name.to_str()), id) {
            (Some("order"), Some(id)) => {
                let order = fs::read(&path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
                // Removed first: an order that cannot be removed would be taken for ever.
                if fs::remove_file(&path).is_ok()
                    && let Some(order) = order
                {
                    taken.push(Taken { order, id });
                }
            }
            _ if is_old(&entry) => {
                // Err: somebody else has removed it.
                let _ = fs::remove_file(&path);
            }
            _ => {}
        }
    }
    taken
}

fn is_old(entry: &fs::DirEntry) -> bool {
    let age = entry.metadata().and_then(|meta| meta.modified()).map(|time| time.elapsed().unwrap_or_default());
    age.is_ok_and(|age| age > OLD)
}

/// Tells who asked.
pub fn answer(state_dir: &Path, taken: &Taken, outcome: &Outcome) {
    if let Err(error) = write(&folder(state_dir), &format!("{}.done", taken.id), outcome) {
        tracing::warn!(%error, site = taken.order.site, "the outcome of an order cannot be written");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_taken_once_and_its_outcome_read_once() {
        let dir = tempfile::tempdir().unwrap();
        let order = Order { site: "misp.example.net".into(), full: true, ..Order::default() };
        let ticket = place(dir.path(), &order).unwrap();
        assert_eq!(ticket.outcome().unwrap(), None);
        let taken = take(dir.path());
        assert_eq!(taken.iter().map(|taken| &taken.order).collect::<Vec<_>>(), [&order]);
        assert!(take(dir.path()).is_empty());
        answer(dir.path(), &taken[0], &Outcome::Failed("no".into()));
        assert_eq!(ticket.outcome().unwrap(), Some(Outcome::Failed("no".into())));
        assert_eq!(ticket.outcome().unwrap(), None);
    }

    #[test]
    fn an_order_nobody_waits_for_is_withdrawn() {
        let dir = tempfile::tempdir().unwrap();
        let order = Order { site: "a".into(), ..Order::default() };
        drop(place(dir.path(), &order).unwrap());
        fs::write(folder(dir.path()).join("junk.order"), "x").unwrap();
        assert!(take(dir.path()).is_empty());
    }
}
