//! The learned keys of a site, on disk: `state/<site>/keys.json`.
//!
//! In: records. Out: the same after a restart. Invariants: a key is sealed before it gets here; the file is written as all
//! others below `state_dir`; one that cannot be read back is put aside.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{StateError, io_error};

const FILE: &str = "keys.json";

/// One learned key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct KeyRecord {
    /// First eight hex digits of the key's SHA-256: names it in tables and logs.
    pub id: String,
    /// Name of the view it opens.
    pub view: String,
    /// Number of the MISP user.
    pub user: String,
    /// The user's address at the MISP.
    pub login: String,
    /// The user's organisation.
    pub organisation: String,
    /// Where it was proven.
    pub url: String,
    /// The key, sealed for site and view; base64.
    pub sealed: String,
    /// Unix seconds of the first proof.
    pub learned_at: i64,
    /// Unix seconds of the last proof.
    pub proven_at: i64,
    /// Unix seconds of the last poll of the view.
    pub polled_at: i64,
    /// Refusals since the last proof.
    pub refusals: u32,
    /// Unix seconds of the first of them.
    pub refused_since: Option<i64>,
    /// Unix seconds since when the key opens nothing any more.
    pub ended_at: Option<i64>,
}

/// The file of one site.
#[derive(Clone, Debug)]
pub struct SiteKeys {
    folder: PathBuf,
}

impl SiteKeys {
    /// Creates nothing.
    pub fn new(state_dir: &Path, site: &str) -> Self {
        Self { folder: state_dir.join(site) }
    }

    /// The records; none if there is no file or it is damaged.
    pub fn read(&self) -> Result<Vec<KeyRecord>, StateError> {
        let path = self.folder.join(FILE);
        match fs::read(&path) {
            Ok(bytes) => match serde_json::from_slice(&bytes) {
                Ok(records) => Ok(records),
                Err(_) => super::put_aside(&path).map(|()| Vec::new()),
            },
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(cause) => Err(io_error(&path, cause)),
        }
    }

    /// Keeps the records.
    pub fn keep(&self, records: &[KeyRecord]) -> Result<(), StateError> {
        super::create_private_dir(&self.folder)?;
        super::write(&self.folder, &self.folder.join(FILE), ".keys.", |out| {
            serde_json::to_writer_pretty(out, records).map_err(io::Error::from)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_and_damage_is_put_aside() {
        let dir = tempfile::tempdir().unwrap();
        let keys = SiteKeys::new(dir.path(), "a.example");
        assert_eq!(keys.read().unwrap(), []);
        let record =
            KeyRecord { id: "0a1b2c3d".into(), view: "user-7".into(), ended_at: Some(5), ..KeyRecord::default() };
        keys.keep(std::slice::from_ref(&record)).unwrap();
        assert_eq!(keys.read().unwrap(), [record]);
        std::os::unix::fs::symlink("/nowhere", dir.path().join("a.example").join("other")).unwrap();
        let file = fs::OpenOptions::new().write(true).open(dir.path().join("a.example").join(FILE)).unwrap();
        file.set_len(5).unwrap();
        assert_eq!(keys.read().unwrap(), []);
        assert!(dir.path().join("a.example/keys.json.damaged").exists());
    }
}
