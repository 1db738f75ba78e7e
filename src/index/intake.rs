//! Fills a mirror from a pull. In: attributes and events as they come. Out: the new mirror, and whether it differs from the
//! one before.
//!
//! Invariants: attributes are compact from the moment they come; an event replaces the one before as a whole; one that is
//! equal to the one before is shared with it, so a full pull of what is known costs no second copy; an attribute uuid that
//! comes twice counts once, the last one wins; values stand in the order of their rows, so equal content is equal bytes; a
//! row knows since when its value is here, an event since when it is not published any more.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use uuid::Uuid;

use super::mirror::{Coverage, Event, Mirror, Row};
use crate::fetch::wire;

/// A mirror that is being filled.
#[derive(Debug)]
pub struct Intake {
    mirror: Mirror,
    before: BTreeMap<Uuid, Arc<Event>>,
    open: HashMap<Uuid, Open>,
    wanted: BTreeSet<String>,
    changed: bool,
    full: bool,
    /// Unix seconds of the pull.
    now: i64,
}

/// What came of an event that is not whole yet, in the order it came.
#[derive(Debug, Default)]
struct Open {
    values: String,
    rows: Vec<Row>,
    /// Attributes that are too much for one event.
    refused: u64,
}

impl Intake {
    /// Begins with what is known: what does not come stays. `now` in Unix seconds.
    pub fn incremental(base: &Mirror, wanted: BTreeSet<String>, now: i64) -> Self {
        let before = base.events.clone();
        Self { mirror: base.clone(), before, open: HashMap::new(), wanted, changed: false, full: false, now }
    }

    /// Begins with nothing: what does not come is gone. `base` spares memory and says what was here before. `now` in Unix
    /// seconds.
    pub fn full(
        base: Option<&Mirror>,
        fingerprint: [u8; 32],
        coverage: Coverage,
        wanted: BTreeSet<String>,
        now: i64,
    ) -> Self {
        let mut mirror = Mirror::new(fingerprint, coverage);
        let mut before = BTreeMap::new();
        let mut changed = true;
        if let Some(base) = base {
            // With the same tables equal events have equal numbers.
            (mirror.types, mirror.tags, mirror.tag_sets) =
                (base.types.clone(), base.tags.clone(), base.tag_sets.clone());
            before = base.events.clone();
            changed = (base.fingerprint, base.coverage) != (fingerprint, coverage);
        }
        Self { mirror, before, open: HashMap::new(), wanted, changed, full: true, now }
    }

    /// Takes an attribute of an event that is not whole yet. Those of types nobody asked for are left out.
    pub fn attribute(&mut self, event: &Uuid, attribute: &wire::Attribute<'_>) {
        if !self.wanted.contains(&*attribute.kind) {
            return;
        }
        let open = self.open.entry(*event).or_default();
        let (start, end) = (open.values.len(), open.values.len() + attribute.value.len());
        let (Ok(start), Ok(end)) = (u32::try_from(start), u32::try_from(end)) else {
            open.refused += 1;
            return;
        };
        open.values.push_str(&attribute.value);
        open.rows.push(Row {
            uuid: attribute.uuid,
            start,
            end,
            kind: self.mirror.types.number(&*attribute.kind),
            tags: self.mirror.tag_set(attribute.tags.iter().map(|tag| &**tag)),
            timestamp: attribute.timestamp,
            since: self.now,
            to_ids: attribute.to_ids,
            on_warninglist: attribute.on_warninglist,
            was_published: false,
        });
    }

    /// The event is whole.
    pub fn event(&mut self, event: &wire::Event) {
        let open = self.open.remove(&event.uuid).unwrap_or_default();
        let refused = open.refused;
        let (values, rows) = open.close();
        let mut new = Event {
            timestamp: event.timestamp,
            published: event.published,
            left_at: None,
            creator: event.creator,
            tags: self.mirror.tag_set(event.tags.iter().map(String::as_str)),
            false_positives: event.false_positives,
            malformed: event.malformed + refused,
            values,
            rows,
        };
        let old = self.before.get(&event.uuid);
        if let Some(old) = old {
            new.succeed(old, self.now);
        }
        let shared = match old {
            Some(old) if **old == new => Arc::clone(old),
            _ => {
                self.changed = true;
                Arc::new(new)
            }
        };
        self.mirror.events.insert(event.uuid, shared);
    }

    /// The event is gone.
    pub fn gone(&mut self, uuid: &Uuid) {
        self.mirror.events.remove(uuid);
        self.changed |= self.before.contains_key(uuid);
    }

    /// The mirror, and whether it differs from the one it began with.
    pub fn finish(self) -> (Mirror, bool) {
        let lost = self.full && self.before.keys().any(|uuid| !self.mirror.events.contains_key(uuid));
        (self.mirror, self.changed || lost)
    }
}

impl Event {
    /// Takes over from the event before what only time tells.
    fn succeed(&mut self, old: &Event, now: i64) {
        self.left_at = match (self.published, old.published) {
            (true, _) => None,
            (false, true) => Some(now),
            (false, false) => old.left_at,
        };
        for row in &mut self.rows {
            let same = old.rows.binary_search_by_key(&row.uuid, |row| row.uuid).ok().map(|at| &old.rows[at]);
            let value = &self.values[row.start as usize..row.end as usize];
            if let Some(same) = same.filter(|same| same.kind == row.kind && old.value(same) == value) {
                row.since = same.since;
                row.was_published = !self.published && (old.published || same.was_published);
            }
        }
    }
}

impl Open {
    /// Rows by uuid, the last of each, and their values in that order.
    fn close(self) -> (Box<str>, Box<[Row]>) {
        let Open { values: all, mut rows, .. } = self;
        // Stable: of equal uuids the last one that came stands last.
        rows.sort_by_key(|row| row.uuid);
        let mut values = String::with_capacity(all.len());
        let mut kept: Vec<Row> = Vec::with_capacity(rows.len());
        let mut rows = rows.into_iter().peekable();
        while let Some(mut row) = rows.next() {
            if rows.peek().is_some_and(|next| next.uuid == row.uuid) {
                continue;
            }
            let start = values.len() as u32;
            values.push_str(&all[row.start as usize..row.end as usize]);
            (row.start, row.end) = (start, values.len() as u32);
            kept.push(row);
        }
        (values.into(), kept.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted() -> BTreeSet<String> {
        BTreeSet::from(["md5".to_owned(), "url".to_owned()])
    }

    fn attribute<'a>(number: u128, kind: &'a str, value: &'a str) -> wire::Attribute<'a> {
        wire::Attribute {
            uuid: Uuid::from_u128(number),
            kind: kind.into(),
            value: value.into(),
            timestamp: 5,
            to_ids: true,
            on_warninglist: false,
            tags: vec!["b".into(), "a".into()],
        }
    }

    fn event(number: u128, timestamp: i64) -> wire::Event {
        wire::Event {
            uuid: Uuid::from_u128(number),
            timestamp,
            published: true,
            creator: Uuid::nil(),
            tags: Vec::new(),
            false_positives: 0,
            malformed: 0,
        }
    }

    fn filled(intake: &mut Intake, order: &[u128]) {
        for number in order {
            intake.attribute(&Uuid::from_u128(1), &attribute(*number, "md5", &format!("value {number}")));
        }
        intake.event(&event(1, 9));
    }

    #[test]
    fn equal_content_is_equal_whatever_the_order_and_is_shared() {
        let mut first = Intake::full(None, [0; 32], Coverage::Tagged, wanted(), 100);
        filled(&mut first, &[3, 1, 2, 3]);
        let (first, changed) = first.finish();
        assert!(changed);
        let mut second = Intake::full(Some(&first), [0; 32], Coverage::Tagged, wanted(), 100);
        filled(&mut second, &[2, 3, 1]);
        let (second, changed) = second.finish();
        assert!(!changed);
        assert_eq!(second.rows(), 3);
        let uuid = Uuid::from_u128(1);
        assert!(Arc::ptr_eq(&first.events[&uuid], &second.events[&uuid]));
    }

    #[test]
    fn an_incremental_pull_changes_only_what_comes() {
        let mut first = Intake::full(None, [0; 32], Coverage::Tagged, wanted(), 100);
        filled(&mut first, &[1]);
        first.event(&event(2, 1));
        let (first, _) = first.finish();
        let mut none = Intake::incremental(&first, wanted(), 200);
        filled(&mut none, &[1]);
        assert!(!none.finish().1);
        let mut some = Intake::incremental(&first, wanted(), 200);
        some.gone(&Uuid::from_u128(2));
        let (some, changed) = some.finish();
        assert_eq!((some.event_count(), changed), (1, true));
    }

    #[test]
    fn rows_know_since_when_they_are_here_and_whether_they_were_published() {
        let pull = |base: Option<&Mirror>, now, published, rows: &[(u128, &str)]| {
            let mut intake = Intake::full(base, [0; 32], Coverage::Tagged, wanted(), now);
            for (number, value) in rows {
                intake.attribute(&Uuid::from_u128(1), &attribute(*number, "md5", value));
            }
            intake.event(&wire::Event { published, ..event(1, now) });
            intake.finish().0
        };
        let known = |mirror: &Mirror| {
            let event = &mirror.events[&Uuid::from_u128(1)];
            let rows: Vec<_> = event.rows.iter().map(|row| (row.since, row.was_published)).collect();
            (event.left_at, rows)
        };
        let first = pull(None, 10, true, &[(1, "a"), (2, "b")]);
        assert_eq!(known(&first), (None, vec![(10, false), (10, false)]));
        let edited = pull(Some(&first), 20, false, &[(1, "a"), (2, "changed"), (3, "new")]);
        assert_eq!(known(&edited), (Some(20), vec![(10, true), (20, false), (20, false)]));
        let still = pull(Some(&edited), 30, false, &[(1, "a"), (2, "changed"), (3, "new")]);
        assert_eq!(known(&still), (Some(20), vec![(10, true), (20, false), (20, false)]));
        let event = &still.events[&Uuid::from_u128(1)];
        let published = |at| event.rows.iter().map(|row| event.publishes(row, 60, at)).collect::<Vec<_>>();
        assert_eq!(published(79), [true, false, false]);
        assert_eq!(published(80), [false, false, false], "the grace is over");
        let again = pull(Some(&still), 40, true, &[(1, "a")]);
        assert_eq!(known(&again), (None, vec![(10, false)]));
    }

    #[test]
    fn what_a_full_pull_does_not_bring_is_gone() {
        let mut first = Intake::full(None, [0; 32], Coverage::Tagged, wanted(), 100);
        filled(&mut first, &[1]);
        let (first, _) = first.finish();
        let (second, changed) = Intake::full(Some(&first), [0; 32], Coverage::Tagged, wanted(), 100).finish();
        assert_eq!((second.event_count(), changed), (0, true));
    }

    #[test]
    fn of_an_attribute_that_comes_twice_the_last_one_counts() {
        let mut intake = Intake::full(None, [0; 32], Coverage::Tagged, wanted(), 100);
        let uuid = Uuid::from_u128(1);
        intake.attribute(&uuid, &wire::Attribute { on_warninglist: true, ..attribute(1, "md5", "old") });
        intake.attribute(&uuid, &attribute(1, "md5", "new"));
        intake.attribute(&uuid, &attribute(2, "comment", "nobody asked"));
        intake.event(&event(1, 1));
        let (mirror, _) = intake.finish();
        let event = &mirror.events[&uuid];
        assert_eq!((event.rows.len(), event.value(&event.rows[0])), (1, "new"));
        assert!(!event.rows[0].on_warninglist);
    }
}
