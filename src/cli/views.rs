//! `cratos views`. In: state and versions on disk. Out: a table of all views, the main one of each site first.
//!
//! Invariant: only reads; works beside a running cratos, which notes polls about once an hour.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::Timestamp;

use super::Failure;
use super::versions::bytes;
use crate::config::{Config, Site};
use crate::fetch::Source;
use crate::snapshot::{layout, prune};
use crate::state::ViewState;
use crate::state::keys::{KeyRecord, SiteKeys};
use crate::view::ViewId;

/// Lists them.
pub fn run(dir: &Path) -> Result<(), Failure> {
    let config = super::load(dir)?;
    let mut rows = Vec::new();
    for site in config.good_sites() {
        rows.extend(of_site(&config, site)?);
    }
    if rows.is_empty() {
        return super::say("no views yet: a site needs a source of its own, or a token that was used once");
    }
    let header = ["site", "view", "organisation", "user", "keys", "last poll (UTC)", "size"];
    super::say(&super::table(header, &[6], rows))
}

fn of_site(config: &Config, site: &Site) -> Result<Vec<[String; 7]>, Failure> {
    let mut rows = Vec::new();
    if site.source != Source::None {
        let (user, organisation) = ViewState::open(&config.state_dir, &site.view)?.counters()?.user;
        let whose = [organisation, user, "the site file's".to_owned(), "not counted".to_owned()];
        rows.push(row(config, &site.view, whose)?);
    }
    let mut views: BTreeMap<String, Vec<KeyRecord>> = BTreeMap::new();
    for record in SiteKeys::new(&config.state_dir, site.view.site()).read()? {
        views.entry(record.view.clone()).or_default().push(record);
    }
    for (name, records) in views {
        let Some(view) = ViewId::named(site.view.site(), &name) else { continue };
        let newest = |of: fn(&KeyRecord) -> i64| records.iter().map(of).max().unwrap_or(0);
        let polled = Timestamp::from_second(newest(|record| record.polled_at));
        let polled = polled.map(|moment| moment.strftime("%Y-%m-%d %H:%M").to_string()).unwrap_or_default();
        let ids: Vec<String> = records.iter().map(shown).collect();
        let first = &records[0];
        let whose = [first.organisation.clone(), first.login.clone(), ids.join(" "), polled];
        rows.push(row(config, &view, whose)?);
    }
    Ok(rows)
}

/// A key's short id, and what is wrong with it.
fn shown(record: &KeyRecord) -> String {
    match (record.ended_at, record.refusals) {
        (Some(_), _) => format!("{} (ended)", record.id),
        (None, 0) => record.id.clone(),
        (None, refusals) => format!("{} (refused {refusals}x)", record.id),
    }
}

fn row(config: &Config, view: &ViewId, whose: [String; 4]) -> Result<[String; 7], Failure> {
    let versions = prune::disk(&layout::view_dir(&config.feeds_dir, view.site(), view.name()))?;
    let mirror = ViewState::open(&config.state_dir, view)?.mirror_path();
    let mirror = std::fs::metadata(mirror).map_or(0, |meta| meta.len());
    let [organisation, user, keys, polled] = whose;
    let size = bytes(versions + mirror);
    Ok([view.site().to_owned(), view.name().to_owned(), organisation, user, keys, polled, size])
}
