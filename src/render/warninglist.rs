//! Warninglists: MISP's answer → the body in one format. Pure.
//!
//! | format | one list | the index of all |
//! |---|---|---|
//! | `txt` | values in MISP's order | members of each list, one per line, an empty line behind each |
//! | `json`, `yaml` | values, sorted | as MISP says it |
//! | `xml` | entries as MISP says them | as MISP says it |
//!
//! Truth values and nothing are written as Python writes them in `txt`. Invariants: the same answer gives the same bytes;
//! members keep MISP's order, sorted in `yaml`.

use serde_json::{Map, Value};

use super::yaml::Place;
use super::{Body, Format, json, yaml};

/// Formats of warninglists, in the order of error texts.
pub const WARNINGLIST_FORMATS: [&str; 4] = ["txt", "json", "xml", "yaml"];

/// MISP's answer, read.
#[derive(Debug)]
pub enum Warninglist {
    /// All lists, without their entries.
    Index(Vec<Value>),
    /// The entries of one list.
    Entries(Vec<Value>),
}

/// Why an answer is no warninglist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoWarninglist {
    /// No JSON.
    Garbled,
    /// Other JSON.
    Unexpected,
}

impl Warninglist {
    /// Reads the answer to the question for list `id`; 0 is the index.
    pub fn read(id: u16, answer: &[u8]) -> Result<Self, NoWarninglist> {
        let mut answer: Value = serde_json::from_slice(answer).map_err(|_| NoWarninglist::Garbled)?;
        let mut take = |pointer: &str| match answer.pointer_mut(pointer).map(Value::take) {
            Some(Value::Array(elements)) => Ok(elements),
            _ => Err(NoWarninglist::Unexpected),
        };
        if id == 0 {
            return take("/Warninglists").map(Self::Index);
        }
        let entries = take("/Warninglist/WarninglistEntry")?;
        let is_entry = |entry: &Value| entry["value"].is_string();
        if entries.iter().all(is_entry) { Ok(Self::Entries(entries)) } else { Err(NoWarninglist::Unexpected) }
    }

    /// The body, by the name of one of [`WARNINGLIST_FORMATS`].
    pub fn body(&self, format: &Format) -> Body {
        let (Self::Index(elements) | Self::Entries(elements)) = self;
        let mut bytes = Vec::new();
        match (format.name, self) {
            ("txt", Self::Index(lists)) => lists.iter().for_each(|list| members(list, &mut bytes)),
            ("txt", Self::Entries(_)) => {
                self.values().for_each(|value| bytes.extend_from_slice(format!("{value}\r\n").as_bytes()));
            }
            ("xml", _) => xml(elements, &mut bytes),
            (_, Self::Entries(_)) => {
                let mut values: Vec<&str> = self.values().collect();
                values.sort_unstable();
                (format.write)("", &mut values.into_iter(), &mut bytes);
            }
            ("json", Self::Index(lists)) => json_elements(lists, &mut bytes),
            (_, Self::Index(lists)) => yaml_document(lists, &mut bytes),
        }
        Body { bytes, entries: elements.len() as u64 }
    }

    fn values(&self) -> impl Iterator<Item = &str> {
        let (Self::Index(elements) | Self::Entries(elements)) = self;
        elements.iter().filter_map(|entry| entry["value"].as_str())
    }
}

/// One list of the index as text.
fn members(list: &Value, out: &mut Vec<u8>) {
    for (name, value) in list["Warninglist"].as_object().into_iter().flatten() {
        let value = match value {
            Value::Null => "None".to_owned(),
            Value::Bool(true) => "True".to_owned(),
            Value::Bool(false) => "False".to_owned(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        out.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}

/// As Python's `json.dumps` writes it.
fn json_value(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::String(text) => json::quote(text, out),
        Value::Array(elements) => json_elements(elements, out),
        Value::Object(object) => {
            out.push(b'{');
            for (at, (name, value)) in object.iter().enumerate() {
                out.extend_from_slice(if at > 0 { b", " } else { b"" });
                json::quote(name, out);
                out.extend_from_slice(b": ");
                json_value(value, out);
            }
            out.push(b'}');
        }
        other => out.extend_from_slice(other.to_string().as_bytes()),
    }
}

fn json_elements(elements: &[Value], out: &mut Vec<u8>) {
    out.push(b'[');
    for (at, element) in elements.iter().enumerate() {
        out.extend_from_slice(if at > 0 { b", " } else { b"" });
        json_value(element, out);
    }
    out.push(b']');
}

fn xml(elements: &[Value], out: &mut Vec<u8>) {
    out.extend_from_slice(b"<?xml version=\"1.0\" encoding=\"UTF-8\" ?><Warninglists>");
    elements.iter().for_each(|element| xml_element("item", element, out));
    out.extend_from_slice(b"</Warninglists>");
}

fn xml_element(name: &str, value: &Value, out: &mut Vec<u8>) {
    // What is no name in XML stands in an attribute, so that the body can always be read.
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    let starts = name.bytes().next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_');
    let (tag, attribute) = match starts && name.bytes().all(is_name) {
        true => (name, String::new()),
        false => ("key", format!(" name=\"{}\"", xml_text(name))),
    };
    out.extend_from_slice(format!("<{tag}{attribute}>").as_bytes());
    match value {
        Value::Null => {}
        Value::String(text) => out.extend_from_slice(xml_text(text).as_bytes()),
        Value::Array(elements) => elements.iter().for_each(|element| xml_element("item", element, out)),
        Value::Object(object) => object.iter().for_each(|(name, value)| xml_element(name, value, out)),
        other => out.extend_from_slice(other.to_string().as_bytes()),
    }
    out.extend_from_slice(format!("</{tag}>").as_bytes());
}

/// Escaped; characters that XML 1.0 does not allow are left out.
fn xml_text(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => {}
            other => out.push(other),
        }
    }
    out
}

fn yaml_document(elements: &[Value], out: &mut Vec<u8>) {
    out.extend_from_slice(if elements.is_empty() { b"--- []\n" } else { b"---\n" });
    elements.iter().for_each(|element| yaml_entry(element, 0, out));
}

/// An element of a sequence, `indent` columns in.
fn yaml_entry(element: &Value, indent: usize, out: &mut Vec<u8>) {
    pad(indent, out);
    out.push(b'-');
    match element {
        Value::Object(object) if !object.is_empty() => {
            out.push(b' ');
            yaml_members(object, indent + 2, true, out);
        }
        Value::Array(elements) if !elements.is_empty() => {
            out.push(b' ');
            let from = out.len();
            elements.iter().for_each(|element| yaml_entry(element, indent + 2, out));
            // The first one stands behind the dash.
            out.drain(from..from + indent + 2);
        }
        other => {
            out.push(b' ');
            yaml_scalar(other, Place { column: indent + 2, indent: indent + 2 }, out);
        }
    }
}

/// The members of a mapping, by name. `inline`: the first one stands where the line is now.
fn yaml_members(object: &Map<String, Value>, indent: usize, mut inline: bool, out: &mut Vec<u8>) {
    let mut members: Vec<(&String, &Value)> = object.iter().collect();
    members.sort_unstable_by_key(|(name, _)| *name);
    for (name, value) in members {
        if !std::mem::take(&mut inline) {
            pad(indent, out);
        }
        let start = out.len();
        yaml::text(name, Place { column: indent, indent: indent + 2 }, out);
        out.push(b':');
        match value {
            Value::Object(object) if !object.is_empty() => {
                out.push(b'\n');
                yaml_members(object, indent + 2, false, out);
            }
            Value::Array(elements) if !elements.is_empty() => {
                out.push(b'\n');
                elements.iter().for_each(|element| yaml_entry(element, indent, out));
            }
            other => {
                let column = indent + (out.len() - start) + 1;
                out.push(b' ');
                yaml_scalar(other, Place { column, indent: indent + 2 }, out);
            }
        }
    }
}

fn yaml_scalar(value: &Value, place: Place, out: &mut Vec<u8>) {
    match value {
        Value::String(text) => yaml::text(text, place, out),
        other => out.extend_from_slice(other.to_string().as_bytes()),
    }
    out.push(b'\n');
}

fn pad(columns: usize, out: &mut Vec<u8>) {
    out.resize(out.len() + columns, b' ');
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: &str = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen";

    fn body(id: u16, answer: &Value, format: &str) -> String {
        let list = Warninglist::read(id, answer.to_string().as_bytes()).unwrap();
        String::from_utf8(list.body(Format::named(format).unwrap()).bytes).unwrap()
    }

    #[test]
    fn long_texts_of_the_index_fold_where_pyyaml_folds_them() {
        let list =
            serde_json::json!({"Warninglist": {"name": LONG, "b": null, "a": [1, true, {"c": "x"}], "d": [], "e": ""}});
        let index = serde_json::json!({"Warninglists": [list]});
        let folded = "---\n- Warninglist:\n    a:\n    - 1\n    - true\n    - c: x\n    b: null\n    d: []\n    e: ''\n    \
            name: one two three four five six seven eight nine ten eleven twelve thirteen\n      fourteen\n";
        assert_eq!(body(0, &index, "yaml"), folded);
        assert_eq!(body(0, &serde_json::json!({"Warninglists": []}), "yaml"), "--- []\n");
    }

    #[test]
    fn xml_can_always_be_read() {
        let entry = serde_json::json!({"value": "a\u{0}<", "1 b": "'"});
        let answer = serde_json::json!({"Warninglist": {"WarninglistEntry": [entry]}});
        let expected = "<?xml version=\"1.0\" encoding=\"UTF-8\" ?><Warninglists><item><value>a&lt;</value>\
            <key name=\"1 b\">&apos;</key></item></Warninglists>";
        assert_eq!(body(3, &answer, "xml"), expected);
    }

    #[test]
    fn other_answers_are_no_warninglist() {
        let wrong = |id, answer: &str| Warninglist::read(id, answer.as_bytes()).unwrap_err();
        assert_eq!(wrong(0, ""), NoWarninglist::Garbled);
        assert_eq!(wrong(0, "<html>"), NoWarninglist::Garbled);
        for answer in
            ["[]", "{}", "{\"Warninglists\": {}}", "{\"Warninglist\": {\"WarninglistEntry\": [{\"value\": 1}]}}"]
        {
            assert_eq!((wrong(0, answer), wrong(1, answer)), (NoWarninglist::Unexpected, NoWarninglist::Unexpected));
        }
    }
}
