//! `cratos versions`: what was published is shown, compared, followed and copied. Damage is in `versions/damage.rs`.

mod damage;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use cratos::snapshot::manifest;
use serde_json::Value;

use crate::dir::{self, BLOCK, Dir, SITE};
use crate::misp::{NewAttribute, NewEvent, World};
use crate::source::{HUNT, KEEP, PUBLISH, Source, add, address, row, settle};

/// Three versions: addresses 0 to 5 in one feed and 10 in another; then 1 is gone and 6 and a name have come; then 1 is back
/// and 0 has gone. Made a moment ago, so that the program itself keeps them.
fn three_versions() -> Source {
    let mut world = World::default();
    world.now = dir::now() - 1000;
    let event = add(&mut world, BLOCK, (0..6).map(row).collect());
    add(&mut world, HUNT, vec![row(10)]);
    let hidden = world.add_event(NewEvent::new("not published").tag(BLOCK));
    world.add_attribute(hidden, row(20));
    settle(&mut world);
    let source = Source::new(world, &format!("{PUBLISH}{KEEP}"));
    assert_eq!(source.good(true).version, Some(1));
    let attribute = |world: &World, value: &str| {
        let (id, _) = world.events[&event].attributes.iter().find(|(_, row)| row.value == value).unwrap();
        *id
    };
    {
        let mut world = source.misp.world();
        let gone = attribute(&world, &address(1));
        world.delete_attribute(gone);
        world.add_attribute(event, row(6));
        world.add_attribute(event, NewAttribute::new("domain", "evil.example"));
        world.publish(event);
        settle(&mut world);
    }
    assert_eq!(source.good(false).version, Some(2));
    {
        let mut world = source.misp.world();
        let gone = attribute(&world, &address(0));
        world.delete_attribute(gone);
        world.add_attribute(event, row(1));
        world.publish(event);
        settle(&mut world);
    }
    assert_eq!(source.good(false).version, Some(3));
    source
}

fn version(dir: &Dir, number: u64) -> PathBuf {
    dir.view().join(format!("versions/{number:06}"))
}

/// The lines of the txt file of each list at its largest age: read without the program.
fn lists(dir: &Dir, number: u64) -> BTreeMap<String, BTreeSet<String>> {
    let manifest = manifest::read(&version(dir, number)).unwrap();
    let largest = manifest.artifacts.iter().filter_map(|(key, artifact)| {
        let list = key.strip_prefix("feed/")?.strip_suffix("/10y.txt")?;
        let text = fs::read_to_string(version(dir, number).join(&artifact.path)).unwrap();
        let lines = text.split("\r\n").filter(|line| !line.is_empty()).map(str::to_owned);
        Some((list.to_owned(), lines.collect()))
    });
    largest.collect()
}

#[test]
fn show_tells_what_one_version_holds() {
    let source = three_versions();
    let dir = &source.dir;
    let said = dir.run(&["versions", "show", "2"]).good().out;
    assert!(said.starts_with(&format!("{SITE}: version 2\n")), "{said}");
    let manifest = manifest::read(&version(dir, 2)).unwrap();
    for part in ["reason   refresh", &manifest.lineage, &manifest.mirror, "time     20"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let line = |start: &str, figures: &str| {
        let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(said.lines().any(|line| words(line) == format!("{start} {figures}")), "{start}: {said}");
    };
    line("block ipv4", "6 1 1 7 event not published 1");
    line("block domain", "1 1 0 1");
    line("hunt ipv4", "1 0 0 1");
    line("total", "8 2 1 9");
    let current = dir.run(&["versions", "show", "current", "--site", SITE, "--view", "main"]).good().out;
    assert!(current.starts_with(&format!("{SITE}: version 3 (current)\n")), "{current}");
    let listed = dir.run(&["versions", "list", SITE]).good().out;
    assert_eq!(listed.lines().count(), 5, "{listed}");
    assert!(listed.lines().last().unwrap().ends_with("current"), "{listed}");
}

#[test]
fn what_is_not_there_is_a_usage_error_that_says_what_is() {
    let source = three_versions();
    let dir = &source.dir;
    for (args, part) in [
        (&["show", "9"][..], "there are 3 between 1 and 3"),
        (&["diff", "1", "9"], "has no version 9"),
        (&["show", "newest"], "neither a number nor the word current"),
        (&["show", "1", "--site", "misp.example.org"], &format!("did you mean {SITE}?")),
        (&["show", "1", "--view", "../main"], "no view is called ../main"),
        (&["show", "current", "--view", "user-7"], "nothing is published yet"),
        (&["export", "9", "/dev/null/x"], "has no version 9"),
    ] {
        let said = dir.run(&[&["versions"], args].concat()).with_code(2);
        assert!(said.err.contains(part) && said.out.is_empty(), "{args:?}: {said:?}");
    }
    dir.site("two.example.net", &dir::site("example", ""));
    for command in [&["show", "1"][..], &["diff", "1", "2"], &["history", "a"], &["verify"], &["export", "1", "x"]] {
        let said = dir.run(&[&["versions"], command].concat()).with_code(2).err;
        assert!(said.contains(&format!("there are: {SITE}, two.example.net")), "{command:?}: {said}");
    }
    dir.run(&["versions", "show", "1", "--site", SITE]).good();
}

#[test]
fn diff_is_the_difference_of_sets() {
    let source = three_versions();
    let dir = &source.dir;
    let mut seen = 0;
    for (from, to) in [(1, 2), (2, 3), (1, 3), (3, 1), (2, 2)] {
        let (numbers, before, after) = ([from.to_string(), to.to_string()], lists(dir, from), lists(dir, to));
        let said = dir.run(&["versions", "diff", &numbers[0], &numbers[1], "--json"]).good().out;
        let json: Value = serde_json::from_str(&said).unwrap();
        assert_eq!((json["from"].as_u64(), json["to"].as_u64()), (Some(from), Some(to)));
        let mut expected = serde_json::Map::new();
        for name in before.keys().chain(after.keys()) {
            let (old, new) =
                (before.get(name).cloned().unwrap_or_default(), after.get(name).cloned().unwrap_or_default());
            let minus = |left: &BTreeSet<String>, right| left.difference(right).cloned().collect::<Vec<_>>();
            if old != new {
                let change = serde_json::json!({"added": minus(&new, &old), "removed": minus(&old, &new)});
                expected.insert(name.clone(), change);
            }
        }
        seen += expected.len();
        assert_eq!(json["lists"], Value::Object(expected), "{from} → {to}");
    }
    assert_eq!(seen, 2 + 1 + 2 + 2, "lists that differ: the test has seen some");
    let text = dir.run(&["versions", "diff", "1", "current"]).good().out;
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with(&format!("{SITE}: from version 1 (")), "{text}");
    let rest = ["", "block/domain: +1 -0", "+ evil.example", "", "block/ipv4: +1 -1", "- 198.0.0.0", "+ 198.0.0.6", ""];
    assert_eq!(lines[1..9], rest, "{text}");
    assert_eq!(lines[9..], ["total: 2 lists, +2 -1"]);
    assert!(dir.run(&["versions", "diff", "3", "3"]).good().out.ends_with("no list differs\n"));
}

#[test]
fn diff_reads_lists_in_any_format() {
    let publish = format!("{PUBLISH}{KEEP}").replace("txt]", "xml, json, yaml, b64]").replace("[1h, 1d, 10y]", "[10y]");
    let mut world = World::default();
    add(&mut world, BLOCK, vec![row(1), row(2)]);
    settle(&mut world);
    let mut source = Source::new(world, &publish);
    source.good(true);
    // The second version has other formats and ages, and one more address.
    let site = crate::source::site(&source.misp, crate::misp::ADMIN_KEY, &publish.replace("json", "txt"));
    source.dir.site(SITE, &site.replace("[10y]", "[1d, 10y]"));
    add(&mut source.misp.world(), BLOCK, vec![row(3)]);
    settle(&mut source.misp.world());
    source.reopen();
    source.good(false);
    let json: Value =
        serde_json::from_str(&source.dir.run(&["versions", "diff", "1", "2", "--json"]).good().out).unwrap();
    assert_eq!(json["lists"], serde_json::json!({"block/ipv4": {"added": [address(3)], "removed": []}}));
}

#[test]
fn history_tells_when_a_value_entered_and_left() {
    let source = three_versions();
    let dir = &source.dir;
    let history = |value: &str| dir.run(&["versions", "history", value]).good().out;
    let time = |number| {
        let second = manifest::read(&version(dir, number)).unwrap().created_at;
        jiff::Timestamp::from_second(second).unwrap().strftime("%Y-%m-%d %H:%M:%S").to_string()
    };
    let (one, two, three) = (time(1), time(2), time(3));
    let line = |said: &str, list: &str| {
        let start = format!("{list}: ");
        said.lines().find_map(|line| line.strip_prefix(&start)).unwrap_or_else(|| panic!("{said}")).to_owned()
    };
    let back = history(&address(1));
    let expected = format!("entered 000001 ({one}), left 000002 ({two}), entered 000003 ({three}), still there");
    assert_eq!(line(&back, "block/ipv4"), expected);
    assert_eq!(back.lines().count(), 2, "in no other list: {back}");
    assert_eq!(line(&history(&address(0)), "block/ipv4"), format!("entered 000001 ({one}), left 000003 ({three})"));
    assert_eq!(line(&history("EVIL.example."), "block/domain"), format!("entered 000002 ({two}), still there"));
    assert_eq!(line(&history("198.0.0.10/32"), "hunt/ipv4"), format!("entered 000001 ({one}), still there"));
    for value in ["192.0.2.99", "--no-such-value"] {
        assert!(history(value).contains(&format!("{value} is in no version on disk (3 versions looked at)")));
    }
    // What is in the oldest one that is kept may have been there for longer.
    fs::remove_dir_all(version(dir, 1)).unwrap();
    assert_eq!(line(&history("198.0.0.10"), "hunt/ipv4"), format!("there since before 000002 ({two}), still there"));
    // A number above the served one is no history.
    std::os::unix::fs::symlink("versions/000002", dir.view().join("aside")).unwrap();
    fs::rename(dir.view().join("aside"), dir.view().join("current")).unwrap();
    let said = history(&address(0));
    assert_eq!(line(&said, "block/ipv4"), format!("there since before 000002 ({two}), still there"));
    assert!(said.ends_with("version 3 is not served: in no list\n"), "{said}");
}

#[test]
fn what_is_held_is_written_and_no_history() {
    let mut world = World::default();
    world.now = dir::now() - 1000;
    let event = add(&mut world, BLOCK, (0..150).map(row).collect());
    settle(&mut world);
    let source = Source::new(world, &format!("{PUBLISH}{KEEP}guard: {{min_entries: 100}}\n"));
    source.good(true);
    {
        let mut world = source.misp.world();
        let ids: Vec<u64> = world.events[&event].attributes.keys().copied().take(120).collect();
        ids.into_iter().for_each(|id| world.delete_attribute(id));
        world.publish(event);
        settle(&mut world);
    }
    source.good(false);
    let dir = &source.dir;
    let listed = dir.run(&["versions", "list"]).good().out;
    let marks: Vec<bool> = listed.lines().skip(2).map(|line| line.ends_with("not served")).collect();
    assert_eq!(marks, [false, true], "{listed}");
    assert!(dir.run(&["versions", "show", "2"]).good().out.contains("version 2 (not served)"));
    let said = dir.run(&["versions", "history", &address(0)]).good().out;
    assert!(said.contains("block/ipv4: entered 000001") && said.contains(", still there"), "{said}");
    assert!(said.contains("(1 version looked at") && said.ends_with("version 2 is not served: in no list\n"), "{said}");
    let diff = dir.run(&["versions", "diff", "current", "2"]).good().out;
    assert!(diff.ends_with("total: 1 list, +0 -120\n"), "{diff}");
    dir.run(&["versions", "rollback", "2"]).with_code(1);
    // While it waits, the served version is repaired, not replaced.
    fs::write(dir.current().join("feed/block/ipv4/10y.txt"), "x").unwrap();
    dir.run(&["versions", "verify"]).good();
    assert_eq!(dir.manifest().version, 1);
}

/// Name → bytes, time, mode.
type Tree = BTreeMap<PathBuf, (Vec<u8>, (i64, i64), u32)>;

/// Every file below.
fn tree(root: &Path) -> Tree {
    let (mut folders, mut files) = (vec![root.to_owned()], Tree::new());
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            let meta = fs::symlink_metadata(&path).unwrap();
            if meta.is_dir() {
                folders.push(path);
                continue;
            }
            let (name, time) = (path.strip_prefix(root).unwrap().to_owned(), (meta.mtime(), meta.mtime_nsec()));
            files.insert(name, (fs::read(&path).unwrap(), time, meta.permissions().mode()));
        }
    }
    files
}

#[test]
fn an_export_is_the_version_byte_for_byte() {
    let source = three_versions();
    let dir = &source.dir;
    let before = source.on_disk();
    for (number, name) in [("2", "copy"), ("current", "there")] {
        let to = dir.path().join(name);
        if name == "there" {
            fs::create_dir(&to).unwrap();
        }
        let said = dir.run(&["versions", "export", number, to.to_str().unwrap()]).good().out;
        let version = version(dir, number.parse().unwrap_or(3));
        assert_eq!(tree(&to), tree(&version), "{said}");
        assert!(tree(&to).len() > 5 && said.contains(&format!("{} files", tree(&to).len())), "{said}");
    }
    let inside = dir.view().join("x");
    for (to, part) in [
        (dir.path().join("copy").as_path(), "is not empty"),
        (&inside, "is inside"),
        (&dir.path().join("feeds-out"), "is inside"),
        (&dir.path().join("copy/../state/x"), "is inside"),
        (&dir.path().join("copy/manifest.json"), "Not a directory"),
        (&dir.path().join("none/x"), "the folder above it"),
    ] {
        let said = dir.run(&["versions", "export", "1", to.to_str().unwrap()]).with_code(2).err;
        assert!(said.contains(part), "{}: {said}", to.display());
    }
    assert_eq!(source.on_disk(), before, "nothing was written below feeds-out");
    // A file that is wrong in the version is wrong in the copy, and the command says so.
    let file = version(dir, 1).join("feed/hunt/ipv4/10y.txt");
    fs::write(&file, "198.0.0.1x").unwrap();
    let said = dir.run(&["versions", "export", "1", dir.path().join("bad").to_str().unwrap()]).with_code(1).err;
    assert!(said.contains("feed/hunt/ipv4/10y.txt is damaged") && said.contains("verify"), "{said}");
}
