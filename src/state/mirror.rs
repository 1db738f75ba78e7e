//! The file of a view's mirror; its form is `index/encoding.rs`'s.
//!
//! In: what writes the form. Out: its bytes, or a file that is whole.
//!
//! Invariants: a mirror is written aside and renamed, or something is appended to a file of known length and end; either is on disk
//! when this returns. If appending ends half-way, what was written is taken back, or nothing is ever appended behind it.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use super::{StateError, ViewState, io_error};

impl ViewState {
    /// The mirror's file.
    pub fn mirror_path(&self) -> PathBuf {
        self.folder.join(format!("{}.mirror", self.name))
    }

    /// The mirror's bytes, if there are any.
    pub fn mirror(&self) -> Result<Option<Vec<u8>>, StateError> {
        let path = self.mirror_path();
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(cause) => Err(io_error(&path, cause)),
        }
    }

    /// Keeps the mirror: `encode` writes it. Returns what that returns, and how many bytes there are.
    pub fn keep_mirror<T: Default>(
        &self,
        encode: impl FnOnce(&mut dyn Write) -> io::Result<T>,
    ) -> Result<(T, u64), StateError> {
        let (path, mut made) = (self.mirror_path(), T::default());
        self.write(&path, |out| {
            made = encode(out)?;
            Ok(())
        })?;
        let length = fs::metadata(&path).map_err(|cause| io_error(&path, cause))?.len();
        Ok((made, length))
    }

    /// Appends to the mirror's file, if it has so many bytes and ends with that name. `false`: it does not, nothing was done.
    pub fn append_mirror(&self, (length, name): (u64, &[u8; 32]), bytes: &[u8]) -> Result<bool, StateError> {
        let path = self.mirror_path();
        let attempt = || -> io::Result<bool> {
            let mut file = match OpenOptions::new().read(true).append(true).open(&path) {
                Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(false),
                opened => opened?,
            };
            let mut end = [0; 32];
            let is_known = file.metadata()?.len() == length && {
                file.read_exact_at(&mut end, length.saturating_sub(32))?;
                end == *name
            };
            if !is_known {
                return Ok(false);
            }
            file.write_all(bytes).and_then(|()| file.sync_all()).inspect_err(|_| {
                // The disk is full, most likely. Err: then the rest stays, which the next reader leaves out.
                let _ = file.set_len(length);
            })?;
            Ok(true)
        };
        attempt().map_err(|cause| io_error(&path, cause))
    }
}
