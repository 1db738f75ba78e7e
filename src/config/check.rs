//! Trees → the settings of each stage. In: a folder. Out: [`Config`], or every mistake of every file at once.
//!
//! Invariants: a mistake in `config.yaml` or `mappings.yaml` gives no [`Config`]; one in a site file breaks that site
//! only; all files are read whatever the others hold.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use jiff::tz::TimeZone;

use super::file::Document;
use super::listening::Listening;
use super::mistake::{ConfigErrors, Mistake};
use super::never::NeverPublish;
use super::section::Section;
use super::serving;
use super::settings::{self, Common};
use super::sites::{self, Checked, Shared};
use super::{Config, Good, SiteState};
use crate::index::{AGES, ANY, FORTY_TWO, TAG_FEEDS, TYPES, TypeRule};
use crate::render::{FORMATS, Format};
use crate::secret::Secret;
use crate::view::is_site_name;
use crate::web::{Form, Issuance, LogSettings, Settings, SiteAccess};

const MAIN_FILE: &str = "config/config.yaml";
const MAPPINGS_FILE: &str = "config/mappings.yaml";
const SITES_DIR: &str = "sites";

/// Settings of the predecessor that are accepted and do nothing; so is all that starts with `memcached_`.
const IGNORED: [&str; 3] = ["debug", "reverse_proxy_real_ip_regex", "reverse_proxy_regex_place"];

/// Reads and checks everything below `dir`.
pub fn load(dir: &Path) -> Result<Config, ConfigErrors> {
    let mut mistakes = Vec::new();
    let mut notes = Vec::new();
    let (global, common) = global(dir, &mut mistakes, &mut notes);
    let types = mappings(dir, &mut mistakes, &mut notes);
    let shared = Shared { dir, common: &common, types: &types };
    let sites = all_sites(&shared, &mut notes);
    note_unknown_feeds(&common, &sites.states, &mut notes);
    match global {
        Some(global) if mistakes.is_empty() => Ok(config(dir, (global, common.never), sites, notes)),
        _ => {
            mistakes.extend(broken(&sites.states));
            Err(ConfigErrors(mistakes))
        }
    }
}

/// One site from the text of its file, which need not exist yet. What `config.yaml` and `mappings.yaml` say counts if they
/// are there.
pub fn site_from_text(dir: &Path, name: &str, text: &str) -> Result<Good, ConfigErrors> {
    let (mut mistakes, mut notes) = (Vec::new(), Vec::new());
    let common = match dir.join(MAIN_FILE).exists() {
        true => global(dir, &mut mistakes, &mut notes).1,
        false => Common::default(),
    };
    let types = mappings(dir, &mut mistakes, &mut notes);
    let shared = Shared { dir, common: &common, types: &types };
    let shown = format!("{SITES_DIR}/{name}.yaml");
    let checked = Document::parse(text.to_owned(), &shown)
        .map_err(|mistake| vec![mistake])
        .and_then(|document| sites::read(&document, name, &shown, &shared));
    match checked {
        Ok(Checked { site, access, .. }) if mistakes.is_empty() => {
            return Ok(Good { site: Box::new(site), access: Box::new(access), text: Secret::new(text) });
        }
        Ok(_) => {}
        Err(more) => mistakes.extend(more),
    }
    Err(ConfigErrors(mistakes))
}

/// The mistakes of all broken sites.
pub fn mistakes(config: &Config) -> Vec<Mistake> {
    broken(&config.sites)
}

fn broken(states: &BTreeMap<String, SiteState>) -> Vec<Mistake> {
    let broken = states.values().filter_map(|state| match state {
        SiteState::Broken(mistakes) => Some(mistakes),
        SiteState::Good(_) => None,
    });
    broken.flatten().cloned().collect()
}

fn config(dir: &Path, (global, never): (Global, NeverPublish), sites: Sites, notes: Vec<String>) -> Config {
    let web = Settings {
        listen: global.listening.listen,
        max_connections: global.listening.max_connections,
        max_connections_per_address: global.listening.max_connections_per_address,
        threads: global.listening.threads,
        tls: global.listening.tls,
        cache_bytes: global.listening.cache_bytes,
        trusted_proxies: global.trusted_proxies,
        reverse_proxy: global.reverse_proxy,
        proxy_header: global.proxy_header,
        allowed_everywhere: global.allowed_everywhere,
        issuance: global.issuance,
        access_log: global.access_log,
        timezone: global.timezone.clone(),
        sites: sites.access,
        feeds: sites::common_feeds(),
        types: TYPES.iter().map(|data_type| data_type.name).collect(),
        ages: AGES.iter().map(|age| age.name).collect(),
        formats: FORMATS.iter().map(form).collect(),
    };
    Config {
        dir: dir.to_owned(),
        feeds_dir: global.feeds_dir,
        state_dir: global.state_dir,
        encryption_key: global.encryption_key,
        salt: global.salt,
        timezone: global.timezone,
        web,
        sites: sites.states,
        texts: sites.texts,
        kept: BTreeMap::new(),
        never,
        notes,
    }
}

/// A format, as far as serving needs to know it.
fn form(format: &Format) -> Form {
    let Format { name, extension, content_type, vendor, types, .. } = *format;
    Form { name, extension, content_type, vendor, types }
}

/// What only `config.yaml` says.
struct Global {
    feeds_dir: PathBuf,
    state_dir: PathBuf,
    encryption_key: Secret,
    salt: Secret,
    timezone: TimeZone,
    listening: Listening,
    trusted_proxies: Vec<IpNet>,
    reverse_proxy: bool,
    proxy_header: http::HeaderName,
    allowed_everywhere: Vec<IpNet>,
    issuance: Issuance,
    access_log: Option<LogSettings>,
}

fn global(dir: &Path, mistakes: &mut Vec<Mistake>, notes: &mut Vec<String>) -> (Option<Global>, Common) {
    let document = match Document::load(&dir.join(MAIN_FILE), MAIN_FILE) {
        Ok(document) => document,
        Err(mistake) => {
            mistakes.push(mistake);
            return (None, Common::default());
        }
    };
    let mut section = match document.section() {
        Ok(section) => section,
        Err(mistake) => {
            mistakes.push(mistake);
            return (None, Common::default());
        }
    };
    let common = Common::read(&mut section, &Common::default());
    let common = Common { never: NeverPublish::read(&mut section, dir, &common.never, true), ..common };
    let mut ignored: Vec<String> = IGNORED.into_iter().filter(|key| section.skip(key)).map(str::to_owned).collect();
    let memcached = section.keys().into_iter().filter(|key| key.starts_with("memcached_"));
    ignored.extend(memcached.filter(|key| section.skip(key)).collect::<Vec<_>>());
    if !ignored.is_empty() {
        notes.push(format!("{MAIN_FILE}: accepted and without effect: {}", ignored.join(", ")));
    }
    let global = read_global(&mut section, dir);
    mistakes.extend(section.finish());
    (global, common)
}

/// `None` only with a mistake in the section.
fn read_global(section: &mut Section<'_>, dir: &Path) -> Option<Global> {
    let encryption_key = long_secret(section, "encryption_key", 16);
    let salt = long_secret(section, "salt", 8);
    let proxy_header = parsed(section, "reverse_proxy_header", "is no header name", "write e.g. X-Real-IP")
        .unwrap_or(http::HeaderName::from_static("x-real-ip"));
    Some(Global {
        feeds_dir: path(section, dir, "feeds_dir", "feeds-out"),
        state_dir: path(section, dir, "state_dir", "state"),
        timezone: timezone(section),
        listening: Listening::read(section, dir),
        trusted_proxies: settings::networks(section, "trusted_proxies").unwrap_or_else(loopback),
        reverse_proxy: section.bool("reverse_proxy").unwrap_or(false),
        proxy_header,
        allowed_everywhere: settings::networks(section, "allways_allowed_ips").unwrap_or_default(),
        issuance: serving::issuance(section),
        access_log: serving::access_log(section, dir),
        encryption_key: encryption_key?,
        salt: salt?,
    })
}

/// `127.0.0.0/8` and `::1`.
fn loopback() -> Vec<IpNet> {
    let four = IpNet::new(IpAddr::from(Ipv4Addr::LOCALHOST), 8).map(|network| network.trunc());
    four.into_iter().chain([IpNet::from(IpAddr::from(Ipv6Addr::LOCALHOST))]).collect()
}

fn long_secret(section: &mut Section<'_>, key: &str, least: usize) -> Option<Secret> {
    let remedy = "use that of your Cratos so that tokens stay valid; `cratos init` writes fresh ones";
    section.missing(key, remedy);
    let (secret, at) = section.secret(key)?;
    if secret.reveal().chars().count() < least {
        section.mistake(key, at, format!("is shorter than {least} characters"), remedy);
        return None;
    }
    Some(secret)
}

fn parsed<T: std::str::FromStr>(section: &mut Section<'_>, key: &str, what: &str, remedy: &str) -> Option<T> {
    let item = section.text(key)?;
    let value = item.text.trim().parse().ok();
    if value.is_none() {
        section.mistake(key, item.at, format!("\"{}\" {what}", item.text), remedy);
    }
    value
}

fn path(section: &mut Section<'_>, dir: &Path, key: &str, default: &str) -> PathBuf {
    let Some(item) = section.text(key) else { return dir.join(default) };
    if item.text.trim().is_empty() {
        section.mistake(key, item.at, "is empty", format!("write a folder, e.g. {default}"));
    }
    dir.join(item.text)
}

fn timezone(section: &mut Section<'_>) -> TimeZone {
    let Some(item) = section.text("timezone") else { return TimeZone::UTC };
    TimeZone::get(item.text.trim()).unwrap_or_else(|_| {
        let what = format!("\"{}\" is no time zone of this machine", item.text);
        section.mistake("timezone", item.at, what, "write an IANA name, e.g. Europe/Copenhagen");
        TimeZone::UTC
    })
}

/// Every data type with its MISP types: those of `mappings.yaml`, else the built-in ones.
fn mappings(dir: &Path, mistakes: &mut Vec<Mistake>, notes: &mut Vec<String>) -> Vec<TypeRule> {
    let built_in = || {
        TYPES.iter().map(|data_type| TypeRule {
            data_type,
            misp_types: data_type.misp_types.iter().map(|name| (*name).to_owned()).collect(),
        })
    };
    let path = dir.join(MAPPINGS_FILE);
    if !path.exists() {
        return built_in().collect();
    }
    let document = match Document::load(&path, MAPPINGS_FILE) {
        Ok(document) if document.is_empty() => return built_in().collect(),
        Ok(document) => document,
        Err(mistake) => {
            mistakes.push(mistake);
            return built_in().collect();
        }
    };
    let mut section = match document.section() {
        Ok(section) => section,
        Err(mistake) => {
            mistakes.push(mistake);
            return built_in().collect();
        }
    };
    for key in ["output", "feeds", "ages"] {
        section.skip(key);
    }
    let rules = match section.child("types") {
        None => built_in().collect(),
        Some(mut types) => {
            let rules = built_in().map(|rule| mapped(&mut types, rule)).collect();
            note_other_types(&mut types, notes);
            section.absorb(types);
            rules
        }
    };
    mistakes.extend(section.finish());
    rules
}

fn mapped(types: &mut Section<'_>, rule: TypeRule) -> TypeRule {
    match types.texts(rule.data_type.name) {
        Some(items) => TypeRule { misp_types: items.into_iter().map(|item| item.text).collect(), ..rule },
        None => rule,
    }
}

fn note_other_types(types: &mut Section<'_>, notes: &mut Vec<String>) {
    let known = |name: &String| TYPES.iter().any(|data_type| data_type.name == name);
    let others: Vec<String> = types.keys().into_iter().filter(|name| !known(name)).collect();
    for name in &others {
        types.skip(name);
    }
    if !others.is_empty() {
        notes.push(format!("{MAPPINGS_FILE}: data types that do not exist here: {}", others.join(", ")));
    }
}

/// All site files, by the sites' names.
#[derive(Default)]
struct Sites {
    states: BTreeMap<String, SiteState>,
    access: HashMap<String, SiteAccess>,
    texts: BTreeMap<String, Secret>,
}

fn all_sites(shared: &Shared<'_>, notes: &mut Vec<String>) -> Sites {
    let mut sites = Sites::default();
    let mut ignored = BTreeSet::new();
    for (name, path) in site_files(shared.dir, notes) {
        match one_site(&name, &path, shared) {
            Ok((checked, text)) => {
                ignored.extend(checked.ignored);
                if checked.site.endpoint.is_none() && !shared.common.never.warninglists.is_empty() {
                    let text =
                        "it reads a feed, so the warninglists of never_publish in config.yaml do not count there";
                    notes.push(format!("{SITES_DIR}/{name}.yaml: {text}"));
                }
                notes.extend(checked.notes);
                sites.access.insert(name.clone(), SiteAccess::Good(Box::new(checked.access)));
                sites.texts.insert(name.clone(), text);
                sites.states.insert(name, SiteState::Good(Box::new(checked.site)));
            }
            Err(mistakes) => {
                sites.access.insert(name.clone(), SiteAccess::Broken);
                sites.states.insert(name, SiteState::Broken(mistakes));
            }
        }
    }
    if !ignored.is_empty() {
        let ignored: Vec<&str> = ignored.into_iter().collect();
        notes.push(format!("{SITES_DIR}/: accepted and without effect: {}", ignored.join(", ")));
    }
    sites
}

fn one_site(name: &str, path: &Path, shared: &Shared<'_>) -> Result<(Checked, Secret), Vec<Mistake>> {
    let shown = format!("{SITES_DIR}/{name}.yaml");
    if !is_site_name(name) {
        let remedy = "call it <host name of the MISP>.yaml";
        return Err(vec![Mistake::of_file(&shown, "is no name for a site file", remedy)]);
    }
    let document = Document::load(path, &shown).map_err(|mistake| vec![mistake])?;
    let checked = sites::read(&document, name, &shown, shared)?;
    Ok((checked, Secret::new(document.text())))
}

/// Site name → file, in order of names.
fn site_files(dir: &Path, notes: &mut Vec<String>) -> BTreeMap<String, PathBuf> {
    let mut files = BTreeMap::new();
    match std::fs::read_dir(dir.join(SITES_DIR)) {
        Ok(entries) => {
            for entry in entries.flatten() {
                let file_name = entry.file_name().to_string_lossy().into_owned();
                if let Some(name) =
                    file_name.strip_suffix(".yaml").filter(|name| !name.is_empty() && !name.starts_with('.'))
                {
                    files.insert(name.to_owned(), entry.path());
                }
            }
            if files.is_empty() {
                notes
                    .push(format!("{SITES_DIR}/ holds no site file: copy the example to <host name of the MISP>.yaml"));
            }
        }
        Err(error) => notes.push(format!("{SITES_DIR}/ cannot be read, so there are no sites: {error}")),
    }
    files
}

/// `publish.feeds` of `config.yaml` may name custom feeds of some sites only; a name that no site has is likely
/// misspelt.
fn note_unknown_feeds(common: &Common, states: &BTreeMap<String, SiteState>, notes: &mut Vec<String>) {
    let defined = |name: &str| {
        TAG_FEEDS.contains(&name)
            || [ANY, FORTY_TWO].contains(&name)
            || states.values().any(|state| match state {
                SiteState::Good(site) => site.rules.feeds.iter().any(|feed| &*feed.name == name),
                SiteState::Broken(_) => false,
            })
    };
    for item in common.publish.feeds.iter().flatten().filter(|item| !defined(&item.text)) {
        notes.push(format!("{MAIN_FILE}:{}: publish.feeds: no site has a feed \"{}\"", item.at.line, item.text));
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
