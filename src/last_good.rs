//! Last good settings of a site whose file does not check (any more), over reloads and restarts.
//!
//! In: a configuration as read. Out: the same, in which broken sites go on as they were, where that is known.
//!
//! Invariants: a site file that was removed is forgotten; the copy on disk is sealed, because a site file may hold a key; a copy
//! that cannot be opened or does not check any more leaves the site broken; every mistake is logged once per reading.

use std::path::PathBuf;
use std::sync::Arc;

use crate::config::{Config, SiteState, check};
use crate::state::{StateError, site_file};
use crate::view::seal::Sealer;

/// The sealed copies below `state_dir`.
#[derive(Debug)]
pub struct LastGood {
    state_dir: PathBuf,
    sealer: Arc<Sealer>,
}

impl LastGood {
    /// Reads and writes nothing yet.
    pub fn new(state_dir: PathBuf, sealer: Arc<Sealer>) -> Self {
        Self { state_dir, sealer }
    }

    /// Broken sites go on with what `running` has for them, else with the copy on disk.
    pub fn settle(&self, config: &mut Config, running: Option<&Config>) {
        let broken = |state: &SiteState| matches!(state, SiteState::Broken(_));
        let names: Vec<String> =
            config.sites.iter().filter(|(_, state)| broken(state)).map(|(name, _)| name.clone()).collect();
        for name in names {
            let good = running.and_then(|running| running.good(&name)).or_else(|| self.restore(config, &name));
            if let Some(good) = good {
                config.keep(&name, good);
            }
            tell(config, &name);
        }
    }

    fn restore(&self, config: &Config, name: &str) -> Option<crate::config::Good> {
        let sealed = site_file::read(&self.state_dir, name)
            .map_err(|error| tracing::error!(site = %name, %error, "its last good settings cannot be read"))
            .ok()??;
        let opened = self.sealer.open(&context(name), &sealed);
        let text = opened.as_ref().and_then(|text| std::str::from_utf8(text).ok());
        let Some(text) = text else {
            tracing::error!(site = %name, "its last good settings were sealed with other keys, or damaged");
            return None;
        };
        check::site_from_text(&config.dir, name, text)
            .map_err(|errors| tracing::error!(site = %name, "its last good settings do not check either:\n{errors}"))
            .ok()
    }

    /// Makes the copies those of this configuration. One that cannot be written is logged; it costs nothing until a restart
    /// meets a broken file.
    pub fn keep(&self, config: &Config) {
        for (name, text) in &config.texts {
            if let Err(error) = self.keep_one(name, text.reveal()) {
                tracing::error!(site = %name, %error, "the copy of its settings for a restart cannot be written");
            }
        }
        for name in site_file::sites(&self.state_dir).iter().filter(|name| !config.sites.contains_key(*name)) {
            if let Err(error) = site_file::forget(&self.state_dir, name) {
                tracing::error!(site = %name, %error, "the copy of a removed site's settings stays");
            }
        }
    }

    fn keep_one(&self, name: &str, text: &str) -> Result<(), StateError> {
        let context = context(name);
        let before = site_file::read(&self.state_dir, name)?.and_then(|sealed| self.sealer.open(&context, &sealed));
        if before.is_some_and(|before| before.as_slice() == text.as_bytes()) {
            return Ok(());
        }
        match self.sealer.seal(&context, text.as_bytes()) {
            Ok(sealed) => site_file::keep(&self.state_dir, name, &sealed),
            Err(_) => {
                tracing::error!(site = %name, "no random bytes, so its settings are not kept for a restart");
                Ok(())
            }
        }
    }
}

/// What a copy is sealed for.
fn context(site: &str) -> String {
    format!("site file {site}")
}

/// Logs what is wrong with a site file, and what counts instead.
fn tell(config: &Config, name: &str) {
    if let Some(mistakes) = config.kept.get(name) {
        mistakes.iter().for_each(|mistake| tracing::error!(site = %name, "kept as it was: {mistake}"));
    } else if let Some(SiteState::Broken(mistakes)) = config.sites.get(name) {
        mistakes.iter().for_each(|mistake| tracing::error!(site = %name, "{mistake}"));
    }
}
