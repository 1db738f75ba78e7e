//! One site file → [`Site`] and what serving needs of it. In: a [`Document`], the site's name, what `config.yaml` says
//! for all sites. Out: both, or every mistake of the file.
//!
//! Invariants: nothing of another site is read; a key is never part of a mistake; with a mistake there is no site.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::file::Document;
use super::mistake::{Mistake, did_you_mean};
use super::never::NeverPublish;
use super::section::{Item, Section};
use super::settings::{self, Common, Wish};
use super::{Publish, Site, When, guard, source, when};
use crate::fetch::Source;
use crate::index::{AGES, ANY, Bounds, FORTY_TWO, Rules, TAG_FEEDS, TYPES, TagFeed, TypeRule};
use crate::render::Format;
use crate::view::ViewId;
use crate::web::SiteSettings;

/// Custom feeds the predecessor knows by name: they exist in URLs whether a site defines them or not.
const CUSTOM: [&str; 5] = ["cust1", "cust2", "cust3", "cust4", "cust5"];
/// Accepted and without effect; worth a line at start.
const IGNORED: [&str; 4] = ["mispDebug", "memcached_all_timeout", "falsepositive_timeout", "list_stats"];
const DEFAULT_TIME_LIMIT: Duration = Duration::from_secs(600);
/// Full pulls of a MISP; a feed's own timestamps tell everything.
const DEFAULT_FULL: Duration = Duration::from_secs(3600);
/// How long a request waits for what is being made, where no MISP says how long that takes.
const DEFAULT_PATIENCE: Duration = Duration::from_secs(10);

/// What a site file is read with.
pub struct Shared<'a> {
    /// Relative paths start here.
    pub dir: &'a Path,
    /// What applies unless the site file says otherwise.
    pub common: &'a Common,
    /// Data types with their MISP types.
    pub types: &'a [TypeRule],
}

/// A site file without mistakes.
pub struct Checked {
    /// For fetching and publishing.
    pub site: Site,
    /// For serving.
    pub access: SiteSettings,
    /// Settings that do nothing any more.
    pub ignored: Vec<&'static str>,
    /// Settings that check but do not go together.
    pub notes: Vec<String>,
}

/// Reads the file of the site `name`.
pub fn read(document: &Document, name: &str, shown: &str, shared: &Shared<'_>) -> Result<Checked, Vec<Mistake>> {
    let mut section = document.section().map_err(|mistake| vec![mistake])?;
    let checked = checked(&mut section, name, shared);
    let mut mistakes = section.finish();
    match checked {
        Some(checked) if mistakes.is_empty() => Ok(checked),
        _ => {
            if mistakes.is_empty() {
                mistakes.push(Mistake::of_file(shown, "does not check", ""));
            }
            Err(mistakes)
        }
    }
}

/// `None` only with a mistake in the section.
fn checked(section: &mut Section<'_>, name: &str, shared: &Shared<'_>) -> Option<Checked> {
    let view = ViewId::main(name);
    let enabled = section.bool("enabled").unwrap_or(true);
    section.bool("debug");
    section.skip("company");
    let ignored = IGNORED.into_iter().filter(|key| section.skip(key)).collect();
    section.missing("allowed_ips", "list the networks that may read the site; [] for none");
    let allowed = settings::networks(section, "allowed_ips");
    let blacklist = blacklist(section);
    let rules = rules(section, shared.types);
    let (misp, token_endpoint) = source::misp_url(section);
    let key = source::auth_key(section, shared.dir);
    let (source, endpoint) = source::source(section, shared.dir, misp, key.clone());
    let time_limit = time_limit(section);
    let full_refresh = settings::when(section, "full_refresh").unwrap_or(When::Every(DEFAULT_FULL));
    let own = Common::read(section, &Common { publish: Wish::default(), ..shared.common.clone() });
    let period = own.refresh.period().as_secs();
    let cache_control = cache_control(section, period);
    let never = NeverPublish::read(section, shared.dir, &shared.common.never, endpoint.is_some());
    let rules = with_common(rules?, &own);
    let publish = publish(section, &rules, &own.publish, &shared.common.publish);
    let (feeds, undefined_feeds) = feed_names(&rules);
    check_guard(section, &rules, &own, shared);
    let access = SiteSettings {
        enabled,
        allowed: allowed?,
        blacklist,
        // Without a source of its own the file's key is one like any other.
        key: key.clone().filter(|_| source != Source::None),
        feeds,
        feed_tags: rules.feeds.iter().map(|feed| (feed.name.to_string(), feed.tag.clone())).collect(),
        undefined_feeds,
        cache_control: cache_control?,
        retry_after: period.clamp(5, 120),
        patience: endpoint.as_ref().map_or(DEFAULT_PATIENCE, |endpoint| endpoint.limits.silence),
        learns: endpoint.is_some(),
        max_stale: own.max_stale,
        refuse_stale: own.refuse_stale,
    };
    let site = Site {
        view: view?,
        enabled,
        source,
        endpoint,
        user: None,
        view_idle: own.view_idle,
        view_grace: own.view_grace,
        rules,
        never,
        refresh: own.refresh,
        full_refresh,
        time_limit,
        publish,
        guard: own.guard,
        expire_when_stale: own.expire_when_stale,
        keep: own.keep,
        on_demand_idle: own.on_demand_idle,
        max_stale: own.max_stale,
        key,
        token_endpoint,
    };
    Some(Checked { notes: note_short_max_stale(&site).into_iter().collect(), site, access, ignored })
}

fn time_limit(section: &mut Section<'_>) -> Duration {
    let range = Duration::from_secs(1)..=Duration::from_secs(86_400);
    settings::duration(section, "refresh_time_limit", range).unwrap_or(DEFAULT_TIME_LIMIT)
}

/// The rules with what `config.yaml` may say of them as well.
fn with_common(rules: Rules, own: &Common) -> Rules {
    let bounds = Bounds { min_prefix: own.min_prefix, ..rules.bounds };
    let unpublish_grace = i64::try_from(own.unpublish_grace.as_secs()).unwrap_or(i64::MAX);
    Rules { unpublish_grace, bounds, ..rules }
}

fn check_guard(section: &mut Section<'_>, rules: &Rules, own: &Common, shared: &Shared<'_>) {
    let known: Vec<&str> = rules.feeds.iter().map(|feed| &*feed.name).chain([ANY, FORTY_TWO]).collect();
    guard::check_feeds(section, &own.guard, &shared.common.guard, &known);
}

/// Nobody wants lists that are too old between any two refreshes.
fn note_short_max_stale(site: &Site) -> Option<String> {
    let (limit, period) = (site.max_stale?, site.refresh.period());
    let (shown, name) = (when::shown, site.view.site());
    (limit < period).then(|| {
        let (limit, period) = (shown(limit), shown(period));
        format!(
            "{name}: max_stale ({limit}) is shorter than refresh ({period}): lists are stale before the next refresh"
        )
    })
}

/// Entries that are no SHA-256, such as the customary "empty", block nothing.
fn blacklist(section: &mut Section<'_>) -> Vec<String> {
    let items = section.texts("blacklisted_api_tokens").unwrap_or_default();
    items.into_iter().map(|item| item.text.trim().to_ascii_lowercase()).filter(|text| is_sha256(text)).collect()
}

pub(super) fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn rules(section: &mut Section<'_>, types: &[TypeRule]) -> Option<Rules> {
    section.missing("tag", "write the first part of your tags, e.g. `tag: example`");
    section.missing("custom_feeds", "write `custom_feeds: {}` for none");
    let tag = section.text("tag");
    if let Some(item) = tag.as_ref().filter(|item| item.text.trim().is_empty()) {
        section.mistake("tag", item.at, "is empty", "write the first part of your tags, e.g. `tag: example`");
    }
    let custom = section.map("custom_feeds");
    let ignore_to_ids = section.texts("ignore_to_ids").unwrap_or_default();
    let ignore_to_ids: BTreeSet<String> = ignore_to_ids.into_iter().map(|item| item.text).collect();
    let bounds = bounds(section);
    for (name, value) in custom.iter().flatten() {
        check_custom_name(section, name);
        if !value.text.is_empty() && value.text.bytes().all(|byte| byte.is_ascii_digit()) {
            let key = format!("custom_feeds.{}", name.text);
            let what = "is a number, which MISP takes for the number of a tag";
            section.mistake(&key, value.at, what, "write the tag's name");
        }
    }
    let (tag, custom) = (tag?.text, custom?);
    let mut feeds: Vec<TagFeed> = TAG_FEEDS
        .into_iter()
        .map(|name| TagFeed {
            name: Arc::from(name),
            tag: format!("{tag}:incident-classification={name}"),
            published_only: name == "block",
        })
        .collect();
    feeds.extend(custom.into_iter().map(|(name, value)| TagFeed {
        name: Arc::from(name.text),
        tag: if value.text.starts_with(':') { format!("{tag}{}", value.text) } else { value.text },
        published_only: true,
    }));
    let false_positive = format!("{tag}:incident-classification=false-positive");
    Some(Rules { feeds, false_positive, ignore_to_ids, types: types.to_vec(), bounds, unpublish_grace: 0 })
}

/// 32 expands no network, 0 any that fits into a list.
fn bounds(section: &mut Section<'_>) -> Bounds {
    let widest = section.integer("ipv4ext_widest", 0..=32).and_then(|prefix| u8::try_from(prefix).ok());
    let default = Bounds::default();
    Bounds { widest: widest.unwrap_or(default.widest), ..default }
}

fn check_custom_name(section: &mut Section<'_>, name: &Item) {
    let text = &name.text;
    let key = format!("custom_feeds.{text}");
    let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-');
    if !(1..=32).contains(&text.len()) || !text.bytes().all(good) {
        section.mistake(&key, name.at, "is no name for a feed", "use 1 to 32 of: a-z 0-9 _ -");
    } else if TAG_FEEDS.contains(&text.as_str()) || text == ANY || text == FORTY_TWO {
        section.mistake(&key, name.at, "is a feed that every site has", "choose another name");
    }
}

/// Feeds that exist in URLs at every site, in the order of error texts.
pub fn common_feeds() -> Vec<&'static str> {
    TAG_FEEDS.into_iter().chain(CUSTOM).chain([ANY, FORTY_TWO]).collect()
}

/// Feed names in the order of error texts, and those of them that are not defined.
fn feed_names(rules: &Rules) -> (Vec<String>, Vec<String>) {
    let defined: Vec<&str> = rules.feeds.iter().map(|feed| &*feed.name).collect();
    let further = defined.iter().copied().filter(|name| !TAG_FEEDS.contains(name) && !CUSTOM.contains(name));
    let feeds = TAG_FEEDS.into_iter().chain(CUSTOM).chain(further).chain([ANY, FORTY_TWO]).map(str::to_owned).collect();
    let undefined = CUSTOM.into_iter().filter(|name| !defined.contains(name)).map(str::to_owned).collect();
    (feeds, undefined)
}

/// Names a site file gives must exist there; of those that `config.yaml` gives, the ones that exist here count.
fn publish(section: &mut Section<'_>, rules: &Rules, own: &Wish, all: &Wish) -> Publish {
    let tag_feeds: Vec<&str> = rules.feeds.iter().map(|feed| &*feed.name).collect();
    let known: Vec<&str> = tag_feeds.iter().copied().chain([ANY, FORTY_TWO]).collect();
    for item in own.feeds.iter().flatten().filter(|item| !known.contains(&item.text.as_str())) {
        let what = format!("\"{}\" is no feed of this site", item.text);
        section.mistake("publish.feeds", item.at, what, did_you_mean(&item.text, &known));
    }
    let wished = own.feeds.as_ref().or(all.feeds.as_ref());
    let feeds = match wished {
        None => tag_feeds.into_iter().map(str::to_owned).collect(),
        Some(items) => {
            let mut names: Vec<String> = Vec::with_capacity(items.len());
            for item in items.iter().filter(|item| known.contains(&item.text.as_str())) {
                if !names.contains(&item.text) {
                    names.push(item.text.clone());
                }
            }
            names
        }
    };
    let txt = || Format::named("txt").into_iter().collect();
    Publish {
        feeds,
        types: own.types.clone().or_else(|| all.types.clone()).unwrap_or_else(|| TYPES.iter().collect()),
        ages: own.ages.clone().or_else(|| all.ages.clone()).unwrap_or_else(|| AGES.iter().collect()),
        formats: own.formats.clone().or_else(|| all.formats.clone()).unwrap_or_else(txt),
    }
}

/// `None` only with a mistake.
fn cache_control(section: &mut Section<'_>, period: u64) -> Option<http::HeaderValue> {
    let item = section.text("cache_control");
    let (text, at) = match item {
        Some(item) => (item.text, item.at),
        None => (format!("private, max-age={period}"), section.position("cache_control")),
    };
    let value = http::HeaderValue::from_str(&text).ok().filter(|value| !value.is_empty());
    if value.is_none() {
        section.mistake("cache_control", at, "is no value for a header", "write e.g. \"private, max-age=300\"");
    }
    value
}
