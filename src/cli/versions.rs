//! `cratos versions`: look at what was published, and put damaged files right. In: the folders below `feeds_dir`. Out: tables.
//!
//! | file | command |
//! |---|---|
//! | [`list`] | `list`: all versions of a site |
//! | [`show`] | `show N`: what one version holds |
//! | [`diff`] | `diff A B`: what came and what went |
//! | [`history`] | `history VALUE`: in which versions a value entered a list and left it |
//! | [`verify`] | `verify`: damaged files, found and restored |
//! | [`export`] | `export N DIR`: a copy of a version |
//! | [`steer`] | `rollback N`, `unpin` |
//!
//! Invariants: all of them work beside a running cratos; all but `verify`, `rollback` and `unpin` only read; the served version is the one that
//! `current` names, whatever numbers there are.

pub mod diff;
pub mod export;
pub mod history;
pub mod list;
pub mod show;
pub mod verify;

use std::path::{Path, PathBuf};
use std::str::FromStr;

use jiff::Timestamp;

use super::{Failure, steer};
use crate::config::{Config, Site};
use crate::index::AGES;
use crate::snapshot::manifest::{self, Opened};
use crate::snapshot::{layout, prune};
use crate::state::ViewState;
use crate::view::{MAIN, ViewId};

pub(crate) use list::bytes;

/// What to do with versions.
#[derive(Debug, clap::Subcommand)]
pub enum Action {
    /// List the versions on disk. The one that is served is marked.
    List(list::Args),
    /// Show one version: why it exists, its lists, what came and went with it.
    Show(show::Args),
    /// Compare two versions: the values that came (+) and went (-), list by list.
    Diff(diff::Args),
    /// Tell in which versions a value entered a list and left it.
    History(history::Args),
    /// Check every file against its version's manifest and restore what is damaged.
    Verify(verify::Args),
    /// Copy a version, as it is, to a new or empty folder.
    Export(export::Args),
    /// Serve the content of an older version again, as a new one, and nothing newer until `unpin`.
    Rollback {
        /// The version's number.
        #[arg(value_name = "N")]
        version: u64,
        /// Whose.
        #[command(flatten)]
        of: Of,
    },
    /// Serve newer versions again.
    Unpin {
        /// Whose.
        #[command(flatten)]
        of: Of,
    },
}

/// Whose versions.
#[derive(Debug, clap::Args)]
pub struct Of {
    /// The site. May be left out where there is only one.
    #[arg(long, value_name = "SITE")]
    pub site: Option<String>,
    /// The view: main, or user-7 of a key that a token brought.
    #[arg(long, value_name = "VIEW", default_value = MAIN)]
    pub view: String,
}

/// One version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// The served one.
    Current,
    /// By its number.
    Number(u64),
}

impl FromStr for Which {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "current" => Ok(Which::Current),
            _ => text.parse().map(Which::Number).map_err(|_| "neither a number nor the word current".to_owned()),
        }
    }
}

/// The view that a command is about.
pub(crate) struct Place {
    pub(crate) view: ViewId,
    pub(crate) dir: PathBuf,
}

impl Place {
    /// The only site, or the one that was named.
    pub(crate) fn new(config: &Config, of: &Of) -> Result<Self, Failure> {
        let site = match (&of.site, config.sites.len()) {
            (Some(name), _) if config.sites.contains_key(name) => name,
            (Some(name), _) => return Err(super::unknown_site(config, name)),
            (None, 1) => config.sites.keys().next().map_or("", String::as_str),
            (None, 0) => return Err(Failure::Usage("there is no file in sites/ yet".into())),
            (None, _) => {
                let names: Vec<&str> = config.sites.keys().map(String::as_str).collect();
                return Err(Failure::Usage(format!(
                    "which site? name it with --site; there are: {}",
                    names.join(", ")
                )));
            }
        };
        let view = ViewId::named(site, &of.view).ok_or_else(|| {
            Failure::Usage(format!("no view is called {}; `cratos views` lists them (main, user-7, …)", of.view))
        })?;
        let dir = layout::view_dir(&config.feeds_dir, view.site(), view.name());
        Ok(Self { view, dir })
    }

    /// How the view is called here: the main one by its site alone.
    pub(crate) fn name(&self) -> String {
        super::refresh::shown(&self.view)
    }

    /// The view as it is refreshed; its site's file has to check.
    pub(crate) fn refreshed(&self, config: &Config) -> Result<Site, Failure> {
        let site = super::site(config, self.view.site())?;
        let found = super::refresh::views(config, &[site])?.into_iter().find(|site| site.view == self.view);
        found.ok_or_else(|| {
            Failure::Usage(format!("{} has no view {}; `cratos views` lists them", site.view.site(), self.view.name()))
        })
    }

    /// What is said about its versions beside what they hold.
    pub(crate) fn marks(&self, config: &Config) -> Result<Marks, Failure> {
        let counters = ViewState::open(&config.state_dir, &self.view)?.counters()?;
        Ok(Marks {
            current: prune::current(&self.dir),
            waiting: counters.candidate.filter(|candidate| !candidate.was_served).map(|candidate| candidate.version),
            pinned: counters.pin.map(|pin| pin.version),
        })
    }

    /// Opens a version. It is not pruned as long as it is open.
    pub(crate) fn open(&self, which: Which) -> Result<Opened, Failure> {
        let number = match which {
            Which::Number(number) => number,
            Which::Current => prune::current(&self.dir)
                .ok_or_else(|| Failure::Usage(format!("{}: nothing is published yet", self.name())))?,
        };
        let dir = layout::version_dir(&self.dir, number);
        if dir.is_dir() { Ok(manifest::open(&dir)?) } else { Err(self.no_version(number)?) }
    }

    fn no_version(&self, number: u64) -> Result<Failure, Failure> {
        let numbers = prune::numbers(&self.dir)?;
        let there = match (numbers.first(), numbers.last()) {
            (Some(first), Some(last)) => {
                format!("there are {} between {first} and {last}: `cratos versions list`", numbers.len())
            }
            _ => "there is none yet".to_owned(),
        };
        Ok(Failure::Usage(format!("{} has no version {number}; {there}", self.name())))
    }
}

/// Which versions are special.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Marks {
    /// The served one.
    pub(crate) current: Option<u64>,
    /// Written and never served: it waits for somebody's decision, or for the next refresh.
    waiting: Option<u64>,
    /// Served until somebody says otherwise.
    pinned: Option<u64>,
}

impl Marks {
    /// Whether a version has not been served yet. A number above the served one is such a version, too.
    pub(crate) fn is_waiting(&self, number: u64) -> bool {
        self.waiting == Some(number) || (Some(number) > self.current && Some(number) != self.pinned)
    }

    /// What is said about one.
    pub(crate) fn of(&self, number: u64) -> &'static str {
        let number = Some(number);
        match (self.current == number, self.pinned == number) {
            (true, true) => "current, pinned",
            (true, false) => "current",
            _ if self.waiting == number => "not served",
            _ => "",
        }
    }
}

/// Runs one of them.
pub fn run(dir: &Path, action: &Action) -> Result<(), Failure> {
    let config = super::load(dir)?;
    match action {
        Action::List(args) => list::run(&config, args),
        Action::Show(args) => show::run(&config, args),
        Action::Diff(args) => diff::run(&config, args),
        Action::History(args) => history::run(&config, args),
        Action::Verify(args) => verify::run(&config, args),
        Action::Export(args) => export::run(&config, args),
        Action::Rollback { version, of } => {
            steer::roll_back(&config, &Place::new(&config, of)?.refreshed(&config)?, *version)
        }
        Action::Unpin { of } => steer::unpin(&config, &Place::new(&config, of)?.refreshed(&config)?),
    }
}

/// The names of all ages, shortest first.
pub(crate) fn ages() -> Vec<&'static str> {
    AGES.iter().map(|age| age.name).collect()
}

/// A moment as it is shown everywhere: UTC, whole seconds.
pub(crate) fn time(unix_seconds: i64) -> String {
    Timestamp::from_second(unix_seconds)
        .map_or_else(|_| "?".to_owned(), |time| time.strftime("%Y-%m-%d %H:%M:%S").to_string())
}

/// A value on one line: what a terminal would obey is shown as an escape.
pub(crate) fn plain(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for character in value.chars() {
        if character.is_control() { out.extend(character.escape_default()) } else { out.push(character) }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_named_by_number_or_as_the_current_one() {
        assert_eq!("000042".parse(), Ok(Which::Number(42)));
        assert_eq!("current".parse(), Ok(Which::Current));
        assert!("../1".parse::<Which>().is_err() && "".parse::<Which>().is_err());
    }

    #[test]
    fn values_stay_on_their_line() {
        assert_eq!(plain("a\r\nb\u{1b}[2J ü"), "a\\r\\nb\\u{1b}[2J ü");
    }
}
