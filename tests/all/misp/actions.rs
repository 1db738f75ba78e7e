//! What people and other servers do to events and attributes, each with the clocks that a real server moves.
//!
//! | action | attribute.timestamp | event.timestamp | publish_timestamp | published |
//! |---|---|---|---|---|
//! | publish, unpublish | - | - | moved by publish | 1, 0 |
//! | add, edit, delete, restore an attribute | moved | moved | - | 0 |
//! | edit an event | - | moved | - | 0 |
//! | import, late publishing | the author's | the author's | moved | 1 |
//! | sighting, correlation, a changed sharing group | - | - | - | stays |
//!
//! Tags are in `tagging`, warninglists in `warninglists`.

use std::collections::BTreeMap;

use super::world::{Attached, Attribute, Event, Object, Sighting, World, taken};

/// An event to be added.
#[derive(Clone, Debug)]
pub struct NewEvent {
    pub id: Option<u64>,
    pub uuid: Option<String>,
    pub info: String,
    pub org_id: u64,
    pub orgc_id: u64,
    pub distribution: u8,
    pub tags: Vec<(String, bool)>,
    /// The author's clock; for imports.
    pub timestamp: Option<i64>,
}

impl NewEvent {
    /// Of organisation 1, visible to everybody on the server.
    pub fn new(info: &str) -> Self {
        let info = info.into();
        Self { id: None, uuid: None, info, org_id: 1, orgc_id: 1, distribution: 1, tags: Vec::new(), timestamp: None }
    }

    /// With a global tag.
    pub fn tag(mut self, name: &str) -> Self {
        self.tags.push((name.into(), false));
        self
    }

    /// Owned and created by that organisation.
    pub fn of(self, organisation: u64) -> Self {
        Self { org_id: organisation, orgc_id: organisation, ..self }
    }
}

/// An attribute to be added.
#[derive(Clone, Debug)]
pub struct NewAttribute {
    pub id: Option<u64>,
    pub uuid: Option<String>,
    pub kind: String,
    pub category: String,
    pub value: String,
    pub to_ids: bool,
    pub distribution: u8,
    /// Names, and whether the tag is local.
    pub tags: Vec<(String, bool)>,
    /// In an object of its own with this distribution.
    pub object: Option<u8>,
    /// The author's clock; for imports.
    pub timestamp: Option<i64>,
}

impl NewAttribute {
    /// For detection, visible as its event, without a tag.
    pub fn new(kind: &str, value: impl Into<String>) -> Self {
        let about_files = ["md5", "sha", "filename", "hash", "email", "ssdeep"].iter().any(|word| kind.contains(word));
        Self {
            id: None,
            uuid: None,
            kind: kind.into(),
            category: if about_files { "Payload delivery" } else { "Network activity" }.into(),
            value: value.into(),
            to_ids: true,
            distribution: 5,
            tags: Vec::new(),
            object: None,
            timestamp: None,
        }
    }

    /// With a global tag.
    pub fn tag(mut self, name: &str) -> Self {
        self.tags.push((name.into(), false));
        self
    }

    /// With a local tag.
    pub fn local_tag(mut self, name: &str) -> Self {
        self.tags.push((name.into(), true));
        self
    }

    /// With the author's clock.
    pub fn at(self, timestamp: i64) -> Self {
        Self { timestamp: Some(timestamp), ..self }
    }

    /// Not for detection.
    pub fn not_to_ids(self) -> Self {
        Self { to_ids: false, ..self }
    }
}

impl World {
    /// A new event, not published yet.
    pub fn add_event(&mut self, new: NewEvent) -> u64 {
        let id = taken(&mut self.counters.event, new.id);
        let tags = self.attach_all(&new.tags);
        let uuid = new.uuid.unwrap_or_else(|| self.next_uuid());
        let event = Event {
            id,
            uuid,
            info: new.info,
            org_id: new.org_id,
            orgc_id: new.orgc_id,
            date: "2026-11-18".into(),
            distribution: new.distribution,
            sharing_group_id: 0,
            threat_level_id: 1,
            analysis: 2,
            extends_uuid: String::new(),
            published: false,
            timestamp: new.timestamp.unwrap_or(self.now),
            publish_timestamp: 0,
            sighting_timestamp: 0,
            tags,
            attributes: BTreeMap::new(),
        };
        self.events.insert(id, event);
        id
    }

    /// A new attribute. One with the same type, category and value in the event is kept instead: then nothing moves, and
    /// its id comes back.
    pub fn add_attribute(&mut self, event: u64, new: NewAttribute) -> u64 {
        let (id, is_new) = self.put(event, new);
        if is_new {
            self.edited(event);
        }
        id
    }

    /// What a sync or an import brings: the event under its author's clock, its rows under theirs, published now. An event
    /// with this UUID is brought up to date; its other rows stay.
    pub fn import_event(&mut self, new: NewEvent, rows: Vec<NewAttribute>) -> u64 {
        let known = self.events.values().find(|event| Some(&event.uuid) == new.uuid.as_ref()).map(|event| event.id);
        let timestamp = new.timestamp.unwrap_or(self.now);
        let id = known.unwrap_or_else(|| self.add_event(new));
        self.event_mut(id).timestamp = timestamp;
        rows.into_iter().for_each(|row| self.import_attribute(id, row));
        self.publish(id);
        id
    }

    /// A row that arrives without moving the event's clocks; under its author's clock where it has one.
    pub fn import_attribute(&mut self, event: u64, new: NewAttribute) {
        self.put(event, new);
    }

    /// Changes an attribute as a person does. False if the event has such a row already: then nothing happens.
    pub fn edit_attribute(&mut self, id: u64, edit: impl FnOnce(&mut Attribute)) -> bool {
        let (now, home) = (self.now, self.home(id));
        let event = self.event_mut(home);
        let mut edited = event.attributes[&id].clone();
        edit(&mut edited);
        if event.twin_of(&edited).is_some() {
            return false;
        }
        if edited.value != event.attributes[&id].value {
            edited.recorded_hits.clear();
            edited.recorded_wl = false;
        }
        edited.timestamp = now;
        event.attributes.insert(id, edited);
        self.edited(home);
        true
    }

    /// Changes an event as a person does.
    pub fn edit_event(&mut self, id: u64, edit: impl FnOnce(&mut Event)) {
        edit(self.event_mut(id));
        self.edited(id);
    }

    /// Another distribution of an event, or of an attribute below.
    pub fn set_event_distribution(&mut self, id: u64, distribution: u8) {
        self.edit_event(id, |event| event.distribution = distribution);
    }

    /// Another distribution of an attribute.
    pub fn set_attribute_distribution(&mut self, id: u64, distribution: u8) {
        self.edit_attribute(id, |attribute| attribute.distribution = distribution);
    }

    /// Somebody else changes who is in a sharing group: the event comes into sight or goes, and no clock moves.
    pub fn set_event_distribution_quietly(&mut self, id: u64, distribution: u8) {
        self.event_mut(id).distribution = distribution;
    }

    /// The same for an attribute.
    pub fn set_attribute_distribution_quietly(&mut self, id: u64, distribution: u8) {
        self.attribute_mut(id).distribution = distribution;
    }

    /// Publishes, or publishes again.
    pub fn publish(&mut self, id: u64) {
        let now = self.now;
        let event = self.event_mut(id);
        (event.published, event.publish_timestamp) = (true, now);
    }

    /// Takes the event back.
    pub fn unpublish(&mut self, id: u64) {
        self.event_mut(id).published = false;
    }

    /// Soft deletion: the row stays, hidden.
    pub fn delete_attribute(&mut self, id: u64) {
        self.change_attribute(id, |attribute| attribute.deleted = true);
    }

    /// Takes a soft deletion back.
    pub fn restore_attribute(&mut self, id: u64) {
        self.change_attribute(id, |attribute| attribute.deleted = false);
    }

    /// The row is gone.
    pub fn hard_delete_attribute(&mut self, id: u64) {
        let home = self.home(id);
        self.event_mut(home).attributes.remove(&id);
        self.edited(home);
    }

    /// The event and its rows are gone.
    pub fn delete_event(&mut self, id: u64) {
        self.events.remove(&id).unwrap_or_else(|| panic!("no event {id}"));
    }

    /// Somebody saw it (0), or calls it a false positive (1).
    pub fn sighting(&mut self, attribute: u64, kind: u8) {
        let (now, home) = (self.now, self.home(attribute));
        let id = taken(&mut self.counters.sighting, None);
        let uuid = self.next_uuid();
        let event = self.event_mut(home);
        event.sighting_timestamp = now;
        let row = event.attributes.get_mut(&attribute).expect("it is at home");
        row.sightings.push(Sighting { id, uuid, org_id: 1, date: now, kind });
    }

    /// Switches the correlation of an attribute.
    pub fn toggle_correlation(&mut self, id: u64) {
        let attribute = self.attribute_mut(id);
        attribute.disable_correlation = !attribute.disable_correlation;
    }

    /// What an edit does to an event.
    pub(super) fn edited(&mut self, event: u64) {
        let now = self.now;
        let event = self.event_mut(event);
        (event.timestamp, event.published) = (now, false);
    }

    /// An edit that is never refused.
    pub(super) fn change_attribute(&mut self, id: u64, change: impl FnOnce(&mut Attribute)) {
        let (now, home) = (self.now, self.home(id));
        let attribute = self.attribute_mut(id);
        change(attribute);
        attribute.timestamp = now;
        self.edited(home);
    }

    pub(super) fn attach_all(&mut self, tags: &[(String, bool)]) -> Vec<Attached> {
        tags.iter().map(|(name, local)| Attached { tag: self.add_tag(name), local: *local }).collect()
    }

    fn put(&mut self, event: u64, new: NewAttribute) -> (u64, bool) {
        let attribute = self.made(new);
        let event = self.event_mut(event);
        if let Some(twin) = event.twin_of(&attribute) {
            return (twin, false);
        }
        let id = attribute.id;
        event.attributes.insert(id, attribute);
        (id, true)
    }

    fn made(&mut self, new: NewAttribute) -> Attribute {
        let object = new.object.map(|distribution| Object {
            id: taken(&mut self.counters.object, None),
            relation: new.kind.clone(),
            distribution,
            sharing_group_id: 0,
        });
        Attribute {
            id: taken(&mut self.counters.attribute, new.id),
            uuid: new.uuid.unwrap_or_else(|| self.next_uuid()),
            tags: self.attach_all(&new.tags),
            category: new.category,
            kind: new.kind,
            value: new.value,
            comment: String::new(),
            to_ids: new.to_ids,
            timestamp: new.timestamp.unwrap_or(self.now),
            distribution: new.distribution,
            sharing_group_id: 0,
            deleted: false,
            disable_correlation: false,
            first_seen: None,
            last_seen: None,
            object,
            sightings: Vec::new(),
            recorded_hits: Vec::new(),
            recorded_wl: false,
        }
    }
}

impl Event {
    /// The live row that a server takes for the same one. Rows of objects may repeat.
    fn twin_of(&self, row: &Attribute) -> Option<u64> {
        if row.deleted || row.object.is_some() {
            return None;
        }
        let same = |other: &&Attribute| {
            other.id != row.id
                && !other.deleted
                && other.object.is_none()
                && (&other.kind, &other.category, &other.value) == (&row.kind, &row.category, &row.value)
        };
        self.attributes.values().find(same).map(|twin| twin.id)
    }
}
