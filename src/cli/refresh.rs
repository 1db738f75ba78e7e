//! `cratos refresh`. In: names of sites, or none for all. Out: per site one table of its lists and one line of figures.
//!
//! Invariants: works only while no other cratos holds the state folder; a site that fails does not keep the others from
//! being refreshed, and the exit code says so.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal};
use std::path::Path;
use std::sync::Arc;

use indicatif::{ProgressBar, ProgressStyle};
use jiff::Timestamp;

use super::Failure;
use crate::config::{Config, ConfigErrors, Site, SiteState};
use crate::fetch::Source;
use crate::refresh::{Publisher, RefreshError, Report};
use crate::state::Lock;

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
    let (sites, mut good) = chosen(&config, &args.sites)?;
    let _lock = Lock::take(&config.state_dir)?;
    let runtime = super::runtime()?;
    for site in sites {
        match runtime.block_on(refresh(&config, site, args.full)) {
            Ok(report) => super::say(&render(site.view.site(), &report))?,
            Err(error) => {
                good = false;
                super::complain(&format!("cratos: {}", super::chain(&error)));
            }
        }
    }
    if good { Ok(()) } else { Err(Failure::Said) }
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
    let sites: Vec<&Site> = config.good_sites().filter(|site| !matches!(site.source, Source::None)).collect();
    if sites.is_empty() && good {
        return Err(Failure::Usage("no site is enabled and has a source; `cratos check` shows the sites".into()));
    }
    Ok((sites, good))
}

async fn refresh(config: &Config, site: &Site, full: bool) -> Result<Report, RefreshError> {
    let publisher = Publisher::open(config, site)?;
    let bar = progress_bar(site.view.site());
    let shown = bar.clone();
    let progress = Arc::new(move |done: u64, of: u64| {
        shown.set_length(of);
        shown.set_position(done);
    });
    let report = publisher.refresh(full, Timestamp::now(), progress).await;
    bar.finish_and_clear();
    report
}

/// A bar on stderr; none if that is no terminal.
fn progress_bar(site: &str) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{prefix} {wide_bar} {pos}/{len} events");
    ProgressBar::no_length()
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        .with_prefix(site.to_owned())
}

/// What is said about a site that was refreshed.
fn render(site: &str, report: &Report) -> String {
    let mut rows = Vec::new();
    let mut total = [0; 3];
    for (list, change) in &report.changes {
        let figures = [change.entries, change.added, change.removed];
        if figures == [0; 3] {
            continue;
        }
        total.iter_mut().zip(figures).for_each(|(sum, figure)| *sum += figure);
        let (feed, data_type) = list.rsplit_once('/').unwrap_or((list, ""));
        rows.push(row(feed, data_type, figures));
    }
    rows.push(row("total", "", total));
    let table = super::table(["feed", "type", "entries", "added", "removed"], &[2, 3, 4], rows);
    format!("{table}\n{site}: {}", figures(report))
}

fn row(feed: &str, data_type: &str, [entries, added, removed]: [u64; 3]) -> [String; 5] {
    [feed.to_owned(), data_type.to_owned(), entries.to_string(), added.to_string(), removed.to_string()]
}

fn figures(report: &Report) -> String {
    let version = report.version.map_or_else(|| "nothing new".to_owned(), |number| format!("version {number}"));
    format!(
        "{version}, {} events, {} read again, {}, {} malformed",
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
    use crate::snapshot::manifest::Change;

    #[test]
    fn the_table_leaves_empty_lists_out_and_ends_with_the_total() {
        let mut report = Report { version: Some(3), events: 5, read: 2, malformed: 1, ..Report::default() };
        report.changes.insert("block/ipv4".into(), Change { entries: 7, added: 2, removed: 1 });
        report.changes.insert("block/url".into(), Change::default());
        report.changes.insert("hunt/ipv4".into(), Change { entries: 0, added: 0, removed: 4 });
        report.refusals.insert("url".into(), BTreeMap::from([("no scheme".into(), 2)]));
        let text = render("misp.example.net", &report);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 5, "{text}");
        assert!(lines[3].starts_with("total") && lines[3].ends_with("5"), "{text}");
        let last = "misp.example.net: version 3, 5 events, 2 read again, 2 refused (url: no scheme 2), 1 malformed";
        assert_eq!(lines[4], last);
    }
}
