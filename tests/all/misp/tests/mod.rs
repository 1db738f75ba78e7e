//! The scripted MISP's own tests: what the recorded samples do not show.

use serde_json::{Value, json};

use super::client::Client;
use super::{ADMIN_KEY, Misp, NewAttribute, NewEvent, World};

mod search;
mod server;
mod world;

const BLOCK: &str = "tlp:block";

/// One published event with so many rows, tagged; each has its own value.
fn world_of(rows: usize) -> World {
    let mut world = World::default();
    let event = world.add_event(NewEvent::new("rows"));
    for at in 0..rows {
        world.add_attribute(event, NewAttribute::new("ip-dst", format!("192.0.2.{at}")).tag(BLOCK));
    }
    world.publish(event);
    world
}

fn search(misp: &Misp, body: Value) -> Vec<String> {
    Client::new(misp.port()).search(ADMIN_KEY, &body).values()
}

/// All pages, by the rule of MISP 2.5.1; and how many there were.
fn pages(misp: &Misp, body: &Value, limit: u64) -> (Vec<String>, u64) {
    let (mut client, mut body, mut out) = (Client::new(misp.port()), body.clone(), Vec::new());
    for page in 1.. {
        body["limit"] = limit.into();
        body["page"] = page.into();
        let answer = client.search(ADMIN_KEY, &body);
        out.extend(answer.values());
        if answer.header("x-result-count").unwrap().parse::<u64>().unwrap() < limit {
            return (out, page);
        }
    }
    unreachable!()
}
