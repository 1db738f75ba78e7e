//! The scripted MISP against recorded answers of a real one. Every file of `tests/misp-samples/` is named here: how the two
//! are compared, or why they are not.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::panic::catch_unwind;
use std::path::PathBuf;

use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};

use crate::misp::client::{Answer, Client};
use crate::misp::{ADMIN, Allowed, Misp, NewAttribute, NewEvent, READER, World, clocks, shape};

/// The key in the recorded requests; it stands for every good one.
const KEY: &str = "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk";
const BLOCK: &str = "example:incident-classification=block";
const FALSE_POSITIVE: &str = "example:incident-classification=false-positive";

/// How an answer is compared with the recorded one. Status, `X-` headers, content type and the names of all headers are
/// compared always.
enum Like {
    /// The same JSON.
    Whole,
    /// The same rows at the start; the recorded body was cut.
    Start,
    /// The same members and types.
    Shape,
    /// In a way of its own.
    Own(fn(&Sample)),
    /// Not at all, and why.
    Not(&'static str),
}
use Like::{Not, Own, Shape, Start, Whole};

/// Makes the recorded situation; the world has the rows of the recorded answer already.
type Scene = fn(&mut World);

const TABLE: &[(&str, u64, Scene, Like)] = &[
    ("allowedlist_page", ADMIN, allowed, Whole),
    ("allowedlist_page_empty", ADMIN, allowed, Whole),
    ("attributes_attributeStatistics", ADMIN, nothing, Own(statistics)),
    ("auth_expiring_key", ADMIN, expiring, Whole),
    ("clocks", ADMIN, nothing, Own(|sample| clocks::replay(&sample.0["steps"]))),
    ("err_01_invalid_key", ADMIN, nothing, Whole),
    ("err_02_short_key", ADMIN, nothing, Whole),
    ("err_03_no_key", ADMIN, nothing, Whole),
    ("err_04_basic_auth", ADMIN, nothing, Whole),
    ("err_05_bearer", ADMIN, nothing, Whole),
    ("err_06_disabled_user", READER, |world| world.users.get_mut(&READER).unwrap().disabled = true, Whole),
    ("err_07_no_perm_auth", READER, |world| world.users.get_mut(&READER).unwrap().role.auth = false, Whole),
    ("err_08_ip_restricted", READER, |world| world.keys.get_mut(KEY).unwrap().elsewhere = true, Whole),
    ("err_09_expired_key", READER, |world| world.keys.get_mut(KEY).unwrap().expires = Some(world.now), Whole),
    ("err_10_readonly_write", READER, nothing, Whole),
    ("err_11_malformed_json", ADMIN, nothing, Whole),
    ("err_12_empty_body", ADMIN, nothing, Own(everything)),
    ("err_13_empty_object", ADMIN, nothing, Own(everything)),
    ("err_13b_empty_list", ADMIN, nothing, Own(everything)),
    ("err_14_no_content_type", ADMIN, nothing, Own(everything)),
    ("err_15_no_accept", ADMIN, nothing, Whole),
    ("err_16_accept_html", ADMIN, nothing, Whole),
    ("err_16b_accept_html_bad_key", ADMIN, nothing, Start),
    ("err_17_unknown_type", ADMIN, blocked, Whole),
    ("err_18_unknown_returnformat", ADMIN, nothing, Whole),
    ("err_19_bad_timestamp", ADMIN, blocked, Whole),
    ("err_20_bad_timestamp_list", ADMIN, blocked, Whole),
    ("err_21_get_no_params", ADMIN, nothing, Whole),
    ("err_22_unknown_action", ADMIN, nothing, Whole),
    ("err_23_unknown_controller", ADMIN, nothing, Whole),
    ("err_24_event_not_found", ADMIN, nothing, Whole),
    ("err_event_not_visible", READER, hidden_event, Whole),
    ("err_maintenance_302", READER, |world| world.settings.maintenance = true, Start),
    ("events_index_limit2", ADMIN, nothing, Own(event_index)),
    ("events_index_minimal", ADMIN, nothing, Own(event_index)),
    ("events_restSearch_metadata", ADMIN, nothing, Not("attributes and the event index are enough for lists")),
    ("http_gzip_accept", ADMIN, |world| world.fill(4, Some(BLOCK), 81), Start),
    ("http_gzip_request", ADMIN, nothing, Own(packed)),
    ("http_if_none_match_304", ADMIN, nothing, Own(validated)),
    ("http_if_none_match_first", ADMIN, nothing, Own(validated)),
    ("paging_full_page", ADMIN, World::bulk, Start),
    ("paging_fully_filtered", ADMIN, World::bulk, Whole),
    ("paging_out_of_range", ADMIN, World::bulk, Whole),
    ("paging_short_last_page", ADMIN, World::bulk, Start),
    ("paging_short_out_of_range", ADMIN, World::bulk, Whole),
    ("paging_short_page", ADMIN, World::bulk, Start),
    ("pymisp_connect", ADMIN, nothing, Own(connected)),
    ("rate_limit_429", READER, nothing, Own(limited)),
    ("rate_limit_ok", READER, |world| world.users.get_mut(&READER).unwrap().role.rate_limit = Some(3), Whole),
    ("rate_limit_zero", READER, |world| world.users.get_mut(&READER).unwrap().role.rate_limit = Some(0), Whole),
    ("restSearch_deleted_0_1", ADMIN, nothing, Whole),
    ("restSearch_deleted_with_tags", ADMIN, |world| world.fill(28, Some(BLOCK), 2), Start),
    ("restSearch_includeAllTags", ADMIN, unexportable, Whole),
    ("restSearch_includeContext", ADMIN, nothing, Whole),
    ("restSearch_includeEventTags", ADMIN, |world| world.fill(23, Some(BLOCK), 44), Start),
    ("restSearch_includeEventUuid", ADMIN, nothing, Whole),
    ("restSearch_includeSightings", ADMIN, nothing, Whole),
    ("restSearch_includeWarninglistHits", ADMIN, nothing, Whole),
    ("restSearch_local_tag", READER, nothing, Whole),
    ("restSearch_not_fp_and_block", ADMIN, |world| with_decoys(world, Some(BLOCK), 49), Start),
    ("restSearch_not_fp_only", ADMIN, |world| with_decoys(world, None, 81), Start),
    ("restSearch_plain", ADMIN, nothing, Whole),
    ("restSearch_pymisp", ADMIN, some_listed, Start),
    ("restSearch_raw_wire", ADMIN, nothing, Own(on_the_wire)),
    ("servers_getVersion", ADMIN, nothing, Whole),
    ("servers_getVersion_readonly", READER, nothing, Whole),
    ("users_view_me", ADMIN, nothing, Shape),
    ("users_view_me_readonly", READER, nothing, Shape),
    ("values_as_stored", ADMIN, nothing, Not("it stores what a test gives; a test that wants raw values needs that")),
    ("visibility_all", ADMIN, nothing, Whole),
    ("visibility_none", READER, own_organisation_only, Whole),
    ("warninglists_checkValue", ADMIN, nothing, Not("nobody who makes lists asks it")),
    ("warninglists_index", ADMIN, nothing, Own(lists)),
    ("warninglists_view", ADMIN, nothing, Own(lists)),
];

#[test]
fn answers_as_the_real_one_did() {
    let names: BTreeSet<String> =
        fs::read_dir(folder()).unwrap().map(|file| file.unwrap().path()).filter_map(stem).collect();
    let known: BTreeSet<String> = TABLE.iter().map(|(name, ..)| (*name).to_owned()).collect();
    assert_eq!(names, known, "files, and the table of them");
    let failed: Vec<&str> = TABLE.iter().filter(|row| catch_unwind(|| check(row)).is_err()).map(|row| row.0).collect();
    assert!(failed.is_empty(), "not as recorded: {failed:?}");
}

fn check((name, user, scene, like): &(&str, u64, Scene, Like)) {
    let sample = Sample::read(name);
    match like {
        Not(reason) => assert!(!reason.is_empty()),
        Own(compare) => compare(&sample),
        _ => sample.compare(&sample.ask(&sample.staged(*user, *scene)), like),
    }
}

/// A recorded exchange.
struct Sample(Value);

impl Sample {
    fn read(name: &str) -> Self {
        Self(serde_json::from_slice(&fs::read(folder().join(format!("{name}.json"))).unwrap()).unwrap())
    }

    fn recorded(&self) -> &Value {
        &self.0["response"]["json"]
    }

    fn header(&self, name: &str) -> Option<&str> {
        let headers = self.0["response"]["headers"].as_array().unwrap();
        headers
            .iter()
            .find(|pair| pair[0].as_str().unwrap().eq_ignore_ascii_case(name))
            .map(|pair| pair[1].as_str().unwrap())
    }

    /// A server in the recorded situation, at the recorded time.
    fn staged(&self, user: u64, scene: Scene) -> Misp {
        let mut world = World::default();
        if let Some(date) = self.0["response"]["headers"].as_array().and_then(|_| self.header("date")) {
            world.now = jiff::fmt::rfc2822::parse(date).unwrap().timestamp().as_second();
        }
        world.key(KEY, user);
        world.reflect(self.recorded());
        scene(&mut world);
        Misp::of(world)
    }

    /// Sends the recorded request.
    fn ask(&self, misp: &Misp) -> Answer {
        let request = &self.0["request"];
        let body = match &request["body"] {
            Value::Null => Vec::new(),
            Value::String(raw) => raw.clone().into_bytes(),
            json => json.to_string().into_bytes(),
        };
        let unlike = |name: &str| !["content-length", "cookie"].contains(&name.to_ascii_lowercase().as_str());
        let headers = request["headers"].as_object().unwrap().iter().filter(|(name, _)| unlike(name));
        let headers: Vec<(&str, &str)> =
            headers.map(|(name, value)| (name.as_str(), value.as_str().unwrap())).collect();
        let (method, path) = (request["method"].as_str().unwrap(), request["path"].as_str().unwrap());
        Client::new(misp.port()).send(method, path, &headers, &body).unwrap()
    }

    fn compare(&self, ours: &Answer, like: &Like) {
        self.compare_heads(ours);
        let (json, recorded) = (ours.json(), self.recorded());
        match like {
            Shape => assert_eq!(shape::differences(&json, recorded), [""; 0]),
            Start => {
                let rows = recorded.pointer("/response/Attribute").and_then(Value::as_array).map_or(0, Vec::len);
                let start = json.pointer("/response/Attribute").and_then(Value::as_array).map(|all| &all[..rows]);
                assert_eq!(
                    start,
                    recorded.pointer("/response/Attribute").and_then(Value::as_array).map(|all| &all[..])
                );
            }
            _ => {
                assert_eq!(&json, recorded);
                // Free texts of rows were replaced after the length was recorded.
                if json.pointer("/response/Attribute/0").is_none() {
                    assert_eq!(ours.header("content-length"), self.header("content-length"), "length of {json}");
                }
            }
        }
    }

    fn compare_heads(&self, ours: &Answer) {
        assert_eq!(ours.status, self.0["response"]["status"].as_u64().unwrap() as u16, "{:?}", ours.json());
        let lower = |pair: &Value| (pair[0].as_str().unwrap().to_lowercase(), pair[1].as_str().unwrap().to_owned());
        let theirs: Vec<_> = self.0["response"]["headers"].as_array().unwrap().iter().map(lower).collect();
        let names = |headers: &[(String, String)]| -> BTreeSet<String> {
            headers.iter().map(|(name, _)| name.clone()).filter(|name| name != "connection").collect()
        };
        assert_eq!(names(&ours.headers), names(&theirs));
        for (name, value) in theirs.iter().filter(|(name, _)| name.starts_with("x-") || name == "content-type") {
            assert_eq!(ours.header(name), Some(value.as_str()), "{name}");
        }
        assert_eq!(ours.header("date"), self.header("date"));
    }
}

fn nothing(_: &mut World) {}

/// One row with the tag, which the filter must not find.
fn blocked(world: &mut World) {
    world.add_event(NewEvent { id: Some(4), ..NewEvent::new("") });
    world.fill(4, Some(BLOCK), 1);
}

/// Two rows with 198.51.100 in them, before the recorded one.
fn allowed(world: &mut World) {
    if !world.events.contains_key(&23) {
        world.add_event(NewEvent { id: Some(23), ..NewEvent::new("") });
    }
    for (id, value) in [(2185, "198.51.100.1"), (2186, "198.51.100.0/24")] {
        let new = NewAttribute { id: Some(id), ..NewAttribute::new("ip-src", value) };
        world.import_attribute(23, new);
    }
    world.settings.allowedlist.push(Allowed::Containing("198.51.100".into()));
}

fn expiring(world: &mut World) {
    world.keys.get_mut(KEY).unwrap().expires = Some(1_798_070_400);
}

fn hidden_event(world: &mut World) {
    world.add_event(NewEvent { id: Some(27), distribution: 0, ..NewEvent::new("") });
    world.fill(27, None, 1);
}

fn unexportable(world: &mut World) {
    let id = world.tag_id("example:unexportable").unwrap();
    world.tags.get_mut(&id).unwrap().exportable = false;
}

/// Rows of all three kinds that a negated tag must keep away: tagged itself, in a tagged event, both tags.
fn with_decoys(world: &mut World, tag: Option<&str>, count: usize) {
    world.fill(23, tag, count);
    for event in [24, 25] {
        world.add_event(NewEvent { id: Some(event), ..NewEvent::new("").tag(FALSE_POSITIVE) });
        world.fill(event, Some(BLOCK), 1);
    }
    let id = *world.event(25).attributes.keys().next().unwrap();
    world.untag_event(25, FALSE_POSITIVE);
    world.tag_attribute(id, FALSE_POSITIVE, false);
    world.add_event(NewEvent { id: Some(31), ..NewEvent::new("not asked for").tag(BLOCK) });
    world.fill(31, None, 1);
}

/// 31 more rows that match, one of them by the tag of its event, five of them on a warninglist, and some that do not match.
fn some_listed(world: &mut World) {
    with_decoys(world, Some(BLOCK), 30);
    let list = world.add_warninglist("five of them", &[]);
    let rows: Vec<u64> = world.event(23).attributes.keys().copied().collect();
    let values: Vec<String> = rows[10..15].iter().map(|id| world.attribute(*id).value.clone()).collect();
    values.iter().for_each(|value| world.add_to_warninglist(list, value));
    world.events.values_mut().for_each(|event| event.published = true);
}

fn own_organisation_only(world: &mut World) {
    world.reflect(Sample::read("visibility_all").recorded());
    assert_eq!(world.all().count(), 1);
}

/// What is said to be everything is more than one read of the database takes.
fn everything(sample: &Sample) {
    let misp = sample.staged(ADMIN, |world| {
        world.settings.memory_mb = 1.0;
        world.fill(1, None, 60);
    });
    let ours = sample.ask(&misp);
    assert_eq!((ours.status, ours.attributes().len()), (200, 62));
    assert_eq!(&ours.attributes()[..2], &sample.recorded()["response"]["Attribute"].as_array().unwrap()[..]);
    assert_eq!((ours.header("x-result-count"), ours.header("x-skipped-elements-count")), (Some("63"), Some("0")));
}

fn statistics(sample: &Sample) {
    let misp = sample.staged(ADMIN, nothing);
    let kinds: Vec<String> = sample.recorded().as_object().unwrap().keys().cloned().collect();
    let event = misp.world().add_event(NewEvent::new("one of each"));
    for kind in kinds {
        misp.world().add_attribute(event, NewAttribute::new(&kind, "1"));
    }
    sample.compare(&sample.ask(&misp), &Shape);
}

fn event_index(sample: &Sample) {
    let misp = sample.staged(ADMIN, nothing);
    let shown = sample.recorded().as_array().unwrap();
    misp.world().reflect_index(shown, 34);
    let is_minimal = sample.0["request"]["body"]["minimal"] == true;
    sample.compare(&sample.ask(&misp), if is_minimal { &Whole } else { &Shape });
}

/// The recorded bytes are shown as Python writes them; the same request is packed anew.
fn packed(sample: &Sample) {
    let misp = sample.staged(ADMIN, nothing);
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(json!({"returnFormat": "json", "tags": [BLOCK], "limit": 2}).to_string().as_bytes()).unwrap();
    let headers = [
        ("Authorization", KEY),
        ("Accept", "application/json"),
        ("Content-Type", "application/json"),
        ("Content-Encoding", "gzip"),
    ];
    let body = encoder.finish().unwrap();
    sample.compare(&Client::new(misp.port()).send("POST", "/attributes/restSearch", &headers, &body).unwrap(), &Whole);
}

/// An ETag comes when one was sent, and sent back it gives an empty 304.
fn validated(_: &Sample) {
    let first = Sample::read("http_if_none_match_first");
    let mut second = Sample::read("http_if_none_match_304");
    let misp = first.staged(ADMIN, nothing);
    let ours = first.ask(&misp);
    let tag = ours.header("etag").unwrap().to_owned();
    assert_eq!(tag.len(), first.header("etag").unwrap().len());
    first.compare(&ours, &Whole);
    second.0["request"]["headers"]["If-None-Match"] = tag.into();
    let ours = second.ask(&misp);
    second.compare_heads(&ours);
    assert!(ours.body.is_empty());
}

fn limited(sample: &Sample) {
    let misp = sample.staged(READER, |world| world.users.get_mut(&READER).unwrap().role.rate_limit = Some(3));
    misp.world().advance(-1);
    for left in ["2", "1", "0"] {
        assert_eq!(sample.ask(&misp).header("x-rate-limit-remaining"), Some(left));
    }
    misp.world().advance(1);
    sample.compare(&sample.ask(&misp), &Whole);
    misp.world().advance(900);
    assert_eq!(sample.ask(&misp).status, 200, "the next quarter of an hour");
}

/// The third request is for describeTypes, which only PyMISP wants.
fn connected(sample: &Sample) {
    let misp = sample.staged(ADMIN, nothing);
    for exchange in &sample.0["requests"].as_array().unwrap()[..2] {
        assert_eq!(u64::from(Sample(exchange.clone()).ask(&misp).status), exchange["response"]["status"]);
    }
}

fn on_the_wire(sample: &Sample) {
    let recorded = sample.0["response"]["text"].as_str().unwrap();
    let misp = sample.staged(ADMIN, nothing);
    misp.world().reflect(&serde_json::from_str(recorded).unwrap());
    let ours = sample.ask(&misp);
    assert_eq!(String::from_utf8(ours.body).unwrap().trim_end(), recorded.trim_end());
}

fn lists(sample: &Sample) {
    let misp = sample.staged(ADMIN, nothing);
    misp.world().reflect_warninglists(sample.recorded());
    let ours = sample.ask(&misp);
    sample.compare_heads(&ours);
    assert_eq!(shape::differences(&ours.json(), sample.recorded()), [""; 0]);
    if sample.recorded()["Warninglists"].is_array() {
        assert_eq!(&ours.json(), sample.recorded());
    }
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/misp-samples")
}

/// The name of a sample's file; none for other files.
fn stem(path: PathBuf) -> Option<String> {
    let is_sample = path.extension().is_some_and(|extension| extension == "json");
    is_sample.then(|| path.file_stem().unwrap().to_str().unwrap().to_owned())
}
