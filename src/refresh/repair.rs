//! Lists made once more, as they were: for files that were damaged. In: a site, its mirror, the key of a list and a moment.
//! Out: its body.
//!
//! Whether these are the bytes that are wanted is for the caller to check: the mirror may have moved on since. Invariant:
//! only reads, so it works beside a running cratos.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::never;
use crate::config::{Config, Site};
use crate::index::decoding::Decoded;
use crate::index::mirror::Mirror;
use crate::index::never::Never;
use crate::index::select::{self, ListKey};
use crate::index::{Age, DataType, List, Rules, Slice};
use crate::render::{FORMATS, Format};
use crate::snapshot::layout;
use crate::state::{StateError, ViewState};

/// Renders lists of one view.
pub struct Renderer {
    rules: Rules,
    never: Never,
    zone: TimeZone,
    mirror: Mirror,
    /// By name and moment: what counts as published depends on both.
    lists: BTreeMap<(ListKey, i64), List>,
}

impl Renderer {
    /// Reads the mirror of a view; `None`: there is none that the present rules and source made, or what is never published
    /// is not known.
    pub fn open(config: &Config, site: &Site) -> Result<Option<Self>, StateError> {
        let state = ViewState::open(&config.state_dir, &site.view)?;
        let Some(bytes) = state.mirror()? else { return Ok(None) };
        let fingerprint = site.rules.fingerprint(&site.source.identity(site.user.as_deref()));
        // Err: a damaged mirror, or a list that was never fetched, is the business of the next refresh.
        let (Ok(Decoded { mirror, .. }), Ok(never)) = (Mirror::decode(&bytes), never::of_site(site, &state)) else {
            return Ok(None);
        };
        let (rules, zone) = (site.rules.clone(), config.timezone.clone());
        let is_fit = mirror.fingerprint() == fingerprint;
        Ok(is_fit.then(|| Self { rules, never, zone, mirror, lists: BTreeMap::new() }))
    }

    /// The body that a list had at a moment (Unix seconds), by what is known now. `None`: there is no such list here.
    pub fn body(&mut self, key: &str, moment: i64) -> Option<Vec<u8>> {
        let named = layout::named(key)?;
        let format = FORMATS.iter().find(|format| format.extension == named.extension)?;
        let (age, data_type) = (Age::named(named.age)?, DataType::named(named.data_type)?);
        let slice = match named.organisation {
            true => Slice::Organisation(named.of.into()),
            false => Slice::Feed(named.of.into()),
        };
        let since = age.since(Timestamp::from_second(moment).ok()?, &self.zone);
        let list = self.list((slice, data_type.name), moment)?;
        Some(format.body(data_type.name, list.since(since)).bytes)
    }

    fn list(&mut self, key: ListKey, moment: i64) -> Option<&List> {
        let about = (key.clone(), moment);
        if !self.lists.contains_key(&about) {
            // Nobody asks what became of the rows.
            let wants = BTreeMap::from([(key.clone(), i64::MIN)]);
            let mut found = select::lists(&self.mirror, &self.rules, &self.never, &wants, moment);
            self.lists.insert(about.clone(), found.lists.remove(&key)?);
        }
        self.lists.get(&about)
    }
}

/// The body of an empty list, if that is what `path` names. It needs no mirror.
pub fn empty_form(path: &str) -> Option<Vec<u8>> {
    let of = |data_type: &'static DataType, format: &'static Format| {
        let is_it = format.takes(data_type.name) && layout::empty_path(data_type.name, format.extension) == path;
        is_it.then(|| format.body(data_type.name, std::iter::empty()).bytes)
    };
    crate::index::TYPES.iter().find_map(|data_type| FORMATS.iter().find_map(|format| of(data_type, format)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_forms_are_known_by_their_path() {
        assert_eq!(empty_form("empty/ipv4.txt").as_deref(), Some(&b""[..]));
        assert_eq!(empty_form("empty/ipv4.json").as_deref(), Some(&b"[]"[..]));
        for other in ["feed/block/ipv4/1w.txt", "empty/ipv4", "empty/nothing.txt", "empty/ipv4.txt.gz"] {
            assert_eq!(empty_form(other), None, "{other}");
        }
    }
}
