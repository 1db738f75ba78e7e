//! The demo's MISP feed: made-up events as a folder in the form MISP's feed generator writes. In: `demo_events.json`,
//! a folder and the moment. Out: `manifest.json` and one `<uuid>.json` per event, timestamps counted back from the
//! moment.
//!
//! Invariants: a reader never sees half a file (written aside, then renamed), and the manifest names a timestamp only
//! after the event that carries it is in place; the same moment gives the same bytes.

use std::io::Write;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::Failure;

/// The tag of the feed `block`.
const BLOCK: &str = "demo:incident-classification=block";
/// Names of the organisations in `demo_events.json`, as MISP knows them.
const ORGANISATIONS: [(&str, &str, &str); 3] = [
    ("cert", "Example CERT", "7d1f2b0a-4c3e-4b55-9f6a-2e8c1d0b9a01"),
    ("partner", "Example Partner", "7d1f2b0a-4c3e-4b55-9f6a-2e8c1d0b9a02"),
    ("research", "Example Research", "7d1f2b0a-4c3e-4b55-9f6a-2e8c1d0b9a03"),
];

/// An event of `demo_events.json`.
#[derive(Debug, Deserialize)]
struct Story {
    uuid: String,
    info: String,
    org: String,
    published: bool,
    tags: Vec<String>,
    rows: Vec<Row>,
}

#[derive(Debug, Deserialize)]
struct Row {
    #[serde(rename = "type")]
    kind: String,
    value: String,
    age: String,
    #[serde(default = "yes")]
    to_ids: bool,
    #[serde(default)]
    tags: Vec<String>,
}

fn yes() -> bool {
    true
}

/// The feed in its folder.
#[derive(Debug)]
pub struct DemoFeed {
    folder: PathBuf,
    events: Vec<Event>,
}

#[derive(Debug)]
struct Event {
    uuid: Uuid,
    info: String,
    organisation: Value,
    published: bool,
    tags: Vec<String>,
    attributes: Vec<Value>,
    timestamp: i64,
}

impl DemoFeed {
    /// Writes the feed. `now` is in Unix seconds.
    pub fn write(folder: &Path, now: i64) -> Result<Self, Failure> {
        let stories: Vec<Story> = serde_json::from_str(include_str!("demo_events.json"))?;
        let events = stories.into_iter().map(|story| Event::new(story, now)).collect::<Result<_, _>>()?;
        let feed = Self { folder: folder.to_owned(), events };
        std::fs::create_dir_all(folder)?;
        feed.events.iter().try_for_each(|event| feed.put_event(event))?;
        feed.put_manifest()?;
        Ok(feed)
    }

    /// How many events it has.
    pub fn events(&self) -> usize {
        self.events.len()
    }

    /// Adds an address to the first published event of the feed `block`; gives the event's title. `now` is in Unix
    /// seconds.
    pub fn add_address(&mut self, address: &str, now: i64) -> Result<&str, Failure> {
        let blocked = |event: &Event| event.published && event.tags.iter().any(|tag| tag == BLOCK);
        let at = self.events.iter().position(blocked).ok_or_else(|| Failure::failed("the demo has no block event"))?;
        let event = &mut self.events[at];
        let row = Row {
            kind: "ip-dst".into(),
            value: address.into(),
            age: String::new(),
            to_ids: true,
            tags: vec![BLOCK.into()],
        };
        event.attributes.push(attribute(event.uuid, event.attributes.len(), &row, now));
        // An event that is read again must not carry the timestamp it had.
        event.timestamp = now.max(event.timestamp + 1);
        self.put_event(&self.events[at])?;
        self.put_manifest()?;
        Ok(&self.events[at].info)
    }

    fn put_event(&self, event: &Event) -> Result<(), Failure> {
        self.put(&format!("{}.json", event.uuid), &json!({ "Event": event.json() }))
    }

    fn put_manifest(&self) -> Result<(), Failure> {
        let entries: Map<String, Value> =
            self.events.iter().map(|event| (event.uuid.to_string(), event.manifest_entry())).collect();
        self.put("manifest.json", &Value::Object(entries))
    }

    /// Aside, then into place.
    fn put(&self, name: &str, content: &Value) -> Result<(), Failure> {
        let mut file = tempfile::NamedTempFile::new_in(&self.folder)?;
        file.write_all(content.to_string().as_bytes())?;
        file.persist(self.folder.join(name)).map_err(|error| error.error)?;
        Ok(())
    }
}

impl Event {
    fn new(story: Story, now: i64) -> Result<Self, Failure> {
        let uuid = Uuid::parse_str(&story.uuid)?;
        let (_, name, organisation) = ORGANISATIONS
            .iter()
            .find(|(short, ..)| *short == story.org)
            .ok_or_else(|| Failure::failed(format!("the demo has no organisation {}", story.org)))?;
        let mut attributes = Vec::new();
        let mut newest = i64::MIN;
        for (at, row) in story.rows.iter().enumerate() {
            let age = seconds(&row.age).ok_or_else(|| Failure::failed(format!("{:?} is no age", row.age)))?;
            newest = newest.max(now - age);
            attributes.push(attribute(uuid, at, row, now - age));
        }
        Ok(Self {
            uuid,
            info: story.info,
            organisation: json!({ "name": name, "uuid": organisation }),
            published: story.published,
            tags: story.tags,
            attributes,
            timestamp: if newest == i64::MIN { now } else { newest },
        })
    }

    fn date(&self) -> String {
        Timestamp::from_second(self.timestamp).map(|time| time.strftime("%Y-%m-%d").to_string()).unwrap_or_default()
    }

    fn json(&self) -> Value {
        json!({
            "uuid": self.uuid.to_string(),
            "info": self.info,
            "date": self.date(),
            "timestamp": self.timestamp.to_string(),
            "published": self.published,
            "Orgc": self.organisation,
            "Tag": tags(&self.tags),
            "Attribute": self.attributes,
        })
    }

    fn manifest_entry(&self) -> Value {
        json!({
            "timestamp": self.timestamp.to_string(),
            "info": self.info,
            "Orgc": self.organisation,
            "Tag": tags(&self.tags),
            "date": self.date(),
        })
    }
}

fn attribute(event: Uuid, index: usize, row: &Row, timestamp: i64) -> Value {
    json!({
        "uuid": attribute_uuid(event, index).to_string(),
        "type": row.kind,
        "value": row.value,
        "to_ids": row.to_ids,
        "timestamp": timestamp.to_string(),
        "Tag": tags(&row.tags),
    })
}

fn tags(names: &[String]) -> Vec<Value> {
    names.iter().map(|name| json!({ "name": name })).collect()
}

/// Follows from the event and the place in it; version and variant stay those of the event's.
fn attribute_uuid(event: Uuid, index: usize) -> Uuid {
    const MARK: u128 = 0xa5a5_5a5a << 96;
    let number = event.as_u128();
    let (front, back) = (number >> 16, number as u16);
    let back = back.wrapping_add(index as u16);
    Uuid::from_u128((front << 16 | u128::from(back)) ^ MARK)
}

/// `30m`, `4h`, `45d` in seconds.
fn seconds(age: &str) -> Option<i64> {
    let units = [('m', 60), ('h', 3600), ('d', 86_400)];
    let (unit, seconds) = units.iter().find(|(unit, _)| age.ends_with(*unit))?;
    age.strip_suffix(*unit)?.parse::<i64>().ok()?.checked_mul(*seconds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fetch::wire;

    #[test]
    fn every_event_reads_back_whole_and_uuids_are_unique() {
        let folder = tempfile::tempdir().unwrap();
        let mut feed = DemoFeed::write(folder.path(), 1_800_000_000).unwrap();
        feed.add_address("203.0.113.99", 1_800_000_020).unwrap();
        let mut uuids = std::collections::BTreeSet::new();
        for event in &feed.events {
            let bytes = std::fs::read(folder.path().join(format!("{}.json", event.uuid))).unwrap();
            let mut read_uuids = Vec::new();
            let read = wire::event(&bytes, |_, attribute| read_uuids.push(attribute.uuid)).unwrap();
            assert_eq!((read.malformed, read_uuids.len()), (0, event.attributes.len()), "{}", event.info);
            assert!(uuids.insert(read.uuid));
            assert!(read_uuids.into_iter().all(|uuid| uuids.insert(uuid)), "{}", event.info);
        }
        let manifest: Value =
            serde_json::from_slice(&std::fs::read(folder.path().join("manifest.json")).unwrap()).unwrap();
        assert_eq!(manifest.as_object().unwrap().len(), feed.events());
    }

    #[test]
    fn ages_are_minutes_hours_or_days() {
        assert_eq!(seconds("30m"), Some(1800));
        assert_eq!(seconds("2d"), Some(172_800));
        assert_eq!(seconds("2w"), None);
        assert_eq!(seconds(""), None);
    }
}
