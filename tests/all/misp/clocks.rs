//! Replays the recorded list of actions, one by one, and compares what each of them moved.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{NewAttribute, NewEvent, Via, World};

/// What the recording looks at before and after a step.
#[derive(Clone, Copy)]
struct Looked {
    published: bool,
    timestamp: i64,
    publish_timestamp: i64,
    /// Time and deletion of the attribute; none once it is gone.
    row: Option<(i64, bool)>,
}

/// An event with two rows: the first is what most steps touch.
struct Scene {
    world: World,
    event: u64,
    first: u64,
    second: u64,
}

/// Every recorded step must move what it moved on the real server.
pub fn replay(steps: &Value) {
    let mut world = World::default();
    let event = world.add_event(NewEvent::new("clocks"));
    let [first, second] =
        ["198.18.9.1", "198.18.9.3"].map(|value| world.add_attribute(event, NewAttribute::new("ip-dst", value)));
    let mut scene = Scene { world, event, first, second };
    let steps = steps.as_array().expect("steps");
    assert!(steps.len() > 40, "the recording is whole");
    for step in steps {
        let name = step["step"].as_str().expect("a name");
        let watched = if name.ends_with("#2") { second } else { first };
        let before = scene.look(watched);
        scene.world.advance(10);
        scene.act(name);
        let moved = moved(before, scene.look(watched));
        let recorded = step.as_object().expect("members").iter().filter(|(name, _)| name.contains('.'));
        let recorded: BTreeMap<_, _> =
            recorded.map(|(name, value)| (name.as_str(), value.as_str().expect("text"))).collect();
        let moved: BTreeMap<_, _> = moved.iter().map(|(name, value)| (*name, value.as_str())).collect();
        assert_eq!(moved, recorded, "{name}");
    }
}

impl Scene {
    fn look(&self, row: u64) -> Looked {
        let event = self.world.event(self.event);
        Looked {
            published: event.published,
            timestamp: event.timestamp,
            publish_timestamp: event.publish_timestamp,
            row: event.attributes.get(&row).map(|row| (row.timestamp, row.deleted)),
        }
    }

    fn act(&mut self, step: &str) {
        const TAG: &str = "clocks:tag";
        let Self { world, event, first, second } = self;
        let (event, first, second) = (*event, *first, *second);
        match step {
            "publish" | "publish again (already published)" => world.publish(event),
            "unpublish" => world.unpublish(event),
            "add global tag to attribute (/attributes/addTag)"
            | "add same tag again"
            | "attachTagToObject attribute uuid" => world.tag_attribute(first, TAG, false),
            "remove global tag from attribute" => world.untag_attribute(first, TAG, Via::Ui),
            "removeTagFromObject attribute uuid" => world.untag_attribute(first, TAG, Via::Api),
            "add LOCAL tag to attribute" => world.tag_attribute(first, TAG, true),
            "remove LOCAL tag from attribute" => world.untag_attribute(first, TAG, Via::Api),
            "add global tag to event (/events/addTag)" | "attachTagToObject event uuid global" => {
                world.tag_event(event, TAG, false);
            }
            "remove global tag from event" | "removeTagFromObject event uuid" | "remove LOCAL tag from event" => {
                world.untag_event(event, TAG);
            }
            "add LOCAL tag to event" => world.tag_event(event, TAG, true),
            "edit attribute to_ids=0" => assert!(world.edit_attribute(first, |row| row.to_ids = false)),
            "edit attribute, nothing changed" => assert!(world.edit_attribute(first, |_| ())),
            "edit event info" => world.edit_event(event, |event| event.info = "other words".into()),
            "edit event distribution 1->3" => world.set_event_distribution(event, 3),
            "add a new attribute" => {
                assert_ne!(world.add_attribute(event, NewAttribute::new("ip-dst", "198.18.9.4")), first)
            }
            "soft delete attribute #1" => world.delete_attribute(first),
            "restore attribute #1" => world.restore_attribute(first),
            "hard delete attribute #2" => world.hard_delete_attribute(second),
            "add sighting" => world.sighting(first, 0),
            "add false-positive sighting" => world.sighting(first, 1),
            "toggle correlation" => world.toggle_correlation(first),
            "enable warninglist (global)" => {
                let list = world.add_warninglist("all of it", &["198.18.9.1"]);
                world.enable_warninglist(list, true);
            }
            "rename tag" => world.rename_tag(TAG, "clocks:other"),
            other => panic!("unknown step {other}"),
        }
    }
}

/// In the words of the recording.
fn moved(before: Looked, after: Looked) -> [(&'static str, String); 5] {
    let flag = |before: bool, after: bool| match (before, after) {
        (false, true) => "0->1",
        (true, false) => "1->0",
        _ => "same",
    };
    let time = |before: i64, after: i64| if after > before { "BUMPED" } else { "same" };
    let (row_time, row_deleted) = match (before.row, after.row) {
        (Some(before), Some(after)) => (time(before.0, after.0), flag(before.1, after.1)),
        (Some(_), None) => ("BUMPED", "0->gone"),
        (None, _) => panic!("the row was gone before"),
    };
    [
        ("event.published", flag(before.published, after.published).into()),
        ("event.timestamp", time(before.timestamp, after.timestamp).into()),
        ("event.publish_timestamp", time(before.publish_timestamp, after.publish_timestamp).into()),
        ("attr.timestamp", row_time.into()),
        ("attr.deleted", row_deleted.into()),
    ]
}
