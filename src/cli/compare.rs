//! `cratos compare`. In: the URLs of two servers, tokens, and the access log of one of them (or nothing: then every list of the
//! tokens' sites). Out: what is equal, under a difference on purpose, or different; exit 1 if anything is different.
//!
//! For going over from the predecessor, while both run. Each URL of a log is asked with every token, because a log does not say
//! whose request it was; what needs no token is asked once. What differs is asked once more at the end: lists change meanwhile.
//!
//! | file | answers |
//! |---|---|
//! | [`target`] | which URLs, and what they are about |
//! | [`ask`] | both answers to all questions |
//! | [`known`] | what the configuration and the mirrors say about a question |
//! | [`evidence`] | what both programs make of a value |
//! | [`explain`] | two answers → a verdict |
//! | [`lists`] | two bodies of a list → a verdict |
//! | [`entries`] | a body → its entries |
//! | [`report`] | verdicts → tables |
//!
//! Invariants: tokens come from a file or stdin, go into a header, and are never printed or written; connections are opened by
//! `fetch::client` alone, with limits on time and size; nothing is changed, here or there.

pub mod ask;
pub mod entries;
pub mod evidence;
pub mod explain;
pub mod known;
pub mod lists;
pub mod report;
pub mod target;

use std::fs::{File, OpenOptions};
use std::io::{BufReader, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Failure, learn};
use crate::token::TokenKeys;
use ask::{Question, Run};
use known::{Bearer, Known};
use target::Found;

/// Arguments of `compare`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The server that is to be replaced, e.g. http://127.0.0.1:8080.
    #[arg(long, value_name = "URL", value_parser = base)]
    pub old: String,
    /// This program's server.
    #[arg(long, value_name = "URL", value_parser = base)]
    pub new: String,
    /// Tokens, one a line; `-` for stdin. Every URL of a log is asked with each of them.
    #[arg(long, value_name = "FILE")]
    pub tokens: Option<PathBuf>,
    /// An access log: its URLs are compared. Without it, all lists of the tokens' sites as txt.
    #[arg(long, value_name = "ACCESS-LOG")]
    pub from: Option<PathBuf>,
    /// Questions that are under way at once.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=64))]
    pub parallel: u8,
    /// Questions at most.
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub limit: u32,
    /// Writes every verdict here, one JSON object a line.
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
}

/// A server's URL, without a slash at its end.
fn base(text: &str) -> Result<String, String> {
    let uri: http::Uri = text.parse().map_err(|_| "no URL".to_owned())?;
    let is_http = matches!(uri.scheme_str(), Some("http" | "https")) && uri.query().is_none();
    match is_http && !uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        true => Ok(text.trim_end_matches('/').to_owned()),
        false => Err("write http(s)://HOST[:PORT], nothing else".into()),
    }
}

/// Compares.
pub fn run(dir: &Path, args: &Args) -> Result<(), Failure> {
    let config = super::load(dir)?;
    let keys = TokenKeys::derive(&config.encryption_key, &config.salt);
    let bearers: Vec<Bearer> =
        tokens(args)?.into_iter().enumerate().map(|(at, token)| Bearer::new(&keys, at + 1, token)).collect();
    let limit = usize::try_from(args.limit).unwrap_or(usize::MAX);
    let log = args.from.as_ref().map(|path| read_log(path, limit)).transpose()?;
    let mut report = args.report.as_ref().map(|path| open_report(path)).transpose()?;
    let known = Known::new(config, bearers);
    let run = Arc::new(Run::new(&args.old, &args.new, known)?);
    let compared = super::runtime()?.block_on(async {
        let questions = match &log {
            Some(found) => from_log(&run, found, limit),
            None => run.matrix(limit).await,
        };
        if questions.is_empty() {
            return Err(Failure::Usage("there is nothing to ask: name an access log with --from, or tokens".into()));
        }
        Ok(Arc::clone(&run).ask_all(questions, usize::from(args.parallel)).await)
    })?;
    if let Some(out) = &mut report {
        report::write(out, &compared)?;
        out.flush()?;
    }
    super::say(&report::render(&compared))?;
    if let Some(found) = log.filter(|found| found.beyond + found.passed_over > 0) {
        let Found { beyond, passed_over, .. } = found;
        super::complain(&format!(
            "of the log, {beyond} requests were beyond --limit and {passed_over} passed over (secrets, or no plain URL)"
        ));
    }
    if compared.iter().any(report::Compared::is_different) { Err(Failure::Said) } else { Ok(()) }
}

fn tokens(args: &Args) -> Result<Vec<crate::secret::Secret>, Failure> {
    match &args.tokens {
        None => Ok(Vec::new()),
        Some(path) if path.as_os_str() == "-" => learn::tokens(std::io::stdin().lock()),
        Some(path) => learn::tokens(BufReader::new(open(path)?)),
    }
}

fn read_log(path: &Path, limit: usize) -> Result<Found, Failure> {
    Ok(target::from_log(BufReader::new(open(path)?), limit)?)
}

fn open(path: &Path) -> Result<File, Failure> {
    File::open(path).map_err(|error| Failure::failed(format!("cannot read {}: {error}", path.display())))
}

/// Opened before anything is asked, so that an unwritable path costs no time.
fn open_report(path: &Path) -> Result<BufWriter<File>, Failure> {
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    file.map(BufWriter::new).map_err(|error| Failure::failed(format!("cannot write {}: {error}", path.display())))
}

/// Each target with each token, or once.
fn from_log(run: &Run, found: &Found, limit: usize) -> Vec<Question> {
    let bearers = run.known().bearers().len();
    let each = |target: &target::Target| {
        let with: Vec<Option<usize>> =
            if target.needs_token() && bearers > 0 { (0..bearers).map(Some).collect() } else { vec![None] };
        with.into_iter().map(|bearer| Question { target: target.clone(), bearer }).collect::<Vec<_>>()
    };
    ask::bounded(found.targets.iter().flat_map(each), limit)
}
