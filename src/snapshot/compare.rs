//! Two versions → what came into each list and what went. In: opened versions, and the names of all ages, shortest first.
//! Out: one [`Difference`] per list that differs.
//!
//! One body stands for a list: that of its largest age, as the counts of a manifest are. Invariants: bodies with the same
//! hash are not read; a body that is not what its manifest says is never compared; one list at a time is in memory.

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BTreeSet};

use super::manifest::{Artifact, Manifest, Opened};
use super::{SnapshotError, layout};
use crate::render::{FORMATS, Rendered};

/// What a list gained and lost, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Values that came.
    pub added: Vec<String>,
    /// Values that went.
    pub removed: Vec<String>,
}

/// One body of a list.
#[derive(Clone, Copy, Debug)]
pub struct Body<'a> {
    /// Where it is, and its hash.
    pub artifact: &'a Artifact,
    age: usize,
    format: usize,
}

impl Body<'_> {
    /// Its values in order. Read whole: a list has at most some millions of lines.
    pub fn values(&self, opened: &Opened) -> Result<Vec<String>, SnapshotError> {
        if self.artifact.entries == 0 {
            return Ok(Vec::new());
        }
        let bytes = opened.read(self.artifact)?;
        let values = (FORMATS[self.format].values)(&bytes);
        let path = || opened.dir.join(&self.artifact.path);
        let mut values = values.ok_or_else(|| SnapshotError::NoList { path: path() })?;
        values.sort_unstable();
        Ok(values)
    }
}

/// List → every body of it.
pub fn bodies<'a>(manifest: &'a Manifest, ages: &[&str]) -> BTreeMap<&'a str, Vec<Body<'a>>> {
    let mut lists: BTreeMap<&str, Vec<Body<'_>>> = BTreeMap::new();
    for (key, artifact) in &manifest.artifacts {
        let Some(named) = layout::named(key) else { continue };
        let age = ages.iter().position(|age| *age == named.age);
        let format = FORMATS.iter().position(|format| format.extension == named.extension);
        if let (Some(age), Some(format)) = (age, format) {
            lists.entry(layout::list_of(key)).or_default().push(Body { artifact, age, format });
        }
    }
    lists
}

/// The body that stands for a list: its largest age, there the format that stands first; one that is always published if
/// there is one, because a list on demand comes and goes.
pub fn largest<'a>(bodies: &[Body<'a>]) -> Option<Body<'a>> {
    bodies.iter().min_by_key(|body| (body.artifact.on_demand, Reverse(body.age), body.format)).copied()
}

/// The bodies that stand for a list in two versions: of the same age if they have one in common.
fn pair<'a>(from: &[Body<'a>], to: &[Body<'a>]) -> (Option<Body<'a>>, Option<Body<'a>>) {
    let shared = |bodies: &[Body<'a>], others: &[Body<'a>]| -> Vec<Body<'a>> {
        bodies.iter().filter(|body| others.iter().any(|other| other.age == body.age)).copied().collect()
    };
    let Some(first) = largest(&shared(from, to)) else { return (largest(from), largest(to)) };
    let same_age: Vec<Body<'a>> = to.iter().filter(|body| body.age == first.age).copied().collect();
    let same_format = same_age.iter().find(|body| body.format == first.format).copied();
    (Some(first), same_format.or_else(|| largest(&same_age)))
}

/// Shows every list that differs to `each`, in the order of their names.
pub fn compare<E: From<SnapshotError>>(
    from: &Opened,
    to: &Opened,
    ages: &[&str],
    mut each: impl FnMut(&str, Difference) -> Result<(), E>,
) -> Result<(), E> {
    let (before, after) = (bodies(&from.manifest, ages), bodies(&to.manifest, ages));
    let names: BTreeSet<&str> = before.keys().chain(after.keys()).copied().collect();
    for name in names {
        let (old, new) = (before.get(name), after.get(name));
        let (old, new) = pair(old.map_or(&[], Vec::as_slice), new.map_or(&[], Vec::as_slice));
        if let (Some(old), Some(new)) = (old, new)
            && old.artifact.sha256 == new.artifact.sha256
        {
            continue;
        }
        let read = |body: Option<Body<'_>>, opened: &Opened| body.map_or(Ok(Vec::new()), |body| body.values(opened));
        let difference = difference(read(old, from)?, read(new, to)?);
        if difference != Difference::default() {
            each(name, difference)?;
        }
    }
    Ok(())
}

/// Both sides sorted.
fn difference(old: Vec<String>, new: Vec<String>) -> Difference {
    let mut out = Difference::default();
    merge(old, new, |value| out.removed.push(value), |value| out.added.push(value));
    out
}

/// How many values came and how many went from an older body to this one of the same format; `None`: one of them is none.
pub(super) fn came_and_went(old: &[u8], list: &Rendered) -> Option<(u64, u64)> {
    let (format, new) = (list.format, &list.body.bytes);
    match format.lines {
        Some(lines) => Some(counted(lines(old)?, lines(new)?)),
        None => Some(counted((format.values)(old)?, (format.values)(new)?)),
    }
}

/// Bodies have their values sorted already, which sorting again notices at once.
fn counted<T: Ord>(mut old: Vec<T>, mut new: Vec<T>) -> (u64, u64) {
    old.sort_unstable();
    new.sort_unstable();
    let (mut added, mut removed) = (0, 0);
    merge(old, new, |_| removed += 1, |_| added += 1);
    (added, removed)
}

/// Both sides sorted.
fn merge<T: Ord>(old: Vec<T>, new: Vec<T>, mut gone: impl FnMut(T), mut come: impl FnMut(T)) {
    let (mut old, mut new) = (old.into_iter().peekable(), new.into_iter().peekable());
    loop {
        let order = match (old.peek(), new.peek()) {
            (None, None) => return,
            (Some(left), Some(right)) => left.cmp(right),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
        };
        match order {
            Ordering::Less => old.next().into_iter().for_each(&mut gone),
            Ordering::Equal => drop((old.next(), new.next())),
            Ordering::Greater => new.next().into_iter().for_each(&mut come),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGES: &[&str] = &["1h", "1d", "1w"];

    fn manifest(keys: &[(&str, bool)]) -> Manifest {
        let artifact = |key: &str, on_demand| Artifact {
            path: key.into(),
            sha256: key.into(),
            bytes: 1,
            entries: 1,
            content_type: String::new(),
            changed_at: 0,
            gzip_bytes: None,
            on_demand,
        };
        Manifest {
            format: 1,
            site: "a".into(),
            view: "main".into(),
            version: 1,
            lineage: String::new(),
            created_at: 0,
            reason: String::new(),
            mirror: String::new(),
            changes: Default::default(),
            refusals: Default::default(),
            losses: Default::default(),
            artifacts: keys.iter().map(|(key, on_demand)| ((*key).to_owned(), artifact(key, *on_demand))).collect(),
        }
    }

    #[test]
    fn the_largest_age_that_is_always_published_stands_for_a_list() {
        let keys = [
            ("feed/a/ipv4/1h.txt", false),
            ("feed/a/ipv4/1d.json", false),
            ("feed/a/ipv4/1d.txt", false),
            ("feed/a/ipv4/1w.txt", true),
            ("warninglist/5.txt", true),
            ("feed/a/ipv4/9y.txt", false),
        ];
        let manifest = manifest(&keys);
        let lists = bodies(&manifest, AGES);
        assert_eq!(lists.keys().collect::<Vec<_>>(), [&"a/ipv4"]);
        assert_eq!(largest(&lists["a/ipv4"]).unwrap().artifact.path, "feed/a/ipv4/1d.txt");
        assert!(largest(&[]).is_none());
    }

    #[test]
    fn two_versions_are_compared_at_an_age_both_have() {
        let one = manifest(&[("feed/a/ipv4/1w.txt", false), ("feed/a/ipv4/1d.xml", false)]);
        let two = manifest(&[("feed/a/ipv4/1d.txt", false), ("feed/a/ipv4/1h.txt", false)]);
        let (one, two) = (bodies(&one, AGES), bodies(&two, AGES));
        let (old, new) = pair(&one["a/ipv4"], &two["a/ipv4"]);
        assert_eq!(old.unwrap().artifact.path, "feed/a/ipv4/1d.xml");
        assert_eq!(new.unwrap().artifact.path, "feed/a/ipv4/1d.txt");
        let (old, new) = pair(&one["a/ipv4"], &[]);
        assert_eq!((old.unwrap().artifact.path.as_str(), new.is_none()), ("feed/a/ipv4/1w.txt", true));
    }

    #[test]
    fn differences_are_those_of_sets() {
        let list = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        for (old, new, added, removed) in [
            ("", "", "", ""),
            ("a b", "b c d", "c d", "a"),
            ("", "a", "a", ""),
            ("a z", "", "", "a z"),
            ("b", "a b c", "a c", ""),
        ] {
            let expected = Difference { added: list(added), removed: list(removed) };
            assert_eq!(difference(list(old), list(new)), expected, "{old} → {new}");
        }
    }
}
