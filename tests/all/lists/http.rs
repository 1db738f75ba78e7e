//! `http_lists.jsonl.xz`: whole requests and their answers, with the keys of every scenario and fault.
//!
//! Every key is that of another user, so each has a view of its own at the one recorded site. Keys with a fault have served once
//! before it begins.

use std::collections::BTreeSet;
use std::io::Read;
use std::time::Duration;

use cratos::orders::{self, Order, Ticket};
use flate2::read::GzDecoder;
use serde_json::Value;

use super::bodies;
use super::ids::Id;
use super::rows::{Body, Expected, NOT_YET, Row};
use super::served::{SITE, Served, has_url, token};
use super::tally::Tally;
use super::target::Wanted;
use crate::cmd::wait_for;
use crate::corpus::{Corpora, fault_names};
use crate::dir;
use crate::http::{self, Answer};
use crate::recorded;

/// Rows under each id.
const DECIDED: [(Id, usize); 20] = [
    ("D2", 7),
    ("D4", 38),
    ("D5", 12),
    ("D6", 7),
    ("D8", 32),
    ("D9", 23),
    ("D10", 3),
    ("D17", 7),
    ("D18", 12),
    ("D18 allow", 45),
    ("D20", 161),
    ("D21", 5),
    ("D24", 1),
    ("D26", 2),
    ("D31", 10),
    ("D32", 12),
    ("D33", 12),
    ("D34", 1),
    ("D36", 21),
    ("D37", 8),
];

#[test]
fn every_recorded_request_is_answered_as_recorded_or_as_decided() {
    let text = recorded::xz("http_lists.jsonl.xz");
    let mut rows: Vec<Row> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.len(), 757);
    let corpora = Corpora::load(0);
    let faults = fault_names().chain(["e403", "unknownkey"]).map(str::to_owned);
    let names: Vec<String> = corpora.scenarios().cloned().chain(faults).collect();
    let served = Served::start(&names);
    break_down(&served);
    let mut tally = Tally::default();
    for row in &mut rows {
        replay(&served, row, &mut tally);
    }
    tally.check("http_lists", rows.len(), &DECIDED);
}

/// From now on faults are faults; refreshes that meet them go on beside the test.
fn break_down(served: &Served) {
    served.corpora.break_down();
    served.misp.requests();
    let order = |name| {
        let order = Order { site: SITE.into(), view: served.view(name), full: true, ..Order::default() };
        orders::place(&served.dir.path().join("state"), &order).unwrap()
    };
    // An order is taken back when its ticket is dropped.
    let _tickets: Vec<Ticket> = fault_names().filter(|name| !LASTING.contains(name)).map(order).collect();
    let mut met = BTreeSet::new();
    wait_for("refreshes that meet faults", Duration::from_secs(30), || {
        let requests = served.misp.requests().into_iter();
        met.extend(requests.filter(|request| request.fault.is_some()).map(|request| request.key));
        fault_names().filter(|name| met.contains(*name)).count() >= ENOUGH
    });
    for name in UNREACHED {
        let token = token(SITE, name);
        wait_for(&format!("a failed contact of {name}"), Duration::from_secs(60), || {
            http::Client::new(served.server.port).get("/v1/check", &[("token", &token)]).status != 200
        });
    }
}

/// Faults that keep a refresh waiting for long, and all others with it.
const LASTING: [&str; 3] = ["e500search", "eslow", "eslowver"];
/// Faults of the page that `/v1/check` is about.
const UNREACHED: [&str; 5] = ["e302", "e500", "eempty", "ehtml", "enoversion"];
/// Keys whose fault a refresh has met before the requests begin.
const ENOUGH: usize = 8;

fn replay(served: &Served, row: &mut Row, tally: &mut Tally) {
    let name = row.other_key().unwrap_or_else(|| "main".into());
    let expected = match row.expected(&served.truth(&name)) {
        Ok(expected) => expected,
        Err(what) if what == NOT_YET => return tally.pending("names in a 422", &[]),
        Err(what) => return tally.failed(format!("{}: {what}", row.id)),
    };
    if let Some(reason) = missing(row) {
        return tally.pending(reason, &expected.ids);
    }
    // A tag of theirs is none of ours.
    if row.request.target.starts_with("/static/") {
        row.tag(http::get(served.server.port, &row.request.target).header("etag").unwrap_or_default());
    }
    let wire = row.request.wire("1.1");
    let answer = http::exchange(served.server.port, &wire, row.request.method == "HEAD");
    match difference(served, row, &expected, &answer) {
        Some(what) => tally.failed(format!("{} {:?}: {what}", row.id, expected.ids)),
        None if expected.ids.is_empty() => tally.equal(),
        None => tally.under(&expected.ids),
    }
}

/// Why a row cannot be asked for yet.
fn missing(row: &Row) -> Option<&'static str> {
    if row.response.status != 404 && !has_url(&row.request.method, &row.request.target) {
        return Some("URL");
    }
    Wanted::read(&row.request.target).and_then(|wanted| wanted.not_yet())
}

/// Without the moment of a check, and with the address of the recorded site in place of the one that stands in for it.
fn as_recorded(text: &str) -> String {
    let text = match text.split_once(",\"unixtimestamp\":") {
        Some((before, _)) => format!("{before}}}"),
        None => text.to_owned(),
    };
    match text.split_once("\"misp_host\":\"http://key-") {
        Some((before, host)) => {
            format!("{before}\"misp_host\":\"http://127.0.0.1{}", &host[host.find(":880").unwrap_or(0)..])
        }
        None => text,
    }
}

/// What is not as expected.
fn difference(served: &Served, row: &Row, expected: &Expected, answer: &Answer) -> Option<String> {
    if answer.status != expected.status {
        return Some(format!("{} instead of {}: {}", answer.status, expected.status, answer.text()));
    }
    for (name, value) in &expected.headers {
        if answer.header(name) != value.as_deref() {
            return Some(format!("{name}: {:?} instead of {value:?}", answer.header(name)));
        }
    }
    let moment = |text: &str| text.split_once("\"unixtimestamp\":")?.1.trim_end_matches('}').parse::<i64>().ok();
    if let Some(moment) = moment(&answer.text()).filter(|_| answer.status == 200)
        && !(served.now..=dir::now()).contains(&moment)
    {
        return Some(format!("asked at {moment}"));
    }
    let text = match answer.header("content-encoding") {
        Some("gzip") => {
            let mut text = String::new();
            GzDecoder::new(&answer.body[..]).read_to_string(&mut text).unwrap();
            text
        }
        _ => as_recorded(&answer.text()),
    };
    match &expected.body {
        Body::Any => None,
        Body::Exact(body) if body.starts_with("---") => {
            let body = bodies::settle(body, &text);
            (text != body).then(|| format!("{text:?}\n--- instead of\n{body:?}"))
        }
        Body::Exact(body) if body.contains("\"misp_host\":") => {
            let body = as_recorded(body);
            (text != body).then(|| format!("{text:?}\n--- instead of\n{body:?}"))
        }
        Body::Exact(body) => (text != *body).then(|| format!("{text:?}\n--- instead of\n{body:?}")),
        Body::Members(members) => {
            let value: Value = serde_json::from_str(&text).unwrap();
            let object = value.as_object().unwrap();
            let good = members
                .iter()
                .all(|(name, value)| object.get(name).is_some_and(|ours| value.is_null() || ours == value));
            (!good).then(|| format!("{text} without {members:?}"))
        }
        Body::Head => {
            let get = String::from_utf8(row.request.wire("1.1")).unwrap().replacen("HEAD", "GET", 1);
            let get = http::exchange(served.server.port, get.as_bytes(), false);
            let length = answer.header("content-length");
            (length != get.header("content-length") || get.status != 200).then(|| format!("{length:?} in HEAD"))
        }
    }
}
