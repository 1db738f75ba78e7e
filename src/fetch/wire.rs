//! Events and attributes, whatever source they came from, and the JSON MISP writes them in, read leniently.
//!
//! In: the bytes of one event file (`{"Event": {...}}`, MISP's export format), of one row of `/attributes/restSearch`, or
//! of one entry of `/events/index`. Out: [`Event`], [`Attribute`], [`Row`], [`IndexEntry`].
//!
//! Invariants: numbers may be strings; unknown members are ignored; an attribute whose needed members are absent, null or of
//! the wrong kind is an error of its own, it never spoils the rest; an event without uuid or timestamp is an error.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};
use uuid::Uuid;

/// One event without its attributes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its identity across servers.
    pub uuid: Uuid,
    /// Unix seconds of the last change, as the source says.
    pub timestamp: i64,
    /// Published events count in every feed, others only in some.
    pub published: bool,
    /// UUID of the organisation that created it.
    pub creator: Uuid,
    /// Names of the tags on the event itself.
    pub tags: Vec<String>,
    /// Names the set of its rows that carry the false-positive tag, where the source tells; 0: none.
    pub false_positives: u64,
    /// Attributes that could not be read.
    pub malformed: u64,
}

/// One attribute; it borrows from the bytes it was read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attribute<'a> {
    /// Its identity across servers.
    pub uuid: Uuid,
    /// MISP attribute type, e.g. `ip-dst|port`.
    pub kind: Cow<'a, str>,
    /// The value as MISP stores it; a composite is one string with `|`.
    pub value: Cow<'a, str>,
    /// Unix seconds.
    pub timestamp: i64,
    /// Meant for detection.
    pub to_ids: bool,
    /// On an enabled warninglist of the source.
    pub on_warninglist: bool,
    /// Names of the tags on the attribute itself.
    pub tags: Vec<Cow<'a, str>>,
}

impl Attribute<'_> {
    /// The same, on its own.
    pub fn into_owned(self) -> Attribute<'static> {
        let Attribute { uuid, kind, value, timestamp, to_ids, on_warninglist, tags } = self;
        Attribute {
            uuid,
            kind: kind.into_owned().into(),
            value: value.into_owned().into(),
            timestamp,
            to_ids,
            on_warninglist,
            tags: tags.into_iter().map(|tag| tag.into_owned().into()).collect(),
        }
    }
}

/// One row of a search: an attribute, its event, and what the search shows of both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row<'a> {
    /// The event it belongs to.
    pub event: Uuid,
    /// Soft-deleted: it counts nowhere.
    pub deleted: bool,
    /// Names of the tags on its event.
    pub event_tags: Vec<Cow<'a, str>>,
    /// The attribute; `on_warninglist` is true if the row carries `warnings`.
    pub attribute: Attribute<'a>,
}

/// One event as `/events/index` shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexEntry {
    /// Its identity across servers.
    pub uuid: Uuid,
    /// Its number at this server.
    pub id: u64,
    /// Unix seconds of the last change.
    pub timestamp: i64,
    /// As it stands now.
    pub published: bool,
    /// UUID of the organisation that created it.
    pub creator: Uuid,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(rename = "Event", borrow)]
    event: RawEvent<'a>,
}

#[derive(Deserialize)]
struct RawEvent<'a> {
    uuid: Uuid,
    timestamp: Number,
    /// Feeds hold published events; some generators leave the member out.
    #[serde(default = "yes")]
    published: Flag,
    #[serde(rename = "Orgc", default)]
    creator: Option<RawOrganisation>,
    #[serde(rename = "Tag", default, borrow)]
    tags: Option<Vec<RawTag<'a>>>,
    #[serde(rename = "Attribute", default, borrow)]
    attributes: Option<Vec<Lenient<'a>>>,
    #[serde(rename = "Object", default, borrow)]
    objects: Option<Vec<RawObject<'a>>>,
}

#[derive(Deserialize)]
struct RawOrganisation {
    uuid: Option<Uuid>,
}

#[derive(Deserialize)]
struct RawTag<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(default)]
    inherited: Flag,
}

#[derive(Deserialize)]
struct RawObject<'a> {
    #[serde(default)]
    deleted: Flag,
    #[serde(rename = "Attribute", default, borrow)]
    attributes: Option<Vec<Lenient<'a>>>,
}

#[derive(Deserialize)]
struct RawAttribute<'a> {
    uuid: Uuid,
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    value: Cow<'a, str>,
    timestamp: Number,
    to_ids: Flag,
    #[serde(default)]
    deleted: Flag,
    #[serde(rename = "Tag", default, borrow)]
    tags: Option<Vec<RawTag<'a>>>,
    #[serde(default)]
    warnings: Something,
    #[serde(rename = "Event", default)]
    event: Option<RawRowEvent>,
}

#[derive(Deserialize)]
struct RawRowEvent {
    uuid: Uuid,
}

#[derive(Deserialize)]
struct RawIndexEntry {
    uuid: Uuid,
    id: Number,
    timestamp: Number,
    #[serde(default)]
    published: Flag,
    orgc_uuid: Option<Uuid>,
}

/// An attribute that is judged on its own: kept as raw JSON until then.
#[derive(Deserialize)]
#[serde(transparent)]
struct Lenient<'a>(#[serde(borrow)] &'a serde_json::value::RawValue);

/// `true`, `1`, `"1"` … as MISP's versions write them; absent or null is `false`.
#[derive(Clone, Copy, Default)]
pub(super) struct Flag(bool);

impl Flag {
    pub(super) fn is_set(self) -> bool {
        self.0
    }
}

fn yes() -> Flag {
    Flag(true)
}

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        struct Forms;
        impl Visitor<'_> for Forms {
            type Value = Flag;
            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a flag")
            }
            fn visit_bool<E: Error>(self, flag: bool) -> Result<Flag, E> {
                Ok(Flag(flag))
            }
            fn visit_u64<E: Error>(self, number: u64) -> Result<Flag, E> {
                Ok(Flag(number != 0))
            }
            fn visit_i64<E: Error>(self, number: i64) -> Result<Flag, E> {
                Ok(Flag(number != 0))
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Flag, E> {
                Ok(Flag(matches!(text, "1" | "true")))
            }
            fn visit_unit<E: Error>(self) -> Result<Flag, E> {
                Ok(Flag(false))
            }
        }
        input.deserialize_any(Forms)
    }
}

/// A number, or a string that holds one.
#[derive(Clone, Copy)]
struct Number(i64);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        struct Forms;
        impl Visitor<'_> for Forms {
            type Value = Number;
            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a whole number")
            }
            fn visit_u64<E: Error>(self, number: u64) -> Result<Number, E> {
                i64::try_from(number).map(Number).map_err(|_| E::custom("too large"))
            }
            fn visit_i64<E: Error>(self, number: i64) -> Result<Number, E> {
                Ok(Number(number))
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Number, E> {
                text.parse().map(Number).map_err(|_| E::custom("not a whole number"))
            }
        }
        input.deserialize_any(Forms)
    }
}

/// Whether a member holds anything at all; what it holds does not matter here.
#[derive(Clone, Copy, Default)]
struct Something(bool);

impl<'de> Deserialize<'de> for Something {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let raw = <&serde_json::value::RawValue>::deserialize(input)?;
        let bare: String = raw.get().chars().filter(|character| !character.is_ascii_whitespace()).take(6).collect();
        Ok(Something(!matches!(bare.as_str(), "null" | "[]" | "{}" | "false" | "\"\"")))
    }
}

/// Reads one event; `each` is given its attributes, those of its objects included, deleted ones not. The error is the
/// parser's text: it names line and column, never a value.
pub fn event(json: &[u8], mut each: impl FnMut(&Uuid, &Attribute<'_>)) -> Result<Event, String> {
    let raw: RawEvent<'_> = serde_json::from_slice::<Envelope<'_>>(json).map_err(|error| error.to_string())?.event;
    let mut malformed = 0;
    let of_objects = raw.objects.into_iter().flatten().filter(|object| !object.deleted.0);
    let all = raw.attributes.into_iter().chain(of_objects.filter_map(|object| object.attributes)).flatten();
    for Lenient(json) in all {
        match serde_json::from_str::<RawAttribute<'_>>(json.get()) {
            Ok(raw) if raw.deleted.0 => {}
            Ok(mut attribute) => {
                attribute.warnings = Something(false);
                each(&raw.uuid, &split(attribute).0);
            }
            Err(_) => malformed += 1,
        }
    }
    Ok(Event {
        uuid: raw.uuid,
        timestamp: raw.timestamp.0,
        published: raw.published.0,
        creator: raw.creator.and_then(|creator| creator.uuid).unwrap_or(Uuid::nil()),
        tags: raw.tags.into_iter().flatten().map(|tag| tag.name.into_owned()).collect(),
        false_positives: 0,
        malformed,
    })
}

/// The attribute, and the names of tags it has from its event.
fn split(raw: RawAttribute<'_>) -> (Attribute<'_>, Vec<Cow<'_, str>>) {
    let (mut tags, mut inherited) = (Vec::new(), Vec::new());
    for tag in raw.tags.into_iter().flatten() {
        if tag.inherited.0 { inherited.push(tag.name) } else { tags.push(tag.name) }
    }
    let attribute = Attribute {
        uuid: raw.uuid,
        kind: raw.kind,
        value: raw.value,
        timestamp: raw.timestamp.0,
        to_ids: raw.to_ids.0,
        on_warninglist: raw.warnings.0,
        tags,
    };
    (attribute, inherited)
}

/// Reads one row of a search. `Err(Some(event))`: malformed, but its event can be read; `Err(None)`: not even that.
pub fn row(json: &[u8]) -> Result<Row<'_>, Option<Uuid>> {
    #[derive(Deserialize)]
    struct OnlyEvent {
        #[serde(rename = "Event")]
        event: RawRowEvent,
    }
    match serde_json::from_slice::<RawAttribute<'_>>(json) {
        Ok(raw) => {
            let (event, deleted) = (raw.event.as_ref().ok_or(None)?.uuid, raw.deleted.0);
            let (attribute, event_tags) = split(raw);
            Ok(Row { event, deleted, event_tags, attribute })
        }
        Err(_) => Err(serde_json::from_slice::<OnlyEvent>(json).ok().map(|row| row.event.uuid)),
    }
}

/// Reads one entry of the event index.
pub fn index_entry(json: &[u8]) -> Result<IndexEntry, String> {
    let raw: RawIndexEntry = serde_json::from_slice(json).map_err(|error| error.to_string())?;
    Ok(IndexEntry {
        uuid: raw.uuid,
        id: u64::try_from(raw.id.0).map_err(|_| "an event with a negative id".to_owned())?,
        timestamp: raw.timestamp.0,
        published: raw.published.0,
        creator: raw.orgc_uuid.unwrap_or(Uuid::nil()),
    })
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
