//! Settings that `config.yaml` and site files have in common, and the readers of values both use. In: a [`Section`].
//! Out: checked values, or the base they would have replaced; mistakes stay in the section.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use ipnet::IpNet;

use super::When;
use super::guard::{self, Guard};
use super::mistake::did_you_mean;
use super::never::NeverPublish;
use super::section::{Item, Section};
use super::when;
use crate::index::{AGES, Age, DataType, TYPES};
use crate::render::{FORMATS, Format};
use crate::snapshot::Keep;

const DAY: Duration = Duration::from_secs(86_400);
const CENTURY: Duration = Duration::from_secs(36_500 * 86_400);

/// What `config.yaml` says for all sites and a site file may say for itself.
#[derive(Clone, Debug)]
pub struct Common {
    /// `refresh`.
    pub refresh: When,
    /// `publish`.
    pub publish: Wish,
    /// `keep`.
    pub keep: Keep,
    /// `on_demand_idle`.
    pub on_demand_idle: Duration,
    /// `view_idle_days`.
    pub view_idle: Duration,
    /// `view_grace`.
    pub view_grace: Duration,
    /// `unpublish_grace`.
    pub unpublish_grace: Duration,
    /// `guard` and `hold_release`.
    pub guard: Guard,
    /// `expire_when_stale`.
    pub expire_when_stale: bool,
    /// `max_stale`; `None`: a view may be as old as it comes.
    pub max_stale: Option<Duration>,
    /// `on_stale: 503`.
    pub refuse_stale: bool,
    /// `never_publish` and `always_publish`; read apart, because they name files.
    pub never: NeverPublish,
    /// `min_prefix`.
    pub min_prefix: u8,
}

impl Default for Common {
    fn default() -> Self {
        Self {
            refresh: When::Every(Duration::from_secs(300)),
            publish: Wish::default(),
            keep: Keep { all: DAY, hourly: 7 * DAY, daily: 90 * DAY, max_disk: 20_000_000_000 },
            on_demand_idle: 14 * DAY,
            view_idle: 30 * DAY,
            view_grace: 7 * DAY,
            unpublish_grace: Duration::ZERO,
            guard: Guard::default(),
            expire_when_stale: true,
            max_stale: None,
            refuse_stale: false,
            never: NeverPublish::default(),
            min_prefix: 0,
        }
    }
}

/// The published matrix as it is wished for; `None`: nothing said.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// Feed names, checked where the feeds of a site are known.
    pub feeds: Option<Vec<Item>>,
    /// Data types.
    pub types: Option<Vec<&'static DataType>>,
    /// Ages.
    pub ages: Option<Vec<&'static Age>>,
    /// Formats.
    pub formats: Option<Vec<&'static Format>>,
}

impl Common {
    /// Reads what the section says; the rest is as in `base`.
    pub fn read(section: &mut Section<'_>, base: &Common) -> Common {
        Common {
            refresh: when(section, "refresh").unwrap_or_else(|| base.refresh.clone()),
            publish: publish(section, &base.publish),
            keep: keep(section, &base.keep),
            on_demand_idle: duration(section, "on_demand_idle", Duration::from_secs(60)..=CENTURY)
                .unwrap_or(base.on_demand_idle),
            view_idle: section
                .integer("view_idle_days", 1..=36_500)
                .map_or(base.view_idle, |days| Duration::from_secs(days * DAY.as_secs())),
            view_grace: duration(section, "view_grace", Duration::ZERO..=CENTURY).unwrap_or(base.view_grace),
            unpublish_grace: duration(section, "unpublish_grace", Duration::ZERO..=31 * DAY)
                .unwrap_or(base.unpublish_grace),
            guard: guard::read(section, &base.guard),
            expire_when_stale: section.bool("expire_when_stale").unwrap_or(base.expire_when_stale),
            max_stale: duration(section, "max_stale", Duration::from_secs(1)..=CENTURY).or(base.max_stale),
            refuse_stale: refuse_stale(section).unwrap_or(base.refuse_stale),
            never: base.never.clone(),
            min_prefix: section
                .integer("min_prefix", 0..=32)
                .and_then(|prefix| u8::try_from(prefix).ok())
                .unwrap_or(base.min_prefix),
        }
    }
}

/// `on_stale`: whether lists that are too old are refused.
fn refuse_stale(section: &mut Section<'_>) -> Option<bool> {
    let item = section.text("on_stale")?;
    match item.text.trim() {
        "serve" => Some(false),
        "503" => Some(true),
        word => {
            let what = format!("\"{word}\" is nothing that can be done with an old list");
            section.mistake("on_stale", item.at, what, "write serve or 503");
            None
        }
    }
}

fn publish(section: &mut Section<'_>, base: &Wish) -> Wish {
    let Some(mut inner) = section.child("publish") else { return base.clone() };
    let types: Vec<&str> = TYPES.iter().map(|data_type| data_type.name).collect();
    let ages: Vec<&str> = AGES.iter().map(|age| age.name).collect();
    let formats: Vec<&str> = FORMATS.iter().map(|format| format.name).collect();
    let own = Wish {
        feeds: inner.texts("feeds"),
        types: names(&mut inner, "types", "data type", DataType::named, &types),
        ages: names(&mut inner, "ages", "age", Age::named, &ages),
        formats: names(&mut inner, "formats", "format", Format::named, &formats),
    };
    section.absorb(inner);
    Wish {
        feeds: own.feeds.or_else(|| base.feeds.clone()),
        types: own.types.or_else(|| base.types.clone()),
        ages: own.ages.or_else(|| base.ages.clone()),
        formats: own.formats.or_else(|| base.formats.clone()),
    }
}

/// A list of names of things that exist; a name that stands twice counts once.
fn names<T: 'static>(
    section: &mut Section<'_>,
    key: &str,
    noun: &str,
    named: fn(&str) -> Option<&'static T>,
    all: &[&str],
) -> Option<Vec<&'static T>> {
    let items = section.texts(key)?;
    let mut found: Vec<&'static T> = Vec::with_capacity(items.len());
    for item in items {
        match named(&item.text) {
            Some(thing) if found.iter().any(|other| std::ptr::eq(*other, thing)) => {}
            Some(thing) => found.push(thing),
            None => {
                section.mistake(key, item.at, format!("\"{}\" is no {noun}", item.text), did_you_mean(&item.text, all));
            }
        }
    }
    Some(found)
}

fn keep(section: &mut Section<'_>, base: &Keep) -> Keep {
    let Some(mut inner) = section.child("keep") else { return *base };
    let range = Duration::ZERO..=CENTURY;
    let keep = Keep {
        all: duration(&mut inner, "all", range.clone()).unwrap_or(base.all),
        hourly: duration(&mut inner, "hourly", range.clone()).unwrap_or(base.hourly),
        daily: duration(&mut inner, "daily", range).unwrap_or(base.daily),
        max_disk: bytes(&mut inner, "max_disk", 1_000_000..=u64::MAX).unwrap_or(base.max_disk),
    };
    section.absorb(inner);
    keep
}

/// A period or cron line.
pub fn when(section: &mut Section<'_>, key: &str) -> Option<When> {
    let item = section.text(key)?;
    match When::parse(&item.text) {
        Ok(when) => Some(when),
        Err(what) => {
            section.mistake(key, item.at, what, when::REMEDY);
            None
        }
    }
}

/// A duration such as `14d`.
pub fn duration(section: &mut Section<'_>, key: &str, range: RangeInclusive<Duration>) -> Option<Duration> {
    let item = section.text(key)?;
    let read = when::duration(&item.text);
    if let Some(duration) = read.filter(|duration| range.contains(duration)) {
        return Some(duration);
    }
    let what = match read {
        None => format!("\"{}\" is no duration", item.text),
        Some(_) => {
            let (from, to) = (when::shown(*range.start()), when::shown(*range.end()));
            format!("\"{}\" is outside {from} to {to}", item.text)
        }
    };
    section.mistake(key, item.at, what, "write e.g. 90s, 5m, 2h, 14d or 2w");
    None
}

/// A number of bytes such as `20GB`.
pub fn bytes(section: &mut Section<'_>, key: &str, range: RangeInclusive<u64>) -> Option<u64> {
    let item = section.text(key)?;
    let bytes = when::bytes(&item.text).filter(|bytes| range.contains(bytes));
    if bytes.is_none() {
        let what = format!("\"{}\" is no size, or none that makes sense here", item.text);
        section.mistake(key, item.at, what, "write e.g. 256MiB or 20GB");
    }
    bytes
}

/// A list of networks. Bits of the host are masked, a single address is a network of its own.
pub fn networks(section: &mut Section<'_>, key: &str) -> Option<Vec<IpNet>> {
    let items = section.texts(key)?;
    let mut networks = Vec::with_capacity(items.len());
    for item in items {
        match network(item.text.trim()) {
            Some(network) => networks.push(network),
            None => {
                let what = format!("\"{}\" is no network", item.text);
                section.mistake(key, item.at, what, "write e.g. 10.0.0.0/8, 2001:db8::/32 or a single address");
            }
        }
    }
    Some(networks)
}

fn network(text: &str) -> Option<IpNet> {
    if let Ok(network) = text.parse::<IpNet>() {
        return Some(network.trunc());
    }
    let Some((address, mask)) = text.split_once('/') else { return text.parse::<IpAddr>().ok().map(IpNet::from) };
    IpNet::with_netmask(address.parse().ok()?, mask.parse().ok()?).ok().map(|network| network.trunc())
}

/// An `http` or `https` URL without query and fragment. The text is not shown in mistakes: it may hold a password.
pub fn url(section: &mut Section<'_>, key: &str, item: &Item) -> Option<http::Uri> {
    let uri = item.text.parse::<http::Uri>().ok().filter(|uri| {
        let has_host = uri.host().is_some_and(|host| !host.is_empty());
        matches!(uri.scheme_str(), Some("http" | "https"))
            && has_host
            && uri.query().is_none()
            && !item.text.contains('#')
    });
    if uri.is_none() {
        let what = "is no http or https URL without query and fragment";
        section.mistake(key, item.at, what, "write e.g. https://misp.example.net/");
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_masked() {
        let shown = |text| network(text).map(|network| network.to_string());
        assert_eq!(shown("127.0.0.7/8").as_deref(), Some("127.0.0.0/8"));
        assert_eq!(shown("10.1.2.3").as_deref(), Some("10.1.2.3/32"));
        assert_eq!(shown("::1").as_deref(), Some("::1/128"));
        assert_eq!(shown("10.0.0.0/255.0.0.0").as_deref(), Some("10.0.0.0/8"));
        assert_eq!(shown("10.0.0.0/33"), None);
        assert_eq!(shown("not an ip"), None);
    }
}
