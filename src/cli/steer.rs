//! `cratos approve`, `reject`, `versions rollback` and `versions unpin`. In: a site, perhaps a view, perhaps a version. Out: one
//! line for each thing that was held, and what is served now.
//!
//! Invariants: if another cratos holds the state folder, that one is asked to do the work; nothing is decided about a view
//! where nothing waits for a decision.

use std::path::Path;

use jiff::Timestamp;

use super::Failure;
use super::refresh::{self, shown};
use crate::config::{Config, Site};
use crate::orders::Order;
use crate::refresh::{Act, How, Publisher, Report, Waiting};

/// Arguments of `approve` and `reject`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The site where something is held.
    #[arg(value_name = "SITE")]
    pub site: String,
    /// Only this view of it, for example main.
    #[arg(long, value_name = "VIEW")]
    pub view: Option<String>,
}

/// Serves what is held.
pub fn approve(dir: &Path, args: &Args) -> Result<(), Failure> {
    let config = super::load(dir)?;
    let (mut to_approve, mut to_release) = (Vec::new(), Vec::new());
    for (view, waiting) in waiting(&config, args)? {
        let name = shown(&view.view);
        let says = if waiting.is_version() { "approved" } else { "released" };
        waiting.holds.values().try_for_each(|hold| super::say(&format!("{name}: {says}: {}", hold.text)))?;
        if waiting.is_version() { to_approve.push(view) } else { to_release.push(view) }
    }
    if to_approve.is_empty() && to_release.is_empty() {
        return super::say(&format!("{}: nothing is held", args.site));
    }
    let approved = each(&config, &to_approve, Act::Approve);
    // Nothing was written for these: what is released must be what is there, so it is read first.
    let released = match to_release.is_empty() {
        true => Ok(()),
        false => refresh::all(&config, &to_release, How { full: false, release: true }, true),
    };
    approved.and(released)
}

/// Keeps out what is held.
pub fn reject(dir: &Path, args: &Args) -> Result<(), Failure> {
    let config = super::load(dir)?;
    let mut views = Vec::new();
    for (view, waiting) in waiting(&config, args)? {
        let name = shown(&view.view);
        let says = if waiting.is_version() { "rejected" } else { "still held, there is no version of it to reject" };
        waiting.holds.values().try_for_each(|hold| super::say(&format!("{name}: {says}: {}", hold.text)))?;
        views.extend(waiting.is_version().then_some(view));
    }
    if views.is_empty() {
        return super::say(&format!("{}: no version is held", args.site));
    }
    each(&config, &views, Act::Reject)
}

/// Serves the content of an older version.
pub fn roll_back(config: &Config, site: &Site, version: u64) -> Result<(), Failure> {
    each(config, std::slice::from_ref(site), Act::Rollback(version))
}

/// Serves newer versions again.
pub fn unpin(config: &Config, site: &Site) -> Result<(), Failure> {
    each(config, std::slice::from_ref(site), Act::Unpin)
}

/// The views of a site where something is held.
fn waiting(config: &Config, args: &Args) -> Result<Vec<(Site, Waiting)>, Failure> {
    let site = super::site(config, &args.site)?;
    let mut all = refresh::views(config, &[site])?;
    if let Some(name) = &args.view {
        all.retain(|view| view.view.name() == name);
        if all.is_empty() {
            return Err(Failure::Usage(format!("{} has no view {name}; `cratos views` lists them", args.site)));
        }
    }
    let mut out = Vec::new();
    for view in all {
        let waiting = Publisher::waiting(config, &view)?;
        out.extend((!waiting.holds.is_empty()).then_some((view, waiting)));
    }
    Ok(out)
}

fn each(config: &Config, views: &[Site], act: Act) -> Result<(), Failure> {
    if views.is_empty() {
        return Ok(());
    }
    let lock = super::lock(config)?;
    let runtime = super::runtime()?;
    let mut good = true;
    for site in views {
        let result = match &lock {
            Some(_) => runtime.block_on(steer(config, site, act)),
            None => ask(config, site, act),
        };
        match result {
            Ok(report) => super::say(&told(site, act, &report))?,
            Err(error) => {
                good = false;
                super::complain(&format!("cratos: {error}"));
            }
        }
    }
    if good { Ok(()) } else { Err(Failure::Said) }
}

async fn steer(config: &Config, site: &Site, act: Act) -> Result<Report, String> {
    let steered = async { Publisher::open(config, site)?.steer(act, Timestamp::now()).await };
    steered.await.map_err(|error| super::chain(&error))
}

fn ask(config: &Config, site: &Site, act: Act) -> Result<Report, String> {
    let (name, view) = (site.view.site().to_owned(), site.view.name().to_owned());
    let order = Order { site: name, view, act: Some(act), ..Order::default() };
    let report = refresh::give(config, &shown(&site.view), &order)?;
    serde_json::from_value(report).map_err(|error| format!("{}: {error}", site.view))
}

/// What is served now.
fn told(site: &Site, act: Act, report: &Report) -> String {
    let name = shown(&site.view);
    let served = match (report.version, act) {
        (Some(version), Act::Rollback(of)) => format!("version {version} is served, with the content of version {of}"),
        (Some(version), _) => format!("version {version} is served"),
        (None, Act::Rollback(of)) => format!("the content of version {of} was served already"),
        (None, _) => "what is served stays".to_owned(),
    };
    let entries = report.entries;
    let mut text = format!("{name}: {served}, {entries} entries");
    for (key, hold) in &report.holds {
        let remedy = crate::refresh::remedy(key, site.view.site());
        text.push_str(&format!("\n{name}: {}; {remedy}", hold.text));
    }
    text
}
