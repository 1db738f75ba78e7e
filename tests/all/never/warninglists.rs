//! Warninglists of the site's MISP, by name: when they are asked for, what counts while they cannot be had.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;

use super::world;
use crate::dir::SITE;
use crate::misp::{Fault, Kind, Warninglist, World};
use crate::source::{BLOCK, Source, add, settle};

const LIST: &str = "feed/block/hostname/10y.txt";
const TOP: &str = "Top sites";
const SETTINGS: &str = "publish: {feeds: [block], types: [hostname], ages: [10y], formats: [txt]}\n\
                        never_publish: [warninglist: \"Top sites\"]\n";

/// The list is switched off at the server: it is asked for by name.
fn with_list() -> World {
    let mut world = world(&[("hostname", "www.google.com"), ("hostname", "evil.example.net")]);
    let id = world.add_warninglist(TOP, &["google.com"]);
    world.warninglist_mut(id).kind = "hostname".into();
    world.enable_warninglist(id, false);
    world
}

fn lines(source: &Source) -> Vec<String> {
    source.published()[LIST].iter().cloned().collect()
}

/// Requests for warninglists' entries since the last look.
fn asked(source: &Source) -> usize {
    source.misp.requests().iter().filter(|request| request.path.contains("/warninglists/view/")).count()
}

#[test]
fn a_named_list_is_fetched_with_full_pulls_and_kept() {
    let mut source = Source::new(with_list(), SETTINGS);
    source.good(true);
    assert_eq!((lines(&source), asked(&source)), (vec!["evil.example.net".to_owned()], 1));
    let kept = source.dir.path().join("state").join(SITE).join("main.never.json");
    assert_eq!(kept.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    add(&mut source.misp.world(), BLOCK, vec![crate::misp::NewAttribute::new("hostname", "mail.google.com")]);
    settle(&mut source.misp.world());
    source.good(false);
    assert_eq!((lines(&source).len(), asked(&source)), (1, 0), "an incremental pull asks for no entries");
    source.reopen();
    source.good(false);
    assert_eq!((lines(&source).len(), asked(&source)), (1, 0), "over a restart");
    let id = *source.misp.world().warninglists.keys().last().unwrap();
    source.misp.world().add_to_warninglist(id, "example.net");
    source.good(true);
    assert_eq!((lines(&source), asked(&source)), (vec![], 1), "nothing held: nothing was lost at the source");
    assert_eq!(source.held(), Vec::<String>::new());
}

#[test]
fn the_last_good_one_counts_while_it_cannot_be_fetched() {
    let source = Source::new(with_list(), SETTINGS);
    source.good(true);
    for kind in [Kind::Status(500), Kind::Shape("{}".into()), Kind::CutJson(20)] {
        source.misp.fault(Fault { count: 9, ..Fault::once(kind).on("/warninglists/view/") });
        add(&mut source.misp.world(), BLOCK, vec![crate::misp::NewAttribute::new("hostname", "mail.google.com")]);
        settle(&mut source.misp.world());
        source.good(true);
        source.misp.clear_faults();
        assert_eq!(lines(&source), ["evil.example.net"]);
    }
}

#[test]
fn without_a_list_that_was_never_fetched_nothing_is_published() {
    let plain = SETTINGS.split_once("never_publish").unwrap().0;
    let mut source = Source::new(with_list(), plain);
    source.good(true);
    assert_eq!(lines(&source).len(), 2);
    let file = std::fs::read_to_string(source.dir.path().join(format!("sites/{SITE}.yaml"))).unwrap();
    for (name, error) in [("Top sites", "was never fetched"), ("Top sights", "has no warninglist \"Top sights\"")] {
        source.dir.site(SITE, &format!("{file}never_publish: [warninglist: \"{name}\"]\n"));
        source.reopen();
        if name == TOP {
            source.misp.fault(Fault { count: 99, ..Fault::once(Kind::Status(403)).on("/warninglists/view/") });
        }
        for full in [false, true] {
            let failed = source.fails(full);
            assert!(failed.contains(error), "{failed}");
        }
        source.misp.clear_faults();
    }
    assert_eq!(lines(&source).len(), 2, "as before");
    source.dir.site(SITE, &format!("{file}never_publish: [warninglist: \"{TOP}\"]\n"));
    source.reopen();
    let report = source.good(false);
    assert!(!report.full && report.read == 0, "{report:?}");
    assert_eq!(lines(&source), ["evil.example.net"]);
}

#[test]
fn a_pattern_that_cannot_be_matched_fails_the_refresh_and_names_it() {
    let mut world = with_list();
    let id = *world.warninglists.keys().last().unwrap();
    world.warninglist_mut(id).kind = "regex".into();
    world.add_to_warninglist(id, "/a(?=b)/");
    world.remove_from_warninglist(id, "google.com");
    let source = Source::new(world, SETTINGS);
    let failed = source.fails(true);
    assert!(failed.contains(TOP) && failed.contains("(?=b)") && failed.contains("file:"), "{failed}");
    let list = source.misp.world().warninglists.keys().last().copied().unwrap();
    source.misp.world().remove_from_warninglist(list, "/a(?=b)/");
    source.misp.world().add_to_warninglist(list, "/(^|\\.)google\\.[a-z]{2,3}$/i");
    source.good(false);
    assert_eq!(lines(&source), ["evil.example.net"]);
}

#[test]
fn a_list_that_an_update_spoils_or_empties_stays_as_it_was() {
    for spoil in [
        |list: &mut Warninglist| list.entries = BTreeSet::new(),
        |list: &mut Warninglist| (list.kind, list.entries) = ("regex".into(), BTreeSet::from(["/a(?=b)/".to_owned()])),
        |list: &mut Warninglist| list.kind = "no such kind".into(),
    ] {
        let mut source = Source::new(with_list(), SETTINGS);
        source.good(true);
        let id = *source.misp.world().warninglists.keys().last().unwrap();
        spoil(source.misp.world().warninglist_mut(id));
        add(&mut source.misp.world(), BLOCK, vec![crate::misp::NewAttribute::new("hostname", "other.example.net")]);
        settle(&mut source.misp.world());
        source.good(true);
        assert_eq!(lines(&source), ["evil.example.net", "other.example.net"], "refreshed, and nothing gets out");
        source.reopen();
        source.good(false);
        assert_eq!(lines(&source).len(), 2);
        let mut world = source.misp.world();
        let list = world.warninglist_mut(id);
        (list.kind, list.entries) = ("hostname".into(), BTreeSet::from(["other.example.net".to_owned()]));
        drop(world);
        source.good(true);
        assert_eq!(lines(&source), ["evil.example.net", "www.google.com"], "what can be used counts again");
    }
}
