//! Filters, order and paging.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{BLOCK, pages, search, world_of};
use crate::misp::client::Client;
use crate::misp::{ADMIN_KEY, Misp, NewAttribute, NewEvent, Order, READER, READER_KEY, ResultCount};

#[test]
fn pages_cover_everything_once_in_every_order() {
    let misp = Misp::of(world_of(57));
    let listed: Vec<String> = (20..40).map(|at| format!("192.0.2.{at}")).collect();
    let entries: Vec<&str> = listed.iter().map(String::as_str).collect();
    misp.world().add_warninglist("in the middle", &entries);
    for order in [Order::Id, Order::Event, Order::Timestamp, Order::Random] {
        misp.world().settings.default_order = order;
        for limit in [2, 7, 10, 57, 100] {
            let (values, _) = pages(&misp, &json!({"enforceWarninglist": 1}), limit);
            let unique: BTreeSet<&String> = values.iter().collect();
            assert_eq!((values.len(), unique.len()), (37, 37), "{order:?}, limit {limit}");
        }
    }
}

#[test]
fn an_unlimited_search_is_cut_silently_at_the_cap() {
    let misp = Misp::of(world_of(57));
    misp.world().settings.memory_mb = 0.4;
    misp.world().add_warninglist("one of them", &["192.0.2.3"]);
    let answer = Client::new(misp.port()).search(ADMIN_KEY, &json!({"enforceWarninglist": 1}));
    assert_eq!((answer.values().len(), answer.header("x-result-count")), (19, Some("20")));
    assert_eq!(search(&misp, json!({})).len(), 57, "without the warninglist there is no cut");
    let answer = Client::new(misp.port()).search(ADMIN_KEY, &json!({"enforceWarninglist": 1, "limit": 30}));
    assert_eq!((answer.values().len(), answer.header("x-result-count")), (19, Some("20")), "looks like the last page");
    misp.world().settings.memory_rows = Some(50);
    assert_eq!(Client::new(misp.port()).search(ADMIN_KEY, &json!({})).status, 500);
    assert_eq!(search(&misp, json!({"limit": 10})).len(), 10);
}

#[test]
fn older_servers_count_otherwise() {
    let misp = Misp::of(world_of(25));
    let count = |page: u64| {
        let answer = Client::new(misp.port()).search(ADMIN_KEY, &json!({"limit": 10, "page": page}));
        assert_eq!(answer.header("x-skipped-elements-count"), None);
        answer.header("x-result-count").unwrap().to_owned()
    };
    misp.world().settings.skipped_header = false;
    misp.world().settings.result_count = ResultCount::Cumulative;
    assert_eq!([count(1), count(2), count(3), count(4)], ["11", "21", "25", "31"]);
    misp.world().settings.result_count = ResultCount::Total;
    assert_eq!([count(1), count(3), count(4)], ["25", "25", "25"]);
}

#[test]
fn filters_mean_what_they_mean_there() {
    let mut world = world_of(3);
    let event = world.add_event(NewEvent::new("other").of(2).tag("tlp:red"));
    for (kind, value) in
        [("email-src", "a@example.org"), ("email", "b@example.org"), ("domain|ip", "c.example|192.0.2.1")]
    {
        world.add_attribute(event, NewAttribute::new(kind, value).not_to_ids());
    }
    let (uuid, creator) = (world.event(event).uuid.clone(), world.organisations[&2].uuid.clone());
    let misp = Misp::of(world);
    for (body, expected) in cases(event, &uuid, &creator) {
        assert_eq!(search(&misp, body.clone()).len(), expected, "{body}");
    }
    let refused = Client::new(misp.port()).search(ADMIN_KEY, &json!({"from": "2026-01-01"}));
    assert_eq!(refused.status, 501, "a filter that is not acted out must not pass for none");
    assert_eq!(Client::new(misp.port()).search(ADMIN_KEY, &json!({"limit": "abc"})).status, 500);
}

/// Searches in a world of three tagged, published rows and three others; how many rows each finds.
fn cases(event: u64, uuid: &str, creator: &str) -> Vec<(Value, usize)> {
    vec![
        (json!({"published": 1}), 3),
        (json!({"published": false}), 6),
        (json!({"published": 0}), 3),
        (json!({"published": "false"}), 3),
        (json!({"published": [0, 1]}), 6),
        (json!({"to_ids": "exclude"}), 3),
        (json!({"to_ids": false}), 6),
        (json!({"type": ["email-src"]}), 2),
        (json!({"type": ["EMAIL-SRC"]}), 1),
        (json!({"type": ["!ip-dst"]}), 3),
        (json!({"type": ["email%"]}), 2),
        (json!({"type": []}), 6),
        (json!({"type": [""]}), 0),
        (json!({"tags": [BLOCK]}), 3),
        (json!({"tags": ["tlp:%"]}), 6),
        (json!({"tags": ["TLP:BLOCK"]}), 0),
        (json!({"tags": ["!tlp:red"]}), 3),
        (json!({"tags": ["!tlp:rde"]}), 6),
        (json!({"tags": {"AND": [BLOCK, "tlp:red"]}}), 0),
        (json!({"tags": {"OR": [BLOCK, "tlp:red"], "NOT": [BLOCK]}}), 3),
        (json!({"tags": format!("{BLOCK}&&!tlp:red")}), 3),
        (json!({"tags": format!("{BLOCK}||tlp:red")}), 6),
        (json!({"tags": []}), 6),
        (json!({"tags": [""]}), 0),
        (json!({"value": "192.0.2.1"}), 2),
        (json!({"value": "!192.0.2.1"}), 6),
        (json!({"value": "%.org"}), 2),
        (json!({"org": creator}), 3),
        (json!({"org": "Org-B"}), 3),
        (json!({"org": "org-b"}), 0),
        (json!({"org": ["!2"]}), 3),
        (json!({"org": "!nobody"}), 6),
        (json!({"eventid": [event, "1"]}), 6),
        (json!({"eventid": uuid}), 3),
        (json!({"eventid": ["!1"]}), 3),
        (json!({"timestamp": "1h"}), 6),
        (json!({"timestamp": "2038-01-01"}), 0),
        (json!({"timestamp": ["2020-01-01", "2038-01-01"]}), 6),
        (json!({"timestamp": 0}), 6),
        (json!({"timestamp": null}), 6),
        (json!({"event_tags": ["tlp:red"], "quickFilter": "x"}), 6),
        (json!({"deleted": [0, 1]}), 6),
        (json!({"deleted": "only"}), 0),
        (json!({"request": {"published": 1}}), 3),
    ]
}

#[test]
fn order_is_kept_and_an_unknown_one_ignored() {
    let mut world = world_of(3);
    world.settings.default_order = Order::Timestamp;
    let first = world.event(1).attributes.values().next().unwrap().id;
    world.advance(5);
    world.edit_attribute(first, |_| ());
    let misp = Misp::of(world);
    let by = |order: &str| search(&misp, json!({"order": order})).first().unwrap().clone();
    assert_eq!(
        [by("Attribute.id asc"), by("Attribute.id desc"), by("nonsense")],
        ["192.0.2.0", "192.0.2.2", "192.0.2.1"]
    );
}

#[test]
fn a_user_setting_fills_in_what_is_not_sent() {
    let misp = Misp::of(world_of(9));
    misp.world().users.get_mut(&READER).unwrap().default_search.insert("limit".into(), json!(5));
    let mut client = Client::new(misp.port());
    assert_eq!(client.search(READER_KEY, &json!({})).values().len(), 5);
    assert_eq!(client.search(READER_KEY, &json!({"limit": 7})).values().len(), 7);
}
