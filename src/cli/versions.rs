//! `cratos versions`. In: the folders below `feeds_dir`. Out: a table per site, oldest version first.
//!
//! Invariant: only reads; works beside a running cratos.

use std::path::Path;

use jiff::Timestamp;

use super::{Failure, steer};
use crate::config::{Config, Site};
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
    /// Serve the content of an older version again, as a new one, and nothing newer until `unpin`.
    Rollback {
        /// The version's number.
        #[arg(value_name = "N")]
        version: u64,
        /// Where.
        #[command(flatten)]
        place: Place,
    },
    /// Serve newer versions again.
    Unpin {
        /// Where.
        #[command(flatten)]
        place: Place,
    },
}

/// Which view a command is about.
#[derive(Debug, clap::Args)]
pub struct Place {
    /// The site; not needed if there is only one.
    #[arg(long, value_name = "SITE")]
    pub site: Option<String>,
    /// The view of it.
    #[arg(long, value_name = "VIEW", default_value = MAIN)]
    pub view: String,
}

impl Place {
    /// The view as a site of its own; its file has to check.
    fn find(&self, config: &Config) -> Result<Site, Failure> {
        let names: Vec<&String> = config.sites.keys().collect();
        let name = match (&self.site, &names[..]) {
            (Some(name), _) => name,
            (None, [only]) => *only,
            (None, _) => {
                return Err(Failure::Usage(format!(
                    "which site? add --site with one of: {}",
                    names.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ")
                )));
            }
        };
        let views = super::refresh::views(config, &[super::site(config, name)?])?;
        let found = views.into_iter().find(|site| site.view.name() == self.view);
        let view = &self.view;
        found.ok_or_else(|| Failure::Usage(format!("{name} has no view {view}; `cratos views` lists them")))
    }
}

/// Runs one of them.
pub fn run(dir: &Path, action: &Action) -> Result<(), Failure> {
    let config = super::load(dir)?;
    match action {
        Action::List { site: Some(name) } if !config.sites.contains_key(name) => {
            Err(super::unknown_site(&config, name))
        }
        Action::List { site: Some(name) } => list(&config, name),
        Action::List { site: None } => config.sites.keys().try_for_each(|name| list(&config, name)),
        Action::Rollback { version, place } => steer::roll_back(&config, &place.find(&config)?, *version),
        Action::Unpin { place } => steer::unpin(&config, &place.find(&config)?),
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
