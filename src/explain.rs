//! Why a value is, or is not, in the lists of a view.
//!
//! In: a site's view, the value as somebody writes it, the moment. Out: [`Explained`]; with [`misp::ask`] also what the MISP
//! itself says.
//!
//! | file | answers |
//! |---|---|
//! | [`served`] | where the value stands: read from the files that are served |
//! | [`lists`] | list by list: in, or which rule keeps it out |
//! | [`words`] | rules and remedies in words |
//! | [`misp`] | which rule applies to each row that the MISP has |
//!
//! Invariants: only reads; works beside a running cratos; what is served is read from files, never computed.

pub mod lists;
pub mod misp;
pub mod served;
pub mod words;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use crate::config::{Config, Site};
use crate::fetch::Source;
use crate::index::mirror::{Coverage, Mirror};
use crate::index::near::{self, Near};
use crate::index::never::Never;
use crate::index::trace::{self, Rows};
use crate::refresh;
use crate::snapshot::manifest::{self, Opened};
use crate::snapshot::{SnapshotError, layout};
use crate::state::{Counters, StateError, ViewState};

use lists::{Answer, Bench};
use served::Reader;
use words::moment;

/// Longest value that is looked for, in bytes; MISP keeps no longer ones.
pub const MAX_VALUE: usize = 65_536;

/// Why nothing can be said.
#[derive(Debug, thiserror::Error)]
pub enum ExplainError {
    /// Mirror or counters.
    #[error("state: {0}")]
    State(#[from] StateError),
    /// The served version.
    #[error("snapshot: {0}")]
    Snapshot(#[from] SnapshotError),
}

/// The version that is served.
#[derive(Clone, Debug, Serialize)]
pub struct Served {
    /// Its number.
    pub version: u64,
    /// Unix seconds.
    pub created_at: i64,
    /// Why it exists.
    pub reason: String,
}

/// What is known of the view.
#[derive(Clone, Debug, Serialize)]
pub struct Known {
    /// Attributes in the mirror.
    pub attributes: u64,
    /// Their events.
    pub events: u64,
    /// Every attribute of the wanted types; else those with a feed's tag.
    pub everything: bool,
    /// Unix seconds of the last refresh that succeeded.
    pub last_success: Option<i64>,
}

/// All that is known here of a value.
#[derive(Clone, Debug, Serialize)]
pub struct Explained {
    /// The site.
    pub site: String,
    /// The view of it.
    pub view: String,
    /// As it was asked for.
    pub value: String,
    /// `None`: nothing was published yet.
    pub served: Option<Served>,
    /// `None`: nothing is known, or it cannot be read.
    pub mirror: Option<Known>,
    /// MISP type → its attributes with the value. Empty: none is known.
    pub attributes: BTreeMap<String, Rows>,
    /// Every list that could hold the value.
    pub lists: Vec<Answer>,
    /// What is like the value, if no attribute has it.
    pub near: Vec<Near>,
    /// What else there is to say.
    pub notes: Vec<String>,
    /// What the MISP says, if it was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub misp: Option<misp::Said>,
}

impl Explained {
    /// Whether anything is known of the view.
    pub fn knows_anything(&self) -> bool {
        self.mirror.is_some() || self.served.is_some()
    }
}

/// A view as it lies on disk.
pub struct View<'a> {
    site: &'a Site,
    counters: Counters,
    /// With the hash of its file. Err: why it cannot be used.
    mirror: Result<Option<(Mirror, String)>, String>,
    /// What is never published. Err: why that is not known.
    never: Result<Never, String>,
    opened: Option<Opened>,
}

impl<'a> View<'a> {
    /// Reads state and served version of a view.
    pub fn open(config: &Config, site: &'a Site) -> Result<Self, ExplainError> {
        let state = ViewState::open(&config.state_dir, &site.view)?;
        let mirror = match state.mirror()?.map(|bytes| Mirror::decode(&bytes)) {
            None => Ok(None),
            Some(Ok(decoded)) => Ok(Some((decoded.mirror, hex(&decoded.hash)))),
            Some(Err(error)) => Err(error.to_string()),
        };
        let opened = manifest::open_current(&layout::view_dir(&config.feeds_dir, site.view.site(), site.view.name()))?;
        let never = refresh::never::of_site(site, &state).map_err(|error| error.to_string());
        Ok(Self { site, counters: state.counters()?, mirror, never, opened })
    }

    /// The mirror, if it can be used.
    pub fn mirror(&self) -> Option<&Mirror> {
        self.mirror.as_ref().ok()?.as_ref().map(|(mirror, _)| mirror)
    }

    /// Says what is known of a value.
    pub fn explain(&self, config: &Config, value: &str, now: Timestamp) -> Explained {
        let nothing = Mirror::default();
        let mirror = self.mirror().unwrap_or(&nothing);
        let (rules, nobody) = (&self.site.rules, Never::default());
        let never = self.never.as_ref().unwrap_or(&nobody);
        let trace = trace::trace(mirror, (rules, never), value, &self.organisations(), now.as_second());
        let bench = Bench {
            site: self.site,
            zone: &config.timezone,
            now,
            mirror: self.mirror(),
            never,
            counters: &self.counters,
            hash: self.mirror.as_ref().ok().and_then(Option::as_ref).map_or("", |(_, hash)| hash),
        };
        let lists = lists::answers(&bench, &trace, self.opened.as_ref().map(Reader::new));
        let near = if trace.kinds.is_empty() { near::near(mirror, value) } else { Vec::new() };
        let mut notes = self.notes();
        if trace.kinds.is_empty() {
            let never = trace.never.as_ref();
            notes.extend(
                never.map(|entry| format!("if some attribute had it, never_publish would keep it out: {entry}")),
            );
            notes.extend(self.absence());
        }
        Explained {
            site: self.site.view.site().to_owned(),
            view: self.site.view.name().to_owned(),
            value: value.to_owned(),
            served: self.opened.as_ref().map(|opened| Served {
                version: opened.manifest.version,
                created_at: opened.manifest.created_at,
                reason: opened.manifest.reason.clone(),
            }),
            mirror: self.mirror().map(|mirror| Known {
                attributes: mirror.rows(),
                events: mirror.event_count(),
                everything: mirror.coverage() == Coverage::Everything,
                last_success: self.counters.last_success,
            }),
            attributes: trace.kinds,
            lists,
            near,
            notes,
            misp: None,
        }
    }

    /// Organisations that have lists in the served version.
    fn organisations(&self) -> BTreeSet<Uuid> {
        let Some(opened) = &self.opened else { return BTreeSet::new() };
        let reader = Reader::new(opened);
        reader.lists().filter_map(|list| list.strip_prefix("org/")?.split('/').next()?.parse().ok()).collect()
    }

    /// What concerns every value.
    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if let Some(pin) = &self.counters.pin {
            notes.push(format!(
                "pinned: the content of version {} is served until `cratos versions unpin`",
                pin.content
            ));
        }
        notes.extend(
            self.counters.holds.values().map(|hold| format!("held since {}: {}", moment(hold.since), hold.text)),
        );
        if let Err(error) = &self.never {
            notes.push(format!("what is never published is not known, so it is left out here: {error}"));
        }
        match &self.mirror {
            Err(error) => notes.push(format!("the mirror cannot be used ({error}); the next refresh makes it anew")),
            Ok(None) => notes.push("nothing was pulled yet: `cratos refresh`".to_owned()),
            Ok(Some((mirror, _))) => {
                let identity = self.site.source.identity(self.site.user.as_deref());
                if mirror.fingerprint() != self.site.rules.fingerprint(&identity) {
                    notes.push(
                        "feeds, types or source were changed since the last pull: the next refresh reads all".into(),
                    );
                }
            }
        }
        notes
    }

    /// Why an attribute of the MISP may be unknown here.
    fn absence(&self) -> Option<String> {
        let mirror = self.mirror()?;
        let types = "attributes of types that no list is made from (config/mappings.yaml) are never read";
        if !matches!(self.site.source, Source::Misp(_)) {
            return Some(format!("the source is read whole ({}); {types}", self.site.source.describe()));
        }
        let ignored: Vec<&str> = self.site.rules.ignore_to_ids.iter().map(String::as_str).collect();
        let flag =
            if ignored.is_empty() { String::new() } else { format!(" unless they are of {}", ignored.join(", ")) };
        let tags = match mirror.coverage() {
            Coverage::Everything => "",
            Coverage::Tagged => " and a feed's tag on themselves or their event",
        };
        Some(format!(
            "MISP is only asked for attributes that have the IDS flag (to_ids){flag}{tags}; {types}: `--ask` asks it for all"
        ))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
