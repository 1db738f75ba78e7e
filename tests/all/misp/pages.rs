//! The other pages a client of indicators asks for: connection test, event index, warninglists, tags.

use serde_json::{Map, Value, json};

use super::identity::{self, User};
use super::loose;
use super::route::{Answer, Place, Refusal};
use super::truth::Sight;
use super::warninglists::Warninglist;
use super::world::{Event, Tag, World};

type Answered = Result<Answer, Refusal>;

/// The answer of a page; none if there is no such page for the user.
pub fn page(world: &World, user: &User, method: &str, place: &Place, body: Option<&Value>) -> Option<Answered> {
    let argument = place.arguments.first().map(String::as_str);
    let sent = body.and_then(Value::as_object).cloned().unwrap_or_default();
    let answer = match (place.controller.as_str(), place.action.as_str()) {
        ("servers", "getversion") => Ok(written(&identity::version(world, user))),
        ("users", "view") if matches!(argument, None | Some("me")) => Ok(written(&identity::me(world, user))),
        ("events", "index") => event_index(world, user, &asked_of(place, sent, method == "POST")),
        ("events", "view") => event_view(world, user, argument),
        ("attributes", "attributestatistics") => Ok(written(&statistics(world))),
        ("warninglists", "index") => Ok(written(&warninglist_index(world, &asked_of(place, sent, true)))),
        ("warninglists", "view") => warninglist_view(world, argument),
        ("tags", "index") => Ok(written(&json!({"Tag": tag_index(world, user)}))),
        ("tags", "search") => Ok(written(&tag_search(world, sent.get("tag"), argument))),
        ("tags", "view") => tag_view(world, user, argument),
        _ => return None,
    };
    Some(answer)
}

/// Pretty-printed, as these pages are.
fn written(value: &Value) -> Answer {
    let mut body = Vec::new();
    let format = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut writer = serde_json::Serializer::with_formatter(&mut body, format);
    serde::Serialize::serialize(value, &mut writer).expect("JSON can be written");
    Answer::json(body)
}

/// Parameters from the path and, over them, from the body.
fn asked_of(place: &Place, body: Map<String, Value>, with_body: bool) -> Map<String, Value> {
    let mut out: Map<String, Value> =
        place.named.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.as_str().into())).collect();
    if with_body {
        let inner = body.get("request").and_then(Value::as_object).cloned().unwrap_or(body);
        out.extend(inner.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)));
    }
    out.into_iter().map(|(name, value)| (name.strip_prefix("search").unwrap_or(&name).to_owned(), value)).collect()
}

/// All visible events. The minimal index leaves out events without a live attribute.
fn event_index(world: &World, user: &User, asked: &Map<String, Value>) -> Answered {
    let other =
        ["eventid", "org", "tag", "tags", "datefrom", "dateuntil", "sort", "direction", "attribute", "eventinfo"];
    if let Some(name) = other.iter().find(|name| asked.get(**name).is_some_and(|value| !loose::is_empty(value))) {
        return Err(Refusal::not_acted(&format!("{name} of the event index")));
    }
    let minimal = asked.get("minimal").is_some_and(|value| !loose::is_empty(value));
    let mut events: Vec<&Event> =
        world.events.values().filter(|event| world.sight(user, event) > Sight::Nothing).collect();
    if asked.get("minimal").is_some_and(|value| !value.is_null()) {
        events.retain(|event| event.live_count() > 0);
    }
    if let Some(value) = asked.get("published").filter(|value| !value.is_null() && **value != 2 && **value != "2") {
        let wanted = loose::flags(value);
        events.retain(|event| wanted.contains(&i64::from(event.published)));
    }
    type Clock = fn(&Event) -> i64;
    let clocks: [(&str, Clock); 2] =
        [("timestamp", |event| event.timestamp), ("publish_timestamp", |event| event.publish_timestamp)];
    for (name, clock) in clocks {
        if let Some(value) = asked.get(name).filter(|value| !value.is_null() && **value != "") {
            let ends: Vec<i64> = loose::list(value).iter().map(|end| world.moment(end)).collect();
            let inside = |time: i64| time >= ends[0] && ends.get(1).is_none_or(|to| time <= *to);
            events.retain(|event| inside(clock(event)));
        }
    }
    let total = events.len();
    let number = |name| asked.get(name).and_then(loose::number).map_or(0, |number| number as usize);
    if number("limit") > 0 {
        let (limit, page) = (number("limit"), number("page").max(1));
        events = events.into_iter().skip(limit * (page - 1)).take(limit).collect();
    }
    let entry = |event: &Event| if minimal { minimal_entry(world, event) } else { full_entry(world, event) };
    let list: Vec<Value> = events.into_iter().map(entry).collect();
    let mut answer = written(&Value::Array(list));
    answer.rows = total;
    answer.result_count = Some(total as i64);
    answer.header("X-Result-Count", total.to_string());
    Ok(answer)
}

/// A number of the database.
fn id(world: &World, id: impl Into<i128>) -> Value {
    let id: i128 = id.into();
    if world.settings.numeric_ids { (id as i64).into() } else { id.to_string().into() }
}

fn minimal_entry(world: &World, event: &Event) -> Value {
    json!({
        "id": id(world, event.id),
        "timestamp": id(world, event.timestamp),
        "sighting_timestamp": id(world, event.sighting_timestamp),
        "published": event.published,
        "uuid": event.uuid,
        "orgc_uuid": world.organisations[&event.orgc_id].uuid,
    })
}

fn full_entry(world: &World, event: &Event) -> Value {
    let organisation = |of: u64| {
        let organisation = &world.organisations[&of];
        json!({"id": id(world, of), "name": organisation.name, "uuid": organisation.uuid})
    };
    let shown = event.tags.iter().filter(|attached| world.tags[&attached.tag].exportable);
    let tags = shown.enumerate().map(|(at, attached)| {
        let tag = &world.tags[&attached.tag];
        json!({
            "id": id(world, at as u64 + 1),
            "event_id": id(world, event.id),
            "tag_id": id(world, tag.id),
            "local": attached.local,
            "relationship_type": "",
            "Tag": {"id": id(world, tag.id), "name": tag.name, "colour": tag.colour, "is_galaxy": tag.is_galaxy},
        })
    });
    let mut entry = json!({
        "org_id": id(world, event.org_id),
        "date": event.date,
        "info": event.info,
        "analysis": id(world, event.analysis),
        "attribute_count": id(world, event.live_count() as u64),
        "orgc_id": id(world, event.orgc_id),
        "distribution": id(world, event.distribution),
        "sharing_group_id": id(world, event.sharing_group_id),
        "proposal_email_lock": false,
        "locked": false,
        "threat_level_id": id(world, event.threat_level_id),
        "publish_timestamp": id(world, event.publish_timestamp),
        "disable_correlation": false,
        "extends_uuid": event.extends_uuid,
        "protected": null,
        "Org": organisation(event.org_id),
        "Orgc": organisation(event.orgc_id),
        "EventTag": tags.collect::<Vec<_>>(),
    });
    for name in ["id", "timestamp", "sighting_timestamp", "published", "uuid"] {
        entry[name] = minimal_entry(world, event)[name].take();
    }
    entry
}

/// Only the refusal: a client of indicators has no use for a whole event.
fn event_view(world: &World, user: &User, argument: Option<&str>) -> Answered {
    let named = |event: &&Event| argument.is_some_and(|name| event.uuid == name || event.id.to_string() == name);
    match world.events.values().find(named).filter(|event| world.sight(user, event) > Sight::Nothing) {
        Some(_) => Err(Refusal::not_acted("the view of an event")),
        None => Err(Refusal::new(404, "Invalid event")),
    }
}

/// Rows per type, of the whole server: nobody's visibility counts, nor deletion.
fn statistics(world: &World) -> Value {
    let mut counts = std::collections::BTreeMap::new();
    world.all().for_each(|(_, row)| *counts.entry(row.kind.clone()).or_insert(0) += 1);
    counts.into_iter().map(|(kind, count)| (kind, Value::from(count.to_string()))).collect()
}

fn warninglist_index(world: &World, asked: &Map<String, Value>) -> Value {
    let wanted = asked.get("enabled").filter(|value| !value.is_null()).map(|value| !loose::is_empty(value));
    let listed = world.warninglists.values().rev().filter(|list| wanted.is_none_or(|wanted| list.enabled == wanted));
    let entry = |list: &Warninglist| {
        let mut entry = about(world, list);
        entry["warninglist_entry_count"] = id(world, list.entry_count);
        let types = if list.types.is_empty() { "ALL".into() } else { list.types.join(", ") };
        entry["valid_attributes"] = types.into();
        json!({"Warninglist": entry})
    };
    json!({"Warninglists": listed.map(entry).collect::<Vec<_>>()})
}

fn about(world: &World, list: &Warninglist) -> Value {
    json!({
        "id": id(world, list.id),
        "name": list.name,
        "type": list.kind,
        "description": list.description,
        "version": id(world, list.version),
        "enabled": list.enabled,
        "default": list.default,
        "category": list.category,
    })
}

fn warninglist_view(world: &World, argument: Option<&str>) -> Answered {
    let found = argument.and_then(|id| id.parse().ok()).and_then(|id: u64| world.warninglists.get(&id));
    let list = found.ok_or_else(|| Refusal::new(404, "Warninglist not found."))?;
    if let Some(view) =
        list.recorded.as_ref().filter(|view| loose::text(&view["Warninglist"]["version"]) == list.version.to_string())
    {
        return Ok(written(view));
    }
    let numbered = |(at, name, value): (usize, &str, &str)| {
        let mut entry = json!({"id": id(world, at as u64 + 1), "warninglist_id": id(world, list.id)});
        entry[name] = value.into();
        if name == "value" {
            entry["comment"] = Value::Null;
        }
        entry
    };
    let mut out = about(world, list);
    let entries = list.entries.iter().enumerate().map(|(at, value)| numbered((at, "value", value.as_str())));
    out["WarninglistEntry"] = entries.collect();
    let types = list.types.iter().enumerate().map(|(at, kind)| numbered((at, "type", kind.as_str())));
    out["WarninglistType"] = types.collect();
    Ok(written(&json!({"Warninglist": out})))
}

fn tag_json(world: &World, tag: &Tag) -> Value {
    json!({
        "id": id(world, tag.id),
        "name": tag.name,
        "colour": tag.colour,
        "exportable": tag.exportable,
        "org_id": id(world, 0),
        "user_id": id(world, 0),
        "hide_tag": false,
        "numerical_value": null,
        "is_galaxy": tag.is_galaxy,
        "is_custom_galaxy": false,
        "local_only": false,
    })
}

/// With the numbers of events and of attributes that the user sees; rows of objects do not count.
fn counted(world: &World, user: &User, tag: &Tag) -> Value {
    let sight = |event: &Event| world.sight(user, event);
    let events = world.events.values().filter(|event| event.has(tag.id) && sight(event) > Sight::Nothing).count();
    let counts = world
        .all()
        .filter(|(event, row)| row.has(tag.id) && !row.deleted && row.object.is_none() && row.visible(sight(event)));
    let mut out = tag_json(world, tag);
    out["count"] = events.into();
    out["attribute_count"] = counts.count().into();
    out
}

fn tag_index(world: &World, user: &User) -> Vec<Value> {
    let entry = |tag| {
        let mut entry = counted(world, user, tag);
        entry["favourite"] = false.into();
        entry
    };
    world.tags.values().map(entry).collect()
}

fn tag_view(world: &World, user: &User, argument: Option<&str>) -> Answered {
    let found = argument.and_then(|id| id.parse().ok()).and_then(|id: u64| world.tags.get(&id));
    let tag = found.ok_or_else(|| Refusal::new(404, "Invalid tag"))?;
    Ok(written(&counted(world, user, tag)))
}

/// LIKE on lower-case names: `%` and `_` are wildcards here too.
fn tag_search(world: &World, sent: Option<&Value>, argument: Option<&str>) -> Value {
    let wanted = sent.map_or_else(|| vec![Value::from(argument.unwrap_or(""))], loose::list);
    let patterns: Vec<String> = wanted.iter().map(|name| loose::text(name).to_lowercase()).collect();
    let found = |tag: &&Tag| patterns.iter().any(|pattern| loose::like(pattern, &tag.name.to_lowercase()));
    world.tags.values().filter(found).map(|tag| json!({"Tag": tag_json(world, tag)})).collect()
}
