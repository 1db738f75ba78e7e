//! What must never get out: put through real refreshes. `traps` are the values, `settings` what an operator writes, `served`
//! what was published before they wrote it, `warninglists` what a MISP is asked for.

mod served;
mod settings;
mod traps;
mod warninglists;

use std::collections::BTreeMap;

use crate::misp::{NewAttribute, World};
use crate::source::{BLOCK, Source, add, settle};

/// A world in which one published event with the tag of `block` has these rows.
fn world(rows: &[(&str, &str)]) -> World {
    let mut world = World::default();
    add(&mut world, BLOCK, rows.iter().map(|(kind, value)| NewAttribute::new(kind, *value)).collect());
    settle(&mut world);
    world
}

/// A site with these rows, refreshed once.
fn refreshed(rows: &[(&str, &str)], settings: &str) -> Source {
    let source = Source::new(world(rows), settings);
    source.good(true);
    source
}

/// What the manifest says kept rows out of `block`, for one data type.
fn reasons(source: &Source, data_type: &str) -> BTreeMap<String, u64> {
    let losses = source.dir.manifest().losses;
    losses.get(&format!("block/{data_type}")).map(|losses| losses.reasons.clone()).unwrap_or_default()
}
