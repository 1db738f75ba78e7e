//! A version → a copy of it in a folder elsewhere. In: an opened version and a new or empty folder. Out: the same files with
//! the same names, bytes, modes and times.
//!
//! Invariants: the version is only read; what was put aside as damaged is left out; every copy is read back and compared with
//! the manifest, so a damaged version is never handed on unsaid.

use std::fs;
use std::path::Path;

use super::expected::{Fault, expected};
use super::manifest::Opened;
use super::verify::Survey;
use super::{SnapshotError, file, layout};

/// What was copied.
#[derive(Clone, Debug, Default)]
pub struct Exported {
    /// Files.
    pub files: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// Files that are not what the manifest says, and why.
    pub damaged: Vec<(String, Fault)>,
}

/// Copies a version to `to`, which is created if need be.
pub fn export(opened: &Opened, to: &Path) -> Result<Exported, SnapshotError> {
    let mut out = Exported::default();
    copy(&opened.dir, to, &mut out)?;
    let mut survey = Survey::default();
    for wanted in expected(&opened.manifest).into_iter().filter(|wanted| layout::is_inside(&wanted.path)) {
        if let Some(fault) = survey.fault(&to.join(&wanted.path), &wanted) {
            out.damaged.push((wanted.path, fault));
        }
    }
    Ok(out)
}

fn copy(from: &Path, to: &Path, out: &mut Exported) -> Result<(), SnapshotError> {
    file::create_dir(to)?;
    for entry in fs::read_dir(from).map_err(|cause| SnapshotError::io(from, cause))? {
        let entry = entry.map_err(|cause| SnapshotError::io(from, cause))?;
        let (path, name) = (entry.path(), entry.file_name());
        let kind = entry.file_type().map_err(|cause| SnapshotError::io(&path, cause))?;
        if name.to_string_lossy().starts_with('.') {
            continue;
        } else if kind.is_dir() {
            copy(&path, &to.join(name), out)?;
        } else if kind.is_file() {
            let copied = to.join(name);
            file::copy(&path, &copied)?;
            out.files += 1;
            out.bytes += fs::metadata(&copied).map_err(|cause| SnapshotError::io(&copied, cause))?.len();
        }
    }
    file::sync_dir(to)
}
