//! One site file → [`Site`] and what serving needs of it. In: a [`Document`], the site's name, what `config.yaml` says
//! for all sites. Out: both, or every mistake of the file.
//!
//! Invariants: nothing of another site is read; a key is never part of a mistake; with a mistake there is no site.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::file::{Document, Position};
use super::mistake::{Mistake, did_you_mean};
use super::section::{Item, Section};
use super::settings::{self, Common, Wish};
use super::{Endpoint, Publish, Site, When};
use crate::fetch::Source;
use crate::fetch::api::Retry;
use crate::fetch::client::Limits;
use crate::fetch::feed::{FeedSource, Place};
use crate::fetch::tls::{self, Trust};
use crate::index::{AGES, ANY, Bounds, FORTY_TWO, Rules, TAG_FEEDS, TYPES, TagFeed, TypeRule};
use crate::render::Format;
use crate::secret::Secret;
use crate::view::ViewId;
use crate::web::SiteSettings;

/// Custom feeds the predecessor knows by name: they exist in URLs whether a site defines them or not.
const CUSTOM: [&str; 5] = ["cust1", "cust2", "cust3", "cust4", "cust5"];
/// Accepted and without effect; worth a line at start.
const IGNORED: [&str; 4] = ["mispDebug", "memcached_all_timeout", "falsepositive_timeout", "list_stats"];
const DEFAULT_TIME_LIMIT: Duration = Duration::from_secs(600);
const DEFAULT_MAX_FILE: u64 = 256 << 20;
/// Full pulls of a MISP; a feed's own timestamps tell everything.
const DEFAULT_FULL: Duration = Duration::from_secs(3600);
/// Largest answer of a MISP. It is never in memory as a whole.
const MAX_ANSWER: u64 = 1 << 30;
/// How long a request waits for what is being made, where no MISP says how long that takes.
const DEFAULT_PATIENCE: Duration = Duration::from_secs(10);
const RETRY: Retry = Retry { tries: 3, pause: Duration::from_millis(500) };
const MAX_KEY_FILE: u64 = 4096;
const MAX_CA_FILE: u64 = 4 << 20;
const CREDENTIALS: &str = "$CREDENTIALS_DIRECTORY";

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
    let (misp, token_endpoint) = misp_url(section);
    let key = auth_key(section, shared.dir);
    let (source, endpoint) = source(section, shared.dir, misp, key.clone());
    let time_limit = Duration::from_secs(1)..=Duration::from_secs(86_400);
    let time_limit = settings::duration(section, "refresh_time_limit", time_limit).unwrap_or(DEFAULT_TIME_LIMIT);
    let full_refresh = settings::when(section, "full_refresh").unwrap_or(When::Every(DEFAULT_FULL));
    let own = Common::read(section, &Common { publish: Wish::default(), ..shared.common.clone() });
    let period = own.refresh.period().as_secs();
    let cache_control = cache_control(section, period);
    let rules = rules?;
    let publish = publish(section, &rules, &own.publish, &shared.common.publish);
    let (feeds, undefined_feeds) = feed_names(&rules);
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
        refresh: own.refresh,
        full_refresh,
        time_limit,
        publish,
        keep: own.keep,
        on_demand_idle: own.on_demand_idle,
        key,
        token_endpoint,
    };
    Some(Checked { site, access, ignored })
}

/// Entries that are no SHA-256, such as the customary "empty", block nothing.
fn blacklist(section: &mut Section<'_>) -> Vec<String> {
    let items = section.texts("blacklisted_api_tokens").unwrap_or_default();
    items.into_iter().map(|item| item.text.trim().to_ascii_lowercase()).filter(|text| is_sha256(text)).collect()
}

fn is_sha256(text: &str) -> bool {
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
    Some(Rules { feeds, false_positive, ignore_to_ids, types: types.to_vec(), bounds })
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

/// A feed if one is named, else the MISP if there is a key for it; and where other keys are proven.
fn source(
    section: &mut Section<'_>,
    dir: &Path,
    misp: Option<String>,
    key: Option<Secret>,
) -> (Source, Option<Endpoint>) {
    let silence = section.integer("mispTimeoutSeconds", 1..=3600).unwrap_or(100);
    let body = settings::bytes(section, "feed_max_file", 1000..=4 << 30).unwrap_or(DEFAULT_MAX_FILE);
    let limits = Limits { connect: Duration::from_secs(10), silence: Duration::from_secs(silence), body };
    let trust = trust(section, dir);
    let ports = ports(section);
    let Some(item) = section.text("feed") else {
        let limits = Limits { body: MAX_ANSWER, ..limits };
        let endpoint = Endpoint { url: misp, ports, trust, limits, retry: RETRY };
        let source = match (&endpoint.url, key) {
            (Some(url), Some(key)) => Source::Misp(endpoint.source(url, key)),
            _ => Source::None,
        };
        return (source, Some(endpoint));
    };
    let place = if item.text.contains("://") {
        settings::url(section, "feed", &item).map(|_| Place::Url(format!("{}/", item.text.trim_end_matches('/'))))
    } else if item.text.trim().is_empty() {
        section.mistake("feed", item.at, "is empty", "write a folder or URL with a manifest.json, or remove the line");
        None
    } else {
        Some(Place::Folder(dir.join(&item.text)))
    };
    (place.map_or(Source::None, |place| Source::Feed(FeedSource { place, limits })), None)
}

/// The MISP's URL, and the proto and port of tokens.
fn misp_url(section: &mut Section<'_>) -> (Option<String>, (String, u16)) {
    let https = ("https".to_owned(), 443);
    let Some(item) = section.text("mispUrl") else { return (None, https) };
    let Some(uri) = settings::url(section, "mispUrl", &item) else { return (None, https) };
    let proto = uri.scheme_str().unwrap_or("https");
    let default = if proto == "http" { 80 } else { 443 };
    (Some(item.text.clone()), (proto.to_owned(), uri.port_u16().unwrap_or(default)))
}

/// Whom to trust at the MISP.
fn trust(section: &mut Section<'_>, dir: &Path) -> Trust {
    let verify = section.bool("mispVerifyCert").unwrap_or(true);
    let mut trust = Trust { verify, ..Trust::default() };
    if let Some(item) = section.text("mispCaFile") {
        let path = dir.join(&item.text);
        let read = std::fs::File::open(&path)
            .and_then(|file| {
                let mut pem = Vec::new();
                file.take(MAX_CA_FILE).read_to_end(&mut pem).map(|_| pem)
            })
            .map_err(|error| format!("cannot read {}: {error}", path.display()))
            .and_then(|pem| match tls::authorities(&pem) {
                Ok(_) => Ok(pem),
                Err(what) => Err(format!("{} {what}", path.display())),
            });
        match read {
            Ok(pem) => trust.authorities = Some(pem),
            Err(what) => section.mistake(
                "mispCaFile",
                item.at,
                what,
                "name a PEM file with the certificate that signs the MISP's",
            ),
        }
    }
    if let Some(item) = section.text("mispCertSha256") {
        trust.pin = sha256(&item.text.replace(':', ""));
        if trust.pin.is_none() {
            let remedy = "write the 64 hex digits of the certificate's SHA-256; `cratos check --online` shows them";
            section.mistake("mispCertSha256", item.at, "is no SHA-256", remedy);
        }
    }
    trust
}

fn sha256(text: &str) -> Option<[u8; 32]> {
    let mut out = [0; 32];
    let digits = text.trim();
    if !is_sha256(digits) {
        return None;
    }
    for (at, byte) in out.iter_mut().enumerate() {
        *byte = u8::from_str_radix(digits.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(out)
}

fn ports(section: &mut Section<'_>) -> Vec<u16> {
    let mut ports = Vec::new();
    for item in section.texts("misp_ports").unwrap_or_default() {
        match item.text.parse::<u16>() {
            Ok(port) if port > 0 => ports.push(port),
            _ => section.mistake("misp_ports", item.at, format!("\"{}\" is no port", item.text), "write 1 to 65535"),
        }
    }
    ports
}

fn auth_key(section: &mut Section<'_>, dir: &Path) -> Option<Secret> {
    let inline = section.secret("mispAuthKey");
    let file = section.text("mispAuthKeyFile");
    let (name, secret, at) = match (inline, file) {
        (None, None) => return None,
        (Some(_), Some(item)) => {
            section.mistake("mispAuthKeyFile", item.at, "stands beside mispAuthKey", "keep one of the two");
            return None;
        }
        (Some((secret, at)), None) => ("mispAuthKey", secret, at),
        (None, Some(item)) => ("mispAuthKeyFile", key_file(section, dir, &item)?, item.at),
    };
    let text = secret.reveal();
    if (40..=72).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Some(secret);
    }
    let what = "gives something that is no MISP key (40 to 72 letters and digits)";
    section.mistake(name, at, what, "copy the key from MISP: My Profile, Auth keys");
    None
}

fn key_file(section: &mut Section<'_>, dir: &Path, item: &Item) -> Option<Secret> {
    let mut fail = |at: Position, what: String| -> Option<Secret> {
        section.mistake("mispAuthKeyFile", at, what, "name a file that holds nothing but the key");
        None
    };
    let path = match item.text.strip_prefix(CREDENTIALS) {
        None => dir.join(&item.text),
        Some(rest) => match std::env::var_os("CREDENTIALS_DIRECTORY") {
            Some(folder) => PathBuf::from(folder).join(rest.trim_start_matches('/')),
            None => return fail(item.at, format!("{CREDENTIALS} is not set: systemd sets it with LoadCredential=")),
        },
    };
    let mut text = zeroize::Zeroizing::new(String::new());
    let read = std::fs::File::open(&path).and_then(|file| file.take(MAX_KEY_FILE + 1).read_to_string(&mut text));
    match read {
        Ok(_) if text.len() as u64 > MAX_KEY_FILE => {
            fail(item.at, format!("{} is larger than {MAX_KEY_FILE} bytes", path.display()))
        }
        Ok(_) => Some(Secret::new(text.trim())),
        Err(error) => fail(item.at, format!("cannot read {}: {error}", path.display())),
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
