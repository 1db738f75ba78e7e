//! Values over time. In: the versions of a view, oldest first, and how the value is written in a list. Out: per list, in which
//! versions it entered and left.
//!
//! Invariants: one version is open at a time; a body is read once, however many versions share it.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use super::compare::{self, Body};
use super::manifest::{self, Opened};
use super::{SnapshotError, layout};

/// A version in which something changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Its number.
    pub version: u64,
    /// Unix seconds.
    pub created_at: i64,
    /// The value entered the list; otherwise it left.
    pub entered: bool,
}

/// What was found.
#[derive(Debug, Default)]
pub struct History {
    /// List → its steps, first an entering one, then in turn.
    pub lists: BTreeMap<String, Vec<Step>>,
    /// Versions that were looked at.
    pub versions: u64,
    /// Versions that could not be read, and why.
    pub unreadable: Vec<(u64, SnapshotError)>,
}

/// Follows a value through these versions. `written`: data type → the value as it stands in such a list.
pub fn history(view_dir: &Path, numbers: &[u64], ages: &[&str], written: &BTreeMap<&str, String>) -> History {
    let mut out = History::default();
    let mut known = HashMap::new();
    for number in numbers {
        let dir = layout::version_dir(view_dir, *number);
        let looked = manifest::open_listed(&dir).and_then(|opened| {
            let Some(opened) = opened else { return Ok(None) };
            let in_lists = look(&opened, ages, written, &mut known)?;
            Ok(Some((opened.manifest.created_at, in_lists)))
        });
        match looked {
            Ok(Some((created_at, in_lists))) => {
                out.versions += 1;
                note(&mut out.lists, &in_lists, *number, created_at);
            }
            Ok(None) => {}
            Err(error) => out.unreadable.push((*number, error)),
        }
    }
    out
}

/// In which lists of a version the value is. `known`: data type and hash of a body → whether it is in there.
fn look(
    opened: &Opened,
    ages: &[&str],
    written: &BTreeMap<&str, String>,
    known: &mut HashMap<(String, String), bool>,
) -> Result<Vec<String>, SnapshotError> {
    let mut found = Vec::new();
    for (list, bodies) in compare::bodies(&opened.manifest, ages) {
        let data_type = list.rsplit_once('/').map_or(list, |(_, data_type)| data_type);
        let (Some(value), Some(body)) = (written.get(data_type), compare::largest(&bodies)) else { continue };
        let about = (data_type.to_owned(), body.artifact.sha256.clone());
        let is_in = match known.get(&about) {
            Some(is_in) => *is_in,
            None => {
                let is_in = holds(&body, opened, value)?;
                known.insert(about, is_in);
                is_in
            }
        };
        if is_in {
            found.push(list.to_owned());
        }
    }
    Ok(found)
}

fn holds(body: &Body<'_>, opened: &Opened, value: &str) -> Result<bool, SnapshotError> {
    Ok(body.values(opened)?.binary_search_by(|other| other.as_str().cmp(value)).is_ok())
}

fn note(lists: &mut BTreeMap<String, Vec<Step>>, in_lists: &[String], version: u64, created_at: i64) {
    for (list, steps) in lists.iter_mut() {
        if steps.last().is_some_and(|last| last.entered) && !in_lists.contains(list) {
            steps.push(Step { version, created_at, entered: false });
        }
    }
    for list in in_lists {
        let steps = lists.entry(list.clone()).or_default();
        if steps.last().is_none_or(|last| !last.entered) {
            steps.push(Step { version, created_at, entered: true });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_entering_and_leaving_in_turn() {
        let mut lists = BTreeMap::new();
        for (version, is_in) in [(1, false), (2, true), (3, true), (5, false), (6, false), (7, true)] {
            let in_lists: &[String] = if is_in { &["block/ipv4".to_owned()] } else { &[] };
            note(&mut lists, in_lists, version, 0);
        }
        let steps: Vec<(u64, bool)> = lists["block/ipv4"].iter().map(|step| (step.version, step.entered)).collect();
        assert_eq!(steps, [(2, true), (5, false), (7, true)]);
    }
}
