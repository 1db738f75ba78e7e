//! Every name below `feeds_dir/<site>/<view>/`, as functions.
//!
//! ```text
//! feeds-out/misp.example.net/main/
//! ├── current -> versions/000042          the only thing that moves, by rename(2)
//! └── versions/
//!     ├── 000041/ …
//!     ├── 000042/                         immutable from the moment it has this name
//!     │   ├── manifest.json               every covered list, empty ones too
//!     │   ├── feed/block/ipv4/1w.txt      one list; its time is that of the last change of its bytes
//!     │   ├── feed/block/ipv4/1w.txt.gz   the same, compressed, where that is worth it
//!     │   ├── feed/block/ipv4/1w.xml      the same list in another format
//!     │   ├── feed/block/ipv4/1w.cisco.txt  a vendor's profile of it: extension `cisco.txt`
//!     │   ├── org/<uuid>/domain/1m.txt    what one organisation created, once somebody asked for it
//!     │   ├── warninglist/5.json          a warninglist of the MISP, once somebody asked for it; 0: the index of all
//!     │   └── empty/ipv4.txt              what a list answers that was never anything but empty
//!     └── .candidate-000043/              being written; removed by the next refresh if it is left over
//! ```
//!
//! Age and extension part at the first dot: no age has one, no two formats share an extension, none ends with `gz`; so no two
//! files share a name. Files that did not change are hard links to those of the version before. Modes: folders 0750, files 0640.
//!
//! A file that `versions verify` found to be wrong and could not restore is put aside in its folder as `.damaged-1w.txt`: what
//! is known to be wrong is neither served nor linked into a new version.

use std::path::{Component, Path, PathBuf};

/// The link that names the served version.
pub const CURRENT: &str = "current";
/// The folder of all versions.
pub const VERSIONS: &str = "versions";
/// The file that says what a version holds.
pub const MANIFEST: &str = "manifest.json";
/// Start of the name of a version that is not finished.
pub const CANDIDATE: &str = ".candidate-";

/// The folder of a view.
pub fn view_dir(feeds_dir: &Path, site: &str, view: &str) -> PathBuf {
    feeds_dir.join(site).join(view)
}

/// Start of the name of a file that is known to be wrong and was put aside.
pub const DAMAGED: &str = ".damaged-";

/// The folder of a version.
pub fn version_dir(view_dir: &Path, number: u64) -> PathBuf {
    view_dir.join(VERSIONS).join(version_name(number))
}

/// A version's folder name.
pub fn version_name(number: u64) -> String {
    format!("{number:06}")
}

/// A version's number, from its folder name.
pub fn version_number(name: &str) -> Option<u64> {
    (name.len() >= 6 && name.bytes().all(|byte| byte.is_ascii_digit())).then(|| name.parse().ok()).flatten()
}

/// Key (and path inside the version) of a feed's list.
pub fn feed_key(feed: &str, data_type: &str, age: &str, extension: &str) -> String {
    key(["feed/", feed, "/", data_type, "/", age, ".", extension])
}

/// Key (and path inside the version) of the list of what an organisation created.
pub fn organisation_key(uuid: &str, data_type: &str, age: &str, extension: &str) -> String {
    key(["org/", uuid, "/", data_type, "/", age, ".", extension])
}

/// In one piece of memory: every request makes one.
fn key(parts: [&str; 8]) -> String {
    let mut key = String::with_capacity(parts.iter().map(|part| part.len()).sum());
    parts.iter().for_each(|part| key.push_str(part));
    key
}

/// What the keys of warninglists begin with.
const WARNINGLIST: &str = "warninglist/";

/// Key (and path inside the version) of a warninglist; 0: the index of all.
pub fn warninglist_key(id: u16, extension: &str) -> String {
    format!("{WARNINGLIST}{id}.{extension}")
}

/// The warninglist that a key names, if it does.
pub fn warninglist_of(key: &str) -> Option<u16> {
    key.strip_prefix(WARNINGLIST)?.split_once('.')?.0.parse().ok()
}

/// Name of the list that a key is one age and format of: `block/ipv4`, or `org/<uuid>/ipv4`.
pub fn list_of(key: &str) -> &str {
    let list = key.rsplit_once('/').map_or(key, |(list, _)| list);
    list.strip_prefix("feed/").unwrap_or(list)
}

/// The feed or organisation, data type, age and extension that a key names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Named<'a> {
    /// Whether it is an organisation's.
    pub organisation: bool,
    /// Name of the feed, or UUID of the organisation.
    pub of: &'a str,
    /// Data type.
    pub data_type: &'a str,
    /// Age.
    pub age: &'a str,
    /// Extension, which names the format.
    pub extension: &'a str,
}

/// What a key names; `None`: it is no list of a feed or organisation.
pub fn named(key: &str) -> Option<Named<'_>> {
    let mut parts = key.split('/');
    let (kind, of, data_type, file) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let (age, extension) = file.split_once('.')?;
    let organisation = match kind {
        "feed" => false,
        "org" => true,
        _ => return None,
    };
    parts.next().is_none().then_some(Named { organisation, of, data_type, age, extension })
}

/// Whether a path that a manifest names stays inside its version.
pub fn is_inside(path: &str) -> bool {
    !path.is_empty() && Path::new(path).components().all(|part| matches!(part, Component::Normal(_)))
}

/// Path of the empty form.
pub fn empty_path(data_type: &str, extension: &str) -> String {
    format!("empty/{data_type}.{extension}")
}

/// Path of the compressed sibling.
pub fn gzip_path(path: &str) -> String {
    format!("{path}.gz")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_say_which_list_they_are_of() {
        let organisation = organisation_key("a", "ipv4", "1w", "txt");
        assert_eq!((list_of(&organisation), list_of(&feed_key("a", "ipv4", "1w", "txt"))), ("org/a/ipv4", "a/ipv4"));
        assert_eq!(warninglist_of(&warninglist_key(1000, "xml")), Some(1000));
        assert_eq!((warninglist_of(&organisation), warninglist_of("warninglist/x.txt")), (None, None));
    }

    #[test]
    fn keys_read_back() {
        let parts = |organisation, of, extension| Named { organisation, of, data_type: "ipv4", age: "1w", extension };
        assert_eq!(named(&organisation_key("a", "ipv4", "1w", "txt")), Some(parts(true, "a", "txt")));
        assert_eq!(named(&feed_key("b", "ipv4", "1w", "cisco.txt")), Some(parts(false, "b", "cisco.txt")));
        for other in [&*warninglist_key(5, "txt"), &empty_path("ipv4", "txt"), "feed/a/b/c/1w.txt", "feed/a/b/1w", ""] {
            assert_eq!(named(other), None, "{other}");
        }
    }

    #[test]
    fn paths_that_leave_the_version_are_known() {
        assert!(is_inside("feed/block/ipv4/1w.txt"));
        for bad in ["", "/etc/passwd", "../a", "feed/../../a", "./a"] {
            assert!(!is_inside(bad), "{bad}");
        }
    }

    #[test]
    fn version_names_sort_and_read_back() {
        assert_eq!(version_name(42), "000042");
        assert_eq!(version_number("000042"), Some(42));
        assert_eq!(version_number("1000000"), Some(1_000_000));
        for bad in ["42", ".candidate-000042", "00004x", ""] {
            assert_eq!(version_number(bad), None, "{bad}");
        }
    }
}
