//! `cratos versions export N DIR`. In: a version and a new or empty folder. Out: a copy of the version in there.
//!
//! Invariant: nothing is written below `feeds_dir` or `state_dir`, and into no folder that holds anything.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Of, Place, Which, bytes};
use crate::cli::{self, Failure};
use crate::config::Config;
use crate::snapshot::export::export;

/// Arguments of `versions export`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Number of the version, or current.
    #[arg(value_name = "N")]
    pub version: Which,
    /// A folder that is new or empty.
    #[arg(value_name = "DIR")]
    pub to: PathBuf,
    /// Whose.
    #[command(flatten)]
    pub of: Of,
}

/// Copies it.
pub fn run(config: &Config, args: &Args) -> Result<(), Failure> {
    let place = Place::new(config, &args.of)?;
    let opened = place.open(args.version)?;
    let to = target(&args.to, &[&config.feeds_dir, &config.state_dir])?;
    let exported = export(&opened, &to)?;
    for (path, fault) in &exported.damaged {
        cli::complain(&format!("cratos: {path} is damaged in the version itself, and so in the copy: {fault}"));
    }
    let number = opened.manifest.version;
    if !exported.damaged.is_empty() {
        return Err(Failure::failed("the copy is not whole; `cratos versions verify` repairs the version"));
    }
    let (files, size) = (exported.files, bytes(exported.bytes));
    cli::say(&format!("{}: version {number} copied to {}: {files} files, {size}", place.name(), args.to.display()))
}

/// Where to copy to, links resolved.
fn target(to: &Path, refused: &[&Path]) -> Result<PathBuf, Failure> {
    let shown = to.display();
    let real = match (fs::canonicalize(to), to.parent(), to.file_name()) {
        (Ok(real), _, _) => real,
        (Err(_), Some(above), Some(name)) => {
            let above = if above.as_os_str().is_empty() { Path::new(".") } else { above };
            let real = fs::canonicalize(above);
            real.map_err(|cause| Failure::Usage(format!("{shown}: the folder above it: {cause}")))?.join(name)
        }
        (Err(cause), _, _) => return Err(Failure::Usage(format!("{shown}: {cause}"))),
    };
    // One that is not there yet holds nothing.
    let inside = |folder: &&&Path| fs::canonicalize(folder).is_ok_and(|folder| real.starts_with(folder));
    if let Some(folder) = refused.iter().find(inside) {
        let why = "what is in there is written by cratos alone; choose a folder outside";
        return Err(Failure::Usage(format!("{shown} is inside {}: {why}", folder.display())));
    }
    let held = match fs::read_dir(&real) {
        Ok(mut entries) => entries.next().is_some(),
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => false,
        Err(cause) => return Err(Failure::Usage(format!("{shown}: {cause}; choose a new folder"))),
    };
    if held { Err(Failure::Usage(format!("{shown} is not empty; choose a new folder"))) } else { Ok(real) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_new_or_empty_folders_outside_are_taken() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        for folder in ["feeds", "full/inside", "empty"] {
            fs::create_dir_all(path(folder)).unwrap();
        }
        std::os::unix::fs::symlink(path("feeds"), path("link")).unwrap();
        let feeds = path("feeds");
        let try_it = |name: &str| target(&path(name), &[&feeds, &path("nowhere")]);
        for bad in ["feeds", "feeds/new", "link/new", "full", "no/new", "empty/../feeds/new", "full/inside/.."] {
            assert!(matches!(try_it(bad), Err(Failure::Usage(_))), "{bad}");
        }
        for good in ["empty", "new", "full/new"] {
            assert!(try_it(good).is_ok(), "{good}");
        }
    }
}
