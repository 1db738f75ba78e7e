//! Tests of `wire.rs`.

use super::*;

const UUID: &str = "5e0e9a1c-0000-4000-8000-000000000001";

fn read(json: &str) -> Result<(Event, Vec<Attribute<'static>>), String> {
    let mut attributes = Vec::new();
    let event = event(json.as_bytes(), |_, attribute| {
        attributes.push(Attribute {
            kind: attribute.kind.clone().into_owned().into(),
            value: attribute.value.clone().into_owned().into(),
            tags: attribute.tags.iter().map(|tag| tag.clone().into_owned().into()).collect(),
            ..*attribute
        });
    })?;
    Ok((event, attributes))
}

#[test]
fn numbers_may_be_strings_and_objects_are_flattened() {
    let json = format!(
        r#"{{"Event":{{"uuid":"{UUID}","timestamp":"17","published":"1","x":1,"Tag":[{{"name":"a\/b"}}],
        "Orgc":{{"name":"o","uuid":"{UUID}"}},
        "Attribute":[{{"uuid":"{UUID}","type":"url","value":"http:\/\/x","timestamp":5,"to_ids":true,"Tag":null}}],
        "Object":[{{"Attribute":[{{"uuid":"{UUID}","type":"md5","value":"0","timestamp":"6","to_ids":"0"}}]}},
                  {{"deleted":true,"Attribute":[{{"uuid":"{UUID}","type":"md5","value":"0","timestamp":"6","to_ids":1}}]}}]}}}}"#
    );
    let (event, attributes) = read(&json).unwrap();
    assert_eq!((event.timestamp, event.published, event.tags.as_slice()), (17, true, &["a/b".to_owned()][..]));
    assert_eq!(attributes.len(), 2);
    assert_eq!(attributes[0].value, "http://x");
    assert!(!attributes[1].to_ids);
}

#[test]
fn a_malformed_attribute_is_counted_and_spoils_nothing() {
    let good = format!(r#"{{"uuid":"{UUID}","type":"md5","value":"x","timestamp":"6","to_ids":true}}"#);
    let bad = [
        format!(r#"{{"uuid":"{UUID}","type":"md5","value":null,"timestamp":"6","to_ids":true}}"#),
        format!(r#"{{"uuid":"{UUID}","type":"md5","value":12,"timestamp":"6","to_ids":true}}"#),
        format!(r#"{{"uuid":"{UUID}","type":"md5","timestamp":"6","to_ids":true}}"#),
        format!(r#"{{"uuid":"{UUID}","type":"md5","value":"\ud800","timestamp":"6","to_ids":true}}"#),
        format!(r#"{{"uuid":"{UUID}","type":"md5","value":"x","timestamp":"soon","to_ids":true}}"#),
        r#""text""#.to_owned(),
    ]
    .join(",");
    let json = format!(r#"{{"Event":{{"uuid":"{UUID}","timestamp":1,"Attribute":[{bad},{good}]}}}}"#);
    let (event, attributes) = read(&json).unwrap();
    assert_eq!((attributes.len(), event.malformed, event.published), (1, 6, true));
}

#[test]
fn what_is_no_event_is_an_error() {
    for bad in ["", "[]", "{}", r#"{"Event":{}}"#, r#"{"Event":{"uuid":"x","timestamp":1}}"#, r#"{"Event":"#] {
        assert!(read(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_row_tells_its_own_tags_from_those_of_its_event() {
    let json = format!(
        r#"{{"id":"7","type":"ip-dst","to_ids":true,"uuid":"{UUID}","timestamp":"1790000000","deleted":false,
        "value":"192.0.2.1","warnings":[{{"match":"x"}}],"Event":{{"id":"3","uuid":"{UUID}","published":true}},
        "Tag":[{{"id":"1","name":"own","local":false}},{{"id":"2","name":"events","inherited":1}}]}}"#
    );
    let row = row(json.as_bytes()).unwrap();
    assert_eq!((row.attribute.tags, row.event_tags), (vec!["own".into()], vec!["events".into()]));
    assert!(row.attribute.on_warninglist && row.attribute.to_ids && !row.deleted);
}

#[test]
fn a_malformed_row_still_names_its_event() {
    let event = Uuid::parse_str(UUID).unwrap();
    let of = |text: String| row(text.as_bytes()).unwrap_err();
    assert_eq!(of(format!(r#"{{"uuid":"{UUID}","value":1,"Event":{{"uuid":"{UUID}"}}}}"#)), Some(event));
    assert_eq!(of(format!(r#"{{"uuid":"{UUID}","type":"md5","value":"a","timestamp":1,"to_ids":1}}"#)), None);
    assert_eq!(of("{}".to_owned()), None);
}

#[test]
fn an_empty_list_of_warnings_is_none() {
    for (warnings, hit) in [("[]", false), ("[ ]", false), ("null", false), ("{}", false), (r#"{"0":{}}"#, true)] {
        let json = format!(
            r#"{{"type":"md5","to_ids":1,"uuid":"{UUID}","timestamp":1,"value":"x","warnings":{warnings},"Event":{{"uuid":"{UUID}"}}}}"#
        );
        assert_eq!(row(json.as_bytes()).unwrap().attribute.on_warninglist, hit, "{warnings}");
    }
}

#[test]
fn an_index_entry_may_hold_numbers_or_strings() {
    let upper = UUID.to_uppercase();
    for json in [
        format!(
            r#"{{"id":"4","timestamp":"9","sighting_timestamp":"0","published":true,"uuid":"{UUID}","orgc_uuid":"{upper}"}}"#
        ),
        format!(r#"{{"id":4,"timestamp":9,"published":1,"uuid":"{UUID}","orgc_uuid":"{UUID}"}}"#),
    ] {
        let entry = index_entry(json.as_bytes()).unwrap();
        assert_eq!((entry.id, entry.timestamp, entry.published), (4, 9, true));
        assert_eq!(entry.creator, entry.uuid);
    }
    assert!(index_entry(br#"{"id":"4","uuid":"x"}"#).is_err());
}
