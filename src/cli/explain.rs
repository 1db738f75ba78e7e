//! `cratos explain`. In: a value, and state and versions on disk; with `--ask` also the MISP. Out: why the value is, or is not,
//! in the lists: tables for people, or one JSON object.
//!
//! Invariants: only reads, works beside a running cratos; what could not be found out is said, not left out.

pub mod print;

use std::path::Path;

use jiff::Timestamp;
use serde::Serialize;

use super::{Failure, refresh};
use crate::config::{Config, Site, SiteState};
use crate::explain::{Explained, MAX_VALUE, View, misp};
use crate::fetch::Source;

/// What is asked.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The value, as it stands in a list or in MISP: an address, a network, a name, a URL, a hash …
    #[arg(value_name = "VALUE")]
    pub value: String,
    /// Only this site.
    #[arg(long, value_name = "SITE")]
    pub site: Option<String>,
    /// Another view than main, as `cratos views` lists them.
    #[arg(long, value_name = "VIEW")]
    pub view: Option<String>,
    /// Ask the MISP of each view for the value, once: also for what is never read.
    #[arg(long)]
    pub ask: bool,
    /// One JSON object instead of tables.
    #[arg(long)]
    pub json: bool,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Whole<'a> {
    value: &'a str,
    views: &'a [Explained],
}

/// Explains a value.
pub fn run(dir: &Path, args: &Args) -> Result<(), Failure> {
    if args.value.is_empty() || args.value.len() > MAX_VALUE {
        return Err(Failure::Usage(format!("a value has 1 to {MAX_VALUE} bytes")));
    }
    let config = super::load(dir)?;
    let mut all = Vec::new();
    for site in views(&config, args)? {
        all.push(one(&config, &site, args)?);
    }
    if args.json {
        super::say(&serde_json::to_string_pretty(&Whole { value: &args.value, views: &all })?)?;
    } else {
        let texts: Vec<String> = all.iter().map(print::text).collect();
        super::say(&texts.join("\n\n"))?;
    }
    let answers = |explained: &Explained| {
        explained.knows_anything() || explained.misp.as_ref().is_some_and(|said| said.failure.is_none())
    };
    if all.iter().any(answers) {
        return Ok(());
    }
    super::complain("cratos: nothing is known yet of any view: `cratos refresh` comes first");
    Err(Failure::Said)
}

fn one(config: &Config, site: &Site, args: &Args) -> Result<Explained, Failure> {
    let now = Timestamp::now();
    let view = View::open(config, site)?;
    let mut explained = view.explain(config, &args.value, now);
    if args.ask {
        super::runtime()?.block_on(misp::ask(&view, &config.timezone, &mut explained, now));
    }
    Ok(explained)
}

/// The views that are meant: one of each site, and of a site without a source of its own all that tokens have brought.
fn views(config: &Config, args: &Args) -> Result<Vec<Site>, Failure> {
    let sites: Vec<&Site> = match &args.site {
        Some(name) => vec![super::site(config, name)?],
        None => config.good_sites().collect(),
    };
    if args.site.is_none() {
        let broken = config.sites.iter().filter(|(_, state)| matches!(state, SiteState::Broken(_)));
        broken.for_each(|(name, _)| super::complain(&format!("{name}: its file does not check; it is left out")));
    }
    let of_source = |site: &&Site| site.source != Source::None;
    let found = match &args.view {
        None if sites.iter().all(of_source) => sites.into_iter().cloned().collect(),
        None => {
            let views = refresh::views(config, &sites)?;
            views.into_iter().filter(|view| view.view.is_main() || !has_main(&sites, view)).collect()
        }
        Some(name) => {
            let views = refresh::views(config, &sites)?;
            views.into_iter().filter(|view| view.view.name() == name).collect::<Vec<_>>()
        }
    };
    match (&args.view, found.is_empty()) {
        (Some(name), true) => Err(Failure::Usage(format!("there is no view {name}; `cratos views` lists them"))),
        (None, true) => {
            Err(Failure::failed("there is no view yet: a site needs a source of its own, or a token that was used"))
        }
        _ => Ok(found),
    }
}

/// Whether the site of a view has a view of its own key.
fn has_main(sites: &[&Site], view: &Site) -> bool {
    sites.iter().any(|site| site.view.site() == view.view.site() && site.source != Source::None)
}
