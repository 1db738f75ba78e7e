//! `cratos check`. In: all files of the configuration. Out: every mistake (stderr, exit 2), or a table of what the
//! files mean (stdout); with `--online` also what each MISP says.
//!
//! Invariant: shows no secret; a mistake's excerpt of the file is shown on a terminal only.

use std::path::Path;

use ipnet::IpNet;

use super::{Failure, online};
use crate::config::{self, Config, ConfigErrors, Endpoint, Publish, Site, SiteState};
use crate::fetch::{Source, client};
use crate::web::SiteAccess;

/// Addresses named in one cell of the table.
const SHOWN: usize = 3;

/// Arguments of `check`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Then ask each MISP: its version, whose the key is and when it ends, and which of the site's tags exist there.
    #[arg(long)]
    pub online: bool,
}

/// Checks everything.
pub fn run(dir: &Path, args: &Args) -> Result<(), Failure> {
    let config = super::load(dir)?;
    let mistakes = config::check::mistakes(&config);
    if !mistakes.is_empty() {
        return Err(Failure::Config(ConfigErrors(mistakes)));
    }
    super::say(&summary(&config))?;
    if args.online { online::check(&config) } else { Ok(()) }
}

fn summary(config: &Config) -> String {
    let rows: Vec<_> = config.sites.values().filter_map(|state| row(config, state)).collect();
    let mut text = match rows.as_slice() {
        [] => "No sites yet: `cratos init --site FQDN` writes a first one.".to_owned(),
        _ => super::table(["site", "source", "refresh", "lists", "allowed addresses"], &[3], rows),
    };
    if !config.web.allowed_everywhere.is_empty() {
        text.push_str(&format!("\nAllowed at every site: {}", addresses(&config.web.allowed_everywhere)));
    }
    text.push_str(&never(config));
    for note in &config.notes {
        text.push_str(&format!("\nNote: {note}"));
    }
    text
}

/// What is never published, and where something else counts than at every site.
fn never(config: &Config) -> String {
    let mut text = format!("\nNever published: {}", config.never.describe());
    for site in config.good_sites() {
        let (name, min_prefix) = (site.view.site(), site.rules.bounds.min_prefix);
        if site.never != config.never {
            text.push_str(&format!("\nNever published at {name}: {}", site.never.describe()));
        }
        if min_prefix > 0 {
            text.push_str(&format!("\nLeft out at {name}: IPv4 networks wider than /{min_prefix} (min_prefix)"));
        }
    }
    text
}

fn row(config: &Config, state: &SiteState) -> Option<[String; 5]> {
    let SiteState::Good(site) = state else { return None };
    let name = site.view.site();
    let allowed = match config.web.sites.get(name) {
        Some(SiteAccess::Good(settings)) => addresses(&settings.allowed),
        _ => addresses(&[]),
    };
    Some([shown_name(site), source(site), site.refresh.to_string(), lists(&site.publish).to_string(), allowed])
}

/// A site without a source of its own is read with the keys that its tokens carry.
fn source(site: &Site) -> String {
    match (&site.source, &site.endpoint) {
        (Source::None, Some(Endpoint { url: Some(url), .. })) => {
            format!("MISP {}, keys of tokens", client::without_credentials(url))
        }
        (Source::None, Some(_)) => format!("MISP at {}, keys of tokens", site.view.site()),
        (source, _) => source.describe(),
    }
}

fn shown_name(site: &Site) -> String {
    let state = if site.enabled { "" } else { " (switched off)" };
    format!("{}{state}", site.view.site())
}

/// Lists that are published without being asked for.
fn lists(publish: &Publish) -> usize {
    publish.feeds.len() * publish.types.len() * publish.ages.len() * publish.formats.len()
}

fn addresses(nets: &[IpNet]) -> String {
    if nets.is_empty() {
        return "none".to_owned();
    }
    let first: Vec<String> = nets.iter().take(SHOWN).map(ToString::to_string).collect();
    let more = nets.len().saturating_sub(SHOWN);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    format!("{}{more}", first.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lists_of_addresses_are_cut() {
        let nets: Vec<IpNet> = (0..5).map(|at| format!("192.0.2.{at}/32").parse().unwrap()).collect();
        assert_eq!(addresses(&nets), "192.0.2.0/32, 192.0.2.1/32, 192.0.2.2/32 and 2 more");
        assert_eq!(addresses(&nets[..1]), "192.0.2.0/32");
        assert_eq!(addresses(&[]), "none");
    }
}
