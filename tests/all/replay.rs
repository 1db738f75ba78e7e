//! Recorded requests, sent as they were; answers compared with the recorded ones, or with what a difference on purpose says.
//!
//! The id of a difference is decided from the request alone, before anything is compared. A row under an id has an expected
//! answer of its own, which must not be the recorded one.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use crate::http::{self, Answer};

/// A request and its recorded answer.
#[derive(Debug, Deserialize)]
pub struct Row {
    #[serde(alias = "name")]
    pub id: String,
    pub request: Request,
    pub response: Recorded,
}

#[derive(Debug, Deserialize)]
pub struct Request {
    pub method: String,
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: Option<String>,
    pub body_b64: Option<String>,
}

#[derive(Debug, Deserialize)]
pub struct Recorded {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Option<String>,
}

/// Headers that are compared; what else an answer carries is its own affair.
const COMPARED: [&str; 6] = ["content-type", "allow", "location", "www-authenticate", "content-range", "retry-after"];

/// What must come back.
#[derive(Clone, Debug, PartialEq)]
pub struct Expected {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    /// `None`: not compared.
    pub body: Option<String>,
}

impl Expected {
    /// The recorded answer.
    pub fn recorded(row: &Row) -> Self {
        let headers = row.response.headers.iter().filter(|(name, _)| COMPARED.contains(&&**name)).cloned();
        Self { status: row.response.status, headers: headers.collect(), body: row.response.body.clone() }
    }

    /// A refusal.
    pub fn refusal(status: u16, detail: &str) -> Self {
        Self::new(status, "application/json", &format!("{{\"detail\":{}}}", serde_json::Value::from(detail)))
    }

    /// Any answer with a body.
    pub fn new(status: u16, content_type: &str, body: &str) -> Self {
        let headers = BTreeMap::from([("content-type".to_owned(), content_type.to_owned())]);
        Self { status, headers, body: Some(body.to_owned()) }
    }

    /// With one more header, or another value.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.insert(name.to_owned(), value.to_owned());
        self
    }

    /// What is wrong with an answer.
    pub fn compare(&self, answer: &Answer) -> Result<(), String> {
        let is = Self {
            status: answer.status,
            headers: COMPARED
                .iter()
                .filter_map(|name| Some(((*name).to_owned(), answer.header(name)?.to_owned())))
                .collect(),
            body: self.body.is_some().then(|| answer.text()),
        };
        if is == *self { Ok(()) } else { Err(format!("\n   is {is:?}\n  not {self:?}")) }
    }
}

impl Request {
    /// As bytes on the wire.
    pub fn wire(&self, version: &str) -> Vec<u8> {
        let latin1 = |text: &str| text.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect::<Vec<u8>>();
        let mut wire = latin1(&format!("{} {} HTTP/{version}\r\n", self.method, self.target));
        for (name, value) in &self.headers {
            wire.extend(latin1(&format!("{name}: {value}\r\n")));
        }
        wire.extend(b"\r\n");
        wire.extend(self.body.iter().flat_map(|body| body.bytes()));
        wire.extend(self.body_b64.iter().flat_map(|body| STANDARD.decode(body).unwrap()));
        wire
    }

    /// A header of the request.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(header, _)| header.eq_ignore_ascii_case(name));
        found.next().map(|(_, value)| value.as_str())
    }

    /// Sends it over a connection of its own.
    pub fn send(&self, port: u16, version: &str) -> Answer {
        http::exchange(port, &self.wire(version), self.method == "HEAD")
    }
}

/// Rows by what became of them.
#[derive(Debug, Default)]
pub struct Tally {
    equal: usize,
    by_id: BTreeMap<&'static str, usize>,
    failed: Vec<String>,
}

impl Tally {
    /// Counts a row that was compared; `id`: the difference it is under.
    pub fn count(&mut self, id: Option<&'static str>, row: &str, compared: Result<(), String>) {
        match (id, compared) {
            (None, Ok(())) => self.equal += 1,
            (Some(id), Ok(())) => *self.by_id.entry(id).or_default() += 1,
            (id, Err(wrong)) => self.failed.push(format!("{row} ({}): {wrong}", id.unwrap_or("equal"))),
        }
    }

    /// Counts a row whose expected answer, under an id, must not be the recorded one.
    pub fn compare(
        &mut self,
        id: Option<&'static str>,
        row: &str,
        recorded: &Expected,
        expected: &Expected,
        is: &Answer,
    ) {
        let compared = if id.is_some() == (recorded == expected) {
            Err(format!("the id and the expected answer disagree: {expected:?}"))
        } else {
            expected.compare(is)
        };
        self.count(id, row, compared);
    }

    /// Prints the counts, which must be these, and fails if a row did.
    pub fn finish(self, file: &str, equal: usize, by_id: &[(&'static str, usize)]) {
        let ids: Vec<String> = self.by_id.iter().map(|(id, count)| format!("{id} {count}")).collect();
        println!("{file}: {} equal, {}, {} failed", self.equal, ids.join(", "), self.failed.len());
        assert!(self.failed.is_empty(), "{file}: {} failed\n{}", self.failed.len(), self.failed.join("\n"));
        assert_eq!((self.equal, self.by_id), (equal, by_id.iter().copied().collect()), "{file}");
    }
}
