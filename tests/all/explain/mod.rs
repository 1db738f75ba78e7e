//! `cratos explain`: what it says, and that no answer differs from the files that are served.
//!
//! | file | about |
//! |---|---|
//! | `rules.rs` | each rule with a value that it keeps out; what holds a version back |
//! | `ask.rs` | what the MISP itself says |
//! | `random.rs` | answers against files, over a random world |

mod ask;
mod random;
mod rules;

use serde_json::Value;

use crate::dir::{self, Dir};
use crate::misp::{NewAttribute, NewEvent, World};
use crate::source::{BLOCK, FALSE_POSITIVE, HUNT, Source, add, settle};

/// Networks need no `to_ids` here, so that their attributes are known without it.
const SETTINGS: &str = "ignore_to_ids: [cidr4]\nnever_publish: [198.51.100.40, shop.example]\nmin_prefix: 9\n\
                        publish:\n  feeds: [block, hunt]\n  ages: [1d, 1y]\n  formats: [txt, json]\n";
const DAY: i64 = 86_400;

/// One attribute per rule, at this machine's time: the program explains for now.
fn world() -> World {
    let mut world = World::default();
    world.now = dir::now() - 200;
    let now = world.now;
    let new = NewAttribute::new;
    let rows = vec![
        new("ip-dst", "198.51.100.1"),
        new("ip-dst", "198.51.100.2").at(now - 10 * DAY),
        new("ip-dst", "198.51.100.3").not_to_ids(),
        new("ip-dst", "198.51.100.4").tag(FALSE_POSITIVE),
        new("ip-dst", "198.51.100.5"),
        new("ip-dst", "198.51.100.6").at(now - 400 * DAY),
        new("ip-dst", "203.0.113.0/28"),
        new("ip-dst", "10.0.0.0/8"),
        new("ip-dst", "20.0.0.0/12"),
        new("ip-dst", "2001:db8::/32"),
        new("ip-dst", "198.51.100.40/30"),
        new("url", "http://www.shop.example/a"),
        new("domain", "not a name"),
        new("domain", "EVIL.example."),
        new("domain", "deep.host.example"),
        new("domain|ip", "pair.example|198.51.100.9"),
        new("mutex", "Mutex A"),
        new("url", "http://www.host.example/a"),
        new("yara", "rule a\n{}\n"),
        new("comment", "said"),
    ];
    add(&mut world, BLOCK, rows);
    add(&mut world, HUNT, vec![new("ip-dst", "198.51.100.20")]);
    let event = world.add_event(NewEvent::new("not published").tag(BLOCK));
    world.add_attribute(event, new("ip-dst", "198.51.100.21"));
    let event = world.add_event(NewEvent::new("no tag"));
    world.add_attribute(event, new("ip-dst", "198.51.100.22"));
    world.publish(event);
    world.add_warninglist("some", &["198.51.100.5"]);
    settle(&mut world);
    world
}

fn source() -> Source {
    let source = Source::new(world(), SETTINGS);
    source.good(true);
    source
}

/// What `explain --json` says of the one view there is.
fn explain(dir: &Dir, value: &str, further: &[&str]) -> Value {
    let ended = dir.run(&[&["explain", value, "--json"], further].concat()).good();
    let whole: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!((&whole["value"], whole["views"].as_array().unwrap().len()), (&Value::from(value), 1));
    whole["views"][0].clone()
}

/// The answer about one list.
fn of_list<'a>(explained: &'a Value, list: &str) -> &'a Value {
    let lists = explained["lists"].as_array().unwrap();
    lists.iter().find(|answer| answer["list"] == list).unwrap_or_else(|| panic!("no {list} in {explained:#}"))
}

/// The rules that keep the value out of a list.
fn rules(answer: &Value) -> Vec<&str> {
    answer["reasons"].as_array().unwrap().iter().map(|reason| reason["rule"].as_str().unwrap()).collect()
}
