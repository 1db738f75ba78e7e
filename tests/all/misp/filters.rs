//! The filters of a search, made into tests of events and of their attributes.

use serde_json::Value;

use super::loose::{self, Column, Joined};
use super::parameters::Parameters;
use super::route::Refusal;
use super::world::{Attribute, Event, World};

type Test<'a> = Box<dyn Fn(&Event, &Attribute) -> bool + 'a>;
type EventTest<'a> = Box<dyn Fn(&Event) -> bool + 'a>;

/// The tests of one search; a row must pass all.
#[derive(Default)]
pub struct Filters<'a> {
    events: Vec<EventTest<'a>>,
    rows: Vec<Test<'a>>,
}

impl<'a> Filters<'a> {
    /// From the parameters.
    pub fn new(world: &'a World, asked: &Parameters) -> Result<Self, Refusal> {
        let mut filters = Self::default();
        filters.of_events(world, asked)?;
        filters.of_rows(world, asked)?;
        if let Some(tags) = asked.filled("tags") {
            filters.of_tags(world, tags);
        }
        filters.of_deletion(asked);
        Ok(filters)
    }

    /// Whether any row of the event can pass.
    pub fn event_passes(&self, event: &Event) -> bool {
        self.events.iter().all(|test| test(event))
    }

    /// Whether a row of such an event passes.
    pub fn row_passes(&self, event: &Event, row: &Attribute) -> bool {
        self.rows.iter().all(|test| test(event, row))
    }

    fn of_events(&mut self, world: &World, asked: &Parameters) -> Result<(), Refusal> {
        if let Some(value) = asked.filled("eventid").filter(|value| **value != "all") {
            loose::operators(value).into_iter().for_each(|(joined, values)| self.of_event_ids(joined, &values));
        }
        if let Some(value) = asked.filled("org") {
            loose::operators(value).into_iter().for_each(|(joined, values)| self.of_creators(world, joined, &values));
        }
        if let Some(value) = asked.filter("published").filter(|value| **value != serde_json::json!([true, false])) {
            let wanted = loose::flags(value);
            self.events.push(Box::new(move |event| wanted.contains(&i64::from(event.published))));
        }
        type Clock = fn(&Event) -> i64;
        let clocks: [(&str, Clock); 3] = [
            ("event_timestamp", |event| event.timestamp),
            ("publish_timestamp", |event| event.publish_timestamp),
            ("last", |event| event.publish_timestamp),
        ];
        for (name, clock) in clocks {
            if let Some(value) = asked.filter(name) {
                let range = world.time_range(value)?;
                self.events.push(Box::new(move |event| within(range, clock(event))));
            }
        }
        Ok(())
    }

    /// Ids and UUIDs may be mixed.
    fn of_event_ids(&mut self, joined: Joined, values: &[Value]) {
        let texts: Vec<String> = values.iter().map(|value| loose::text(value).trim().to_owned()).collect();
        let (uuids, ids): (Vec<String>, Vec<String>) = texts.into_iter().partition(|text| is_uuid(text));
        let ids_given = !ids.is_empty();
        let ids: Vec<u64> = ids.iter().filter_map(|id| id.parse().ok()).collect();
        self.events.push(Box::new(move |event| {
            let (by_id, by_uuid) = (ids.contains(&event.id), uuids.contains(&event.uuid));
            let both = (!ids_given || by_id) && (uuids.is_empty() || by_uuid);
            match joined {
                Joined::Or => by_id || by_uuid,
                Joined::And => both,
                Joined::Not => !both,
            }
        }));
    }

    /// Organisations by id, exact name or UUID. An unknown one matches nothing, an unknown negated one is ignored.
    fn of_creators(&mut self, world: &World, joined: Joined, values: &[Value]) {
        let find = |value: &Value| {
            let text = loose::text(value);
            match loose::number(value) {
                Some(id) => Some(id as u64),
                None => world.organisations.values().find(|org| org.name == text || org.uuid == text).map(|org| org.id),
            }
        };
        let ids: Vec<u64> = values.iter().filter_map(find).collect();
        let negated = joined == Joined::Not;
        if !(negated && ids.is_empty()) {
            self.events.push(Box::new(move |event| ids.contains(&event.orgc_id) != negated));
        }
    }

    fn of_rows(&mut self, world: &World, asked: &Parameters) -> Result<(), Refusal> {
        if let Some(value) = asked.filled("type") {
            let column = Column::new(&with_email(loose::operators(value)));
            self.rows.push(Box::new(move |_, row| column.passes(&row.kind)));
        }
        if let Some(value) = asked.filled("category") {
            let column = Column::new(&loose::operators(value));
            self.rows.push(Box::new(move |_, row| column.passes(&row.category)));
        }
        if let Some(value) = asked.filled("value") {
            // A negated value excludes nothing in this version.
            let operators: Vec<_> =
                loose::operators(value).into_iter().filter(|(joined, _)| *joined != Joined::Not).collect();
            if !operators.is_empty() {
                let column = Column::new(&operators);
                self.rows.push(Box::new(move |_, row| row.parts().into_iter().any(|part| column.passes(part))));
            }
        }
        if let Some(value) = asked.filled("uuid") {
            loose::operators(value).into_iter().for_each(|(joined, values)| self.of_uuids(joined, &values));
        }
        if let Some(value) = asked.filter("to_ids") {
            let wanted = if *value == "exclude" { vec![0] } else { loose::flags(value) };
            self.rows.push(Box::new(move |_, row| wanted.contains(&i64::from(row.to_ids))));
        }
        for name in ["timestamp", "attribute_timestamp"] {
            if let Some(value) = asked.filter(name) {
                let range = world.time_range(value)?;
                self.rows.push(Box::new(move |_, row| within(range, row.timestamp)));
            }
        }
        Ok(())
    }

    /// A UUID is that of an attribute or of its event.
    fn of_uuids(&mut self, joined: Joined, values: &[Value]) {
        let uuids: Vec<String> = values.iter().map(loose::text).collect();
        if joined == Joined::Not {
            self.rows.push(Box::new(move |_, row| !uuids.contains(&row.uuid)));
        } else {
            self.rows.push(Box::new(move |event, row| uuids.contains(&row.uuid) || uuids.contains(&event.uuid)));
        }
    }

    /// A tag counts on the attribute and on its event. Several wanted ones: any of them.
    fn of_tags(&mut self, world: &World, value: &Value) {
        let (wanted, unwanted, all) = tag_rules(value);
        let has = |event: &Event, row: &Attribute, tag: u64| row.has(tag) || event.has(tag);
        if !unwanted.is_empty() {
            let ids = world.tags_like(&unwanted);
            self.rows.push(Box::new(move |event, row| !ids.iter().any(|id| has(event, row, *id))));
        }
        if !wanted.is_empty() {
            let ids = world.tags_like(&wanted);
            self.rows.push(Box::new(move |event, row| ids.iter().any(|id| has(event, row, *id))));
        }
        if !all.is_empty() {
            let ids = world.tags_like(&all);
            let complete = ids.len() == all.len();
            self.rows.push(Box::new(move |event, row| complete && ids.iter().all(|id| has(event, row, *id))));
        }
    }

    /// Deleted rows are hidden unless asked for; the object of a row counts too, and none is deleted here.
    fn of_deletion(&mut self, asked: &Parameters) {
        if let Some(value) = asked.filter("deleted") {
            for (joined, values) in loose::operators(value) {
                let (wanted, negated) = (loose::flags(&Value::Array(values)), joined == Joined::Not);
                self.rows.push(Box::new(move |_, row| {
                    let own = wanted.contains(&i64::from(row.deleted)) != negated;
                    own && (row.object.is_none() || wanted.contains(&0) != negated)
                }));
            }
        }
        match asked.get("deleted") {
            Some(value) if *value == "only" => self.rows.push(Box::new(|_, row| row.deleted)),
            Some(value) if !loose::is_empty(value) => {}
            _ => self.rows.push(Box::new(|_, row| !row.deleted)),
        }
    }
}

impl World {
    /// Ids of the tags with one of these names (LIKE, case-sensitive); a number is an id.
    fn tags_like(&self, names: &[Value]) -> Vec<u64> {
        let mut ids = Vec::new();
        for name in names {
            match loose::number(name) {
                Some(id) => ids.push(id as u64),
                None => {
                    let pattern = loose::text(name);
                    ids.extend(self.tags.values().filter(|tag| loose::like(&pattern, &tag.name)).map(|tag| tag.id));
                }
            }
        }
        ids.sort_unstable();
        ids.dedup();
        ids
    }
}

/// Wanted, unwanted, and wanted all together.
fn tag_rules(value: &Value) -> (Vec<Value>, Vec<Value>, Vec<Value>) {
    let (mut wanted, mut unwanted, mut all) = (Vec::new(), Vec::new(), Vec::new());
    if let Some(named) = loose::named_operators(value) {
        for (joined, values) in named {
            match joined {
                Joined::Or => wanted = values,
                Joined::Not => unwanted = values,
                Joined::And => all = values,
            }
        }
        return (wanted, unwanted, all);
    }
    let items = match value {
        Value::Array(_) | Value::Object(_) => loose::list(value),
        single => loose::text(single).split("&&").map(Value::from).collect(),
    };
    for item in items {
        match item.as_str().and_then(|text| text.strip_prefix('!')) {
            Some(rest) => unwanted.push(rest.into()),
            None => wanted.push(item),
        }
    }
    (wanted, unwanted, all)
}

/// Who asks for `email-src` or `email-dst` gets `email` too.
fn with_email(mut operators: Vec<(Joined, Vec<Value>)>) -> Vec<(Joined, Vec<Value>)> {
    for (joined, values) in &mut operators {
        let names = |name: &str| values.iter().any(|value| value == name);
        if *joined != Joined::And && (names("email-src") || names("email-dst")) && !names("email") {
            values.push("email".into());
        }
    }
    operators
}

fn within((from, to): (Option<i64>, Option<i64>), time: i64) -> bool {
    from.is_none_or(|from| time >= from) && to.is_none_or(|to| time <= to)
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36 && uuid::Uuid::try_parse(text).is_ok()
}
