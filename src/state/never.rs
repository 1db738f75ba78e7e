//! Warninglists that a view's `never_publish` names, as they were last fetched: `state/<site>/<view>.never.json`.
//!
//! In: lists. Out: the same after a restart. Invariant: a damaged file is put aside; the lists are then fetched anew.

use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{StateError, ViewState};

/// All that are kept of a view.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptLists {
    /// Names whose view of which server they are of.
    pub source: String,
    /// The lists.
    pub lists: Vec<KeptList>,
}

/// One list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptList {
    /// MISP's name of it.
    pub name: String,
    /// MISP's word for how it matches.
    pub matching: String,
    /// The MISP types it is about, or `ALL`.
    pub types: Vec<String>,
    /// Unix seconds.
    pub fetched_at: i64,
    /// Its entries.
    pub values: Vec<String>,
}

impl ViewState {
    pub(super) fn never_path(&self) -> PathBuf {
        self.folder.join(format!("{}.never.json", self.name))
    }

    /// The lists as they are kept; none if there are none or they are damaged.
    pub fn never_lists(&self) -> Result<KeptLists, StateError> {
        self.read(&self.never_path())
    }

    /// Keeps the lists instead of those before.
    pub fn keep_never_lists(&self, kept: &KeptLists) -> Result<(), StateError> {
        self.write(&self.never_path(), |out| serde_json::to_writer(out, kept).map_err(io::Error::from))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::ViewId;

    #[test]
    fn lists_are_kept_and_go_with_the_view() {
        let dir = tempfile::tempdir().unwrap();
        let state = ViewState::open(dir.path(), &ViewId::main("a.example").unwrap()).unwrap();
        assert_eq!(state.never_lists().unwrap(), KeptLists::default());
        let list = KeptList { name: "one".into(), values: vec!["a".into()], ..KeptList::default() };
        let kept = KeptLists { source: "x".into(), lists: vec![list] };
        state.keep_never_lists(&kept).unwrap();
        assert_eq!(state.never_lists().unwrap(), kept);
        state.remove().unwrap();
        assert_eq!(state.never_lists().unwrap(), KeptLists::default());
    }
}
