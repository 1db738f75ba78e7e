//! What goes wrong with a key, by its name.

use std::time::Duration;

use crate::misp::Kind;

/// Names of keys with a fault; each sees the main corpus.
const NAMES: [&str; 26] = [
    "e302",
    "e403",
    "e403search",
    "e404search",
    "e405search",
    "e500",
    "e500search",
    "ebare",
    "edrop",
    "eempty",
    "eemptysearch",
    "eerrors",
    "ehtml",
    "ehtmlsearch",
    "elistsearch",
    "eliststat",
    "enoattr",
    "enodescribe",
    "enojsonstat",
    "enorec",
    "enouser",
    "enoversion",
    "eresplist",
    "eslow",
    "eslowver",
    "etruncsearch",
];

/// Whether a key of that name has a fault.
pub fn is_one(name: &str) -> bool {
    NAMES.contains(&name)
}

/// Those that served for a while before they broke down, and what they answered then.
pub fn names() -> impl Iterator<Item = &'static str> {
    NAMES.into_iter().filter(|name| *name != "e403")
}

/// What happens to this request. A key that MISP refuses never worked; the others work until they break down.
pub fn fault(name: &str, path: &str, broken: bool) -> Option<Kind> {
    if name == "e403" {
        return Some(Kind::Status(403));
    }
    if !broken {
        return None;
    }
    let search = path.ends_with("restSearch");
    let on_search = |kind: Kind| search.then_some(kind);
    match name {
        "e302" => Some(Kind::Redirect),
        "e500" => Some(Kind::Status(500)),
        "ehtml" => Some(Kind::Html200),
        "eempty" => Some(Kind::EmptyBody),
        "e403search" => on_search(Kind::Status(403)),
        "e404search" => on_search(Kind::Status(404)),
        "e405search" => on_search(Kind::Status(405)),
        "e500search" => on_search(Kind::Status(500)),
        "ehtmlsearch" => on_search(Kind::Html200),
        "eemptysearch" => on_search(Kind::EmptyBody),
        "etruncsearch" => on_search(Kind::CutJson(40)),
        "edrop" => on_search(Kind::Drop),
        "elistsearch" => on_search(Kind::Shape("[]".into())),
        "eresplist" => on_search(Kind::Shape("{\"response\": []}".into())),
        "eerrors" => on_search(Kind::Shape("{\"errors\": \"something\"}".into())),
        "enoattr" => on_search(Kind::Shape("{\"response\": {}}".into())),
        "eslow" => on_search(Kind::Hang(Duration::from_secs(3))),
        "eslowver" if path == "/servers/getVersion" => Some(Kind::Hang(Duration::from_secs(6))),
        "enoversion" if path == "/servers/getVersion" => Some(Kind::Shape("{}".into())),
        "enorec" if path == "/servers/getVersion" => Some(Kind::Shape(without_recommendation())),
        "enojsonstat" if is_about(path) => Some(Kind::Html200),
        // Its list of one number is good enough.
        "eliststat" if is_about(path) && !path.starts_with("/warninglists/view/") => Some(Kind::Shape("[]".into())),
        "enouser" if path == "/users/view/me" => Some(Kind::Status(404)),
        _ => None,
    }
}

fn is_about(path: &str) -> bool {
    path.starts_with("/warninglists/") || path == "/attributes/attributeStatistics"
}

fn without_recommendation() -> String {
    serde_json::json!({
        "version": "2.5.12", "perm_sync": true, "perm_sighting": true, "perm_galaxy_editor": true,
        "request_encoding": ["gzip", "br"], "filter_sightings": true,
    })
    .to_string()
}
