//! Every format: equal to the recorded bodies of the Python Cratos, to the golden files (renewed with UPDATE_GOLDEN=1), and
//! read back to what went in.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use cratos::render::{FORMATS, Format};
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::recorded;

/// A recorded row. Some texts are no Unicode, so they are read where they are needed.
#[derive(Deserialize)]
struct Row<'a> {
    output: &'a str,
    #[serde(rename = "dataType", default = "mutex")]
    data_type: &'a str,
    #[serde(borrow)]
    list: &'a RawValue,
    #[serde(borrow)]
    body: Option<&'a RawValue>,
}

impl Row<'_> {
    fn name(&self) -> String {
        format!("{} of {} {:.60}", self.output, self.data_type, self.list.get())
    }
}

/// Lists can be long: shows where the first difference is.
fn same(what: &str, ours: &str, expected: &str) {
    if ours != expected {
        let at = ours.chars().zip(expected.chars()).take_while(|(one, other)| one == other).count();
        let part = |text: &str| text.chars().skip(at.saturating_sub(10)).take(60).collect::<String>();
        panic!("{what}: differs at character {at}: {:?}, expected {:?}", part(ours), part(expected));
    }
}

/// What the rows without a data type were recorded as.
fn mutex() -> &'static str {
    "mutex"
}

/// What must come of a row: the recorded body, or that of a deviation.
enum Answer {
    Recorded,
    Deviation(&'static str, String),
    /// D20: no list can hold this.
    NoText,
}

/// Compares all rows of a file; prints and returns how many are equal, and how many stand under which deviation.
fn compare(file: &str) -> BTreeMap<&'static str, usize> {
    let text = recorded::xz(file);
    let mut counts = BTreeMap::new();
    for line in text.lines() {
        let row: Row<'_> = serde_json::from_str(line).unwrap();
        let list: Vec<String> = serde_json::from_str(row.list.get()).unwrap_or_default();
        let id = match answer(&row, &list) {
            Answer::NoText => {
                assert!(row.list.get().contains("\\ud800") && list.is_empty(), "{line}");
                "D20"
            }
            Answer::Recorded => {
                same(&row.name(), &ours(&row, &list), &recorded_body(&row));
                "equal"
            }
            Answer::Deviation(id, body) => {
                same(&format!("{id}, {}", row.name()), &ours(&row, &list), &body);
                assert!(body != recorded_body(&row), "{id}, {}: as recorded", row.name());
                id
            }
        };
        *counts.entry(id).or_default() += 1;
    }
    println!("{file}: {counts:?}, failed 0");
    counts
}

/// Decided from the row alone.
fn answer(row: &Row<'_>, list: &[String]) -> Answer {
    match (row.output, row.data_type) {
        _ if serde_json::from_str::<Vec<String>>(row.list.get()).is_err() => Answer::NoText,
        ("xml", name) => Answer::Deviation("D9", xml(name, list, recorded_body(row))),
        ("paloalto", "url") => {
            let theirs: Vec<String> = list.iter().map(|url| without_what_python_takes(url)).collect();
            let theirs = theirs.join("\r\n");
            same("the rule of the Python Cratos", &theirs, &recorded_body(row));
            let ours: BTreeSet<&str> =
                list.iter().map(|url| leading_scheme(url)).filter(|line| !line.is_empty()).collect();
            let ours = ours.into_iter().collect::<Vec<_>>().join("\r\n");
            if ours == theirs { Answer::Recorded } else { Answer::Deviation("D10", ours) }
        }
        _ => Answer::Recorded,
    }
}

/// D9: the recorded body with the right declaration, without the entries XML cannot hold.
fn xml(data_type: &str, list: &[String], recorded: String) -> String {
    let mut body = recorded.replacen("encoding='utf8'", "encoding='utf-8'", 1);
    for value in list.iter().filter(|value| !value.chars().all(is_xml)) {
        let value = value.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        body = body.replacen(&format!("<entry>{value}</entry>"), "", 1);
    }
    body.replace(&format!("<{data_type}></{data_type}>"), &format!("<{data_type} />"))
}

/// The characters of XML 1.0.
fn is_xml(letter: char) -> bool {
    matches!(letter, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

/// Takes away what `^.*?://` matches in Python, on every line.
fn without_what_python_takes(url: &str) -> String {
    let lines = url.split('\n').map(|line| line.split_once("://").map_or(line, |(_, rest)| rest));
    lines.collect::<Vec<_>>().join("\n")
}

/// D10: takes away a scheme.
fn leading_scheme(url: &str) -> &str {
    let end = url.find(|letter: char| !(letter.is_ascii_alphanumeric() || "+-.".contains(letter))).unwrap_or(url.len());
    let has_scheme = url.chars().next().is_some_and(|first| first.is_ascii_alphabetic());
    url[end..].strip_prefix("://").filter(|_| has_scheme).unwrap_or(url)
}

fn ours(row: &Row<'_>, list: &[String]) -> String {
    let body = Format::named(row.output).unwrap().body(row.data_type, list.iter().map(String::as_str));
    String::from_utf8(body.bytes).unwrap()
}

fn recorded_body(row: &Row<'_>) -> String {
    serde_json::from_str(row.body.unwrap().get()).unwrap()
}

#[test]
fn recorded_lists_of_one_value() {
    // 332 values in five formats; one value is no Unicode.
    assert_eq!(compare("serialize_single.jsonl.xz"), BTreeMap::from([("equal", 1324), ("D9", 331), ("D20", 5)]));
}

#[test]
fn recorded_lists() {
    assert_eq!(compare("serialize_lists.jsonl.xz"), BTreeMap::from([("equal", 182), ("D9", 20), ("D10", 10)]));
}

#[test]
fn recorded_yaml() {
    #[derive(Deserialize)]
    struct Row {
        s: String,
        yaml: String,
    }
    let yaml = Format::named("yaml").unwrap();
    let text = recorded::xz("serialize_yaml_fuzz.jsonl.xz");
    let mut equal = 0;
    for line in text.lines() {
        let row: Row = serde_json::from_str(line).unwrap();
        let body = yaml.body("mutex", [&*row.s].into_iter()).bytes;
        assert_eq!((yaml.values)(&body), Some(vec![row.s]), "{line}");
        assert_eq!(String::from_utf8(body).unwrap(), row.yaml, "{line}");
        equal += 1;
    }
    println!("serialize_yaml_fuzz.jsonl.xz: equal {equal}, failed 0");
    assert_eq!(equal, 5985);
}

#[test]
fn every_format_has_its_golden_file() {
    let values = ["192.0.2.1", "a b", "a\"b\\c<d>&'e'", "bücher.example", "https://example.net/?q=%41#x", "\u{1f600}"];
    for format in FORMATS {
        let path =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(format!("list.{}", format.extension));
        let body = format.body("url", values.iter().copied()).bytes;
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, &body).unwrap();
        }
        let golden = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert_eq!(String::from_utf8_lossy(&body), String::from_utf8_lossy(&golden), "{}", format.name);
    }
}

#[test]
fn every_format_is_in_the_readme_and_the_shipped_configuration() {
    let (readme, config) = (include_str!("../../README.md"), include_str!("../../config/config.yaml"));
    let (_, config) = config.split_once("Formats: ").unwrap();
    for Format { name, extension, content_type, .. } in FORMATS {
        let row = readme.lines().find(|line| line.starts_with(&format!("| `{name}` |"))).unwrap();
        assert!(row.contains(&format!("`1w.{extension}`, `{content_type}`")), "{row}");
        assert!(config[..200].contains(name), "{name}");
    }
}

/// Texts in which all that is special somewhere is frequent.
fn texts() -> impl Strategy<Value = Vec<String>> {
    let text = prop_oneof![
        any::<String>(),
        "[ -~]{0,200}",
        "[a '\"\\\\\n\r\t&<>é\u{85}\u{2028}\u{feff}\u{fffe}\u{1b}\u{0}😀-]{0,120}",
        "[-+0-9._:eExTZ ]{0,12}",
        "(y|Y|yes|No|NULL|null|~|=|<<|---|\\.\\.\\.|- a|a: b|\\? a|#a|a #b|\\[\\]|\\{\\}|!a|&a|\\*a|@a|`a|%a)",
    ];
    prop::collection::vec(text, 0..6)
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(list in texts()) {
        for name in ["json", "yaml", "b64", "xml"] {
            // The body of b64 that is empty is that of no value and of an empty one.
            let list = list.iter().map(String::as_str).filter(|text| name != "b64" || !text.is_empty());
            let kept = list.clone().filter(|text| name != "xml" || text.chars().all(is_xml));
            let kept: Vec<String> = kept.map(str::to_owned).collect();
            let format = Format::named(name).unwrap();
            let body = format.body("url", list);
            prop_assert_eq!(body.entries, kept.len() as u64, "{}", name);
            prop_assert_eq!((format.values)(&body.bytes), Some(kept), "{}", name);
        }
    }

    #[test]
    fn xml_is_what_an_xml_reader_takes(list in texts()) {
        let body = Format::named("xml").unwrap().body("x509-fingerprint-md5", list.iter().map(String::as_str)).bytes;
        let text = String::from_utf8(body).unwrap();
        let document = roxmltree::Document::parse(&text).unwrap();
        let root = document.root_element();
        prop_assert_eq!(root.tag_name().name(), "x509-fingerprint-md5");
        // Readers turn every line end into a line feed, this one not before an entity.
        let lines = |text: &str| text.replace("\r\n", "\n").replace('\r', "\n");
        let read: Vec<String> = root.children().map(|entry| lines(entry.text().unwrap_or_default())).collect();
        let kept: Vec<String> = list.iter().filter(|text| text.chars().all(is_xml)).map(|text| lines(text)).collect();
        prop_assert_eq!(read, kept);
    }

    #[test]
    fn yaml_and_json_are_ascii(list in texts()) {
        for name in ["json", "yaml"] {
            prop_assert!(Format::named(name).unwrap().body("url", list.iter().map(String::as_str)).bytes.is_ascii());
        }
    }

    #[test]
    fn paloalto_lines_are_sorted_unique_and_full(list in prop::collection::vec("(https?|ftp)?(://)?[ab:/?]{0,6}", 0..20)) {
        let body = Format::named("paloalto").unwrap().body("url", list.iter().map(String::as_str));
        let text = String::from_utf8(body.bytes).unwrap();
        let lines: Vec<&str> = text.split("\r\n").filter(|_| !text.is_empty()).collect();
        prop_assert_eq!(lines.len() as u64, body.entries);
        prop_assert!(lines.windows(2).all(|pair| pair[0] < pair[1]) && lines.iter().all(|line| !line.is_empty()));
    }
}
