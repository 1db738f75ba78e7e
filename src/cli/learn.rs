//! `cratos learn`. In: tokens on stdin, one a line. Out: a table of what became of them; their views are published.
//!
//! For going over from the predecessor: it proves ahead of time what the first poll of each token would. If another cratos
//! holds the state folder, that one is asked to do the work.
//!
//! Invariants: tokens come from stdin, never from the command line; neither a token nor a key is printed, and a key that is
//! handed to the other process is sealed; each key is tried once, however many tokens carry it.

use std::collections::BTreeMap;
use std::io::BufRead;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;

use super::Failure;
use super::refresh::{give, refresh};
use crate::config::{Config, Site, SiteState};
use crate::fetch::api::Retry;
use crate::learned::{self, Learned, short_id};
use crate::orders::{LearnOrder, Order};
use crate::probe;
use crate::refresh::How;
use crate::schedule::ORDER;
use crate::secret::Secret;
use crate::state::keys::SiteKeys;
use crate::token::{Opened, TokenKeys};
use crate::view::ViewId;

/// A line needs no more bytes.
const MAX_LINE: usize = 4096;
/// Tokens at most.
const MAX_TOKENS: usize = 10_000;

/// What became of a key: its view and organisation, or why it has none.
type Found = Result<(String, String), String>;

/// Proves the keys of all tokens on stdin.
pub fn run(dir: &Path) -> Result<(), Failure> {
    let config = super::load(dir)?;
    let lines = tokens(std::io::stdin().lock())?;
    let keys = TokenKeys::derive(&config.encryption_key, &config.salt);
    let lock = super::lock(&config)?;
    let mut learner = Learner {
        learned: super::learned_with(&config, &keys)?,
        runtime: super::runtime()?,
        config: &config,
        keys: &keys,
        is_alone: lock.is_some(),
        tried: BTreeMap::new(),
    };
    let rows: Vec<[String; 5]> = lines.iter().enumerate().map(|(at, line)| learner.row(at + 1, line)).collect();
    let failed = rows.iter().filter(|row| row[2] == NONE).count();
    super::say(&super::table(["token", "site", "view", "organisation", "result"], &[], rows))?;
    if failed == 0 { Ok(()) } else { Err(Failure::Said) }
}

/// Where there is no view.
const NONE: &str = "-";

/// Tokens, one a line; at least one.
pub(crate) fn tokens(input: impl BufRead) -> Result<Vec<Secret>, Failure> {
    let mut tokens = Vec::new();
    for line in input.lines() {
        let line = zeroize::Zeroizing::new(line?);
        match line.trim() {
            "" => {}
            text if text.len() > MAX_LINE => {
                return Err(Failure::Usage(format!(
                    "line {} is no token: it is longer than {MAX_LINE} bytes",
                    tokens.len() + 1
                )));
            }
            text => tokens.push(Secret::new(text)),
        }
        if tokens.len() > MAX_TOKENS {
            return Err(Failure::Usage(format!("more than {MAX_TOKENS} tokens: give them in parts")));
        }
    }
    if tokens.is_empty() {
        return Err(Failure::Usage(
            "there is no token: give them on stdin, as in `cratos learn < tokens.txt`, one a line".into(),
        ));
    }
    Ok(tokens)
}

struct Learner<'a> {
    config: &'a Config,
    keys: &'a TokenKeys,
    learned: Learned,
    runtime: tokio::runtime::Runtime,
    is_alone: bool,
    /// Site and short id of a key → what became of it.
    tried: BTreeMap<(String, String), Found>,
}

impl Learner<'_> {
    fn row(&mut self, line: usize, token: &Secret) -> [String; 5] {
        let opened = match self.keys.open(token.reveal()) {
            Ok(opened) => opened,
            Err(error) => {
                let none = || NONE.to_owned();
                return [format!("line {line}"), none(), none(), none(), error.to_string()];
            }
        };
        let (site, id) = (opened.claims.host.clone(), opened.short_id().to_owned());
        match self.learn(&opened) {
            Ok((view, organisation)) => [id, site, view, organisation, "ready".to_owned()],
            Err(why) => [id, site, NONE.to_owned(), NONE.to_owned(), why],
        }
    }

    fn learn(&mut self, opened: &Opened) -> Found {
        let claims = &opened.claims;
        let today = self.config.timezone.to_datetime(Timestamp::now()).date();
        claims.check_expiry(today).map_err(|error| error.to_string())?;
        let site = match self.config.sites.get(&claims.host) {
            Some(SiteState::Good(site)) if site.enabled => &**site,
            Some(SiteState::Good(_)) => return Err("the site is switched off".into()),
            Some(SiteState::Broken(_)) => return Err("the site's file does not check".into()),
            None => return Err("there is no such site".into()),
        };
        let tried = (claims.host.clone(), short_id(&claims.key));
        if let Some(found) = self.tried.get(&tried) {
            return found.clone();
        }
        let is_own = site.key.as_ref().is_some_and(|key| key.same_as(&claims.key));
        let found = match (is_own, self.is_alone) {
            (true, true) => self.publish(site).map(|()| ("main".to_owned(), String::new())),
            (true, false) => Ok(("main".to_owned(), String::new())),
            (false, true) => self.prove(site, opened),
            (false, false) => self.order(site, opened),
        };
        self.tried.insert(tried, found.clone());
        found
    }

    fn prove(&mut self, site: &Site, opened: &Opened) -> Found {
        let claims = &opened.claims;
        let url = learned::place(site, &claims.proto, claims.port)?;
        let mut endpoint = site.endpoint.clone().ok_or("the site's source is no MISP")?;
        endpoint.retry = Retry { tries: 1, ..endpoint.retry };
        let source = endpoint.source(&url, claims.key.clone());
        let user = self.runtime.block_on(probe::prove(&source)).map_err(|error| error.to_string())?;
        let view = self.learned.proven(site, &url, &claims.key, &user, Timestamp::now().as_second());
        let view = view.ok_or("the MISP names no user that can have a view")?;
        let seen = self.learned.sites_of(site).into_iter().find(|seen| seen.view == view);
        self.publish(&seen.ok_or("the view cannot be refreshed")?)?;
        Ok((view.name().to_owned(), user.organisation))
    }

    fn publish(&self, site: &Site) -> Result<(), String> {
        let refreshed = self.runtime.block_on(refresh(self.config, site, How::default()));
        refreshed.map(|_| ()).map_err(|error| super::chain(&error))
    }

    /// The running program proves it, refreshes the view, and then says so.
    fn order(&self, site: &Site, opened: &Opened) -> Found {
        let claims = &opened.claims;
        let sealed = self.keys.sealer().seal(ORDER, claims.key.reveal().as_bytes());
        let sealed = STANDARD.encode(sealed.map_err(|_| "the system gives no random bytes")?);
        let learn = LearnOrder { proto: claims.proto.clone(), port: claims.port, sealed };
        let name = site.view.site();
        let order = Order { site: name.to_owned(), learn: Some(learn), ..Order::default() };
        give(self.config, name, &order)?;
        let records = SiteKeys::new(&self.config.state_dir, name).read().map_err(|error| error.to_string())?;
        let id = short_id(&claims.key);
        let record =
            records.into_iter().find(|record| record.id == id).ok_or("the other cratos did not keep the key")?;
        let view = ViewId::named(name, &record.view).ok_or("its view has no name")?;
        Ok((view.name().to_owned(), record.organisation))
    }
}
