//! Tests of `trace.rs`: which rows are about a value, and that its fate is the one select gives them.

use std::collections::BTreeSet;

use uuid::Uuid;

use super::*;
use crate::fetch::wire;
use crate::index::intake::Intake;
use crate::index::mirror::Coverage;
use crate::index::never::Entry;
use crate::index::{TYPES, TagFeed};

const NOW: i64 = 1_000_000;
const BLOCK: &str = "t:block";
const FALSE: &str = "t:false";

fn rules() -> Rules {
    let types = TYPES.iter().map(|data_type| TypeRule {
        data_type,
        misp_types: data_type.misp_types.iter().map(|name| (*name).to_owned()).collect(),
    });
    Rules {
        feeds: vec![TagFeed { name: "block".into(), tag: BLOCK.into(), published_only: true }],
        false_positive: FALSE.into(),
        ignore_to_ids: BTreeSet::new(),
        types: types.collect(),
        bounds: Bounds::default(),
        unpublish_grace: 0,
    }
}

/// Each row in an event of its own: MISP type, value, tags; whether the event is published.
fn mirror(rows: &[(&str, &str, &[&str], bool)]) -> Mirror {
    let mut intake = Intake::full(None, [0; 32], Coverage::Everything, rules().misp_types(), 500);
    for (at, (kind, value, tags, published)) in rows.iter().enumerate() {
        let uuid = Uuid::from_u128(at as u128 + 1);
        let attribute = wire::Attribute {
            uuid,
            kind: (*kind).into(),
            value: (*value).into(),
            timestamp: NOW - 10 * at as i64,
            to_ids: true,
            on_warninglist: false,
            tags: tags.iter().map(|tag| (*tag).into()).collect(),
        };
        intake.attribute(&uuid, &attribute);
        intake.event(&wire::Event {
            uuid,
            timestamp: NOW,
            published: *published,
            creator: Uuid::from_u128(77),
            tags: Vec::new(),
            false_positives: 0,
            malformed: 0,
        });
    }
    intake.finish().0
}

fn of(rows: &[(&str, &str, &[&str], bool)], text: &str) -> Trace {
    of_never(rows, text, &[])
}

fn of_never(rows: &[(&str, &str, &[&str], bool)], text: &str, never: &[&str]) -> Trace {
    let entries: Vec<Entry> = never.iter().map(|text| Entry::parse(text).unwrap()).collect();
    let never = Never::new(&entries, &[], &[]).unwrap();
    let organisations = BTreeSet::from([Uuid::from_u128(77), Uuid::from_u128(78)]);
    trace(&mirror(rows), (&rules(), &never), text, &organisations, NOW)
}

fn fates<'a>(trace: &'a Trace, feed: &str, data_type: &'static str) -> &'a Fates {
    &trace.lists[&(Slice::Feed(feed.into()), data_type)]
}

#[test]
fn what_is_copied_from_a_list_is_found_however_misp_writes_it() {
    for (kind, value, asked, data_type) in [
        ("domain", "EVIL.Example.", "evil.example", "domain"),
        ("domain", "evil.example", "EVIL.example.", "domain"),
        ("domain|ip", "a.example|192.0.2.7", "192.0.2.7", "ipv4"),
        ("domain|ip", "a.example|192.0.2.7", "a.example|192.0.2.7", "hostname"),
        ("ip-dst", "192.0.2.0/24", "192.0.2.7", "ipv4ext"),
        ("ip-dst", "192.0.2.9/24", "192.0.2.0/24", "cidr4"),
        ("ip-dst|port", "[2001:DB8::1]|443", "2001:db8::1", "ipv6"),
        ("md5", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "file-md5"),
        ("yara", "rule a\n{}\n", "rule a\n{}", "yara"),
    ] {
        let trace = of(&[(kind, value, &[BLOCK], true), (kind, "else", &[BLOCK], true)], asked);
        assert_eq!(trace.kinds[kind].attributes, 1, "{asked}");
        assert_eq!(fates(&trace, "block", data_type).listed, 1, "{asked}");
    }
    let pair = of(&[("domain|ip", "a.example|192.0.2.7", &[BLOCK], true)], "a.example");
    assert_eq!((fates(&pair, "block", "hostname").listed, pair.kinds.len()), (1, 1));
    assert!(!pair.lists.contains_key(&(Slice::Feed("block".into()), "ipv4")), "the other half is another value");
    let other = of(&[("url", "http://evil.example/", &[BLOCK], true)], "evil.example");
    assert!(other.kinds.is_empty(), "a part of a value is not the value");
}

#[test]
fn every_rule_has_its_rows() {
    let rows: &[(&str, &str, &[&str], bool)] = &[
        ("ip-dst", "192.0.2.7", &[], true),
        ("ip-dst", "192.0.2.7", &[BLOCK], false),
        ("ip-src", "192.0.2.7", &[BLOCK, FALSE], true),
        ("ip-src", "192.0.0.0/8", &[BLOCK], true),
    ];
    let trace = of(rows, "192.0.2.7");
    let lost = |feed, data_type| -> Vec<(Loss, u64)> {
        fates(&trace, feed, data_type).lost.iter().map(|(loss, lost)| (*loss, lost.rows)).collect()
    };
    let common = [(Loss::NotInFeed, 1), (Loss::Unpublished, 1), (Loss::FalsePositive, 1)];
    assert_eq!(lost("block", "ipv4"), common);
    assert_eq!(lost("block", "ipv4ext"), [&common[..], &[(Loss::Refused(Refusal::TooWide), 1)]].concat());
    assert_eq!((fates(&trace, "any", "ipv4").listed, fates(&trace, "any", "ipv4").newest), (1, Some(NOW)));
    assert_eq!(fates(&trace, "block", "ipv4").lost[&Loss::Unpublished].event, Uuid::from_u128(2));
    let (dst, src) = (&trace.kinds["ip-dst"], &trace.kinds["ip-src"]);
    assert_eq!((dst.attributes, dst.events, dst.published, dst.since, dst.newest), (2, 2, 1, 500, NOW));
    assert_eq!((src.attributes, src.false_positive), (2, 1), "the network is about the address, too");
    let organisation = Slice::Organisation(Uuid::from_u128(77).to_string().into());
    assert_eq!(trace.lists[&(organisation, "ipv4")].listed, 1);
    let other = Slice::Organisation(Uuid::from_u128(78).to_string().into());
    assert_eq!(trace.lists[&(other, "ipv4")].lost[&Loss::NotInFeed].rows, 3);
}

#[test]
fn what_no_list_can_hold_is_found_as_misp_has_it() {
    let trace = of(&[("domain", "not a host", &[BLOCK], true)], "not a host");
    assert!(!trace.lines.contains_key("domain"));
    assert_eq!(fates(&trace, "block", "domain").lost[&Loss::Refused(Refusal::NotAHostName)].rows, 1);
    let half = of(&[("domain|ip", "not a host|192.0.2.7", &[BLOCK], true)], "not a host");
    assert_eq!(half.kinds["domain|ip"].attributes, 1);
    assert!(!half.lists.contains_key(&(Slice::Feed("block".into()), "ipv4")));
}

#[test]
fn what_must_never_be_published_is_told_with_its_entry() {
    let rows: &[(&str, &str, &[&str], bool)] =
        &[("ip-dst", "192.0.2.7", &[BLOCK], true), ("domain|ip", "a.example|192.0.2.7", &[], true)];
    let trace = of_never(rows, "192.0.2.7", &["192.0.2.0/24"]);
    let lost = &fates(&trace, "block", "ipv4").lost;
    assert_eq!(lost[&Loss::NeverPublish].entry.as_deref(), Some("192.0.2.0/24"));
    assert_eq!((lost[&Loss::NotInFeed].rows, &lost[&Loss::NotInFeed].entry), (1, &None), "the first rule counts");
    assert_eq!(fates(&trace, "any", "ipv4").lost[&Loss::NeverPublish].rows, 2);
    assert_eq!(trace.never.as_deref(), Some("192.0.2.0/24"));
    let absent = |text| of_never(&[], text, &["192.0.2.0/24", "corp.example"]).never;
    assert_eq!(absent("192.0.2.9").as_deref(), Some("192.0.2.0/24"));
    assert_eq!(absent("http://www.corp.example/x").as_deref(), Some("corp.example"));
    assert_eq!(absent("198.51.100.9"), None);
}

#[test]
fn a_value_nobody_has_has_lists_without_rows() {
    let trace = of(&[("ip-dst", "192.0.2.7", &[BLOCK], true)], "192.0.2.8");
    assert!(trace.kinds.is_empty());
    assert_eq!(fates(&trace, "block", "ipv4"), &Fates::default());
    assert!(!trace.lists.contains_key(&(Slice::Feed("block".into()), "cidr4")));
}
