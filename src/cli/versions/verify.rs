//! `cratos versions verify`. In: the versions of a view. Out: a table of what is damaged and what was done about it; exit 1 if
//! anything stays damaged.
//!
//! Order: look → bring back the very bytes that the manifests name → what the served version still lacks is published anew, by
//! a refresh → look at that one. Invariant: without `--no-repair` nothing that is known to be wrong goes on being served.

use std::collections::{BTreeMap, BTreeSet};

use super::{Of, Place, bytes};
use crate::cli::{self, Failure};
use crate::config::{Config, Site};
use crate::refresh::repair::{self, Renderer};
use crate::refresh::{How, remedy};
use crate::snapshot::expected::{Expected, Fault, Finding};
use crate::snapshot::heal::{Remedy, heal};
use crate::snapshot::verify::{Survey, numbers};
use crate::snapshot::{layout, prune};

/// Arguments of `versions verify`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only the version that is served.
    #[arg(long)]
    pub current: bool,
    /// Only look.
    #[arg(long)]
    pub no_repair: bool,
    /// Whose.
    #[command(flatten)]
    pub of: Of,
}

/// Checks and repairs.
pub fn run(config: &Config, args: &Args) -> Result<(), Failure> {
    let place = Place::new(config, &args.of)?;
    let mut survey = Survey::default();
    let looked_at = numbers(&place.dir, args.current)?;
    survey.look_at_current(&place.dir)?;
    survey.look_at(&place.dir, &looked_at)?;
    if survey.versions == 0 && survey.findings.is_empty() {
        return cli::say(&format!("{}: no versions yet", place.name()));
    }
    let site = if survey.findings.is_empty() { None } else { site(config, &place) };
    let remedies = match args.no_repair {
        true => vec![Remedy::None; survey.findings.len()],
        false => repaired(config, site.as_ref(), &place, &mut survey, &looked_at)?,
    };
    if !survey.findings.is_empty() {
        cli::say(&table(&survey.findings, &remedies, args.no_repair))?;
    }
    cli::say(&summary(&place.name(), &survey, &remedies))?;
    let left: Vec<&Finding> = left(&survey.findings, &remedies).collect();
    let is_served = |finding: &&&Finding| Some(finding.version) == prune::current(&place.dir);
    if !args.no_repair && left.iter().any(|finding| is_served(&finding) || finding.path == layout::CURRENT) {
        publish_anew(config, site.as_ref(), &place)?;
    }
    // The damaged version may have been pruned with that.
    let is_there = |number| layout::version_dir(&place.dir, number).is_dir();
    let stays = |finding: &&&Finding| match &*finding.path {
        layout::CURRENT => !prune::current(&place.dir).is_some_and(is_there),
        _ => is_there(finding.version),
    };
    let stays: Vec<&&Finding> = left.iter().filter(stays).collect();
    if stays.is_empty() {
        return Ok(());
    }
    if !args.no_repair && !stays.iter().any(is_served) {
        cli::say("a version that is not served keeps its damage until it is pruned; removing its folder is safe, too")?;
    }
    Err(Failure::Said)
}

/// The view as it is refreshed; `None`: its site does not check, is switched off, or the key is not known any more.
fn site(config: &Config, place: &Place) -> Option<Site> {
    // Err: then nothing is rendered and nothing refreshed, which is said where it matters.
    place.refreshed(config).ok().filter(|site| site.enabled)
}

fn repaired(
    config: &Config,
    site: Option<&Site>,
    place: &Place,
    survey: &mut Survey,
    looked_at: &[u64],
) -> Result<Vec<Remedy>, Failure> {
    let mut renderer = match site {
        Some(site) => Renderer::open(config, site)?,
        None => None,
    };
    let mut render = |file: &Expected, moment| {
        let from_mirror = || renderer.as_mut()?.body(&file.key, moment);
        repair::empty_form(&file.path).or_else(from_mirror)
    };
    let mut remedies = heal(&place.dir, survey, &mut render)?;
    // A version that was written meanwhile may have taken damaged files over before they were healed.
    let newest = looked_at.last().copied().unwrap_or_default();
    let newer: Vec<u64> = prune::numbers(&place.dir)?.into_iter().filter(|number| *number > newest).collect();
    if !remedies.is_empty() && !newer.is_empty() {
        let before = std::mem::take(&mut survey.findings);
        survey.look_at(&place.dir, &newer)?;
        remedies.extend(heal(&place.dir, survey, &mut render)?);
        survey.findings.splice(0..0, before);
    }
    Ok(remedies)
}

fn left<'a>(findings: &'a [Finding], remedies: &'a [Remedy]) -> impl Iterator<Item = &'a Finding> {
    findings.iter().zip(remedies).filter(|(_, remedy)| !remedy.has_helped()).map(|(finding, _)| finding)
}

/// What the served version lacks cannot be had as it was: a new version has it as it is now.
fn publish_anew(config: &Config, site: Option<&Site>, place: &Place) -> Result<(), Failure> {
    let Some(site) = site else {
        cli::complain("cratos: the site is not refreshed, so nothing can be published in place of the damaged files");
        return Ok(());
    };
    let lock = cli::lock(config)?;
    let before = prune::current(&place.dir);
    let held = match cli::refresh::one(config, site, How { full: true, release: false }, lock.as_ref())? {
        Ok(report) => report.holds,
        Err(error) => {
            cli::complain(&format!("cratos: {error}"));
            BTreeMap::new()
        }
    };
    let after = prune::current(&place.dir);
    let mut survey = Survey::default();
    survey.look_at(&place.dir, after.as_slice())?;
    let is_good = after.is_some() && !survey.findings.iter().any(|finding| finding.fault.is_of_content());
    let number = after.unwrap_or_default();
    if is_good {
        let now = if before == after { "" } else { " now" };
        return cli::say(&format!("version {number} is served{now}; nothing in it is damaged"));
    }
    // What is held or pinned keeps the new version from being served.
    for (key, hold) in &held {
        cli::say(&format!("{}: {}; {}", place.name(), hold.text, remedy(key, site.view.site())))?;
    }
    cli::say(&format!("version {number} is served and still damaged; its damaged lists are answered 503"))
}

/// Versions that have the same damage share a row.
fn table(findings: &[Finding], remedies: &[Remedy], only_looked: bool) -> String {
    let mut rows: BTreeMap<(String, String, String), BTreeSet<u64>> = BTreeMap::new();
    for (finding, remedy) in findings.iter().zip(remedies) {
        let path = if finding.path.is_empty() { "(its folder)" } else { &finding.path };
        let outcome = if only_looked { "not repaired".to_owned() } else { outcome(&finding.fault, remedy) };
        rows.entry((path.to_owned(), finding.fault.to_string(), outcome)).or_default().insert(finding.version);
    }
    let row = |((path, fault, outcome), versions): ((String, String, String), BTreeSet<u64>)| {
        [ranges(&versions), super::plain(&path), super::plain(&fault), outcome]
    };
    cli::table(["version", "file", "damage", "outcome"], &[], rows.into_iter().map(row).collect())
}

fn outcome(fault: &Fault, remedy: &Remedy) -> String {
    match (remedy, fault) {
        (Remedy::Copied { version }, _) => format!("restored: the same bytes are in version {version}"),
        (Remedy::Decompressed, _) => "restored from its compressed sibling".into(),
        (Remedy::Compressed, _) => "compressed again".into(),
        (Remedy::Rendered, _) => "rendered again, the same bytes".into(),
        (Remedy::Mode, _) => "set right".into(),
        (Remedy::Failed(cause), _) => format!("stays damaged: {cause}"),
        (Remedy::None, Fault::Content | Fault::Unreadable(_)) => "stays damaged, taken out of service".into(),
        (Remedy::None, _) => "stays damaged".into(),
    }
}

/// `3, 5-9`.
fn ranges(numbers: &BTreeSet<u64>) -> String {
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for number in numbers {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == *number => *last = *number,
            _ => runs.push((*number, *number)),
        }
    }
    let shown = |(first, last): &(u64, u64)| {
        if first == last { first.to_string() } else { format!("{first}-{last}") }
    };
    runs.iter().map(shown).collect::<Vec<_>>().join(", ")
}

fn summary(name: &str, survey: &Survey, remedies: &[Remedy]) -> String {
    let repaired = remedies.iter().filter(|remedy| remedy.has_helped()).count();
    let (versions, files, damaged) = (survey.versions, survey.files, remedies.len());
    let size = bytes(survey.bytes);
    let all_well = if damaged == 0 {
        ": all as their manifests say".into()
    } else {
        format!(", {damaged} damaged, {repaired} repaired")
    };
    format!("{name}: versions {versions}, files {files} ({size} read){all_well}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_versions_are_short() {
        assert_eq!(ranges(&BTreeSet::from([1, 2, 3, 5, 7, 8])), "1-3, 5, 7-8");
        assert_eq!(ranges(&BTreeSet::new()), "");
    }
}
