//! One attribute as JSON: the members of a real answer, in its order, compact.

use std::fmt::Write;

use super::parameters::Parameters;
use super::world::{Attached, Attribute, Event, World};

/// What a search wants to see of each row.
pub struct Shown {
    context: bool,
    event_tags: bool,
    event_uuid: bool,
    all_tags: bool,
    hits: bool,
    sightings: bool,
}

impl Shown {
    /// From the `include…` parameters.
    pub fn new(asked: &Parameters) -> Self {
        let on = |name| asked.is_on(name);
        Self {
            context: on("includeContext"),
            event_tags: on("includeEventTags"),
            event_uuid: on("includeEventUuid") || on("includeAttributeUuid"),
            all_tags: on("includeAllTags"),
            hits: on("includeWarninglistHits"),
            sightings: on("includeSightings"),
        }
    }

    /// The member `Event`, the same for every row of the event.
    pub fn event(&self, world: &World, event: &Event) -> String {
        let mut out = String::new();
        let mut members = Members::new(world, &mut out);
        if !self.context {
            members.id("org_id", event.org_id).id("distribution", event.distribution);
            members.id("publish_timestamp", event.publish_timestamp).id("id", event.id).text("info", &event.info);
            members.id("orgc_id", event.orgc_id).text("uuid", &event.uuid).end();
            return out;
        }
        members.id("id", event.id).id("orgc_id", event.orgc_id).id("org_id", event.org_id).text("date", &event.date);
        members.id("threat_level_id", event.threat_level_id).text("info", &event.info);
        members.flag("published", event.published).text("uuid", &event.uuid).id("analysis", event.analysis);
        members.id("timestamp", event.timestamp).id("distribution", event.distribution);
        members.id("publish_timestamp", event.publish_timestamp).id("sharing_group_id", event.sharing_group_id);
        members.text("extends_uuid", &event.extends_uuid);
        let tags = self.tags(world, &event.tags, TagOf::Context);
        members.raw("Tag", &format!("[{}]", tags.join(",")));
        let creator = &world.organisations[&event.orgc_id];
        let mut orgc = String::new();
        let mut inner = Members::new(world, &mut orgc);
        inner.id("id", creator.id).text("name", &creator.name).text("uuid", &creator.uuid);
        inner.flag("local", creator.local).end();
        members.raw("Orgc", &orgc).end();
        out
    }

    /// Appends one row; `event_json` is its [`Self::event`].
    pub fn row(&self, world: &World, event: &Event, row: &Attribute, event_json: &str, out: &mut String) {
        let mut members = Members::new(world, out);
        columns(&mut members, event.id, row);
        if self.hits && (row.to_ids || world.settings.warning_for_all) {
            let hits = warnings(world, row);
            if !hits.is_empty() {
                members.raw("warnings", &format!("[{}]", hits.join(",")));
            }
        }
        if self.sightings {
            members.raw("Sighting", &format!("[{}]", sightings(world, event.id, row).join(",")));
        }
        if self.event_uuid {
            members.text("event_uuid", &event.uuid);
        }
        members.raw("Event", event_json);
        if let Some(object) = &row.object {
            let mut inner = String::new();
            let mut object_members = Members::new(world, &mut inner);
            object_members.id("id", object.id).id("distribution", object.distribution);
            object_members.id("sharing_group_id", object.sharing_group_id).end();
            members.raw("Object", &inner);
        }
        let mut tags = self.tags(world, &row.tags, TagOf::Row);
        if self.event_tags {
            tags.extend(self.tags(world, &event.tags, TagOf::EventOfRow));
        }
        if !tags.is_empty() {
            members.raw("Tag", &format!("[{}]", tags.join(",")));
        }
        members.end();
    }

    fn tags(&self, world: &World, attached: &[Attached], of: TagOf) -> Vec<String> {
        let mut out = Vec::new();
        for attached in attached {
            let tag = &world.tags[&attached.tag];
            if !tag.exportable && !self.all_tags {
                continue;
            }
            let mut json = String::new();
            let mut members = Members::new(world, &mut json);
            if of == TagOf::Context {
                members.flag("local", attached.local);
            }
            members.id("id", tag.id).text("name", &tag.name).text("colour", &tag.colour).raw("numerical_value", "null");
            match of {
                TagOf::Row => members.flag("is_galaxy", tag.is_galaxy).flag("local", attached.local),
                TagOf::EventOfRow => members.raw("inherited", "1"),
                TagOf::Context => &mut members,
            };
            members.end();
            out.push(json);
        }
        out
    }
}

/// Where a tag is shown; each place has its own members.
#[derive(Clone, Copy, PartialEq, Eq)]
enum TagOf {
    Row,
    EventOfRow,
    Context,
}

fn columns(members: &mut Members, event: u64, row: &Attribute) {
    members.id("id", row.id).id("event_id", event).id("object_id", row.object.as_ref().map_or(0, |object| object.id));
    members.maybe("object_relation", row.object.as_ref().map(|object| object.relation.as_str()));
    members.text("category", &row.category).text("type", &row.kind).flag("to_ids", row.to_ids);
    members.text("uuid", &row.uuid).id("timestamp", row.timestamp).id("distribution", row.distribution);
    members.id("sharing_group_id", row.sharing_group_id).text("comment", &row.comment);
    members.flag("deleted", row.deleted).flag("disable_correlation", row.disable_correlation);
    members.maybe("first_seen", row.first_seen.as_deref()).maybe("last_seen", row.last_seen.as_deref());
    members.text("value", &row.value);
}

fn warnings(world: &World, row: &Attribute) -> Vec<String> {
    let one = |hit: super::warninglists::Hit| {
        let list = world.warninglists.get(&hit.list);
        let mut json = String::new();
        let mut members = Members::new(world, &mut json);
        members.text("match", &hit.matched).text("value", &hit.value).id("warninglist_id", hit.list);
        members.text("warninglist_name", list.map_or("", |list| &list.name));
        members.text("warninglist_category", list.map_or("false_positive", |list| &list.category)).end();
        json
    };
    world.hits(row).into_iter().map(one).collect()
}

fn sightings(world: &World, event: u64, row: &Attribute) -> Vec<String> {
    let one = |sighting: &super::world::Sighting| {
        let by = &world.organisations[&sighting.org_id];
        let (mut json, mut inner) = (String::new(), String::new());
        let mut organisation = Members::new(world, &mut inner);
        organisation.id("id", by.id).text("uuid", &by.uuid).text("name", &by.name).end();
        let mut members = Members::new(world, &mut json);
        members.id("id", sighting.id).id("attribute_id", row.id).id("event_id", event).id("org_id", by.id);
        members.id("date_sighting", sighting.date).text("uuid", &sighting.uuid).text("source", "");
        members.id("type", sighting.kind).text("attribute_uuid", &row.uuid).raw("Organisation", &inner).end();
        json
    };
    row.sightings.iter().map(one).collect()
}

/// Writes an object, member by member.
struct Members<'a> {
    out: &'a mut String,
    numeric_ids: bool,
    separator: char,
}

impl<'a> Members<'a> {
    fn new(world: &World, out: &'a mut String) -> Self {
        Self { out, numeric_ids: world.settings.numeric_ids, separator: '{' }
    }

    fn name(&mut self, name: &str) -> &mut String {
        self.out.push(self.separator);
        self.separator = ',';
        self.out.push('"');
        self.out.push_str(name);
        self.out.push_str("\":");
        self.out
    }

    /// A number of the database: a text, unless the server is set up otherwise.
    fn id(&mut self, name: &str, id: impl std::fmt::Display) -> &mut Self {
        let quote = if self.numeric_ids { "" } else { "\"" };
        let written = write!(self.name(name), "{quote}{id}{quote}");
        written.expect("a String takes everything");
        self
    }

    fn text(&mut self, name: &str, text: &str) -> &mut Self {
        quoted(text, self.name(name));
        self
    }

    fn maybe(&mut self, name: &str, text: Option<&str>) -> &mut Self {
        match text {
            Some(text) => self.text(name, text),
            None => self.raw(name, "null"),
        }
    }

    fn flag(&mut self, name: &str, is: bool) -> &mut Self {
        self.raw(name, if is { "true" } else { "false" })
    }

    fn raw(&mut self, name: &str, json: &str) -> &mut Self {
        self.name(name).push_str(json);
        self
    }

    fn end(&mut self) {
        self.out.push('}');
    }
}

/// Slashes and Unicode as they are, except the two line separators.
fn quoted(text: &str, out: &mut String) {
    let plain = |byte: u8| byte >= b' ' && byte != b'"' && byte != b'\\' && byte != 0xe2;
    if text.bytes().all(plain) {
        out.push('"');
        out.push_str(text);
        out.push('"');
    } else {
        let json = serde_json::to_string(text).expect("a text is JSON");
        out.push_str(&json.replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029"));
    }
}
