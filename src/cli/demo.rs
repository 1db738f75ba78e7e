//! `cratos demo`: the whole program on made-up events. In: a folder of its own, temporary or named. Out: a feed, a
//! site, a token, a server on 127.0.0.1 and commands to try; after 20 seconds a change, so that there is a second
//! version.
//!
//! Invariants: writes into an empty folder only; a temporary folder is removed at the end; listens on 127.0.0.1 only;
//! runs the same daemon as `serve`.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::{Span, Timestamp};
use tempfile::TempDir;
use tokio::sync::oneshot;

use super::demo_feed::DemoFeed;
use super::demo_guide::Guide;
use super::{Failure, init, serve, token};
use crate::config::{Config, ConfigErrors, check};
use crate::daemon;
use crate::secret::Secret;
use crate::snapshot::layout;
use crate::token::Claims;

/// The demo's site.
const SITE: &str = "demo.example.net";
/// What the second version brings.
const NEW_ADDRESS: &str = "203.0.113.99";
/// When it comes.
const CHANGE_AFTER: Duration = Duration::from_secs(20);
/// Longest wait for a version.
const PATIENCE: Duration = Duration::from_secs(30);
/// Pause between two looks at the disk.
const LOOK: Duration = Duration::from_millis(100);
/// Ports that are tried.
const PORTS: u16 = 50;
/// Days the demo's token is good for.
const DAYS: i64 = 30;

/// Arguments of `demo`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Work in this folder and leave it. It has to be empty or absent.
    #[arg(long, value_name = "DIR")]
    pub keep: Option<PathBuf>,
    /// Check the own answers, then end: with 0 if all are good.
    #[arg(long)]
    pub exit: bool,
    /// Serve for so many seconds, then end with 0.
    #[arg(long, value_name = "SECONDS", conflicts_with = "exit")]
    pub hold: Option<u64>,
    /// First port to try on 127.0.0.1. The next ones follow if it is taken.
    #[arg(long, default_value_t = 8080, value_parser = clap::value_parser!(u16).range(1..))]
    pub port: u16,
}

/// Sets the stage, then serves.
pub fn run(args: &Args) -> Result<(), Failure> {
    let place = Place::prepare(args.keep.as_deref())?;
    let feed = DemoFeed::write(&place.dir.join("feed"), Timestamp::now().as_second())?;
    write_settings(&place.dir, free_port(args.port)?)?;
    let config = super::load(&place.dir)?;
    let mistakes = check::mistakes(&config);
    if !mistakes.is_empty() {
        return Err(Failure::Config(ConfigErrors(mistakes)));
    }
    let guide = Guide {
        view_dir: view_dir(&config)?,
        token: issue(&config)?,
        events: feed.events(),
        dir: place.dir.clone(),
        kept: place.temporary.is_none(),
    };
    super::runtime()?.block_on(perform(args, config, Demo { feed, guide }))
}

/// The demo's folder.
struct Place {
    dir: PathBuf,
    /// Removes the folder when it is dropped.
    temporary: Option<TempDir>,
}

impl Place {
    fn prepare(keep: Option<&Path>) -> Result<Self, Failure> {
        let Some(dir) = keep else {
            let temporary = tempfile::Builder::new().prefix("cratos-demo-").tempdir()?;
            return Ok(Self { dir: temporary.path().to_owned(), temporary: Some(temporary) });
        };
        let failed = |cause: std::io::Error| Failure::failed(format!("{}: {cause}", dir.display()));
        std::fs::create_dir_all(dir).map_err(failed)?;
        if std::fs::read_dir(dir).map_err(failed)?.next().is_some() {
            return Err(Failure::Usage(format!("{} is not empty", dir.display())));
        }
        Ok(Self { dir: std::path::absolute(dir).map_err(failed)?, temporary: None })
    }
}

/// The first port from `first` on that nobody listens on.
fn free_port(first: u16) -> Result<u16, Failure> {
    let last = first.saturating_add(PORTS);
    let free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    (first..=last).find(free).ok_or_else(|| Failure::failed(format!("no port from {first} to {last} is free")))
}

/// Configuration and site, each with secrets of its own.
fn write_settings(dir: &Path, port: u16) -> Result<(), Failure> {
    let config = format!(
        "# The demo's configuration.\nencryption_key: \"{}\"\nsalt: \"{}\"\nlisten: \"127.0.0.1:{port}\"\n\
         feeds_dir: \"feeds-out\"\nstate_dir: \"state\"\n",
        *init::encryption_key()?,
        *init::random_text(32)?,
    );
    let site = format!(
        "# The demo's site.\nenabled: true\ntag: demo\ncustom_feeds:\n  cust1: \":incident-classification=cust1\"\n  \
         cust2: \"demo-partner:share\"\nfeed: ./feed\nrefresh: 2s\nmispAuthKey: \"{}\"\n\
         allowed_ips:\n  - \"127.0.0.1/32\"\n  - \"::1/128\"\nblacklisted_api_tokens: []\n",
        *init::random_text(40)?,
    );
    init::write_new(&dir.join("config/config.yaml"), &config, 0o600)?;
    init::write_new(&dir.join(format!("sites/{SITE}.yaml")), &site, 0o600)?;
    Ok(())
}

fn view_dir(config: &Config) -> Result<PathBuf, Failure> {
    let view = &super::site(config, SITE)?.view;
    Ok(layout::view_dir(&config.feeds_dir, view.site(), view.name()))
}

fn issue(config: &Config) -> Result<Secret, Failure> {
    let site = super::site(config, SITE)?;
    let key = site.key.clone().ok_or_else(|| Failure::failed("the demo's site has no key"))?;
    let (proto, port) = site.token_endpoint.clone();
    let today = config.timezone.to_datetime(Timestamp::now()).date();
    let expires = today.saturating_add(Span::new().days(DAYS));
    let (token, _) = token::mint(config, &Claims { proto, port, host: SITE.into(), key, expires })?;
    Ok(token)
}

/// Runs the daemon beside the tour; whichever ends first ends both.
async fn perform(args: &Args, config: Config, mut demo: Demo) -> Result<(), Failure> {
    let signal = serve::stop_signal()?;
    let (ready, address) = oneshot::channel();
    let (stop, stopped) = oneshot::channel::<()>();
    let mut server = tokio::spawn(daemon::serve(config, Some(ready), async move {
        // Err: the sender is gone, which also means stop.
        let _ = stopped.await;
    }));
    let outcome = tokio::select! {
        ended = &mut server => {
            ended??;
            return Err(Failure::failed("the server ended before the demo did"));
        }
        () = signal => Ok(()),
        outcome = demo.tour(args, address) => outcome,
    };
    // Err: the server has ended already.
    let _ = stop.send(());
    server.await??;
    outcome
}

/// The feed that changes and what is said about it.
struct Demo {
    feed: DemoFeed,
    guide: Guide,
}

impl Demo {
    /// First version, text, then as long as the arguments say.
    async fn tour(&mut self, args: &Args, address: oneshot::Receiver<SocketAddr>) -> Result<(), Failure> {
        let Ok(address) = address.await else {
            // The server failed and says why itself.
            return std::future::pending().await;
        };
        self.wait_for("").await?;
        self.guide.wait_until_served(address).await;
        super::say(&self.guide.text(address)?)?;
        if args.exit {
            return self.guide.check(address).await;
        }
        tokio::select! {
            () = held(args.hold) => Ok(()),
            Err(failure) = self.change() => Err(failure),
        }
    }

    /// A new address, so that a second version appears.
    async fn change(&mut self) -> Result<(), Failure> {
        tokio::time::sleep(CHANGE_AFTER).await;
        let title = self.feed.add_address(NEW_ADDRESS, Timestamp::now().as_second())?.to_owned();
        self.wait_for(NEW_ADDRESS).await?;
        let current = std::fs::read_link(self.guide.view_dir.join(layout::CURRENT))?;
        let version = current.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        super::say(&format!("The event \"{title}\" changed; version {version} has a new line:\n  {NEW_ADDRESS}"))
    }

    /// Waits until the list is published and has this line; with an empty one, until it is published.
    async fn wait_for(&self, line: &str) -> Result<(), Failure> {
        let path = self.guide.list_file();
        let there = || match std::fs::read_to_string(&path) {
            Ok(list) => line.is_empty() || list.lines().any(|other| other == line),
            Err(_) => false,
        };
        let look = async {
            while !there() {
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::time::timeout(PATIENCE, look)
            .await
            .map_err(|_| Failure::failed(format!("{} was not published in time; the log says why", path.display())))
    }
}

/// Ends after so many seconds; without a number, never.
async fn held(seconds: Option<u64>) {
    match seconds {
        Some(seconds) => tokio::time::sleep(Duration::from_secs(seconds)).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_with_files_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Place::prepare(Some(folder.path())).is_ok());
        assert!(Place::prepare(Some(&folder.path().join("new"))).is_ok());
        assert!(matches!(Place::prepare(Some(folder.path())), Err(Failure::Usage(_))));
    }

    #[test]
    fn a_port_that_is_taken_is_passed_over() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        if port < u16::MAX {
            assert!(free_port(port).unwrap() > port);
        }
    }
}
