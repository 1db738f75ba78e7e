//! The commands. In: the command line. Out: text on stdout, complaints and logs on stderr, an exit code
//! (0 done, 1 failed, 2 usage or configuration).
//!
//! | file | command |
//! |---|---|
//! | [`serve`] | `serve`: refresh on schedule and answer requests until a signal |
//! | [`refresh`] | `refresh`: pull and publish once |
//! | [`steer`] | `approve`, `reject`: what is held; `versions rollback`, `unpin` |
//! | [`learn`] | `learn`: proves the keys of existing tokens and publishes their views |
//! | [`views`] | `views`: who sees what, since when, how much |
//! | [`compare`] | `compare`: what two servers answer, equal or on purpose different |
//! | [`check`] | `check`: every mistake of the configuration, or what it means |
//! | [`online`] | `check --online`: what each MISP says |
//! | [`token`] | `token issue`, `inspect`, `hash` |
//! | [`explain`] | `explain`: why a value is, or is not, in the lists |
//! | [`versions`] | `versions list`, `show`, `diff`, `history`, `verify`, `export` |
//! | [`init`] | `init`: a first configuration |
//! | [`init_misp`] | `init --misp`: with a site that reads a MISP |
//! | [`demo`] | `demo`: all of it with made-up events |
//! | [`demo_feed`] | its feed |
//! | [`demo_guide`] | its text and self-check |
//!
//! Invariants: a command returns a [`Failure`] and never ends the process itself; stdout carries results only; a secret
//! is printed by the command that was asked for it and by no other.

pub mod check;
pub mod compare;
pub mod demo;
pub mod demo_feed;
pub mod demo_guide;
pub mod explain;
pub mod init;
pub mod init_misp;
pub mod learn;
pub mod online;
pub mod refresh;
pub mod serve;
pub mod steer;
pub mod token;
pub mod versions;
pub mod views;

use std::error::Error;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Once};

use clap::{Parser, Subcommand, ValueEnum};
use comfy_table::{CellAlignment, Table, presets};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use crate::config::{self, Config, ConfigErrors, Site, SiteState};
use crate::learned::Learned;
use crate::state::{Lock, StateError};
use crate::token::TokenKeys;
use crate::view::keyring::Keyring;

/// Publishes MISP indicators as versioned lists and serves them without waiting for MISP.
#[derive(Debug, Parser)]
#[command(name = "cratos", version)]
pub struct Cli {
    /// Folder that holds config/ and sites/. Relative paths of the configuration start here.
    #[arg(short = 'C', long, value_name = "DIR", default_value = ".", global = true)]
    pub dir: PathBuf,
    /// How log lines on stderr look. CRATOS_LOG sets how much is logged, for example debug.
    #[arg(long, value_name = "FORM", value_enum, default_value_t = LogFormat::Human, global = true)]
    pub log_format: LogFormat,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    Human,
    /// One JSON object a line.
    Json,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Refresh every site on its schedule and answer requests until SIGTERM or SIGINT.
    Serve,
    /// Pull and publish once, now. Beside a running `serve` that one does it.
    Refresh(refresh::Args),
    /// Serve what is held: a version that changed too much at once, lists that fell to zero, or a view whose false-positive
    /// tag vanished.
    #[command(visible_alias = "release")]
    Approve(steer::Args),
    /// Keep a held version out: it is not released by itself any more.
    Reject(steer::Args),
    /// Read tokens from stdin, one a line, prove their MISP keys and publish their views: no first poll waits then.
    Learn,
    /// List the views of every site: whose they are, their keys, last poll, size.
    Views,
    /// Ask two servers the same and explain what differs: before this one takes the other's place.
    Compare(compare::Args),
    /// Say why a value is, or is not, in the lists.
    Explain(explain::Args),
    /// Check every file of the configuration and show what it means.
    Check(check::Args),
    /// Make tokens, look into them, revoke them.
    #[command(subcommand)]
    Token(token::Action),
    /// Look at published versions, compare them, check and restore their files.
    #[command(subcommand)]
    Versions(versions::Action),
    /// Write a first configuration. Files that exist are left as they are.
    Init(init::Args),
    /// Serve made-up events from a folder of its own, to look around.
    Demo(demo::Args),
}

/// Why a command does not end with 0.
#[derive(Debug)]
pub enum Failure {
    /// Files that do not check: all mistakes are printed, exit 2.
    Config(ConfigErrors),
    /// Arguments that mean nothing here: exit 2.
    Usage(String),
    /// The work failed: the chain of causes is printed, exit 1.
    Failed(Box<dyn Error + Send + Sync>),
    /// The command has said why: exit 1.
    Said,
}

impl Failure {
    /// The work failed, in these words.
    pub fn failed(text: impl Into<String>) -> Self {
        let text: String = text.into();
        Self::Failed(text.into())
    }

    /// Prints what is to be said and gives the exit code.
    fn report(&self) -> ExitCode {
        match self {
            Failure::Config(errors) => {
                complain(errors.render(io::stderr().is_terminal()).trim_end());
                ExitCode::from(2)
            }
            Failure::Usage(text) => {
                complain(&format!("cratos: {text}"));
                ExitCode::from(2)
            }
            Failure::Failed(error) => {
                complain(&format!("cratos: {}", chain(&**error)));
                ExitCode::FAILURE
            }
            Failure::Said => ExitCode::FAILURE,
        }
    }
}

impl<E: Error + Send + Sync + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Failed(Box::new(error))
    }
}

/// Runs one command.
pub fn run(cli: Cli) -> ExitCode {
    let long_running = matches!(cli.command, Command::Serve | Command::Demo(_));
    start_log(cli.log_format, if long_running { LevelFilter::INFO } else { LevelFilter::WARN });
    let dir = &cli.dir;
    let outcome = match &cli.command {
        Command::Serve => serve::run(dir),
        Command::Refresh(args) => refresh::run(dir, args),
        Command::Approve(args) => steer::approve(dir, args),
        Command::Reject(args) => steer::reject(dir, args),
        Command::Learn => learn::run(dir),
        Command::Views => views::run(dir),
        Command::Compare(args) => compare::run(dir, args),
        Command::Explain(args) => explain::run(dir, args),
        Command::Check(args) => check::run(dir, args),
        Command::Token(action) => token::run(dir, action),
        Command::Versions(action) => versions::run(dir, action),
        Command::Init(args) => init::run(dir, args),
        Command::Demo(args) => demo::run(args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn start_log(form: LogFormat, level: LevelFilter) {
    // The trigger's own lines say nothing an operator needs; a certificate that is not trusted is told once, by us.
    let default = format!("{level},tokio_cron_scheduler=warn,rustls_platform_verifier=off");
    let filter = match std::env::var("CRATOS_LOG") {
        Ok(wanted) if !wanted.is_empty() => EnvFilter::builder().parse_lossy(wanted),
        _ => EnvFilter::builder().parse_lossy(default),
    };
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(form == LogFormat::Human && io::stderr().is_terminal());
    // Err: a log is there already, as in a test that runs several commands.
    let _ = match form {
        LogFormat::Human => log.try_init(),
        LogFormat::Json => log.json().try_init(),
    };
}

/// An error and its causes; a cause that the text before it already tells is left out.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let words = cause.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        source = cause.source();
    }
    text
}

/// Prints a line on stdout. A reader that has gone (`| head`) is no failure.
pub(crate) fn say(text: &str) -> Result<(), Failure> {
    match writeln!(io::stdout().lock(), "{text}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// Prints a line on stderr.
pub(crate) fn complain(text: &str) {
    // Nobody is left to be told that stderr is closed.
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// The configuration, or all its mistakes.
pub(crate) fn load(dir: &Path) -> Result<Config, Failure> {
    config::load(dir).map_err(Failure::Config)
}

/// The lock of the state folder; `None`: another cratos has it, and is asked to do the work.
pub(crate) fn lock(config: &Config) -> Result<Option<Lock>, Failure> {
    match Lock::take(&config.state_dir) {
        Ok(lock) => Ok(Some(lock)),
        Err(StateError::Busy { pid, .. }) => {
            complain(&format!("another cratos works here (pid {pid}): it is asked"));
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// The learned keys of all sites.
pub(crate) fn learned(config: &Config) -> Result<Learned, Failure> {
    learned_with(config, &TokenKeys::derive(&config.encryption_key, &config.salt))
}

/// The same, with keys that are derived already.
pub(crate) fn learned_with(config: &Config, keys: &TokenKeys) -> Result<Learned, Failure> {
    let ring = Keyring::new().map_err(|_| Failure::failed("the system gives no random bytes"))?;
    let mut learned = Learned::new(&config.state_dir, keys.sealer(), Arc::new(ring));
    config.good_sites().for_each(|site| learned.load(site));
    Ok(learned)
}

/// A runtime for the commands that wait for something.
pub(crate) fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}

/// How much less than what serves the threads of [`beside_serving`] get when both want the processor (nice(2)).
const NICE: i32 = 10;

/// A runtime for the work that goes on beside serving: its threads, and those they start, yield to all others (so does an access
/// log that is begun by a reload). The thread that waits on it does not, nor do those that one starts.
pub(crate) fn beside_serving() -> io::Result<tokio::runtime::Runtime> {
    static SAID: Once = Once::new();
    let yielding = || {
        // On Linux this is the thread, not the process (sched(7)). Err: then it does not yield, which is no reason to stop.
        if let Err(error) = rustix::process::setpriority_process(None, NICE) {
            SAID.call_once(|| {
                tracing::warn!(%error, "refreshing does not yield to serving: setpriority(2) is not allowed here");
            });
        }
    };
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.enable_all().thread_name("beside-serving").on_thread_start(yielding).build()
}

/// A site by its name; its file has to check.
pub(crate) fn site<'a>(config: &'a Config, name: &str) -> Result<&'a Site, Failure> {
    match config.sites.get(name) {
        Some(SiteState::Good(site)) => Ok(site),
        Some(SiteState::Broken(mistakes)) => Err(Failure::Config(ConfigErrors(mistakes.clone()))),
        None => Err(unknown_site(config, name)),
    }
}

/// Exit 2 with the name that was probably meant.
pub(crate) fn unknown_site(config: &Config, name: &str) -> Failure {
    let likeness = |other: &str| strsim::jaro_winkler(name, other);
    let nearest = config.sites.keys().max_by(|one, other| likeness(one).total_cmp(&likeness(other)));
    Failure::Usage(match nearest {
        Some(nearest) if likeness(nearest) > 0.8 => format!("no site is called {name}; did you mean {nearest}?"),
        Some(_) => {
            let names: Vec<&str> = config.sites.keys().map(String::as_str).collect();
            format!("no site is called {name}; there are: {}", names.join(", "))
        }
        None => format!("no site is called {name}; there is no file in sites/ yet"),
    })
}

/// A table without lines, columns two spaces apart; those named in `numbers` stand to the right.
pub(crate) fn table<const N: usize>(header: [&str; N], numbers: &[usize], rows: Vec<[String; N]>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header);
    for row in rows {
        table.add_row(row);
    }
    for (at, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if numbers.contains(&at) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.trim_fmt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn a_cause_is_told_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("inner")]
        struct Inner;
        #[derive(Debug, thiserror::Error)]
        enum Outer {
            #[error("outer: {0}")]
            Shown(#[source] Inner),
            #[error("outer")]
            Hidden(#[source] Inner),
        }
        assert_eq!(chain(&Outer::Shown(Inner)), "outer: inner");
        assert_eq!(chain(&Outer::Hidden(Inner)), "outer: inner");
    }

    #[test]
    fn tables_are_plain_columns() {
        let rows = vec![["a".to_owned(), "7".to_owned()], ["bcd".to_owned(), "1000".to_owned()]];
        assert_eq!(table(["name", "count"], &[1], rows), "name  count\na         7\nbcd    1000");
    }
}
