//! `output.jsonl.xz`: 325 bodies of lists.

use serde::Deserialize;

use super::bodies;
use super::ids::Id;
use super::served::{Served, not_yet, token, warm};
use super::tally::Tally;
use super::target::Wanted;
use crate::http::Client;
use crate::recorded;

#[derive(Deserialize)]
struct Row {
    target: String,
    status: u16,
    content_type: String,
    body: String,
}

/// Rows under each id.
const DECIDED: [(Id, usize); 13] = [
    ("D1", 18),
    ("D2", 74),
    ("D3", 7),
    ("D4", 25),
    ("D5", 59),
    ("D6", 7),
    ("D7", 7),
    ("D8", 11),
    ("D9", 26),
    ("D10", 1),
    ("D12", 1),
    ("D13", 24),
    ("D16", 18),
];

#[test]
fn every_recorded_body_of_a_list_is_as_recorded_or_as_decided() {
    let served = Served::start(&[]);
    let truth = served.truth("main");
    let token = token("127.0.0.1", "main");
    let mut client = Client::new(served.server.port);
    let mut tally = Tally::default();
    let text = recorded::xz("output.jsonl.xz");
    let rows: Vec<Row> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.len(), 325);
    let targets: Vec<&str> = rows.iter().map(|row| &*row.target).filter(|target| not_yet(target).is_none()).collect();
    warm(served.server.port, &targets, &token);
    for row in &rows {
        let wanted = Wanted::read(&row.target);
        let (ids, body) = match &wanted {
            Some(wanted) => match truth.expect(wanted, &row.body) {
                Ok(expected) => expected,
                Err(what) => {
                    tally.failed(format!("{}: {what}", row.target));
                    continue;
                }
            },
            // The only one that is no list.
            None => (vec!["D12"], row.body.replace("incident-classifition", "incident-classification")),
        };
        if let Some(reason) = not_yet(&row.target) {
            tally.pending(reason, &ids);
            continue;
        }
        let kind = wanted.as_ref().map_or("text/plain; charset=utf-8", |wanted| bodies::content_type(&wanted.format));
        assert_eq!((row.status, &*row.content_type), (200, kind), "{}", row.target);
        let answer = client.get(&row.target, &[("token", &token)]);
        let body = bodies::settle(&body, &answer.text());
        if (answer.status, answer.header("content-type"), answer.text()) != (200, Some(kind), body.clone()) {
            let at = format!("{} {ids:?}", row.target);
            tally.failed(format!("{at}: {} {:?}\n--- expected\n{body}", answer.status, answer.text()));
        } else if ids.is_empty() {
            tally.equal();
        } else {
            tally.under(&ids);
        }
    }
    tally.check("output", rows.len(), &DECIDED);
}
