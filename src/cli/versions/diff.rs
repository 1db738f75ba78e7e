//! `cratos versions diff A B`. In: two versions. Out: what came and what went, list by list, as text or as JSON.
//!
//! Invariants: one list at a time is in memory; the JSON is one object `{from, to, lists: {"feed/type": {added, removed}}}`
//! whose members do not change.

use std::io::{self, BufWriter, Write};

use serde_json::json;

use super::{Of, Place, Which, plain, time};
use crate::cli::Failure;
use crate::config::Config;
use crate::snapshot::compare::{Difference, compare};
use crate::snapshot::manifest::{Manifest, Opened};

/// Arguments of `versions diff`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Number of the version before, or current.
    #[arg(value_name = "A")]
    pub from: Which,
    /// Number of the version after, or current.
    #[arg(value_name = "B")]
    pub to: Which,
    /// For programs: one JSON object.
    #[arg(long)]
    pub json: bool,
    /// Whose.
    #[command(flatten)]
    pub of: Of,
}

/// Compares them. A reader that has gone (`| head`) is no failure.
pub fn run(config: &Config, args: &Args) -> Result<(), Failure> {
    let place = Place::new(config, &args.of)?;
    let (from, to) = (place.open(args.from)?, place.open(args.to)?);
    let mut out = BufWriter::new(io::stdout().lock());
    let written = match args.json {
        true => json(&from, &to, &mut out),
        false => text(&place.name(), &from, &to, &mut out),
    };
    match written {
        Err(Stop::Writing(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(Stop::Writing(error)) => Err(error.into()),
        Err(Stop::Reading(error)) => {
            // What was found so far is good; a reader that has gone does not miss it.
            let _ = out.flush();
            Err(error.into())
        }
        Ok(()) => Ok(()),
    }
}

/// Why it ended early.
enum Stop {
    Writing(io::Error),
    Reading(crate::snapshot::SnapshotError),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Writing(error)
    }
}

impl From<crate::snapshot::SnapshotError> for Stop {
    fn from(error: crate::snapshot::SnapshotError) -> Self {
        Self::Reading(error)
    }
}

fn text(name: &str, from: &Opened, to: &Opened, out: &mut impl Write) -> Result<(), Stop> {
    let named = |manifest: &Manifest| format!("version {} ({} UTC)", manifest.version, time(manifest.created_at));
    writeln!(out, "{name}: from {} to {}", named(&from.manifest), named(&to.manifest))?;
    let mut total = [0; 3];
    compare(from, to, &super::ages(), |list, Difference { added, removed }| {
        writeln!(out, "\n{list}: +{} -{}", added.len(), removed.len())?;
        removed.iter().try_for_each(|value| writeln!(out, "- {}", plain(value)))?;
        added.iter().try_for_each(|value| writeln!(out, "+ {}", plain(value)))?;
        total.iter_mut().zip([1, added.len(), removed.len()]).for_each(|(sum, count)| *sum += count);
        Ok::<(), Stop>(())
    })?;
    let [lists, added, removed] = total;
    match lists {
        0 => writeln!(out, "no list differs")?,
        _ => writeln!(out, "\ntotal: {lists} {}, +{added} -{removed}", if lists == 1 { "list" } else { "lists" })?,
    }
    Ok(out.flush()?)
}

fn json(from: &Opened, to: &Opened, out: &mut impl Write) -> Result<(), Stop> {
    write!(out, "{{\"from\":{},\"to\":{},\"lists\":{{", from.manifest.version, to.manifest.version)?;
    let mut before = "\n";
    compare(from, to, &super::ages(), |list, Difference { added, removed }| {
        write!(out, "{before}{}:{}", json!(list), json!({ "added": added, "removed": removed }))?;
        before = ",\n";
        Ok::<(), Stop>(())
    })?;
    writeln!(out, "}}}}")?;
    Ok(out.flush()?)
}
