//! Where a value stands in the served version: read from the files themselves.
//!
//! In: a version, a list, the lines that the list would have for the value. Out: ages and formats.
//!
//! Invariants: a file is read once, however many names it has; a file that is not what the manifest says tells nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use serde::Serialize;

use crate::index::AGES;
use crate::render::{FORMATS, Format};
use crate::snapshot::layout;
use crate::snapshot::manifest::{Artifact, Opened};

/// Ages in which a value stands, in each of these formats.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Standing {
    /// Names of formats and vendor profiles.
    pub formats: Vec<&'static str>,
    /// Shortest first.
    pub ages: Vec<&'static str>,
}

/// One list in the served version.
#[derive(Clone, Debug, Default)]
pub struct Shelf {
    /// Where the value stands.
    pub stands: Vec<Standing>,
    /// The ages there are, by their place among [`AGES`].
    pub ages: BTreeSet<usize>,
    /// The value stands in these of them.
    pub has: BTreeSet<usize>,
    /// Files that could not be read.
    pub unread: Vec<String>,
}

/// The lines that a list would have for the value, and how many of them it takes.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Name of the data type.
    pub data_type: &'static str,
    /// The lines.
    pub lines: &'a BTreeSet<String>,
    /// All of them; else one is enough.
    pub all: bool,
}

/// Reads the files of a version.
#[derive(Debug)]
pub struct Reader<'a> {
    opened: &'a Opened,
    /// What was found, by the hash of the file, the data type and the format. Err: not readable.
    known: HashMap<(String, &'static str, &'static str), Result<bool, ()>>,
    /// Name of a list → its ages and formats, by their places.
    lists: BTreeMap<&'a str, Vec<(usize, usize, &'a Artifact)>>,
}

impl<'a> Reader<'a> {
    /// Reads nothing yet.
    pub fn new(opened: &'a Opened) -> Self {
        let mut lists: BTreeMap<&str, Vec<(usize, usize, &Artifact)>> = BTreeMap::new();
        for (key, artifact) in &opened.manifest.artifacts {
            if let Some((age, format)) = slot(key) {
                lists.entry(layout::list_of(key)).or_default().push((age, format, artifact));
            }
        }
        Self { opened, known: HashMap::new(), lists }
    }

    /// The lists there are.
    pub fn lists(&self) -> impl Iterator<Item = &'a str> {
        self.lists.keys().copied()
    }

    /// Looks into all files of a list; `None`: it is not in this version.
    pub fn look(&mut self, list: &str, wanted: Wanted<'_>) -> Option<Shelf> {
        let slots = self.lists.get(list)?.clone();
        let mut shelf = Shelf::default();
        let mut by_format: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
        for (age, format, artifact) in slots {
            shelf.ages.insert(age);
            match self.holds(&FORMATS[format], artifact, wanted) {
                Ok(true) => {
                    shelf.has.insert(age);
                    by_format.entry(format).or_default().insert(age);
                }
                Ok(false) => {}
                Err(()) => shelf.unread.push(artifact.path.clone()),
            }
        }
        shelf.stands = standings(by_format);
        Some(shelf)
    }

    fn holds(&mut self, format: &'static Format, artifact: &Artifact, wanted: Wanted<'_>) -> Result<bool, ()> {
        if artifact.entries == 0 || wanted.lines.is_empty() {
            return Ok(false);
        }
        let key = (artifact.sha256.clone(), wanted.data_type, format.name);
        if let Some(known) = self.known.get(&key) {
            return *known;
        }
        let body = self.opened.read(artifact).map_err(|error| tracing::debug!(%error, "cannot be read"));
        let found = body.and_then(|body| holds(format, &body, wanted).ok_or(()));
        self.known.insert(key, found);
        found
    }
}

/// Age and format of a list's key, by their places. What is no list of a data type has none.
fn slot(key: &str) -> Option<(usize, usize)> {
    let (age, extension) = key.rsplit_once('/')?.1.split_once('.')?;
    let age = AGES.iter().position(|known| known.name == age)?;
    FORMATS.iter().position(|format| format.extension == extension).map(|format| (age, format))
}

/// Whether the body has the lines; `None`: it is no body of this format.
pub fn holds(format: &Format, body: &[u8], wanted: Wanted<'_>) -> Option<bool> {
    let read = |line: &String| {
        let alone = format.body(wanted.data_type, std::iter::once(line.as_str()));
        (format.values)(&alone.bytes).filter(|values| !values.is_empty())
    };
    // A format that cannot hold a value has nothing to look for.
    let needles: Vec<Vec<String>> = wanted.lines.iter().filter_map(read).collect();
    if needles.is_empty() || (wanted.all && needles.len() < wanted.lines.len()) {
        return Some(false);
    }
    let values = (format.values)(body)?;
    let single: HashSet<&str> = values.iter().map(String::as_str).collect();
    let has = |needle: &Vec<String>| match &needle[..] {
        [only] => single.contains(only.as_str()),
        // A text of several lines stands in a list of lines piece by piece.
        pieces => values.windows(pieces.len()).any(|window| window == pieces),
    };
    Some(if wanted.all { needles.iter().all(has) } else { needles.iter().any(has) })
}

/// Formats with the same ages stand together.
fn standings(by_format: BTreeMap<usize, BTreeSet<usize>>) -> Vec<Standing> {
    let mut out: Vec<Standing> = Vec::new();
    for (format, ages) in by_format {
        let (name, ages) = (FORMATS[format].name, ages.into_iter().map(|age| AGES[age].name).collect::<Vec<_>>());
        match out.iter_mut().find(|known| known.ages == ages) {
            Some(known) => known.formats.push(name),
            None => out.push(Standing { formats: vec![name], ages }),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(format: &str, data_type: &'static str, list: &[&str], lines: &[&str], all: bool) -> bool {
        let format = Format::named(format).unwrap();
        let body = format.body(data_type, list.iter().copied());
        let lines = lines.iter().map(|line| (*line).to_owned()).collect();
        holds(format, &body.bytes, Wanted { data_type, lines: &lines, all }).unwrap()
    }

    #[test]
    fn a_value_is_found_in_every_format_and_a_part_of_one_is_not() {
        for format in FORMATS {
            let list = ["http://a.example/", "http://a.example/b\"<&", "ü"];
            assert!(found(format.name, "url", &list, &[list[1]], false), "{}", format.name);
            assert!(!found(format.name, "url", &list, &["http://a.example/b"], false), "{}", format.name);
        }
        assert!(!found("xml", "mutex", &["a"], &["nul\0"], false), "xml cannot hold it");
        assert!(found("txt", "yara", &["rule a\r\n{}", "rule b"], &["rule a\r\n{}"], false));
        assert!(!found("txt", "yara", &["rule a", "x", "{}"], &["rule a\r\n{}"], false));
    }

    #[test]
    fn of_a_network_all_addresses_are_needed() {
        assert!(!found("txt", "ipv4ext", &["192.0.2.0"], &["192.0.2.0", "192.0.2.1"], true));
        assert!(found("txt", "ipv4ext", &["192.0.2.0", "192.0.2.1"], &["192.0.2.0", "192.0.2.1"], true));
    }

    #[test]
    fn keys_of_lists_have_an_age_and_a_format() {
        let name = |key| slot(key).map(|(age, format)| (AGES[age].name, FORMATS[format].name));
        assert_eq!(name("feed/block/ipv4/1w.txt"), Some(("1w", "txt")));
        assert_eq!(name("org/u/ipv4/10y.paloalto.txt"), Some(("10y", "paloalto")));
        assert_eq!(name("warninglist/5.json"), None);
    }
}
