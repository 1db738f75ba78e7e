//! `cratos versions`. In: the folders below `feeds_dir`. Out: a table per site, oldest version first.
//!
//! Invariant: only reads; works beside a running cratos.

use std::path::Path;

use jiff::Timestamp;

use super::Failure;
use crate::config::Config;
use crate::snapshot::{self, VersionInfo, layout};
use crate::view::MAIN;

/// What to do with versions.
#[derive(Debug, clap::Subcommand)]
pub enum Action {
    /// List the versions on disk. The one that is served is marked.
    List {
        /// The site. Without a name, every site.
        #[arg(value_name = "SITE")]
        site: Option<String>,
    },
}

/// Runs one of them.
pub fn run(dir: &Path, action: &Action) -> Result<(), Failure> {
    let Action::List { site } = action;
    let config = super::load(dir)?;
    match site {
        Some(name) if !config.sites.contains_key(name) => Err(super::unknown_site(&config, name)),
        Some(name) => list(&config, name),
        None => config.sites.keys().try_for_each(|name| list(&config, name)),
    }
}

fn list(config: &Config, site: &str) -> Result<(), Failure> {
    let versions = snapshot::versions(&layout::view_dir(&config.feeds_dir, site, MAIN))?;
    if versions.is_empty() {
        return super::say(&format!("{site}: no versions yet"));
    }
    let header = ["version", "time (UTC)", "reason", "lists", "entries", "added", "removed", "disk", ""];
    let rows = versions.iter().map(row).collect();
    super::say(&format!("{site}\n{}", super::table(header, &[0, 3, 4, 5, 6, 7], rows)))
}

fn row(version: &VersionInfo) -> [String; 9] {
    let manifest = &version.manifest;
    let time = Timestamp::from_second(manifest.created_at)
        .map_or_else(|_| "?".to_owned(), |time| time.strftime("%Y-%m-%d %H:%M:%S").to_string());
    let added: u64 = manifest.changes.values().map(|change| change.added).sum();
    let removed: u64 = manifest.changes.values().map(|change| change.removed).sum();
    [
        version.number.to_string(),
        time,
        manifest.reason.clone(),
        manifest.artifacts.len().to_string(),
        manifest.entries().to_string(),
        format!("+{added}"),
        format!("-{removed}"),
        bytes(version.disk),
        if version.current { "current" } else { "" }.to_owned(),
    ]
}

/// `812 B`, `1.5 MiB`.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let (mut size, mut unit) = (count as f64 / 1024.0, 0);
    while size >= 1024.0 && unit + 1 < UNITS.len() {
        (size, unit) = (size / 1024.0, unit + 1);
    }
    format!("{size:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes(3 << 30), "3.0 GiB");
    }
}
