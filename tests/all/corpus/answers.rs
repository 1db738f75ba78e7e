//! What the scripted MISP of the recording answers to this program's questions.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::Row;
use crate::misp::{Answer, Asked, Refusal};

/// Clock of event 1; the others follow.
const FIRST_EVENT: u64 = 1_760_000_000;

/// One answer out of these rows.
pub fn answer(rows: &[Row], name: &str, asked: &Asked) -> Answer {
    let body: Value = serde_json::from_slice(&asked.body).unwrap_or(Value::Null);
    let json = match asked.path() {
        "/servers/getVersion" => json!({
            "version": "2.5.12", "pymisp_recommended_version": "2.5.12", "perm_sync": true, "perm_sighting": true,
            "perm_galaxy_editor": true, "request_encoding": ["gzip", "br"], "filter_sightings": true,
        }),
        "/users/view/me" => me(name),
        "/tags/search" => tags(rows, &body),
        // The program's own question names the enabled ones; without a body it is asked on behalf of a consumer.
        "/warninglists/index" => index_of_warninglists(body["enabled"] == 1),
        path if path.starts_with("/warninglists/view/") => match warninglist(path) {
            Some(list) => list,
            None => return Refusal::new(404, "Warninglist not found.").answer(asked),
        },
        "/attributes/attributeStatistics" => statistics(rows),
        "/events/index" => index(rows),
        "/attributes/restSearch" => return search(rows, &body),
        _ => return Refusal::new(404, "Not Found").answer(asked),
    };
    Answer::json(json.to_string().into_bytes())
}

/// Every key is a user of its own.
fn me(name: &str) -> Value {
    let id = name.bytes().fold(1u64, |sum, byte| sum * 31 % 1_000_003 + u64::from(byte));
    json!({
        "User": {"id": id.to_string(), "email": format!("{name}@example.net")},
        "Organisation": {"name": "Example"},
        "Role": {"name": "User", "perm_auth": true, "perm_site_admin": false, "memory_limit": ""},
    })
}

/// LIKE without wildcards; none of the names has one.
fn tags(rows: &[Row], body: &Value) -> Value {
    let wanted: Vec<&str> = body["tag"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let known = super::tags(rows);
    let found = known.iter().filter(|name| wanted.iter().any(|wanted| wanted.eq_ignore_ascii_case(name)));
    found.enumerate().map(|(at, name)| json!({"Tag": {"id": (at + 1).to_string(), "name": name}})).collect()
}

/// Id, name, type, description, version, enabled, default, category, attribute types, entries.
type List = (
    u64,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    bool,
    bool,
    &'static str,
    &'static str,
    &'static [&'static str],
);

const WARNINGLISTS: [List; 4] = [
    (
        1,
        "List of known public DNS resolvers",
        "cidr",
        "Fake list 1 <&> \"q\" 'a'",
        "20260101",
        true,
        true,
        "false_positive",
        "ip-src, ip-dst, domain|ip",
        &["8.8.8.8/32", "1.1.1.1/32", "9.9.9.0/24"],
    ),
    (
        2,
        "Top sites ü 😀",
        "hostname",
        "Fake list 2",
        "2",
        true,
        true,
        "known_identifier",
        "domain, hostname, url",
        &["google.com", "microsoft.com", "bücher.example", "a&b<c>.example"],
    ),
    (
        3,
        "Disabled list",
        "string",
        "",
        "3",
        false,
        false,
        "false_positive",
        "md5",
        &["d41d8cd98f00b204e9800998ecf8427e"],
    ),
    (4, "Empty list", "string", "", "4", true, false, "false_positive", "md5", &[]),
];

fn about((id, name, kind, description, version, enabled, default, category, types, _): &List) -> Value {
    json!({
        "id": id.to_string(), "name": name, "type": kind, "description": description, "version": version,
        "enabled": enabled, "default": default, "category": category, "valid_attributes": types,
    })
}

fn index_of_warninglists(enabled: bool) -> Value {
    let shown = WARNINGLISTS.iter().filter(|list| list.5 || !enabled);
    let lists = shown.map(|list| {
        let mut about = about(list);
        about["warninglist_entry_count"] = list.9.len().to_string().into();
        json!({"Warninglist": about})
    });
    json!({"Warninglists": lists.collect::<Vec<_>>()})
}

fn warninglist(path: &str) -> Option<Value> {
    let id = path.rsplit('/').next()?;
    let list = WARNINGLISTS.iter().find(|list| list.0.to_string() == id)?;
    let entry = |(at, value): (usize, &&str)| {
        let comment = (at == 0).then_some("first");
        json!({"id": (at + 1).to_string(), "value": value, "warninglist_id": id, "comment": comment})
    };
    let mut about = about(list);
    about["WarninglistEntry"] = list.9.iter().enumerate().map(entry).collect();
    Some(json!({"Warninglist": about}))
}

/// Rows per type.
fn statistics(rows: &[Row]) -> Value {
    let mut counts = BTreeMap::new();
    for kind in rows.iter().filter_map(|row| row.kind.as_ref()) {
        *counts.entry(kind).or_insert(0) += 1;
    }
    counts.into_iter().map(|(kind, count): (_, i32)| (kind.clone(), Value::from(count.to_string()))).collect()
}

/// Events with at least one row; those without id or uuid do not exist.
fn index(rows: &[Row]) -> Value {
    let mut events = BTreeMap::new();
    for row in rows.iter().filter(|row| !row.deleted) {
        if let (Some(id), Some(uuid)) = (row.event.id, &row.event.uuid) {
            let entry = json!({
                "id": id.to_string(), "uuid": uuid, "timestamp": (FIRST_EVENT + id).to_string(),
                "sighting_timestamp": "0", "published": row.event.published, "orgc_uuid": row.event.creator,
            });
            events.insert(id, entry);
        }
    }
    events.into_values().collect()
}

/// The page is cut first, then warninglists take rows out of it.
fn search(rows: &[Row], body: &Value) -> Answer {
    let found: Vec<&Row> = rows.iter().filter(|row| passes(row, body)).collect();
    let number = |name: &str| body[name].as_u64().and_then(|number| usize::try_from(number).ok());
    let (limit, page) = (number("limit").unwrap_or(usize::MAX), number("page").unwrap_or(1).max(1));
    let cut: Vec<&&Row> = found.iter().skip(limit.saturating_mul(page - 1)).take(limit).collect();
    let enforced = body["enforceWarninglist"] == 1;
    let kept: Vec<&&&Row> = cut.iter().filter(|row| !(enforced && row.is_listed())).collect();
    let on = |name: &str| body[name] == 1;
    let texts: Vec<String> =
        kept.iter().map(|row| row.shown(on("includeEventTags"), on("includeWarninglistHits"))).collect();
    let mut answer = Answer::json(format!("{{\"response\":{{\"Attribute\":[{}]}}}}", texts.join(",")).into_bytes());
    let more = !cut.is_empty() && cut.len() == limit || kept.is_empty();
    let count = cut.len() + usize::from(more);
    answer.rows = kept.len();
    answer.result_count = i64::try_from(count).ok();
    answer.header("X-Result-Count", count.to_string());
    answer.header("X-Skipped-Elements-Count", (cut.len() - kept.len()).to_string());
    answer
}

fn passes(row: &Row, body: &Value) -> bool {
    let list = |name: &str| body[name].as_array();
    let event = row.event_id.or(row.event.id);
    let of_event = list("eventid").is_none_or(|ids| event.is_none_or(|id| ids.contains(&id.into())));
    if row.forced {
        return of_event;
    }
    let is_of_type = list("type").is_none_or(|kinds| row.kind.as_ref().is_none_or(|kind| has(kinds, kind)));
    let has_tag = body["tags"]["OR"]
        .as_array()
        .is_none_or(|wanted| row.tags.iter().chain(&row.event.tags).any(|tag| has(wanted, tag)));
    of_event
        && is_of_type
        && has_tag
        && !row.deleted
        && flag(&body["to_ids"], row.to_ids)
        && flag(&body["published"], row.event.published)
}

fn has(texts: &[Value], wanted: &str) -> bool {
    texts.iter().any(|text| text == wanted)
}

/// `1`, `0`, or a list of both.
fn flag(asked: &Value, is: bool) -> bool {
    let number = u64::from(is);
    match asked {
        Value::Array(both) => both.contains(&number.into()),
        Value::Number(_) => *asked == number,
        _ => true,
    }
}
