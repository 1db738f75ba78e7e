//! The last site file that checked, on disk: `state/<site>/site.sealed`.
//!
//! In: sealed bytes. Out: the same after a restart. Invariants: a site file may hold a key, so its text is sealed before it gets
//! here; the file is written as all others below `state_dir`; more than `MAX` bytes are never read.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::{StateError, io_error};

const FILE: &str = "site.sealed";
/// A site file has at most a megabyte; sealing adds a few bytes.
const MAX: u64 = (1 << 20) + 1024;

fn path(state_dir: &Path, site: &str) -> PathBuf {
    state_dir.join(site).join(FILE)
}

/// The sealed file of a site; `None`: there is none.
pub fn read(state_dir: &Path, site: &str) -> Result<Option<Vec<u8>>, StateError> {
    let path = path(state_dir, site);
    let mut bytes = Vec::new();
    match File::open(&path).and_then(|file| file.take(MAX).read_to_end(&mut bytes)) {
        Ok(_) => Ok(Some(bytes)),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(io_error(&path, cause)),
    }
}

/// Keeps it instead of the one before.
pub fn keep(state_dir: &Path, site: &str, sealed: &[u8]) -> Result<(), StateError> {
    let folder = state_dir.join(site);
    super::create_private_dir(&folder)?;
    super::write(&folder, &folder.join(FILE), ".site.", |out| out.write_all(sealed))
}

/// Forgets it; nothing happens if there is none.
pub fn forget(state_dir: &Path, site: &str) -> Result<(), StateError> {
    let path = path(state_dir, site);
    match fs::remove_file(&path) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => Err(io_error(&path, cause)),
        _ => Ok(()),
    }
}

/// The sites of which one is kept.
pub fn sites(state_dir: &Path) -> Vec<String> {
    // Err: there is no folder yet, so nothing is kept.
    let entries = fs::read_dir(state_dir).into_iter().flatten().flatten();
    let names = entries.filter(|entry| entry.path().join(FILE).exists());
    names.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_one_is_kept_until_it_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(dir.path(), "a.example").unwrap(), None);
        keep(dir.path(), "a.example", b"one").unwrap();
        keep(dir.path(), "a.example", b"two").unwrap();
        assert_eq!(read(dir.path(), "a.example").unwrap().as_deref(), Some(&b"two"[..]));
        assert_eq!(sites(dir.path()), ["a.example"]);
        forget(dir.path(), "a.example").unwrap();
        forget(dir.path(), "a.example").unwrap();
        assert_eq!((read(dir.path(), "a.example").unwrap(), sites(dir.path()).len()), (None, 0));
    }
}
