//! A MISP feed as MISP's generator writes it, from a handful of fields.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

/// One event; `number` names it.
#[derive(Clone, Debug)]
pub struct Event {
    pub number: u64,
    pub timestamp: i64,
    pub published: bool,
    pub tags: Vec<String>,
    pub attributes: Vec<Attribute>,
}

/// One attribute.
#[derive(Clone, Debug)]
pub struct Attribute {
    pub kind: String,
    pub value: String,
    pub timestamp: i64,
    pub to_ids: bool,
    pub deleted: bool,
    pub tags: Vec<String>,
}

impl Attribute {
    /// One that counts.
    pub fn new(kind: &str, value: impl Into<String>, timestamp: i64) -> Self {
        Self { kind: kind.into(), value: value.into(), timestamp, to_ids: true, deleted: false, tags: Vec::new() }
    }
}

impl Event {
    /// A published one. Whoever changes it gives it a new timestamp.
    pub fn new(number: u64, tags: &[&str], attributes: Vec<Attribute>) -> Self {
        let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
        Self { number, timestamp: 1_700_000_000, published: true, tags, attributes }
    }

    fn uuid(&self) -> String {
        format!("5e0e9a1c-0000-4000-8000-{:012x}", self.number)
    }

    fn json(&self) -> Value {
        let attribute = |(at, attribute): (usize, &Attribute)| {
            json!({
                "uuid": format!("a77b0000-{:04x}-4000-8000-{at:012x}", self.number),
                "type": attribute.kind,
                "value": attribute.value,
                "timestamp": attribute.timestamp.to_string(),
                "to_ids": attribute.to_ids,
                "deleted": attribute.deleted,
                "Tag": tags(&attribute.tags),
            })
        };
        json!({"Event": {
            "uuid": self.uuid(),
            "info": format!("event {}", self.number),
            "timestamp": self.timestamp.to_string(),
            "published": self.published,
            "Orgc": {"name": "Example", "uuid": "55f6ea5e-2c60-40e5-964f-47a8950d210f"},
            "Tag": tags(&self.tags),
            "Attribute": self.attributes.iter().enumerate().map(attribute).collect::<Vec<_>>(),
        }})
    }
}

fn tags(names: &[String]) -> Vec<Value> {
    names.iter().map(|name| json!({"name": name, "colour": "#ffffff"})).collect()
}

/// Makes `folder` the feed of these events; files of events that are gone are removed.
pub fn write(folder: &Path, events: &[Event]) {
    fs::create_dir_all(folder).unwrap();
    events.iter().for_each(|event| write_event(folder, event));
    write_manifest(folder, events);
    let kept: BTreeSet<String> = events.iter().map(|event| format!("{}.json", event.uuid())).collect();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        if name != "manifest.json" && !kept.contains(&name) {
            fs::remove_file(entry.path()).unwrap();
        }
    }
}

/// Writes one event's file.
pub fn write_event(folder: &Path, event: &Event) {
    put(folder, &format!("{}.json", event.uuid()), &event.json());
}

/// Writes the list of events.
pub fn write_manifest(folder: &Path, events: &[Event]) {
    let entry = |event: &Event| (event.uuid(), json!({"timestamp": event.timestamp.to_string(), "info": ""}));
    put(folder, "manifest.json", &Value::Object(events.iter().map(entry).collect()));
}

/// Aside, then renamed: a reader never sees half a file.
fn put(folder: &Path, name: &str, json: &Value) {
    let aside = folder.join(".aside");
    fs::write(&aside, serde_json::to_vec(json).unwrap()).unwrap();
    fs::rename(aside, folder.join(name)).unwrap();
}
