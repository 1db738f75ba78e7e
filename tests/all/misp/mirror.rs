//! A world made from a recorded answer: every event, attribute, tag, object and warninglist that is named in it. Asked the
//! same question, it must give the same answer.

use serde_json::Value;

use super::actions::{NewAttribute, NewEvent};
use super::load::{attribute, hit, items, load_object, number, text, warninglist};
use super::world::{Attached, Sighting, World};

/// The event of [`World::bulk`].
const BULK_EVENT: u64 = 30;

impl World {
    /// Takes over the rows of a recorded search.
    pub fn reflect(&mut self, answer: &Value) {
        items(&answer["response"]["Attribute"]).for_each(|row| self.reflect_row(row));
    }

    fn reflect_row(&mut self, row: &Value) {
        let event = self.reflect_event(&row["Event"]);
        let mut new = attribute(row);
        for tag in items(&row["Tag"]) {
            let attached = self.reflect_tag(tag);
            let tags = if tag["inherited"].is_null() { &mut new.tags } else { &mut self.event_mut(event).tags };
            if !tags.contains(&attached) {
                tags.push(attached);
            }
        }
        if row["Object"].is_object() {
            new.object = Some(load_object(&row["Object"], row));
        }
        for warning in items(&row["warnings"]) {
            self.reflect_warning(warning);
        }
        new.sightings = items(&row["Sighting"]).map(sighting).collect();
        self.load_row(event, new);
    }

    /// Takes over an event, as a search or an index shows it.
    pub fn reflect_event(&mut self, shown: &Value) -> u64 {
        let id = number(&shown["id"]) as u64;
        let creator = self.reflect_organisation(shown);
        if !self.events.contains_key(&id) {
            self.add_event(NewEvent { id: Some(id), ..NewEvent::new("") });
        }
        let event = self.event_mut(id);
        event.uuid = text(&shown["uuid"]);
        event.info = text(&shown["info"]);
        event.orgc_id = creator;
        event.timestamp = number(&shown["timestamp"]);
        event.publish_timestamp = number(&shown["publish_timestamp"]);
        event.sighting_timestamp = number(&shown["sighting_timestamp"]);
        event.published = shown["published"].as_bool().unwrap_or(event.publish_timestamp > 0);
        if !shown["distribution"].is_null() {
            event.distribution = number(&shown["distribution"]) as u8;
        }
        if !shown["date"].is_null() {
            event.date = text(&shown["date"]);
            event.threat_level_id = number(&shown["threat_level_id"]) as u8;
            event.analysis = number(&shown["analysis"]) as u8;
        }
        id
    }

    /// The creator: by its id, or by its UUID alone.
    fn reflect_organisation(&mut self, shown: &Value) -> u64 {
        if shown["Orgc"].is_object() {
            self.load_organisation(&shown["Orgc"]);
        }
        if let Some(uuid) = shown["orgc_uuid"].as_str() {
            let known = self.organisations.values().find(|organisation| organisation.uuid == uuid);
            return known.map(|organisation| organisation.id).unwrap_or_else(|| {
                let id = self.add_organisation("reflected");
                self.organisations.get_mut(&id).expect("just added").uuid = uuid.into();
                id
            });
        }
        let id = number(&shown["orgc_id"]) as u64;
        while !self.organisations.contains_key(&id) {
            self.add_organisation("reflected");
        }
        id
    }

    fn reflect_tag(&mut self, shown: &Value) -> Attached {
        self.load_tag(shown);
        let tag = number(&shown["id"]) as u64;
        Attached { tag, local: shown["local"] == true }
    }

    fn reflect_warning(&mut self, shown: &Value) {
        let hit = hit(shown);
        let mut list = warninglist(&Value::Null);
        list.id = hit.list;
        list.enabled = true;
        list.name = text(&shown["warninglist_name"]);
        list.category = text(&shown["warninglist_category"]);
        list.kind = if hit.matched.contains('/') { "cidr" } else { "string" }.into();
        list.entries.insert(hit.matched);
        self.load_list(list);
    }

    /// Takes over the lists of a recorded index, or one list with its entries.
    pub fn reflect_warninglists(&mut self, shown: &Value) {
        let rows = items(&shown["Warninglists"]).map(|row| &row["Warninglist"]);
        for row in rows.chain(shown.get("Warninglist")) {
            let mut list = warninglist(row);
            list.entries = items(&row["WarninglistEntry"]).map(|entry| text(&entry["value"])).collect();
            list.types.extend(items(&row["WarninglistType"]).map(|entry| text(&entry["type"])));
            self.load_list(list);
        }
    }

    /// Takes over the events of a recorded index, with tags and a row each, and adds others up to that many.
    pub fn reflect_index(&mut self, shown: &[Value], total: usize) {
        for entry in shown {
            let event = self.reflect_event(entry);
            for tag in items(&entry["EventTag"]) {
                let attached = self.reflect_tag(&tag["Tag"]);
                self.event_mut(event).tags.push(attached);
            }
            self.fill(event, None, 1);
        }
        while self.events.len() < total {
            let event = self.add_event(NewEvent::new("not shown"));
            self.fill(event, None, 1);
        }
    }

    /// A thousand rows, every tenth of them on a warninglist; those of the recorded answer among them.
    pub fn bulk(&mut self) {
        if !self.events.contains_key(&BULK_EVENT) {
            self.add_event(NewEvent { id: Some(BULK_EVENT), ..NewEvent::new("bulk") });
        }
        for at in 0..1000 {
            let id = 2280 + at;
            let (kind, value) = match at % 10 {
                0 => ("ip-dst", format!("10.0.{}.{}", at / 256, at % 256)),
                even if even % 2 == 0 => ("sha256", format!("{at:064x}")),
                _ => ("domain", format!("d{at}.bulk.example.org")),
            };
            let new = NewAttribute { id: Some(id), ..NewAttribute::new(kind, value) };
            if !self.event(BULK_EVENT).attributes.contains_key(&id) {
                self.import_attribute(BULK_EVENT, new.tag("example:incident-classification=cust3"));
            }
        }
        let list = self.add_warninglist("private addresses", &["10.0.0.0/8"]);
        self.warninglist_mut(list).kind = "cidr".into();
    }

    /// Adds so many rows with this tag, after those that are there.
    pub fn fill(&mut self, event: u64, tag: Option<&str>, count: usize) {
        for at in 0..count {
            let new = NewAttribute::new("ip-dst", format!("203.0.{}.{}", at / 256, at % 256));
            let new = tag.map_or(new.clone(), |tag| new.clone().tag(tag));
            self.import_attribute(event, new);
        }
    }
}

fn sighting(row: &Value) -> Sighting {
    Sighting {
        id: number(&row["id"]) as u64,
        uuid: text(&row["uuid"]),
        org_id: number(&row["org_id"]) as u64,
        date: number(&row["date_sighting"]),
        kind: number(&row["type"]) as u8,
    }
}
