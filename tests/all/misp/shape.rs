//! Compares two JSON values by their members and types, whatever the values are.

use serde_json::Value;

/// Where `ours` is built otherwise than `theirs`. A null stands for any single value; every item of our lists is compared
/// with the first of theirs.
pub fn differences(ours: &Value, theirs: &Value) -> Vec<String> {
    let mut out = Vec::new();
    compare("$", ours, theirs, &mut out);
    out
}

fn compare(path: &str, ours: &Value, theirs: &Value, out: &mut Vec<String>) {
    match (ours, theirs) {
        (Value::Object(ours), Value::Object(theirs)) => {
            for (name, theirs) in theirs {
                match ours.get(name) {
                    Some(ours) => compare(&format!("{path}.{name}"), ours, theirs, out),
                    None => out.push(format!("{path}.{name} is missing")),
                }
            }
            let more = ours.keys().filter(|name| !theirs.contains_key(*name));
            out.extend(more.map(|name| format!("{path}.{name} is one too many")));
        }
        (Value::Array(ours), Value::Array(theirs)) => {
            let first = theirs.first().unwrap_or(&Value::Null);
            ours.iter().enumerate().for_each(|(at, item)| compare(&format!("{path}[{at}]"), item, first, out));
        }
        (ours, theirs) if kind(ours) == kind(theirs) => {}
        (Value::Null, theirs) if is_single(theirs) => {}
        (ours, Value::Null) if is_single(ours) => {}
        (ours, theirs) => out.push(format!("{path} is a {}, not a {}", kind(ours), kind(theirs))),
    }
}

fn is_single(value: &Value) -> bool {
    !value.is_array() && !value.is_object()
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "text",
        Value::Array(_) => "list",
        Value::Object(_) => "object",
    }
}
