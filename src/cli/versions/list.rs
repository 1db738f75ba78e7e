//! `cratos versions list`. In: the versions of one site or all. Out: a table per view, oldest version first.

use super::{Marks, Of, Place, time};
use crate::cli::{self, Failure};
use crate::config::Config;
use crate::snapshot::{self, VersionInfo};
use crate::view::MAIN;

/// Arguments of `versions list`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The site. Without a name, every site.
    #[arg(value_name = "SITE")]
    pub site: Option<String>,
    /// The view: main, or user-7 of a key that a token brought.
    #[arg(long, value_name = "VIEW", default_value = MAIN)]
    pub view: String,
}

/// Lists them.
pub fn run(config: &Config, args: &Args) -> Result<(), Failure> {
    let of = |site: &String| Of { site: Some(site.clone()), view: args.view.clone() };
    match &args.site {
        Some(site) => list(config, &Place::new(config, &of(site))?),
        None => config.sites.keys().try_for_each(|site| list(config, &Place::new(config, &of(site))?)),
    }
}

fn list(config: &Config, place: &Place) -> Result<(), Failure> {
    let (mut rows, marks) = (Vec::new(), place.marks(config)?);
    snapshot::versions(&place.dir, |version| rows.push(row(&version, &marks)))?;
    if rows.is_empty() {
        return cli::say(&format!("{}: no versions yet", place.name()));
    }
    let header = ["version", "time (UTC)", "reason", "lists", "entries", "added", "removed", "disk", ""];
    cli::say(&format!("{}\n{}", place.name(), cli::table(header, &[0, 3, 4, 5, 6, 7], rows)))
}

fn row(version: &VersionInfo, marks: &Marks) -> [String; 9] {
    let manifest = &version.manifest;
    let added: u64 = manifest.changes.values().map(|change| change.added).sum();
    let removed: u64 = manifest.changes.values().map(|change| change.removed).sum();
    [
        version.number.to_string(),
        time(manifest.created_at),
        manifest.reason.clone(),
        manifest.artifacts.len().to_string(),
        manifest.entries().to_string(),
        format!("+{added}"),
        format!("-{removed}"),
        bytes(version.disk),
        marks.of(version.number).to_owned(),
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
