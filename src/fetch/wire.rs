//! An event with its attributes, whatever source it came from, and the JSON of MISP events, read leniently.
//!
//! In: the bytes of one event file (`{"Event": {...}}`, MISP's export format). Out: [`Event`].
//!
//! Invariants: numbers may be strings; unknown members are ignored; an attribute whose needed members are absent, null or of
//! the wrong kind is skipped and counted, it never spoils the event; an event without uuid or timestamp is an error.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::Deserializer;
use uuid::Uuid;

/// One event, complete.
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
    /// Its attributes, those of its objects included.
    pub attributes: Vec<Attribute>,
    /// Attributes that could not be read.
    pub malformed: u64,
}

/// One attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attribute {
    /// Its identity across servers.
    pub uuid: Uuid,
    /// MISP attribute type, e.g. `ip-dst|port`.
    pub kind: String,
    /// The value as MISP stores it; a composite is one string with `|`.
    pub value: String,
    /// Unix seconds.
    pub timestamp: i64,
    /// Meant for detection.
    pub to_ids: bool,
    /// On an enabled warninglist of the source.
    pub on_warninglist: bool,
    /// Names of the tags on the attribute itself.
    pub tags: Vec<String>,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(rename = "Event", borrow)]
    event: RawEvent<'a>,
}

#[derive(Deserialize)]
struct RawEvent<'a> {
    uuid: Uuid,
    #[serde(deserialize_with = "number")]
    timestamp: i64,
    /// Feeds hold published events; some generators leave the member out.
    #[serde(default = "yes")]
    published: Flag,
    #[serde(rename = "Orgc", default)]
    creator: Option<RawOrganisation>,
    #[serde(rename = "Tag", default)]
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
    #[serde(deserialize_with = "number")]
    timestamp: i64,
    to_ids: Flag,
    #[serde(default)]
    deleted: Flag,
    #[serde(rename = "Tag", default, borrow)]
    tags: Option<Vec<RawTag<'a>>>,
}

/// An attribute that is judged on its own: kept as raw JSON until then.
#[derive(Deserialize)]
#[serde(transparent)]
struct Lenient<'a>(#[serde(borrow)] &'a serde_json::value::RawValue);

/// `true`, `1`, `"1"` … as MISP's versions write them; absent or null is `false`.
#[derive(Clone, Copy, Default)]
struct Flag(bool);

fn yes() -> Flag {
    Flag(true)
}

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form<'a> {
            Bool(bool),
            Number(i64),
            #[serde(borrow)]
            Text(Cow<'a, str>),
            Null,
        }
        Ok(Flag(match Form::deserialize(input)? {
            Form::Bool(flag) => flag,
            Form::Number(number) => number != 0,
            Form::Text(text) => matches!(&*text, "1" | "true"),
            Form::Null => false,
        }))
    }
}

/// A number, or a string that holds one.
fn number<'de, D: Deserializer<'de>>(input: D) -> Result<i64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Form<'a> {
        Number(i64),
        #[serde(borrow)]
        Text(Cow<'a, str>),
    }
    match Form::deserialize(input)? {
        Form::Number(number) => Ok(number),
        Form::Text(text) => text.parse().map_err(|_| serde::de::Error::custom("not a number of seconds")),
    }
}

/// Reads one event. The error is the parser's text: it names line and column, never a value.
pub fn event(json: &[u8]) -> Result<Event, String> {
    let raw: RawEvent<'_> = serde_json::from_slice::<Envelope<'_>>(json).map_err(|error| error.to_string())?.event;
    let mut event = Event {
        uuid: raw.uuid,
        timestamp: raw.timestamp,
        published: raw.published.0,
        creator: raw.creator.and_then(|creator| creator.uuid).unwrap_or(Uuid::nil()),
        tags: names(raw.tags),
        attributes: Vec::new(),
        malformed: 0,
    };
    let of_objects = raw.objects.into_iter().flatten().filter(|object| !object.deleted.0);
    let all = raw.attributes.into_iter().chain(of_objects.filter_map(|object| object.attributes)).flatten();
    for Lenient(json) in all {
        match serde_json::from_str::<RawAttribute<'_>>(json.get()) {
            Ok(attribute) if attribute.deleted.0 => {}
            Ok(attribute) => event.attributes.push(Attribute {
                uuid: attribute.uuid,
                kind: attribute.kind.into_owned(),
                value: attribute.value.into_owned(),
                timestamp: attribute.timestamp,
                to_ids: attribute.to_ids.0,
                on_warninglist: false,
                tags: names(attribute.tags),
            }),
            Err(_) => event.malformed += 1,
        }
    }
    Ok(event)
}

fn names(tags: Option<Vec<RawTag<'_>>>) -> Vec<String> {
    tags.into_iter().flatten().map(|tag| tag.name.into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: &str = "5e0e9a1c-0000-4000-8000-000000000001";

    #[test]
    fn numbers_may_be_strings_and_objects_are_flattened() {
        let json = format!(
            r#"{{"Event":{{"uuid":"{UUID}","timestamp":"17","published":"1","x":1,"Tag":[{{"name":"a\/b"}}],
            "Orgc":{{"name":"o","uuid":"{UUID}"}},
            "Attribute":[{{"uuid":"{UUID}","type":"url","value":"http:\/\/x","timestamp":5,"to_ids":true,"Tag":null}}],
            "Object":[{{"Attribute":[{{"uuid":"{UUID}","type":"md5","value":"0","timestamp":"6","to_ids":"0"}}]}},
                      {{"deleted":true,"Attribute":[{{"uuid":"{UUID}","type":"md5","value":"0","timestamp":"6","to_ids":1}}]}}]}}}}"#
        );
        let event = event(json.as_bytes()).unwrap();
        assert_eq!((event.timestamp, event.published, event.tags.as_slice()), (17, true, &["a/b".to_owned()][..]));
        assert_eq!(event.attributes.len(), 2);
        assert_eq!(event.attributes[0].value, "http://x");
        assert!(!event.attributes[1].to_ids);
    }

    #[test]
    fn a_malformed_attribute_is_counted_and_spoils_nothing() {
        let good = format!(r#"{{"uuid":"{UUID}","type":"md5","value":"x","timestamp":"6","to_ids":true}}"#);
        let bad = [
            format!(r#"{{"uuid":"{UUID}","type":"md5","value":null,"timestamp":"6","to_ids":true}}"#),
            format!(r#"{{"uuid":"{UUID}","type":"md5","value":12,"timestamp":"6","to_ids":true}}"#),
            format!(r#"{{"uuid":"{UUID}","type":"md5","timestamp":"6","to_ids":true}}"#),
            format!(r#"{{"uuid":"{UUID}","type":"md5","value":"\ud800","timestamp":"6","to_ids":true}}"#),
            format!(r#"{{"uuid":"{UUID}","type":"md5","value":"x","timestamp":"soon","to_ids":true}}"#),
            r#""text""#.to_owned(),
        ]
        .join(",");
        let json = format!(r#"{{"Event":{{"uuid":"{UUID}","timestamp":1,"Attribute":[{bad},{good}]}}}}"#);
        let event = event(json.as_bytes()).unwrap();
        assert_eq!((event.attributes.len(), event.malformed, event.published), (1, 6, true));
    }

    #[test]
    fn what_is_no_event_is_an_error() {
        for bad in ["", "[]", "{}", r#"{"Event":{}}"#, r#"{"Event":{"uuid":"x","timestamp":1}}"#, r#"{"Event":"#] {
            assert!(event(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
