//! How much a list may change at once. In: a [`Section`]. Out: [`Guard`]; mistakes stay in the section.

use std::collections::BTreeMap;

use super::mistake::did_you_mean;
use super::section::Section;

/// Within what a new version is served without being asked about; overridable per feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guard {
    /// For every feed.
    pub all: Limits,
    /// What single feeds have otherwise.
    pub feeds: BTreeMap<String, Own>,
    /// `hold_release`: so many full pulls in a row that find the same release what is held.
    pub release: u32,
}

/// Limits of one feed's lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Percent of its entries that a list may lose.
    pub max_shrink: u64,
    /// Percent of its entries that a list may gain.
    pub max_growth: u64,
    /// Smaller lists jitter: nothing is asked about them.
    pub min_entries: u64,
}

/// Limits a feed has of its own; `None`: as for all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Own {
    /// [`Limits::max_shrink`]
    pub max_shrink: Option<u64>,
    /// [`Limits::max_growth`]
    pub max_growth: Option<u64>,
    /// [`Limits::min_entries`]
    pub min_entries: Option<u64>,
}

impl Default for Guard {
    fn default() -> Self {
        let all = Limits { max_shrink: 50, max_growth: 300, min_entries: 100 };
        Self { all, feeds: BTreeMap::new(), release: 3 }
    }
}

impl Guard {
    /// The limits of a feed.
    pub fn of(&self, feed: &str) -> Limits {
        self.feeds.get(feed).map_or(self.all, |own| own.over(self.all))
    }
}

impl Limits {
    /// No list is ever as large as that.
    const NONE: Limits = Limits { max_shrink: 100, max_growth: u64::MAX, min_entries: u64::MAX };
}

impl Own {
    fn over(self, base: Limits) -> Limits {
        Limits {
            max_shrink: self.max_shrink.unwrap_or(base.max_shrink),
            max_growth: self.max_growth.unwrap_or(base.max_growth),
            min_entries: self.min_entries.unwrap_or(base.min_entries),
        }
    }

    fn read(section: &mut Section<'_>) -> Self {
        Self {
            max_shrink: percent(section, "max_shrink", 100),
            max_growth: percent(section, "max_growth", 1_000_000),
            min_entries: section.integer("min_entries", 0..=1_000_000_000),
        }
    }
}

/// `guard` and `hold_release`; what is not said is as in `base`. `off` takes all limits away.
pub fn read(section: &mut Section<'_>, base: &Guard) -> Guard {
    let release = section.integer("hold_release", 1..=1000).and_then(|count| u32::try_from(count).ok());
    let release = release.unwrap_or(base.release);
    if section.is_off("guard") {
        return Guard { all: Limits::NONE, feeds: BTreeMap::new(), release };
    }
    let Some(mut inner) = section.child("guard") else { return Guard { release, ..base.clone() } };
    let all = Own::read(&mut inner).over(base.all);
    let mut feeds = base.feeds.clone();
    if let Some(mut own) = inner.child("feeds") {
        for feed in own.keys() {
            if let Some(mut limits) = own.child(&feed) {
                feeds.insert(feed, Own::read(&mut limits));
                own.absorb(limits);
            }
        }
        inner.absorb(own);
    }
    section.absorb(inner);
    Guard { all, feeds, release }
}

/// Feeds that `guard.feeds` of a site file names must exist there.
pub fn check_feeds(section: &mut Section<'_>, guard: &Guard, base: &Guard, known: &[&str]) {
    for feed in guard.feeds.keys().filter(|feed| !base.feeds.contains_key(*feed)) {
        if !known.contains(&feed.as_str()) {
            let at = section.position("guard");
            section.mistake("guard", at, format!("\"{feed}\" is no feed of this site"), did_you_mean(feed, known));
        }
    }
}

/// `50%` or `50`.
fn percent(section: &mut Section<'_>, key: &str, most: u64) -> Option<u64> {
    let item = section.text(key)?;
    let text = item.text.trim();
    let number = text.strip_suffix('%').unwrap_or(text).trim_end();
    let percent = number.parse().ok().filter(|percent| *percent <= most);
    if percent.is_none() {
        let what = format!("\"{text}\" is no percentage from 0% to {most}%");
        section.mistake(key, item.at, what, "write e.g. 50%");
    }
    percent
}
