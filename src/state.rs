//! Files below `state_dir`: what must survive a restart and nobody else may read.
//!
//! ```text
//! state/                                  0700
//! ├── lock                                flock(2): one process per folder; holds the pid
//! └── misp.example.net/
//!     ├── keys.json                       learned keys, sealed (keys.rs)
//!     ├── site.sealed                     the last site file that checked, sealed (site_file.rs)
//!     ├── main.mirror                     everything known of the view (mirror.rs, index/encoding.rs)
//!     ├── main.contact.json               what its MISP said the last time (contact.rs)
//!     ├── main.never.json                 warninglists that never_publish names (never.rs)
//!     ├── main.json                       counters: highest version number, lineage, last refresh, times of lists on demand
//!     └── user-7.mirror, user-7.json …    the same of a learned view
//! ```
//!
//! Invariants: a file is written aside, synced and renamed, mode 0600, but for a mirror, which is added to; a file that cannot be
//! read back is put aside as `*.damaged` and what it held is made anew.
#![allow(clippy::disallowed_methods, reason = "the one place that writes below state_dir")]

pub mod keys;
pub mod mirror;
pub mod never;
pub mod site_file;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, BufWriter, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::contact::Contact;
use crate::view::ViewId;

/// Why a state file could not be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Another process has the lock.
    #[error("another cratos works in {folder} (pid {pid}): stop it first, or let it do the work")]
    Busy {
        /// The state folder.
        folder: String,
        /// As written in the lock file.
        pid: String,
    },
    /// The system said no.
    #[error("{path}: {cause}")]
    Io {
        /// The file.
        path: String,
        /// What the system says.
        cause: io::Error,
    },
}

pub(crate) fn io_error(path: &Path, cause: io::Error) -> StateError {
    StateError::Io { path: path.display().to_string(), cause }
}

/// Held by the one process that works in the folder.
#[derive(Debug)]
pub struct Lock(#[allow(dead_code, reason = "the lock is the open file")] File);

impl Lock {
    /// Takes the lock, creating the folder if need be.
    pub fn take(state_dir: &Path) -> Result<Self, StateError> {
        create_private_dir(state_dir)?;
        let path = state_dir.join("lock");
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(|cause| io_error(&path, cause))?;
        if rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            let mut pid = String::new();
            // A pid that cannot be read is only missing from the text.
            let _ = (&mut file).take(20).read_to_string(&mut pid);
            return Err(StateError::Busy { folder: state_dir.display().to_string(), pid: pid.trim().into() });
        }
        let write = |file: &mut File| -> io::Result<()> {
            file.set_len(0)?;
            file.rewind()?;
            write!(file, "{}", std::process::id())
        };
        write(&mut file).map_err(|cause| io_error(&path, cause))?;
        Ok(Self(file))
    }
}

fn create_private_dir(path: &Path) -> Result<(), StateError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|cause| io_error(path, cause))
}

/// One list on demand and when it was last asked for (Unix seconds).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OnDemand {
    /// Feed (or `org/` and the UUID of an organisation), data type, age, format.
    pub list: [String; 4],
    /// Unix seconds.
    pub last_asked: i64,
}

/// Something that is not published until it is confirmed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// Unix seconds of the refresh that found it.
    pub since: i64,
    /// For people: what is held and why.
    pub text: String,
}

/// What the lists of the served version were compared with. While nothing of it changes there is nothing to render.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Compared {
    /// Hex hash of the mirror.
    pub mirror: String,
    /// The served version.
    pub version: u64,
    /// The program that rendered.
    pub program: String,
    /// Number of lists, ages and formats counted.
    pub lists: u64,
    /// Age → where its window began, and the oldest attribute that counts in any list of the age; both in Unix seconds.
    pub windows: BTreeMap<String, (i64, i64)>,
    /// When the next attribute stops counting as published by `unpublish_grace`, in Unix seconds.
    pub grace_ends: Option<i64>,
    /// Names what else decided: `never_publish` and other settings.
    pub decides: String,
}

/// How many entries a list has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// The age they are counted at.
    pub age: String,
    /// As published.
    pub entries: u64,
}

/// What is beyond the limits of `guard`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Guarded {
    /// Unix seconds of the refresh that found it.
    pub since: i64,
    /// Full pulls in a row that found the same lists.
    pub agreed: u32,
    /// What the last full pull found.
    pub found: BTreeSet<String>,
    /// Somebody said that it must not be served.
    pub rejected: bool,
}

/// A version that is written but not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// Its number.
    pub version: u64,
    /// It was served before; it belongs to the history and stays there.
    pub was_served: bool,
}

/// Somebody wants an older version back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// The version whose content is served.
    pub content: u64,
    /// The version that was made of it.
    pub version: u64,
    /// Unix seconds.
    pub since: i64,
}

/// What is counted of a view.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counters {
    /// Highest version number ever given; written before the version is.
    pub highest: u64,
    /// Names whose view of which server is served.
    pub owner: String,
    /// Names the history; made once.
    pub lineage: String,
    /// Unix seconds of the last refresh that succeeded.
    pub last_success: Option<i64>,
    /// Unix seconds of the last full pull that succeeded.
    pub last_full: Option<i64>,
    /// Hex hash of the mirror file that belongs to the last success.
    pub mirror: String,
    /// Names what was never published when the served version was last freed of it.
    pub purged: String,
    /// What the served version was compared with.
    pub compared: Compared,
    /// Lists on demand.
    pub on_demand: Vec<OnDemand>,
    /// Events whose clock may not show their next change.
    pub unsettled: Vec<Uuid>,
    /// Rows with the false-positive tag at the last pull.
    pub false_positives: u64,
    /// Configured tags that existed at the last full pull.
    pub tags: Vec<String>,
    /// Names the enabled warninglists of the last pull.
    pub warninglists: Option<String>,
    /// The last full pull found rows on warninglists that carry no warnings.
    pub hits_missing: bool,
    /// Address and organisation of the user at the last full pull.
    pub user: (String, String),
    /// Version of the MISP at the last full pull.
    pub server_version: Option<String>,
    /// Memory limit of the key's role at the last full pull, in megabytes.
    pub memory_mb: Option<u64>,
    /// Feed → indicators of any age when it was last published.
    pub feeds: BTreeMap<String, u64>,
    /// Attributes of the mirror when it was last taken over.
    pub rows: u64,
    /// Whether these were all attributes, not only those with a feed's tag.
    pub all_rows: bool,
    /// What is not published until it is confirmed.
    pub holds: BTreeMap<String, Hold>,
    /// What is beyond the limits of `guard`.
    pub guarded: Option<Guarded>,
    /// A version that is written but not served.
    pub candidate: Option<Candidate>,
    /// Nothing newer is served while there is one.
    pub pin: Option<Pin>,
    /// `feed/type` → entries before time went by without the source; empty while it can be asked.
    pub base: BTreeMap<String, Counted>,
    /// Members of newer programs, kept as they are.
    #[serde(flatten)]
    pub other: BTreeMap<String, serde_json::Value>,
}

/// The state files of one view.
#[derive(Clone, Debug)]
pub struct ViewState {
    folder: PathBuf,
    name: String,
}

impl ViewState {
    /// Creates the site's folder if need be.
    pub fn open(state_dir: &Path, view: &ViewId) -> Result<Self, StateError> {
        let folder = state_dir.join(view.site());
        create_private_dir(&folder)?;
        Ok(Self { folder, name: view.name().to_owned() })
    }

    fn counters_path(&self) -> PathBuf {
        self.folder.join(format!("{}.json", self.name))
    }

    /// The counters; new ones if there are none or they are damaged.
    pub fn counters(&self) -> Result<Counters, StateError> {
        self.read(&self.counters_path())
    }

    /// Keeps the counters.
    pub fn keep_counters(&self, counters: &Counters) -> Result<(), StateError> {
        let path = self.counters_path();
        self.write(&path, |out| serde_json::to_writer_pretty(out, counters).map_err(io::Error::from))
    }

    fn contact_path(&self) -> PathBuf {
        self.folder.join(format!("{}.contact.json", self.name))
    }

    /// What the view's MISP said the last time; nothing if that is not known or damaged.
    pub fn contact(&self) -> Result<Contact, StateError> {
        self.read(&self.contact_path())
    }

    /// Keeps what the view's MISP said.
    pub fn keep_contact(&self, contact: &Contact) -> Result<(), StateError> {
        let path = self.contact_path();
        self.write(&path, |out| serde_json::to_writer_pretty(out, contact).map_err(io::Error::from))
    }

    /// Puts a damaged file aside for whoever wants to look at it.
    pub fn put_aside(&self, path: &Path) -> Result<(), StateError> {
        put_aside(path)
    }

    /// Removes all files of the view.
    pub fn remove(&self) -> Result<(), StateError> {
        for path in [self.mirror_path(), self.counters_path(), self.contact_path(), self.never_path()] {
            match fs::remove_file(&path) {
                Err(cause) if cause.kind() != io::ErrorKind::NotFound => return Err(io_error(&path, cause)),
                _ => {}
            }
        }
        self.remove_leftovers()
    }

    /// Removes what a killed process left half-written.
    pub fn remove_leftovers(&self) -> Result<(), StateError> {
        let entries = fs::read_dir(&self.folder).map_err(|cause| io_error(&self.folder, cause))?;
        for entry in entries.flatten() {
            if entry.file_name().to_string_lossy().starts_with(&format!(".{}.", self.name)) {
                fs::remove_file(entry.path()).map_err(|cause| io_error(&entry.path(), cause))?;
            }
        }
        Ok(())
    }

    /// What a JSON file holds; nothing if there is none, or if it is damaged and put aside.
    fn read<T: Default + DeserializeOwned>(&self, path: &Path) -> Result<T, StateError> {
        match fs::read(path) {
            Ok(bytes) => match serde_json::from_slice(&bytes) {
                Ok(value) => Ok(value),
                Err(_) => self.put_aside(path).map(|()| T::default()),
            },
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(T::default()),
            Err(cause) => Err(io_error(path, cause)),
        }
    }

    fn write(&self, path: &Path, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), StateError> {
        write(&self.folder, path, &format!(".{}.", self.name), fill)
    }
}

fn put_aside(path: &Path) -> Result<(), StateError> {
    tracing::warn!(file = %path.display(), "damaged state file put aside; what it held is made anew");
    let mut aside = path.as_os_str().to_owned();
    aside.push(".damaged");
    fs::rename(path, aside).map_err(|cause| io_error(path, cause))
}

/// Writes a file of `folder` aside and renames it. What a killed process leaves begins with `prefix`.
fn write(
    folder: &Path,
    path: &Path,
    prefix: &str,
    fill: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<(), StateError> {
    let attempt = || -> io::Result<()> {
        let mut file =
            tempfile::Builder::new().prefix(prefix).permissions(Permissions::from_mode(0o600)).tempfile_in(folder)?;
        let mut out = BufWriter::with_capacity(1 << 20, file.as_file_mut());
        fill(&mut out)?;
        out.flush()?;
        drop(out);
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        File::open(folder)?.sync_all()
    };
    attempt().map_err(|cause| io_error(path, cause))
}
