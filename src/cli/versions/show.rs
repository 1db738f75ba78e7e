//! `cratos versions show N`. In: one version. Out: why it exists, and a table of its lists.

use super::{Of, Place, Which, time};
use crate::cli::{self, Failure};
use crate::config::Config;
use crate::snapshot::manifest::Manifest;

/// Arguments of `versions show`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Number of the version, or current.
    #[arg(value_name = "N")]
    pub version: Which,
    /// Whose.
    #[command(flatten)]
    pub of: Of,
}

/// Shows it.
pub fn run(config: &Config, args: &Args) -> Result<(), Failure> {
    let place = Place::new(config, &args.of)?;
    let opened = place.open(args.version)?;
    let manifest = &opened.manifest;
    let mark = match place.marks(config)?.of(manifest.version) {
        "" => String::new(),
        mark => format!(" ({mark})"),
    };
    cli::say(&format!("{}: version {}{mark}\n{}", place.name(), manifest.version, header(manifest)))?;
    cli::say(&lists(manifest))?;
    match refused(manifest) {
        Some(table) => cli::say(&format!("\nvalues that no list can hold\n{table}")),
        None => Ok(()),
    }
}

fn header(manifest: &Manifest) -> String {
    let Manifest { created_at, reason, lineage, mirror, artifacts, .. } = manifest;
    let on_demand = artifacts.values().filter(|artifact| artifact.on_demand).count();
    format!(
        "time     {} UTC\nreason   {reason}\nlineage  {lineage}\nmirror   {mirror}\nlists    {} ({on_demand} on demand)\n",
        time(*created_at),
        artifacts.len()
    )
}

/// Every list that has entries or changed with this version, and what keeps attributes out of it.
fn lists(manifest: &Manifest) -> String {
    let mut changes = manifest.unchanged();
    changes.extend(manifest.changes.iter().map(|(list, change)| (list.clone(), *change)));
    cli::refresh::lists(&changes, &manifest.losses)
}

fn refused(manifest: &Manifest) -> Option<String> {
    let of_type = |(data_type, reasons): (&String, &std::collections::BTreeMap<String, u64>)| {
        let row = |(reason, count): (&String, &u64)| [data_type.clone(), reason.clone(), count.to_string()];
        reasons.iter().map(row).collect::<Vec<_>>()
    };
    let rows: Vec<[String; 3]> = manifest.refusals.iter().flat_map(of_type).collect();
    (!rows.is_empty()).then(|| cli::table(["type", "reason", "values"], &[2], rows))
}
