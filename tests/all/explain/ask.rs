//! What the MISP itself says: each rule that applies to an attribute which is never read, and a MISP that does not answer.

use serde_json::{Value, json};

use super::{explain, source};
use crate::misp::{Fault, Kind, NewAttribute, NewEvent};
use crate::source::{BLOCK, Source, settle};

fn says(source: &Source, value: &str) -> Vec<String> {
    source.misp.requests();
    let explained = explain(&source.dir, value, &["--ask"]);
    let requests = source.misp.requests();
    assert_eq!(requests.len(), 1, "one question: {requests:?}");
    let body = &requests[0].body;
    assert_eq!(
        ["to_ids", "published", "deleted"].map(|name| &body[name]),
        [json!([0, 1]), json!([0, 1]), json!([0, 1])].each_ref()
    );
    assert_eq!((&body["limit"], body.get("tags")), (&json!(200), None));
    let rows = explained["misp"]["attributes"].as_array().unwrap();
    rows.iter().map(|row| row["says"].as_array().unwrap().iter().map(as_text).collect::<Vec<_>>().join("; ")).collect()
}

fn as_text(value: &Value) -> &str {
    value.as_str().unwrap()
}

#[test]
fn the_rule_of_what_is_never_read_is_named() {
    let source = source();
    {
        let mut world = source.misp.world();
        let new = NewAttribute::new;
        let event = world.add_event(NewEvent::new("later").tag(BLOCK));
        let deleted = world.add_attribute(event, new("ip-dst", "198.51.100.30"));
        world.add_attribute(event, new("domain", "flagless.example").not_to_ids());
        world.add_attribute(event, new("ip-dst", "198.51.100.31"));
        world.publish(event);
        world.attribute_mut(deleted).deleted = true;
        let event = world.add_event(NewEvent::new("a draft"));
        world.add_attribute(event, new("url", "http://draft.example/"));
        settle(&mut world);
    }
    for (value, expected) in [
        ("198.51.100.1", "belongs into block, any, 42 of ipv4ext, ipv4"),
        ("198.51.100.30", "it is deleted"),
        ("flagless.example", "not in block, any, 42 of domain: its IDS flag (to_ids) is off"),
        ("198.51.100.31", "belongs into block, any, 42 of ipv4ext, ipv4; not read yet: the next refresh does"),
        (
            "198.51.100.22",
            "belongs into any, 42 of ipv4ext, ipv4; not read: it has no feed's tag, and only tag feeds are published; it has no tag of a feed",
        ),
        ("http://draft.example/", "it has no tag of a feed; not in any, 42 of url: its event is not published"),
        (
            "198.51.100.5",
            "belongs into 42 of ipv4ext, ipv4; not in block, any of ipv4ext, ipv4, ipv6, cidr4: it is on a warninglist of the MISP",
        ),
        ("not a name", "not in block, any, 42 of domain: not a host name"),
        ("said", "the type comment is in no list (config/mappings.yaml)"),
    ] {
        assert_eq!(says(&source, value), [expected], "{value}");
    }
    assert_eq!(says(&source, "evil.example"), ["belongs into block, any, 42 of domain"], "asked for as MISP writes it");
    assert!(says(&source, "nobody.example").is_empty());
    let text = source.dir.run(&["explain", "nobody.example", "--ask"]).good().out;
    assert!(text.contains("MISP has no attribute with this value"), "{text}");
}

#[test]
fn a_misp_that_does_not_answer_is_no_failure() {
    let source = source();
    for (fault, cause) in
        [(Kind::Drop, "cannot fetch"), (Kind::Status(500), "answered 500"), (Kind::Html200, "not JSON")]
    {
        source.misp.fault(Fault::always(fault).on(""));
        let explained = explain(&source.dir, "198.51.100.1", &["--ask"]);
        let failure = explained["misp"]["failure"].as_str().unwrap();
        assert!(
            failure.starts_with("the MISP could not be asked: one value: ") && failure.contains(cause),
            "{failure}"
        );
        assert_eq!(super::of_list(&explained, "block/ipv4")["verdict"], "in", "what is known is said all the same");
        source.misp.clear_faults();
    }
}

#[test]
fn values_are_no_patterns_and_no_operators() {
    let source = source();
    for value in ["!198.51.100.1", "198.51.100.1&&x", "198.51.100._"] {
        assert!(says(&source, value).is_empty(), "{value}");
    }
}
