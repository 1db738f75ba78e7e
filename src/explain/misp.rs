//! What the MISP itself says of a value: one question, and for each row the rules that apply to it.
//!
//! In: a site, the value. Out: [`Said`]. The rows become a small mirror, which is asked as the large one is.
//!
//! Invariants: a MISP that cannot be asked is an answer, too; a row that is in no list has a rule.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;

use super::lists::order;
use super::words::{self, Place, moment};
use super::{Explained, View};
use crate::config::Site;
use crate::fetch::Source;
use crate::fetch::lookup::Looked;
use crate::index::fate::Loss;
use crate::index::intake::Intake;
use crate::index::mirror::Coverage;
use crate::index::never::Never;
use crate::index::select::ListKey;
use crate::index::trace::{self, Fates, Trace};
use crate::index::{AGES, Rules};
use crate::probe;

/// Spellings of the value that are asked for in one question.
const MAX_SPELLINGS: usize = 10;

/// What the MISP says.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Said {
    /// Why it could not be asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// Every attribute it has with the value, as far as the key may see it.
    pub attributes: Vec<Row>,
    /// There may be more.
    pub more: bool,
    /// Attributes that cannot be read.
    pub malformed: u64,
}

/// One attribute.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Number of its event.
    pub event: String,
    /// Its MISP type.
    pub kind: String,
    /// As it is written there.
    pub value: String,
    /// Unix seconds.
    pub timestamp: i64,
    /// Meant for detection.
    pub to_ids: bool,
    /// Its event is published.
    pub published: bool,
    /// Soft-deleted.
    pub deleted: bool,
    /// Tags on it or its event.
    pub tags: BTreeSet<String>,
    /// The rules that apply to it.
    pub says: Vec<String>,
}

/// Asks the MISP of a view for a value.
pub async fn ask(view: &View<'_>, zone: &TimeZone, explained: &mut Explained, now: Timestamp) {
    let failed = |text: String| Said { failure: Some(text), ..Said::default() };
    let site = view.site;
    explained.misp = Some(match &site.source {
        Source::Feed(_) => failed("this site reads a feed: there is no MISP to ask".to_owned()),
        Source::None => failed("this view has no key to ask with".to_owned()),
        Source::Misp(misp) => match probe::rows_with(misp, &spellings(explained)).await {
            Err(error) => failed(format!("the MISP could not be asked: {error}")),
            Ok(answer) => Said {
                failure: None,
                attributes: answer.rows.iter().map(|row| Judging { view, zone, now }.row(row)).collect(),
                more: answer.more,
                malformed: answer.malformed,
            },
        },
    });
}

/// The value as it was asked for, as lists write it, and as the known attributes do.
fn spellings(explained: &Explained) -> Vec<String> {
    let lines = explained.lists.iter().flat_map(|answer| match &answer.lines[..] {
        [only] => Some(only.clone()),
        _ => None,
    });
    let known = explained.attributes.values().flat_map(|rows| rows.spellings.iter().cloned());
    let all: BTreeSet<String> = lines.chain(known).filter(|text| *text != explained.value).collect();
    std::iter::once(explained.value.clone()).chain(all).take(MAX_SPELLINGS).collect()
}

struct Judging<'a> {
    view: &'a View<'a>,
    zone: &'a TimeZone,
    now: Timestamp,
}

impl Judging<'_> {
    fn row(&self, looked: &Looked) -> Row {
        let Looked { event_id, event, attribute, deleted } = looked;
        let tags = event.tags.iter().cloned().chain(attribute.tags.iter().map(|tag| tag.to_string()));
        Row {
            event: event_id.clone(),
            kind: attribute.kind.to_string(),
            value: attribute.value.to_string(),
            timestamp: attribute.timestamp,
            to_ids: attribute.to_ids,
            published: event.published,
            deleted: *deleted,
            tags: tags.collect(),
            says: self.says(looked),
        }
    }

    fn says(&self, looked: &Looked) -> Vec<String> {
        let site = self.view.site;
        let kind = &*looked.attribute.kind;
        if looked.deleted {
            return vec!["it is deleted".to_owned()];
        }
        let wanted = site.rules.misp_types();
        if !wanted.contains(kind) {
            return vec![format!("the type {kind} is in no list (config/mappings.yaml)")];
        }
        let now = self.now.as_second();
        let mut intake = Intake::full(None, [0; 32], Coverage::Everything, wanted, now);
        intake.attribute(&looked.event.uuid, &looked.attribute);
        intake.event(&looked.event);
        let (alone, _) = intake.finish();
        let (none, known) = (Never::default(), &self.view.never);
        let never = known.as_ref().unwrap_or(&none);
        let trace = trace::trace(&alone, (&site.rules, never), &looked.attribute.value, &BTreeSet::new(), now);
        let listed: Vec<&ListKey> =
            trace.lists.iter().filter(|(_, fates)| fates.listed > 0).map(|(key, _)| key).collect();
        let mut says = Vec::new();
        if !listed.is_empty() {
            says.push(format!("belongs into {}", named(site, &listed)));
            says.extend(self.delays(&trace, looked));
        }
        says.extend(reasons(site, &trace, listed.is_empty()));
        says
    }

    /// Why what belongs into lists may not be there.
    fn delays(&self, trace: &Trace, looked: &Looked) -> Vec<String> {
        let mut says = Vec::new();
        let (event, attribute) = (&looked.event.uuid, &looked.attribute.uuid);
        if !self.view.mirror().is_some_and(|mirror| mirror.has(event, attribute)) {
            says.push(match self.is_read(trace) {
                true => "not read yet: the next refresh does".to_owned(),
                false => "not read: it has no feed's tag, and only tag feeds are published".to_owned(),
            });
        }
        let oldest = AGES.last().map(|age| age.since(self.now, self.zone));
        if oldest.is_some_and(|since| looked.attribute.timestamp < since) {
            says.push(format!("too old: of {}", moment(looked.attribute.timestamp)));
        }
        says
    }

    /// Whether pulls bring it.
    fn is_read(&self, trace: &Trace) -> bool {
        let rules = &self.view.site.rules;
        let is_tagged = of_tags(rules, trace).any(|fates| !fates.lost.contains_key(&Loss::NotInFeed));
        is_tagged || self.view.mirror().is_none_or(|mirror| mirror.coverage() == Coverage::Everything)
    }
}

/// What keeps it out of lists: each rule once, with the lists it is about. That other feeds have other tags is no news, nor that
/// a value fits not every type; `all`: unless it is in no list.
fn reasons(site: &Site, trace: &Trace, all: bool) -> Vec<String> {
    let mut by_text: BTreeMap<(Loss, String), Vec<&ListKey>> = BTreeMap::new();
    for (key @ (slice, data_type), fates) in &trace.lists {
        for (loss, lost) in &fates.lost {
            let text = words::reason(Place { site, slice, data_type }, *loss, lost).text;
            by_text.entry((*loss, text)).or_default().push(key);
        }
    }
    let no_tag = of_tags(&site.rules, trace).all(|fates| fates.lost.contains_key(&Loss::NotInFeed));
    let is_news = |((loss, _), _): &((Loss, String), Vec<&ListKey>)| match loss {
        Loss::NotInFeed => false,
        Loss::Refused(_) => all,
        _ => true,
    };
    let say = |((_, text), lists): ((Loss, String), Vec<&ListKey>)| format!("not in {}: {text}", named(site, &lists));
    let no_tag = no_tag.then(|| "it has no tag of a feed".to_owned());
    no_tag.into_iter().chain(by_text.into_iter().filter(is_news).map(say)).collect()
}

/// What becomes of the row in lists that a tag decides.
fn of_tags<'a>(rules: &Rules, trace: &'a Trace) -> impl Iterator<Item = &'a Fates> {
    let tagged = trace.lists.iter().filter(|((slice, _), _)| rules.is_tag_feed(slice)).map(|(_, fates)| fates);
    tagged.filter(|fates| fates.listed > 0 || !fates.lost.is_empty())
}

/// `block, any of ipv4, ipv4ext`.
fn named(site: &Site, lists: &[&ListKey]) -> String {
    let mut lists: Vec<&ListKey> = lists.to_vec();
    lists.sort_by_key(|key| order(site, key));
    let (mut feeds, mut types): (Vec<String>, Vec<&str>) = (Vec::new(), Vec::new());
    for (slice, data_type) in lists {
        if !feeds.contains(&slice.to_string()) {
            feeds.push(slice.to_string());
        }
        if !types.contains(data_type) {
            types.push(data_type);
        }
    }
    format!("{} of {}", feeds.join(", "), types.join(", "))
}
