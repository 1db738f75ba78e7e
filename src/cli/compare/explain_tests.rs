//! Each id is given for what it says, and for nothing else.

use super::*;
use crate::index::{DataType, TagFeed, TypeRule};

fn answer(status: u16, content_type: &str, body: &str) -> Answer {
    Answer { status, content_type: content_type.into(), location: None, body: body.into() }
}

fn text(body: &str) -> Answer {
    answer(200, "text/plain; charset=utf-8", body)
}

fn refusal(status: u16, detail: &str) -> Answer {
    answer(status, "application/json", &format!("{{\"detail\":{detail:?}}}"))
}

struct Known {
    rules: Rules,
    standing: Standing,
    respelled: bool,
    claims: Option<Claims>,
    values: Vec<(&'static str, &'static str)>,
    published: Option<BTreeSet<String>>,
}

impl Known {
    fn new() -> Self {
        let all = crate::index::TYPES.iter();
        let types = all.map(|data_type| TypeRule {
            data_type,
            misp_types: data_type.misp_types.iter().map(|name| (*name).to_owned()).collect(),
        });
        let feed = |name: &str| TagFeed { name: name.into(), tag: name.into(), published_only: true };
        let rules = Rules {
            feeds: vec![feed("block"), feed("cust1")],
            false_positive: "fp".into(),
            ignore_to_ids: BTreeSet::from(["ja3".to_owned(), "yara".to_owned()]),
            types: types.collect(),
            bounds: crate::index::Bounds::default(),
            unpublish_grace: 0,
        };
        Self { rules, standing: Standing::Good, respelled: false, claims: None, values: Vec::new(), published: None }
    }

    fn verdict(&self, target: &str, old: &Answer, new: &Answer) -> Verdict {
        let target = Target::new(target.to_owned());
        let data_type = if let Kind::List(list) = &target.kind { DataType::named(&list.data_type) } else { None };
        let evidence = data_type.map(|data_type| Evidence::new(data_type, &self.rules.bounds, self.values.clone()));
        let asked = Asked {
            target: &target,
            claims: self.claims.as_ref(),
            respelled: self.respelled,
            standing: self.standing,
            rules: Some(&self.rules),
            evidence: evidence.as_ref().filter(|_| !self.values.is_empty()),
            published: self.published.as_ref(),
        };
        explain(&asked, old, new)
    }
}

fn ids(ids: &[Id]) -> Verdict {
    Verdict::Intended(ids.iter().copied().collect())
}

fn list(data_type: &str, format: &str) -> String {
    format!("/v1/feed/block/type/{data_type}/age/1w/output/{format}")
}

fn verdict(target: &str, old: &Answer, new: &Answer) -> Verdict {
    Known::new().verdict(target, old, new)
}

fn assert_different(verdict: &Verdict) {
    assert!(matches!(verdict, Verdict::Different(_)), "{verdict:?}");
}

#[test]
fn lines_that_become_others_or_nothing_are_explained() {
    let cases = [
        ("file-md5", "D41D8CD98F00B204E9800998ECF8427E", "d41d8cd98f00b204e9800998ecf8427e", "D2"),
        ("ipv6", "2001:0db8::0001", "2001:db8::1", "D6"),
        ("ipv6", "fe80::1%eth0", "", "D6"),
        ("cidr4", "10.1.2.3/8", "10.0.0.0/8", "D4"),
        ("vulnerability", "cve-2021-44228", "CVE-2021-44228", "D8"),
        ("vulnerability", "", "CVE-2024-12345678", "D8"),
        ("domain", "", "foo_bar.example.com", "D1"),
        ("domain", "example.com", "foo_bar.example.com", "D1"),
        ("email-address", "user@mail.example", "user@mail.example.technology", "D3"),
        ("mutex", "a\rb", "", "D5"),
        ("yara", "", "rule a\n{\n}", "D5"),
        ("ja3", "", "d41d8cd98f00b204e9800998ecf8427e", "D16"),
    ];
    for (data_type, old, new, id) in cases {
        assert_eq!(verdict(&list(data_type, "txt"), &text(old), &text(new)), ids(&[id]), "{data_type} {old:?} {new:?}");
    }
}

#[test]
fn lines_that_nothing_explains_are_different() {
    for (data_type, old, new) in [
        ("ipv4", "192.0.2.1", ""),
        ("ipv4", "", "192.0.2.1"),
        ("domain", "a.example", "b.example"),
        ("file-md5", "D41D8CD98F00B204E9800998ECF8427E", ""),
        ("file-md5", "", "d41d8cd98f00b204e9800998ecf8427e"),
        ("yara", "", "rule a {}"),
        ("url", "http://a.example/", "https://a.example/"),
        ("ipv4", "192.0.2.1\r\n192.0.2.2", "192.0.2.2\r\n192.0.2.1"),
        ("ipv4", "192.0.2.1", "192.0.2.1\r\n"),
    ] {
        assert_different(&verdict(&list(data_type, "txt"), &text(old), &text(new)));
    }
    assert_different(&verdict(&list("url", "json"), &text("[\"a\"]"), &text("[\"a\" ]")));
    assert_different(&verdict(&list("url", "txt"), &text("a"), &answer(200, "text/plain", "a")));
}

#[test]
fn values_of_the_mirror_explain_what_lines_alone_cannot() {
    let mut known = Known::new();
    let (old, new) = (text("ple.net"), text(""));
    assert_different(&known.verdict(&list("domain", "txt"), &old, &new));
    known.values = vec![("domain", "exam ple.net")];
    assert_eq!(known.verdict(&list("domain", "txt"), &old, &new), ids(&["D1"]));
    known.values.push(("domain", "ple.net"));
    assert_different(&known.verdict(&list("domain", "txt"), &old, &new));
    known.values = vec![("ip-dst|port", "2001:db8::1|80")];
    assert_eq!(known.verdict(&list("ipv6", "b64"), &text(""), &text("MjAwMTpkYjg6OjE=")), ids(&["D6"]));
}

#[test]
fn formats_have_differences_of_their_own() {
    let xml = |encoding: &str, entries: &str| {
        answer(200, "text/xml; charset=utf-8", &format!("<?xml version='1.0' encoding='{encoding}'?>\n{entries}"))
    };
    let entry = "<mutex><entry>a</entry></mutex>";
    assert_eq!(verdict(&list("mutex", "xml"), &xml("utf8", entry), &xml("utf-8", entry)), ids(&["D9"]));
    let nul = "<mutex><entry>a</entry><entry>b\0</entry></mutex>";
    assert_eq!(verdict(&list("mutex", "xml"), &xml("utf8", nul), &xml("utf-8", entry)), ids(&["D9"]));
    assert_different(&verdict(&list("mutex", "xml"), &xml("utf8", entry), &xml("latin1", entry)));
    let paloalto = "/v1/vendor/paloalto/feed/block/type/url/age/1w";
    let pairs = [("b/\r\na/", "a/\r\nb/"), ("a/\r\na/", "a/"), ("\r\na/", "a/"), ("a/\r\nc/", "a/\r\na/b?u=http://c/")];
    for (old, new) in pairs {
        assert_eq!(verdict(paloalto, &text(old), &text(new)), ids(&["D10"]), "{old:?} {new:?}");
    }
    assert_different(&verdict(&paloalto.replace("paloalto", "cisco"), &text("b/\r\na/"), &text("a/\r\nb/")));
}

#[test]
fn unpublished_events_are_told_from_published_ones() {
    let mut known = Known::new();
    let target = list("ipv4", "txt").replace("block", "incident");
    let (old, new) = (text("192.0.2.1"), text("192.0.2.1\r\n192.0.2.2"));
    assert_different(&known.verdict(&target, &old, &new));
    known.published = Some(BTreeSet::from(["192.0.2.2".to_owned()]));
    assert_eq!(known.verdict(&target, &old, &new), ids(&["D13"]));
    assert_different(&known.verdict(&list("ipv4", "txt"), &old, &new));
    assert_different(&known.verdict(&target, &new, &old));
    known.published = Some(BTreeSet::from(["192.0.2.1".to_owned()]));
    assert_different(&known.verdict(&target, &old, &new));
}

#[test]
fn statuses_differ_for_a_reason() {
    let mut known = Known::new();
    let (ok, gone) = (text("192.0.2.1"), refusal(404, "no such feed"));
    let cust = |name: &str| list("ipv4", "txt").replace("block", name);
    assert_eq!(known.verdict(&cust("cust4"), &ok, &gone), ids(&["D11"]));
    assert_different(&known.verdict(&cust("cust1"), &ok, &gone));
    assert_eq!(known.verdict(&list("ipv4", "txt"), &refusal(503, "x"), &ok), ids(&["D20"]));
    assert_eq!(known.verdict(&list("ipv4ext", "txt"), &refusal(400, "x"), &ok), ids(&["D4"]));
    assert_eq!(known.verdict(&list("ipv4", "txt"), &refusal(503, "x"), &refusal(503, "y")), ids(&["D37"]));
    assert_eq!(known.verdict("/v1/check", &refusal(504, "x"), &answer(200, "application/json", "{}")), ids(&["D31"]));
    for (old, new) in
        [(ok.clone(), refusal(503, "x")), (ok.clone(), refusal(403, "x")), (refusal(403, "x"), ok.clone())]
    {
        assert_different(&known.verdict(&list("ipv4", "txt"), &old, &new));
    }
    known.standing = Standing::Off;
    assert_eq!(known.verdict(&list("ipv4", "txt"), &ok, &refusal(403, "x")), ids(&["D16"]));
    known.standing = Standing::Broken;
    assert_eq!(known.verdict(&list("ipv4", "txt"), &refusal(500, "x"), &refusal(503, "x")), ids(&["D27"]));
    known = Known { respelled: true, ..Known::new() };
    assert_eq!(known.verdict(&list("ipv4", "txt"), &ok, &refusal(403, "is blacklisted")), ids(&["D14"]));
    let old = refusal(403, "Failed decryption of config token");
    assert_different(&known.verdict(&list("ipv4", "txt"), &old, &ok));
    known.claims = Claims::parse(&format!("https;8443;a.example;{};2099-12-31", "a".repeat(40))).ok();
    assert_eq!(known.verdict(&list("ipv4", "txt"), &old, &ok), ids(&["D17"]));
}

#[test]
fn what_is_no_list_is_compared_by_its_own_rules() {
    let json = |body: &str| answer(200, "application/json", body);
    let (old, new) = (text("x=incident-classifition=block"), text("x=incident-classification=block"));
    assert_eq!(verdict("/v1/feedmapping", &old, &new), ids(&["D12"]));
    assert_different(&verdict("/v1/feedmapping", &old, &text("")));
    let old = json("{\"ping\":\"pong\"}");
    assert_eq!(verdict("/v1/status", &old, &json("{\"ping\":\"pong\",\"state\":\"ok\"}")), ids(&["D24"]));
    assert_different(&verdict("/v1/status", &old, &json("{\"ping\":\"no\",\"state\":\"ok\"}")));
    assert_eq!(verdict("/", &json("{\"a\":1}"), &json("{\"a\":2}")), ids(&["D25"]));
    assert_different(&verdict("/", &json("{\"a\":1}"), &json("{\"b\":1}")));
    let complaint = |text: &str, place: &str| {
        answer(
            422,
            "application/json",
            &format!("{{\"detail\":[{{\"loc\":[{place:?}],\"type\":\"enum\",\"msg\":{text:?}}}]}}"),
        )
    };
    assert_eq!(verdict("/v1/nope", &complaint("a", "x"), &complaint("a or b", "x")), ids(&["D36"]));
    assert_different(&verdict("/v1/nope", &complaint("a", "x"), &complaint("a", "y")));
    let leads = |to: &str| Answer { location: Some(to.into()), ..answer(307, "", "") };
    assert_eq!(verdict("/v1/status/", &leads("http://h:1/v1/status"), &leads("/v1/status")), ids(&["D33"]));
    assert_different(&verdict("/v1/status/", &leads("http://h:1/v1/status"), &leads("/v1/help")));
    assert_eq!(verdict("/v1/status", &old, &old), Verdict::Equal);
}
