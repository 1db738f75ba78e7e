//! Where a site's attributes come from, and where its keys may be sent. In: a [`Section`]. Out: the source, the endpoint, the
//! site's own key; mistakes stay in the section.
//!
//! Invariants: a key is never part of a mistake; files have a size limit.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Endpoint;
use super::file::Position;
use super::section::{Item, Section};
use super::{settings, sites};
use crate::fetch::Source;
use crate::fetch::api::Retry;
use crate::fetch::client::Limits;
use crate::fetch::feed::{FeedSource, Place};
use crate::fetch::tls::{self, Trust};
use crate::secret::Secret;

const DEFAULT_MAX_FILE: u64 = 256 << 20;
/// Largest answer of a MISP. It is never in memory as a whole.
const MAX_ANSWER: u64 = 1 << 30;
const RETRY: Retry = Retry { tries: 3, pause: Duration::from_millis(500) };
const MAX_KEY_FILE: u64 = 4096;
const MAX_CA_FILE: u64 = 4 << 20;
const CREDENTIALS: &str = "$CREDENTIALS_DIRECTORY";

/// A feed if one is named, else the MISP if there is a key for it; and where other keys are proven.
pub(super) fn source(
    section: &mut Section<'_>,
    dir: &Path,
    misp: Option<String>,
    key: Option<Secret>,
) -> (Source, Option<Endpoint>) {
    let silence = section.integer("mispTimeoutSeconds", 1..=3600).unwrap_or(100);
    let body = settings::bytes(section, "feed_max_file", 1000..=4 << 30).unwrap_or(DEFAULT_MAX_FILE);
    let limits = Limits { connect: Duration::from_secs(10), silence: Duration::from_secs(silence), body };
    let trust = trust(section, dir);
    let ports = ports(section);
    let Some(item) = section.text("feed") else {
        let limits = Limits { body: MAX_ANSWER, ..limits };
        let endpoint = Endpoint { url: misp, ports, trust, limits, retry: RETRY };
        let source = match (&endpoint.url, key) {
            (Some(url), Some(key)) => Source::Misp(endpoint.source(url, key)),
            _ => Source::None,
        };
        return (source, Some(endpoint));
    };
    let place = if item.text.contains("://") {
        settings::url(section, "feed", &item).map(|_| Place::Url(format!("{}/", item.text.trim_end_matches('/'))))
    } else if item.text.trim().is_empty() {
        section.mistake("feed", item.at, "is empty", "write a folder or URL with a manifest.json, or remove the line");
        None
    } else {
        Some(Place::Folder(dir.join(&item.text)))
    };
    (place.map_or(Source::None, |place| Source::Feed(FeedSource { place, limits })), None)
}

/// The MISP's URL, and the proto and port of tokens.
pub(super) fn misp_url(section: &mut Section<'_>) -> (Option<String>, (String, u16)) {
    let https = ("https".to_owned(), 443);
    let Some(item) = section.text("mispUrl") else { return (None, https) };
    let Some(uri) = settings::url(section, "mispUrl", &item) else { return (None, https) };
    let proto = uri.scheme_str().unwrap_or("https");
    let default = if proto == "http" { 80 } else { 443 };
    (Some(item.text.clone()), (proto.to_owned(), uri.port_u16().unwrap_or(default)))
}

/// Whom to trust at the MISP.
fn trust(section: &mut Section<'_>, dir: &Path) -> Trust {
    let verify = section.bool("mispVerifyCert").unwrap_or(true);
    let mut trust = Trust { verify, ..Trust::default() };
    if let Some(item) = section.text("mispCaFile") {
        let path = dir.join(&item.text);
        let read = std::fs::File::open(&path)
            .and_then(|file| {
                let mut pem = Vec::new();
                file.take(MAX_CA_FILE).read_to_end(&mut pem).map(|_| pem)
            })
            .map_err(|error| format!("cannot read {}: {error}", path.display()))
            .and_then(|pem| match tls::authorities(&pem) {
                Ok(_) => Ok(pem),
                Err(what) => Err(format!("{} {what}", path.display())),
            });
        match read {
            Ok(pem) => trust.authorities = Some(pem),
            Err(what) => section.mistake(
                "mispCaFile",
                item.at,
                what,
                "name a PEM file with the certificate that signs the MISP's",
            ),
        }
    }
    if let Some(item) = section.text("mispCertSha256") {
        trust.pin = sha256(&item.text.replace(':', ""));
        if trust.pin.is_none() {
            let remedy = "write the 64 hex digits of the certificate's SHA-256; `cratos check --online` shows them";
            section.mistake("mispCertSha256", item.at, "is no SHA-256", remedy);
        }
    }
    trust
}

fn sha256(text: &str) -> Option<[u8; 32]> {
    let mut out = [0; 32];
    let digits = text.trim();
    if !sites::is_sha256(digits) {
        return None;
    }
    for (at, byte) in out.iter_mut().enumerate() {
        *byte = u8::from_str_radix(digits.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(out)
}

fn ports(section: &mut Section<'_>) -> Vec<u16> {
    let mut ports = Vec::new();
    for item in section.texts("misp_ports").unwrap_or_default() {
        match item.text.parse::<u16>() {
            Ok(port) if port > 0 => ports.push(port),
            _ => section.mistake("misp_ports", item.at, format!("\"{}\" is no port", item.text), "write 1 to 65535"),
        }
    }
    ports
}

pub(super) fn auth_key(section: &mut Section<'_>, dir: &Path) -> Option<Secret> {
    let inline = section.secret("mispAuthKey");
    let file = section.text("mispAuthKeyFile");
    let (name, secret, at) = match (inline, file) {
        (None, None) => return None,
        (Some(_), Some(item)) => {
            section.mistake("mispAuthKeyFile", item.at, "stands beside mispAuthKey", "keep one of the two");
            return None;
        }
        (Some((secret, at)), None) => ("mispAuthKey", secret, at),
        (None, Some(item)) => ("mispAuthKeyFile", key_file(section, dir, &item)?, item.at),
    };
    let text = secret.reveal();
    if (40..=72).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Some(secret);
    }
    let what = "gives something that is no MISP key (40 to 72 letters and digits)";
    section.mistake(name, at, what, "copy the key from MISP: My Profile, Auth keys");
    None
}

fn key_file(section: &mut Section<'_>, dir: &Path, item: &Item) -> Option<Secret> {
    let mut fail = |at: Position, what: String| -> Option<Secret> {
        section.mistake("mispAuthKeyFile", at, what, "name a file that holds nothing but the key");
        None
    };
    let path = match item.text.strip_prefix(CREDENTIALS) {
        None => dir.join(&item.text),
        Some(rest) => match std::env::var_os("CREDENTIALS_DIRECTORY") {
            Some(folder) => PathBuf::from(folder).join(rest.trim_start_matches('/')),
            None => return fail(item.at, format!("{CREDENTIALS} is not set: systemd sets it with LoadCredential=")),
        },
    };
    let mut text = zeroize::Zeroizing::new(String::new());
    let read = std::fs::File::open(&path).and_then(|file| file.take(MAX_KEY_FILE + 1).read_to_string(&mut text));
    match read {
        Ok(_) if text.len() as u64 > MAX_KEY_FILE => {
            fail(item.at, format!("{} is larger than {MAX_KEY_FILE} bytes", path.display()))
        }
        Ok(_) => Some(Secret::new(text.trim())),
        Err(error) => fail(item.at, format!("cannot read {}: {error}", path.display())),
    }
}
