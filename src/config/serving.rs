//! What `config.yaml` says about making tokens and about the access log. In: its [`Section`]. Out: the settings of `web`;
//! mistakes stay in the section.

use std::ops::RangeInclusive;
use std::path::Path;

use super::mistake::did_you_mean;
use super::section::Section;
use crate::web::{Issuance, LogSettings};

/// The words of `token_issuance`.
const ISSUANCE: [(&str, Issuance); 3] =
    [("allowed_ips", Issuance::AllowedIps), ("open", Issuance::Open), ("off", Issuance::Off)];
/// Megabytes of one access log.
const MAX_MEGABYTES: u64 = 100;
/// Older access logs that are kept.
const ROTATIONS: u64 = 5;

/// `token_issuance`. YAML 1.1 reads a bare `off` as false.
pub fn issuance(section: &mut Section<'_>) -> Issuance {
    let Some(item) = section.text("token_issuance") else { return Issuance::default() };
    let word = item.text.trim();
    if let Some((_, issuance)) = ISSUANCE.iter().find(|(name, _)| name.eq_ignore_ascii_case(word)) {
        return *issuance;
    }
    let names = ISSUANCE.map(|(name, _)| name);
    let what = format!("\"{word}\" is no way of making tokens");
    section.mistake("token_issuance", item.at, what, did_you_mean(word, &names));
    Issuance::default()
}

/// `access_log` with its size (in megabytes, whatever its name says) and rotations; `None`: not given, or empty.
pub fn access_log(section: &mut Section<'_>, dir: &Path) -> Option<LogSettings> {
    let megabytes = number(section, "access_log_max_bytes", 0..=1_000_000).unwrap_or(MAX_MEGABYTES);
    let rotations = number(section, "access_log_rotations", 0..=1000).unwrap_or(ROTATIONS);
    let path = section.text("access_log").filter(|item| !item.text.trim().is_empty())?.text;
    Some(LogSettings {
        path: dir.join(path.trim()),
        max_bytes: megabytes << 20,
        rotations: u32::try_from(rotations).unwrap_or(u32::MAX),
    })
}

/// A whole number, which may be written as a text.
fn number(section: &mut Section<'_>, key: &str, range: RangeInclusive<u64>) -> Option<u64> {
    let item = section.text(key)?;
    let number = item.text.trim().parse().ok().filter(|number| range.contains(number));
    if number.is_none() {
        let what = format!("expected a whole number from {} to {}", range.start(), range.end());
        section.mistake(key, item.at, what, "");
    }
    number
}
