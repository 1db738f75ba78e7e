//! Reads a data set recorded from a real MISP: events, attributes, tags, warninglists, two keys.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use flate2::read::GzDecoder;
use serde_json::Value;

use super::identity::{Organisation, User};
use super::warninglists::{Hit, Warninglist};
use super::world::{Attached, Attribute, Event, Object, Tag, World};

impl World {
    /// The world of a data set; its clock stands at the time of recording, and its keys are the recorded ones.
    pub fn load(dir: &Path) -> Self {
        let mut world = Self::default();
        let meta: Value = serde_json::from_reader(open(&dir.join("meta.json"))).expect("meta.json is JSON");
        world.now = number(&meta["recorded_at"]);
        world.organisations.clear();
        items(&read(dir, "orgs")).for_each(|row| world.load_organisation(row));
        items(&read(dir, "tags")).for_each(|row| world.load_tag(row));
        let index = read(dir, "warninglists_index");
        items(&index["Warninglists"]).for_each(|row| world.load_warninglist(&row["Warninglist"], dir));
        items(&read(dir, "events")).for_each(|row| world.load_event(row));
        items(&read(dir, "attributes")).for_each(|row| world.load_attribute(row));
        world.keys.clear();
        for (name, key) in meta["keys"].as_object().expect("keys") {
            world.load_key(name, key, &read(dir, &format!("key-{name}"))["me"]);
        }
        world
    }

    pub(super) fn load_organisation(&mut self, row: &Value) {
        let id = number(&row["id"]) as u64;
        let local = row["local"].as_bool().unwrap_or(true);
        self.organisations.insert(id, Organisation { id, name: text(&row["name"]), uuid: text(&row["uuid"]), local });
    }

    pub(super) fn load_tag(&mut self, row: &Value) {
        let id = number(&row["id"]) as u64;
        let tag = Tag {
            id,
            name: text(&row["name"]),
            colour: text(&row["colour"]),
            exportable: row["exportable"].as_bool().unwrap_or(true),
            is_galaxy: row["is_galaxy"].as_bool().unwrap_or(false),
        };
        self.counters.tag = self.counters.tag.max(id);
        self.tags.insert(id, tag);
    }

    /// From its row in the index. A list whose entries were not recorded counts them all the same.
    fn load_warninglist(&mut self, row: &Value, dir: &Path) {
        let mut list = warninglist(row);
        let file = format!("warninglist_{}", list.id);
        if dir.join(format!("{file}.json.gz")).exists() {
            let view = read(dir, &file);
            list.entries = items(&view["Warninglist"]["WarninglistEntry"]).map(|entry| text(&entry["value"])).collect();
            list.recorded = Some(view);
        }
        self.load_list(list);
    }

    pub(super) fn load_list(&mut self, list: Warninglist) {
        self.counters.warninglist = self.counters.warninglist.max(list.id);
        self.warninglists.insert(list.id, list);
    }

    fn load_event(&mut self, row: &Value) {
        let id = number(&row["id"]) as u64;
        let event = Event {
            id,
            uuid: text(&row["uuid"]),
            info: text(&row["info"]),
            org_id: number(&row["org_id"]) as u64,
            orgc_id: number(&row["orgc_id"]) as u64,
            date: text(&row["date"]),
            distribution: number(&row["distribution"]) as u8,
            sharing_group_id: number(&row["sharing_group_id"]) as u64,
            threat_level_id: number(&row["threat_level_id"]) as u8,
            analysis: number(&row["analysis"]) as u8,
            extends_uuid: text(&row["extends_uuid"]),
            published: row["published"].as_bool().unwrap_or(false),
            timestamp: number(&row["timestamp"]),
            publish_timestamp: number(&row["publish_timestamp"]),
            sighting_timestamp: number(&row["sighting_timestamp"]),
            tags: attached(&row["tags"]),
            attributes: Default::default(),
        };
        self.counters.event = self.counters.event.max(id);
        self.events.insert(id, event);
    }

    fn load_attribute(&mut self, row: &Value) {
        let mut attribute = attribute(row);
        attribute.tags = attached(&row["tags"]);
        attribute.object = Some(&row["obj"]).filter(|object| object.is_object()).map(|object| load_object(object, row));
        attribute.recorded_wl = row["wl"].as_bool().unwrap_or(false);
        attribute.recorded_hits = items(&row["warnings"]).map(hit).collect();
        self.load_row(number(&row["event_id"]) as u64, attribute);
    }

    pub(super) fn load_row(&mut self, event: u64, row: Attribute) {
        self.counters.attribute = self.counters.attribute.max(row.id);
        self.counters.object = self.counters.object.max(row.object.as_ref().map_or(0, |object| object.id));
        self.event_mut(event).attributes.insert(row.id, row);
    }

    fn load_key(&mut self, name: &str, key: &Value, me: &Value) {
        let id = number(&key["user_id"]) as u64;
        let like = if key["site_admin"] == true { super::ADMIN } else { super::READER };
        let mut role = self.users[&like].role.clone();
        (role.name, role.sync) = (text(&key["role"]), key["perm_sync"] == true);
        let org_id = number(&key["org_id"]) as u64;
        let user = User { id, org_id, email: text(&me["User"]["email"]), role, ..self.users[&like].clone() };
        self.users.insert(id, user);
        self.key(&text(&key["key"]), id).name = name.into();
    }
}

/// The columns of an attribute; what hangs on it is left empty.
pub(super) fn attribute(row: &Value) -> Attribute {
    Attribute {
        id: number(&row["id"]) as u64,
        uuid: text(&row["uuid"]),
        category: text(&row["category"]),
        kind: text(&row["type"]),
        value: text(&row["value"]),
        comment: text(&row["comment"]),
        to_ids: row["to_ids"].as_bool().unwrap_or(false),
        timestamp: number(&row["timestamp"]),
        distribution: number(&row["distribution"]) as u8,
        sharing_group_id: number(&row["sharing_group_id"]) as u64,
        deleted: row["deleted"].as_bool().unwrap_or(false),
        disable_correlation: row["disable_correlation"].as_bool().unwrap_or(false),
        first_seen: row["first_seen"].as_str().map(str::to_owned),
        last_seen: row["last_seen"].as_str().map(str::to_owned),
        object: None,
        tags: Vec::new(),
        sightings: Vec::new(),
        recorded_hits: Vec::new(),
        recorded_wl: false,
    }
}

/// A list from its row in the index, without entries.
pub(super) fn warninglist(row: &Value) -> Warninglist {
    Warninglist {
        id: number(&row["id"]) as u64,
        name: text(&row["name"]),
        kind: text(&row["type"]),
        description: text(&row["description"]),
        version: number(&row["version"]) as u64,
        enabled: row["enabled"].as_bool().unwrap_or(true),
        default: row["default"].as_bool().unwrap_or(false),
        category: text(&row["category"]),
        entries: BTreeSet::new(),
        recorded: None,
        entry_count: number(&row["warninglist_entry_count"]) as u64,
        types: text(&row["valid_attributes"]).split(", ").filter(|kind| !kind.is_empty()).map(str::to_owned).collect(),
    }
}

/// A recorded hit.
pub(super) fn hit(row: &Value) -> Hit {
    Hit { list: number(&row["warninglist_id"]) as u64, matched: text(&row["match"]), value: text(&row["value"]) }
}

/// The object of a row.
pub(super) fn load_object(object: &Value, row: &Value) -> Object {
    Object {
        id: number(&object["id"]) as u64,
        relation: text(&row["object_relation"]),
        distribution: number(&object["distribution"]) as u8,
        sharing_group_id: number(&object["sharing_group_id"]) as u64,
    }
}

/// Pairs of a tag's id and whether it is local.
fn attached(pairs: &Value) -> Vec<Attached> {
    let one = |pair: &Value| Attached { tag: number(&pair[0]) as u64, local: pair[1] == true };
    items(pairs).map(one).collect()
}

/// The items of a list; none of anything else.
pub(super) fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// A text; empty for null.
pub(super) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// A number, written as one or as a text; 0 for null.
pub(super) fn number(value: &Value) -> i64 {
    value.as_i64().or_else(|| value.as_str().and_then(|text| text.parse().ok())).unwrap_or(0)
}

fn read(dir: &Path, name: &str) -> Value {
    let mut json = String::new();
    let mut file = GzDecoder::new(open(&dir.join(format!("{name}.json.gz"))));
    file.read_to_string(&mut json).unwrap_or_else(|error| panic!("{name}: {error}"));
    serde_json::from_str(&json).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn open(path: &Path) -> File {
    File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
