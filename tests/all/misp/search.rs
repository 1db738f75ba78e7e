//! `/attributes/restSearch`: which rows match, which page of them is read, and what the headers say about it.
//!
//! The page is cut first, then the warninglists and the allowedlist take rows out of it. `X-Result-Count` counts what was
//! read for this page, plus one if there may be more.

use std::collections::HashMap;

use serde_json::Value;

use super::filters::Filters;
use super::identity::User;
use super::loose;
use super::parameters::Parameters;
use super::route::{Answer, Refusal};
use super::rows::Shown;
use super::truth::Sight;
use super::world::{Attribute, Event, Order, ResultCount, World};

type Found<'a> = (&'a Event, &'a Attribute);

/// What one page holds.
struct Page<'a> {
    rows: Vec<Found<'a>>,
    result_count: i64,
    skipped: usize,
}

/// Answers a search.
pub fn search(world: &World, user: &User, asked: Parameters) -> Result<Answer, Refusal> {
    let format = asked.get("returnFormat").filter(|value| !loose::is_empty(value)).map_or("json".into(), loose::text);
    match format.as_str() {
        "json" | "download" => {}
        "csv" | "text" | "hosts" | "xml" | "stix" | "stix2" | "suricata" | "snort" | "rpz" | "cache" => {
            return Err(Refusal::not_acted(&format!("returnFormat {format}")));
        }
        _ => return Err(Refusal::new(404, "Invalid output format.")),
    }
    let asked = asked.over(&user.default_search);
    let matching = matching(world, user, &asked)?;
    let page = page(world, user, &asked, &matching)?;
    let mut answer = Answer::json(written(world, &asked, &page.rows));
    answer.rows = page.rows.len();
    answer.result_count = Some(page.result_count);
    answer.header("X-Result-Count", page.result_count.to_string());
    answer.header("X-Export-Module-Used", format.clone());
    answer.header("X-Response-Format", format);
    if world.settings.skipped_header {
        answer.header("X-Skipped-Elements-Count", page.skipped.to_string());
    }
    Ok(answer)
}

/// Every visible row that passes the filters, in the order asked for.
fn matching<'a>(world: &'a World, user: &User, asked: &Parameters) -> Result<Vec<Found<'a>>, Refusal> {
    let filters = Filters::new(world, asked)?;
    let mut out = Vec::new();
    for event in world.events.values() {
        let sight = world.sight(user, event);
        if sight > Sight::Nothing && filters.event_passes(event) {
            let rows = event.attributes.values().filter(|row| row.visible(sight) && filters.row_passes(event, row));
            out.extend(rows.map(|row| (event, row)));
        }
    }
    out.sort_by_key(|(_, row)| row.id);
    match asked.get("order").filter(|order| !loose::is_empty(order)).and_then(sort_keys) {
        Some(keys) => keys.into_iter().rev().for_each(|(key, descending)| {
            out.sort_by(|a, b| if descending { key(b).cmp(&key(a)) } else { key(a).cmp(&key(b)) });
        }),
        None => by_default(world.settings.default_order, &mut out),
    }
    Ok(out)
}

type SortKey = fn(&Found) -> (i128, String);

/// `"Attribute.id asc"`, several with commas or as a list; one that the server does not know spoils all of them.
fn sort_keys(order: &Value) -> Option<Vec<(SortKey, bool)>> {
    let rules: Vec<String> = match order {
        Value::String(text) => text.split(',').map(str::to_owned).collect(),
        other => loose::list(other).iter().map(|rule| rule.as_str().map(str::to_owned)).collect::<Option<_>>()?,
    };
    rules.iter().map(|rule| sort_key(rule)).collect()
}

fn sort_key(rule: &str) -> Option<(SortKey, bool)> {
    let words: Vec<&str> = rule.trim().split(' ').collect();
    let descending = words.len() == 2 && words[1].eq_ignore_ascii_case("desc");
    let (model, field) = words[0].split_once('.').unwrap_or(("Attribute", words[0]));
    let number: SortKey = match (model, field.to_ascii_lowercase().as_str()) {
        ("Attribute", "id") => |(_, row)| (row.id.into(), String::new()),
        ("Attribute", "event_id") => |(event, _)| (event.id.into(), String::new()),
        ("Attribute", "timestamp") => |(_, row)| (row.timestamp.into(), String::new()),
        ("Attribute", "distribution") => |(_, row)| (row.distribution.into(), String::new()),
        ("Attribute", "type") => |(_, row)| (0, row.kind.to_lowercase()),
        ("Attribute", "category") => |(_, row)| (0, row.category.clone()),
        ("Attribute", "value") => |(_, row)| (0, row.value.to_lowercase()),
        ("Event", "publish_timestamp") => |(event, _)| (event.publish_timestamp.into(), String::new()),
        _ => return None,
    };
    Some((number, descending))
}

/// The query plan's order; `Random` is the same for the same rows.
fn by_default(order: Order, rows: &mut [Found]) {
    match order {
        Order::Id => {}
        Order::Event => rows.sort_by_key(|(event, row)| (event.id, row.id)),
        Order::Timestamp => rows.sort_by_key(|(_, row)| (row.timestamp, row.id)),
        Order::Random => rows.sort_by_key(|(_, row)| row.id.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29)),
    }
}

/// Where a page lies.
struct Window {
    offset: usize,
    /// How many rows one read takes at most; zero or less: all that are left.
    limit: i64,
    requested: i64,
    /// Reads go on until one comes back short: no limit was sent, or one above the cap.
    goes_on: bool,
    page: f64,
}

fn window(cap: i64, asked: &Parameters) -> Result<Window, Refusal> {
    if !asked.is_on("limit") {
        return Ok(Window { offset: 0, limit: cap, requested: cap, goes_on: true, page: 1.0 });
    }
    let read = |name| match asked.get(name).filter(|value| !loose::is_empty(value)) {
        Some(value) => loose::number(value).ok_or_else(Refusal::internal),
        None => Ok(1.0),
    };
    let (limit, page) = (read("limit")?, read("page")?);
    let offset = if page > 1.0 { (limit * (page - 1.0)) as i64 } else { 0 };
    // A negative limit has everything on its first page.
    let offset = usize::try_from(offset).unwrap_or(usize::MAX);
    let requested = limit as i64;
    Ok(Window { offset, limit: requested.min(cap), requested, goes_on: requested > cap, page })
}

fn page<'a>(world: &World, user: &User, asked: &Parameters, all: &[Found<'a>]) -> Result<Page<'a>, Refusal> {
    let settings = &world.settings;
    let cap = (user.role.memory_limit.unwrap_or(settings.memory_mb) * 50.0) as i64;
    let mut window = window(cap, asked)?;
    let enforced = asked.is_on("enforceWarninglist");
    let left = all.len().saturating_sub(window.offset);
    let built = if asked.is_on("limit") && window.requested > 0 { left.min(window.requested as usize) } else { left };
    if !enforced && settings.memory_rows.is_some_and(|rows| built > rows) {
        return Err(Refusal::internal());
    }
    let mut page = Page { rows: Vec::new(), result_count: 0, skipped: 0 };
    let mut read = 0;
    let more = loop {
        if read + window.limit > window.requested {
            (window.limit, window.goes_on) = (window.requested - read, false);
        }
        let chunk = &all[window.offset.min(all.len())..];
        let chunk = if window.limit > 0 { &chunk[..chunk.len().min(window.limit as usize)] } else { chunk };
        let kept: Vec<_> = chunk.iter().filter(|(_, row)| !(enforced && world.on_warninglist(row))).copied().collect();
        page.skipped += chunk.len() - kept.len();
        read += chunk.len() as i64;
        let (is_empty, is_short) = (kept.is_empty(), (kept.len() as i64) < window.limit);
        let allowed = |(_, row): &Found| !settings.allowedlist.iter().any(|entry| entry.removes(&row.value));
        page.rows.extend(kept.into_iter().filter(allowed));
        if is_empty || is_short || !window.goes_on {
            break !window.goes_on && (is_empty || !is_short);
        }
        window.offset += window.limit as usize;
    };
    page.result_count = read + i64::from(more);
    match settings.result_count {
        ResultCount::Page => {}
        ResultCount::Cumulative if window.page > 1.0 => {
            page.result_count += (window.requested as f64 * (window.page - 1.0)) as i64;
        }
        ResultCount::Cumulative => {}
        ResultCount::Total => page.result_count = all.len() as i64,
    }
    Ok(page)
}

/// The body, byte for byte as the server writes it: attributes compact on one line.
fn written(world: &World, asked: &Parameters, rows: &[Found]) -> Vec<u8> {
    let shown = Shown::new(asked);
    let mut events = HashMap::new();
    let mut body = String::from(r#"{"response": {"Attribute": ["#);
    for (at, (event, row)) in rows.iter().enumerate() {
        if at > 0 {
            body.push(',');
        }
        let event_json: &String = events.entry(event.id).or_insert_with(|| shown.event(world, event));
        shown.row(world, event, row, event_json, &mut body);
    }
    body.push_str("]}}\n");
    body.into_bytes()
}
