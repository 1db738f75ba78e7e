//! Every format: equal to the recorded bodies of the Python Cratos, and to the golden files (renewed with UPDATE_GOLDEN=1).

use std::path::Path;

use cratos::render::{FORMATS, Format};
use serde::Deserialize;

use crate::recorded;

#[derive(Debug, Deserialize)]
struct Row {
    output: String,
    list: Vec<String>,
    body: String,
}

#[test]
fn every_recorded_body_is_written_to_the_byte() {
    let rows: Vec<Row> = recorded::rows(include_bytes!("../conformance/serialize.jsonl.gz"));
    assert_eq!(rows.len(), 702);
    for row in rows {
        let format = Format::named(&row.output).unwrap();
        let body = format.body(row.list.iter().map(String::as_str));
        assert_eq!(String::from_utf8(body).unwrap(), row.body, "{}: {:?}", row.output, row.list);
    }
}

#[test]
fn every_format_has_its_golden_file() {
    let values = ["192.0.2.1", "a b", "a\"b\\c<d>&'e'", "bücher.example", "https://example.net/?q=%41#x", "\u{1f600}"];
    for format in FORMATS {
        let path =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(format!("list.{}", format.extension));
        let body = format.body(values.iter().copied());
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, &body).unwrap();
        }
        let golden = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert_eq!(String::from_utf8_lossy(&body), String::from_utf8_lossy(&golden), "{}", format.name);
    }
}
