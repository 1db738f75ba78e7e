//! Files that are not what their manifest says → the bytes that it names. In: the findings of a [`Survey`], and somebody who
//! can render lists. Out: what was done about each.
//!
//! The bytes come from another intact file with the same hash in any version, from the compressed sibling, or are rendered;
//! nothing is accepted whose SHA-256 is not the manifest's. What cannot be had is put aside, so that nobody serves it or
//! links it any more.
//!
//! Invariants: a file is written aside, synced and renamed over the damaged name, so the names that share the damaged bytes
//! are not touched and each is healed on its own; readers see the old file or the new one; a version is leased meanwhile.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::Read;
use std::path::Path;

use flate2::read::GzDecoder;
use ring::digest;

use super::expected::{Expected, Fault, Finding, expected};
use super::verify::{Survey, place};
use super::write::hex;
use super::{SnapshotError, file, gzip, layout, manifest, prune};

/// Moments at which a list is rendered in search of the right bytes; each costs as much as a refresh of the list.
const TRIES: usize = 4;

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// The same bytes were in another version, or at another name.
    Copied {
        /// In this version.
        version: u64,
    },
    /// Made from the compressed sibling.
    Decompressed,
    /// Made from the list.
    Compressed,
    /// Rendered anew, with the very same bytes.
    Rendered,
    /// The permissions are right again.
    Mode,
    /// Nothing helps.
    None,
    /// Something would have helped, and failed.
    Failed(String),
}

impl Remedy {
    /// Whether all is well.
    pub fn has_helped(&self) -> bool {
        !matches!(self, Remedy::None | Remedy::Failed(_))
    }
}

/// Makes the body of a file's list as it was at a moment (Unix seconds), if it can.
pub type Render<'a> = dyn FnMut(&Expected, i64) -> Option<Vec<u8>> + 'a;

/// An intact file.
struct Intact {
    version: u64,
    file: Expected,
}

/// Where bytes can be had.
#[derive(Default)]
struct Sources {
    /// Hash of a list → files with it, compressed or not.
    intact: HashMap<String, Vec<Intact>>,
    /// Hash of a list → moments that did not give it.
    tried: HashMap<String, Vec<i64>>,
}

/// Heals what is found, the newest version first: what it holds is the likeliest to be rendered again. Returns what was done
/// about each finding, in the order of the findings.
pub fn heal(view_dir: &Path, survey: &mut Survey, render: &mut Render<'_>) -> Result<Vec<Remedy>, SnapshotError> {
    let findings = std::mem::take(&mut survey.findings);
    let mut sources = sources(view_dir, survey, &findings)?;
    let mut order: Vec<usize> = (0..findings.len()).collect();
    // A list before its compressed sibling, which is made from it.
    order.sort_by_key(|at| {
        let finding = &findings[*at];
        let is_gzip = finding.expected.as_ref().is_some_and(|file| file.gzip_bytes.is_some());
        (std::cmp::Reverse(finding.version), is_gzip, *at)
    });
    let mut remedies = vec![Remedy::None; findings.len()];
    for at in order {
        let finding = &findings[at];
        let path = place(view_dir, finding.version, &finding.path);
        // Err: the version was pruned meanwhile.
        let Ok(_lease) = manifest::lease(&layout::version_dir(view_dir, finding.version)) else { continue };
        remedies[at] = match (&finding.fault, &finding.expected) {
            (Fault::Mode { should, .. }, _) => match file::set_mode(&path, *should) {
                Ok(()) => Remedy::Mode,
                Err(error) => Remedy::Failed(error.cause()),
            },
            (fault, Some(wanted)) => {
                let moved = if *fault == Fault::NotAFile { file::put_aside(&path) } else { Ok(()) };
                let remedy = restore(view_dir, finding.version, wanted, &mut sources, render);
                let is_at_length = matches!(fault, Fault::Content | Fault::Unreadable(_));
                let moved = if is_at_length && !remedy.has_helped() { file::put_aside(&path) } else { moved };
                moved.map_or_else(|error| Remedy::Failed(error.cause()), |()| remedy)
            }
            (_, None) => Remedy::None,
        };
    }
    survey.findings = findings;
    Ok(remedies)
}

/// Looks in all versions for intact files with the hashes that are wanted.
fn sources(view_dir: &Path, survey: &mut Survey, findings: &[Finding]) -> Result<Sources, SnapshotError> {
    let wanted: HashSet<&str> =
        findings.iter().filter_map(|finding| finding.expected.as_ref()).map(|file| &*file.sha256).collect();
    let mut sources = Sources::default();
    if wanted.is_empty() {
        return Ok(sources);
    }
    for version in prune::numbers(view_dir)? {
        let dir = layout::version_dir(view_dir, version);
        // Err: nothing can be had from a version without a manifest.
        let Ok(Some(opened)) = manifest::open_listed(&dir) else { continue };
        for file in expected(&opened.manifest) {
            let is_wanted = wanted.contains(&*file.sha256) && layout::is_inside(&file.path);
            if is_wanted && survey.fault(&dir.join(&file.path), &file).is_none() {
                sources.intact.entry(file.sha256.clone()).or_default().push(Intact { version, file });
            }
        }
    }
    Ok(sources)
}

/// Brings one file back.
fn restore(view_dir: &Path, version: u64, wanted: &Expected, sources: &mut Sources, render: &mut Render<'_>) -> Remedy {
    let to = place(view_dir, version, &wanted.path);
    let known = sources.intact.get(&wanted.sha256).map_or(&[][..], Vec::as_slice);
    // The very same file, as a link: versions go on sharing it.
    let same =
        |intact: &&Intact| (intact.file.gzip_bytes, intact.file.modified) == (wanted.gzip_bytes, wanted.modified);
    let linked = known.iter().filter(same).find(|intact| {
        let from = place(view_dir, intact.version, &intact.file.path);
        manifest::lease(&layout::version_dir(view_dir, intact.version)).is_ok_and(|_lease| {
            // Err: no links here, or no more of them; then it is written.
            file::replace_by_link(&from, &to).is_ok()
        })
    });
    let remedy = match linked {
        Some(intact) => Remedy::Copied { version: intact.version },
        None => match bytes(view_dir, version, wanted, known, &mut sources.tried, render) {
            Some((bytes, remedy)) => match file::replace(&to, &bytes, wanted.modified) {
                Ok(()) => remedy,
                Err(error) => return Remedy::Failed(error.cause()),
            },
            None => return Remedy::None,
        },
    };
    sources.intact.entry(wanted.sha256.clone()).or_default().push(Intact { version, file: wanted.clone() });
    remedy
}

/// The bytes of a file, and how they were had.
fn bytes(
    view_dir: &Path,
    version: u64,
    wanted: &Expected,
    known: &[Intact],
    tried: &mut HashMap<String, Vec<i64>>,
    render: &mut Render<'_>,
) -> Option<(Vec<u8>, Remedy)> {
    let of_kind = |is_gzip: bool| known.iter().filter(move |intact| intact.file.gzip_bytes.is_some() == is_gzip);
    if let Some(gzip_bytes) = wanted.gzip_bytes {
        let same_size = of_kind(true).filter(|intact| intact.file.gzip_bytes == Some(gzip_bytes));
        let copied = same_size.filter_map(|intact| Some((raw(view_dir, intact)?, intact.version)));
        if let Some((bytes, version)) = copied.into_iter().find(|(bytes, _)| unpack(bytes, wanted).is_some()) {
            return Some((bytes, Remedy::Copied { version }));
        }
    }
    let is_own = |intact: &Intact| intact.version == version && intact.file.key == wanted.key;
    let mut read = known.iter().filter_map(|intact| {
        let remedy = match (intact.file.gzip_bytes.is_some(), is_own(intact)) {
            (true, true) => Remedy::Decompressed,
            _ => Remedy::Copied { version: intact.version },
        };
        Some((list(view_dir, intact)?, remedy))
    });
    let (list, remedy) = read
        .find(|(list, _)| is_right(list, wanted))
        .or_else(|| Some((rendered(wanted, tried, render)?, Remedy::Rendered)))?;
    match wanted.gzip_bytes {
        None => Some((list, remedy)),
        Some(gzip_bytes) => {
            let packed = gzip::of_length(&list, gzip_bytes)?;
            Some((packed, if remedy == Remedy::Rendered { remedy } else { Remedy::Compressed }))
        }
    }
}

/// The list as it was when its version was made, or when it last changed.
fn rendered(wanted: &Expected, tried: &mut HashMap<String, Vec<i64>>, render: &mut Render<'_>) -> Option<Vec<u8>> {
    let tried = tried.entry(wanted.sha256.clone()).or_default();
    for moment in [wanted.created_at, wanted.modified] {
        if tried.contains(&moment) || tried.len() >= TRIES {
            continue;
        }
        match render(wanted, moment).filter(|list| is_right(list, wanted)) {
            Some(list) => return Some(list),
            None => tried.push(moment),
        }
    }
    None
}

fn is_right(list: &[u8], wanted: &Expected) -> bool {
    hex(digest::digest(&digest::SHA256, list).as_ref()) == wanted.sha256
}

/// The bytes of an intact file, which is not longer than it should be.
fn raw(view_dir: &Path, intact: &Intact) -> Option<Vec<u8>> {
    let _lease = manifest::lease(&layout::version_dir(view_dir, intact.version)).ok()?;
    let limit = intact.file.gzip_bytes.unwrap_or(intact.file.bytes);
    let mut bytes = Vec::new();
    File::open(place(view_dir, intact.version, &intact.file.path)).ok()?.take(limit).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// The list in an intact file.
fn list(view_dir: &Path, intact: &Intact) -> Option<Vec<u8>> {
    let bytes = raw(view_dir, intact)?;
    if intact.file.gzip_bytes.is_some() { unpack(&bytes, &intact.file) } else { Some(bytes) }
}

/// What a compressed file holds, if that is the list.
fn unpack(bytes: &[u8], wanted: &Expected) -> Option<Vec<u8>> {
    let mut list = Vec::new();
    GzDecoder::new(bytes).take(wanted.bytes + 1).read_to_end(&mut list).ok()?;
    is_right(&list, wanted).then_some(list)
}
