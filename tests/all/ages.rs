//! Where every age begins: equal to what the Python Cratos answered, in four time zones.

use std::io::Read;

use cratos::index::Age;
use flate2::read::GzDecoder;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Deserialize;

#[derive(Debug, Deserialize)]
struct Row {
    tz: String,
    now_unix: i64,
    age: String,
    timestamp: i64,
}

#[test]
fn every_recorded_age_begins_where_python_says() {
    let mut json = String::new();
    GzDecoder::new(&include_bytes!("../conformance/ages.json.gz")[..]).read_to_string(&mut json).unwrap();
    let rows: Vec<Row> = serde_json::from_str(&json).unwrap();
    assert_eq!(rows.len(), 1056);
    for row in rows {
        let now = Timestamp::from_second(row.now_unix).unwrap();
        let zone = TimeZone::get(&row.tz).unwrap();
        assert_eq!(Age::named(&row.age).unwrap().since(now, &zone), row.timestamp, "{row:?}");
    }
}
