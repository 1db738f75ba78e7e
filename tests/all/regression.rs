//! One test per fixed bug, named after its symptom.

use std::fs;

use crate::dir::{BLOCK, Dir, now};
use crate::feed::{Attribute, Event};

/// A file that somebody deleted from the served version made every later refresh fail.
#[test]
fn a_lost_file_heals_with_the_next_refresh() {
    let dir = Dir::new("");
    dir.publish(&[Event::new(1, &[BLOCK], vec![Attribute::new("ip-dst", "192.0.2.1", now() - 600)])]);
    dir.run(&["refresh"]).good();
    let list = "feed/block/ipv4/1w.txt";
    let before = (fs::read(dir.current().join(list)).unwrap(), dir.manifest());
    fs::remove_file(dir.current().join(list)).unwrap();
    dir.run(&["refresh"]).good();
    let after = dir.manifest();
    assert_eq!(fs::read(dir.current().join(list)).unwrap(), before.0);
    assert_eq!(after.version, before.1.version + 1);
    assert_eq!(after.artifacts[list], before.1.artifacts[list], "same content, same validators");
}
