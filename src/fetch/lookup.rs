//! One question for one value: every row that has it, whatever its flags. In: a MISP and spellings of the value. Out: rows, and
//! whether there are more.
//!
//! Invariants: one request, tried once; what comes is bounded in rows, size and time; nothing is changed at the server.

use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::api::{Api, Ask};
use super::misp::MispSource;
use super::split::Shape;
use super::wire::{self, Flag};
use super::{FetchError, query};

/// Rows that are asked for.
pub const MOST: usize = 200;

/// One row of the MISP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Looked {
    /// The event's number at this MISP.
    pub event_id: String,
    /// The event, with its tags.
    pub event: wire::Event,
    /// The attribute.
    pub attribute: wire::Attribute<'static>,
    /// Soft-deleted.
    pub deleted: bool,
}

/// All there is of a value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// At most [`MOST`] rows, in the order of their numbers.
    pub rows: Vec<Looked>,
    /// There may be more.
    pub more: bool,
    /// Rows that cannot be read.
    pub malformed: u64,
}

/// Asks for every row with one of these values, deleted ones and those without `to_ids` too.
pub async fn lookup(source: &MispSource, values: &[String]) -> Result<Answer, FetchError> {
    let api = Api::new(source)?;
    let ask = Ask::post("/attributes/restSearch", body(values), "one value");
    let mut answer = Answer::default();
    let mut all = 0;
    let mut each = |element: &[u8]| {
        all += 1;
        match looked(element) {
            Some(row) if answer.rows.len() < MOST => answer.rows.push(row),
            Some(_) => {}
            None => answer.malformed += 1,
        }
        Ok(())
    };
    // The server may be slow in pieces; one value is not worth more than one silence.
    let limit = source.limits.connect + source.limits.silence;
    match tokio::time::timeout(limit, api.attempt(&ask, Shape::Attributes, &mut each)).await {
        Ok(result) => result.map_err(|error| error.asking(&ask.what))?,
        Err(_) => return Err(api.wrong(&ask, format!("not answered within {} s", limit.as_secs()))),
    };
    answer.more = all >= MOST;
    Ok(answer)
}

/// Values stand in the object form, where no character of a value is an operator.
fn body(values: &[String]) -> Value {
    let mut body = query::plain(1, MOST as u64);
    body["value"] = json!({"OR": values});
    body["to_ids"] = json!([0, 1]);
    body["deleted"] = json!([0, 1]);
    body["enforceWarninglist"] = json!(0);
    for what in ["includeWarninglistHits", "includeContext", "includeEventTags", "includeAllTags"] {
        body[what] = json!(1);
    }
    body
}

#[derive(Deserialize)]
struct Around {
    event_id: Value,
    #[serde(rename = "Event")]
    event: Context,
}

#[derive(Deserialize)]
struct Context {
    #[serde(default)]
    published: Flag,
    #[serde(rename = "Orgc", default)]
    creator: Option<Creator>,
}

#[derive(Deserialize)]
struct Creator {
    uuid: Option<Uuid>,
}

fn looked(element: &[u8]) -> Option<Looked> {
    let row = wire::row(element).ok()?;
    let around: Around = serde_json::from_slice(element).ok()?;
    let event = wire::Event {
        uuid: row.event,
        timestamp: row.attribute.timestamp,
        published: around.event.published.is_set(),
        creator: around.event.creator.and_then(|creator| creator.uuid).unwrap_or(Uuid::nil()),
        tags: row.event_tags.into_iter().map(|tag| tag.into_owned()).collect(),
        false_positives: 0,
        malformed: 0,
    };
    let event_id = match &around.event_id {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let attribute = row.attribute.into_owned();
    Some(Looked { event_id, event, attribute, deleted: row.deleted })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_read_with_its_event() {
        let json = json!({
            "id": "7", "event_id": "3", "type": "ip-dst", "to_ids": false, "deleted": true,
            "uuid": Uuid::from_u128(1), "timestamp": "50", "value": "192.0.2.1",
            "Event": {"uuid": Uuid::from_u128(2), "published": true, "Orgc": {"uuid": Uuid::from_u128(4)}},
            "Tag": [{"name": "a"}, {"name": "b", "inherited": 1}], "warnings": [{"match": "x"}],
        });
        let row = looked(json.to_string().as_bytes()).unwrap();
        assert_eq!((&*row.event_id, row.deleted, row.event.published), ("3", true, true));
        assert_eq!((row.event.uuid, row.event.creator), (Uuid::from_u128(2), Uuid::from_u128(4)));
        assert_eq!((row.event.tags, row.attribute.tags), (vec!["b".to_owned()], vec!["a".into()]));
        assert!(row.attribute.on_warninglist && !row.attribute.to_ids);
        assert!(looked(b"{\"value\":1}").is_none());
    }

    #[test]
    fn no_filter_is_false_or_absent() {
        let body = body(&["!a".to_owned()]);
        assert_eq!(body["value"], json!({"OR": ["!a"]}));
        assert!(body.as_object().unwrap().values().all(|value| !value.is_null() && *value != Value::Bool(false)));
    }
}
