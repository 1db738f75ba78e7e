//! Work follows what changed, counted in bodies made and files written, not in time.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;

use cratos::demand::{Of, Wanted};

use crate::misp::{NewAttribute, World};
use crate::source::{BLOCK, HUNT, PUBLISH, Source, add, row, settle};

/// Rows of every age in both feeds, of both types.
fn source() -> Source {
    let mut world = World::default();
    let now = world.now;
    let ages = [10, 7200, 100_000];
    for (at, tag) in [(0, BLOCK), (10, HUNT)] {
        let addresses = ages.iter().enumerate().map(|(number, age)| row(at + number as u64).at(now - age));
        let names = ages.iter().map(|age| NewAttribute::new("domain", format!("d{at}-{age}.example")).at(now - age));
        add(&mut world, tag, addresses.chain(names).collect());
    }
    settle(&mut world);
    let source = Source::new(world, PUBLISH);
    let first = source.good(true);
    assert_eq!(first.rendered, 12, "every body is made once");
    source
}

/// Files of the served version by their names.
fn files(source: &Source) -> BTreeMap<String, u64> {
    let (current, manifest) = (source.dir.current(), source.dir.manifest());
    let inode = |key: &String| (key.clone(), fs::metadata(current.join(key)).unwrap().ino());
    manifest.artifacts.iter().filter(|(key, artifact)| **key == artifact.path).map(|(key, _)| inode(key)).collect()
}

/// The files that are not those of before.
fn written(source: &Source, before: &BTreeMap<String, u64>) -> BTreeSet<String> {
    files(source).into_iter().filter(|(key, inode)| before.get(key) != Some(inode)).map(|(key, _)| key).collect()
}

fn change(source: &Source, run: impl FnOnce(&mut World)) {
    let mut world = source.misp.world();
    run(&mut world);
    world.now += 1;
}

#[test]
fn nothing_new_makes_nothing_and_writes_nothing() {
    let source = source();
    let before = source.on_disk();
    for full in [false, true, false] {
        let report = source.good(full);
        assert_eq!((report.version, report.rendered), (None, 0), "full: {full}");
        assert_eq!(source.on_disk(), before, "full: {full}");
    }
}

#[test]
fn one_value_makes_the_lists_that_hold_it_and_no_other() {
    let source = source();
    let before = files(&source);
    // In the window of two ages, not of the shortest.
    change(&source, |world| {
        let old = world.now - 7200;
        add(world, BLOCK, vec![row(100).at(old)]);
    });
    let report = source.good(false);
    assert_eq!(report.rendered, 2);
    let names = ["feed/block/ipv4/10y.txt", "feed/block/ipv4/1d.txt"];
    assert_eq!(written(&source, &before), names.map(str::to_owned).into());
    source.assert_true("one more");
    assert_eq!(report.changes["block/ipv4"].added, 1);
    assert_eq!(report.changes["hunt/domain"].entries, 3, "what is carried is counted");

    let before = files(&source);
    let report = source.expire(3600);
    assert_eq!(report.rendered, 4, "the shortest age of every list");
    assert!(written(&source, &before).iter().all(|key| key.ends_with("/1h.txt")));
    source.assert_true("an hour later");
}

#[test]
fn lists_on_demand_are_made_alone_and_kept_with_the_others() {
    let source = source();
    let (data_type, age) = ("ipv4".to_owned(), "10y".to_owned());
    let wanted = Wanted { of: Of::Feed("hunt".into()), data_type, age, format: "json".into() };
    let before = files(&source);
    assert_eq!(source.render(wanted).rendered, 1);
    assert_eq!(written(&source, &before), ["feed/hunt/ipv4/10y.json".to_owned()].into());
    // Three ages as text, one of them in both formats.
    change(&source, |world| {
        add(world, HUNT, vec![row(50)]);
    });
    let before = files(&source);
    let report = source.good(false);
    assert_eq!(report.rendered, 4);
    assert!(written(&source, &before).iter().all(|key| key.starts_with("feed/hunt/ipv4/")));
    source.good(true);
    assert_eq!(source.good(false).rendered, 0);
}

#[test]
fn what_is_counted_of_a_list_does_not_depend_on_what_is_asked_for() {
    let mut source = source();
    let counted = source.dir.manifest().losses;
    assert!(counted["hunt/ipv4"].listed == 3, "at the largest age: {counted:?}");
    // The second time nothing is kept in memory that it could be taken from.
    for format in ["json", "xml"] {
        let (data_type, age) = ("ipv4".to_owned(), "1h".to_owned());
        source.render(Wanted { of: Of::Feed("hunt".into()), data_type, age, format: format.into() });
        assert_eq!(source.dir.manifest().losses, counted, "{format}");
        let artifact = &source.dir.manifest().artifacts[&format!("feed/hunt/ipv4/1h.{format}")];
        assert_eq!(artifact.entries, 1, "{format}");
        source.reopen();
    }
}

#[test]
fn a_format_that_is_asked_for_later_does_not_hide_that_time_went_by() {
    let source = source();
    let wanted = |format: &str| Wanted {
        of: Of::Feed("hunt".into()),
        data_type: "ipv4".into(),
        age: "1h".into(),
        format: format.into(),
    };
    source.later(3600);
    source.render(wanted("json"));
    let entries = |key: &str| source.dir.manifest().artifacts[key].entries;
    assert_eq!((entries("feed/hunt/ipv4/1h.json"), entries("feed/hunt/ipv4/1h.txt")), (0, 1));
    source.expire(1);
    assert_eq!(entries("feed/hunt/ipv4/1h.txt"), 0, "the other format was made before");
}
