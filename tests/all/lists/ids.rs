//! Which decisions a list may differ under, from its URL alone; and what it must be then.

use std::collections::{BTreeMap, BTreeSet};

use super::bodies;
use super::member::{self, Decisions, Member};
use super::target::{Slice, Wanted};

/// A decision of the migration table.
pub type Id = &'static str;

/// The decision about the values of a data type.
pub fn of_values(data_type: &str) -> Id {
    match data_type {
        "domain" | "hostname" => "D1",
        "email-address" => "D3",
        "ipv4" | "cidr4" | "ipv4ext" => "D4",
        "mutex" | "url" | "email-subject" | "email-attachment" | "yara" | "snort" | "sigma" => "D5",
        "ipv6" => "D6",
        "crypto-currency" => "D7",
        "vulnerability" => "D8",
        _ => "D2",
    }
}

/// Every decision under which the list of that URL may differ.
pub fn candidates(wanted: &Wanted) -> Vec<Id> {
    let mut ids = vec![of_values(&wanted.data_type)];
    if wanted.format == "xml" {
        ids.push("D9");
    }
    if wanted.format == "paloalto" && wanted.data_type == "url" {
        ids.push("D10");
    }
    if matches!(&wanted.slice, Slice::Feed(feed) if ["incident", "alert", "hunt"].contains(&feed.as_str())) {
        ids.push("D13");
    }
    if wanted.data_type == "ja3" {
        ids.push("D16");
    }
    ids
}

/// What there was, and how the answers were recorded.
pub struct Truth {
    pub members: Vec<Member>,
    /// Unix seconds.
    pub now: i64,
    /// Recorded from a MISP that took `published: false` literally.
    pub literally: bool,
}

impl Truth {
    /// The ids of a recorded body, and the body that is to come instead of it (or the same).
    pub fn expect(&self, wanted: &Wanted, recorded: &str) -> Result<(Vec<Id>, String), String> {
        let of = |decided| member::list(&self.members, wanted, decided, self.now);
        let before = Decisions { both: !self.literally, type_names: false };
        let (undecided, both, ours) = (of(before), of(Decisions { both: true, ..before }), of(Decisions::ALL));
        let is_url = wanted.format == "paloalto" && wanted.data_type == "url";
        let recorded_list = bodies::list(&wanted.format, recorded);
        let shown: BTreeSet<String> = if is_url { eaten(&undecided).into_iter().collect() } else { undecided.clone() };
        let known = if wanted.format == "yaml" { bodies::yaml_entries(recorded) } else { BTreeMap::new() };
        let body = bodies::body(&wanted.format, &wanted.data_type, &ours, &known);
        let mut ids = Vec::new();
        let reasons = [
            (of_values(&wanted.data_type), shown != recorded_list),
            ("D9", wanted.format == "xml"),
            ("D10", is_url && eaten(&ours).join("\r\n") != body),
            ("D13", both != undecided),
            ("D16", ours != both),
        ];
        ids.extend(reasons.into_iter().filter(|(_, holds)| *holds).map(|(id, _)| id));
        let allowed = candidates(wanted);
        if let Some(id) = ids.iter().find(|id| !allowed.contains(id)) {
            return Err(format!("the model says {id}, the URL does not"));
        }
        match (ids.is_empty(), body == recorded) {
            (true, false) => Err("the model says neither what was recorded nor under which id".into()),
            (false, true) => Err(format!("{ids:?} change nothing")),
            _ => Ok((ids, body)),
        }
    }
}

/// What Python made of URLs for paloalto: everything up to the first `://` goes, nothing is sorted again.
fn eaten(urls: &BTreeSet<String>) -> Vec<String> {
    urls.iter().map(|url| url.split_once("://").map_or(&**url, |(_, rest)| rest).to_owned()).collect()
}
