//! `cratos refresh`. In: names of sites, or none for all. Out: per view of a site one table of its lists
//! and one line of figures.
//!
//! Invariants: if another cratos holds the state folder, that one is asked to do the work; a view that fails does not keep
//! the others from being refreshed, and the exit code says so.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IsTerminal};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use jiff::Timestamp;

use super::Failure;
use crate::config::{Config, ConfigErrors, Site, SiteState};
use crate::fetch::Source;
use crate::orders::{self, Order, Outcome};
use crate::refresh::{How, NOT_IN_FEED, Publisher, RefreshError, Report};
use crate::snapshot::manifest::{Change, Losses};
use crate::state::Lock;
use crate::view::ViewId;

/// How long an order may lie before the running program takes it: it looks every second.
const TAKEN_WITHIN: Duration = Duration::from_secs(15);
/// Between two looks for the outcome.
const LOOK: Duration = Duration::from_millis(100);

/// Arguments of `refresh`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Sites to refresh. Without a name, every site that is enabled and has a source.
    #[arg(value_name = "SITE")]
    pub sites: Vec<String>,
    /// Read every event again, not only what changed.
    #[arg(long)]
    pub full: bool,
}

/// Refreshes once.
pub fn run(dir: &Path, args: &Args) -> Result<(), Failure> {
    let config = super::load(dir)?;
    let (sites, good) = chosen(&config, &args.sites)?;
    let views = views(&config, &sites)?;
    if views.is_empty() && good {
        return Err(Failure::Usage(
            "no site is enabled and has a source or a view; `cratos check` shows the sites".into(),
        ));
    }
    all(&config, &views, How { full: args.full, release: false }, good)
}

/// Every view of these sites that there is to refresh.
pub(crate) fn views(config: &Config, sites: &[&Site]) -> Result<Vec<Site>, Failure> {
    let learned = super::learned(config)?;
    let of = |site: &&Site| {
        let main = (site.source != Source::None).then(|| (*site).clone());
        main.into_iter().chain(learned.sites_of(site)).collect::<Vec<_>>()
    };
    Ok(sites.iter().flat_map(of).collect())
}

/// A view as it is called here: the main one by its site alone.
pub(crate) fn shown(view: &ViewId) -> String {
    if view.is_main() { view.site().to_owned() } else { view.to_string() }
}

/// Refreshes views one after the other; `good`: nothing had to be left out.
pub(crate) fn all(config: &Config, views: &[Site], how: How, mut good: bool) -> Result<(), Failure> {
    let lock = super::lock(config)?;
    for site in views {
        match one(config, site, how, lock.as_ref())? {
            Ok(report) => super::say(&render(&site.view, &report))?,
            Err(error) => {
                good = false;
                super::complain(&format!("cratos: {error}"));
            }
        }
    }
    if good { Ok(()) } else { Err(Failure::Said) }
}

/// Refreshes one view: here, or without the lock by the cratos that has it.
pub(crate) fn one(
    config: &Config,
    site: &Site,
    how: How,
    lock: Option<&Lock>,
) -> Result<Result<Report, String>, Failure> {
    Ok(match lock {
        Some(_) => super::runtime()?.block_on(refresh(config, site, how)).map_err(|error| super::chain(&error)),
        None => ask(config, site, how),
    })
}

/// Asks the running program and waits.
fn ask(config: &Config, site: &Site, how: How) -> Result<Report, String> {
    let (full, release, view) = (how.full, how.release, site.view.name().to_owned());
    let order = Order { site: site.view.site().to_owned(), view, full, release, ..Order::default() };
    let report = give(config, &shown(&site.view), &order)?;
    serde_json::from_value(report).map_err(|error| format!("{}: {error}", site.view))
}

/// Gives the running program an order and waits for its outcome.
pub(crate) fn give(config: &Config, name: &str, order: &Order) -> Result<serde_json::Value, String> {
    let ticket = orders::place(&config.state_dir, order).map_err(|error| format!("{name}: {error}"))?;
    let bar = progress_bar(name, "{prefix} {spinner} {elapsed}");
    let begun = Instant::now();
    let outcome = loop {
        match ticket.outcome().map_err(|error| format!("{name}: {error}"))? {
            Some(outcome) => break outcome,
            None if !ticket.is_taken() && begun.elapsed() > TAKEN_WITHIN => {
                return Err(format!("{name}: the other cratos does not take orders; is it `cratos serve`?"));
            }
            None => std::thread::sleep(LOOK),
        }
        bar.tick();
    };
    bar.finish_and_clear();
    match outcome {
        Outcome::Failed(text) => Err(text),
        Outcome::Done(report) => Ok(report),
    }
}

/// The sites to refresh, and whether nothing had to be left out because its file does not check.
fn chosen<'a>(config: &'a Config, names: &[String]) -> Result<(Vec<&'a Site>, bool), Failure> {
    if !names.is_empty() {
        let named = |name: &String| match super::site(config, name)? {
            site if site.enabled => Ok(site),
            _ => Err(Failure::Usage(format!("site {name} is switched off (enabled: false)"))),
        };
        return Ok((names.iter().map(named).collect::<Result<_, _>>()?, true));
    }
    let broken = config.sites.values().filter_map(|state| match state {
        SiteState::Broken(mistakes) => Some(mistakes.clone()),
        SiteState::Good(_) => None,
    });
    let errors = ConfigErrors(broken.flatten().collect());
    let good = errors.0.is_empty();
    if !good {
        super::complain(errors.render(io::stderr().is_terminal()).trim_end());
    }
    Ok((config.good_sites().collect(), good))
}

pub(crate) async fn refresh(config: &Config, site: &Site, how: How) -> Result<Report, RefreshError> {
    let publisher = Publisher::open(config, site)?;
    let bar = progress_bar(&shown(&site.view), "{prefix} {wide_bar} {pos}/{len} events");
    let moved = bar.clone();
    let progress = Arc::new(move |done: u64, of: u64| {
        moved.set_length(of);
        moved.set_position(done);
    });
    let report = publisher.refresh(how, Timestamp::now(), progress).await;
    if report.is_err() {
        // With the source away ages go on expiring. Err: nothing is known yet.
        let _ = publisher.expire(Timestamp::now()).await;
    }
    bar.finish_and_clear();
    report
}

/// On stderr; nothing if that is no terminal.
fn progress_bar(site: &str, template: &str) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template(template);
    ProgressBar::no_length()
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        .with_prefix(site.to_owned())
}

/// Every list that has entries, changed, or could have had entries.
pub(crate) fn lists(changes: &BTreeMap<String, Change>, losses: &BTreeMap<String, Losses>) -> String {
    let (mut rows, mut total) = (Vec::new(), [0; 4]);
    let names: BTreeSet<&String> = changes.keys().chain(losses.keys()).collect();
    for list in names {
        let change = changes.get(list).copied().unwrap_or_default();
        let losses = losses.get(list).cloned().unwrap_or_default();
        let figures = [change.entries, change.added, change.removed, in_feed(&losses)];
        if figures == [0; 4] {
            continue;
        }
        total.iter_mut().zip(figures).for_each(|(sum, figure)| *sum += figure);
        let (feed, data_type) = list.rsplit_once('/').unwrap_or((list, ""));
        rows.push(row(feed, data_type, figures, kept_out(&losses)));
    }
    rows.push(row("total", "", total, String::new()));
    let header = ["feed", "type", "entries", "added", "removed", "attributes", "kept out"];
    super::table(header, &[2, 3, 4, 5], rows)
}

/// What is said about a view that was refreshed.
fn render(view: &ViewId, report: &Report) -> String {
    let (name, site) = (shown(view), view.site());
    let table = lists(&report.changes, &report.losses);
    let mut text = format!("{table}\n{name}: {}", figures(report));
    for (key, hold) in &report.holds {
        let since = Timestamp::from_second(hold.since).map(|since| since.to_string()).unwrap_or_default();
        let remedy = crate::refresh::remedy(key, site);
        text.push_str(&format!("\n{name}: HELD since {since}: {}; {remedy}", hold.text));
    }
    text
}

fn row(feed: &str, data_type: &str, figures: [u64; 4], kept_out: String) -> [String; 7] {
    let [entries, added, removed, attributes] = figures.map(|figure| figure.to_string());
    [feed.to_owned(), data_type.to_owned(), entries, added, removed, attributes, kept_out]
}

/// Attributes that belong to the feed.
fn in_feed(losses: &Losses) -> u64 {
    losses.rows - losses.reasons.get(NOT_IN_FEED).copied().unwrap_or(0).min(losses.rows)
}

/// `too old 3, to_ids off 1`: what keeps attributes of the feed out of its list, and what is in only for now.
pub(crate) fn kept_out(losses: &Losses) -> String {
    let reasons = losses.reasons.iter().filter(|(reason, _)| *reason != NOT_IN_FEED);
    let mut parts: Vec<String> = reasons.map(|(reason, count)| format!("{reason} {count}")).collect();
    if losses.in_grace > 0 {
        parts.push(format!("in by unpublish_grace {}", losses.in_grace));
    }
    parts.join(", ")
}

fn figures(report: &Report) -> String {
    let version = match (report.version, report.candidate) {
        (Some(number), _) => format!("version {number}"),
        (None, Some(number)) => format!("version {number} is written, not served"),
        (None, None) => "nothing new".to_owned(),
    };
    format!(
        "{version}{}, {} events, {} read again, {}, {} malformed",
        if report.full { " (full pull)" } else { "" },
        report.events,
        report.read,
        refused(&report.refusals),
        report.malformed
    )
}

/// `3 refused (ipv4: private 2; url: no scheme 1)`.
fn refused(refusals: &BTreeMap<String, BTreeMap<String, u64>>) -> String {
    let sum: u64 = refusals.values().flat_map(BTreeMap::values).sum();
    if sum == 0 {
        return "0 refused".to_owned();
    }
    let of_type = |(data_type, reasons): (&String, &BTreeMap<String, u64>)| {
        let counts: Vec<String> = reasons.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
        format!("{data_type}: {}", counts.join(", "))
    };
    let types: Vec<String> = refusals.iter().filter(|(_, reasons)| !reasons.is_empty()).map(of_type).collect();
    format!("{sum} refused ({})", types.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_leaves_empty_lists_out_and_ends_with_the_total() {
        let mut report = Report { version: Some(3), events: 5, read: 2, malformed: 1, ..Report::default() };
        report.changes.insert("block/ipv4".into(), Change { entries: 7, added: 2, removed: 1 });
        report.changes.insert("block/url".into(), Change::default());
        report.changes.insert("hunt/ipv4".into(), Change { entries: 0, added: 0, removed: 4 });
        let reasons = [(NOT_IN_FEED, 9), ("too old", 3), ("to_ids off", 4)];
        let reasons = reasons.into_iter().map(|(reason, count)| (reason.to_owned(), count)).collect();
        report.losses.insert("block/ipv4".into(), Losses { rows: 25, listed: 9, in_grace: 2, reasons });
        report.refusals.insert("url".into(), BTreeMap::from([("no scheme".into(), 2)]));
        let text = render(&ViewId::main("misp.example.net").unwrap(), &report);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 5, "{text}");
        assert!(lines[1].ends_with("16  to_ids off 4, too old 3, in by unpublish_grace 2"), "{text}");
        let total: Vec<&str> = lines[3].split_whitespace().collect();
        assert_eq!(total, ["total", "7", "2", "5", "16"], "{text}");
        let last = "misp.example.net: version 3, 5 events, 2 read again, 2 refused (url: no scheme 2), 1 malformed";
        assert_eq!(lines[4], last);
    }
}
