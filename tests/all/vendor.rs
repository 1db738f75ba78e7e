//! Formats and vendor profiles over a socket: every one on demand, published by configuration, and the recorded answers around
//! the vendor URL.

use std::fs;

use cratos::index::TYPES;
use cratos::render::FORMATS;

use crate::cmd::Server;
use crate::dir::{AUTH_KEY, BLOCK, Dir, SITE, now, token};
use crate::feed::{Attribute, Event};
use crate::http::{Answer, Client};

/// In the order of a list. The first is nothing XML can hold, the last two differ by the scheme only.
const URLS: [&str; 5] =
    ["http://ctl.example/\u{1}x", "http://yes.example/?a=1&b=<2>", "no.example/?u=http://c/", "ftp://d/", "https://d/"];

fn published(formats: &str) -> Dir {
    let dir = Dir::new(&format!("publish:\n  feeds: [block]\n  formats: [{formats}]\n"));
    let urls = URLS.map(|url| Attribute::new("url", url, now() - 600));
    dir.publish(&[Event::new(1, &[BLOCK], urls.to_vec())]);
    dir
}

fn target(name: &str, vendor: bool, list: &str) -> String {
    if vendor { format!("/v1/vendor/{name}/{list}") } else { format!("/v1/{list}/output/{name}") }
}

fn sorted() -> Vec<&'static str> {
    let mut urls = URLS.to_vec();
    urls.sort_unstable();
    urls
}

/// What each format must answer: body, content type, entries.
fn expected(name: &str) -> (String, &'static str, u64) {
    const TEXT: &str = "text/plain; charset=utf-8";
    let lines = sorted().join("\r\n");
    match name {
        "txt" | "cisco" => (lines, TEXT, 5),
        "json" => {
            let values: Vec<String> =
                sorted().iter().map(|url| format!("{url:?}").replace("\\u{1}", "\\u0001")).collect();
            (format!("[{}]", values.join(", ")), "application/json", 5)
        }
        "xml" => {
            let entries =
                ["ftp://d/", "http://yes.example/?a=1&amp;b=&lt;2&gt;", "https://d/", "no.example/?u=http://c/"];
            let entries = entries.map(|entry| format!("<entry>{entry}</entry>")).concat();
            (format!("<?xml version='1.0' encoding='utf-8'?>\n<url>{entries}</url>"), "text/xml; charset=utf-8", 4)
        }
        "yaml" => {
            let lines = [
                "---",
                "- ftp://d/",
                "- \"http://ctl.example/\\x01x\"",
                "- http://yes.example/?a=1&b=<2>",
                "- https://d/",
                "- no.example/?u=http://c/",
                "",
            ];
            (lines.join("\n"), TEXT, 5)
        }
        "b64" => {
            let lines = [
                "ZnRwOi8vZC8=",
                "aHR0cDovL2N0bC5leGFtcGxlLwF4",
                "aHR0cDovL3llcy5leGFtcGxlLz9hPTEmYj08Mj4=",
                "aHR0cHM6Ly9kLw==",
                "bm8uZXhhbXBsZS8/dT1odHRwOi8vYy8=",
            ];
            (lines.join("\r\n"), TEXT, 5)
        }
        "paloalto" => {
            let lines = ["ctl.example/\u{1}x", "d/", "no.example/?u=http://c/", "yes.example/?a=1&b=<2>"];
            (lines.join("\r\n"), TEXT, 4)
        }
        other => panic!("{other}: write down what it must answer"),
    }
}

#[test]
fn every_format_is_served_on_demand_and_conditionally() {
    let dir = published("json");
    let server = Server::start(&dir);
    let token = token(SITE, AUTH_KEY, "2099-12-31");
    let mut client = Client::new(server.port);
    for format in FORMATS {
        let (name, vendor) = (format.name, format.vendor);
        let (body, content_type, entries) = expected(name);
        let target = target(name, vendor, "feed/block/type/url/age/1w");
        let first = client.get(&target, &[("token", &*token)]);
        assert_eq!((first.status, first.text()), (200, body), "{name}");
        assert_eq!(first.header("content-type"), Some(content_type), "{name}");
        let etag = first.header("etag").unwrap();
        let second = client.get(&target, &[("token", &*token), ("if-none-match", etag)]);
        assert_eq!((second.status, second.header("etag")), (304, Some(etag)), "{name}");
        let head = client.send("HEAD", &target, &[("token", &*token)]);
        assert_eq!((head.status, head.header("content-length")), (200, first.header("content-length")), "{name}");

        let artifact = dir.manifest().artifacts.remove(&format!("feed/block/url/1w.{}", format.extension)).unwrap();
        assert_eq!((artifact.entries, artifact.on_demand), (entries, name != "json"), "{name}");
        assert_eq!(fs::read(dir.current().join(&artifact.path)).unwrap(), first.body, "{name}");
    }
}

#[test]
fn an_empty_list_has_the_empty_form_of_its_format() {
    let dir = published("json");
    let server = Server::start(&dir);
    let token = token(SITE, AUTH_KEY, "2099-12-31");
    let mut client = Client::new(server.port);
    for format in FORMATS {
        let target = target(format.name, format.vendor, "feed/block/type/file-md5/age/1w");
        let answer = client.get(&target, &[("token", &*token)]);
        let body = match format.name {
            "json" => "[]",
            "xml" => "<?xml version='1.0' encoding='utf-8'?>\n<file-md5 />",
            "yaml" => "--- []\n",
            _ => "",
        };
        assert_eq!((answer.status, &*answer.text()), (200, body), "{}", format.name);
        let artifact =
            dir.manifest().artifacts.remove(&format!("feed/block/file-md5/1w.{}", format.extension)).unwrap();
        assert_eq!(artifact.path, format!("empty/file-md5.{}", format.extension));
    }
}

#[test]
fn configuration_names_vendors_as_formats_and_changes_are_counted_in_the_first() {
    let dir = published("paloalto, txt, xml, cisco");
    let manifest = dir.manifest();
    for (extension, entries) in [("txt", 5), ("xml", 4), ("paloalto.txt", 4), ("cisco.txt", 5)] {
        let artifact = &manifest.artifacts[&format!("feed/block/url/10y.{extension}")];
        assert_eq!((artifact.entries, artifact.on_demand), (entries, false), "{extension}");
    }
    assert!(!manifest.artifacts.keys().any(|key| key.ends_with(".json")), "nobody wants json");
    let change = manifest.changes["block/url"];
    assert_eq!((change.entries, change.added, change.removed), (5, 5, 0));

    let left = URLS[1..].iter().map(|url| Attribute::new("url", *url, now() - 600));
    let more = left.chain([Attribute::new("url", "http://new.example/", now() - 600)]).collect();
    dir.publish(&[Event { timestamp: 1_700_000_001, ..Event::new(1, &[BLOCK], more) }]);
    let change = dir.manifest().changes["block/url"];
    assert_eq!((change.entries, change.added, change.removed), (5, 1, 1));
}

const FEEDS: &str = "'incident', 'block', 'alert', 'hunt', 'cust1', 'cust2', 'cust3', 'cust4', 'cust5', 'any' or '42'";
const AGES: &str = "'1h', '2h', '6h', '12h', '1d', '2d', '3d', '4d', '5d', '6d', '1w', '2w', '3w', '1m', '2m', '3m', \
                    '4m', '5m', '6m', '9m', '1y', '2y', '4y' or '10y'";

/// One recorded mistake.
fn mistake(name: &str, input: &str, words: &str) -> String {
    format!(
        r#"{{"type":"enum","loc":["path","{name}"],"msg":"Input should be {words}","input":"{input}","ctx":{{"expected":"{words}"}}}}"#
    )
}

#[test]
fn the_vendor_url_answers_as_recorded() {
    let dir = published("txt");
    let server = Server::start(&dir);
    let token = token(SITE, AUTH_KEY, "2099-12-31");
    let mut client = Client::new(server.port);
    let mut ask = |method: &str, target: &str| client.send(method, target, &[("token", &*token)]);
    let types: Vec<String> = TYPES.iter().map(|data_type| format!("'{}'", data_type.name)).collect();
    let (last, others) = types.split_last().unwrap();
    let types = format!("{} or {last}", others.join(", "));
    let cache = r#"{"type":"int_parsing","loc":["query","cache"],"msg":"Input should be a valid integer, unable to parse string as an integer","input":"x"}"#;
    let all = [
        mistake("vendorName", "a", "'paloalto' or 'cisco'"),
        mistake("feedName", "b", FEEDS),
        mistake("dataType", "c", &types),
        mistake("dataAge", "d", AGES),
        cache.into(),
    ];
    let unknown = |name: &str| mistake("vendorName", name, "'paloalto' or 'cisco'");
    let formats = |name: &str| mistake("returnedDataType", name, "'txt', 'json', 'xml', 'yaml' or 'b64'");
    for (target, mistakes) in [
        ("/v1/vendor/fortinet/feed/any/type/url/age/10y", unknown("fortinet")),
        ("/v1/vendor/a/feed/b/type/c/age/d?cache=x", all.join(",")),
        // Each URL takes its own.
        ("/v1/vendor/txt/feed/any/type/url/age/10y", unknown("txt")),
        ("/v1/feed/any/type/url/age/10y/output/cisco", formats("cisco")),
        ("/v1/feed/any/type/ipv4/age/10y/output/csv", formats("csv")),
    ] {
        let answer = ask("GET", target);
        assert_eq!((answer.status, answer.text()), (422, format!("{{\"detail\":[{mistakes}]}}")), "{target}");
        assert_eq!(answer.header("content-type"), Some("application/json"), "{target}");
    }
    let good = "/v1/vendor/paloalto/feed/any/type/url/age/10y";
    for method in ["POST", "OPTIONS", "DELETE"] {
        let answer = ask(method, good);
        let seen = (answer.status, answer.text(), answer.header("allow").map(str::to_owned));
        assert_eq!(seen, (405, r#"{"detail":"Method Not Allowed"}"#.into(), Some("GET, HEAD".into())), "{method}");
    }
    let answer = ask("GET", &format!("{good}/"));
    assert_eq!((answer.status, answer.header("location")), (307, Some(good)));
    let text = |answer: Answer| (answer.status, answer.text());
    assert_eq!(text(ask("GET", &format!("{good}/output/txt"))), (404, r#"{"detail":"Not Found"}"#.into()));
    assert_eq!(ask("GET", "/v1/vendor/cisco/feed/cust2/type/url/age/1d").status, 404);
    let no_token = r#"{"detail":"Could not validate token, or token not set."}"#;
    assert_eq!(text(Client::new(server.port).get(good, &[])), (403, no_token.into()));
}
