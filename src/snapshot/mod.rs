//! Bytes → versioned directories. In: [`Rendered`](crate::render::Rendered) lists. Out: a new version, or none if nothing
//! changed; and versions opened for reading.
//!
//! | file | answers |
//! |---|---|
//! | [`layout`] | every name on disk |
//! | [`manifest`] | what a version holds; open one for reading |
//! | [`mod@write`] | build aside, sync, rename, move `current` |
//! | [`mod@file`] | one file: written or linked, with mode, time and compressed sibling |
//! | [`gzip`] | compressed siblings, in blocks |
//! | [`prune`] | retention by time and size; left-overs |
//! | [`compare`] | two versions → what came and went |
//! | [`history`] | in which versions a value entered a list and left it |
//! | [`export`] | a copy of a version elsewhere |
//! | [`expected`] | what the files of a version should be, and how one can be wrong |
//! | [`verify`] | is every file what its manifest says |
//! | [`heal`] | files that are not are put right |
//!
//! Invariants: a version never changes once it has its name, but for files that are made again what its manifest says;
//! `current` moves in one rename; nothing that fails half-way is visible.

pub mod compare;
pub mod expected;
pub mod export;
pub mod file;
pub mod gzip;
pub mod heal;
pub mod history;
pub mod layout;
pub mod manifest;
pub mod prune;
pub mod verify;
pub mod write;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use prune::{remove_view, versions};

/// How long versions are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// Every version this young stays.
    pub all: Duration,
    /// Up to this age one per hour stays.
    pub hourly: Duration,
    /// Up to this age one per day stays.
    pub daily: Duration,
    /// Bytes all versions of a view may hold; the oldest go first.
    pub max_disk: u64,
}

/// A version as `versions list` shows it.
#[derive(Clone, Debug)]
pub struct VersionInfo {
    /// Its number.
    pub number: u64,
    /// What it holds.
    pub manifest: manifest::Manifest,
    /// Bytes that only this version holds.
    pub disk: u64,
}

/// Why a version could not be written or read. What is served stays.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The system said no.
    #[error("{path}: {cause}")]
    Io {
        /// File or folder.
        path: String,
        /// What the system says.
        cause: io::Error,
    },
    /// A file whose bytes are not those the manifest names.
    #[error("{path}: damaged: its hash is not the one in the manifest; `cratos versions verify` mends what it can")]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// A manifest that is not one.
    #[error("{path}: {cause}")]
    Manifest {
        /// The file.
        path: PathBuf,
        /// What the parser says.
        cause: String,
    },
    /// A body that its format cannot read back.
    #[error("{path}: no list of its format")]
    NoList {
        /// The file.
        path: PathBuf,
    },
}

impl SnapshotError {
    pub(crate) fn io(path: &Path, cause: io::Error) -> Self {
        Self::Io { path: path.display().to_string(), cause }
    }

    /// What is wrong, without the path.
    pub(crate) fn cause(&self) -> String {
        match self {
            Self::Io { cause, .. } => cause.to_string(),
            Self::Manifest { cause, .. } => cause.clone(),
            Self::Damaged { .. } => "damaged".to_owned(),
            Self::NoList { .. } => "no list of its format".to_owned(),
        }
    }
}
