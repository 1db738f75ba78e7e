//! Visibility, warninglists, tags, imports, the recorded data set.

use std::path::Path;

use serde_json::{Value, json};

use super::{BLOCK, search, world_of};
use crate::misp::client::Client;
use crate::misp::{ADMIN_KEY, Misp, NewAttribute, NewEvent, READER_KEY, Via, World};

#[test]
fn another_organisation_sees_what_is_shared() {
    let mut world = World::default();
    let event = world.add_event(NewEvent::new("shared"));
    world.add_attribute(event, NewAttribute::new("ip-dst", "192.0.2.1"));
    world.add_attribute(event, NewAttribute { distribution: 0, ..NewAttribute::new("ip-dst", "192.0.2.2") });
    world.add_attribute(event, NewAttribute { object: Some(0), ..NewAttribute::new("ip-dst", "192.0.2.3") });
    let hidden = world.add_event(NewEvent { distribution: 0, ..NewEvent::new("hidden") });
    world.add_attribute(hidden, NewAttribute::new("ip-dst", "192.0.2.4"));
    let values = |world: &World, key: &str| world.rows(key).into_iter().map(|row| row.value).collect::<Vec<_>>();
    assert_eq!((values(&world, ADMIN_KEY).len(), values(&world, READER_KEY)), (4, vec!["192.0.2.1".to_owned()]));
    assert_eq!(world.index(READER_KEY).len(), 1);
    world.set_event_distribution_quietly(hidden, 1);
    let before = world.event(hidden).timestamp;
    assert_eq!((values(&world, READER_KEY).len(), world.event(hidden).timestamp), (2, before));
    world.settings.unpublishedprivate = true;
    assert_eq!(values(&world, READER_KEY).len(), 0);
    world.publish(event);
    let misp = Misp::of(world);
    assert_eq!(Client::new(misp.port()).search(READER_KEY, &json!({})).values(), ["192.0.2.1"]);
    let ours = Client::new(misp.port()).json("POST", "/events/index", READER_KEY, &json!({"minimal": true}));
    assert_eq!((ours.json().as_array().unwrap().len(), ours.header("x-result-count")), (1, Some("1")));
}

#[test]
fn warninglists_come_and_go_without_a_clock() {
    let mut world = world_of(3);
    let list = world.add_warninglist("some", &["192.0.2.1"]);
    let before: Vec<_> = world.index(ADMIN_KEY);
    let listed = |world: &World| world.rows(ADMIN_KEY).iter().filter(|row| row.on_warninglist).count();
    assert_eq!(listed(&world), 1);
    world.add_to_warninglist(list, "192.0.2.2");
    assert_eq!((listed(&world), world.warninglists[&list].version, world.warninglists[&list].entry_count), (2, 2, 2));
    world.remove_from_warninglist(list, "192.0.2.1");
    world.enable_warninglist(list, false);
    assert_eq!((listed(&world), world.warninglists[&list].version), (0, 3));
    world.enable_warninglist(list, true);
    assert_eq!((listed(&world), world.index(ADMIN_KEY)), (1, before));
    let misp = Misp::of(world);
    misp.world().attribute_mut(3).to_ids = false;
    let row = |body| Client::new(misp.port()).search(ADMIN_KEY, &body).attributes().last().unwrap().clone();
    assert!(row(json!({"includeWarninglistHits": 1})).get("warnings").is_none(), "only for to_ids");
    assert_eq!(search(&misp, json!({"enforceWarninglist": 1})).len(), 2, "whatever its to_ids");
    let enabled =
        |on: u8| Client::new(misp.port()).json("POST", "/warninglists/index", READER_KEY, &json!({"enabled": on}));
    assert_eq!(
        (
            enabled(1).json()["Warninglists"].as_array().unwrap().len(),
            enabled(0).json()["Warninglists"].as_array().unwrap().len()
        ),
        (1, 0)
    );
}

#[test]
fn tags_are_found_and_counted() {
    let mut world = world_of(3);
    world.add_tag("TLP:BLOCK2");
    let tag = world.tag_id(BLOCK).unwrap();
    world.untag_attribute(1, BLOCK, Via::Ui);
    let misp = Misp::of(world);
    let mut client = Client::new(misp.port());
    let found = client.json("POST", "/tags/search", READER_KEY, &json!({"tag": [BLOCK]})).json();
    assert_eq!((found.as_array().unwrap().len(), &found[0]["Tag"]["name"]), (1, &json!(BLOCK)));
    let found = client.json("POST", "/tags/search", READER_KEY, &json!({"tag": ["tlp:%"]})).json();
    assert_eq!(found.as_array().unwrap().len(), 2, "case does not matter here");
    let view = client.json("GET", &format!("/tags/view/{tag}"), READER_KEY, &Value::Null).json();
    assert_eq!((&view["attribute_count"], &view["count"], &view["name"]), (&json!(2), &json!(0), &json!(BLOCK)));
    assert_eq!(client.json("GET", "/tags/index", READER_KEY, &Value::Null).json()["Tag"].as_array().unwrap().len(), 2);
    misp.world().delete_tag(BLOCK);
    assert_eq!(search(&misp, json!({"tags": [BLOCK]})).len(), 0);
    assert_eq!(search(&misp, json!({"tags": [format!("!{BLOCK}")]})).len(), 3);
}

#[test]
fn imports_keep_their_authors_clocks() {
    let mut world = World::default();
    let new = NewEvent { uuid: Some("e".into()), timestamp: Some(1_600_000_000), ..NewEvent::new("from elsewhere") };
    let id = world.import_event(new.clone(), vec![NewAttribute::new("md5", "00").at(1_500_000_000)]);
    let event = world.event(id);
    assert_eq!((event.published, event.timestamp, event.publish_timestamp), (true, 1_600_000_000, world.now));
    assert_eq!(event.attributes.values().next().unwrap().timestamp, 1_500_000_000);
    world.advance(60);
    assert_eq!(
        world.import_event(NewEvent { timestamp: Some(1_600_000_001), ..new }, vec![NewAttribute::new("md5", "01")]),
        id
    );
    assert_eq!((world.event(id).timestamp, world.event(id).attributes.len()), (1_600_000_001, 2));
}

#[test]
fn twins_are_not_stored() {
    let mut world = world_of(2);
    let (first, second) = (1, 2);
    world.advance(9);
    assert_eq!(world.add_attribute(1, NewAttribute::new("ip-dst", "192.0.2.0")), first);
    assert!(!world.edit_attribute(second, |row| row.value = "192.0.2.0".into()));
    assert!(world.event(1).published, "nothing moved");
    world.delete_attribute(first);
    assert!(world.edit_attribute(second, |row| row.value = "192.0.2.0".into()));
}

#[test]
fn a_recorded_data_set_answers_as_its_server_did() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/misp-data");
    let misp = Misp::of(World::load(&dir));
    let keys =
        [("admin", "PublicAdminKey00000000000000000000000001"), ("userB", "PublicUserBKey00000000000000000000000001")];
    for (name, key) in keys {
        let recorded = recorded(&dir, name);
        let mut client = Client::new(misp.port());
        let index = client.json("POST", "/events/index", key, &json!({"minimal": true}));
        assert_eq!(index.json(), recorded["events_index_minimal"], "{name}");
        let mut ids = |body: Value| -> Vec<u64> {
            let rows = client.search(key, &body).attributes();
            rows.iter().map(|row| row["id"].as_str().unwrap().parse().unwrap()).collect()
        };
        assert_eq!(json!(ids(json!({"deleted": [0, 1]}))), recorded["visible_ids"], "{name}");
        let passed = json!(ids(json!({"deleted": [0, 1], "enforceWarninglist": 1})));
        assert_eq!(passed, recorded["after_enforceWarninglist"], "{name}");
        let truth: Vec<u64> = misp.world().rows(key).into_iter().map(|row| row.id).collect();
        assert_eq!(truth, ids(json!({})), "{name}");
    }
}

fn recorded(dir: &Path, name: &str) -> Value {
    let file = dir.join(format!("key-{name}.json.gz"));
    serde_json::from_reader(flate2::read::GzDecoder::new(std::fs::File::open(file).unwrap())).unwrap()
}
