//! What an operator writes: entries, files, what is let through, and mistakes; and that a change counts with the next refresh.

use std::time::Duration;

use super::{reasons, refreshed, world};
use crate::cmd::{Server, wait_for};
use crate::dir::{AUTH_KEY, BLOCK, Dir, SITE, now, token};
use crate::feed::{Attribute, Event};
use crate::http::Client;
use crate::source::Source;

const LISTS: &str = "publish: {feeds: [block], types: [ipv4, cidr4, ipv4ext, domain], ages: [10y], formats: [txt]}\n";
const ADDRESSES: &str = "feed/block/ipv4/10y.txt";
const NETWORKS: &str = "feed/block/cidr4/10y.txt";
const ROWS: &[(&str, &str)] =
    &[("ip-dst", "10.0.0.1"), ("ip-dst", "10.0.0.2"), ("ip-dst", "5.6.7.8"), ("ip-dst", "5.6.0.0/22")];

fn list(source: &Source, key: &str) -> Vec<String> {
    source.published()[key].iter().cloned().collect()
}

#[test]
fn a_change_counts_with_the_next_refresh_and_pulls_nothing_anew() {
    let mut source = Source::new(world(ROWS), LISTS);
    source.good(true);
    assert_eq!(list(&source, ADDRESSES), ["10.0.0.1", "10.0.0.2", "5.6.7.8"]);
    let file = std::fs::read_to_string(source.dir.path().join(format!("sites/{SITE}.yaml"))).unwrap();
    for (settings, addresses, networks) in [
        ("never_publish: [default]\n", vec!["5.6.7.8"], vec!["5.6.0.0/22"]),
        ("never_publish: [default]\nalways_publish: [10.0.0.2]\n", vec!["10.0.0.2", "5.6.7.8"], vec!["5.6.0.0/22"]),
        ("never_publish: [default, 5.6.0.0/16]\n", vec![], vec![]),
        ("never_publish: [5.6.1.0/24]\nmin_prefix: 22\n", vec!["10.0.0.1", "10.0.0.2", "5.6.7.8"], vec![]),
        ("min_prefix: 23\n", vec!["10.0.0.1", "10.0.0.2", "5.6.7.8"], vec![]),
        ("min_prefix: 22\n", vec!["10.0.0.1", "10.0.0.2", "5.6.7.8"], vec!["5.6.0.0/22"]),
    ] {
        source.dir.site(SITE, &format!("{file}{settings}"));
        source.reopen();
        let report = source.good(false);
        assert!(!report.full && report.read == 0, "{settings}{report:?}");
        assert_eq!(
            (list(&source, ADDRESSES), list(&source, NETWORKS)),
            (strings(&addresses), strings(&networks)),
            "{settings}"
        );
        assert_eq!(source.held(), Vec::<String>::new(), "what the operator keeps back is not held: {settings}");
        assert_eq!(source.good(false).version, None, "and nothing more: {settings}");
        source.reopen();
        assert_eq!(source.good(false).version, None, "after a restart neither: {settings}");
    }
}

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[test]
fn networks_wider_than_min_prefix_are_counted_under_its_name() {
    let source = refreshed(ROWS, &format!("{LISTS}min_prefix: 23\n"));
    assert_eq!(reasons(&source, "cidr4")["network wider than min_prefix"], 1);
    assert_eq!(reasons(&source, "ipv4ext")["network wider than min_prefix"], 1);
    assert_eq!(source.dir.manifest().refusals["cidr4"]["network wider than min_prefix"], 1);
    assert_eq!(list(&source, "feed/block/ipv4ext/10y.txt"), ["10.0.0.1", "10.0.0.2", "5.6.7.8"]);
}

#[test]
fn what_config_yaml_says_counts_at_every_site_and_sites_add_to_it() {
    let dir = Dir::new("never_publish: [file: own.txt]\nalways_publish:\n  - 192.0.2.9\n");
    let file = std::fs::read_to_string(dir.path().join("config/config.yaml")).unwrap();
    dir.write("config/config.yaml", &format!("{file}never_publish:\n  - default\n  - file: shared.txt\n"));
    dir.write("own.txt", "# our office\n198.18.0.0/15  # lab\n\nCorp.Example.Net\n");
    dir.write("shared.txt", "\u{feff}5.6.7.0/24\r\n");
    let values = ["192.0.2.1", "192.0.2.9", "198.18.1.1", "5.6.7.8", "5.6.8.8"];
    let rows = values.map(|value| Attribute::new("ip-dst", value, now() - 600)).to_vec();
    dir.publish(&[Event::new(1, &[BLOCK], rows)]);
    let published = crate::source::published(&dir);
    assert_eq!(published[ADDRESSES].iter().collect::<Vec<_>>(), ["192.0.2.9", "5.6.8.8"]);
    let said = dir.run(&["check"]).good().out;
    assert!(said.contains("Never published: default, 1 entry"), "{said}");
    dir.write("config/config.yaml", &format!("{file}never_publish: [warninglist: Top]\n"));
    let noted = dir.run(&["check"]).good().out;
    assert!(noted.contains("it reads a feed, so the warninglists"), "{noted}");
    assert!(
        said.contains(&format!("Never published at {SITE}: default, 3 entries (always_publish: 1 entry)")),
        "{said}"
    );
}

#[test]
fn mistakes_name_the_file_the_line_and_the_remedy() {
    for (settings, expected) in [
        (
            "never_publish:\n  - http://corp.example/\n",
            ["never_publish: \"http://corp.example/\" is a URL", "write the host alone"],
        ),
        ("never_publish:\n  - 10.0.0.0/64\n", ["\"10.0.0.0/64\" is no network", "0 to 32"]),
        ("never_publish: default\n", ["never_publish: expected a list", "- value"]),
        ("never_publish:\n  - file: missing.txt\n", ["missing.txt cannot be read", "one entry per line"]),
        ("never_publish:\n  - file: own.txt\n", ["own.txt:3:1: never_publish: \"10.0.0.1:80\" has a port", "alone"]),
        ("never_publish:\n  - file: .\n", [". is no file", "one entry per line"]),
        ("never_publish:\n  - warninglist: Top\n", ["only a MISP has warninglists", "`file:`"]),
        ("never_publish:\n  - fille: own.txt\n", ["`fille:` is no kind of item", "`file:`"]),
        ("always_publish: [default]\n", ["\"default\" is a word of never_publish", "let through"]),
        ("always_publish:\n  - warninglist: Top\n", ["`warninglist:` is no kind of item", "an entry or `file:`"]),
        ("min_prefix: 33\n", ["min_prefix: expected a whole number from 0 to 32", "found 33"]),
    ] {
        let dir = Dir::new(settings);
        dir.write("own.txt", "10.0.0.1\n# fine so far\n10.0.0.1:80\n");
        let said = dir.run(&["check"]).with_code(2).err;
        assert!(expected.iter().all(|part| said.contains(part)), "{settings}{said}");
        assert!(said.contains(&format!("sites/{SITE}.yaml")) || said.contains("own.txt:3"), "{said}");
    }
}

#[test]
fn init_switches_the_default_on_and_old_folders_stay_as_they_are() {
    let temp = tempfile::tempdir().unwrap();
    crate::cmd::run(temp.path(), &["init", "--site", SITE, "--feed", "feed"]).good();
    let said = crate::cmd::run(temp.path(), &["check"]).good().out;
    assert!(said.contains("Never published: default"), "{said}");
    let old = Dir::new("");
    assert!(old.run(&["check"]).good().out.contains("Never published: nothing"));
    old.publish(&[Event::new(1, &[BLOCK], vec![Attribute::new("ip-dst", "10.0.0.1", now() - 600)])]);
    assert!(crate::source::published(&old)[ADDRESSES].contains("10.0.0.1"));
}

#[test]
fn a_running_server_takes_a_changed_file_over() {
    let dir = Dir::new("");
    let file = std::fs::read_to_string(dir.path().join("config/config.yaml")).unwrap();
    dir.write("config/config.yaml", &format!("{file}never_publish: [file: own/own.txt]\n"));
    dir.write("own/own.txt", "10.0.0.1\n");
    let rows = ["10.0.0.1", "10.0.0.2"].map(|value| Attribute::new("ip-dst", value, now() - 600)).to_vec();
    dir.publish(&[Event::new(1, &[BLOCK], rows)]);
    let server = Server::start(&dir);
    let token = token(SITE, AUTH_KEY, "2099-12-31");
    let serves = |expected: &str| {
        wait_for(expected, Duration::from_secs(20), || {
            let answer =
                Client::new(server.port).get("/v1/feed/block/type/ipv4/age/10y/output/txt", &[("token", &token)]);
            answer.status == 200 && answer.text() == expected
        });
    };
    serves("10.0.0.2");
    dir.write("own/own.txt", "10.0.0.2\n");
    serves("10.0.0.1");
    // A mistake in it leaves everything as it is.
    dir.write("own/own.txt", "10.0.0.1\n10.0.0.\n");
    wait_for("the mistake in the log", Duration::from_secs(20), || server.log().contains("own/own.txt:2:1"));
    serves("10.0.0.1");
}
