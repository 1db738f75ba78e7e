//! One row of the recorded corpus: what it is filtered by, and its members as they are sent.
//!
//! Members stay raw JSON, because some are no JSON that a value could hold (a lone surrogate), and being odd is what those
//! rows are for.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};

/// When the answers were recorded, Unix seconds.
const RECORDED_AT: i64 = 1_795_485_900;

/// The event of a row; members that are missing are empty.
#[derive(Clone, Debug, Default)]
pub struct Event {
    /// Missing: the row's `event_id` counts.
    pub id: Option<u64>,
    pub uuid: Option<String>,
    pub published: bool,
    pub tags: Vec<String>,
    pub creator: String,
}

/// One row.
#[derive(Debug)]
pub struct Row {
    members: BTreeMap<String, Box<RawValue>>,
    /// As the row says itself.
    pub event_id: Option<u64>,
    pub event: Event,
    pub has_event: bool,
    pub uuid: Option<String>,
    pub kind: Option<String>,
    /// `None`: missing, no text, or no Unicode.
    pub value: Option<String>,
    /// Moved with the clock.
    pub timestamp: i64,
    pub to_ids: bool,
    pub deleted: bool,
    pub tags: Vec<String>,
    /// In every answer, whatever was asked.
    pub forced: bool,
}

/// Values that the warninglists of the recording took out.
const LISTED: [&str; 5] = ["8.8.8.8", "1.1.1.1", "google.com", "microsoft.com", "http://google.com/"];

impl Row {
    /// Takes a recorded row over.
    pub fn read(raw: &RawValue, now: i64) -> Self {
        let mut members: BTreeMap<String, Box<RawValue>> = serde_json::from_str(raw.get()).unwrap();
        let age: Option<i64> = taken(&mut members, "x_age_s");
        let forced = taken(&mut members, "x_force").unwrap_or(false);
        let event = members.remove("Event");
        let has_event = event.is_some();
        let (event, shown) = event.map(|event| read_event(&event)).unwrap_or_default();
        members.extend(shown.map(|shown| ("Event".to_owned(), shown)));
        let recorded: String = seen(&members, "timestamp").unwrap();
        let timestamp = match age {
            Some(age) => now - age,
            None => recorded.parse::<i64>().unwrap() + now - RECORDED_AT,
        };
        members.insert("timestamp".into(), to_raw_value(&timestamp.to_string()).unwrap());
        Self {
            event_id: seen::<String>(&members, "event_id").and_then(|id| id.parse().ok()),
            event,
            has_event,
            uuid: seen(&members, "uuid"),
            kind: seen(&members, "type"),
            value: seen(&members, "value"),
            timestamp,
            to_ids: seen(&members, "to_ids").unwrap(),
            deleted: seen(&members, "deleted").unwrap_or(false),
            tags: seen::<Vec<Tag>>(&members, "Tag").into_iter().flatten().map(|tag| tag.name).collect(),
            forced,
            members,
        }
    }

    /// Whether MISP would find it on a warninglist.
    pub fn is_listed(&self) -> bool {
        self.value.as_ref().is_some_and(|value| LISTED.contains(&value.as_str()))
    }

    /// As a search shows it.
    pub fn shown(&self, with_event_tags: bool, with_hits: bool) -> String {
        let mut members = self.members.clone();
        if with_event_tags && !self.event.tags.is_empty() {
            let inherited = self.event.tags.iter().map(|name| json!({"name": name, "inherited": 1}));
            let own = self.tags.iter().map(|name| json!({"name": name, "inherited": 0}));
            let all: Vec<_> = own.chain(inherited).collect();
            members.insert("Tag".into(), to_raw_value(&all).unwrap());
        }
        if with_hits && self.is_listed() {
            let hit = json!([{"match": self.value, "warninglist_id": "1", "warninglist_name": "listed"}]);
            members.insert("warnings".into(), to_raw_value(&hit).unwrap());
        }
        serde_json::to_string(&members).unwrap()
    }
}

#[derive(Deserialize)]
struct Tag {
    name: String,
}

/// The event, and its members as they are sent.
fn read_event(raw: &RawValue) -> (Event, Option<Box<RawValue>>) {
    let mut members: BTreeMap<String, Box<RawValue>> = serde_json::from_str(raw.get()).unwrap();
    let tags = taken(&mut members, "x_tags").unwrap_or_default();
    let creator: String = taken(&mut members, "x_orgc_uuid").unwrap_or_default();
    let event = Event {
        id: seen::<String>(&members, "id").and_then(|id| id.parse().ok()),
        uuid: seen(&members, "uuid"),
        published: seen(&members, "published").unwrap_or(false),
        tags,
        creator,
    };
    (event, Some(to_raw_value(&members).unwrap()))
}

fn seen<T: for<'a> Deserialize<'a>>(members: &BTreeMap<String, Box<RawValue>>, name: &str) -> Option<T> {
    members.get(name).and_then(|raw| serde_json::from_str(raw.get()).ok())
}

/// The same, and it is not sent.
fn taken<T: for<'a> Deserialize<'a>>(members: &mut BTreeMap<String, Box<RawValue>>, name: &str) -> Option<T> {
    let value = seen(members, name);
    members.remove(name);
    value
}
