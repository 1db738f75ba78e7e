//! What happens in `pulls`: worlds to begin with, what people and servers do to them, and what the view does in between.

use proptest::sample::Index;

use crate::misp::{Fault, NewAttribute, NewEvent, ResultCount, Via, World};

/// How a sequence begins.
#[derive(Clone, Debug)]
pub struct Start {
    /// With the key of a user who does not see everything.
    pub reader: bool,
    /// `any` and `42` are published.
    pub everything: bool,
    /// What falls to zero is held.
    pub careful: bool,
    pub unpublished_private: bool,
    pub warning_for_all: bool,
    pub numeric_ids: bool,
    pub counting: (&'static str, ResultCount),
    /// Is not shown unless asked for.
    pub hidden_tag: &'static str,
    pub events: Vec<NewEvents>,
}

/// An event and its rows.
#[derive(Clone, Debug)]
pub struct NewEvents {
    pub organisation: u64,
    pub distribution: u8,
    pub tags: Vec<(String, bool)>,
    pub rows: Vec<NewAttribute>,
}

/// One step; so many seconds pass before.
#[derive(Clone, Debug)]
pub struct Step {
    pub wait: i64,
    pub what: What,
}

#[derive(Clone, Debug)]
pub enum What {
    /// And whether the event is published then, which most changes undo.
    Change(Change, bool),
    Refresh {
        full: bool,
        /// In a careful sequence; all others always release.
        release: bool,
        fault: Option<Fault>,
    },
    Restart,
    /// Publishing from what is known.
    Expire,
}

#[derive(Clone, Debug)]
pub enum Change {
    AddEvent(NewEvents),
    AddRow(Index, NewAttribute),
    /// Type and value; none: `to_ids` turns.
    EditRow(Index, Option<(&'static str, &'static str)>),
    TagRow(Index, String, bool),
    TagEvent(Index, String, bool),
    UntagRow(Index, Index, Via),
    UntagEvent(Index, Index),
    /// Nothing else than publishing, or not.
    Touch(Index),
    Unpublish(Index),
    SoftDelete(Index),
    Restore(Index),
    HardDelete(Index),
    DeleteEvent(Index),
    /// Distribution; quietly: somebody else changed a sharing group.
    EventSight(Index, u8, bool),
    RowSight(Index, u8, bool),
    RenameTag(&'static str, &'static str),
    DeleteTag(&'static str),
    ListEntry(Index, &'static str, bool),
    ListEnabled(Index, bool),
    Sighting(Index, u8),
    /// A row comes, and one that is there turns its `to_ids`; the event's clock is the author's.
    Import(Index, Clock, NewAttribute),
}

/// The clock of an import.
#[derive(Clone, Copy, Debug)]
pub enum Clock {
    /// An event that nobody had here, long ago.
    NewEvent,
    Old,
    /// As it stands already.
    Same,
    /// So many seconds after the server's.
    Near(i64),
}

impl Start {
    /// The world at the beginning.
    pub fn world(&self) -> World {
        let mut world = World::default();
        world.settings.unpublishedprivate = self.unpublished_private;
        world.settings.warning_for_all = self.warning_for_all;
        world.settings.numeric_ids = self.numeric_ids;
        (world.settings.version, world.settings.result_count) = (self.counting.0.into(), self.counting.1);
        world.settings.skipped_header = self.counting.1 == ResultCount::Page;
        let hidden = world.add_tag(self.hidden_tag);
        world.tags.get_mut(&hidden).unwrap().exportable = false;
        world.add_warninglist("on", &["192.0.2.2", "00000000000000000000000000000002"]);
        let off = world.add_warninglist("off", &["a.example", "00000000000000000000000000000003"]);
        world.enable_warninglist(off, false);
        let domains = world.add_warninglist("domains", &["b.example", "192.0.2.3"]);
        world.warninglist_mut(domains).types.push("domain".into());
        for new in &self.events {
            let id = new.add(&mut world);
            world.publish(id);
        }
        // Some of it is older than the server's own second.
        world.advance(5);
        world
    }
}

impl NewEvents {
    fn add(&self, world: &mut World) -> u64 {
        let new = NewEvent { distribution: self.distribution, tags: self.tags.clone(), ..NewEvent::new("random") };
        let id = world.add_event(new.of(self.organisation));
        for row in &self.rows {
            world.add_attribute(id, row.clone());
        }
        id
    }
}

impl Change {
    /// Does it, if there is anything to do it to; the event it was done to, if that is still there.
    pub fn apply(&self, world: &mut World) -> Option<u64> {
        use Change::*;
        match self {
            AddEvent(new) => Some(new.add(world)),
            AddRow(at, _)
            | TagEvent(at, ..)
            | UntagEvent(at, _)
            | Touch(at)
            | Unpublish(at)
            | DeleteEvent(at)
            | EventSight(at, ..)
            | Import(at, ..) => {
                let events: Vec<u64> = world.events.keys().copied().collect();
                let id = *events.get(at.index(events.len().max(1)))?;
                self.apply_to_event(world, id);
                world.events.contains_key(&id).then_some(id)
            }
            RenameTag(..) | DeleteTag(_) | ListEntry(..) | ListEnabled(..) => {
                self.apply_to_server(world);
                None
            }
            EditRow(at, _)
            | TagRow(at, ..)
            | UntagRow(at, ..)
            | SoftDelete(at)
            | Restore(at)
            | HardDelete(at)
            | RowSight(at, ..)
            | Sighting(at, _) => {
                let rows: Vec<u64> = world.all().map(|(_, row)| row.id).collect();
                let id = *rows.get(at.index(rows.len().max(1)))?;
                let home = world.home(id);
                self.apply_to_row(world, id);
                Some(home)
            }
        }
    }

    fn apply_to_event(&self, world: &mut World, id: u64) {
        match self {
            Self::AddRow(_, new) => drop(world.add_attribute(id, new.clone())),
            Self::TagEvent(_, tag, local) => world.tag_event(id, tag, *local),
            Self::UntagEvent(_, which) => {
                let tags: Vec<u64> = world.event(id).tags.iter().map(|attached| attached.tag).collect();
                if let Some(tag) = tags.get(which.index(tags.len().max(1))) {
                    let name = world.tags[tag].name.clone();
                    world.untag_event(id, &name);
                }
            }
            Self::Unpublish(_) => world.unpublish(id),
            Self::DeleteEvent(_) => world.delete_event(id),
            Self::EventSight(_, distribution, true) => world.set_event_distribution_quietly(id, *distribution),
            Self::EventSight(_, distribution, false) => world.set_event_distribution(id, *distribution),
            Self::Import(_, clock, new) => import(world, id, *clock, new),
            _ => {}
        }
    }

    fn apply_to_row(&self, world: &mut World, id: u64) {
        match self {
            Self::EditRow(_, Some((kind, value))) => {
                world.edit_attribute(id, |row| (row.kind, row.value) = ((*kind).into(), (*value).into()));
            }
            Self::EditRow(_, None) => drop(world.edit_attribute(id, |row| row.to_ids = !row.to_ids)),
            Self::TagRow(_, tag, local) => world.tag_attribute(id, tag, *local),
            Self::UntagRow(_, which, via) => {
                let tags: Vec<u64> = world.attribute(id).tags.iter().map(|attached| attached.tag).collect();
                if let Some(tag) = tags.get(which.index(tags.len().max(1))) {
                    let name = world.tags[tag].name.clone();
                    world.untag_attribute(id, &name, *via);
                }
            }
            Self::SoftDelete(_) => world.delete_attribute(id),
            Self::Restore(_) => world.restore_attribute(id),
            Self::HardDelete(_) => world.hard_delete_attribute(id),
            Self::RowSight(_, distribution, true) => world.set_attribute_distribution_quietly(id, *distribution),
            Self::RowSight(_, distribution, false) => world.set_attribute_distribution(id, *distribution),
            Self::Sighting(_, kind) => world.sighting(id, *kind),
            _ => {}
        }
    }

    fn apply_to_server(&self, world: &mut World) {
        let list = |at: &Index| 1 + at.index(3) as u64;
        match self {
            Self::RenameTag(from, to) if world.tag_id(from).is_some() && world.tag_id(to).is_none() => {
                world.rename_tag(from, to);
            }
            Self::DeleteTag(name) if world.tag_id(name).is_some() => world.delete_tag(name),
            Self::ListEntry(at, value, true) => world.add_to_warninglist(list(at), value),
            Self::ListEntry(at, value, false) => world.remove_from_warninglist(list(at), value),
            Self::ListEnabled(at, enabled) => world.enable_warninglist(list(at), *enabled),
            _ => {}
        }
    }
}

fn import(world: &mut World, id: u64, clock: Clock, new: &NewAttribute) {
    let event = world.event(id);
    let (uuid, stands, long_ago) = (event.uuid.clone(), event.timestamp, world.now - 10_000_000);
    let timestamp = match clock {
        Clock::NewEvent | Clock::Old => long_ago,
        Clock::Same => stands,
        Clock::Near(seconds) => world.now + seconds,
    };
    let is_new = matches!(clock, Clock::NewEvent);
    if let Some(row) = world.event_mut(id).attributes.values_mut().next().filter(|_| !is_new) {
        row.to_ids = !row.to_ids;
    }
    let event = NewEvent { uuid: (!is_new).then_some(uuid), timestamp: Some(timestamp), ..NewEvent::new("imported") };
    world.import_event(event, vec![new.clone().at(long_ago)]);
}
