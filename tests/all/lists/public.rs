//! `public_data.jsonl.xz`: the lists of the public data set, and what is said of its MISP, which a real MISP held when they were recorded. The double holds
//! it here, with all times moved so that ages are as recorded.

use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

use super::bodies;
use super::ids::{Id, Truth};
use super::member::Member;
use super::served::{ALL_FEEDS, LIKE_RECORDED, SITE, config, not_yet, warm};
use super::tally::Tally;
use super::target::Wanted;
use crate::cmd::{Server, wait_for};
use crate::dir::{self, Dir};
use crate::http::Client;
use crate::misp::{Misp, World};
use crate::recorded;

#[derive(Deserialize)]
struct Row {
    /// Whose: `admin` or `userB`.
    token: String,
    url: String,
    status: u16,
    content_type: String,
    body: String,
}

/// Rows under each id.
const DECIDED: [(Id, usize); 5] = [("D1", 68), ("D5", 158), ("D6", 78), ("D9", 156), ("D10", 6)];

/// The two users and their keys. The site file names none: both are learned.
const KEYS: [(&str, &str); 2] =
    [("admin", "PublicAdminKey00000000000000000000000001"), ("userB", "PublicUserBKey00000000000000000000000001")];

#[test]
fn every_recorded_list_of_the_public_data_is_as_recorded_or_as_decided() {
    let now = dir::now();
    let misp = Misp::of(world(now));
    let dir = Dir::new("");
    config(&dir, dir::ENCRYPTION_KEY, dir::SALT, "");
    let text = recorded::xz("public_data.jsonl.xz");
    let rows: Vec<Row> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.len(), 2488);
    let publish = format!("publish:\n  feeds: {ALL_FEEDS}\n  ages: [10y]\n  formats: [{}]\n", formats());
    dir.site(SITE, &format!("{LIKE_RECORDED}mispUrl: \"{}\"\nrefresh: 1h\n{publish}", misp.url()));
    let server = Server::start(&dir);
    let mut tally = Tally::default();
    for (name, key) in KEYS {
        let members = misp.world().rows(key).into_iter().map(Member::of_world).collect();
        let truth = Truth { members, now, literally: false };
        let token = dir::token(SITE, key, "2099-12-31");
        let mut client = Client::new(server.port);
        wait_for("a list", Duration::from_secs(60), || {
            client.get("/v1/feed/any/type/ipv4/age/10y/output/txt", &[("token", &token)]).status == 200
        });
        let own = rows.iter().filter(|row| row.token == name && not_yet(&row.url).is_none());
        let targets: Vec<&str> = own.map(|row| &*row.url).filter(|url| !url.contains("/10y")).collect();
        warm(server.port, &targets, &token);
        for row in rows.iter().filter(|row| row.token == name) {
            replay(row, &truth, &token, &mut client, &mut tally);
        }
    }
    tally.check("public_data", rows.len(), &DECIDED);
}

/// The recorded world, as old now as it was then.
fn world(now: i64) -> World {
    let mut world = World::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/misp-data"));
    let shift = now - world.now;
    world.now = now;
    for event in world.events.values_mut() {
        for clock in [&mut event.timestamp, &mut event.publish_timestamp, &mut event.sighting_timestamp] {
            *clock += if *clock > 0 { shift } else { 0 };
        }
        event.attributes.values_mut().for_each(|row| row.timestamp += shift);
    }
    world
}

fn formats() -> String {
    cratos::render::FORMATS.iter().map(|format| format.name).collect::<Vec<_>>().join(", ")
}

/// What MISP says of itself, without the moment and the address of its recording; the number of the server is the double's.
fn about_misp(row: &Row, token: &str, client: &mut Client, tally: &mut Tally) {
    let settle = |text: &str| {
        let text = text.replace("2a161f18-8838-4775-b76e-274ea23aa0e5", "00000000-0000-4000-8000-000000000001");
        text.split_once(",\"misp_host\":").map_or(text.clone(), |(before, _)| before.to_owned())
    };
    let answer = client.get(&row.url, &[("token", token)]);
    let is = (answer.status, answer.header("content-type"), settle(&answer.text()));
    if is == (row.status, Some(&*row.content_type), settle(&row.body)) {
        tally.equal();
    } else {
        tally.failed(format!("{} {}: {is:?}\n--- expected\n{}", row.token, row.url, row.body));
    }
}

fn replay(row: &Row, truth: &Truth, token: &str, client: &mut Client, tally: &mut Tally) {
    let Some(wanted) = Wanted::read(&row.url) else { return about_misp(row, token, client, tally) };
    let kind = bodies::content_type(&wanted.format);
    assert_eq!((row.status, &*row.content_type), (200, kind), "{}", row.url);
    let (ids, body) = match truth.expect(&wanted, &row.body) {
        Ok(expected) => expected,
        Err(what) => return tally.failed(format!("{} {}: {what}", row.token, row.url)),
    };
    if let Some(reason) = not_yet(&row.url) {
        return tally.pending(reason, &ids);
    }
    let answer = client.get(&row.url, &[("token", token)]);
    let body = bodies::settle(&body, &answer.text());
    if (answer.status, answer.header("content-type"), answer.text()) != (200, Some(kind), body.clone()) {
        tally.failed(format!("{} {ids:?}: {} {:?}\n--- expected\n{body}", row.url, answer.status, answer.text()));
    } else if ids.is_empty() {
        tally.equal();
    } else {
        tally.under(&ids);
    }
}
