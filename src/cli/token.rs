//! `cratos token`: make, look into, revoke. In: the configuration, and keys or tokens from a file or stdin. Out: a
//! token on stdout and its names on stderr; or what a token says.
//!
//! Invariants: keys and tokens come from files or stdin, never from the command line; a token is printed by `issue`
//! alone, a key by nothing; what is minted opens again with the settings it was minted with.

use std::io::Read;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use jiff::Timestamp;
use jiff::civil::Date;
use zeroize::Zeroizing;

use super::Failure;
use crate::config::{Config, Site, SiteState};
use crate::secret::Secret;
use crate::token::{self, Claims, Opened, TokenKeys};
use crate::web::SiteAccess;

/// A key or token needs no more bytes.
const MAX_BYTES: u64 = 4096;

/// What to do with tokens.
#[derive(Debug, clap::Subcommand)]
pub enum Action {
    /// Make a token. It is printed alone on stdout; its short id and SHA-256 go to stderr.
    Issue(Issue),
    /// Show what a token says and whether it opens anything.
    Inspect {
        /// File that holds the token, or - for stdin.
        #[arg(value_name = "TOKEN-FILE", default_value = "-")]
        token: PathBuf,
    },
    /// Read a token from stdin and print the line that revokes it under blacklisted_api_tokens.
    Hash,
}

/// Arguments of `token issue`.
#[derive(Debug, clap::Args)]
pub struct Issue {
    /// Site the token opens. It has a file in sites/.
    #[arg(long, value_name = "FQDN")]
    pub site: String,
    /// First day on which the token is refused.
    #[arg(long, value_name = "YYYY-MM-DD", value_parser = day)]
    pub expire: Date,
    /// Protocol of the MISP server, as the token names it. The site's own by default.
    #[arg(long, value_enum)]
    pub proto: Option<Proto>,
    /// Port of the MISP server, as the token names it. The site's own by default.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    pub port: Option<u16>,
    /// File that holds the MISP key the token carries, or - for stdin. The site's own key by default.
    #[arg(long, value_name = "FILE")]
    pub auth_file: Option<PathBuf>,
}

/// Protocol of a MISP server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Proto {
    /// In the clear.
    Http,
    /// Over TLS.
    Https,
}

/// A day in the one spelling that tokens have.
fn day(text: &str) -> Result<Date, String> {
    let shape = text.len() == 10 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    match text.parse::<Date>() {
        Ok(day) if shape && (1900..2100).contains(&day.year()) => Ok(day),
        Ok(_) => Err("write the day as YYYY-MM-DD, up to 2099-12-31".into()),
        Err(error) => Err(error.to_string()),
    }
}

/// Runs one of them.
pub fn run(dir: &Path, action: &Action) -> Result<(), Failure> {
    match action {
        Action::Issue(args) => issue(dir, args),
        Action::Inspect { token } => inspect(dir, token),
        Action::Hash => hash(),
    }
}

fn issue(dir: &Path, args: &Issue) -> Result<(), Failure> {
    let config = super::load(dir)?;
    let site = super::site(&config, &args.site)?;
    let own = site.key.as_ref();
    let key = match (&args.auth_file, own) {
        (Some(place), _) => read_secret(place)?,
        (None, Some(own)) => own.clone(),
        (None, None) => {
            let text = format!("site {} has no mispAuthKey; name a key with --auth-file", args.site);
            return Err(Failure::Usage(text));
        }
    };
    if args.expire <= today(&config) {
        return Err(Failure::Usage(format!("a token that expires on {} is refused already today", args.expire)));
    }
    let claims = claims(site, args, key)?;
    if own.is_none_or(|own| !own.same_as(&claims.key)) {
        super::complain(&format!("note: this is not the key of site {}; the token opens nothing there yet", args.site));
    }
    let (token, opened) = mint(&config, &claims)?;
    super::say(token.reveal())?;
    super::complain(&format!("short id  {}\nsha256    {}", opened.short_id(), opened.hash));
    Ok(())
}

/// The five fields, each of them fit to stand in a token.
fn claims(site: &Site, args: &Issue, key: Secret) -> Result<Claims, Failure> {
    let (proto, port) = &site.token_endpoint;
    let proto = match args.proto {
        Some(Proto::Http) => "http".to_owned(),
        Some(Proto::Https) => "https".to_owned(),
        None => proto.clone(),
    };
    let host = site.view.site().to_owned();
    if !token::is_host(&host) {
        let text = format!("{host} cannot stand in a token: 4 to 75 letters, digits, dots, colons and hyphens");
        return Err(Failure::Usage(text));
    }
    if !token::is_auth_key(key.reveal()) {
        return Err(Failure::Usage("this is no MISP key: 40 to 72 letters and digits".into()));
    }
    Ok(Claims { proto, port: args.port.unwrap_or(*port), host, key, expires: args.expire })
}

/// Makes a token and opens it again.
pub(crate) fn mint(config: &Config, claims: &Claims) -> Result<(Secret, Opened), Failure> {
    let keys = TokenKeys::derive(&config.encryption_key, &config.salt);
    let now = u64::try_from(Timestamp::now().as_second()).unwrap_or_default();
    let token = keys.mint(claims, now).map_err(|_| Failure::failed("the system gives no random bytes"))?;
    let opened = keys.open(token.reveal())?;
    Ok((token, opened))
}

fn inspect(dir: &Path, place: &Path) -> Result<(), Failure> {
    let config = super::load(dir)?;
    let token = read_secret(place)?;
    let opened = TokenKeys::derive(&config.encryption_key, &config.salt).open(token.reveal())?;
    super::say(&description(&config, &opened, today(&config)))
}

fn description(config: &Config, opened: &Opened, today: Date) -> String {
    let claims = &opened.claims;
    let days = today.duration_until(claims.expires).as_hours() / 24;
    let left = match days {
        ..=0 => "expired".to_owned(),
        1 => "1 day left".to_owned(),
        _ => format!("{days} days left"),
    };
    let blacklisted = match config.web.sites.get(&claims.host) {
        Some(SiteAccess::Good(site)) if is_blacklisted(&site.blacklist, opened) => "yes",
        Some(SiteAccess::Good(_)) => "no",
        _ => "unknown: the site's file does not check or is not there",
    };
    let own_key = match config.sites.get(&claims.host) {
        Some(SiteState::Good(site)) if site.key.as_ref().is_some_and(|key| key.same_as(&claims.key)) => "yes",
        Some(SiteState::Good(_)) => "no",
        _ => "unknown: the site's file does not check or is not there",
    };
    [
        ("proto", claims.proto.clone()),
        ("port", claims.port.to_string()),
        ("site", claims.host.clone()),
        ("expires", format!("{} ({left})", claims.expires)),
        ("short id", opened.short_id().to_owned()),
        ("sha256", opened.hash.clone()),
        ("blacklisted", blacklisted.to_owned()),
        ("the site's own key", own_key.to_owned()),
    ]
    .map(|(name, value)| format!("{name:<20}{value}"))
    .join("\n")
}

fn is_blacklisted(blacklist: &[String], opened: &Opened) -> bool {
    blacklist.iter().any(|hash| *hash == opened.hash || *hash == opened.hash_as_sent)
}

fn hash() -> Result<(), Failure> {
    let token = read_secret(Path::new("-"))?;
    match token::hashes(token.reveal()) {
        (_, Some(canonical)) => super::say(&format!("  - \"{canonical}\"")),
        (_, None) => Err(Failure::failed("stdin holds no token: it is not base64")),
    }
}

/// The local date that token expiry goes by.
fn today(config: &Config) -> Date {
    config.timezone.to_datetime(Timestamp::now()).date()
}

/// A short secret from a file, or from stdin (`-`), without the white space around it.
pub(crate) fn read_secret(place: &Path) -> Result<Secret, Failure> {
    let stdin = place == Path::new("-");
    let shown = if stdin { "stdin".to_owned() } else { place.display().to_string() };
    let mut text = Zeroizing::new(String::new());
    let read = if stdin {
        std::io::stdin().lock().take(MAX_BYTES + 1).read_to_string(&mut text)
    } else {
        std::fs::File::open(place).and_then(|file| file.take(MAX_BYTES + 1).read_to_string(&mut text))
    };
    read.map_err(|cause| Failure::failed(format!("{shown}: {cause}")))?;
    match text.trim() {
        "" => Err(Failure::failed(format!("{shown} is empty"))),
        _ if text.len() as u64 > MAX_BYTES => Err(Failure::failed(format!("{shown} is larger than {MAX_BYTES} bytes"))),
        secret => Ok(Secret::new(secret)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_have_one_spelling() {
        assert!(day("2099-12-31").is_ok());
        for bad in ["2100-01-01", "20991231", "2099-02-30", "2099-12-31T00:00", "tomorrow", ""] {
            assert!(day(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn secrets_are_trimmed_and_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("key");
        let write = |text: &str| {
            use std::io::Write;
            let mut file = std::fs::OpenOptions::new().create(true).truncate(true).write(true).open(&place).unwrap();
            file.write_all(text.as_bytes()).unwrap();
            read_secret(&place)
        };
        assert_eq!(write(" abc\r\n").unwrap().reveal(), "abc");
        assert!(write("\n").is_err());
        assert!(write(&"a".repeat(4097)).is_err());
    }
}
