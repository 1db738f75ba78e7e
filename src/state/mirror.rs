//! The file of a view's mirror; its form is `index/encoding.rs`'s.
//!
//! In: what writes the form. Out: its bytes, or a file that is whole.
//!
//! Invariants: a mirror is written aside and renamed, or something is appended to a file of known length; either is on disk when
//! this returns. If appending ends half-way the length is not the known one any more, and nothing is ever appended behind it.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
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

    /// Appends to the mirror's file of `length` bytes. `false`: it is not that long, nothing was done.
    pub fn append_mirror(&self, length: u64, bytes: &[u8]) -> Result<bool, StateError> {
        let path = self.mirror_path();
        let attempt = || -> io::Result<bool> {
            let mut file = match OpenOptions::new().append(true).open(&path) {
                Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(false),
                opened => opened?,
            };
            if file.metadata()?.len() != length {
                return Ok(false);
            }
            file.write_all(bytes)?;
            file.sync_all()?;
            Ok(true)
        };
        attempt().map_err(|cause| io_error(&path, cause))
    }
}
