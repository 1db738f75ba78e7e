//! The mirror of a view, in memory and in its file.
//!
//! In: a mirror that a pull brought. Out: the same, kept; or the last one that was.
//!
//! Invariants: what is in memory is what the file holds; what changed little is appended, and the file is written whole before its
//! additions are half as long as the rest; a file whose last addition is no good is used only if nobody relied on it.

use std::sync::Arc;

use super::{Inner, StageError, lock};
use crate::index::decoding::Decoded;
use crate::index::mirror::Mirror;
use crate::snapshot::write::hex;
use crate::state::io_error;

/// A mirror and what is to be known of its file.
pub(super) struct Kept {
    pub(super) mirror: Mirror,
    /// Names it, in hex.
    pub(super) hash: String,
    on_disk: OnDisk,
}

/// A file that holds a mirror.
struct OnDisk {
    name: [u8; 32],
    /// Bytes without the additions.
    whole: u64,
    /// All bytes.
    length: u64,
}

impl Kept {
    fn new(mirror: Mirror, on_disk: OnDisk) -> Self {
        Self { mirror, hash: hex(&on_disk.name), on_disk }
    }
}

impl Inner {
    /// The mirror, from memory or from its file; `None` if there is none for the present rules and source.
    pub(super) fn mirror(&self) -> Result<Option<Arc<Kept>>, StageError> {
        let mut known = lock(&self.known);
        if known.is_none()
            && let Some(bytes) = self.state.mirror()?
        {
            match Mirror::decode(&bytes) {
                Ok(decoded) if decoded.mirror.fingerprint() != self.fingerprint() => {
                    tracing::info!(view = %self.site.view, "rules or source changed: everything is read again");
                }
                Ok(decoded) if !decoded.is_cut || self.relies_on(&decoded)? => {
                    let Decoded { mirror, hash: name, whole, length, .. } = decoded;
                    *known = Some(Arc::new(Kept::new(mirror, OnDisk { name, whole, length })));
                }
                _ => self.state.put_aside(&self.state.mirror_path())?,
            }
        }
        Ok(known.clone())
    }

    /// Whether what was noted belongs to a mirror that is there: what was noted of the pull whose addition is lost would be
    /// believed of the mirror before it.
    fn relies_on(&self, decoded: &Decoded) -> Result<bool, StageError> {
        let noted = self.state.counters()?.mirror;
        Ok(decoded.was.iter().chain([&decoded.hash]).any(|name| hex(name) == noted))
    }

    /// Keeps a mirror, which differs from the one before.
    pub(super) fn keep_mirror(&self, mirror: Mirror) -> Result<Arc<Kept>, StageError> {
        let on_disk = match self.append(&mirror)? {
            Some(on_disk) => on_disk,
            None => {
                let (name, length) = self.state.keep_mirror(|out| mirror.encode(out))?;
                OnDisk { name, whole: length, length }
            }
        };
        let kept = Arc::new(Kept::new(mirror, on_disk));
        *lock(&self.known) = Some(Arc::clone(&kept));
        Ok(kept)
    }

    /// Appends what changed to the file, if that is little.
    fn append(&self, mirror: &Mirror) -> Result<Option<OnDisk>, StageError> {
        let Some(before) = self.mirror()? else { return Ok(None) };
        let OnDisk { name: before_name, whole, length } = &before.on_disk;
        let addition = mirror.addition(&before.mirror, before_name);
        let Some((bytes, name)) = addition.map_err(|cause| io_error(&self.state.mirror_path(), cause))? else {
            return Ok(None);
        };
        let longer = length + bytes.len() as u64;
        if (longer - whole) * 2 > *whole || !self.state.append_mirror((*length, before_name), &bytes)? {
            return Ok(None);
        }
        Ok(Some(OnDisk { name, whole: *whole, length: longer }))
    }
}
