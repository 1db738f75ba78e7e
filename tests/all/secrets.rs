//! No MISP key may be readable: not on disk, not in the log, not in a table.

use std::fs;

use crate::cmd::Server;
use crate::dir::Dir;
use crate::misp::{ADMIN_KEY, READER_KEY};

/// A key that no MISP knows.
pub const UNKNOWN_KEY: &str = "NobodyKey1NobodyKey2NobodyKey3NobodyKey4";

/// Neither key stands in any file below a folder, nor in the log.
pub fn assert_no_key(dir: &Dir, server: &Server) {
    let mut folders = vec![dir.path().join("state"), dir.path().join("feeds-out")];
    let mut files = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() && !path.is_symlink() {
                folders.push(path);
            } else if path.is_file() {
                files += 1;
                assert_no_key_in(&fs::read(&path).unwrap(), &path.display().to_string());
            }
        }
    }
    assert!(files > 5, "{files} files were looked at");
    assert_no_key_in(server.log().as_bytes(), "the log");
}

/// The same of some bytes.
pub fn assert_no_key_in(bytes: &[u8], what: &str) {
    for key in [ADMIN_KEY, READER_KEY, UNKNOWN_KEY] {
        assert!(!bytes.windows(key.len()).any(|window| window == key.as_bytes()), "a key stands in {what}");
    }
}
