//! Whole configurations, read from temporary folders. In: files as an operator writes them. Out: [`Config`] or
//! mistakes.
#![allow(clippy::disallowed_methods, reason = "tests write files")]

use std::path::Path;
use std::time::Duration;

use super::*;
use crate::config::{Site, When};
use crate::fetch::Source;
use crate::web::SiteSettings;

/// As the predecessor's files look: YAML 1.1 booleans, settings without effect.
const CONFIG: &str = r#"---
debug: False
encryption_key: "0123456789abcdef-secret-one"
salt: 31415926535897932384626433
memcached_user: ""
memcached_pass: "secret-two"
memcached_port: "11211"
allways_allowed_ips:
  - "192.168.0.0/16"
reverse_proxy: yes
reverse_proxy_header: "X-Forwarded-For"
reverse_proxy_real_ip_regex: '(\b[0-9]\b)$'
reverse_proxy_regex_place: 1
access_log: "access.log"
access_log_max_bytes: 100
access_log_rotations: 5
"#;

const SITE: &str = r#"---
enabled: on
debug: false
company: Example
tag: example
mispVerifyCert: true
mispTimeoutSeconds: 50
mispDebug: False
memcached_all_timeout: 300
falsepositive_timeout: "1w"
list_stats: "1w"
allowed_ips:
  - "127.0.0.7/8"
  - 10.1.2.3
custom_feeds:
  cust1: ":incident-classification=cust1"
  phish: "rsit:fraud=phishing"
ignore_to_ids:
  - "snort"
blacklisted_api_tokens:
  - "empty"
  - "405AAC9F0C93BD399166933B5D490E7B961759E3106FB96998E9E7712EF8B033"
"#;

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    dir
}

fn good<'a>(config: &'a Config, name: &str) -> (&'a Site, &'a SiteSettings) {
    let SiteState::Good(site) = &config.sites[name] else { panic!("{:?}", config.sites[name]) };
    let SiteAccess::Good(access) = &config.web.sites[name] else { panic!("broken access") };
    (site, access)
}

/// The mistakes of one site file.
fn mistakes_of(site: &str) -> Vec<String> {
    let dir = folder(&[(MAIN_FILE, CONFIG), ("sites/a.example.yaml", site)]);
    mistakes(&load(dir.path()).unwrap()).iter().map(Mistake::to_string).collect()
}

#[test]
fn files_of_the_predecessor_load() {
    let dir = folder(&[(MAIN_FILE, CONFIG), ("sites/a.example.yaml", SITE)]);
    let config = load(dir.path()).unwrap();
    assert_eq!(config.salt.reveal(), "31415926535897932384626433");
    assert!(config.web.reverse_proxy);
    assert_eq!(config.web.proxy_header, "x-forwarded-for");
    assert_eq!(config.web.trusted_proxies.len(), 2);
    assert_eq!(config.feeds_dir, dir.path().join("feeds-out"));
    assert!(config.notes.iter().any(|note| note.contains("memcached_pass") && !note.contains("access_log")));
    let log = config.web.access_log.clone().unwrap();
    assert_eq!((log.path, log.max_bytes, log.rotations), (dir.path().join("access.log"), 100 << 20, 5));
    assert_eq!(config.web.issuance, Issuance::AllowedIps);

    let (site, access) = good(&config, "a.example");
    assert!(access.enabled && access.key.is_none());
    assert_eq!(access.allowed.iter().map(ToString::to_string).collect::<Vec<_>>(), ["127.0.0.0/8", "10.1.2.3/32"]);
    assert_eq!(access.blacklist, ["405aac9f0c93bd399166933b5d490e7b961759e3106fb96998e9e7712ef8b033"]);
    let feeds = "incident block alert hunt cust1 cust2 cust3 cust4 cust5 phish any 42";
    assert_eq!(access.feeds.join(" "), feeds);
    assert_eq!(access.undefined_feeds, ["cust2", "cust3", "cust4", "cust5"]);
    assert_eq!(access.cache_control, "private, max-age=300");
    assert_eq!(access.retry_after, 120);
    assert!(matches!(site.source, Source::None));
    assert_eq!(site.publish.feeds.join(" "), "incident block alert hunt cust1 phish");
    assert_eq!(site.publish.formats.len(), 1);
    assert_eq!(site.rules.false_positive, "example:incident-classification=false-positive");
    let rules: Vec<_> = site.rules.feeds.iter().map(|feed| (feed.tag.as_str(), feed.published_only)).collect();
    assert_eq!(rules[1], ("example:incident-classification=block", true));
    assert_eq!(rules[3], ("example:incident-classification=hunt", false));
    assert_eq!(rules[4], ("example:incident-classification=cust1", true));
    assert_eq!(rules[5], ("rsit:fraud=phishing", true));
    assert_eq!(site.token_endpoint, ("https".to_owned(), 443));
}

#[test]
fn all_mistakes_come_at_once_with_their_place() {
    let config =
        "encryption_key: short-secret\nlisten: nowhere\nrefresch: 5m\ntimezone: Mars/Olympus\nkeep:\n  al: 1d\n";
    let site = SITE.replace("10.1.2.3", "10.0.0.0/33").replace("company", "mispAuthKeey");
    let dir = folder(&[(MAIN_FILE, config), ("sites/a.example.yaml", &site), ("sites/b.example.yaml", "a: [b\n")]);
    let errors = load(dir.path()).unwrap_err();
    let text = errors.to_string();
    for part in [
        "config/config.yaml: salt: is missing",
        "config/config.yaml:1:17: encryption_key: is shorter than 16 characters",
        "config/config.yaml:2:9: listen: \"nowhere\" is no address with port; write e.g. 127.0.0.1:8080",
        "config/config.yaml:3:1: refresch: is no setting; did you mean `refresh`?",
        "config/config.yaml:4:11: timezone: \"Mars/Olympus\" is no time zone",
        "config/config.yaml:6:3: keep.al: is no setting; did you mean `all`?",
        "sites/a.example.yaml:4:1: mispAuthKeey: is no setting; did you mean `mispAuthKey`?",
        "sites/a.example.yaml:14:5: allowed_ips: \"10.0.0.0/33\" is no network; write e.g. 10.0.0.0/8",
        "sites/b.example.yaml:",
        "is not valid YAML",
    ] {
        assert!(text.contains(part), "{part} not in:\n{text}");
    }
    let shown = errors.render(true);
    assert!(shown.contains("14 |   - 10.0.0.0/33\n     |     ^"), "{shown}");
    assert!(!shown.contains("secret") && !shown.contains("| mispAuthKeey"), "{shown}");
}

#[test]
fn no_mistake_shows_a_secret() {
    let secret = "0hidden0";
    for bad in
        ["salt: [0hidden0]", "salt: @0hidden0", "salt: *0hidden0", "encryption_key: {0hidden0: 1}", "salt: 0hidden0: x"]
    {
        let dir = folder(&[(MAIN_FILE, &format!("{bad}\n"))]);
        let errors = load(dir.path()).unwrap_err();
        let shown = format!("{errors}{errors:?}{}", errors.render(true));
        assert!(!shown.contains(secret), "{shown}");
    }
    for bad in
        ["mispAuthKey: 0hidden0", "mispAuthKey:\n  - 0hidden0", "mispAuthkey: 0hidden0", "feed: ftp://u:0hidden0@host/"]
    {
        let dir = folder(&[(MAIN_FILE, CONFIG), ("sites/a.example.yaml", &format!("{SITE}{bad}\n"))]);
        let config = load(dir.path()).unwrap();
        let errors = ConfigErrors(mistakes(&config));
        assert!(!errors.0.is_empty(), "{bad}");
        let shown = format!("{errors}{config:?}{}", errors.render(true));
        assert!(!shown.contains(secret), "{shown}");
    }
}

#[test]
fn a_broken_site_touches_no_other() {
    let without = |key: &str| SITE.lines().filter(|line| !line.starts_with(key)).collect::<Vec<_>>().join("\n");
    let null =
        SITE.replace("blacklisted_api_tokens:\n  - \"empty\"", "blacklisted_api_tokens: null\nx:\n  - \"empty\"");
    let no_tag = without("tag");
    let files: [(&str, &str); 8] = [
        (MAIN_FILE, CONFIG),
        ("sites/good.example.yaml", SITE),
        ("sites/empty.example.yaml", ""),
        ("sites/notag.example.yaml", &no_tag),
        ("sites/null.example.yaml", &null),
        ("sites/bad name.yaml", SITE),
        ("sites/.hidden.yaml", "a: [b"),
        ("sites/other.yaml.example", "a: [b"),
    ];
    let dir = folder(&files);
    let config = load(dir.path()).unwrap();
    good(&config, "good.example");
    assert_eq!(config.sites.len(), 5);
    assert_eq!(config.good_sites().count(), 1);
    for name in ["empty.example", "notag.example", "null.example", "bad name"] {
        assert!(matches!(config.sites[name], SiteState::Broken(_)), "{name}");
        assert!(matches!(config.web.sites[name], SiteAccess::Broken), "{name}");
    }
    let text = ConfigErrors(mistakes(&config)).to_string();
    assert!(text.contains("sites/notag.example.yaml: tag: is missing"), "{text}");
    assert!(text.contains("blacklisted_api_tokens: expected a list"), "{text}");
}

#[test]
fn new_settings_of_a_site() {
    let key = "k".repeat(40);
    let more = "feed: https://feed.example/a\nmispUrl: http://misp.example:8080\nmispAuthKeyFile: key.txt\nrefresh: 2h\n\
         publish:\n  feeds: [any, incident, any]\n  formats: [json]\nkeep: {daily: 30d}\nmisp_ports: [8443]\n\
         refresh_time_limit: 90s\nfull_refresh: \"30 3 * * 0\"\ncache_control: no-store\n\
         ipv4ext_widest: 24\n";
    let site = format!("{SITE}{more}");
    let dir = folder(&[(MAIN_FILE, CONFIG), ("sites/a.example.yaml", &site), ("key.txt", &format!("{key}\n"))]);
    let config = load(dir.path()).unwrap();
    let (site, access) = good(&config, "a.example");
    assert_eq!(site.source.describe(), "feed https://feed.example/a/");
    assert_eq!(site.token_endpoint, ("http".to_owned(), 8080));
    assert_eq!(access.key.as_ref().unwrap().reveal(), key);
    assert!(matches!(site.refresh, When::Every(period) if period == Duration::from_secs(7200)));
    assert_eq!(site.publish.feeds, ["any", "incident"]);
    assert_eq!(site.publish.formats[0].name, "json");
    assert_eq!((site.keep.all, site.keep.daily), (Duration::from_secs(86_400), Duration::from_secs(30 * 86_400)));
    assert_eq!(access.cache_control, "no-store");
    assert_eq!(site.rules.bounds.widest, 24);
}

#[test]
fn making_tokens_and_the_access_log() {
    let read = |more: &str| {
        let lines = CONFIG.lines().filter(|line| !line.starts_with("access_log"));
        let text = lines.chain(more.lines()).collect::<Vec<_>>().join("\n");
        load(folder(&[(MAIN_FILE, &text)]).path())
    };
    for (text, issuance) in [
        ("", Issuance::AllowedIps),
        ("token_issuance: allowed_ips", Issuance::AllowedIps),
        ("token_issuance: open", Issuance::Open),
        ("token_issuance: off", Issuance::Off),
        ("token_issuance: \"Off\"", Issuance::Off),
    ] {
        assert_eq!(read(text).unwrap().web.issuance, issuance, "{text}");
    }
    assert!(read("token_issuance: opne").unwrap_err().to_string().contains("did you mean `open`?"));
    for off in ["", "access_log:  \"\"", "access_log_max_bytes: 5"] {
        assert_eq!(read(off).unwrap().web.access_log, None, "{off}");
    }
    let log =
        read("access_log: /var/log/a\naccess_log_max_bytes: \"7\"\naccess_log_rotations: 0").unwrap().web.access_log;
    assert_eq!(log, Some(LogSettings { path: "/var/log/a".into(), max_bytes: 7 << 20, rotations: 0 }));
    assert_eq!(
        read("access_log: a").unwrap().web.access_log.map(|log| (log.max_bytes, log.rotations)),
        Some((100 << 20, 5))
    );
    assert!(read("access_log_rotations: many").unwrap_err().to_string().contains("expected a whole number"));
}

#[test]
fn mistakes_in_names_of_a_site() {
    let site = format!(
        "{SITE}publish:\n  feeds: [incidnet]\n  ages: [1x]\n  types: [ipv44]\n  formats: [csv]\nipv4ext_widest: 33\n"
    );
    let site = site.replace("phish:", "alert:");
    let text = mistakes_of(&site).join("\n");
    for part in [
        "custom_feeds.alert: is a feed that every site has",
        "publish.feeds: \"incidnet\" is no feed of this site; did you mean `incident`?",
        "publish.types: \"ipv44\" is no data type; did you mean `ipv4`?",
        "publish.ages: \"1x\" is no age",
        "ipv4ext_widest: expected a whole number from 0 to 32, found 33",
        "publish.formats: \"csv\" is no format; one of: txt, json",
    ] {
        assert!(text.contains(part), "{part} not in:\n{text}");
    }
}

#[test]
fn limits_come_from_config_yaml_the_site_and_its_feeds() {
    let read = |all: &str, own: &str| {
        let (all, own) = (format!("{CONFIG}{all}\n"), format!("{SITE}{own}\n"));
        let config = load(folder(&[(MAIN_FILE, &all), ("sites/a.example.yaml", &own)]).path()).unwrap();
        good(&config, "a.example").0.guard.clone()
    };
    let limits =
        |max_shrink, max_growth, min_entries| crate::config::guard::Limits { max_shrink, max_growth, min_entries };
    let default = read("", "");
    assert_eq!((default.of("block"), default.release), (limits(50, 300, 100), 3));
    let mixed = read(
        "guard: {max_shrink: 40%, feeds: {hunt: {max_shrink: 90}}}\nhold_release: 5",
        "guard:\n  min_entries: 10\n  feeds:\n    cust1: {max_growth: \"1000 %\"}",
    );
    assert_eq!((mixed.of("block"), mixed.release), (limits(40, 300, 10), 5));
    assert_eq!(mixed.of("hunt"), limits(90, 300, 10));
    assert_eq!(mixed.of("cust1"), limits(40, 1000, 10));
    for off in ["guard: off", "guard: false", "guard: \"off\""] {
        assert_eq!(read("", off).of("block").min_entries, u64::MAX, "{off}");
        assert_eq!(read(off, "guard: {min_entries: 7}").of("block").min_entries, 7, "{off}, and a site's own");
    }
}

#[test]
fn mistakes_in_limits_name_place_and_remedy() {
    let site = "guard:\n  max_shrink: 101%\n  max_growth: much\n  min_entry: 5\n  feeds:\n    blok: {min_entries: -1}\n\
                hold_release: 0\nunpublish_grace: 99d\nexpire_when_stale: later\n";
    let text = mistakes_of(&format!("{SITE}{site}")).join("\n");
    for part in [
        "guard.max_shrink: \"101%\" is no percentage from 0% to 100%; write e.g. 50%",
        "guard.max_growth: \"much\" is no percentage",
        "guard.min_entry: is no setting; did you mean `min_entries`?",
        "guard.feeds.blok.min_entries: expected a whole number",
        "guard: \"blok\" is no feed of this site; did you mean `block`?",
        "hold_release: expected a whole number from 1 to 1000, found 0",
        "unpublish_grace: \"99d\" is outside 0s to 31d",
        "expire_when_stale: expected true or false",
    ] {
        assert!(text.contains(part), "{part} not in:\n{text}");
    }
}

#[test]
fn mappings_replace_the_built_in_types() {
    let mappings = "output: [json]\nages: {1h: \"-1 hour\"}\ntypes:\n  url: [url, uri]\n  yara2: [yara]\n";
    let dir = folder(&[(MAIN_FILE, CONFIG), (MAPPINGS_FILE, mappings), ("sites/a.example.yaml", SITE)]);
    let config = load(dir.path()).unwrap();
    let (site, _) = good(&config, "a.example");
    let of = |name: &str| site.rules.types.iter().find(|rule| rule.data_type.name == name).unwrap().misp_types.clone();
    assert_eq!(of("url"), ["url", "uri"]);
    assert_eq!(of("domain"), ["domain"]);
    assert!(config.notes.iter().any(|note| note.contains("yara2")));
}

#[test]
fn shipped_files_parse() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |name: &str| std::fs::read_to_string(root.join(name)).unwrap();
    let example = read("sites/misp.example.net.yaml.example");
    let files =
        [(MAIN_FILE, read(MAIN_FILE)), (MAPPINGS_FILE, read(MAPPINGS_FILE)), ("sites/misp.example.net.yaml", example)];
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let dir = folder(&files);
    let config = load(dir.path()).unwrap();
    let (site, _) = good(&config, "misp.example.net");
    assert_eq!(site.publish.types.len(), TYPES.len());
    for rule in &site.rules.types {
        assert_eq!(rule.misp_types, rule.data_type.misp_types, "{}", rule.data_type.name);
    }
}
