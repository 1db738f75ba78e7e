//! Who sees what, and the truth that tests compare with: what a key's user would find if it could look at everything.

use std::collections::BTreeSet;

use super::identity::User;
use super::world::{Attached, Attribute, Event, World};

/// A live attribute that a key sees, in its event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub event_id: u64,
    pub event_uuid: String,
    pub event_timestamp: i64,
    pub published: bool,
    /// UUID of the organisation that created the event.
    pub creator: String,
    /// Names of all tags of the event, exportable or not.
    pub event_tags: BTreeSet<String>,
    /// Names of all tags of the attribute, exportable or not.
    pub tags: BTreeSet<String>,
    /// Those of both that an answer leaves out without `includeAllTags`.
    pub hidden_tags: BTreeSet<String>,
    pub id: u64,
    pub uuid: String,
    /// Its `type`.
    pub kind: String,
    pub value: String,
    pub timestamp: i64,
    pub to_ids: bool,
    pub on_warninglist: bool,
}

/// One event of the index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Indexed {
    pub id: u64,
    pub uuid: String,
    pub timestamp: i64,
    pub published: bool,
}

/// How much of an event somebody sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sight {
    Nothing,
    /// What its rows' own distribution lets through.
    Shared,
    Everything,
}

/// Distributions that let another organisation of the server see something.
const OPEN: [u8; 4] = [1, 2, 3, 5];

impl World {
    /// What that user sees of an event.
    pub fn sight(&self, user: &User, event: &Event) -> Sight {
        let hidden = self.settings.unpublishedprivate && !event.published;
        if user.role.site_admin || user.org_id == event.org_id {
            Sight::Everything
        } else if matches!(event.distribution, 1..=3) && !hidden {
            Sight::Shared
        } else {
            Sight::Nothing
        }
    }

    /// All live attributes visible to that key, by id.
    pub fn rows(&self, key: &str) -> Vec<Row> {
        let user = self.user_of(key);
        let visible = |(event, row): &(&Event, &Attribute)| !row.deleted && row.visible(self.sight(user, event));
        let mut rows: Vec<Row> = self.all().filter(visible).map(|(event, row)| self.truth(event, row)).collect();
        rows.sort_by_key(|row| row.id);
        rows
    }

    /// What the minimal event index shows to that key: visible events with at least one live attribute, by id.
    pub fn index(&self, key: &str) -> Vec<Indexed> {
        let user = self.user_of(key);
        let listed = |event: &&Event| self.sight(user, event) > Sight::Nothing && event.live_count() > 0;
        let entry = |event: &Event| Indexed {
            id: event.id,
            uuid: event.uuid.clone(),
            timestamp: event.timestamp,
            published: event.published,
        };
        self.events.values().filter(listed).map(entry).collect()
    }

    fn truth(&self, event: &Event, row: &Attribute) -> Row {
        let names = |tags: &[Attached], keep: fn(bool) -> bool| -> BTreeSet<String> {
            let kept = tags.iter().map(|attached| &self.tags[&attached.tag]).filter(|tag| keep(tag.exportable));
            kept.map(|tag| tag.name.clone()).collect()
        };
        let hidden = &names(&event.tags, |exportable| !exportable) | &names(&row.tags, |exportable| !exportable);
        Row {
            event_id: event.id,
            event_uuid: event.uuid.clone(),
            event_timestamp: event.timestamp,
            published: event.published,
            creator: self.organisations[&event.orgc_id].uuid.clone(),
            event_tags: names(&event.tags, |_| true),
            tags: names(&row.tags, |_| true),
            hidden_tags: hidden,
            id: row.id,
            uuid: row.uuid.clone(),
            kind: row.kind.clone(),
            value: row.value.clone(),
            timestamp: row.timestamp,
            to_ids: row.to_ids,
            on_warninglist: self.on_warninglist(row),
        }
    }
}

impl Event {
    /// What `attribute_count` says.
    pub fn live_count(&self) -> usize {
        self.attributes.values().filter(|row| !row.deleted).count()
    }

    /// Whether that tag is on the event itself.
    pub fn has(&self, tag: u64) -> bool {
        self.tags.iter().any(|attached| attached.tag == tag)
    }
}

impl Attribute {
    /// Whether somebody who sees that much of the event sees this row.
    pub fn visible(&self, sight: Sight) -> bool {
        let open = OPEN.contains(&self.distribution)
            && self.object.as_ref().is_none_or(|object| OPEN.contains(&object.distribution));
        sight == Sight::Everything || (sight == Sight::Shared && open)
    }

    /// Whether that tag is on the attribute itself.
    pub fn has(&self, tag: u64) -> bool {
        self.tags.iter().any(|attached| attached.tag == tag)
    }
}
