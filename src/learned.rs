//! Learned keys: what tokens brought, once a MISP has said whose they are. Sealed on disk, in the keyring, ended, dropped.
//!
//! In: proofs and refusals, as they come. Out: which key opens which view, and the sites as the users of these keys see them.
//!
//! Invariants: nothing opens a view before it is proven at a place where the site's keys may be sent; a view is what one user
//! of one server sees, so users of equal number at two servers have views of their own; a key is on disk sealed and nowhere
//! else; a proven key ends only when its MISP refuses it [`REFUSALS`] times over [`OVER`] seconds, never because a server is
//! away.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA256, digest};

use crate::config::Site;
use crate::fetch::Server;
use crate::secret::Secret;
use crate::state::keys::{KeyRecord, SiteKeys};
use crate::view::ViewId;
use crate::view::keyring::{Closed, Keyring, Opening};
use crate::view::seal::Sealer;

/// Refusals after which a key has ended.
pub const REFUSALS: u32 = 3;
/// Seconds from the first of them to the last, at least.
pub const OVER: i64 = 15 * 60;

/// One learned key.
#[derive(Debug)]
struct Entry {
    record: KeyRecord,
    key: Secret,
    opening: Arc<Opening>,
}

impl Entry {
    fn is_live(&self) -> bool {
        self.record.ended_at.is_none()
    }
}

/// The learned keys of all sites.
#[derive(Debug)]
pub struct Learned {
    state_dir: PathBuf,
    sealer: Arc<Sealer>,
    ring: Arc<Keyring>,
    sites: BTreeMap<String, Vec<Entry>>,
}

/// Names a key in tables and logs: the first eight hex digits of its SHA-256.
pub fn short_id(key: &Secret) -> String {
    digest(&SHA256, key.reveal().as_bytes()).as_ref().iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}

/// What a key is sealed for.
fn context(site: &str, view: &str) -> String {
    format!("{site}/{view}")
}

impl Learned {
    /// Knows nothing yet.
    pub fn new(state_dir: &Path, sealer: Arc<Sealer>, ring: Arc<Keyring>) -> Self {
        Self { state_dir: state_dir.to_owned(), sealer, ring, sites: BTreeMap::new() }
    }

    /// Reads what is known of a site, once. A key that was proven where the site does not send keys any more has to be proven
    /// anew.
    pub fn load(&mut self, site: &Site) {
        let name = site.view.site();
        if let Some(entries) = self.sites.get_mut(name) {
            for entry in entries.extract_if(.., |entry| !is_allowed(site, &entry.record.url)) {
                self.ring.forget(name, &entry.key);
            }
            return;
        }
        let records = SiteKeys::new(&self.state_dir, name).read().unwrap_or_else(|error| {
            tracing::error!(site = name, %error, "the learned keys cannot be read; their tokens wait until they are proven anew");
            Vec::new()
        });
        let mut entries: Vec<Entry> = Vec::new();
        for record in records.into_iter().filter(|record| is_allowed(site, &record.url)) {
            let Some((view, key)) = self.opened(name, &record) else {
                tracing::error!(
                    site = name,
                    id = record.id,
                    "a learned key does not open: was encryption_key changed?"
                );
                continue;
            };
            let known = entries.iter().find(|entry| entry.opening.view == view);
            let opening = match known {
                Some(other) => Arc::clone(&other.opening),
                None => Arc::new(Opening::new(view, 0)),
            };
            opening.poll(record.polled_at);
            if record.ended_at.is_none() {
                self.ring.open(name, &key, &opening);
            }
            entries.push(Entry { record, key, opening });
        }
        self.sites.insert(name.to_owned(), entries);
    }

    fn opened(&self, site: &str, record: &KeyRecord) -> Option<(ViewId, Secret)> {
        let view = ViewId::named(site, &record.view).filter(|view| !view.is_main())?;
        let plain = self.sealer.open(&context(site, &record.view), &STANDARD.decode(&record.sealed).ok()?)?;
        Some((view, Secret::new(std::str::from_utf8(&plain).ok()?)))
    }

    /// The site as each learned user sees it: one per view that has a key. It is pulled with the newest key that its MISP does
    /// not refuse.
    pub fn sites_of(&self, site: &Site) -> Vec<Site> {
        let Some(endpoint) = &site.endpoint else { return Vec::new() };
        let mut best: BTreeMap<&ViewId, &Entry> = BTreeMap::new();
        for entry in self.entries(site.view.site()).iter().filter(|entry| entry.is_live()) {
            let other = best.entry(&entry.opening.view).or_insert(entry);
            let rank = |entry: &Entry| (entry.record.refusals == 0, entry.record.learned_at, entry.record.id.clone());
            if rank(entry) > rank(other) {
                *other = entry;
            }
        }
        let seen = best.into_values().filter(|entry| is_allowed(site, &entry.record.url));
        seen.map(|entry| {
            let source = endpoint.source(&entry.record.url, entry.key.clone());
            site.of_user(entry.opening.view.clone(), &entry.record.user, source)
        })
        .collect()
    }

    fn entries(&self, site: &str) -> &[Entry] {
        self.sites.get(site).map_or(&[], Vec::as_slice)
    }

    /// What is known of a site's keys: for tables.
    pub fn records(&self, site: &str) -> impl Iterator<Item = &KeyRecord> {
        self.entries(site).iter().map(|entry| &entry.record)
    }

    /// The view of a key that opens one.
    pub fn view_of(&self, site: &str, key: &Secret) -> Option<ViewId> {
        let entry = self.entries(site).iter().find(|entry| entry.is_live() && entry.key.same_as(key))?;
        Some(entry.opening.view.clone())
    }

    /// The keys of a view that have not ended, with where they are proven.
    pub fn keys_of(&self, view: &ViewId) -> Vec<(String, Secret)> {
        let live = self.entries(view.site()).iter().filter(|entry| entry.is_live() && entry.opening.view == *view);
        live.map(|entry| (entry.record.url.clone(), entry.key.clone())).collect()
    }

    /// The MISP at `url` has said whose key it is: it opens that user's view from now on.
    pub fn proven(&mut self, site: &Site, url: &str, key: &Secret, user: &Server, now: i64) -> Option<ViewId> {
        let name = site.view.site();
        let opening = match self.opening_of(name, url, &user.user) {
            Some(opening) => opening,
            None => Arc::new(Opening::new(self.new_view(name, &user.user)?, 0)),
        };
        let view = opening.view.clone();
        // Somebody wanted it just now.
        opening.poll(now);
        let sealed = self.sealer.seal(&context(name, view.name()), key.reveal().as_bytes()).ok()?;
        let entries = self.sites.entry(name.to_owned()).or_default();
        let before = entries.iter().position(|entry| entry.key.same_as(key)).map(|at| entries.remove(at));
        let record = KeyRecord {
            id: short_id(key),
            view: view.name().to_owned(),
            user: user.user.clone(),
            login: user.email.clone(),
            organisation: user.organisation.clone(),
            url: url.to_owned(),
            sealed: STANDARD.encode(sealed),
            learned_at: before.map_or(now, |before| before.record.learned_at),
            proven_at: now,
            polled_at: now,
            ..KeyRecord::default()
        };
        entries.push(Entry { record, key: key.clone(), opening: Arc::clone(&opening) });
        self.ring.open(name, key, &opening);
        self.keep(name);
        Some(view)
    }

    fn opening_of(&self, site: &str, url: &str, user: &str) -> Option<Arc<Opening>> {
        let mut entries = self.entries(site).iter();
        let entry = entries.find(|entry| entry.record.url == url && entry.record.user == user)?;
        Some(Arc::clone(&entry.opening))
    }

    fn new_view(&self, site: &str, user: &str) -> Option<ViewId> {
        let taken: BTreeSet<&str> = self.entries(site).iter().map(|entry| entry.record.view.as_str()).collect();
        let candidates =
            (0..=u32::try_from(taken.len()).unwrap_or(u32::MAX)).map(|other| ViewId::user(site, user, other));
        candidates.flatten().find(|view| !taken.contains(view.name()))
    }

    /// The MISP has said the same of a key once more: what it refused before does not count.
    pub fn proven_again(&mut self, site: &str, key: &Secret, now: i64) {
        let entries = self.sites.entry(site.to_owned()).or_default();
        let Some(entry) = entries.iter_mut().find(|entry| entry.is_live() && entry.key.same_as(key)) else { return };
        (entry.record.proven_at, entry.record.refusals, entry.record.refused_since) = (now, 0, None);
        self.keep(site);
    }

    /// The MISP refuses a proven key. `true`: it has ended, and opens nothing any more.
    pub fn refused(&mut self, site: &str, key: &Secret, now: i64) -> bool {
        let entries = self.sites.entry(site.to_owned()).or_default();
        let Some(entry) = entries.iter_mut().find(|entry| entry.is_live() && entry.key.same_as(key)) else {
            return false;
        };
        let KeyRecord { refusals, refused_since, ended_at, id, .. } = &mut entry.record;
        *refusals = refusals.saturating_add(1);
        let since = *refused_since.get_or_insert(now);
        let ended = *refusals >= REFUSALS && now - since >= OVER;
        let view = &entry.opening.view;
        if ended {
            *ended_at = Some(now);
            tracing::error!(%view, id, "this key has ended: its MISP has refused it {refusals} times since {since}; its tokens get 503");
            self.ring.close(site, key, Closed::Refused, now);
        } else {
            tracing::warn!(%view, id, refusals, "the MISP refuses this key");
        }
        self.keep(site);
        ended
    }

    /// Notes polls, and forgets views nobody polled for long and those whose keys ended long ago, but for those that are `busy`.
    /// Out: these views; their files can go.
    pub fn drop_idle(&mut self, site: &Site, busy: &BTreeSet<ViewId>, now: i64) -> Vec<ViewId> {
        let (name, seconds) =
            (site.view.site(), |time: std::time::Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX));
        let (idle, grace) = (now.saturating_sub(seconds(site.view_idle)), now.saturating_sub(seconds(site.view_grace)));
        let Some(entries) = self.sites.get_mut(name) else { return Vec::new() };
        let before = entries.len();
        let views: BTreeSet<ViewId> = entries.iter().map(|entry| entry.opening.view.clone()).collect();
        let mut noted = false;
        for entry in entries.iter_mut().filter(|entry| entry.opening.polled() > entry.record.polled_at) {
            entry.record.polled_at = entry.opening.polled();
            noted = true;
        }
        entries.retain(|entry| {
            let wanted = entry.opening.polled() > idle && entry.record.ended_at.is_none_or(|ended| ended > grace);
            let stays = wanted || busy.contains(&entry.opening.view);
            if !stays {
                self.ring.forget(name, &entry.key);
            }
            stays
        });
        let left: BTreeSet<&ViewId> = entries.iter().map(|entry| &entry.opening.view).collect();
        let gone = views.iter().filter(|view| !left.contains(view)).cloned().collect();
        if noted || entries.len() < before {
            self.keep(name);
        }
        gone
    }

    fn keep(&self, site: &str) {
        let records: Vec<KeyRecord> = self.records(site).cloned().collect();
        if let Err(error) = SiteKeys::new(&self.state_dir, site).keep(&records) {
            tracing::error!(site, %error, "learned keys could not be kept; after a restart they are proven anew");
        }
    }
}

/// Where a token's key may be proven; or why nowhere.
pub fn place(site: &Site, proto: &str, port: u16) -> Result<String, String> {
    let Some(endpoint) = &site.endpoint else {
        return Err("the site's source is no MISP: only its own key opens a view".into());
    };
    endpoint.url_for(site.view.site(), proto, port).ok_or_else(|| {
        format!(
            "port {port} is above 1023 and not in misp_ports: add it to sites/{}.yaml if it is the MISP's",
            site.view.site()
        )
    })
}

/// Keys of the site may be sent to this URL.
fn is_allowed(site: &Site, url: &str) -> bool {
    let Some(endpoint) = &site.endpoint else { return false };
    if endpoint.url.is_some() {
        return endpoint.url_for(site.view.site(), "", 0).as_deref() == Some(url);
    }
    let Some((proto, rest)) = url.split_once("://") else { return false };
    let port = rest.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
    port.is_some_and(|port| endpoint.url_for(site.view.site(), proto, port).as_deref() == Some(url))
}

#[cfg(test)]
#[path = "learned/tests.rs"]
mod tests;
