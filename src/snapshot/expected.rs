//! What the files of a version should be, and in which ways one can be wrong. In: a manifest. Out: every file it names, once.

use std::collections::{BTreeMap, BTreeSet};

use super::layout;
use super::manifest::Manifest;

/// A file as a manifest wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// Inside the version.
    pub path: String,
    /// Key of a list that is in it.
    pub key: String,
    /// Hex SHA-256 of the list.
    pub sha256: String,
    /// Size of the list.
    pub bytes: u64,
    /// Size of the file, if it is the compressed sibling of the list.
    pub gzip_bytes: Option<u64>,
    /// Its time, Unix seconds.
    pub modified: i64,
    /// When its version was made, Unix seconds.
    pub created_at: i64,
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is not there.
    Missing,
    /// It is no plain file.
    NotAFile,
    /// Its length; the manifest names the other one.
    Length {
        /// In bytes.
        is: u64,
        /// In bytes.
        should: u64,
    },
    /// The right length, other bytes.
    Content,
    /// It cannot be read, or not decompressed.
    Unreadable(String),
    /// Who may do what with it.
    Mode {
        /// Its permission bits.
        is: u32,
        /// What they should be.
        should: u32,
    },
    /// The manifest itself, or what `current` points to; nothing on disk says what it should be.
    Lost(String),
}

impl Fault {
    /// Whether it says that the bytes are not those of the manifest.
    pub fn is_of_content(&self) -> bool {
        !matches!(self, Fault::Mode { .. })
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Fault::Missing => out.write_str("missing"),
            Fault::NotAFile => out.write_str("not a plain file"),
            Fault::Length { is, should } => write!(out, "{is} bytes instead of {should}"),
            Fault::Content => out.write_str("other content"),
            Fault::Unreadable(cause) => write!(out, "unreadable: {cause}"),
            Fault::Mode { is, should } => write!(out, "mode {is:04o} instead of {should:04o}"),
            Fault::Lost(cause) => out.write_str(cause),
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug)]
pub struct Finding {
    /// In which version.
    pub version: u64,
    /// File or folder inside it.
    pub path: String,
    /// What is wrong.
    pub fault: Fault,
    /// What the file should be, if a manifest says so.
    pub expected: Option<Expected>,
}

/// Every file that a manifest names, once.
pub fn expected(manifest: &Manifest) -> Vec<Expected> {
    let mut files: BTreeMap<(String, &str), Expected> = BTreeMap::new();
    for (key, artifact) in &manifest.artifacts {
        // What is shared by lists that were never anything but empty is as old as its version.
        let modified = if artifact.path == *key { artifact.changed_at } else { manifest.created_at };
        let file = Expected {
            path: artifact.path.clone(),
            key: key.clone(),
            sha256: artifact.sha256.clone(),
            bytes: artifact.bytes,
            gzip_bytes: None,
            modified,
            created_at: manifest.created_at,
        };
        if artifact.gzip_bytes.is_some() {
            let path = layout::gzip_path(&artifact.path);
            let sibling = Expected { path: path.clone(), gzip_bytes: artifact.gzip_bytes, ..file.clone() };
            files.insert((path, &artifact.sha256), sibling);
        }
        files.entry((artifact.path.clone(), &artifact.sha256)).or_insert(file);
    }
    files.into_values().collect()
}

/// The folders that these files are in, the version's own (the empty path) first.
pub(super) fn folders(files: &[Expected]) -> BTreeSet<&str> {
    let above = |path| std::iter::successors(Some(path), |path: &&str| path.rsplit_once('/').map(|(above, _)| above));
    let inside = files.iter().filter(|file| layout::is_inside(&file.path));
    inside.flat_map(|file| above(&*file.path).skip(1)).chain([""]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folders_of_files_are_those_above_them() {
        let file = |path: &str| Expected {
            path: path.into(),
            key: String::new(),
            sha256: String::new(),
            bytes: 0,
            gzip_bytes: None,
            modified: 0,
            created_at: 0,
        };
        let files = [file("feed/a/ipv4/1w.txt"), file("feed/b/url/1w.txt"), file("empty/ipv4.txt"), file("../x/y")];
        let expected = ["", "empty", "feed", "feed/a", "feed/a/ipv4", "feed/b", "feed/b/url"];
        assert_eq!(folders(&files).into_iter().collect::<Vec<_>>(), expected);
    }
}
