//! Each rule with a value that it keeps out, what is like a value nobody has, what holds a version back, and what the command
//! says if there is nothing to say.

use std::time::Duration;

use cratos::refresh::Act;
use serde_json::{Value, json};

use super::{SETTINGS, explain, of_list, rules, source, world};
use crate::cmd::{Server, wait_for};
use crate::dir::{Dir, SITE};
use crate::misp::ADMIN_KEY;
use crate::source::{self, BLOCK, HUNT, Source, add, address, row, settle};

#[test]
fn every_rule_is_named() {
    let source = source();
    for (value, list, verdict, rule, says) in [
        ("198.51.100.1", "block/ipv4", "in", "", ""),
        ("198.51.100.2", "block/ipv4", "in", "too old", "older than 1d"),
        ("198.51.100.1", "any/ipv4", "on_demand", "not asked for", "the first request reads all"),
        ("198.51.100.1", "hunt/ipv4", "out", "not in this feed", "tag is on neither"),
        ("198.51.100.3", "block/ipv4", "out", "to_ids off", "IDS flag (to_ids) is off"),
        ("198.51.100.4", "block/ipv4", "out", "false positive", "the false-positive tag example:"),
        ("198.51.100.5", "block/ipv4", "out", "on a warninglist", "on a warninglist of the MISP"),
        ("198.51.100.5", "42/ipv4", "on_demand", "not asked for", ""),
        ("198.51.100.6", "block/ipv4", "out", "too old", "older than 1y"),
        ("198.51.100.20", "block/ipv4", "out", "not in this feed", ""),
        ("198.51.100.20", "hunt/ipv4", "in", "", ""),
        ("198.51.100.21", "block/ipv4", "out", "event not published", "is not published"),
        ("198.51.100.22", "block/ipv4", "out", "not in the mirror", "no attribute that is known"),
        ("198.51.100.1", "block/cidr4", "out", "not a network", ""),
        ("203.0.113.0/28", "block/cidr4", "in", "", ""),
        ("203.0.113.0/28", "block/ipv4ext", "in", "", ""),
        ("203.0.113.0/28", "block/ipv4", "out", "a network, not an address", ""),
        ("203.0.113.5", "block/ipv4ext", "in", "", ""),
        ("203.0.113.5", "block/ipv4", "out", "not in the mirror", ""),
        ("20.0.0.0/12", "block/ipv4ext", "out", "network wider than ipv4ext_widest", "`ipv4ext_widest` (now 16)"),
        ("20.1.2.3", "block/ipv4ext", "out", "network wider than ipv4ext_widest", ""),
        ("10.0.0.0/8", "block/cidr4", "out", "network wider than min_prefix", "`min_prefix` (now 9)"),
        ("198.51.100.40/30", "block/cidr4", "out", "never_publish", "never_publish: 198.51.100.40"),
        ("198.51.100.41", "block/ipv4ext", "out", "never_publish", "never_publish: 198.51.100.40"),
        ("http://www.shop.example/a", "any/url", "out", "never_publish", "never_publish: shop.example"),
        ("http://www.shop.example/a", "hunt/url", "out", "not in this feed", ""),
        ("not a name", "block/domain", "out", "not a host name", ""),
        ("evil.example", "block/domain", "in", "", ""),
        ("EVIL.Example.", "block/domain", "in", "", ""),
        ("pair.example", "block/hostname", "in", "", ""),
        ("198.51.100.9", "block/ipv4", "in", "", ""),
        ("rule a\n{}", "block/yara", "in", "", ""),
    ] {
        let explained = explain(&source.dir, value, &[]);
        let answer = of_list(&explained, list);
        assert_eq!(answer["verdict"], verdict, "{value} {list}: {answer:#}");
        let expected: Vec<&str> = Some(rule).filter(|rule| !rule.is_empty()).into_iter().collect();
        assert_eq!(rules(answer), expected, "{value} {list}");
        assert!(answer["reasons"].to_string().contains(says), "{value} {list}: {answer:#}");
        assert_eq!(answer["stands"] == json!([]), verdict != "in", "{value} {list}");
    }
}

#[test]
fn where_it_stands_and_what_is_known_of_it() {
    let source = source();
    let explained = explain(&source.dir, "198.51.100.2", &["--site", SITE]);
    assert_eq!(of_list(&explained, "block/ipv4")["stands"], json!([{"formats": ["txt", "json"], "ages": ["1y"]}]));
    let known = &explained["attributes"]["ip-dst"];
    let (counted, now) =
        (["attributes", "events", "to_ids", "published"].map(|name| &known[name]), source.misp.world().now);
    assert_eq!(counted, [1, 1, 1, 1].map(Value::from).each_ref());
    assert_eq!((&known["since"], &known["newest"]), (&json!(now), &json!(now - 100 - 10 * super::DAY)));
    assert_eq!(known["tags"], json!([BLOCK]));
    assert_eq!((&explained["site"], &explained["view"]), (&json!(SITE), &json!("main")));
    assert_eq!((&explained["served"]["version"], &explained["mirror"]["everything"]), (&json!(1), &json!(false)));
    let written = explain(&source.dir, "evil.example", &[]);
    assert_eq!(written["attributes"]["domain"]["spellings"], json!(["EVIL.example."]));
    let text = source.dir.run(&["explain", "198.51.100.2"]).good().out;
    for line in ["198.51.100.2 at misp.example.net, view main\nserved: version 1 of ", "in: 1y (txt json); its newest"]
    {
        assert!(text.contains(line), "{text}");
    }
}

#[test]
fn what_nobody_has_is_not_known_and_what_is_like_it_is_named() {
    let source = source();
    for (value, likeness, near) in [
        ("MUTEX A", "other_case", "Mutex A"),
        ("203.0.113.0/24", "inside", "203.0.113.0/28"),
        ("2001:db8::1", "around", "2001:db8::/32"),
        ("sub.evil.example", "above", "EVIL.example."),
        ("host.example", "url_at_host", "http://www.host.example/a"),
        ("host.example", "below", "deep.host.example"),
        ("www.host.example/a", "with_scheme", "http://www.host.example/a"),
        ("http://deep.host.example/x", "host_of_url", "deep.host.example"),
    ] {
        let explained = explain(&source.dir, value, &[]);
        assert_eq!(explained["attributes"], json!({}), "{value}");
        let found = explained["near"].as_array().unwrap();
        let is = |row: &Value| row["likeness"] == likeness && row["value"] == near;
        assert!(found.iter().any(is) && found.len() <= 10, "{value}: {found:?}");
        let note = explained["notes"].to_string();
        assert!(note.contains("unless they are of cidr4 and a feed's tag") && note.contains("--ask"), "{note}");
    }
    let never = explain(&source.dir, "https://shop.example/", &[]);
    assert!(
        never["notes"][0].as_str().unwrap().ends_with("never_publish would keep it out: shop.example"),
        "{never:#}"
    );
    let text = source.dir.run(&["explain", "sub.evil.example"]).good().out;
    assert!(
        text.contains("No attribute that is known here has this value.") && text.contains("a domain above it"),
        "{text}"
    );
}

/// Twenty rows of `block` in events of their own, which the guard watches.
fn guarded() -> Source {
    let mut world = world();
    for number in 0..20 {
        add(&mut world, BLOCK, vec![row(number)]);
    }
    settle(&mut world);
    let settings = "keep: {all: 30d, hourly: 30d, daily: 30d}\nguard: {max_shrink: 50%, min_entries: 5}\n";
    let source = Source::new(world, &format!("{SETTINGS}{settings}"));
    source.good(true);
    source
}

#[test]
fn what_holds_a_version_back_is_named() {
    let source = guarded();
    {
        let mut world = source.misp.world();
        let events: Vec<u64> = world.events.keys().copied().filter(|id| (5..25).contains(id)).collect();
        events.into_iter().for_each(|id| world.delete_event(id));
        add(&mut world, BLOCK, vec![row(500)]);
        settle(&mut world);
    }
    let report = source.good(true);
    assert!(report.candidate.is_some(), "{report:?}");
    let new = explain(&source.dir, &address(500), &[]);
    let answer = of_list(&new, "block/ipv4");
    assert_eq!((&answer["verdict"], rules(answer)), (&json!("late"), vec!["held"]));
    assert!(answer["reasons"][0]["text"].as_str().unwrap().contains("held by the guard (block/ipv4"), "{answer:#}");
    assert_eq!(answer["reasons"][0]["remedy"], format!("cratos approve {SITE}"));
    let gone = explain(&source.dir, &address(3), &[]);
    assert_eq!(gone["attributes"], json!({}));
    let answer = of_list(&gone, "block/ipv4");
    assert_eq!((&answer["verdict"], rules(answer)), (&json!("in"), vec!["held"]), "it is served all the same");
    assert!(gone["notes"].to_string().contains("held since"), "{gone:#}");
    source.steer(Act::Approve).unwrap();
    assert_eq!(of_list(&explain(&source.dir, &address(500), &[]), "block/ipv4")["verdict"], "in");
    source.steer(Act::Rollback(1)).unwrap();
    let pinned = explain(&source.dir, &address(500), &[]);
    let answer = of_list(&pinned, "block/ipv4");
    assert_eq!((&answer["verdict"], rules(answer)), (&json!("late"), vec!["pinned"]));
    assert!(pinned["notes"].to_string().contains("the content of version 1 is served"), "{pinned:#}");
}

#[test]
fn a_feed_that_is_held_keeps_what_it_has() {
    let source = source();
    {
        let mut world = source.misp.world();
        let hunt = world.events.values().find(|event| event.attributes.len() == 1 && event.published).unwrap().id;
        world.delete_event(hunt);
        settle(&mut world);
    }
    assert!(source.good(false).holds.contains_key(&format!("feed {}", "hunt")), "{HUNT}");
    let explained = explain(&source.dir, "198.51.100.20", &[]);
    let answer = of_list(&explained, "hunt/ipv4");
    assert_eq!((&answer["verdict"], rules(answer)), (&json!("in"), vec!["held"]), "{answer:#}");
}

#[test]
fn grace_is_told() {
    let source = Source::new(world(), &format!("{SETTINGS}unpublish_grace: 2h\n"));
    source.good(true);
    {
        let mut world = source.misp.world();
        world.unpublish(1);
        settle(&mut world);
    }
    source.good(false);
    let explained = explain(&source.dir, "198.51.100.1", &[]);
    let answer = of_list(&explained, "block/ipv4");
    assert_eq!((&answer["verdict"], rules(answer)), (&json!("in"), vec!["unpublish_grace"]), "{answer:#}");
}

#[test]
fn what_is_never_published_since_just_now_leaves_with_the_next_refresh() {
    let source = source();
    let settings = SETTINGS.replace("198.51.100.40", "198.51.100.1");
    source.dir.site(SITE, &source::site(&source.misp, ADMIN_KEY, &settings));
    let explained = explain(&source.dir, "198.51.100.1", &[]);
    let answer = of_list(&explained, "block/ipv4");
    assert_eq!((&answer["verdict"], rules(answer)), (&json!("in"), vec!["not yet", "never_publish"]), "{answer:#}");
    let lists = "never_publish: [{warninglist: some}]";
    let settings = SETTINGS.replace("never_publish: [198.51.100.40, shop.example]", lists);
    source.dir.site(SITE, &source::site(&source.misp, ADMIN_KEY, &settings));
    let explained = explain(&source.dir, "198.51.100.1", &[]);
    assert!(explained["notes"].to_string().contains("what is never published is not known"), "{explained:#}");
}

#[test]
fn it_works_beside_a_running_server() {
    let misp = crate::misp::Misp::of(world());
    let dir = source::folder(&misp, ADMIN_KEY, SETTINGS);
    let _server = Server::start(&dir);
    wait_for("a first version", Duration::from_secs(60), || dir.view().join("current").exists());
    assert_eq!(of_list(&explain(&dir, "198.51.100.1", &[]), "block/ipv4")["verdict"], "in");
}

#[test]
fn questions_that_cannot_be_answered() {
    let dir = Dir::new("");
    let nothing = dir.run(&["explain", "198.51.100.1"]).with_code(1);
    assert!(nothing.err.contains("nothing is known yet of any view"), "{}", nothing.text());
    assert!(nothing.out.contains("nothing was pulled yet: `cratos refresh`"), "{}", nothing.out);
    for (arguments, says) in [
        (vec!["explain", ""], "a value has 1 to 65536 bytes"),
        (vec!["explain", "a", "--site", "misp.example.nte"], "did you mean misp.example.net?"),
        (vec!["explain", "a", "--view", "user-9"], "there is no view user-9"),
    ] {
        let bad = dir.run(&arguments).with_code(2);
        assert!(bad.err.contains(says), "{}", bad.err);
    }
    dir.run(&["refresh"]).good();
    let feed = explain(&dir, "198.51.100.1", &["--ask"]);
    assert!(feed["misp"]["failure"].as_str().unwrap().contains("there is no MISP to ask"), "{feed:#}");
    std::fs::write(dir.path().join(format!("state/{SITE}/main.mirror")), "CRATOSM3 damaged").unwrap();
    let damaged = explain(&dir, "198.51.100.1", &[]);
    assert!(damaged["notes"].to_string().contains("the mirror cannot be used"), "{damaged:#}");
}
