//! Bodies out of lists, and lists out of recorded bodies: small and slow, each format in a few lines of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// The content type of a format or vendor.
pub fn content_type(format: &str) -> &'static str {
    match format {
        "json" => "application/json",
        "xml" => "text/xml; charset=utf-8",
        _ => "text/plain; charset=utf-8",
    }
}

/// The body of a list. `known`: how PyYAML wrote some of the values.
pub fn body(format: &str, data_type: &str, list: &BTreeSet<String>, known: &BTreeMap<String, String>) -> String {
    let lines = |lines: Vec<String>| lines.join("\r\n");
    match format {
        "json" => json(list),
        "xml" => xml(data_type, list),
        "yaml" => yaml(list, known),
        "b64" => lines(list.iter().map(|value| STANDARD.encode(value)).collect()),
        "paloalto" if data_type == "url" => {
            let stripped: BTreeSet<String> = list.iter().map(|url| without_scheme(url).to_owned()).collect();
            lines(stripped.into_iter().filter(|url| !url.is_empty()).collect())
        }
        _ => lines(list.iter().cloned().collect()),
    }
}

/// As Python's `json.dumps`.
fn json(list: &BTreeSet<String>) -> String {
    let quoted: Vec<String> = list.iter().map(|value| serde_json::to_string(value).unwrap()).collect();
    let mut out = String::new();
    for unit in format!("[{}]", quoted.join(", ")).encode_utf16() {
        match char::from_u32(unit.into()).filter(|character| (' '..='~').contains(character)) {
            Some(character) => out.push(character),
            None => write!(out, "\\u{unit:04x}").unwrap(),
        }
    }
    out
}

fn xml(data_type: &str, list: &BTreeSet<String>) -> String {
    let allowed = |character: char| matches!(character, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..);
    let escaped = |value: &String| value.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let entries: Vec<String> = list
        .iter()
        .filter(|value| value.chars().all(allowed))
        .map(|value| format!("<entry>{}</entry>", escaped(value)))
        .collect();
    let root = if entries.is_empty() {
        format!("<{data_type} />")
    } else {
        format!("<{data_type}>{}</{data_type}>", entries.concat())
    };
    format!("<?xml version='1.0' encoding='utf-8'?>\n{root}")
}

/// Entries as PyYAML wrote them, or plain where nothing about a value is special; else a mark for [`settle`].
fn yaml(list: &BTreeSet<String>, known: &BTreeMap<String, String>) -> String {
    if list.is_empty() {
        return "--- []\n".into();
    }
    let entry = |value: &String| match known.get(value) {
        Some(entry) => entry.clone(),
        None if is_plain(value) => format!("- {value}\n"),
        None => format!("{MARK}{}\n", serde_json::to_string(value).unwrap()),
    };
    format!("---\n{}", list.iter().map(entry).collect::<String>())
}

/// Stands before a value whose spelling is not decided here.
const MARK: char = '\u{1}';

/// Whether YAML writes a value as it is, for sure: a name, or an IPv4 address.
fn is_plain(value: &str) -> bool {
    let named = value.starts_with(|first: char| first.is_ascii_lowercase()) && value.contains('.');
    let harmless = value.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
    value.parse::<std::net::Ipv4Addr>().is_ok() || (named && harmless && value.len() < 70)
}

/// Replaces the marks by what the answer has for these values, which must read back as just them.
pub fn settle(expected: &str, answer: &str) -> String {
    if !expected.contains(MARK) {
        return expected.to_owned();
    }
    let entries = yaml_entries(answer);
    let settled = |line: &str| match line.strip_prefix(MARK) {
        Some(marked) => {
            let value: String = serde_json::from_str(marked.trim_end()).unwrap();
            entries.get(&value).cloned().unwrap_or_else(|| format!("(missing) {value}\n"))
        }
        None => line.to_owned(),
    };
    expected.split_inclusive('\n').map(settled).collect()
}

/// Only a scheme at the very beginning goes.
fn without_scheme(url: &str) -> &str {
    let Some((scheme, rest)) = url.split_once("://") else { return url };
    let mut letters = scheme.chars();
    let good = letters.next().is_some_and(|c| c.is_ascii_alphabetic())
        && letters.all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    if good { rest } else { url }
}

/// The list a recorded body was made from; paloalto's url has lost its schemes.
pub fn list(format: &str, body: &str) -> BTreeSet<String> {
    let lines = || body.split("\r\n").filter(|_| !body.is_empty());
    match format {
        "json" => serde_json::from_str(body).unwrap(),
        "yaml" => yaml_entries(body).into_keys().collect(),
        "b64" => lines().map(|line| String::from_utf8(STANDARD.decode(line).unwrap()).unwrap()).collect(),
        "xml" => body
            .split("<entry>")
            .skip(1)
            .map(|part| part.split("</entry>").next().unwrap_or_default())
            .map(|text| text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))
            .collect(),
        _ => lines().map(str::to_owned).collect(),
    }
}

/// Value → its entry, in a body of PyYAML.
pub fn yaml_entries(body: &str) -> BTreeMap<String, String> {
    let mut entries: Vec<String> = Vec::new();
    for line in body.strip_prefix("---\n").unwrap_or_default().split_inclusive('\n') {
        match entries.last_mut() {
            Some(entry) if !line.starts_with("- ") => entry.push_str(line),
            _ => entries.push(line.to_owned()),
        }
    }
    let read = |entry: String| {
        let value: Vec<String> = serde_yaml::from_str(&entry).unwrap_or_else(|error| panic!("{entry}: {error}"));
        (value.into_iter().next().unwrap(), entry)
    };
    entries.into_iter().map(read).collect()
}
