//! The parameters of a search: what the server takes over, what it drops without a word, and times in all their forms.

use jiff::civil;
use jiff::tz::TimeZone;
use serde_json::{Map, Value};

use super::loose;
use super::route::Refusal;
use super::world::World;

/// The parameters that the scripted MISP answers to as a real one does.
const KNOWN: &[&str] = &[
    "returnFormat",
    "value",
    "type",
    "category",
    "org",
    "tags",
    "last",
    "eventid",
    "withAttachments",
    "uuid",
    "publish_timestamp",
    "published",
    "timestamp",
    "attribute_timestamp",
    "event_timestamp",
    "enforceWarninglist",
    "to_ids",
    "deleted",
    "includeEventUuid",
    "includeEventTags",
    "includeContext",
    "includeWarninglistHits",
    "includeSightings",
    "includeAllTags",
    "includeAttributeUuid",
    "headerless",
    "limit",
    "page",
    "order",
];

/// Parameters of a real server that are not acted out here. One that is set is refused loudly: a test must not take an
/// unfiltered answer for a filtered one.
const NOT_ACTED: &[&str] = &[
    "value1",
    "value2",
    "from",
    "to",
    "threat_level_id",
    "includeProposals",
    "requested_attributes",
    "attackGalaxy",
    "object_relation",
    "includeCorrelations",
    "includeDecayScore",
    "decayingModel",
    "excludeDecayed",
    "modelOverrides",
    "includeFullModel",
    "score",
    "first_seen",
    "last_seen",
    "eventinfo",
    "sharinggroup",
    "allow_proposal_blocking",
    "flatten",
    "list",
    "event_ids",
    "includeGalaxy",
];

/// The parameters of one search.
#[derive(Clone, Debug, Default)]
pub struct Parameters(Map<String, Value>);

impl Parameters {
    /// From a body (anything that is not a filled object says nothing) and from the `name:value` parts of the path.
    pub fn read(body: Option<&Value>, named: &[(String, String)]) -> Result<Self, Refusal> {
        let mut out = Map::new();
        if let Some(Value::Object(members)) = body {
            let inner = members.get("request").and_then(Value::as_object).unwrap_or(members);
            out.extend(
                inner.iter().filter(|(_, value)| !value.is_null()).map(|(name, value)| (name.clone(), value.clone())),
            );
        }
        out.extend(named.iter().map(|(name, value)| (name.clone(), Value::from(value.replace(';', ":")))));
        if let Some((name, _)) =
            out.iter().find(|(name, value)| NOT_ACTED.contains(&name.as_str()) && !loose::is_empty(value))
        {
            return Err(Refusal::not_acted(name));
        }
        out.retain(|name, _| KNOWN.contains(&name.as_str()));
        out.values_mut().for_each(split_alternatives);
        Ok(Self(out))
    }

    /// With a user's own settings underneath.
    pub fn over(mut self, defaults: &Map<String, Value>) -> Self {
        for (name, value) in defaults {
            self.0.entry(name).or_insert_with(|| value.clone());
        }
        self
    }

    /// Whether anything was asked at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What was sent.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// What was sent as a filter: JSON `false` means "don't care".
    pub fn filter(&self, name: &str) -> Option<&Value> {
        self.get(name).filter(|value| **value != Value::Bool(false))
    }

    /// As [`Self::filter`], and empty values mean nothing either.
    pub fn filled(&self, name: &str) -> Option<&Value> {
        self.filter(name).filter(|value| !loose::is_empty(value))
    }

    /// Whether an option is on: everything but PHP's empty values is, the text `false` too.
    pub fn is_on(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| !loose::is_empty(value))
    }
}

/// `"a||b"` is a list.
fn split_alternatives(value: &mut Value) {
    if let Value::String(text) = value {
        let trimmed = text.trim().to_owned();
        *value = match trimmed.find("||") {
            Some(at) if at > 0 => trimmed.split("||").map(Value::from).collect(),
            _ => trimmed.into(),
        };
    }
}

impl World {
    /// A time filter: from and to, both inclusive. None is no bound. A list of anything but two is an internal error.
    pub(super) fn time_range(&self, value: &Value) -> Result<(Option<i64>, Option<i64>), Refusal> {
        if value.is_array() || value.is_object() {
            let ends: [Value; 2] = loose::list(value).try_into().map_err(|_| Refusal::internal())?;
            let [first, second] = ends.map(|end| self.moment(&end));
            let (from, to) = (first.min(second), first.max(second));
            return Ok(((from != 0).then_some(from), Some(to)));
        }
        let from = self.moment(value);
        Ok(((from != 0).then_some(from), None))
    }

    /// A point in time: seconds, "30d", "1h", a date. What cannot be read lies one second ahead.
    pub(super) fn moment(&self, value: &Value) -> i64 {
        if let Some(seconds) = loose::number(value) {
            return seconds as i64;
        }
        let words = loose::text(value);
        let unreadable = self.now + 1;
        let units = [('d', 86_400.0), ('h', 3600.0), ('m', 60.0), ('s', 1.0)];
        let last = words.chars().last().map(|last| last.to_ascii_lowercase());
        if let Some((_, unit)) = units.into_iter().find(|(letter, _)| Some(*letter) == last) {
            let count = loose::number(&Value::from(&words[..words.len() - 1]));
            return count.map_or(unreadable, |count| (self.now as f64 - count * unit) as i64);
        }
        let midnight = self.now - self.now.rem_euclid(86_400);
        match words.to_ascii_lowercase().as_str() {
            "now" => self.now,
            "today" => midnight,
            "yesterday" => midnight - 86_400,
            "tomorrow" => midnight + 86_400,
            _ => words.strip_prefix('@').and_then(|at| at.parse().ok()).or_else(|| dated(&words)).unwrap_or(unreadable),
        }
    }
}

/// An ISO date or time; in UTC unless it says otherwise.
fn dated(words: &str) -> Option<i64> {
    if let Ok(moment) = words.parse::<jiff::Timestamp>() {
        return Some(moment.as_second());
    }
    let civil: civil::DateTime = words.parse().ok()?;
    Some(TimeZone::UTC.to_timestamp(civil).ok()?.as_second())
}
